/* log(p/q) from p, q and an accurate difference d = p - q, without calling a logarithm.
 *
 * With q' = q * 2^e in p's neighbourhood and v = (p - q')/(p + q'),
 *     log(p/q) = e ln2 + 2 atanh(v) = e ln2 + 2v + 2v * s,   s = v^2/3 + v^4/5 + v^6/7 + ...
 * The bit patterns, read as fixed-point logarithms and rounded toward zero, give an e with p/q' in
 * (1/2, 2), that is |v| < 1/3; e is 0 while p/q itself lies there, so that v keeps the relative
 * accuracy of d.
 * p = 0 or q = 0 give finite or NaN nonsense that callers select away.
 */

/* s(w)/w on [0, 1/9], minimax of degree 9 with error 1.4e-16: a fit of (atanh(v)/v - 1)/v^2 over
 * w = v^2 at 50 digits (mpmath.chebyfit(f, [0, 1/9], 10)). s is at most 0.15 of a KL term. */
static const double KL_ATANH[10] = {
    0x1.5555555555555p-2, 0x1.999999999a3ddp-3, 0x1.24924923d44c6p-3, 0x1.c71c727143318p-4,
    0x1.745cf0b0e03bcp-4, 0x1.3b18b294bec0ap-4, 0x1.10ac75dc60199p-4, 0x1.eb905e8576531p-5,
    0x1.687a6e7c8e6dcp-5, 0x1.4b0a26c5f9bfcp-4};

#define KL_LN2 0x1.62e42fefa39efp-1

/* s for the v above: even and odd coefficients in two chains. */
KL_INLINE vf64 kl_atanh_tail(vf64 v)
{
    vf64 w = v * v, w2 = w * w, odd = kl_set_f64(KL_ATANH[9]), even = kl_set_f64(KL_ATANH[8]);
    KL_UNROLL for (int i = 6; i >= 0; i -= 2) {
        odd = KL_FMA_F64(odd, w2, kl_set_f64(KL_ATANH[i + 1]));
        even = KL_FMA_F64(even, w2, kl_set_f64(KL_ATANH[i]));
    }
    return w * KL_FMA_F64(odd, w, even);
}

/* The reduction comes in two steps, and a caller with many bins does the first for a whole block before
 * the second: each has half of the latency, so that the processor overlaps more bins. */
typedef struct { vf64 e, v; } kl_log_reduced;

KL_INLINE kl_log_reduced kl_log_reduce(vf64 p, vf64 q, vf64 d)
{
    const int64_t one = (int64_t)1 << 52; /* a binade, in bits */
    kl_log_reduced r;
    vi64 delta = (vi64)p - (vi64)q;
    vi64 shift = (delta + ((delta < 0) & (one - 1))) & ~(one - 1);
    vf64 scaled = (vf64)((vi64)q + shift);
    /* shift / 2^52 as a double: put it, made positive, into the mantissa of 2^52. */
    vu64 e = ((vu64)shift + ((uint64_t)2048 << 52)) >> 52;
    r.e = (vf64)(e | 0x4330000000000000u) - (4503599627370496.0 + 2048.0);
    r.v = kl_select(shift == 0, d, p - scaled) / (p + scaled);
    return r;
}

KL_INLINE vf64 kl_log_value(kl_log_reduced r)
{
    vf64 v2 = r.v + r.v;
    return KL_FMA_F64(r.e, kl_set_f64(KL_LN2), KL_FMA_F64(v2, kl_atanh_tail(r.v), v2));
}
