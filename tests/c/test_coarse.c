/* The coarse screen in bytes: the bytes are what their numbers say, and no entry at or below a threshold is lost. */
#include "check.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = MOST_ROWS, COLS = 70, BINS = MOST_BINS };

typedef struct {
    kl_encode_args single, exact; /* float32 with bytes; float64, in the same panels */
    int64_t n, K, width;
} encoded;

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .factor = 1};

static encoded encode(const kl_kernels *k, const kl_rows *rows, const center_of_rows *c, kl_role role, int up_to_shift,
                      side s, region *r)
{
    const int64_t n = rows->n_rows, K = rows->n_cols, width = role == KL_MEAN ? k->mr32 : k->nr32;
    const int64_t padded = (n + width - 1) / width * width, numbers = padded + k->coarse, groups = (K + 3) / 4;
    static kl_norm norms[COLS];
    static double scratch[8 * BINS];
    int32_t zeros = 0;
    kl_stats stats = {0};
    k->scan(rows, 0, n, -1, norms, &zeros, scratch, &stats);
    kl_encode_args a = {
        .divergence = &itself, .rows = rows, .norms = norms, .center = &c->c, .end = n, .role = role, .single = 1,
        .width = (int32_t)width, .up_to_shift = up_to_shift,
        .norm_factor = role == KL_MEAN ? ((double)K + 22) * 0x1p-24 : 1,
        .slack_factor = 12 * 0x1p-24, .scratch = scratch,
        .features = place(r[0], (size_t)(padded * K) * 4, s), .offset = place(r[1], (size_t)numbers * 4, s),
        .norm = place(r[2], (size_t)numbers * 4, s), .slack = place(r[3], (size_t)numbers * 4, s),
        .bytes = {place(r[4], (size_t)(padded * groups) * 4, s), place(r[5], (size_t)numbers * 4, s),
                  place(r[6], (size_t)numbers * 4, s), place(r[7], (size_t)numbers * 4, s),
                  place(r[8], (size_t)numbers * 4, s)},
    };
    k->encode(&a, &stats);
    encoded e = {a, a, n, K, width};
    e.exact.single = 0, e.exact.bytes.bytes = NULL;
    e.exact.features = place(r[9], (size_t)(padded * K) * 8, s), e.exact.offset = place(r[10], (size_t)padded * 8, s);
    e.exact.norm = place(r[11], (size_t)padded * 8, s), e.exact.slack = place(r[12], (size_t)padded * 8, s);
    k->encode(&e.exact, &stats);
    return e;
}

static double feature(const encoded *e, int64_t i, int64_t b)
{
    return ((double *)e->exact.features)[i / e->width * e->width * e->K + i % e->width + b * e->width];
}

static void check_bytes(const kl_kernels *k, const encoded *e)
{
    const kl_bytes *bytes = &e->single.bytes;
    const int64_t groups = (e->K + 3) / 4;
    int small = 1, sums = 1;
    for (int64_t i = 0; i < e->n; i++) {
        long double rest = 0, norm = 0, sum = 0;
        for (int64_t b = 0; b < groups * 4; b++) {
            const int8_t X = bytes->bytes[(i / e->width * e->width * groups + b / 4 * e->width + i % e->width) * 4 + b % 4];
            const long double x = b < e->K ? feature(e, i, b) : 0, part = (long double)X / bytes->inverse[i];
            rest += (x - part) * (x - part), norm += part * part, sum += X;
            small &= X >= -127;
        }
        sums &= sqrtl(rest) <= bytes->residual[i] && sqrtl(norm) <= bytes->norm[i] && bytes->shift[i] == -128 * sum;
    }
    CHECK(small && sums, "%s: bytes and their numbers, %ld bins", k->name, (long)e->K);
}

static long double value_of(const encoded *left, const encoded *right, int64_t i, int64_t j)
{
    long double value = (long double)((double *)left->exact.offset)[i] + ((double *)right->exact.offset)[j];
    for (int64_t b = 0; b < left->K; b++) value -= (long double)feature(left, i, b) * feature(right, j, b);
    return value;
}

/* value[i * m + j] of the entries on the list, NaN elsewhere; the number of them. */
static int64_t hits_of(const kl_kernels *k, kl_product_args *a, float *value)
{
    kl_stats stats = {0};
    for (int64_t t = 0; t < a->rows * a->cols; t++) value[t] = NAN;
    k->screen[1][KL_PRODUCT](a, &stats);
    for (int64_t t = 0; t < a->n_doubts; t++) {
        const int64_t i = a->doubts[t] >> 16, j = a->doubts[t] & 0xffff;
        if (j < a->cols) value[i * a->cols + j] = ((float *)a->hit_value)[t];
    }
    return a->n_doubts;
}

/* Rows of weights: `near`, multiples of one row up to 1e-4; else far apart, with empty bins. */
static void fill(double *x, int64_t n, int64_t K, int near)
{
    for (int64_t i = 0; i < n; i++)
        for (int64_t b = 0; b < K; b++) {
            x[i * K + b] = near ? (1 + (double)b) * uniform(1, 1.0001) : exp(uniform(-6, 0));
            if (!near && b && random_bits() % 8 == 0) x[i * K + b] = 0;
        }
}

static float threshold_of(const encoded *left, const encoded *right, int64_t i)
{
    const uint64_t choice = random_bits() % 8;
    if (choice == 0) return FLT_MAX;
    if (choice == 1) return -INFINITY;
    if (choice == 2) return 0;
    const long double value = value_of(left, right, i, (int64_t)(random_bits() % (uint64_t)right->n));
    return choice == 3 ? (float)value : (float)(value * uniform(0.2, 1));
}

/* Rows of tiles that the coarse screen let through, of all, where the rows are far apart. */
typedef struct { int64_t passed, all; } tally;

/* Without the offset the features are what they are with it: (p/S - c) scale, up to roundings of 1/S and their own. */
static void check_shifted(const kl_kernels *k, const encoded *e, const double *x, const center_of_rows *c)
{
    int features = 1, offsets = 1;
    for (int64_t i = 0; i < e->n; i++) {
        long double sum = 0;
        for (int64_t b = 0; b < e->K; b++) sum += x[i * e->K + b];
        for (int64_t b = 0; b < e->K; b++) {
            const long double p = x[i * e->K + b] / sum, scale = c->c.scale[b], exact = (p - c->c.probs[b]) * scale;
            features &= fabsl(feature(e, i, b) - exact) <= 0x1p-51L * (p * scale + fabsl(exact));
        }
        const double offset = ((double *)e->exact.offset)[i]; /* infinite: mass where the centre has none */
        offsets &= offset == 0 || offset == INFINITY;
    }
    CHECK(features && offsets, "%s: features up to a shift, %ld bins", k->name, (long)e->K);
}

static tally test_block(const kl_kernels *k, int64_t n, int64_t m, int64_t K, int near, int up_to_shift, side s,
                        region *r)
{
    static double x[ROWS * BINS], y[COLS * BINS];
    static float plain[ROWS * COLS], coarse[ROWS * COLS];
    static center_of_rows c;
    fill(x, n, K, near), fill(y, m, K, near);
    const kl_rows P = matrix(x, n, K, KL_PROBS), Q = matrix(y, m, K, KL_PROBS);
    make_center(k, y, m < ROWS ? m : ROWS, K, KL_PROBS, &c);
    const encoded left = encode(k, &P, &c, KL_MEAN, up_to_shift, s, r);
    const encoded right = encode(k, &Q, &c, KL_NATURAL, 0, s, r + 13);
    if (up_to_shift) check_shifted(k, &left, x, &c);
    check_bytes(k, &left), check_bytes(k, &right);
    const int64_t rows = (n + k->mr32 - 1) / k->mr32 * k->mr32, cols = (m + k->nr32 - 1) / k->nr32 * k->nr32;
    float *threshold = place(r[26], (size_t)(rows + k->coarse) * 4, s);
    for (int64_t i = 0; i < rows; i++) threshold[i] = i < n ? threshold_of(&left, &right, i) : -INFINITY;
    kl_product_args a = {
        .left = left.single.features, .row_offset = left.single.offset, .row_norm = left.single.norm,
        .row_slack = left.single.slack, .right = right.single.features, .col_offset = right.single.offset,
        .col_norm = right.single.norm, .col_slack = right.single.slack, .K = K, .rows = n, .cols = m,
        .threshold = threshold, .doubts = place(r[27], (size_t)(rows * cols) * 4, s),
        .hit_value = place(r[28], (size_t)(rows * cols) * 4, s), .hit_bound = place(r[29], (size_t)(rows * cols) * 4, s),
    };
    hits_of(k, &a, plain);
    a.left_bytes = left.single.bytes, a.right_bytes = right.single.bytes;
    hits_of(k, &a, coarse);
    int none_lost = 1, same = 1;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < m; j++) {
            const float one = plain[i * m + j], other = coarse[i * m + j];
            if (one == one && value_of(&left, &right, i, j) <= threshold[i]) none_lost &= other == one;
            if (other == other) same &= other == one;
        }
    CHECK(none_lost && same, "%s: coarse screen, %ld x %ld x %ld, near %d", k->name, (long)n, (long)m, (long)K, near);
    return (tally){a.passed, near ? 0 : rows * (cols / k->nr32)};
}

void test_coarse(const kl_kernels *k)
{
    if (!k->coarse) return;
    region r[30];
    const int64_t row_counts[] = {1, 11, 12, 13, ROWS}, col_counts[] = {1, 31, 32, 33, COLS};
    for (int i = 0; i < 30; i++)
        r[i] = region_new(i % 13 == 0 && i < 26 ? 4 * 96 * BINS : i % 13 == 9 ? 8 * 96 * BINS : 8 * 96 * 96);
    tally total = {0, 0};
    for (int l = 1; l < n_lengths; l++)
        for (int form = 0; form < 20; form++) {
            const tally t = test_block(k, row_counts[form % 5], col_counts[(form / 2 + l) % 5], lengths[l], form % 4 == 3,
                                       form % 2, form % 3 ? AT_END : AT_START, r);
            total.passed += lengths[l] > 30 ? t.passed : 0;
            total.all += lengths[l] > 30 ? t.all : 0;
        }
    /* Thresholds let about half of the rows through whatever the screen does. */
    CHECK(total.all > 1000 && 4 * total.passed < 3 * total.all && total.passed > total.all / 10,
          "%s: the coarse screen let %ld of %ld rows through", k->name, (long)total.passed, (long)total.all);
}
