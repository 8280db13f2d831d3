/* Normal, LogNormal: T = (x, x^2) in the centre's units, u = (m - m_c)/s_c, s = sigma/s_c:
 *     mean (u, u^2 + s^2 - 1),   natural (u/s^2, (1 - 1/s^2)/2),   whitened by (1, 1/sqrt 2).
 * HalfNormal, Rayleigh: T = x^2 alone.
 *
 * KL = psi(s_p/s_q) + E^2/2 + (m_p - m_q)^2/(2 s_q^2),   E = (s_p - s_q)/s_q: differences first, so that locations
 * of any size are compared in units of the scale.
 */
#include "scalar.h"

#define SQRT_HALF 0.7071067811865475244

static int32_t location_scale_check(const double *t, int *where)
{
    const int32_t status = kl_check_finite(t[0]);
    *where = status ? 0 : 1;
    return status ? status : kl_check_positive(t[1]);
}

static int32_t scale_check(const double *t, int *where)
{
    *where = 0;
    return kl_check_positive(t[0]);
}

static double normal_direct1(const double *p, const double *q)
{
    const double d = p[1] - q[1], e = d / q[1], u = (p[0] - q[0]) / q[1];
    return kl_psi(d, p[1], q[1]) + 0.5 * (e * e + u * u);
}

/* s |t| (m_p - m_q)^2/(2 v) + |log(v/(s_p^2t s_q^2s))|/2, v = t s_p^2 + s s_q^2. */
static double normal_chernoff1(const double *p, const double *q, double s, double t)
{
    const double a = p[1] / q[1], u = (p[0] - q[0]) / q[1], scales = kl_chernoff_squares(q[1], p[1], s, t);
    if (scales == INFINITY) return scales;
    const double far = s > 1 ? u / sqrt(kl_squares_left(q[1], p[1], t))
                     : a > 0x1p500 ? (p[0] - q[0]) / p[1] / sqrt(t) : u / sqrt(t * a * a + s);
    return 0.5 * (s * fabs(t) * far * far + scales);
}

static double normal_entropy1(const double *t) { return KL_HALF_LOG_2PI + 0.5 + log(t[1]); }

static double log_normal_entropy1(const double *t) { return normal_entropy1(t) + t[0]; }

/* Sums: of the locations' differences, of their squares, of the variances. */
static void normal_sum1(const double *t, const double *first, double *sums)
{
    const double shift = t[0] - first[0];
    sums[0] += shift;
    sums[1] += shift * shift;
    sums[2] += t[1] * t[1];
}

/* The normal distribution with the moments of the mixture of the rows. */
static void normal_center1(const double *sums, double n, const double *first, double *center)
{
    const double shift = sums[0] / n, between = sums[1] / n - shift * shift;
    const double scale = sqrt(sums[2] / n + fmax(between, 0));
    center[0] = first[0] + shift;
    center[1] = scale > 0 && scale <= DBL_MAX ? scale : first[1];
}

static kl_feature_row normal_mean1(const double *t, const double *c, double *x)
{
    const double e = (t[1] - c[1]) / c[1], u = (t[0] - c[0]) / c[1], variance = e * (2 + e);
    const double magnitude = SQRT_HALF * (u * u + fabs(variance)), offset = normal_direct1(t, c);
    x[0] = u;
    x[1] = SQRT_HALF * (u * u + variance);
    return (kl_feature_row){offset, offset, u * u + magnitude * magnitude};
}

static kl_feature_row normal_natural1(const double *t, const double *c, double *y)
{
    const double e = (t[1] - c[1]) / c[1], s = t[1] / c[1], u = (t[0] - c[0]) / c[1], offset = normal_direct1(c, t);
    y[0] = u / s / s;
    y[1] = SQRT_HALF * e * (2 + e) / s / s;
    return (kl_feature_row){offset, offset, y[0] * y[0] + y[1] * y[1]};
}

#define normal_check1 location_scale_check
#define log_normal_check1 location_scale_check
#define log_normal_direct1 normal_direct1
#define log_normal_chernoff1 normal_chernoff1
#define log_normal_sum1 normal_sum1
#define log_normal_center1 normal_center1
#define log_normal_mean1 normal_mean1
#define log_normal_natural1 normal_natural1
KL_SCALAR_FAMILY_LINE(normal, 2, 2, 3, KL_TERM_NORMAL)
KL_SCALAR_FAMILY_LINE(log_normal, 2, 2, 3, KL_TERM_NORMAL)

/* KL = weight psi((s_p/s_q)^2), weight 1/2 for HalfNormal and 1 for Rayleigh. */
static kl_feature_row square_mean1(const double *t, const double *c, double weight, double *x)
{
    const double e = (t[0] - c[0]) / c[0], offset = weight * kl_psi_square(t[0] - c[0], t[0], c[0]);
    x[0] = sqrt(weight) * e * (2 + e);
    return (kl_feature_row){offset, offset, x[0] * x[0]};
}

static kl_feature_row square_natural1(const double *t, const double *c, double weight, double *y)
{
    const double e = (t[0] - c[0]) / c[0], s = t[0] / c[0];
    const double offset = weight * kl_psi_square(c[0] - t[0], c[0], t[0]);
    y[0] = sqrt(weight) * e * (2 + e) / s / s;
    return (kl_feature_row){offset, offset, y[0] * y[0]};
}

static void square_sum1(const double *t, const double *first, double *sums)
{
    const double s = t[0] / first[0];
    sums[0] += s * s;
}

static void square_center1(const double *sums, double n, const double *first, double *center)
{
    const double scale = first[0] * sqrt(sums[0] / n);
    center[0] = scale > 0 && scale <= DBL_MAX ? scale : first[0];
}

static double half_normal_direct1(const double *p, const double *q)
{
    return 0.5 * kl_psi_square(p[0] - q[0], p[0], q[0]);
}
static double half_normal_chernoff1(const double *p, const double *q, double s, double t)
{
    return 0.5 * kl_chernoff_squares(q[0], p[0], s, t);
}
static double half_normal_entropy1(const double *t) { return 0.5 * log(0.5 * KL_PI_F64) + 0.5 + log(t[0]); }
static kl_feature_row half_normal_mean1(const double *t, const double *c, double *x)
{
    return square_mean1(t, c, 0.5, x);
}
static kl_feature_row half_normal_natural1(const double *t, const double *c, double *y)
{
    return square_natural1(t, c, 0.5, y);
}

static double rayleigh_direct1(const double *p, const double *q) { return kl_psi_square(p[0] - q[0], p[0], q[0]); }
static double rayleigh_chernoff1(const double *p, const double *q, double s, double t)
{
    return kl_chernoff_squares(q[0], p[0], s, t);
}
static double rayleigh_entropy1(const double *t)
{
    return 1 - 0.5 * KL_LN2_F64 + 0.5 * KL_EULER_GAMMA + log(t[0]);
}
static kl_feature_row rayleigh_mean1(const double *t, const double *c, double *x) { return square_mean1(t, c, 1, x); }
static kl_feature_row rayleigh_natural1(const double *t, const double *c, double *y)
{
    return square_natural1(t, c, 1, y);
}

#define half_normal_check1 scale_check
#define half_normal_sum1 square_sum1
#define half_normal_center1 square_center1
#define rayleigh_check1 scale_check
#define rayleigh_sum1 square_sum1
#define rayleigh_center1 square_center1
KL_SCALAR_FAMILY_LINE(half_normal, 1, 1, 1, KL_TERM_HALF_NORMAL)
KL_SCALAR_FAMILY_LINE(rayleigh, 1, 1, 1, KL_TERM_RAYLEIGH)
