/* Features of POWER for rows far apart: e^(s f) or e^(t f) with its share of c, f = log(row / c), without the centre
 * taken off, so that over the bins the products of two are sum p^s q^t / (s t): terms of one sign, of which nothing
 * cancels. With offsets of 1 / (2 s t) a value is (1 - sum p^s q^t) / (s t), as ever; its error is relative to the
 * product, which is 1 / (s t) less the value. */

/* Lost: rows whose probabilities float64 cannot hold, and features whose products might overflow. */
static kl_feature_row kl_overlap_features(const kl_divergence *f, int32_t role, int32_t domain, const double *row,
                                          kl_norm norm, const kl_center *center, int64_t K, double *out)
{
    const int mean = role == KL_MEAN;
    const double exponent = mean ? f->number : f->rest, product = f->number * f->rest;
    const double unit = 1 / sqrt(fabs(product)), empty = domain == KL_LOGITS ? -INFINITY : 0;
    if (domain != KL_LOGITS && !kl_is_ordinary(norm.a)) return kl_lost_row(out, K);
    kl_pair pair;
    kl_pair_with(&pair, domain, row, norm, center, K);
    kl_bins bins;
    kl_lanes squares = kl_lanes_zero();
    double share[KL_SUM_BLOCK] = {0};
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK;
        const int64_t padded = kl_fill_as_needed(&bins, &pair, begin, KL_NEEDS_LOG | KL_NEEDS_LOW);
        for (int64_t k = 0; k < n; k++) {
            if (bins.p[k] < 0x1p-950 && row[begin + k] != empty) return kl_lost_row(out, K);
            share[k] = mean ? center->probs[begin + k] * center->scale[begin + k] : center->unscale[begin + k];
            share[k] *= product < 0 && !mean ? -unit : unit;
        }
        for (int64_t k = 0; k < padded; k += KL_W64) {
            vf64 log = kl_load_f64(bins.log + k), x = log * exponent;
            vf64 low = KL_FMA_F64(kl_load_f64(bins.low + k), kl_set_f64(exponent),
                                  kl_fma_exact(log, kl_set_f64(exponent), -x));
            vi64 both = (kl_load_f64(bins.p + k) > 0) & (kl_load_f64(bins.q + k) > 0), over = x > 1400.0;
            vf64 power = kl_exp(kl_select(both & ~over, x, kl_set_f64(1400)), kl_select(both, low, (vf64){0}));
            kl_store_f64(bins.d + k, kl_select(both, power * kl_load_f64(share + k), (vf64){0}));
        }
        for (int64_t k = 0; k < padded; k += KL_LANES)
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 x = kl_load_f64(bins.d + k + j * KL_W64);
                squares.v[j] += x * x;
            }
        memcpy(out + begin, bins.d, (size_t)n * sizeof *out);
    }
    if (!(kl_lanes_total(&squares) < 0x1p900)) return kl_lost_row(out, K);
    return (kl_feature_row){0.5 / product, 0.5 / fabs(product), 0};
}
