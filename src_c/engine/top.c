/* The TopK consumer: screen with bounds, keep what may still belong to the answer, decide exactly.
 *
 * A screened value v with bound e stands for an exact sum in [v - e, v + e], or that far from it by a number which
 * all values of the row lack (up_to_shift: without its logarithms a row is encoded in a third of the time). A row's
 * threshold is the k-th smallest upper end so far: whatever starts above it cannot be among the k nearest. Full lists
 * are thinned by the threshold; a list that stays full (ties) is settled by exact values. Those have the shift and the
 * finish, so ends are only compared with ends.
 */
#include "candidates.h"
#include "pairing.h"

#define FIRST_COLUMNS 64 /* a multiple of every panel's width */

/* Columns that the first thresholds come from: a product of their own, which must cost less than the hits it saves. */
#define SAMPLE 512
#define SAMPLE_OF_FEW 128
#define FEW_COLUMNS 4096

/* Where the coarse screen lets most rows of tiles through (near rows, or hits everywhere), the next blocks of columns
 * do without it. It costs about a quarter of the product, and up to eight rows of a tile cost no more than their share:
 * it pays up to two thirds. */
#define COARSE_PAUSE 7
static int coarse_pays(const kl_product_args *args, const kl_workspace *w)
{
    const int64_t tiles = (args->rows + w->panel_rows - 1) / w->panel_rows
                        * ((args->cols + w->panel_cols - 1) / w->panel_cols);
    return args->passed < tiles * w->panel_rows * 2 / 3;
}

static candidates *list_of(const kl_workspace *w, int64_t capacity, int64_t row)
{
    return (candidates *)(w->candidates + row * kl_list_bytes(capacity));
}

/* Candidates whose exact values are computed together. */
typedef struct {
    int64_t most, count, rows[KL_TOGETHER], columns[KL_TOGETHER];
    candidate *of[KL_TOGETHER];
} batch;

static void settle_batch(const kl_pairing *p, const kl_workspace *w, batch *b, kl_stats *stats)
{
    double exact[KL_TOGETHER];
    kl_exact_values(p, w, b->count, b->rows, b->columns, exact, stats);
    for (; b->count; b->count--) b->of[b->count - 1]->exact = exact[b->count - 1];
}

/* The exact values of a row's candidates; the last few are left to the caller. */
static void settle_into(const kl_pairing *p, const kl_workspace *w, candidates *c, int64_t row, batch *b,
                        kl_stats *stats)
{
    for (int64_t ahead = 0; ahead < c->count + KL_TOGETHER; ahead++) {
        /* They lie anywhere, and each would be waited for. */
        if (ahead < c->count) kl_prefetch(p->right, p->right_norms, c->list[ahead].column);
        if (ahead < KL_TOGETHER) continue;
        candidate *x = c->list + ahead - KL_TOGETHER;
        if (is_known(x)) continue;
        b->of[b->count] = x;
        b->rows[b->count] = row;
        b->columns[b->count++] = x->column;
        if (b->count == b->most) settle_batch(p, w, b, stats);
    }
}

/* Make room in a full list; returns the new threshold. */
static double make_room(const kl_pairing *p, const kl_workspace *w, candidates *c, int64_t k,
                        int64_t capacity, int64_t row, kl_stats *stats)
{
    const double threshold = kl_thin(c, k, w->selection);
    if (c->count > capacity - (capacity - k) / 2) {
        batch b = {.most = kl_pairs_together(p), .count = 0};
        settle_into(p, w, c, row, &b, stats);
        settle_batch(p, w, &b, stats);
        kl_sort_candidates(c->list, c->count, w->sorting);
        c->count = k;
    }
    return threshold;
}

static double threshold_of(const kl_pairing *p, const kl_workspace *w, int64_t row)
{
    return p->single ? ((float *)w->threshold)[row] : ((double *)w->threshold)[row];
}

static void set_threshold(const kl_pairing *p, kl_workspace *w, int64_t row, double threshold)
{
    if (p->single) ((float *)w->threshold)[row] = (float)threshold;
    else ((double *)w->threshold)[row] = threshold;
}

/* Lets everything through: no sum lies above. */
static double open_threshold(const kl_pairing *p) { return p->single ? FLT_MAX : DBL_MAX; }

/* An upper end as the screen compares with it. */
static double screened(const kl_pairing *p, double end)
{
    const double open = open_threshold(p), up = p->single ? above(end) : end;
    return up < open ? up : open;
}

static void lower_threshold(const kl_pairing *p, kl_workspace *w, int64_t row, double end)
{
    const double threshold = screened(p, end);
    if (threshold < threshold_of(p, w, row)) set_threshold(p, w, row, threshold);
}

static void collect(const kl_pairing *p, const kl_top *top, kl_workspace *w, kl_product_args *args,
                    int64_t begin, int64_t col, kl_stats *stats)
{
    for (int64_t h = 0; h < args->n_doubts; h++) {
        const int64_t i = args->doubts[h] >> 16, j = col + (args->doubts[h] & 0xffff);
        const double value = p->single ? ((float *)w->hit_value)[h] : ((double *)w->hit_value)[h];
        const double bound = p->single ? ((float *)w->hit_bound)[h] : ((double *)w->hit_bound)[h];
        const double now = threshold_of(p, w, i);
        if (value - bound > now || now == -INFINITY || (top->skip_self && j == begin + i)) continue;
        if (p->right_support && kl_unsupported(p, w, i, j)) continue;
        candidates *c = list_of(w, top->capacity, i);
        const double high = value + bound;
        c->list[c->count++] = (candidate){.low = below(value - bound), .high = above(high), .exact = NAN, .column = j};
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
        if (known) continue;
        c->list[c->count++] = (candidate){.low = INFINITY, .high = INFINITY, .exact = INFINITY, .column = j};
    }
}

/* Thresholds from some columns: of the least upper ends of many disjoint sets of columns, the k-th smallest, k being
 * `wanted`, has k entries that do not exceed it. Returns whether it could; not where upper ends do not know of empty
 * bins. `stride`: of the values that are kept in hit_value, or 0. */
static int first_thresholds(const kl_pairing *p, kl_workspace *w, int64_t wanted, int64_t n, int64_t col, int64_t cols,
                            int64_t stride, kl_stats *stats)
{
    const int64_t width = w->panel_cols, sets = (2 * wanted + width - 1) / width;
    const int64_t part = (cols + width - 1) / width / sets * width, ends = wanted == 1 ? 1 : sets * width;
    if (p->right_support || part == 0 || ends > SELECTION || ends > p->column_block) return 0;
    for (int64_t s = 0; s < sets; s++) {
        kl_product_args args = kl_block_args(p, w, n, col + s * part, s < sets - 1 ? part : cols - s * part);
        args.out = (char *)w->hit_bound + s * width * w->element; /* free until there are hits */
        args.out_stride = ends;
        args.one = wanted == 1;
        args.kept = stride ? (char *)w->hit_value + s * part * w->element : NULL;
        args.kept_stride = stride;
        p->kernels->ends[p->single][kl_shape_of(p->divergence)](&args, stats);
    }
    for (int64_t i = 0; i < n; i++) {
        for (int64_t t = 0; t < ends; t++)
            w->selection[t] = key_of(p->single ? ((float *)w->hit_bound)[i * ends + t]
                                               : above(((double *)w->hit_bound)[i * ends + t]));
        const double end = kl_kth_smallest(w->selection, ends, wanted);
        lower_threshold(p, w, i, end + fabs(end) * 0x1p-20); /* up by the rounding of value + bound */
    }
    return 1;
}

/* Few columns, all at once: their values are kept until the thresholds, from all of them, are known. Returns whether it
 * could. */
static int screen_few(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t begin, int64_t n, int64_t col,
                      int64_t cols, kl_stats *stats)
{
    const int64_t width = w->panel_cols, padded = (cols + width - 1) / width * width;
    /* Not a power of two: the rows of a tile would share a set of the first-level cache. */
    const int64_t stride = padded % 256 == 0 && padded + width <= p->column_block ? padded + width : padded;
    kl_product_args args = kl_block_args(p, w, n, col, cols);
    if (cols > p->column_block) return 0;
    args.kept = w->hit_value;
    args.kept_stride = stride;
    if (!first_thresholds(p, w, top->k + top->skip_self, n, col, cols, stride, stats)) return 0;
    p->kernels->hits[p->single](&args, stats);
    collect(p, top, w, &args, begin, col, stats);
    return 1;
}

/* How many of a sample's values may lie below the k-th smallest of all: fewer in all but MISSES of the rows, if `mean`
 * of them are expected. (Poisson; without replacement they spread less.) */
#define MISSES 1e-4
static int64_t sample_rank(double mean)
{
    double share = exp(-mean), more = 1 - share;
    int64_t rank = 1;
    for (; more > MISSES; rank++) {
        share *= mean / (double)rank;
        more -= share;
    }
    return rank;
}

/* Thresholds from the sample of the columns, below which there are k entries in all likelihood: settled() tells.
 * Returns whether it set them, as it does where it expects far fewer hits from them. */
static int guess_thresholds(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t n, int64_t col_begin,
                            int64_t col_end, kl_stats *stats)
{
    const kl_sample *sample = &top->sample;
    const int64_t m = p->right->n_rows, width = w->panel_cols, wanted = top->k + top->skip_self;
    const int64_t from = (col_begin * sample->count + m * width - 1) / (m * width) * width;
    const int64_t to = col_end * sample->count / (m * width) * width;
    if (to <= from) return 0;
    const double mean = (double)wanted * (double)(to - from) / (double)(col_end - col_begin);
    if (mean > SELECTION) return 0;
    const int64_t rank = sample_rank(mean);
    if (2 * rank > wanted) return 0;
    kl_pairing sampled = *p;
    sampled.features = sample->features, sampled.offset = sample->offset;
    sampled.norm = sample->norm, sampled.slack = sample->slack;
    return first_thresholds(&sampled, w, rank, n, from, to - from, 0, stats);
}

/* Every column [col_begin, col_end), from `first` on and then around the end, against n rows. Their thresholds have
 * seen `known` columns. */
static void search(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t begin, int64_t n, int64_t col_begin,
                   int64_t col_end, int64_t first, int64_t known, kl_stats *stats)
{
    const int64_t block = p->column_block, all = col_end - col_begin;
    int64_t cols, pause = 0;
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
            if (c->count > top->k) lower_threshold(p, w, i, kl_thin(c, top->k, w->selection));
        }
    }
}

/* Whether a row's k nearest are among its candidates: k of them certainly lie below its threshold, or nothing lies
 * above. Closes the row if so, else starts it again. */
static int settled(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t row)
{
    candidates *c = list_of(w, top->capacity, row);
    const double threshold = threshold_of(p, w, row);
    const int sure = threshold == open_threshold(p)
                     || (c->count >= top->k && screened(p, kl_thin(c, top->k, w->selection)) <= threshold);
    set_threshold(p, w, row, sure ? -INFINITY : open_threshold(p));
    if (!sure) c->count = 0;
    return sure;
}

/* The workspace of its rows from `row` on, the first of a panel. */
static kl_workspace rows_from(const kl_workspace *w, int64_t capacity, int64_t row)
{
    kl_workspace v = *w;
    const int64_t skip = row * w->element;
    v.features = (char *)w->features + skip * w->width;
    v.offset = (char *)w->offset + skip, v.norm = (char *)w->norm + skip, v.slack = (char *)w->slack + skip;
    v.threshold = (char *)w->threshold + skip;
    if (w->coarse.bytes) {
        v.coarse.bytes += row * ((w->width + 3) / 4 * 4);
        v.coarse.inverse += row, v.coarse.residual += row, v.coarse.norm += row, v.coarse.shift += row;
    }
    v.candidates += row * kl_list_bytes(capacity);
    return v;
}

/* Search those panels again in which a guess was too low for a row. */
static void search_again(const kl_pairing *p, const kl_top *top, const kl_workspace *w, int64_t begin, int64_t n,
                         int64_t col_begin, int64_t col_end, int64_t first, kl_stats *stats)
{
    for (int64_t row = 0; row < n; row += w->panel_rows) {
        kl_workspace panel = rows_from(w, top->capacity, row);
        const int64_t rows = n - row < w->panel_rows ? n - row : w->panel_rows;
        int64_t misses = 0;
        for (int64_t i = 0; i < rows; i++) misses += !settled(p, top, &panel, i);
        if (misses) search(p, top, &panel, begin + row, rows, col_begin, col_end, first, 0, stats);
    }
}

/* Many columns: thresholds from a sample, then step by step. */
static void screen_many(const kl_pairing *p, const kl_top *top, kl_workspace *w, int64_t begin, int64_t n,
                        int64_t col_begin, int64_t col_end, kl_stats *stats)
{
    /* Among themselves, rows start with their own neighbourhood, where data that came in some order have their nearest;
     * then around the end. */
    const int64_t home = begin / FIRST_COLUMNS * FIRST_COLUMNS;
    const int64_t first = top->same && home > col_begin && home < col_end ? home : col_begin;
    const int64_t all = col_end - col_begin, sample = all < FEW_COLUMNS ? SAMPLE_OF_FEW : SAMPLE;
    const int64_t seen = col_end - first < sample ? col_end - first : sample;
    const int guessed = guess_thresholds(p, top, w, n, col_begin, col_end, stats);
    int64_t known = guessed ? all : 0;
    if (!guessed || top->same) {
        const int64_t wanted = top->k + top->skip_self;
        if (first_thresholds(p, w, wanted, n, first, seen, 0, stats) && !guessed) known = seen;
    }
    search(p, top, w, begin, n, col_begin, col_end, first, known, stats);
    if (guessed) search_again(p, top, w, begin, n, col_begin, col_end, first, stats);
}

void kl_top_block(const kl_pairing *p, const kl_top *top, int64_t begin, int64_t end,
                  int64_t col_begin, int64_t col_end, double *values, int64_t *columns,
                  void *memory, kl_stats *stats)
{
    kl_workspace w = kl_workspace_over(p, top->capacity, memory);
    const int64_t n = end - begin, k = top->k;
    batch b = {.most = kl_pairs_together(p), .count = 0};
    if (kl_takes_nearest(p, top, col_end - col_begin)) {
        kl_nearest_block(p, top->few, &w, begin, end, col_begin, col_end, values, columns, stats);
        return;
    }
    w.up_to_shift = 1;
    kl_encode_left(p, &w, begin, end, stats);
    for (int64_t i = 0; i < n; i++) {
        set_threshold(p, &w, i, open_threshold(p));
        list_of(&w, top->capacity, i)->count = 0;
    }
    for (int64_t i = n; i % w.panel_rows; i++) set_threshold(p, &w, i, -INFINITY);
    if (!screen_few(p, top, &w, begin, n, col_begin, col_end - col_begin, stats))
        screen_many(p, top, &w, begin, n, col_begin, col_end, stats);
    for (int64_t i = 0; i < n; i++) {
        candidates *c = list_of(&w, top->capacity, i);
        if (c->count > k) kl_thin(c, k, w.selection);
        settle_into(p, &w, c, begin + i, &b, stats);
    }
    settle_batch(p, &w, &b, stats);
    for (int64_t i = 0; i < n; i++) {
        candidates *c = list_of(&w, top->capacity, i);
        kl_sort_candidates(c->list, c->count, w.sorting);
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
