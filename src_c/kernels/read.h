/* Reading a row: any storage, any stride, prior added, as contiguous doubles.
 *
 * Contract: scratch holds n_cols doubles and does not overlap the matrix. Contiguous float64 rows
 * without prior are returned in place. Widening to float64 is exact for every storage but 64-bit
 * integers above 2^53, which round to nearest.
 */

KL_INLINE float kl_half_to_float(uint16_t h)
{
    /* Shift exponent and mantissa into place and rebias by 2^112; the multiplication also makes
     * subnormals normal. Infinities and NaN need their exponent filled. */
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13, bits;
    float value;
    memcpy(&value, &rest, 4);
    value *= 0x1p112f;
    memcpy(&bits, &value, 4);
    bits |= sign | (rest >= 0x0f800000u ? 0x7f800000u : 0);
    memcpy(&value, &bits, 4);
    return value;
}

KL_INLINE float kl_bfloat_to_float(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

#define KL_READ_AS(type, convert)                                                             \
    {                                                                                         \
        if (step == (int64_t)sizeof(type)) {                                                  \
            for (int64_t k = 0; k < K; k++) {                                                 \
                type x;                                                                       \
                memcpy(&x, data + k * (int64_t)sizeof(type), sizeof x);                       \
                out[k] = (double)convert(x);                                                  \
            }                                                                                 \
        } else {                                                                              \
            for (int64_t k = 0; k < K; k++) {                                                 \
                type x;                                                                       \
                memcpy(&x, data + k * step, sizeof x);                                        \
                out[k] = (double)convert(x);                                                  \
            }                                                                                 \
        }                                                                                     \
        break;                                                                                \
    }

static void kl_widen(int32_t storage, const char *data, int64_t step, int64_t K, double *out)
{
    switch (storage) {
    case KL_FLOAT64: KL_READ_AS(double, )
    case KL_FLOAT32: KL_READ_AS(float, )
    case KL_FLOAT16: KL_READ_AS(uint16_t, kl_half_to_float)
    case KL_BFLOAT16: KL_READ_AS(uint16_t, kl_bfloat_to_float)
    case KL_INT8: KL_READ_AS(int8_t, )
    case KL_UINT8: KL_READ_AS(uint8_t, )
    case KL_INT16: KL_READ_AS(int16_t, )
    case KL_UINT16: KL_READ_AS(uint16_t, )
    case KL_INT32: KL_READ_AS(int32_t, )
    case KL_UINT32: KL_READ_AS(uint32_t, )
    case KL_INT64: KL_READ_AS(int64_t, )
    case KL_UINT64: KL_READ_AS(uint64_t, )
    default: break;
    }
}
#undef KL_READ_AS

static void kl_scatter(const kl_rows *rows, int64_t i, double *out)
{
    const double *values = (const double *)rows->data;
    memset(out, 0, (size_t)rows->n_cols * sizeof *out);
    for (int64_t t = rows->indptr[i]; t < rows->indptr[i + 1]; t++) out[rows->indices[t]] = values[t];
}

/* Whether rows are plain numbers of this storage, `size` bytes each, side by side and aligned. */
KL_INLINE int kl_side_by_side(const kl_rows *rows, int32_t storage, int64_t size)
{
    return rows->storage == storage && (rows->col_stride == size || rows->n_cols == 1) && !rows->prior
        && !rows->take_log && !rows->indptr && !rows->n_parts
        && (((uintptr_t)rows->data | (uint64_t)rows->row_stride) & (uint64_t)(size - 1)) == 0;
}

/* Whether rows can be used where they lie. */
KL_INLINE int kl_in_place(const kl_rows *rows) { return kl_side_by_side(rows, KL_FLOAT64, 8); }

/* Whether rows are weights that can be used so as float32. */
KL_INLINE int kl_in_float32(const kl_rows *rows)
{
    return rows->domain != KL_LOGITS && !rows->family && kl_side_by_side(rows, KL_FLOAT32, 4);
}

KL_INLINE const void *kl_placed(const kl_rows *rows, int64_t i)
{
    return rows->data + (rows->index ? rows->index[i] : i) * rows->row_stride;
}

static void kl_join(const kl_rows *rows, int64_t i, double *out)
{
    for (const kl_part *part = rows->part; part < rows->part + rows->n_parts; part++) {
        const char *data = part->data + i * part->row_stride;
        if (!part->side) kl_widen(KL_FLOAT64, data, part->col_stride, part->n_cols, out);
        for (int64_t line = 0, at = 0; line < part->side; at += ++line)
            kl_widen(KL_FLOAT64, data + line * part->line_stride, part->col_stride, line + 1, out + at);
        out += part->n_cols;
    }
}

/* Logarithms in place, within 2 ulp. A lane group with a number out of the ordinary goes by log, whatever the width of vectors. */
static void kl_take_logs(double *x, int64_t K)
{
    const vf64 one = kl_set_f64(1);
    double last[KL_LANES];
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const int64_t n = K - k < KL_LANES ? K - k : KL_LANES;
        double *group = n == KL_LANES ? x + k : last;
        vi64 ordinary = ~(vi64){0};
        if (group == last) kl_tail(x, k, K, 1, last);
        KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
            const vf64 v = kl_load_f64(group + j);
            ordinary &= (v > 0x1p-900) & (v < 0x1p900);
        }
        if (KL_BITS_F64(ordinary) == (1u << KL_W64) - 1)
            KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
                const vf64 v = kl_load_f64(group + j);
                kl_store_f64(group + j, kl_log_exact(kl_log_reduce(v, one, v - one)).high);
            }
        else
            for (int64_t j = 0; j < n; j++) group[j] = log(group[j]);
        if (group == last) memcpy(x + k, last, (size_t)n * sizeof *x);
    }
}

static const double *kl_read(const kl_rows *rows, int64_t i, double *scratch)
{
    const int64_t K = rows->n_cols, at = rows->index ? rows->index[i] : i;
    if (rows->n_parts) {
        kl_join(rows, at, scratch);
        return scratch;
    }
    if (kl_in_place(rows)) return kl_placed(rows, i);
    if (rows->indptr) kl_scatter(rows, at, scratch);
    else kl_widen(rows->storage, rows->data + at * rows->row_stride, rows->col_stride, K, scratch);
    if (rows->prior) {
        double weight = rows->prior_weight;
        if (rows->weight_by_sum) weight *= kl_row_sum(scratch, 0, K, NULL);
        for (int64_t k = 0; k < K; k++) scratch[k] = scratch[k] + weight * rows->prior[k];
    }
    if (rows->take_log) kl_take_logs(scratch, K);
    return scratch;
}
