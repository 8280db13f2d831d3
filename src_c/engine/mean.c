/* Means of values without the pairs. Where a value is a product of features and its finish linear,
 *     offset_i + offset_j - x_i . y_j,    off by at most  norm_i norm_j + slack_i + slack_j,
 * the mean over j is the value against one row that has the means of offset, y, norm and slack: (n + m) K work.
 *
 * Sums over rows are compensated (TwoSum), so that a mean is off by two roundings, whatever the number of rows; the
 * caller's factors of norms and slacks allow for them. Features lie row by row: no panel's width shows in the bits.
 */
#include <math.h>
#include <stddef.h>

#include "../klfast.h"

#define ROWS 32   /* encoded at a time: 16 KiB with 64 features      */
#define LANES 8   /* partial sums of a product                       */
#define CHAIN 256 /* bins added up before the next partial sum       */

typedef struct {
    double *features, *offset, *norm, *slack, *scratch;
    uint64_t *support;
    int64_t width, words;
} block;

static block block_over(const kl_encode_args *side, double *memory)
{
    block b = {.width = kl_width_of(side->divergence, side->rows), .words = (side->rows->n_cols + 63) / 64};
    b.features = memory;
    b.offset = b.features + ROWS * b.width;
    b.norm = b.offset + ROWS;
    b.slack = b.norm + ROWS;
    b.support = (uint64_t *)(b.slack + ROWS);
    b.scratch = b.slack + ROWS + ROWS * b.words;
    return b;
}

int64_t kl_mean_doubles(const kl_encode_args *side)
{
    const int64_t width = kl_width_of(side->divergence, side->rows), words = (side->rows->n_cols + 63) / 64;
    return ROWS * (width + 3 + words) + kl_scratch_of(side->divergence, side->rows);
}

static void encode(const kl_kernels *kernels, const kl_encode_args *side, int with_support, int64_t begin, int64_t end,
                   const block *b, kl_stats *stats)
{
    kl_encode_args args = *side;
    args.begin = begin, args.end = end;
    args.single = 0, args.width = 1;
    args.features = b->features, args.offset = b->offset, args.norm = b->norm, args.slack = b->slack;
    args.support = with_support ? b->support : NULL;
    args.scratch = b->scratch;
    kernels->encode(&args, stats);
}

static void add(double *restrict sum, double *restrict low, const double *restrict x, int64_t n)
{
    for (int64_t k = 0; k < n; k++) {
        const double t = sum[k] + x[k], z = t - sum[k];
        low[k] += (sum[k] - (t - z)) + (x[k] - z);
        sum[k] = t;
    }
}

void kl_row_sums_add(const kl_kernels *kernels, const kl_encode_args *side, int64_t begin, int64_t end,
                     kl_row_sums *total, double *memory, kl_stats *stats)
{
    const block b = block_over(side, memory);
    for (int64_t first = begin; first < end; first += ROWS) {
        const int64_t n = end - first < ROWS ? end - first : ROWS;
        encode(kernels, side, total->every != NULL, first, first + n, &b, stats);
        for (int64_t r = 0; r < n; r++) {
            const double others[3] = {b.offset[r], b.norm[r], b.slack[r]};
            add(total->sum, total->low, b.features + r * b.width, b.width);
            add(total->sum + b.width, total->low + b.width, others, 3);
            for (int64_t w = 0; total->every && w < b.words; w++) {
                total->every[w] &= b.support[r * b.words + w];
                total->any[w] |= b.support[r * b.words + w];
            }
        }
    }
}

void kl_row_sums_mean(kl_row_sums *totals, int64_t count, const kl_encode_args *side)
{
    const int64_t numbers = kl_width_of(side->divergence, side->rows) + 3, words = (side->rows->n_cols + 63) / 64;
    for (int64_t t = 1; t < count; t++) {
        add(totals->sum, totals->low, totals[t].sum, numbers);
        for (int64_t k = 0; k < numbers; k++) totals->low[k] += totals[t].low[k];
        for (int64_t w = 0; totals->every && w < words; w++) {
            totals->every[w] &= totals[t].every[w];
            totals->any[w] |= totals[t].any[w];
        }
    }
    for (int64_t k = 0; k < numbers; k++)
        totals->sum[k] = (totals->sum[k] + totals->low[k]) / (double)side->rows->n_rows;
}

/* In lanes and chains of fixed length: a shorter chain of roundings than the product's, which the bound counts on. */
static double dot(const double *x, const double *y, int64_t K)
{
    double total = 0;
    for (int64_t begin = 0; begin < K; begin += CHAIN) {
        const int64_t end = K - begin < CHAIN ? K : begin + CHAIN, whole = end - (end - begin) % LANES;
        double lanes[LANES] = {0};
        for (int64_t k = begin; k < whole; k += LANES)
            for (int j = 0; j < LANES; j++) lanes[j] += x[k + j] * y[k + j];
        for (int64_t k = whole; k < end; k++) lanes[k - whole] += x[k] * y[k];
        total += ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    }
    return total;
}

/* Does an empty bin make a value of this row infinite, against any of the rows that were added up? */
static int unsupported(const kl_encode_args *side, const uint64_t *row, const kl_row_sums *other, int64_t words)
{
    const int both = kl_support_of(side->divergence) == KL_SUPPORT_EQUAL;
    uint64_t lost = 0;
    for (int64_t w = 0; w < words; w++) {
        if (both || side->role == KL_MEAN) lost |= row[w] & ~other->every[w];
        if (both || side->role == KL_NATURAL) lost |= other->any[w] & ~row[w];
    }
    return lost != 0;
}

void kl_mean_values(const kl_kernels *kernels, const kl_encode_args *side, const kl_row_sums *other, double accept,
                    int64_t begin, int64_t end, double *values, uint8_t *certified, double *memory, kl_stats *stats)
{
    const block b = block_over(side, memory);
    const double *mean = other->sum, offset = mean[b.width], norm = mean[b.width + 1], slack = mean[b.width + 2];
    for (int64_t first = begin; first < end; first += ROWS) {
        const int64_t n = end - first < ROWS ? end - first : ROWS;
        encode(kernels, side, other->every != NULL, first, first + n, &b, stats);
        for (int64_t r = 0; r < n; r++) {
            double value = (b.offset[r] + offset) - dot(b.features + r * b.width, mean, b.width);
            const double bound = (b.slack[r] + slack) + b.norm[r] * norm;
            int sure = bound < INFINITY && accept * value >= bound;
            if (other->every && unsupported(side, b.support + r * b.words, other, b.words)) value = INFINITY, sure = 1;
            values[first + r] = kl_finished(side->divergence, value);
            certified[first + r] = (uint8_t)sure;
        }
    }
}
