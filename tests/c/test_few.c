/* The nearest of few columns: its list has every column that may be the nearest, in order, and no other; by floats
 * alone, and where the ISA can after products of bytes. */
#include "check.h"

#include <stdlib.h>
#include <string.h>

enum { ROWS = 70, COLS = 300, BINS = 64, PANELS = 96 }; /* PANELS: rows, in whole panels of any width */

static const kl_divergence itself = {.kind = KL_KL, .finish = KL_LINEAR, .number = 1, .factor = 1};

static kl_encode_args encode(const kl_kernels *k, const kl_rows *rows, const center_of_rows *c, kl_role role, side s,
                             region *r)
{
    const int64_t n = rows->n_rows, K = rows->n_cols, padded = (n + k->nr32 - 1) / k->nr32 * k->nr32;
    const size_t numbers = (size_t)(padded + k->coarse) * 4, groups = (size_t)(K + 3) / 4;
    static kl_norm norms[COLS];
    static double scratch[8 * BINS];
    int32_t zeros = 0;
    kl_stats stats = {0};
    k->scan(rows, 0, n, -1, norms, &zeros, scratch, &stats);
    kl_encode_args a = {
        .divergence = &itself, .rows = rows, .norms = norms, .center = &c->c, .end = n, .role = role, .single = 1,
        .width = k->nr32, .up_to_shift = role == KL_MEAN, .slack_factor = 12 * 0x1p-24, .scratch = scratch,
        .norm_factor = role == KL_MEAN ? ((double)K + 22) * 0x1p-24 : 1,
        .features = place(r[0], (size_t)(padded * K) * 4, s), .offset = place(r[1], (size_t)padded * 4, s),
        .norm = place(r[2], (size_t)padded * 4, s), .slack = place(r[3], (size_t)padded * 4, s),
    };
    if (k->coarse)
        a.bytes = (kl_bytes){place(r[4], (size_t)padded * groups * 4, s), place(r[5], numbers, s),
                             place(r[6], numbers, s), place(r[7], numbers, s), place(r[8], numbers, s)};
    k->encode(&a, &stats);
    return a;
}

static float feature(const kl_encode_args *a, int64_t i, int64_t b)
{
    return ((float *)a->features)[(i / a->width * a->rows->n_cols + b) * a->width + i % a->width];
}

/* Values from exact products of the features, and the bounds on what float32 makes of them. */
static void values_of(const kl_encode_args *left, const kl_encode_args *right, int64_t i, long double *value,
                      long double *bound)
{
    for (int64_t j = 0; j < right->end; j++) {
        value[j] = (long double)((float *)left->offset)[i] + ((float *)right->offset)[j];
        for (int64_t b = 0; b < left->rows->n_cols; b++)
            value[j] -= (long double)feature(left, i, b) * feature(right, j, b);
        bound[j] = (long double)((float *)left->norm)[i] * ((float *)right->norm)[j]
                 + ((float *)left->slack)[i] + ((float *)right->slack)[j];
    }
}

static void check_list(const kl_kernels *k, const kl_product_args *a, const kl_encode_args *left,
                       const kl_encode_args *right)
{
    int64_t at = 0;
    int none_lost = 1, none_more = 1;
    for (int64_t i = 0; i < a->rows; i++) {
        long double value[COLS], bound[COLS], nearest = INFINITY, least = INFINITY;
        values_of(left, right, i, value, bound);
        for (int64_t j = 0; j < a->cols; j++) {
            nearest = fminl(nearest, value[j]);
            least = fminl(least, value[j] + 2 * bound[j]);
        }
        for (int64_t j = 0; j < a->cols; j++) {
            const int listed = at < a->n_doubts && a->doubts[at] == (uint32_t)(i << 16 | j);
            none_lost &= listed || !(value[j] <= nearest) || value[j] == INFINITY;
            none_more &= !listed || value[j] - 2 * bound[j] <= least + fabsl(least) * 0x1p-19L;
            at += listed;
        }
    }
    CHECK(none_lost && none_more && at == a->n_doubts, "%s: nearest of few, %ld x %ld x %ld%s", k->name, (long)a->rows,
          (long)a->cols, (long)a->K, a->few ? " by bytes" : "");
}

/* By bytes: the lower ends of packs of four columns, in units of the row's bytes and without its slack. They are left
 * of the last panel, unless that had to do without. */
static void check_ends(const kl_kernels *k, const kl_product_args *a, const kl_encode_args *left,
                       const kl_encode_args *right)
{
    const int64_t first = (a->rows - 1) / k->nr32 * k->nr32;
    const float reach = a->few[KL_FEW_FLOATS(a->K, a->cols) - 1];
    int below = 1;
    for (int64_t i = first; i < a->rows; i++)
        if (!(left->bytes.inverse[i] * reach < 0x1p120f)) return;
    for (int64_t lane = 0, i = first; i < a->rows; i++, lane++) {
        long double value[COLS], bound[COLS];
        values_of(left, right, i, value, bound);
        for (int64_t j = 0; j < a->cols; j++) {
            const long double end = ((float *)a->hit_bound)[j / 4 * k->nr32 + lane];
            below &= !(end / left->bytes.inverse[i] - 2 * ((float *)left->slack)[i] > value[j] + bound[j]);
        }
    }
    CHECK(below, "%s: ends by bytes, %ld x %ld x %ld", k->name, (long)a->rows, (long)a->cols, (long)a->K);
}

static void test_block(const kl_kernels *k, int64_t n, int64_t m, int64_t K, int near, side s, region *r)
{
    static double x[ROWS * BINS], y[COLS * BINS];
    static center_of_rows c;
    for (int64_t t = 0; t < n * K; t++) x[t] = near ? uniform(1, 1.001) : exp(uniform(-6, 0));
    for (int64_t t = 0; t < m * K; t++) y[t] = near ? uniform(1, 1.001) : exp(uniform(-6, 0));
    if (n > 3 && K > 1) { /* a row whose pairs nothing is known of, one that no column supports, and a column's equal */
        for (int64_t b = 0; b < K; b++) x[b] *= 0x1p-1000;
        for (int64_t j = 0; j < m; j++) y[j * K] = 0;
        for (int64_t i = 2; i < n; i++) x[i * K] = 0;
        memcpy(x + 3 * K, y + (m - 1) * K, (size_t)K * sizeof *x);
    }
    const kl_rows P = matrix(x, n, K, KL_PROBS), Q = matrix(y, m, K, KL_PROBS);
    make_center(k, y, m < MOST_ROWS ? m : MOST_ROWS, K, KL_PROBS, &c);
    const kl_encode_args left = encode(k, &P, &c, KL_MEAN, s, r), right = encode(k, &Q, &c, KL_NATURAL, s, r + 9);
    const int64_t cols = (m + k->nr32 - 1) / k->nr32 * k->nr32;
    kl_product_args a = {
        .left = left.features, .row_offset = left.offset, .row_norm = left.norm, .row_slack = left.slack,
        .right = right.features, .col_offset = right.offset, .col_norm = right.norm, .col_slack = right.slack,
        .K = K, .rows = n, .cols = m, .kept = place(r[18], (size_t)(cols * k->nr32) * 4, s),
        .doubts = place(r[19], (size_t)(n * m) * 4, s), .hit_bound = place(r[20], (size_t)(cols * k->nr32), s),
        .left_bytes = left.bytes, .right_bytes = right.bytes,
    };
    kl_stats stats = {0};
    k->nearest(&a, &stats);
    CHECK(stats.isa_ran == k->bit, "%s: nearest of few ran", k->name);
    check_list(k, &a, &left, &right);
    if (!k->coarse) return;
    float *few = place(r[21], (size_t)KL_FEW_FLOATS(K, m) * 4, s);
    k->few_columns(&a, few);
    a.few = few;
    k->nearest(&a, &stats);
    check_list(k, &a, &left, &right);
    check_ends(k, &a, &left, &right);
}

void test_few(const kl_kernels *k)
{
    const int64_t row_counts[] = {1, 15, 33, ROWS}, col_counts[] = {1, 8, 16, 31, 33, COLS};
    region r[22];
    for (int i = 0; i < 22; i++) /* numbers of rows or columns; features, bytes, lists */
        r[i] = region_new(i < 18 && i % 9 && i % 9 != 4 ? 8 * COLS : 4 * (COLS + 32) * (BINS + 32));
    for (int l = 1; l < n_lengths && lengths[l] <= BINS; l++)
        for (int form = 0; form < 12; form++)
            test_block(k, row_counts[(form + l) % 4], col_counts[form % 6], lengths[l], form % 5 == 4,
                       form % 3 ? AT_END : AT_START, r);
}
