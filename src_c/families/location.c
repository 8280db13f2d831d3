/* Families with a location and a scale that are not exponential families: Laplace, Gumbel, Cauchy; and Uniform.
 *
 *     Laplace   KL = psi(b_p/b_q) + (b_p/b_q) (e^-t - 1 + t),   t = |m_p - m_q|/b_p
 *     Gumbel    see extreme_value.h
 *     Cauchy    KL = log1p(((s_p - s_q)^2 + (m_p - m_q)^2)/(4 s_p s_q))          (Chyzak & Nielsen 2019)
 *     Uniform   KL = log(width_q/width_p) if [low_p, high_p] lies in [low_q, high_q], else inf
 *
 * Laplace rows of one location are an exponential family, T = |x - m|, with the divergences of scales.
 */
#include "extreme_value.h"
#include "scalar.h"

static int32_t location_scale_check(const double *t, int *where)
{
    const int32_t status = kl_check_finite(t[0]);
    *where = status ? 0 : 1;
    return status ? status : kl_check_positive(t[1]);
}

static double laplace_direct1(const double *p, const double *q)
{
    const double scales = kl_psi(p[1] - q[1], p[1], q[1]), gap = fabs(p[0] - q[0]);
    const double t = gap / p[1], ratio = p[1] / q[1];
    const double shift = t <= 1 ? ratio * kl_exp_rest(-t) : ratio * expm1(-t) + gap / q[1];
    return gap > 0 ? kl_or_infinite(scales + shift) : scales;
}

/* Where the location is common, an exponential family. Else, with a = s |m_p - m_q|/b_p and b = t |m_p - m_q|/b_q, the
 * integral is K = (b e^-a - a e^-b)/(b - a) times as large (Gil, Alajaji & Linder, Inf. Sci. 249, 2013):
 *     -log K = psi(1 + a) + log(1 + a (1 - E)/(1 + a E)),  E = (1 - e^(a - b))/(b - a),          0 < a <= b,
 *      log K = log(1 + (g(-a)(-b) + g(-b) a)/(a - b)),     g(x) = e^x - 1 - x,                   b < 0 < a. */
static double laplace_shift(double a, double b)
{
    if (b < 0 && a > 600) return -b - log1p(-b / a);
    if (b < 0) return log1p((-b * kl_exp_rest(-a) + a * kl_exp_rest(-b)) / (a - b));
    const double low = a < b ? a : b, d = fabs(a - b), psi = kl_is_near(low) ? kl_psi_near(low) : low - log1p(low);
    if (d == 0) return psi;
    const double E = -expm1(-d) / d, rest = d <= 0.5 ? kl_exp_rest(-d) / d : 1 - E;
    return psi + log1p(low * rest / (1 + low * E));
}

static double laplace_chernoff1(const double *p, const double *q, double s, double t)
{
    const double scales = kl_chernoff_rates(q[1], p[1], s, t), gap = fabs(p[0] - q[0]);
    if (!(gap > 0 && scales < INFINITY)) return scales;
    return kl_or_infinite(scales + laplace_shift(s * (gap / p[1]), t * (gap / q[1])));
}

static double laplace_entropy1(const double *t) { return 1 + KL_LN2_F64 + log(t[1]); }
static void laplace_sum1(const double *t, const double *first, double *sums) { sums[0] += t[1] / first[1]; }
static void laplace_center1(const double *sums, double n, const double *first, double *center)
{
    const double scale = first[1] * (sums[0] / n);
    center[0] = first[0];
    center[1] = scale > 0 && scale <= DBL_MAX ? scale : first[1];
}

static kl_feature_row laplace_mean1(const double *t, const double *c, double *x)
{
    if (t[0] != c[0]) return kl_unfit;
    const double offset = kl_psi(t[1] - c[1], t[1], c[1]);
    x[0] = (t[1] - c[1]) / c[1];
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row laplace_natural1(const double *t, const double *c, double *y)
{
    if (t[0] != c[0]) return kl_unfit;
    const double offset = kl_psi(c[1] - t[1], c[1], t[1]);
    y[0] = (t[1] - c[1]) / t[1];
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

static double gumbel_direct1(const double *p, const double *q)
{
    const double gap = q[0] - p[0], L = gap / q[1];
    const kl_extreme e = kl_extreme_value(q[1], p[1], L);
    if (!kl_extreme_far(e)) return kl_or_infinite(kl_extreme_near_total(e));
    const double rest = (fma(-L, q[1], gap) + kl_sum_error(q[0], -p[0], gap)) / q[1]; /* what L leaves out */
    return kl_or_infinite(kl_extreme_far_total(e, exp(L) * (1 + rest)));
}

/* With the scale b in common, e^(-x/b) is exponential, of rate e^(loc/b). */
static double gumbel_chernoff1(const double *p, const double *q, double s, double t)
{
    return p[1] == q[1] ? kl_chernoff_logs((p[0] - q[0]) / p[1], s, t) : NAN;
}

static double gumbel_entropy1(const double *t) { return log(t[1]) + KL_EULER_GAMMA + 1; }

static double cauchy_direct1(const double *p, const double *q)
{
    const double scale = (p[1] - q[1]) / q[1], gap = (p[0] - q[0]) / q[1], odds = 0.25 * (q[1] / p[1]);
    const double size = odds * (scale * scale + gap * gap);
    if (size <= 0x1p500) return log1p(size);
    return 2 * (log(hypot(p[1] + q[1], p[0] - q[0])) - KL_LN2_F64) - log(p[1]) - log(q[1]);
}

static double cauchy_entropy1(const double *t) { return log(4 * KL_PI_F64) + log(t[1]); }

static int32_t uniform_check1(const double *t, int *where)
{
    *where = 0;
    int32_t status = kl_check_finite(t[0]);
    if (status) return status;
    *where = 1;
    status = kl_check_finite(t[1]);
    return status ? status : t[1] > t[0] ? KL_PARAMETER_OK : KL_PARAMETER_NOT_ABOVE_LOW;
}

static double uniform_direct1(const double *p, const double *q)
{
    if (p[0] < q[0] || p[1] > q[1]) return INFINITY;
    const double below = p[0] - q[0], above = q[1] - p[1], width = p[1] - p[0];
    return log1p((below + above) / width);
}

/* s log(width_p/overlap) + t log(width_q/overlap). */
static double uniform_chernoff1(const double *p, const double *q, double s, double t)
{
    if (s > 1) return -t * uniform_direct1(p, q);
    const double low = fmax(p[0], q[0]), high = fmin(p[1], q[1]), overlap = high - low;
    if (!(overlap > 0)) return INFINITY;
    return s * log1p(((low - p[0]) + (p[1] - high)) / overlap) + t * log1p(((low - q[0]) + (q[1] - high)) / overlap);
}

static double uniform_entropy1(const double *t) { return log(t[1] - t[0]); }

static double laplace_third1(const double *t) { return 1 / t[1]; }
static double cauchy_third1(const double *t) { return 0.5 / t[1]; }
static double uniform_third1(const double *t) { return 1 / (t[1] - t[0]); }

#define gumbel_third1 laplace_third1
#define laplace_check1 location_scale_check
#define gumbel_check1 location_scale_check
#define cauchy_check1 location_scale_check
KL_SCALAR_CHERNOFF(gumbel, 2)
KL_SCALAR_CHERNOFF(uniform, 2)
KL_SCALAR_FAMILY_TERMS(laplace, 1, 1, KL_TERM_LAPLACE, 0)
KL_SCALAR_FAMILY_DIRECT(gumbel, gumbel_chernoff, KL_TERM_GUMBEL)
KL_SCALAR_FAMILY_DIRECT(cauchy, 0, KL_TERM_CAUCHY)
KL_SCALAR_FAMILY_DIRECT(uniform, uniform_chernoff, KL_TERM_UNIFORM)
