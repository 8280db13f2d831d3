/* Gamma(a, b), InverseGamma(a, b) (the law of 1/X: the same divergences), Chi2(df) = Gamma(df/2, 1/2).
 *
 * With means m = a/b, h of gamma_terms.h and its Bregman divergence B_h,
 *     KL = a_q psi(m_p/m_q) + B_h(a_q, a_p).
 *
 * Features: T = (log x - x/m_c, x), because for large a the statistics log x and x are nearly collinear:
 *     mean     (h'(a) - h'(a_c) - psi(m/m_c),  m - m_c)
 *     natural  (a - a_c,                       b (m - m_c)/m_c),
 * whitened by the standard deviations sqrt(h''(a_c)) and m_c/sqrt(a_c).
 */
#include "gamma_terms.h"
#include "scalar.h"

static int32_t gamma_check1(const double *t, int *where)
{
    const int32_t status = kl_check_positive(t[0]);
    *where = status ? 0 : 1;
    return status ? status : kl_check_positive(t[1]);
}

static double gamma_direct1(const double *p, const double *q)
{
    const kl_ratio m = kl_cross_ratio(p[0], q[1], q[0], p[1]);
    const double means = m.psi <= DBL_MAX ? q[0] * m.psi : p[0] * (q[1] / p[1]) - q[0] * (1 + m.log);
    return kl_or_infinite(means + kl_bregman_h(q[0] - p[0], q[0], p[0]));
}

/* s a_p psi(m_r/m_p) + t a_q psi(m_r/m_q) + s B_h(a_p, a_r) + t B_h(a_q, a_r), where a_r - a_p = t (a_q - a_p) and
 * m_r/m_p - 1 = t (a_q b_p - a_p b_q)/(a_p b_r). */
static double mean_part(const double *p, double a, double b, double less_one)
{
    const kl_ratio far = kl_cross_ratio(a, p[1], p[0], b);
    return p[0] * (kl_is_near(less_one) ? kl_psi_near(less_one) : far.psi);
}

/* -t KL(p||q) + KL(p||r), where m_p/m_r - 1 = t (a_p b_q - a_q b_p)/(b_p a_r). */
static double gamma_beyond(const double *p, const double *q, double t)
{
    const double a = kl_beyond(p[0], q[0], t).high, b = kl_beyond(p[1], q[1], t).high;
    if (!(a > 0 && b > 0)) return INFINITY;
    const double less_one = t * (q[0] / a) * kl_cross_ratio(p[0], q[1], q[0], p[1]).less_one;
    const double psi = kl_is_near(less_one) ? kl_psi_near(less_one) : kl_cross_ratio(p[0], b, a, p[1]).psi;
    return kl_or_infinite(-t * gamma_direct1(p, q) + a * psi + kl_bregman_h(t * (q[0] - p[0]), a, p[0]));
}

static double gamma_chernoff1(const double *p, const double *q, double s, double t)
{
    if (s > 1) return gamma_beyond(p, q, t);
    const double a = s * p[0] + t * q[0], b = s * p[1] + t * q[1], gap = q[0] - p[0];
    const double less = kl_cross_ratio(q[0], p[1], p[0], q[1]).less_one; /* m_q/m_p - 1 */
    const double of_p = t * (q[1] / b) * less, of_q = -s * (q[1] / b) * (p[0] / q[0]) * less;
    const double means = s * mean_part(p, a, b, of_p) + t * mean_part(q, a, b, of_q);
    const double shapes = s * kl_bregman_h(-t * gap, p[0], a) + t * kl_bregman_h(s * gap, q[0], a);
    return kl_or_infinite(means + shapes);
}

static double gamma_entropy1(const double *t) { return kl_gamma_entropy(t[0]) - log(t[1]); }

static double inverse_gamma_entropy1(const double *t)
{
    return kl_gamma_entropy(t[0]) - 2 * kl_digamma(t[0]) + log(t[1]);
}

/* Sums, in units of the first row's mean: means less 1, their squares, variances. */
static void gamma_sum1(const double *t, const double *first, double *sums)
{
    const double gap = kl_cross_ratio(t[0], first[1], first[0], t[1]).less_one;
    sums[0] += gap;
    sums[1] += gap * gap;
    sums[2] += (1 + gap) * (1 + gap) / t[0];
}

/* The gamma distribution with the first two moments of the mixture of the rows. */
static void gamma_center1(const double *sums, double n, const double *first, double *center)
{
    const double gap = sums[0] / n, between = sums[1] / n - gap * gap, variance = sums[2] / n + fmax(between, 0);
    const double a = (1 + gap) * (1 + gap) / variance, b = a / (1 + gap) / (first[0] / first[1]);
    const int usable = a > 0x1p-500 && a < 0x1p500 && b > 0x1p-900 && b < 0x1p900;
    center[0] = usable ? a : first[0];
    center[1] = usable ? b : first[1];
}

static kl_feature_row gamma_mean1(const double *t, const double *c, double *x)
{
    const kl_ratio m = kl_cross_ratio(t[0], c[1], c[0], t[1]);
    const double scale = sqrt(kl_h_curvature(c[0])), slope = kl_h_slope_gap(t[0] - c[0], t[0], c[0]);
    const double magnitude = (fabs(slope) + m.psi) / scale;
    const double offset = c[0] * m.psi + kl_bregman_h(c[0] - t[0], c[0], t[0]);
    x[0] = (slope - m.psi) / scale;
    x[1] = sqrt(c[0]) * m.less_one;
    return (kl_feature_row){offset, offset, magnitude * magnitude + x[1] * x[1]};
}

static kl_feature_row gamma_natural1(const double *t, const double *c, double *y)
{
    const double less_one = kl_cross_ratio(t[0], c[1], c[0], t[1]).less_one, offset = gamma_direct1(c, t);
    y[0] = sqrt(kl_h_curvature(c[0])) * (t[0] - c[0]);
    y[1] = sqrt(c[0]) * (t[1] / c[1]) * less_one;
    return (kl_feature_row){offset, offset, y[0] * y[0] + y[1] * y[1]};
}

#define inverse_gamma_check1 gamma_check1
#define inverse_gamma_direct1 gamma_direct1
#define inverse_gamma_chernoff1 gamma_chernoff1
#define inverse_gamma_sum1 gamma_sum1
#define inverse_gamma_center1 gamma_center1
#define inverse_gamma_mean1 gamma_mean1
#define inverse_gamma_natural1 gamma_natural1
KL_SCALAR_FAMILY_LINE(gamma, 2, 2, 3, KL_TERM_GAMMA)
KL_SCALAR_FAMILY_LINE(inverse_gamma, 2, 2, 3, KL_TERM_GAMMA)

/* ---- Chi2: T = log x, mean digamma(df/2), natural df/2 --------------------------------------------------------- */

static int32_t chi2_check1(const double *t, int *where)
{
    *where = 0;
    return kl_check_positive(t[0]);
}

static double chi2_direct1(const double *p, const double *q)
{
    return kl_bregman_lgamma(0.5 * (q[0] - p[0]), 0.5 * q[0], 0.5 * p[0]);
}

static double chi2_chernoff1(const double *p, const double *q, double s, double t)
{
    const double a = 0.5 * p[0], b = 0.5 * q[0], r = s > 1 ? kl_beyond(a, b, t).high : s * a + t * b;
    if (!(r > 0)) return INFINITY;
    if (s > 1) return -t * kl_bregman_lgamma(b - a, b, a) + kl_bregman_lgamma(t * (b - a), r, a);
    return s * kl_bregman_lgamma(t * (a - b), a, r) + t * kl_bregman_lgamma(s * (b - a), b, r);
}

static double chi2_entropy1(const double *t) { return gamma_entropy1((const double[]){0.5 * t[0], 0.5}); }

static void chi2_sum1(const double *t, const double *first, double *sums)
{
    sums[0] += (t[0] - first[0]) / first[0];
}

static void chi2_center1(const double *sums, double n, const double *first, double *center)
{
    const double df = first[0] + first[0] * (sums[0] / n);
    center[0] = df > 0 && df <= DBL_MAX ? df : first[0];
}

static kl_feature_row chi2_mean1(const double *t, const double *c, double *x)
{
    const double offset = chi2_direct1(t, c);
    x[0] = kl_digamma_gap(0.5 * (t[0] - c[0]), 0.5 * t[0], 0.5 * c[0]) / sqrt(kl_trigamma_about(0.5 * c[0]));
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row chi2_natural1(const double *t, const double *c, double *y)
{
    const double offset = chi2_direct1(c, t);
    y[0] = 0.5 * (t[0] - c[0]) * sqrt(kl_trigamma_about(0.5 * c[0]));
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

KL_SCALAR_FAMILY_LINE(chi2, 1, 1, 1, KL_TERM_CHI2)
