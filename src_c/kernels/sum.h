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

/* Constant: `single`, as in kl_number_at. */
KL_INLINE double kl_row_sum(const void *x, int single, int64_t K, double *least)
{
    kl_sum total = kl_sum_zero();
    kl_lanes low = kl_lanes_zero();
    double buffer[KL_LANES], min = K ? kl_scalar_at(x, 0, single) : 0;
    const int64_t whole = K - K % KL_LANES;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) low.v[j] = kl_set_f64(min);
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        kl_lanes block = kl_lanes_zero();
        int64_t end = begin + KL_SUM_BLOCK < whole ? begin + KL_SUM_BLOCK : whole, k = begin;
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
    if (least) {
        min = kl_lanes_least(&low);
        for (int64_t k = whole; k < K; k++) min = kl_scalar_at(x, k, single) < min ? kl_scalar_at(x, k, single) : min;
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
