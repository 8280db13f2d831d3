/* The Within consumer: every pair whose exact value is at most a radius. The screen lets through what may be; the
 * direct kernel decides. */
#include "pairing.h"

#include <float.h>
#include <stdlib.h>

void kl_within_begin(const kl_pairing *p, double radius, int64_t begin, int64_t end, void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 1, memory);
    kl_encode_left(p, &w, begin, end, stats);
    const double limit = kl_unfinished(p->divergence, radius) * (1 + 0x1p-40) + DBL_MIN; /* room for roundings */
    for (int64_t i = 0; i < (end - begin + w.panel_rows - 1) / w.panel_rows * w.panel_rows; i++) {
        const double threshold = i < end - begin ? limit : -INFINITY;
        const float above = threshold < FLT_MAX ? nextafterf((float)threshold, FLT_MAX) : FLT_MAX;
        if (p->single) ((float *)w.threshold)[i] = above;
        else ((double *)w.threshold)[i] = threshold < DBL_MAX ? threshold : DBL_MAX;
    }
}

int64_t kl_within_tile(const kl_pairing *p, double radius, int32_t skip_self, int64_t begin, int64_t end, int64_t col,
                       int64_t cols, void *memory, kl_hit *hits, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 1, memory);
    kl_product_args args = kl_block_args(p, &w, end - begin, col, cols);
    int64_t count = 0;
    p->kernels->screen[p->single][kl_shape_of(p->divergence)](&args, stats);
    for (int64_t h = 0; h < args.n_doubts; h++) {
        const int64_t i = args.doubts[h] >> 16, j = col + (args.doubts[h] & 0xffff);
        if (j >= col + cols || (skip_self && j == begin + i)) continue;
        if (p->right_support && kl_unsupported(p, &w, i, j)) continue;
        stats->candidates++;
        const double value = kl_exact_value(p, &w, begin + i, j, stats);
        if (value <= radius) hits[count++] = (kl_hit){value, begin + i, j};
    }
    return count;
}

static int by_value(const void *a, const void *b)
{
    const kl_hit *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

void kl_within_sort(const kl_hit *hits, int64_t count, int64_t begin, int64_t end, const int64_t *starts,
                    int64_t *cursors, kl_hit *space, double *values, int64_t *columns)
{
    int64_t most = 0;
    for (int64_t i = begin; i < end; i++) cursors[i - begin] = starts[i] - starts[begin];
    for (int64_t h = 0; h < count; h++) space[cursors[hits[h].row - begin]++] = hits[h];
    for (int64_t i = begin; i < end; i++) {
        const int64_t from = starts[i] - starts[begin], n = starts[i + 1] - starts[i];
        qsort(space + from, (size_t)n, sizeof *space, by_value);
        most = from + n;
    }
    for (int64_t t = 0; t < most; t++) {
        values[starts[begin] + t] = space[t].value;
        columns[starts[begin] + t] = space[t].column;
    }
}
