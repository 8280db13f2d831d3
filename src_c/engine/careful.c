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

/* p log(p/q) - p + q for d = p - q; p, q > 0. */
static double term(double p, double q, double d)
{
    double v = d / (p + q);
    if (fabs(v) > 1.0 / 3) return p * (log(p) - log(q)) - d;
    double w = v * v, power = w, s = 0;
    for (int n = 3; n < 40; n += 2, power *= w) s += power / n; /* 9^-19 is far below an ulp */
    return v * d + 2 * p * v * s;
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
        g = dd_add(g, high > 0 && qk > 0 ? term(high, qk, d) : qk);
    }
    double kl = g.high / sq.high;
    return kl > 0 ? kl : 0x1p-1074; /* different, yet closer than the least double */
}

/* Nearly equal logits: with delta = a - b, exact up to a shift, and dbar its mean under p,
 *     KL = log1p( sum p * gamma(dbar - delta) ),  p * e^(dbar - delta) = q * e^h
 * which is second order in the spread of delta, however small. */
double kl_careful_logits(const double *a, const double *b, int64_t K)
{
    if (!memcmp(a, b, (size_t)K * sizeof *a) || kl_rows_same(KL_LOGITS, a, b, K)) return 0;
    int64_t r = largest(a, K);
    double b_max = b[largest(b, K)], sum = 0, mean = 0;
    dd zero = two_sum(a[r], -b[r]);
    for (int64_t k = 0; k < K; k++) {
        if (a[k] == -INFINITY) continue;
        dd d = two_sum(a[k], -b[k]);
        double w = exp(a[k] - a[r]);
        sum += w;
        mean += w * ((d.high - zero.high) + (d.low - zero.low));
    }
    mean /= sum;
    const double h = (b_max - b[r]) + mean;
    dd g = {0, 0};
    for (int64_t k = 0; k < K; k++) {
        if (b[k] == -INFINITY) continue; /* then a is masked too, or KL would be infinite */
        double w = exp(a[k] - a[r]);
        dd d = two_sum(a[k], -b[k]);
        double x = mean - ((d.high - zero.high) + (d.low - zero.low));
        if (a[k] == -INFINITY) g = dd_add(g, exp(b[k] - b_max + h));
        else if (x > 0.5) g = dd_add(g, exp(b[k] - b_max + h) - w * (1 + x));
        else if (x < -0.5) g = dd_add(g, w * (expm1(x) - x));
        else {
            double s = 0, power = 0.5;
            for (int n = 3; n < 18; n++, power *= x / (n - 1)) s += power;
            g = dd_add(g, w * x * x * s);
        }
    }
    double kl = log1p(g.high / sum);
    return kl > 0 ? kl : 0x1p-1074;
}
