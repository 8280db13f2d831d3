/* Parametric families as the engine uses them: the functions of families.h over blocks of rows. */
#include "family.h"

#include <math.h>
#include <string.h>


static int takes_terms(const kl_divergence *f, const kl_family *family)
{
    return family->terms && (f->kind == KL_KL || f->kind == KL_JEFFREYS);
}

kl_part kl_family_part(const kl_rows *rows, int j, int64_t d)
{
    const int64_t size = sizeof(double);
    return rows->n_parts ? rows->part[j] : (kl_part){rows->data + j * d * size, rows->row_stride, size, d, 0, 0};
}

int kl_by_terms(const kl_divergence *f, const kl_rows *rows)
{
    const kl_family *family = rows->family;
    if (!family || !takes_terms(f, family)) return 0;
    if (family->common < 0) return 1;
    const int64_t d = rows->n_cols / 2, size = sizeof(double);
    const kl_part part = kl_family_part(rows, family->common, d);
    const char *first = part.data + (rows->index ? rows->index[0] : 0) * part.row_stride;
    for (int64_t i = 1; i < rows->n_rows; i++) {
        const char *row = part.data + (rows->index ? rows->index[i] : i) * part.row_stride;
        for (int64_t k = 0; k < d; k++)
            if (memcmp(row + k * part.col_stride, first + k * part.col_stride, (size_t)size)) return 1;
    }
    return 0;
}

int kl_family_checked(const kl_rows *rows, const double *row, int64_t i, int of, kl_stats *stats)
{
    int64_t where = 0;
    const int32_t status = rows->family->check(row, rows->n_cols, &where);
    if (!status) return 1;
    if (!stats->status || stats->status_row > i) {
        stats->status = KL_ROW_PARAMETER + of;
        stats->status_row = i;
        stats->status_value = (double)where + 1e9 * status;
    }
    return 0;
}

void kl_family_scan(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t end, double *scratch,
                    kl_stats *stats)
{
    for (int64_t i = begin; i < end; i++)
        if (!kl_family_checked(rows, kernels->read(rows, i, scratch), i, 0, stats)) return;
}

void kl_family_entropy(const kl_kernels *kernels, const kl_rows *rows, int64_t begin, int64_t end, double *out,
                       double *scratch)
{
    const int64_t K = rows->n_cols;
    for (int64_t i = begin; i < end; i++)
        out[i] = rows->family->entropy(kernels->read(rows, i, scratch), K, (kl_work){scratch + K, kernels->triangles});
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

/* Jeffreys: x_p.y_q + y_p.x_q (features_other.h); the offset x.y of a row is the sum of its two divergences from the
 * centre. */
static kl_feature_row both(const kl_family *family, int mean, const double *row, const kl_center *center, int64_t K,
                           double *out, kl_work work)
{
    const int64_t width = family->width(K);
    double *x = mean ? out : out + width, *y = mean ? out + width : out;
    const double up = center->balance, down = 1 / up;
    kl_feature_row a = family->mean(row, center->row, K, x, work);
    kl_feature_row b = family->natural(row, center->row, K, y, work);
    for (int64_t k = 0; k < width; k++) x[k] *= up, y[k] *= down;
    return (kl_feature_row){a.offset + b.offset, a.spread + b.spread, up * up * a.norm2 + down * down * b.norm2};
}

kl_feature_row kl_family_features(const kl_divergence *f, const kl_family *family, int32_t role, const double *row,
                                  const kl_center *center, int64_t K, double *out, kl_work work)
{
    if (f->by_terms) return family->terms(row, K, out);
    const int64_t width = f->kind == KL_POWER ? 0 : family->width(K) << (f->kind == KL_JEFFREYS);
    kl_feature_row r = {0, INFINITY, 0}; /* without features: all pairs by the direct form */
    if (width == 0) return r;
    if (f->kind == KL_JEFFREYS) r = both(family, role == KL_MEAN, row, center, K, out, work);
    else if (role == KL_MEAN) r = family->mean(row, center->row, K, out, work);
    else r = family->natural(row, center->row, K, out, work);
    const int usable = fabs(r.offset) < 0x1p900 && r.spread < 0x1p900 && r.norm2 < 0x1p900;
    if (usable) return r;
    memset(out, 0, (size_t)width * sizeof *out);
    return (kl_feature_row){0, INFINITY, 0};
}
