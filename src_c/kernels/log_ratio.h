/* log(p/q) from p, q and an accurate difference d = p - q, without calling a logarithm.
 *
 * With q' = q * 2^e in p's neighbourhood, d' = p - q' and v = d'/(p + q'),
 *     log(p/q) = e ln2 + 2 atanh(v) = e ln2 + 2v + v t,   t = 2 (v^2/3 + v^4/5 + v^6/7 + ...)
 * The bit patterns, read as fixed-point logarithms and rounded, up from 17/32, give an e with p/q' in [32/47, 49/32],
 * that is |v| <= 17/81. Where e is 0, d' is d, so that v keeps its relative accuracy. (Elsewhere a term loses most just
 * beyond the turning points, 1.36 and 0.76: rounded up from 1/2 they would be 4/3 and 3/4, the first the worse.)
 * p = 0 or q = 0 give finite or NaN nonsense that callers select away.
 */

/* t/v^2 as a polynomial in w = v^2 on [0, (17/81)^2]: minimax of degree 7 with error 9e-17, a fit of
 * 2 (atanh(v)/v - 1)/v^2 at 50 digits (mpmath.chebyfit(f, [0, (17/81)^2], 8)). */
static const double KL_ATANH[8] = {
    0x1.5555555555555p-1, 0x1.999999999a48bp-2, 0x1.249249234cbdep-2, 0x1.c71c739399cbep-3,
    0x1.745c77ab54275p-3, 0x1.3b31a17351f56p-3, 0x1.0df9c8afd98f9p-3, 0x1.1acde319c1d76p-3};

#define KL_LN2 0x1.62e42fefa39efp-1

/* t/w for the v above. In one chain: multiplications are what a term has most of, and other bins fill the waits. */
KL_INLINE vf64 kl_atanh_series(vf64 w)
{
    vf64 t = kl_set_f64(KL_ATANH[7]);
    KL_UNROLL for (int i = 6; i >= 0; i--) t = KL_FMA_F64(t, w, kl_set_f64(KL_ATANH[i]));
    return t;
}

/* `shift`: e in the place of an exponent. */
typedef struct { vi64 shift; vf64 v; } kl_log_reduced;

KL_INLINE vf64 kl_scaled(vf64 q, vi64 shift) { return (vf64)((vu64)q + (vu64)shift); }

/* d' for q' = `scaled` */
KL_INLINE vf64 kl_close_difference(vf64 p, vf64 scaled, vf64 d, vi64 shift)
{
    return KL_IF_ZERO_F64(shift, d, p - scaled);
}

KL_INLINE vi64 kl_log_shift(vf64 p, vf64 q)
{
    const uint64_t one = (uint64_t)1 << 52; /* a binade, in bits; unsigned, for NaN may overflow */
    return (vi64)(((vu64)p - (vu64)q + one / 32 * 15) & -one);
}

KL_INLINE kl_log_reduced kl_log_reduce(vf64 p, vf64 q, vf64 d)
{
    kl_log_reduced r = {.shift = kl_log_shift(p, q)};
    vf64 scaled = kl_scaled(q, r.shift);
    r.v = kl_close_difference(p, scaled, d, r.shift) / (p + scaled);
    return r;
}

/* The e of a shift as a double, in KL_EXPONENT_UNITs. */
KL_INLINE vf64 kl_exponent(vi64 shift)
{
#ifdef KL_CONVERT_F64
#define KL_EXPONENT_UNIT 0x1p-52
    return KL_CONVERT_F64(shift);
#else
#define KL_EXPONENT_UNIT 1
    vu64 biased = ((vu64)shift + ((uint64_t)2048 << 52)) >> 52; /* into the mantissa of 2^52 */
    return (vf64)(biased | 0x4330000000000000u) - (4503599627370496.0 + 2048.0);
#endif
}

KL_INLINE vf64 kl_times_exponent(vi64 shift, double factor) { return kl_exponent(shift) * (factor * KL_EXPONENT_UNIT); }

KL_INLINE vf64 kl_log_value(kl_log_reduced r)
{
    vf64 w = r.v * r.v, small = KL_FMA_F64(r.v, w * kl_atanh_series(w), r.v + r.v);
    return kl_times_exponent(r.shift, KL_LN2) + small;
}

/* ln 2 with 32 bits, and the rest: n * high is exact for |n| < 2^21. */
#define KL_LN2_HIGH32 0x1.62e42feep-1
#define KL_LN2_REST 0x1.a39ef35793c76p-33

typedef struct { vf64 high, low; } vf64x2; /* an unevaluated sum */

/* log(p/q) = e ln2 + 2 atanh(v), with the rounding errors of its sum. */
KL_INLINE vf64x2 kl_log_exact(kl_log_reduced r)
{
    vf64 e = kl_times_exponent(r.shift, 1), w = r.v * r.v;
    vf64 small = KL_FMA_F64(r.v, w * kl_atanh_series(w), r.v + r.v);
    vf64 high = e * KL_LN2_HIGH32, sum = high + small, z = sum - high; /* e has at most 12 bits: no rounding */
    vf64 low = ((high - (sum - z)) + (small - z)) + e * KL_LN2_REST, log = sum + low;
    return (vf64x2){log, (sum - log) + low};
}
