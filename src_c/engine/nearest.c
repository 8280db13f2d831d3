/* The nearest of few columns, rows in the lanes (few.h): what the screen leaves, little more than one column a row, goes
 * straight to the exact values, and the least of those to the answer, without lists of candidates. */
#include "pairing.h"

int kl_takes_nearest(const kl_pairing *p, const kl_top *top, int64_t cols)
{
    return top->k == 1 && !top->skip_self && p->single && kl_shape_of(p->divergence) == KL_PRODUCT
        && !p->right_support && !p->bytes.bytes && cols <= KL_FEW && cols <= p->column_block
        && kl_width_of(p->divergence, p->left) <= KL_FEW_BINS;
}

void kl_nearest_block(const kl_pairing *p, kl_workspace *w, int64_t begin, int64_t end, int64_t col_begin,
                      int64_t col_end, double *values, int64_t *columns, kl_stats *stats)
{
    const int64_t together = kl_pairs_together(p);
    int64_t rows[KL_TOGETHER], cols[KL_TOGETHER], count = 0;
    double exact[KL_TOGETHER];
    w->panel_rows = w->panel_cols;
    w->up_to_shift = 1;
    kl_encode_left(p, w, begin, end, stats);
    kl_product_args args = kl_block_args(p, w, end - begin, col_begin, col_end - col_begin);
    args.kept = w->hit_value;
    p->kernels->nearest(&args, stats);
    stats->candidates += (uint64_t)args.n_doubts;
    for (int64_t i = 0; i < end - begin; i++) { /* infinitely far from all columns: the first */
        values[i] = INFINITY;
        columns[i] = col_begin;
    }
    for (int64_t h = 0; h < args.n_doubts; h++) {
        rows[count] = begin + (args.doubts[h] >> 16);
        cols[count++] = col_begin + (args.doubts[h] & 0xffff);
        if (count < together && h < args.n_doubts - 1) continue;
        kl_exact_values(p, w, count, rows, cols, exact, stats);
        for (int64_t t = 0; t < count; t++) {
            const int64_t i = rows[t] - begin;
            const int nearer = exact[t] < values[i]; /* columns ascend: of equal ones the first stays */
            values[i] = nearer ? exact[t] : values[i];
            columns[i] = nearer ? cols[t] : columns[i];
        }
        count = 0;
    }
}
