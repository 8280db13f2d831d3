/* Rows: reading every storage, scanning, direct divergences, entropies, sums, against long double. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 300 };

/* ---- reading ---- */

static const size_t size_of[KL_STORAGE_COUNT] = {8, 4, 2, 2, 1, 1, 2, 2, 4, 4, 8, 8};

static double half_value(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    double x = exponent == 31 ? (mantissa ? NAN : INFINITY)
             : exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
    return h >> 15 ? -x : x;
}

/* Writes a random element and returns the number that it stands for. */
static double put_element(int storage, char *at)
{
    uint64_t bits = random_bits();
    float f = (float)uniform(-5, 5);
    double d = uniform(-5, 5);
    uint32_t wide;
#define STORE(type, value) { type x = (type)(value); memcpy(at, &x, sizeof x); return (double)x; }
    switch (storage) {
    case KL_FLOAT64: STORE(double, d)
    case KL_FLOAT32: STORE(float, f)
    case KL_FLOAT16: { uint16_t h = (uint16_t)bits; memcpy(at, &h, 2); return half_value(h); }
    case KL_BFLOAT16: {
        uint16_t h = (uint16_t)bits;
        memcpy(at, &h, 2);
        wide = (uint32_t)h << 16;
        memcpy(&f, &wide, 4);
        return f;
    }
    case KL_INT8: STORE(int8_t, bits)
    case KL_UINT8: STORE(uint8_t, bits)
    case KL_INT16: STORE(int16_t, bits)
    case KL_UINT16: STORE(uint16_t, bits)
    case KL_INT32: STORE(int32_t, bits)
    case KL_UINT32: STORE(uint32_t, bits)
    case KL_INT64: STORE(int64_t, bits)
    default: STORE(uint64_t, bits)
    }
#undef STORE
}

static int same_number(double a, double b) { return a == b || (a != a && b != b); }

static void test_storage(const kl_kernels *k, int storage, int64_t K, int64_t step, side s, region data, region spare)
{
    const int64_t size = (int64_t)size_of[storage], span = (K ? (K - 1) * llabs(step) + 1 : 0) * size;
    char *block = place(data, (size_t)span, s), *first = step < 0 && K ? block + span - size : block;
    double expected[MOST], *scratch = place(spare, (size_t)K * 8, s);
    for (int64_t i = 0; i < K; i++) expected[i] = put_element(storage, first + i * step * size);
    kl_rows rows = {.data = first, .row_stride = 0, .col_stride = step * size, .n_rows = 1, .n_cols = K,
                    .prior_weight = 1, .storage = storage};
    const double *row = k->read(&rows, 0, scratch);
    int right = 1;
    for (int64_t i = 0; i < K; i++) right &= same_number(row[i], expected[i]);
    CHECK(right, "%s: storage %d, %ld bins, step %ld", k->name, storage, (long)K, (long)step);
    const int in_place = storage == KL_FLOAT64 && (step == 1 || K == 1) && (uintptr_t)first % 8 == 0;
    CHECK(K == 0 || (row == scratch) != in_place, "%s: storage %d read %s", k->name, storage,
          in_place ? "with a copy" : "in place");
}

static void test_priors(const kl_kernels *k, int64_t K, side s, region data, region spare)
{
    double *x = place(data, (size_t)K * 8, s), *scratch = place(spare, (size_t)K * 8, s), prior[MOST];
    long double sum = 0;
    for (int64_t i = 0; i < K; i++) x[i] = uniform(0, 3), prior[i] = uniform(0, 1), sum += x[i];
    for (int by_sum = 0; by_sum < 2; by_sum++)
        for (int take_log = 0; take_log < 2; take_log++) {
            kl_rows rows = matrix(x, 1, K, KL_PROBS);
            rows.prior = prior, rows.prior_weight = 0.25, rows.weight_by_sum = by_sum, rows.take_log = take_log;
            const double *row = k->read(&rows, 0, scratch);
            int right = 1;
            for (int64_t i = 0; i < K; i++) {
                long double v = x[i] + (long double)prior[i] * 0.25L * (by_sum ? sum : 1);
                const long double log_v = logl(v);
                right &= take_log ? fabsl(row[i] - log_v) < 1e-15L * (1 + fabsl(log_v)) : close_to(row[i], v, 5e-16);
            }
            CHECK(right, "%s: prior, %ld bins, by_sum %d, log %d", k->name, (long)K, by_sum, take_log);
        }
}

static void test_sparse(const kl_kernels *k, int64_t K, side s, region data, region spare)
{
    int64_t indptr[4] = {0, 0, 0, 0}, index[2] = {2, 0};
    int32_t indices[2 * MOST], n = 0;
    double *values = place(data, 0, s), dense[3][MOST] = {{0}}, *scratch = place(spare, (size_t)K * 8, s);
    double all[2 * MOST];
    for (int r = 0; r < 3; r++) {
        for (int32_t c = 0; c < K; c++)
            if (r != 1 && random_bits() % 3 == 0 && n < 2 * MOST) {
                dense[r][c] = all[n] = uniform(0, 1);
                indices[n++] = c;
            }
        indptr[r + 1] = n;
    }
    values = place(data, (size_t)n * 8, s);
    memcpy(values, all, (size_t)n * 8);
    kl_rows rows = {.data = (char *)values, .n_rows = 2, .n_cols = K, .index = index, .indptr = indptr,
                    .indices = indices, .prior_weight = 1};
    for (int i = 0; i < 2; i++) {
        const double *row = k->read(&rows, i, scratch);
        CHECK(!memcmp(row, dense[index[i]], (size_t)K * 8), "%s: sparse row %d of %ld bins", k->name, i, (long)K);
    }
    rows.index = NULL, rows.n_rows = 3;
    const double *row = k->read(&rows, 1, scratch);
    CHECK(!memcmp(row, dense[1], (size_t)K * 8), "%s: empty sparse row", k->name);
}

void test_reading(const kl_kernels *k)
{
    region data = region_new(8 * 3 * (MOST + 1)), spare = region_new(8 * MOST);
    for (int l = 0; l < n_lengths; l++)
        for (side s = AT_END; s <= AT_START; s++) {
            for (int storage = 0; storage < KL_STORAGE_COUNT; storage++)
                for (int step = -1; step <= 3; step += 2) test_storage(k, storage, lengths[l], step, s, data, spare);
            test_priors(k, lengths[l], s, data, spare);
            test_sparse(k, lengths[l], s, data, spare);
        }
}

/* ---- scanning ---- */

static kl_row_status scan_one(const kl_kernels *k, const double *x, int64_t K, kl_domain domain, double tolerance,
                              kl_norm *norm, int32_t *zeros, double *scratch)
{
    kl_rows rows = matrix(x, 1, K, domain);
    kl_stats stats = {0};
    *zeros = 0;
    k->scan(&rows, 0, 1, tolerance, norm, zeros, scratch, &stats);
    CHECK(stats.isa_ran == k->bit, "%s: scan ran %u", k->name, stats.isa_ran);
    CHECK(!stats.status || stats.status_row == 0, "%s: row %ld", k->name, (long)stats.status_row);
    return stats.status;
}

static void test_refusals(const kl_kernels *k, double *x, int64_t K, double *scratch)
{
    kl_norm norm;
    int32_t zeros;
    for (kl_domain domain = KL_PROBS; domain <= KL_LOGITS; domain++)
        for (int64_t at = 0; at < K; at++) {
            const double bad[] = {NAN, INFINITY, domain == KL_PROBS ? -1e-300 : NAN,
                                  domain == KL_PROBS ? -INFINITY : NAN};
            const kl_row_status why[] = {KL_ROW_NAN, KL_ROW_INFINITE, domain == KL_PROBS ? KL_ROW_NEGATIVE : KL_ROW_NAN,
                                         domain == KL_PROBS ? KL_ROW_NEGATIVE : KL_ROW_NAN};
            for (int b = 0; b < 4; b++) {
                double kept = x[at];
                x[at] = bad[b];
                kl_row_status status = scan_one(k, x, K, domain, -1, &norm, &zeros, scratch);
                CHECK(status == why[b], "%s: %g in bin %ld of %ld: status %d", k->name, bad[b], (long)at, (long)K,
                      status);
                x[at] = kept;
            }
        }
}

/* The sum of weights is relative to 1, beyond 178 to 2^n near the largest, or for huge logits to the largest. */
static void test_softmax(const kl_kernels *k, const double *x, int64_t K, double *scratch)
{
    const double shifts[] = {0, 0.25, -3, 170, -176, 181, 690, -690, 1e4, -3e4, 4e4, -1e6, 1e12, -1e300};
    double moved[MOST];
    for (size_t t = 0; t < sizeof shifts / sizeof *shifts; t++) {
        long double top = -INFINITY, weights = 0;
        for (int64_t i = 0; i < K; i++) {
            moved[i] = (i % 5 == 4 ? 60 : 1) * x[i] + shifts[t];
            top = moved[i] > top ? moved[i] : top;
        }
        const long double high = 0x1.62e42feep-1L, low = 0x1.a39ef35793c7673p-33L; /* ln 2; n * high is exact */
        const long double n = fabsl(top) <= 178 || fabsl(top) > 0x1p15L ? 0 : rintl(top / (high + low));
        const long double origin = fabsl(top) > 0x1p15L ? top : 0;
        for (int64_t i = 0; i < K; i++) weights += expl(moved[i] - origin - n * high - n * low);
        kl_norm norm;
        int32_t zeros;
        CHECK(scan_one(k, moved, K, KL_LOGITS, -1, &norm, &zeros, scratch) == KL_ROW_OK, "%s", k->name);
        CHECK(norm.a == (double)top && close_to(norm.b, weights, 5e-16) && !zeros,
              "%s: softmax of %ld bins near %g: %.17g, not %.17Lg", k->name, (long)K, shifts[t], norm.b, weights);
    }
}

void test_scanning(const kl_kernels *k)
{
    region data = region_new(8 * MOST), spare = region_new(8 * MOST);
    for (int l = 0; l < n_lengths; l++)
        for (side s = AT_END; s <= AT_START; s++) {
            const int64_t K = lengths[l];
            double *x = place(data, (size_t)K * 8, s), *scratch = place(spare, (size_t)K * 8, s);
            long double sum = 0;
            for (int64_t i = 0; i < K; i++) x[i] = uniform(0.5, 1), sum += x[i];
            kl_norm norm = {0, 0};
            int32_t zeros;
            CHECK(scan_one(k, x, K, KL_PROBS, -1, &norm, &zeros, scratch) == (K ? KL_ROW_OK : KL_ROW_EMPTY), "%s",
                  k->name);
            CHECK(close_to(norm.a, sum, 2.3e-16) && !zeros, "%s: sum of %ld bins", k->name, (long)K);
            CHECK(scan_one(k, x, K, KL_LOGITS, -1, &norm, &zeros, scratch) == (K ? KL_ROW_OK : KL_ROW_EMPTY), "%s",
                  k->name);
            if (!K) continue;
            test_softmax(k, x, K, scratch);
            CHECK(scan_one(k, x, K, KL_PROBS, (double)sum, &norm, &zeros, scratch) == KL_ROW_OK, "%s", k->name);
            const int tells = fabsl(sum - 1) > 1e-3L;
            CHECK(scan_one(k, x, K, KL_PROBS, 1e-3, &norm, &zeros, scratch) == (tells ? KL_ROW_SUM : KL_ROW_OK),
                  "%s", k->name);
            test_refusals(k, x, K, scratch);
            for (int64_t at = 0; at < K; at++) { /* a bin without mass, anywhere */
                double kept = x[at];
                x[at] = at % 2 ? 0.0 : -0.0;
                kl_row_status expected = K == 1 ? KL_ROW_EMPTY : KL_ROW_OK;
                CHECK(scan_one(k, x, K, KL_PROBS, -1, &norm, &zeros, scratch) == expected, "%s", k->name);
                CHECK(K == 1 || zeros == 1, "%s: zero in bin %ld of %ld not seen", k->name, (long)at, (long)K);
                x[at] = -INFINITY;
                CHECK(scan_one(k, x, K, KL_LOGITS, -1, &norm, &zeros, scratch) == expected, "%s", k->name);
                CHECK(K == 1 || zeros == 1, "%s: mask in bin %ld of %ld not seen", k->name, (long)at, (long)K);
                x[at] = kept;
            }
        }
}

/* ---- direct divergence and entropy ---- */

static void normalised(const double *x, int64_t K, kl_domain domain, long double *out)
{
    long double top = -INFINITY, sum = 0;
    for (int64_t i = 0; i < K; i++) top = x[i] > top ? x[i] : top;
    for (int64_t i = 0; i < K; i++) sum += out[i] = domain == KL_PROBS ? x[i] : expl(x[i] - top);
    for (int64_t i = 0; i < K; i++) out[i] /= sum;
}

static long double kl_of(const long double *p, const long double *q, int64_t K)
{
    long double sum = 0;
    for (int64_t i = 0; i < K; i++) {
        if (p[i] > 0 && q[i] == 0) return INFINITY;
        const long double d = p[i] - q[i], log = fabsl(d) < q[i] / 2 ? log1pl(d / q[i]) : logl(p[i] / q[i]);
        sum += p[i] > 0 ? p[i] * log - d : q[i];
    }
    return sum;
}

/* Rows far from each other, with `empty` (0 or -inf) in some bins of p (kind 1) or of q (kind 2); equal ones (3), near
 * ones (4), offset logits (5), and a range of logits (6) in which sums of long double are no reference. */
enum { KINDS = 7, REFERENCED = 6 };

static void fill_pair(double *p, double *q, int64_t K, kl_domain domain, int kind)
{
    const double empty = domain == KL_PROBS ? 0 : -INFINITY;
    for (int64_t i = 0; i < K; i++) {
        p[i] = domain == KL_PROBS ? exp(uniform(-6, 0)) : uniform(-8, 3);
        q[i] = domain == KL_PROBS ? exp(uniform(-6, 0)) : uniform(-8, 3);
        if (kind == 1 && i && random_bits() % 3 == 0) p[i] = empty;
    }
    if (kind == 2 && K > 1) q[random_bits() % (uint64_t)(K - 1) + 1] = empty;
    if (kind == 3) memcpy(q, p, (size_t)K * 8);
    for (int64_t i = 0; i < K && domain == KL_LOGITS; i++) {
        if (kind == 4) q[i] = p[i] + uniform(-0.02, 0.02);
        if (kind == 5) q[i] += 150;
        if (kind == 6) p[i] *= 40, q[i] *= 40;
    }
}

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .factor = 1};

void test_direct(const kl_kernels *k)
{
    region left = region_new(8 * MOST), right = region_new(8 * MOST), spare = region_new(8 * MOST);
    long double pn[MOST], qn[MOST];
    for (int l = 1; l < n_lengths; l++)
        for (side s = AT_END; s <= AT_START; s++)
            for (kl_domain domain = KL_PROBS; domain <= KL_LOGITS; domain++)
                for (int kind = 0; kind < REFERENCED; kind++) {
                    const int64_t K = lengths[l];
                    double *p = place(left, (size_t)K * 8, s), *q = place(right, (size_t)K * 8, s), h;
                    double *scratch = place(spare, (size_t)K * 8, s);
                    kl_norm np, nq;
                    int32_t zeros;
                    kl_stats stats = {0};
                    kl_rows rows = matrix(p, 1, K, domain);
                    fill_pair(p, q, K, domain, kind);
                    scan_one(k, p, K, domain, -1, &np, &zeros, scratch);
                    scan_one(k, q, K, domain, -1, &nq, &zeros, scratch);
                    normalised(p, K, domain, pn);
                    normalised(q, K, domain, qn);
                    double value = direct_value(k, &itself, domain, p, np, q, nq, K);
                    long double exact = kind == 3 || K == 1 ? 0 : kl_of(pn, qn, K);
                    CHECK(close_to(value, exact, 4e-15) && !signbit(value),
                          "%s: KL %.17g, not %.17Lg: %ld bins, kind %d",
                          k->name, value, exact, (long)K, kind);
                    k->entropy(&rows, &np, 0, 1, &h, scratch, &stats);
                    exact = 0;
                    for (int64_t i = 0; i < K; i++) exact -= pn[i] > 0 ? pn[i] * logl(pn[i]) : 0;
                    CHECK(close_to(h, K == 1 ? 0 : exact, 4e-15) || (exact == 0 && h == 0),
                          "%s: H %.17g, not %.17Lg: %ld bins",
                          k->name, h, exact, (long)K);
                    CHECK(stats.isa_ran == k->bit, "%s: entropy ran %u", k->name, stats.isa_ran);
                }
}

/* ---- blocks of rows ---- */

/* Rows of float32, which are read where they lie, have the values of the same numbers as doubles. Weights: every fourth
 * pair is near, one of its sums larger by a third; some rows have an empty bin. */
static void test_single(const kl_kernels *k, kl_domain domain, const double *p, const double *q, int64_t n, int64_t K,
                        side s, region left, region right, double *out, double *scratch)
{
    float *a = place(left, (size_t)(n * K) * 4, s), *b = place(right, (size_t)(n * K) * 4, s);
    double wide[2][MOST];
    for (int64_t i = 0; i < n * K; i++) {
        const int near = i / K % 4 == 3;
        a[i] = (float)(domain == KL_LOGITS ? p[i] : uniform(0.01, 1));
        b[i] = (float)(domain == KL_LOGITS ? q[i] : near ? a[i] * uniform(1.33, 1.331) : uniform(0.01, 1));
        if (domain == KL_PROBS && K > 1 && i / K % 8 == 5 && i % K == 0) a[i] = 0;
    }
    kl_rows A = {.data = (char *)a, .row_stride = K * 4, .col_stride = 4, .n_rows = n, .n_cols = K, .prior_weight = 1,
                 .storage = KL_FLOAT32, .domain = domain}, B = A;
    kl_stats stats = {0};
    B.data = (char *)b;
    k->rowwise(&itself, &A, &B, 0, n, -1, -1, 0, out, scratch, &stats);
    for (int64_t i = 0; i < n; i++) {
        kl_norm norms[2];
        int32_t zeros;
        for (int64_t c = 0; c < K; c++) wide[0][c] = a[i * K + c], wide[1][c] = b[i * K + c];
        for (int r = 0; r < 2; r++) scan_one(k, wide[r], K, domain, -1, norms + r, &zeros, scratch);
        const double alone = direct_value(k, &itself, domain, wide[0], norms[0], wide[1], norms[1], K);
        CHECK(out[i] == alone, "%s: single row %ld of %ld, %ld bins: %.17g, as doubles %.17g", k->name, (long)i,
              (long)n, (long)K, out[i], alone);
    }
}

void test_rows(const kl_kernels *k)
{
    enum { ROWS = 21 };
    region left = region_new(8 * ROWS * MOST), right = region_new(8 * ROWS * MOST), spare = region_new(8 * 32 * MOST);
    region answer = region_new(8 * ROWS), total = region_new(8 * MOST);
    region single_left = region_new(4 * ROWS * MOST), single_right = region_new(4 * ROWS * MOST);
    for (int l = 1; l < n_lengths; l++)
        for (side s = AT_END; s <= AT_START; s++)
            for (kl_domain domain = KL_PROBS; domain <= KL_LOGITS; domain++)
                for (int64_t n = 1; n <= ROWS; n += 4) {
                    const int64_t K = lengths[l];
                    double *p = place(left, (size_t)(n * K) * 8, s), *q = place(right, (size_t)(n * K) * 8, s);
                    double *out = place(answer, (size_t)n * 8, s), *sum = place(total, (size_t)K * 8, s);
                    double *scratch = place(spare, (size_t)K * 8 * (K <= 256 ? 32 : 4), s);
                    for (int64_t i = 0; i < n; i++) fill_pair(p + i * K, q + i * K, K, domain, (int)(i % KINDS));
                    kl_rows P = matrix(p, n, K, domain), Q = matrix(q, n, K, domain);
                    kl_norm np[ROWS], nq[ROWS];
                    int32_t zeros = 0;
                    kl_stats stats = {0};
                    k->scan(&P, 0, n, -1, np, &zeros, scratch, &stats);
                    k->scan(&Q, 0, n, -1, nq, &zeros, scratch, &stats);
                    k->rowwise(&itself, &P, &Q, 0, n, -1, -1, 0, out, scratch, &stats);
                    CHECK(stats.status == KL_ROW_OK && stats.isa_ran == k->bit, "%s: rowwise", k->name);
                    for (int64_t i = 0; i < n; i++) {
                        double alone = direct_value(k, &itself, domain, p + i * K, np[i], q + i * K, nq[i], K);
                        CHECK(out[i] == alone, "%s: row %ld of %ld, %ld bins: %.17g, alone %.17g", k->name, (long)i,
                              (long)n, (long)K, out[i], alone);
                    }
                    const int64_t together = n < KL_TOGETHER ? n : KL_TOGETHER;
                    kl_row_pair pairs[KL_TOGETHER];
                    double values[KL_TOGETHER];
                    for (int64_t i = 0; i < together; i++) pairs[i] = (kl_row_pair){p + i * K, q + i * K, np[i], nq[i]};
                    k->values(&itself, domain, pairs, together, K, values);
                    CHECK(!memcmp(values, out, (size_t)together * 8), "%s: %ld rows of %ld bins together", k->name,
                          (long)together, (long)K);
                    test_single(k, domain, p, q, n, K, s, single_left, single_right, out, scratch);
                    memset(sum, 0, (size_t)K * 8);
                    k->accumulate(&P, np, 0, n, sum, scratch, &stats);
                    int right_sum = 1;
                    for (int64_t c = 0; c < K; c++) {
                        long double expected = 0, row[MOST];
                        for (int64_t i = 0; i < n; i++) normalised(p + i * K, K, domain, row), expected += row[c];
                        right_sum &= fabsl(sum[c] - expected) <= 1e-14L * expected;
                    }
                    CHECK(right_sum, "%s: accumulate, %ld rows of %ld bins", k->name, (long)n, (long)K);
                    p[(n - 1) * K + K - 1] = NAN;
                    k->rowwise(&itself, &P, &Q, 0, n, -1, -1, 0, out, scratch, &stats);
                    CHECK(stats.status == KL_ROW_NAN && stats.status_row == n - 1, "%s: NaN in the last bin", k->name);
                }
}
