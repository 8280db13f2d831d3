/* The coarse screen of a register tile: a product of bytes with a bound, which rules most rows of a tile out at a
 * fraction of the cost of its float32 product.
 *
 * Features x = X/s + (rest, |rest| <= residual), X bytes and s `inverse`, so that
 *     |x_i . y_j - X_i . Y_j / (s_i t_j)|  <=  residual_i |y_j| + |X_i/s_i| residual_j,
 * and a pair stays above the threshold while
 *     X_i . Y_j  <  (A_i + offset_j) s_i t_j,     A_i = offset_i - threshold_i - all bounds.
 * All entries of a row of X have one s, and so have all rows of a pack. Columns enter the instruction as unsigned bytes
 * Y + 128; shift_i = -128 sum X_i takes that back. Sums of fewer than 2^15 products of 2^16 do not overflow.
 */
_Static_assert(KL_MR32 <= KL_W32, "the numbers of a panel's rows fill one vector at most");
_Static_assert(KL_MR32 % KL_PACK == 0, "a panel holds whole packs");

/* The columns of a tile: t, offset t, and the largest bounds. */
typedef struct {
    vf32 inverse[2], offset[2];
    float norm, residual, bytes_norm, slack;
} kl_coarse_columns;

KL_INLINE float kl_coarse_largest(const float *x)
{
    vf32 low = KL_MIN_F32(-kl_load_f32(x), -kl_load_f32(x + KL_W32));
    float t[KL_W32];
    kl_store_f32(t, low);
    KL_UNROLL for (int n = KL_W32 / 2; n > 0; n /= 2)
        KL_UNROLL for (int j = 0; j < n; j++) t[j] = t[j + n] < t[j] ? t[j + n] : t[j];
    return -t[0];
}

KL_INLINE kl_coarse_columns kl_coarse_columns_of(const kl_product_args *args, int64_t c)
{
    const kl_bytes *b = &args->right_bytes;
    kl_coarse_columns r;
    for (int h = 0; h < 2; h++) {
        r.inverse[h] = kl_load_f32(b->inverse + c + h * KL_W32);
        r.offset[h] = kl_load_f32((const float *)args->col_offset + c + h * KL_W32) * r.inverse[h];
    }
    r.norm = kl_coarse_largest((const float *)args->col_norm + c);
    r.slack = kl_coarse_largest((const float *)args->col_slack + c);
    r.residual = kl_coarse_largest(b->residual + c);
    r.bytes_norm = kl_coarse_largest(b->norm + c) + r.residual; /* of y itself */
    return r;
}

/* s_i A_i of the panel's rows. The bounds of both screens, the slacks twice for the roundings of offsets, 2^-20 of the
 * product's size for those of the comparison. */
KL_INLINE void kl_coarse_rows_of(const kl_product_args *args, int64_t r, const kl_coarse_columns *col, float *limit)
{
    const kl_bytes *b = &args->left_bytes;
    const vf32 norm = kl_load_f32((const float *)args->row_norm + r), size = kl_load_f32(b->norm + r);
    const vf32 slack = kl_load_f32((const float *)args->row_slack + r) + kl_set_f32(col->slack);
    vf32 bound = 2 * slack + norm * kl_set_f32(col->norm) + kl_load_f32(b->residual + r) * kl_set_f32(col->bytes_norm);
    bound += size * kl_set_f32(col->residual + 0x1p-20f * col->bytes_norm);
    const vf32 threshold = kl_load_f32((const float *)args->threshold + r);
    bound = (threshold + bound) + (kl_magnitude_f32(threshold) + bound) * kl_set_f32(0x1p-19f);
    kl_store_f32(limit, (kl_load_f32((const float *)args->row_offset + r) - bound) * kl_load_f32(b->inverse + r));
}

/* Ask for the float32 features of the columns from c on, of which most panels get some strips: left to those, they
 * would come late and one by one. */
KL_INLINE void kl_coarse_prefetch(const kl_product_args *args, int64_t c)
{
    const char *panel = (const char *)((const float *)args->right + c * args->K);
    if (c < args->cols)
        for (int64_t byte = 0; byte < 2 * KL_W32 * args->K * 4; byte += 64) __builtin_prefetch(panel + byte, 0, 2);
}

typedef struct { vi32 v[KL_MR32][2]; } kl_byte_tile;

KL_INLINE void kl_byte_product(const kl_product_args *args, int64_t r, int64_t c, kl_byte_tile *sum)
{
    const int64_t groups = (args->K + KL_PACK - 1) / KL_PACK;
    const int8_t *left = args->left_bytes.bytes + r * groups * KL_PACK;
    const int8_t *right = args->right_bytes.bytes + c * groups * KL_PACK;
    const vi32 flip = (vi32)((vu32){0} + 0x80808080u); /* signed to unsigned */
    vi32 acc[KL_MR32][2];
    KL_UNROLL for (int i = 0; i < KL_MR32; i++) acc[i][0] = acc[i][1] = (vi32){0} + args->left_bytes.shift[r + i];
    for (int64_t g = 0; g < groups; g++) {
        vi32 b0 = (vi32)kl_load_f32((const float *)right) ^ flip;
        vi32 b1 = (vi32)kl_load_f32((const float *)right + KL_W32) ^ flip;
        KL_UNROLL for (int i = 0; i < KL_MR32; i++) {
            int32_t a;
            memcpy(&a, left + i * KL_PACK, sizeof a);
            acc[i][0] = KL_DOT_BYTES(acc[i][0], b0, a);
            acc[i][1] = KL_DOT_BYTES(acc[i][1], b1, a);
        }
        left += KL_MR32 * KL_PACK;
        right += 2 * KL_W32 * KL_PACK;
    }
    KL_UNROLL for (int i = 0; i < KL_MR32; i++) {
        sum->v[i][0] = acc[i][0];
        sum->v[i][1] = acc[i][1];
    }
}

/* X . Y - s A t: a hit is possible where this reaches s t offset. */
KL_INLINE vf32 kl_coarse_excess(const kl_byte_tile *sum, const kl_coarse_columns *col, const float *limit, int i, int h)
{
    return KL_FMA_F32(kl_set_f32(-limit[i]), col->inverse[h], __builtin_convertvector(sum->v[i][h], vf32));
}

/* Bit i: row i of the tile may hold a hit. Rows of a pack share s (encode.h); most packs pass with one comparison. */
static uint32_t kl_coarse_hits(const kl_product_args *args, int64_t r, int64_t c, const kl_coarse_columns *col)
{
    const float *s = args->left_bytes.inverse + r;
    float limit[KL_W32];
    uint32_t any = 0, rows = 0;
    kl_byte_tile sum;
    kl_coarse_rows_of(args, r, col, limit);
    kl_byte_product(args, r, c, &sum);
    KL_UNROLL for (int pack = 0; pack < KL_MR32; pack += KL_PACK)
        KL_UNROLL for (int h = 0; h < 2; h++) {
            vf32 low = kl_set_f32(INFINITY);
            KL_UNROLL for (int i = pack; i < pack + KL_PACK; i++)
                low = KL_MIN_F32(-kl_coarse_excess(&sum, col, limit, i, h), low);
            any |= KL_BITS_F32(low <= -(kl_set_f32(s[pack]) * col->offset[h]));
        }
    if (!any) return 0;
    for (int i = 0; i < KL_MR32; i++)
        for (int h = 0; h < 2; h++) {
            vf32 edge = kl_set_f32(s[i]) * col->offset[h];
            rows |= (uint32_t)(KL_BITS_F32(kl_coarse_excess(&sum, col, limit, i, h) >= edge) != 0) << i;
        }
    return rows;
}

/* Some rows of a tile (n of KL_STRIP, the bits of `rows`) by their float32 products: the same bits as the tile's. */
#define KL_STRIP 8

KL_INLINE void kl_strip(const kl_product_args *args, int64_t r, int64_t c, uint32_t rows, int n, kl_tile_f32 *tile)
{
    const float *left = (const float *)args->left + r * args->K, *right = (const float *)args->right + c * args->K;
    int at[KL_STRIP];
    for (int i = 0; i < n; i++, rows &= rows - 1) at[i] = __builtin_ctz(rows);
    for (int64_t begin = 0; begin < args->K; begin += KL_CHAIN) {
        const int64_t end = args->K < begin + KL_CHAIN ? args->K : begin + KL_CHAIN;
        vf32 sum[KL_STRIP][2];
        KL_UNROLL for (int i = 0; i < n; i++) sum[i][0] = sum[i][1] = (vf32){0};
        for (int64_t k = begin; k < end; k++) {
            vf32 b0 = kl_load_f32(right + k * 2 * KL_W32), b1 = kl_load_f32(right + k * 2 * KL_W32 + KL_W32);
            KL_UNROLL for (int i = 0; i < n; i++) {
                vf32 a = kl_set_f32(left[k * KL_MR32 + at[i]]);
                sum[i][0] = KL_FMA_F32(a, b0, sum[i][0]);
                sum[i][1] = KL_FMA_F32(a, b1, sum[i][1]);
            }
        }
        for (int i = 0; i < n; i++)
            for (int h = 0; h < 2; h++) tile->v[at[i]][h] = begin ? tile->v[at[i]][h] + sum[i][h] : sum[i][h];
    }
}

static __attribute__((noinline)) void kl_strips(const kl_product_args *args, int64_t r, int64_t c, uint32_t rows,
                                                kl_tile_f32 *tile)
{
    switch (__builtin_popcount(rows)) {
    case 1: kl_strip(args, r, c, rows, 1, tile); break;
    case 2: kl_strip(args, r, c, rows, 2, tile); break;
    case 3: kl_strip(args, r, c, rows, 3, tile); break;
    case 4: kl_strip(args, r, c, rows, 4, tile); break;
    case 5: kl_strip(args, r, c, rows, 5, tile); break;
    case 6: kl_strip(args, r, c, rows, 6, tile); break;
    case 7: kl_strip(args, r, c, rows, 7, tile); break;
    default: kl_strip(args, r, c, rows, KL_STRIP, tile);
    }
}
