/* Features of a row around a centre c for the divergences other than KL. With f = log(row / c), u = row / c - 1:
 *
 * POWER      x = sqrt(c) (e^(s f) - 1) / s    y = sqrt(c) (e^(t f) - 1) / t    offsets C_s(p||c), C_s(c||q)
 *            since  C_s(p||q) = sum c [s u_p - (e^(s f_p) - 1)] / (s t) + sum c [t u_q - (e^(t f_q) - 1)] / (s t) - x.y
 *            (t < 0: y = 0 where q is empty, and the offset loses c / s there, as for KL)
 * JEFFREYS   [l x, y / l] . [y / l, l x] of KL's x, y, which is x_p.y_q + y_p.x_q; offset x.y. (Symmetric to the bit. By
 *            Cauchy and Schwarz, l makes the bound least where l x is as long as y / l.)
 * ITAKURA    x = u    y = 1 - c / q           offsets gamma(log(p/c)), gamma(log(c/q))
 *
 * and for the sums over bins, whose tile functions are in elementwise.h,
 * SKEW_JS    w u | (1 - w) u                  offsets w KL(p||c), (1 - w) KL(q||c)
 * SKEW_KL    (1 - a) u | a u                  offsets KL(p||c), 0
 * VARIATION, TRIANGULAR     row - c           no offsets (VARIATION: of rows whose sums are that of c, see kl_level)
 */
typedef struct {
    double feature[KL_SUM_BLOCK], second[KL_SUM_BLOCK]; /* second: Jeffreys */
    double offset[KL_SUM_BLOCK], spread[KL_SUM_BLOCK];
} kl_feature_block;

KL_INLINE vf64 kl_expm1_over(vf64x2 log, double s) /* (e^(s log) - 1) / s */
{
    vf64 x = log.high * s, error = kl_fma_exact(log.high, kl_set_f64(s), -x);
    vi64 near = kl_abs(x) <= 1.0;
    vf64 close = kl_select(near, x, (vf64){0});
    vf64 far = kl_exp(kl_select(x > 1400.0, kl_set_f64(1400), x), KL_FMA_F64(log.low, kl_set_f64(s), error)) - 1.0;
    return kl_select(near, close + kl_gamma_near(close), far) / s;
}

KL_INLINE void kl_power_features(double s, double t, int mean, const kl_bins *b, const double *probs,
                                 const double *scale, const double *unscale, int64_t n, kl_feature_block *out)
{
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 row = kl_load_f64(b->p + k), c = kl_load_f64(b->q + k);
        vf64x2 log = {kl_load_f64(b->log + k), kl_load_f64(b->low + k)}, back = {-log.high, -log.low};
        vi64 empty = row == 0, bare = c == 0;
        vf64 x, offset, spread;
        if (mean) {
            vf64 root = kl_load_f64(probs + k) * kl_load_f64(scale + k);
            x = kl_select(empty, kl_set_f64(-1 / s), kl_expm1_over(log, s)) * root;
            offset = spread = kl_power(row, c, kl_load_f64(b->g + k), log, s, t).term;
        } else {
            vf64 gone = t > 0 ? kl_set_f64(-1 / t) : (vf64){0};
            x = kl_select(empty, gone, kl_expm1_over(log, t)) * kl_load_f64(unscale + k);
            offset = kl_power(c, row, kl_load_f64(b->back + k), back, s, t).term;
            if (t < 0) offset = kl_select(empty, c * (-1 / s), offset);
            spread = kl_abs(offset);
        }
        kl_store_f64(out->feature + k, kl_select(bare, (vf64){0}, x));
        kl_store_f64(out->offset + k, offset);
        kl_store_f64(out->spread + k, spread);
    }
}

/* POWER where it needs no logarithm. s = 1/2: x = 2 (sqrt(row) - sqrt(c)) of both rows, offset x^2/2. s = 2: x =
 * sqrt(c) (u^2 - 1)/2, y = sqrt(c) (1 - c/q), offsets d^2/c and d^2/q in halves. */
KL_INLINE void kl_plain_power_features(int mean, const kl_divergence *f, const kl_bins *b, const double *probs,
                                       const double *scale, const double *unscale, double up, int64_t n,
                                       kl_feature_block *out)
{
    const vf64 zero = {0}, unit = kl_set_f64(2 / sqrt(up));
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 row = kl_load_f64(b->p + k), c = kl_load_f64(b->q + k), d = kl_load_f64(b->d + k), x, offset;
        vi64 empty = row == 0, bare = c == 0;
        if (f->number == 0.5) {
            vf64 r = kl_select(empty & bare, zero, d / (kl_sqrt(row) + kl_sqrt(c)));
            x = r * unit;
            offset = 2.0 * r * r;
        } else if (mean) {
            vf64 ratio = d / c;
            x = 0.5 * ratio * (1.0 + row / c) * (kl_load_f64(probs + k) * kl_load_f64(scale + k));
            offset = kl_select(empty & bare, zero, 0.5 * d * ratio);
        } else {
            vf64 ratio = kl_select(empty, zero, d / row);
            x = ratio * kl_load_f64(unscale + k);
            offset = kl_select(empty, -0.5 * c, 0.5 * d * ratio);
        }
        kl_store_f64(out->feature + k, kl_select(bare, zero, x));
        kl_store_f64(out->offset + k, offset);
        kl_store_f64(out->spread + k, kl_abs(offset));
    }
}

KL_INLINE void kl_jeffreys_features(int mean, double balance, const kl_bins *b, const double *scale,
                                    const double *unscale, double up, int64_t n, kl_feature_block *out)
{
    double *of_mean = mean ? out->feature : out->second, *of_natural = mean ? out->second : out->feature;
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 row = kl_load_f64(b->p + k), c = kl_load_f64(b->q + k), d = kl_load_f64(b->d + k);
        vf64 log = kl_select((row == 0) | (c == 0), (vf64){0}, kl_load_f64(b->log + k));
        kl_store_f64(of_mean + k, d / up * kl_load_f64(scale + k) * balance);
        kl_store_f64(of_natural + k, log * kl_load_f64(unscale + k) * (1 / balance));
        kl_store_f64(out->offset + k, d * log);
        kl_store_f64(out->spread + k, d * log);
    }
}

KL_INLINE void kl_ratio_features(const kl_divergence *f, int mean, const kl_bins *b, double up, int64_t n,
                                 kl_feature_block *out)
{
    const double w = f->number, share = mean == (f->kind == KL_SKEW_JS) ? w : 1 - w;
    const vf64 zero = {0};
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 row = kl_load_f64(b->p + k), c = kl_load_f64(b->q + k), d = kl_load_f64(b->d + k);
        vf64 x, offset = zero, spread;
        switch (f->kind) {
        case KL_ITAKURA_SAITO: {
            vf64 log = kl_load_f64(b->log + k), to = mean ? log : -log, ratio = mean ? row / c : c / row;
            offset = kl_select(kl_abs(to) <= 1.0, kl_gamma_near(to), ratio - 1.0 - to);
            offset = spread = kl_select(row == 0, kl_set_f64(INFINITY), offset * up); /* the sum divides by up */
            x = mean ? d / c : d / row;
            break;
        }
        case KL_SKEW_JS: case KL_SKEW_KL:
            x = share * (d / c);
            spread = (f->kind == KL_SKEW_KL && mean ? 1 : share) * kl_load_f64(b->g + k);
            offset = f->kind == KL_SKEW_KL && !mean ? zero : spread;
            break;
        case KL_TRIANGULAR: /* of second order while |d| is small beside c (docs: numerics) */
            x = d / up;
            spread = 4.0 * kl_abs(d) * kl_select(kl_abs(d) <= 0.5 * c, kl_abs(d) / c, kl_set_f64(1));
            break;
        default:
            x = d / up;
            spread = 0.5 * kl_abs(d);
        }
        vi64 bare = c == 0; /* beyond the bins: the centre is above 0 elsewhere */
        kl_store_f64(out->feature + k, kl_select(bare, zero, x));
        kl_store_f64(out->offset + k, kl_select(bare, zero, offset));
        kl_store_f64(out->spread + k, kl_select(bare, zero, spread));
    }
}

/* |p - q| is of first order in the error of a row's normaliser, which is common to its bins: its d, which have small
 * relative errors else, add up to it, and lose it here. (A bin that the row leaves empty keeps d = -c.) */
static void kl_level(double *d, const double *c, int64_t K)
{
    kl_sum sums = kl_sum_zero();
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK;
        double tail[KL_LANES];
        kl_lanes block = kl_lanes_zero();
        for (int64_t k = begin; k < begin + n; k += KL_LANES) {
            const double *x = begin + n - k < KL_LANES ? kl_tail(d, k, begin + n, 0, tail) : d + k;
            KL_UNROLL for (int j = 0; j < KL_NV; j++) block.v[j] += kl_load_f64(x + j * KL_W64);
        }
        kl_sum_add(&sums, &block);
    }
    const double excess = kl_sum_total(&sums);
    for (int64_t k = 0; k < K; k++) d[k] -= excess * (d[k] + c[k]);
}

/* What of a bin the features take: see kl_fill. */
static int kl_feature_needs(const kl_divergence *f, int mean)
{
    switch (f->kind) {
    case KL_SKEW_JS: case KL_SKEW_KL: return KL_NEEDS_G;
    case KL_POWER: return mean || !kl_needs_of(KL_POWER, f->number)
        ? kl_needs_of(KL_POWER, f->number) : KL_NEEDS_LOG | KL_NEEDS_LOW | KL_NEEDS_BACK;
    default: return kl_needs_of(f->kind, f->number);
    }
}

/* A call: `need` is no constant here. */
static __attribute__((noinline)) int64_t kl_fill_as_needed(kl_bins *bins, const kl_pair *pair, int64_t begin, int need)
{
    return kl_fill(bins, pair, begin, need);
}

/* `out`: K features, or 2 K for Jeffreys. */
static kl_feature_row kl_other_features(const kl_divergence *f, int32_t role, int32_t domain, const double *row,
                                        kl_norm norm, const kl_center *center, int64_t K, double *out)
{
    const int mean = role == KL_MEAN, twice = f->kind == KL_JEFFREYS;
    const int power = f->kind == KL_POWER, plain = power && !kl_needs_of(KL_POWER, f->number);
    const int need = kl_feature_needs(f, mean);
    double offset = 0, spread = 0;
    if (domain != KL_LOGITS && !(norm.a > 0x1p-900 && norm.a < 0x1p900)) return kl_lost_row(out, K << twice);
    kl_pair pair;
    kl_pair_with(&pair, domain, row, norm, center, K);
    kl_sum offsets = kl_sum_zero(), spreads = kl_sum_zero();
    kl_lanes squares_of = kl_lanes_zero();
    kl_bins bins;
    kl_feature_block b;
    double scales[3][KL_SUM_BLOCK];
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = K - begin < KL_SUM_BLOCK ? K - begin : KL_SUM_BLOCK;
        const int64_t padded = kl_fill_as_needed(&bins, &pair, begin, need);
        const double empty = domain == KL_LOGITS ? -INFINITY : 0;
        if (power || twice) /* probabilities that float64 cannot hold */
            for (int64_t k = 0; k < n; k++)
                if (bins.p[k] < 0x1p-950 && row[begin + k] != empty) return kl_lost_row(out, K << twice);
        for (int64_t k = 0; k < padded; k++) {
            scales[0][k] = k < n ? center->scale[begin + k] : 0;
            scales[1][k] = k < n ? center->unscale[begin + k] : 0;
            scales[2][k] = k < n ? center->probs[begin + k] : 0;
        }
        if (plain)
            kl_plain_power_features(mean, f, &bins, scales[2], scales[0], scales[1], pair.up, padded, &b);
        else if (power)
            kl_power_features(f->number, f->rest, mean, &bins, scales[2], scales[0], scales[1], padded, &b);
        else if (twice)
            kl_jeffreys_features(mean, center->balance, &bins, scales[0], scales[1], pair.up, padded, &b);
        else kl_ratio_features(f, mean, &bins, pair.up, padded, &b);
        kl_lanes o = kl_lanes_zero(), s = kl_lanes_zero();
        for (int64_t k = 0; k < padded; k += KL_LANES)
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                o.v[j] += kl_load_f64(b.offset + k + j * KL_W64);
                s.v[j] += kl_load_f64(b.spread + k + j * KL_W64);
                vf64 x = kl_load_f64(b.feature + k + j * KL_W64);
                squares_of.v[j] += x * x;
                if (!twice) continue;
                vf64 y = kl_load_f64(b.second + k + j * KL_W64);
                squares_of.v[j] += y * y;
            }
        kl_sum_add(&offsets, &o);
        kl_sum_add(&spreads, &s);
        memcpy(out + begin, b.feature, (size_t)n * sizeof *out);
        if (twice) memcpy(out + K + begin, b.second, (size_t)n * sizeof *out);
    }
    if (f->kind == KL_VARIATION && domain != KL_MEASURE) kl_level(out, center->probs, K);
    offset = kl_sum_total(&offsets) / pair.up;
    spread = kl_sum_total(&spreads) / pair.up;
    double squares = kl_lanes_total(&squares_of);
    if (offset == INFINITY && f->kind == KL_POWER) return (kl_feature_row){INFINITY, INFINITY, squares};
    if (!(fabs(offset) < 0x1p900) || !(spread < 0x1p900) || !(squares < 0x1p900)) return kl_lost_row(out, K << twice);
    if (kl_shape_of(f) != KL_PRODUCT) squares = 0; /* the spread alone bounds the error of a sum */
    return (kl_feature_row){offset, spread, squares};
}
