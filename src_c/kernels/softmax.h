/* Rows of log-weights: the exponential, softmax weights and their sum, entropy. */

/* gamma(x)/x^2 on [-1, 1], minimax of degree 13 with relative error 1e-16 at most
 * (mpmath.chebyfit(lambda x: (exp(x) - 1 - x)/x**2, [-1, 1], 14)). */
static const double KL_GAMMA[14] = {
    0x1.0000000000000p-1, 0x1.5555555555555p-3, 0x1.5555555555502p-5, 0x1.11111111110fdp-7,
    0x1.6c16c16c212c0p-10, 0x1.a01a01a01ee70p-13, 0x1.a01a01907b7eep-16, 0x1.71de3a4e14f40p-19,
    0x1.27e5069de9344p-22, 0x1.ae6460fae3728p-26, 0x1.1ee5640e638a0p-29, 0x1.611cb330c1fe6p-33,
    0x1.99848a67701b6p-37, 0x1.b41232cf995d5p-41};

/* The same on [-ln2/16, ln2/16], for the exponential: degree 5, error 1e-17 of e^x. */
static const double KL_GAMMA_SMALL[6] = {0x1.000000000002ep-1, 0x1.555555555556ap-3, 0x1.5555554e945bfp-5,
                                         0x1.1111110e10a35p-7, 0x1.6c1b70f4d22b8p-10, 0x1.a01e2bdf968a3p-13};

/* A double of this size has integers as its last bits. Those of n + 2048 are n with all else the same while
 * -2048 <= n < 2048, which tells by the bits above whether n is. */
#define KL_MAGIC 0x1.8000000000800p52

/* 2^(j/8 - 256), its bits less j << 49: (n + 2048) << 49, for n = 8k + j, brings j back, adds k to the exponent, and
 * takes the 256 away. */
static const double KL_EXP2[8] __attribute__((aligned(64))) = {
    0x1p-256, 0x1.f72b83c7d517bp-257, 0x1.f06fe0a31b715p-257, 0x1.ebfdad5362a27p-257,
    0x1.ea09e667f3bcdp-257, 0x1.eace5422aa0dbp-257, 0x1.ee89f995ad3adp-257, 0x1.f5818dcfba487p-257};

KL_INLINE vf64x2 kl_two_diff(vf64 a, vf64 b)
{
    vf64 h = a - b, z = h - a;
    return (vf64x2){h, (a - (h - z)) - (b + z)};
}

/* A polynomial with n coefficients (n even), even and odd powers in two chains. */
KL_INLINE vf64 kl_polynomial(vf64 x, const double *coefficients, int n)
{
    vf64 x2 = x * x, even = kl_set_f64(coefficients[n - 2]), odd = kl_set_f64(coefficients[n - 1]);
    KL_UNROLL for (int i = n - 4; i >= 0; i -= 2) {
        even = KL_FMA_F64(even, x2, kl_set_f64(coefficients[i]));
        odd = KL_FMA_F64(odd, x2, kl_set_f64(coefficients[i + 1]));
    }
    return KL_FMA_F64(odd, x, even);
}

KL_INLINE vf64 kl_square_times(vf64 x, const double *coefficients, int n)
{
    return x * x * kl_polynomial(x, coefficients, n);
}

KL_INLINE vf64 kl_gamma_near(vf64 x) { return kl_square_times(x, KL_GAMMA, 14); } /* |x| <= 1 */

/* e^x = 2^(n/8) e^s, |s| <= ln2/16, with the integer n + 2048, n = 8k + j, in the last bits of `shifted`. */
typedef struct { vf64 s; vi64 shifted; } kl_exp_reduced;

KL_INLINE kl_exp_reduced kl_exp_reduce(vf64 x)
{
    vf64 shifted = KL_FMA_F64(x, kl_set_f64(0x1.71547652b82fep3), kl_set_f64(KL_MAGIC)), n = shifted - KL_MAGIC;
    vf64 s = KL_FMA_F64(n, kl_set_f64(-KL_LN2_HIGH32 / 8), x); /* exact for |n| < 2^21 */
    return (kl_exp_reduced){KL_FMA_F64(n, kl_set_f64(-KL_LN2_REST / 8), s), (vi64)shifted};
}

/* The same for the weights of a pass over a pair of rows (logit_pass.h), one step shorter: n times the double next to
 * ln2/8, which is exact beside x. That is of x (1 + KL_STRETCH): logits all longer by 0.3 u, in proportion. */
#if KL_HAS_FMA
#define KL_STRETCH 0x1.34959p-55 /* (ln 2 - KL_LN2)/ln 2 */
#else
#define KL_STRETCH 0
#endif

KL_INLINE kl_exp_reduced kl_weight_reduce(vf64 x)
{
#if KL_HAS_FMA
    vf64 shifted = KL_FMA_F64(x, kl_set_f64(0x1.71547652b82fep3), kl_set_f64(KL_MAGIC)), n = shifted - KL_MAGIC;
    return (kl_exp_reduced){KL_FMA_F64(n, kl_set_f64(-KL_LN2 / 8), x), (vi64)shifted};
#else
    return kl_exp_reduce(x);
#endif
}

/* 2^(n/8) from j, or n, and (n + 2048) << 49 (which may have more for the exponent). */
KL_INLINE vf64 kl_exp_scale(vi64 j, vi64 power) { return (vf64)((vu64)KL_LOOKUP_F64(KL_EXP2, j) + (vu64)power); }

/* That times e^s. */
KL_INLINE vf64 kl_exp_times(vf64 s, vi64 j, vi64 power)
{
    vf64 scale = kl_exp_scale(j, power), s2 = s * s;
    const double *c = KL_GAMMA_SMALL;
    vf64 t = KL_FMA_F64(kl_set_f64(c[5]), s, kl_set_f64(c[4]));
    t = KL_FMA_F64(t, s2, KL_FMA_F64(kl_set_f64(c[3]), s, kl_set_f64(c[2])));
    t = KL_FMA_F64(t, s2, KL_FMA_F64(kl_set_f64(c[1]), s, kl_set_f64(c[0])));
    return KL_FMA_F64(scale, KL_FMA_F64(s2, t, s), scale);
}

KL_INLINE vf64 kl_weight_of(kl_exp_reduced r) { return kl_exp_times(r.s, r.shifted, (vi64)((vu64)r.shifted << 49)); }

/* e^(x + low) for x <= 0 or moderate, low tiny; 0 below -745.2. */
KL_INLINE vf64 kl_exp(vf64 x, vf64 low)
{
    vi64 gone = x < -746.0;
    x = kl_select(gone | (x != x), (vf64){0}, x);
    kl_exp_reduced r = kl_exp_reduce(x);
    vi64 j = r.shifted & 7, k = (r.shifted - (vi64)kl_set_f64(KL_MAGIC) - j) >> 3;
    /* 2^k in two steps, for subnormal results. */
    vi64 half = k >> 1, rest = k - half;
    vf64 e = kl_exp_times(r.s + low, j, (j + 2048) << 49);
    e = e * (vf64)((half + 1023) << 52) * (vf64)((rest + 1023) << 52);
    return kl_select(gone, (vf64){0}, e);
}

/* What the weights of a row are relative to: e^origin 2^n. Both are 0 where the largest logit lies within
 * KL_PLAIN_LOGITS; for others 2^n is close to its weight. Of huge logits the origin is the largest; then a - origin is
 * exact wherever the weight is more than 0, and n is 0. */
typedef struct { double origin, n; } kl_softmax_base;

/* What -2048 <= n < 2048 of kl_exp_reduce implies. Weights and sums are then far from the ends of the range. */
#define KL_PLAIN_LOGITS 178

KL_INLINE kl_softmax_base kl_softmax_base_of(double max)
{
    const int huge = fabs(max) > 0x1p15, plain = fabs(max) <= KL_PLAIN_LOGITS;
    const double n = max * 0x1.71547652b82fep0 + KL_MAGIC - KL_MAGIC;
    return (kl_softmax_base){huge ? max : 0, huge || plain ? 0 : n};
}

/* e^(a - origin) 2^-n. Below e^-708, about the least normal number, 0: beside the largest weight, at least e^-178, that
 * is nothing, and products of such a weight are not taken (terms.h). */
KL_INLINE vf64 kl_softmax_weight(vf64 a, kl_softmax_base base)
{
    vf64 x = a - base.origin;
    kl_exp_reduced r = kl_exp_reduce(x);
    const uint64_t less = (uint64_t)(int64_t)base.n << 52;
    vf64 e = kl_exp_times(r.s, r.shifted, (vi64)(((vu64)r.shifted << 49) - less));
    return KL_IF_LESS_F64(x, kl_set_f64(base.n * KL_LN2 - 708), (vf64){0}, e); /* a mask, too */
}

static double kl_softmax_sum(const double *a, int64_t K, kl_softmax_base base)
{
    kl_sum total = kl_sum_zero();
    double buffer[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes block = kl_lanes_zero();
        for (int64_t k = begin; k < K && k < begin + KL_SUM_BLOCK; k += KL_LANES) {
            const double *x = k + KL_LANES <= K ? a + k : kl_tail(a, k, K, -INFINITY, buffer);
            KL_UNROLL for (int j = 0; j < KL_NV; j++)
                block.v[j] += kl_softmax_weight(kl_load_f64(x + j * KL_W64), base);
        }
        if (K <= KL_SUM_BLOCK) return kl_lanes_total(&block);
        kl_sum_add(&total, &block);
    }
    return kl_sum_total(&total);
}

/* Why a row with numbers that are not finite is refused, or that they are masks. */
static kl_row_status kl_logits_status(const double *a, int64_t K, int *masked)
{
    double max = -INFINITY;
    for (int64_t k = 0; k < K; k++) {
        if (a[k] != a[k]) return KL_ROW_NAN;
        max = a[k] > max ? a[k] : max;
        *masked |= a[k] == -INFINITY;
    }
    return max == INFINITY ? KL_ROW_INFINITE : max == -INFINITY ? KL_ROW_EMPTY : KL_ROW_OK;
}

static kl_row_status kl_scan_logits(const double *a, int64_t K, double tolerance, kl_norm *norm,
                                    int32_t *zeros)
{
    double buffer[KL_LANES];
    kl_lanes low = kl_lanes_zero(), odd = kl_lanes_zero();
    int masked = 0;
    if (K == 0) return KL_ROW_EMPTY;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) low.v[j] = kl_set_f64(INFINITY);
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const double *x = k + KL_LANES <= K ? a + k : kl_tail(a, k, K, a[0], buffer);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 v = kl_load_f64(x + j * KL_W64);
            low.v[j] = KL_MIN_F64(-v, low.v[j]); /* of -a: the maximum from a minimum */
            odd.v[j] = KL_FMA_F64(v, (vf64){0}, odd.v[j]); /* not a number once v was NaN or infinite */
        }
    }
    if (kl_lanes_total(&odd) != 0) {
        kl_row_status status = kl_logits_status(a, K, &masked);
        if (status != KL_ROW_OK) return status;
    }
    norm->a = -kl_lanes_least(&low);
    const kl_softmax_base base = kl_softmax_base_of(norm->a);
    norm->b = kl_softmax_sum(a, K, base);
    if (tolerance >= 0) {
        double lse = base.origin + base.n * KL_LN2 + log(norm->b);
        if (!(fabs(lse) <= tolerance)) {
            norm->a = lse;
            return KL_ROW_SUM;
        }
    }
    if (masked) *zeros = 1;
    return KL_ROW_OK;
}

/* H of a row whose other bins weigh next to nothing beside the largest, below the range of kl_exp_times. */
static __attribute__((noinline)) double kl_entropy_faint(const double *a, double max, int64_t K)
{
    double rest = 0, sum = 0;
    int64_t major = 0;
    while (major < K && a[major] != max) major++;
    for (int64_t k = 0; k < K; k++) {
        const double weight = k == major ? 0 : exp(a[k] - max);
        rest += weight;
        if (weight > 0) sum += weight * (max - a[k]);
    }
    return log1p(rest) + sum / (1 + rest);
}

#define KL_FAINT 0x1p-900

/* H = log S + sum pbar (max - a): nonnegative terms. The largest bin's, the first one's of several, is 0, and with the
 * weights relative to it S = 1 + rest. */
static double kl_entropy_logits(const double *a, kl_norm norm, int64_t K)
{
    const vf64 max = kl_set_f64(norm.a);
    kl_sum rests = kl_sum_zero(), sums = kl_sum_zero();
    double group[KL_LANES];
    int found = 0;
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes rest = kl_lanes_zero(), sum = kl_lanes_zero();
        for (int64_t k = begin; k < K && k < begin + KL_SUM_BLOCK; k += KL_LANES) {
            const double *x = k + KL_LANES <= K ? a + k : kl_tail(a, k, K, -INFINITY, group);
            vi64 largest = {0};
            KL_UNROLL for (int j = 0; j < KL_NV; j++) largest |= kl_load_f64(x + j * KL_W64) == max;
            if (!found && KL_BITS_F64(largest)) {
                if (x != group) memcpy(group, x, sizeof group);
                for (int l = 0; l < KL_LANES && !found; l++)
                    if (group[l] == norm.a) group[l] = -INFINITY, found = 1;
                x = group;
            }
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                const vf64 u = KL_MAX_F64(kl_load_f64(x + j * KL_W64) - max, kl_set_f64(-1000)); /* a mask, too */
                const vf64 weight = kl_softmax_weight(u, (kl_softmax_base){0, 0});
                rest.v[j] += weight;
                sum.v[j] = KL_FMA_F64(weight, -u, sum.v[j]);
            }
        }
        kl_sum_add(&rests, &rest);
        kl_sum_add(&sums, &sum);
    }
    const double rest = kl_sum_total(&rests);
    if (rest < KL_FAINT) return kl_entropy_faint(a, norm.a, K);
    return log1p(rest) + kl_sum_total(&sums) / (1 + rest);
}
