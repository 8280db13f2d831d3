/* A pair of rows, a block of bins at a time, on one scale: what the terms of every divergence but KL start from.
 *
 * Both weights of a bin, their difference and the logarithm of their ratio carry small *relative* errors, up to an
 * error common to the whole row (of the normaliser) whose effect on a divergence is of second order.
 * Weights are scaled by `up`, 2^64 for PROBS and MEASURE, so that subnormal ones become normal numbers.
 */
typedef struct {
    double p[KL_SUM_BLOCK], q[KL_SUM_BLOCK];
    double d[KL_SUM_BLOCK];                      /* p - q */
    double g[KL_SUM_BLOCK], back[KL_SUM_BLOCK];  /* p log(p/q) - p + q, and the same with p and q exchanged */
    double log[KL_SUM_BLOCK], low[KL_SUM_BLOCK]; /* log(p/q) as an unevaluated sum; +-inf beside an empty bin, NaN if
                                                    both are empty */
    vi64 faint;                                  /* logits: lanes where q, not masked, is nearly below the range */
} kl_bins;

/* What of them is asked for, beside p, q and d: a constant where that pays. */
enum { KL_NEEDS_LOG = 1, KL_NEEDS_LOW = 2, KL_NEEDS_G = 4, KL_NEEDS_BACK = 8 };

/* Where the bins of a pair come from. */
typedef struct {
    int32_t domain;
    const double *p, *q;
    int64_t K;
    double factor, q_factor; /* weights: factor p against q_factor q */
    kl_logit_pair logits;    /* set for logits only: it is large */
    double up;               /* the scale of the bins: they sum to up, or for MEASURE to up times the sum of the row */
} kl_pair;

/* Bins p[0, n) and q[0, n) go to those from `at` on. */
KL_INLINE void kl_fill_weights(kl_bins *b, const kl_pair *s, const double *p, const double *q, int64_t at, int64_t n,
                               int need)
{
    const vf64 factor = kl_set_f64(s->factor), q_factor = kl_set_f64(s->q_factor);
    for (int64_t i = 0, k = at; i < n; i += KL_W64, k += KL_W64) {
        vf64 pk = kl_load_f64(p + i), qk = kl_load_f64(q + i) * q_factor, pc = pk * factor;
        vf64 d = kl_fma_exact(pk, factor, -qk);
        kl_store_f64(b->p + k, pc);
        kl_store_f64(b->q + k, qk);
        kl_store_f64(b->d + k, d);
        if (!need) continue;
        const kl_log_reduced r = kl_log_reduce(pc, qk, d);
        if (need & (KL_NEEDS_LOG | KL_NEEDS_LOW)) {
            vf64x2 log = kl_log_exact(r);
            vf64 beside = kl_select(pc == 0, kl_set_f64(-INFINITY), kl_select(qk == 0, kl_set_f64(INFINITY), log.high));
            kl_store_f64(b->log + k, kl_select((pc == 0) & (qk == 0), kl_set_f64(NAN), beside));
            if (need & KL_NEEDS_LOW) kl_store_f64(b->low + k, log.low);
        }
        if (need & KL_NEEDS_G) kl_store_f64(b->g + k, kl_select(pc == 0, qk, kl_term(pc, qk, d, r)));
        if (need & KL_NEEDS_BACK) kl_store_f64(b->back + k, kl_select(qk == 0, pc, kl_reverse_term(pc, qk, d, r)));
    }
}

/* With L = log(p/q): p - q = q (L + gamma(L)), g = p gamma(-L), back = q gamma(L) near L = 0; else by differences. */
KL_INLINE void kl_fill_logits(kl_bins *bins, const kl_pair *s, const double *a, const double *b, int64_t at, int64_t n,
                              int need)
{
    const kl_logit_pair *c = &s->logits;
    for (int64_t i = 0, k = at; i < n; i += KL_W64, k += KL_W64) {
        vf64 ak = kl_load_f64(a + i), bk = kl_load_f64(b + i);
        vf64x2 d = kl_two_diff(ak, bk), shifted = kl_two_diff(d.high, c->shift_high);
        vf64 rest = shifted.low + (d.low - c->shift_low);
        vf64 L = shifted.high + rest, z = L - shifted.high;
        vi64 no_p = ak < -0x1.fffffffffffffp1023, no_q = bk < -0x1.fffffffffffffp1023;
        vf64 p = kl_softmax_weight(ak, c->a_base) * c->a_scale, q = kl_softmax_weight(bk, c->b_base) * c->b_scale;
        vi64 near = (kl_abs(L) <= 1.0) & (p > 0) & (q > 0);
        vf64 gamma = kl_gamma_near(L), difference = kl_select(near, q * (L + gamma), p - q);
        kl_store_f64(bins->p + k, p);
        kl_store_f64(bins->q + k, q);
        kl_store_f64(bins->d + k, difference);
        bins->faint |= (q < 0x1p-960) & ~no_q & ~no_p;
        if (!need) continue;
        vf64 beside = kl_select(no_p, kl_set_f64(-INFINITY), kl_select(no_q, kl_set_f64(INFINITY), L));
        kl_store_f64(bins->log + k, kl_select(no_p & no_q, kl_set_f64(NAN), beside));
        kl_store_f64(bins->low + k, (shifted.high - (L - z)) + (rest - z));
        vf64 g = kl_select(near, p * kl_gamma_near(-L), KL_FMA_F64(p, L, q - p));
        vf64 back = kl_select(near, q * gamma, KL_FMA_F64(-q, L, p - q));
        kl_store_f64(bins->g + k, kl_select(p == 0, q, g));
        kl_store_f64(bins->back + k, kl_select(q == 0, p, back));
    }
}

/* Bins [begin, begin + 64) of the pair; returns how many, padded with empty ones to whole lane groups. */
KL_INLINE int64_t kl_fill(kl_bins *bins, const kl_pair *s, int64_t begin, int need)
{
    const int64_t n = s->K - begin < KL_SUM_BLOCK ? s->K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
    const double empty = s->domain == KL_LOGITS ? -INFINITY : 0;
    double p_tail[KL_LANES], q_tail[KL_LANES];
    int64_t at = 0;
    bins->faint = (vi64){0};
    while (at < n) { /* whole groups, then the last one */
        const int in_place = at < whole;
        const double *p = in_place ? s->p + begin : kl_tail(s->p, begin + at, s->K, empty, p_tail);
        const double *q = in_place ? s->q + begin : kl_tail(s->q, begin + at, s->K, empty, q_tail);
        const int64_t count = in_place ? whole : KL_LANES;
        if (s->domain == KL_LOGITS) kl_fill_logits(bins, s, p, q, at, count, need);
        else kl_fill_weights(bins, s, p, q, at, count, need);
        at += count;
    }
    return at;
}

/* A positive normal number as one in [1/2, 1) and a power of two; that power. */
KL_INLINE double kl_fraction(double x, int *exponent)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    *exponent = (int)(bits >> 52) - 1022;
    bits = (bits & 0xfffffffffffffu) | (uint64_t)1022 << 52;
    memcpy(&x, &bits, sizeof x);
    return x;
}

KL_INLINE double kl_power_of_two(int exponent)
{
    const uint64_t bits = (uint64_t)(exponent + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Two rows; the caller has seen to it that sums are far from the ends of the exponent range. */
KL_INLINE void kl_pair_of(kl_pair *s, int32_t domain, const double *p, kl_norm np, const double *q, kl_norm nq,
                          int64_t K)
{
    s->domain = domain, s->p = p, s->q = q, s->K = K;
    s->factor = s->q_factor = KL_UP;
    s->up = domain == KL_LOGITS ? 1 : KL_UP;
    if (domain == KL_LOGITS) s->logits = kl_logit_pair_of(np, nq);
    if (domain == KL_PROBS) { /* a power of two on a row must change no bit, not even of a square root */
        int exponent;
        const double sum = kl_fraction(nq.a, &exponent);
        s->q_factor = KL_UP * kl_power_of_two(-exponent);
        s->factor = sum / np.a * KL_UP;
        s->up = sum * KL_UP;
    }
}

/* A row against the centre. */
KL_INLINE void kl_pair_with(kl_pair *s, int32_t domain, const double *row, kl_norm norm, const kl_center *c, int64_t K)
{
    s->domain = domain, s->p = row, s->q = domain == KL_LOGITS ? c->row : c->probs, s->K = K;
    s->factor = domain == KL_PROBS ? KL_UP / norm.a : KL_UP;
    s->q_factor = KL_UP;
    s->up = domain == KL_LOGITS ? 1 : KL_UP;
    if (domain == KL_LOGITS) s->logits = kl_logit_pair_of(norm, c->norm);
}
