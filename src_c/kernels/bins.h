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

/* Where the bins of a pair come from. */
typedef struct {
    int32_t domain;
    const double *p, *q;
    int64_t K;
    double factor, q_factor; /* weights: factor p against q_factor q */
    kl_logit_pair logits;
    double up;               /* the scale of the bins: they sum to up, or for MEASURE to up times the sum of the row */
} kl_pair;

KL_INLINE void kl_fill_weights(kl_bins *b, const kl_pair *s, const double *p, const double *q, int64_t n, int logs)
{
    const vf64 factor = kl_set_f64(s->factor), q_factor = kl_set_f64(s->q_factor);
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 pk = kl_load_f64(p + k), qk = kl_load_f64(q + k) * q_factor, pc = pk * factor;
        vf64 d = kl_fma_exact(pk, factor, -qk);
        kl_store_f64(b->p + k, pc);
        kl_store_f64(b->q + k, qk);
        kl_store_f64(b->d + k, d);
        if (!logs) continue;
        kl_log_reduced r = kl_log_reduce(pc, qk, d);
        vf64x2 log = kl_log_exact(r);
        vf64 beside = kl_select(pc == 0, kl_set_f64(-INFINITY), kl_select(qk == 0, kl_set_f64(INFINITY), log.high));
        kl_store_f64(b->log + k, kl_select((pc == 0) & (qk == 0), kl_set_f64(NAN), beside));
        kl_store_f64(b->low + k, log.low);
        kl_store_f64(b->g + k, kl_select(pc == 0, qk, kl_term(pc, qk, d, r)));
        kl_store_f64(b->back + k, kl_select(qk == 0, pc, kl_reverse_term(pc, qk, d, r)));
    }
}

/* With L = log(p/q): p - q = q (L + gamma(L)), g = p gamma(-L), back = q gamma(L) near L = 0; else by differences. */
KL_INLINE void kl_fill_logits(kl_bins *bins, const kl_pair *s, const double *a, const double *b, int64_t n, int logs)
{
    const kl_logit_pair *c = &s->logits;
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 ak = kl_load_f64(a + k), bk = kl_load_f64(b + k);
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
        if (!logs) continue;
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
KL_INLINE int64_t kl_fill(kl_bins *bins, const kl_pair *s, int64_t begin, int logs)
{
    const int64_t n = s->K - begin < KL_SUM_BLOCK ? s->K - begin : KL_SUM_BLOCK;
    const int64_t padded = (n + KL_LANES - 1) / KL_LANES * KL_LANES;
    const double *p = s->p + begin, *q = s->q + begin;
    double p_tail[KL_SUM_BLOCK], q_tail[KL_SUM_BLOCK];
    bins->faint = (vi64){0};
    if (padded > n) {
        const double empty = s->domain == KL_LOGITS ? -INFINITY : 0;
        for (int64_t k = 0; k < padded; k++) {
            p_tail[k] = k < n ? p[k] : empty;
            q_tail[k] = k < n ? q[k] : empty;
        }
        p = p_tail;
        q = q_tail;
    }
    if (s->domain == KL_LOGITS) kl_fill_logits(bins, s, p, q, padded, logs);
    else kl_fill_weights(bins, s, p, q, padded, logs);
    return padded;
}

/* Two rows; the caller has seen to it that sums are far from the ends of the exponent range. */
KL_INLINE kl_pair kl_pair_of(int32_t domain, const double *p, kl_norm np, const double *q, kl_norm nq, int64_t K)
{
    kl_pair s = {.domain = domain, .p = p, .q = q, .K = K, .factor = KL_UP, .q_factor = KL_UP, .up = 1};
    if (domain == KL_LOGITS) s.logits = kl_logit_pair_of(np, nq);
    else s.up = KL_UP;
    if (domain == KL_PROBS) { /* a power of two on a row must change no bit, not even of a square root */
        int exponent;
        const double sum = frexp(nq.a, &exponent);
        s.q_factor = ldexp(KL_UP, -exponent);
        s.factor = sum / np.a * KL_UP;
        s.up = sum * KL_UP;
    }
    return s;
}

/* A row against the centre. */
KL_INLINE kl_pair kl_pair_with(int32_t domain, const double *row, kl_norm norm, const kl_center *c, int64_t K)
{
    kl_pair s = {.domain = domain, .p = row, .q = c->probs, .K = K, .factor = KL_UP, .q_factor = KL_UP, .up = KL_UP};
    if (domain == KL_PROBS) s.factor = KL_UP / norm.a;
    if (domain == KL_LOGITS) {
        s.q = c->row;
        s.logits = kl_logit_pair_of(norm, c->norm);
        s.up = 1;
    }
    return s;
}
