/* Differences of the gamma function's logarithm and derivatives, without calling either.
 *
 *     log Gamma(z) = z log z - z + h(z),     h(z) = log(2 pi / z) / 2 + 1/(12 z) - 1/(360 z^3) + ...
 *     h(z) = h(z + 1) + (z + 1) log(1 + 1/z) - 1
 *
 * h is convex and so is each part of it, so the Bregman divergence of log Gamma,
 *     B(x, y) = log Gamma(x) - log Gamma(y) - (x - y) digamma(y),
 * is a sum of nonnegative terms: shift both arguments to 10 or more, then take Stirling's series term by term.
 */
#ifndef KL_GAMMA_TERMS_H
#define KL_GAMMA_TERMS_H

#include "terms.h"

#define KL_STIRLING_FROM 10
#define KL_STIRLING_TERMS 15

/* h(z) = ... + sum_m c_m z^-m. At z = 10 the first term left out, m = 17, is 6e-17 of h''. */
static const double kl_stirling[KL_STIRLING_TERMS] = {
    1.0 / 12, 0, -1.0 / 360, 0, 1.0 / 1260, 0, -1.0 / 1680, 0, 1.0 / 1188, 0, -691.0 / 360360, 0, 1.0 / 156, 0,
    -3617.0 / 122400
};

/* Bregman divergence of sum_m c_m z^-m, m = 1 ... n: that of z^-m alone is
 *     d^2/(X Y) sum_(i < m) (m - i) X^-i Y^(i - m),
 * and both sums have two-term recurrences. */
static inline double kl_bregman_powers(double d, double x, double y, const double *c, int n)
{
    const double a = 1 / x, b = 1 / y;
    double power = 1, run = 0, weighted = 0, total = 0; /* a^(m-1), sum a^i b^(m-i), sum (m-i) a^i b^(m-i) */
    for (int m = 0; m < n; m++) {
        run = b * (run + power);
        weighted = b * weighted + run;
        power *= a;
        total += c[m] * weighted;
    }
    return (d * a) * (d * b) * total;
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
    for (; low + n < KL_STIRLING_FROM; n++) sum += kl_bregman_h_step(d, x + n, y + n);
    const double X = x + n, Y = y + n;
    return sum + (0.5 * kl_psi(d, X, Y) + kl_bregman_powers(d, X, Y, kl_stirling, KL_STIRLING_TERMS));
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
    for (; low + n < KL_STIRLING_FROM; n++) sum += kl_h_slope_step(d, x + n, y + n);
    const double a = 1 / (x + n), b = 1 / (y + n);
    double run = 0, power = 1, series = 0; /* b^m - a^m = d a b (sum a^i b^(m-1-i)); h' has -m c_m z^-(m+1) */
    for (int m = 1; m <= KL_STIRLING_TERMS + 1; m++) {
        run = b * run + power;
        power *= a;
        series += run * (m == 1 ? 0.5 : (m - 1) * kl_stirling[m - 2]);
    }
    return sum + d * a * b * series;
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
    for (; z + n < KL_STIRLING_FROM; n++) shifted *= z + n;
    const double Z = z + n, w = 1 / (Z * Z);
    double series = 0;
    for (int m = KL_STIRLING_TERMS - 1; m >= 0; m -= 2) series = series * w + kl_stirling[m];
    return (Z - 0.5) * log(Z) - Z + KL_HALF_LOG_2PI + series / Z - log(shifted);
}

static inline double kl_digamma(double z)
{
    double shifted = 0;
    int n = 0;
    for (; z + n < KL_STIRLING_FROM; n++) shifted += 1 / (z + n);
    const double Z = z + n, w = 1 / (Z * Z);
    double series = 0;
    for (int m = KL_STIRLING_TERMS - 1; m >= 0; m -= 2) series = series * w + (m + 1) * kl_stirling[m];
    return log(Z) - 0.5 / Z - series * w - shifted;
}

/* z + log Gamma(z) + (1 - z) digamma(z), the entropy of Gamma(z, 1). For large z by Stirling's series, in which what is
 * of the size of z log z cancels. */
static inline double kl_gamma_entropy(double z)
{
    if (z < KL_STIRLING_FROM) return z + kl_log_gamma(z) + (1 - z) * kl_digamma(z);
    const double w = 1 / (z * z);
    double delta = 0, slope = 0; /* z delta(z), -z^2 delta'(z) */
    for (int m = KL_STIRLING_TERMS - 1; m >= 0; m -= 2) {
        delta = delta * w + kl_stirling[m];
        slope = slope * w + (m + 1) * kl_stirling[m];
    }
    return 0.5 * log(z) + KL_HALF_LOG_2PI + 0.5 - 0.5 / z + delta / z + (1 - 1 / z) * slope / z;
}

#endif
