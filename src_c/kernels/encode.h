/* Features of a block of rows, packed for the product, with their bounds; and their copy in bytes for the coarse screen.
 *
 * Rows are packed KL_PACK at a time: that many neighbours in a panel are one store.
 */
#define KL_PACK 4

/* Round to float32 away from zero, for bounds. */
KL_INLINE float kl_up_f32(double x)
{
    float f = (float)x;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if (!((double)f < x)) return f; /* infinity and NaN, too */
    bits = f > 0 ? bits + 1 : f < 0 ? bits - 1 : 1; /* the next float up; of either zero the least */
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Features and numbers of row r of the block; beyond its rows, padding that is never a neighbour. */
static kl_feature_row kl_encode_row(const kl_encode_args *args, int64_t r, double *features, double *row_scratch,
                                    double *family_scratch, int64_t count)
{
    const kl_rows *rows = args->rows;
    const int64_t K = rows->n_cols, words = (K + 63) / 64, i = args->begin + r;
    if (i >= args->end) {
        memset(features, 0, (size_t)count * sizeof *features);
        return (kl_feature_row){INFINITY, 0, 0};
    }
    const double *row = kl_read(rows, i, row_scratch);
    kl_feature_row f;
    if (rows->family)
        f = kl_family_features(args->divergence, rows->family, args->role, row, args->center, K, features,
                               family_scratch);
    else if (args->divergence->kind == KL_KL)
        f = kl_features(rows->domain, args->role, row, args->norms[i], args->center, K, features);
    else f = kl_other_features(args->divergence, args->role, rows->domain, row, args->norms[i], args->center, K, features);
    if (args->extra) {
        f.offset += args->extra[i];
        f.spread += args->extra[i];
    }
    if (args->support) {
        const double empty = rows->domain == KL_LOGITS ? -INFINITY : 0;
        for (int64_t w = 0; w < words; w++) {
            uint64_t bits = 0;
            for (int64_t k = w * 64; k < K && k < w * 64 + 64; k++) bits |= (uint64_t)(row[k] != empty) << (k - w * 64);
            args->support[r * words + w] = bits;
        }
    }
    return f;
}

static void kl_store_numbers(const kl_encode_args *args, int64_t r, kl_feature_row f)
{
    const double norm = sqrt(f.norm2) * (1 + 0x1p-40) * args->norm_factor;
    const double slack = f.spread * args->slack_factor + args->slack_floor;
    if (args->single) {
        ((float *)args->offset)[r] = (float)f.offset;
        ((float *)args->norm)[r] = kl_up_f32(norm);
        ((float *)args->slack)[r] = kl_up_f32(slack);
    } else {
        ((double *)args->offset)[r] = f.offset;
        ((double *)args->norm)[r] = norm;
        ((double *)args->slack)[r] = slack;
    }
}

typedef double kl_pack_f64 __attribute__((vector_size(8 * KL_PACK), aligned(8), may_alias));
typedef float kl_pack_f32 __attribute__((vector_size(4 * KL_PACK), aligned(4), may_alias));

/* Columns r ... r + n of a panel that starts at `out`, from n <= KL_PACK rows of features. */
static void kl_pack_rows(const kl_encode_args *args, const double *features, int64_t count, int64_t start, int64_t n)
{
    const int64_t width = args->width;
    const double *a = features, *b = a + count, *c = b + count, *d = c + count;
    const kl_shape shape = kl_shape_of(args->divergence);
    if (n == KL_PACK && !args->single) {
        double *out = (double *)args->features + start;
        for (int64_t k = 0; k < count; k++)
            *(kl_pack_f64 *)(out + k * width) = (kl_pack_f64){a[k], b[k], c[k], d[k]};
        return;
    }
    if (n == KL_PACK && shape != KL_SUM_JS && shape != KL_SUM_SKEW) {
        float *out = (float *)args->features + start;
        for (int64_t k = 0; k < count; k++)
            *(kl_pack_f32 *)(out + k * width) = (kl_pack_f32){(float)a[k], (float)b[k], (float)c[k], (float)d[k]};
        return;
    }
    /* Sums over bins count on x + y >= -1, for x >= -w and y >= -(1 - w): rounded up. */
    const int up = shape == KL_SUM_JS || shape == KL_SUM_SKEW;
    for (int64_t r = 0; r < n; r++, a += count)
        for (int64_t k = 0; k < count; k++) {
            const int64_t at = start + k * width + r;
            if (!args->single) ((double *)args->features)[at] = a[k];
            else ((float *)args->features)[at] = up ? kl_up_f32(a[k]) : (float)a[k];
        }
}

typedef int8_t kl_pack_i8 __attribute__((vector_size(KL_PACK), aligned(KL_PACK), may_alias));

/* 127 / the largest of |x|, n of them, or 1 where those are as good as none. */
static float kl_bytes_inverse(const double *x, int64_t n)
{
    kl_lanes low = kl_lanes_zero();
    double t[KL_LANES], most = 0;
    int64_t k = 0;
    for (; k + KL_LANES <= n; k += KL_LANES)
        KL_UNROLL for (int j = 0; j < KL_NV; j++)
            low.v[j] = KL_MIN_F64(-kl_abs(kl_load_f64(x + k + j * KL_W64)), low.v[j]);
    memcpy(t, &low, sizeof t);
    for (int j = 0; j < KL_LANES; j++) most = -t[j] > most ? -t[j] : most;
    for (; k < n; k++) most = fabs(x[k]) > most ? fabs(x[k]) : most;
    return most > 0x1p-80 ? (float)(127 / most) : 1;
}

/* The features of row r as bytes: X = rint(x inverse), |X| <= 127, with |x - X/inverse| and |X/inverse| for the bound. */
static void kl_store_bytes(const kl_encode_args *args, int64_t r, const double *x, int64_t count, float inverse)
{
    const kl_bytes *to = &args->bytes;
    const double magic = 0x1.8p52; /* what is added to it is rounded to an integer */
    const int64_t width = args->width, groups = (count + KL_PACK - 1) / KL_PACK, whole = count - count % KL_LANES;
    int8_t *out = to->bytes + (r / width * width * groups + r % width) * KL_PACK;
    kl_lanes residual = kl_lanes_zero(), norm = residual, sum = residual;
    double tail[KL_LANES], rounded[KL_LANES];
    const double *last = kl_tail(x, whole, count, 0, tail);
    const vf64 scale = kl_set_f64(inverse), step = kl_set_f64(1 / (double)inverse);
    for (int64_t k = 0; k < count; k += KL_LANES) {
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 v = kl_load_f64((k < whole ? x + k : last) + j * KL_W64);
            vf64 n = (v * scale + magic) - magic, rest = v - n * step;
            residual.v[j] += rest * rest;
            norm.v[j] += n * n;
            sum.v[j] += n;
            kl_store_f64(rounded + j * KL_W64, n);
        }
        for (int64_t g = k / KL_PACK; g < groups && g * KL_PACK < k + KL_LANES; g++)
            *(kl_pack_i8 *)(out + g * width * KL_PACK)
                = __builtin_convertvector(*(kl_pack_f64 *)(rounded + g * KL_PACK - k), kl_pack_i8);
    }
    /* The factors cover the roundings, of 2^-53 each, of step, rest and the sums. */
    const double up = 1 + 0x1p-30, size = sqrt(kl_lanes_total(&norm)) * step[0] * up;
    to->inverse[r] = inverse;
    to->residual[r] = kl_up_f32(sqrt(kl_lanes_total(&residual)) * up + size * 0x1p-40);
    to->norm[r] = kl_up_f32(size);
    to->shift[r] = (int32_t)kl_lanes_total(&sum) * -128;
}

static void kl_encode(const kl_encode_args *args, kl_stats *stats)
{
    const int64_t K = args->rows->n_cols, n = args->end - args->begin, width = args->width;
    const int64_t padded = (n + width - 1) / width * width, count = kl_width_of(args->divergence, args->rows);
    double *row_scratch = args->scratch, *features = row_scratch + K, *family_scratch = features + KL_PACK * count;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t r = 0, group; r < padded; r += group) {
        group = width - r % width < KL_PACK ? width - r % width : KL_PACK;
        for (int64_t g = 0; g < group; g++) {
            double *row = features + g * count;
            kl_feature_row f = kl_encode_row(args, r + g, row, row_scratch, family_scratch, count);
            const int beyond = args->single
                && !(f.norm2 < 0x1p100 && (fabs(f.offset) < 0x1p100 || f.offset == INFINITY));
            if (beyond) f = kl_lost_row(row, count); /* such a value must not meet a bound of infinity */
            kl_store_numbers(args, r + g, f);
        }
        if (args->bytes.bytes) {
            const float inverse = kl_bytes_inverse(features, group * count);
            for (int64_t g = 0; g < group; g++) kl_store_bytes(args, r + g, features + g * count, count, inverse);
        }
        kl_pack_rows(args, features, count, r / width * width * count + r % width, group);
    }
}
