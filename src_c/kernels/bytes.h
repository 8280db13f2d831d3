/* Features as bytes, for the coarse screen (coarse.h); only where the ISA multiplies them, so that a vector holds
 * KL_LANES doubles. */
_Static_assert(KL_NV == 1, "eight doubles a vector");

/* 127 / the largest of |x|, n of them, or 1 where those are as good as none. */
static float kl_bytes_inverse(const double *x, int64_t n)
{
    vf64 low = {0};
    double t[KL_LANES], most = 0;
    int64_t k = 0;
    for (; k + KL_LANES <= n; k += KL_LANES) low = KL_MIN_F64(-kl_abs(kl_load_f64(x + k)), low);
    kl_store_f64(t, low);
    for (int j = 0; j < KL_LANES; j++) most = -t[j] > most ? -t[j] : most;
    for (; k < n; k++) most = fabs(x[k]) > most ? fabs(x[k]) : most;
    return most > 0x1p-80 ? (float)(127 / most) : 1;
}

typedef struct { vf64 residual, norm, sum; } kl_byte_sums;

/* Eight features x as X = rint(x scale), two groups of four, `apart` bytes from each other; `groups` are there. */
KL_INLINE void kl_eight_bytes(kl_byte_sums *s, vf64 x, vf64 scale, vf64 step, int8_t *out, int64_t apart,
                              int64_t groups)
{
    const double magic = 0x1.8p52;
    vf64 shifted = x * scale + magic; /* rounds to an integer, which is in the last bits, too */
    vf64 n = shifted - magic, rest = x - n * step;
    const uint64_t eight = KL_LOW_BYTES(shifted);
    const uint32_t four[2] = {(uint32_t)eight, (uint32_t)(eight >> 32)};
    s->residual += rest * rest;
    s->norm += n * n;
    s->sum += n;
    memcpy(out, &four[0], KL_PACK);
    if (groups > 1) memcpy(out + apart, &four[1], KL_PACK);
}

/* Rows r ... r + n of features, one scale for all: |X| <= 127, with |x - X/inverse| and |X/inverse| for the bound. */
static void kl_store_bytes(const kl_encode_args *args, int64_t r, const double *features, int64_t count, int64_t n)
{
    const kl_bytes *to = &args->bytes;
    const int64_t width = args->width, groups = (count + KL_PACK - 1) / KL_PACK, whole = count - count % KL_LANES;
    const float inverse = kl_bytes_inverse(features, n * count);
    const double step = 1 / (double)inverse, up = 1 + 0x1p-30; /* covers roundings of 2^-53 each, of step, rest, sums */
    double tail[KL_LANES];
    for (int64_t i = 0; i < n; i++, r++) {
        const double *x = features + i * count;
        int8_t *out = to->bytes + (r / width * width * groups + r % width) * KL_PACK;
        const int64_t apart = width * KL_PACK;
        kl_byte_sums s = {{0}, {0}, {0}};
        for (int64_t k = 0; k < whole; k += KL_LANES, out += 2 * apart)
            kl_eight_bytes(&s, kl_load_f64(x + k), kl_set_f64(inverse), kl_set_f64(step), out, apart, 2);
        if (whole < count)
            kl_eight_bytes(&s, kl_load_f64(kl_tail(x, whole, count, 0, tail)), kl_set_f64(inverse), kl_set_f64(step),
                           out, apart, groups - whole / KL_PACK);
        const kl_lanes residual = {{s.residual}}, norm = {{s.norm}}, sum = {{s.sum}};
        const double size = sqrt(kl_lanes_total(&norm)) * step * up;
        to->inverse[r] = inverse;
        to->residual[r] = kl_up_f32(sqrt(kl_lanes_total(&residual)) * up + size * 0x1p-40);
        to->norm[r] = kl_up_f32(size);
        to->shift[r] = (int32_t)kl_lanes_total(&sum) * -128;
    }
}

