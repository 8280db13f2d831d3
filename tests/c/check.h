/* Counting checks, random numbers, memory between guard pages. */
#ifndef CHECK_H
#define CHECK_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>

#include "klfast.h"

extern long passed, failed;

#define CHECK(condition, ...)                                                   \
    do {                                                                        \
        if (condition) passed++;                                                \
        else if (failed++ < 25) {                                               \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);              \
            printf(__VA_ARGS__);                                                \
            printf("\n");                                                       \
        }                                                                       \
    } while (0)

/* Memory with an inaccessible page before and after it. A block lies at its very end or its very start, so that
 * one byte too far on that side is a crash. */
typedef struct { char *begin, *end; } region;
typedef enum { AT_END, AT_START } side;
region region_new(size_t bytes);
void *place(region, size_t bytes, side);

uint64_t random_bits(void);
double uniform(double low, double high);

/* |a - b| <= tolerance * |b|; infinities and zeros exactly. */
int close_to(double a, long double b, double tolerance);

/* Lengths around every group of lanes and block of sums: 0 to 2 * 8 + 1, and around 64 and 128. */
extern const int64_t lengths[];
extern const int n_lengths;

void test_team(void);
void test_reading(const kl_kernels *);
void test_scanning(const kl_kernels *);
void test_direct(const kl_kernels *);
void test_rows(const kl_kernels *);
void test_encoding(const kl_kernels *);
void test_products(const kl_kernels *);
void test_terms(const kl_kernels *);
void test_values(const kl_kernels *);
void test_features(const kl_kernels *);
void test_finish(const kl_kernels *);
void test_family_terms(const kl_kernels *);
void test_triangles(const kl_kernels *);
void test_coarse(const kl_kernels *);
void test_few(const kl_kernels *);
void test_overlap(const kl_kernels *);
void test_offsets(const kl_kernels *);
void test_float32_rows(const kl_kernels *);
void test_logits(const kl_kernels *);
void test_brief_logits(const kl_kernels *);
void test_brief_near(const kl_kernels *);
void test_brief_halves(const kl_kernels *);

/* A contiguous float64 matrix. */
kl_rows matrix(const double *data, int64_t n, int64_t K, kl_domain domain);

enum { MOST_BINS = 300, MOST_ROWS = 40 };

/* The mean of up to MOST_ROWS rows, and what the features need of it. */
typedef struct {
    double row[MOST_BINS], probs[MOST_BINS], scale[MOST_BINS], unscale[MOST_BINS], inverse[MOST_BINS];
    kl_center c;
} center_of_rows;
void make_center(const kl_kernels *, const double *x, int64_t n, int64_t K, kl_domain, center_of_rows *);

/* D(p || q) of one pair. */
static inline double direct_value(const kl_kernels *k, const kl_divergence *f, int32_t domain, const double *p,
                                  kl_norm np, const double *q, kl_norm nq, int64_t K)
{
    const kl_row_pair pair = {p, q, np, nq};
    double value;
    k->values(f, domain, &pair, 1, K, &value);
    return value;
}

/* Element i of an array of floats or of doubles. */
double get(const void *x, int64_t i, int single);
void set(void *x, int64_t i, int single, double value);

/* (p log(p/q) - p + q) / q of z = (p - q) / q: (1 + z) log(1 + z) - z, without its cancellation. */
long double term_over_q(long double z);

/* What the tile of a shape adds up: x y, or a function of two features and the centre (src_c/kernels/elementwise.h).
 * `size` gets the magnitude of the parts that it is made of. */
long double tile_term(kl_shape, double x, double y, double c, double number, long double *size);
#endif
