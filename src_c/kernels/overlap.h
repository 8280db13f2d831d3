/* Sums of p^s q^t themselves, for POWER of rows far apart (engine/overlap.c). */

/* A row for POWER without the centre taken off, e^(s f) or e^(t f) with its share of c: over the bins, the products of
 * two add up to sum p^s q^t, and nothing cancels. 0 for a row whose probabilities float64 cannot hold. */
static int kl_overlap_row(const kl_divergence *f, int32_t role, int32_t domain, const double *row, kl_norm norm,
                          const kl_center *center, int64_t K, double *out)
{
    const int mean = role == KL_MEAN;
    const double exponent = mean ? f->number : f->rest, empty = domain == KL_LOGITS ? -INFINITY : 0;
    if (domain != KL_LOGITS && !kl_is_ordinary(norm.a)) return 0;
    kl_pair pair;
    kl_pair_with(&pair, domain, row, norm, center, K);
    kl_bins bins;
    double share[KL_SUM_BLOCK] = {0};
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK;
        const int64_t padded = kl_fill_as_needed(&bins, &pair, begin, KL_NEEDS_LOG | KL_NEEDS_LOW);
        for (int64_t k = 0; k < n; k++) {
            if (bins.p[k] < 0x1p-950 && row[begin + k] != empty) return 0;
            share[k] = mean ? center->probs[begin + k] * center->scale[begin + k] : center->unscale[begin + k];
        }
        for (int64_t k = 0; k < padded; k += KL_W64) {
            vf64 log = kl_load_f64(bins.log + k), x = log * exponent;
            vf64 low = KL_FMA_F64(kl_load_f64(bins.low + k), kl_set_f64(exponent),
                                  kl_fma_exact(log, kl_set_f64(exponent), -x));
            vi64 both = (kl_load_f64(bins.p + k) > 0) & (kl_load_f64(bins.q + k) > 0), over = x > 1400.0;
            vf64 power = kl_exp(kl_select(both & ~over, x, kl_set_f64(1400)), kl_select(both, low, (vf64){0}));
            kl_store_f64(bins.d + k, kl_select(both, power * kl_load_f64(share + k), (vf64){0}));
        }
        memcpy(out + begin, bins.d, (size_t)n * sizeof *out);
    }
    return 1;
}

/* Bins of KL_SIDE_ROWS sums run side by side, each in lanes, in chains no longer than those of a tile's products. */
#define KL_SIDE_ROWS 4
#define KL_OVERLAP_BLOCK (KL_CHAIN * KL_LANES)

KL_INLINE void kl_overlap_block(const double *x, const double *const *y, int64_t begin, int64_t n, double *sums)
{
    kl_lanes s[KL_SIDE_ROWS];
    double tails[KL_SIDE_ROWS + 1][KL_LANES];
    const int64_t whole = n - n % KL_LANES;
    KL_UNROLL for (int r = 0; r < KL_SIDE_ROWS; r++) s[r] = kl_lanes_zero();
    for (int64_t k = begin; k < begin + whole; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++)
            KL_UNROLL for (int r = 0; r < KL_SIDE_ROWS; r++)
                s[r].v[j] = KL_FMA_F64(kl_load_f64(x + k + j * KL_W64), kl_load_f64(y[r] + k + j * KL_W64), s[r].v[j]);
    if (whole < n) {
        const double *rest = kl_tail(x, begin + whole, begin + n, 0, tails[KL_SIDE_ROWS]);
        KL_UNROLL for (int r = 0; r < KL_SIDE_ROWS; r++) {
            const double *other = kl_tail(y[r], begin + whole, begin + n, 0, tails[r]);
            KL_UNROLL for (int j = 0; j < KL_NV; j++)
                s[r].v[j] = KL_FMA_F64(kl_load_f64(rest + j * KL_W64), kl_load_f64(other + j * KL_W64), s[r].v[j]);
        }
    }
    KL_UNROLL for (int r = 0; r < KL_SIDE_ROWS; r++) sums[r] += kl_lanes_total(s + r);
}

static void kl_overlaps(const double *x, const double *const *y, int64_t n, int64_t K, double *sums, double *logs)
{
    double all[KL_TOGETHER] = {0};
    for (int64_t t = 0; t < n; t += KL_SIDE_ROWS) {
        const double *side[KL_SIDE_ROWS]; /* the last one again where there are fewer */
        for (int r = 0; r < KL_SIDE_ROWS; r++) side[r] = y[t + r < n ? t + r : n - 1];
        for (int64_t k = 0; k < K; k += KL_OVERLAP_BLOCK)
            kl_overlap_block(x, side, k, K - k < KL_OVERLAP_BLOCK ? K - k : KL_OVERLAP_BLOCK, all + t);
    }
    double of_all[KL_TOGETHER];
    for (int64_t t = 0; t < KL_TOGETHER; t += KL_W64) {
        vf64 sum = kl_load_f64(all + t);
        kl_store_f64(of_all + t, kl_log_value(kl_log_reduce(sum, kl_set_f64(1), sum - 1.0)));
    }
    memcpy(sums, all, (size_t)n * sizeof *sums);
    memcpy(logs, of_all, (size_t)n * sizeof *logs);
}
