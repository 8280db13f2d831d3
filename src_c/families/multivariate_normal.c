/* MultivariateNormal: loc, scale_tril. With E = L_q^-1 (L_p - L_q) and u = L_q^-1 (m_p - m_q),
 *     KL = sum_k psi(L_p,kk / L_q,kk) + |E|^2/2 + |u|^2/2:
 * no covariance is formed, no determinant, and near rows give small E and u.
 *
 * Features in the coordinates L_c^-1 (x - m_c), where the centre is standard: M = L_c^-1 L, u = L_c^-1 (m - m_c),
 *     mean    u,              A = u u^T + M M^T - I
 *     natural M^-T M^-1 u,    B = I - M^-T M^-1
 * and x . y has A_ii B_ii / 2 + sum over i > j of A_ij B_ij.
 */
#include "triangular.h"

#define SQRT_HALF 0.7071067811865475244

static int64_t dimension(int64_t K) { return kl_dimension(K, 1, 0); }

static int32_t check(const double *row, int64_t K, int64_t *where)
{
    const int64_t d = dimension(K);
    for (int64_t i = 0; i < d; i++) {
        const int32_t status = kl_check_finite(row[i]);
        if (status) {
            *where = i;
            return status;
        }
    }
    const int32_t status = kl_check_triangle(row + d, d, where);
    if (status) *where += d;
    return status;
}

static double direct(const double *p, const double *q, int64_t K, double *scratch)
{
    const int64_t d = dimension(K), n = kl_triangle(d);
    const double *Lp = p + d, *Lq = q + d;
    double *E = scratch, *u = scratch + n;
    kl_triangle_ratio(Lq, Lp, 0, d, E);
    kl_triangle_solve(Lq, p, q, d, u);
    const double value = kl_psi_diagonals(Lp, Lq, d) + 0.5 * (kl_norm2(E, n) + kl_norm2(u, d));
    return kl_settled(kl_or_infinite(value), p, q, K);
}

/* KL(N(0, A A^T) || N(0, N N^T)), gap = A - N, N lower triangles by rows; ratios: A_kk, or NULL for ones. */
static double to_mixture(const double *ratios, const double *gap, const double *N, int64_t d, double *E)
{
    kl_total psi = {0, 0};
    for (int64_t i = 0; i < d; i++) {
        const double *n = kl_row_of(N, i), *g = kl_row_of(gap, i);
        double *e = E + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) e[j] = g[j];
        for (int64_t k = 0; k < i; k++)
            for (int64_t j = 0; j <= k; j++) e[j] -= n[k] * kl_row_of(E, k)[j];
        for (int64_t j = 0; j <= i; j++) e[j] /= n[i];
        kl_total_add(&psi, kl_psi(g[i], ratios ? ratios[i] : 1, n[i]));
    }
    return kl_total_value(psi) + 0.5 * kl_norm2(E, kl_triangle(d));
}

/* In the coordinates L_q^-1 x, with N N^T = t Sigma_p + s I, N = I + F, and L_p = I + E, F of the accuracy of E:
 *     s t |N^-1 u|^2/2 + t KL(N(0, Sigma_p) || N(0, N N^T)) + s KL(N(0, I) || N(0, N N^T)). */
static double chernoff(const double *p, const double *q, double s, double t, int64_t K, double *scratch)
{
    const int64_t d = dimension(K), n = kl_triangle(d);
    double *E = scratch, *N = E + n, *gap = N + n, *out = gap + n, *u = out + n, *ratios = u + d;
    kl_triangle_ratio(q + d, p + d, 0, d, E);
    kl_gram_less_one(E, d, N);
    for (int64_t k = 0; k < n; k++) N[k] *= t;
    if (!kl_cholesky_less_one(N, d)) return INFINITY; /* beyond the range of double */
    for (int64_t k = 0; k < n; k++) gap[k] = E[k] - N[k], E[k] = -N[k];
    for (int64_t i = 0; i < d; i++) {
        N[i * (i + 1) / 2 + i] += 1;
        ratios[i] = kl_row_of(p + d, i)[i] / kl_row_of(q + d, i)[i];
    }
    double value = t * to_mixture(ratios, gap, N, d, out) + s * to_mixture(0, E, N, d, out);
    kl_triangle_solve(q + d, p, q, d, u);
    for (int64_t i = 0; i < d; i++) {
        for (int64_t k = 0; k < i; k++) u[i] -= kl_row_of(N, i)[k] * u[k];
        u[i] /= kl_row_of(N, i)[i];
    }
    value += 0.5 * s * t * kl_norm2(u, d);
    return kl_settled(kl_or_infinite(value), p, q, K);
}

static double entropy(const double *row, int64_t K, double *scratch)
{
    const int64_t d = dimension(K);
    double sum = 0;
    KL_UNUSED(scratch);
    for (int64_t i = 0; i < d; i++) sum += log(kl_row_of(row + d, i)[i]);
    return (double)d * (KL_HALF_LOG_2PI + 0.5) + sum;
}

static int64_t width(int64_t K) { return K; }
static int64_t scratch_size(int64_t K) { return 4 * K; }
static int64_t sums_size(int64_t K) { return dimension(K) + 2 * kl_triangle(dimension(K)); }

/* Sums: of the locations' differences, of the covariances, of the differences' outer products. */
static void accumulate(const double *row, const double *first, int64_t K, double *sums)
{
    const int64_t d = dimension(K), n = kl_triangle(d);
    kl_add_gram(sums + d, row + d, 1, d);
    for (int64_t i = 0; i < d; i++) {
        sums[i] += row[i] - first[i];
        for (int64_t j = 0; j <= i; j++)
            sums[d + n + i * (i + 1) / 2 + j] += (row[i] - first[i]) * (row[j] - first[j]);
    }
}

/* The normal distribution with the moments of the mixture of the rows. */
static void finish(double *sums, double n, const double *first, int64_t K, double *center)
{
    const int64_t d = dimension(K), m = kl_triangle(d);
    double *within = sums + d, *between = within + m, *L = center + d;
    for (int64_t i = 0, k = 0; i < d; i++) {
        center[i] = first[i] + sums[i] / n;
        for (int64_t j = 0; j <= i; j++, k++)
            L[k] = within[k] / n + (between[k] / n - (sums[i] / n) * (sums[j] / n));
    }
    if (kl_cholesky(L, d)) return;
    for (int64_t k = 0; k < m; k++) L[k] = within[k] / n; /* rounding of the second part: leave it out */
    if (kl_cholesky(L, d)) return;
    for (int64_t k = 0; k < m; k++) L[k] = first[d + k];
}

/* From the parts of a row's features to its numbers. The errors of F and u are their last roundings; to these come the
 * features' own: chains of d/4 + 4 roundings for inner products, of d for N^T u, 3 elsewhere. The
 * certificate allows features 16 u of the norm that is given here. */
static kl_feature_row row_numbers(const double *parts, int64_t d, double psi, double features2)
{
    const int64_t n = kl_triangle(d);
    const double *F = parts, *u = F + n;
    const double F2 = kl_norm2(F, n), u2 = kl_norm2(u, d), f = sqrt(F2), v = sqrt(u2);
    const double offset = psi + 0.5 * (F2 + u2);
    const double first = v + (double)(d + 5) * v * f;
    const double second = (double)(d / 4 + 9) * F2 + 5 * u2 + 10 * f;
    const double norm = fmax(sqrt(features2), 1.01 * hypot(first, second) / 16);
    return (kl_feature_row){offset, offset, norm * norm};
}

static void weigh_diagonal(double *A, int64_t d)
{
    for (int64_t i = 0; i < d; i++) A[i * (i + 1) / 2 + i] *= SQRT_HALF;
}

static kl_feature_row mean(const double *row, const double *center, int64_t K, double *x, double *scratch)
{
    const int64_t d = dimension(K), n = kl_triangle(d);
    double *F = scratch, *u = F + n, *low = u + d;
    kl_triangle_ratio_twofold(center + d, row + d, d, F, low);
    kl_triangle_solve_twofold(center + d, row, center, d, u, low + n);
    kl_gram_less_one(F, d, x + d);
    for (int64_t i = 0; i < d; i++) {
        x[i] = u[i];
        for (int64_t j = 0; j <= i; j++) x[d + i * (i + 1) / 2 + j] += u[i] * u[j];
    }
    weigh_diagonal(x + d, d);
    const double psi = kl_psi_diagonals(row + d, center + d, d);
    return kl_settled_features(row_numbers(scratch, d, psi, kl_norm2(x, K)), x, K);
}

static kl_feature_row natural(const double *row, const double *center, int64_t K, double *y, double *scratch)
{
    const int64_t d = dimension(K), n = kl_triangle(d);
    double *G = scratch, *w = G + n, *low = w + d;
    kl_triangle_ratio_twofold(row + d, center + d, d, G, low);
    kl_triangle_solve_twofold(row + d, row, center, d, w, low + n);
    kl_outer_less_one(G, d, y + d);
    for (int64_t k = 0; k < n; k++) y[d + k] = -y[d + k];
    for (int64_t i = 0; i < d; i++) {
        double s = w[i];
        for (int64_t k = i; k < d; k++) s += kl_row_of(G, k)[i] * w[k];
        y[i] = s;
    }
    weigh_diagonal(y + d, d);
    const double psi = kl_psi_diagonals(center + d, row + d, d);
    return kl_settled_features(row_numbers(scratch, d, psi, kl_norm2(y, K)), y, K);
}

const kl_family kl_multivariate_normal = {"multivariate_normal", check, direct, entropy, width, scratch_size, sums_size,
                                          accumulate, finish, mean, natural, chernoff, 0, KL_TERM_NONE, -1};
