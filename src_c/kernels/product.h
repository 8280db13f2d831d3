/* The packed matrix product with its epilogue in registers. Included once per precision, with
 * KL_T (element), KL_V (vector), KL_W (lanes), KL_MR (rows of a register tile), KL_FMA, KL_MIN, KL_BITS, KL_STREAM,
 * KL_EPSILON, KL_COARSE (whether the screen may look at bytes first), KL_NAME(x), and what elementwise.h asks of the
 * number format.
 *
 * A register tile is KL_MR rows x 2 vectors of columns. Each accumulator runs over k in order with
 * fused multiply-adds, in blocks of KL_CHAIN whose sums are added in order: lanes hold different
 * pairs, so the bits of an entry do not depend on the shape of the tile.
 */
#define KL_NR (2 * KL_W)

typedef struct { KL_V v[KL_MR][2]; } KL_NAME(kl_tile);

/* `ahead`, a constant: how many steps before their use the columns are asked for. */
KL_INLINE void KL_NAME(kl_chain)(int ahead, const KL_T *left, const KL_T *right, int64_t length,
                                 KL_NAME(kl_tile) *tile)
{
    KL_V acc[KL_MR][2];
    KL_UNROLL for (int i = 0; i < KL_MR; i++) acc[i][0] = acc[i][1] = (KL_V){0};
    for (int64_t k = 0; k < length; k++) {
        KL_V b0 = KL_NAME(kl_load)(right), b1 = KL_NAME(kl_load)(right + KL_W);
        if (ahead)
            KL_UNROLL for (int i = 0; i < KL_NR; i += 64 / (int)sizeof(KL_T))
                __builtin_prefetch(right + ahead * KL_NR + i);
        KL_UNROLL for (int i = 0; i < KL_MR; i++) {
            KL_V a = KL_NAME(kl_set)(left[i]);
            acc[i][0] = KL_FMA(a, b0, acc[i][0]);
            acc[i][1] = KL_FMA(a, b1, acc[i][1]);
        }
        left += KL_MR;
        right += KL_NR;
    }
    KL_UNROLL for (int i = 0; i < KL_MR; i++) {
        tile->v[i][0] = acc[i][0];
        tile->v[i][1] = acc[i][1];
    }
}

/* The blocks after the first: not inlined, for their sake the compiler would keep every tile in memory. Their columns
 * come from the second or third cache, and are asked for: 2048 x 2048 with 512 and 1024 bins take 2 to 4% less time in
 * float64, 1 to 2% in float32 (Zen 4: 16 to 32 steps alike, 8 too few; the rows, or fewer bins, no gain). Where a step
 * takes half as long, 64 are 1 to 2% better than 24 (Zen 5, which is then at 92% of what random numbers let it do). */
#define KL_AHEAD 64
static __attribute__((noinline)) void KL_NAME(kl_further_chains)(const KL_T *left, const KL_T *right, int64_t K,
                                                                 KL_NAME(kl_tile) *total)
{
    for (int64_t k = KL_CHAIN; k < K; k += KL_CHAIN) {
        KL_NAME(kl_tile) part;
        KL_NAME(kl_chain)(KL_AHEAD, left + k * KL_MR, right + k * KL_NR, K - k < KL_CHAIN ? K - k : KL_CHAIN, &part);
        KL_UNROLL for (int i = 0; i < KL_MR; i++) {
            total->v[i][0] += part.v[i][0];
            total->v[i][1] += part.v[i][1];
        }
    }
}

/* Adds a product with chains of its own. */
static __attribute__((noinline)) void KL_NAME(kl_other_half)(const KL_T *left, const KL_T *right, int64_t K,
                                                             KL_NAME(kl_tile) *total)
{
    KL_NAME(kl_tile) other;
    KL_NAME(kl_chain)(0, left, right, K < KL_CHAIN ? K : KL_CHAIN, &other);
    if (K > KL_CHAIN) KL_NAME(kl_further_chains)(left, right, K, &other);
    KL_UNROLL for (int i = 0; i < KL_MR; i++) {
        total->v[i][0] += other.v[i][0];
        total->v[i][1] += other.v[i][1];
    }
}

/* `both`: of two halves, added at the end, so that a value has the same bits if they change places. */
KL_INLINE void KL_NAME(kl_tile_product)(int both, const KL_T *left, const KL_T *right, int64_t K,
                                        KL_NAME(kl_tile) *total)
{
    const int64_t length = both ? K / 2 : K;
    KL_NAME(kl_chain)(0, left, right, length < KL_CHAIN ? length : KL_CHAIN, total);
    if (both || length > KL_CHAIN) {
        KL_NAME(kl_tile) in_memory = *total;
        if (length > KL_CHAIN) KL_NAME(kl_further_chains)(left, right, length, &in_memory);
        if (both) KL_NAME(kl_other_half)(left + length * KL_MR, right + length * KL_NR, length, &in_memory);
        *total = in_memory;
    }
}

KL_INLINE KL_T KL_NAME(kl_largest)(const KL_T *x, int n)
{
    KL_T max = x[0];
    for (int i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    return max;
}

/* The bound of a whole register tile, from the largest norm and slack of its rows and columns: not below the bound
 * of any entry, because rounding is monotonic. Most tiles pass at once by it. */
typedef struct { KL_T norm, slack; } KL_NAME(kl_panel);

KL_INLINE KL_NAME(kl_panel) KL_NAME(kl_panel_of)(const void *norm, const void *slack, int64_t at, int n)
{
    return (KL_NAME(kl_panel)){KL_NAME(kl_largest)((const KL_T *)norm + at, n),
                               KL_NAME(kl_largest)((const KL_T *)slack + at, n)};
}

/* The values of the entries (row, columns of half h) of a tile; every path computes them alike. */
KL_INLINE KL_V KL_NAME(kl_values)(const kl_product_args *args, const KL_NAME(kl_tile) *tile, int64_t r,
                                  int64_t c, int i, int h)
{
    const KL_T *row = (const KL_T *)args->row_offset, *col = (const KL_T *)args->col_offset;
    return KL_NAME(kl_set)(row[r + i]) + KL_NAME(kl_load)(col + c + h * KL_W) - tile->v[i][h];
}

#include "elementwise.h"
#ifdef KL_FAMILY_TILES
#include "family_terms.h"
#endif

/* The tile of a shape, which is a constant where this is inlined. */
KL_INLINE void KL_NAME(kl_tile_of)(int shape, const kl_product_args *args, int64_t r, int64_t c, KL_NAME(kl_tile) *tile)
{
    const KL_T *left = (const KL_T *)args->left + r * args->K, *right = (const KL_T *)args->right + c * args->K;
    switch (shape) {
    case KL_SUM_JS: KL_NAME(kl_sums_js)(args, r, c, tile); break;
    case KL_SUM_SKEW: KL_NAME(kl_sums_skew)(args, r, c, tile); break;
    case KL_SUM_ABS: KL_NAME(kl_sums_abs)(args, r, c, tile); break;
    case KL_SUM_TRIANGLE: KL_NAME(kl_sums_triangle)(args, r, c, tile); break;
#ifdef KL_FAMILY_TILES
    case KL_SUM_FAMILY: kl_tile_family(args, left, right, tile); break;
#endif
    default: KL_NAME(kl_tile_product)(args->both, left, right, args->K, tile);
    }
}

/* The bound; every path computes it alike, too. */
KL_INLINE KL_V KL_NAME(kl_bounds)(const kl_product_args *args, int64_t r, int64_t c, int i, int h)
{
    const KL_T *row_norm = args->row_norm, *row_slack = args->row_slack;
    const KL_T *col_norm = args->col_norm, *col_slack = args->col_slack;
    KL_V bound = KL_NAME(kl_set)(row_slack[r + i]) + KL_NAME(kl_load)(col_slack + c + h * KL_W);
    return bound + KL_NAME(kl_set)(row_norm[r + i]) * KL_NAME(kl_load)(col_norm + c + h * KL_W);
}

/* The same for values whose error may be `relative`, of which those below 0 are not known at all. */
KL_INLINE KL_V KL_NAME(kl_bounds_of)(int relative, const kl_product_args *args, KL_V value, int64_t r, int64_t c, int i,
                                     int h)
{
    KL_V bound = KL_NAME(kl_bounds)(args, r, c, i, h);
#ifdef KL_FAMILY_TILES
    if (relative) bound = kl_select(value < 0.0, kl_set_f64(INFINITY), bound + value * args->relative);
#else
    (void)relative, (void)value;
#endif
    return bound;
}

/* What is compared with the bound: the value, less where the finish is steep. */
KL_INLINE KL_V KL_NAME(kl_bent)(const kl_product_args *args, KL_V value)
{
    return value - KL_NAME(kl_set)((KL_T)args->bend) * value * value;
}

typedef struct { KL_V least[2], sum[2]; } KL_NAME(kl_seen); /* a minimum forgets NaN, a sum keeps it */

/* Whether a value is certified: by the whole bound or, as bent values never are, by the slacks alone (kl_product_args).
 * Rounding is monotonic: for the least value, norm and slack of some entries only if it is so for each of them. */
KL_INLINE uint32_t KL_NAME(kl_uncertain)(const kl_product_args *args, KL_V value, KL_V slack, KL_V norms)
{
    const KL_V accept = KL_NAME(kl_set)((KL_T)args->accept), apart = KL_NAME(kl_set)((KL_T)args->apart);
    return KL_BITS(~((value * accept >= slack + norms) | (value * apart >= slack)));
}

/* The same for each column of a tile: its least value against its own norm and slack and the rows' largest. */
KL_INLINE int KL_NAME(kl_columns_pass)(const kl_product_args *args, const KL_NAME(kl_seen) *seen,
                                       KL_NAME(kl_panel) row, int64_t c)
{
    const KL_T *norm = (const KL_T *)args->col_norm + c, *slack = (const KL_T *)args->col_slack + c;
    uint32_t uncertain = 0;
    for (int h = 0; h < 2; h++) {
        KL_V slacks = KL_NAME(kl_set)(row.slack) + KL_NAME(kl_load)(slack + h * KL_W);
        KL_V norms = KL_NAME(kl_set)(row.norm) * KL_NAME(kl_load)(norm + h * KL_W);
        uncertain |= KL_NAME(kl_uncertain)(args, seen->least[h], slacks, norms) | KL_BITS(seen->sum[h] != seen->sum[h]);
    }
    return uncertain == 0;
}

/* The uncertain ones among the values of a tile as written. (From the tile itself the compiler would keep every tile in
 * memory, as many stores as the values are.) */
static __attribute__((noinline)) int64_t KL_NAME(kl_find_doubts)(const kl_product_args *args, const KL_T *values,
    int64_t stride, int64_t r, int64_t c, int64_t rows, int64_t cols, int64_t n)
{
    const KL_T *row_norm = (const KL_T *)args->row_norm + r, *row_slack = (const KL_T *)args->row_slack + r;
    const KL_T *col_norm = (const KL_T *)args->col_norm + c, *col_slack = (const KL_T *)args->col_slack + c;
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < 2; h++) {
            KL_V value = KL_NAME(kl_load)(values + i * stride + h * KL_W);
            KL_V slack = KL_NAME(kl_set)(row_slack[i]) + KL_NAME(kl_load)(col_slack + h * KL_W);
            KL_V norms = KL_NAME(kl_set)(row_norm[i]) * KL_NAME(kl_load)(col_norm + h * KL_W);
            if (args->bend != 0) value = KL_NAME(kl_bent)(args, value);
            uint32_t doubt = KL_NAME(kl_uncertain)(args, value, slack, norms);
            for (; doubt; doubt &= doubt - 1) {
                int64_t j = h * KL_W + __builtin_ctz(doubt);
                if (j < cols) args->doubts[n++] = (uint32_t)((r + i) << 16 | (c + j));
            }
        }
    return n;
}

/* The values of a tile to memory. Constants: `bent`, to compare them bent; `stream`, past the caches. */
KL_INLINE KL_NAME(kl_seen) KL_NAME(kl_write)(int bent, int stream, const kl_product_args *args,
    const KL_NAME(kl_tile) *tile, int64_t r, int64_t c, KL_T *out, int64_t stride)
{
    const KL_V far = KL_NAME(kl_set)((KL_T)INFINITY);
    KL_NAME(kl_seen) seen = {{far, far}, {{0}, {0}}};
    KL_UNROLL for (int i = 0; i < KL_MR; i++) {
        KL_UNROLL for (int h = 0; h < 2; h++) {
            KL_V value = KL_NAME(kl_values)(args, tile, r, c, i, h);
            if (stream) KL_STREAM(out + h * KL_W, value);
            else KL_NAME(kl_store)(out + h * KL_W, value);
            seen.least[h] = KL_MIN(bent ? KL_NAME(kl_bent)(args, value) : value, seen.least[h]);
            seen.sum[h] += value;
        }
        out += stride;
        KL_OPAQUE(out); /* else the addresses of all rows are kept in memory: 50 instructions a tile */
    }
    return seen;
}

/* A tile from the buffer, finished, to the answer: all of it, or the block's edge. */
static __attribute__((noinline)) void KL_NAME(kl_deliver)(const kl_product_args *args, KL_T *tile, KL_T *out,
                                                          int64_t rows, int64_t cols)
{
    if (args->finish) KL_NAME(kl_finish)(args->finish, tile, KL_MR * KL_NR);
    if (cols < KL_NR || rows < KL_MR || !args->stream) {
        for (int i = 0; i < rows; i++)
            memcpy(out + i * args->out_stride, tile + i * KL_NR, (size_t)cols * sizeof(KL_T));
        return;
    }
    for (int i = 0; i < KL_MR; i++)
        for (int h = 0; h < 2; h++)
            KL_STREAM(out + i * args->out_stride + h * KL_W, KL_NAME(kl_load)(tile + i * KL_NR + h * KL_W));
}

/* Values to memory, uncertain entries to the list. Whole tiles go straight to the answer, if there is no finish. */
KL_INLINE void KL_NAME(kl_dense)(int shape, kl_product_args *whole_block, kl_stats *stats)
{
    const kl_product_args own = *whole_block, *args = &own; /* stores to the answer cannot change this one */
    const KL_T accept = (KL_T)args->accept;
    int64_t n_doubts = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t c = 0; c < args->cols; c += KL_NR) {
        const int64_t cols = args->cols - c < KL_NR ? args->cols - c : KL_NR;
        const KL_NAME(kl_panel) col = KL_NAME(kl_panel_of)(args->col_norm, args->col_slack, c, KL_NR);
        for (int64_t r = 0; r < args->rows; r += KL_MR) {
            const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
            const KL_NAME(kl_panel) row = KL_NAME(kl_panel_of)(args->row_norm, args->row_slack, r, KL_MR);
            const int at_once = rows == KL_MR && cols == KL_NR && !args->finish;
            KL_T buffer[KL_MR * KL_NR] __attribute__((aligned(KL_VECTOR_BYTES)));
            KL_T *out = (KL_T *)args->out + r * args->out_stride + c, *target = at_once ? out : buffer;
            const int64_t stride = at_once ? args->out_stride : KL_NR;
            const int bent = shape == KL_PRODUCT_BENT;
            KL_NAME(kl_tile) tile;
            KL_NAME(kl_seen) seen;
            KL_NAME(kl_tile_of)(shape, args, r, c, &tile);
            if (at_once && args->stream) seen = KL_NAME(kl_write)(bent, 1, args, &tile, r, c, target, stride);
            else seen = KL_NAME(kl_write)(bent, 0, args, &tile, r, c, target, stride);
            const KL_V least = KL_MIN(seen.least[0], seen.least[1]), sum = seen.sum[0] + seen.sum[1];
            const KL_T bound = (row.slack + col.slack) + row.norm * col.norm;
            if (__builtin_expect(KL_BITS(~(least * accept >= bound) | (sum != sum)) != 0, 0)
                && !KL_NAME(kl_columns_pass)(args, &seen, row, c))
                n_doubts = KL_NAME(kl_find_doubts)(args, target, stride, r, c, rows, cols, n_doubts);
            if (!at_once) KL_NAME(kl_deliver)(args, buffer, out, rows, cols);
        }
    }
    if (args->stream) KL_STREAM_END();
    whole_block->n_doubts = n_doubts;
}

#include "overlap.h"
#include "screen.h"

#define KL_SEARCH(shape, name)                                                                            \
    static void KL_NAME(kl_screen_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_screen)(shape, a, s); } \
    static void KL_NAME(kl_ends_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_ends)(shape, a, s); }
#define KL_SHAPE(shape, name)                                                                             \
    static void KL_NAME(kl_dense_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_dense)(shape, a, s); } \
    KL_SEARCH(shape, name)
KL_SHAPE(KL_PRODUCT, product)
KL_SHAPE(KL_SUM_JS, js)
KL_SHAPE(KL_SUM_SKEW, skew)
KL_SHAPE(KL_SUM_ABS, abs)
KL_SHAPE(KL_SUM_TRIANGLE, triangle)
KL_SHAPE(KL_PRODUCT_BENT, bent)
#ifdef KL_FAMILY_TILES
KL_SHAPE(KL_SUM_FAMILY, family)
KL_SEARCH(KL_OVERLAP, overlap)
#endif

#undef KL_SHAPE
#undef KL_SEARCH
#undef KL_COARSE
#undef KL_MIN
#undef KL_MAX
#undef KL_STREAM
#undef KL_EPSILON
#undef KL_U
#undef KL_CELL_SHIFT
#undef KL_CELL_BITS
#undef KL_CELL_MASK
#undef KL_COUNT_BITS
#undef KL_COUNT_OF_1
#undef KL_LOOKUP
#undef KL_CELLS
#undef KL_H
#undef KL_LOG1P
#undef KL_MANTISSA
#undef KL_EXPONENT
#undef KL_FAR_CELLS
#undef KL_FAR_SHIFT
#undef KL_FAR_TERMS
#undef KL_FAR_LEAD
#undef KL_LEAST_TOTAL
#undef KL_NR
#undef KL_AHEAD
#undef KL_T
#undef KL_V
#undef KL_W
#undef KL_MR
#undef KL_FMA
#undef KL_BITS
#undef KL_NAME
