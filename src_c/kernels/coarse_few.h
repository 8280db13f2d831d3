/* Few columns and the nearest alone: the products of bytes decide which pairs are worth their exact values.
 *
 * Of all columns the lower ends are kept until the least upper end is known. The bytes leave about three of 1,000
 * columns (32 bins, random rows), whose exact values take less than their float32 products in strips. Bounds as in
 * coarse.h, of each column by itself.
 */
typedef struct { vf32 offset, step, size, residual, slack; } kl_coarse_half;

KL_INLINE kl_coarse_half kl_coarse_half_of(const kl_product_args *args, int64_t c)
{
    const kl_bytes *b = &args->right_bytes;
    const vf32 residual = kl_load_f32(b->residual + c), size = kl_load_f32(b->norm + c) + residual; /* of y itself */
    return (kl_coarse_half){kl_load_f32((const float *)args->col_offset + c), 1.0f / kl_load_f32(b->inverse + c), size,
                            residual + size * 0x1p-20f, 2 * kl_load_f32((const float *)args->col_slack + c)};
}

/* A row's numbers, in registers or on the stack: the compiler must not think that what is kept may change them. */
typedef struct { float offset, step, size, rest, slack; } kl_coarse_row;

/* The part of the norms counts with the size of y, which is not below a column's norm. */
KL_INLINE kl_coarse_row kl_coarse_row_of(const kl_product_args *args, int64_t r)
{
    const kl_bytes *b = &args->left_bytes;
    const float rest = b->residual[r] + ((const float *)args->row_norm)[r] * (1 + 0x1p-20f);
    return (kl_coarse_row){((const float *)args->row_offset)[r], 1 / b->inverse[r], b->norm[r], rest,
                           2 * ((const float *)args->row_slack)[r]};
}

KL_INLINE vf32 kl_coarse_bounds(const kl_coarse_row *row, const kl_coarse_half *col)
{
    const vf32 slack = col->slack + kl_set_f32(row->slack);
    return KL_FMA_F32(kl_set_f32(row->size), col->residual, KL_FMA_F32(kl_set_f32(row->rest), col->size, slack));
}

/* As kl_ends with `one`, of lower ends. */
static void kl_coarse_ends(const kl_product_args *args)
{
    const int64_t stride = args->kept_stride;
    for (int64_t r = 0; r < args->rows; r += KL_MR32) {
        const int64_t rows = args->rows - r < KL_MR32 ? args->rows - r : KL_MR32;
        kl_coarse_row row[KL_MR32];
        vf32 least[KL_MR32];
        KL_UNROLL for (int i = 0; i < KL_MR32; i++) {
            row[i] = kl_coarse_row_of(args, r + i);
            least[i] = kl_set_f32(INFINITY);
        }
        for (int64_t c = 0; c < args->cols; c += 2 * KL_W32) {
            kl_byte_tile sum;
            kl_byte_product(args, r, c, &sum);
            for (int h = 0; h < 2; h++) {
                const kl_coarse_half col = kl_coarse_half_of(args, c + h * KL_W32);
                float *to = (float *)args->kept + r * stride + c + h * KL_W32;
                KL_UNROLL for (int i = 0; i < KL_MR32; i++) {
                    const vf32 unit = col.step * kl_set_f32(row[i].step), bound = kl_coarse_bounds(row + i, &col);
                    const vf32 offset = col.offset + kl_set_f32(row[i].offset);
                    const vf32 value = KL_FMA_F32(-__builtin_convertvector(sum.v[i][h], vf32), unit, offset);
                    kl_store_f32(to + i * stride, value - bound);
                    least[i] = KL_MIN_F32(value + bound, least[i]);
                }
            }
        }
        for (int64_t i = 0; i < rows; i++) ((float *)args->out)[(r + i) * args->out_stride] = kl_least_f32(least[i]);
    }
}

static void kl_coarse_kept_hits(kl_product_args *args)
{
    int64_t n = 0;
    for (int64_t r = 0; r < args->rows && n <= args->most; r++) {
        const float *low = (const float *)args->kept + r * args->kept_stride;
        for (int64_t c = 0; c < args->cols; c += 2 * KL_W32) {
            const vf32 a = kl_load_f32(low + c), b = kl_load_f32(low + c + KL_W32);
            /* Both orders: of a NaN and a number the minimum is the second. */
            if (!kl_hit_f32(args, KL_MIN_F32(a, b), r) && !kl_hit_f32(args, KL_MIN_F32(b, a), r)) continue;
            const kl_coarse_row row = kl_coarse_row_of(args, r);
            for (int h = 0; h < 2; h++) {
                const kl_coarse_half col = kl_coarse_half_of(args, c + h * KL_W32);
                const vf32 bound = kl_coarse_bounds(&row, &col), ends = h ? b : a;
                const vf32 value = (vf32)((vi32)(ends + bound) & (vi32)(bound < INFINITY)); /* any, of no bound */
                n = kl_list_f32(args, kl_hit_f32(args, ends, r), value, bound, r, c + h * KL_W32, n);
            }
        }
    }
    args->n_doubts = n;
}
