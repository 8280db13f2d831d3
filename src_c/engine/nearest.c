/* The nearest of few columns, rows in the lanes (few.h): what the screen leaves, little more than one column a row,
 * goes straight to the exact values, and the least of those to the answer, without lists of candidates. A panel of rows
 * at a time, so that each row comes from memory once; the next panel's, the block's end or not, are asked for between
 * exact values, because all at once they would be waited for. */
#include "pairing.h"

#include <stddef.h>

int kl_takes_nearest(const kl_pairing *p, const kl_top *top, int64_t cols)
{
    return top->k == 1 && !top->skip_self && p->single && kl_shape_of(p->divergence) == KL_PRODUCT
        && !p->right_support && cols <= p->column_block && (cols <= KL_FEW || (top->few && cols == p->right->n_rows));
}

/* A family's exact values take longer than what bytes save. */
int64_t kl_few_floats(const kl_pairing *p, const kl_top *top)
{
    const int64_t cols = p->right->n_rows, K = kl_width_of(p->divergence, p->right);
    kl_top with = *top;
    with.few = (const float *)p->features; /* any */
    const int takes = p->bytes.bytes && !p->left->family && cols <= KL_FEW_MOST && K <= KL_FEW_BINS;
    return takes && kl_takes_nearest(p, &with, cols) ? KL_FEW_FLOATS(K, cols) : 0;
}

int kl_checks_left(const kl_pairing *p, const kl_top *top)
{
    return p->unchecked && (kl_takes_nearest(p, top, p->right->n_rows) || kl_few_floats(p, top));
}

/* Whether rows [begin, end) may be used, and none before them has been refused. (Blocks come in any order: a row that
 * was refused further down says nothing about these.) */
static int checked(const kl_pairing *p, const kl_workspace *w, int64_t begin, int64_t end, kl_stats *stats)
{
    int32_t zeros = 0; /* not asked for */
    if (!p->unchecked) return 1;
    p->kernels->scan(p->left, begin, end, p->sum_tolerance, p->unchecked, &zeros, w->scratch, stats);
    return stats->status == KL_ROW_OK || stats->status_row >= end;
}

void kl_few_columns(const kl_pairing *p, float *few)
{
    const kl_workspace w = kl_workspace_over(p, 0, NULL);
    const kl_product_args args = kl_block_args(p, &w, 0, 0, p->right->n_rows);
    p->kernels->few_columns(&args, few);
}

/* Pairs whose exact values are computed together, and the answer that they belong to, from row `begin` on. */
typedef struct {
    int64_t count, rows[KL_TOGETHER], cols[KL_TOGETHER], begin, *columns;
    double *values;
} pairs;

static void settle(const kl_pairing *p, const kl_workspace *w, pairs *b, kl_stats *stats)
{
    double exact[KL_TOGETHER];
    kl_exact_values(p, w, b->count, b->rows, b->cols, exact, stats);
    for (int64_t t = 0; t < b->count; t++) {
        const int64_t i = b->rows[t] - b->begin;
        const int nearer = exact[t] < b->values[i]; /* columns ascend: of equal ones the first stays */
        b->values[i] = nearer ? exact[t] : b->values[i];
        b->columns[i] = nearer ? b->cols[t] : b->columns[i];
    }
    b->count = 0;
}

void kl_nearest_block(const kl_pairing *p, const float *few, kl_workspace *w, int64_t begin, int64_t end,
                      int64_t col_begin, int64_t col_end, double *values, int64_t *columns, kl_stats *stats)
{
    const int64_t together = kl_pairs_together(p), panel = w->panel_cols;
    pairs b = {.count = 0, .begin = begin, .columns = columns, .values = values};
    w->panel_rows = panel;
    w->up_to_shift = 1;
    for (int64_t i = 0; i < end - begin; i++) { /* infinitely far from all columns: the first */
        values[i] = INFINITY;
        columns[i] = col_begin;
    }
    for (int64_t r = begin; r < end; r += panel) {
        const int64_t rows = end - r < panel ? end - r : panel;
        if (!checked(p, w, r, r + rows, stats)) return;
        kl_encode_left(p, w, r, r + rows, stats);
        kl_product_args args = kl_block_args(p, w, rows, col_begin, col_end - col_begin);
        args.kept = w->hit_value;
        args.few = few;
        p->kernels->nearest(&args, stats);
        stats->candidates += (uint64_t)args.n_doubts;
        for (int64_t h = 0; h < args.n_doubts; h++) {
            if (r + panel + h < p->left->n_rows) kl_prefetch(p->left, p->left_norms, r + panel + h);
            b.rows[b.count] = r + (args.doubts[h] >> 16);
            b.cols[b.count++] = col_begin + (args.doubts[h] & 0xffff);
            if (b.count == together) settle(p, w, &b, stats);
        }
    }
    settle(p, w, &b, stats);
}
