/* KL(P||Q) of two rows of weights, as a sum of nonnegative terms: no cancellation anywhere.
 *
 * With c = Sq/Sp and d_k = c p_k - q_k (one rounding), g(p, q) = p log(p/q) - p + q >= 0:
 *     KL = G/Sq + log1pmx(-D/Sq),   G = sum g(c p_k, q_k),  D = sum d_k,  log1pmx(x) = log(1+x) - x.
 * D/Sq is only the rounding of c, so log1pmx needs two terms of its series.
 * A term, with log(p/q) = e ln2 + 2v + 2vs (log_ratio.h):
 *     e = 0:  g = v d + 2 p v s          since 2pv - d = vd
 *     else:   g = p (e ln2 + 2v) - d + 2 p v s
 * Rows with zeros or tiny entries run scaled by 2^64, which makes subnormal entries normal numbers, and
 * watch for empty bins; other rows skip both. The scaling is exact, so the bits are the same.
 */
static const kl_divergence KL_ITSELF = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .scale = 0, .factor = 1};

#define KL_UP 0x1p64
#define KL_TINY 0x1p-900

KL_INLINE vf64 kl_term(vf64 p, vf64 d, kl_log_reduced r)
{
    vf64 v2 = r.v + r.v;
    vf64 far = KL_FMA_F64(p, KL_FMA_F64(r.e, kl_set_f64(KL_LN2), v2), -d);
    return KL_FMA_F64(p, v2 * kl_atanh_tail(r.v), kl_select(r.e == 0, r.v * d, far));
}

/* g(q, p) from the reduction of p/q, d = p - q: v d - 2 q v s + ... (|v| < 1/3: a third cancels at most). */
KL_INLINE vf64 kl_reverse_term(vf64 q, vf64 d, kl_log_reduced r)
{
    vf64 v2 = r.v + r.v;
    vf64 far = KL_FMA_F64(-q, KL_FMA_F64(r.e, kl_set_f64(KL_LN2), v2), d);
    return KL_FMA_F64(-q, v2 * kl_atanh_tail(r.v), kl_select(r.e == 0, r.v * d, far));
}

typedef struct { kl_lanes g, d; vi64 unsupported; } kl_direct_sums;

/* Bins [0, n) of a block, n <= KL_SUM_BLOCK a multiple of KL_LANES. */
KL_INLINE void kl_direct_bins(kl_direct_sums *s, const double *p, const double *q, int64_t n, vf64 c, int tame)
{
    double e[KL_SUM_BLOCK], v[KL_SUM_BLOCK], cp[KL_SUM_BLOCK], d[KL_SUM_BLOCK];
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 pk = kl_load_f64(p + at), qk = kl_load_f64(q + at), qs = tame ? qk : qk * KL_UP;
            vf64 pc = pk * c, difference = kl_fma_exact(pk, c, -qs);
            kl_log_reduced r = kl_log_reduce(pc, qs, difference);
            if (!tame) s->unsupported |= (qk == 0) & (pk > 0);
            s->d.v[j] += difference;
            kl_store_f64(e + at, r.e);
            kl_store_f64(v + at, r.v);
            kl_store_f64(cp + at, pc);
            kl_store_f64(d + at, difference);
        }
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 pc = kl_load_f64(cp + at), difference = kl_load_f64(d + at);
            vf64 g = kl_term(pc, difference, (kl_log_reduced){kl_load_f64(e + at), kl_load_f64(v + at)});
            if (!tame) g = kl_select(pc == 0, kl_load_f64(q + at) * KL_UP, g);
            s->g.v[j] += g;
        }
}

KL_INLINE double kl_direct_rows(const double *p, const double *q, double sp, double sq, int64_t K, int tame)
{
    const double up = tame ? 1 : KL_UP;
    const vf64 c = kl_set_f64(sq / sp * up);
    kl_sum g = kl_sum_zero();
    kl_lanes d = kl_lanes_zero();
    vi64 unsupported = {0};
    double p_tail[KL_LANES], q_tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_direct_sums s = {kl_lanes_zero(), kl_lanes_zero(), unsupported};
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        kl_direct_bins(&s, p + begin, q + begin, whole, c, tame);
        if (whole < n) /* padding that adds +0.0 to both sums: 0 and 0, or for tame rows 1 and c */
            kl_direct_bins(&s, kl_tail(p, begin + whole, K, tame ? 1 : 0, p_tail),
                           kl_tail(q, begin + whole, K, tame ? c[0] : 0, q_tail), KL_LANES, c, tame);
        if (K <= KL_SUM_BLOCK) g.high = s.g; /* one block: nothing to compensate */
        else kl_sum_add(&g, &s.g);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) d.v[j] += s.d.v[j];
        unsupported = s.unsupported;
    }
    if (!tame && KL_BITS_F64(unsupported)) return INFINITY;
    double scale = sq * up, x = kl_lanes_total(&d) / scale;
    double kl = kl_sum_total(&g) / scale - x * x * (0.5 + x * 0x1.5555555555555p-2);
    /* Below this the rounding of c is no longer small beside the answer. */
    return kl < 0x1p-100 ? kl_careful(&KL_ITSELF, KL_PROBS, p, q, K) : kl;
}

static double kl_direct_probs(const double *p, kl_norm p_norm, const double *q, kl_norm q_norm, int64_t K)
{
    const double sp = p_norm.a, sq = q_norm.a;
    const int usual = sp > 0x1p-400 && sp < 0x1p400 && sq > 0x1p-400 && sq < 0x1p400;
    if (!usual) return kl_careful(&KL_ITSELF, KL_PROBS, p, q, K);
    if (p_norm.b > KL_TINY && q_norm.b > KL_TINY && sq / sp > 0x1p-64) return kl_direct_rows(p, q, sp, sq, K, 1);
    return kl_direct_rows(p, q, sp, sq, K, 0);
}

/* H(P) = sum over k of (p_k/S) log(S/p_k). A bin r with more than half of the mass has
 * log(S/p_r) = -log1p(-rest/S), rest being the sum of the other bins. */
static double kl_entropy_probs(const double *p, kl_norm norm, int64_t K)
{
    /* Sums near the ends of the exponent range are brought to [1/2, 1) by two exact factors. */
    int exponent = 0;
    if (!(norm.a > 0x1p-400 && norm.a < 0x1p400)) frexp(norm.a, &exponent);
    const double first = ldexp(1, -exponent / 2), second = ldexp(1, -exponent - -exponent / 2);
    const double total = norm.a * first * second;
    int64_t major = -1;
    double buffer[KL_LANES];
    for (int64_t k = 0; k < K; k++)
        if (p[k] > 0.5 * norm.a) major = k;
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
                vf64 pk = kl_load_f64(without + j * KL_W64) * first * second, pn = pk * inverse;
                vf64 unit = kl_set_f64(KL_UP);
                vf64 log_inverse = kl_log_value(kl_log_reduce(unit, pn, unit - pn));
                terms.v[j] += kl_select(pn == 0, (vf64){0}, pn * log_inverse);
                minor.v[j] += pk;
            }
        }
        kl_sum_add(&h, &terms);
        kl_sum_add(&others, &minor);
    }
    const double rest = kl_sum_total(&others) / total;
    double value = kl_sum_total(&h) / KL_UP;
    if (major >= 0) value -= p[major] / norm.a * log1p(-rest);
    return value;
}
