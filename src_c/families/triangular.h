/* Lower triangles, stored by rows without the zeros: element (i, j), j <= i, at i(i + 1)/2 + j. */
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

static inline int32_t kl_check_triangle(const double *L, int64_t d, int64_t *where)
{
    for (int64_t i = 0, k = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++, k++) {
            const int32_t status = j == i ? kl_check_positive(L[k]) : kl_check_finite(L[k]);
            if (status) {
                *where = k;
                return status;
            }
        }
    return KL_PARAMETER_OK;
}

/* E = L^-1 (A - L diag(s)), by rows: E has the relative accuracy of A - L diag(s), where L^-1 A - diag(s) has not.
 * scale: s, or NULL for ones. */
static inline void kl_triangle_ratio(const double *L, const double *A, const double *scale, int64_t d, double *E)
{
    for (int64_t i = 0; i < d; i++) {
        const double *l = kl_row_of(L, i), *a = kl_row_of(A, i);
        double *e = E + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) e[j] = scale ? fma(-scale[j], l[j], a[j]) : a[j] - l[j];
        for (int64_t k = 0; k < i; k++) {
            const double *ek = kl_row_of(E, k);
            for (int64_t j = 0; j <= k; j++) e[j] -= l[k] * ek[j];
        }
        for (int64_t j = 0; j <= i; j++) e[j] /= l[i];
    }
}

/* u = L^-1 (m - n). */
static inline void kl_triangle_solve(const double *L, const double *m, const double *n, int64_t d, double *u)
{
    for (int64_t i = 0; i < d; i++) {
        const double *l = kl_row_of(L, i);
        double s = m[i] - n[i];
        for (int64_t k = 0; k < i; k++) s -= l[k] * u[k];
        u[i] = s / l[i];
    }
}

/* The same in twice the precision, for features, whose bounds would otherwise grow with the condition: the solution
 * is high + low. The error of `high` alone is then its last rounding, u |high|, while the condition of L is far below
 * 1/u. */
static inline void kl_subtract_product(double *high, double *low, double l, double x, double x_low)
{
    const double product = l * x, rest = fma(l, x, -product), sum = *high - product;
    *low += kl_sum_error(*high, -product, sum) - rest - l * x_low;
    *high = sum;
}

static inline void kl_divide_twofold(double *high, double *low, double l)
{
    const double quotient = (*high + *low) / l, rest = fma(-quotient, l, *high) + *low;
    *high = quotient;
    *low = rest / l;
}

static inline void kl_triangle_ratio_twofold(const double *L, const double *A, int64_t d, double *E, double *low)
{
    for (int64_t i = 0; i < d; i++) {
        const double *l = kl_row_of(L, i), *a = kl_row_of(A, i);
        double *e = E + i * (i + 1) / 2, *r = low + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) {
            e[j] = a[j] - l[j];
            r[j] = kl_sum_error(a[j], -l[j], e[j]);
        }
        for (int64_t k = 0; k < i; k++) {
            const double *ek = kl_row_of(E, k), *rk = kl_row_of(low, k);
            for (int64_t j = 0; j <= k; j++) kl_subtract_product(e + j, r + j, l[k], ek[j], rk[j]);
        }
        for (int64_t j = 0; j <= i; j++) kl_divide_twofold(e + j, r + j, l[i]);
    }
}

static inline void kl_triangle_solve_twofold(const double *L, const double *m, const double *n, int64_t d, double *u,
                                             double *low)
{
    for (int64_t i = 0; i < d; i++) {
        const double *l = kl_row_of(L, i);
        u[i] = m[i] - n[i];
        low[i] = kl_sum_error(m[i], -n[i], u[i]);
        for (int64_t k = 0; k < i; k++) kl_subtract_product(u + i, low + i, l[k], u[k], low[k]);
        kl_divide_twofold(u + i, low + i, l[i]);
    }
}

static inline double kl_norm2(const double *x, int64_t n)
{
    kl_total s = {0, 0};
    for (int64_t k = 0; k < n; k++) kl_total_add(&s, x[k] * x[k]);
    return kl_total_value(s);
}

/* In place, the Cholesky factor of a symmetric matrix given by its lower triangle; 0 if it is not positive. */
static inline int kl_cholesky(double *S, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        double *row = S + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) {
            const double *other = kl_row_of(S, j);
            double s = row[j];
            for (int64_t k = 0; k < j; k++) s -= row[k] * other[k];
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
            double s = 0;
            for (int64_t k = 0; k <= j; k++) s += a[k] * b[k];
            S[i * (i + 1) / 2 + j] += scale * s;
        }
}

/* Inner products of two rows, or of columns i >= j, in four lanes: a chain of d/4 + 4 roundings at most, which keeps
 * the bounds of the features' errors small. */
static inline double kl_row_dot(const double *a, const double *b, int64_t n)
{
    double s[4] = {0, 0, 0, 0};
    for (int64_t k = 0; k < n; k++) s[k & 3] += a[k] * b[k];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static inline double kl_column_dot(const double *G, int64_t i, int64_t j, int64_t d)
{
    double s[4] = {0, 0, 0, 0};
    for (int64_t k = i; k < d; k++) s[k & 3] += kl_row_of(G, k)[i] * kl_row_of(G, k)[j];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* F + F^T + F F^T (lower triangle) of a lower triangle F: the covariance (I + F)(I + F)^T less I. */
static inline void kl_gram_less_one(const double *F, int64_t d, double *out)
{
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double *a = kl_row_of(F, i), *b = kl_row_of(F, j);
            out[i * (i + 1) / 2 + j] = kl_row_dot(a, b, j + 1) + (i == j ? 2 * a[j] : a[j]);
        }
}

/* G + G^T + G^T G (lower triangle): the precision (I + G)^T (I + G) less I. */
static inline void kl_outer_less_one(const double *G, int64_t d, double *out)
{
    for (int64_t i = 0, k = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++, k++) out[k] = kl_column_dot(G, i, j, d) + (i == j ? 2 * G[k] : G[k]);
}

/* In place, from the lower triangle of a symmetric X, F with (I + F)(I + F)^T = I + X: a Cholesky factor less I, with
 * the relative accuracy of X. 0 if I + X is not positive. */
static inline int kl_cholesky_less_one(double *X, int64_t d)
{
    for (int64_t i = 0; i < d; i++) {
        double *row = X + i * (i + 1) / 2;
        for (int64_t j = 0; j <= i; j++) {
            const double *other = kl_row_of(X, j);
            double s = row[j];
            for (int64_t k = 0; k < j; k++) s -= row[k] * other[k];
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
