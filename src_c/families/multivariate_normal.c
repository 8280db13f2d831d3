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

static double direct(const double *p, const double *q, int64_t K, kl_work work)
{
    const int64_t d = dimension(K);
    double *E = work.scratch; /* [u, E] */
    work.triangles->ratio(q + d, p + d, 0, p, q, d, E, E + kl_strided(d));
    const double value = kl_psi_diagonals(p + d, q + d, d) + 0.5 * work.triangles->norm2(E, d, 1);
    return kl_settled(kl_or_infinite(value), p, q, K);
}

/* KL(N(0, A A^T) || N(0, N N^T)), gap = A - N; ratios: A_kk, or NULL for ones. nothing: d zeros. */
static double to_mixture(const kl_triangles *by, const double *ratios, const double *gap, const double *N,
                         const double *nothing, int64_t d, double *E)
{
    kl_total psi = {0, 0};
    by->ratio(N, gap, nothing, 0, 0, d, E, 0);
    for (int64_t i = 0; i < d; i++)
        kl_total_add(&psi, kl_psi(kl_row_of(gap, i)[i], ratios ? ratios[i] : 1, kl_row_of(N, i)[i]));
    return kl_total_value(psi) + 0.5 * by->norm2(E, d, 1);
}

/* Where a pivot is the small rest of a row that is subtracted, Cholesky magnifies roundings by the squares' ratio.
 * From 4 on, rotations serve: of 400 pairs of conditions up to 1e6 the worst error is 1e-14, without them 7e-12. */
static int has_small_pivot(const double *F, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        const double *row = kl_row_of(F, i);
        if (kl_norm2(row, i) > 4 * (1 + row[i]) * (1 + row[i])) return 1;
    }
    return 0;
}

/* N with N N^T = t A A^T + s I, A = I + E, by rotating each column sqrt(s) e_j into sqrt(t) A: the roundings are
 * magnified by the root of that ratio. w: d numbers. */
static void rotated_factor(const double *E, double s, double t, int64_t d, double *N, double *w)
{
    for (int64_t i = 0, k = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++, k++) N[k] = sqrt(t) * (E[k] + (i == j));
    for (int64_t j = 0; j < d; j++) {
        for (int64_t i = j; i < d; i++) w[i] = i == j ? sqrt(s) : 0;
        for (int64_t i = j; i < d; i++) {
            double *pivot = N + i * (i + 1) / 2 + i;
            const double r = hypot(*pivot, w[i]), c = *pivot / r, z = w[i] / r;
            *pivot = r;
            for (int64_t k = i + 1; k < d; k++) {
                double *below = N + k * (k + 1) / 2 + i;
                const double x = *below;
                *below = c * x + z * w[k];
                w[k] = c * w[k] - z * x;
            }
        }
    }
}

/* F with (I + F)(I + F)^T = t Sigma_p + s I in the coordinates L_q^-1 x, where L_p = I + E, from Sigma_p - I in F: near
 * rows give a small F, of the accuracy of E. 0 if there is none (s > 1). */
static int mixture_factor(const double *E, double s, double t, int64_t d, double *F, double *w)
{
    for (int64_t k = 0; k < kl_triangle(d); k++) F[k] *= t;
    const int positive = kl_cholesky_less_one(F, d);
    if (s > 1 || (positive && !has_small_pivot(F, d))) return positive;
    rotated_factor(E, s, t, d, F, w);
    for (int64_t i = 0; i < d; i++) F[i * (i + 1) / 2 + i] -= 1;
    return 1;
}

/* With N = I + F,
 *     s t |N^-1 u|^2/2 + t KL(N(0, Sigma_p) || N(0, N N^T)) + s KL(N(0, I) || N(0, N N^T)),
 * and beyond order 1
 *     -s t |N^-1 u|^2/2 - t KL(N(0, Sigma_p) || N(0, I)) + KL(N(0, N N^T) || N(0, I)). */
static double scales_beyond(const double *p, const double *q, const double *E, const double *F, double t, int64_t d)
{
    const int64_t n = kl_triangle(d);
    kl_total psi = {0, 0};
    for (int64_t i = 0; i < d; i++) {
        const double f = kl_row_of(F, i)[i];
        kl_total_add(&psi, kl_psi(f, 1 + f, 1));
    }
    const double known = kl_psi_diagonals(p, q, d) + 0.5 * kl_norm2(E, n);
    return -t * known + (kl_total_value(psi) + 0.5 * kl_norm2(F, n));
}

static double chernoff(const double *p, const double *q, double s, double t, int64_t K, kl_work work)
{
    const int64_t d = dimension(K), n = kl_triangle(d), stride = kl_stride(d);
    double *whole = work.scratch, *low = whole + kl_strided(d), *space = low + kl_strided(d);
    double *E = space + kl_products_space(d), *N = E + n, *gap = N + n, *u = gap + n, *ratios = u + d;
    work.triangles->ratio(q + d, p + d, 0, p, q, d, whole, low);
    for (int64_t i = 0; i < d; i++) u[i] = whole[i * stride], whole[i * stride] = low[i * stride] = 0;
    kl_packed_triangle(whole, d, E);
    kl_gram(work.triangles, whole, low, d, space, N);
    if (!mixture_factor(E, s, t, d, N, ratios)) return INFINITY;
    double value = s > 1 ? scales_beyond(p + d, q + d, E, N, t, d) : 0;
    for (int64_t k = 0; k < n; k++) gap[k] = E[k] - N[k], E[k] = -N[k];
    for (int64_t i = 0; i < d; i++) {
        N[i * (i + 1) / 2 + i] += 1;
        ratios[i] = kl_row_of(p + d, i)[i] / kl_row_of(q + d, i)[i];
    }
    if (s < 1) {
        for (int64_t i = 0; i < d; i++) low[i] = 0;
        value = t * to_mixture(work.triangles, ratios, gap, N, low, d, whole);
        value += s * to_mixture(work.triangles, 0, E, N, low, d, whole);
    }
    for (int64_t i = 0; i < d; i++) {
        for (int64_t k = 0; k < i; k++) u[i] -= kl_row_of(N, i)[k] * u[k];
        u[i] /= kl_row_of(N, i)[i];
    }
    value += 0.5 * s * fabs(t) * kl_norm2(u, d);
    return kl_settled(kl_or_infinite(value), p, q, K);
}

static double entropy(const double *row, int64_t K, kl_work work)
{
    const int64_t d = dimension(K);
    double sum = 0;
    KL_UNUSED(work);
    for (int64_t i = 0; i < d; i++) sum += log(kl_row_of(row + d, i)[i]);
    return (double)d * (KL_HALF_LOG_2PI + 0.5) + sum;
}

static int64_t width(int64_t K) { return K; }
static int64_t scratch_size(int64_t K)
{
    const int64_t d = dimension(K);
    return 2 * kl_strided(d) + kl_products_space(d) + 4 * K;
}

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

static void weigh_diagonal(double *A, int64_t d)
{
    for (int64_t i = 0; i < d; i++) A[i * (i + 1) / 2 + i] *= SQRT_HALF;
}

/* Each feature has two roundings or three, of itself alone: what it is made of has twice the precision. */
static kl_feature_row features_of(const double *E, const double *L, const double *M, const double *features, int64_t K,
                                  kl_work work)
{
    const int64_t d = dimension(K);
    const double offset = kl_psi_diagonals(L, M, d) + 0.5 * work.triangles->norm2(E, d, 1);
    return (kl_feature_row){offset, offset, kl_norm2(features, K)};
}

static kl_feature_row mean(const double *row, const double *center, int64_t K, double *x, kl_work work)
{
    const int64_t d = dimension(K);
    double *F = work.scratch, *low = F + kl_strided(d); /* [u, F] */
    work.triangles->ratio(center + d, row + d, 0, row, center, d, F, low);
    kl_gram(work.triangles, F, low, d, low + kl_strided(d), x + d);
    for (int64_t i = 0; i < d; i++) x[i] = F[i * kl_stride(d)];
    weigh_diagonal(x + d, d);
    return kl_settled_features(features_of(F, row + d, center + d, x, K, work), x, K);
}

static kl_feature_row natural(const double *row, const double *center, int64_t K, double *y, kl_work work)
{
    const int64_t d = dimension(K);
    double *G = work.scratch, *low = G + kl_strided(d); /* [w, G] */
    work.triangles->ratio(row + d, center + d, 0, row, center, d, G, low);
    kl_outer(work.triangles, G, low, d, low + kl_strided(d), y, y + d);
    for (int64_t k = d; k < K; k++) y[k] = -y[k];
    weigh_diagonal(y + d, d);
    return kl_settled_features(features_of(G, center + d, row + d, y, K, work), y, K);
}

const kl_family kl_multivariate_normal = {"multivariate_normal", check, direct, entropy, width, scratch_size, sums_size,
                                          accumulate, finish, mean, natural, chernoff, 0, KL_TERM_NONE, -1};
