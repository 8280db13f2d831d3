/* Wishart: df n > d - 1, scale_tril L (V = L L^T). With M = L_q^-1 L_p, x_k = (n_q - k)/2, y_k = (n_p - k)/2,
 *     KL = sum_k [ x_k psi(y_k M_kk^2/x_k) + k/2 psi(M_kk^2) + B_h(x_k, y_k) ] + n_p/2 sum over i > j of M_ij^2,
 * h of gamma_terms.h: nonnegative terms throughout.
 *
 * Features in the coordinates C^-1 X C^-T, C C^T = n_c V_c, where the centre's mean is I. For large n the statistics
 * log|X| and X are nearly collinear, so T = (log|X| - tr X, X):
 *     mean     (sum_k gap of [digamma(n_k) - log n] - (tr m - d - log|m|),   m - I),   m = (n/n_c) F-matrix
 *     natural  ((n - n_c)/2,   (n - n_c)/2 I - n_c/2 (G + G^T + G^T G)),  G = L^-1 (L_c - L).
 */
#include "chernoff.h"
#include "gamma_terms.h"
#include "triangular.h"

static int64_t dimension(int64_t K) { return kl_dimension(K, 0, 1); }

static int32_t check(const double *row, int64_t K, int64_t *where)
{
    const int64_t d = dimension(K);
    *where = 0;
    int32_t status = kl_check_finite(row[0]);
    if (!status && !(row[0] > (double)(d - 1))) status = KL_PARAMETER_BELOW_DIMENSION;
    if (status) return status;
    status = kl_check_triangle(row + 1, d, where);
    if (status) *where += 1;
    return status;
}

/* y a^2/(x b^2) - 1, x = (n_q - k)/2, y = (n_p - k)/2: with e = (a - b)/b it is ((y - x) + y e (2 + e))/x, a sum that
 * nearly cancels for rows of one mean. So the products are formed exactly, as sums of two doubles. */
typedef struct { double high, low; } twofold;

static twofold product(twofold a, double b)
{
    const double high = a.high * b;
    return (twofold){high, fma(a.high, b, -high) + a.low * b};
}

static twofold square(double a) { return product((twofold){a, 0}, a); }

static double mean_gap(double nq, double np, int64_t k, double a, double b)
{
    const double r = a / b, y = np - (double)k, x = nq - (double)k;
    if (!(r > 0.5 && r < 2 && y < 4 * x && x < 4 * y)) return y / x * r * r - 1;
    int e;
    b = frexp(b, &e), a = ldexp(a, -e);
    const twofold left = product(square(a), y), right = product(square(b), x);
    const twofold left_low = product(square(a), kl_sum_error(np, -(double)k, y));
    const twofold right_low = product(square(b), kl_sum_error(nq, -(double)k, x));
    return ((left.high - right.high) + (left.low - right.low) + (left_low.high - right_low.high)) / right.high;
}

/* A function of (n_p - k)/2 and (n_q - k)/2 for k = 0, 1, ...: from its value two k before, where both arguments were
 * larger by 1, it is one step of the shift; of large arguments it is Stirling's series (gamma_terms.h). */
typedef double shifted(double d, double x, double y);
typedef struct { double of_even, of_odd; } values_before;

static inline double next_of(shifted *whole, shifted *step, double d, double x, double y, int64_t k, values_before *v)
{
    double *value = k % 2 ? &v->of_odd : &v->of_even;
    *value = k < 2 || fmin(x, y) >= KL_SHIFTED_TO ? whole(d, x, y) : *value + step(d, x, y);
    return *value;
}

/* The sum over k without the off-diagonal part. */
static double diagonal_terms(double np, double nq, const double *Lp, const double *Lq, int64_t d)
{
    kl_total sum = {0, 0};
    values_before h;
    for (int64_t k = 0; k < d; k++) {
        const double a = kl_row_of(Lp, k)[k], b = kl_row_of(Lq, k)[k];
        const double x = 0.5 * (nq - (double)k), y = 0.5 * (np - (double)k), t = mean_gap(nq, np, k, a, b);
        const double psi = kl_is_near(t) ? kl_psi_near(t) : t - (kl_log_quotient(y, x) + 2 * kl_log_quotient(a, b));
        kl_total_add(&sum, x * psi);
        kl_total_add(&sum, 0.5 * (double)k * kl_psi_square(a - b, a, b));
        kl_total_add(&sum, next_of(kl_bregman_h, kl_bregman_h_step, 0.5 * (nq - np), x, y, k, &h));
    }
    return kl_total_value(sum);
}

static double off_diagonal2(const double *E, int64_t d)
{
    kl_total sum = {0, 0};
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < i; j++) kl_total_add(&sum, kl_row_of(E, i)[j] * kl_row_of(E, i)[j]);
    return kl_total_value(sum);
}

static double direct(const double *p, const double *q, int64_t K, kl_work work)
{
    const int64_t d = dimension(K);
    double *E = work.scratch, *low = E + kl_strided(d), *scale = low + kl_strided(d);
    for (int64_t k = 0; k < d; k++) scale[k] = kl_row_of(p + 1, k)[k] / kl_row_of(q + 1, k)[k];
    /* Off the diagonal, M: a change of scale alone leaves 0 there. */
    work.triangles->ratio(q + 1, p + 1, scale, 0, 0, d, E, low);
    const double off2 = work.triangles->norm2(E, d, 0);
    const double value = diagonal_terms(p[0], q[0], p + 1, q + 1, d) + 0.5 * p[0] * off2;
    return kl_settled(kl_or_infinite(value), p, q, K);
}

/* KL(p||r) from Y = I + F = L_r^-1 L_p: the terms of `direct`, y = (n_p - k)/2, x = (n_r - k)/2, gap = n_r - n_p. Of
 * rows of one mean y Y_kk^2/x - 1 is rounded: sqrt(n) u of the value. */
static double to_member(double np, double gap, const double *F, int64_t d)
{
    kl_total sum = {0.5 * np * off_diagonal2(F, d), 0};
    values_before h;
    for (int64_t k = 0; k < d; k++) {
        const double f = kl_row_of(F, k)[k], square = f * (2 + f);
        const double y = 0.5 * (np - (double)k), x = y + 0.5 * gap, less = (y * square - 0.5 * gap) / x;
        kl_total_add(&sum, kl_is_near(less) ? x * kl_psi_near(less) : x * (less - log(y / x) - 2 * log1p(f)));
        kl_total_add(&sum, 0.5 * (double)k * (kl_is_near(square) ? kl_psi_near(square) : square - 2 * log1p(f)));
        kl_total_add(&sum, next_of(kl_bregman_h, kl_bregman_h_step, 0.5 * gap, x, y, k, &h));
    }
    return kl_total_value(sum);
}

/* r has n_r = s n_p + t n_q and V_r^-1 = s V_p^-1 + t V_q^-1: with L_q^-1 L_p = I + M and Y^T Y = I + t (M + M^T +
 * M^T M), its factor is L_p Y^-1. Beyond order 1 there may be no such r: then Y^T Y or n_r is out of bounds. Near rows:
 * C = |t KL(p||q) - KL(p||r)| as beyond order 1, which for s >= 1/2 cancels to a half; s KL(r||p) + t KL(r||q) would
 * have the rounding of r, n u^2. */
static double chernoff(const double *p, const double *q, double s, double t, int64_t K, kl_work work)
{
    if (s < 0.5) return chernoff(q, p, t, s, K, work);
    const int64_t d = dimension(K), n = kl_triangle(d);
    double *M = work.scratch, *low = M + kl_strided(d), *space = low + kl_strided(d);
    double *r = space + kl_products_space(d), *Y = r + K;
    const double gap = (p[0] - q[0]) / (p[0] - (double)(d - 1));
    if (s > 1 && !(kl_beyond(p[0], q[0], t).high > (double)(d - 1))) return INFINITY;
    work.triangles->ratio(q + 1, p + 1, 0, 0, 0, d, M, low);
    const int near = gap * gap < 0.01 && work.triangles->norm2(M, d, 1) < 0.01;
    kl_outer(work.triangles, M, low, d, space, 0, Y);
    for (int64_t k = 0; k < n; k++) Y[k] *= t;
    if (!kl_cholesky_reversed_less_one(Y, d)) return INFINITY; /* for s < 1: beyond the range of double */
    if (s > 1 || near) {
        const double whole = t * direct(p, q, K, work), part = to_member(p[0], -t * (p[0] - q[0]), Y, d);
        return kl_settled(kl_or_infinite(s > 1 ? part - whole : whole - part), p, q, K);
    }
    for (int64_t i = 0; i < d; i++) Y[i * (i + 1) / 2 + i] += 1;
    r[0] = s * p[0] + t * q[0];
    kl_triangle_divide(p + 1, Y, d, r + 1);
    return s * direct(r, p, K, work) + t * direct(r, q, K, work);
}

static double entropy(const double *row, int64_t K, kl_work work)
{
    const int64_t d = dimension(K);
    const double n = row[0], D = (double)d;
    double log_det = 0, log_norm = 0.25 * D * (D - 1) * log(KL_PI_F64), digammas = 0;
    KL_UNUSED(work);
    for (int64_t k = 0; k < d; k++) {
        log_det += log(kl_row_of(row + 1, k)[k]);
        log_norm += kl_log_gamma(0.5 * (n - (double)k));
        digammas += kl_digamma(0.5 * (n - (double)k));
    }
    return (D + 1) * (log_det + 0.5 * D * KL_LN2_F64) + log_norm + 0.5 * n * D - 0.5 * (n - D - 1) * digammas;
}

static int64_t width(int64_t K) { return K; }
static int64_t scratch_size(int64_t K)
{
    const int64_t d = dimension(K);
    return 2 * kl_strided(d) + kl_products_space(d) + 2 * K;
}

static int64_t sums_size(int64_t K) { return K; }

/* Sums: of n relative to the first, of the means n V. */
static void accumulate(const double *row, const double *first, int64_t K, double *sums)
{
    sums[0] += row[0] - first[0];
    kl_add_gram(sums + 1, row + 1, row[0], dimension(K));
}

static void finish(double *sums, double n, const double *first, int64_t K, double *center)
{
    const int64_t d = dimension(K);
    const double df = first[0] + sums[0] / n;
    for (int64_t k = 1; k < K; k++) center[k] = sums[k] / n / df;
    const int usable = df > (double)(d - 1) && kl_cholesky(center + 1, d);
    if (!usable)
        for (int64_t k = 1; k < K; k++) center[k] = first[k];
    center[0] = usable ? df : first[0];
}

/* ---- features -------------------------------------------------------------------------------------------------- */

/* The standard deviation of log|X| - tr X, about. */
static double log_scale(double n, int64_t d)
{
    double sum = 0;
    for (int64_t k = 0; k < d; k++)
        sum += kl_h_curvature(0.5 * (n - (double)k)) + 2 * (double)k / (n - (double)k) / n;
    return sqrt(sum + (double)d * (double)(d - 1) / n / n);
}

/* sum_k of the gaps between n and c of digamma((n - k)/2) - log n, each part of the sign of n - c. */
static double digamma_part(double n, double c, int64_t d)
{
    double sum = 0;
    values_before h;
    for (int64_t k = 0; k < d; k++) {
        const double z = n - (double)k, w = c - (double)k, ratio = (double)k * ((n - c) / w / n);
        sum += next_of(kl_h_slope_gap, kl_h_slope_step, 0.5 * (n - c), 0.5 * z, 0.5 * w, k, &h);
        sum += kl_is_near(ratio) ? log1p(ratio) : kl_log_quotient(z, w) - kl_log_quotient(n, c);
    }
    return sum;
}

/* The sum of squares of a row's features but the first, the diagonal's as if its parts had not cancelled, with which it
 * is rounded: x is their difference, gap one of them. */
static double magnitudes2(const double *x, double gap, double weight, int64_t d)
{
    double sum = kl_norm2(x, kl_triangle(d));
    for (int64_t i = 0; i < d; i++) {
        const double feature = kl_row_of(x, i)[i], size = fabs(feature) + 2 * weight / sqrt(2) * fabs(gap);
        sum += (size - feature) * (size + feature);
    }
    return sum;
}

static kl_feature_row mean(const double *row, const double *c, int64_t K, double *x, kl_work work)
{
    const int64_t d = dimension(K);
    double *F = work.scratch, *low = F + kl_strided(d);
    const double D = (double)d, s = row[0] / c[0], gap = (row[0] - c[0]) / c[0], weight = sqrt(c[0]);
    work.triangles->ratio(c + 1, row + 1, 0, 0, 0, d, F, low);
    kl_gram(work.triangles, F, low, d, low + kl_strided(d), x + 1);
    double divergence = 0; /* tr m - d - log|m| */
    for (int64_t i = 0; i < d; i++) {
        const double a = kl_row_of(row + 1, i)[i], b = kl_row_of(c + 1, i)[i];
        const double t = mean_gap(c[0], row[0], 0, a, b);
        divergence += kl_is_near(t) ? kl_psi_near(t) : t - kl_log_quotient(row[0], c[0]) - 2 * kl_log_quotient(a, b);
        for (int64_t j = 0; j < i; j++) x[1 + i * (i + 1) / 2 + j] *= s * weight;
        x[1 + i * (i + 1) / 2 + i] = (s * x[1 + i * (i + 1) / 2 + i] + gap) * weight / sqrt(2);
    }
    const double off2 = work.triangles->norm2(F, d, 0), all2 = work.triangles->norm2(F, d, 1);
    divergence += s * off2;
    const double digammas = digamma_part(row[0], c[0], d), scale = log_scale(c[0], d);
    const double magnitude = (3 * fabs(digammas) + (D + 3) / 4 * divergence) / scale;
    x[0] = (digammas - divergence) / scale;
    const double norm2 = magnitudes2(x + 1, gap, weight, d);
    const double offset = diagonal_terms(row[0], c[0], row + 1, c + 1, d) + 0.5 * row[0] * off2;
    const kl_feature_row out = {offset, 2 * offset + row[0] * all2 / 16, magnitude * magnitude + norm2};
    return kl_settled_features(out, x, K);
}

static kl_feature_row natural(const double *row, const double *c, int64_t K, double *y, kl_work work)
{
    const int64_t d = dimension(K);
    double *G = work.scratch, *low = G + kl_strided(d);
    const double gap = (row[0] - c[0]) / c[0], weight = sqrt(c[0]);
    work.triangles->ratio(row + 1, c + 1, 0, 0, 0, d, G, low);
    kl_outer(work.triangles, G, low, d, low + kl_strided(d), 0, y + 1);
    for (int64_t i = 0; i < d; i++) {
        for (int64_t j = 0; j < i; j++) y[1 + i * (i + 1) / 2 + j] *= -weight;
        y[1 + i * (i + 1) / 2 + i] = (gap - y[1 + i * (i + 1) / 2 + i]) * weight / sqrt(2);
    }
    y[0] = 0.5 * (row[0] - c[0]) * log_scale(c[0], d);
    const double off2 = work.triangles->norm2(G, d, 0), all2 = work.triangles->norm2(G, d, 1);
    const double norm2 = magnitudes2(y + 1, gap, weight, d);
    const double offset = diagonal_terms(c[0], row[0], c + 1, row + 1, d) + 0.5 * c[0] * off2;
    const kl_feature_row out = {offset, 2 * offset + c[0] * all2 / 16, y[0] * y[0] + norm2};
    return kl_settled_features(out, y, K);
}

const kl_family kl_wishart = {"wishart", check, direct, entropy, width, scratch_size, sums_size, accumulate, finish,
                              mean, natural, chernoff, 0, KL_TERM_NONE, -1};
