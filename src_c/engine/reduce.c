/* The Reduce consumer: sum, least or largest value of each row or each column, without the matrix.
 *
 * Values are taken one by one in the order of rows and columns, whatever the blocks, and sums are compensated
 * (Neumaier, ZAMM 54, 1974): the bits depend only on where the caller splits rows and columns.
 */
#include "pairing.h"

#include <stddef.h>

static void add(double *sum, double *low, double x)
{
    const double t = *sum + x;
    if (t <= 0x1.fffffffffffffp1023) *low += *sum >= x ? (*sum - t) + x : (x - t) + *sum;
    *sum = t;
}

static void take(int32_t op, double *into, double *low, double x)
{
    if (op == KL_REDUCE_SUM) add(into, low, x);
    else if (op == KL_REDUCE_MIN ? x < *into : x > *into) *into = x;
}

void kl_reduce_block(const kl_pairing *p, int32_t op, int32_t over_rows, double accept, int64_t begin, int64_t end,
                     int64_t col_begin, int64_t col_end, double *result, double *low, void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 0, memory);
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t col = col_begin; col < col_end; col += p->column_block) {
        const int64_t cols = col_end - col < p->column_block ? col_end - col : p->column_block;
        int64_t stride;
        const void *tile = kl_value_tile(p, &w, accept, begin, end - begin, col, cols, NULL, &stride, stats);
        for (int64_t i = 0; i < end - begin; i++)
            for (int64_t j = 0; j < cols; j++) {
                const int64_t from = i * stride + j, at = over_rows ? col - col_begin + j : i;
                const double x = p->single ? ((const float *)tile)[from] : ((const double *)tile)[from];
                take(op, result + at, low + at, x);
            }
    }
}
