/* Values of pairs of rows of families: coordinates in vectors where their terms have them, else the direct form. */
#include "family.h"

#include <math.h>
#include <string.h>

#include "../families/terms.h"

_Static_assert(KL_TOGETHER <= KL_LINE_STEP, "pairs of Dirichlet rows side by side");

/* Of the powers p^s q^t the family gives Chernoff's C, from which the sum of terms, (1 - e^-C)/(s t), and -factor C,
 * where a logarithm finishes that sum. Of a symmetric one, the two rows in an order of their own. */
static double power_value(const kl_divergence *f, const kl_family *family, const double *p, const double *q, int64_t K,
                          kl_work work)
{
    const double s = f->number, t = f->rest;
    int64_t k = 0;
    while (s == t && k < K - 1 && p[k] == q[k]) k++;
    const int turned = s == t && p[k] > q[k];
    const double size = family->chernoff(turned ? q : p, turned ? p : q, s, t, K, work), C = s > 1 ? -size : size;
    if (f->finish == KL_LOG && fabs(f->scale + s * t) <= 0x1p-50 * fabs(s * t)) return -f->factor * C;
    return kl_finished(f, -expm1(-C) / s / t);
}

static double direct_value(const kl_divergence *f, const kl_family *family, const double *p, const double *q, int64_t K,
                           kl_work work)
{
    if (f->kind == KL_POWER) return power_value(f, family, p, q, K, work);
    double sum = family->direct(p, q, K, work);
    if (f->kind == KL_JEFFREYS) sum += family->direct(q, p, K, work);
    return kl_finished(f, sum);
}

/* Whether the kernels have the terms of what is asked. */
static int in_vectors(const kl_divergence *f, const kl_family *family)
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

/* The sum of a pair's coordinates, of any number. */
static double long_sum(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family, const double *p,
                       const double *q, int64_t K)
{
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
    return kl_total_value(sum);
}

/* Pairs of Dirichlet rows side by side, and the other way round; lanes that no pair takes are of equal ones. */
typedef struct { kl_dirichlet_rows way[2]; } dirichlet_pairs;

static void empty_pairs(dirichlet_pairs *pairs)
{
    memset(pairs, 0, sizeof *pairs);
    for (int i = 0; i < 2 * KL_LINE_STEP; i++) {
        kl_dirichlet_rows *rows = pairs->way + i / KL_LINE_STEP;
        const int lane = i % KL_LINE_STEP;
        rows->x[lane] = rows->y[lane] = rows->s[lane] = rows->t[lane] = 1;
    }
}

static void add_pair(const kl_divergence *f, const kl_kernels *kernels, const double *p, const double *q, int64_t K,
                     int lane, dirichlet_pairs *pairs)
{
    kernels->dirichlet_rest(p, q, K, lane, pairs->way);
    if (f->kind == KL_JEFFREYS) kernels->dirichlet_rest(q, p, K, lane, pairs->way + 1);
}

static void pair_sums(const kl_divergence *f, const kl_kernels *kernels, const dirichlet_pairs *pairs, double *sums)
{
    double turned[KL_LINE_STEP];
    kernels->dirichlet_gap(pairs->way, sums);
    if (f->kind != KL_JEFFREYS) return;
    kernels->dirichlet_gap(pairs->way + 1, turned);
    for (int l = 0; l < KL_LINE_STEP; l++) sums[l] += turned[l];
}

/* The sum of a pair's d coordinates, which lie side by side. */
static double coordinates_sum(const double *x, int64_t d)
{
    if (d == 1) return x[0];
    kl_total sum = {0, 0};
    add_values(&sum, x, d);
    return kl_total_value(sum);
}

/* The sums of n pairs in one line. */
static void line_sums(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family,
                      const kl_row_pair *pairs, int64_t n, int64_t d, double *sums)
{
    line x, y;
    double values[LINE];
    for (int j = 0; j < parameters_of(family); j++)
        for (int64_t t = 0; t < n; t++) {
            memcpy(x.of[j] + t * d, pairs[t].p + j * d, (size_t)d * sizeof(double));
            memcpy(y.of[j] + t * d, pairs[t].q + j * d, (size_t)d * sizeof(double));
        }
    line_values(f, kernels, family, &x, &y, n * d, values);
    for (int64_t t = 0; t < n; t++) sums[t] = coordinates_sum(values + t * d, d);
}

static void dirichlet_sums(const kl_divergence *f, const kl_kernels *kernels, const kl_row_pair *pairs, int64_t n,
                           int64_t K, double *sums)
{
    dirichlet_pairs together;
    empty_pairs(&together);
    for (int64_t t = 0; t < n; t++) add_pair(f, kernels, pairs[t].p, pairs[t].q, K, (int)t, &together);
    pair_sums(f, kernels, &together, sums);
}

void kl_family_values(const kl_divergence *f, const kl_kernels *kernels, const kl_family *family,
                      const kl_row_pair *pairs, int64_t n, int64_t K, double *out, double *scratch)
{
    const kl_work work = {scratch, kernels->triangles};
    double sums[KL_TOGETHER] = {0};
    if (K > 0 && n > 0 && in_vectors(f, family)) {
        const int64_t d = K / parameters_of(family);
        if (family->term == KL_TERM_DIRICHLET) dirichlet_sums(f, kernels, pairs, n, K, sums);
        else if (n * d <= LINE) line_sums(f, kernels, family, pairs, n, d, sums);
        else
            for (int64_t t = 0; t < n; t++) sums[t] = long_sum(f, kernels, family, pairs[t].p, pairs[t].q, K);
    }
    for (int64_t t = 0; t < n; t++)
        out[t] = is_settled(sums[t]) ? kl_finished(f, sums[t])
                                     : direct_value(f, family, pairs[t].p, pairs[t].q, K, work);
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
        const kl_part part = kl_family_part(rows, j, d);
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

/* The value of row i of P and of Q, checked, by terms or by the direct form; or, not to be used, NaN. */
static double checked_value(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                            int64_t i, int by_terms, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    const double *p = kernels->read(P, i, scratch), *q = kernels->read(Q, i, scratch + K);
    if (!kl_family_checked(P, p, i, 0, stats) || !kl_family_checked(Q, q, i, KL_ROW_OF_Q, stats)) return NAN;
    scratch += 2 * K;
    if (!by_terms) return direct_value(f, P->family, p, q, K, (kl_work){scratch, kernels->triangles});
    const kl_row_pair pair = {.p = p, .q = q};
    double value;
    kl_family_values(f, kernels, P->family, &pair, 1, K, &value, scratch);
    return value;
}

/* As kl_family_values of the pairs, to the bit. A pair whose values count has valid parameters: family_lines.h. */
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
            const double value = coordinates_sum(values + r * d, d);
            out[i + r] = is_settled(value) ? kl_finished(f, value)
                                           : checked_value(f, kernels, P, Q, i + r, 0, scratch, stats);
        }
    }
}

/* The same of Dirichlet rows. */
static void rowwise_dirichlet(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                              int64_t begin, int64_t end, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    for (int64_t i = begin; i < end; i += KL_LINE_STEP) {
        const int n = (int)(end - i < KL_LINE_STEP ? end - i : KL_LINE_STEP);
        dirichlet_pairs pairs;
        double sums[KL_LINE_STEP];
        empty_pairs(&pairs);
        for (int r = 0; r < n; r++) {
            const double *p = kernels->read(P, i + r, scratch), *q = kernels->read(Q, i + r, scratch + K);
            add_pair(f, kernels, p, q, K, r, &pairs);
        }
        pair_sums(f, kernels, &pairs, sums);
        for (int r = 0; r < n; r++)
            out[i + r] = is_settled(sums[r]) ? kl_finished(f, sums[r])
                                             : checked_value(f, kernels, P, Q, i + r, 0, scratch, stats);
    }
}

void kl_family_rowwise(const kl_divergence *f, const kl_kernels *kernels, const kl_rows *P, const kl_rows *Q,
                       int64_t begin, int64_t end, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    stats->isa_ran |= kernels->bit;
    const int terms = K > 0 && in_vectors(f, P->family), dirichlet = P->family->term == KL_TERM_DIRICHLET;
    if (terms && dirichlet) rowwise_dirichlet(f, kernels, P, Q, begin, end, out, scratch, stats);
    else if (terms && K / parameters_of(P->family) <= LINE)
        rowwise_by_lines(f, kernels, P, Q, begin, end, out, scratch, stats);
    else
        for (int64_t i = begin; i < end; i++) out[i] = checked_value(f, kernels, P, Q, i, 1, scratch, stats);
}

