/* Chernoff's C = |log(integral of p^s q^t)|, s + t = 1, of two members of a family: what Renyi's divergence and its
 * relatives are made of. With r the member of natural parameters s eta_p + t eta_q, by the three-point identity
 *     0 < s < 1, r between p and q:    C = s KL(r||p) + t KL(r||q),
 *     s > 1, r beyond p as seen from q: C = -t KL(p||q) + KL(p||r), and inf where there is no such member,
 * which most families write in terms of differences of p and q, without r. (s > 1: r comes from t alone, because s + t
 * may be off 1 by a rounding.)
 */
#ifndef KL_CHERNOFF_H
#define KL_CHERNOFF_H

#include "terms.h"

/* s (e^tL - 1 - tL) + t (e^-sL - 1 + sL) = s e^tL + t e^-sL - 1 >= 0, s < 1. */
static inline double kl_power_rest(double L, double s, double t)
{
    return s * kl_exp_rest(t * L) + t * kl_exp_rest(-s * L);
}

/* a - t (a - b), t < 0, as high + low: what is left of a, where that is little, too. */
static inline kl_total kl_beyond(double a, double b, double t)
{
    const double d = a - b, step = -t * d;
    if (!(fabs(step) <= 0x1p1000)) return (kl_total){step, 0};
    const double rest = fma(-t, d, -step) - t * kl_sum_error(a, -b, d), sum = a + step;
    const double low = kl_sum_error(a, step, sum) + rest, high = sum + low;
    return (kl_total){high, (sum - high) + low};
}

static inline double kl_on_line(double a, double b, double s, double t)
{
    return s > 1 ? kl_beyond(a, b, t).high : s * a + t * b;
}

/* C of two exponential laws of rates a, b, s > 1: L = log(a/b), less = b/a - 1, left = s + t b/a = 1 + t less. */
static inline double kl_beyond_rates(double L, double less, double left, double t)
{
    const double y = t * less;
    if (!(left > 0)) return INFINITY;
    return -t * (kl_is_near(less) ? kl_psi_near(less) : less + L) + (kl_is_near(y) ? kl_psi_near(y) : y - log(left));
}

/* The same for any order, from L alone: log(s e^tL + t e^-sL). Near the end of the parameters, where left is small, the
 * rounding of L is magnified by 1/left. */
static inline double kl_chernoff_logs(double L, double s, double t)
{
    const double less = expm1(-L);
    if (s > 1) return kl_beyond_rates(L, less, 1 + t * less, t);
    if (fabs(L) <= 600) return log1p(kl_power_rest(L, s, t));
    return fmax(L > 0 ? t * L + log(s) : log(t) - s * L, 0);
}

static inline double kl_chernoff_rates(double a, double b, double s, double t)
{
    const double L = kl_log_ratio(a - b, a, b);
    return s > 1 ? kl_beyond_rates(L, (b - a) / a, kl_beyond(a, b, t).high / a, t) : kl_chernoff_logs(L, s, t);
}

/* 1 + t (b^2/a^2 - 1), with the squares' roundings put back. */
static inline double kl_squares_left(double a, double b, double t)
{
    int e;
    const double m = frexp(a, &e), n = ldexp(b, -e), m2 = m * m, n2 = n * n;
    if (!(n2 <= DBL_MAX)) return -INFINITY;
    const double m_low = fma(m, m, -m2), n_low = fma(n, n, -n2);
    const kl_total r = kl_beyond(m2, n2, t);
    return (r.high + (r.low + m_low - t * (m_low - n_low))) / m2;
}

/* Rates a^2, b^2. */
static inline double kl_chernoff_squares(double a, double b, double s, double t)
{
    const double L = 2 * kl_log_ratio(a - b, a, b), e = (b - a) / a;
    return s > 1 ? kl_beyond_rates(L, e * (2 + e), kl_squares_left(a, b, t), t) : kl_chernoff_logs(L, s, t);
}

/* s a + t b - a^s b^t >= 0 of a, b >= 0, d = a - b, s < 1. */
static inline double kl_power_gap(double d, double a, double b, double s, double t)
{
    const double product = pow(a, s) * pow(b, t);
    if (product == 0) return s * a + t * b;
    const double L = kl_log_ratio(d, a, b);
    return fabs(L) <= 600 ? product * kl_power_rest(L, s, t) : fmax(s * a + t * b - product, 0);
}

/* a^s b^t - s a - t b >= 0, s > 1: -t g(a, b) + a (e^x - 1 - x), x = -t log(a/b), g that of kl_generalized. Where e^x
 * would magnify the rounding of x, it is a power of a/b, with the quotient's rounding put back. */
static inline double kl_power_excess(double d, double a, double b, double t)
{
    const double known = -t * kl_generalized(d, a, b);
    if (a == 0 || known == INFINITY) return known;
    const double x = -t * kl_log_ratio(d, a, b), ratio = a / b;
    if (fabs(x) <= 1) return known + a * kl_exp_rest(x);
    if (!(ratio >= DBL_MIN && ratio <= DBL_MAX)) return known + (exp(x + log(a)) - a - a * x);
    return known + a * (pow(ratio, -t) * exp(-t * (fma(-ratio, b, a) / a)) - 1 - x);
}

/* Near rows, `distance2` a relative distance of natural parameters, squared. C is an integral of the curvature along
 * their line: where that is linear it is s |t| (s KL(p||q) + t KL(q||p)), and what is left out is s |t| distance2 times
 * smaller, or less. The rounding of r adds KL(r'||r) to C, u^2/(s |t| distance2) of it: at 1e-16 both are 1e-16. */
static inline int kl_chernoff_is_near(double distance2, double s, double t) { return s * fabs(t) * distance2 < 1e-16; }

static inline double kl_chernoff_near(double forth, double back, double s, double t)
{
    return s * fabs(t) * (s > 1 ? forth - t * (forth - back) : s * forth + t * back);
}

#endif
