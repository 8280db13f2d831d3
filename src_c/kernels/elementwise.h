/* Sums over bins of a function of two features, in place of a product: the tiles of the divergences that are not
 * bilinear. Included by product.h for float64 and for float32. Pairs that are far apart go another way, far.h.
 *
 * With z = x + y, c the centre, m = c (1 + z) the mixture of the two rows, and G(m, c) = m log(m/c) - m + c,
 *     JS        sum c ((1 + z) log(1 + z) - z)          = sum G(m, c)
 *     SKEW      sum c ((1 + x/share) log(1 + z) - z)    = sum p log(m/c) - m + c,   1 + x/share = p/c
 * so that, by the compensation identity, weighted KLs to the centre minus the sum are the divergence; every part is
 * of second order in the distances to the centre, as in the product form.
 *     ABS       -|x - y| / 2           TRIANGLE   -(x - y)^2 / (2 c + x + y)
 * The logarithm, by the tables of cells.h: 1 + z = b (1 + t), z0 = b - 1, r = z - z0 = b t, and
 *     (1 + z) log(1 + z) - z = b log(b) - z0 + r (log(b) + t H(t)),       H(t) = ((1 + t) log(1 + t) - t) / t^2
 *                log(1 + z) - z = log(b) - z0 + (t - r) + t^2 L(t),       L(t) = (log(1 + t) - t) / t^2
 * Around z = 0 there is b = 1, and what is left is z^2 H(z) or z^2 L(z).
 *
 * A chain of 20 dependent operations: KL_LOCKSTEP vectors go through it side by side.
 */
#define KL_EACH KL_UNROLL for (int j = 0; j < KL_LOCKSTEP; j++)

typedef struct { KL_V z, z0, r, t, middle, inverse, log; } KL_NAME(kl_cell); /* middle = b, log = log(b) */

KL_INLINE void KL_NAME(kl_cells_of)(const KL_V *x, const KL_V *y, KL_NAME(kl_cell) *a)
{
    KL_U s[KL_LOCKSTEP];
    KL_V n[KL_LOCKSTEP];
    KL_EACH a[j].z = x[j] + y[j];
    /* A unit more than 1 + z: the logarithm of a bin that both rows leave empty, where it stands for 0 log 0, is kept
     * finite and small. */
    KL_EACH s[j] = (KL_U)(a[j].z + KL_NAME(kl_set)(1 + KL_EPSILON)) + KL_CELL_SHIFT;
    KL_EACH { a[j].middle = (KL_V)(s[j] & KL_CELL_MASK); s[j] >>= KL_CELL_BITS; } /* s counts cells */
    KL_EACH a[j].inverse = (KL_V)((KL_U)KL_LOOKUP(KL_CELLS[KL_INVERSE], s[j]) - (KL_U)a[j].middle);
    KL_EACH a[j].z0 = a[j].middle - KL_NAME(kl_set)(1);
    KL_EACH a[j].r = a[j].z - a[j].z0;
    KL_EACH a[j].t = a[j].r * a[j].inverse;
    KL_EACH n[j] = (KL_V)(s[j] | KL_COUNT_BITS) - KL_NAME(kl_set)(KL_COUNT_OF_1);
    KL_EACH a[j].log = KL_FMA(n[j], KL_NAME(kl_set)((KL_T)(KL_LN2 / 8)), KL_LOOKUP(KL_CELLS[KL_LOG_REST], s[j]));
}

/* The polynomial with n coefficients c in t, in each of the vectors. */
KL_INLINE void KL_NAME(kl_polynomials)(const KL_T *c, int n, const KL_NAME(kl_cell) *a, KL_V *p)
{
    KL_EACH p[j] = KL_NAME(kl_set)(c[n - 1]);
    KL_UNROLL for (int i = n - 2; i >= 0; i--) KL_EACH p[j] = KL_FMA(p[j], a[j].t, KL_NAME(kl_set)(c[i]));
}

/* a b + c, where b has 4 bits and a b almost cancels c: without fused multiply-adds, a is split so that high b is
 * exact. */
KL_INLINE KL_V KL_NAME(kl_short_product)(KL_V a, KL_V b, KL_V c)
{
#if KL_HAS_FMA
    return KL_FMA(a, b, c);
#else
    KL_V high = (KL_V)((KL_U)a >> 4 << 4);
    return (high * b + c) + (a - high) * b;
#endif
}

KL_INLINE void KL_NAME(kl_js_terms)(const KL_V *x, const KL_V *y, KL_V *term)
{
    KL_NAME(kl_cell) a[KL_LOCKSTEP];
    KL_V at_middle[KL_LOCKSTEP];
    KL_NAME(kl_cells_of)(x, y, a);
    KL_EACH at_middle[j] = KL_NAME(kl_short_product)(a[j].log, a[j].middle, -a[j].z0);
    KL_NAME(kl_polynomials)(KL_H, sizeof KL_H / sizeof *KL_H, a, term);
    KL_EACH term[j] = KL_FMA(a[j].t, term[j], a[j].log);
    KL_EACH term[j] = KL_FMA(a[j].r, term[j], at_middle[j]);
}

/* With u = x number and lambda = log(1 + t), t - r = r (1/b - 1):
 *     (1 + u) log(1 + z) - z  =  (1 + u) log(b) - z0  +  (t - r) + t^2 L(t)  +  u lambda
 * log(b), which is -36 where both rows are all but empty, and u = -1, cancels before anything else is added. */
KL_INLINE void KL_NAME(kl_skew_terms)(const KL_V *x, const KL_V *y, KL_T number, KL_V *term)
{
    KL_NAME(kl_cell) a[KL_LOCKSTEP];
    KL_V u[KL_LOCKSTEP], lead[KL_LOCKSTEP], square[KL_LOCKSTEP];
    KL_NAME(kl_cells_of)(x, y, a);
    KL_EACH u[j] = x[j] * number;
    KL_EACH lead[j] = KL_FMA(u[j], a[j].log, a[j].log - a[j].z0);
    KL_EACH lead[j] = KL_FMA(a[j].r, a[j].inverse - KL_NAME(kl_set)(1), lead[j]);
    KL_NAME(kl_polynomials)(KL_LOG1P, sizeof KL_LOG1P / sizeof *KL_LOG1P, a, term);
    KL_EACH square[j] = a[j].t * a[j].t;
    KL_EACH lead[j] = KL_FMA(square[j], term[j], lead[j]);
    KL_EACH term[j] = KL_FMA(u[j], KL_FMA(square[j], term[j], a[j].t), lead[j]);
}

KL_INLINE KL_V KL_NAME(kl_triangle_step)(KL_V x, KL_V y, KL_V c, KL_V sum)
{
    /* |d| is a lower bound of p + q that holds for the rounded numbers, too. */
    KL_V d = x - y, size = KL_NAME(kl_magnitude)(d), total = -KL_MIN(-size, -((x + y) + (c + c)));
    return KL_FMA(d, d / (total + KL_NAME(kl_set)(KL_LEAST_TOTAL)), sum);
}

KL_INLINE void KL_NAME(kl_steps)(int shape, const KL_V *x, const KL_V *y, KL_V c, KL_T number, KL_V *sum)
{
    KL_V term[KL_LOCKSTEP];
    switch (shape) {
    case KL_SUM_ABS: KL_EACH sum[j] += KL_NAME(kl_magnitude)(x[j] - y[j]); return;
    case KL_SUM_TRIANGLE: KL_EACH sum[j] = KL_NAME(kl_triangle_step)(x[j], y[j], c, sum[j]); return;
    case KL_SUM_JS: KL_NAME(kl_js_terms)(x, y, term); break;
    default: KL_NAME(kl_skew_terms)(x, y, number, term);
    }
    KL_EACH sum[j] = KL_FMA(c, term[j], sum[j]);
}

/* Two rows of a register tile, in `row`: no more, the logarithm needs the registers. */
KL_INLINE void KL_NAME(kl_two_rows)(int shape, const kl_product_args *args, const KL_T *left, const KL_T *right,
                                    const int *row, KL_V *all)
{
    const KL_T *weights = args->weights, number = (KL_T)args->number, *first = left + row[0], *second = left + row[1];
    KL_UNROLL for (int j = 0; j < 4; j++) all[j] = (KL_V){0}; /* the first row: halves 0 and 1; the second */
    for (int64_t begin = 0; begin < args->K; begin += KL_CHAIN) {
        const int64_t end = args->K < begin + KL_CHAIN ? args->K : begin + KL_CHAIN;
        KL_V sum[4] = {{0}, {0}, {0}, {0}};
        for (int64_t k = begin; k < end; k++) {
            KL_V c = KL_NAME(kl_set)(weights[k]), x[4], y[4];
            KL_UNROLL for (int j = 0; j < 4; j++) {
                x[j] = KL_NAME(kl_set)((j < 2 ? first : second)[k * KL_MR]);
                y[j] = KL_NAME(kl_load)(right + k * KL_NR + j % 2 * KL_W);
            }
            KL_UNROLL for (int j = 0; j < 4; j += KL_LOCKSTEP)
                KL_NAME(kl_steps)(shape, x + j, y + j, c, number, sum + j);
        }
        KL_UNROLL for (int j = 0; j < 4; j++) all[j] += sum[j];
    }
}

#include "far.h"

/* The register tile at row r and column c. Which form a value has depends on nothing but its pair. */
KL_INLINE void KL_NAME(kl_tile_sums)(int shape, const kl_product_args *args, int64_t r, int64_t c,
                                     KL_NAME(kl_tile) *tile)
{
    const KL_T *left = (const KL_T *)args->left + r * args->K, *right = (const KL_T *)args->right + c * args->K;
    const KL_T factor = shape == KL_SUM_ABS ? (KL_T)-0.5 : shape == KL_SUM_TRIANGLE ? -1 : 1;
    const int far = (shape == KL_SUM_JS || shape == KL_SUM_SKEW) && KL_NAME(kl_some_far)(args, r, c);
    KL_U stand[KL_MR][2];
    int open[KL_MR + 1], count = 0; /* the rows to be computed around the centre; in twos: the last one again */
    if (far) (shape == KL_SUM_JS ? KL_NAME(kl_far_js) : KL_NAME(kl_far_skew))(args, left, right, tile);
    for (int i = 0; i < KL_MR; i++)
        if (!far || KL_NAME(kl_far_open)(args, tile, r, c, i, stand[i])) { open[count] = open[count + 1] = i; count++; }
    for (int t = 0; t < count; t += 2) {
        KL_V all[4];
        KL_NAME(kl_two_rows)(shape, args, left, right, open + t, all);
        KL_UNROLL for (int j = 0; j < 4; j++) {
            const int i = open[t + j / 2];
            KL_V *to = &tile->v[i][j % 2], near = all[j] * factor;
            *to = far ? (KL_V)((stand[i][j % 2] & (KL_U)*to) | (~stand[i][j % 2] & (KL_U)near)) : near;
        }
    }
}

/* Functions of their own: among the registers of the epilogue, the compiler keeps sums in memory (37% slower). */
#define KL_SUMS(shape, name)                                                                                      \
    static __attribute__((noinline)) void KL_NAME(kl_sums_##name)(const kl_product_args *args, int64_t r,         \
                                                                  int64_t c, KL_NAME(kl_tile) *tile)              \
    {                                                                                                             \
        KL_NAME(kl_tile_sums)(shape, args, r, c, tile);                                                           \
    }
KL_SUMS(KL_SUM_JS, js)
KL_SUMS(KL_SUM_SKEW, skew)
KL_SUMS(KL_SUM_ABS, abs)
KL_SUMS(KL_SUM_TRIANGLE, triangle)

#undef KL_SUMS
#undef KL_EACH
#undef KL_FAR_ROWS
