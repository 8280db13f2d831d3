/* Chernoff's C of what is made of Bernoulli trials. With S = 1 - (p^s q^t) - ((1 - p)^s (1 - q)^t), a sum of two terms
 * >= 0: -log(1 - S) of a trial, log(1 + S/(p^s q^t)) of Geometric, r log(1 + S/((1 - p)^s (1 - q)^t)) of
 * NegativeBinomial. (Poisson has one such term.)
 * Beyond order 1, where S < 0: log(1 + |S|) of a trial; Geometric and NegativeBinomial have r with 1 - p_r =
 * (1 - p)^s (1 - q)^t in closed form, and inf where that is 1 or more.
 */
#ifndef KL_TRIAL_CHERNOFF_H
#define KL_TRIAL_CHERNOFF_H

#include "chernoff.h"

/* S, and the two products. */
typedef struct { double gap, yes, no; } kl_blend;

static inline kl_blend kl_trial_blend(double p, double q, double s, double t)
{
    const double d = p - q, gap = kl_power_gap(d, p, q, s, t) + kl_power_gap(-d, 1 - p, 1 - q, s, t);
    return (kl_blend){gap, pow(p, s) * pow(q, t), pow(1 - p, s) * pow(1 - q, t)};
}

static inline double kl_blend_minus_log(kl_blend b)
{
    return b.gap < 0.5 ? -log1p(-b.gap) : fmax(-log(b.yes + b.no), 0);
}

static inline double kl_trial_beyond(double p, double q, double t)
{
    const double d = p - q, sum = kl_power_excess(d, p, q, t) + kl_power_excess(-d, 1 - p, 1 - q, t);
    if (sum <= 0x1p1000) return log1p(sum);
    return d > 0 ? log(p) - t * kl_log_ratio(d, p, q) : log1p(-p) - t * kl_log_ratio(-d, 1 - p, 1 - q);
}

static inline double kl_trial_chernoff(double p, double q, double s, double t)
{
    return s > 1 ? kl_trial_beyond(p, q, t) : kl_blend_minus_log(kl_trial_blend(p, q, s, t));
}

/* -t KL(p||q) + KL(p||r) of Geometric, from p, 1 - p and d = p - q: the gap to r is
 * p - r = (1 - p)((1 - p)^-t (1 - q)^t - 1). */
static inline double kl_geometric_beyond(double d, double p, double no_p, double q, double no_q, double t)
{
    if (d == 0) return 0;
    const double x = -t * kl_log_ratio(-d, no_p, no_q), gap = no_p * expm1(x), r = p - gap;
    if (!(r > 0)) return INFINITY;
    const double known = kl_generalized(d, p, q) + kl_generalized(-d, no_p, no_q);
    return (-t * known + (kl_generalized(gap, p, r) + kl_generalized(-gap, no_p, no_p * exp(x)))) / p;
}

#endif
