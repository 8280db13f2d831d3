/* KL(P||Q) of two rows of weights, as a sum of nonnegative terms: no cancellation anywhere.
 *
 * With c = Sq/Sp and d_k = c p_k - q_k (one rounding), g(p, q) = p log(p/q) - p + q >= 0:
 *     KL = G/Sq + log1pmx(-D/Sq),   G = sum g(c p_k, q_k),  D = sum d_k,  log1pmx(x) = log(1+x) - x.
 * D/Sq is only the rounding of c, so log1pmx needs two terms of its series. Where the sums agree, a power of two is c,
 * see kl_agreement_bound.
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

KL_INLINE vf64 kl_far_part(vf64 p, vf64 q, vf64 scaled, vi64 shift)
{
    return kl_fma_exact(p, kl_times_exponent(shift, KL_LN2), q - scaled);
}

/* From the reduction of p/q, d = p - q. */
KL_INLINE kl_open_term kl_opened(vf64 p, vf64 q, vf64 d, kl_log_reduced r)
{
    vf64 scaled = kl_scaled(q, r.shift);
    return (kl_open_term){r.v, p, kl_close_difference(p, scaled, d, r.shift), kl_far_part(p, q, scaled, r.shift)};
}

KL_INLINE vf64 kl_near_factor(kl_open_term t)
{
    vf64 w = t.v * t.v;
    return KL_FMA_F64(t.p * w, kl_atanh_series(w), t.close);
}

KL_INLINE vf64 kl_term(vf64 p, vf64 q, vf64 d, kl_log_reduced r)
{
    const kl_open_term t = kl_opened(p, q, d, r);
    return KL_FMA_F64(t.v, kl_near_factor(t), t.far);
}

/* g(q, p) from the same. */
KL_INLINE vf64 kl_reverse_term(vf64 p, vf64 q, vf64 d, kl_log_reduced r)
{
    return kl_term(q, p, -d, (kl_log_reduced){-r.shift, -r.v});
}

/* How a loop over bins takes the rows: as they are, with their sums and least entry on the way, or without; tame rows
 * times c; or that with all scaled by 2^64. */
typedef enum { KL_AS_GIVEN, KL_AS_KNOWN, KL_SCALED, KL_SCALED_UP } kl_direct_way;

/* `g`, `far`: G in two parts. As given p, q and least, which covers both rows; else d and unsupported. */
typedef struct { kl_lanes g, far, d, p, q, least; vi64 unsupported; } kl_direct_lanes;

typedef struct { kl_open_term v[KL_NV]; } kl_open_group;

/* Numbers are exact, and so is p - q' of numbers within a factor of two: d is not needed. */
KL_INLINE kl_open_term kl_open_given(kl_direct_lanes *s, int j, vf64 p, vf64 q, kl_direct_way way)
{
    const vi64 shift = kl_log_shift(p, q);
    vf64 scaled = kl_scaled(q, shift), close = p - scaled;
    if (way == KL_AS_GIVEN) {
        s->p.v[j] += p;
        s->q.v[j] += q;
        s->least.v[j] = KL_MIN_F64(p, KL_MIN_F64(q, s->least.v[j]));
    }
    return (kl_open_term){close / (p + scaled), p, close, kl_far_part(p, q, scaled, shift)};
}

KL_INLINE kl_open_term kl_open_scaled(kl_direct_lanes *s, int j, vf64 p, vf64 q, vf64 c, kl_direct_way way)
{
    vf64 qs = way == KL_SCALED_UP ? q * KL_UP : q, pc = p * c, d = kl_fma_exact(p, c, -qs);
    /* An empty p is taken as q: subnormal numbers and NaN, which its own reduction makes, are slow. */
    vf64 full = way == KL_SCALED_UP ? kl_select(pc == 0, qs, pc) : pc;
    kl_open_term t = kl_opened(full, qs, d, kl_log_reduce(full, qs, d));
    s->d.v[j] += d;
    if (way == KL_SCALED) return t;
    s->unsupported |= (q == 0) & (p > 0);
    t.v = kl_select(pc == 0, (vf64){0}, t.v);
    t.far = kl_select(pc == 0, qs, t.far);
    return t;
}

/* `single`: rows of floats. */
KL_INLINE kl_open_group kl_direct_open(kl_direct_lanes *s, const void *p, const void *q, int64_t k, vf64 c,
                                       kl_direct_way way, int single)
{
    kl_open_group t;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 pk = kl_number_at(p, k + j * KL_W64, single), qk = kl_number_at(q, k + j * KL_W64, single);
        t.v[j] = way <= KL_AS_KNOWN ? kl_open_given(s, j, pk, qk, way) : kl_open_scaled(s, j, pk, qk, c, way);
        s->far.v[j] += t.v[j].far;
    }
    return t;
}

KL_INLINE void kl_direct_close(kl_direct_lanes *s, const kl_open_group *t)
{
    KL_UNROLL for (int j = 0; j < KL_NV; j++)
        s->g.v[j] = KL_FMA_F64(t->v[j].v, kl_near_factor(t->v[j]), s->g.v[j]);
}

/* Groups that are open at a time: what the registers hold. */
#define KL_ABREAST (KL_VECTOR_BYTES == 64 ? 2 : 1)

/* Bins [0, n) of a block, n a multiple of KL_LANES. A group's second half runs beside a later one's first: a processor
 * that looks ahead some 130 operations does not find enough of the next terms behind whole ones. */
KL_INLINE void kl_direct_bins(kl_direct_lanes *s, const void *p, const void *q, int64_t n, vf64 c, kl_direct_way way,
                              int single)
{
    kl_open_group t[KL_ABREAST];
    const int64_t step = KL_ABREAST * KL_LANES, even = n - n % step;
    if (even) {
        KL_UNROLL for (int i = 0; i < KL_ABREAST; i++) t[i] = kl_direct_open(s, p, q, i * KL_LANES, c, way, single);
        for (int64_t k = step; k < even; k += step)
            KL_UNROLL for (int i = 0; i < KL_ABREAST; i++) {
                kl_direct_close(s, t + i);
                t[i] = kl_direct_open(s, p, q, k + i * KL_LANES, c, way, single);
            }
        KL_UNROLL for (int i = 0; i < KL_ABREAST; i++) kl_direct_close(s, t + i);
    }
    if (even < n) {
        t[0] = kl_direct_open(s, p, q, even, c, way, single);
        kl_direct_close(s, t);
    }
}

/* The last bins of a row, padded such that both sums get +0.0: with 0 and 0, or for tame rows 1 and c. */
KL_INLINE void kl_direct_rest(kl_direct_lanes *s, const void *p, const void *q, int64_t done, int64_t K, vf64 c,
                              kl_direct_way way, int single)
{
    double p_tail[KL_LANES], q_tail[KL_LANES];
    kl_wide_tail(p, done, K, single, way == KL_SCALED_UP ? 0 : 1, p_tail);
    kl_wide_tail(q, done, K, single, way == KL_SCALED_UP ? 0 : way == KL_SCALED ? c[0] : 1, q_tail);
    const kl_lanes p_sum = s->p, q_sum = s->q;
    kl_direct_bins(s, p_tail, q_tail, KL_LANES, c, way, 0);
    if (way != KL_AS_GIVEN) return;
    kl_wide_tail(p, done, K, single, 0, p_tail);
    kl_wide_tail(q, done, K, single, 0, q_tail);
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        s->p.v[j] = p_sum.v[j] + kl_load_f64(p_tail + j * KL_W64);
        s->q.v[j] = q_sum.v[j] + kl_load_f64(q_tail + j * KL_W64);
    }
}

/* Sums over one pair of rows; of a row of one block they are the high parts. */
typedef struct { kl_sum g, p, q; } kl_direct_sums;

/* Adds up a pair of rows. Returns its lanes, of which d, least and unsupported are those of the whole rows. */
KL_INLINE kl_direct_lanes kl_direct_row(const void *p, const void *q, double factor, int64_t K, kl_direct_way way,
                                        int single, kl_direct_sums *sums)
{
    const vf64 c = kl_set_f64(factor);
    const int64_t size = single ? sizeof(float) : sizeof(double);
    kl_direct_lanes s = {.d = kl_lanes_zero(), .unsupported = {0}};
    kl_direct_sums total = {kl_sum_zero(), kl_sum_zero(), kl_sum_zero()};
    KL_UNROLL for (int j = 0; j < KL_NV; j++) s.least.v[j] = kl_set_f64(INFINITY);
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        s.g = s.far = s.p = s.q = kl_lanes_zero();
        if (way == KL_AS_GIVEN) {
            kl_ask_further((const char *)p + begin * size, n * size);
            kl_ask_further((const char *)q + begin * size, n * size);
        }
        kl_direct_bins(&s, (const char *)p + begin * size, (const char *)q + begin * size, whole, c, way, single);
        if (whole < n) kl_direct_rest(&s, p, q, begin + whole, K, c, way, single);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) s.g.v[j] += s.far.v[j];
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total.g, &s.g);
        if (way != KL_AS_GIVEN) continue;
        kl_sum_add(&total.p, &s.p);
        kl_sum_add(&total.q, &s.q);
    }
    if (K > KL_SUM_BLOCK) *sums = total;
    else sums->g.high = s.g, sums->p.high = s.p, sums->q.high = s.q;
    return s;
}

KL_INLINE double kl_row_total(const kl_sum *s, int64_t K)
{
    return K <= KL_SUM_BLOCK ? kl_lanes_total(&s->high) : kl_sum_total(s);
}

KL_INLINE int kl_is_usual(kl_norm norm) { return norm.a > 0x1p-400 && norm.a < 0x1p400; }

_Static_assert(KL_TOGETHER == KL_LANES, "one lane a pair");

/* What numbers of a group of pairs are needed for all of them at a time: sums, and a result. */
typedef struct { double p[KL_LANES], q[KL_LANES], g[KL_LANES], d[KL_LANES]; } kl_direct_group;

typedef struct { double g, d; } kl_scaled_sums;

/* G and D of one pair with c = factor. */
KL_INLINE kl_scaled_sums kl_scaled_row(const kl_row_pair *x, double factor, int64_t K, kl_direct_way way)
{
    kl_direct_sums sums;
    const kl_direct_lanes s = kl_direct_row(x->p, x->q, factor, K, way, 0, &sums);
    if (way == KL_SCALED_UP && KL_BITS_F64(s.unsupported)) return (kl_scaled_sums){INFINITY, 0};
    return (kl_scaled_sums){kl_row_total(&sums.g, K), kl_lanes_total(&s.d)};
}

static __attribute__((noinline)) kl_scaled_sums kl_scaled_up_row(const kl_row_pair *x, double factor, int64_t K)
{
    const kl_scaled_sums s = kl_scaled_row(x, factor * KL_UP, K, KL_SCALED_UP);
    return (kl_scaled_sums){s.g / KL_UP, s.d / KL_UP};
}

/* The same of the pairs in `which`; `agree`: D is not asked for. */
KL_INLINE void kl_direct_sums_of(const kl_row_pair *pairs, uint32_t which, int agree, const double *factor, int64_t K,
                                 kl_direct_group *out)
{
    for (int64_t r = 0; which >> r; r++) {
        if (!(which >> r & 1)) continue;
        const kl_row_pair *x = pairs + r;
        const int tame = x->np.b > KL_TINY && x->nq.b > KL_TINY && factor[r] > 0x1p-64;
        if (agree && tame && factor[r] == 1) {
            out->g[r] = kl_scaled_row(x, 1, K, KL_AS_KNOWN).g;
            continue;
        }
        const kl_scaled_sums s = tame ? kl_scaled_row(x, factor[r], K, KL_SCALED) : kl_scaled_up_row(x, factor[r], K);
        out->g[r] = s.g, out->d[r] = s.d;
    }
}

/* Sums that agree to a power of two: with that as c
 *     KL = [sum g(c p_k, q_k) - g(c Sp, Sq)] / (c Sp),
 * where a relative error of a sum counts times |c Sp - Sq|/Sq. While half of that is below KL, 3 u of the sums add
 * no more than 6 u of the value; and their square is nothing above 2^-45. Both make a bound, here times c Sp = p. */
KL_INLINE vf64 kl_agreement_bound(vf64 p, vf64 q) { return 0.5 * kl_abs(p - q) + 0x1p-45 * p; }

/* c p in q's neighbourhood, as kl_log_reduce has it, with c a power of two. */
KL_INLINE vf64 kl_beside(vf64 p, vf64 q) { return kl_scaled(p, -kl_log_shift(p, q)); }

/* KL from G, p = c Sp and q = Sq, 0 where it is not above the bound. */
KL_INLINE vf64 kl_from_agreeing(vf64 g, vf64 p, vf64 q)
{
    vf64 d = p - q, rest = g - kl_term(p, q, d, kl_log_reduce(p, q, d));
    return KL_IF_LESS_F64(kl_agreement_bound(p, q), rest, rest / p, (vf64){0});
}

/* KL with a power of two as c: 0 where that is not accurate. */
static void kl_by_agreement(const kl_row_pair *pairs, uint32_t which, int64_t K, kl_direct_group *s, double *kl)
{
    double power[KL_LANES];
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64)
        kl_store_f64(power + j, kl_scaled(kl_set_f64(1), -kl_log_shift(kl_load_f64(s->p + j), kl_load_f64(s->q + j))));
    kl_direct_sums_of(pairs, which, 1, power, K, s);
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 p = kl_load_f64(s->p + j), q = kl_load_f64(s->q + j);
        kl_store_f64(kl + j, kl_from_agreeing(kl_load_f64(s->g + j), kl_beside(p, q), q));
    }
}

/* KL with c = Sq/Sp. */
static void kl_by_ratio(const kl_row_pair *pairs, uint32_t which, int64_t K, kl_direct_group *s, double *kl)
{
    double ratio[KL_LANES];
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64)
        kl_store_f64(ratio + j, kl_load_f64(s->q + j) / kl_load_f64(s->p + j));
    kl_direct_sums_of(pairs, which, 0, ratio, K, s);
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 q = kl_load_f64(s->q + j), x = kl_load_f64(s->d + j) / q;
        kl_store_f64(kl + j, kl_load_f64(s->g + j) / q - x * x * (0.5 + x * 0x1.5555555555555p-2));
    }
}

/* KL of n pairs, at most KL_LANES. Which form has the value depends on that of the agreeing sums alone; sums that
 * differ by more than a fraction of `apart` try the other first, and stay with it where it tells that the value is
 * below the first one's bound. Returns whether that of the last pair is. */
static int kl_direct_probs(const kl_row_pair *pairs, int64_t n, int64_t K, double apart, double *out)
{
    kl_direct_group s = {.d = {0}};
    double kl[KL_LANES], agreeing[KL_LANES] = {0}, bound[KL_LANES];
    uint32_t usual = 0, first = 0, left = 0;
    for (int64_t r = 0; r < KL_LANES; r++) {
        const int in = r < n && kl_is_usual(pairs[r].np) && kl_is_usual(pairs[r].nq);
        s.p[r] = in ? pairs[r].np.a : 1;
        s.q[r] = in ? pairs[r].nq.a : 1;
        usual |= (uint32_t)in << r;
        kl[r] = 0; /* leads to the careful path */
    }
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 q = kl_load_f64(s.q + j), p = kl_beside(kl_load_f64(s.p + j), q);
        kl_store_f64(bound + j, kl_agreement_bound(p, q) / p);
    }
    for (int64_t r = 0; r < KL_LANES; r++) first |= (uint32_t)(bound[r] > apart) << r;
    first &= usual;
    if (first) kl_by_ratio(pairs, first, K, &s, kl);
    for (int64_t r = 0; r < KL_LANES; r++)
        if (kl[r] * (1 + 0x1p-20) >= bound[r] && kl[r] < INFINITY) left |= 1u << r;
    const uint32_t second = (usual & ~first) | left;
    if (second) kl_by_agreement(pairs, second, K, &s, agreeing);
    left = 0;
    for (int64_t r = 0; r < KL_LANES; r++)
        if (second >> r & 1 && agreeing[r] > 0) kl[r] = agreeing[r];
        else left |= (second & ~first) & 1u << r;
    if (left) kl_by_ratio(pairs, left, K, &s, agreeing);
    for (int64_t r = 0; r < n; r++) {
        out[r] = left >> r & 1 ? agreeing[r] : kl[r];
        /* Below 2^-100 the rounding of c is no longer small beside the answer. */
        if (out[r] < 0x1p-100) out[r] = kl_careful(&KL_ITSELF, KL_PROBS, pairs[r].p, pairs[r].q, K);
    }
    return n && out[n - 1] < bound[n - 1];
}

/* Sums over a row for its entropy: of pbar log(1/pbar) times KL_UP and of the weights, without the bin that has more than
 * half of the mass, and the largest weight. */
typedef struct { kl_sum h, others; vf64 largest; } kl_entropy_sums;

/* x: KL_LANES bins; `factors`, if not NULL: two that bring the row's sum to [1/2, 1). */
KL_INLINE void kl_entropy_group(const double *x, vf64 half, vf64 inverse, const double *factors, kl_lanes *terms,
                                kl_lanes *minor, vf64 *largest)
{
    const vf64 unit = kl_set_f64(KL_UP), zero = {0};
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        const vf64 weight = kl_load_f64(x + j * KL_W64);
        *largest = KL_MAX_F64(weight, *largest);
        vf64 rest = KL_IF_LESS_F64(half, weight, zero, weight);
        if (factors) rest = rest * factors[0] * factors[1];
        const vf64 part = rest * inverse, full = kl_select(part == 0, unit, part);
        terms->v[j] = KL_FMA_F64(part, kl_log_value(kl_log_reduce(unit, full, unit - full)), terms->v[j]);
        minor->v[j] += rest;
    }
}

KL_INLINE kl_entropy_sums kl_entropy_row(const double *p, int64_t K, double total, double most, const double *factors)
{
    const vf64 half = kl_set_f64(most), inverse = kl_set_f64(1 / total * KL_UP);
    kl_entropy_sums s = {kl_sum_zero(), kl_sum_zero(), {0}};
    double tail[KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        kl_lanes terms = kl_lanes_zero(), minor = kl_lanes_zero();
        for (int64_t k = begin; k < begin + whole; k += KL_LANES)
            kl_entropy_group(p + k, half, inverse, factors, &terms, &minor, &s.largest);
        if (whole < n)
            kl_entropy_group(kl_tail(p, begin + whole, K, 0, tail), half, inverse, factors, &terms, &minor, &s.largest);
        if (K <= KL_SUM_BLOCK) s.h.high = terms, s.others.high = minor; /* one block: nothing to compensate */
        else kl_sum_add(&s.h, &terms), kl_sum_add(&s.others, &minor);
    }
    return s;
}

/* H(P) = sum over k of (p_k/S) log(S/p_k). A bin r with more than half of the mass has
 * log(S/p_r) = -log1p(-rest/S), rest being the sum of the other bins. */
static double kl_entropy_probs(const double *p, kl_norm norm, int64_t K)
{
    double total = norm.a, major = 0;
    kl_entropy_sums s;
    if (kl_is_usual(norm)) s = kl_entropy_row(p, K, total, 0.5 * norm.a, NULL);
    else {
        int exponent;
        frexp(norm.a, &exponent);
        const double factors[2] = {ldexp(1, -exponent / 2), ldexp(1, -exponent - -exponent / 2)};
        total = norm.a * factors[0] * factors[1];
        s = kl_entropy_row(p, K, total, 0.5 * norm.a, factors);
    }
    const double value = kl_row_total(&s.h, K) / KL_UP;
    if (!KL_BITS_F64(s.largest > kl_set_f64(0.5 * norm.a))) return value;
    for (int j = 0; j < KL_W64; j++) major = s.largest[j] > major ? s.largest[j] : major;
    return value - major / norm.a * log1p(-kl_row_total(&s.others, K) / total);
}
