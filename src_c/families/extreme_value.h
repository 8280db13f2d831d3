/* Weibull and Gumbel laws: log X of a Weibull is a Gumbel, so one divergence serves both. */
#ifndef KL_EXTREME_VALUE_H
#define KL_EXTREME_VALUE_H

#include "gamma_terms.h"

/* KL of shapes kp, kq (Gumbel: 1/scale) and L = kq times the gap of log scale (Gumbel: of location, negated). With
 * r = kq/kp and M = L + log Gamma(1 + r), and B the Bregman divergence of log Gamma,
 *     KL = B(r, 1) + e^M - 1 - M,     log Gamma(1 + r) = (r - 1)(1 - euler) + B(1 + r, 2).
 * Where M is large, e^M would magnify its rounding: then e^M = e^L Gamma(1 + r), from the caller's own e^L. */
typedef struct { double bregman, gamma, exponent; } kl_extreme;

static inline kl_extreme kl_extreme_value(double kp, double kq, double L)
{
    const double d = (kq - kp) / kp, r = kq / kp, log_gamma = d * (1 - KL_EULER_GAMMA) + kl_bregman_lgamma(d, 1 + r, 2);
    const double rest = fma(-r, kp, kq) / kp + kl_sum_error(1, r, 1 + r); /* of 1 + kq/kp, what rounding leaves out */
    const double gamma = r < 160 ? tgamma(1 + r) * (1 + rest * kl_digamma(1 + r)) : 0;
    return (kl_extreme){kl_bregman_lgamma(d, r, 1), gamma, L + log_gamma};
}

static inline int kl_extreme_far(kl_extreme e) { return e.exponent > 1 && e.gamma > 0; }
static inline double kl_extreme_near_total(kl_extreme e) { return e.bregman + kl_exp_rest(e.exponent); }
static inline double kl_extreme_far_total(kl_extreme e, double exp_l)
{
    return e.bregman + (exp_l * e.gamma - 1 - e.exponent);
}

#endif
