/* The whole C interface of klfast: what Cython may call, and what every ISA provides.
 *
 * Division of labour: Cython schedules (threads, memory, errors); the functions below compute one
 * block at a time, single-threaded, without allocating and without knowing of Python.
 *
 * Words: a row of P is compared with a row of Q. KL is a Bregman divergence, so one operand enters
 * through its MEAN parameters and the other through its NATURAL ones (KL(p||q): p mean, q natural).
 * "Left" is the operand whose rows are the rows of the answer, "right" the one of its columns.
 */
#ifndef KLFAST_H
#define KLFAST_H

#include <stdint.h>

#include "families/families.h"

/* ---- distributions as the user stores them ------------------------------------------------- */

typedef enum {
    KL_FLOAT64, KL_FLOAT32, KL_FLOAT16, KL_BFLOAT16,
    KL_INT8, KL_UINT8, KL_INT16, KL_UINT16, KL_INT32, KL_UINT32, KL_INT64, KL_UINT64,
    KL_STORAGE_COUNT
} kl_storage;

/* A domain says what the numbers of a row mean, and selects the row kernels. */
typedef enum {
    KL_PROBS,      /* nonnegative weights; the distribution is the row divided by its sum */
    KL_LOGITS,     /* log-weights; the distribution is the softmax of the row             */
    KL_MEASURE,    /* nonnegative weights that are compared as they are                   */
    KL_FAMILY,     /* the parameters of a distribution of kl_rows.family                  */
    KL_DOMAIN_COUNT
} kl_domain;

/* Some columns of a matrix that comes in parts: float64, at any strides (0: a value for all). */
typedef struct {
    const char *data;
    int64_t row_stride, col_stride, n_cols;
} kl_part;
#define KL_MOST_PARTS 2

/* A matrix, one distribution a row. `row[i]` means row `index[i]` where an index is given.
 * A prior (pseudo-counts, K numbers) is added to each row: prior * weight, or with
 * `weight_by_sum` prior * weight * (sum of the row). `take_log` reads log(value): a PROBS matrix
 * that has to meet LOGITS. */
typedef struct {
    const char *data;
    int64_t row_stride, col_stride; /* bytes */
    int64_t n_rows, n_cols;
    const int64_t *index;
    const int64_t *indptr;          /* CSR: row i has values data[indptr[i]:indptr[i + 1]], float64, */
    const int32_t *indices;         /* in these columns; NULL for a dense matrix                    */
    const double *prior;
    double prior_weight;
    int32_t weight_by_sum;
    int32_t storage; /* kl_storage */
    int32_t domain;  /* kl_domain of the rows as they are read */
    int32_t take_log;
    const kl_family *family; /* FAMILY: float64 rows, contiguous in themselves, or in parts side by side */
    kl_part part[KL_MOST_PARTS];
    int32_t n_parts;
} kl_rows;

/* Two numbers that describe a row: PROBS, MEASURE (sum, least entry); LOGITS (max, sum of exp(a) relative to
 * kl_softmax_base_of(max)). */
typedef struct { double a, b; } kl_norm;

/* A pair of rows of one domain, contiguous, with their norms. */
typedef struct { const double *p, *q; kl_norm np, nq; } kl_row_pair;
#define KL_TOGETHER 8

/* Why a row was refused (0: it was not). Row by row, KL_ROW_OF_Q is added for a row of the second matrix. */
typedef enum {
    KL_ROW_OK, KL_ROW_NAN, KL_ROW_INFINITE, KL_ROW_NEGATIVE, KL_ROW_EMPTY, KL_ROW_SUM,
    KL_ROW_PARAMETER, /* FAMILY: status_value is the parameter's number + 1e9 * kl_parameter_status */
    KL_ROW_OF_Q = 16
} kl_row_status;

/* ---- what is asked of a pair of rows -------------------------------------------------------- */

/* A divergence is a sum over bins of terms f >= 0 that vanish to second order (VARIATION: to first) where p = q,
 * then a scalar finish. `number` is the s, w or a of the formula. */
typedef enum {
    KL_KL,            /* p log(p/q) - p + q                                                    */
    KL_JEFFREYS,      /* (p - q) log(p/q)                                                      */
    KL_POWER,         /* (s p + (1-s) q - p^s q^(1-s)) / (s (1-s)),  s >= 1/2, s not 1         */
    KL_ITAKURA_SAITO, /* p/q - log(p/q) - 1;  KL_MEASURE only                                  */
    KL_SKEW_JS,       /* w KL(p||m) + (1-w) KL(q||m),  m = w p + (1-w) q,  0 < w < 1           */
    KL_SKEW_KL,       /* KL(p||m),  m = (1-a) p + a q,  0 < a < 1                              */
    KL_VARIATION,     /* |p - q| / 2                                                           */
    KL_TRIANGULAR     /* (p - q)^2 / (p + q)                                                   */
} kl_kind;

/* From the sum x to the value, increasing: factor x;  sqrt(factor x);  factor log(1 + scale x). */
typedef enum { KL_LINEAR, KL_SQRT, KL_LOG } kl_finish;

typedef struct {
    int32_t kind;        /* kl_kind   */
    int32_t finish;      /* kl_finish */
    int32_t adds_entropy; /* cross-entropy: the entropy of the first row is added */
    double number, rest;  /* rest: 1 - number, which near 1 may have more digits than that tells */
    double scale, factor;
    int32_t by_terms;    /* KL and JEFFREYS of a family: tiles are sums of its terms (kl_by_terms) */
} kl_divergence;

/* The tiles that the fast form runs in: a product of features, or a sum over bins of a function of two features. */
typedef enum {
    KL_PRODUCT, KL_SUM_JS, KL_SUM_SKEW, KL_SUM_ABS, KL_SUM_TRIANGLE,
    KL_PRODUCT_BENT, /* a dense product whose bound is compared with a bent value, see kl_product_args */
    KL_SUM_FAMILY,   /* a sum over coordinates of a family's terms, in float64 only */
    KL_SHAPE_COUNT
} kl_shape;
kl_shape kl_shape_of(const kl_divergence *);
/* Whether all pairs with these rows as columns are sums of their family's terms: it has terms, and no product form, or
 * these rows do not share the parameter which that needs in common. */
int kl_by_terms(const kl_divergence *, const kl_rows *);
int kl_is_symmetric(const kl_divergence *);
/* Rows that a family's terms are computed for at once; alone beyond KL_TERM_MOST parameters, for the memory. */
#define KL_TERM_LANES 8
#define KL_TERM_MOST 1024
/* Features a row: K, or of a family its own number; twice that for Jeffreys. */
int64_t kl_width_of(const kl_divergence *, const kl_rows *);

/* Which empty bins make a value infinite: none, those of q where p has mass, those of one where the other has. */
typedef enum { KL_SUPPORT_FREE, KL_SUPPORT_WITHIN, KL_SUPPORT_EQUAL } kl_support;
kl_support kl_support_of(const kl_divergence *);

/* ---- what a block of work leaves behind besides its values ---------------------------------- */

typedef struct {
    uint64_t recomputed;    /* pairs that the fast form could not certify */
    uint64_t equal;         /* pairs known to be equal without any work   */
    uint64_t candidates;    /* pairs that the top-k screen let through    */
    uint32_t isa_ran;       /* bit per ISA whose kernels did the work     */
    uint32_t status;        /* kl_row_status of the first refused row     */
    int64_t  status_row;
    double   status_value;
} kl_stats;

/* ---- the centre, and features around it ------------------------------------------------------ */

typedef struct {
    const double *row;     /* the centre as a row of the operands' domain */
    kl_norm norm;
    const double *probs;   /* its probabilities                           */
    const double *scale;   /* about 1/sqrt(probs), 0 where probs is 0     */
    const double *unscale; /* 1/scale, 0 where probs is 0                 */
    const double *inverse; /* 1/probs, 0 where probs is 0                 */
} kl_center;

typedef enum { KL_MEAN, KL_NATURAL } kl_role; /* the first and the second argument of the divergence */

/* Features x in bytes X, for the coarse screen: row r's group g of four lies behind [(g * width + r % width) * 4] of
 * its panel. |x - X/inverse| <= residual, |X/inverse| <= norm, shift = -128 sum X. */
typedef struct {
    int8_t *bytes;             /* NULL: none */
    float *inverse, *residual, *norm;
    int32_t *shift;
} kl_bytes;

/* Features of rows [begin, end): packed in panels of `width` rows, element k of a panel's row r at
 * [k * width + r], the last panel padded with zeros. float32 or float64 by `single`. The three
 * numbers of a row: offset, `norm` and `slack` such that for a MEAN row i and a NATURAL row j
 *     | offset_i + offset_j - <features> - sum of terms |  <=  norm_i * norm_j + slack_i + slack_j,
 * where <features> is the product, or the sum of the tile's function. */
typedef struct {
    const kl_divergence *divergence;
    const kl_rows *rows;
    const kl_norm *norms;
    const kl_center *center;
    const double *extra;   /* added to the offsets (cross-entropy: the entropies), or NULL */
    int64_t begin, end;
    int32_t role, single, width;
    int32_t up_to_shift;   /* offsets may lack a number common to all values of their row: for comparisons along it */
    double norm_factor;    /* multiplies every norm: one side carries the error constant   */
    double slack_factor;   /* multiplies every slack                                       */
    double slack_floor;    /* added to every slack                                         */
    double *scratch;       /* kl_scratch_of doubles                                        */
    void *features, *offset, *norm, *slack;
    kl_bytes bytes;
    uint64_t *support;     /* (n_cols + 63) / 64 words a row, or NULL                      */
} kl_encode_args;

/* SUM_JS and SUM_SKEW of rows far from each other, by the shorter form of far.h: the error of a value v, by the slacks
 * of its row and column, and a part of the value that slacks usually go with. All 0: never. */
typedef struct { double base, by_slack, by_value, usual; } kl_far; /* base + by_slack (slacks) + by_value v */

/* ---- the packed product ------------------------------------------------------------------------ */

/* One block: `row_panels` x `col_panels` register tiles of K multiply-adds. Dense: values go to out
 * (contiguous columns, `out_stride` elements between rows) and uncertain entries to `doubts`
 * (row << 16 | column within the block). Screen: entries whose lower end is not above the row's
 * threshold go to `doubts`, their values and bounds to `hit_value`, `hit_bound`. Ends: out[t] of a row, t below the
 * panel's width, is the least value + bound of the columns t, t + width, ..., or with `one` out[0] that of all; `kept`,
 * if not NULL, gets the values (rows and columns padded), which hits then screens as screen would. Lists have room
 * for the whole block, which has at most 65,536 rows and columns. */
typedef struct {
    const void *left, *right;
    const void *row_offset, *row_norm, *row_slack;
    const void *col_offset, *col_norm, *col_slack;
    int64_t K;                 /* features                                  */
    const void *weights;       /* of the bins, for the sums: the centre, one a feature */
    double number;             /* SKEW: 1 / (1 - a)                         */
    double relative;           /* SUM_FAMILY: the relative error of a value; 0 of the others */
    int32_t term, turned, both; /* SUM_FAMILY: kl_family_term; p on the right; both directions  */
    int64_t rows, cols;        /* real ones; panels are padded              */
    double accept, bend;       /* dense: certified if accept * value * (1 - bend * value) >= bound; bend is 0 but
                                  for KL_PRODUCT_BENT */
    const kl_divergence *finish; /* dense: to be applied to the values, doubts aside; NULL: none */
    kl_far far;                /* dense: sums over bins */
    double far_from;           /* dense: it is tried for pairs whose slacks add up to 1 / far_from; 0: none */
    double apart;              /* dense: or if apart * value >= the slacks without the norms; 0: never */
    const void *threshold;     /* screen: one a row (padded) */
    kl_bytes left_bytes, right_bytes; /* screen: of both, or of neither, sides; then the numbers of a row have room for
                                  kl_kernels.coarse of them beyond the last panel */
    void *kept;                /* ends, hits */
    int64_t kept_stride;
    int32_t one;               /* ends */
    const float *few;          /* nearest: what few_columns made of the columns, or NULL: without bytes */
    int64_t passed;            /* out: rows of tiles that the coarse screen let through */
    void *out;
    int64_t out_stride;
    int32_t stream;            /* dense: write past the caches; out and its rows start cache lines */
    uint32_t *doubts;
    void *hit_value, *hit_bound;
    int64_t n_doubts;          /* out */
} kl_product_args;
#define KL_LINE_BYTES 64
#define KL_FEW 256       /* columns up to which floats alone are fastest: their lower ends are a first-level cache */
#define KL_FEW_MOST 2048 /* columns at once,               */
#define KL_FEW_BINS 1024 /* and their features with bytes */
/* Floats of `few`: of each column, in whole panels, its features side by side, and a number. */
#define KL_FEW_STRIDE(K) (((K) + 15) / 16 * 16)
#define KL_FEW_FLOATS(K, columns) (((columns) + 31) / 32 * 32 * (KL_FEW_STRIDE(K) + 1) + 1)

/* ---- what one ISA provides ---------------------------------------------------------------------- */

typedef struct {
    const char *name;
    uint32_t bit;
    int32_t mr64, nr64, mr32, nr32; /* register tiles of the product */
    int32_t coarse; /* the float32 screen can look at bytes first (see kl_product_args); 0: it cannot */

    /* Check rows [begin, end) and compute their norms. `sum_tolerance` < 0: any sum. zeros[0] is set
     * to 1 if any row has a bin without mass. scratch: n_cols doubles. */
    void (*scan)(const kl_rows *, int64_t begin, int64_t end, double sum_tolerance,
                 kl_norm *norms, int32_t *zeros, double *scratch, kl_stats *);
    /* sum[k] += normalised row, over rows [begin, end). scratch: n_cols doubles. */
    void (*accumulate)(const kl_rows *, const kl_norm *, int64_t begin, int64_t end, double *sum,
                       double *scratch, kl_stats *);
    /* out[i] = D(P_i || Q_i); checks as scan does. `single`: the caller rounds the values to float32, and any double will
     * do that rounds to the same. scratch: 4 * n_cols doubles, 32 * n_cols for up to 256 bins. */
    void (*rowwise)(const kl_divergence *, const kl_rows *P, const kl_rows *Q, int64_t begin, int64_t end,
                    double tolerance_p, double tolerance_q, int32_t single, double *out, double *scratch, kl_stats *);
    void (*entropy)(const kl_rows *, const kl_norm *, int64_t begin, int64_t end, double *out,
                    double *scratch, kl_stats *);
    /* D(p || q), finished but without entropy, of n <= KL_TOGETHER pairs of rows already read with their norms. The same
     * bits as one by one, in half of the time. */
    void (*values)(const kl_divergence *, int32_t domain, const kl_row_pair *, int64_t n, int64_t K, double *out);
    /* The row as contiguous doubles: the matrix itself where it is that, else `scratch`. */
    const double *(*read)(const kl_rows *, int64_t i, double *scratch);
    void (*encode)(const kl_encode_args *, kl_stats *);
    /* By [single][kl_shape]. */
    void (*dense[2][KL_SHAPE_COUNT])(kl_product_args *, kl_stats *);
    void (*screen[2][KL_SHAPE_COUNT])(kl_product_args *, kl_stats *);
    void (*ends[2][KL_SHAPE_COUNT])(kl_product_args *, kl_stats *);
    void (*hits[2])(kl_product_args *, kl_stats *); /* by [single] */
    /* float32, KL_PRODUCT: row by row to `doubts` the columns whose lower end does not exceed the row's least upper
     * end. Rows in panels of nr32, at most KL_FEW_MOST columns; kept: nr32 floats a column, padded. With `few` only of
     * the columns that products of bytes leave; at most KL_FEW_BINS features, hit_bound: a quarter of kept. */
    void (*nearest)(kl_product_args *, kl_stats *);
    /* `few` of the columns: KL_FEW_FLOATS. NULL if `coarse` is 0. */
    void (*few_columns)(const kl_product_args *, float *few);
    /* out[l]: the sum of a family's terms over d coordinates for row l < lanes of each side, with `both` also the
     * other way round; NaN: left to its direct form. KL_TERM_LANES rows packed as panels are, or a single one. */
    void (*term_rows)(int32_t term, int32_t both, const double *p, const double *q, int64_t d, int64_t lanes,
                      double *out);
} kl_kernels;

/* ---- dispatch ------------------------------------------------------------------------------------ */

/* Best first; the last entry runs everywhere. */
int kl_isa_count(void);
const kl_kernels *kl_isa_at(int position);
int kl_isa_supported(int position);   /* this processor and this operating system can run it */

/* ---- engine: ISA-independent parts ---------------------------------------------------------------- */

/* The value, exact to the last digits where the fast direct kernels are not: rows proportional up to rounding,
 * sums near the ends of the exponent range, terms that overflow. +0.0 iff the rows are the same distribution. */
double kl_careful(const kl_divergence *, int32_t domain, const double *p, const double *q, int64_t K);

/* The nonnegative term of each bin; they add up to what the finish is applied to. */
void kl_contributions(const kl_divergence *, int32_t domain, const double *p, const double *q, int64_t K,
                      double *out);

/* Families: what the kernels do for weights, row by row by the functions of the family. `scratch`: kl_scratch_of. */
void kl_family_scan(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *scratch, kl_stats *);
double kl_family_value(const kl_divergence *, const kl_kernels *, const kl_family *, const double *p, const double *q,
                       int64_t K, double *scratch);
void kl_family_rowwise(const kl_divergence *, const kl_kernels *, const kl_rows *P, const kl_rows *Q, int64_t begin,
                       int64_t end, double *out, double *scratch, kl_stats *);
void kl_family_entropy(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *out, double *scratch);
/* sums += the family's sums over rows [begin, end); then the centre (K parameters) of n rows from all sums. */
void kl_family_accumulate(const kl_kernels *, const kl_rows *, int64_t begin, int64_t end, double *sums,
                          double *scratch);
void kl_family_center(const kl_kernels *, const kl_rows *, double *sums, double *center, double *scratch);
/* As the encoders of the kernels; center->row holds the parameters. */
kl_feature_row kl_family_features(const kl_divergence *, const kl_family *, int32_t role, const double *row,
                                  const kl_center *, int64_t K, double *out, double *scratch);

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
 * parts, whose numbers the caller sets to 0 and `every` to ones. kl_total_mean leaves the means of all rows in the
 * first part. kl_mean_values: for each row [begin, end) of the other operand the mean of its values against those rows,
 * and whether accept * value >= bound certifies it. */
typedef struct {
    double *sum, *low;    /* width features, then offset, norm and slack: sums, and what their roundings lost */
    uint64_t *every, *any; /* bins that all rows have, that some row has; NULL where empty bins do not matter */
} kl_total;
int64_t kl_mean_doubles(const kl_encode_args *);
void kl_total_add(const kl_kernels *, const kl_encode_args *, int64_t begin, int64_t end, kl_total *, double *memory,
                  kl_stats *);
void kl_total_mean(kl_total *totals, int64_t count, const kl_encode_args *);
void kl_mean_values(const kl_kernels *, const kl_encode_args *, const kl_total *other, double accept, int64_t begin,
                    int64_t end, double *values, uint8_t *certified, double *memory, kl_stats *);

/* Neighbours among distinct rows to neighbours among all rows: row q's list (values, classes; k_classes
 * long, classes -1 at the end) becomes the k nearest members by (value, member), without `self`.
 * Members of class c: members[starts[c]:starts[c + 1]], ascending. cursors: k_classes numbers. */
void kl_top_expand(int64_t k, int64_t k_classes, const double *values, const int64_t *classes,
                   const int64_t *starts, const int64_t *members, int64_t self, double *out_values,
                   int64_t *out_columns, int64_t *cursors);

#endif
