/* Distributions given by log-weights: KL as a sum of nonnegative terms, or of far rows by their log-sums.
 *
 * With L = log(pbar/qbar) and gamma(x) = e^x - 1 - x >= 0,
 *     KL = sum pbar * gamma(-L),        and   pbar * e^-L = qbar,
 * so that terms with |L| > 1 are (qbar - pbar) + pbar * L: nothing overflows, nothing cancels. An error
 * eta common to all L (the rounding of the normalisers) adds e^-eta - 1 + eta to the sum, and shows in
 * D = sum pbar * (e^-L - 1) = e^-eta - 1: the sum plus log1pmx(D), log1pmx(x) = log(1+x) - x, is KL.
 * Differences of logits are taken exactly (TwoDiff), which makes the answer independent of a shift.
 */
/* What is common to all bins of a pair of rows: log(pbar/qbar) = a - b - shift. */
typedef struct {
    kl_softmax_base a_base, b_base;
    vf64 shift_high, shift_low, a_scale, b_scale, ratio; /* ratio: of the scales, b's to a's */
} kl_logit_pair;

/* log(p/q) = e ln2 + 2 atanh(v), with the rounding errors of its sum. */
KL_INLINE vf64x2 kl_log_exact(kl_log_reduced r)
{
    vf64 e = kl_times_exponent(r.shift, 1), w = r.v * r.v;
    vf64 small = KL_FMA_F64(r.v, w * kl_atanh_series(w), r.v + r.v);
    vf64 high = e * KL_LN2_HIGH32, sum = high + small, z = sum - high; /* e has at most 12 bits: no rounding */
    vf64 low = ((high - (sum - z)) + (small - z)) + e * KL_LN2_REST, log = sum + low;
    return (vf64x2){log, (sum - log) + low};
}

/* log(b/a) of two sums */
KL_INLINE vf64x2 kl_log_of_sums(vf64 a, vf64 b) { return kl_log_exact(kl_log_reduce(b, a, b - a)); }

KL_INLINE kl_logit_pair kl_logit_pair_of(kl_norm a, kl_norm b)
{
    kl_logit_pair r = {.a_base = kl_softmax_base_of(a.a), .b_base = kl_softmax_base_of(b.a)};
    const double n = r.a_base.n - r.b_base.n;
    vf64x2 lambda = kl_log_of_sums(kl_set_f64(a.b), kl_set_f64(b.b));
    vf64x2 origin = kl_two_diff(kl_set_f64(r.a_base.origin), kl_set_f64(r.b_base.origin));
    vf64x2 base = kl_two_diff(origin.high, kl_set_f64(-n * KL_LN2_HIGH32)), shift = kl_two_diff(base.high, lambda.high);
    r.shift_high = shift.high;
    r.shift_low = (shift.low - lambda.low) + (base.low + (origin.low + n * KL_LN2_REST));
    r.a_scale = kl_set_f64(1 / a.b);
    r.b_scale = kl_set_f64(1 / b.b);
    r.ratio = kl_set_f64(1 / b.b / (1 / a.b));
    return r;
}

/* L = log(pbar/qbar); nonsense where a logit is -inf. */
KL_INLINE vf64 kl_logit_ratio(const kl_logit_pair *c, vf64 a, vf64 b)
{
    vf64x2 d = kl_two_diff(a, b);
    return (d.high - c->shift_high) + (d.low - c->shift_low);
}

/* Logits as they lie: float64, or where `single` float32. */
KL_INLINE vf64 kl_logits_at(const void *x, int64_t k, int single)
{
    return single ? KL_WIDENED_F32((const float *)x + k) : kl_load_f64((const double *)x + k);
}

KL_INLINE kl_lanes kl_logit_ratios(const kl_logit_pair *c, const void *a, const void *b, int64_t k, int single)
{
    kl_lanes r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        const int64_t at = k + j * KL_W64;
        r.v[j] = kl_logit_ratio(c, kl_logits_at(a, at, single), kl_logits_at(b, at, single));
    }
    return r;
}

/* A pair of rows, and where they are plain their weights (else NULL). */
typedef struct { const void *a, *b; const double *a_weights, *b_weights; } kl_logit_rows;

/* `linear`: sum of weight times a - b. */
typedef struct { kl_lanes terms, excess, linear; vi64 unsupported; } kl_logit_lanes;
typedef struct { double terms, excess, linear; int unsupported; } kl_logit_sums;

/* The last, incomplete group of a row as doubles, padded with `fill`. */
KL_INLINE const double *kl_logit_tail(const void *x, int64_t done, int64_t K, int single, double fill, double *buffer)
{
    const float *narrow = x;
    const double *wide = x;
    for (int j = 0; j < KL_LANES; j++)
        buffer[j] = done + j >= K ? fill : single ? (double)narrow[done + j] : wide[done + j];
    return buffer;
}

/* Adds the terms of n bins, a multiple of KL_LANES, relative to the weights of a, and D. Of plain rows (`u` and `w`,
 * their weights) less remains to be done; the bits of the terms are the same. A group's ratios, all additions, are
 * formed beside the polynomials of the group before, nearly all multiplications. */
KL_INLINE void kl_logit_terms(kl_logit_lanes *s, const void *a, const void *b, const double *u, const double *w,
                             int64_t n, const kl_logit_pair *c, int plain, int single)
{
    const vf64 masked_below = kl_set_f64(-0x1.fffffffffffffp1023), ratio = c->ratio;
    kl_lanes next = kl_logit_ratios(c, a, b, 0, single);
    for (int64_t k = 0; k < n; k += KL_LANES) {
        const kl_lanes ratios = next;
        if (k + KL_LANES < n) next = kl_logit_ratios(c, a, b, k + KL_LANES, single);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 L = ratios.v[j], x = kl_logits_at(a, at, single), y = kl_logits_at(b, at, single);
            vf64 p = plain ? kl_load_f64(u + at) : kl_softmax_weight(x, c->a_base);
            vf64 q = plain ? kl_load_f64(w + at) : kl_softmax_weight(y, c->b_base);
            vf64 close = p * kl_gamma_near(-L), far = KL_FMA_F64(q, ratio, p * (L - 1.0));
            vf64 term = KL_IF_LESS_F64(kl_set_f64(1), kl_abs(L), far, close);
            if (!plain) {
                vi64 no_p = x < masked_below, no_q = y < masked_below;
                vf64 apart = KL_FMA_F64(q, ratio, -p), alone = q * ratio;
                apart = KL_IF_LESS_F64(kl_set_f64(1), kl_abs(L), apart, KL_FMA_F64(-p, L, close));
                term = kl_select(no_p, alone, term);
                s->unsupported |= no_q & ~no_p;
                s->excess.v[j] += kl_select(no_p, alone, apart);
                s->linear.v[j] = KL_FMA_F64(p, kl_select(no_p | no_q, (vf64){0}, x - y), s->linear.v[j]);
            }
            s->terms.v[j] += term;
        }
    }
}

KL_INLINE kl_logit_sums kl_logit_sum(const kl_logit_rows *rows, const kl_logit_pair *c, int64_t K, int plain,
                                     int single)
{
    const double fill = plain ? 0 : -INFINITY;
    const int64_t whole = K - K % KL_LANES, size = single ? sizeof(float) : sizeof(double);
    kl_sum total = kl_sum_zero(), linear = kl_sum_zero();
    kl_logit_lanes s = {.excess = kl_lanes_zero(), .unsupported = {0}};
    double tails[4][KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = whole - begin < KL_SUM_BLOCK ? whole - begin : KL_SUM_BLOCK;
        const char *a = (const char *)rows->a + begin * size, *b = (const char *)rows->b + begin * size;
        s.terms = s.linear = kl_lanes_zero();
        const double *p = plain ? rows->a_weights + begin : NULL, *q = plain ? rows->b_weights + begin : NULL;
        if (n) kl_logit_terms(&s, a, b, p, q, n, c, plain, single);
        if (n < KL_SUM_BLOCK && whole < K) {
            if (plain) p = kl_tail(rows->a_weights, whole, K, 0, tails[2]);
            if (plain) q = kl_tail(rows->b_weights, whole, K, 0, tails[3]);
            kl_logit_terms(&s, kl_logit_tail(rows->a, whole, K, single, fill, tails[0]),
                           kl_logit_tail(rows->b, whole, K, single, fill, tails[1]), p, q, KL_LANES, c, plain, 0);
        }
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total, &s.terms);
        if (!plain) kl_sum_add(&linear, &s.linear);
    }
    if (K <= KL_SUM_BLOCK) total.high = s.terms, linear.high = s.linear;
    return (kl_logit_sums){kl_sum_total(&total), plain ? 0 : kl_lanes_total(&s.excess), kl_sum_total(&linear),
                           !plain && KL_BITS_F64(s.unsupported)};
}

/* What kl_far_logits accepts: (|lambda| + 1)/KL. */
#define KL_FAR_LOGITS 2.5

/* KL of rows far from each other, sum pbar (a - b) + lambda, lambda = log(Sb/Sa), S the sums: 0 where roundings might
 * count. They are of the size of (sum pbar |L| + |lambda| + 1) u, and sum pbar |L| <= KL + min(2, sqrt(2 KL)), for
 * where L < 0 it is at most the total variation. */
KL_INLINE vf64 kl_far_logits(vf64 linear, vf64 sum, vf64x2 lambda)
{
    vf64 kl = linear / sum + lambda.high + lambda.low;
    return KL_IF_LESS_F64(kl_abs(lambda.high) + 1.0, kl * KL_FAR_LOGITS, kl, (vf64){0});
}

/* Above this, D^2/2 (D is of the size of a rounding, 1e-15) is below the rounding of the sum. */
#define KL_NEAR_LOGITS 0x1p-45

static double kl_direct_logits(const double *a, kl_norm a_norm, const double *b, kl_norm b_norm, int64_t K)
{
    const kl_logit_pair c = kl_logit_pair_of(a_norm, b_norm);
    const kl_logit_rows rows = {a, b, NULL, NULL};
    const kl_logit_sums s = kl_logit_sum(&rows, &c, K, 0, 0);
    if (s.unsupported) return INFINITY;
    if (fabs(a_norm.a) <= KL_PLAIN_LOGITS && fabs(b_norm.a) <= KL_PLAIN_LOGITS) {
        const vf64 sum = kl_set_f64(a_norm.b);
        const vf64x2 lambda = kl_log_of_sums(sum, kl_set_f64(b_norm.b));
        const double far = kl_far_logits(kl_set_f64(s.linear), sum, lambda)[0];
        if (far > 0 && far < INFINITY) return far;
    }
    double kl = s.terms * c.a_scale[0], d = s.excess * c.a_scale[0];
    if (!(kl >= KL_NEAR_LOGITS)) kl -= d * d * (0.5 - d * 0x1.5555555555555p-2);
    /* Infinite or not a number: logits near the ends of the range of double. */
    return kl >= 0x1p-100 && kl < INFINITY ? kl : kl_careful(&KL_ITSELF, KL_LOGITS, a, b, K);
}
