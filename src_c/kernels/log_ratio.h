/* log(p/q) from p, q and an accurate difference d = p - q, without calling a logarithm.
 *
 * With q' = q * 2^e in p's neighbourhood and v = (p - q')/(p + q'),
 *     log(p/q) = e ln2 + 2 atanh(v) = e ln2 + 2v + 2v * s,   s = v^2/3 + v^4/5 + v^6/7 + ...
 * e is 0 while p/q lies in [1/2, 2], so that v keeps the relative accuracy of d; elsewhere the bit
 * patterns, read as fixed-point logarithms, give e with p/q' in [0.66, 1.5].
 * p = 0 or q = 0 give finite or NaN nonsense that callers select away.
 */

/* s(w)/w on [0, 1/9], minimax of degree 9 with error 1.4e-16: a fit of (atanh(v)/v - 1)/v^2 over
 * w = v^2 at 50 digits (mpmath.chebyfit(f, [0, 1/9], 10)). s is at most 0.15 of a KL term. */
static const double KL_ATANH[10] = {
    0x1.5555555555555p-2, 0x1.999999999a3ddp-3, 0x1.24924923d44c6p-3, 0x1.c71c727143318p-4,
    0x1.745cf0b0e03bcp-4, 0x1.3b18b294bec0ap-4, 0x1.10ac75dc60199p-4, 0x1.eb905e8576531p-5,
    0x1.687a6e7c8e6dcp-5, 0x1.4b0a26c5f9bfcp-4};

/* ln 2 in two parts; the first has 42 bits, so that e * LN2_HIGH is exact. */
#define KL_LN2_HIGH 0x1.62e42fefa38p-1
#define KL_LN2_LOW 0x1.ef35793c7673p-45

typedef struct {
    vi64 near; /* e is 0 */
    vf64 e, v, s;
} kl_log_parts;

KL_INLINE vf64 kl_atanh_tail(vf64 v)
{
    vf64 w = v * v, w2 = w * w, w4 = w2 * w2; /* Estrin: three short chains */
    vf64 a = KL_FMA_F64(w, kl_set_f64(KL_ATANH[1]), kl_set_f64(KL_ATANH[0]));
    vf64 b = KL_FMA_F64(w, kl_set_f64(KL_ATANH[3]), kl_set_f64(KL_ATANH[2]));
    vf64 c = KL_FMA_F64(w, kl_set_f64(KL_ATANH[5]), kl_set_f64(KL_ATANH[4]));
    vf64 d = KL_FMA_F64(w, kl_set_f64(KL_ATANH[7]), kl_set_f64(KL_ATANH[6]));
    vf64 f = KL_FMA_F64(w, kl_set_f64(KL_ATANH[9]), kl_set_f64(KL_ATANH[8]));
    vf64 ab = KL_FMA_F64(w2, b, a), cd = KL_FMA_F64(w2, d, c);
    return w * KL_FMA_F64(w4, KL_FMA_F64(w4, f, cd), ab);
}

KL_INLINE kl_log_parts kl_log_ratio(vf64 p, vf64 q, vf64 d)
{
    const int64_t one = (int64_t)1 << 52; /* a binade, in bits */
    kl_log_parts r;
    vi64 delta = (vi64)p - (vi64)q;
    r.near = (delta <= one) & (delta >= -one);
    vi64 shift = (delta + one / 2) & ~(one - 1) & ~r.near;
    vf64 scaled = (vf64)((vi64)q + shift);
    /* shift / 2^52 as a double: put it, made positive, into the mantissa of 2^52. */
    vu64 e = ((vu64)shift + ((uint64_t)2048 << 52)) >> 52;
    r.e = (vf64)(e | 0x4330000000000000u) - (4503599627370496.0 + 2048.0);
    vf64 numerator = kl_select(r.near, d, p - scaled);
    r.v = numerator / (p + scaled);
    r.s = kl_atanh_tail(r.v);
    return r;
}

KL_INLINE vf64 kl_log_value(const kl_log_parts *r)
{
    vf64 v2 = r->v + r->v;
    return KL_FMA_F64(r->e, kl_set_f64(KL_LN2_HIGH), v2)
         + KL_FMA_F64(r->e, kl_set_f64(KL_LN2_LOW), v2 * r->s);
}
