/* Distributions given by log-weights: KL as a sum of nonnegative terms, or of far rows by log-sums (logit_pass.h).
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

KL_INLINE kl_lanes kl_logit_ratios(const kl_logit_pair *c, const kl_logit_rows *rows, int64_t k, int single, int masks)
{
    kl_lanes r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        const int64_t at = k + j * KL_W64;
        vf64 x = kl_number_at(rows->a, at, single), L = kl_logit_ratio(c, x, kl_number_at(rows->b, at, single));
        /* Where p is 0, anything beyond 1: the term is then q. */
        r.v[j] = masks ? KL_IF_LESS_F64(x - rows->a_origin, kl_set_f64(KL_GONE), kl_set_f64(2), L) : L;
    }
    return r;
}

KL_INLINE vf64 kl_fresh_weight(const void *x, int64_t k, int single, double origin)
{
    vf64 a = kl_number_at(x, k, single) - origin;
    return KL_IF_LESS_F64(a, kl_set_f64(KL_GONE), (vf64){0}, kl_weight_of(kl_weight_reduce(a)));
}

typedef struct { kl_lanes terms, excess; } kl_logit_lanes;

/* Adds the terms of bins [begin, end), a multiple of KL_LANES, relative to the weights of a; for `excess` D, too. u and
 * w are the weights, or NULL. A group's ratios, all additions, are formed beside the polynomials of the group before,
 * nearly all multiplications. */
KL_INLINE void kl_logit_bins_of(kl_logit_lanes *s, const kl_logit_rows *rows, const double *u, const double *w,
                                int64_t begin, int64_t end, const int64_t *live, const kl_logit_pair *c, int masks,
                                int excess, int single)
{
    const vf64 ratio = c->ratio;
    if (begin >= end) return;
    kl_lanes next = kl_logit_ratios(c, rows, begin, single, masks);
    for (int64_t k = begin; k < end; k += KL_LANES) {
        const kl_lanes ratios = next;
        if (k + KL_LANES < end) next = kl_logit_ratios(c, rows, k + KL_LANES, single, masks);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 L = ratios.v[j], one = kl_set_f64(1);
            vf64 p = u ? kl_load_f64(u + at) : kl_fresh_weight(rows->a, at, single, rows->a_origin);
            vf64 q = u ? kl_load_f64(w + at) : kl_fresh_weight(rows->b, at, single, rows->b_origin);
            vf64 close = p * kl_gamma_near(-L), far = KL_FMA_F64(q, ratio, p * (L - 1.0));
            vf64 term = KL_IF_LESS_F64(one, kl_abs(L), far, close);
            s->terms.v[j] += live ? kl_live(term, live + j * KL_W64) : term;
            if (!excess) continue;
            vf64 apart = KL_IF_LESS_F64(one, kl_abs(L), KL_FMA_F64(q, ratio, -p), KL_FMA_F64(-p, L, close));
            s->excess.v[j] += live ? kl_live(apart, live + j * KL_W64) : apart;
        }
    }
}

typedef struct { double terms, excess; } kl_logit_sums;

KL_INLINE kl_logit_sums kl_logit_sum(const kl_logit_rows *rows, const double *u, const double *w,
                                     const kl_logit_pair *c, int64_t K, int masks, int excess, int single)
{
    const int64_t whole = K - K % KL_LANES;
    kl_sum total = kl_sum_zero();
    kl_logit_lanes s = {.excess = kl_lanes_zero()};
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t end = whole - begin < KL_SUM_BLOCK ? whole : begin + KL_SUM_BLOCK;
        s.terms = kl_lanes_zero();
        kl_logit_bins_of(&s, rows, u, w, begin, end, NULL, c, masks, excess, single);
        if (end == whole && end - begin < KL_SUM_BLOCK && whole < K)
            kl_logit_bins_of(&s, rows, u, w, K - KL_LANES, K, KL_LIVE + K % KL_LANES, c, masks, excess, single);
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total, &s.terms);
    }
    return (kl_logit_sums){K <= KL_SUM_BLOCK ? kl_lanes_total(&s.terms) : kl_sum_total(&total),
                           excess ? kl_lanes_total(&s.excess) : 0};
}

/* Above this, D^2/2 (D is of the size of a rounding, 1e-15) is below the rounding of the sum. */
#define KL_NEAR_LOGITS 0x1p-45

/* Near rows, one form for each way in which they come: the weights kept (float32 or not, with masks or not) or not. */
KL_INLINE double kl_near_terms(const kl_logit_rows *rows, const double *u, const double *w, const kl_logit_pair *c,
                               int64_t K, int masks)
{
    if (!u && rows->single) return kl_logit_sum(rows, NULL, NULL, c, K, 1, 0, 1).terms;
    if (!u) return kl_logit_sum(rows, NULL, NULL, c, K, 1, 0, 0).terms;
    if (masks && rows->single) return kl_logit_sum(rows, u, w, c, K, 1, 0, 1).terms;
    if (masks) return kl_logit_sum(rows, u, w, c, K, 1, 0, 0).terms;
    if (rows->single) return kl_logit_sum(rows, u, w, c, K, 0, 0, 1).terms;
    return kl_logit_sum(rows, u, w, c, K, 0, 0, 0).terms;
}

static kl_logit_sums kl_nearest_terms(const kl_logit_rows *rows, const kl_logit_pair *c, int64_t K)
{
    if (rows->single) return kl_logit_sum(rows, NULL, NULL, c, K, 1, 1, 1);
    return kl_logit_sum(rows, NULL, NULL, c, K, 1, 1, 0);
}

/* The sum of nonnegative terms of a pair of rows, times `scale`; 0 where that is too small, or no number. */
KL_INLINE double kl_near_logits(const kl_logit_rows *rows, const double *u, const double *w, double shift_high,
                                double shift_low, double scale, double ratio, int64_t K, int masks)
{
    const kl_logit_pair c = {.shift_high = kl_set_f64(shift_high), .shift_low = kl_set_f64(shift_low),
                             .ratio = kl_set_f64(ratio)};
    double kl = kl_near_terms(rows, u, w, &c, K, masks) * scale;
    if (!(kl >= KL_NEAR_LOGITS)) {
        const kl_logit_pair kept = c; /* so that c itself may stay in registers */
        const kl_logit_sums s = kl_nearest_terms(rows, &kept, K);
        const double d = s.excess * scale;
        kl = s.terms * scale - d * d * (0.5 - d * 0x1.5555555555555p-2);
    }
    return kl >= 0x1p-100 && kl < INFINITY ? kl : 0;
}

static double kl_direct_logits(const double *a, kl_norm a_norm, const double *b, kl_norm b_norm, int64_t K)
{
    double room[2][KL_LANES];
    kl_logit_rows rows = {.a = a, .b = b};
    if (K < KL_LANES) rows = kl_short_rows(rows, K, room);
    rows.a_origin = kl_weight_origin(a_norm.a);
    rows.b_origin = kl_weight_origin(b_norm.a);
    const kl_pass_sums s = kl_pass_masks(&rows, K, NULL, NULL);
    if (kl_logits_apart(&rows, s.least)) return INFINITY;
    const kl_pass_found found = kl_pass_finish(kl_set_f64(s.a), kl_set_f64(s.b), kl_set_f64(s.linear),
                                               kl_set_f64(rows.a_origin), kl_set_f64(rows.b_origin));
    const double scale = 1 / s.a, ratio = 1 / s.b / scale;
    double kl = found.far[0];
    if (kl == 0) kl = kl_near_logits(&rows, NULL, NULL, found.shift_high[0], found.shift_low[0], scale, ratio, K, 1);
    return kl > 0 ? kl : kl_careful(&KL_ITSELF, KL_LOGITS, a, b, K);
}
