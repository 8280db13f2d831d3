/* The packed matrix product with its epilogue in registers. Included once per precision, with
 * KL_T (element), KL_V (vector), KL_W (lanes), KL_MR (rows of a register tile), KL_FMA, KL_MIN, KL_BITS, KL_STREAM,
 * KL_EPSILON, KL_COARSE (whether the
 * screen may look at bytes first), KL_NAME(x), and what elementwise.h asks of the number format.
 *
 * A register tile is KL_MR rows x 2 vectors of columns. Each accumulator runs over k in order with
 * fused multiply-adds, in blocks of KL_CHAIN whose sums are added in order: lanes hold different
 * pairs, so the bits of an entry do not depend on the shape of the tile.
 */
#define KL_NR (2 * KL_W)

typedef struct { KL_V v[KL_MR][2]; } KL_NAME(kl_tile);

KL_INLINE void KL_NAME(kl_chain)(const KL_T *left, const KL_T *right, int64_t length,
                                 KL_NAME(kl_tile) *tile)
{
    KL_V acc[KL_MR][2];
    KL_UNROLL for (int i = 0; i < KL_MR; i++) acc[i][0] = acc[i][1] = (KL_V){0};
    for (int64_t k = 0; k < length; k++) {
        KL_V b0 = KL_NAME(kl_load)(right), b1 = KL_NAME(kl_load)(right + KL_W);
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

/* The blocks after the first: not inlined, for their sake the compiler would keep every tile in memory. */
static __attribute__((noinline)) void KL_NAME(kl_further_chains)(const KL_T *left, const KL_T *right, int64_t K,
                                                                 KL_NAME(kl_tile) *total)
{
    for (int64_t k = KL_CHAIN; k < K; k += KL_CHAIN) {
        KL_NAME(kl_tile) part;
        KL_NAME(kl_chain)(left + k * KL_MR, right + k * KL_NR, K - k < KL_CHAIN ? K - k : KL_CHAIN, &part);
        KL_UNROLL for (int i = 0; i < KL_MR; i++) {
            total->v[i][0] += part.v[i][0];
            total->v[i][1] += part.v[i][1];
        }
    }
}

KL_INLINE void KL_NAME(kl_tile_product)(const KL_T *left, const KL_T *right, int64_t K,
                                        KL_NAME(kl_tile) *total)
{
    KL_NAME(kl_chain)(left, right, K < KL_CHAIN ? K : KL_CHAIN, total);
    if (K > KL_CHAIN) {
        KL_NAME(kl_tile) in_memory = *total;
        KL_NAME(kl_further_chains)(left, right, K, &in_memory);
        *total = in_memory;
    }
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
    case KL_SUM_JS: KL_NAME(kl_sums_js)(args, left, right, tile); break;
    case KL_SUM_SKEW: KL_NAME(kl_sums_skew)(args, left, right, tile); break;
    case KL_SUM_ABS: KL_NAME(kl_sums_abs)(args, left, right, tile); break;
    case KL_SUM_TRIANGLE: KL_NAME(kl_sums_triangle)(args, left, right, tile); break;
#ifdef KL_FAMILY_TILES
    case KL_SUM_FAMILY: kl_tile_family(args, left, right, tile); break;
#endif
    default: KL_NAME(kl_tile_product)(left, right, args->K, tile);
    }
}

/* value and bound of the entries (row, columns of half h) of a tile; every path computes them alike. */
KL_INLINE KL_V KL_NAME(kl_values)(const kl_product_args *args, const KL_NAME(kl_tile) *tile, int64_t r,
                                  int64_t c, int i, int h)
{
    const KL_T *row = (const KL_T *)args->row_offset, *col = (const KL_T *)args->col_offset;
    return KL_NAME(kl_set)(row[r + i]) + KL_NAME(kl_load)(col + c + h * KL_W) - tile->v[i][h];
}

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

/* What is compared with the bound: the value, less where the finish is steep. */
KL_INLINE KL_V KL_NAME(kl_bent)(const kl_product_args *args, KL_V value)
{
    return value - KL_NAME(kl_set)((KL_T)args->bend) * value * value;
}

/* The uncertain ones among the values of a tile as written. (From the tile itself the compiler would keep every tile in
 * memory, as many stores as the values are.) */
static __attribute__((noinline)) int64_t KL_NAME(kl_find_doubts)(const kl_product_args *args, const KL_T *values,
    int64_t stride, int64_t r, int64_t c, int64_t rows, int64_t cols, int64_t n)
{
    const KL_V accept = KL_NAME(kl_set)((KL_T)args->accept);
    for (int i = 0; i < rows; i++)
        for (int h = 0; h < 2; h++) {
            KL_V value = KL_NAME(kl_load)(values + i * stride + h * KL_W);
            KL_V bound = KL_NAME(kl_bounds)(args, r, c, i, h);
            if (args->bend != 0) value = KL_NAME(kl_bent)(args, value);
            uint32_t doubt = KL_BITS(~(value * accept >= bound));
            for (; doubt; doubt &= doubt - 1) {
                int64_t j = h * KL_W + __builtin_ctz(doubt);
                if (j < cols) args->doubts[n++] = (uint32_t)((r + i) << 16 | (c + j));
            }
        }
    return n;
}

typedef struct { KL_V least[2], sum[2]; } KL_NAME(kl_seen); /* a minimum forgets NaN, a sum keeps it */

/* The values of a tile to memory. Constants: `bent`, to compare them bent; `stream`, past the caches. */
KL_INLINE KL_NAME(kl_seen) KL_NAME(kl_write)(int bent, int stream, const kl_product_args *args,
    const KL_NAME(kl_tile) *tile, int64_t r, int64_t c, KL_T *out, int64_t stride)
{
    const KL_V far = KL_NAME(kl_set)((KL_T)INFINITY);
    KL_NAME(kl_seen) seen = {{far, far}, {{0}, {0}}};
    KL_UNROLL for (int i = 0; i < KL_MR; i++)
        KL_UNROLL for (int h = 0; h < 2; h++) {
            KL_V value = KL_NAME(kl_values)(args, tile, r, c, i, h);
            KL_T *at = out + i * stride + h * KL_W;
            if (stream) KL_STREAM(at, value);
            else KL_NAME(kl_store)(at, value);
            seen.least[h] = KL_MIN(bent ? KL_NAME(kl_bent)(args, value) : value, seen.least[h]);
            seen.sum[h] += value;
        }
    return seen;
}

/* Values to memory, uncertain entries to the list. */
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
            const int whole = rows == KL_MR && cols == KL_NR;
            KL_T edge[KL_MR][KL_NR], *out = (KL_T *)args->out + r * args->out_stride + c;
            KL_T *target = whole ? out : edge[0];
            const int64_t stride = whole ? args->out_stride : KL_NR;
            const int bent = shape == KL_PRODUCT_BENT;
            KL_NAME(kl_tile) tile;
            KL_NAME(kl_seen) seen;
            KL_NAME(kl_tile_of)(shape, args, r, c, &tile);
            if (whole && args->stream) seen = KL_NAME(kl_write)(bent, 1, args, &tile, r, c, target, stride);
            else seen = KL_NAME(kl_write)(bent, 0, args, &tile, r, c, target, stride);
            for (int i = 0; i < rows && !whole; i++)
                memcpy(out + i * args->out_stride, edge[i], (size_t)cols * sizeof(KL_T));
            const KL_V least = KL_MIN(seen.least[0], seen.least[1]), sum = seen.sum[0] + seen.sum[1];
            const KL_T bound = (row.slack + col.slack) + row.norm * col.norm;
            if (__builtin_expect(KL_BITS(~(least * accept >= bound) | (sum != sum)) != 0, 0))
                n_doubts = KL_NAME(kl_find_doubts)(args, target, stride, r, c, rows, cols, n_doubts);
        }
    }
    if (args->stream) KL_STREAM_END();
    whole_block->n_doubts = n_doubts;
}

/* Which lower ends do not exceed the threshold of row r. */
KL_INLINE uint32_t KL_NAME(kl_hit)(const kl_product_args *args, KL_V low, int64_t r)
{
    return KL_BITS(low <= KL_NAME(kl_set)(((const KL_T *)args->threshold)[r]));
}

/* To the list: the entries `hit` of row r from column c on. */
KL_INLINE int64_t KL_NAME(kl_list)(const kl_product_args *args, uint32_t hit, KL_V value, KL_V bound, int64_t r,
                                   int64_t c, int64_t n)
{
    KL_T values[KL_W], bounds[KL_W];
    if (!hit) return n;
    KL_NAME(kl_store)(values, value);
    KL_NAME(kl_store)(bounds, bound);
    for (; hit; hit &= hit - 1, n++) {
        const int64_t lane = __builtin_ctz(hit);
        ((KL_T *)args->hit_value)[n] = values[lane];
        ((KL_T *)args->hit_bound)[n] = bounds[lane];
        args->doubts[n] = (uint32_t)(r << 16 | (c + lane));
    }
    return n;
}

static __attribute__((noinline)) int64_t KL_NAME(kl_find_hits)(const kl_product_args *args,
    const KL_NAME(kl_tile) *tile, int64_t r, int64_t c, uint32_t rows, int64_t n)
{
    for (; rows; rows &= rows - 1)
        for (int h = 0, i = __builtin_ctz(rows); h < 2; h++) {
            KL_V value = KL_NAME(kl_values)(args, tile, r, c, i, h);
            KL_V bound = KL_NAME(kl_bounds_of)(args->relative != 0, args, value, r, c, i, h);
            const uint32_t hit = KL_NAME(kl_hit)(args, value - bound, r + i);
            n = KL_NAME(kl_list)(args, hit, value, bound, r + i, c + h * KL_W, n);
        }
    return n;
}

KL_INLINE KL_T KL_NAME(kl_least)(KL_V x)
{
    KL_T t[KL_W];
    KL_NAME(kl_store)(t, x);
    KL_UNROLL for (int n = KL_W / 2; n > 0; n /= 2)
        KL_UNROLL for (int j = 0; j < n; j++) t[j] = t[j + n] < t[j] ? t[j + n] : t[j];
    return t[0];
}

#if KL_COARSE
#include "coarse.h"
#include "coarse_few.h"
#endif

/* Entries whose lower end value - bound does not exceed their row's threshold, with both numbers. */
KL_INLINE void KL_NAME(kl_screen)(int shape, kl_product_args *args, kl_stats *stats)
{
    const KL_T *threshold = args->threshold;
    const KL_T room = (KL_T)(16 * KL_EPSILON + 2 * args->relative);
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
    args->passed = 0;
    for (int64_t c = 0; c < args->cols; c += KL_NR) {
        const KL_NAME(kl_panel) col = KL_NAME(kl_panel_of)(args->col_norm, args->col_slack, c, KL_NR);
#if KL_COARSE
        kl_coarse_columns bytes = {.norm = 0};
        const int coarse = shape == KL_PRODUCT && args->right_bytes.bytes;
        if (coarse) {
            bytes = kl_coarse_columns_of(args, c);
            kl_coarse_prefetch(args, c + KL_NR);
        }
#endif
        for (int64_t r = 0; r < args->rows; r += KL_MR) {
            const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
            uint32_t some = (uint32_t)1 << rows; /* the rows that may hold hits */
            some -= 1;
#if KL_COARSE
            if (coarse) {
                some &= kl_coarse_hits(args, r, c, &bytes);
                if (!some) continue;
                const int few = __builtin_popcount(some) <= KL_STRIP;
                args->passed += few ? __builtin_popcount(some) : KL_MR;
                if (few) {
                    KL_NAME(kl_tile) strips;
                    kl_strips(args, r, c, some, &strips);
                    n = KL_NAME(kl_find_hits)(args, &strips, r, c, some, n);
                    continue;
                }
            }
#endif
            const KL_NAME(kl_panel) row = KL_NAME(kl_panel_of)(args->row_norm, args->row_slack, r, KL_MR);
            const KL_T bound = ((row.slack + col.slack) + row.norm * col.norm) * (1 + room);
            KL_NAME(kl_tile) tile;
            KL_NAME(kl_tile_of)(shape, args, r, c, &tile);
            KL_V least = KL_NAME(kl_set)((KL_T)INFINITY);
            KL_UNROLL for (int i = 0; i < KL_MR; i++) {
                /* A little above threshold + bound, for the roundings of both sides. */
                const KL_T most = threshold[r + i], limit = most + room * (KL_T)fabs(most) + bound;
                KL_UNROLL for (int h = 0; h < 2; h++)
                    least = KL_MIN(KL_NAME(kl_values)(args, &tile, r, c, i, h) - KL_NAME(kl_set)(limit), least);
            }
            if (__builtin_expect(KL_BITS(least <= (KL_V){0}) != 0, 0))
                n = KL_NAME(kl_find_hits)(args, &tile, r, c, some, n);
        }
    }
    args->n_doubts = n;
}

/* The least upper ends, value + bound, of each row's columns: one number for every column of a panel, over all panels,
 * or `one` over all. */
KL_INLINE void KL_NAME(kl_ends)(int shape, kl_product_args *args, kl_stats *stats)
{
    KL_T *out = args->out, *kept = args->kept;
    stats->isa_ran |= KL_ISA_BIT;
#if KL_COARSE
    if (shape == KL_PRODUCT && args->right_bytes.bytes) {
        kl_coarse_ends(args);
        return;
    }
#endif
    for (int64_t r = 0; r < args->rows; r += KL_MR) {
        const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
        KL_NAME(kl_tile) tile, least;
        KL_UNROLL for (int i = 0; i < KL_MR; i++)
            least.v[i][0] = least.v[i][1] = KL_NAME(kl_set)((KL_T)INFINITY);
        for (int64_t c = 0; c < args->cols; c += KL_NR) {
            KL_NAME(kl_tile_of)(shape, args, r, c, &tile);
            KL_UNROLL for (int i = 0; i < KL_MR; i++)
                KL_UNROLL for (int h = 0; h < 2; h++) {
                    KL_V value = KL_NAME(kl_values)(args, &tile, r, c, i, h);
                    KL_V bound = KL_NAME(kl_bounds_of)(shape == KL_SUM_FAMILY, args, value, r, c, i, h);
                    if (kept) KL_NAME(kl_store)(kept + (r + i) * args->kept_stride + c + h * KL_W, value);
                    least.v[i][h] = KL_MIN(value + bound, least.v[i][h]);
                }
        }
        for (int i = 0; i < rows; i++)
            if (args->one) out[(r + i) * args->out_stride] = KL_NAME(kl_least)(KL_MIN(least.v[i][0], least.v[i][1]));
            else
                for (int h = 0; h < 2; h++)
                    KL_NAME(kl_store)(out + (r + i) * args->out_stride + h * KL_W, least.v[i][h]);
    }
}

/* The screen of values that `kl_ends` has kept. The list grows no faster than they are read: it may take their place. */
static void KL_NAME(kl_hits)(kl_product_args *args, kl_stats *stats)
{
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
#if KL_COARSE
    if (args->right_bytes.bytes) {
        kl_coarse_kept_hits(args);
        return;
    }
#endif
    for (int64_t r = 0; r < args->rows; r++)
        for (int64_t c = 0; c < args->cols; c += KL_W) {
            KL_V value = KL_NAME(kl_load)((const KL_T *)args->kept + r * args->kept_stride + c);
            KL_V bound = KL_NAME(kl_bounds_of)(args->relative != 0, args, value, r, c, 0, 0);
            n = KL_NAME(kl_list)(args, KL_NAME(kl_hit)(args, value - bound, r), value, bound, r, c, n);
        }
    args->n_doubts = n;
}

#define KL_SHAPE(shape, name)                                                                             \
    static void KL_NAME(kl_dense_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_dense)(shape, a, s); } \
    static void KL_NAME(kl_screen_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_screen)(shape, a, s); } \
    static void KL_NAME(kl_ends_##name)(kl_product_args *a, kl_stats *s) { KL_NAME(kl_ends)(shape, a, s); }
KL_SHAPE(KL_PRODUCT, product)
KL_SHAPE(KL_SUM_JS, js)
KL_SHAPE(KL_SUM_SKEW, skew)
KL_SHAPE(KL_SUM_ABS, abs)
KL_SHAPE(KL_SUM_TRIANGLE, triangle)
KL_SHAPE(KL_PRODUCT_BENT, bent)
#ifdef KL_FAMILY_TILES
KL_SHAPE(KL_SUM_FAMILY, family)
#endif

#undef KL_SHAPE
#undef KL_COARSE
#undef KL_MIN
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
#undef KL_LEAST_TOTAL
#undef KL_NR
#undef KL_T
#undef KL_V
#undef KL_W
#undef KL_MR
#undef KL_FMA
#undef KL_BITS
#undef KL_NAME
