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
typedef struct { const double *row, *center_row, *probs, *scale; double *out; } kl_feature_bins;

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

KL_INLINE void kl_mean_probs_bins(kl_feature_sums *s, kl_feature_bins b, int64_t n, vf64 inverse)
{
    kl_reduced_bins r;
    kl_reduce_bins(s, b, n, inverse, &r);
    for (int64_t k = 0; k < n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            vf64 pk = kl_load_f64(b.row + at), c = kl_load_f64(b.probs + at), difference = kl_load_f64(r.d + at);
            kl_log_reduced parts = {(vi64)kl_load_f64(r.shift + at), kl_load_f64(r.v + at)};
            vf64 g = kl_term(pk * inverse, c * KL_UP, difference, parts);
            vf64 x = difference * (1 / KL_UP) * kl_load_f64(b.scale + at);
            s->unsupported |= (c == 0) & (pk > 0);
            s->g.v[j] += kl_select(pk == 0, c * KL_UP, g);
            s->squares.v[j] += x * x;
            kl_store_f64(b.out + at, x);
        }
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

/* x alone, `bare` if a bin of the centre may be empty. p - c is one fused multiply-add, so that probabilities too small for a float64 do no harm. */
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
    kl_mean_differences(&s, (kl_feature_bins){row, NULL, center->probs, center->scale, out}, whole, kl_set_f64(inverse),
                        bare);
    if (whole < K) {
        kl_feature_bins b = {kl_tail(row, whole, K, 0, tails[0]), NULL, kl_tail(center->probs, whole, K, 0, tails[1]),
                             kl_tail(center->scale, whole, K, 0, tails[2]), tails[3]};
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
            kl_feature_bins b = {row + at, center->row + at, center->probs + at, scale + at, out + at};
            if (part && bins)
                b = (kl_feature_bins){kl_tail(row, at, K, empty, tails[0]),
                                      kl_tail(center->row, at, K, empty, tails[1]),
                                      kl_tail(center->probs, at, K, 0, tails[2]), kl_tail(scale, at, K, 0, tails[3]),
                                      tails[4]};
            if (!probs) kl_logit_bins(&s, b, bins, &pair, mean);
            else if (mean) kl_mean_probs_bins(&s, b, bins, kl_set_f64(inverse));
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
