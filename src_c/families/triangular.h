/* Lower triangles, stored by rows without the zeros: element (i, j), j <= i, at i(i + 1)/2 + j; and what kl_triangles
 * makes of them. */
#ifndef KL_TRIANGULAR_H
#define KL_TRIANGULAR_H

#include "terms.h"

static inline int64_t kl_triangle(int64_t d) { return d * (d + 1) / 2; }
static inline const double *kl_row_of(const double *L, int64_t i) { return L + i * (i + 1) / 2; }

/* d of d(d + 1)/2 + linear * d + constant = K, or -1. */
static inline int64_t kl_dimension(int64_t K, int64_t linear, int64_t constant)
{
    const double b = 0.5 + (double)linear;
    const int64_t d = (int64_t)floor(sqrt(b * b + 2.0 * (double)(K - constant)) - b + 0.5);
    return d >= 1 && kl_triangle(d) + linear * d + constant == K ? d : -1;
}

/* Whether all are finite. */
static inline int kl_all_finite(const double *x, int64_t n)
{
    double s[8] = {0}; /* 0, or NaN */
    int64_t k = 0;
    for (; k + 8 <= n; k += 8)
        for (int j = 0; j < 8; j++) s[j] += x[k + j] * 0;
    for (; k < n; k++) s[0] += x[k] * 0;
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])) == 0;
}

static inline int32_t kl_check_triangle(const double *L, int64_t d, int64_t *where)
{
    int sound = kl_all_finite(L, kl_triangle(d));
    for (int64_t i = 0; i < d; i++) sound &= kl_row_of(L, i)[i] > 0;
    for (int64_t i = 0, k = 0; i < d && !sound; i++)
        for (int64_t j = 0; j <= i; j++, k++) {
            const int32_t status = j == i ? kl_check_positive(L[k]) : kl_check_finite(L[k]);
            if (status) {
                *where = k;
                return status;
            }
        }
    return KL_PARAMETER_OK;
}

/* The sum of squares. */
static inline double kl_norm2(const double *x, int64_t n)
{
    kl_total sum = {0, 0};
    int64_t k = 0;
    while (k < n) {
        double s[8] = {0};
        for (const int64_t end = n - k < 64 ? n : k + 64; k + 8 <= end; k += 8)
            for (int j = 0; j < 8; j++) s[j] += x[k + j] * x[k + j];
        for (int j = 0; n - k < 8 && k < n; j++, k++) s[j] += x[k] * x[k];
        kl_total_add(&sum, ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7])));
    }
    return kl_total_value(sum);
}

/* ---- results of kl_triangles: d rows of kl_stride(d) numbers ---- */

/* Doubles of one, with a row more (its transpose has), and of the space that kl_gram and kl_outer take. */
static inline int64_t kl_strided(int64_t d) { return (d + 1) * kl_stride(d); }
static inline int64_t kl_products_space(int64_t d) { return 2 * kl_strided(d) + 2 * kl_stride(d); }

/* By rows without zeros. */
static inline void kl_packed_triangle(const double *E, int64_t d, double *out)
{
    for (int64_t i = 0, k = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++, k++) out[k] = E[i * kl_stride(d) + 1 + j];
}

/* Row i from column `first` on, the diagonal doubled: to which products are added. */
static inline void kl_own_part(const double *E, int64_t i, int64_t first, int64_t d, double *row)
{
    const double *e = E + i * kl_stride(d);
    for (int64_t j = first; j < i + 2; j++) row[j - first] = j == i + 1 ? 2 * e[j] : e[j];
    for (int64_t j = i + 2 - first; j < kl_stride(d); j++) row[j] = 0;
}

/* u u^T + F + F^T + F F^T (lower triangle, by rows without zeros) of [u, F] = E + low: the covariance (I + F)(I + F)^T
 * less I, and what u adds. Rounded once. */
static inline void kl_gram(const kl_triangles *by, const double *E, const double *low, int64_t d, double *space,
                           double *out)
{
    const int64_t stride = kl_stride(d);
    double *T = space, *T_low = T + kl_strided(d), *row = T_low + kl_strided(d), *row_low = row + stride;
    for (int64_t j = 0; j <= d; j++)
        for (int64_t i = 0; i < stride; i++) {
            T[j * stride + i] = i < d ? E[i * stride + j] : 0;
            T_low[j * stride + i] = i < d ? low[i * stride + j] : 0;
        }
    for (int64_t i = 0, k = 0; i < d; i++) {
        kl_own_part(E, i, 1, d, row);
        kl_own_part(low, i, 1, d, row_low);
        by->add_products(T, T_low, stride, i, 0, i + 2, 1, i + 1, row, row_low);
        for (int64_t j = 0; j <= i; j++, k++) out[k] = row[j];
    }
}

/* G + G^T + G^T G of [w, G] = E + low: the precision (I + G)^T (I + G) less I. column, if not NULL: w + G^T w. */
static inline void kl_outer(const kl_triangles *by, const double *E, const double *low, int64_t d, double *space,
                            double *column, double *out)
{
    const int64_t stride = kl_stride(d);
    double *row = space, *row_low = row + stride;
    for (int64_t i = 0, k = 0; i < d; i++) {
        kl_own_part(E, i, 0, d, row);
        kl_own_part(low, i, 0, d, row_low);
        by->add_products(E, low, stride, i + 1, i, d, 0, i + 2, row, row_low);
        if (column) column[i] = row[0];
        for (int64_t j = 0; j <= i; j++, k++) out[k] = row[1 + j];
    }
}

/* In four lanes. */
static inline double kl_row_dot(const double *a, const double *b, int64_t n)
{
    double s[4] = {0};
    int64_t k = 0;
    for (; k + 4 <= n; k += 4)
        for (int j = 0; j < 4; j++) s[j] += a[k + j] * b[k + j];
    for (int j = 0; k < n; j++, k++) s[j] += a[k] * b[k];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* In place, the Cholesky factor of a symmetric matrix given by its lower triangle; 0 if it is not positive. */
static inline int kl_cholesky(double *S, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        double *row = S + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) {
            const double *other = kl_row_of(S, j);
            const double s = row[j] - kl_row_dot(row, other, j);
            if (j < i) row[j] = s / other[j];
            else if (s > 0 && s <= DBL_MAX) row[j] = sqrt(s);
            else return 0;
        }
    }
    return 1;
}

/* S += scale * L L^T (lower triangle). */
static inline void kl_add_gram(double *S, const double *L, double scale, int64_t d)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double *a = kl_row_of(L, i), *b = kl_row_of(L, j);
            S[i * (i + 1) / 2 + j] += scale * kl_row_dot(a, b, j + 1);
        }
}

/* In place, from the lower triangle of a symmetric X, F with (I + F)(I + F)^T = I + X: a Cholesky factor less I, with
 * the relative accuracy of X. 0 if I + X is not positive. */
static inline int kl_cholesky_less_one(double *X, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        double *row = X + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) {
            const double *other = kl_row_of(X, j);
            const double s = row[j] - kl_row_dot(row, other, j);
            if (j < i) row[j] = s / (1 + other[j]);
            else if (s > -1 && s <= DBL_MAX) row[j] = s / (1 + sqrt(1 + s));
            else return 0;
        }
    }
    return 1;
}

/* In place, from X, F with (I + F)^T (I + F) = I + X, of the relative accuracy of X; 0 if I + X is not positive. */
static inline int kl_cholesky_reversed_less_one(double *X, int64_t d)
{
    for (int64_t i = d - 1; i >= 0; i--) {
        double *row = X + i * (i + 1) / 2;
        for (int64_t j = i; j >= 0; j--) {
            double s = row[j];
            for (int64_t k = i + 1; k < d; k++) s -= kl_row_of(X, k)[i] * kl_row_of(X, k)[j];
            if (j < i) row[j] = s / (1 + row[i]);
            else if (s > -1 && s <= DBL_MAX) row[j] = s / (1 + sqrt(1 + s));
            else return 0;
        }
    }
    return 1;
}

/* A Y^-1. */
static inline void kl_triangle_divide(const double *A, const double *Y, int64_t d, double *out)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = i; j >= 0; j--) {
            double s = kl_row_of(A, i)[j];
            for (int64_t k = j + 1; k <= i; k++) s -= kl_row_of(out, i)[k] * kl_row_of(Y, k)[j];
            out[i * (i + 1) / 2 + j] = s / kl_row_of(Y, j)[j];
        }
}

/* Sum of psi(L_kk/M_kk). */
static inline double kl_psi_diagonals(const double *L, const double *M, int64_t d)
{
    kl_total s = {0, 0};
    for (int64_t k = 0; k < d; k++) {
        const double a = kl_row_of(L, k)[k], b = kl_row_of(M, k)[k];
        kl_total_add(&s, kl_psi(a - b, a, b));
    }
    return kl_total_value(s);
}

#endif
