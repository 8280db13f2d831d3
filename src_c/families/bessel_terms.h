/* Ratios of Bessel functions and the Bregman divergence of their logarithm, for directions in R^d. With
 * g = log I_nu(kappa) - nu log kappa, nu = d/2 - 1, and A = g':
 *
 * B_g, the Bregman divergence of g, is never formed from logarithms. The product of two Bessel series has nonnegative
 * terms c_k, c_(k+1)/c_k = kappa^2 (d - 1 + 2k)/((k + 1)(d - 1 + k)(d + 2k)), which sum to I_nu^2, and
 *     A  = sum c_k kappa (d - 1 + 2k)/((d - 1 + k)(d + 2k)) / sum c_k,
 *     A' = sum c_k      (d - 1)      /((d - 1 + k)(d + 2k)) / sum c_k:
 * nothing cancels, whatever d and kappa. B_g is the integral of (kappa_q - s) A'(s), a positive one, by Gauss's rule;
 * for large kappa, term by term from A = 1 - (d - 1)/(2 kappa) - ..., whose coefficients follow from Riccati's equation
 *     A' = 1 - A^2 - (d - 1) A/kappa.
 */
#ifndef KL_BESSEL_TERMS_H
#define KL_BESSEL_TERMS_H

#include "debye_terms.h"

#define NODES 10
#define NEGLIGIBLE 0x1p-60

/* Gauss-Legendre on [0, 1]: nodes 1/2 +- x/2, weights w/2. */
static const double NODE[NODES / 2] = {0.1488743389816312109, 0.4333953941292471908, 0.6794095682990244062,
                                       0.8650633666889845107, 0.9739065285171717201};
static const double WEIGHT[NODES / 2] = {0.2955242247147528702, 0.2692667193099963551, 0.2190863625159820440,
                                         0.1494513491505805932, 0.0666713443086881376};

/* The largest term of the series, about. */
static inline double first_term(double kappa, double d)
{
    const double middle = sqrt(kappa * kappa + (0.5 * d - 1) * (0.5 * d - 1)) - 0.5 * d;
    return middle > 0 ? floor(middle) : 0;
}

/* Both by the series, from its largest term outwards. */
static inline moments series_moments(double kappa, double d)
{
    const double k2 = kappa * kappa, start = first_term(kappa, d);
    double mass = 0, length = 0, slope = 0, c = 1;
    for (double k = start; c > NEGLIGIBLE * mass; k++) {
        const double f = c / ((d - 1 + k) * (d + 2 * k));
        mass += c, length += (d - 1 + 2 * k) * f, slope += f;
        c *= k2 * (d - 1 + 2 * k) / ((k + 1) * (d - 1 + k) * (d + 2 * k));
    }
    c = 1;
    for (double k = start - 1; k >= 0; k--) {
        c *= (k + 1) * (d - 1 + k) * (d + 2 * k) / (k2 * (d - 1 + 2 * k));
        if (c <= NEGLIGIBLE * mass) break;
        const double f = c / ((d - 1 + k) * (d + 2 * k));
        mass += c, length += (d - 1 + 2 * k) * f, slope += f;
    }
    return (moments){kappa * length / mass, (d - 1) * slope / mass};
}

/* A' at all nodes of a panel, in order. Where their largest terms lie within CLOSE of each other, side by side from one
 * of them: what is divided is theirs in common, and the outermost nodes are the last for which terms count. (Rows of
 * d = 8, kappa about 1, are encoded in half of the time.) Further apart, too many terms would not count. */
#define CLOSE 16

static inline void slopes_of(const double *kappa, double d, double *slope)
{
    enum { LAST = NODES - 1 };
    if (fabs(first_term(kappa[0], d) - first_term(kappa[LAST], d)) > CLOSE) {
        for (int i = 0; i < NODES; i++) slope[i] = series_moments(kappa[i], d).slope;
        return;
    }
    double k2[NODES], c[NODES], mass[NODES], sum[NODES];
    const double start = first_term(0.5 * (kappa[0] + kappa[LAST]), d);
    for (int i = 0; i < NODES; i++) k2[i] = kappa[i] * kappa[i], c[i] = 1, mass[i] = sum[i] = 0;
    for (double k = start; c[0] > NEGLIGIBLE * mass[0] || c[LAST] > NEGLIGIBLE * mass[LAST]; k++) {
        const double f = 1 / ((d - 1 + k) * (d + 2 * k)), ratio = (d - 1 + 2 * k) / (k + 1) * f;
        for (int i = 0; i < NODES; i++) mass[i] += c[i], sum[i] += c[i] * f, c[i] *= k2[i] * ratio;
    }
    for (int i = 0; i < NODES; i++) k2[i] = 1 / k2[i], c[i] = 1;
    for (double k = start - 1; k >= 0; k--) {
        const double f = 1 / ((d - 1 + k) * (d + 2 * k)), ratio = (k + 1) / ((d - 1 + 2 * k) * f);
        for (int i = 0; i < NODES; i++) c[i] *= k2[i] * ratio, mass[i] += c[i], sum[i] += c[i] * f;
        if (c[0] <= NEGLIGIBLE * mass[0] && c[LAST] <= NEGLIGIBLE * mass[LAST]) break;
    }
    for (int i = 0; i < NODES; i++) slope[i] = (d - 1) * sum[i] / mass[i];
}

/* From here on Debye's expansion serves. */
static inline double expansion_from(double d)
{
    const double nu = 0.5 * d - 1;
    return nu < DEBYE_FROM ? sqrt(DEBYE_FROM * DEBYE_FROM - nu * nu) : 0;
}

/* Of x against y: B_g(x, y) and |A(x) - A(y)|. */
typedef struct { double bregman, gap; } concentration;

static inline concentration by_expansion(int with_gap, double delta, double x, double y, double d)
{
    const double bregman = debye_bregman(debye_between(delta, x, y, d));
    return (concentration){bregman, with_gap ? fabs(debye_gap(delta, x, y, d)) : 0};
}

/* Panels half as wide as the distance to the zeros of I_nu, beyond i d/2: ten nodes leave 8^-20. */
static inline concentration by_integral(double delta, double y, double d)
{
    const double size = fabs(delta), sign = delta < 0 ? -1 : 1;
    concentration sum = {0, 0};
    for (double begin = 0; begin < size;) {
        const double s0 = y + sign * begin, reach = sqrt(s0 * s0 + (0.5 * d + 1) * (0.5 * d + 1));
        const double step = sign > 0 ? 0.5 * reach : 0.33 * reach, rest = size - begin;
        const double width = step < rest ? step : rest;
        double at[NODES], kappa[NODES], slope[NODES];
        for (int k = 0; k < NODES; k++) {
            const double from_middle = k < NODES / 2 ? -NODE[NODES / 2 - 1 - k] : NODE[k - NODES / 2];
            at[k] = begin + width * (0.5 + 0.5 * from_middle);
            kappa[k] = y + sign * at[k];
        }
        slopes_of(kappa, d, slope);
        for (int k = 0; k < NODES; k++) {
            const double mass = 0.5 * WEIGHT[k < NODES / 2 ? NODES / 2 - 1 - k : k - NODES / 2] * width * slope[k];
            sum.bregman += mass * (size - at[k]);
            sum.gap += mass;
        }
        begin = width < rest ? begin + width : size;
    }
    return sum;
}

static inline concentration compared(int with_gap, double delta, double x, double y, double d)
{
    const double from = expansion_from(d);
    if (delta == 0) return (concentration){0, 0};
    if (x >= from && y >= from) return by_expansion(with_gap, delta, x, y, d);
    if (x <= from && y <= from) return by_integral(delta, y, d);
    const concentration first = x < y ? by_integral(x - from, from, d) : by_expansion(with_gap, x - from, x, from, d);
    const concentration second = x < y ? by_expansion(1, from - y, from, y, d) : by_integral(from - y, y, d);
    return (concentration){first.bregman + second.bregman + fabs(x - from) * second.gap, first.gap + second.gap};
}

static inline concentration compare(double delta, double x, double y, double d) { return compared(1, delta, x, y, d); }

/* B_g(x, y) alone. */
static inline double bregman_of(double delta, double x, double y, double d)
{
    return compared(0, delta, x, y, d).bregman;
}

static inline moments moments_of(double kappa, double d)
{
    return kappa < expansion_from(d) ? series_moments(kappa, d) : debye_moments(kappa, d);
}

#endif
