/* Entropies of Poisson, Binomial and NegativeBinomial: sums of -p log p, in which nothing cancels.
 *
 * log p is taken from deviances, log p(k) = -D(k) - (Stirling's remainders) - log(2 pi k)/2, as in Loader, "Fast and
 * accurate computation of binomial probabilities" (2000): accurate for any counts.
 *
 * A distribution that begins above 0 is a bell, of which every sixteenth of a standard deviation is enough: the
 * error of the trapezoidal rule is exp(-2 pi^2 16^2). Otherwise up to DIRECT counts are summed one by one; beyond,
 * the sum is the integral from the half-integer before, by Gauss's rule on panels that are short for the
 * distribution, and the first term of Euler and Maclaurin's formula for the midpoint rule, f'/24. The next, 17
 * f'''/5760 for f' from a difference, is below 1e-15: begin is 0 only where the mean is within 12 standard
 * deviations, 1400 or more beyond DIRECT counts. */
#ifndef KL_COUNT_ENTROPY_H
#define KL_COUNT_ENTROPY_H

#include "gamma_terms.h"

#define KL_DIRECT_COUNTS 16384
#define KL_GAUSS 10

/* A distribution of counts: log p(x), where to begin, in which steps, and to end; it varies over sqrt(x (x + r)/r), or
 * over `tail`. */
typedef struct kl_counts {
    double (*log_p)(const struct kl_counts *, double x);
    double n, p, mean, begin, step, end, r, tail;
} kl_counts;

/* log x! less Stirling's (x + 1/2) log x - x + log(2 pi)/2. */
static inline double kl_stirling_rest(double x)
{
    if (x < KL_SHIFTED_TO) return kl_log_gamma(x + 1) - (x + 0.5) * log(x) + x - KL_HALF_LOG_2PI;
    const double w = 1 / (x * x);
    double series = 0;
    for (int m = KL_SHIFTED_TERMS - 1; m >= 0; m--) series = series * w + KL_SHIFTED[m];
    return series / x;
}

static inline double kl_minus_p_log_p(const kl_counts *c, double x)
{
    const double log_p = c->log_p(c, x);
    return log_p > -745 ? -log_p * exp(log_p) : 0;
}

/* From `begin` - 1/2 on. */
static inline double kl_counts_integral(const kl_counts *c, double begin, double so_far)
{
    static const double NODE[KL_GAUSS / 2] = {0.1488743389816312109, 0.4333953941292471908, 0.6794095682990244062,
                                              0.8650633666889845107, 0.9739065285171717201};
    static const double WEIGHT[KL_GAUSS / 2] = {0.2955242247147528702, 0.2692667193099963551, 0.2190863625159820440,
                                                0.1494513491505805932, 0.0666713443086881376};
    kl_total sum = {(kl_minus_p_log_p(c, begin) - kl_minus_p_log_p(c, begin - 1)) / 24, 0};
    for (double x = begin - 0.5; x < c->end;) {
        const double scale = fmin(sqrt(x) * sqrt(1 + x / fmax(c->r, 1)), c->tail);
        const double next = fmin(x + 0.5 * scale, c->end + 0.5), width = next - x;
        double part = 0;
        for (int k = 0; k < KL_GAUSS; k++) {
            const double node = k % 2 ? 0.5 - 0.5 * NODE[k / 2] : 0.5 + 0.5 * NODE[k / 2];
            part += 0.5 * width * WEIGHT[k / 2] * kl_minus_p_log_p(c, x + width * node);
        }
        kl_total_add(&sum, part);
        x = next;
        if (x > c->mean && !(part > 1e-18 * (so_far + kl_total_value(sum)))) break;
    }
    return kl_total_value(sum);
}

static inline double kl_counts_entropy(const kl_counts *c)
{
    kl_total sum = {0, 0};
    for (double x = c->begin; x <= c->end; x += c->step) {
        if (c->begin == 0 && x == KL_DIRECT_COUNTS) {
            kl_total_add(&sum, kl_counts_integral(c, x, kl_total_value(sum)));
            break;
        }
        const double term = kl_minus_p_log_p(c, x);
        kl_total_add(&sum, term);
        if (x > c->mean && !(term > 1e-21 * kl_total_value(sum))) break;
    }
    return c->step * kl_total_value(sum);
}

/* Twelve standard deviations below the mean, where what is left of a light tail is below 1e-31. */
static inline kl_counts kl_counts_about(kl_counts c, double variance)
{
    c.begin = fmax(floor(c.mean - 12 * sqrt(variance)), 0);
    c.step = c.begin > 0 ? fmax(floor(sqrt(variance) / 16), 1) : 1;
    return c;
}

/* Beyond this a Gaussian's: counts have no neighbours any more in floating point, what is left out is below 1e-20. */
#define KL_MANY_COUNTS 1e20

static inline double kl_gaussian_entropy(double log_variance) { return KL_HALF_LOG_2PI + 0.5 + 0.5 * log_variance; }

static inline double kl_poisson_log_p(const kl_counts *c, double x)
{
    if (x == 0) return -c->mean;
    return -kl_generalized(x - c->mean, x, c->mean) - kl_stirling_rest(x) - KL_HALF_LOG_2PI - 0.5 * log(x);
}

static inline double kl_poisson_entropy(double rate)
{
    const kl_counts c = kl_counts_about(
        (kl_counts){kl_poisson_log_p, .mean = rate, .end = INFINITY, .r = INFINITY, .tail = INFINITY}, rate);
    if (rate > KL_MANY_COUNTS) return kl_gaussian_entropy(log(rate));
    return rate > 0 ? kl_counts_entropy(&c) : 0;
}

static inline double kl_binomial_log_p(const kl_counts *c, double x)
{
    const double rest = c->n - x, gap = fma(-c->n, c->p, x);
    if (x == 0) return c->n * log1p(-c->p);
    if (rest <= 0) return c->n * log(c->p);
    const double deviance = kl_generalized(gap, x, c->mean) + kl_generalized(-gap, rest, c->n - c->mean);
    const double stirling = kl_stirling_rest(c->n) - kl_stirling_rest(x) - kl_stirling_rest(rest);
    return stirling - deviance - KL_HALF_LOG_2PI - 0.5 * (log(x) + log1p(-x / c->n));
}

static inline double kl_binomial_entropy(double n, double p)
{
    const double less = p > 0.5 ? 1 - p : p, mean = n * less; /* p > 1/2: of the failures, whose entropy is the same */
    const kl_counts c = kl_counts_about(
        (kl_counts){kl_binomial_log_p, n, less, mean, .end = n, .r = INFINITY, .tail = INFINITY}, mean * (1 - less));
    if (mean > KL_MANY_COUNTS) return kl_gaussian_entropy(log(mean) + log1p(-less));
    return less > 0 ? kl_counts_entropy(&c) : 0;
}

/* p(x) = r/(r + x) binomial(r + x, x) p^x (1 - p)^r for a real r. */
static inline double kl_negative_binomial_log_p(const kl_counts *c, double x)
{
    const double r = c->r, all = r + x;
    if (x == 0) return r * log1p(-c->p);
    const double gap = x * (1 - c->p) - r * c->p; /* x - (r + x) p */
    const double deviance = kl_generalized(gap, x, all * c->p) + kl_generalized(-gap, r, all * (1 - c->p));
    const double stirling = kl_stirling_rest(all) - kl_stirling_rest(x) - kl_stirling_rest(r);
    return stirling - deviance - KL_HALF_LOG_2PI + 0.5 * (log(r) - log(x) - log(all));
}

static inline double kl_negative_binomial_entropy(double r, double p)
{
    const double mean = r * p / (1 - p);
    const kl_counts c = kl_counts_about(
        (kl_counts){kl_negative_binomial_log_p, 0, p, mean, .end = INFINITY, .r = r, .tail = 1 / (1 - p)},
        mean / (1 - p));
    if (r > KL_MANY_COUNTS && mean > KL_MANY_COUNTS) return kl_gaussian_entropy(log(r) + log(p) - 2 * log1p(-p));
    return p > 0 ? kl_counts_entropy(&c) : 0;
}

#endif
