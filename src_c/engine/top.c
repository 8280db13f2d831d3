/* The TopK consumer: screen with bounds, keep what may still belong to the answer, decide exactly.
 *
 * A screened value v with bound e stands for an exact sum in [v - e, v + e], or that far from it by a number which
 * all values of the row lack (up_to_shift: without its logarithms a row is encoded in a third of the time). A row's
 * threshold is the k-th smallest upper end so far: whatever starts above it cannot be among the k nearest. Full lists
 * are thinned by the threshold; a list that stays full (ties) is settled by exact values. Those have the shift and the
 * finish, so ends are only compared with ends.
 */
#include "pairing.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_COLUMNS 64 /* a multiple of every panel's width */

/* Columns that the first thresholds come from: a product of their own, which has to cost less than the hits it saves. */
#define SAMPLE 512
#define SAMPLE_OF_FEW 128
#define FEW_COLUMNS 4096

/* Where the coarse screen lets most rows of tiles through (near rows, or hits everywhere), the next blocks of columns do
 * without it. It costs about a quarter of the product. */
#define COARSE_PAUSE 7
static int coarse_pays(const kl_product_args *args, const kl_workspace *w)
{
    const int64_t tiles = (args->rows + w->panel_rows - 1) / w->panel_rows
                        * ((args->cols + w->panel_cols - 1) / w->panel_cols);
    return args->passed < tiles * w->panel_rows / 2;
}

typedef struct {
    double low, high; /* the sum lies between, up to the row's shift */
    double exact;     /* NaN: not known yet */
    int64_t column;
} candidate;

#define SHORT_LIST 16 /* by insertion: qsort takes as long to start as that */

typedef struct {
    int64_t count;
    candidate list[];
} candidates;

static candidates *list_of(const kl_workspace *w, int64_t capacity, int64_t row)
{
    return (candidates *)(w->candidates + row * (8 + capacity * (int64_t)sizeof(candidate)));
}

static int by_value(const void *a, const void *b) /* the order of the answer */
{
    const candidate *x = a, *y = b;
    if (x->exact != y->exact) return x->exact < y->exact ? -1 : 1;
    return (x->column > y->column) - (x->column < y->column);
}

static void put_in_order(candidates *c)
{
    if (c->count > SHORT_LIST) {
        qsort(c->list, (size_t)c->count, sizeof *c->list, by_value);
        return;
    }
    for (int64_t t = 1; t < c->count; t++) {
        const candidate x = c->list[t];
        int64_t at = t;
        for (; at > 0 && by_value(&x, c->list + at - 1) < 0; at--) c->list[at] = c->list[at - 1];
        c->list[at] = x;
    }
}

/* The k-th smallest of n numbers (k from 1), which it reorders (Hoare's selection). */
static double kth_smallest(double *x, int64_t n, int64_t k)
{
    if (k == 1) {
        double least = x[0];
        for (int64_t t = 1; t < n; t++) least = x[t] < least ? x[t] : least;
        return least;
    }
    int64_t left = 0, right = n - 1;
    while (left < right) {
        const double pivot = x[left + (right - left) / 2];
        int64_t i = left, j = right;
        while (i <= j) {
            while (x[i] < pivot) i++;
            while (x[j] > pivot) j--;
            if (i <= j) {
                const double t = x[i];
                x[i++] = x[j];
                x[j--] = t;
            }
        }
        if (k - 1 <= j) right = j;
        else if (k - 1 >= i) left = i;
        else break;
    }
    return x[k - 1];
}

static void settle(const kl_pairing *p, const kl_workspace *w, candidates *c, int64_t row, kl_stats *stats)
{
    for (int64_t t = 0; t < c->count; t++) {
        candidate *x = c->list + t;
        if (x->exact == x->exact) continue;
        x->exact = kl_exact_value(p, w, row, x->column, stats);
    }
    qsort(c->list, (size_t)c->count, sizeof *c->list, by_value);
}

/* Drop what cannot be among the k nearest; returns the new threshold. Needs count >= k. */
static double thin(const kl_workspace *w, candidates *c, int64_t k)
{
    for (int64_t t = 0; t < c->count; t++) w->selection[t] = c->list[t].high;
    const double threshold = kth_smallest(w->selection, c->count, k);
    int64_t kept = 0;
    for (int64_t t = 0; t < c->count; t++)
        if (c->list[t].low <= threshold) c->list[kept++] = c->list[t];
    c->count = kept;
    return threshold;
}

/* Make room in a full list; returns the new threshold. */
static double make_room(const kl_pairing *p, const kl_workspace *w, candidates *c, int64_t k,
                        int64_t capacity, int64_t row, kl_stats *stats)
{
    const double threshold = thin(w, c, k);
    if (c->count > capacity - (capacity - k) / 2) {
        settle(p, w, c, row, stats);
        c->count = k;
    }
    return threshold;
}

/* To a float32 not below: that costs no branch, of which half would be mistaken. */
static void lower_threshold(const kl_pairing *p, kl_workspace *w, int64_t row, double threshold)
{
    if (!p->single) {
        ((double *)w->threshold)[row] = threshold < DBL_MAX ? threshold : DBL_MAX;
        return;
    }
    const double above = threshold + fabs(threshold) * 0x1p-23 + FLT_MIN;
    ((float *)w->threshold)[row] = threshold == -INFINITY ? -INFINITY : above < FLT_MAX ? (float)above : FLT_MAX;
}

static void collect(const kl_pairing *p, const kl_top *top, kl_workspace *w, kl_product_args *args,
                    int64_t begin, int64_t col, kl_stats *stats)
{
    for (int64_t h = 0; h < args->n_doubts; h++) {
        const int64_t i = args->doubts[h] >> 16, j = col + (args->doubts[h] & 0xffff);
        const double value = p->single ? ((float *)w->hit_value)[h] : ((double *)w->hit_value)[h];
        const double bound = p->single ? ((float *)w->hit_bound)[h] : ((double *)w->hit_bound)[h];
        const double now = p->single ? ((float *)w->threshold)[i] : ((double *)w->threshold)[i];
        if (value - bound > now || (top->skip_self && j == begin + i)) continue;
        if (p->right_support && kl_unsupported(p, w, i, j)) continue;
        candidates *c = list_of(w, top->capacity, i);
        const double high = value + bound;
        c->list[c->count++] = (candidate){value - bound, high, NAN, j};
        stats->candidates++;
        if (top->k == 1 && high < now) lower_threshold(p, w, i, high);
        if (c->count == top->capacity)
            lower_threshold(p, w, i, make_room(p, w, c, top->k, top->capacity, begin + i, stats));
    }
}

/* Fewer than k finite values: the others are infinite, the smallest columns first. */
static void fill_infinite(candidates *c, int64_t k, int64_t row, int skip_self, int64_t col_begin,
                          int64_t col_end)
{
    const int64_t finite = c->count;
    for (int64_t j = col_begin; j < col_end && c->count < k; j++) {
        int known = skip_self && j == row;
        for (int64_t t = 0; t < finite && !known; t++) known = c->list[t].column == j;
        if (!known) c->list[c->count++] = (candidate){INFINITY, INFINITY, INFINITY, j};
    }
}

/* Thresholds from the first columns: of the least upper ends of many disjoint sets of columns, the k-th smallest has k
 * entries that do not exceed it. Returns whether it could; not where upper ends do not know of empty bins. `stride`: of
 * the values that are kept in hit_value, or 0. `coarse`: of one number a row, from bytes. */
static int first_thresholds(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t n, int64_t col,
                            int64_t cols, int64_t stride, int coarse, kl_stats *stats)
{
    const int64_t wanted = top->k + top->skip_self, width = w->panel_cols, sets = (2 * wanted + width - 1) / width;
    const int64_t part = (cols + width - 1) / width / sets * width, ends = wanted == 1 ? 1 : sets * width;
    if (p->right_support || part == 0 || ends > SELECTION || ends > p->column_block) return 0;
    for (int64_t s = 0; s < sets; s++) {
        kl_product_args args = kl_block_args(p, w, n, col + s * part, s < sets - 1 ? part : cols - s * part);
        args.out = (char *)w->hit_bound + s * width * w->element; /* free until there are hits */
        args.out_stride = ends;
        args.one = wanted == 1;
        args.kept = stride ? (char *)w->hit_value + s * part * w->element : NULL;
        args.kept_stride = stride;
        if (!coarse) args.right_bytes.bytes = NULL;
        p->kernels->ends[p->single][kl_shape_of(p->divergence)](&args, stats);
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t t = 0; t < ends; t++)
            w->selection[t] = p->single ? ((float *)w->hit_bound)[i * ends + t]
                                        : ((double *)w->hit_bound)[i * ends + t];
        const double end = kth_smallest(w->selection, ends, wanted);
        lower_threshold(p, w, i, end + fabs(end) * 0x1p-20); /* up by the rounding of value + bound */
    }
    return 1;
}

/* Few columns, all at once: their values are kept until the thresholds, from all of them, are known. For the nearest
 * alone those of the products of bytes will do (coarse_few.h), unless they leave too many: an exact KL takes about as
 * long as the float32 products of 32 columns. Returns whether it could. */
static int screen_few(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t begin, int64_t n, int64_t col,
                      int64_t cols, kl_stats *stats)
{
    const int64_t width = w->panel_cols, padded = (cols + width - 1) / width * width;
    /* Not a power of two: the rows of a tile would share a set of the first-level cache. */
    const int64_t stride = padded % 256 == 0 && padded + width <= p->column_block ? padded + width : padded;
    int coarse = p->bytes.bytes && top->k + top->skip_self == 1 && !p->left->family;
    kl_product_args args = kl_block_args(p, w, n, col, cols);
    if (cols > p->column_block) return 0;
    args.kept = w->hit_value;
    args.kept_stride = stride;
    args.most = n * cols / 32;
    for (;; coarse = 0) {
        if (!first_thresholds(p, top, w, n, col, cols, stride, coarse, stats)) return 0;
        if (!coarse) args.right_bytes.bytes = NULL;
        p->kernels->hits[p->single](&args, stats);
        if (!coarse || args.n_doubts <= args.most) break;
    }
    collect(p, top, w, &args, begin, col, stats);
    return 1;
}

/* Many columns: thresholds from a sample, then step by step. */
static void screen_many(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t begin, int64_t n,
                        int64_t col_begin, int64_t col_end, kl_stats *stats)
{
    /* Among themselves, rows start with their own neighbourhood, where data that came in some order have their nearest;
     * then around the end. */
    const int64_t block = p->column_block, home = begin / FIRST_COLUMNS * FIRST_COLUMNS;
    const int64_t first = top->same && home > col_begin && home < col_end ? home : col_begin;
    const int64_t all = col_end - col_begin, sample = all < FEW_COLUMNS ? SAMPLE_OF_FEW : SAMPLE;
    const int64_t seen = col_end - first < sample ? col_end - first : sample;
    int64_t known = first_thresholds(p, top, w, n, first, seen, 0, 0, stats) ? seen : 0, cols, pause = 0;
    for (int64_t done = 0; done < all; done += cols) {
        /* Thresholds only move between steps: not many more columns at a time than they have seen. */
        const int64_t fresh = done > known ? done : known, half = fresh / 2 / FIRST_COLUMNS * FIRST_COLUMNS;
        const int64_t step = half >= block ? block : half > FIRST_COLUMNS ? half : FIRST_COLUMNS;
        const int64_t ahead = first + done, around = ahead - all;
        const int64_t col = ahead < col_end ? ahead : around, stop = ahead < col_end ? col_end : first;
        const int growing = step < block;
        cols = stop - col < step ? stop - col : step;
        kl_product_args args = kl_block_args(p, w, n, col, cols);
        if (pause || !fresh) args.right_bytes.bytes = NULL;
        p->kernels->screen[p->single][kl_shape_of(p->divergence)](&args, stats);
        if (args.right_bytes.bytes && !growing && !coarse_pays(&args, w)) pause = COARSE_PAUSE;
        else if (pause) pause--;
        collect(p, top, w, &args, begin, col, stats);
        for (int64_t i = 0; i < n && growing; i++) {
            candidates *c = list_of(w, top->capacity, i);
            if (c->count > top->k) lower_threshold(p, w, i, thin(w, c, top->k));
        }
    }
}

/* All lists' exact values, those of different rows together. */
static void settle_all(const kl_pairing *p, const kl_top *top, const kl_workspace *w, int64_t begin, int64_t n,
                       kl_stats *stats)
{
    const int64_t most = kl_pairs_together(p);
    int64_t rows[KL_TOGETHER], columns[KL_TOGETHER], count = 0;
    candidate *open[KL_TOGETHER];
    double exact[KL_TOGETHER];
    for (int64_t i = 0; i < n; i++) {
        candidates *c = list_of(w, top->capacity, i);
        for (int64_t t = 0; t < c->count; t++) {
            candidate *x = c->list + t;
            if (x->exact == x->exact) continue;
            open[count] = x;
            rows[count] = begin + i;
            columns[count++] = x->column;
            if (count < most) continue;
            kl_exact_values(p, w, count, rows, columns, exact, stats);
            for (; count; count--) open[count - 1]->exact = exact[count - 1];
        }
    }
    kl_exact_values(p, w, count, rows, columns, exact, stats);
    for (; count; count--) open[count - 1]->exact = exact[count - 1];
}

void kl_top_block(const kl_pairing *p, const kl_top *top, int64_t begin, int64_t end,
                  int64_t col_begin, int64_t col_end, double *values, int64_t *columns,
                  void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, top->capacity, memory);
    const int64_t n = end - begin, k = top->k;
    w.up_to_shift = 1;
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t i = 0; i < n; i++) {
        lower_threshold(p, &w, i, INFINITY);
        list_of(&w, top->capacity, i)->count = 0;
    }
    for (int64_t i = n; i % w.panel_rows; i++) lower_threshold(p, &w, i, -INFINITY);
    if (!screen_few(p, top, &w, begin, n, col_begin, col_end - col_begin, stats))
        screen_many(p, top, &w, begin, n, col_begin, col_end, stats);
    for (int64_t i = 0; i < n; i++) {
        candidates *c = list_of(&w, top->capacity, i);
        if (c->count > k) thin(&w, c, k);
    }
    settle_all(p, top, &w, begin, n, stats);
    for (int64_t i = 0; i < n; i++) {
        candidates *c = list_of(&w, top->capacity, i);
        put_in_order(c);
        while (c->count && c->list[c->count - 1].exact == INFINITY) c->count--; /* not all of them: filled below */
        if (c->count < k) fill_infinite(c, k, begin + i, top->skip_self, col_begin, col_end);
        for (int64_t t = 0; t < k; t++) {
            values[i * k + t] = t < c->count ? c->list[t].exact : INFINITY;
            columns[i * k + t] = t < c->count ? c->list[t].column : -1;
        }
    }
}

void kl_top_expand(int64_t k, int64_t k_classes, const double *values, const int64_t *classes,
                   const int64_t *starts, const int64_t *members, int64_t self, double *out_values,
                   int64_t *out_columns, int64_t *cursors)
{
    int64_t count = 0;
    while (k_classes > 0 && classes[k_classes - 1] < 0) k_classes--;
    for (int64_t from = 0, to; from < k_classes && count < k; from = to) {
        for (to = from; to < k_classes && values[to] == values[from]; to++)
            cursors[to] = starts[classes[to]];
        while (count < k) { /* classes at one distance: always the smallest member left */
            int64_t best = -1;
            for (int64_t t = from; t < to; t++) {
                const int64_t end = starts[classes[t] + 1];
                if (cursors[t] < end && members[cursors[t]] == self) cursors[t]++;
                if (cursors[t] < end && (best < 0 || members[cursors[t]] < members[cursors[best]])) best = t;
            }
            if (best < 0) break;
            out_values[count] = values[from];
            out_columns[count++] = members[cursors[best]++];
        }
    }
    for (; count < k; count++) {
        out_values[count] = INFINITY;
        out_columns[count] = -1;
    }
}
