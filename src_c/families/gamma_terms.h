/* Differences of the gamma function's logarithm and derivatives, without calling either.
 *
 *     log Gamma(z) = z log z - z + h(z),     h(z) = log(2 pi / z) / 2 + 1/(12 z) - 1/(360 z^3) + ...
 *     h(z) = h(z + 1) + (z + 1) log(1 + 1/z) - 1
 *
 * h is convex and so is each part of it, so the Bregman divergence of log Gamma,
 *     B(x, y) = log Gamma(x) - log Gamma(y) - (x - y) digamma(y),
 * is a sum of nonnegative terms: shift both arguments to where the series of gamma_series.h serves, then take that.
 */
#ifndef KL_GAMMA_TERMS_H
#define KL_GAMMA_TERMS_H

#include "gamma_series.h"
#include "terms.h"

/* Bregman divergence of R at (x, y): d^2 R[y, x, y], a divided difference, by Horner's scheme on those of P, w = z^-2:
 *     (w f)[y, x, y] = w(y) f[y, x, y] + w[x, y] f[x, y] + w[y, x, y] f(y).
 * f1 and f2 are -f[x, y] and f[y, x, y] over ab, a = 1/x, b = 1/y. */
static inline double kl_bregman_series(double d, double x, double y)
{
    const double a = 1 / x, b = 1 / y, wx = a * a, w = b * b, w1 = a + b, w2 = b * (w1 + b), across = a * b * w1;
    double f = KL_SHIFTED[KL_SHIFTED_TERMS - 1], f1 = 0, f2 = 0;
    for (int j = KL_SHIFTED_TERMS - 2; j >= 0; j--) {
        f2 = w * f2 + (across * f1 + w2 * f);
        f1 = wx * f1 + w1 * f;
        f = w * f + KL_SHIFTED[j];
    }
    return (d * a) * (d * b) * (b * (a * f1 + (f + f2)));
}

/* Bregman divergence of h: that of x + 1 and y + 1 and one step of the shift, e(z) = (z + 1) log(1 + 1/z) - 1:
 *     e(x) - e(y) - (x - y) e'(y) = (x + 1) psi( x (y + 1) / (y (x + 1)) ). */
static inline double kl_bregman_h_step(double d, double x, double y)
{
    return (x + 1) * kl_psi(d, x * (y + 1), y * (x + 1));
}

static inline double kl_bregman_h(double d, double x, double y)
{
    double sum = 0;
    const double low = x < y ? x : y;
    int n = 0;
    for (; low + n < KL_SHIFTED_TO; n++) sum += kl_bregman_h_step(d, x + n, y + n);
    const double X = x + n, Y = y + n;
    return sum + (0.5 * kl_psi(d, X, Y) + kl_bregman_series(d, X, Y));
}

/* Bregman divergence of log Gamma. */
static inline double kl_bregman_lgamma(double d, double x, double y)
{
    return kl_generalized(d, x, y) + kl_bregman_h(d, x, y);
}

/* h'(x) - h'(y), h'(z) = digamma(z) - log z, of the sign of d. One step of the shift is
 *     e'(x) - e'(y) = d/(x y (y + 1)) - psi(1 + tau),   tau = -d/(x (y + 1)). */
static inline double kl_h_slope_step(double d, double x, double y)
{
    return d / x / y / (y + 1) - kl_psi(-d, y * (x + 1), x * (y + 1));
}

static inline double kl_h_slope_gap(double d, double x, double y)
{
    double sum = 0;
    const double low = x < y ? x : y;
    int n = 0;
    for (; low + n < KL_SHIFTED_TO; n++) sum += kl_h_slope_step(d, x + n, y + n);
    const double a = 1 / (x + n), b = 1 / (y + n), wx = a * a, wy = b * b;
    double f = 0, gap = 0; /* h'(z) = -1/(2 z) - w Q(w), w = z^-2: Q and its divided difference */
    for (int m = KL_SHIFTED_TERMS - 1; m >= 0; m--) {
        gap = wx * gap + f;
        f = wy * f + (2 * m + 1) * KL_SHIFTED[m];
    }
    return sum + d * a * b * (0.5 + (a + b) * (wx * gap + f));
}

/* digamma(x) - digamma(y): two parts of one sign. */
static inline double kl_digamma_gap(double d, double x, double y)
{
    return kl_log_ratio(d, x, y) + kl_h_slope_gap(d, x, y);
}

/* h''(z), to about a tenth: for scales. trigamma(z) = h''(z) + 1/z. */
static inline double kl_h_curvature(double z) { return (0.5 + 0.5 / (1 + z)) / z / z; }
static inline double kl_trigamma_about(double z) { return kl_h_curvature(z) + 1 / z; }

/* log Gamma and digamma themselves, with an absolute error of a few u (|value| + 1): for entropies. */
static inline double kl_log_gamma(double z)
{
    double shifted = 1;
    int n = 0;
    for (; z + n < KL_SHIFTED_TO; n++) shifted *= z + n;
    const double Z = z + n, w = 1 / (Z * Z);
    double series = 0;
    for (int m = KL_SHIFTED_TERMS - 1; m >= 0; m--) series = series * w + KL_SHIFTED[m];
    return (Z - 0.5) * log(Z) - Z + KL_HALF_LOG_2PI + series / Z - log(shifted);
}

static inline double kl_digamma(double z)
{
    double shifted = 0;
    int n = 0;
    for (; z + n < KL_SHIFTED_TO; n++) shifted += 1 / (z + n);
    const double Z = z + n, w = 1 / (Z * Z);
    double series = 0;
    for (int m = KL_SHIFTED_TERMS - 1; m >= 0; m--) series = series * w + (2 * m + 1) * KL_SHIFTED[m];
    return log(Z) - 0.5 / Z - series * w - shifted;
}

/* z + log Gamma(z) + (1 - z) digamma(z), the entropy of Gamma(z, 1). For large z by Stirling's series, in which what is
 * of the size of z log z cancels. */
static inline double kl_gamma_entropy(double z)
{
    if (z < KL_SHIFTED_TO) return z + kl_log_gamma(z) + (1 - z) * kl_digamma(z);
    const double w = 1 / (z * z);
    double delta = 0, slope = 0; /* z delta(z), -z^2 delta'(z) */
    for (int m = KL_SHIFTED_TERMS - 1; m >= 0; m--) {
        delta = delta * w + KL_SHIFTED[m];
        slope = slope * w + (2 * m + 1) * KL_SHIFTED[m];
    }
    return 0.5 * log(z) + KL_HALF_LOG_2PI + 0.5 - 0.5 / z + delta / z + (1 - 1 / z) * slope / z;
}

#endif
