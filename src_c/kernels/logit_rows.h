/* KL of pairs of rows of plain logits (within KL_PLAIN_LOGITS), some pairs at a time: one pass over each from where it
 * lies, which is all that rows far from each other need. The bits are those of kl_direct_logits.
 *
 * The pass takes no maximum before, as the weights are relative to 1, and checks on the way that the logits are plain.
 * Pairs that are not (a mask, NaN) are left to the caller. Near rows get the sum of nonnegative terms in a second pass,
 * from the weights of the first, which are kept where the pairs before were near, too: stores cost a fifth of the pass.
 */
typedef struct { kl_lanes a, b, linear; vi64 beyond; } kl_plain_lanes;

/* `beyond`: a logit was not within KL_PLAIN_LOGITS, or not a number. */
typedef struct { double a, b, linear; int beyond; } kl_plain_sums;

/* The two rows as doubles, or floats where they are `single`. */
typedef struct { const void *a, *b; int single; } kl_plain_pair;

/* A group of bins, reduced: what its exponentials are made from. */
typedef struct { kl_exp_reduced a[KL_NV], b[KL_NV]; kl_lanes difference; } kl_plain_open;

KL_INLINE kl_plain_open kl_plain_reduce(const void *a, const void *b, int64_t k, int single)
{
    kl_plain_open r;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 x = kl_logits_at(a, k + j * KL_W64, single), y = kl_logits_at(b, k + j * KL_W64, single);
        r.a[j] = kl_exp_reduce(x);
        r.b[j] = kl_exp_reduce(y);
        r.difference.v[j] = x - y;
    }
    return r;
}

/* Adds n bins, a multiple of KL_LANES; `live`, if any, is 0 for those that are padding (with zeros), else 1. A group is
 * reduced beside the polynomials of the one before. */
KL_INLINE void kl_plain_bins(kl_plain_lanes *s, const void *a, const void *b, int64_t n, int single, const double *live,
                             double *u, double *w)
{
    const vi64 magic = (vi64)kl_set_f64(KL_MAGIC - 2048);
    if (n <= 0) return;
    kl_plain_open next = kl_plain_reduce(a, b, 0, single);
    for (int64_t k = 0; k < n; k += KL_LANES) {
        const kl_plain_open r = next;
        if (k + KL_LANES < n) next = kl_plain_reduce(a, b, k + KL_LANES, single);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            const int64_t at = k + j * KL_W64;
            s->beyond |= (r.a[j].shifted ^ magic) | (r.b[j].shifted ^ magic);
            vf64 p = kl_plain_weight(r.a[j]), q = kl_plain_weight(r.b[j]);
            if (live) p *= kl_load_f64(live + at), q *= kl_load_f64(live + at);
            s->a.v[j] += p;
            s->b.v[j] += q;
            s->linear.v[j] = KL_FMA_F64(p, r.difference.v[j], s->linear.v[j]);
            if (u) kl_store_f64(u + at, p), kl_store_f64(w + at, q);
        }
    }
}

typedef struct { double a[KL_LANES], b[KL_LANES], live[KL_LANES], u[KL_LANES], w[KL_LANES]; } kl_plain_tail;

/* Not inlined: what it does before rows without a tail is a tenth of their time. */
static __attribute__((noinline)) void kl_fill_plain_tail(kl_plain_tail *t, const void *a, const void *b, int64_t done,
                                                         int64_t K, int single)
{
    kl_logit_tail(a, done, K, single, 0, t->a);
    kl_logit_tail(b, done, K, single, 0, t->b);
    for (int64_t j = 0; j < KL_LANES; j++) t->live[j] = done + j < K;
}

KL_INLINE kl_plain_sums kl_plain_pass(const void *a, const void *b, int64_t K, int single, double *u, double *w)
{
    const int64_t whole = K - K % KL_LANES, size = single ? sizeof(float) : sizeof(double);
    kl_sum total_a = kl_sum_zero(), total_b = kl_sum_zero(), linear = kl_sum_zero();
    kl_plain_lanes s = {.beyond = {0}};
    kl_plain_sums r;
    for (int64_t begin = 0; begin < K; begin += KL_SUM_BLOCK) {
        const int64_t n = whole - begin < KL_SUM_BLOCK ? whole - begin : KL_SUM_BLOCK;
        s.a = s.b = s.linear = kl_lanes_zero();
        kl_plain_bins(&s, (const char *)a + begin * size, (const char *)b + begin * size, n, single, NULL,
                      u ? u + begin : NULL, u ? w + begin : NULL);
        if (n < KL_SUM_BLOCK && whole < K) {
            kl_plain_tail t;
            kl_fill_plain_tail(&t, a, b, whole, K, single);
            kl_plain_bins(&s, t.a, t.b, KL_LANES, 0, t.live, u ? t.u : NULL, t.w);
            if (u) memcpy(u + whole, t.u, (size_t)(K - whole) * sizeof *u);
            if (u) memcpy(w + whole, t.w, (size_t)(K - whole) * sizeof *w);
        }
        if (K <= KL_SUM_BLOCK) break; /* one block: nothing to compensate */
        kl_sum_add(&total_a, &s.a);
        kl_sum_add(&total_b, &s.b);
        kl_sum_add(&linear, &s.linear);
    }
    if (K <= KL_SUM_BLOCK)
        r = (kl_plain_sums){kl_lanes_total(&s.a), kl_lanes_total(&s.b), kl_lanes_total(&s.linear), 0};
    else r = (kl_plain_sums){kl_sum_total(&total_a), kl_sum_total(&total_b), kl_sum_total(&linear), 0};
    r.beyond = KL_BITS_F64((vu64)s.beyond > 4095) != 0;
    return r;
}

/* u, w: where to keep the weights, or NULL. */
static kl_plain_sums kl_plain_row(kl_plain_pair x, int64_t K, double *u, double *w)
{
    if (x.single) return u ? kl_plain_pass(x.a, x.b, K, 1, u, w) : kl_plain_pass(x.a, x.b, K, 1, NULL, NULL);
    return u ? kl_plain_pass(x.a, x.b, K, 0, u, w) : kl_plain_pass(x.a, x.b, K, 0, NULL, NULL);
}

/* Sums of the pairs of a group, and what follows from them: kl_logit_pair_of for all of them at a time. */
typedef struct {
    double a[KL_LANES], b[KL_LANES], linear[KL_LANES];
    double shift_high[KL_LANES], shift_low[KL_LANES], scale[KL_LANES], ratio[KL_LANES], far[KL_LANES];
} kl_plain_group_sums;

KL_INLINE void kl_plain_finish(kl_plain_group_sums *s)
{
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 a = kl_load_f64(s->a + j), b = kl_load_f64(s->b + j), scale = 1.0 / a;
        vf64x2 lambda = kl_log_of_sums(a, b);
        kl_store_f64(s->shift_high + j, -lambda.high);
        kl_store_f64(s->shift_low + j, -lambda.low);
        kl_store_f64(s->scale + j, scale);
        kl_store_f64(s->ratio + j, 1.0 / b / scale);
        kl_store_f64(s->far + j, kl_far_logits(kl_load_f64(s->linear + j), a, lambda));
    }
}

/* The sum of nonnegative terms of pair r, or where that is not all there is to it 0. */
static double kl_near_logits(kl_plain_pair x, const kl_plain_group_sums *g, int64_t r, int64_t K, const double *u,
                             const double *w)
{
    const kl_logit_pair c = {.shift_high = kl_set_f64(g->shift_high[r]), .shift_low = kl_set_f64(g->shift_low[r]),
                             .ratio = kl_set_f64(g->ratio[r])};
    const kl_logit_rows rows = {x.a, x.b, u, w};
    const kl_logit_sums s = x.single ? kl_logit_sum(&rows, &c, K, 1, 1) : kl_logit_sum(&rows, &c, K, 1, 0);
    const double kl = s.terms * g->scale[r];
    return kl >= KL_NEAR_LOGITS ? kl : 0;
}

/* Whether a row is not normalised; the caller finds out how. */
KL_INLINE int kl_log_sum_refused(double sum, double tolerance)
{
    return tolerance >= 0 && !(fabs(log(sum)) <= tolerance);
}

KL_INLINE kl_plain_pair kl_plain_pair_at(const kl_rows *P, const kl_rows *Q, int64_t i, double *own)
{
    if (kl_side_by_side(P, KL_FLOAT32, 4) && kl_side_by_side(Q, KL_FLOAT32, 4))
        return (kl_plain_pair){kl_placed(P, i), kl_placed(Q, i), 1};
    return (kl_plain_pair){kl_read(P, i, own), kl_read(Q, i, own + P->n_cols), 0};
}

/* KL of rows [first, first + n), n <= KL_LANES; 0 for those that are left to the caller. `near`: whether to expect near
 * rows; returns what to expect of the next. Scratch: 4 K doubles for each pair. */
static int kl_plain_group(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                          int near, double *out, double *scratch)
{
    const int64_t K = P->n_cols;
    kl_plain_pair pairs[KL_LANES];
    kl_plain_group_sums g;
    int beyond[KL_LANES], found = 0;
    for (int64_t r = 0; r < KL_LANES; r++) {
        g.a[r] = g.b[r] = 1, g.linear[r] = 0;
        if (r >= n) continue;
        double *own = scratch + 4 * r * K, *u = near ? own + 2 * K : NULL;
        pairs[r] = kl_plain_pair_at(P, Q, first + r, own);
        const kl_plain_sums s = kl_plain_row(pairs[r], K, u, own + 3 * K);
        beyond[r] = s.beyond || kl_log_sum_refused(s.a, tolerances[0]) || kl_log_sum_refused(s.b, tolerances[1]);
        if (!beyond[r]) g.a[r] = s.a, g.b[r] = s.b, g.linear[r] = s.linear;
    }
    kl_plain_finish(&g);
    for (int64_t r = 0; r < n; r++) {
        double *u = scratch + (4 * r + 2) * K, *w = u + K;
        out[r] = g.far[r];
        if (g.far[r] > 0 || beyond[r]) continue;
        if (!near) kl_plain_row(pairs[r], K, u, w);
        out[r] = kl_near_logits(pairs[r], &g, r, K, u, w);
        found = 1;
    }
    return found;
}
