/* Families of one variable, as products over d independent coordinates: divergence, entropy, offsets and squared
 * norms add up, features stand side by side.
 *
 * A family F with P parameters and W features gives functions of the parameters of one coordinate,
 *     F_check1, F_direct1, F_chernoff1, F_entropy1, F_sum1, F_center1, F_mean1, F_natural1,
 * and KL_SCALAR_FAMILY(F, P, W, S) makes the kl_family kl_F of them. A row holds all first parameters,
 * then all second ones; an accumulator has S numbers a coordinate.
 */
#ifndef KL_SCALAR_H
#define KL_SCALAR_H

#include "chernoff.h"
#include "terms.h"

#define KL_MOST_PARAMETERS 3

typedef int32_t kl_check1(const double *t, int *where);
typedef double kl_direct1(const double *p, const double *q);
typedef double kl_entropy1(const double *t);
typedef double kl_chernoff1(const double *p, const double *q, double s, double t);
typedef void kl_sum1(const double *t, const double *first, double *sums);
typedef void kl_center1(const double *sums, double n, const double *first, double *center);
typedef kl_feature_row kl_features1(const double *t, const double *center, double *out);

static inline void kl_gather(const double *row, int P, int64_t d, int64_t i, double *t)
{
    for (int j = 0; j < P; j++) t[j] = row[j * d + i];
}

static inline int32_t kl_each_check(kl_check1 *check, int P, const double *row, int64_t K, int64_t *where)
{
    double t[KL_MOST_PARAMETERS];
    for (int64_t i = 0, d = K / P; i < d; i++) {
        int parameter = 0;
        kl_gather(row, P, d, i, t);
        const int32_t status = check(t, &parameter);
        if (status) {
            *where = parameter * d + i;
            return status;
        }
    }
    return KL_PARAMETER_OK;
}

static inline double kl_each_direct(kl_direct1 *direct, int P, const double *p, const double *q, int64_t K)
{
    double s[KL_MOST_PARAMETERS], t[KL_MOST_PARAMETERS];
    kl_total sum = {0, 0};
    for (int64_t i = 0, d = K / P; i < d; i++) {
        kl_gather(p, P, d, i, s);
        kl_gather(q, P, d, i, t);
        kl_total_add(&sum, kl_settled(direct(s, t), s, t, P));
    }
    return kl_total_value(sum);
}

static inline double kl_each_chernoff(kl_chernoff1 *chernoff, int P, const double *p, const double *q, double s,
                                      double t, int64_t K)
{
    double a[KL_MOST_PARAMETERS], b[KL_MOST_PARAMETERS];
    kl_total sum = {0, 0};
    for (int64_t i = 0, d = K / P; i < d; i++) {
        kl_gather(p, P, d, i, a);
        kl_gather(q, P, d, i, b);
        kl_total_add(&sum, kl_settled(chernoff(a, b, s, t), a, b, P));
    }
    return kl_total_value(sum);
}

static inline double kl_each_entropy(kl_entropy1 *entropy, int P, const double *row, int64_t K)
{
    double t[KL_MOST_PARAMETERS];
    kl_total sum = {0, 0};
    for (int64_t i = 0, d = K / P; i < d; i++) {
        kl_gather(row, P, d, i, t);
        kl_total_add(&sum, entropy(t));
    }
    return kl_total_value(sum);
}

static inline void kl_each_sum(kl_sum1 *add, int P, int S, const double *row, const double *first, int64_t K,
                               double *sums)
{
    double t[KL_MOST_PARAMETERS], base[KL_MOST_PARAMETERS];
    for (int64_t i = 0, d = K / P; i < d; i++) {
        kl_gather(row, P, d, i, t);
        kl_gather(first, P, d, i, base);
        add(t, base, sums + S * i);
    }
}

static inline void kl_each_center(kl_center1 *finish, int P, int S, const double *sums, double n,
                                  const double *first, int64_t K, double *center)
{
    double base[KL_MOST_PARAMETERS], c[KL_MOST_PARAMETERS];
    for (int64_t i = 0, d = K / P; i < d; i++) {
        kl_gather(first, P, d, i, base);
        finish(sums + S * i, n, base, c);
        for (int j = 0; j < P; j++) center[j * d + i] = c[j];
    }
}

static inline kl_feature_row kl_each_features(kl_features1 *features, int P, int W, const double *row,
                                              const double *center, int64_t K, double *out)
{
    double t[KL_MOST_PARAMETERS], c[KL_MOST_PARAMETERS];
    const int64_t d = K / P;
    kl_total offset = {0, 0}, spread = {0, 0}, norm2 = {0, 0};
    for (int64_t i = 0; i < d; i++) {
        kl_gather(row, P, d, i, t);
        kl_gather(center, P, d, i, c);
        const kl_feature_row one = features(t, c, out + W * i);
        kl_total_add(&offset, one.offset);
        kl_total_add(&spread, one.spread);
        kl_total_add(&norm2, one.norm2);
    }
    const kl_feature_row all = {kl_total_value(offset), kl_total_value(spread), kl_total_value(norm2)};
    return kl_settled_features(all, out, W * d);
}

/* The parameters of each coordinate and `third` of them. Within 2^+-200 no product of the terms over- or underflows. */
static inline kl_feature_row kl_each_terms(kl_entropy1 *third, const double *row, int64_t K, double *out)
{
    const int64_t d = K / 2;
    int usable = 1;
    for (int64_t i = 0; i < d; i++) {
        double *t = out + KL_TERM_NUMBERS * i;
        kl_gather(row, 2, d, i, t);
        t[2] = third(t);
        usable &= fabs(t[0]) < 0x1p200 && fabs(t[1]) < 0x1p200 && t[2] < 0x1p200 && t[2] > 0x1p-200;
    }
    for (int64_t k = 0; k < KL_TERM_NUMBERS * d && !usable; k++) out[k] = NAN;
    return (kl_feature_row){0, usable ? 0 : INFINITY, 0};
}

/* A coordinate without usable features. */
static const kl_feature_row kl_unfit = {0, INFINITY, 0};

#define KL_SCALAR_DIRECT(F, P) \
    static int32_t F##_check(const double *row, int64_t K, int64_t *where) \
    { return kl_each_check(F##_check1, P, row, K, where); } \
    static double F##_direct(const double *p, const double *q, int64_t K, kl_work work) \
    { KL_UNUSED(work); return kl_each_direct(F##_direct1, P, p, q, K); } \
    static int64_t F##_none(int64_t K) { KL_UNUSED(K); return 0; }

#define KL_SCALAR_TERMS(F) \
    static kl_feature_row F##_terms(const double *row, int64_t K, double *out) \
    { return kl_each_terms(F##_third1, row, K, out); }

#define KL_SCALAR_ENTROPY(F, P) \
    static double F##_entropy(const double *row, int64_t K, kl_work work) \
    { KL_UNUSED(work); return kl_each_entropy(F##_entropy1, P, row, K); }

#define KL_SCALAR_CHERNOFF(F, P) \
    static double F##_chernoff(const double *p, const double *q, double s, double t, int64_t K, kl_work work) \
    { KL_UNUSED(work); return kl_each_chernoff(F##_chernoff1, P, p, q, s, t, K); }

#define KL_SCALAR_FEATURES(F, P, W, S) \
    static int64_t F##_width(int64_t K) { return K / P * W; } \
    static int64_t F##_sums(int64_t K) { return K / P * S; } \
    static void F##_accumulate(const double *row, const double *first, int64_t K, double *sums) \
    { kl_each_sum(F##_sum1, P, S, row, first, K, sums); } \
    static void F##_finish(double *sums, double n, const double *first, int64_t K, double *center) \
    { kl_each_center(F##_center1, P, S, sums, n, first, K, center); } \
    static kl_feature_row F##_mean(const double *row, const double *c, int64_t K, double *x, kl_work work) \
    { KL_UNUSED(work); return kl_each_features(F##_mean1, P, W, row, c, K, x); } \
    static kl_feature_row F##_natural(const double *row, const double *c, int64_t K, double *y, kl_work work) \
    { KL_UNUSED(work); return kl_each_features(F##_natural1, P, W, row, c, K, y); }

#define KL_SCALAR_TABLE(F, P, W, S, terms, term, common) \
    KL_SCALAR_DIRECT(F, P) KL_SCALAR_ENTROPY(F, P) KL_SCALAR_CHERNOFF(F, P) KL_SCALAR_FEATURES(F, P, W, S) \
    const kl_family kl_##F = {#F, F##_check, F##_direct, F##_entropy, F##_width, F##_none, F##_sums, F##_accumulate, \
                              F##_finish, F##_mean, F##_natural, F##_chernoff, terms, term, common};

#define KL_SCALAR_FAMILY(F, P, W, S) KL_SCALAR_TABLE(F, P, W, S, 0, KL_TERM_NONE, -1)
/* The same with a term, in vectors. */
#define KL_SCALAR_FAMILY_LINE(F, P, W, S, term) KL_SCALAR_TABLE(F, P, W, S, 0, term, -1)

/* The same with terms for rows that do not share parameter number `common`. F_third1: the third number of terms. */
#define KL_SCALAR_FAMILY_TERMS(F, W, S, term, common) \
    KL_SCALAR_TERMS(F) KL_SCALAR_TABLE(F, 2, W, S, F##_terms, term, common)

/* Not an exponential family: terms, and the direct kernel. `chernoff`: F_chernoff, after KL_SCALAR_CHERNOFF, or 0. */
#define KL_SCALAR_FAMILY_DIRECT(F, chernoff, term) \
    KL_SCALAR_TERMS(F) KL_SCALAR_DIRECT(F, 2) KL_SCALAR_ENTROPY(F, 2) \
    const kl_family kl_##F = {#F, F##_check, F##_direct, F##_entropy, F##_none, F##_none, F##_none, 0, 0, 0, 0, \
                              chernoff, F##_terms, term, -1};

#endif
