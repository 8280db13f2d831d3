/* Chernoff's C = -log(integral of p^s q^t), s + t = 1, of two members of a family: what Renyi's divergence and its
 * relatives are made of. With r the member of natural parameters s eta_p + t eta_q,
 *     C = s KL(r||p) + t KL(r||q),
 * which most families write in terms of differences of p and q, without r.
 */
#ifndef KL_CHERNOFF_H
#define KL_CHERNOFF_H

#include "terms.h"

/* s (e^tL - 1 - tL) + t (e^-sL - 1 + sL) = s e^tL + t e^-sL - 1 >= 0. */
static inline double kl_power_rest(double L, double s, double t)
{
    return s * kl_exp_rest(t * L) + t * kl_exp_rest(-s * L);
}

/* C of two exponential laws with log(rate_p/rate_q) = L: log(s e^tL + t e^-sL). */
static inline double kl_chernoff_rates(double L, double s, double t)
{
    if (fabs(L) <= 600) return log1p(kl_power_rest(L, s, t));
    return fmax(L > 0 ? t * L + log(s) : log(t) - s * L, 0);
}

/* s a + t b - a^s b^t >= 0 of a, b >= 0, d = a - b. */
static inline double kl_power_gap(double d, double a, double b, double s, double t)
{
    const double product = pow(a, s) * pow(b, t);
    if (product == 0) return s * a + t * b;
    const double L = kl_log_ratio(d, a, b);
    return fabs(L) <= 600 ? product * kl_power_rest(L, s, t) : fmax(s * a + t * b - product, 0);
}

/* From the divergences p||q, q||p of near rows, or else r||p, r||q. C is an integral of the curvature along the line
 * of natural parameters: where that is linear it is s t (s KL(p||q) + t KL(q||p)), and what is left out is of the
 * fourth order. The rounding of r adds KL(r'||r) to C: of the order of 1 ulp squared against the square of the
 * distance. At 1e-14 both are about 1e-14 or below. */
static inline int kl_chernoff_is_near(double forth, double back)
{
    return forth + back < 1e-14 && fabs(forth - back) <= 1e-7 * (forth + back);
}

static inline double kl_chernoff_near(double forth, double back, double s, double t)
{
    return s * t * (s * forth + t * back);
}

#endif
