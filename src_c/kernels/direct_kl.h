/* KL(P||Q) of two rows of weights, as a sum of nonnegative terms: no cancellation anywhere.
 *
 * With c = Sq/Sp and d_k = c p_k - q_k (one rounding), g(p, q) = p log(p/q) - p + q >= 0:
 *     KL = G/Sq + log1pmx(-D/Sq),   G = sum g(c p_k, q_k),  D = sum d_k,  log1pmx(x) = log(1+x) - x.
 * D/Sq is only the rounding of c, so log1pmx needs two terms of its series.
 * A term, with log(p/q) = e ln2 + 2v + vt and q', d' of log_ratio.h, for which 2pv - d' = v d':
 *     g = v (d' + p t) + (e p ln2 + q - q')
 * The second part vanishes with e. It may be negative, but no more than twice the term: near ratios of 4/3.
 * Rows with zeros or tiny entries run scaled by 2^64, which makes subnormal entries normal numbers, and
 * watch for empty bins; other rows skip both. The scaling is exact, so the bits are the same.
 */
static const kl_divergence KL_ITSELF = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .scale = 0, .factor = 1};

#define KL_UP 0x1p64
#define KL_TINY 0x1p-900

/* g(p, q) = v (close + p t) + far */
typedef struct { vf64 v, p, close, far; } kl_open_term;

/* From the reduction of p/q, d = p - q. */
KL_INLINE kl_open_term kl_opened(vf64 p, vf64 q, vf64 d, kl_log_reduced r)
{
    vf64 scaled = kl_scaled(q, r.shift), far = kl_fma_exact(p, kl_times_exponent(r.shift, KL_LN2), q - scaled);
    return (kl_open_term){r.v, p, kl_close_difference(p, scaled, d, r.shift), far};
}

KL_INLINE vf64 kl_closed(kl_open_term t)
{
    vf64 w = t.v * t.v;
    return KL_FMA_F64(t.v, KL_FMA_F64(t.p * w, kl_atanh_series(w), t.close), t.far);
}

KL_INLINE vf64 kl_term(vf64 p, vf64 q, vf64 d, kl_log_reduced r) { return kl_closed(kl_opened(p, q, d, r)); }

/* g(q, p) from the same. */
KL_INLINE vf64 kl_reverse_term(vf64 p, vf64 q, vf64 d, kl_log_reduced r)
{
    return kl_term(q, p, -d, (kl_log_reduced){-r.shift, -r.v});
}

typedef struct { kl_lanes g, d; vi64 unsupported; } kl_direct_sums;

typedef struct { kl_open_term v[KL_NV]; } kl_open_group;

KL_INLINE kl_open_group kl_direct_open(kl_direct_sums *s, const double *p, const double *q, vf64 c, int tame)
{
    kl_open_group t;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 pk = kl_load_f64(p + j * KL_W64), qk = kl_load_f64(q + j * KL_W64), qs = tame ? qk : qk * KL_UP;
        vf64 pc = pk * c, d = kl_fma_exact(pk, c, -qs);
        t.v[j] = kl_opened(pc, qs, d, kl_log_reduce(pc, qs, d));
        s->d.v[j] += d;
        if (tame) continue;
        s->unsupported |= (qk == 0) & (pk > 0);
        const kl_open_term empty = {(vf64){0}, pc, (vf64){0}, qs};
        t.v[j].v = kl_select(pc == 0, empty.v, t.v[j].v);
        t.v[j].close = kl_select(pc == 0, empty.close, t.v[j].close);
        t.v[j].far = kl_select(pc == 0, empty.far, t.v[j].far);
    }
    return t;
}

KL_INLINE void kl_direct_close(kl_direct_sums *s, const kl_open_group *t)
{
    KL_UNROLL for (int j = 0; j < KL_NV; j++) s->g.v[j] += kl_closed(t->v[j]);
}

/* Groups that are open at a time: what the registers hold. */
#define KL_ABREAST (KL_VECTOR_BYTES == 64 ? 2 : 1)

/* Bins [0, n) of a block, n a multiple of KL_LANES. A group's second half runs beside a later one's first: a processor
 * that looks ahead some 130 operations does not find enough of the next terms behind whole ones. */
KL_INLINE void kl_direct_bins(kl_direct_sums *s, const double *p, const double *q, int64_t n, vf64 c, int tame)
{
    kl_open_group t[KL_ABREAST];
    const int64_t step = KL_ABREAST * KL_LANES, even = n - n % step;
    if (even) {
        KL_UNROLL for (int i = 0; i < KL_ABREAST; i++)
            t[i] = kl_direct_open(s, p + i * KL_LANES, q + i * KL_LANES, c, tame);
        for (int64_t k = step; k < even; k += step)
            KL_UNROLL for (int i = 0; i < KL_ABREAST; i++) {
                kl_direct_close(s, t + i);
                t[i] = kl_direct_open(s, p + k + i * KL_LANES, q + k + i * KL_LANES, c, tame);
            }
        KL_UNROLL for (int i = 0; i < KL_ABREAST; i++) kl_direct_close(s, t + i);
    }
    if (even < n) {
        t[0] = kl_direct_open(s, p + even, q + even, c, tame);
        kl_direct_close(s, t);
    }
}

typedef struct { double g, d; int unsupported; } kl_direct_sum;

/* G and D of one pair of rows, c = factor. */
KL_INLINE kl_direct_sum kl_direct_row(const double *p, const double *q, double factor, int64_t K, int tame)
{
    const vf64 c = kl_set_f64(factor);
    kl_sum g = kl_sum_zero();
    kl_direct_sums s = {.d = kl_lanes_zero(), .unsupported = {0}};
    double p_tail[KL_LANES], q_tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        s.g = kl_lanes_zero();
        kl_direct_bins(&s, p + begin, q + begin, whole, c, tame);
        if (whole < n) /* padding that adds +0.0 to both sums: 0 and 0, or for tame rows 1 and c */
            kl_direct_bins(&s, kl_tail(p, begin + whole, K, tame ? 1 : 0, p_tail),
                           kl_tail(q, begin + whole, K, tame ? c[0] : 0, q_tail), KL_LANES, c, tame);
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&g, &s.g);
    }
    const double total = K <= KL_SUM_BLOCK ? kl_lanes_total(&s.g) : kl_sum_total(&g);
    return (kl_direct_sum){total, kl_lanes_total(&s.d), !tame && KL_BITS_F64(s.unsupported)};
}

static kl_direct_sum kl_direct_row_up(const double *p, const double *q, double factor, int64_t K)
{
    return kl_direct_row(p, q, factor, K, 0);
}

KL_INLINE int kl_is_usual(kl_norm norm) { return norm.a > 0x1p-400 && norm.a < 0x1p400; }

_Static_assert(KL_TOGETHER == KL_LANES, "one lane a pair");

/* KL of n pairs, at most KL_LANES: what comes before and after the sums is done for all of them at a time. */
static void kl_direct_probs(const kl_row_pair *pairs, int64_t n, int64_t K, double *out)
{
    double factor[KL_LANES], scale[KL_LANES], g[KL_LANES], d[KL_LANES], kl[KL_LANES];
    for (int64_t r = 0; r < KL_LANES; r++) {
        scale[r] = r < n ? pairs[r].nq.a : 1;
        factor[r] = r < n ? pairs[r].np.a : 1;
        g[r] = d[r] = 0;
    }
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64)
        kl_store_f64(factor + j, kl_load_f64(scale + j) / kl_load_f64(factor + j));
    for (int64_t r = 0; r < n; r++) {
        const kl_row_pair *x = pairs + r;
        kl_direct_sum s = {0, 0, 0}; /* leads to the careful path */
        if (x->np.b > KL_TINY && x->nq.b > KL_TINY && factor[r] > 0x1p-64 && kl_is_usual(x->np) && kl_is_usual(x->nq))
            s = kl_direct_row(x->p, x->q, factor[r], K, 1);
        else if (kl_is_usual(x->np) && kl_is_usual(x->nq)) {
            s = kl_direct_row_up(x->p, x->q, factor[r] * KL_UP, K);
            scale[r] *= KL_UP;
        }
        g[r] = s.unsupported ? INFINITY : s.g;
        d[r] = s.unsupported ? 0 : s.d;
    }
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 total = kl_load_f64(scale + j), x = kl_load_f64(d + j) / total;
        kl_store_f64(kl + j, kl_load_f64(g + j) / total - x * x * (0.5 + x * 0x1.5555555555555p-2));
    }
    /* Below 2^-100 the rounding of c is no longer small beside the answer. */
    for (int64_t r = 0; r < n; r++)
        out[r] = kl[r] < 0x1p-100 ? kl_careful(&KL_ITSELF, KL_PROBS, pairs[r].p, pairs[r].q, K) : kl[r];
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
