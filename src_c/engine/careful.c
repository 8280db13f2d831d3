/* Divergences where the fast direct kernels lose digits: rows equal up to rounding (values below 1e-30), weights whose
 * sums lie near the ends of the exponent range, terms that overflow. Scalar, with double-double sums; rare.
 */
#include <math.h>
#include <string.h>

#include "../klfast.h"

#define LN2_HIGH 0x1.62e42feep-1 /* 32 bits: n * LN2_HIGH is exact */
#define LN2_LOW 0x1.a39ef35793c76p-33

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

/* e^(x.high + x.low) */
static double dd_exp(dd x)
{
    const double e = exp(x.high);
    return isfinite(e) ? e * (1 + x.low) : e;
}

static dd dd_scale(dd x, double f)
{
    const double high = x.high * f;
    return (dd){high, fma(x.high, f, -high) + x.low * f};
}

/* ---- bins: both weights, their difference and the logarithms ------------------------------------------------ */

typedef struct {
    double p, q, d;
    dd log;   /* of p/q; NaN where both are empty, infinite where one is */
    dd log_p; /* of the normalised p: where weights under- or overflow and what comes of them does not */
} bin;

typedef struct {
    int32_t domain;
    const double *p, *q;
    int64_t K, r;             /* r: where p is largest */
    int ep, eq;               /* weights: exponents of the largest */
    dd sp, sq, c, zero;       /* weights: sums, c = sq / sp; logits: zero = a_r - b_r */
    double shift, b_max, sa, sb; /* logits: log(p/q) is delta - zero + shift */
    int wide;                 /* logits: differences may overflow */
} pair;

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

/* With delta = a - b, exact up to a shift, and x = delta - delta_r,  log(p/q) = x + log(sum p e^-x): every logarithm
 * keeps the relative accuracy of the largest |x|, however small that is. */
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
    const double b_r = b[s.r] == -INFINITY ? s.b_max : b[s.r];
    s.zero = two_sum(a[s.r], -b_r);
    dd excess = {0, 0}; /* sum p e^-x - 1 */
    for (int64_t k = 0; k < K; k++) {
        const double weight = exp(a[k] - a[s.r]) / s.sa, other = exp(b[k] - b_r) / s.sa; /* p e^-x */
        dd d = two_sum(a[k], -b[k]);
        const double x = (d.high - s.zero.high) + (d.low - s.zero.low);
        excess = dd_add(excess, fabs(x) < 1 ? weight * expm1(-x) : other - weight); /* NaN, infinite: a mask */
    }
    const double whole = (s.b_max - b_r) + log(s.sb / s.sa);
    s.shift = fabs(excess.high) < 0.1 ? log1p(excess.high) : whole;
    return s;
}

/* log(c * 2^e * p/q) for any positive doubles: mantissas and exponents apart. */
static dd log_quotient(double c, int e, double p, double q)
{
    int ep, eq;
    const double mantissas = c * frexp(p, &ep) / frexp(q, &eq), n = ep - eq + e;
    const dd sum = two_sum(n * LN2_HIGH, log(mantissas));
    return two_sum(sum.high, sum.low + n * LN2_LOW);
}

/* 2 atanh(v): nearly equal weights. */
static dd log_near(double v) { return (dd){2 * v * (1 + v * v * (1.0 / 3 + v * v / 5)), 0}; }

static bin bin_of_weights(const pair *s, int64_t k)
{
    const double p = s->p[k], q = s->q[k], pk = ldexp(p, -s->ep), qk = ldexp(q, -s->eq);
    const double high = s->c.high * pk, low = fma(s->c.high, pk, -high) + s->c.low * pk;
    bin b = {.p = high, .q = qk, .d = (high - qk) + low, .log = {NAN, 0}, .log_p = {-INFINITY, 0}};
    if (p > 0) b.log_p = log_quotient(1 / s->sp.high, -s->ep, p, 1);
    if (p > 0 && q > 0) {
        const double v = b.d / (b.p + b.q);
        b.log = fabs(v) < 1e-3 ? log_near(v) : log_quotient(s->c.high, s->eq - s->ep, p, q);
    } else if (p > 0 || q > 0) b.log.high = p > 0 ? INFINITY : -INFINITY;
    return b;
}

static bin bin_of_logits(const pair *s, int64_t k)
{
    const double a = s->p[k], b = s->q[k], exponent = a - s->p[s->r];
    bin out = {.log_p = two_sum(exponent, -log(s->sa)), .p = exp(exponent) / s->sa, .q = exp(b - s->b_max) / s->sb};
    out.d = out.p - out.q;
    if (a == -INFINITY || b == -INFINITY) {
        out.log.high = a == b ? NAN : b == -INFINITY ? INFINITY : -INFINITY;
        if (a == -INFINITY) out.log_p = (dd){-INFINITY, 0};
    } else if (s->wide) out.log.high = exponent - (b - s->b_max) + log(s->sb / s->sa);
    else {
        const dd d = two_sum(a, -b), x = two_sum(d.high, -s->zero.high), log = two_sum(x.high, s->shift);
        out.log = two_sum(log.high, log.low + (x.low + (d.low - s->zero.low)));
        if (fabs(out.log.high) < 1) {
            out.q = out.p * exp(-out.log.high);
            out.d = -out.p * expm1(-out.log.high);
        }
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

#define FAINT 0x1p-1015 /* weights whose products with large numbers are taken from their logarithms */

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

/* p f for a p that may underflow, on the scale of the bins. */
static double times(const pair *s, bin b, double f)
{
    if (b.p >= FAINT || !isfinite(b.log_p.high)) return b.p * f;
    const double half = exp(b.log_p.high / 2);
    return half * f * half * (s->domain == KL_LOGITS ? 1 : scale_of(s));
}

/* p e^x, by the sum of the logarithms where either factor leaves the range. */
static double times_exp(const pair *s, bin b, dd x)
{
    if (b.p >= FAINT && x.high < 700) return b.p * dd_exp(x);
    dd sum = two_sum(b.log_p.high, x.high);
    sum = two_sum(sum.high, sum.low + b.log_p.low + x.low);
    return dd_exp(sum) * scale_of(s);
}

static double power_term(const pair *pair, const kl_divergence *f, bin b)
{
    const double s = f->number, t = f->rest;
    if (b.log.high == -INFINITY) return b.q / s;
    if (b.log.high == INFINITY) return t > 0 ? b.p / t : INFINITY;
    const dd x = dd_scale(b.log, -t);
    if (s == 2 && b.q >= FAINT && fabs(b.d) < 0x1p500) return 0.5 * b.d * (b.d / b.q);
    if (fabs(x.high) > 1) return (s * b.p + t * b.q - times_exp(pair, b, x)) / (s * t);
    const double first = b.p >= FAINT ? g(b.p, b.q, b.d, b.log.high) : times(pair, b, b.log.high - 1) + b.q;
    return (first - times(pair, b, gamma_of(x.high) / t)) / s;
}

static double mixed(double p, double m, double d) { return g(p, m, d, p > 0 && m > 0 ? log(p / m) : 0); }

static double term_of(const pair *s, const kl_divergence *f, bin b)
{
    const double w = f->number, p = b.p, q = b.q, log = b.log.high;
    if (isnan(log)) return 0;
    switch (f->kind) {
    case KL_KL: return p < FAINT && isfinite(log) ? times(s, b, log - 1) + q : g(p, q, b.d, log);
    case KL_JEFFREYS: return p < FAINT && isfinite(log) ? times(s, b, log) - q * log : b.d * log;
    case KL_POWER: return power_term(s, f, b);
    case KL_ITAKURA_SAITO:
        if (!isfinite(log)) return INFINITY;
        return fabs(log) < 0.5 ? gamma_of(log) : dd_exp(b.log) - 1 - log;
    case KL_SKEW_JS: {
        const double m = w * p + (1 - w) * q;
        return w * mixed(p, m, (1 - w) * b.d) + (1 - w) * mixed(q, m, -w * b.d);
    }
    case KL_SKEW_KL: return mixed(p, (1 - w) * p + w * q, w * b.d);
    case KL_TRIANGULAR: return p + q > 0 ? b.d * (b.d / (p + q)) : 0;
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
        if ((rule == KL_SUPPORT_WITHIN || rule == KL_SUPPORT_EQUAL) && no_q && !no_p) return 1;
        if (rule == KL_SUPPORT_EQUAL && no_p && !no_q) return 1;
        overlap |= !no_p && !no_q;
    }
    return f->finish == KL_LOG && !overlap;
}

/* log of sum p^s q^t with its largest term in front, for Renyi's and its like where they are large. */
static double log_overlap(const pair *pair, double t)
{
    double most = -INFINITY, sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t k = 0; k < pair->K; k++) {
            const bin b = bin_of(pair, k);
            if (!isfinite(b.log.high) || !isfinite(b.log_p.high)) continue;
            const double x = b.log_p.high - t * b.log.high;
            if (pass) sum += exp(x - most);
            else if (x > most) most = x;
        }
    return most + log(sum);
}

/* First order: half of the sum of |d|, d adding up to 0. Where the small differences of large bins drown in their
 * roundings, one sign has them alone and the other is exact. */
static double variation(const pair *s)
{
    dd positive = {0, 0}, negative = {0, 0};
    for (int64_t k = 0; k < s->K; k++) {
        const bin b = bin_of(s, k);
        if (fabs(b.d) <= 0x1p-98 * b.p && isfinite(b.log.high) && s->domain != KL_LOGITS) continue;
        if (b.d > 0) positive = dd_add(positive, b.d);
        else negative = dd_add(negative, -b.d);
    }
    return positive.high > negative.high ? positive.high : negative.high;
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
    else if (f->kind == KL_VARIATION) sum = variation(&s) / scale_of(&s);
    else {
        dd total = {0, 0};
        for (int64_t k = 0; k < K; k++) {
            const double term = term_of(&s, f, bin_of(&s, k));
            if (term == INFINITY) total.high = INFINITY;
            if (isfinite(term) && total.high < INFINITY) total = dd_add(total, term);
        }
        sum = f->kind == KL_ITAKURA_SAITO ? total.high : total.high / scale_of(&s);
    }
    if (f->finish == KL_LOG && (f->scale * sum < -0.5 || sum == INFINITY))
        return f->factor * log_overlap(&s, f->rest);
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
    for (int64_t k = 0; k < K; k++) out[k] = term_of(&s, f, bin_of(&s, k)) / scale;
}
