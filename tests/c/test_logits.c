/* Rows of logits, row by row: masks, large and offset ones among others and by themselves, against long double. */
#include "check.h"

#include <string.h>

enum { MOST = 300, ROWS = 37 };

/* Far, near; with masks in both rows, far and near; a mask in q alone; scale 300; offset by 2e5 from each other, far
 * and near; below the range of e^x; equal but for the offset, with masks. */
typedef enum { FAR, NEAR, MASKED, MASKED_NEAR, APART, LARGE, OFFSET, OFFSET_NEAR, LOW, EQUAL, KINDS } kind;

/* A pair of rows; the numbers are floats. */
static void fill(double *p, double *q, int64_t K, kind t)
{
    const int near = t == NEAR || t == MASKED_NEAR || t == OFFSET_NEAR || t == EQUAL;
    const double scale = t == LARGE ? 300 : 3, shift = t == OFFSET || t == OFFSET_NEAR ? 98304 : t == LOW ? -800 : 0;
    for (int64_t i = 0; i < K; i++) {
        const int masked = i && (t == MASKED || t == MASKED_NEAR || t == EQUAL) && random_bits() % 4 == 0;
        const double x = ldexp(rint(ldexp(uniform(-scale, scale), 7)), -7), noise = t == EQUAL ? 0 : 1 / 128.0;
        p[i] = masked ? -INFINITY : x + shift;
        q[i] = near ? x + noise * (double)(random_bits() % 5) : ldexp(rint(ldexp(uniform(-scale, scale), 7)), -7);
        if (masked) q[i] = random_bits() % 2 && t == MASKED ? q[i] : -INFINITY;
        q[i] += t == LOW ? shift : t == EQUAL ? 2 : -shift;
    }
    if (t == APART && K > 1) q[random_bits() % (uint64_t)(K - 1) + 1] = -INFINITY;
}

/* The sum of nonnegative terms of logits.h; L is exact but for the logarithm, as logits less the largest are exact. */
static long double kl_of(const double *a, const double *b, int64_t K)
{
    long double top[2] = {-INFINITY, -INFINITY}, sums[2] = {0, 0}, kl = 0;
    for (int64_t i = 0; i < K; i++) {
        if (a[i] > -INFINITY && b[i] == -INFINITY) return INFINITY;
        top[0] = fmaxl(top[0], a[i]), top[1] = fmaxl(top[1], b[i]);
    }
    for (int64_t i = 0; i < K; i++) sums[0] += expl(a[i] - top[0]), sums[1] += expl(b[i] - top[1]);
    const long double lambda = logl(sums[1] / sums[0]);
    for (int64_t i = 0; i < K; i++) {
        const long double p = expl(a[i] - top[0]) / sums[0], q = expl(b[i] - top[1]) / sums[1];
        const long double L = a[i] == -INFINITY ? 0 : ((a[i] - top[0]) - (b[i] - top[1])) + lambda;
        long double series = 0;
        for (int n = 24; n >= 2; n--) series = 1 + series * -L / (n + 1); /* 2 gamma(-L)/L^2 */
        kl += a[i] == -INFINITY ? q : fabsl(L) < 0.5L ? p * L * L / 2 * series : q - p + p * L;
    }
    return kl;
}

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .factor = 1};

static void compare(const kl_kernels *k, const double *p, const double *q, const double *out, int64_t K, kind t)
{
    int32_t zeros;
    kl_norm norms[2];
    kl_stats stats = {0};
    double scratch[MOST];
    const kl_rows P = matrix(p, 1, K, KL_LOGITS), Q = matrix(q, 1, K, KL_LOGITS);
    k->scan(&P, 0, 1, -1, norms, &zeros, scratch, &stats);
    k->scan(&Q, 0, 1, -1, norms + 1, &zeros, scratch, &stats);
    const double alone = direct_value(k, &itself, KL_LOGITS, p, norms[0], q, norms[1], K);
    CHECK(*out == alone && !signbit(*out), "%s: %ld bins, kind %d: %.17g, alone %.17g", k->name, (long)K, t, *out,
          alone);
    const long double exact = t == EQUAL || K == 1 ? 0 : kl_of(p, q, K);
    if (exact > 0 && exact < 1e-6L) return; /* where long double has no digits to spare */
    CHECK(close_to(*out, exact, 4e-15), "%s: %ld bins, kind %d: %.17g, not %.17Lg", k->name, (long)K, t, *out, exact);
}

/* Rows all of one kind, or (KINDS) of all kinds in turn: the pairs before must not change a value. */
void test_logits(const kl_kernels *k)
{
    region left = region_new(8 * ROWS * MOST), right = region_new(8 * ROWS * MOST), spare = region_new(8 * 32 * MOST);
    static double p[ROWS * MOST], q[ROWS * MOST];
    for (int l = 1; l < n_lengths; l++)
        for (int which = 0; which <= KINDS; which++)
            for (int single = 0; single < 2; single++) {
                const int64_t K = lengths[l];
                const size_t size = single ? 4 : 8, bytes = (size_t)(ROWS * K) * size;
                void *a = place(left, bytes, AT_END), *b = place(right, bytes, AT_END);
                double out[ROWS], rounded[ROWS], *scratch = place(spare, (size_t)K * 8 * (K <= 256 ? 32 : 4), AT_END);
                for (int64_t r = 0; r < ROWS; r++)
                    fill(p + r * K, q + r * K, K, which < KINDS ? (kind)which : (kind)(r / 3 % KINDS));
                for (int64_t i = 0; i < ROWS * K; i++) set(a, i, single, p[i]), set(b, i, single, q[i]);
                kl_rows P = matrix(a, ROWS, K, KL_LOGITS), Q = matrix(b, ROWS, K, KL_LOGITS);
                kl_stats stats = {0};
                P.storage = Q.storage = single ? KL_FLOAT32 : KL_FLOAT64;
                P.col_stride = Q.col_stride = (int64_t)size, P.row_stride = Q.row_stride = K * (int64_t)size;
                k->rowwise(&itself, &P, &Q, 0, ROWS, -1, -1, 0, out, scratch, &stats);
                CHECK(stats.status == KL_ROW_OK && stats.isa_ran == k->bit, "%s: rowwise", k->name);
                k->rowwise(&itself, &P, &Q, 0, ROWS, -1, -1, 1, rounded, scratch, &stats);
                for (int64_t r = 0; r < ROWS; r++)
                    CHECK((float)out[r] == (float)rounded[r], "%s: %ld bins, float32: %.9g, not %.9g", k->name, (long)K,
                          (float)rounded[r], (float)out[r]);
                for (int64_t r = 0; r < ROWS; r++)
                    compare(k, p + r * K, q + r * K, out + r, K, which < KINDS ? (kind)which : (kind)(r / 3 % KINDS));
                set(b, 20 * K + K - 1, single, NAN);
                for (int rounds = 0; rounds < 2; rounds++) {
                    stats = (kl_stats){0};
                    k->rowwise(&itself, &P, &Q, 0, ROWS, -1, -1, rounds, out, scratch, &stats);
                    CHECK(stats.status == KL_ROW_NAN + KL_ROW_OF_Q && stats.status_row == 20, "%s: NaN", k->name);
                }
            }
}
