/* Dirichlet(alpha), and Beta as the Dirichlet over two components. T = log x_i, natural alpha, mean
 * digamma(alpha_i) - digamma(alpha_0), alpha_0 the sum.
 *
 * With B the Bregman divergence of log Gamma, KL = sum_i B(q_i, p_i) - B(q_0, p_0), where the last term nearly cancels
 * that of a dominant component, "top", and, for large alpha, the others too. Let N shift top to 4 or more, let s, t be
 * the sums of q and p over the rest, and f = log Gamma - (the part g of z log z - z at z + N). Then
 *     KL = (q_0 + N) KL_categorical(q + N at top || p + N at top) + sum over the rest of B_h(q_i, p_i)
 *        + B_f(q_top, p_top) - B_f(q_top + s, p_top + t)
 * by the chain rule of the categorical KL. The last difference is formed part by part (psi_gap, powers_gap), with an
 * error relative to the products of differences that it is made of, not to B_f itself.
 */
#include "gamma_terms.h"
#include "scalar.h"

/* A row of q and a row of p: top component, d = q - p and (q, p) there, and the same summed over the rest; for the
 * differences of products in categorical_part, sums in twice the precision. */
typedef struct {
    int64_t top;
    double d, q, p;
    double rest_d, rest_q, rest_p;
    kl_total sum_d, sum_p;
    int shift;
} split;

static split split_rows(const double *q, const double *p, int64_t K)
{
    split s = {.top = 0};
    for (int64_t i = 1; i < K; i++)
        if (p[i] > p[s.top]) s.top = i;
    kl_total d = {0, 0}, sum_q = {0, 0}, sum_p = {0, 0};
    for (int64_t i = 0; i < K; i++) {
        if (i == s.top) continue;
        kl_total_add(&d, q[i] - p[i]);
        kl_total_add(&sum_q, q[i]);
        kl_total_add(&sum_p, p[i]);
    }
    s.d = q[s.top] - p[s.top], s.q = q[s.top], s.p = p[s.top];
    s.rest_d = kl_total_value(d), s.rest_q = kl_total_value(sum_q), s.rest_p = kl_total_value(sum_p);
    s.sum_d = d, s.sum_p = sum_p;
    const double low = fmin(s.q, s.p);
    while (low + s.shift < KL_SHIFTED_TO) s.shift++;
    return s;
}

static double determinant(double a, kl_total b, double c, kl_total d)
{
    return kl_determinant(a, b.high, c, d.high) + (a * b.low - c * d.low);
}

/* (q_0 + N) KL_categorical of x = q, y = p, both with N added at top: with sums X and Y and r = x_i Y/(y_i X) - 1,
 * X sum_i (y_i/Y) g(1 + r_i, 1). The r_i come from differences, so that no normalising is undone. */
static double categorical_part(const split *s, const double *q, const double *p, int64_t K)
{
    const double N = s->shift, X = s->q + N + s->rest_q, Y = s->p + N + s->rest_p;
    kl_total sum = {0, 0}, D = s->sum_d, P = s->sum_p;
    kl_total_add(&D, s->d);
    kl_total_add(&P, s->p);
    kl_total_add(&P, N);
    for (int64_t i = 0; i < K; i++) {
        const int top = i == s->top;
        const double x = top ? q[i] + N : q[i], y = top ? p[i] + N : p[i], d = q[i] - p[i], xbar = x / X, ybar = y / Y;
        const int far = fabs(d) > 0.5 * y || fabs(D.high) > 0.5 * Y;
        const double r = (far ? x * Y - y * X
                          : top ? determinant(d, s->sum_p, y, s->sum_d)
                                : determinant(d, P, y, D)) / y / X;
        kl_total_add(&sum, kl_generalized(kl_is_near(r) ? r * ybar : xbar - ybar, xbar, ybar));
    }
    return X * kl_total_value(sum);
}

/* psi(x/y) - psi((x + s)/(y + t)) with d = x - y, e = s - t: with k = (d t - e y)/(y (x + s)) this is
 * k (d + e)/(y + t) + k - log(1 + k), and 1 + k = x (y + t)/(y (x + s)). Far apart, d t - e y = x t - s y. */
static double psi_gap(double d, double e, double x, double y, double s, double t)
{
    const double by_gaps = d * (t / y), by_sizes = x * (t / y);
    const int near = fabs(by_gaps) + fabs(e) <= by_sizes + s;
    const double k = (near ? by_gaps - e : by_sizes - s) / (x + s);
    if (fabs(k) > 0.5) return kl_psi(d, x, y) - kl_psi(d + e, x + s, y + t); /* the two are not near each other */
    return k * ((d + e) / (y + t)) + kl_psi(k, x / (x + s) * ((y + t) / y), 1);
}

/* kl_bregman_series at (x, y) less that at (x + s, y + t); of each quantity there is the value at the first, at the
 * second, and the difference of the two. */
typedef struct { double one, all, gap; } twin;

static twin twin_product(twin u, twin v)
{
    return (twin){u.one * v.one, u.all * v.all, u.gap * v.one + u.all * v.gap};
}

static twin twin_sum(twin u, twin v) { return (twin){u.one + v.one, u.all + v.all, u.gap + v.gap}; }

static double series_gap(double d, double e, double x, double y, double s, double t)
{
    const double a1 = 1 / x, a2 = 1 / (x + s), b1 = 1 / y, b2 = 1 / (y + t), last = KL_SHIFTED[KL_SHIFTED_TERMS - 1];
    const twin a = {a1, a2, s * a1 * a2}, b = {b1, b2, t * b1 * b2}, gap = {d, d + e, -e};
    const twin wx = twin_product(a, a), w1 = twin_sum(a, b), w2 = twin_product(b, twin_sum(w1, b));
    const twin w = twin_product(b, b), across = twin_product(twin_product(a, b), w1);
    twin f = {last, last, 0}, f1 = {0, 0, 0}, f2 = {0, 0, 0};
    for (int j = KL_SHIFTED_TERMS - 2; j >= 0; j--) {
        const twin c = {KL_SHIFTED[j], KL_SHIFTED[j], 0};
        f2 = twin_sum(twin_product(w, f2), twin_sum(twin_product(across, f1), twin_product(w2, f)));
        f1 = twin_sum(twin_product(wx, f1), twin_product(w1, f));
        f = twin_sum(twin_product(w, f), c);
    }
    const twin sizes = twin_product(twin_product(gap, a), twin_product(gap, b));
    return twin_product(sizes, twin_product(b, twin_sum(twin_product(a, f1), twin_sum(f, f2)))).gap;
}

static double top_gap(const split *s)
{
    double sum = 0;
    for (int n = 0; n <= s->shift; n++)
        sum += (n == s->shift ? 0.5 : 1) *
               psi_gap(s->d, s->rest_d, s->q + n, s->p + n, s->rest_q, s->rest_p);
    const double X = s->q + s->shift, Y = s->p + s->shift;
    return sum + series_gap(s->d, s->rest_d, X, Y, s->rest_q, s->rest_p);
}

static double dirichlet_value(const double *p, const double *q, int64_t K)
{
    if (K < 2) return 0;
    const split s = split_rows(q, p, K);
    kl_total sum = {categorical_part(&s, q, p, K), 0};
    for (int64_t i = 0; i < K; i++)
        if (i != s.top) kl_total_add(&sum, kl_bregman_h(q[i] - p[i], q[i], p[i]));
    const double value = kl_total_value(sum) + top_gap(&s);
    return kl_or_infinite(value);
}

static double dirichlet_direct(const double *p, const double *q, int64_t K, kl_work work)
{
    KL_UNUSED(work);
    return K < 2 ? 0.0 : kl_settled(dirichlet_value(p, q, K), p, q, K);
}

/* -t KL(p||q) + KL(p||r). The rounding of r, e, would be of first order in KL(p||r): e times the gap of the mean
 * parameters between r and p. */
static double beyond_value(const double *p, const double *q, double t, int64_t K, double *r)
{
    kl_total gap = {0, 0}, sum_r = {0, 0}, sum_p = {0, 0};
    double rounding = 0, rest = 0;
    for (int64_t i = 0; i < K; i++) {
        const kl_total at = kl_beyond(p[i], q[i], t);
        if (!(at.high > 0)) return INFINITY;
        r[i] = at.high;
        rounding += at.low;
        rest += at.low * kl_digamma_gap(-t * (p[i] - q[i]), r[i], p[i]);
        kl_total_add(&gap, -t * (p[i] - q[i]));
        kl_total_add(&sum_r, r[i]);
        kl_total_add(&sum_p, p[i]);
    }
    rest -= rounding * kl_digamma_gap(kl_total_value(gap), kl_total_value(sum_r), kl_total_value(sum_p));
    return kl_or_infinite(-t * dirichlet_value(p, q, K) + (dirichlet_value(p, r, K) + rest));
}

/* r: room for the member on the line. */
static double chernoff_value(const double *p, const double *q, double s, double t, int64_t K, double *r)
{
    double distance2 = 0;
    for (int64_t i = 0; i < K; i++) distance2 = fmax(distance2, (p[i] - q[i]) / p[i] * ((p[i] - q[i]) / p[i]));
    if (kl_chernoff_is_near(distance2, s, t))
        return kl_chernoff_near(dirichlet_value(p, q, K), dirichlet_value(q, p, K), s, t);
    if (s > 1) return beyond_value(p, q, t, K, r);
    for (int64_t i = 0; i < K; i++) r[i] = s * p[i] + t * q[i];
    return s * dirichlet_value(r, p, K) + t * dirichlet_value(r, q, K);
}

static double dirichlet_chernoff(const double *p, const double *q, double s, double t, int64_t K, kl_work work)
{
    return K < 2 ? 0.0 : kl_settled(chernoff_value(p, q, s, t, K, work.scratch), p, q, K);
}

static int32_t dirichlet_check(const double *row, int64_t K, int64_t *where)
{
    for (int64_t i = 0; i < K; i++) {
        const int32_t status = kl_check_positive(row[i]);
        if (status) {
            *where = i;
            return status;
        }
    }
    return KL_PARAMETER_OK;
}

static double row_sum(const double *row, int64_t K)
{
    kl_total sum = {0, 0};
    for (int64_t i = 0; i < K; i++) kl_total_add(&sum, row[i]);
    return kl_total_value(sum);
}

static double dirichlet_entropy(const double *row, int64_t K, kl_work work)
{
    const double total = row_sum(row, K);
    kl_total sum = {0, 0};
    KL_UNUSED(work);
    for (int64_t i = 0; i < K; i++) kl_total_add(&sum, kl_gamma_entropy(row[i]));
    return kl_total_value(sum) - kl_gamma_entropy(total) - (double)(K - 1) * kl_digamma(total);
}

/* ---- features ---------------------------------------------------------------------------------------------------
 * natural alpha_i - c_i = (alpha_i - alpha_0 c_i/c_0) + (alpha_0 - c_0) c_i/c_0: the second part, a change of the
 * concentration alone, is a feature of its own, because its mean counterpart is of second order,
 *     sum_i c_i/c_0 (gap of digamma_i) - gap of digamma_0
 *         = -KL_categorical(c || alpha) + sum_i c_i/c_0 (gap of h'_i) - gap of h'_0. */

static int64_t dirichlet_width(int64_t K) { return K + 1; }
static int64_t dirichlet_scratch(int64_t K) { return K; }
static int64_t dirichlet_sums(int64_t K) { return K + 2; }

/* Sums, of mean vectors m = alpha/alpha_0: m, |m - m_first|^2, sum m(1 - m)/(alpha_0 + 1). */
static void dirichlet_accumulate(const double *row, const double *first, int64_t K, double *sums)
{
    const double total = row_sum(row, K), total_first = row_sum(first, K);
    double between = 0, within = 0;
    for (int64_t i = 0; i < K; i++) {
        const double m = row[i] / total, gap = m - first[i] / total_first;
        sums[i] += gap;
        between += gap * gap;
        within += m * (1 - m) / (total + 1);
    }
    sums[K] += between;
    sums[K + 1] += within;
}

/* The mean of the mixture of the rows, and its total variance. */
static void dirichlet_finish(double *sums, double n, const double *first, int64_t K, double *center)
{
    const double total_first = row_sum(first, K);
    double spread = 0, between = sums[K] / n;
    for (int64_t i = 0; i < K; i++) {
        const double gap = sums[i] / n, m = first[i] / total_first + gap;
        center[i] = m > 0x1p-200 ? m : 0x1p-200;
        spread += center[i] * (1 - center[i]);
        between -= gap * gap;
    }
    const double total = spread / (sums[K + 1] / n + fmax(between, 0)) - 1;
    const double scale = total > 0x1p-20 * total_first && total < 0x1p500 ? total : total_first;
    for (int64_t i = 0; i < K; i++) center[i] *= scale;
}

/* Scale of the concentration's feature: the standard deviation of sum_i c_i/c_0 log x_i, about. */
static double concentration_scale(const double *c, double c0, int64_t K)
{
    double sum = 0;
    for (int64_t i = 0; i < K; i++) sum += (c[i] / c0) * (c[i] / c0) * kl_h_curvature(c[i]);
    return sqrt(sum);
}

static kl_feature_row dirichlet_mean(const double *row, const double *c, int64_t K, double *x, kl_work work)
{
    const double total = row_sum(row, K), c0 = row_sum(c, K), scale = concentration_scale(c, c0, K);
    kl_total gap = {0, 0}, g = {0, 0}, h = {0, 0}, h_size = {0, 0}, norm2 = {0, 0};
    KL_UNUSED(work);
    for (int64_t i = 0; i < K; i++) kl_total_add(&gap, row[i] - c[i]);
    const double total_gap = kl_total_value(gap), all_h = kl_h_slope_gap(total_gap, total, c0);
    const double all = kl_log_ratio(total_gap, total, c0) + all_h, factor = total / c0;
    for (int64_t i = 0; i < K; i++) {
        const double d = row[i] - c[i], hi = kl_h_slope_gap(d, row[i], c[i]), root = sqrt(kl_trigamma_about(c[i]));
        const double own = kl_log_ratio(d, row[i], c[i]) + hi, part = c[i] / c0 * hi;
        const double magnitude = (fabs(own) + fabs(all)) / root;
        x[i] = (own - all) / root;
        kl_total_add(&norm2, magnitude * magnitude);
        kl_total_add(&h, part);
        kl_total_add(&h_size, fabs(part));
        kl_total_add(&g, kl_generalized(fma(factor, c[i], -row[i]), factor * c[i], row[i]));
    }
    const double kl = kl_total_value(g) / total, size = kl + kl_total_value(h_size) + fabs(all_h);
    x[K] = (kl_total_value(h) - all_h - kl) / scale;
    kl_total_add(&norm2, size / scale * (size / scale));
    const double offset = dirichlet_value(row, c, K);
    return kl_settled_features((kl_feature_row){offset, offset, kl_total_value(norm2)}, x, K + 1);
}

static kl_feature_row dirichlet_natural(const double *row, const double *c, int64_t K, double *y, kl_work work)
{
    const double c0 = row_sum(c, K), scale = concentration_scale(c, c0, K);
    kl_total gap = {0, 0}, norm2 = {0, 0};
    KL_UNUSED(work);
    for (int64_t i = 0; i < K; i++) kl_total_add(&gap, row[i] - c[i]);
    const double total_gap = kl_total_value(gap), factor = total_gap / c0;
    for (int64_t i = 0; i < K; i++) {
        const double d = row[i] - c[i], part = factor * c[i], root = sqrt(kl_trigamma_about(c[i]));
        const double magnitude = (fabs(d) + fabs(part)) * root;
        y[i] = (d - part) * root;
        kl_total_add(&norm2, magnitude * magnitude);
    }
    y[K] = total_gap * scale;
    kl_total_add(&norm2, y[K] * y[K]);
    const double offset = dirichlet_value(c, row, K);
    return kl_settled_features((kl_feature_row){offset, offset, kl_total_value(norm2)}, y, K + 1);
}

const kl_family kl_dirichlet = {"dirichlet", dirichlet_check, dirichlet_direct, dirichlet_entropy, dirichlet_width,
                                dirichlet_scratch, dirichlet_sums, dirichlet_accumulate, dirichlet_finish,
                                dirichlet_mean, dirichlet_natural, dirichlet_chernoff, 0, KL_TERM_DIRICHLET, -1};

/* ---- Beta -------------------------------------------------------------------------------------------------------- */

static int32_t beta_check1(const double *t, int *where)
{
    const int32_t status = kl_check_positive(t[0]);
    *where = status ? 0 : 1;
    return status ? status : kl_check_positive(t[1]);
}

static double beta_direct1(const double *p, const double *q) { return dirichlet_value(p, q, 2); }
static double beta_chernoff1(const double *p, const double *q, double s, double t)
{
    double r[2];
    return chernoff_value(p, q, s, t, 2, r);
}
static double beta_entropy1(const double *t) { return dirichlet_entropy(t, 2, (kl_work){0, 0}); }
static void beta_sum1(const double *t, const double *first, double *sums) { dirichlet_accumulate(t, first, 2, sums); }
static void beta_center1(const double *sums, double n, const double *first, double *center)
{
    double copy[4] = {sums[0], sums[1], sums[2], sums[3]};
    dirichlet_finish(copy, n, first, 2, center);
}
static kl_feature_row beta_mean1(const double *t, const double *c, double *x)
{
    return dirichlet_mean(t, c, 2, x, (kl_work){0, 0});
}
static kl_feature_row beta_natural1(const double *t, const double *c, double *y)
{
    return dirichlet_natural(t, c, 2, y, (kl_work){0, 0});
}

KL_SCALAR_FAMILY_LINE(beta, 2, 3, 4, KL_TERM_BETA)
