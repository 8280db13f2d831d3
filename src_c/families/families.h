/* Parametric families of distributions: their mathematics on one row at a time.
 *
 * A row is the K float64 parameters of one distribution, contiguous. KL of an exponential family is a
 * Bregman divergence, so around any centre c of the same family
 *     KL(p||q) = KL(p||c) + KL(c||q) - (mean(p) - mean(c)) . (natural(q) - natural(c)),
 * and all pairs are one matrix product of the features
 *     x = M^-T (mean(p) - mean(c)),     y = M (natural(q) - natural(c)),
 * where M is free: each family takes one that whitens (|x|, |y| about sqrt(2 KL)) and that gives directions in
 * which the statistics are nearly collinear a feature of their own.
 *
 * Layouts (d numbers each, one distribution over d independent coordinates; d = 1 is the plain family):
 *     normal, log_normal, laplace, gumbel, cauchy     loc[d], scale[d]
 *     half_normal, rayleigh                           scale[d]
 *     bernoulli, geometric, bernoulli_logits          probs[d] or logits[d]
 *     binomial, negative_binomial                     total_count[d], probs[d]
 *     poisson, exponential                            rate[d]
 *     gamma, inverse_gamma                            concentration[d], rate[d]
 *     chi2                                            df[d]
 *     beta                                            concentration1[d], concentration0[d]
 *     pareto                                          scale[d], alpha[d]
 *     weibull                                         scale[d], concentration[d]
 *     inverse_gaussian                                loc[d], concentration[d]
 *     von_mises                                       loc[d], concentration[d]            (uniform: both 0)
 *     uniform                                         low[d], high[d]
 * and, not a product over coordinates:
 *     dirichlet                                       concentration[K]
 *     von_mises_fisher                                loc[d], concentration               (K = d + 1)
 *     multivariate_normal                             loc[d], rows of scale_tril          (K = d + d(d+1)/2)
 *     wishart                                         df, rows of scale_tril              (K = 1 + d(d+1)/2)
 * A lower triangle is stored by rows, without the zeros above the diagonal: L00, L10, L11, L20, ...
 *
 * Nothing here allocates, checks (but for `check`) or keeps state; any function may run in any thread. All but what
 * kl_triangles does is compiled once, for every processor.
 */
#ifndef KL_FAMILIES_H
#define KL_FAMILIES_H

#include <stdint.h>

#ifndef KL_FEATURE_ROW_DEFINED
#define KL_FEATURE_ROW_DEFINED
/* The numbers of a row beside its features, such that for a mean row i and a natural row j
 *     | offset_i + offset_j - x_i . y_j - KL |  <=  gamma sqrt(norm2_i norm2_j) + 32 u (spread_i + spread_j),
 * gamma = n u / (1 - n u), n = 16 + the longest chain of additions of the product. Infinite spread: the row has
 * no usable features (they are zeros), and all of its pairs belong to the direct kernel. */
typedef struct { double offset, spread, norm2; } kl_feature_row;
#endif

/* Why a parameter was refused. */
typedef enum {
    KL_PARAMETER_OK, KL_PARAMETER_NAN, KL_PARAMETER_INFINITE, KL_PARAMETER_NEGATIVE, KL_PARAMETER_NOT_POSITIVE,
    KL_PARAMETER_NOT_PROBABILITY, KL_PARAMETER_NOT_INTEGER, KL_PARAMETER_NOT_ABOVE_LOW, KL_PARAMETER_NOT_UNIT,
    KL_PARAMETER_BELOW_DIMENSION
} kl_parameter_status;

/* What is added up over coordinates in vectors: row by row (kernels/family_lines.h), of one parameter and, from Normal on,
 * of two; from Laplace on in the tiles of KL_SUM_FAMILY, too (kernels/family_terms.h). Dirichlet's are those of a row that
 * do not stand for themselves (kernels/dirichlet_rows.h). */
typedef enum {
    KL_TERM_NONE, KL_TERM_HALF_NORMAL, KL_TERM_RAYLEIGH, KL_TERM_EXPONENTIAL, KL_TERM_POISSON, KL_TERM_BERNOULLI,
    KL_TERM_LOGIT, KL_TERM_GEOMETRIC, KL_TERM_CHI2,
    KL_TERM_NORMAL, KL_TERM_BINOMIAL, KL_TERM_NEGATIVE_BINOMIAL, KL_TERM_INVERSE_GAUSSIAN, KL_TERM_GAMMA, KL_TERM_BETA,
    KL_TERM_LAPLACE, KL_TERM_GUMBEL, KL_TERM_WEIBULL, KL_TERM_PARETO, KL_TERM_CAUCHY, KL_TERM_UNIFORM,
    KL_TERM_DIRICHLET
} kl_family_term;
#define KL_TERM_NUMBERS 3 /* that stand for a coordinate in a tile */

/* What a lower triangle L beside a column is computed with, in the vectors of an ISA (kernels/triangles.h). Triangles as
 * the rows of a family have them are stored by rows without the zeros above the diagonal; results have d rows of
 * kl_stride(d) numbers: column 0, then the triangle's row, then zeros. */
static inline int64_t kl_stride(int64_t d) { return (d + 8) / 8 * 8; }
typedef struct {
    /* E + low = L^-1 [m - n, A - L diag(s)] in twice the precision: the error of E is its last rounding, u |E|, while the
     * condition of L is far below 1/u. low NULL: E in double, in a fifth of the time. s NULL: ones; m NULL: zeros. */
    void (*ratio)(const double *L, const double *A, const double *s, const double *m, const double *n, int64_t d,
                  double *E, double *low);
    /* out[j] += sum over k in [begin, end) of X[k][column] X[k][j], X = X + low, j < columns and further to a whole
     * vector, in twice the precision, then rounded once. out_low: what `out` lacks. `upper`: X[k][j] is 0 for k > j + 1. */
    void (*add_products)(const double *X, const double *low, int64_t stride, int64_t column, int64_t begin, int64_t end,
                         int upper, int64_t columns, double *out, const double *out_low);
    /* The sum of all squares of such a result; without the triangle's diagonal if `diagonal` is 0. Beyond the range of
     * double: infinite or NaN. */
    double (*norm2)(const double *E, int64_t d, int diagonal);
} kl_triangles;

/* What a function may use: scratch(K) doubles, and an ISA. */
typedef struct {
    double *scratch;
    const kl_triangles *triangles;
} kl_work;

typedef struct {
    const char *name;

    /* 0, or a kl_parameter_status; then *where is the number of the parameter in the row. */
    int32_t (*check)(const double *row, int64_t K, int64_t *where);

    /* KL(p||q) of valid rows in nats: +0.0 iff the distributions are equal, inf where q lacks support (or beyond
     * the range of double), never negative or NaN. Relative error at most 1e-14; 1e-13 for directions (von Mises,
     * von Mises-Fisher). Nothing cancels: a closed form is written as terms that are never negative, each made from
     * differences of parameters. */
    double (*direct)(const double *p, const double *q, int64_t K, kl_work work);

    /* Entropy in nats (differential for densities). */
    double (*entropy)(const double *row, int64_t K, kl_work work);

    int64_t (*width)(int64_t K);    /* features of a row; 0: no product form, only `direct`              */
    int64_t (*scratch)(int64_t K);  /* doubles of scratch that any of these functions may use            */
    int64_t (*sums)(int64_t K);     /* doubles of an accumulator, zeros at the start; they add up, so that
                                     * accumulators of parts of the rows may be added                    */

    /* The centre of n reference rows: accumulate them, then finish. `first` is any of them; sums are relative
     * to it, so that no digits are lost where rows are close together. A parameter that the product form
     * needs in common (the location of Laplace, the shape of Weibull) is taken from `first`. */
    void (*accumulate)(const double *row, const double *first, int64_t K, double *sums);
    void (*finish)(double *sums, double n, const double *first, int64_t K, double *center);

    /* Features of a row around a centre (K parameters, valid, inside the domain). */
    kl_feature_row (*mean)(const double *row, const double *center, int64_t K, double *x, kl_work work);
    kl_feature_row (*natural)(const double *row, const double *center, int64_t K, double *y, kl_work work);

    /* |log(integral of p^s q^t)|, t = 1 - s, s > 0 and not 1: +0.0 iff equal, never negative; s < 1: inf for disjoint
     * supports, s > 1: inf where the integral is; or NULL. NaN where a parameter differs that must be common (counts of
     * Binomial and NegativeBinomial, the shape of Weibull, the scale of Gumbel): callers ask for equal ones. */
    double (*chernoff)(const double *p, const double *q, double s, double t, int64_t K, kl_work work);

    /* For the tiles of families without a product form, or whose rows do not share the parameter number `common` (-1:
     * none) which theirs needs: KL_TERM_NUMBERS a coordinate, whatever the role. A row with a parameter beyond 2^+-200
     * gets NaN and an infinite spread. NULL: no terms. */
    kl_feature_row (*terms)(const double *row, int64_t K, double *out);
    int32_t term, common; /* term: a kl_family_term, for values row by row, too; NONE: by `direct` alone */
} kl_family;

int kl_family_count(void);
const kl_family *kl_family_at(int number);
const kl_family *kl_family_named(const char *name); /* NULL: there is none */

/* The length of the mean of directions in R^d of this concentration, I_(d/2) / I_(d/2-1), and its derivative. */
double kl_mean_length(double concentration, double d, double *slope);

/* The tables behind kl_family_at, one a file. */
extern const kl_family kl_normal, kl_log_normal, kl_half_normal, kl_rayleigh, kl_multivariate_normal;
extern const kl_family kl_bernoulli, kl_bernoulli_logits, kl_binomial, kl_geometric, kl_negative_binomial, kl_poisson;
extern const kl_family kl_exponential, kl_pareto, kl_weibull, kl_laplace, kl_gumbel, kl_cauchy, kl_uniform;
extern const kl_family kl_gamma, kl_inverse_gamma, kl_chi2, kl_inverse_gaussian, kl_beta, kl_dirichlet;
extern const kl_family kl_von_mises, kl_von_mises_fisher, kl_wishart;

#endif
