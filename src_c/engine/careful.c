/* KL where the fast direct kernels lose digits: rows equal up to rounding (KL below 1e-30), and
 * weights whose sums lie near the ends of the exponent range. Scalar, in double-double; rare.
 */
#include <math.h>
#include <string.h>

#include "../klfast.h"

typedef struct { double high, low; } dd; /* an unevaluated sum, |low| <= ulp(high)/2 */

static dd two_sum(double a, double b)
{
    double s = a + b, z = s - a;
    return (dd){s, (a - (s - z)) + (b - z)};
}

static dd dd_add(dd a, double b)
{
    dd s = two_sum(a.high, b);
    return two_sum(s.high, s.low + a.low);
}

static dd dd_divide(dd a, dd b)
{
    double h = a.high / b.high;
    double rest = fma(-h, b.high, a.high) + a.low - h * b.low;
    return two_sum(h, rest / b.high);
}

static dd dd_row_sum(const double *x, int64_t K, int exponent)
{
    dd sum = {0, 0};
    for (int64_t k = 0; k < K; k++) sum = dd_add(sum, ldexp(x[k], -exponent));
    return sum;
}

static int64_t largest(const double *x, int64_t K)
{
    int64_t best = 0;
    for (int64_t k = 1; k < K; k++)
        if (x[k] > x[best]) best = k;
    return best;
}

/* p log(p/q) - p + q for d = p - q. `log_ratio` is log(p/q), for where p and q are far apart. */
static double term(double p, double q, double d, double log_ratio)
{
    double v = d / (p + q);
    if (!(fabs(v) <= 1.0 / 3)) return p * log_ratio - d;
    double w = v * v, power = w, s = 0;
    for (int n = 3; n < 40; n += 2, power *= w) s += power / n; /* 9^-19 is far below an ulp */
    return v * d + 2 * p * v * s;
}

/* log(c * 2^e * p/q) for any positive doubles: mantissas and exponents apart. */
static double log_quotient(double c, int e, double p, double q)
{
    int ep, eq;
    double mantissas = c * frexp(p, &ep) / frexp(q, &eq);
    return (ep - eq + e) * 0x1.62e42fefa39efp-1 + log(mantissas);
}

double kl_careful_probs(const double *p, const double *q, int64_t K)
{
    if (!memcmp(p, q, (size_t)K * sizeof *p)) return 0; /* the common case, at little cost */
    for (int64_t k = 0; k < K; k++)
        if (p[k] > 0 && q[k] == 0) return INFINITY;
    if (kl_rows_same(KL_PROBS, p, q, K)) return 0;
    int ep, eq;
    frexp(p[largest(p, K)], &ep);
    frexp(q[largest(q, K)], &eq);
    dd sp = dd_row_sum(p, K, ep), sq = dd_row_sum(q, K, eq), c = dd_divide(sq, sp), g = {0, 0};
    for (int64_t k = 0; k < K; k++) {
        double pk = ldexp(p[k], -ep), qk = ldexp(q[k], -eq);
        double high = c.high * pk, low = fma(c.high, pk, -high) + c.low * pk;
        double d = (high - qk) + low;
        if (p[k] > 0) g = dd_add(g, term(high, qk, d, log_quotient(c.high, eq - ep, p[k], q[k])));
        else g = dd_add(g, qk);
    }
    double kl = g.high / sq.high;
    return kl > 0 ? kl : 0x1p-1074; /* different, yet closer than the least double */
}

/* Logits whose differences may overflow: quarters of them, in the textbook form. Nothing small can come of it that
 * is not exact: weights are 0, 1 or shares of equal logits. */
#define HUGE_LOGIT 0x1p1000

static double huge_logits(const double *a, double a_max, const double *b, double b_max, int64_t K)
{
    double sa = 0, sb = 0, kl = 0, off = 0;
    for (int64_t k = 0; k < K; k++) {
        sa += exp(a[k] - a_max);
        sb += exp(b[k] - b_max);
    }
    for (int64_t k = 0; k < K; k++) {
        double p = exp(a[k] - a_max) / sa;
        if (p == 0) off += exp(b[k] - b_max) / sb;
        else kl += p * (((a[k] / 4 - a_max / 4) - (b[k] / 4 - b_max / 4)) + log(sb / sa) / 4);
    }
    if (kl < 0.01) return off > 0 ? off + kl : (kl > 0 ? 4 * kl : 0x1p-1074);
    return 4 * kl;
}

/* e^exponent * x, also where the weight alone would underflow. */
static double weighted(double exponent, double x)
{
    if (exponent > -600) return exp(exponent) * x;
    double half = exp(exponent / 2);
    return x * half * half;
}

/* Nearly equal logits: with delta = a - b, exact up to a shift, and dbar its mean under p,
 *     KL = log1p( sum p * gamma(dbar - delta) ),  p * e^(dbar - delta) = q * e^h
 * which is second order in the spread of delta, however small. */
double kl_careful_logits(const double *a, const double *b, int64_t K)
{
    if (!memcmp(a, b, (size_t)K * sizeof *a) || kl_rows_same(KL_LOGITS, a, b, K)) return 0;
    int64_t r = largest(a, K);
    double b_max = b[largest(b, K)], sum = 0, mean = 0;
    for (int64_t k = 0; k < K; k++)
        if (fabs(a[k]) > HUGE_LOGIT || fabs(b[k]) > HUGE_LOGIT) return huge_logits(a, a[r], b, b_max, K);
    dd zero = two_sum(a[r], -b[r]);
    for (int64_t k = 0; k < K; k++) {
        if (a[k] == -INFINITY) continue;
        dd d = two_sum(a[k], -b[k]);
        sum += exp(a[k] - a[r]);
        mean += weighted(a[k] - a[r], (d.high - zero.high) + (d.low - zero.low));
    }
    mean /= sum;
    const double h = (b_max - b[r]) + mean;
    dd g = {0, 0};
    for (int64_t k = 0; k < K; k++) {
        if (b[k] == -INFINITY) continue; /* then a is masked too, or KL would be infinite */
        const double exponent = a[k] - a[r];
        dd d = two_sum(a[k], -b[k]);
        double x = mean - ((d.high - zero.high) + (d.low - zero.low));
        if (a[k] == -INFINITY) g = dd_add(g, exp(b[k] - b_max + h));
        else if (x > 0.5) g = dd_add(g, exp(b[k] - b_max + h) - weighted(exponent, 1 + x));
        else if (x < -0.5) g = dd_add(g, weighted(exponent, expm1(x) - x));
        else {
            double s = 0, power = 0.5;
            for (int n = 3; n < 18; n++, power *= x / (n - 1)) s += power;
            g = dd_add(g, weighted(exponent, x * x * s));
        }
    }
    double kl = log1p(g.high / sum);
    return kl > 0 ? kl : 0x1p-1074;
}
