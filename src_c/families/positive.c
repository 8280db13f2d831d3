/* Scales and tails: Exponential, Pareto, Weibull, InverseGaussian.
 *
 *     Exponential       KL = psi(rate_q/rate_p)
 *     Pareto            KL = alpha_q log(scale_p/scale_q) + psi(alpha_q/alpha_p), inf where scale_p < scale_q
 *     Weibull, Gumbel   see extreme_value
 *     InverseGaussian   KL = psi(lambda_q/lambda_p)/2 + lambda_q (m_p - m_q)^2/(2 m_q^2 m_p)
 */
#include "gamma_terms.h"
#include "extreme_value.h"
#include "scalar.h"

static int32_t two_positive(const double *t, int *where)
{
    const int32_t status = kl_check_positive(t[0]);
    *where = status ? 0 : 1;
    return status ? status : kl_check_positive(t[1]);
}

static double second_reciprocal(const double *t) { return 1 / t[1]; }

/* ---- rates: T = x (Exponential) or log(x/scale) (Pareto), natural -rate, mean 1/rate --------------------------- */

static double rate_direct(double p, double q) { return kl_psi(q - p, q, p); }

static kl_feature_row rate_mean(double rate, double c, double *x)
{
    const double offset = rate_direct(rate, c);
    x[0] = (c - rate) / rate;
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row rate_natural(double rate, double c, double *y)
{
    const double offset = rate_direct(c, rate);
    y[0] = (c - rate) / c;
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

static double rate_center(double sum, double n, double first)
{
    const double rate = first * (n / sum);
    return rate > 0 && rate <= DBL_MAX ? rate : first;
}

static int32_t exponential_check1(const double *t, int *where)
{
    *where = 0;
    return kl_check_positive(t[0]);
}

static double exponential_direct1(const double *p, const double *q) { return rate_direct(p[0], q[0]); }
static double exponential_chernoff1(const double *p, const double *q, double s, double t)
{
    return kl_chernoff_rates(p[0], q[0], s, t);
}
static double exponential_entropy1(const double *t) { return 1 - log(t[0]); }
static void exponential_sum1(const double *t, const double *first, double *sums) { sums[0] += first[0] / t[0]; }
static void exponential_center1(const double *sums, double n, const double *first, double *center)
{
    center[0] = rate_center(sums[0], n, first[0]);
}
static kl_feature_row exponential_mean1(const double *t, const double *c, double *x)
{
    return rate_mean(t[0], c[0], x);
}
static kl_feature_row exponential_natural1(const double *t, const double *c, double *y)
{
    return rate_natural(t[0], c[0], y);
}

static double pareto_direct1(const double *p, const double *q)
{
    if (p[0] < q[0]) return INFINITY;
    return q[1] * kl_log_ratio(p[0] - q[0], p[0], q[0]) + rate_direct(p[1], q[1]);
}

/* From the larger beginning on, both are laws of one beginning; the mass before it counts, too. */
static double pareto_chernoff1(const double *p, const double *q, double s, double t)
{
    if (s > 1 && p[0] < q[0]) return INFINITY;
    const double cut = p[0] < q[0] ? s * p[1] * kl_log_ratio(q[0] - p[0], q[0], p[0])
                                   : fabs(t) * q[1] * kl_log_ratio(p[0] - q[0], p[0], q[0]);
    return cut + kl_chernoff_rates(p[1], q[1], s, t);
}

static double pareto_entropy1(const double *t) { return kl_log_quotient(t[0], t[1]) + 1 + 1 / t[1]; }
static void pareto_sum1(const double *t, const double *first, double *sums) { sums[0] += first[1] / t[1]; }
static void pareto_center1(const double *sums, double n, const double *first, double *center)
{
    center[0] = first[0];
    center[1] = rate_center(sums[0], n, first[1]);
}
static kl_feature_row pareto_mean1(const double *t, const double *c, double *x)
{
    return t[0] == c[0] ? rate_mean(t[1], c[1], x) : kl_unfit;
}
static kl_feature_row pareto_natural1(const double *t, const double *c, double *y)
{
    return t[0] == c[0] ? rate_natural(t[1], c[1], y) : kl_unfit;
}

#define pareto_check1 two_positive
#define pareto_third1 second_reciprocal
KL_SCALAR_FAMILY_LINE(exponential, 1, 1, 1, KL_TERM_EXPONENTIAL)
KL_SCALAR_FAMILY_TERMS(pareto, 1, 1, KL_TERM_PARETO, 0)

/* ---- Weibull: with the shape k in common, T = x^k, an exponential law of rate scale^-k --------------------------
 * L = k log(scale ratio) has a relative error of 3u; e^L makes that 3u |L|: hence the factors 1 + |L|. */

static double weibull_direct1(const double *p, const double *q)
{
    const kl_extreme e = kl_extreme_value(p[1], q[1], q[1] * kl_log_ratio(p[0] - q[0], p[0], q[0]));
    if (!kl_extreme_far(e)) return kl_or_infinite(kl_extreme_near_total(e));
    const double ratio = p[0] / q[0], rest = fma(-ratio, q[0], p[0]) / p[0]; /* (p/q)^k with the quotient's rounding */
    return kl_or_infinite(kl_extreme_far_total(e, pow(ratio, q[1]) * (1 + q[1] * rest)));
}

static double weibull_chernoff1(const double *p, const double *q, double s, double t)
{
    return p[1] == q[1] ? kl_chernoff_logs(p[1] * kl_log_ratio(q[0] - p[0], q[0], p[0]), s, t) : NAN;
}

static double weibull_entropy1(const double *t)
{
    return KL_EULER_GAMMA * (1 - 1 / t[1]) + kl_log_quotient(t[0], t[1]) + 1;
}

static double log_scale(const double *t, const double *c)
{
    return t[1] * kl_log_ratio(t[0] - c[0], t[0], c[0]);
}

static void weibull_sum1(const double *t, const double *first, double *sums)
{
    sums[0] += t[1] == first[1] ? expm1(log_scale(t, first)) : 0;
}

static void weibull_center1(const double *sums, double n, const double *first, double *center)
{
    const double scale = first[0] * exp(log1p(sums[0] / n) / first[1]);
    center[0] = scale > 0 && scale <= DBL_MAX ? scale : first[0];
    center[1] = first[1];
}

static kl_feature_row weibull_mean1(const double *t, const double *c, double *x)
{
    if (t[1] != c[1]) return kl_unfit;
    const double L = log_scale(t, c), offset = kl_exp_rest(L);
    const double magnitude = 1 + 0.25 * fabs(L);
    x[0] = expm1(L);
    return (kl_feature_row){offset, magnitude * offset, magnitude * magnitude * x[0] * x[0]};
}

static kl_feature_row weibull_natural1(const double *t, const double *c, double *y)
{
    if (t[1] != c[1]) return kl_unfit;
    const double L = log_scale(t, c), offset = kl_exp_rest(-L);
    const double magnitude = 1 + 0.25 * fabs(L);
    y[0] = -expm1(-L);
    return (kl_feature_row){offset, magnitude * offset, magnitude * magnitude * y[0] * y[0]};
}

#define weibull_check1 two_positive
#define weibull_third1 second_reciprocal
KL_SCALAR_FAMILY_TERMS(weibull, 1, 1, KL_TERM_WEIBULL, 1)

/* ---- InverseGaussian: loc m, concentration lambda ----------------------------------------------------------------
 * For concentrated rows x and 1/x are nearly collinear, so T = (x, (x - m_c)^2/(m_c^2 x)):
 *     mean     (m - m_c,  (m - m_c)^2/(m_c^2 m) + 1/lambda - 1/lambda_c)
 *     natural  (lambda (m - m_c)(m + m_c)/(2 m^2 m_c^2),  -(lambda - lambda_c)/2),
 * whitened by sqrt(m_c^3/lambda_c) and sqrt(2)/lambda_c. */

static double inverse_gaussian_direct1(const double *p, const double *q)
{
    const double gap = (p[0] - q[0]) / q[0];
    return kl_or_infinite(0.5 * kl_psi(q[1] - p[1], q[1], p[1]) + 0.5 * gap * (gap * (q[1] / p[0])));
}

/* With l_r = s l_p + t l_q and l_r/m_r^2 = s l_p/m_p^2 + t l_q/m_q^2,
 *     C = log(l_r/(l_p^s l_q^t))/2 + l_r/m_r - s l_p/m_p - t l_q/m_q,
 * and by Lagrange's identity the rest is s t l_p l_q (1/m_p - 1/m_q)^2 over the sum of the three. Beyond order 1 both
 * parts change their sign; l_r/m_r^2 (here in units of the smaller m) may be 0 there, but not below. */
static double inverse_gaussian_chernoff1(const double *p, const double *q, double s, double t)
{
    const double gap = (p[0] - q[0]) / q[0], a = p[1] / p[0], b = q[1] / q[0];
    const double unit = fmin(p[0], q[0]), x = unit / p[0], y = unit / q[0];
    const double l_r = kl_on_line(p[1], q[1], s, t), bend = kl_on_line(p[1] * x * x, q[1] * y * y, s, t);
    if (!(l_r > 0 && bend >= 0)) return INFINITY;
    const double all = sqrt(l_r) * (sqrt(bend) / unit) + kl_on_line(a, b, s, t);
    const double rest = s * fabs(t) * (gap * a) * (gap * (q[1] / p[0]) / all);
    return kl_or_infinite(0.5 * kl_chernoff_rates(p[1], q[1], s, t) + (gap == 0 ? 0 : rest));
}

/* e^x E1(x), the exponential integral: its series up to 1, then the continued fraction of Lentz, whose terms fall by
 * e^(-4 sqrt(x k)). */
static double scaled_exponential_integral(double x, double log_x)
{
    if (x > 0x1p60) return 1 / x;
    if (x <= 1) {
        double sum = -KL_EULER_GAMMA - log_x, term = -1;
        for (int k = 1; k <= 20; k++) {
            term *= -x / k;
            sum += term / k;
        }
        return exp(x) * sum;
    }
    double b = x + 1, c = 1e300, d = 1 / b, h = d;
    for (int k = 1; k < 200; k++) {
        const double a = -(double)k * k;
        b += 2;
        d = 1 / (a * d + b);
        c = b + a / c;
        h *= c * d;
        if (fabs(c * d - 1) < DBL_EPSILON) break;
    }
    return h;
}

static double inverse_gaussian_entropy1(const double *t)
{
    return KL_HALF_LOG_2PI + 0.5 + 1.5 * log(t[0]) - 0.5 * log(t[1]) -
           1.5 * scaled_exponential_integral(2 * (t[1] / t[0]), KL_LN2_F64 + kl_log_quotient(t[1], t[0]));
}

/* Sums, in units of the first row: means less 1, their squares, variances m^3/lambda. */
static void inverse_gaussian_sum1(const double *t, const double *first, double *sums)
{
    const double gap = (t[0] - first[0]) / first[0];
    sums[0] += gap;
    sums[1] += gap * gap;
    sums[2] += (1 + gap) * (1 + gap) * (t[0] / t[1]);
}

static void inverse_gaussian_center1(const double *sums, double n, const double *first, double *center)
{
    const double gap = sums[0] / n, between = sums[1] / n - gap * gap, variance = sums[2] / n + fmax(between, 0);
    const double m = first[0] * (1 + gap), lambda = m * (1 + gap) * (1 + gap) / variance;
    const int usable = m > 0 && m <= DBL_MAX && lambda > 0 && lambda <= DBL_MAX;
    center[0] = usable ? m : first[0];
    center[1] = usable ? lambda : first[1];
}

static kl_feature_row inverse_gaussian_mean1(const double *t, const double *c, double *x)
{
    const double gap = (t[0] - c[0]) / c[0], offset = inverse_gaussian_direct1(t, c);
    const double bent = gap * gap * (c[1] / t[0]), flat = (c[1] - t[1]) / t[1];
    const double magnitude = (bent + fabs(flat)) / sqrt(2);
    x[0] = gap * sqrt(c[1] / c[0]);
    x[1] = (bent + flat) / sqrt(2);
    return (kl_feature_row){offset, offset, x[0] * x[0] + magnitude * magnitude};
}

static kl_feature_row inverse_gaussian_natural1(const double *t, const double *c, double *y)
{
    const double gap = (t[0] - c[0]) / t[0], offset = inverse_gaussian_direct1(c, t);
    y[0] = gap * (t[1] / c[1]) * (0.5 + 0.5 * (c[0] / t[0])) * sqrt(c[1] / c[0]);
    y[1] = (c[1] - t[1]) / c[1] / sqrt(2);
    return (kl_feature_row){offset, offset, y[0] * y[0] + y[1] * y[1]};
}

#define inverse_gaussian_check1 two_positive
KL_SCALAR_FAMILY_LINE(inverse_gaussian, 2, 2, 3, KL_TERM_INVERSE_GAUSSIAN)
