/* Small functions from which the direct forms are made: each keeps the relative accuracy of a difference of
 * parameters. Where a function takes (d, a, b), d is a - b with a small *relative* error, which a - b computed
 * from a and b may not have any more (both shifted by the same number, say).
 */
#ifndef KL_TERMS_H
#define KL_TERMS_H

#include <float.h>
#include <math.h>
#include <stdint.h>

#include "families.h"

#define KL_LN2_F64 0.6931471805599453094
#define KL_PI_F64 3.141592653589793238
#define KL_HALF_LOG_2PI 0.9189385332046727418
#define KL_EULER_GAMMA 0.5772156649015328606
#define KL_UNUSED(x) ((void)(x))

/* Inside, series in v = t/(2 + t), |v| < 0.18; outside, the differences lose less than three bits. */
static inline int kl_is_near(double t) { return t >= -0.3 && t <= 0.4; }

/* 1/3 + w/5 + w^2/7 + ..., w = v^2 <= 0.0315: the first term left out is 0.0315^11 / 25 < 2e-18. */
static inline double kl_atanh_rest(double w)
{
    double s = 1.0 / 23;
    for (int k = 21; k >= 3; k -= 2) s = s * w + 1.0 / k;
    return s;
}

/* log(a/b) of positive a and b, however far apart. */
static inline double kl_log_quotient(double a, double b)
{
    const double r = a / b;
    return r >= DBL_MIN && r <= DBL_MAX ? log(r) : log(a) - log(b);
}

static inline double kl_log_ratio(double d, double a, double b)
{
    const double t = d / b;
    return kl_is_near(t) ? log1p(t) : kl_log_quotient(a, b);
}

/* t - log(1 + t) >= 0; near 0 with 2v = 2t/(2 + t): t - 2v = tv, and log(1 + t) = 2 atanh v. */
static inline double kl_psi_near(double t)
{
    const double v = t / (2 + t), w = v * v;
    return v * (t - 2 * w * kl_atanh_rest(w));
}

/* psi(a/b) = a/b - 1 - log(a/b) >= 0. */
static inline double kl_psi(double d, double a, double b)
{
    const double t = d / b;
    return kl_is_near(t) ? kl_psi_near(t) : t - kl_log_quotient(a, b);
}

/* psi((a/b)^2). */
static inline double kl_psi_square(double d, double a, double b)
{
    const double e = d / b, t = e * (2 + e);
    return kl_is_near(t) ? kl_psi_near(t) : t - 2 * kl_log_quotient(a, b);
}

/* p log(p/q) - p + q >= 0 of p, q >= 0, d = p - q. */
static inline double kl_generalized(double d, double p, double q)
{
    if (p == 0) return q;
    if (q == 0) return INFINITY;
    const double t = -d / p;
    return kl_is_near(t) ? p * kl_psi_near(t) : p * kl_log_quotient(p, q) - d;
}

/* e^x - 1 - x >= 0. The series stops below 0.5^17 / (19!/2) < 1e-21. */
static inline double kl_exp_rest(double x)
{
    if (!(fabs(x) <= 0.5)) return expm1(x) - x;
    double s = 1;
    for (int k = 18; k >= 3; k--) s = 1 + s * x / k;
    return 0.5 * x * x * s;
}

/* The rounding of a + b. */
static inline double kl_sum_error(double a, double b, double sum)
{
    const double part = sum - a;
    return (a - (sum - part)) + (b - part);
}

/* ab - cd with a relative error of 2u (Jeannerod, Louvet & Muller, Math. Comp. 82, 2013). */
static inline double kl_determinant(double a, double b, double c, double d)
{
    const double product = c * d, error = fma(-c, d, product);
    return fma(a, b, -product) + error;
}

/* The ratio r = ab/(cd) of positive numbers: r - 1, log r and psi(r), without over- or underflow on the way. */
typedef struct { double less_one, log, psi; } kl_ratio;

static inline kl_ratio kl_cross_ratio(double a, double b, double c, double d)
{
    int ea, eb, ec, ed;
    a = frexp(a, &ea), b = frexp(b, &eb), c = frexp(c, &ec), d = frexp(d, &ed);
    const int e = ea + eb - ec - ed;
    if (e >= -4 && e <= 4) {
        const double t = kl_determinant(ldexp(a, e), b, c, d) / (c * d);
        if (kl_is_near(t)) return (kl_ratio){t, log1p(t), kl_psi_near(t)};
    }
    const double rest = (a * b) / (c * d), log_r = e * KL_LN2_F64 + log(rest), t = ldexp(rest, e) - 1;
    return (kl_ratio){t, log_r, t - log_r};
}

/* A sum whose error does not grow with the number of terms (all of them >= 0, maybe inf). */
typedef struct { double high, low; } kl_total;

static inline void kl_total_add(kl_total *s, double term)
{
    const double high = s->high + term;
    s->low += kl_sum_error(s->high, term, high);
    s->high = high;
}

static inline double kl_total_value(kl_total s) { return s.high <= DBL_MAX ? s.high + s.low : s.high; }

/* What `direct` returns: a sum of terms >= 0 that came out as 0 is 0 only for equal rows; else it underflowed. (NaN,
 * no closed form, stays.) */
static inline double kl_settled(double value, const double *p, const double *q, int64_t K)
{
    if (!(value <= 0)) return value;
    for (int64_t k = 0; k < K; k++)
        if (p[k] != q[k]) return DBL_TRUE_MIN;
    return 0.0;
}

/* Sums of terms of one sign are NaN only where 0 met an overflow: beyond the range of double. */
static inline double kl_or_infinite(double value) { return value == value ? value : INFINITY; }

/* What `mean` and `natural` return: a row with features beyond the range is for the direct kernel. */
static inline kl_feature_row kl_settled_features(kl_feature_row row, double *features, int64_t width)
{
    if (row.spread <= DBL_MAX && row.offset <= DBL_MAX && row.norm2 <= 0x1p1000) return row;
    for (int64_t k = 0; k < width; k++) features[k] = 0;
    return (kl_feature_row){0, INFINITY, 0};
}

/* Checks of one parameter. */
static inline int32_t kl_check_finite(double x)
{
    return x != x ? KL_PARAMETER_NAN : fabs(x) <= DBL_MAX ? KL_PARAMETER_OK : KL_PARAMETER_INFINITE;
}

static inline int32_t kl_check_positive(double x)
{
    const int32_t status = kl_check_finite(x);
    return status ? status : x > 0 ? KL_PARAMETER_OK : KL_PARAMETER_NOT_POSITIVE;
}

#endif
