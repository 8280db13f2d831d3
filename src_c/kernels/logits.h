/* Distributions given by log-weights: softmax norms, and KL as a sum of nonnegative terms.
 *
 * With L = log(pbar/qbar) and gamma(x) = e^x - 1 - x >= 0,
 *     KL = sum pbar * gamma(-L),        and   pbar * e^-L = qbar,
 * so that terms with |L| > 1 are (qbar - pbar) + pbar * L: nothing overflows, nothing cancels. An error
 * eta common to all L (the rounding of the normalisers) adds e^-eta - 1 + eta to the sum, and shows in
 * D = sum pbar * (e^-L - 1) = e^-eta - 1: the sum plus log1pmx(D), log1pmx(x) = log(1+x) - x, is KL.
 * Differences of logits are taken exactly (TwoDiff), which makes the answer independent of a shift.
 */

/* gamma(x)/x^2 on [-1, 1], minimax of degree 13 with relative error 1e-16 at most
 * (mpmath.chebyfit(lambda x: (exp(x) - 1 - x)/x**2, [-1, 1], 14)). */
static const double KL_GAMMA[14] = {
    0x1.0000000000000p-1, 0x1.5555555555555p-3, 0x1.5555555555502p-5, 0x1.11111111110fdp-7,
    0x1.6c16c16c212c0p-10, 0x1.a01a01a01ee70p-13, 0x1.a01a01907b7eep-16, 0x1.71de3a4e14f40p-19,
    0x1.27e5069de9344p-22, 0x1.ae6460fae3728p-26, 0x1.1ee5640e638a0p-29, 0x1.611cb330c1fe6p-33,
    0x1.99848a67701b6p-37, 0x1.b41232cf995d5p-41};

/* The same on [-ln2/2, ln2/2], for the exponential: degree 9, error 2e-17 of e^x. */
static const double KL_GAMMA_SMALL[10] = {
    0x1.0000000000001p-1, 0x1.5555555555556p-3, 0x1.5555555553d63p-5, 0x1.11111111109b3p-7, 0x1.6c16c1788bd90p-10,
    0x1.a01a01a7c41d5p-13, 0x1.a019b90d2ae7ap-16, 0x1.71de0dae63bb3p-19, 0x1.289185613a3d6p-22, 0x1.af38a9b0ec855p-26};

/* ln 2 with 32 bits, and the rest: n * high is exact for |n| < 2^21. */
#define KL_LN2_HIGH32 0x1.62e42feep-1
#define KL_LN2_REST 0x1.a39ef35793c76p-33

typedef struct { vf64 high, low; } vf64x2; /* an unevaluated sum */

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

/* e^(x + low) for x <= 0 or moderate, low tiny; 0 below -745.2. */
KL_INLINE vf64 kl_exp(vf64 x, vf64 low)
{
    const double magic = 0x1.8p52;
    vi64 gone = x < -746.0;
    x = kl_select(gone | (x != x), (vf64){0}, x);
    vf64 n = (x * 0x1.71547652b82fep0 + magic) - magic;
    vf64 r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_HIGH32), x);
    r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_REST), r) + low;
    vf64 e = 1.0 + (r + kl_square_times(r, KL_GAMMA_SMALL, 10));
    /* 2^n in two steps, for subnormal results. */
    vi64 half = (vi64)(n * 0.5 + magic) - (vi64)kl_set_f64(magic);
    vi64 rest = (vi64)(n + magic) - (vi64)kl_set_f64(magic) - half;
    e = e * (vf64)((half + 1023) << 52) * (vf64)((rest + 1023) << 52);
    return kl_select(gone, (vf64){0}, e);
}

/* e^(a - max), a <= max. Below e^-708, about the least normal number, 0: beside the largest weight, which is 1, that is
 * nothing, and products of such a weight are not taken (terms.h). */
KL_INLINE vf64 kl_softmax_weight(vf64 a, vf64 max)
{
    const double magic = 0x1.8p52;
    vf64x2 t = kl_two_diff(a, max);
    vi64 gone = t.high < -708.0; /* a mask, too: its t.low is NaN */
    vf64 shifted = KL_FMA_F64(t.high, kl_set_f64(0x1.71547652b82fep0), kl_set_f64(magic)), n = shifted - magic;
    vf64 r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_HIGH32), t.high);
    r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_REST), r) + t.low;
    vf64 e = 1.0 + (r + kl_square_times(r, KL_GAMMA_SMALL, 10));
    vf64 power = (vf64)((vu64)((vi64)shifted + 1023) << 52); /* the integer n is in the low bits of n + magic */
    return kl_select(gone, (vf64){0}, e * power);
}

/* Sum of the weights e^(a - max), which are kept in `weights` unless that is NULL. */
static double kl_softmax_sum(const double *a, int64_t K, double max, double *weights)
{
    kl_sum total = kl_sum_zero();
    double buffer[KL_LANES], tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes block = kl_lanes_zero();
        for (int64_t k = begin; k < K && k < begin + KL_SUM_BLOCK; k += KL_LANES) {
            const int whole = k + KL_LANES <= K;
            const double *x = whole ? a + k : kl_tail(a, k, K, -INFINITY, buffer);
            double *out = whole && weights ? weights + k : tail;
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 w = kl_softmax_weight(kl_load_f64(x + j * KL_W64), kl_set_f64(max));
                block.v[j] += w;
                kl_store_f64(out + j * KL_W64, w);
            }
            if (!whole && weights) memcpy(weights + k, tail, (size_t)(K - k) * sizeof *tail);
        }
        kl_sum_add(&total, &block);
    }
    return kl_sum_total(&total);
}

static kl_row_status kl_scan_logits(const double *a, int64_t K, double tolerance, kl_norm *norm,
                                    int32_t *zeros, double *weights)
{
    double max = -INFINITY, lane[KL_LANES], buffer[KL_LANES];
    kl_lanes low = kl_lanes_zero(); /* of -a: the maximum from a minimum */
    vi64 any_nan = {0}, any_masked = {0};
    KL_UNROLL for (int j = 0; j < KL_NV; j++) low.v[j] = kl_set_f64(INFINITY);
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const double *x = k + KL_LANES <= K ? a + k : kl_tail(a, k, K, a[0], buffer);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 v = kl_load_f64(x + j * KL_W64);
            any_nan |= v != v;
            any_masked |= v < -0x1.fffffffffffffp1023;
            low.v[j] = KL_MIN_F64(-v, low.v[j]);
        }
    }
    KL_UNROLL for (int j = 0; j < KL_NV; j++) kl_store_f64(lane + j * KL_W64, low.v[j]);
    for (int j = 0; j < KL_LANES; j++) max = -lane[j] > max ? -lane[j] : max;
    const int nan = KL_BITS_F64(any_nan) != 0, masked = KL_BITS_F64(any_masked) != 0;
    if (nan) return KL_ROW_NAN;
    if (max == INFINITY) return KL_ROW_INFINITE;
    if (max == -INFINITY) return KL_ROW_EMPTY;
    norm->a = max;
    norm->b = kl_softmax_sum(a, K, max, weights);
    if (tolerance >= 0) {
        double lse = max + log(norm->b);
        if (!(fabs(lse) <= tolerance)) {
            norm->a = lse;
            return KL_ROW_SUM;
        }
    }
    if (masked) *zeros = 1;
    return KL_ROW_OK;
}

/* What is common to all bins of a pair of rows. */
typedef struct {
    vf64 a_max, b_max, shift_high, shift_low, lambda, a_scale, b_scale;
} kl_logit_pair;

KL_INLINE kl_logit_pair kl_logit_pair_of(kl_norm a, kl_norm b)
{
    kl_logit_pair r;
    vf64x2 shift = kl_two_diff(kl_set_f64(a.a), kl_set_f64(b.a));
    r.a_max = kl_set_f64(a.a);
    r.b_max = kl_set_f64(b.a);
    r.shift_high = shift.high;
    r.shift_low = shift.low;
    r.lambda = kl_set_f64(log1p((b.b - a.b) / a.b));
    r.a_scale = kl_set_f64(1 / a.b);
    r.b_scale = kl_set_f64(1 / b.b);
    return r;
}

/* L = log(pbar/qbar); nonsense where a logit is -inf. */
KL_INLINE vf64 kl_logit_ratio(const kl_logit_pair *c, vf64 a, vf64 b)
{
    vf64x2 d = kl_two_diff(a, b);
    return ((d.high - c->shift_high) + (d.low - c->shift_low)) + c->lambda;
}

/* The divergence, with the weights e^(a - max) of both rows where the scan has kept them (else NULL). */
static double kl_direct_logits_with(const double *a, kl_norm a_norm, const double *a_weights, const double *b,
                                    kl_norm b_norm, const double *b_weights, int64_t K)
{
    const kl_logit_pair c = kl_logit_pair_of(a_norm, b_norm);
    const vf64 masked_below = kl_set_f64(-0x1.fffffffffffffp1023);
    kl_sum total = kl_sum_zero();
    kl_lanes excess = kl_lanes_zero();
    vi64 unsupported = {0};
    double a_tail[KL_LANES], b_tail[KL_LANES], u_tail[KL_LANES], w_tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes block = kl_lanes_zero(), block_excess = kl_lanes_zero();
        for (int64_t k = begin; k < K && k < begin + KL_SUM_BLOCK; k += KL_LANES) {
            int whole = k + KL_LANES <= K;
            const double *x = whole ? a + k : kl_tail(a, k, K, -INFINITY, a_tail);
            const double *y = whole ? b + k : kl_tail(b, k, K, -INFINITY, b_tail);
            const double *u = !a_weights ? NULL : whole ? a_weights + k : kl_tail(a_weights, k, K, 0, u_tail);
            const double *w = !b_weights ? NULL : whole ? b_weights + k : kl_tail(b_weights, k, K, 0, w_tail);
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 ak = kl_load_f64(x + j * KL_W64), bk = kl_load_f64(y + j * KL_W64);
                vi64 no_p = ak < masked_below, no_q = bk < masked_below;
                unsupported |= no_q & ~no_p;
                vf64 L = kl_logit_ratio(&c, ak, bk);
                vf64 p = (u ? kl_load_f64(u + j * KL_W64) : kl_softmax_weight(ak, c.a_max)) * c.a_scale;
                vf64 q = (w ? kl_load_f64(w + j * KL_W64) : kl_softmax_weight(bk, c.b_max)) * c.b_scale;
                vi64 near = kl_abs(L) <= 1.0;
                vf64 close = p * kl_gamma_near(-L);
                vf64 far = KL_FMA_F64(p, L, q - p);
                block.v[j] += kl_select(no_p, q, kl_select(near, close, far));
                block_excess.v[j] += kl_select(no_p, q, kl_select(near, KL_FMA_F64(-p, L, close), q - p));
            }
        }
        kl_sum_add(&total, &block);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) excess.v[j] += block_excess.v[j];
    }
    if (KL_BITS_F64(unsupported)) return INFINITY;
    double d = kl_lanes_total(&excess);
    double kl = kl_sum_total(&total) - d * d * (0.5 - d * 0x1.5555555555555p-2);
    /* Not a number: logits beyond half of the range of double. */
    return kl >= 0x1p-100 ? kl : kl_careful(&KL_ITSELF, KL_LOGITS, a, b, K);
}

static double kl_direct_logits(const double *a, kl_norm a_norm, const double *b, kl_norm b_norm, int64_t K)
{
    return kl_direct_logits_with(a, a_norm, NULL, b, b_norm, NULL, K);
}

/* H = sum pbar * (log S + max - a): nonnegative terms, the largest bin's by log1p. */
static double kl_entropy_logits(const double *a, kl_norm norm, int64_t K)
{
    int64_t major = 0;
    for (int64_t k = 0; k < K; k++)
        if (a[k] == norm.a) { major = k; break; }
    double rest = 0, log_sum, sum = 0;
    for (int64_t k = 0; k < K; k++)
        if (k != major && a[k] != -INFINITY) rest += exp(a[k] - norm.a);
    log_sum = log1p(rest); /* the largest weight is e^0 = 1 */
    for (int64_t k = 0; k < K; k++) {
        const double weight = k == major ? 0 : exp(a[k] - norm.a);
        if (weight > 0) sum += weight * ((norm.a - a[k]) + log_sum);
    }
    return (sum + log_sum) / (1 + rest);
}
