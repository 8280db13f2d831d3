/* The sum of a row, to about one unit in the last place for any length, and its least entry. */

typedef int64_t kl_pair_i64 __attribute__((vector_size(16)));

KL_INLINE kl_pair_f64 kl_pair_least(kl_pair_f64 a, kl_pair_f64 b)
{
    kl_pair_i64 first = a < b;
    return (kl_pair_f64)((first & (kl_pair_i64)a) | (~first & (kl_pair_i64)b));
}

/* Of no NaN. */
KL_INLINE double kl_lanes_least(const kl_lanes *x)
{
    kl_pair_f64 t[4], p;
    memcpy(t, x, sizeof t);
    p = kl_pair_least(kl_pair_least(t[0], t[2]), kl_pair_least(t[1], t[3]));
    return p[0] < p[1] ? p[0] : p[1];
}

/* The sum, and the least entries of the whole groups, lane by lane. Constant: `single`, as in kl_number_at. */
KL_INLINE void kl_row_lanes(const void *x, int single, int64_t K, kl_sum *sum, kl_lanes *least)
{
    kl_sum total = kl_sum_zero();
    kl_lanes low = kl_lanes_zero();
    double buffer[KL_LANES];
    const int64_t whole = K - K % KL_LANES;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) low.v[j] = kl_set_f64(K ? kl_scalar_at(x, 0, single) : 0);
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes block = kl_lanes_zero();
        int64_t end = begin + KL_SUM_BLOCK < whole ? begin + KL_SUM_BLOCK : whole, k = begin;
        kl_ask_further((const char *)x + begin * (single ? 4 : 8), (end - begin) * (single ? 4 : 8));
        for (; k < end; k += KL_LANES)
            KL_UNROLL for (int j = 0; j < KL_NV; j++) {
                vf64 v = kl_number_at(x, k + j * KL_W64, single);
                block.v[j] = KL_FMA_F64(v, kl_set_f64(1), block.v[j]); /* the minimum takes the adder */
                low.v[j] = KL_MIN_F64(v, low.v[j]);
            }
        if (k == whole && K - k < KL_LANES && k < K && k - begin < KL_SUM_BLOCK) {
            const double *t = kl_wide_tail(x, k, K, single, 0, buffer);
            KL_UNROLL for (int j = 0; j < KL_NV; j++) block.v[j] += kl_load_f64(t + j * KL_W64);
        }
        if (K <= KL_SUM_BLOCK) total.high = block; /* one block: nothing to compensate */
        else kl_sum_add(&total, &block);
    }
    *sum = total;
    *least = low;
}

KL_INLINE double kl_row_sum(const void *x, int single, int64_t K, double *least)
{
    kl_sum total;
    kl_lanes low;
    kl_row_lanes(x, single, K, &total, &low);
    if (least) {
        double min = kl_lanes_least(&low);
        for (int64_t k = K - K % KL_LANES; k < K; k++)
            min = kl_scalar_at(x, k, single) < min ? kl_scalar_at(x, k, single) : min;
        *least = min;
    }
    return kl_sum_total(&total);
}

/* Checks a row of weights. A NaN or an infinity shows in the sum, a negative number in the least
 * entry (-0.0 counts as zero); only then is the row looked at again for the exact reason. */
KL_INLINE kl_row_status kl_scan_probs(const void *x, int single, int64_t K, double tolerance, kl_norm *norm,
                                      int32_t *zeros)
{
    double least, sum = kl_row_sum(x, single, K, &least);
    norm->a = sum;
    norm->b = least;
    if (!(least >= 0) || !(sum <= 0x1.fffffffffffffp1023)) {
        kl_row_status worst = KL_ROW_INFINITE; /* a finite row may overflow its sum */
        for (int64_t k = K - 1; k >= 0; k--) {
            const double number = kl_scalar_at(x, k, single);
            if (number < 0) worst = KL_ROW_NEGATIVE;
            else if (number != number) worst = KL_ROW_NAN;
            else if (isinf(number)) worst = KL_ROW_INFINITE;
        }
        return worst;
    }
    if (sum == 0) return KL_ROW_EMPTY;
    if (tolerance >= 0 && !(fabs(sum - 1) <= tolerance)) return KL_ROW_SUM;
    if (least == 0) *zeros = 1;
    return KL_ROW_OK;
}

/* Four rows of whole groups in one block (constant: `single`), whose lanes are folded together, for half of the time. */
#define KL_SCANNED 4
typedef double kl_four_f64 __attribute__((vector_size(32)));
typedef int64_t kl_four_i64 __attribute__((vector_size(32)));
#if defined(__clang__)
#define KL_SHUFFLE_FOUR(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define KL_SHUFFLE_FOUR(a, b, ...) __builtin_shuffle(a, b, (kl_four_i64){__VA_ARGS__})
#endif

/* a + b, or with `least` the lesser: in place of a. (By address: compilers remark on vectors that an ISA has not.) */
KL_INLINE void kl_four_with(int least, kl_four_f64 *a, const kl_four_f64 *b)
{
    const kl_four_i64 first = *a < *b;
    *a = least ? (kl_four_f64)((first & (kl_four_i64)*a) | (~first & (kl_four_i64)*b)) : *a + *b;
}

/* As kl_lanes_total or kl_lanes_least of each. */
KL_INLINE void kl_fold_four(int least, const kl_lanes *x, kl_four_f64 *out)
{
    kl_four_f64 t[KL_SCANNED], half[2], other;
    for (int r = 0; r < KL_SCANNED; r++) {
        kl_four_f64 high;
        memcpy(t + r, x + r, sizeof high);
        memcpy(&high, (const char *)(x + r) + sizeof high, sizeof high);
        kl_four_with(least, t + r, &high);
    }
    for (int i = 0; i < 2; i++) {
        half[i] = KL_SHUFFLE_FOUR(t[2 * i], t[2 * i + 1], 0, 1, 4, 5);
        other = KL_SHUFFLE_FOUR(t[2 * i], t[2 * i + 1], 2, 3, 6, 7);
        kl_four_with(least, half + i, &other);
    }
    *out = KL_SHUFFLE_FOUR(half[0], half[1], 0, 2, 4, 6);
    other = KL_SHUFFLE_FOUR(half[0], half[1], 1, 3, 5, 7);
    kl_four_with(least, out, &other);
}

/* The norms of KL_SCANNED rows, as kl_scan_probs has them; 0 if one of the rows must be refused. */
KL_INLINE int kl_scan_four(const void *const *x, int single, int64_t K, double tolerance, kl_norm *norms,
                           int32_t *zeros)
{
    kl_lanes sums[KL_SCANNED], lows[KL_SCANNED];
    for (int r = 0; r < KL_SCANNED; r++) {
        kl_sum total;
        kl_row_lanes(x[r], single, K, &total, lows + r);
        sums[r] = total.high;
    }
    kl_four_f64 sum, least;
    kl_fold_four(0, sums, &sum);
    kl_fold_four(1, lows, &least);
    const kl_four_f64 apart = sum - 1;
    kl_four_i64 good = (least >= 0) & (sum > 0) & (sum <= 0x1.fffffffffffffp1023);
    if (tolerance >= 0) good &= (apart <= tolerance) & (apart >= -tolerance);
    const kl_four_i64 empty = least == 0;
    if (!(good[0] & good[1] & good[2] & good[3])) return 0;
    if (empty[0] | empty[1] | empty[2] | empty[3]) *zeros = 1;
    for (int r = 0; r < KL_SCANNED; r++) norms[r] = (kl_norm){sum[r], least[r]};
    return 1;
}
