/* The packed matrix product with its epilogue in registers. Included once per precision, with
 * KL_T (element), KL_V (vector), KL_W (lanes), KL_MR (rows of a register tile), KL_FMA, KL_BITS,
 * KL_NAME(x).
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

KL_INLINE void KL_NAME(kl_tile_product)(const KL_T *left, const KL_T *right, int64_t K,
                                        KL_NAME(kl_tile) *total)
{
    KL_NAME(kl_chain)(left, right, K < KL_CHAIN ? K : KL_CHAIN, total);
    for (int64_t k = KL_CHAIN; k < K; k += KL_CHAIN) {
        KL_NAME(kl_tile) part;
        int64_t length = K - k < KL_CHAIN ? K - k : KL_CHAIN;
        KL_NAME(kl_chain)(left + k * KL_MR, right + k * KL_NR, length, &part);
        KL_UNROLL for (int i = 0; i < KL_MR; i++) {
            total->v[i][0] += part.v[i][0];
            total->v[i][1] += part.v[i][1];
        }
    }
}

/* Values to memory, uncertain entries to the list. `out` and columns may be a whole tile inside the
 * block, or the edge: then values go to a small tile first. */
static void KL_NAME(kl_dense)(kl_product_args *args, kl_stats *stats)
{
    const int64_t K = args->K;
    const KL_V accept = KL_NAME(kl_set)((KL_T)args->accept);
    const KL_T *row_offset = args->row_offset, *row_norm = args->row_norm;
    const KL_T *row_slack = args->row_slack;
    int64_t n_doubts = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t c = 0; c < args->cols; c += KL_NR) {
        const KL_T *right = (const KL_T *)args->right + c * K;
        const KL_T *co = (const KL_T *)args->col_offset + c, *cn = (const KL_T *)args->col_norm + c;
        const KL_T *cs = (const KL_T *)args->col_slack + c;
        const int64_t cols = args->cols - c < KL_NR ? args->cols - c : KL_NR;
        for (int64_t r = 0; r < args->rows; r += KL_MR) {
            const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
            KL_NAME(kl_tile) tile;
            KL_T edge[KL_MR][KL_NR];
            KL_NAME(kl_tile_product)((const KL_T *)args->left + r * K, right, K, &tile);
            KL_T *out = (KL_T *)args->out + r * args->out_stride + c;
            KL_UNROLL for (int i = 0; i < KL_MR; i++) {
                if (i >= rows) break;
                KL_T *target = cols == KL_NR ? out + i * args->out_stride : edge[i];
                KL_UNROLL for (int h = 0; h < 2; h++) {
                    KL_V value = KL_NAME(kl_set)(row_offset[r + i]) + KL_NAME(kl_load)(co + h * KL_W);
                    value -= tile.v[i][h];
                    KL_V bound = KL_NAME(kl_set)(row_slack[r + i]) + KL_NAME(kl_load)(cs + h * KL_W);
                    bound += KL_NAME(kl_set)(row_norm[r + i]) * KL_NAME(kl_load)(cn + h * KL_W);
                    uint32_t doubt = KL_BITS(~(value * accept >= bound));
                    KL_NAME(kl_store)(target + h * KL_W, value);
                    for (; __builtin_expect(doubt != 0, 0); doubt &= doubt - 1) {
                        int64_t j = h * KL_W + __builtin_ctz(doubt);
                        if (j < cols) args->doubts[n_doubts++] = (uint32_t)((r + i) << 16 | (c + j));
                    }
                }
                if (cols < KL_NR) memcpy(out + i * args->out_stride, edge[i], (size_t)cols * sizeof(KL_T));
            }
        }
    }
    args->n_doubts = n_doubts;
}

/* Entries whose lower end value - bound does not exceed their row's threshold, with both numbers. */
static void KL_NAME(kl_screen)(kl_product_args *args, kl_stats *stats)
{
    const int64_t K = args->K;
    const KL_T *row_offset = args->row_offset, *row_norm = args->row_norm;
    const KL_T *row_slack = args->row_slack, *threshold = args->threshold;
    KL_T *hit_value = args->hit_value, *hit_bound = args->hit_bound;
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t c = 0; c < args->cols; c += KL_NR) {
        const KL_T *right = (const KL_T *)args->right + c * K;
        const KL_T *co = (const KL_T *)args->col_offset + c, *cn = (const KL_T *)args->col_norm + c;
        const KL_T *cs = (const KL_T *)args->col_slack + c;
        for (int64_t r = 0; r < args->rows; r += KL_MR) {
            const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
            KL_NAME(kl_tile) tile;
            KL_NAME(kl_tile_product)((const KL_T *)args->left + r * K, right, K, &tile);
            KL_UNROLL for (int i = 0; i < KL_MR; i++) {
                KL_UNROLL for (int h = 0; h < 2; h++) {
                    KL_V value = KL_NAME(kl_set)(row_offset[r + i]) + KL_NAME(kl_load)(co + h * KL_W);
                    value -= tile.v[i][h];
                    KL_V bound = KL_NAME(kl_set)(row_slack[r + i]) + KL_NAME(kl_load)(cs + h * KL_W);
                    bound += KL_NAME(kl_set)(row_norm[r + i]) * KL_NAME(kl_load)(cn + h * KL_W);
                    uint32_t hit = KL_BITS(value - bound <= KL_NAME(kl_set)(threshold[r + i]));
                    if (__builtin_expect(hit != 0, 0) && i < rows) {
                        KL_T values[KL_W], bounds[KL_W];
                        KL_NAME(kl_store)(values, value);
                        KL_NAME(kl_store)(bounds, bound);
                        for (; hit; hit &= hit - 1) {
                            int64_t lane = __builtin_ctz(hit);
                            hit_value[n] = values[lane];
                            hit_bound[n] = bounds[lane];
                            args->doubts[n++] = (uint32_t)((r + i) << 16 | (c + h * KL_W + lane));
                        }
                    }
                }
            }
        }
    }
    args->n_doubts = n;
}

#undef KL_NR
#undef KL_T
#undef KL_V
#undef KL_W
#undef KL_MR
#undef KL_FMA
#undef KL_BITS
#undef KL_NAME
