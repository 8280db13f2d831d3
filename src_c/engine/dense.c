/* The Dense consumer: every value of a block of rows, certified or recomputed, written once. */
#include "pairing.h"

#include <string.h>

/* A finished tile to the user's array: other precision or stride, or a misaligned field of a record. */
static void deliver(const kl_workspace *w, int32_t single, const kl_dense_out *out, int64_t begin,
                    int64_t col, int64_t rows, int64_t cols, int64_t stride)
{
    for (int64_t i = 0; i < rows; i++) {
        char *row = out->data + (begin + i) * out->row_stride + col * out->col_stride;
        for (int64_t j = 0; j < cols; j++) {
            const double value = single ? ((float *)w->tile)[i * stride + j] : ((double *)w->tile)[i * stride + j];
            const float narrow = (float)value;
            memcpy(row + j * out->col_stride, out->single ? (const void *)&narrow : (const void *)&value,
                   out->single ? sizeof narrow : sizeof value);
        }
    }
}

void kl_dense_block(const kl_pairing *p, const kl_dense_out *out, int64_t begin, int64_t end,
                    int64_t col_begin, int64_t col_end, void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, 0, memory);
    const int64_t n = end - begin, size = w.element;
    const int in_place = out->single == p->single && out->col_stride == size && out->row_stride % size == 0
                      && (uintptr_t)out->data % (uintptr_t)size == 0;
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t col = col_begin; col < col_end; col += p->column_block) {
        const int64_t cols = col_end - col < p->column_block ? col_end - col : p->column_block;
        int64_t stride = out->row_stride / size;
        char *target = in_place ? out->data + begin * out->row_stride + col * size : NULL;
        kl_value_tile(p, &w, out->accept, begin, n, col, cols, target, &stride, in_place && out->stream, stats);
        if (!in_place) deliver(&w, p->single, out, begin, col, n, cols, stride);
    }
}
