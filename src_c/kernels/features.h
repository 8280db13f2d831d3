/* Mean and natural features of one row around a centre c, for the product form
 *     KL(p||q) = a + b - sum over supp(q) of x_k y_k,
 *     x = (pbar - c) / sqrt(c),     y = sqrt(c) * log(qbar / c)   (0 off the support of q or of c),
 *     a = sum g(pbar, c),           b = (sum over supp(q) of g(c, qbar)) - (mass of c off supp(q)),
 * where g(p, q) = p log(p/q) - p + q >= 0 and c is any positive vector: it need not sum to 1 exactly.
 *
 * Each feature carries a small *relative* error, up to an error common to the whole row (that of 1/S
 * or of the softmax's normaliser) whose effect on the sum is of second order. `spread` is what the
 * certificate must allow for: the sum of the absolute values that made the offset; infinite, so that every pair
 * goes to the direct kernel, for rows whose probabilities float64 cannot hold.
 */
KL_INLINE kl_feature_row kl_lost_row(double *out, int64_t width)
{
    memset(out, 0, (size_t)width * sizeof *out);
    return (kl_feature_row){0, INFINITY, 0};
}

/* One row in work: its numbers, the centre's, and where the features go. */
typedef struct { const double *row, *center_row, *probs, *scale, *inverse; double *out; } kl_feature_bins;

typedef struct {
    kl_lanes g, squares, missing;
    vi64 unsupported; /* a mean row has mass where the centre has none */
    vf64 least;       /* of the nonzero probabilities, scaled by 2^64  */
} kl_feature_sums;

/* What the first loop over a block leaves to the second: row against centre, scaled by 2^64. */
typedef struct { double shift[KL_SUM_BLOCK], v[KL_SUM_BLOCK], d[KL_SUM_BLOCK]; } kl_reduced_bins;

KL_INLINE void kl_reduce_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse, kl_reduced_bins *out)
{
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 x = kl_load_f64(b.row + k), c = kl_load_f64(b.probs + k) * KL_UP;
        vf64 difference = kl_fma_exact(x, inverse, -c);
        kl_log_reduced r = kl_log_reduce(x * inverse, c, difference);
        s->least = KL_MIN_F64(kl_select(x == 0, kl_set_f64(1), x * inverse), s->least);
        kl_store_f64(out->shift + k, (vf64)r.shift);
        kl_store_f64(out->v + k, r.v);
        kl_store_f64(out->d + k, difference);
    }
}

#define KL_PACK 4 /* rows encoded together */

/* g(pbar, c)/c = w log(w) - z, w = pbar/c, z = (pbar - c)/c, without a division (cells.h): w = b (1 + t), r = b t,
 *     w log(w) - z  =  b log(b) - (b - 1)  +  r (log(b) + t H(t)),      H(t) = ((1 + t) log(1 + t) - t) / t^2
 * r is z - (b - 1), and for small w, where z has lost w's digits, w - b. log(b) is high + low, and high has 44 bits, so
 * that b high - (b - 1), which almost cancels next to b = 1, is exact but for one rounding. Measured: at most 12
 * units of roundoff, those of w and z among them. w = 0 gives 1. */
#define KL_BESIDE KL_UNROLL for (int i = 0; i < side; i++)

/* A chain of some 25 operations: `side` vectors go through it side by side, two in all that the registers hold. */
#define KL_SIDE 2
KL_INLINE void kl_excesses(int side, const vf64 *w, const vf64 *z, vf64 *out)
{
    vu64 cell[KL_SIDE];
    vf64 b[KL_SIDE], z0[KL_SIDE], t[KL_SIDE], r[KL_SIDE], n[KL_SIDE], high[KL_SIDE];
    vf64 low[KL_SIDE], h[KL_SIDE];
    KL_BESIDE cell[i] = (vu64)w[i] + 0x1000000000000u;
    KL_BESIDE b[i] = (vf64)(cell[i] & 0xfffe000000000000u);
    KL_BESIDE cell[i] >>= 49;
    KL_BESIDE t[i] = (vf64)((vu64)KL_LOOKUP_F64(KL_CELLS_F64[KL_INVERSE], cell[i]) - (vu64)b[i]); /* 1/b */
    KL_BESIDE z0[i] = b[i] - 1.0;
    KL_BESIDE r[i] = KL_IF_LESS_F64(b[i], kl_set_f64(0.5), w[i] - b[i], z[i] - z0[i]);
    KL_BESIDE t[i] *= r[i];
    KL_BESIDE n[i] = (vf64)(cell[i] | 0x4330000000000000u) - (0x1p52 + 8 * 1023);
    KL_BESIDE high[i] = KL_FMA_F64(n[i], kl_set_f64(KL_EIGHTH_HIGH), KL_LOOKUP_F64(KL_REST[0], cell[i]));
    KL_BESIDE low[i] = KL_FMA_F64(n[i], kl_set_f64(KL_EIGHTH_LOW), KL_LOOKUP_F64(KL_REST[1], cell[i]));
    KL_BESIDE z0[i] = KL_FMA_F64(low[i], b[i], KL_FMA_F64(high[i], b[i], -z0[i])); /* at b itself */
    KL_BESIDE h[i] = kl_set_f64(KL_HALVES[9]);
    KL_UNROLL for (int c = 8; c >= 0; c--) KL_BESIDE h[i] = KL_FMA_F64(h[i], t[i], kl_set_f64(KL_HALVES[c]));
    KL_BESIDE h[i] = KL_FMA_F64(t[i], h[i], high[i] + low[i]);
    KL_BESIDE out[i] = KL_FMA_F64(r[i], h[i], z0[i]);
}

/* `side` vectors of bins from k on. */
KL_INLINE void kl_mean_probs_side(int side, kl_feature_sums *s, const kl_feature_bins *b, int64_t k, vf64 inverse)
{
    vf64 w[KL_SIDE], z[KL_SIDE], c[KL_SIDE], g[KL_SIDE];
    KL_BESIDE {
        const int64_t at = k + i * KL_W64, j = at / KL_W64 % KL_NV;
        const vf64 p = kl_load_f64(b->row + at), over = kl_load_f64(b->inverse + at);
        c[i] = kl_load_f64(b->probs + at);
        const vf64 d = kl_fma_exact(p, inverse, -c[i]), x = d * kl_load_f64(b->scale + at);
        s->squares.v[j] = KL_FMA_F64(x, x, s->squares.v[j]);
        kl_store_f64(b->out + at, x);
        w[i] = p * inverse * over;
        z[i] = d * over;
    }
    kl_excesses(side, w, z, g);
    KL_BESIDE {
        const int64_t j = (k / KL_W64 + i) % KL_NV;
        s->g.v[j] = KL_FMA_F64(c[i], g[i], s->g.v[j]);
    }
}

KL_INLINE void kl_mean_probs_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse)
{
    int64_t k = 0;
    for (; k + KL_SIDE * KL_W64 <= n; k += KL_SIDE * KL_W64) kl_mean_probs_side(KL_SIDE, s, &b, k, inverse);
    for (; k < n; k += KL_W64) kl_mean_probs_side(1, s, &b, k, inverse);
}

KL_INLINE void kl_natural_probs_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse)
{
    kl_reduced_bins r;
    kl_reduce_bins(s, b, n, inverse, &r);
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 qk = kl_load_f64(b.row + at), c = kl_load_f64(b.probs + at) * KL_UP;
            kl_log_reduced parts = {(vi64)kl_load_f64(r.shift + at), kl_load_f64(r.v + at)};
            vf64 g = kl_reverse_term(qk * inverse, c, kl_load_f64(r.d + at), parts);
            vi64 empty = qk == 0, off = empty | (c == 0);
            vf64 y = kl_select(off, (vf64){0}, kl_log_value(parts) * kl_load_f64(b.scale + at));
            s->missing.v[j] += kl_select(empty, c, (vf64){0});
            s->g.v[j] += kl_select(empty, (vf64){0}, kl_select(c == 0, qk * inverse, g));
            s->squares.v[j] += y * y;
            kl_store_f64(b.out + at, y);
        }
}

/* See kl_mean_rows; constant: `part`, whether the last group of lanes is incomplete. */
KL_INLINE void kl_mean_rows_of(int part, const double *const *rows, const double *inverse, int64_t n,
                               const kl_center *center, int64_t K, double *out, double *norm2, double *offset)
{
    const int64_t whole = K - K % KL_LANES;
    double c[KL_LANES], scale[KL_LANES], over[KL_LANES], row[KL_LANES], tail[KL_LANES];
    kl_feature_sums s;
    if (part) {
        kl_tail(center->probs, whole, K, 0, c);
        kl_tail(center->scale, whole, K, 0, scale);
        kl_tail(center->inverse, whole, K, 0, over);
    }
    for (int64_t i = 0; i < n; i++, out += K) {
        const vf64 factor = kl_set_f64(inverse[i]);
        kl_sum g = kl_sum_zero();
        s.squares = kl_lanes_zero();
        for (int64_t k = 0; k < K; k += KL_SUM_BLOCK) {
            const int64_t end = k + KL_SUM_BLOCK < whole ? k + KL_SUM_BLOCK : whole;
            const kl_feature_bins b = {rows[i] + k,      NULL,    center->probs + k, center->scale + k,
                                       center->inverse + k, out + k};
            s.g = kl_lanes_zero();
            kl_mean_probs_bins(&s, b, end - k, factor);
            if (part && K - k < KL_SUM_BLOCK) {
                const kl_feature_bins rest = {kl_tail(rows[i], whole, K, 0, row), NULL, c, scale, over, tail};
                kl_mean_probs_bins(&s, rest, KL_LANES, factor);
                memcpy(out + whole, tail, (size_t)(K - whole) * sizeof *out);
            }
            kl_sum_add(&g, &s.g);
        }
        norm2[i] = kl_lanes_total(&s.squares);
        offset[i] = kl_sum_total(&g);
    }
}

/* Mean rows of weights, n of them: features to `out`, which a row may lie at itself, the sums of their squares and the
 * offsets: infinite for a row with mass where the centre has none. (Alone, a row of 32 bins would spend half of its
 * time on loading constants.) */
static void kl_mean_rows(const double *const *rows, const double *inverse, int64_t n, const kl_center *center,
                         int64_t K, double *out, double *norm2, double *offset)
{
    double off[KL_PACK] = {0};
    int64_t bare = 0;
    for (int64_t k = 0; k < K; k++) bare |= center->probs[k] == 0;
    for (int64_t i = 0; i < n && bare; i++)
        for (int64_t k = 0; k < K; k++) off[i] += center->probs[k] == 0 && rows[i][k] > 0 ? INFINITY : 0;
    if (K % KL_LANES) kl_mean_rows_of(1, rows, inverse, n, center, K, out, norm2, offset);
    else kl_mean_rows_of(0, rows, inverse, n, center, K, out, norm2, offset);
    for (int64_t i = 0; i < n; i++) offset[i] += off[i];
}

/* The same from log-weights: with L = log(row/centre), both weights normalised, and gamma(x) = e^x - 1 - x,
 * mean: pbar - c = c (L + gamma(L)), g = pbar gamma(-L);   natural: g = c gamma(L). Far from 0 by differences. */
KL_INLINE void kl_logit_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, const kl_logit_pair *pair, int mean)
{
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 a = kl_load_f64(b.row + at), c = kl_load_f64(b.probs + at);
            vi64 empty = a < -0x1.fffffffffffffp1023, bare = c == 0, near;
            vf64 L = kl_logit_ratio(pair, a, kl_load_f64(b.center_row + at));
            vf64 w = kl_softmax_weight(a, pair->a_base) * pair->a_scale, gamma, feature, g;
            near = (kl_abs(L) <= 1.0) & ~empty & ~bare;
            gamma = kl_gamma_near(mean ? -L : L);
            if (mean) {
                feature = kl_select(near, c * (L + kl_gamma_near(L)), w - c);
                g = kl_select(empty, c, kl_select(near, w * gamma, KL_FMA_F64(w, L, c - w)));
                s->unsupported |= bare & ~empty;
            } else {
                feature = kl_select(empty | bare, (vf64){0}, L);
                g = kl_select(near, c * gamma, KL_FMA_F64(-c, L, w - c));
                g = kl_select(empty, (vf64){0}, kl_select(bare, w, g));
                s->missing.v[j] += kl_select(empty, c, (vf64){0});
            }
            feature *= kl_load_f64(b.scale + at);
            s->g.v[j] += g;
            s->squares.v[j] += feature * feature;
            kl_store_f64(b.out + at, feature);
        }
}

/* x alone, `bare` if a bin of the centre may be empty. p - c is one fused multiply-add, so that probabilities too small
 * for a float64 do no harm. */
KL_INLINE void kl_mean_differences(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse, int bare)
{
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 p = kl_load_f64(b.row + at), c = kl_load_f64(b.probs + at);
            vf64 x = kl_fma_exact(p, inverse, -c) * kl_load_f64(b.scale + at);
            if (bare) s->unsupported |= (c == 0) & (p > 0);
            s->squares.v[j] = KL_FMA_F64(x, x, s->squares.v[j]);
            kl_store_f64(b.out + at, x);
        }
}

/* Mean features without the offset a, which is most of their work: a row's values then lack it, all of them. Its error
 * is of no concern, and the rest of the error is, without a, at most what the norms and b's slack allow: that of 1/S
 * counts with |sum pbar log(qbar / c)| <= |x||y| + b. */
typedef struct { double norm2; int unsupported; } kl_shifted_row;

KL_INLINE kl_shifted_row kl_shifted_row_of(const double *row, double inverse, const kl_center *center, int bare,
                                           int64_t K, double *out)
{
    kl_feature_sums s = {.squares = kl_lanes_zero(), .unsupported = {0}};
    const int64_t whole = K - K % KL_LANES;
    double tails[4][KL_LANES];
    const kl_feature_bins all = {row, NULL, center->probs, center->scale, NULL, out};
    kl_mean_differences(&s, all, whole, kl_set_f64(inverse), bare);
    if (whole < K) {
        kl_feature_bins b = {kl_tail(row, whole, K, 0, tails[0]), NULL, kl_tail(center->probs, whole, K, 0, tails[1]),
                             kl_tail(center->scale, whole, K, 0, tails[2]), NULL, tails[3]};
        kl_mean_differences(&s, b, KL_LANES, kl_set_f64(inverse), bare);
        memcpy(out + whole, tails[3], (size_t)(K - whole) * sizeof *out);
    }
    return (kl_shifted_row){kl_lanes_total(&s.squares), KL_BITS_F64(s.unsupported) != 0};
}

static kl_feature_row kl_shifted_features(int32_t domain, const double *row, kl_norm norm, const kl_center *center,
                                          int64_t K, double *out)
{
    if (!(norm.a > 0x1p-900 && norm.a < 0x1p900)) return kl_lost_row(out, K);
    const kl_shifted_row s = kl_shifted_row_of(row, domain == KL_MEASURE ? 1 : 1 / norm.a, center, 1, K, out);
    if (s.unsupported) return (kl_feature_row){INFINITY, INFINITY, s.norm2};
    return s.norm2 <= 0x1p1000 ? (kl_feature_row){0, 0, s.norm2} : kl_lost_row(out, K);
}

static kl_feature_row kl_features(int32_t domain, int32_t role, const double *row, kl_norm norm,
                                  const kl_center *center, int64_t K, double *out)
{
    const int mean = role == KL_MEAN, probs = domain != KL_LOGITS;
    const double up = probs ? KL_UP : 1, empty = probs ? 0 : -INFINITY;
    const double inverse = domain == KL_MEASURE ? up : up / norm.a;
    const double *scale = mean ? center->scale : center->unscale;
    if (probs && !(norm.a > 0x1p-900 && norm.a < 0x1p900)) return kl_lost_row(out, K);
    if (probs && mean) {
        double norm2, offset;
        const double factor = domain == KL_MEASURE ? 1 : 1 / norm.a;
        kl_mean_rows(&row, &factor, 1, center, K, out, &norm2, &offset);
        if (offset == INFINITY) return (kl_feature_row){INFINITY, INFINITY, norm2};
        return norm2 <= 0x1p1000 && offset <= 0x1p900 ? (kl_feature_row){offset, offset, norm2} : kl_lost_row(out, K);
    }
    kl_logit_pair pair = {.shift_low = {0}};
    if (!probs) pair = kl_logit_pair_of(norm, center->norm);
    kl_sum g = kl_sum_zero();
    kl_feature_sums s = {.squares = kl_lanes_zero(), .missing = kl_lanes_zero(), .least = kl_set_f64(1)};
    double tails[5][KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        s.g = kl_lanes_zero();
        for (int64_t part = 0; part < 2; part++) { /* whole groups, then the tail */
            const int64_t at = begin + (part ? whole : 0), bins = part ? (whole < n ? KL_LANES : 0) : whole;
            kl_feature_bins b = {row + at, center->row + at, center->probs + at, scale + at, NULL, out + at};
            if (part && bins)
                b = (kl_feature_bins){kl_tail(row, at, K, empty, tails[0]),
                                      kl_tail(center->row, at, K, empty, tails[1]),
                                      kl_tail(center->probs, at, K, 0, tails[2]), kl_tail(scale, at, K, 0, tails[3]),
                                      NULL, tails[4]};
            if (!probs) kl_logit_bins(&s, b, bins, &pair, mean);
            else kl_natural_probs_bins(&s, b, bins, kl_set_f64(inverse));
            if (part && bins) memcpy(out + at, tails[4], (size_t)(n - whole) * sizeof *out);
        }
        kl_sum_add(&g, &s.g);
    }
    const double total = kl_sum_total(&g) / up, missing = kl_lanes_total(&s.missing) / up;
    const double norm2 = kl_lanes_total(&s.squares);
    if (mean && KL_BITS_F64(s.unsupported)) return (kl_feature_row){INFINITY, INFINITY, norm2};
    /* Also: huge logits, measures that overflow when scaled up. */
    const int lost = KL_BITS_F64(s.least < 0x1p-950) || !(norm2 <= 0x1p1000) || !(total + missing <= 0x1p900);
    if (lost) return kl_lost_row(out, K);
    return (kl_feature_row){total - missing, total + missing, norm2};
}
