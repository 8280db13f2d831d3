/* The nearest of few columns in float32, with rows in the lanes: a panel of rows is encoded as one of columns, and each
 * column's features are numbers that all lanes share. So nothing is folded along a row, no lane is idle for want of
 * columns, and the numbers of a row lie in one lane from its product to its hits.
 */
#define KL_PANEL (2 * KL_W32)                     /* rows */
#define KL_SHARED (KL_VECTOR_BYTES == 64 ? 8 : 4) /* columns at a time: with two vectors of rows, half of the registers */
#define KL_WORD 32                                /* columns whose hits are the bits of a word */

typedef struct { vf32 v[KL_SHARED][2]; } kl_few_tile;

/* x . y of the rows of a panel and columns [c, c + KL_SHARED). */
KL_INLINE void kl_few_product(const float *x, const float *y, int64_t K, kl_few_tile *tile)
{
    vf32 sum[KL_SHARED][2];
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) sum[i][0] = sum[i][1] = (vf32){0};
    for (int64_t k = 0; k < K; k++, x += KL_PANEL, y += KL_PANEL) {
        const vf32 x0 = kl_load_f32(x), x1 = kl_load_f32(x + KL_W32);
        KL_UNROLL for (int i = 0; i < KL_SHARED; i++) {
            const vf32 shared = kl_set_f32(y[i]);
            sum[i][0] = KL_FMA_F32(x0, shared, sum[i][0]);
            sum[i][1] = KL_FMA_F32(x1, shared, sum[i][1]);
        }
    }
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) tile->v[i][0] = sum[i][0], tile->v[i][1] = sum[i][1];
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

/* Which lower ends do not exceed the row's least upper end: bit j of word w of a row is column w * KL_WORD + j. */
static void kl_few_bits(const kl_product_args *args, const kl_few_rows rows[2], uint32_t *words)
{
    const float *kept = args->kept;
    for (int64_t first = 0; first < args->cols; first += KL_WORD, words += KL_PANEL) {
        const int64_t n = args->cols - first < KL_WORD ? args->cols - first : KL_WORD;
        vu32 bits[2] = {{0}, {0}};
        for (int64_t j = 0; j < n; j++, kept += KL_PANEL)
            KL_UNROLL for (int h = 0; h < 2; h++)
                bits[h] |= (vu32)(kl_load_f32(kept + h * KL_W32) <= rows[h].least) & ((uint32_t)1 << j);
        memcpy(words, bits, sizeof bits);
    }
}

static void kl_nearest(kl_product_args *args, kl_stats *stats)
{
    int64_t n = 0;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t r = 0; r < args->rows; r += KL_PANEL) {
        const int64_t count = args->rows - r < KL_PANEL ? args->rows - r : KL_PANEL;
        uint32_t words[KL_FEW / KL_WORD * KL_PANEL];
        kl_few_rows rows[2];
        kl_few_ends(args, r, rows);
        kl_few_bits(args, rows, words);
        for (int64_t i = 0; i < count; i++)
            for (int64_t c = 0; c < args->cols; c += KL_WORD)
                for (uint32_t word = words[c / KL_WORD * KL_PANEL + i]; word; word &= word - 1)
                    args->doubts[n++] = (uint32_t)((r + i) << 16 | (c + __builtin_ctz(word)));
    }
    args->n_doubts = n;
}
