/* Mean and natural features of one row around a centre c, for the product form
 *     KL(p||q) = KL(p||c) + KL(c||q) - sum over supp(q) of x_k y_k,
 *     x = (pbar - c) / sqrt(c),     y = sqrt(c) * log(qbar / c)   (0 off the support of q or of c).
 *
 * Each feature carries a small *relative* error, up to an error common to the whole row (that of
 * 1/Sp in x, of log Sq in y) whose effect on the sum is of second order (docs/numerics.md, certificate).
 * `offset` is the row's own divergence; `spread` >= what the certificate must allow for: the sum of
 * the absolute values that made the offset.
 */
typedef struct { double offset, spread, norm2; } kl_feature_row;

static kl_feature_row kl_mean_features(int32_t domain, const double *row, kl_norm norm,
                                       const kl_center *center, int64_t K, double *x)
{
    const vf64 inverse = kl_set_f64(1 / norm.a), p_max = kl_set_f64(norm.a);
    const kl_logit_pair pair = kl_logit_pair_of(norm, center->norm);
    kl_lanes squares = kl_lanes_zero();
    double a[KL_LANES], l[KL_LANES], c[KL_LANES], s[KL_LANES], t[KL_LANES];
    for (int64_t k = 0; k < K; k += KL_LANES) {
        int whole = k + KL_LANES <= K;
        double empty = domain == KL_PROBS ? 0 : -INFINITY;
        const double *ak = whole ? row + k : kl_tail(row, k, K, empty, a);
        const double *lk = whole ? center->row + k : kl_tail(center->row, k, K, empty, l);
        const double *ck = whole ? center->probs + k : kl_tail(center->probs, k, K, 0, c);
        const double *sk = whole ? center->scale + k : kl_tail(center->scale, k, K, 0, s);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 av = kl_load_f64(ak + j * KL_W64), cv = kl_load_f64(ck + j * KL_W64), d;
            if (domain == KL_PROBS) d = kl_fma_exact(av, inverse, -cv);
            else {
                vf64 L = kl_logit_ratio(&pair, av, kl_load_f64(lk + j * KL_W64));
                vf64 far = kl_softmax_weight(av, p_max) * pair.a_scale - cv;
                vf64 close = cv * (L + kl_gamma_near(L));
                d = kl_select((kl_abs(L) <= 1.0) & (av > -0x1.fffffffffffffp1023), close, far);
            }
            vf64 feature = d * kl_load_f64(sk + j * KL_W64);
            squares.v[j] += feature * feature;
            kl_store_f64(whole ? x + k + j * KL_W64 : t + j * KL_W64, feature);
        }
        if (!whole) memcpy(x + k, t, (size_t)(K - k) * sizeof *t);
    }
    double offset;
    if (domain == KL_PROBS) offset = kl_direct_probs(row, norm, center->row, center->norm, K);
    else offset = kl_direct_logits(row, norm, center->row, center->norm, K);
    /* The centre's floats sum to 1 + excess: G(p, c) = KL + excess - log1p(excess). */
    offset += 0.5 * center->excess * center->excess;
    return (kl_feature_row){offset, offset, kl_lanes_total(&squares)};
}

static kl_feature_row kl_natural_features(int32_t domain, const double *row, kl_norm norm,
                                          const kl_center *center, int64_t K, double *y,
                                          double *scratch)
{
    const vf64 inverse = kl_set_f64(1 / norm.a);
    const kl_logit_pair pair = kl_logit_pair_of(norm, center->norm);
    kl_lanes squares = kl_lanes_zero();
    double b[KL_LANES], l[KL_LANES], c[KL_LANES], s[KL_LANES], t[KL_LANES];
    const double empty = domain == KL_PROBS ? 0 : -INFINITY;
    for (int64_t k = 0; k < K; k += KL_LANES) {
        int whole = k + KL_LANES <= K;
        const double *bk = whole ? row + k : kl_tail(row, k, K, empty, b);
        const double *lk = whole ? center->row + k : kl_tail(center->row, k, K, empty, l);
        const double *ck = whole ? center->probs + k : kl_tail(center->probs, k, K, 0, c);
        const double *sk = whole ? center->unscale + k : kl_tail(center->unscale, k, K, 0, s);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 bv = kl_load_f64(bk + j * KL_W64), cv = kl_load_f64(ck + j * KL_W64), theta;
            vi64 off = (bv == empty) | (cv == 0);
            if (domain == KL_PROBS) {
                vf64 d = kl_fma_exact(bv, inverse * KL_UP, -cv * KL_UP);
                theta = kl_log_value(kl_log_reduce(bv * (inverse * KL_UP), cv * KL_UP, d));
            } else theta = kl_logit_ratio(&pair, bv, kl_load_f64(lk + j * KL_W64));
            vf64 feature = kl_select(off, (vf64){0}, theta * kl_load_f64(sk + j * KL_W64));
            squares.v[j] += feature * feature;
            kl_store_f64(whole ? y + k + j * KL_W64 : t + j * KL_W64, feature);
        }
        if (!whole) memcpy(y + k, t, (size_t)(K - k) * sizeof *t);
    }
    /* The centre restricted to the row's support: mass m is missing there. With c' = c / (1 - m),
     *     G_supp(c, q) - m = (1 - m) * (KL(c'||q) + log(1 - m)). */
    double missing = 0, kl;
    for (int64_t k = 0; k < K; k++) {
        int off = row[k] == empty;
        missing += off ? center->probs[k] : 0;
        scratch[k] = off ? empty : center->row[k];
    }
    if (missing == 0) {
        kl = domain == KL_PROBS ? kl_direct_probs(center->row, center->norm, row, norm, K)
                                : kl_direct_logits(center->row, center->norm, row, norm, K);
        kl += 0.5 * center->excess * center->excess;
        return (kl_feature_row){kl, kl, kl_lanes_total(&squares)};
    }
    int32_t zeros;
    kl_norm rest;
    kl_row_status status = domain == KL_PROBS ? kl_scan_probs(scratch, K, -1, &rest, &zeros)
                                              : kl_scan_logits(scratch, K, -1, &rest, &zeros);
    if (status != KL_ROW_OK) /* disjoint from the centre: only c = 0 bins have mass */
        return (kl_feature_row){-1, 2, kl_lanes_total(&squares)};
    double kept = domain == KL_PROBS ? rest.a / center->norm.a
                                     : rest.b / center->norm.b * exp(rest.a - center->norm.a);
    kl = domain == KL_PROBS ? kl_direct_probs(scratch, rest, row, norm, K)
                            : kl_direct_logits(scratch, rest, row, norm, K);
    double log_kept = kept > 0.5 ? log1p(-missing) : log(kept);
    return (kl_feature_row){kept * (kl + log_kept), kept * (kl - log_kept) + 2 * missing,
                            kl_lanes_total(&squares)};
}
