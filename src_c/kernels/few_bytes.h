/* The nearest of few columns by products of bytes, rows in the lanes as in few.h. Of 1,000 columns they leave three or
 * four (32 bins, random rows), and the float32 products of those one.
 *
 * With the bounds of coarse.h, and all numbers of row i in units of 1/s_i,
 *     value = s_i offset_j - X_i . Y_j / t_j,      bound = |X_i| residual_j + s_i rest_i |y_j| + s_i slack_j,
 * up to the row's own offset and slack. Four neighbouring columns, a pack, have one t (encode.h) and share the largest
 * of their bounds: so a pair takes one multiply-add besides its product, and the least of a pack is all that is compared.
 */
typedef struct { float step, residual, size, slack; } kl_few_pack;

/* What few_columns made: the features of each column, the packs, and the largest offset, or 1, in the units that they
 * are multiplied into: near rows, which are nearly the centre, may be beyond float32. */
typedef struct { const float *features; const kl_few_pack *packs; float reach; } kl_few_right;

KL_INLINE kl_few_right kl_few_right_of(const kl_product_args *args)
{
    const int64_t cols = (args->cols + 31) / 32 * 32;
    const float *packs = args->few + cols * KL_FEW_STRIDE(args->K);
    return (kl_few_right){args->few, (const kl_few_pack *)packs, packs[cols]};
}

/* 2^-20 of the product's size, and of the bounds, for the roundings of both; the slacks twice for those of offsets. */
static kl_few_pack kl_few_pack_of(const kl_product_args *args, int64_t c, float *reach)
{
    const kl_bytes *b = &args->right_bytes;
    const float *offset = args->col_offset, *slack = args->col_slack;
    const float inverse = b->inverse[c], up = inverse > 1 ? inverse : 1, margin = 1 + 0x1p-20f;
    kl_few_pack pack = {1 / inverse, 0, 0, 0};
    for (int64_t j = c; j < c + KL_PACK; j++) {
        const float size = b->norm[j] + b->residual[j], residual = b->residual[j] + size * 0x1p-20f;
        const float far = (fabsf(offset[j]) > 1 ? fabsf(offset[j]) : 1) * up;
        pack.residual = residual > pack.residual ? residual : pack.residual;
        pack.size = size > pack.size ? size : pack.size;
        pack.slack = slack[j] > pack.slack ? slack[j] : pack.slack;
        *reach = far > *reach && far < INFINITY ? far : *reach; /* infinite: padding */
    }
    return (kl_few_pack){pack.step, pack.residual * margin, pack.size * margin, 2 * pack.slack * margin};
}

static void kl_few_columns_of(const kl_product_args *args, float *few)
{
    const int64_t K = args->K, stride = KL_FEW_STRIDE(K), cols = (args->cols + 31) / 32 * 32;
    float *packs = few + cols * stride, *reach = packs + cols;
    memset(few, 0, (size_t)(cols * (stride + 1) + 1) * sizeof *few);
    for (int64_t c = 0; c < args->cols; c++) {
        const float *panel = (const float *)args->right + c / KL_PANEL * KL_PANEL * K + c % KL_PANEL;
        for (int64_t k = 0; k < K; k++) few[c * stride + k] = panel[k * KL_PANEL];
    }
    for (int64_t c = 0; c < args->cols; c += KL_PACK) {
        const kl_few_pack pack = kl_few_pack_of(args, c, reach);
        memcpy(packs + c, &pack, sizeof pack);
    }
}

/* The numbers of rows in their units: s, |X|, s rest and least upper end, without the row's slack. */
typedef struct { vf32 inverse, size, rest, least; } kl_few_byte_rows;

KL_INLINE kl_few_byte_rows kl_few_byte_rows_of(const kl_product_args *args, int64_t at)
{
    const kl_bytes *b = &args->left_bytes;
    const vf32 inverse = kl_load_f32(b->inverse + at), norm = kl_load_f32((const float *)args->row_norm + at);
    return (kl_few_byte_rows){inverse, kl_load_f32(b->norm + at) * inverse,
                              (kl_load_f32(b->residual + at) + norm * (1 + 0x1p-20f)) * inverse, kl_set_f32(INFINITY)};
}

typedef struct { vi32 v[KL_SHARED][2]; } kl_few_byte_tile;

/* X . Y of the rows of a panel and columns [c, c + KL_SHARED). Rows enter as unsigned bytes X + 128, which the columns'
 * shift takes back. */
KL_INLINE void kl_few_byte_product(const kl_product_args *args, int64_t r, int64_t c, kl_few_byte_tile *tile)
{
    const int64_t groups = (args->K + KL_PACK - 1) / KL_PACK, apart = KL_PANEL * KL_PACK;
    const int8_t *x = args->left_bytes.bytes + r * groups * KL_PACK;
    const int8_t *y = args->right_bytes.bytes + (c / KL_PANEL * KL_PANEL * groups + c % KL_PANEL) * KL_PACK;
    const vi32 flip = (vi32)((vu32){0} + 0x80808080u); /* signed to unsigned */
    vi32 sum[KL_SHARED][2];
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) sum[i][0] = sum[i][1] = (vi32){0} + args->right_bytes.shift[c + i];
    for (int64_t g = 0; g < groups; g++, x += apart, y += apart) {
        const vi32 x0 = (vi32)kl_load_f32((const float *)x) ^ flip;
        const vi32 x1 = (vi32)kl_load_f32((const float *)x + KL_W32) ^ flip;
        KL_UNROLL for (int i = 0; i < KL_SHARED; i++) {
            int32_t shared;
            memcpy(&shared, y + i * KL_PACK, sizeof shared);
            sum[i][0] = KL_DOT_BYTES(sum[i][0], x0, shared);
            sum[i][1] = KL_DOT_BYTES(sum[i][1], x1, shared);
        }
    }
    KL_UNROLL for (int i = 0; i < KL_SHARED; i++) tile->v[i][0] = sum[i][0], tile->v[i][1] = sum[i][1];
}

/* Values of all pairs of the panel that begins with row r to `kept`, in units of the pack's and the row's bytes, and
 * the least lower end of each pack to hit_bound. */
static void kl_few_byte_ends(const kl_product_args *args, const kl_few_pack *packs, int64_t r, kl_few_byte_rows rows[2])
{
    const float *offset = args->col_offset;
    float *kept = args->kept, *low = args->hit_bound;
    KL_UNROLL for (int h = 0; h < 2; h++) rows[h] = kl_few_byte_rows_of(args, r + h * KL_W32);
    for (int64_t c = 0; c < args->cols; c += KL_SHARED) {
        kl_few_byte_tile tile;
        kl_few_byte_product(args, r, c, &tile);
        KL_UNROLL for (int first = 0; first < KL_SHARED; first += KL_PACK, packs++)
            KL_UNROLL for (int h = 0; h < 2; h++, low += KL_W32) {
                const vf32 unit = rows[h].inverse * kl_set_f32(args->right_bytes.inverse[c + first]);
                vf32 least = kl_set_f32(INFINITY);
                KL_UNROLL for (int i = first; i < first + KL_PACK; i++, kept += KL_W32) {
                    const vf32 dot = __builtin_convertvector(tile.v[i][h], vf32);
                    const vf32 value = KL_FMA_F32(unit, kl_set_f32(offset[c + i]), -dot);
                    kl_store_f32(kept, value);
                    least = KL_MIN_F32(value, least);
                }
                vf32 bound = KL_FMA_F32(rows[h].rest, kl_set_f32(packs->size),
                                        rows[h].inverse * kl_set_f32(packs->slack));
                bound = KL_FMA_F32(rows[h].size, kl_set_f32(packs->residual), bound);
                least *= kl_set_f32(packs->step);
                kl_store_f32(low, least - bound);
                rows[h].least = KL_MIN_F32(least + bound, rows[h].least);
            }
    }
}

/* What a row's lower ends are compared with, up by all roundings: both ends may be off by the row's slack, twice as the
 * columns'. */
KL_INLINE vf32 kl_few_byte_limit(const kl_product_args *args, int64_t at, const kl_few_byte_rows *rows)
{
    const vf32 slack = kl_load_f32((const float *)args->row_slack + at) * (4 + 0x1p-18f);
    return rows->least + (kl_magnitude_f32(rows->least) * 0x1p-20f + slack * rows->inverse);
}

/* The columns of pack p that row i of the panel at r may be nearest to, to the list. */
KL_INLINE int64_t kl_few_pack_hits(const kl_product_args *args, const kl_few_pack *packs, const kl_few_byte_rows *rows,
                                   const vf32 *limit, int64_t r, int64_t i, int64_t p, int64_t n)
{
    const int64_t h = i / KL_W32, lane = i % KL_W32, last = args->cols - p * KL_PACK;
    const float *value = (const float *)args->kept + p * KL_PACK * KL_PANEL + h * KL_PACK * KL_W32 + lane;
    const float bound = rows[h].size[lane] * packs[p].residual + rows[h].rest[lane] * packs[p].size
                      + rows[h].inverse[lane] * packs[p].slack;
    for (int64_t j = 0; j < KL_PACK && j < last; j++) {
        args->doubts[n] = (uint32_t)((r + i) << 16 | (p * KL_PACK + j));
        n += value[j * KL_W32] * packs[p].step - bound <= limit[h][lane];
    }
    return n;
}

/* x . y, `stride` of KL_FEW_STRIDE. No chain of roundings, folds among them, is longer than along the bins: those of
 * padding are exact. */
KL_INLINE float kl_few_dot(const float *x, const float *y, int64_t stride)
{
    vf32 sum = {0};
    float t[KL_W32];
    for (int64_t k = 0; k < stride; k += KL_W32) sum = KL_FMA_F32(kl_load_f32(x + k), kl_load_f32(y + k), sum);
    kl_store_f32(t, sum);
    KL_UNROLL for (int n = KL_W32 / 2; n > 0; n /= 2)
        KL_UNROLL for (int j = 0; j < n; j++) t[j] += t[j + n];
    return t[0];
}

/* Of the columns that row i has on the list from `first` on those that it may still be nearest to by float32 products,
 * with the bounds of those. */
static int64_t kl_few_refined(const kl_product_args *args, int64_t i, int64_t first, int64_t n)
{
    const int64_t K = args->K, stride = KL_FEW_STRIDE(K);
    const float *panel = (const float *)args->left + i / KL_PANEL * KL_PANEL * K + i % KL_PANEL;
    const float *offset = args->col_offset, *norm = args->col_norm, *slack = args->col_slack;
    const float row_norm = ((const float *)args->row_norm)[i], row_slack = ((const float *)args->row_slack)[i];
    float x[KL_FEW_BINS], low[KL_FEW_MOST], least = INFINITY;
    for (int64_t k = 0; k < K; k++) x[k] = panel[k * KL_PANEL];
    for (int64_t k = K; k < stride; k++) x[k] = 0;
    for (int64_t h = first; h < n; h++) {
        const int64_t j = args->doubts[h] & 0xffff;
        const float value = offset[j] - kl_few_dot(x, args->few + j * stride, stride); /* up to the row's offset */
        const float bound = row_norm * norm[j] + (row_slack + slack[j]);
        low[h - first] = value - bound;
        least = value + bound < least ? value + bound : least;
    }
    least += fabsf(least) * 0x1p-20f;
    int64_t kept = first;
    for (int64_t h = first; h < n; h++) {
        args->doubts[kept] = args->doubts[h];
        kept += low[h - first] <= least;
    }
    return kept;
}

/* As kl_few_by_floats; -1 where they leave too many, or offsets may overflow. A product by itself takes as long as
 * about eight of those of all rows and columns. */
static int64_t kl_few_by_bytes(const kl_product_args *args, int64_t r, int64_t count, int64_t n)
{
    const kl_few_right right = kl_few_right_of(args);
    const int64_t all = (args->cols + KL_PACK - 1) / KL_PACK;
    int64_t left = count * args->cols / 8;
    uint32_t words[KL_FEW_MOST / KL_PACK / KL_WORD * KL_PANEL];
    kl_few_byte_rows rows[2];
    vf32 limit[2];
    float largest = 0;
    for (int64_t i = r; i < r + count; i++)
        largest = args->left_bytes.inverse[i] > largest ? args->left_bytes.inverse[i] : largest;
    if (!(largest * right.reach < 0x1p120f)) return -1;
    kl_few_byte_ends(args, right.packs, r, rows);
    KL_UNROLL for (int h = 0; h < 2; h++) limit[h] = kl_few_byte_limit(args, r + h * KL_W32, rows + h);
    kl_few_bits(args->hit_bound, all, limit[0], limit[1], words);
    for (int64_t i = 0; i < count && left >= 0; i++) {
        const int64_t first = n;
        if (((const float *)args->row_offset)[r + i] == INFINITY) continue; /* infinitely far from all */
        for (int64_t p = 0; p < all; p += KL_WORD)
            for (uint32_t word = words[p / KL_WORD * KL_PANEL + i]; word; word &= word - 1)
                n = kl_few_pack_hits(args, right.packs, rows, limit, r, i, p + __builtin_ctz(word), n);
        left -= n - first;
        if (n > first + 1) n = kl_few_refined(args, r + i, first, n);
    }
    return left >= 0 ? n : -1;
}
