/* Dense tiles of KL_OVERLAP: a product is sum p^s q^t / (s t), and the value comes from that sum itself. Whether it is
 * certified depends on nothing else; sums that are NaN, as those of lost rows are 0, are not. */

KL_INLINE KL_V KL_NAME(kl_overlaps)(const kl_product_args *args, const KL_NAME(kl_tile) *tile, int i, int h)
{
    return tile->v[i][h] * KL_NAME(kl_set)((KL_T)args->number);
}

KL_INLINE uint32_t KL_NAME(kl_unclear)(const kl_product_args *args, KL_V overlap)
{
    const KL_V least = KL_NAME(kl_set)((KL_T)args->least), most = KL_NAME(kl_set)((KL_T)args->most);
    return KL_BITS(~((overlap >= least) & (overlap <= most)));
}

static void KL_NAME(kl_dense_overlap)(kl_product_args *args, kl_stats *stats)
{
    int64_t n_doubts = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t c = 0; c < args->cols; c += KL_NR) {
        const int64_t cols = args->cols - c < KL_NR ? args->cols - c : KL_NR;
        for (int64_t r = 0; r < args->rows; r += KL_MR) {
            const int64_t rows = args->rows - r < KL_MR ? args->rows - r : KL_MR;
            KL_T sums[KL_MR * KL_NR] __attribute__((aligned(KL_VECTOR_BYTES)));
            uint32_t unclear = 0;
            KL_NAME(kl_tile) tile;
            KL_NAME(kl_tile_of)(KL_OVERLAP, args, r, c, &tile);
            KL_UNROLL for (int i = 0; i < KL_MR; i++)
                KL_UNROLL for (int h = 0; h < 2; h++) {
                    KL_V overlap = KL_NAME(kl_overlaps)(args, &tile, i, h);
                    unclear |= KL_NAME(kl_unclear)(args, overlap);
                    KL_NAME(kl_store)(sums + i * KL_NR + h * KL_W, overlap);
                }
            for (int64_t i = 0; i < rows && unclear; i++)
                for (int64_t j = 0; j < cols; j++) {
                    const KL_T sum = sums[i * KL_NR + j];
                    if (!(sum >= (KL_T)args->least && sum <= (KL_T)args->most))
                        args->doubts[n_doubts++] = (uint32_t)((r + i) << 16 | (c + j));
                }
            KL_NAME(kl_deliver)(args, sums, (KL_T *)args->out + r * args->out_stride + c, rows, cols);
        }
    }
    if (args->stream) KL_STREAM_END();
    args->n_doubts = n_doubts;
}
