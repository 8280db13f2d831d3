/* Which rows are equal as distributions: keys to find candidates, exact comparison to decide.
 *
 * PROBS rows are equal if p_k q_r = q_k p_r for all k; the quotients p_k / max(p), rounded, then agree.
 * LOGITS rows are equal if a_k - a_r = b_k - b_r; the rounded differences a_k - max(a) then agree.
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
    double max = x[0];
    for (int64_t k = 1; k < K; k++) max = x[k] > max ? x[k] : max;
    return max;
}

uint64_t kl_row_key(int32_t domain, const double *row, kl_norm norm, int64_t K)
{
    const double max = domain == KL_PROBS ? row_max(row, K) : norm.a;
    uint64_t h[4] = {1, 2, 3, 4}; /* four chains, so that multiplications overlap */
    for (int64_t k = 0; k < K; k++) {
        double x = domain == KL_PROBS ? row[k] / max : row[k] - max;
        uint64_t bits;
        x += 0.0; /* -0.0 becomes 0.0 */
        memcpy(&bits, &x, 8);
        h[k & 3] = (h[k & 3] ^ bits) * 0x9e3779b97f4a7c15u;
        h[k & 3] ^= h[k & 3] >> 29;
    }
    return mix(h[0] ^ mix(h[1] ^ mix(h[2] ^ mix(h[3]))));
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

void kl_classify(const kl_kernels *kernels, const kl_rows *rows, const kl_norm *norms, int64_t begin,
                 int64_t end, const uint64_t *keys, const int64_t *first, int64_t n_keys,
                 const kl_rows *reference, int64_t *classes, int8_t *identical, double *scratch)
{
    const int64_t K = rows->n_cols;
    for (int64_t i = begin; i < end; i++) {
        const double *row = kernels->read(rows, i, scratch);
        uint64_t key = kl_row_key(rows->domain, row, norms[i], K);
        int64_t low = 0, high = n_keys;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (keys[middle] < key) low = middle + 1;
            else high = middle;
        }
        classes[i] = -1;
        identical[i] = 0;
        if (low == n_keys || keys[low] != key) continue;
        if (rows == reference && first[low] == i) { /* the representative itself */
            classes[i] = low;
            identical[i] = 1;
            continue;
        }
        const double *other = kernels->read(reference, first[low], scratch + K);
        identical[i] = (int8_t)kl_rows_identical(rows->domain, row, other, K);
        if (identical[i] || kl_rows_same(rows->domain, row, other, K)) classes[i] = low;
    }
}
