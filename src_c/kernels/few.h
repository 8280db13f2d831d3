/* The nearest of few columns in float32, with rows in the lanes: a panel of rows is encoded as one of columns, and each
 * column's features are numbers that all lanes share. So nothing is folded along a row, no lane is idle for want of
 * columns, and the numbers of a row lie in one lane from its product to its hits.
 */
#define KL_PANEL (2 * KL_W32)                     /* rows */
#define KL_SHARED (KL_VECTOR_BYTES == 64 ? 8 : 4) /* columns at a time: with two vectors of rows, half the registers */
#define KL_WORD 32                                /* ends whose comparisons are the bits of a word */

typedef struct { vf32 v[KL_SHARED][2]; } kl_few_tile;

/* x . y of the rows of a panel and columns [c, c + KL_SHARED), of one chain of bins. */
KL_INLINE void kl_few_chain(const float *x, const float *y, int64_t length, kl_few_tile *tile)
{
    vf32 sum[KL_SHARED][2];
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) sum[i][0] = sum[i][1] = (vf32){0};
    for (int64_t k = 0; k < length; k++, x += KL_PANEL, y += KL_PANEL) {
        const vf32 x0 = kl_load_f32(x), x1 = kl_load_f32(x + KL_W32);
        KL_UNROLL for (int i = 0; i < KL_SHARED; i++) {
            const vf32 shared = kl_set_f32(y[i]);
            sum[i][0] = KL_FMA_F32(x0, shared, sum[i][0]);
            sum[i][1] = KL_FMA_F32(x1, shared, sum[i][1]);
        }
    }
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) tile->v[i][0] = sum[i][0], tile->v[i][1] = sum[i][1];
}

/* The chains after the first: see kl_further_chains. */
static __attribute__((noinline)) void kl_few_chains(const float *x, const float *y, int64_t K, kl_few_tile *total)
{
    for (int64_t k = KL_CHAIN; k < K; k += KL_CHAIN) {
        kl_few_tile part;
        kl_few_chain(x + k * KL_PANEL, y + k * KL_PANEL, K - k < KL_CHAIN ? K - k : KL_CHAIN, &part);
        KL_UNROLL for (int i = 0; i < KL_SHARED; i++)
            KL_UNROLL for (int h = 0; h < 2; h++) total->v[i][h] += part.v[i][h];
    }
}

KL_INLINE void kl_few_product(const float *x, const float *y, int64_t K, kl_few_tile *tile)
{
    kl_few_chain(x, y, K < KL_CHAIN ? K : KL_CHAIN, tile);
    if (K > KL_CHAIN) {
        kl_few_tile in_memory = *tile;
        kl_few_chains(x, y, K, &in_memory);
        *tile = in_memory;
    }
}

typedef struct { vf32 offset, norm, slack, least; } kl_few_rows;

/* Lower ends of all pairs of the panel that begins with row r to `kept`, a panel for each column; least upper ends, a
 * little up for the roundings since the bounds. */
static void kl_few_ends(const kl_product_args *args, int64_t r, kl_few_rows rows[2])
{
    const float *offset = args->col_offset, *norm = args->col_norm, *slack = args->col_slack;
    float *kept = args->kept;
    KL_UNROLL for (int h = 0; h < 2; h++) {
        const int64_t at = r + h * KL_W32;
        rows[h] = (kl_few_rows){kl_load_f32((const float *)args->row_offset + at),
                                kl_load_f32((const float *)args->row_norm + at),
                                kl_load_f32((const float *)args->row_slack + at), kl_set_f32(INFINITY)};
    }
    for (int64_t c = 0; c < args->cols; c += KL_SHARED, kept += KL_SHARED * KL_PANEL) {
        const float *right = (const float *)args->right + c / KL_PANEL * KL_PANEL * args->K + c % KL_PANEL;
        kl_few_tile tile;
        kl_few_product((const float *)args->left + r * args->K, right, args->K, &tile);
        KL_UNROLL for (int i = 0; i < KL_SHARED; i++)
            KL_UNROLL for (int h = 0; h < 2; h++) {
                const vf32 value = (rows[h].offset + offset[c + i]) - tile.v[i][h];
                const vf32 bound = KL_FMA_F32(rows[h].norm, kl_set_f32(norm[c + i]), rows[h].slack + slack[c + i]);
                kl_store_f32(kept + i * KL_PANEL + h * KL_W32, value - bound);
                rows[h].least = KL_MIN_F32(value + bound, rows[h].least);
            }
    }
    KL_UNROLL for (int h = 0; h < 2; h++) {
        const vf32 least = rows[h].least;
        rows[h].least = KL_MIN_F32(least + kl_magnitude_f32(least) * 0x1p-20f, kl_set_f32(0x1.fffffep127f));
    }
}

/* Which of n lower ends, a panel each, do not exceed their row's limit: bit j of word w of a row is number
 * w * KL_WORD + j. */
KL_INLINE void kl_few_bits(const float *ends, int64_t n, vf32 limit0, vf32 limit1, uint32_t *words)
{
    const vf32 limit[2] = {limit0, limit1};
    for (int64_t first = 0; first < n; first += KL_WORD, words += KL_PANEL) {
        const int64_t here = n - first < KL_WORD ? n - first : KL_WORD;
        vu32 bits[2] = {{0}, {0}};
        for (int64_t j = 0; j < here; j++, ends += KL_PANEL)
            KL_UNROLL for (int h = 0; h < 2; h++)
                bits[h] |= (vu32)(kl_load_f32(ends + h * KL_W32) <= limit[h]) & ((uint32_t)1 << j);
        memcpy(words, bits, sizeof bits);
    }
}

/* The hits of rows [r, r + count) to the list, from its n-th entry on; returns where it ends. */
static int64_t kl_few_by_floats(const kl_product_args *args, int64_t r, int64_t count, int64_t n)
{
    uint32_t words[KL_FEW_MOST / KL_WORD * KL_PANEL];
    kl_few_rows rows[2];
    kl_few_ends(args, r, rows);
    kl_few_bits(args->kept, args->cols, rows[0].least, rows[1].least, words);
    for (int64_t i = 0; i < count; i++)
        for (int64_t c = 0; c < args->cols; c += KL_WORD)
            for (uint32_t word = words[c / KL_WORD * KL_PANEL + i]; word; word &= word - 1)
                args->doubts[n++] = (uint32_t)((r + i) << 16 | (c + __builtin_ctz(word)));
    return n;
}

#ifdef KL_DOT_BYTES
#include "few_bytes.h"
#endif

static void kl_nearest(kl_product_args *args, kl_stats *stats)
{
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t r = 0; r < args->rows; r += KL_PANEL) {
        const int64_t count = args->rows - r < KL_PANEL ? args->rows - r : KL_PANEL;
        int64_t end = -1;
#ifdef KL_DOT_BYTES
        if (args->few) end = kl_few_by_bytes(args, r, count, n);
#endif
        n = end < 0 ? kl_few_by_floats(args, r, count, n) : end;
    }
    args->n_doubts = n;
}
