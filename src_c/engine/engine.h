/* What is the same for every ISA: one block of a question at a time, made of the kernels of klfast.h. */
#ifndef KLFAST_ENGINE_H
#define KLFAST_ENGINE_H

#include "../klfast.h"

/* The threads of one loop, zero but for their number: a thread that calls kl_seated before each task has a core of its
 * own from the first one on, where there is one for it. Returns `thread`, its number. */
enum { KL_TEAM = 1024 };
typedef struct {
    int32_t size, settled;
    uint64_t cores[KL_TEAM / 64];
    uint8_t begun[KL_TEAM];
} kl_team;
int kl_seated(kl_team *, int thread);

/* The value, exact to the last digits where the fast direct kernels are not: rows proportional up to rounding,
 * sums near the ends of the exponent range, terms that overflow. +0.0 iff the rows are the same distribution. */
double kl_careful(const kl_divergence *, int32_t domain, const double *p, const double *q, int64_t K);

/* The nonnegative term of each bin; they add up to what the finish is applied to. */
void kl_contributions(const kl_divergence *, int32_t domain, const double *p, const double *q, int64_t K,
                      double *out);

/* Families: what the kernels do for weights, row by row by the functions of the family. `scratch`: kl_scratch_of. */
void kl_family_scan(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *scratch, kl_stats *);
/* Of n pairs, at most KL_TOGETHER. */
void kl_family_values(const kl_divergence *, const kl_kernels *, const kl_family *, const kl_row_pair *, int64_t n,
                      int64_t K, double *out, double *scratch);
void kl_family_rowwise(const kl_divergence *, const kl_kernels *, const kl_rows *P, const kl_rows *Q, int64_t begin,
                       int64_t end, double *out, double *scratch, kl_stats *);
void kl_family_entropy(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *out, double *scratch);
/* sums += the family's sums over rows [begin, end); then the centre (K parameters) of n rows from all sums. */
void kl_family_accumulate(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *sums,
                          double *scratch);
void kl_family_center(const kl_kernels *, const kl_rows *, double *sums, double *center, double *scratch);
/* As the encoders of the kernels; center->row holds the parameters. */
kl_feature_row kl_family_features(const kl_divergence *, const kl_family *, int32_t role, const double *row,
                                  const kl_center *, int64_t K, double *out, kl_work);

/* Doubles of scratch: 3 * n_cols, or what the rows' family needs. */
int64_t kl_scratch_of(const kl_divergence *, const kl_rows *);

/* The finish of one sum (+inf stays so; below 0 counts as 0), and the sum that finishes as `value`. */
double kl_finished(const kl_divergence *, double sum);
double kl_unfinished(const kl_divergence *, double value);

/* Equality of normalised rows. Equal rows have equal keys, with `glance` from their first bins alone, so that some
 * others have equal ones, too; rows [begin, end). scratch: n_cols. */
void kl_row_keys(const kl_kernels *, const kl_rows *, const kl_norm *, int glance, int64_t begin, int64_t end,
                 double *scratch, uint64_t *keys);
/* `same` compares exactly. `identical`: the stored rows agree to the bit up to a power of two, so that every kernel
 * gives the same bits. */
int kl_rows_same(int32_t domain, const double *a, const double *b, int64_t K);
int kl_rows_identical(int32_t domain, const double *a, const double *b, int64_t K);

/* first[i]: the first row with row i's key; returns how many rows are not the first. slots: kl_key_slots(n) zeros,
 * which then find the first of n rows with each key wanted[i], i in [begin, end); -1: there is none. */
int64_t kl_key_slots(int64_t n);
int64_t kl_keys_enter(const uint64_t *keys, int64_t n, uint64_t *slots, int64_t *first);
void kl_keys_find(const uint64_t *keys, int64_t n, const uint64_t *slots, const uint64_t *wanted, int64_t begin,
                  int64_t end, int64_t *first);

/* same[t], identical[t] for row rows_a[t] of a and row rows_b[t] of b, t in [begin, end). scratch: 2K. */
void kl_compare_rows(const kl_kernels *, const kl_rows *a, const kl_rows *b, const int64_t *rows_a,
                     const int64_t *rows_b, int64_t begin, int64_t end, int8_t *same, int8_t *identical,
                     double *scratch);

/* A pairing of rows with encoded columns, shared by every consumer. */
typedef struct {
    const kl_kernels *kernels;
    const kl_divergence *divergence;
    const kl_rows *left, *right;
    const kl_norm *left_norms, *right_norms;
    const kl_center *center;
    int32_t left_role;              /* KL_MEAN: D(left || right); KL_NATURAL: D(right || left) */
    int32_t single;                 /* precision of the product: float32 or float64           */
    double norm_factor, slack_factor, slack_floor; /* of left rows, see kl_encode_args         */
    kl_far far;                                    /* see kl_product_args                      */
    const double *left_extra;       /* added to each value of a row, or NULL                   */
    const void *features, *offset, *norm, *slack;  /* of the right operand, packed             */
    kl_bytes bytes;                 /* of the right operand; NULL: no coarse screen            */
    const void *weights;            /* see kl_product_args                                     */
    const uint64_t *right_support;  /* NULL: every right row has full support on the centre    */
    /* Classes of equal rows, one numbering for both operands, -1: equal to none; or NULL. */
    const int64_t *left_class, *right_class;
    int64_t column_block;           /* columns a tile, a multiple of the panel width           */
    int64_t row_block;              /* rows a tile, a multiple of the panel height             */
    kl_norm *unchecked;             /* left_norms that are still to be computed, see kl_checks_left; or NULL */
    double sum_tolerance;           /* of those rows, as kernels.scan takes it                 */
} kl_pairing;

/* Bytes of working memory that a thread needs; top_capacity: candidates kept a row, 0 for dense. */
int64_t kl_workspace_bytes(const kl_pairing *, int64_t top_capacity);

typedef struct {
    char *data;
    int64_t row_stride, col_stride; /* bytes */
    int32_t single;                 /* float32 or float64 */
    double accept;                  /* certified if accept * value >= bound */
    int32_t stream;                 /* write past the caches, which the answer overflows */
} kl_dense_out;

/* Rows [begin, end), at most row_block of them, against columns [col_begin, col_end). */
void kl_dense_block(const kl_pairing *, const kl_dense_out *, int64_t begin, int64_t end,
                    int64_t col_begin, int64_t col_end, void *workspace, kl_stats *);

/* Some of the right operand's m columns, packed as all of them are: number t is one of the columns
 * [t m / count, (t + 1) m / count). */
typedef struct {
    const void *features, *offset, *norm, *slack;
    int64_t count;                  /* 0: none */
} kl_sample;

/* Exact k nearest: rows [begin, end) against columns [col_begin, col_end). Values and column numbers
 * of the k smallest per row, ordered by (value, column), from row `begin` on. With `skip_self` row i
 * leaves out column i. Fewer than k candidates: the list ends with column -1. */
typedef struct {
    int64_t k, capacity;
    int32_t skip_self;
    int32_t same; /* row i is column i */
    kl_sample sample;
    const float *few; /* the columns once more, see kl_few_floats; or NULL */
} kl_top;
/* Whether the search checks rows as it comes to them, and computes their norms; else that is to be done before. A block
 * with a row that must be refused ends with the status of its first one, and no answer. */
int kl_checks_left(const kl_pairing *, const kl_top *);
/* How many floats the search asks for as `few`, or 0; and they, which depend on the columns alone. */
int64_t kl_few_floats(const kl_pairing *, const kl_top *);
void kl_few_columns(const kl_pairing *, float *few);
void kl_top_block(const kl_pairing *, const kl_top *, int64_t begin, int64_t end,
                  int64_t col_begin, int64_t col_end, double *values, int64_t *columns,
                  void *workspace, kl_stats *);

/* Pairs within a radius. For rows [begin, end): kl_within_begin, then kl_within_tile for blocks of at most column_block
 * columns, which returns how many hits it wrote to `hits`, room for (end - begin) * cols. The workspace is that of a
 * kl_top of capacity 1. */
typedef struct {
    double value;
    int64_t row, column;
} kl_hit;
void kl_within_begin(const kl_pairing *, double radius, int64_t begin, int64_t end, void *workspace, kl_stats *);
int64_t kl_within_tile(const kl_pairing *, double radius, int32_t skip_self, int64_t begin, int64_t end, int64_t col,
                       int64_t cols, void *workspace, kl_hit *hits, kl_stats *);
/* The hits of rows [begin, end) by row and (value, column): row i's go to starts[i] ... of values and columns. cursors:
 * end - begin numbers; space: as many hits. */
void kl_within_sort(const kl_hit *hits, int64_t count, int64_t begin, int64_t end, const int64_t *starts,
                    int64_t *cursors, kl_hit *space, double *values, int64_t *columns);

/* Values of a block, of a pairing in float64, taken into result[i - begin] of its row or, with `over_rows`,
 * result[j - col_begin] of its column; the rest of a compensated sum goes to `low`. The caller sets both to 0, INFINITY
 * or -INFINITY before. */
typedef enum { KL_REDUCE_SUM, KL_REDUCE_MIN, KL_REDUCE_MAX } kl_reduction;
void kl_reduce_block(const kl_pairing *, int32_t op, int32_t over_rows, double accept, int64_t begin, int64_t end,
                     int64_t col_begin, int64_t col_end, double *result, double *low, void *workspace, kl_stats *);

/* Means of bilinear values (mean.c), for KL_PRODUCT with KL_LINEAR. An operand is a kl_encode_args of which divergence,
 * rows, norms, center, extra, role and the factors count; memory: kl_mean_doubles of it. Its rows are added up in
 * parts, whose numbers the caller sets to 0 and `every` to ones. kl_row_sums_mean leaves the means of all rows in the
 * first part. kl_mean_values: for each row [begin, end) of the other operand the mean of its values against those rows,
 * and whether accept * value >= bound certifies it. */
typedef struct {
    double *sum, *low;    /* width features, then offset, norm and slack: sums, and what their roundings lost */
    uint64_t *every, *any; /* bins that all rows have, that some row has; NULL where empty bins do not matter */
} kl_row_sums;
int64_t kl_mean_doubles(const kl_encode_args *);
void kl_row_sums_add(const kl_kernels *, const kl_encode_args *, int64_t begin, int64_t end, kl_row_sums *,
                     double *memory, kl_stats *);
void kl_row_sums_mean(kl_row_sums *totals, int64_t count, const kl_encode_args *);
void kl_mean_values(const kl_kernels *, const kl_encode_args *, const kl_row_sums *other, double accept, int64_t begin,
                    int64_t end, double *values, uint8_t *certified, double *memory, kl_stats *);

/* Neighbours among distinct rows to neighbours among all rows: row q's list (values, classes; k_classes
 * long, classes -1 at the end) becomes the k nearest members by (value, member), without `self`.
 * Members of class c: members[starts[c]:starts[c + 1]], ascending. cursors: k_classes numbers. */
void kl_top_expand(int64_t k, int64_t k_classes, const double *values, const int64_t *classes,
                   const int64_t *starts, const int64_t *members, int64_t self, double *out_values,
                   int64_t *out_columns, int64_t *cursors);

#endif
