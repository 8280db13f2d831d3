/* KL(P||Q) of two rows of weights, as a sum of nonnegative terms: no cancellation anywhere.
 *
 * With c = Sq/Sp and d_k = c p_k - q_k (one rounding), g(p, q) = p log(p/q) - p + q >= 0:
 *     KL = G/Sq + log1pmx(-D/Sq),   G = sum g(c p_k, q_k),  D = sum d_k,  log1pmx(x) = log(1+x) - x.
 * D/Sq is only the rounding of c, so log1pmx needs two terms of its series.
 * A term, with log(p/q) = e ln2 + 2v + 2vs (log_ratio.h):
 *     e = 0:  g = v d + 2 p v s          since 2pv - d = vd
 *     else:   g = p (e ln2 + 2v) - d + 2 p v s
 * Everything runs scaled by 2^64, so that subnormal entries become normal numbers.
 */
#define KL_UP 0x1p64

KL_INLINE vf64 kl_term(vf64 p, vf64 q, vf64 d)
{
    kl_log_parts r = kl_log_ratio(p, q, d);
    vf64 v2 = r.v + r.v;
    vf64 far = KL_FMA_F64(p, KL_FMA_F64(r.e, kl_set_f64(KL_LN2_HIGH), v2), -d);
    vf64 lead = kl_select(r.near, r.v * d, far);
    vf64 tail = KL_FMA_F64(r.e, kl_set_f64(KL_LN2_LOW), v2 * r.s);
    vf64 g = KL_FMA_F64(p, tail, lead);
    return kl_select(p == 0, q, g);
}

typedef struct { kl_lanes g, d; vi64 unsupported; } kl_direct_block;

KL_INLINE void kl_direct_step(kl_direct_block *s, const double *p, const double *q, vf64 c)
{
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 pk = kl_load_f64(p + j * KL_W64), qk = kl_load_f64(q + j * KL_W64);
        vf64 cp = pk * c, qs = qk * KL_UP;
        vf64 d = kl_fma_exact(pk, c, -qs);
        s->unsupported |= (qk == 0) & (pk > 0);
        s->g.v[j] += kl_term(cp, qs, d);
        s->d.v[j] += d;
    }
}

static double kl_direct_probs(const double *p, kl_norm p_norm, const double *q, kl_norm q_norm,
                              int64_t K)
{
    const double sp = p_norm.a, sq = q_norm.a;
    if (!(sp > 0x1p-400 && sp < 0x1p400 && sq > 0x1p-400 && sq < 0x1p400))
        return kl_careful_probs(p, q, K);
    const vf64 c = kl_set_f64(sq / sp * KL_UP);
    const int64_t whole = K - K % KL_LANES;
    kl_sum g = kl_sum_zero();
    kl_lanes d = kl_lanes_zero();
    vi64 unsupported = {0};
    double p_tail[KL_LANES], q_tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_direct_block s = {kl_lanes_zero(), kl_lanes_zero(), unsupported};
        int64_t end = begin + KL_SUM_BLOCK < whole ? begin + KL_SUM_BLOCK : whole, k = begin;
        for (; k < end; k += KL_LANES) kl_direct_step(&s, p + k, q + k, c);
        if (k < K && k == whole && k - begin < KL_SUM_BLOCK)
            kl_direct_step(&s, kl_tail(p, k, K, 0, p_tail), kl_tail(q, k, K, 0, q_tail), c);
        kl_sum_add(&g, &s.g);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) d.v[j] += s.d.v[j];
        unsupported = s.unsupported;
    }
    if (KL_BITS_F64(unsupported)) return INFINITY;
    double x = kl_lanes_total(&d) / (sq * KL_UP);
    double kl = kl_sum_total(&g) / (sq * KL_UP) - x * x * (0.5 + x / 3);
    /* Below this the rounding of c is no longer small beside the answer. */
    return kl < 0x1p-100 ? kl_careful_probs(p, q, K) : kl;
}

/* H(P) = sum over k of (p_k/S) log(S/p_k). A bin r with more than half of the mass has
 * log(S/p_r) = -log1p(-rest/S), rest being the sum of the other bins. */
static double kl_entropy_probs(const double *p, kl_norm norm, int64_t K)
{
    const double total = norm.a;
    int64_t major = -1;
    double rest = 0, buffer[KL_LANES];
    for (int64_t k = 0; k < K; k++)
        if (p[k] > 0.5 * total) major = k;
    kl_sum h = kl_sum_zero(), others = kl_sum_zero();
    const int64_t whole = K - K % KL_LANES;
    const vf64 inverse = kl_set_f64(1 / total * KL_UP);
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes terms = kl_lanes_zero(), minor = kl_lanes_zero();
        for (int64_t k = begin; k < K && k < begin + KL_SUM_BLOCK; k += KL_LANES) {
            const double *x = k < whole ? p + k : kl_tail(p, k, K, 0, buffer);
            double without[KL_LANES];
            memcpy(without, x, sizeof without);
            if (major >= k && major < k + KL_LANES) without[major - k] = 0;
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 pk = kl_load_f64(without + j * KL_W64), pn = pk * inverse;
                vf64 unit = kl_set_f64(KL_UP);
                kl_log_parts r = kl_log_ratio(unit, pn, unit - pn);
                terms.v[j] += kl_select(pn == 0, (vf64){0}, pn * kl_log_value(&r));
                minor.v[j] += pk;
            }
        }
        kl_sum_add(&h, &terms);
        kl_sum_add(&others, &minor);
    }
    rest = kl_sum_total(&others) / total;
    double value = kl_sum_total(&h) / KL_UP;
    if (major >= 0) value -= p[major] / total * log1p(-rest);
    return value;
}
