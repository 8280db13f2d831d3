/* One pass over a pair of rows of logits: the sums of their weights, of weight times difference, and what follows.
 *
 * Weights are e^(a - origin), the origin 0 where the largest logit lies within KL_PLAIN_LOGITS, else that one; a -
 * origin is exact wherever the weight is within e^-89 of the largest. The form for rows with `masks` finds the largest
 * logits before and gives weight 0 to what lies far below them, -inf included. The other leaves that out, a third of
 * the time, and tells whether a logit was `beyond` the range in which both do the same to the bit.
 */

/* log(b/a) of two sums */
KL_INLINE vf64x2 kl_log_of_sums(vf64 a, vf64 b) { return kl_log_exact(kl_log_reduce(b, a, b - a)); }

/* A pair of rows: float64, or where `single` float32. */
typedef struct { const void *a, *b; int single; double a_origin, b_origin; } kl_logit_rows;

KL_INLINE double kl_weight_origin(double max) { return fabs(max) <= KL_PLAIN_LOGITS ? 0 : max; }

/* Below it, weights are 0: e^-708 is about the least normal number. */
#define KL_GONE (-708.0)

/* The last, incomplete group of a row overlaps the one before: KL_LIVE + K % KL_LANES has its lanes that count. */
static const int64_t KL_LIVE[2 * KL_LANES] = {0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1};

KL_INLINE vf64 kl_live(vf64 x, const int64_t *live)
{
    return (vf64)((vi64)x & (vi64)kl_load_f64((const double *)live));
}

/* `least`: of the differences b - a; -inf where a mask of b meets a number. */
typedef struct { kl_lanes a, b, linear; vf64 least; vi64 beyond; } kl_pass_lanes;
typedef struct { double a, b, linear, least; int beyond; } kl_pass_sums;

/* A group of bins, relative to the origins and reduced: what its exponentials are made from. */
typedef struct { kl_exp_reduced a[KL_NV], b[KL_NV]; kl_lanes x, y, difference; } kl_pass_open;

KL_INLINE kl_pass_open kl_pass_reduce(const kl_logit_rows *rows, int64_t k, int single, int masks)
{
    kl_pass_open r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 x = kl_number_at(rows->a, k + j * KL_W64, single), y = kl_number_at(rows->b, k + j * KL_W64, single);
        if (masks) x -= rows->a_origin, y -= rows->b_origin;
        r.a[j] = kl_weight_reduce(x);
        r.b[j] = kl_weight_reduce(y);
        r.x.v[j] = x;
        r.y.v[j] = y;
        r.difference.v[j] = y - x;
    }
    return r;
}

/* Adds bins [begin, end), a multiple of KL_LANES, and keeps their weights if u is not NULL. A group is reduced beside
 * the polynomials of the one before. */
KL_INLINE void kl_pass_bins(kl_pass_lanes *s, const kl_logit_rows *rows, int64_t begin, int64_t end,
                            const int64_t *live, int single, int masks, double *u, double *w)
{
    const vi64 magic = (vi64)kl_set_f64(KL_MAGIC - 2048);
    const vf64 gone = kl_set_f64(KL_GONE);
    if (begin >= end) return;
    kl_pass_open next = kl_pass_reduce(rows, begin, single, masks);
    for (int64_t k = begin; k < end; k += KL_LANES) {
        const kl_pass_open r = next;
        if (k + KL_LANES < end) next = kl_pass_reduce(rows, k + KL_LANES, single, masks);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            const vf64 x = r.x.v[j], y = r.y.v[j], difference = r.difference.v[j];
            s->beyond |= (r.a[j].shifted ^ magic) | (r.b[j].shifted ^ magic);
            vf64 p = kl_weight_of(r.a[j]), q = kl_weight_of(r.b[j]), linear = s->linear.v[j];
            if (masks) {
                p = KL_IF_LESS_F64(x, gone, (vf64){0}, p);
                q = KL_IF_LESS_F64(y, gone, (vf64){0}, q);
                s->least = KL_MIN_F64(difference, s->least);
            }
            if (u) kl_store_f64(u + at, p), kl_store_f64(w + at, q);
            if (live) p = kl_live(p, live + j * KL_W64), q = kl_live(q, live + j * KL_W64);
            s->a.v[j] += p;
            s->b.v[j] += q;
            linear = KL_FMA_F64(p, difference, linear);
            if (masks) linear = KL_IF_LESS_F64(x, gone, s->linear.v[j], linear); /* without 0 times infinity */
            s->linear.v[j] = linear;
        }
    }
}

KL_INLINE kl_pass_sums kl_pass(const kl_logit_rows *pair, int64_t K, int single, int masks, double *u, double *w)
{
    const kl_logit_rows here = *pair, *rows = &here; /* a copy that stores to u and w cannot change */
    const int64_t whole = K - K % KL_LANES;
    kl_sum total_a = kl_sum_zero(), total_b = kl_sum_zero(), linear = kl_sum_zero();
    kl_pass_lanes s = {.beyond = {0}, .least = {0}};
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t end = whole - begin < KL_SUM_BLOCK ? whole : begin + KL_SUM_BLOCK;
        s.a = s.b = s.linear = kl_lanes_zero();
        kl_pass_bins(&s, rows, begin, end, NULL, single, masks, u, w);
        if (end == whole && end - begin < KL_SUM_BLOCK && whole < K)
            kl_pass_bins(&s, rows, K - KL_LANES, K, KL_LIVE + K % KL_LANES, single, masks, u, w);
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total_a, &s.a);
        kl_sum_add(&total_b, &s.b);
        kl_sum_add(&linear, &s.linear);
        if (!masks && KL_BITS_F64((vu64)s.beyond > 4095)) break;
    }
    kl_pass_sums r = {.beyond = KL_BITS_F64((vu64)s.beyond > 4095) != 0};
    if (K <= KL_SUM_BLOCK)
        r.a = kl_lanes_total(&s.a), r.b = kl_lanes_total(&s.b), r.linear = kl_lanes_total(&s.linear);
    else r.a = kl_sum_total(&total_a), r.b = kl_sum_total(&total_b), r.linear = kl_sum_total(&linear);
    for (int j = 0; j < KL_W64 && masks; j++) r.least = s.least[j] < r.least ? s.least[j] : r.least;
    return r;
}

/* A row of fewer than KL_LANES bins as the last lanes of doubles, with copies of the first bin before. */
static __attribute__((noinline)) const double *kl_short_row(const void *x, int64_t K, int single, double *room)
{
    const float *narrow = x;
    const double *wide = x, *row = room + KL_LANES - K;
    for (int64_t k = 0; k < K; k++)
        if (single) room[KL_LANES - K + k] = narrow[k];
        else room[KL_LANES - K + k] = wide[k];
    for (int64_t at = 0; at < KL_LANES - K && K > 0; at++) room[at] = *row;
    return row;
}

KL_INLINE kl_logit_rows kl_short_rows(kl_logit_rows rows, int64_t K, double room[2][KL_LANES])
{
    return (kl_logit_rows){.a = kl_short_row(rows.a, K, rows.single, room[0]),
                           .b = kl_short_row(rows.b, K, rows.single, room[1])};
}

KL_INLINE double kl_largest_logit(const void *x, int64_t K, int single)
{
    kl_lanes low; /* of -x: the maximum from a minimum */
    KL_UNROLL for (int j = 0; j < KL_NV; j++) low.v[j] = kl_set_f64(INFINITY);
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const int64_t at = k + KL_LANES <= K ? k : K - KL_LANES;
        KL_UNROLL for (int j = 0; j < KL_NV; j++)
            low.v[j] = KL_MIN_F64(-kl_number_at(x, at + j * KL_W64, single), low.v[j]);
    }
    return -kl_lanes_least(&low);
}

/* Sets the origins of rows with masks. */
KL_INLINE void kl_find_origins(kl_logit_rows *rows, int64_t K)
{
    rows->a_origin = kl_weight_origin(rows->single ? kl_largest_logit(rows->a, K, 1) : kl_largest_logit(rows->a, K, 0));
    rows->b_origin = kl_weight_origin(rows->single ? kl_largest_logit(rows->b, K, 1) : kl_largest_logit(rows->b, K, 0));
}

/* u, w: where to keep the weights, or NULL. */
static kl_pass_sums kl_pass_plain(const kl_logit_rows *rows, int64_t K, double *u, double *w)
{
    if (rows->single) return u ? kl_pass(rows, K, 1, 0, u, w) : kl_pass(rows, K, 1, 0, NULL, NULL);
    return u ? kl_pass(rows, K, 0, 0, u, w) : kl_pass(rows, K, 0, 0, NULL, NULL);
}

static kl_pass_sums kl_pass_masks(const kl_logit_rows *rows, int64_t K, double *u, double *w)
{
    if (rows->single) return u ? kl_pass(rows, K, 1, 1, u, w) : kl_pass(rows, K, 1, 1, NULL, NULL);
    return u ? kl_pass(rows, K, 0, 1, u, w) : kl_pass(rows, K, 0, 1, NULL, NULL);
}

/* Whether p has a bin that q has not, of sums that are numbers. Near the ends of the range that is left to others. */
KL_INLINE int kl_logits_apart(const kl_logit_rows *rows, double least)
{
    return least == -INFINITY && fabs(rows->a_origin) < 0x1p900 && fabs(rows->b_origin) < 0x1p900;
}

/* What kl_pass_finish accepts: (|lambda| + 1)/KL. */
#define KL_FAR_LOGITS 2.5

/* `far`: KL of rows far from each other, sum pbar (a - b) + lambda, lambda = log(Sb/Sa), S the sums, relative to the
 * origins all: 0 where roundings might count. They are of the size of (sum pbar |L| + |lambda| + 1) u, and sum pbar |L|
 * <= KL + min(2, sqrt(2 KL)), for where L < 0 it is at most the total variation. Of other rows L is a - b - shift, as
 * their weights have it: those of logits that are longer by KL_STRETCH. */
typedef struct { vf64 shift_high, shift_low, far; } kl_pass_found;

KL_INLINE kl_pass_found kl_pass_finish(vf64 a, vf64 b, vf64 linear, vf64 a_origin, vf64 b_origin)
{
    vf64x2 lambda = kl_log_of_sums(a, b), origin = kl_two_diff(a_origin, b_origin);
    vf64x2 shift = kl_two_diff(origin.high, lambda.high);
    vf64 mean = -linear / a, longer = mean * KL_STRETCH, kl = mean + lambda.high + (lambda.low + longer);
    vf64 far = KL_IF_LESS_F64(kl_abs(lambda.high) + 1.0, kl * KL_FAR_LOGITS, kl, (vf64){0});
    return (kl_pass_found){shift.high, (shift.low - lambda.low) + (origin.low - longer),
                           KL_IF_LESS_F64(far, kl_set_f64(INFINITY), far, (vf64){0})};
}
