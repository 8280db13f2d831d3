/* Parametric families as the engine uses them: the functions of families.h over blocks of rows. */
#include <math.h>
#include <string.h>

#include "../families/terms.h"
#include "engine.h"

#define SQRT_HALF 0x1.6a09e667f3bcdp-1

static int takes_terms(const kl_divergence *f, const kl_family *family)
{
    return family->terms && (f->kind == KL_KL || f->kind == KL_JEFFREYS);
}

/* Where parameter number j of the rows lies, d numbers a row. */
static kl_part part_of(const kl_rows *rows, int j, int64_t d)
{
    const int64_t size = sizeof(double);
    return rows->n_parts ? rows->part[j] : (kl_part){rows->data + j * d * size, rows->row_stride, size, d};
}

int kl_by_terms(const kl_divergence *f, const kl_rows *rows)
{
    const kl_family *family = rows->family;
    if (!family || !takes_terms(f, family)) return 0;
    if (family->common < 0) return 1;
    const int64_t d = rows->n_cols / 2, size = sizeof(double);
    const kl_part part = part_of(rows, family->common, d);
    const char *first = part.data + (rows->index ? rows->index[0] : 0) * part.row_stride;
    for (int64_t i = 1; i < rows->n_rows; i++) {
        const char *row = part.data + (rows->index ? rows->index[i] : i) * part.row_stride;
        for (int64_t k = 0; k < d; k++)
            if (memcmp(row + k * part.col_stride, first + k * part.col_stride, (size_t)size)) return 1;
    }
    return 0;
}

/* Whether row i, which has been read, may be used; `of`: 0 or KL_ROW_OF_Q. */
static int checked(const kl_rows *rows, const double *row, int64_t i, int of, kl_stats *stats)
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
        if (!checked(rows, kernels->read(rows, i, scratch), i, 0, stats)) return;
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

static int takes_line(const kl_divergence *f, const kl_family *family)
{
    return family->term != KL_TERM_NONE && (f->kind == KL_KL || f->kind == KL_JEFFREYS);
}

static int parameters_of(const kl_family *family) { return family->term < KL_TERM_NORMAL ? 1 : 2; }

/* A sum of terms that counts: not NaN, and far above what underflows. */
static int is_settled(double sum) { return sum >= 0x1p-950; }

/* Coordinates side by side, and the values of LINE pairs of them. */
enum { LINE = 256, SUM = 64 };
typedef struct { double of[2][LINE]; } line;

static void line_values(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family, line *p, line *q,
                        int64_t n, double *out)
{
    const double *const left[2] = {p->of[0], p->of[1]}, *const right[2] = {q->of[0], q->of[1]};
    const int64_t padded = (n + KL_LINE_STEP - 1) / KL_LINE_STEP * KL_LINE_STEP;
    for (int j = 0; j < parameters_of(family); j++)
        for (int64_t k = n; k < padded; k++) p->of[j][k] = p->of[j][n - 1], q->of[j][k] = q->of[j][n - 1];
    kernels->family_line(family->term, f->kind == KL_JEFFREYS, left, right, padded, out);
}

/* Of at most SUM values, in an order that depends on n alone. */
static double plain_sum(const double *x, int64_t n)
{
    double s[KL_LINE_STEP] = {0};
    int64_t k = 0;
    for (; k + KL_LINE_STEP <= n; k += KL_LINE_STEP)
        for (int l = 0; l < KL_LINE_STEP; l++) s[l] += x[k + l];
    for (int l = 0; k < n; k++, l++) s[l] += x[k];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* Adds n values, blocks of SUM without a further rounding. */
static void add_values(kl_total *s, const double *x, int64_t n)
{
    for (int64_t k = 0; k < n; k += SUM) kl_total_add(s, plain_sum(x + k, n - k < SUM ? n - k : SUM));
}

double kl_family_value(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family, const double *p,
                       const double *q, int64_t K, double *scratch)
{
    if (takes_line(f, family)) {
        const int parameters = parameters_of(family);
        const int64_t d = K / parameters;
        kl_total sum = {0, 0};
        for (int64_t k = 0; k < d; k += LINE) {
            const int64_t n = d - k < LINE ? d - k : LINE;
            line x, y;
            double values[LINE];
            for (int j = 0; j < parameters; j++) {
                memcpy(x.of[j], p + j * d + k, (size_t)n * sizeof *p);
                memcpy(y.of[j], q + j * d + k, (size_t)n * sizeof *q);
            }
            line_values(f, kernels, family, &x, &y, n, values);
            add_values(&sum, values, n);
        }
        if (is_settled(kl_total_value(sum))) return kl_finished(f, kl_total_value(sum));
    }
    return direct_value(f, family, p, q, K, scratch);
}

/* One parameter of n rows that are `stride` bytes apart. */
static void take_singles(const char *from, int64_t stride, int64_t n, double *to)
{
    for (int64_t r = 0; r < n; r++, from += stride) {
        __builtin_prefetch(from + KL_FURTHER);
        memcpy(to + r, from, sizeof *to);
    }
}

/* Coordinates of n rows from `begin` on, n d <= LINE. */
static void take_rows(const kl_rows *rows, int64_t begin, int64_t n, int64_t d, line *to)
{
    const int64_t size = sizeof(double);
    for (int j = 0; j < parameters_of(rows->family); j++) {
        const kl_part part = part_of(rows, j, d);
        if (d == 1 && !rows->index) {
            take_singles(part.data + begin * part.row_stride, part.row_stride, n, to->of[j]);
            continue;
        }
        for (int64_t r = 0; r < n; r++) {
            const char *from = part.data + (rows->index ? rows->index[begin + r] : begin + r) * part.row_stride;
            if (part.col_stride != size) {
                take_singles(from, part.col_stride, d, to->of[j] + r * d);
                continue;
            }
            for (int64_t at = 0; at < d * size; at += 64) __builtin_prefetch(from + KL_FURTHER + at);
            memcpy(to->of[j] + r * d, from, (size_t)(d * size));
        }
    }
}

/* The value of row i of P and of Q, checked, by the direct form; or, not to be used, NaN. */
static double checked_value(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                            int64_t i, int by_line, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    const double *p = kernels->read(P, i, scratch), *q = kernels->read(Q, i, scratch + K);
    if (!checked(P, p, i, 0, stats) || !checked(Q, q, i, KL_ROW_OF_Q, stats)) return NAN;
    scratch += 2 * K;
    return by_line ? kl_family_value(f, kernels, P->family, p, q, K, scratch)
                   : direct_value(f, P->family, p, q, K, scratch);
}

/* As kl_family_value for each pair, to the bit. A pair whose values count has valid parameters: family_lines.h. */
static void rowwise_by_lines(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                             int64_t begin, int64_t end, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols, d = K / parameters_of(P->family), together = LINE / d;
    for (int64_t i = begin; i < end; i += together) {
        const int64_t n = end - i < together ? end - i : together;
        line p, q;
        double values[LINE];
        take_rows(P, i, n, d, &p);
        take_rows(Q, i, n, d, &q);
        line_values(f, kernels, P->family, &p, &q, n * d, values);
        for (int64_t r = 0; r < n; r++) {
            kl_total sum = {values[r * d], 0};
            if (d > 1) sum.high = 0, add_values(&sum, values + r * d, d);
            out[i + r] = is_settled(kl_total_value(sum)) ? kl_finished(f, kl_total_value(sum))
                                                 : checked_value(f, kernels, P, Q, i + r, 0, scratch, stats);
        }
    }
}

void kl_family_rowwise(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                       int64_t begin, int64_t end, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    stats->isa_ran |= kernels->bit;
    if (K > 0 && takes_line(f, P->family) && K / parameters_of(P->family) <= LINE) {
        rowwise_by_lines(f, kernels, P, Q, begin, end, out, scratch, stats);
        return;
    }
    for (int64_t i = begin; i < end; i++) out[i] = checked_value(f, kernels, P, Q, i, 1, scratch, stats);
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
