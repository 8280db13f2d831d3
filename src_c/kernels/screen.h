/* What a search asks of a tile: the entries that may still belong to the answer, and how far it reaches at most.
 * Included by product.h for float64 and for float32. */
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
                    KL_V bound = KL_NAME(kl_bounds_of)(shape >= KL_SUM_FAMILY, args, value, r, c, i, h);
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

/* The screen of values that `kl_ends` has kept. The list grows no faster than they are read: it may lie over them. */
static void KL_NAME(kl_hits)(kl_product_args *args, kl_stats *stats)
{
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t r = 0; r < args->rows; r++)
        for (int64_t c = 0; c < args->cols; c += KL_W) {
            KL_V value = KL_NAME(kl_load)((const KL_T *)args->kept + r * args->kept_stride + c);
            KL_V bound = KL_NAME(kl_bounds_of)(args->relative != 0, args, value, r, c, 0, 0);
            n = KL_NAME(kl_list)(args, KL_NAME(kl_hit)(args, value - bound, r), value, bound, r, c, n);
        }
    args->n_doubts = n;
}
