/* Parametric families as the engine uses them: the functions of families.h over blocks of rows. */
#include <math.h>
#include <string.h>

#include "../klfast.h"

#define SQRT_HALF 0x1.6a09e667f3bcdp-1

static int takes_terms(const kl_divergence *f, const kl_family *family)
{
    return family->terms && (f->kind == KL_KL || f->kind == KL_JEFFREYS);
}

int kl_by_terms(const kl_divergence *f, const kl_rows *rows)
{
    const kl_family *family = rows->family;
    if (!family || !takes_terms(f, family)) return 0;
    if (family->common < 0) return 1;
    const int64_t d = rows->n_cols / 2, size = sizeof(double);
    kl_part part = {rows->data + family->common * d * size, rows->row_stride, size, d};
    if (rows->n_parts) part = rows->part[family->common];
    const char *first = part.data + (rows->index ? rows->index[0] : 0) * part.row_stride;
    for (int64_t i = 1; i < rows->n_rows; i++) {
        const char *row = part.data + (rows->index ? rows->index[i] : i) * part.row_stride;
        for (int64_t k = 0; k < d; k++)
            if (memcmp(row + k * part.col_stride, first + k * part.col_stride, (size_t)size)) return 1;
    }
    return 0;
}

void kl_family_scan(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t end, double *scratch,
                    kl_stats *stats)
{
    for (int64_t i = begin; i < end; i++) {
        int64_t where = 0;
        const double *row = kernels->read(rows, i, scratch);
        const int32_t status = rows->family->check(row, rows->n_cols, &where);
        if (!status || (stats->status && stats->status_row <= i)) continue;
        stats->status = KL_ROW_PARAMETER;
        stats->status_row = i;
        stats->status_value = (double)where + 1e9 * status;
        return;
    }
}

/* Of the powers p^s q^t the family gives Chernoff's C, from which the sum of terms, (1 - e^-C)/(s t), and -factor C,
 * where a logarithm finishes that sum. Of a symmetric one, the two rows in an order of their own. */
static double power_value(const kl_divergence *f, const kl_family *family, const double *p, const double *q, int64_t K,
                          double *scratch)
{
    const double s = f->number, t = f->rest;
    int64_t k = 0;
    while (s == t && k < K - 1 && p[k] == q[k]) k++;
    const int turned = s == t && p[k] > q[k];
    const double size = family->chernoff(turned ? q : p, turned ? p : q, s, t, K, scratch), C = s > 1 ? -size : size;
    if (f->finish == KL_LOG && fabs(f->scale + s * t) <= 0x1p-50 * fabs(s * t)) return -f->factor * C;
    return kl_finished(f, -expm1(-C) / s / t);
}

static double direct_value(const kl_divergence *f, const kl_family *family, const double *p, const double *q, int64_t K,
                           double *scratch)
{
    if (f->kind == KL_POWER) return power_value(f, family, p, q, K, scratch);
    double sum = family->direct(p, q, K, scratch);
    if (f->kind == KL_JEFFREYS) sum += family->direct(q, p, K, scratch);
    return kl_finished(f, sum);
}

/* A sum of terms that counts: not NaN, and far above what underflows. */
static int is_settled(double sum) { return sum >= 0x1p-950; }

double kl_family_value(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family, const double *p,
                       const double *q, int64_t K, double *scratch)
{
    if (takes_terms(f, family)) {
        const int64_t d = K / 2;
        double sum, *x = scratch, *y = scratch + KL_TERM_NUMBERS * d;
        family->terms(p, K, x);
        family->terms(q, K, y);
        kernels->term_rows(family->term, f->kind == KL_JEFFREYS, x, y, d, 1, &sum);
        if (is_settled(sum)) return kl_finished(f, sum);
    }
    return direct_value(f, family, p, q, K, scratch);
}

/* n rows from `begin` on as a panel; `one` has room for a row and its numbers. The last row fills the panel. */
static void pack_terms(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t n, double *panel,
                       double *one)
{
    const int64_t K = rows->n_cols, count = KL_TERM_NUMBERS * (K / 2);
    for (int64_t r = 0; r < KL_TERM_LANES; r++) {
        double *numbers = one + K;
        if (r < n) rows->family->terms(kernels->read(rows, begin + r, one), K, numbers);
        for (int64_t k = 0; k < count; k++) panel[k * KL_TERM_LANES + r] = numbers[k];
    }
}

/* As kl_family_value for each pair, to the bit. */
static void rowwise_by_terms(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                             int64_t begin, int64_t end, double *out, double *scratch)
{
    const int64_t K = P->n_cols, size = KL_TERM_NUMBERS * KL_TERM_LANES * (K / 2);
    double *p = scratch, *q = p + size, *rest = q + size;
    for (int64_t i = begin; i < end; i += KL_TERM_LANES) {
        const int64_t n = end - i < KL_TERM_LANES ? end - i : KL_TERM_LANES;
        double sums[KL_TERM_LANES];
        pack_terms(kernels, P, i, n, p, rest);
        pack_terms(kernels, Q, i, n, q, rest);
        kernels->term_rows(P->family->term, f->kind == KL_JEFFREYS, p, q, K / 2, KL_TERM_LANES, sums);
        for (int64_t r = 0; r < n; r++) {
            if (is_settled(sums[r])) {
                out[i + r] = kl_finished(f, sums[r]);
                continue;
            }
            const double *a = kernels->read(P, i + r, rest), *b = kernels->read(Q, i + r, rest + K);
            out[i + r] = direct_value(f, P->family, a, b, K, rest + 2 * K);
        }
    }
}

void kl_family_rowwise(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                       int64_t begin, int64_t end, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    stats->isa_ran |= kernels->bit;
    if (takes_terms(f, P->family) && K <= KL_TERM_MOST) {
        rowwise_by_terms(f, kernels, P, Q, begin, end, out, scratch);
        return;
    }
    for (int64_t i = begin; i < end; i++) {
        const double *p = kernels->read(P, i, scratch), *q = kernels->read(Q, i, scratch + K);
        out[i] = kl_family_value(f, kernels, P->family, p, q, K, scratch + 2 * K);
    }
}

void kl_family_entropy(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t end, double *out,
                       double *scratch)
{
    const int64_t K = rows->n_cols;
    for (int64_t i = begin; i < end; i++)
        out[i] = rows->family->entropy(kernels->read(rows, i, scratch), K, scratch + K);
}

void kl_family_accumulate(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t end, double *sums,
                          double *scratch)
{
    const int64_t K = rows->n_cols;
    const double *first = kernels->read(rows, 0, scratch);
    for (int64_t i = begin; i < end; i++)
        rows->family->accumulate(kernels->read(rows, i, scratch + K), first, K, sums);
}

void kl_family_center(const kl_kernels *kernels, const kl_rows *rows, double *sums, double *center, double *scratch)
{
    rows->family->finish(sums, (double)rows->n_rows, kernels->read(rows, 0, scratch), rows->n_cols, center);
}

/* Jeffreys: x_p.y_q + y_p.x_q as (x + y)_p.(x + y)_q - (x - y)_p.(x - y)_q over 2, symmetric to the bit; the offset
 * x.y of a row is the sum of its two divergences from the centre. */
static kl_feature_row both(const kl_family *family, int mean, const double *row, const double *center, int64_t K,
                           double *out, double *scratch)
{
    const int64_t width = family->width(K);
    double *x = out, *y = out + width;
    kl_feature_row a = family->mean(row, center, K, x, scratch), b = family->natural(row, center, K, y, scratch);
    for (int64_t k = 0; k < width; k++) {
        const double sum = (x[k] + y[k]) * SQRT_HALF, difference = (mean ? x[k] - y[k] : y[k] - x[k]) * SQRT_HALF;
        x[k] = sum;
        y[k] = difference;
    }
    const double norm = sqrt(a.norm2) + sqrt(b.norm2);
    return (kl_feature_row){a.offset + b.offset, a.spread + b.spread, norm * norm};
}

kl_feature_row kl_family_features(const kl_divergence *f, const kl_family *family, int32_t role, const double *row,
                                  const kl_center *center, int64_t K, double *out, double *scratch)
{
    if (f->by_terms) return family->terms(row, K, out);
    const int64_t width = f->kind == KL_POWER ? 0 : family->width(K) << (f->kind == KL_JEFFREYS);
    kl_feature_row r = {0, INFINITY, 0}; /* without features: all pairs by the direct form */
    if (width == 0) return r;
    if (f->kind == KL_JEFFREYS) r = both(family, role == KL_MEAN, row, center->row, K, out, scratch);
    else if (role == KL_MEAN) r = family->mean(row, center->row, K, out, scratch);
    else r = family->natural(row, center->row, K, out, scratch);
    const int usable = fabs(r.offset) < 0x1p900 && r.spread < 0x1p900 && r.norm2 < 0x1p900;
    if (usable) return r;
    memset(out, 0, (size_t)width * sizeof *out);
    return (kl_feature_row){0, INFINITY, 0};
}
