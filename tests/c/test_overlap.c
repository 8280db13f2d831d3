/* Sums of p^s q^t, and their logarithms: of rows far apart, with empty bins, in blocks and lanes of every length. */
#include "check.h"

enum { PAIRS = KL_TOGETHER, LONG = 5000 };

static region memory[2 * PAIRS + 1];
static center_of_rows center;

static void fill(double *x, int64_t n, int64_t K, kl_domain domain)
{
    for (int64_t i = 0; i < n * K; i++) {
        const int empty = i % K && random_bits() % 9 == 0;
        const double log = uniform(-30, 3);
        x[i] = domain == KL_LOGITS ? (empty ? -INFINITY : log) : empty ? 0 : exp(log);
    }
}

/* The sum by its definition; bins that either row leaves empty add nothing. */
static long double exact_sum(const double *p, const double *q, int64_t K, kl_domain domain, double s)
{
    long double of_p = 0, of_q = 0, sum = 0;
    for (int64_t k = 0; k < K; k++) {
        const long double x = domain == KL_LOGITS ? expl(p[k]) : p[k], y = domain == KL_LOGITS ? expl(q[k]) : q[k];
        of_p += x, of_q += y;
        if (x > 0 && y > 0) sum += powl(x, s) * powl(y, 1 - (long double)s);
    }
    return sum / powl(of_p, s) / powl(of_q, 1 - (long double)s);
}

/* K bins of `count` rows against one. */
static void check_rows(const kl_kernels *kernels, int64_t K, kl_domain domain, double s, int64_t count)
{
    static double x[(PAIRS + 1) * MOST_BINS];
    const kl_divergence f = {.kind = KL_POWER, .finish = KL_LOG, .number = s, .rest = 1 - s, .factor = 1};
    const kl_rows rows = matrix(x, PAIRS + 1, K, domain);
    kl_norm norms[PAIRS + 1];
    kl_stats stats = {0};
    int32_t zeros = 0;
    double scratch[MOST_BINS], sums[PAIRS], logs[PAIRS];
    const double *other[PAIRS];
    fill(x, PAIRS + 1, K, domain);
    make_center(kernels, x, PAIRS + 1, K, domain, &center);
    kernels->scan(&rows, 0, PAIRS + 1, -1, norms, &zeros, scratch, &stats);
    for (int64_t i = 0; i <= count; i++) {
        double *out = place(memory[i], (size_t)K * sizeof(double), i % 2 ? AT_END : AT_START);
        const kl_role role = i ? KL_NATURAL : KL_MEAN;
        const int there = kernels->overlap_row(&f, role, domain, x + i * K, norms[i], &center.c, K, out);
        CHECK(there, "%s: row %ld of %ld bins", kernels->name, (long)i, (long)K);
        if (i) other[i - 1] = out;
    }
    kernels->overlaps(place(memory[0], (size_t)K * sizeof(double), AT_START), other, count, K, sums, logs);
    for (int64_t i = 0; i < count; i++) {
        const long double sum = exact_sum(x, x + (i + 1) * K, K, domain, s);
        if (!(sum < 1e200L)) continue;
        CHECK(close_to(sums[i], sum, 60 * 0x1p-53) && close_to(logs[i], logl(sums[i]), 4 * 0x1p-53),
              "%s: %ld bins, domain %d, s %g: %.17g for %.17Lg, log %.17g", kernels->name, (long)K, domain, s, sums[i],
              sum, logs[i]);
    }
}

/* Longer than a block of additions. */
static void check_long(const kl_kernels *kernels)
{
    static double x[LONG], y[LONG];
    const double *other[1] = {y};
    double sum, log;
    long double exact = 0;
    for (int64_t k = 0; k < LONG; k++) {
        x[k] = uniform(0, 1), y[k] = uniform(0, 1);
        exact += (long double)x[k] * y[k];
    }
    kernels->overlaps(x, other, 1, LONG, &sum, &log);
    CHECK(close_to(sum, exact, 300 * 0x1p-53), "%s: %.17g for %.17Lg", kernels->name, sum, exact);
}

void test_overlap(const kl_kernels *kernels)
{
    static const double orders[] = {0.5, 0.75, 0.999, 2, 3.5};
    if (!memory[0].begin)
        for (int i = 0; i < 2 * PAIRS + 1; i++) memory[i] = region_new(MOST_BINS * sizeof(double));
    for (int l = 0; l < n_lengths; l++)
        for (int s = 0; s < 5 && lengths[l] > 0; s++)
            for (int domain = KL_PROBS; domain <= KL_LOGITS; domain++)
                if (domain == KL_PROBS || domain == KL_LOGITS)
                    check_rows(kernels, lengths[l], domain, orders[s], 1 + (int64_t)(random_bits() % PAIRS));
    check_long(kernels);
    /* Probabilities that float64 does not hold. */
    const kl_divergence f = {.kind = KL_POWER, .number = 0.5, .rest = 0.5, .factor = 1};
    const double tiny[3] = {1, 1e-307, 1};
    double out[3];
    const int there = kernels->overlap_row(&f, KL_MEAN, KL_PROBS, tiny, (kl_norm){2, 1e-307}, &center.c, 3, out);
    CHECK(!there, "%s: tiny", kernels->name);
}
