/* Sums over bins of a function of two features, in place of a product: the tiles of the divergences that are not
 * bilinear. Included by product.h for float64 and for float32.
 *
 * With z = x + y, c the centre, m = c (1 + z) the mixture of the two rows, and G(m, c) = m log(m/c) - m + c,
 *     JS        sum c ((1 + z) log(1 + z) - z)          = sum G(m, c)
 *     SKEW      sum c ((1 + x/share) log(1 + z) - z)    = sum p log(m/c) - m + c,   1 + x/share = p/c
 * so that, by the compensation identity, weighted KLs to the centre minus the sum are the divergence; every part is
 * of second order in the distances to the centre, as in the product form.
 *     ABS       -|x - y| / 2           TRIANGLE   -(x - y)^2 / (2 c + x + y)
 * The logarithm: 1 + z = 2^e (1 + r), r in [sqrt(1/2) - 1, sqrt(2) - 1], r = z where e = 0, and
 *     h(r) = (1 + r) log(1 + r) - r,    (1 + z) log(1 + z) - z = 2^e h(r) + (1 - 2^e) + (1 + z) e ln2.
 * float64: v = r / (2 + r), s = atanh(v)/v - 1, h = v (r + 2 (1 + r) s); float32: h = r^2 times a polynomial.
 */
typedef struct { KL_V z, f, r, m, power, e_ln2; } KL_NAME(kl_split); /* f = 1 + z, m = 1 + r, power = 2^e */

KL_INLINE KL_NAME(kl_split) KL_NAME(kl_split_of)(KL_V x, KL_V y)
{
    KL_NAME(kl_split) a;
    a.z = x + y;
    a.f = a.z + KL_NAME(kl_set)(1);
    /* f is positive, so its bits count binades from sqrt(1/2) once that is shifted to 1. */
    KL_U power = ((KL_U)a.f + KL_ROOT_SHIFT) & KL_EXPONENT_BITS, scaled = power - KL_ONE_BITS; /* e, by 2^mantissa */
    a.power = (KL_V)power;
    a.e_ln2 = KL_NAME(kl_exponent_ln2)(scaled);
    a.m = (KL_V)((KL_U)a.f - scaled);
    a.r = KL_IF_ZERO(scaled, a.z, a.m - KL_NAME(kl_set)(1));
    return a;
}

/* v and s of the series for log(1 + r) = 2 v (1 + s) */
typedef struct { KL_V v, s; } KL_NAME(kl_series);

KL_INLINE KL_NAME(kl_series) KL_NAME(kl_series_of)(KL_V r)
{
    KL_V v = r / (r + KL_NAME(kl_set)(2)), w = v * v, p = KL_NAME(kl_set)(KL_ATANH_SMALL[KL_SERIES - 1]);
    KL_UNROLL for (int i = KL_SERIES - 2; i >= 0; i--) p = KL_FMA(p, w, KL_NAME(kl_set)(KL_ATANH_SMALL[i]));
    return (KL_NAME(kl_series)){v, w * p};
}

KL_INLINE KL_V KL_NAME(kl_js_term)(KL_V x, KL_V y)
{
    KL_NAME(kl_split) a = KL_NAME(kl_split_of)(x, y);
    KL_V far = KL_FMA(a.f, a.e_ln2, KL_NAME(kl_set)(1) - a.power);
#ifdef KL_H_SERIES
    KL_V r2 = a.r * a.r, h = KL_NAME(kl_set)(KL_H[KL_H_SERIES - 1]);
    KL_UNROLL for (int i = KL_H_SERIES - 2; i >= 0; i--) h = KL_FMA(h, a.r, KL_NAME(kl_set)(KL_H[i]));
    return KL_FMA(a.power * r2, h, far);
#else
    KL_NAME(kl_series) t = KL_NAME(kl_series_of)(a.r);
    return KL_FMA(a.power * t.v, KL_FMA(a.m + a.m, t.s, a.r), far);
#endif
}

/* log(1 + r) = r - v (r - 2 s); where e = 0,  (1 + u) log(1 + r) - z  with r = z  is  u z - (1 + u) v (r - 2 s). */
KL_INLINE KL_V KL_NAME(kl_skew_term)(KL_V x, KL_V y, KL_T number)
{
    KL_NAME(kl_split) a = KL_NAME(kl_split_of)(x, y);
    KL_NAME(kl_series) t = KL_NAME(kl_series_of)(a.r);
    KL_V u = x * number, ratio = KL_NAME(kl_set)(1) + u, bend = t.v * KL_FMA(t.s, KL_NAME(kl_set)(-2), a.r);
    KL_V lead = KL_IF_ZERO((KL_U)a.e_ln2, u * a.z, KL_FMA(ratio, a.r, -a.z)); /* 0 ln2 is +0.0 */
    return KL_FMA(ratio, a.e_ln2 - bend, lead);
}

KL_INLINE KL_V KL_NAME(kl_step)(int shape, KL_V x, KL_V y, KL_V c, KL_T number, KL_V sum)
{
    if (shape == KL_SUM_ABS) return sum + KL_NAME(kl_magnitude)(x - y);
    if (shape == KL_SUM_TRIANGLE) {
        /* |d| is a lower bound of p + q that holds for the rounded numbers, too. */
        KL_V d = x - y, size = KL_NAME(kl_magnitude)(d), total = -KL_MIN(-size, -((x + y) + (c + c)));
        return KL_FMA(d, d / (total + KL_NAME(kl_set)(KL_LEAST_TOTAL)), sum);
    }
    return KL_FMA(c, shape == KL_SUM_JS ? KL_NAME(kl_js_term)(x, y) : KL_NAME(kl_skew_term)(x, y, number), sum);
}

/* One register tile, two rows at a time: the logarithm needs the registers. */
KL_INLINE void KL_NAME(kl_tile_sums)(int shape, const kl_product_args *args, const KL_T *left, const KL_T *right,
                                     KL_NAME(kl_tile) *total)
{
    const KL_T *weights = args->weights;
    const KL_T factor = shape == KL_SUM_ABS ? (KL_T)-0.5 : shape == KL_SUM_TRIANGLE ? -1 : 1;
    const KL_T number = (KL_T)args->number;
    for (int i = 0; i < KL_MR; i += 2) {
        KL_V all[2][2] = {{{0}, {0}}, {{0}, {0}}};
        for (int64_t begin = 0; begin < args->K; begin += KL_CHAIN) {
            const int64_t end = args->K < begin + KL_CHAIN ? args->K : begin + KL_CHAIN;
            KL_V sum[2][2] = {{{0}, {0}}, {{0}, {0}}};
            for (int64_t k = begin; k < end; k++) {
                KL_V c = KL_NAME(kl_set)(weights[k]);
                KL_UNROLL for (int h = 0; h < 2; h++) {
                    KL_V y = KL_NAME(kl_load)(right + k * KL_NR + h * KL_W);
                    KL_UNROLL for (int r = 0; r < 2; r++) {
                        KL_V x = KL_NAME(kl_set)(left[k * KL_MR + i + r]);
                        sum[r][h] = KL_NAME(kl_step)(shape, x, y, c, number, sum[r][h]);
                    }
                }
            }
            KL_UNROLL for (int r = 0; r < 2; r++)
                KL_UNROLL for (int h = 0; h < 2; h++) all[r][h] += sum[r][h];
        }
        KL_UNROLL for (int r = 0; r < 2; r++)
            KL_UNROLL for (int h = 0; h < 2; h++) total->v[i + r][h] = all[r][h] * factor;
    }
}
