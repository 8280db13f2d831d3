/* Which rows are equal as distributions: keys to find candidates, exact comparison to decide.
 *
 * PROBS rows are equal if p_k q_r = q_k p_r for all k; the quotients p_k / max(p), rounded, then agree.
 * LOGITS rows are equal if a_k - a_r = b_k - b_r; the rounded differences a_k - max(a) then agree.
 * MEASURE and FAMILY rows are equal if their entries are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../klfast.h"

static uint64_t mix(uint64_t x) /* the finisher of splitmix64 (Steele, Lea, Flood 2014) */
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double row_max(const double *x, int64_t K)
{
    double max[4] = {x[0], x[0], x[0], x[0]};
    int64_t k = 0;
    for (; k + 4 <= K; k += 4)
        for (int j = 0; j < 4; j++) max[j] = x[k + j] > max[j] ? x[k + j] : max[j];
    for (; k < K; k++) max[0] = x[k] > max[0] ? x[k] : max[0];
    for (int j = 1; j < 4; j++) max[0] = max[j] > max[0] ? max[j] : max[0];
    return max[0];
}

static uint64_t step(uint64_t h, uint64_t bits)
{
    h = (h ^ bits) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 29;
}

static uint64_t row_key(int32_t domain, const double *row, kl_norm norm, int64_t K)
{
    enum { BLOCK = 64 };
    const double max = domain == KL_PROBS ? row_max(row, K) : domain == KL_LOGITS ? norm.a : 1;
    double x[BLOCK];
    uint64_t bits[BLOCK], h0 = 1, h1 = 2, h2 = 3, h3 = 4; /* four chains, so that multiplications overlap */
    for (int64_t begin = 0; begin < K; begin += BLOCK) {
        const int64_t n = K - begin < BLOCK ? K - begin : BLOCK;
        for (int64_t k = 0; k < n; k++) /* + 0.0: -0.0 becomes 0.0 */
            x[k] = (domain == KL_LOGITS ? row[begin + k] - max : row[begin + k] / max) + 0.0;
        for (int64_t k = n; k < BLOCK && k % 4; k++) x[k] = 0;
        memcpy(bits, x, sizeof bits);
        for (int64_t k = 0; k < n; k += 4) {
            h0 = step(h0, bits[k]);
            h1 = step(h1, bits[k + 1]);
            h2 = step(h2, bits[k + 2]);
            h3 = step(h3, bits[k + 3]);
        }
    }
    return mix(h0 ^ mix(h1 ^ mix(h2 ^ mix(h3))));
}

#define GLANCE_BINS 8 /* a cache line */

/* The same from the first bins, relative to the first of them that is not empty. */
static uint64_t row_glance(int32_t domain, const double *row, int64_t K)
{
    enum { FEW = GLANCE_BINS };
    const double empty = domain == KL_LOGITS ? -INFINITY : 0;
    double x[FEW] = {0}, base = empty;
    uint64_t bits[FEW];
    for (int64_t k = FEW < K ? FEW - 1 : K - 1; k >= 0; k--) {
        x[k] = row[k];
        if (x[k] != empty) base = x[k];
    }
    const double shift = domain == KL_LOGITS && base != empty ? base : 0;
    const double divisor = domain == KL_PROBS && base ? base : 1;
    for (int64_t k = 0; k < FEW; k++) x[k] = (x[k] - shift) / divisor + 0.0; /* + 0.0: -0.0 becomes 0.0 */
    memcpy(bits, x, sizeof bits);
    return mix(step(step(bits[0], bits[1]), bits[2]) ^ mix(step(step(bits[3], bits[4]), bits[5]))
               ^ mix(mix(step(bits[6], bits[7]))));
}

#define AHEAD 16 /* rows whose first bins are under way: a glance is one miss of the caches */

void kl_row_keys(const kl_kernels *kernels, const kl_rows *all, const kl_norm *norms, int glance, int64_t begin,
                 int64_t end, double *scratch, uint64_t *keys)
{
    kl_rows rows = *all;
    const int plain = !rows.indptr && !rows.n_parts && !rows.weight_by_sum;
    if (glance && plain && rows.n_cols > GLANCE_BINS) rows.n_cols = GLANCE_BINS; /* no more of a row need be read */
    for (int64_t i = begin; i < end; i++) {
        const int64_t next = i + AHEAD < end ? i + AHEAD : i;
        if (plain) __builtin_prefetch(rows.data + (rows.index ? rows.index[next] : next) * rows.row_stride);
        const double *row = kernels->read(&rows, i, scratch);
        keys[i] = glance ? row_glance(rows.domain, row, rows.n_cols)
                         : row_key(rows.domain, row, norms[i], rows.n_cols);
    }
}

/* x = m * 2^e with a 53-bit integer m. */
static uint64_t split(double x, int *e)
{
    return (uint64_t)ldexp(frexp(x, e), 53);
}

/* a * b == c * d, exactly, for positive doubles. */
static int products_equal(double a, double b, double c, double d)
{
    int ea, eb, ec, ed;
    unsigned __int128 left = (unsigned __int128)split(a, &ea) * split(b, &eb);
    unsigned __int128 right = (unsigned __int128)split(c, &ec) * split(d, &ed);
    int shift = (ea + eb) - (ec + ed);
    if (shift == 0) return left == right;
    if (shift == 1) return left << 1 == right;
    return shift == -1 && left == right << 1;
}

static int same_differences(double a, double b, double c, double d) /* a - b == c - d, exactly */
{
    double x = a - b, y = c - d;
    if (x != y) return 0;
    double z = x - a, w = y - c;
    return (a - (x - z)) - (b + z) == (c - (y - w)) - (d + w);
}

int kl_rows_same(int32_t domain, const double *a, const double *b, int64_t K)
{
    int64_t r = 0;
    if (domain == KL_MEASURE || domain == KL_FAMILY) {
        for (int64_t k = 0; k < K; k++)
            if (a[k] != b[k]) return 0;
        return 1;
    }
    for (int64_t k = 1; k < K; k++)
        if (a[k] > a[r]) r = k;
    if (domain == KL_LOGITS) {
        if (b[r] == -INFINITY) return 0;
        for (int64_t k = 0; k < K; k++) {
            int masked = a[k] == -INFINITY;
            if (masked != (b[k] == -INFINITY)) return 0;
            if (!masked && !same_differences(a[k], a[r], b[k], b[r])) return 0;
        }
        return 1;
    }
    if (b[r] == 0) return 0;
    for (int64_t k = 0; k < K; k++) {
        if ((a[k] == 0) != (b[k] == 0)) return 0;
        if (a[k] != 0 && !products_equal(a[k], b[r], b[k], a[r])) return 0;
    }
    return 1;
}

int kl_rows_identical(int32_t domain, const double *a, const double *b, int64_t K)
{
    int ea = 0, eb = 0;
    if (domain == KL_PROBS) {
        frexp(row_max(a, K), &ea);
        frexp(row_max(b, K), &eb);
    }
    if (ea == eb) {
        for (int64_t k = 0; k < K; k++)
            if (a[k] != b[k]) return 0;
        return 1;
    }
    if (abs(ea) > 300 || abs(eb) > 300) return 0; /* such sums may take the careful path */
    for (int64_t k = 0; k < K; k++)
        if (a[k] != ldexp(b[k], ea - eb) || b[k] != ldexp(a[k], eb - ea)) return 0;
    return 1;
}

void kl_compare_rows(const kl_kernels *kernels, const kl_rows *a, const kl_rows *b, const int64_t *rows_a,
                     const int64_t *rows_b, int64_t begin, int64_t end, int8_t *same, int8_t *identical,
                     double *scratch)
{
    const int64_t K = a->n_cols;
    for (int64_t t = begin; t < end; t++) {
        const double *x = kernels->read(a, rows_a[t], scratch), *y = kernels->read(b, rows_b[t], scratch + K);
        identical[t] = (int8_t)kl_rows_identical(a->domain, x, y, K);
        same[t] = (int8_t)(identical[t] || kl_rows_same(a->domain, x, y, K));
    }
}
