/* Features of a block of rows, packed for the product, with their bounds. Rows are packed KL_PACK at a time: that many
 * neighbours in a panel are one store.
 */
typedef double kl_pack_f64 __attribute__((vector_size(8 * KL_PACK), aligned(8), may_alias));
typedef float kl_pack_f32 __attribute__((vector_size(4 * KL_PACK), aligned(4), may_alias));

/* Round to float32 away from zero, for bounds. */
KL_INLINE float kl_up_f32(double x)
{
    float f = (float)x;
    const uint32_t step = (double)f < x; /* half of them: no branch. Not infinity and NaN */
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = f == 0 ? step : bits + (f < 0 ? -step : step); /* the next float up; of either zero the least */
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* Offsets that all values of a row lack: see kl_encode_args. */
KL_INLINE int kl_is_shifted(const kl_encode_args *args)
{
    return args->up_to_shift && args->divergence->kind == KL_KL && args->role == KL_MEAN
        && args->rows->domain != KL_LOGITS && !args->rows->family;
}

/* The values that decide are rounded, to 4e-15 of a + b + |x||y| and of the entropy, and a <= |x|^2. */
#define KL_DECIDING 0x1p-47

/* Whether rows are weights for KL around a centre without empty bins. */
static int kl_is_whole(const kl_encode_args *args)
{
    const kl_rows *rows = args->rows;
    int whole = args->divergence->kind == KL_KL && rows->domain != KL_LOGITS && !rows->family;
    for (int64_t k = 0; k < rows->n_cols && whole; k++) whole = args->center->probs[k] > 0;
    return whole;
}

KL_INLINE double kl_inverse_sum(const kl_encode_args *args, int64_t i)
{
    return args->rows->domain == KL_MEASURE ? 1 : 1 / args->norms[i].a;
}

static void kl_store_support(const kl_encode_args *args, int64_t r, const double *row)
{
    const double empty = args->rows->domain == KL_LOGITS ? -INFINITY : 0;
    const int64_t K = args->rows->n_cols, words = (K + 63) / 64;
    for (int64_t w = 0; w < words; w++) {
        uint64_t bits = 0;
        for (int64_t k = w * 64; k < K && k < w * 64 + 64; k++) bits |= (uint64_t)(row[k] != empty) << (k - w * 64);
        args->support[r * words + w] = bits;
    }
}

/* Features and numbers of row r of the block, which has been read; `whole`: kl_is_whole. */
static kl_feature_row kl_read_features(const kl_encode_args *args, int whole, int64_t r, const double *row,
                                       double *features, double *family_scratch)
{
    const kl_rows *rows = args->rows;
    const kl_divergence *f = args->divergence;
    const int64_t K = rows->n_cols, i = args->begin + r;
    if (rows->family)
        return kl_family_features(f, rows->family, args->role, row, args->center, K, features,
                                  (kl_work){family_scratch, &kl_triangles_here});
    const kl_norm norm = args->norms[i];
    if (kl_is_shifted(args)) {
        kl_feature_row x = kl_shifted_features(rows->domain, row, norm, args->center, K, features);
        x.spread += (x.norm2 + (args->extra ? args->extra[i] : 0)) * (KL_DECIDING / args->slack_factor);
        return x;
    }
    if (f->by_overlap)
        return kl_overlap_features(f, args->role, rows->domain, row, norm, args->center, K, features);
    if (f->kind != KL_KL)
        return kl_other_features(f, args->role, rows->domain, row, norm, args->center, K, features);
    if (rows->domain == KL_LOGITS) return kl_logit_features(args->role, row, norm, args->center, K, features);
    if (!kl_is_ordinary(norm.a)) return kl_lost_row(features, K);
    const double inverse = kl_inverse_sum(args, i);
    if (args->role == KL_MEAN) return kl_mean_features(args->single, row, inverse, args->center, K, features);
    return kl_natural_features(0, args->single, whole && norm.b > 0, row, inverse, norm.b, args->center, K, features);
}

/* The same of any row; beyond the block's rows, padding that is never a neighbour. */
static kl_feature_row kl_encode_row(const kl_encode_args *args, int whole, int64_t r, double *features,
                                    double *row_scratch, double *family_scratch, int64_t count)
{
    const int64_t K = args->rows->n_cols, i = args->begin + r;
    if (i >= args->end) {
        memset(features, 0, (size_t)count * sizeof *features);
        return (kl_feature_row){INFINITY, 0, 0};
    }
    const int in_float32 = whole && args->role == KL_NATURAL && !args->support && args->norms[i].b > 0
        && kl_is_ordinary(args->norms[i].a) && kl_in_float32(args->rows);
    kl_feature_row f;
    if (in_float32)
        f = kl_natural_features(1, args->single, 1, kl_placed(args->rows, i), kl_inverse_sum(args, i),
                                args->norms[i].b, args->center, K, features);
    else {
        const double *row = kl_read(args->rows, i, row_scratch);
        f = kl_read_features(args, whole, r, row, features, family_scratch);
        if (args->support) kl_store_support(args, r, row);
    }
    if (args->extra && !kl_is_shifted(args)) {
        if (args->up_to_shift) f.spread += args->extra[i] * (KL_DECIDING / args->slack_factor);
        else f.offset += args->extra[i], f.spread += args->extra[i];
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


#if defined(__clang__)
#define KL_SHUFFLE_F32(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#define KL_SHUFFLE_F64(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
typedef int32_t kl_pack_i32 __attribute__((vector_size(4 * KL_PACK)));
typedef int64_t kl_pack_i64 __attribute__((vector_size(8 * KL_PACK)));
#define KL_SHUFFLE_F32(a, b, ...) __builtin_shuffle(a, b, (kl_pack_i32){__VA_ARGS__})
#define KL_SHUFFLE_F64(a, b, ...) __builtin_shuffle(a, b, (kl_pack_i64){__VA_ARGS__})
#endif

/* KL_PACK features from each of KL_PACK rows, from rows to columns. */
KL_INLINE void kl_pack_square_f64(const double *a, int64_t count, double *out, int64_t width)
{
    kl_pack_f64 row[KL_PACK], pair[KL_PACK];
    KL_UNROLL for (int i = 0; i < KL_PACK; i++) row[i] = *(const kl_pack_f64 *)(a + i * count);
    for (int i = 0; i < 2; i++) {
        pair[2 * i] = KL_SHUFFLE_F64(row[2 * i], row[2 * i + 1], 0, 4, 2, 6);
        pair[2 * i + 1] = KL_SHUFFLE_F64(row[2 * i], row[2 * i + 1], 1, 5, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(kl_pack_f64 *)(out + i * width) = KL_SHUFFLE_F64(pair[i], pair[i + 2], 0, 1, 4, 5);
        *(kl_pack_f64 *)(out + (i + 2) * width) = KL_SHUFFLE_F64(pair[i], pair[i + 2], 2, 3, 6, 7);
    }
}

/* The same to float32. */
KL_INLINE void kl_pack_square_f32(const double *a, int64_t count, float *out, int64_t width)
{
    kl_pack_f32 row[KL_PACK], pair[KL_PACK];
    KL_UNROLL for (int i = 0; i < KL_PACK; i++)
        row[i] = __builtin_convertvector(*(const kl_pack_f64 *)(a + i * count), kl_pack_f32);
    for (int i = 0; i < 2; i++) {
        pair[2 * i] = KL_SHUFFLE_F32(row[i], row[i + 2], 0, 4, 1, 5);
        pair[2 * i + 1] = KL_SHUFFLE_F32(row[i], row[i + 2], 2, 6, 3, 7);
    }
    for (int i = 0; i < 2; i++) {
        *(kl_pack_f32 *)(out + 2 * i * width) = KL_SHUFFLE_F32(pair[i], pair[i + 2], 0, 4, 1, 5);
        *(kl_pack_f32 *)(out + (2 * i + 1) * width) = KL_SHUFFLE_F32(pair[i], pair[i + 2], 2, 6, 3, 7);
    }
}

/* Columns r ... r + n of a panel that starts at `out`, from n <= KL_PACK rows of features. */
static void kl_pack_rows(const kl_encode_args *args, const double *features, int64_t count, int64_t start, int64_t n)
{
    const int64_t width = args->width;
    const double *a = features, *b = a + count, *c = b + count, *d = c + count;
    const kl_shape shape = kl_shape_of(args->divergence);
    if (n == KL_PACK && !args->single) {
        double *out = (double *)args->features + start;
        int64_t k = 0;
        for (; k + KL_PACK <= count; k += KL_PACK) kl_pack_square_f64(a + k, count, out + k * width, width);
        for (; k < count; k++)
            *(kl_pack_f64 *)(out + k * width) = (kl_pack_f64){a[k], b[k], c[k], d[k]};
        return;
    }
    if (n == KL_PACK && shape != KL_SUM_JS && shape != KL_SUM_SKEW) {
        float *out = (float *)args->features + start;
        int64_t k = 0;
        for (; k + KL_PACK <= count; k += KL_PACK) kl_pack_square_f32(a + k, count, out + k * width, width);
        for (; k < count; k++)
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

#ifdef KL_DOT_BYTES
#include "bytes.h"
#endif

KL_INLINE void kl_store_pack(const kl_encode_args *args, void *to, int64_t r, const kl_pack_f64 *x, int up)
{
    if (!args->single) *(kl_pack_f64 *)((double *)to + r) = *x;
    else { /* up: 2^-23 and the least normal number cover the rounding to float32 */
        const kl_pack_f64 raised = *x * (1 + up * 0x1p-23) + up * 0x1p-126;
        *(kl_pack_f32 *)((float *)to + r) = __builtin_convertvector(raised, kl_pack_f32);
    }
}

/* Rows r ... r + KL_PACK: the same features as row by row, the numbers of all rows together. 0 where one of them is out
 * of the ordinary; then nothing is done that counts. */
static int kl_encode_pack(const kl_encode_args *args, int64_t r, double *features)
{
    const int64_t K = args->rows->n_cols, i = args->begin + r;
    const int shifted = kl_is_shifted(args), single = kl_in_float32(args->rows);
    const int in_place = single || kl_in_place(args->rows);
    const void *row[KL_PACK];
    double inverse[KL_PACK];
    kl_probs_sums s[KL_PACK] = {{0, 0, 0, 0}};
    kl_pack_f64 total, norm2, norm, offset, extra = {0};
    KL_UNROLL for (int g = 0; g < KL_PACK; g++) total[g] = args->norms[i + g].a;
    *(kl_pack_f64 *)inverse = args->rows->domain == KL_MEASURE ? total - total + 1 : 1 / total;
    for (int g = 0; g < KL_PACK; g++)
        row[g] = in_place ? kl_placed(args->rows, i + g) : kl_read(args->rows, i + g, features + g * K);
    if (!shifted) kl_mean_rows(single, args->single, row, inverse, KL_PACK, args->center, K, features, s);
    for (int g = 0; g < KL_PACK && shifted; g++)
        s[g].squares = single ? kl_shifted_row_of(row[g], 1, inverse[g], args->center, 0, K, features + g * K).norm2
                              : kl_shifted_row_of(row[g], 0, inverse[g], args->center, 0, K, features + g * K).norm2;
    KL_UNROLL for (int g = 0; g < KL_PACK; g++) {
        norm2[g] = s[g].squares;
        offset[g] = s[g].g;
        norm[g] = sqrt(norm2[g]);
    }
    if (args->extra) extra = *(const kl_pack_f64 *)(args->extra + i);
    const __typeof__(total > norm2) ordinary =
        (total > 0x1p-900) & (total < 0x1p900) & (norm2 < 0x1p100) & (offset < 0x1p100);
    kl_pack_f64 slack = (norm2 + extra) * (KL_DECIDING * (1 + 0x1p-40));
    if (!shifted) {
        offset += extra;
        slack = offset * args->slack_factor;
    }
    norm *= (1 + 0x1p-40) * args->norm_factor;
    slack += args->slack_floor;
    kl_store_pack(args, args->norm, r, &norm, 1);
    kl_store_pack(args, args->offset, r, &offset, 0);
    kl_store_pack(args, args->slack, r, &slack, 1);
    return (ordinary[0] & ordinary[1] & ordinary[2] & ordinary[3]) != 0;
}

static void kl_encode(const kl_encode_args *args, kl_stats *stats)
{
    const int64_t K = args->rows->n_cols, n = args->end - args->begin, width = args->width;
    const int64_t padded = (n + width - 1) / width * width, count = kl_width_of(args->divergence, args->rows);
    double *row_scratch = args->scratch, *features = row_scratch + K, *family_scratch = features + KL_PACK * count;
    const int whole = kl_is_whole(args), together = whole && args->role == KL_MEAN && !args->support;
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t r = 0, at = 0, group; r < padded; r += group) { /* `at` within its panel */
        group = width - at < KL_PACK ? width - at : KL_PACK;
        const int done = together && group == KL_PACK && r + KL_PACK <= n && kl_encode_pack(args, r, features);
        for (int64_t g = 0; g < group && !done; g++) {
            double *row = features + g * count;
            kl_feature_row f = kl_encode_row(args, whole, r + g, row, row_scratch, family_scratch, count);
            const int beyond = args->single
                && !(f.norm2 < 0x1p100 && (fabs(f.offset) < 0x1p100 || f.offset == INFINITY));
            if (beyond) f = kl_lost_row(row, count); /* such a value must not meet a bound of infinity */
            kl_store_numbers(args, r + g, f);
        }
#ifdef KL_DOT_BYTES
        if (args->bytes.bytes) kl_store_bytes(args, r, features, count, group);
#endif
        kl_pack_rows(args, features, count, (r - at) * count + at, group);
        at = at + group < width ? at + group : 0;
    }
}
