/* Divergences where the fast direct kernels lose digits: rows equal up to rounding (values below 1e-30), weights whose
 * sums lie near the ends of the exponent range, terms that overflow. Scalar, with double-double sums; rare.
 */
#include <math.h>
#include <string.h>

#include "../klfast.h"

#define LN2 0x1.62e42fefa39efp-1

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

/* ---- bins: both weights, their difference and the logarithm of their ratio ------------------------------- */

typedef struct {
    double p, q, d, log;
    double log_p; /* the logarithm of the normalised p, for sums that overflow and products that underflow */
} bin;

typedef struct {
    int32_t domain;
    const double *p, *q;
    int64_t K, r;             /* r: where p is largest */
    int ep, eq;               /* PROBS: exponents of the largest weights */
    dd sp, sq, c, zero;       /* PROBS: sums, c = sq / sp; LOGITS: zero = a_r - b_r */
    double shift, b_max, sa, sb; /* LOGITS: log(p/q) is delta - zero + shift */
    int wide;                 /* LOGITS: differences may overflow */
} pair;

/* e^exponent * x, also where the weight alone would underflow. */
static double weighted(double exponent, double x)
{
    if (exponent > -600) return exp(exponent) * x;
    double half = exp(exponent / 2);
    return x * half * half;
}

static pair pair_of_weights(int32_t domain, const double *p, const double *q, int64_t K)
{
    pair s = {.domain = domain, .p = p, .q = q, .K = K, .r = largest(p, K)};
    const double most_p = p[s.r], most_q = q[largest(q, K)];
    frexp(most_p, &s.ep);
    frexp(most_q, &s.eq);
    if (domain == KL_MEASURE) s.ep = s.eq = most_p > most_q ? s.ep : s.eq;
    s.sp = dd_row_sum(p, K, s.ep);
    s.sq = dd_row_sum(q, K, s.eq);
    s.c = domain == KL_MEASURE ? (dd){1, 0} : dd_divide(s.sq, s.sp);
    return s;
}

#define HUGE_LOGIT 0x1p1000

/* With delta = a - b, exact up to a shift, and dbar its mean under p, log(p/q) = delta - dbar + KL. Near rows leave KL
 * out, being of second order in the spread of delta however small that is; others take the shift from the weights. */
static pair pair_of_logits(const double *a, const double *b, int64_t K)
{
    pair s = {.domain = KL_LOGITS, .p = a, .q = b, .K = K, .r = largest(a, K)};
    s.b_max = b[largest(b, K)];
    for (int64_t k = 0; k < K; k++) {
        s.wide |= (isfinite(a[k]) && fabs(a[k]) > HUGE_LOGIT) || (isfinite(b[k]) && fabs(b[k]) > HUGE_LOGIT);
        s.sa += exp(a[k] - a[s.r]);
        s.sb += exp(b[k] - s.b_max);
    }
    if (s.wide) return s;
    s.zero = two_sum(a[s.r], b[s.r] == -INFINITY ? -s.b_max : -b[s.r]);
    for (int64_t k = 0; k < K; k++) {
        if (a[k] == -INFINITY || b[k] == -INFINITY) continue;
        dd d = two_sum(a[k], -b[k]);
        s.shift -= weighted(a[k] - a[s.r], (d.high - s.zero.high) + (d.low - s.zero.low)) / s.sa;
    }
    const double whole = (b[s.r] == -INFINITY ? 0 : s.b_max - b[s.r]) + log(s.sb / s.sa);
    if (fabs(whole - s.shift) > 1e-3) s.shift = whole;
    return s;
}

/* log(c * 2^e * p/q) for any positive doubles: mantissas and exponents apart. */
static double log_quotient(double c, int e, double p, double q)
{
    int ep, eq;
    double mantissas = c * frexp(p, &ep) / frexp(q, &eq);
    return (ep - eq + e) * LN2 + log(mantissas);
}

/* Empty on both sides: log is NaN. */
static bin bin_of_weights(const pair *s, int64_t k)
{
    const double pk = ldexp(s->p[k], -s->ep), qk = ldexp(s->q[k], -s->eq);
    const double high = s->c.high * pk, low = fma(s->c.high, pk, -high) + s->c.low * pk;
    bin b = {.p = high, .q = qk, .d = (high - qk) + low, .log = 0, .log_p = -INFINITY};
    if (s->p[k] > 0) b.log_p = log_quotient(1 / s->sp.high, -s->ep, s->p[k], 1);
    if (s->p[k] > 0 && s->q[k] > 0) {
        double v = b.d / (b.p + b.q);
        b.log = fabs(v) < 1e-3 ? 2 * v * (1 + v * v * (1.0 / 3 + v * v / 5))
                               : log_quotient(s->c.high, s->eq - s->ep, s->p[k], s->q[k]);
    } else b.log = s->p[k] > 0 ? INFINITY : s->q[k] > 0 ? -INFINITY : NAN;
    return b;
}

/* p normalised, q up to the constant above. */
static bin bin_of_logits(const pair *s, int64_t k)
{
    const double a = s->p[k], b = s->q[k], exponent = a - s->p[s->r];
    bin out = {.log_p = exponent - log(s->sa)};
    if (s->wide) {
        out.p = exp(exponent) / s->sa;
        out.q = exp(b - s->b_max) / s->sb;
        out.d = out.p - out.q;
        out.log = exponent - (b - s->b_max) + log(s->sb / s->sa);
    } else if (a == -INFINITY || b == -INFINITY) {
        out.p = exp(exponent) / s->sa;
        out.q = exp(b - s->b_max) / s->sb;
        out.d = out.p - out.q;
        out.log = a == b ? NAN : b == -INFINITY ? INFINITY : -INFINITY;
    } else {
        dd d = two_sum(a, -b);
        out.log = ((d.high - s->zero.high) + (d.low - s->zero.low)) + s->shift;
        out.p = weighted(exponent, 1 / s->sa);
        out.q = fabs(out.log) < 1 ? out.p * exp(-out.log) : exp(b - s->b_max) / s->sb;
        out.d = fabs(out.log) < 1 ? -weighted(exponent, expm1(-out.log)) / s->sa : out.p - out.q;
    }
    return out;
}

static bin bin_of(const pair *s, int64_t k)
{
    return s->domain == KL_LOGITS ? bin_of_logits(s, k) : bin_of_weights(s, k);
}

/* What the bins' weights must be divided by. */
static double scale_of(const pair *s)
{
    if (s->domain == KL_LOGITS) return 1;
    return s->domain == KL_MEASURE ? ldexp(1, -s->ep) : s->sq.high;
}

/* ---- terms, as in kernels/terms.h ------------------------------------------------------------------------------ */

/* p log(p/q) - p + q for d = p - q. `log` is log(p/q), for where p and q are far apart. */
static double g(double p, double q, double d, double log)
{
    if (p == 0) return q;
    double v = d / (p + q);
    if (!(fabs(v) <= 1.0 / 3)) return p * log - d;
    double w = v * v, power = w, s = 0;
    for (int n = 3; n < 40; n += 2, power *= w) s += power / n; /* 9^-19 is far below an ulp */
    return v * d + 2 * p * v * s;
}

static double gamma_of(double x) /* e^x - 1 - x */
{
    if (fabs(x) > 0.5) return expm1(x) - x;
    double s = 0, power = 0.5;
    for (int n = 3; n < 20; n++, power *= x / (n - 1)) s += power;
    return x * x * s;
}

static double power_term(bin b, double s)
{
    const double t = 1 - s, x = -t * b.log;
    if (b.log == -INFINITY) return b.q / s; /* weights may underflow where the ratio does not */
    if (b.log == INFINITY) return t > 0 ? b.p / t : INFINITY;
    if (fabs(x) <= 1) return (g(b.p, b.q, b.d, b.log) - b.p * gamma_of(x) / t) / s;
    return (s * b.p + t * b.q - b.p * exp(x)) / (s * t);
}

static double mixed(double p, double m, double d) { return g(p, m, d, p > 0 && m > 0 ? log(p / m) : 0); }

static double term_of(const kl_divergence *f, bin b, int logits)
{
    const double w = f->number, p = b.p, q = b.q;
    /* Logits may be so far apart that a weight underflows and its product with the logarithm does not. */
    const int faint = logits && (p < 0x1p-960 || (f->kind == KL_JEFFREYS && q < 0x1p-960));
    if (isnan(b.log) || (p == 0 && q == 0 && !isfinite(b.log_p))) return 0;
    switch (f->kind) {
    case KL_KL: return faint && isfinite(b.log) ? weighted(b.log_p, b.log - 1) + q : g(p, q, b.d, b.log);
    case KL_JEFFREYS: /* log_p - log is the logarithm of q */
        return faint && isfinite(b.log) ? weighted(b.log_p, b.log) - weighted(b.log_p - b.log, b.log) : b.d * b.log;
    case KL_POWER: return power_term(b, w);
    case KL_ITAKURA_SAITO: return gamma_of(b.log);
    case KL_SKEW_JS: {
        const double m = w * p + (1 - w) * q;
        return w * mixed(p, m, (1 - w) * b.d) + (1 - w) * mixed(q, m, -w * b.d);
    }
    case KL_SKEW_KL: return mixed(p, (1 - w) * p + w * q, w * b.d);
    case KL_TRIANGULAR: return b.d * (b.d / (p + q));
    default: return fabs(b.d) / 2;
    }
}

/* ---- whole rows ------------------------------------------------------------------------------------------------ */

static int empty(int32_t domain, double x) { return x == (domain == KL_LOGITS ? -INFINITY : 0); }

/* Is the value infinite by an empty bin? */
static int apart(const kl_divergence *f, int32_t domain, const double *p, const double *q, int64_t K)
{
    const kl_support rule = kl_support_of(f);
    int overlap = 0;
    for (int64_t k = 0; k < K; k++) {
        const int no_p = empty(domain, p[k]), no_q = empty(domain, q[k]);
        if (rule != KL_SUPPORT_FREE && no_q && !no_p) return 1;
        if (rule == KL_SUPPORT_EQUAL && no_p && !no_q) return 1;
        overlap |= !no_p && !no_q;
    }
    return f->finish == KL_LOG && !overlap;
}

/* log of sum p^s q^(1-s) with its largest term in front, for Renyi's and its like where they are large. */
static double log_overlap(const pair *pair, double s)
{
    double most = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k < pair->K; k++) {
            const bin b = bin_of(pair, k);
            if (!isfinite(b.log) || b.log_p == -INFINITY) continue;
            const double x = b.log_p + (s - 1) * b.log;
            if (pass) sum += exp(x - most);
            else if (x > most) most = x;
        }
    return most + log(sum);
}

/* KL of logits beyond half of the range of float64: quarters of them, in the textbook form. Nothing small can come of
 * it that is not exact: weights are 0, 1 or shares of equal logits. */
static double huge_logits_kl(const double *a, double a_max, const double *b, double b_max, int64_t K)
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
    return kl < 0.01 ? off + 4 * kl : 4 * kl;
}

double kl_careful(const kl_divergence *f, int32_t domain, const double *p, const double *q, int64_t K)
{
    if (!memcmp(p, q, (size_t)K * sizeof *p)) return 0; /* the common case, at little cost */
    if (apart(f, domain, p, q, K)) return INFINITY;
    if (kl_rows_same(domain, p, q, K)) return 0;
    const pair s = domain == KL_LOGITS ? pair_of_logits(p, q, K) : pair_of_weights(domain, p, q, K);
    double sum = 0;
    if (s.wide && f->kind == KL_KL) sum = huge_logits_kl(p, p[s.r], q, s.b_max, K);
    else {
        dd total = {0, 0};
        for (int64_t k = 0; k < K; k++) {
            const double term = term_of(f, bin_of(&s, k), domain == KL_LOGITS);
            if (term == INFINITY) total.high = INFINITY;
            if (isfinite(term) && total.high < INFINITY) total = dd_add(total, term);
        }
        sum = f->kind == KL_ITAKURA_SAITO ? total.high : total.high / scale_of(&s);
    }
    if (f->finish == KL_LOG && (f->scale * sum < -0.5 || sum == INFINITY))
        return f->factor * log_overlap(&s, f->number);
    const double value = kl_finished(f, sum);
    return value > 0 ? value : 0x1p-1074; /* different, yet closer than the least double */
}

void kl_contributions(const kl_divergence *f, int32_t domain, const double *p, const double *q, int64_t K, double *out)
{
    if (kl_rows_same(domain, p, q, K)) {
        memset(out, 0, (size_t)K * sizeof *out);
        return;
    }
    const pair s = domain == KL_LOGITS ? pair_of_logits(p, q, K) : pair_of_weights(domain, p, q, K);
    const double scale = f->kind == KL_ITAKURA_SAITO ? 1 : scale_of(&s);
    for (int64_t k = 0; k < K; k++) {
        out[k] = term_of(f, bin_of(&s, k), domain == KL_LOGITS) / scale;
    }
}
