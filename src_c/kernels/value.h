/* The exact value of a pair of rows for every divergence.
 *
 * The bins' weights are normalised up to a common factor 1 + delta, delta = sum d being of the size of a rounding: to
 * second order the sum then exceeds the divergence by f''(1) delta^2 / 2, which is subtracted. VARIATION, which is of
 * first order, has delta taken out of each difference in a second pass.
 */
typedef struct {
    double terms, overlap, difference; /* relative to the weights' scale */
    int faint;                         /* some q underflowed: with p it may still count */
} kl_sums;

KL_INLINE kl_sums kl_sum_terms(int kind, double number, double rest, const kl_pair *pair)
{
    kl_sum terms = kl_sum_zero(), overlaps = kl_sum_zero();
    kl_lanes differences = kl_lanes_zero();
    vi64 faint = {0};
    kl_bins bins;
    for (int64_t begin = 0; begin < pair->K; begin += KL_SUM_BLOCK) {
        const int64_t n = kl_fill(&bins, pair, begin, kl_needs_of(kind, number));
        kl_lanes block = kl_lanes_zero(), overlap_block = kl_lanes_zero();
        for (int64_t k = 0; k < n; k += KL_LANES)
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 overlap = {0};
                block.v[j] += kl_term_of(kind, number, rest, &bins, k + j * KL_W64, &overlap);
                overlap_block.v[j] += overlap;
                differences.v[j] += kl_load_f64(bins.d + k + j * KL_W64);
                if (pair->domain == KL_LOGITS) faint |= bins.faint;
            }
        if (pair->K <= KL_SUM_BLOCK) { /* one block: nothing to compensate */
            terms.high = block;
            overlaps.high = overlap_block;
            break;
        }
        kl_sum_add(&terms, &block);
        if (kind == KL_POWER) kl_sum_add(&overlaps, &overlap_block);
    }
    return (kl_sums){kl_row_total(&terms, pair->K), kind == KL_POWER ? kl_row_total(&overlaps, pair->K) : 0,
                     kl_lanes_total(&differences), KL_BITS_F64(faint) != 0};
}

static double kl_variation(const kl_pair *pair)
{
    double delta = 0;
    kl_bins bins;
    for (int pass = 0; pass < 2; pass++) {
        kl_sum total = kl_sum_zero();
        for (int64_t begin = 0; begin < pair->K; begin += KL_SUM_BLOCK) {
            const int64_t n = kl_fill(&bins, pair, begin, 0);
            kl_lanes block = kl_lanes_zero();
            for (int64_t k = 0; k < n; k += KL_LANES)
                KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                    const int64_t at = k + j * KL_W64;
                    vf64 d = kl_load_f64(bins.d + at) - delta * kl_load_f64(bins.p + at);
                    block.v[j] += pass ? kl_abs(d) : d;
                }
            kl_sum_add(&total, &block);
        }
        delta = kl_sum_total(&total) / (pass ? 1 : pair->up);
    }
    return 0.5 * delta / pair->up;
}

/* The sum over bins for one kind; POWER's cheap numbers are kinds of their own here. */
static kl_sums kl_sums_of(const kl_divergence *f, const kl_pair *pair)
{
    switch (f->kind) {
    case KL_KL: return kl_sum_terms(KL_KL, 0, 0, pair);
    case KL_JEFFREYS: return kl_sum_terms(KL_JEFFREYS, 0, 0, pair);
    case KL_ITAKURA_SAITO: return kl_sum_terms(KL_ITAKURA_SAITO, 0, 0, pair);
    case KL_SKEW_JS: return kl_sum_terms(KL_SKEW_JS, f->number, 0, pair);
    case KL_SKEW_KL: return kl_sum_terms(KL_SKEW_KL, f->number, 0, pair);
    case KL_TRIANGULAR: return kl_sum_terms(KL_TRIANGULAR, 0, 0, pair);
    default:
        if (f->number == 0.5) return kl_sum_terms(KL_POWER, 0.5, 0, pair);
        if (f->number == 2) return kl_sum_terms(KL_POWER, 2, 0, pair);
        return kl_sum_terms(KL_POWER, f->number, f->rest, pair);
    }
}

#define KL_LEAST_VALUE 0x1p-100 /* below, roundings common to a row are no longer small beside the answer */
#define KL_LEAST_VARIATION 0x1p-45

/* Symmetric divergences take the two rows in one order, so that they are symmetric to the bit: an order that a power of
 * two on a row of weights does not change. */
static int kl_second_first(int32_t domain, const double *p, kl_norm np, const double *q, kl_norm nq, int64_t K)
{
    int ep = 0, eq = 0;
    double first = np.a, second = nq.a;
    if (domain == KL_PROBS) {
        first = kl_fraction(np.a, &ep);
        second = kl_fraction(nq.a, &eq);
    }
    if (first != second) return first > second;
    const double scale = ldexp(1, ep - eq); /* sums lie within 2^400 */
    for (int64_t k = 0; k < K; k++)
        if (p[k] != q[k] * scale) return p[k] > q[k] * scale;
    return 0;
}

static double kl_general_value(const kl_divergence *f, int32_t domain, const double *p, kl_norm np, const double *q,
                               kl_norm nq, int64_t K)
{
    const double least = 0x1p-400, most = 0x1p400;
    if (kl_is_symmetric(f) && kl_second_first(domain, p, np, q, nq, K)) {
        const double *row = p;
        const kl_norm norm = np;
        p = q, np = nq;
        q = row, nq = norm;
    }
    if (domain != KL_LOGITS && !(np.a > least && np.a < most && nq.a > least && nq.a < most))
        return kl_careful(f, domain, p, q, K);
    kl_pair pair;
    kl_pair_of(&pair, domain, p, np, q, nq, K);
    if (f->kind == KL_VARIATION) {
        const double variation = kl_variation(&pair);
        return variation >= KL_LEAST_VARIATION ? f->factor * variation : kl_careful(f, domain, p, q, K);
    }
    kl_sums s = kl_sums_of(f, &pair);
    double scale = f->kind == KL_ITAKURA_SAITO ? 1 : pair.up, delta = s.difference / scale;
    double sum = s.terms / scale;
    if (domain != KL_MEASURE) sum -= 0.5 * kl_curvature(f->kind, f->number) * delta * delta;
    if (domain != KL_MEASURE ? !(sum >= KL_LEAST_VALUE) : !(sum > 0)) return kl_careful(f, domain, p, q, K);
    const int counts = f->kind == KL_JEFFREYS || (f->kind == KL_POWER && f->number > 1);
    if ((s.faint && counts) || sum == INFINITY) /* infinite by an empty bin, or by overflow */
        return kl_careful(f, domain, p, q, K);
    if (f->finish == KL_LOG && f->scale < 0 && -f->scale * sum > 0.5) { /* far apart: from the overlap itself */
        const double overlap = s.overlap / scale;
        return overlap > 0x1p-900 ? f->factor * log(overlap) : kl_careful(f, domain, p, q, K);
    }
    return kl_finished(f, sum);
}

/* What is asked for here is mostly near (candidates of a search, values that a product could not certify): sums that
 * differ by more are then too far apart for the form of agreeing ones. */
#define KL_APART 0x1p-10

static double kl_value(const kl_divergence *f, int32_t domain, const double *p, kl_norm np, const double *q,
                       kl_norm nq, int64_t K)
{
    if (f->kind == KL_KL && domain != KL_MEASURE) {
        const kl_row_pair pair = {p, q, np, nq};
        double sum;
        if (domain == KL_PROBS) kl_direct_probs(&pair, 1, K, KL_APART, &sum);
        else sum = kl_direct_logits(p, np, q, nq, K);
        return f->finish == KL_LINEAR ? f->factor * sum : kl_finished(f, sum);
    }
    return kl_general_value(f, domain, p, np, q, nq, K);
}

static void kl_values(const kl_divergence *f, int32_t domain, const kl_row_pair *pairs, int64_t n, int64_t K,
                      double *out)
{
    const int together = f->kind == KL_KL && domain == KL_PROBS && f->finish == KL_LINEAR;
    if (together) kl_direct_probs(pairs, n, K, KL_APART, out);
    for (int64_t r = 0; r < n; r++) {
        const kl_row_pair *x = pairs + r;
        out[r] = together ? f->factor * out[r] : kl_value(f, domain, x->p, x->np, x->q, x->nq, K);
    }
}

static void kl_finish_logs(const kl_divergence *f, double *x, int64_t n)
{
    for (int64_t i = 0; i < n; i += KL_W64) {
        vf64 sum = kl_load_f64(x + i), y = sum * f->scale;
        vf64 value = kl_log_value(kl_log_reduce(1.0 + y, kl_set_f64(1), y)) * f->factor;
        kl_store_f64(x + i, kl_select(sum == INFINITY, sum, value));
    }
}

/* The same from the overlap, sum p^s q^t: done where a logarithm finishes, else to sums of terms. */
static int kl_finish_overlaps(const kl_divergence *f, double *x, int64_t n)
{
    const int is_log = f->finish == KL_LOG;
    const double product = f->number * f->rest;
    for (int64_t i = 0; i < n; i += KL_W64) {
        vf64 sum = kl_load_f64(x + i);
        vf64 log = kl_log_value(kl_log_reduce(sum, kl_set_f64(1), sum - 1.0));
        kl_store_f64(x + i, is_log ? log * f->factor : (1.0 - sum) / product);
    }
    return is_log;
}

/* Sums of terms to values, in place; n whole vectors. Entries that are in doubt may hold anything: they are written
 * again later. */
static void kl_finish_f64(const kl_divergence *f, double *x, int64_t n)
{
    const double factor = f->factor;
    if (f->by_overlap && kl_finish_overlaps(f, x, n)) return;
    if (f->finish == KL_LOG) kl_finish_logs(f, x, n);
    else if (f->finish == KL_SQRT)
        for (int64_t i = 0; i < n; i++) x[i] = sqrt(x[i] * factor);
    else
        for (int64_t i = 0; i < n; i++) x[i] *= factor;
}

static void kl_finish_f32(const kl_divergence *f, float *x, int64_t n) /* in double */
{
    double wide[KL_SUM_BLOCK];
    for (int64_t i = 0; i < n; i += KL_SUM_BLOCK) {
        const int64_t here = n - i < KL_SUM_BLOCK ? n - i : KL_SUM_BLOCK;
        for (int64_t j = 0; j < here; j++) wide[j] = x[i + j];
        kl_finish_f64(f, wide, here);
        for (int64_t j = 0; j < here; j++) x[i + j] = (float)wide[j];
    }
}
