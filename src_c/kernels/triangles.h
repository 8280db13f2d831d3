/* Lower triangles beside a column, for the families with a full covariance (kl_triangles in families.h): d rows of
 * kl_stride(d) numbers, column 0, the triangle's row, zeros. Every element is made by the same operations in the same
 * order whatever the width of the vectors. */

#define KL_TRIANGLE_BLOCK 4 /* vectors of a row in work together: as many chains of additions */

/* a b + c as kl_fma_exact has it, of an a of any size, whose splitting without a fused multiply-add may overflow. */
KL_INLINE vf64 kl_fma_of_any(vf64 a, vf64 b, vf64 c)
{
#if KL_HAS_FMA
    return KL_FMA_F64(a, b, c);
#else
    const vi64 large = kl_abs(a) > 0x1p900;
    const vf64 down = kl_select(large, kl_set_f64(0x1p-60), kl_set_f64(1));
    return kl_fma_exact(a * down, b, c * down) / down;
#endif
}

/* high + low + a b, of which high is the rounded sum. */
typedef struct { vf64 high, low; } kl_twofold;

/* The rounding of a + b. */
KL_INLINE double kl_error_of_sum(double a, double b, double sum)
{
    const double part = sum - a;
    return (a - (sum - part)) + (b - part);
}

KL_INLINE kl_twofold kl_twofold_add_product(kl_twofold x, vf64 a, vf64 b, vf64 b_low)
{
    const vf64 product = a * b, rest = KL_FMA_F64(a, b_low, kl_fma_of_any(a, b, -product));
    const vf64 sum = x.high + product, part = sum - x.high;
    const vf64 error = (x.high - (sum - part)) + (product - part);
    return (kl_twofold){sum, x.low + (error + rest)};
}

/* a - s l as high + low. */
KL_INLINE double kl_gap_of(double a, double s, double l, double *low)
{
    const double product = s * l, gap = a - product;
    *low = kl_error_of_sum(a, -product, gap) - (s == 1 || s == 0 ? 0 : fma(s, l, -product));
    return gap;
}

/* Row i before the rows above it are taken off: [m_i - n_i, a - s l], then zeros. */
KL_INLINE void kl_triangle_gap(const double *l, const double *a, const double *s, const double *m, const double *n,
                               int64_t i, int64_t stride, double *e, double *low)
{
    double lost;
    e[0] = m ? kl_gap_of(m[i], 1, n[i], low ? low : &lost) : 0;
    if (low && !m) low[0] = 0;
    for (int64_t j = 0; j <= i; j++) e[1 + j] = kl_gap_of(a[j], s ? s[j] : 1, l[j], low ? low + 1 + j : &lost);
    for (int64_t j = i + 2; j < stride; j++) e[j] = 0;
    for (int64_t j = i + 2; j < stride && low; j++) low[j] = 0;
}

/* Columns [c, c + count vectors) of row i, whose rows above are done: those from c - 1 on have something there. */
KL_INLINE void kl_triangle_part(int count, const double *l, int64_t i, int64_t c, int64_t stride, double *E)
{
    double *e = E + i * stride + c;
    vf64 x[KL_TRIANGLE_BLOCK];
    KL_UNROLL for (int v = 0; v < count; v++) x[v] = kl_load_f64(e + v * KL_W64);
    for (int64_t k = c ? c - 1 : 0; k < i; k++) {
        const double *above = E + k * stride + c;
        const vf64 factor = kl_set_f64(-l[k]);
        KL_UNROLL for (int v = 0; v < count; v++)
            x[v] = KL_FMA_F64(factor, kl_load_f64(above + v * KL_W64), x[v]);
    }
    const vf64 pivot = kl_set_f64(l[i]);
    KL_UNROLL for (int v = 0; v < count; v++) kl_store_f64(e + v * KL_W64, x[v] / pivot);
}

KL_INLINE void kl_triangle_part_twofold(int count, const double *l, int64_t i, int64_t c, int64_t stride, double *E,
                                        double *low)
{
    double *e = E + i * stride + c, *r = low + i * stride + c;
    kl_twofold x[KL_TRIANGLE_BLOCK];
    KL_UNROLL for (int v = 0; v < count; v++)
        x[v] = (kl_twofold){kl_load_f64(e + v * KL_W64), kl_load_f64(r + v * KL_W64)};
    for (int64_t k = c ? c - 1 : 0; k < i; k++) {
        const double *above = E + k * stride + c, *above_low = low + k * stride + c;
        const vf64 factor = kl_set_f64(-l[k]);
        KL_UNROLL for (int v = 0; v < count; v++)
            x[v] = kl_twofold_add_product(x[v], factor, kl_load_f64(above + v * KL_W64),
                                          kl_load_f64(above_low + v * KL_W64));
    }
    const vf64 pivot = kl_set_f64(l[i]), inverse = kl_set_f64(1 / l[i]);
    KL_UNROLL for (int v = 0; v < count; v++) {
        const vf64 about = (x[v].high + x[v].low) * inverse;
        const vf64 rest = (kl_fma_of_any(-pivot, about, x[v].high) + x[v].low) * inverse, sum = about + rest;
        kl_store_f64(e + v * KL_W64, sum);
        kl_store_f64(r + v * KL_W64, rest - (sum - about));
    }
}

/* `part` of the columns up to `columns` in blocks of vectors, as many as there are. */
#define KL_IN_BLOCKS(columns, part, ...)                                                               \
    for (int64_t c = 0; c < (columns); c += KL_TRIANGLE_BLOCK * KL_W64)                                \
        switch (((columns) - c + KL_W64 - 1) / KL_W64) {                                               \
        case 1: part(1, __VA_ARGS__); break;                                                           \
        case 2: part(2, __VA_ARGS__); break;                                                           \
        case 3: part(3, __VA_ARGS__); break;                                                           \
        default: part(KL_TRIANGLE_BLOCK, __VA_ARGS__);                                                 \
        }

static void kl_triangle_ratio(const double *L, const double *A, const double *s, const double *m, const double *n,
                              int64_t d, double *E, double *low)
{
    const int64_t stride = kl_stride(d);
    for (int64_t i = 0; i < d; i++) {
        const double *l = L + i * (i + 1) / 2;
        kl_triangle_gap(l, A + i * (i + 1) / 2, s, m, n, i, stride, E + i * stride, low ? low + i * stride : NULL);
        if (low) KL_IN_BLOCKS(i + 2, kl_triangle_part_twofold, l, i, c, stride, E, low)
        else KL_IN_BLOCKS(i + 2, kl_triangle_part, l, i, c, stride, E)
    }
}

KL_INLINE void kl_add_products_part(int count, const double *X, const double *low, int64_t stride, int64_t column,
                                    int64_t begin, int64_t end, int upper, int64_t c, double *out, const double *out_low)
{
    const int64_t filled = c + count * KL_W64 + 1, last = upper && filled < end ? filled : end;
    kl_twofold x[KL_TRIANGLE_BLOCK];
    KL_UNROLL for (int v = 0; v < count; v++)
        x[v] = (kl_twofold){kl_load_f64(out + c + v * KL_W64), kl_load_f64(out_low + c + v * KL_W64)};
    for (int64_t k = begin; k < last; k++) {
        const double *row = X + k * stride, *row_low = low + k * stride;
        const vf64 factor = kl_set_f64(row[column]), factor_low = kl_set_f64(row_low[column]);
        KL_UNROLL for (int v = 0; v < count; v++) {
            const vf64 b = kl_load_f64(row + c + v * KL_W64);
            x[v] = kl_twofold_add_product(x[v], factor, b, kl_load_f64(row_low + c + v * KL_W64));
            x[v].low = KL_FMA_F64(factor_low, b, x[v].low);
        }
    }
    KL_UNROLL for (int v = 0; v < count; v++) kl_store_f64(out + c + v * KL_W64, x[v].high + x[v].low);
}

static void kl_triangle_add_products(const double *X, const double *low, int64_t stride, int64_t column, int64_t begin,
                                     int64_t end, int upper, int64_t columns, double *out, const double *out_low)
{
    KL_IN_BLOCKS(columns, kl_add_products_part, X, low, stride, column, begin, end, upper, c, out, out_low)
}

static double kl_triangle_norm2(const double *E, int64_t d, int diagonal)
{
    const int64_t stride = kl_stride(d);
    kl_sum total = kl_sum_zero();
    for (int64_t i = 0; i < d; i++) {
        const double *e = E + i * stride;
        kl_lanes block = kl_lanes_zero();
        for (int64_t c = 0; c < i + 2; c += KL_LANES) {
            double last[KL_LANES];
            const double *x = e + c;
            if (!diagonal && c + KL_LANES > i + 1) {
                memcpy(last, x, sizeof last);
                last[i + 1 - c] = 0;
                x = last;
            }
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                const vf64 v = kl_load_f64(x + j * KL_W64);
                block.v[j] = KL_FMA_F64(v, v, block.v[j]);
            }
        }
        kl_sum_add(&total, &block);
    }
    return kl_sum_total(&total);
}

static const kl_triangles kl_triangles_here = {kl_triangle_ratio, kl_triangle_add_products, kl_triangle_norm2};
