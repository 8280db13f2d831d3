/* Distributions of counts: Poisson, and those made of Bernoulli trials. T = x throughout.
 *
 *     Bernoulli          KL = g(p, q) + g(1 - p, 1 - q),   g(a, b) = a log(a/b) - a + b >= 0
 *     Binomial           n times that           (total_count in common, else inf or unknown: see below)
 *     Geometric          1/p times that         failures before the first success, as torch counts
 *     NegativeBinomial   r/(1 - p) times that   successes (of probability p) before r failures, as torch counts
 *     Poisson            KL = g(rate_p, rate_q)
 *
 * A probability of 0 or 1 (a rate of 0) is allowed; its natural parameter is infinite, so as a natural row it has no
 * features. Binomial rows with more trials than q's have mass outside q's support. With fewer, and for
 * NegativeBinomial rows with different r, there is no closed form: `direct` gives NaN, and callers must ask for
 * equal counts.
 */
#include "count_entropy.h"
#include "scalar.h"
#include "trial_chernoff.h"

static int32_t check_probability(double p)
{
    const int32_t status = kl_check_finite(p);
    return status ? status : p >= 0 && p <= 1 ? KL_PARAMETER_OK : KL_PARAMETER_NOT_PROBABILITY;
}

/* log(p/q) - log((1 - p)/(1 - q)): two parts of one sign. */
static double logit_gap(double p, double q)
{
    const double d = p - q;
    return kl_log_ratio(d, p, q) - kl_log_ratio(-d, 1 - p, 1 - q);
}

static double trial(double p, double q) { return kl_generalized(p - q, p, q) + kl_generalized(q - p, 1 - p, 1 - q); }

static double trial_entropy(double p)
{
    return (p > 0 ? -p * log(p) : 0) - (p < 1 ? (1 - p) * log1p(-p) : 0);
}

/* A mean of probabilities, moved off 0 and 1. */
static double inside(double sum, double n) { return sum > 0 && sum < n ? sum / n : (sum + 0.5) / (n + 1); }

/* ---- Bernoulli, Binomial ------------------------------------------------------------------------------------- */

static int32_t bernoulli_check1(const double *t, int *where)
{
    *where = 0;
    return check_probability(t[0]);
}

static double bernoulli_direct1(const double *p, const double *q) { return trial(p[0], q[0]); }
static double bernoulli_entropy1(const double *t) { return trial_entropy(t[0]); }
static double bernoulli_chernoff1(const double *p, const double *q, double s, double t)
{
    return kl_trial_chernoff(p[0], q[0], s, t);
}
static void bernoulli_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += t[0];
}

static void bernoulli_center1(const double *sums, double n, const double *first, double *center)
{
    KL_UNUSED(first);
    center[0] = inside(sums[0], n);
}

static kl_feature_row trials_mean(double n, double p, double c, double *x)
{
    const double offset = n * trial(p, c);
    x[0] = sqrt(n / c / (1 - c)) * (p - c);
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row trials_natural(double n, double q, double c, double *y)
{
    const double offset = n * trial(c, q);
    y[0] = sqrt(n * c * (1 - c)) * logit_gap(q, c);
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

static kl_feature_row bernoulli_mean1(const double *t, const double *c, double *x)
{
    return trials_mean(1, t[0], c[0], x);
}
static kl_feature_row bernoulli_natural1(const double *t, const double *c, double *y)
{
    return trials_natural(1, t[0], c[0], y);
}

static int32_t binomial_check1(const double *t, int *where)
{
    *where = 0;
    int32_t status = kl_check_positive(t[0]);
    if (!status && t[0] != floor(t[0])) status = KL_PARAMETER_NOT_INTEGER;
    if (status) return status;
    *where = 1;
    return check_probability(t[1]);
}

static double binomial_direct1(const double *p, const double *q)
{
    if (p[1] == 0 && q[1] < 1) return -q[0] * log1p(-q[1]); /* all of p at 0, whatever the counts */
    if (p[0] == q[0]) return p[0] * trial(p[1], q[1]);
    return p[0] > q[0] || q[1] == 0 || q[1] == 1 ? INFINITY : NAN;
}

static double binomial_chernoff1(const double *p, const double *q, double s, double t)
{
    return p[0] == q[0] ? p[0] * kl_trial_chernoff(p[1], q[1], s, t) : NAN;
}

static double binomial_entropy1(const double *t) { return kl_binomial_entropy(t[0], t[1]); }
static void binomial_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += t[1];
}

static void binomial_center1(const double *sums, double n, const double *first, double *center)
{
    center[0] = first[0];
    center[1] = inside(sums[0], n);
}

static kl_feature_row binomial_mean1(const double *t, const double *c, double *x)
{
    return t[0] == c[0] ? trials_mean(t[0], t[1], c[1], x) : kl_unfit;
}

static kl_feature_row binomial_natural1(const double *t, const double *c, double *y)
{
    return t[0] == c[0] ? trials_natural(t[0], t[1], c[1], y) : kl_unfit;
}

KL_SCALAR_FAMILY_LINE(bernoulli, 1, 1, 1, KL_TERM_BERNOULLI)
KL_SCALAR_FAMILY_LINE(binomial, 2, 1, 1, KL_TERM_BINOMIAL)

/* ---- Bernoulli by its logit ------------------------------------------------------------------------------------ */

static int32_t bernoulli_logits_check1(const double *t, int *where)
{
    *where = 0;
    return kl_check_finite(t[0]);
}

static double sigmoid(double a) { return a >= 0 ? 1 / (1 + exp(-a)) : exp(a) / (1 + exp(a)); }
static double softplus(double a) { return a > 0 ? a + log1p(exp(-a)) : log1p(exp(a)); }

/* With a <= 0 by symmetry and t = a - b: near, KL = log1p(p g(-(1 - p) t) + (1 - p) g(p t)), g(x) = e^x - 1 - x;
 * far, the Bregman divergence of softplus as it is: it loses no more than two bits. */
static double bernoulli_logits_direct1(const double *p, const double *q)
{
    const double sign = p[0] > 0 ? -1 : 1, a = sign * p[0], b = sign * q[0], t = a - b, w = sigmoid(a), v = sigmoid(-a);
    if (fabs(t) <= 1) return log1p(w * kl_exp_rest(-v * t) + v * kl_exp_rest(w * t));
    return softplus(b) - softplus(a) + w * t;
}

/* log(sigmoid(a)/sigmoid(b)), relative to itself. */
static double log_sigmoid_ratio(double a, double b)
{
    const double t = a - b;
    if (fabs(t) > 600) return softplus(-b) - softplus(-a);
    return t > 0 ? log1p(sigmoid(-a) * expm1(t)) : -log1p(sigmoid(-b) * expm1(-t));
}

/* An outcome's w (-t g(-L) + g(-t L)), g(x) = e^x - 1 - x, of probabilities w = sigmoid(a) and v, L = log(w/v). */
static double outcome_beyond(double a, double w, double v, double L, double t)
{
    const double x = -t * L, known = fabs(L) <= 1 ? w * kl_exp_rest(-L) : v - w + w * L;
    return -t * known + (fabs(x) <= 1 ? w * kl_exp_rest(x) : exp(x - softplus(-a)) - w - w * x);
}

static double bernoulli_logits_beyond(double a, double b, double t)
{
    const double L1 = log_sigmoid_ratio(a, b), L0 = log_sigmoid_ratio(-a, -b);
    const double sum = outcome_beyond(a, sigmoid(a), sigmoid(b), L1, t) +
                       outcome_beyond(-a, sigmoid(-a), sigmoid(-b), L0, t);
    return sum <= 0x1p1000 ? log1p(sum) : a > b ? -t * L1 - softplus(-a) : -t * L0 - softplus(a);
}

static double bernoulli_logits_chernoff1(const double *p, const double *q, double s, double t)
{
    if (s > 1) return bernoulli_logits_beyond(p[0], q[0], t);
    const double yes = pow(sigmoid(p[0]), s) * pow(sigmoid(q[0]), t);
    const double no = pow(sigmoid(-p[0]), s) * pow(sigmoid(-q[0]), t);
    const double L1 = log_sigmoid_ratio(p[0], q[0]), L0 = log_sigmoid_ratio(-p[0], -q[0]);
    const int wide = fabs(L1) > 600 || fabs(L0) > 600;
    if (wide) return -log(yes + no) <= DBL_MAX ? fmax(-log(yes + no), 0) : fmin(-s * L1, t * L0);
    return kl_blend_minus_log((kl_blend){yes * kl_power_rest(L1, s, t) + no * kl_power_rest(L0, s, t), yes, no});
}

static double bernoulli_logits_entropy1(const double *t)
{
    const double a = fabs(t[0]);
    return log1p(exp(-a)) + a * sigmoid(-a);
}

static void bernoulli_logits_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += sigmoid(t[0]);
    sums[1] += sigmoid(-t[0]);
}

static void bernoulli_logits_center1(const double *sums, double n, const double *first, double *center)
{
    KL_UNUSED(n);
    center[0] = sums[0] > 0 && sums[1] > 0 ? log(sums[0]) - log(sums[1]) : first[0];
}

/* p - c = sigmoid(a) - sigmoid(c) = p (1 - c) (1 - e^(c - a)). */
static kl_feature_row bernoulli_logits_mean1(const double *t, const double *c, double *x)
{
    const double scale = sqrt(sigmoid(c[0]) * sigmoid(-c[0])), offset = bernoulli_logits_direct1(t, c);
    if (!(scale > 0)) return kl_unfit;
    const double gap = t[0] >= c[0] ? -sigmoid(t[0]) * sigmoid(-c[0]) * expm1(c[0] - t[0])
                                    : sigmoid(c[0]) * sigmoid(-t[0]) * expm1(t[0] - c[0]);
    x[0] = gap / scale;
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row bernoulli_logits_natural1(const double *t, const double *c, double *y)
{
    const double scale = sqrt(sigmoid(c[0]) * sigmoid(-c[0])), offset = bernoulli_logits_direct1(c, t);
    y[0] = scale * (t[0] - c[0]);
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

KL_SCALAR_FAMILY_LINE(bernoulli_logits, 1, 1, 2, KL_TERM_LOGIT)

/* ---- Geometric, NegativeBinomial ------------------------------------------------------------------------------- */

static int32_t geometric_check1(const double *t, int *where)
{
    const int32_t status = bernoulli_check1(t, where);
    return status ? status : t[0] > 0 ? KL_PARAMETER_OK : KL_PARAMETER_NOT_PROBABILITY;
}

static double geometric_direct1(const double *p, const double *q) { return trial(p[0], q[0]) / p[0]; }
static double geometric_entropy1(const double *t) { return trial_entropy(t[0]) / t[0]; }
static double geometric_chernoff1(const double *p, const double *q, double s, double t)
{
    if (s > 1) return kl_geometric_beyond(p[0] - q[0], p[0], 1 - p[0], q[0], 1 - q[0], t);
    const kl_blend b = kl_trial_blend(p[0], q[0], s, t);
    return log1p(b.gap / b.yes);
}
static void geometric_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += (1 - t[0]) / t[0];
}

/* Mean m = (1 - c)/c, so c = 1/(1 + m); all rows at 0 leave m = 0: then some m > 0. */
static void geometric_center1(const double *sums, double n, const double *first, double *center)
{
    const double m = sums[0] > 0 ? sums[0] / n : 0.5;
    center[0] = m <= 0x1p50 && m > 0x1p-50 ? 1 / (1 + m) : first[0] < 1 ? first[0] : 0.5;
}

static kl_feature_row geometric_mean1(const double *t, const double *c, double *x)
{
    const double offset = geometric_direct1(t, c);
    x[0] = (c[0] - t[0]) / t[0] / sqrt(1 - c[0]);
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row geometric_natural1(const double *t, const double *c, double *y)
{
    const double offset = geometric_direct1(c, t);
    y[0] = sqrt(1 - c[0]) / c[0] * kl_log_ratio(c[0] - t[0], 1 - t[0], 1 - c[0]);
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

static int32_t negative_binomial_check1(const double *t, int *where)
{
    *where = 0;
    int32_t status = kl_check_positive(t[0]);
    if (status) return status;
    *where = 1;
    status = check_probability(t[1]);
    return status ? status : t[1] < 1 ? KL_PARAMETER_OK : KL_PARAMETER_NOT_PROBABILITY;
}

static double negative_binomial_direct1(const double *p, const double *q)
{
    if (p[1] == 0) return -q[0] * log1p(-q[1]);
    if (q[1] == 0) return INFINITY;
    return p[0] == q[0] ? p[0] / (1 - p[1]) * trial(p[1], q[1]) : NAN;
}

static double negative_binomial_chernoff1(const double *p, const double *q, double s, double t)
{
    if (p[0] != q[0]) return NAN;
    if (s > 1) return p[0] * kl_geometric_beyond(q[1] - p[1], 1 - p[1], p[1], 1 - q[1], q[1], t);
    const kl_blend b = kl_trial_blend(p[1], q[1], s, t);
    return p[0] * log1p(b.gap / b.no);
}

static double negative_binomial_entropy1(const double *t) { return kl_negative_binomial_entropy(t[0], t[1]); }
static void negative_binomial_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += t[1] / (1 - t[1]);
}

static void negative_binomial_center1(const double *sums, double n, const double *first, double *center)
{
    const double m = sums[0] > 0 ? sums[0] / n : 0.5;
    center[0] = first[0];
    center[1] = m <= 0x1p50 && m > 0x1p-900 ? m / (1 + m) : first[1] > 0 ? first[1] : 0.5;
}

static kl_feature_row negative_binomial_mean1(const double *t, const double *c, double *x)
{
    if (t[0] != c[0]) return kl_unfit;
    const double offset = negative_binomial_direct1(t, c);
    x[0] = sqrt(c[0] / c[1]) * (t[1] - c[1]) / (1 - t[1]);
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row negative_binomial_natural1(const double *t, const double *c, double *y)
{
    if (t[0] != c[0]) return kl_unfit;
    const double offset = negative_binomial_direct1(c, t);
    y[0] = sqrt(c[0] * c[1]) / (1 - c[1]) * kl_log_ratio(t[1] - c[1], t[1], c[1]);
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

KL_SCALAR_FAMILY_LINE(geometric, 1, 1, 1, KL_TERM_GEOMETRIC)
KL_SCALAR_FAMILY_LINE(negative_binomial, 2, 1, 1, KL_TERM_NEGATIVE_BINOMIAL)

/* ---- Poisson --------------------------------------------------------------------------------------------------- */

static int32_t poisson_check1(const double *t, int *where)
{
    *where = 0;
    const int32_t status = kl_check_finite(t[0]);
    return status ? status : t[0] >= 0 ? KL_PARAMETER_OK : KL_PARAMETER_NEGATIVE;
}

static double poisson_direct1(const double *p, const double *q) { return kl_generalized(p[0] - q[0], p[0], q[0]); }
static double poisson_chernoff1(const double *p, const double *q, double s, double t)
{
    return s > 1 ? kl_power_excess(p[0] - q[0], p[0], q[0], t) : kl_power_gap(p[0] - q[0], p[0], q[0], s, t);
}
static double poisson_entropy1(const double *t) { return kl_poisson_entropy(t[0]); }
static void poisson_sum1(const double *t, const double *first, double *sums)
{
    KL_UNUSED(first);
    sums[0] += t[0];
}

static void poisson_center1(const double *sums, double n, const double *first, double *center)
{
    const double rate = sums[0] / n;
    center[0] = rate > 0 && rate <= DBL_MAX ? rate : first[0] > 0 ? first[0] : 1;
}

static kl_feature_row poisson_mean1(const double *t, const double *c, double *x)
{
    const double offset = poisson_direct1(t, c);
    x[0] = (t[0] - c[0]) / sqrt(c[0]);
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row poisson_natural1(const double *t, const double *c, double *y)
{
    const double offset = poisson_direct1(c, t);
    y[0] = sqrt(c[0]) * kl_log_ratio(t[0] - c[0], t[0], c[0]);
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

KL_SCALAR_FAMILY_LINE(poisson, 1, 1, 1, KL_TERM_POISSON)
