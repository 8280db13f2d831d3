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
    KL_EACH lead[j] = KL_EXPONENT(f[j]) + KL_LOOKUP(KL_FAR_CELLS[KL_FAR_LOG], cell[j]);
    KL_EACH w[j] = KL_FMA(KL_MANTISSA(f[j]), KL_LOOKUP(KL_FAR_CELLS[KL_FAR_SCALE], cell[j]),
                          KL_NAME(kl_set)(KL_FAR_SHIFT));
    KL_EACH p[j] = KL_FMA(KL_FAR_LEAD(w[j]), w[j], KL_NAME(kl_set)(terms[n - 1]));
    KL_UNROLL for (int i = n - 2; i >= 0; i--) KL_EACH p[j] = KL_FMA(w[j], p[j], KL_NAME(kl_set)(terms[i]));
    KL_EACH p[j] = KL_FMA(w[j], p[j], lead[j]);
    KL_EACH sum[j] = KL_FMA(weight[j], p[j], sum[j]);
}

/* The bins [begin, end) of KL_FAR_ROWS rows and a panel's columns. */
KL_INLINE void KL_NAME(kl_far_chain)(int shape, const KL_T *weights, KL_V number, const KL_T *left, const KL_T *right,
                                     int64_t begin, int64_t end, KL_V *sum)
{
    /* f = (x + half) + (y + half), in halves for the symmetry of the bits. Where both rows are empty it is as good as 0
     * for f log(f); for p log(f) not much less than the rounding of p. (A unit more than 1, as in kl_cells_of, would
     * spare an operation, and shift all values by a unit or more, most of the error of float32.) */
    const KL_V half = KL_NAME(kl_set)(0.5), least = KL_NAME(kl_set)(shape == KL_SUM_JS ? 0x1p-60 : KL_EPSILON / 4);
    KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) sum[j] = (KL_V){0};
    for (int64_t k = begin; k < end; k++) {
        const KL_V c = KL_NAME(kl_set)(weights[k]);
        const KL_T *columns = right + k * KL_NR;
        const KL_V y[2] = {KL_NAME(kl_load)(columns) + half, KL_NAME(kl_load)(columns + KL_W) + half};
        KL_V f[2 * KL_FAR_ROWS], weight[2 * KL_FAR_ROWS];
        KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) {
            const KL_V x = KL_NAME(kl_set)(left[k * KL_MR + j / 2]);
            f[j] = KL_MAX((x + half) + y[j % 2], least);
            weight[j] = shape == KL_SUM_JS ? c * f[j] : KL_FMA(x, c * number, c);
        }
        KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j += KL_LOCKSTEP)
            KL_NAME(kl_far_steps)(f + j, weight + j, sum + j);
    }
}

/* Rows i ... of the tile. */
KL_INLINE void KL_NAME(kl_far_rows)(int shape, const kl_product_args *args, const KL_T *left, const KL_T *right, int i,
                                    KL_NAME(kl_tile) *tile)
{
    const KL_V number = KL_NAME(kl_set)((KL_T)args->number);
    KL_V all[2 * KL_FAR_ROWS] = {{0}};
    for (int64_t begin = 0; begin < args->K; begin += KL_CHAIN) {
        const int64_t end = args->K - begin < KL_CHAIN ? args->K : begin + KL_CHAIN;
        KL_V part[2 * KL_FAR_ROWS] = {{0}};
        for (int64_t k = begin; k < end; k += KL_FAR_CHAIN) {
            KL_V sum[2 * KL_FAR_ROWS];
            KL_NAME(kl_far_chain)(shape, args->weights, number, left + i, right, k,
                                  end - k < KL_FAR_CHAIN ? end : k + KL_FAR_CHAIN, sum);
            KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) part[j] += sum[j];
        }
        KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) all[j] += part[j];
    }
    KL_UNROLL for (int j = 0; j < 2 * KL_FAR_ROWS; j++) tile->v[i + j / 2][j % 2] = all[j] * (KL_T)KL_LN2;
}

/* Functions of their own, as those of elementwise.h. */
static __attribute__((noinline)) void KL_NAME(kl_far_js)(const kl_product_args *args, const KL_T *left,
                                                         const KL_T *right, int i, KL_NAME(kl_tile) *tile)
{
    KL_NAME(kl_far_rows)(KL_SUM_JS, args, left, right, i, tile);
}

static __attribute__((noinline)) void KL_NAME(kl_far_skew)(const kl_product_args *args, const KL_T *left,
                                                           const KL_T *right, int i, KL_NAME(kl_tile) *tile)
{
    KL_NAME(kl_far_rows)(KL_SUM_SKEW, args, left, right, i, tile);
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
