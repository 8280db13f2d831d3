/* What the consumers of tiles share: a thread's workspace, the encoded rows, exact values. */
#ifndef KLFAST_PAIRING_H
#define KLFAST_PAIRING_H

#include <math.h>

#include "../klfast.h"

typedef struct {
    void *features, *offset, *norm, *slack; /* of the rows in work */
    int32_t up_to_shift;                    /* see kl_encode_args */
    kl_bytes coarse;
    uint64_t *support;
    uint32_t *doubts;
    void *hit_value, *hit_bound, *threshold, *tile;
    double *scratch;          /* kl_scratch_of doubles */
    char *candidates;         /* top-k: room for row_block lists */
    void *sorting;            /* top-k: room for a list */
    int32_t *selection;       /* top-k: room for the numbers of a list, or SELECTION */
    int64_t panel_rows, panel_cols, element, words, width, bytes; /* width: features a row */
} kl_workspace;

#define SELECTION 256

/* Bytes of a row's list of candidates. */
static inline int64_t kl_list_bytes(int64_t capacity) { return 8 + capacity * 24; }

/* Lay a workspace out over `memory` (NULL: only count the bytes). */
kl_workspace kl_workspace_over(const kl_pairing *, int64_t top_capacity, void *memory);

/* Encode rows [begin, end) into the workspace. */
void kl_encode_left(const kl_pairing *, kl_workspace *, int64_t begin, int64_t end, kl_stats *);

/* The product's arguments for columns [col, col + cols) against the encoded rows. */
kl_product_args kl_block_args(const kl_pairing *, const kl_workspace *, int64_t rows, int64_t col,
                              int64_t cols);

/* Is the pair infinite by an empty bin (kl_support_of)? `row` counts from the block's first. */
int kl_unsupported(const kl_pairing *, const kl_workspace *, int64_t row, int64_t col);

/* The finished value of a pair by the direct kernel; +0.0 without work where the rows are known to be equal. */
double kl_exact_value(const kl_pairing *, const kl_workspace *, int64_t i, int64_t j, kl_stats *);

/* The same of n pairs, at most kl_pairs_together. */
int64_t kl_pairs_together(const kl_pairing *);
void kl_exact_values(const kl_pairing *, const kl_workspace *, int64_t n, const int64_t *i, const int64_t *j,
                     double *out, kl_stats *);

/* A value to element `at` of a tile. */
static inline void kl_put(void *tile, int64_t at, int32_t single, double value)
{
    if (single) ((float *)tile)[at] = (float)value;
    else ((double *)tile)[at] = value;
}

/* The nearest alone of few columns (nearest.c), as kl_top_block; whether it can. */
int kl_takes_nearest(const kl_pairing *, const kl_top *, int64_t cols);
void kl_nearest_block(const kl_pairing *, const float *few, kl_workspace *, int64_t begin, int64_t end,
                      int64_t col_begin, int64_t col_end, double *values, int64_t *columns, kl_stats *);

/* Ask for row i and its norm, early. */
void kl_prefetch(const kl_rows *, const kl_norm *, int64_t i);

/* Finished values of the encoded rows [begin, begin + rows) against columns [col, col + cols): to `out`, or with NULL
 * to the workspace's tile. `stream`: past the caches, where nothing reads them again. Returns where they are; *stride
 * elements a row. */
void *kl_value_tile(const kl_pairing *, kl_workspace *, double accept, int64_t begin, int64_t rows, int64_t col,
                    int64_t cols, void *out, int64_t *stride, int stream, kl_stats *);

#endif
