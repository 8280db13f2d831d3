/* A row's list of candidates for its k nearest: bounds, and the exact value once it is known. */
#ifndef KLFAST_CANDIDATES_H
#define KLFAST_CANDIDATES_H

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    float low, high; /* the sum lies between, up to the row's shift */
    union {
        double exact; /* NaN: not known yet                  */
        int64_t key;  /* of it, within kl_sort_candidates    */
    };
    int64_t column;
} candidate;

typedef struct {
    int64_t count;
    candidate list[];
} candidates;

static inline int is_known(const candidate *c) { return c->exact == c->exact; }

/* Floats on both sides of a number, 2^-22 away for all roundings since its bounds. */
static inline float below(double x)
{
    const double low = x - fabs(x) * 0x1p-22 - FLT_MIN;
    return low < FLT_MAX ? (float)low : FLT_MAX;
}

static inline float above(double x)
{
    const double high = x + fabs(x) * 0x1p-22 + FLT_MIN;
    return high < -FLT_MAX ? -FLT_MAX : high < FLT_MAX ? (float)high : INFINITY;
}

/* Integers in the order of the floats that they stand for. */
static inline int32_t key_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits ^ ((bits >> 31) & INT32_MAX);
}

/* The k-th smallest of n numbers (k from 1) by their keys. */
float kl_kth_smallest(const int32_t *keys, int64_t n, int64_t k);

/* Drop what cannot be among the k nearest; returns a bound of the k-th value from above. Needs count >= k and keys for
 * count numbers. */
float kl_thin(candidates *, int64_t k, int32_t *keys);

/* Known candidates by (value, column). space: room for n. */
void kl_sort_candidates(candidate *, int64_t n, candidate *space);

#endif
