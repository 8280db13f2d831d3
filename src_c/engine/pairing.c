/* Workspace, left operand, exact values and tiles of a pairing (pairing.h). */
#include "pairing.h"

#include <stddef.h>
#include <string.h>

/* Longer rows keep the processor busy one at a time. */
#define LONG_ROW 256

static void *take(char *memory, int64_t *used, int64_t bytes)
{
    int64_t at = *used;
    *used += (bytes + 63) & ~(int64_t)63;
    return memory ? memory + at : NULL;
}

kl_workspace kl_workspace_over(const kl_pairing *p, int64_t top_capacity, void *memory)
{
    const int64_t K = p->left->n_cols, words = (K + 63) / 64, width = kl_width_of(p->divergence, p->left);
    kl_workspace w = {.words = words, .element = p->single ? 4 : 8, .width = width};
    w.panel_rows = p->single ? p->kernels->mr32 : p->kernels->mr64;
    w.panel_cols = p->single ? p->kernels->nr32 : p->kernels->nr64;
    int64_t rows = (p->row_block + w.panel_rows - 1) / w.panel_rows * w.panel_rows;
    rows = (rows + w.panel_cols - 1) / w.panel_cols * w.panel_cols; /* panels of nearest.c */
    const int64_t area = rows * p->column_block;
    int64_t used = 0;
    char *m = memory;
    w.features = take(m, &used, rows * width * w.element);
    const int64_t numbers = (rows + p->kernels->coarse) * w.element;
    w.offset = take(m, &used, numbers);
    w.norm = take(m, &used, numbers);
    w.slack = take(m, &used, numbers);
    if (p->bytes.bytes) {
        const int64_t padded = rows + p->kernels->coarse;
        w.coarse = (kl_bytes){take(m, &used, rows * ((width + 3) / 4 * 4)), take(m, &used, padded * 4),
                             take(m, &used, padded * 4), take(m, &used, padded * 4), take(m, &used, padded * 4)};
    }
    w.support = take(m, &used, p->right_support ? rows * words * 8 : 0);
    w.doubts = take(m, &used, area * 4);
    const int64_t scratch = kl_scratch_of(p->divergence, p->left), pairs = 2 * kl_pairs_together(p) * K;
    w.scratch = take(m, &used, (scratch + pairs) * 8);
    if (top_capacity) {
        w.threshold = take(m, &used, numbers);
        w.hit_value = take(m, &used, area * w.element);
        w.hit_bound = take(m, &used, area * w.element);
        w.candidates = take(m, &used, rows * kl_list_bytes(top_capacity));
        w.sorting = take(m, &used, kl_list_bytes(top_capacity));
        w.selection = take(m, &used, 4 * (top_capacity > SELECTION ? top_capacity : SELECTION));
    } else
        w.tile = take(m, &used, area * w.element);
    w.bytes = used;
    return w;
}

int64_t kl_workspace_bytes(const kl_pairing *p, int64_t top_capacity)
{
    return kl_workspace_over(p, top_capacity, NULL).bytes;
}

void kl_encode_left(const kl_pairing *p, kl_workspace *w, int64_t begin, int64_t end, kl_stats *stats)
{
    kl_encode_args args = {
        .divergence = p->divergence, .rows = p->left, .norms = p->left_norms, .center = p->center,
        .extra = p->left_extra, .begin = begin, .end = end, .role = p->left_role, .single = p->single,
        .width = (int32_t)w->panel_rows, .up_to_shift = w->up_to_shift, .norm_factor = p->norm_factor,
        .slack_factor = p->slack_factor, .slack_floor = p->slack_floor, .scratch = w->scratch,
        .features = w->features, .offset = w->offset, .norm = w->norm, .slack = w->slack, .bytes = w->coarse,
        .support = p->right_support ? w->support : NULL,
    };
    p->kernels->encode(&args, stats);
}

/* kl_product_args.number */
static double number_of(const kl_divergence *f)
{
    if (f->by_overlap) return f->number * f->rest;
    return f->kind == KL_SKEW_KL ? 1 / (1 - f->number) : f->number; /* p/c - 1 from its feature */
}

kl_product_args kl_block_args(const kl_pairing *p, const kl_workspace *w, int64_t rows, int64_t col,
                              int64_t cols)
{
    const int64_t skip = col * w->element;
    kl_bytes right = p->bytes;
    if (right.bytes) {
        right.bytes += col * ((w->width + 3) / 4 * 4);
        right.inverse += col, right.residual += col, right.norm += col, right.shift += col;
    }
    return (kl_product_args){
        .left = w->features, .row_offset = w->offset, .row_norm = w->norm, .row_slack = w->slack,
        .right = (const char *)p->features + skip * w->width, .weights = p->weights,
        .number = number_of(p->divergence),
        .col_offset = (const char *)p->offset + skip, .col_norm = (const char *)p->norm + skip,
        .col_slack = (const char *)p->slack + skip, .K = w->width, .rows = rows, .cols = cols,
        .relative = p->divergence->by_terms || p->divergence->by_overlap ? p->slack_factor : 0,
        .term = p->left->family ? p->left->family->term : KL_TERM_NONE, .turned = p->left_role == KL_NATURAL,
        .both = p->divergence->kind == KL_JEFFREYS, .threshold = w->threshold, .doubts = w->doubts,
        .hit_value = w->hit_value, .hit_bound = w->hit_bound, .left_bytes = w->coarse, .right_bytes = right,
    };
}

int kl_unsupported(const kl_pairing *p, const kl_workspace *w, int64_t row, int64_t col)
{
    const uint64_t *left = w->support + row * w->words, *right = p->right_support + col * w->words;
    const uint64_t *mean = p->left_role == KL_MEAN ? left : right;
    const uint64_t *natural = p->left_role == KL_MEAN ? right : left;
    const kl_support rule = kl_support_of(p->divergence);
    const uint64_t both = rule == KL_SUPPORT_EQUAL ? UINT64_MAX : 0;
    if (rule == KL_SUPPORT_MEETING) {
        for (int64_t k = 0; k < w->words; k++)
            if (left[k] & right[k]) return 0;
        return 1;
    }
    for (int64_t k = 0; k < w->words; k++)
        if ((mean[k] & ~natural[k]) | (both & natural[k] & ~mean[k])) return 1;
    return 0;
}

int64_t kl_pairs_together(const kl_pairing *p)
{
    return p->left->n_cols <= LONG_ROW ? KL_TOGETHER : 1;
}

/* A row that is read where it lies. */
static const double *place_of(const kl_rows *rows, int64_t i)
{
    return (const double *)(rows->data + (rows->index ? rows->index[i] : i) * rows->row_stride);
}

void kl_exact_values(const kl_pairing *p, const kl_workspace *w, int64_t n, const int64_t *i, const int64_t *j,
                     double *out, kl_stats *stats)
{
    const int64_t K = p->left->n_cols;
    kl_row_pair pairs[KL_TOGETHER];
    int64_t open[KL_TOGETHER], count = 0;
    const int left_lies = n && p->kernels->read(p->left, i[0], w->scratch) != w->scratch;
    const int right_lies = n && p->kernels->read(p->right, j[0], w->scratch) != w->scratch;
    for (int64_t t = 0; t < n; t++) {
        out[t] = p->left_extra ? p->divergence->factor * p->left_extra[i[t]] : 0;
        if (p->left_class && p->left_class[i[t]] >= 0 && p->left_class[i[t]] == p->right_class[j[t]]) {
            stats->equal++;
            continue;
        }
        double *space = w->scratch + 2 * count * K;
        const double *left = left_lies ? place_of(p->left, i[t]) : p->kernels->read(p->left, i[t], space);
        const double *right = right_lies ? place_of(p->right, j[t]) : p->kernels->read(p->right, j[t], space + K);
        const kl_norm l = p->left_norms[i[t]], r = p->right_norms[j[t]];
        open[count] = t;
        pairs[count++] = p->left_role == KL_MEAN ? (kl_row_pair){left, right, l, r} : (kl_row_pair){right, left, r, l};
    }
    if (count == 0) return;
    stats->recomputed += (uint64_t)count;
    double values[KL_TOGETHER];
    if (p->left->family)
        kl_family_values(p->divergence, p->kernels, p->left->family, pairs, count, K, values, w->scratch + 2 * count * K);
    else p->kernels->values(p->divergence, p->left->domain, pairs, count, K, values);
    for (int64_t t = 0; t < count; t++) out[open[t]] += values[t];
}

double kl_exact_value(const kl_pairing *p, const kl_workspace *w, int64_t i, int64_t j, kl_stats *stats)
{
    double value;
    kl_exact_values(p, w, 1, &i, &j, &value, stats);
    return value;
}

#define PREFETCHED 1024 /* bytes of a row; beyond, the processor goes on by itself */

void kl_prefetch(const kl_rows *rows, const kl_norm *norms, int64_t i)
{
    if (!rows->family) __builtin_prefetch(norms + i);
    if (!rows->data || rows->indptr) return;
    const char *row = rows->data + (rows->index ? rows->index[i] : i) * rows->row_stride;
    const int64_t bytes = rows->n_cols * rows->col_stride, most = bytes < PREFETCHED ? bytes : PREFETCHED;
    for (int64_t at = 0; at < most; at += 64) __builtin_prefetch(row + at);
}

/* The tile's doubts again by the direct kernel, as many together as it takes. Pairs that are infinite stay so, or are
 * found so: rows that do not meet are in doubt. */
static void settle(const kl_pairing *p, const kl_workspace *w, const kl_product_args *args, int64_t begin, int64_t col,
                   kl_stats *stats)
{
    const int64_t most = kl_pairs_together(p);
    int64_t i[KL_TOGETHER], j[KL_TOGETHER], at[KL_TOGETHER], count = 0;
    double values[KL_TOGETHER];
    for (int64_t d = 0; d < args->n_doubts; d++) {
        const int64_t row = args->doubts[d] >> 16, column = args->doubts[d] & 0xffff;
        if (p->right_support && kl_unsupported(p, w, row, col + column))
            kl_put(args->out, row * args->out_stride + column, p->single, INFINITY);
        else {
            at[count] = row * args->out_stride + column;
            i[count] = begin + row;
            j[count++] = col + column;
        }
        if (count < most && d < args->n_doubts - 1) continue;
        kl_exact_values(p, w, count, i, j, values, stats);
        for (int64_t t = 0; t < count; t++) kl_put(args->out, at[t], p->single, values[t]);
        count = 0;
    }
}

/* kl_product_args.apart. Where each bin of the product is what its terms leave, x y = a + b - v with v >= 0 and |a| and
 * |b| in the slacks, the sum of all |x y| is at most that of the three. Of rows far apart this may be far less than
 * |x||y|: the value's bound is then norm (a + b + v) (docs: numerics). */
static double apart(const kl_pairing *p, double accept)
{
    const int kind = p->divergence->kind;
    const int by_bins = kind == KL_KL || kind == KL_POWER || kind == KL_ITAKURA_SAITO || kind == KL_JEFFREYS;
    if (!by_bins || p->left->family || accept <= p->norm_factor) return 0;
    return (accept - p->norm_factor) / fmax(1, p->norm_factor / p->slack_factor);
}

/* kl_product_args.least and most. A sum O of relative error e = slack_factor is certified by |log O| or |1 - O|, which
 * is below 1 - 1/O where O > 1. Beyond the ends O may have lost terms to underflow, or be infinite. */
static void overlap_limits(const kl_pairing *p, double accept, kl_product_args *args)
{
    const double gap = accept > p->slack_factor ? p->slack_factor / accept : INFINITY;
    const double small = p->single ? 0x1p-60 : 0x1p-900;
    const int below = p->divergence->number < 1;
    args->least = below ? small : gap < 0.5 ? 1 + 2 * gap : INFINITY;
    args->most = below ? exp(-gap) : 1 / small;
}

void *kl_value_tile(const kl_pairing *p, kl_workspace *w, double accept, int64_t begin, int64_t rows, int64_t col,
                    int64_t cols, void *out, int64_t *stride, int stream, kl_stats *stats)
{
    const kl_divergence *f = p->divergence;
    kl_product_args args = kl_block_args(p, w, rows, col, cols);
    args.accept = accept - args.relative;
    args.far = p->far;
    const double rise = p->far.usual * accept - p->far.by_slack; /* usual values against their bounds */
    args.far_from = rise > 0 ? rise / p->far.base : 0;
    args.bend = f->finish == KL_LOG && f->scale < 0 && !f->by_overlap ? -f->scale : 0;
    if (f->by_overlap) overlap_limits(p, accept, &args);
    args.apart = args.bend == 0 ? apart(p, accept) : 0;
    args.out = out ? out : w->tile;
    args.out_stride = *stride = out ? *stride : p->column_block;
    args.finish = f->finish != KL_LINEAR || f->factor != 1 || f->by_overlap ? f : NULL;
    args.stream = stream && ((uintptr_t)args.out | (uintptr_t)(*stride * w->element)) % KL_LINE_BYTES == 0;
    p->kernels->dense[p->single][args.bend != 0 ? KL_PRODUCT_BENT : kl_shape_of(f)](&args, stats);
    if (p->right_support && kl_support_of(f) != KL_SUPPORT_MEETING)
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < cols; j++)
                if (kl_unsupported(p, w, i, col + j)) kl_put(args.out, i * *stride + j, p->single, INFINITY);
    settle(p, w, &args, begin, col, stats);
    return args.out;
}
