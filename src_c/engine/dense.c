/* The Dense consumer: every value of a block of rows, certified or recomputed, written once. */
#include "pairing.h"

#include <string.h>

static void put(char *at, int32_t single, double value) /* `at` may be a misaligned field of a record */
{
    const float narrow = (float)value;
    memcpy(at, single ? (const void *)&narrow : (const void *)&value, single ? sizeof narrow : sizeof value);
}

/* A finished tile to the user's array: other precision, stride or base. */
static void deliver(const kl_workspace *w, int32_t single, const kl_dense_out *out, int64_t begin,
                    int64_t col, int64_t rows, int64_t cols, int64_t stride)
{
    for (int64_t i = 0; i < rows; i++) {
        char *row = out->data + (begin + i) * out->row_stride + col * out->col_stride;
        for (int64_t j = 0; j < cols; j++) {
            double value = single ? ((float *)w->tile)[i * stride + j]
                                  : ((double *)w->tile)[i * stride + j];
            put(row + j * out->col_stride, out->single, value * out->factor);
        }
    }
}

void kl_dense_block(const kl_pairing *p, const kl_dense_out *out, int64_t begin, int64_t end,
                    int64_t col_begin, int64_t col_end, void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 0, memory);
    const int64_t n = end - begin, size = w.element;
    const int direct = out->single == p->single && out->col_stride == size
                    && out->row_stride % size == 0 && out->factor == 1
                    && (uintptr_t)out->data % (uintptr_t)size == 0;
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t col = col_begin; col < col_end; col += p->column_block) {
        const int64_t cols = col_end - col < p->column_block ? col_end - col : p->column_block;
        kl_product_args args = kl_block_args(p, &w, n, col, cols);
        args.accept = out->accept;
        args.out = direct ? out->data + begin * out->row_stride + col * size : w.tile;
        args.out_stride = direct ? out->row_stride / size : p->column_block;
        (p->single ? p->kernels->dense32 : p->kernels->dense64)(&args, stats);
        char *tile = args.out;
        if (p->right_support)
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < cols; j++)
                    if (kl_unsupported(p, &w, i, col + j))
                        put(tile + (i * args.out_stride + j) * size, p->single, INFINITY);
        for (int64_t d = 0; d < args.n_doubts; d++) {
            const int64_t i = args.doubts[d] >> 16, j = args.doubts[d] & 0xffff;
            if (p->right_support && kl_unsupported(p, &w, i, col + j)) continue;
            double value = kl_exact_value(p, &w, begin + i, col + j, stats);
            put(tile + (i * args.out_stride + j) * size, p->single, value);
        }
        if (!direct) deliver(&w, p->single, out, begin, col, n, cols, args.out_stride);
    }
}
