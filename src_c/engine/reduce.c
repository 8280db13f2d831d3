/* The Reduce consumer: sum, least or largest value of each row or each column, without the matrix.
 *
 * Sums are compensated (TwoSum: Knuth, TAOCP 2, 4.2.2). Along a row they run in lanes a tile, which are then added by
 * halves, and down a column in the order of rows: the bits depend only on where the caller splits rows and columns.
 */
#include "pairing.h"

#include <stddef.h>

#define LANES 32 /* of a row; they go through memory: while some are stored and loaded again, others have their turn */
#define LARGEST 0x1.fffffffffffffp1023

/* into[j] += x[j], the roundings to low[j]; a sum that has become infinite lost none. */
static inline void add(double *restrict into, double *restrict low, const double *restrict x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) {
        const double t = into[j] + x[j], z = t - into[j], error = (into[j] - (t - z)) + (x[j] - z);
        low[j] += t <= LARGEST ? error : 0;
        into[j] = t;
    }
}

static inline void least(double *restrict into, const double *restrict x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) into[j] = x[j] < into[j] ? x[j] : into[j];
}

static inline void largest(double *restrict into, const double *restrict x, int64_t n)
{
    for (int64_t j = 0; j < n; j++) into[j] = x[j] > into[j] ? x[j] : into[j];
}

static inline void take(int32_t op, double *into, double *low, const double *x, int64_t n)
{
    if (op == KL_REDUCE_SUM) add(into, low, x, n);
    else if (op == KL_REDUCE_MIN) least(into, x, n);
    else largest(into, x, n);
}

/* n values of a row into one. */
static void take_row(int32_t op, double *into, double *low, const double *x, int64_t n)
{
    const int64_t whole = n - n % LANES;
    double lanes[LANES], rest[LANES] = {0};
    for (int j = 0; j < LANES; j++) lanes[j] = op == KL_REDUCE_SUM ? 0 : *into;
    for (int64_t at = 0; at < whole; at += LANES) take(op, lanes, rest, x + at, LANES);
    take(op, lanes, rest, x + whole, n - whole);
    for (int half = LANES / 2; half; half /= 2) {
        take(op, lanes, rest, lanes + half, half);
        for (int j = 0; j < half; j++) rest[j] += rest[half + j];
    }
    take(op, into, low, lanes, 1);
    *low += *rest;
}

void kl_reduce_block(const kl_pairing *p, int32_t op, int32_t over_rows, double accept, int64_t begin, int64_t end,
                     int64_t col_begin, int64_t col_end, double *result, double *low, void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 0, memory);
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t col = col_begin; col < col_end; col += p->column_block) {
        const int64_t cols = col_end - col < p->column_block ? col_end - col : p->column_block;
        const int64_t first = col - col_begin;
        int64_t stride;
        const double *tile = kl_value_tile(p, &w, accept, begin, end - begin, col, cols, NULL, &stride, 0, stats);
        for (int64_t i = 0; i < end - begin; i++)
            if (over_rows) take(op, result + first, low + first, tile + i * stride, cols);
            else take_row(op, result + i, low + i, tile + i * stride, cols);
    }
}
