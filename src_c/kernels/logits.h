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

/* The same of -x on [-ln2/16, ln2/16], for the exponential: degree 5, error 1e-17 of e^x. */
static const double KL_GAMMA_SMALL[6] = {0x1.000000000002ep-1, -0x1.555555555556ap-3, 0x1.5555554e945bfp-5,
                                         -0x1.1111110e10a35p-7, 0x1.6c1b70f4d22b8p-10, -0x1.a01e2bdf968a3p-13};

/* 2^(j/8), its bits less j << 49: n << 49, for n = 8k + j, brings j back and adds k to the exponent. */
static const double KL_EXP2[8] __attribute__((aligned(64))) = {
                                  0x1p0, 0x1.f72b83c7d517bp-1, 0x1.f06fe0a31b715p-1, 0x1.ebfdad5362a27p-1,
                                  0x1.ea09e667f3bcdp-1, 0x1.eace5422aa0dbp-1, 0x1.ee89f995ad3adp-1,
                                  0x1.f5818dcfba487p-1};

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

/* e^-x = 2^(n/8) e^-s, |s| <= ln2/16, with the integer n = 8k + j in the last bits of `shifted`. */
typedef struct { vf64 s; vi64 shifted; } kl_exp_reduced;

#define KL_MAGIC 0x1.8p52 /* a double of this size has integers as its last bits */

KL_INLINE kl_exp_reduced kl_exp_reduce(vf64 x)
{
    vf64 shifted = KL_FMA_F64(x, kl_set_f64(-0x1.71547652b82fep3), kl_set_f64(KL_MAGIC)), n = shifted - KL_MAGIC;
    vf64 s = KL_FMA_F64(n, kl_set_f64(KL_LN2_HIGH32 / 8), x); /* exact for |n| < 2^21 */
    return (kl_exp_reduced){KL_FMA_F64(n, kl_set_f64(KL_LN2_REST / 8), s), (vi64)shifted};
}

/* 2^(n/8) e^-s from j, or n, and n << 49 (which may have more for the exponent). */
KL_INLINE vf64 kl_exp_times(vf64 s, vi64 j, vi64 power)
{
    vf64 scale = (vf64)((vi64)KL_LOOKUP_F64(KL_EXP2, j) + power), s2 = s * s;
    const double *c = KL_GAMMA_SMALL;
    vf64 t = KL_FMA_F64(kl_set_f64(c[5]), s, kl_set_f64(c[4]));
    t = KL_FMA_F64(t, s2, KL_FMA_F64(kl_set_f64(c[3]), s, kl_set_f64(c[2])));
    t = KL_FMA_F64(t, s2, KL_FMA_F64(kl_set_f64(c[1]), s, kl_set_f64(c[0])));
    return KL_FMA_F64(scale, KL_FMA_F64(s2, t, -s), scale);
}

/* e^(x + low) for x <= 0 or moderate, low tiny; 0 below -745.2. */
KL_INLINE vf64 kl_exp(vf64 x, vf64 low)
{
    vi64 gone = x < -746.0;
    x = kl_select(gone | (x != x), (vf64){0}, x);
    kl_exp_reduced r = kl_exp_reduce(-x);
    vi64 j = r.shifted & 7, k = (r.shifted - (vi64)kl_set_f64(KL_MAGIC) - j) >> 3;
    /* 2^k in two steps, for subnormal results. */
    vi64 half = k >> 1, rest = k - half;
    vf64 e = kl_exp_times(r.s - low, j, j << 49);
    e = e * (vf64)((half + 1023) << 52) * (vf64)((rest + 1023) << 52);
    return kl_select(gone, (vf64){0}, e);
}

/* What the weights of a row are relative to: e^origin 2^n, close to its largest. The origin is 0 for all but huge
 * logits; then a - origin is exact wherever the weight is more than 0, and n is 0. */
typedef struct { double origin, n; } kl_softmax_base;

KL_INLINE kl_softmax_base kl_softmax_base_of(double max)
{
    const int huge = fabs(max) > 0x1p15;
    const double n = max * 0x1.71547652b82fep0 + KL_MAGIC - KL_MAGIC;
    return (kl_softmax_base){huge ? max : 0, huge ? 0 : n};
}

/* e^(a - origin) 2^-n. Below e^-708, about the least normal number, 0: beside the largest weight, which is about 1, that
 * is nothing, and products of such a weight are not taken (terms.h). */
KL_INLINE vf64 kl_softmax_weight(vf64 a, kl_softmax_base base)
{
    vf64 x = base.origin - a;
    kl_exp_reduced r = kl_exp_reduce(x);
    const uint64_t less = (uint64_t)(int64_t)base.n << 52;
    vf64 e = kl_exp_times(r.s, r.shifted, (vi64)(((vu64)r.shifted << 49) - less));
    return KL_IF_LESS_F64(kl_set_f64(708 - base.n * KL_LN2), x, (vf64){0}, e); /* a mask, too */
}

/* Sum of the weights, which are kept in `weights` unless that is NULL. */
static double kl_softmax_sum(const double *a, int64_t K, kl_softmax_base base, double *weights)
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
                vf64 w = kl_softmax_weight(kl_load_f64(x + j * KL_W64), base);
                block.v[j] += w;
                kl_store_f64(out + j * KL_W64, w);
            }
            if (!whole && weights) memcpy(weights + k, tail, (size_t)(K - k) * sizeof *tail);
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
                                    int32_t *zeros, double *weights)
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
    norm->b = kl_softmax_sum(a, K, base, weights);
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

/* What is common to all bins of a pair of rows: log(pbar/qbar) = a - b - shift. */
typedef struct {
    kl_softmax_base a_base, b_base;
    vf64 shift_high, shift_low, a_scale, b_scale;
} kl_logit_pair;

KL_INLINE kl_logit_pair kl_logit_pair_of(kl_norm a, kl_norm b)
{
    kl_logit_pair r = {.a_base = kl_softmax_base_of(a.a), .b_base = kl_softmax_base_of(b.a)};
    const double n = r.a_base.n - r.b_base.n;
    vf64 sa = kl_set_f64(a.b), sb = kl_set_f64(b.b), lambda = kl_log_value(kl_log_reduce(sb, sa, sb - sa));
    vf64x2 origin = kl_two_diff(kl_set_f64(r.a_base.origin), kl_set_f64(r.b_base.origin));
    vf64x2 base = kl_two_diff(origin.high, kl_set_f64(-n * KL_LN2_HIGH32)), shift = kl_two_diff(base.high, lambda);
    r.shift_high = shift.high;
    r.shift_low = shift.low + (base.low + (origin.low + n * KL_LN2_REST));
    r.a_scale = kl_set_f64(1 / a.b);
    r.b_scale = kl_set_f64(1 / b.b);
    return r;
}

/* L = log(pbar/qbar); nonsense where a logit is -inf. */
KL_INLINE vf64 kl_logit_ratio(const kl_logit_pair *c, vf64 a, vf64 b)
{
    vf64x2 d = kl_two_diff(a, b);
    return (d.high - c->shift_high) + (d.low - c->shift_low);
}

KL_INLINE kl_lanes kl_logit_ratios(const kl_logit_pair *c, const double *a, const double *b)
{
    kl_lanes r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++)
        r.v[j] = kl_logit_ratio(c, kl_load_f64(a + j * KL_W64), kl_load_f64(b + j * KL_W64));
    return r;
}

/* The rows of a pair, and their weights where the scan has kept them (else NULL). */
typedef struct { const double *a, *b, *a_weights, *b_weights; } kl_logit_rows;

typedef struct { kl_lanes terms, excess; vi64 unsupported; } kl_logit_lanes;
typedef struct { double terms, excess; int unsupported; } kl_logit_sums;

/* Bins [begin, begin + n) of a block, n <= KL_SUM_BLOCK, as whole lane groups: the row itself, or padded with a copy. */
KL_INLINE const double *kl_block(const double *x, int64_t begin, int64_t n, double fill, double *buffer)
{
    if (n % KL_LANES == 0) return x + begin;
    for (int64_t k = 0; k < n + KL_LANES - n % KL_LANES; k++) buffer[k] = k < n ? x[begin + k] : fill;
    return buffer;
}

/* Adds a block's terms, relative to the weights of a, and D. Of rows of which none is masked, and with D not asked for,
 * less remains to be done; the bits of the terms are the same. A group's ratios, all additions, are formed beside the
 * polynomials of the group before, nearly all multiplications. */
KL_INLINE void kl_logit_terms(kl_logit_lanes *s, const double *a, const double *b, const double *u, const double *w,
                             int64_t n, const kl_logit_pair *c, int usual)
{
    const vf64 masked_below = kl_set_f64(-0x1.fffffffffffffp1023), ratio = kl_set_f64(c->b_scale[0] / c->a_scale[0]);
    kl_lanes next = kl_logit_ratios(c, a, b);
    for (int64_t k = 0; k < n; k += KL_LANES) {
        const kl_lanes ratios = next;
        if (k + KL_LANES < n) next = kl_logit_ratios(c, a + k + KL_LANES, b + k + KL_LANES);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 L = ratios.v[j];
            vf64 p = usual ? kl_load_f64(u + at) : kl_softmax_weight(kl_load_f64(a + at), c->a_base);
            vf64 q = usual ? kl_load_f64(w + at) : kl_softmax_weight(kl_load_f64(b + at), c->b_base);
            vf64 close = p * kl_gamma_near(-L), far = KL_FMA_F64(q, ratio, p * (L - 1.0));
            vf64 term = KL_IF_LESS_F64(kl_set_f64(1), kl_abs(L), far, close);
            if (!usual) {
                vi64 no_p = kl_load_f64(a + at) < masked_below, no_q = kl_load_f64(b + at) < masked_below;
                vf64 apart = KL_FMA_F64(q, ratio, -p), alone = q * ratio;
                apart = KL_IF_LESS_F64(kl_set_f64(1), kl_abs(L), apart, KL_FMA_F64(-p, L, close));
                term = kl_select(no_p, alone, term);
                s->unsupported |= no_q & ~no_p;
                s->excess.v[j] += kl_select(no_p, alone, apart);
            }
            s->terms.v[j] += term;
        }
    }
}

KL_INLINE kl_logit_sums kl_logit_sum(const kl_logit_rows *rows, const kl_logit_pair *c, int64_t K, int usual)
{
    const double fill = usual ? 0 : -INFINITY;
    kl_sum total = kl_sum_zero();
    kl_logit_lanes s = {.excess = kl_lanes_zero(), .unsupported = {0}};
    double tails[4][KL_SUM_BLOCK];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK;
        const double *a = kl_block(rows->a, begin, n, fill, tails[0]), *u = NULL;
        const double *b = kl_block(rows->b, begin, n, fill, tails[1]), *w = NULL;
        if (usual) {
            u = kl_block(rows->a_weights, begin, n, 0, tails[2]);
            w = kl_block(rows->b_weights, begin, n, 0, tails[3]);
        }
        s.terms = kl_lanes_zero();
        kl_logit_terms(&s, a, b, u, w, (n + KL_LANES - 1) / KL_LANES * KL_LANES, c, usual);
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total, &s.terms);
    }
    const double terms = K <= KL_SUM_BLOCK ? kl_lanes_total(&s.terms) : kl_sum_total(&total);
    return (kl_logit_sums){terms, usual ? 0 : kl_lanes_total(&s.excess), !usual && KL_BITS_F64(s.unsupported)};
}

/* Above this, D^2/2 (D is of the size of a rounding, 1e-15) is below the rounding of the sum. */
#define KL_NEAR_LOGITS 0x1p-45

static double kl_direct_logits(const double *a, kl_norm a_norm, const double *b, kl_norm b_norm, int64_t K)
{
    const kl_logit_pair c = kl_logit_pair_of(a_norm, b_norm);
    const kl_logit_rows rows = {a, b, NULL, NULL};
    const kl_logit_sums s = kl_logit_sum(&rows, &c, K, 0);
    if (s.unsupported) return INFINITY;
    double kl = s.terms * c.a_scale[0], d = s.excess * c.a_scale[0];
    if (!(kl >= KL_NEAR_LOGITS)) kl -= d * d * (0.5 - d * 0x1.5555555555555p-2);
    /* Not a number: logits beyond half of the range of double. */
    return kl >= 0x1p-100 ? kl : kl_careful(&KL_ITSELF, KL_LOGITS, a, b, K);
}

/* The same of rows without masks, from the weights that the scan has kept. */
static double kl_direct_logits_with(const kl_logit_rows *rows, kl_norm a_norm, kl_norm b_norm, int64_t K)
{
    const kl_logit_pair c = kl_logit_pair_of(a_norm, b_norm);
    const double kl = kl_logit_sum(rows, &c, K, 1).terms * c.a_scale[0];
    return kl >= KL_NEAR_LOGITS ? kl : kl_direct_logits(rows->a, a_norm, rows->b, b_norm, K);
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
