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

/* One row in work: its numbers (of weights float64 or float32, see kl_number_at), the centre's, and where the features
 * go. */
typedef struct { const void *row; const double *center_row, *probs, *scale, *inverse; double *out; } kl_feature_bins;

typedef struct {
    kl_lanes g, squares, missing;
    vi64 unsupported; /* a mean row has mass where the centre has none */
    vf64 least;       /* of the nonzero probabilities              */
} kl_feature_sums;

#define KL_PACK 4 /* rows encoded together */

/* w = pbar/c and z = (pbar - c)/c of a bin, without a division (cells.h): w = b (1 + t), r = b t. r is z - (b - 1), and
 * for small w, where z has lost w's digits, w - b. log(b) is high + low, and high has 44 bits, so that what almost
 * cancels next to b = 1 is exact but for one rounding. w = 0 gives finite nonsense.
 * `brief`, a constant, for what is rounded to float32 anyway: high is log(b), and polynomials are shorter. */
#define KL_BESIDE KL_UNROLL for (int i = 0; i < side; i++)

/* A chain of some 25 operations: `side` vectors go through it side by side, two in all that the registers hold. */
#define KL_SIDE 2
typedef struct { vf64 b[KL_SIDE], over[KL_SIDE], r[KL_SIDE], t[KL_SIDE], high[KL_SIDE], low[KL_SIDE]; } kl_in_cells;

KL_INLINE void kl_to_cells(int side, int brief, const vf64 *w, const vf64 *z, kl_in_cells *x)
{
    vu64 cell[KL_SIDE];
    vf64 n[KL_SIDE];
    KL_BESIDE cell[i] = (vu64)w[i] + 0x1000000000000u;
    KL_BESIDE x->b[i] = (vf64)(cell[i] & 0xfffe000000000000u);
    KL_BESIDE cell[i] >>= 49;
    KL_BESIDE x->t[i] = (vf64)((vu64)KL_LOOKUP_F64(KL_CELLS_F64[KL_INVERSE], cell[i]) - (vu64)x->b[i]); /* 1/b */
    KL_BESIDE x->over[i] = x->b[i] - 1.0;
    KL_BESIDE x->r[i] = KL_IF_LESS_F64(x->b[i], kl_set_f64(0.5), w[i] - x->b[i], z[i] - x->over[i]);
    KL_BESIDE x->t[i] *= x->r[i];
    KL_BESIDE n[i] = (vf64)(cell[i] | 0x4330000000000000u) - (0x1p52 + 8 * 1023);
    if (brief) {
        KL_BESIDE x->high[i] =
            KL_FMA_F64(n[i], kl_set_f64(KL_LN2 / 8), KL_LOOKUP_F64(KL_CELLS_F64[KL_LOG_REST], cell[i]));
        return;
    }
    KL_BESIDE x->high[i] = KL_FMA_F64(n[i], kl_set_f64(KL_EIGHTH_HIGH), KL_LOOKUP_F64(KL_REST[0], cell[i]));
    KL_BESIDE x->low[i] = KL_FMA_F64(n[i], kl_set_f64(KL_EIGHTH_LOW), KL_LOOKUP_F64(KL_REST[1], cell[i]));
}

KL_INLINE void kl_polynomials(int side, int n, const double *coefficients, const vf64 *t, vf64 *out)
{
    KL_BESIDE out[i] = kl_set_f64(coefficients[n - 1]);
    KL_UNROLL for (int c = n - 2; c >= 0; c--) KL_BESIDE out[i] = KL_FMA_F64(out[i], t[i], kl_set_f64(coefficients[c]));
}

/* g(pbar, c)/c = w log(w) - z  =  b log(b) - (b - 1)  +  r (log(b) + t H(t)),      H(t) = ((1 + t) log(1 + t) - t)/t^2
 * Measured: at most 12 units of roundoff, those of w and z among them. w = 0 gives 1. */
KL_INLINE void kl_mean_excesses(int side, int brief, const kl_in_cells *x, vf64 *out)
{
    vf64 h[KL_SIDE];
    if (brief) kl_polynomials(side, 5, KL_BRIEF_HALVES, x->t, h);
    else kl_polynomials(side, 10, KL_HALVES, x->t, h);
    KL_BESIDE h[i] = KL_FMA_F64(x->t[i], h[i], brief ? x->high[i] : x->high[i] + x->low[i]);
    KL_BESIDE out[i] = KL_FMA_F64(x->high[i], x->b[i], -x->over[i]); /* at b itself */
    if (!brief) KL_BESIDE out[i] = KL_FMA_F64(x->low[i], x->b[i], out[i]);
    KL_BESIDE out[i] = KL_FMA_F64(x->r[i], h[i], out[i]);
}

/* log(w) = log(b) + t + t^2 L(t),      L(t) = (log(1 + t) - t)/t^2,      and from the same
 * g(c, qbar)/c = z - log(w)  =  (b - 1) - log(b)  +  t ((b - 1) - t L(t)) */
KL_INLINE void kl_natural_excesses(int side, int brief, const kl_in_cells *x, vf64 *log, vf64 *out)
{
    vf64 l[KL_SIDE];
    if (brief) kl_polynomials(side, 6, KL_BRIEF_LOGS, x->t, l);
    else kl_polynomials(side, 10, KL_LOGS, x->t, l);
    KL_BESIDE l[i] *= x->t[i];
    KL_BESIDE log[i] = KL_FMA_F64(x->t[i], l[i], x->t[i]);
    KL_BESIDE out[i] = x->over[i] - x->high[i];
    if (!brief)
        KL_BESIDE {
            log[i] += x->low[i];
            out[i] -= x->low[i];
        }
    KL_BESIDE log[i] += x->high[i];
    KL_BESIDE out[i] = KL_FMA_F64(x->t[i], x->over[i] - l[i], out[i]);
}

/* `side` vectors of bins from k on. In brief, w is 1 + z: what a small w lacks then is nothing beside -z in g. */
KL_INLINE void kl_mean_probs_side(int side, int single, int brief, kl_feature_sums *s, const kl_feature_bins *b,
                                  int64_t k, vf64 inverse)
{
    vf64 w[KL_SIDE], z[KL_SIDE], c[KL_SIDE], g[KL_SIDE];
    kl_in_cells in;
    KL_BESIDE {
        const int64_t at = k + i * KL_W64, j = at / KL_W64 % KL_NV;
        const vf64 p = kl_number_at(b->row, at, single), over = kl_load_f64(b->inverse + at);
        c[i] = kl_load_f64(b->probs + at);
        const vf64 d = kl_fma_exact(p, inverse, -c[i]), x = d * kl_load_f64(b->scale + at);
        s->squares.v[j] = KL_FMA_F64(x, x, s->squares.v[j]);
        kl_store_f64(b->out + at, x);
        z[i] = d * over;
        w[i] = brief ? 1.0 + z[i] : p * inverse * over;
    }
    kl_to_cells(side, brief, w, z, &in);
    kl_mean_excesses(side, brief, &in, g);
    KL_BESIDE {
        const int64_t j = (k / KL_W64 + i) % KL_NV;
        s->g.v[j] = KL_FMA_F64(c[i], g[i], s->g.v[j]);
    }
}

/* The same for natural features; `bare`: if a bin of the row or of the centre may be empty. */
KL_INLINE void kl_natural_probs_side(int side, int single, int brief, int bare, kl_feature_sums *s,
                                     const kl_feature_bins *b, int64_t k, vf64 inverse)
{
    const vf64 zero = {0};
    vf64 q[KL_SIDE], w[KL_SIDE], z[KL_SIDE], c[KL_SIDE], log[KL_SIDE], g[KL_SIDE];
    kl_in_cells in;
    KL_BESIDE {
        const int64_t at = k + i * KL_W64;
        const vf64 x = kl_number_at(b->row, at, single), over = kl_load_f64(b->inverse + at);
        c[i] = kl_load_f64(b->probs + at);
        q[i] = x * inverse;
        w[i] = q[i] * over;
        z[i] = kl_fma_exact(x, inverse, -c[i]) * over;
    }
    kl_to_cells(side, brief, w, z, &in);
    kl_natural_excesses(side, brief, &in, log, g);
    KL_BESIDE {
        const int64_t at = k + i * KL_W64, j = at / KL_W64 % KL_NV;
        vf64 y = log[i] * kl_load_f64(b->scale + at);
        if (bare) {
            const vi64 empty = q[i] == 0, off = empty | (c[i] == 0);
            s->least = KL_MIN_F64(kl_select(empty, kl_set_f64(1), q[i]), s->least);
            s->missing.v[j] += kl_select(empty, c[i], zero);
            s->g.v[j] += kl_select(c[i] == 0, q[i], zero);
            y = kl_select(off, zero, y);
            g[i] = kl_select(off, zero, g[i]);
        }
        s->g.v[j] = KL_FMA_F64(c[i], g[i], s->g.v[j]);
        s->squares.v[j] = KL_FMA_F64(y, y, s->squares.v[j]);
        kl_store_f64(b->out + at, y);
    }
}

/* n bins, a multiple of KL_LANES, of a row of weights; all but the bins are constants. */
KL_INLINE void kl_probs_bins(int role, int single, int brief, int bare, kl_feature_sums *s, kl_feature_bins b,
                             int64_t n, vf64 inverse)
{
    int64_t k = 0;
    for (; k + KL_SIDE * KL_W64 <= n; k += KL_SIDE * KL_W64)
        if (role == KL_MEAN) kl_mean_probs_side(KL_SIDE, single, brief, s, &b, k, inverse);
        else kl_natural_probs_side(KL_SIDE, single, brief, bare, s, &b, k, inverse);
    for (; k < n; k += KL_W64)
        if (role == KL_MEAN) kl_mean_probs_side(1, single, brief, s, &b, k, inverse);
        else kl_natural_probs_side(1, single, brief, bare, s, &b, k, inverse);
}

/* Rows of weights, n of them, to features. Constants: `single`, whether rows are float32, `brief`, whether features
 * will be, `bare`, whether bins may be empty, and the role. A row's sums go to sums[i]. */
typedef struct { double g, missing, squares, least; } kl_probs_sums;

KL_INLINE void kl_probs_rows(int role, int single, int brief, int bare, const void *const *rows, const double *inverse,
                             int64_t n, const kl_center *center, int64_t K, double *out, kl_probs_sums *sums)
{
    const int part = K % KL_LANES != 0;
    const int64_t whole = K - K % KL_LANES, size = single ? 4 : 8;
    const double *const scale = role == KL_MEAN ? center->scale : center->unscale;
    double tails[5][KL_LANES];
    kl_feature_sums s;
    if (part) {
        kl_tail(center->probs, whole, K, 0, tails[0]);
        kl_tail(scale, whole, K, 0, tails[1]);
        kl_tail(center->inverse, whole, K, 0, tails[2]);
    }
    for (int64_t i = 0; i < n; i++, out += K) {
        const vf64 factor = kl_set_f64(inverse[i]);
        kl_sum g = kl_sum_zero();
        s.g = s.squares = s.missing = kl_lanes_zero();
        s.least = kl_set_f64(1);
        for (int64_t k = 0; k < K; k += KL_SUM_BLOCK) {
            const int64_t end = k + KL_SUM_BLOCK < whole ? k + KL_SUM_BLOCK : whole;
            const kl_feature_bins b = {(const char *)rows[i] + k * size, NULL, center->probs + k, scale + k,
                                       center->inverse + k, out + k};
            kl_probs_bins(role, single, brief, bare, &s, b, end - k, factor);
            if (part && K - k < KL_SUM_BLOCK) {
                kl_wide_tail(rows[i], whole, K, single, 0, tails[3]);
                const kl_feature_bins rest = {tails[3], NULL, tails[0], tails[1], tails[2], tails[4]};
                kl_probs_bins(role, 0, brief, bare, &s, rest, KL_LANES, factor);
                memcpy(out + whole, tails[4], (size_t)(K - whole) * sizeof *out);
            }
            if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
            kl_sum_add(&g, &s.g);
            s.g = kl_lanes_zero();
        }
        const double total = K <= KL_SUM_BLOCK ? kl_lanes_total(&s.g) : kl_sum_total(&g);
        const double missing = bare ? kl_lanes_total(&s.missing) : 0;
        sums[i] = (kl_probs_sums){total, missing, kl_lanes_total(&s.squares), 1};
        for (int l = 0; l < KL_W64 && bare; l++) sums[i].least = fmin(sums[i].least, s.least[l]);
    }
}

/* Mean rows, which may lie at `out` themselves if they are float64. (Alone, a row of 32 bins would spend half of its
 * time on loading constants.) */
static void kl_mean_rows(int single, int brief, const void *const *rows, const double *inverse, int64_t n,
                         const kl_center *center, int64_t K, double *out, kl_probs_sums *sums)
{
    if (single && brief) kl_probs_rows(KL_MEAN, 1, 1, 0, rows, inverse, n, center, K, out, sums);
    else if (single) kl_probs_rows(KL_MEAN, 1, 0, 0, rows, inverse, n, center, K, out, sums);
    else if (brief) kl_probs_rows(KL_MEAN, 0, 1, 0, rows, inverse, n, center, K, out, sums);
    else kl_probs_rows(KL_MEAN, 0, 0, 0, rows, inverse, n, center, K, out, sums);
}

/* The same from log-weights: with L = log(row/centre), both weights normalised, and gamma(x) = e^x - 1 - x,
 * mean: pbar - c = c (L + gamma(L)), g = pbar gamma(-L);   natural: g = c gamma(L). Far from 0 by differences. */
KL_INLINE void kl_logit_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, const kl_logit_pair *pair, int mean)
{
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 a = kl_number_at(b.row, at, 0), c = kl_load_f64(b.probs + at);
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
KL_INLINE void kl_mean_differences(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse, int single, int bare)
{
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 p = kl_number_at(b.row, at, single), c = kl_load_f64(b.probs + at);
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

KL_INLINE kl_shifted_row kl_shifted_row_of(const void *row, int single, double inverse, const kl_center *center,
                                           int bare, int64_t K, double *out)
{
    kl_feature_sums s = {.squares = kl_lanes_zero(), .unsupported = {0}};
    const int64_t whole = K - K % KL_LANES;
    double tails[4][KL_LANES];
    const kl_feature_bins all = {row, NULL, center->probs, center->scale, NULL, out};
    kl_mean_differences(&s, all, whole, kl_set_f64(inverse), single, bare);
    if (whole < K) {
        kl_feature_bins b = {kl_wide_tail(row, whole, K, single, 0, tails[0]), NULL,
                             kl_tail(center->probs, whole, K, 0, tails[1]),
                             kl_tail(center->scale, whole, K, 0, tails[2]), NULL, tails[3]};
        kl_mean_differences(&s, b, KL_LANES, kl_set_f64(inverse), 0, bare);
        memcpy(out + whole, tails[3], (size_t)(K - whole) * sizeof *out);
    }
    return (kl_shifted_row){kl_lanes_total(&s.squares), KL_BITS_F64(s.unsupported) != 0};
}

/* Whether float64 can normalise a row of weights of this sum. */
KL_INLINE int kl_is_ordinary(double sum) { return sum > 0x1p-900 && sum < 0x1p900; }

static kl_feature_row kl_shifted_features(int32_t domain, const double *row, kl_norm norm, const kl_center *center,
                                          int64_t K, double *out)
{
    if (!kl_is_ordinary(norm.a)) return kl_lost_row(out, K);
    const kl_shifted_row s = kl_shifted_row_of(row, 0, domain == KL_MEASURE ? 1 : 1 / norm.a, center, 1, K, out);
    if (s.unsupported) return (kl_feature_row){INFINITY, INFINITY, s.norm2};
    return s.norm2 <= 0x1p1000 ? (kl_feature_row){0, 0, s.norm2} : kl_lost_row(out, K);
}

static kl_feature_row kl_mean_features(int brief, const double *row, double inverse, const kl_center *center,
                                       int64_t K, double *out)
{
    const void *rows[1] = {row};
    kl_probs_sums s;
    int unsupported = 0;
    for (int64_t k = 0; k < K; k++) unsupported |= center->probs[k] == 0 && row[k] > 0;
    kl_mean_rows(0, brief, rows, &inverse, 1, center, K, out, &s);
    if (unsupported) return (kl_feature_row){INFINITY, INFINITY, s.squares};
    return s.squares <= 0x1p1000 && s.g <= 0x1p900 ? (kl_feature_row){s.g, s.g, s.squares} : kl_lost_row(out, K);
}

/* Natural features of a row of weights, `whole` if neither it nor the centre has an empty bin, `single` only then;
 * `least` is its least. */
#define KL_LEAST_PROBS 0x1p-1014
static kl_feature_row kl_natural_features(int single, int brief, int whole, const void *row, double inverse,
                                          double least, const kl_center *center, int64_t K, double *out)
{
    kl_probs_sums s;
    if (single && brief) kl_probs_rows(KL_NATURAL, 1, 1, 0, &row, &inverse, 1, center, K, out, &s);
    else if (single) kl_probs_rows(KL_NATURAL, 1, 0, 0, &row, &inverse, 1, center, K, out, &s);
    else if (whole && brief) kl_probs_rows(KL_NATURAL, 0, 1, 0, &row, &inverse, 1, center, K, out, &s);
    else if (whole) kl_probs_rows(KL_NATURAL, 0, 0, 0, &row, &inverse, 1, center, K, out, &s);
    else kl_probs_rows(KL_NATURAL, 0, 0, 1, &row, &inverse, 1, center, K, out, &s);
    const double total = s.g + s.missing;
    if ((whole ? least * inverse : s.least) < KL_LEAST_PROBS || !(s.squares <= 0x1p1000) || !(total <= 0x1p900))
        return kl_lost_row(out, K);
    return (kl_feature_row){s.g - s.missing, total, s.squares};
}

static kl_feature_row kl_logit_features(int32_t role, const double *row, kl_norm norm, const kl_center *center,
                                        int64_t K, double *out)
{
    const int mean = role == KL_MEAN;
    const double *scale = mean ? center->scale : center->unscale;
    const kl_logit_pair pair = kl_logit_pair_of(norm, center->norm);
    kl_sum g = kl_sum_zero();
    kl_feature_sums s = {.squares = kl_lanes_zero(), .missing = kl_lanes_zero()};
    double tails[5][KL_LANES];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK, whole = n - n % KL_LANES;
        s.g = kl_lanes_zero();
        for (int64_t part = 0; part < 2; part++) { /* whole groups, then the tail */
            const int64_t at = begin + (part ? whole : 0), bins = part ? (whole < n ? KL_LANES : 0) : whole;
            kl_feature_bins b = {row + at, center->row + at, center->probs + at, scale + at, NULL, out + at};
            if (part && bins)
                b = (kl_feature_bins){kl_tail(row, at, K, -INFINITY, tails[0]),
                                      kl_tail(center->row, at, K, -INFINITY, tails[1]),
                                      kl_tail(center->probs, at, K, 0, tails[2]), kl_tail(scale, at, K, 0, tails[3]),
                                      NULL, tails[4]};
            kl_logit_bins(&s, b, bins, &pair, mean);
            if (part && bins) memcpy(out + at, tails[4], (size_t)(n - whole) * sizeof *out);
        }
        kl_sum_add(&g, &s.g);
    }
    const double total = kl_sum_total(&g), missing = kl_lanes_total(&s.missing), norm2 = kl_lanes_total(&s.squares);
    if (mean && KL_BITS_F64(s.unsupported)) return (kl_feature_row){INFINITY, INFINITY, norm2};
    if (!(norm2 <= 0x1p1000) || !(total + missing <= 0x1p900)) return kl_lost_row(out, K); /* huge logits */
    return (kl_feature_row){total - missing, total + missing, norm2};
}
