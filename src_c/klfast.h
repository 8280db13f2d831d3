/* The C interface of klfast: what every ISA provides, and with engine/engine.h, included at the end, all that Cython may
 * call.
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

/* How many bytes beyond what they read loops over rows ask for memory: the processor itself fetches ahead only within a
 * page, and too late. Zen 5, two cores: KL of 1,000,000 x 64 row by row takes 8% less time in float64, 35% in float32; all
 * pairs with 16 rows, whose check comes first to 2,000,000 x 32, 20% (2 to 6 KiB alike). Rows in the cache take up to 4%
 * longer. Zen 4: logits, 64 to 256 bins, 4% to 9% less. */
#define KL_FURTHER 4096

/* Some columns of a matrix that comes in parts: float64, at any strides (0: a value for all). With a `side` they are the
 * lower triangle of a square matrix, by its lines, which are line_stride bytes apart. */
typedef struct {
    const char *data;
    int64_t row_stride, col_stride, n_cols, side, line_stride;
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
    int32_t by_overlap;  /* POWER of rows far apart: tiles are products that give sum p^s q^t (kl_has_overlap) */
} kl_divergence;

/* The tiles that the fast form runs in: a product of features, or a sum over bins of a function of two features. */
typedef enum {
    KL_PRODUCT, KL_SUM_JS, KL_SUM_SKEW, KL_SUM_ABS, KL_SUM_TRIANGLE,
    KL_PRODUCT_BENT, /* a dense product whose bound is compared with a bent value, see kl_product_args */
    KL_SUM_FAMILY,   /* a sum over coordinates of a family's terms, in float64 only */
    KL_OVERLAP,      /* a product of features which is sum p^s q^t / (s t); searches in float64 only */
    KL_SHAPE_COUNT
} kl_shape;
kl_shape kl_shape_of(const kl_divergence *);
/* Whether all pairs with these rows as columns are sums of their family's terms: it has terms, and no product form, or
 * these rows do not share the parameter which that needs in common. */
int kl_by_terms(const kl_divergence *, const kl_rows *);
/* Whether rows of this domain can be compared by_overlap, and better so if they are far apart. */
int kl_has_overlap(const kl_divergence *, int32_t domain);
int kl_is_symmetric(const kl_divergence *);
#define KL_LINE_STEP 8 /* coordinates of families come in multiples of it: see family_line */
/* Pairs of Dirichlet rows side by side: what dirichlet_rest finds and dirichlet_gap takes. */
typedef struct { double rest[KL_LINE_STEP], x[KL_LINE_STEP], y[KL_LINE_STEP], s[KL_LINE_STEP], t[KL_LINE_STEP],
                        e[KL_LINE_STEP], det[KL_LINE_STEP]; } kl_dirichlet_rows;
/* Features a row: K, or of a family its own number; twice that for Jeffreys. */
int64_t kl_width_of(const kl_divergence *, const kl_rows *);

/* Which empty bins make a value infinite: none, those of q where p has mass, those of one where the other has, or all
 * bins together, none of which both have. */
typedef enum { KL_SUPPORT_FREE, KL_SUPPORT_WITHIN, KL_SUPPORT_EQUAL, KL_SUPPORT_MEETING } kl_support;
kl_support kl_support_of(const kl_divergence *);

/* ---- what a block of work leaves behind besides its values ---------------------------------- */

typedef struct {
    uint64_t recomputed;    /* pairs left to the direct kernel            */
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
    double balance;        /* Jeffreys: by what mean features grow and natural ones shrink, a power of two */
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
    double number;             /* JS: p's weight; SKEW: 1 / (1 - a); OVERLAP: s t */
    double relative;           /* SUM_FAMILY, OVERLAP: the relative error of a value; 0 of the others */
    int32_t term, turned;      /* SUM_FAMILY: kl_family_term; p on the right */
    int32_t both;              /* Jeffreys: both directions, of a product its two halves */
    int64_t rows, cols;        /* real ones; panels are padded              */
    double accept, bend;       /* dense: certified if accept * value * (1 - bend * value) >= bound; bend is 0 but
                                  for KL_PRODUCT_BENT */
    const kl_divergence *finish; /* dense: to be applied to the values, doubts aside; NULL: none */
    kl_far far;                /* dense: sums over bins */
    double far_from;           /* dense: it is tried for pairs whose slacks add up to 1 / far_from; 0: none */
    double least, most;        /* dense, OVERLAP: instead, certified if the sum p^s q^t is between them */
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
    /* out[k]: what coordinate k adds to KL, for n of them, a multiple of KL_LINE_STEP, with `both` also the other way
     * round; NaN: left to the direct form. p[j], q[j]: parameters number j, one or two by the term. */
    void (*family_line)(int32_t term, int32_t both, const double *const *p, const double *const *q, int64_t n,
                        double *out);
    /* KL of Dirichlet rows, KL_LINE_STEP of them: all but their largest components a row at a time, then those. NaN: left
     * to the direct form. Rows that are not there are copies of others. */
    void (*dirichlet_rest)(const double *p, const double *q, int64_t K, int lane, kl_dirichlet_rows *rows);
    void (*dirichlet_gap)(const kl_dirichlet_rows *rows, double *out);
    const kl_triangles *triangles; /* for families with a full covariance */
} kl_kernels;

/* ---- dispatch ------------------------------------------------------------------------------------ */

/* Best first; the last entry runs everywhere. */
int kl_isa_count(void);
const kl_kernels *kl_isa_at(int position);
int kl_isa_supported(int position);   /* this processor and this operating system can run it */

#include "engine/engine.h"

#endif
