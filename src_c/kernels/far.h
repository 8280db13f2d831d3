/* Jensen-Shannon and skewed KL of rows far from each other: sums over bins of which nothing has to cancel. Included by
 * elementwise.h, whose features these are. With f = 1 + z = m/c, sum c z = 0 is left out of the terms there:
 *     JS     sum c f log(f)           SKEW     sum p log(f),   p = c (1 + x number)
 * Such a sum is off by some units of roundoff of 1, not of itself, in half of the operations of a sum of terms. A pair
 * takes it where its bound (plan.far_certificate) meets the tolerance.
 *
 * f = 2^e m, m in the cell [1 + i/8, 1 + (i + 1)/8) by three bits of the mantissa, and
 *     log2(f) = e + a_i + P(w),     w = r_i m + shift,      P(w) = w (t_1 + w (t_2 + ... + w (t_n + lead w)))
 * r_i puts the middle of each cell to one place; scale and place make the polynomial's leading coefficient 1 or -1 and
 * the next one 0 (Knuth, TAOCP 2, 4.6.4): two multiplications fewer.
 *
 * Bins are added in chains of KL_FAR_CHAIN, for the roundings of a chain count with all that it adds up.
 */
#define KL_FAR_ROWS (KL_LOCKSTEP > 2 ? 4 : 2)

/* sum += weight log2(f), of KL_LOCKSTEP vectors side by side. */
KL_INLINE void KL_NAME(kl_far_steps)(const KL_V *f, const KL_V *weight, KL_V *sum)
{
    const KL_T *terms = KL_FAR_TERMS;
    const int n = sizeof KL_FAR_TERMS / sizeof *KL_FAR_TERMS;
    KL_U cell[KL_LOCKSTEP];
    KL_V w[KL_LOCKSTEP], lead[KL_LOCKSTEP], p[KL_LOCKSTEP];
    KL_EACH cell[j] = (KL_U)f[j] >> KL_CELL_BITS;
    KL_EACH w[j] = KL_FMA(KL_MANTISSA(f[j]), KL_LOOKUP(KL_FAR_CELLS[KL_FAR_SCALE], cell[j]),
                          KL_NAME(kl_set)(KL_FAR_SHIFT));
    KL_EACH lead[j] = KL_EXPONENT(f[j]) + KL_LOOKUP(KL_FAR_CELLS[KL_FAR_LOG], cell[j]);
    KL_EACH p[j] = KL_FMA(KL_FAR_LEAD(w[j]), w[j], KL_NAME(kl_set)(terms[n - 1]));
    KL_UNROLL for (int i = n - 2; i >= 0; i--) KL_EACH p[j] = KL_FMA(w[j], p[j], KL_NAME(kl_set)(terms[i]));
    KL_EACH p[j] = KL_FMA(w[j], p[j], lead[j]);
    KL_EACH sum[j] = KL_FMA(weight[j], p[j], sum[j]);
}

/* A chain of a tile's bins: the terms x + a and y + b of f, a + b = 1. */
typedef struct {
    KL_T x[KL_FAR_CHAIN * KL_MR], y[KL_FAR_CHAIN * KL_NR];
} __attribute__((aligned(KL_VECTOR_BYTES))) KL_NAME(kl_far_bins);

/* JS: a and b are the weights of p and q, and both terms at least 0 but for a rounding, which is cut off. The second is
 * not let below a number that vanishes beside any other first one: where both rows are empty, f is as good as 0, for
 * 0 log 0. SKEW: halves. (A unit more than 1 in all would shift all values by one, most of the error of float32.) */
KL_INLINE void KL_NAME(kl_far_read)(int shape, KL_T number, const KL_T *left, const KL_T *right, int64_t n,
                                    KL_NAME(kl_far_bins) *bins)
{
    const KL_T b = shape == KL_SUM_JS ? 1 - number : (KL_T)0.5, a = 1 - b; /* exact, one of them being a half or more */
    const KL_T floor = shape == KL_SUM_JS ? 0 : -1, least = shape == KL_SUM_JS ? KL_EPSILON * KL_EPSILON / 64 : -1;
    for (int64_t t = 0; t < n * KL_MR; t++) bins->x[t] = left[t] + a > floor ? left[t] + a : floor;
    for (int64_t t = 0; t < n * KL_NR; t++) bins->y[t] = right[t] + b > least ? right[t] + b : least;
}

/* n bins of KL_FAR_ROWS rows from row i on, and of a panel's columns. */
KL_INLINE void KL_NAME(kl_far_chain)(int shape, const KL_T *weights, KL_V number, const KL_T *left,
                                     const KL_NAME(kl_far_bins) *bins, int i, int64_t n, KL_V *sum)
{
    KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) sum[j] = (KL_V){0};
    for (int64_t k = 0; k < n; k++) {
        const KL_V c = KL_NAME(kl_set)(weights[k]);
        const KL_T *y = bins->y + k * KL_NR;
        KL_UNROLL for (int at = 0; at < 2 * KL_FAR_ROWS; at += KL_LOCKSTEP) {
            KL_V f[KL_LOCKSTEP], weight[KL_LOCKSTEP];
            KL_EACH f[j] = KL_NAME(kl_set)(bins->x[k * KL_MR + i + (at + j) / 2])
                           + KL_NAME(kl_load)(y + (at + j) % 2 * KL_W);
            if (shape == KL_SUM_JS) KL_EACH weight[j] = c * f[j];
            else {
                /* Where both rows are empty, not much less than the rounding of p. */
                KL_EACH f[j] = KL_MAX(f[j], KL_NAME(kl_set)(KL_EPSILON / 4));
                KL_EACH weight[j] = KL_FMA(KL_NAME(kl_set)(left[k * KL_MR + i + (at + j) / 2]), c * number, c);
            }
            KL_NAME(kl_far_steps)(f, weight, sum + at);
        }
    }
}

KL_INLINE void KL_NAME(kl_far_tile)(int shape, const kl_product_args *args, const KL_T *left, const KL_T *right,
                                    KL_NAME(kl_tile) *tile)
{
    const KL_V number = KL_NAME(kl_set)((KL_T)args->number);
    const KL_T *weights = args->weights;
    KL_NAME(kl_far_bins) bins;
    *tile = (KL_NAME(kl_tile)){0};
    for (int64_t begin = 0; begin < args->K; begin += KL_CHAIN) {
        const int64_t end = args->K - begin < KL_CHAIN ? args->K : begin + KL_CHAIN;
        KL_NAME(kl_tile) part = {0};
        for (int64_t k = begin; k < end; k += KL_FAR_CHAIN) {
            const int64_t n = end - k < KL_FAR_CHAIN ? end - k : KL_FAR_CHAIN;
            const KL_T *rows = left + k * KL_MR;
            KL_NAME(kl_far_read)(shape, (KL_T)args->number, rows, right + k * KL_NR, n, &bins);
            for (int i = 0; i < KL_MR; i += KL_FAR_ROWS) {
                KL_V sum[2 * KL_FAR_ROWS];
                KL_NAME(kl_far_chain)(shape, weights + k, number, rows, &bins, i, n, sum);
                KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) part.v[i + j / 2][j % 2] += sum[j];
            }
        }
        for (int i = 0; i < KL_MR; i++)
            for (int h = 0; h < 2; h++) tile->v[i][h] += part.v[i][h];
    }
    for (int i = 0; i < KL_MR; i++)
        for (int h = 0; h < 2; h++) tile->v[i][h] *= (KL_T)KL_LN2;
}

/* Functions of their own, as those of elementwise.h. */
static __attribute__((noinline)) void KL_NAME(kl_far_js)(const kl_product_args *args, const KL_T *left,
                                                         const KL_T *right, KL_NAME(kl_tile) *tile)
{
    KL_NAME(kl_far_tile)(KL_SUM_JS, args, left, right, tile);
}

static __attribute__((noinline)) void KL_NAME(kl_far_skew)(const kl_product_args *args, const KL_T *left,
                                                           const KL_T *right, KL_NAME(kl_tile) *tile)
{
    KL_NAME(kl_far_tile)(KL_SUM_SKEW, args, left, right, tile);
}

/* Whether some pair of a tile may be far enough, by the largest slacks: rounding is monotonic. */
KL_INLINE int KL_NAME(kl_some_far)(const kl_product_args *args, int64_t r, int64_t c)
{
    if (args->far_from == 0) return 0;
    const KL_T row = KL_NAME(kl_largest)((const KL_T *)args->row_slack + r, KL_MR);
    const KL_T col = KL_NAME(kl_largest)((const KL_T *)args->col_slack + c, KL_NR);
    return (row + col) * (KL_T)args->far_from >= 1;
}

/* Which lanes of row i of the tile keep their far value: one whose bound meets the tolerance, or one too small for the
 * other form to be certified, by more than both bounds, which the direct kernel will compute. Returns whether a pair of
 * the block is left to the terms around the centre. */
KL_INLINE int KL_NAME(kl_far_open)(const kl_product_args *args, const KL_NAME(kl_tile) *tile, int64_t r, int64_t c,
                                   int i, KL_U *stand)
{
    const KL_V accept = KL_NAME(kl_set)((KL_T)args->accept), by_value = KL_NAME(kl_set)((KL_T)args->far.by_value);
    const KL_V base = KL_NAME(kl_set)((KL_T)args->far.base), by_slack = KL_NAME(kl_set)((KL_T)args->far.by_slack);
    const KL_V from = KL_NAME(kl_set)((KL_T)args->far_from);
    const int64_t cols = args->cols - c;
    uint32_t open = 0;
    for (int h = 0; h < 2; h++) {
        const KL_V value = KL_NAME(kl_values)(args, tile, r, c, i, h);
        const KL_V slack = KL_NAME(kl_set)(((const KL_T *)args->row_slack)[r + i])
                           + KL_NAME(kl_load)((const KL_T *)args->col_slack + c + h * KL_W);
        const KL_V bound = base + slack * by_slack + value * by_value;
        stand[h] = (KL_U)(slack * from >= 1)
                   & ((KL_U)(value * accept >= bound) | (KL_U)((value + (bound + slack)) * accept < slack));
        open |= KL_BITS(~stand[h]) << h * KL_W;
    }
    if (cols < KL_NR) open &= ((uint32_t)1 << cols) - 1;
    return r + i < args->rows && open;
}
