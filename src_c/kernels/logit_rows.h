/* KL of pairs of rows of logits, some pairs at a time, from where they lie: one pass over each, which is all that rows
 * far from each other need, and for near rows the sum of nonnegative terms in a second pass. The bits are those of
 * kl_direct_logits.
 *
 * The pass takes rows to be plain; those that are not take the other form (logit_pass.h). Near rows have their weights
 * from the first pass where the pairs before were near, too: stores cost a fifth of the pass.
 */

/* Rows are summed a group ahead of their comparison, so that the processor finds independent work while
 * the last steps of one row, all latency, finish. The group stays in the first-level cache. (The processor fetches
 * rows ahead by itself: asking for those of the next group gained nothing.) */
#define KL_IN_FLIGHT KL_TOGETHER
KL_INLINE int64_t kl_rows_in_flight(int64_t K) { return K <= 256 ? KL_IN_FLIGHT : 1; }

/* What to expect of the next group: near rows; rows with masks or large logits; near rows that logit_brief.h leaves. */
enum { KL_EXPECT_NEAR = 1, KL_EXPECT_MASKS = 2, KL_EXPECT_LEFT = 4 };

/* Most pairs in a group: what follows from the sums, a chain of 100 steps, is taken two or four vectors at a time. */
#define KL_GROUP 16

KL_INLINE int kl_logits_single(const kl_rows *P, const kl_rows *Q)
{
    return kl_side_by_side(P, KL_FLOAT32, 4) && kl_side_by_side(Q, KL_FLOAT32, 4);
}

/* Pairs in the next group: KL_GROUP only where they need no scratch, that is neither copies nor room for weights. */
KL_INLINE int64_t kl_logit_group_size(const kl_rows *P, const kl_rows *Q, int expected)
{
    if (kl_rows_in_flight(P->n_cols) == 1) return 1;
    const int in_place = kl_logits_single(P, Q) || (kl_in_place(P) && kl_in_place(Q));
    return in_place && !(expected & KL_EXPECT_NEAR) ? KL_GROUP : KL_IN_FLIGHT;
}

/* The pairs of a group, their sums, and what follows from them. */
typedef struct {
    kl_logit_rows rows[KL_GROUP];
    double a[KL_GROUP], b[KL_GROUP], linear[KL_GROUP], a_origin[KL_GROUP], b_origin[KL_GROUP];
    double shift_high[KL_GROUP], shift_low[KL_GROUP], far[KL_GROUP], scale[KL_GROUP], ratio[KL_GROUP];
    int masks[KL_GROUP], refused[KL_GROUP], apart[KL_GROUP];
    double short_rows[KL_GROUP][2][KL_LANES];
} kl_logit_group;

/* Whether a row is not normalised, or no row of logits; the caller finds out how. */
KL_INLINE int kl_log_sum_refused(double sum, double origin, double tolerance)
{
    return !(sum > 0) || (tolerance >= 0 && !(fabs(origin + log(sum)) <= tolerance));
}

KL_INLINE void kl_group_finish(kl_logit_group *g, int n)
{
    KL_UNROLL for (int j = 0; j < n; j += KL_W64) {
        kl_pass_found found = kl_pass_finish(kl_load_f64(g->a + j), kl_load_f64(g->b + j), kl_load_f64(g->linear + j),
                                             kl_load_f64(g->a_origin + j), kl_load_f64(g->b_origin + j));
        kl_store_f64(g->shift_high + j, found.shift_high);
        kl_store_f64(g->shift_low + j, found.shift_low);
        kl_store_f64(g->far + j, found.far);
    }
}

/* What near rows need besides. */
KL_INLINE void kl_group_scales(kl_logit_group *g, int64_t n)
{
    for (int64_t j = 0; j < n; j += KL_W64) {
        vf64 scale = 1.0 / kl_load_f64(g->a + j);
        kl_store_f64(g->scale + j, scale);
        kl_store_f64(g->ratio + j, 1.0 / kl_load_f64(g->b + j) / scale);
    }
}

/* The pass over pair r. */
KL_INLINE void kl_group_pass(kl_logit_group *g, int64_t r, int64_t K, const double *tolerances, int masks, double *u,
                             double *w)
{
    kl_logit_rows *rows = g->rows + r;
    kl_pass_sums s;
    if (!masks) s = kl_pass_plain(rows, K, u, w);
    g->masks[r] = masks || s.beyond;
    if (g->masks[r]) {
        kl_find_origins(rows, K);
        s = kl_pass_masks(rows, K, u, w);
        g->masks[r] = s.beyond;
    }
    g->refused[r] = kl_log_sum_refused(s.a, rows->a_origin, tolerances[0])
        || kl_log_sum_refused(s.b, rows->b_origin, tolerances[1]);
    g->apart[r] = kl_logits_apart(rows, s.least);
    g->a[r] = s.a, g->b[r] = s.b, g->linear[r] = s.linear;
    g->a_origin[r] = rows->a_origin, g->b_origin[r] = rows->b_origin;
}

/* KL of rows [first, first + n), n as above or less; 0 for those that are left to the caller. Takes and returns what to
 * expect. Scratch: 4 K doubles for each of up to KL_IN_FLIGHT pairs. */
static int kl_logit_group_values(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                                 int expected, double *out, double *scratch)
{
    const int64_t K = P->n_cols;
    const int single = kl_logits_single(P, Q);
    const int keep = expected & KL_EXPECT_NEAR && K >= KL_LANES;
    int near = 0, masks = 0;
    kl_logit_group g;
    for (int64_t r = 0; r < KL_GROUP; r++) {
        g.a[r] = g.b[r] = 1, g.linear[r] = g.a_origin[r] = g.b_origin[r] = 0;
        if (r >= n) continue;
        double *own = scratch + 4 * r * K, *u = keep ? own + 2 * K : NULL;
        g.rows[r] = (kl_logit_rows){.a = single ? kl_placed(P, first + r) : kl_read(P, first + r, own),
                                    .b = single ? kl_placed(Q, first + r) : kl_read(Q, first + r, own + K),
                                    .single = single};
        if (K < KL_LANES) g.rows[r] = kl_short_rows(g.rows[r], K, g.short_rows[r]);
        kl_group_pass(&g, r, K, tolerances, expected & KL_EXPECT_MASKS, u, own + 3 * K);
    }
    if (n <= KL_GROUP / 2) kl_group_finish(&g, KL_GROUP / 2);
    else kl_group_finish(&g, KL_GROUP);
    for (int64_t r = 0; r < n; r++) {
        const double *u = keep ? scratch + (4 * r + 2) * K : NULL, *w = scratch + (4 * r + 3) * K;
        masks += g.masks[r];
        out[r] = g.refused[r] ? 0 : g.apart[r] ? INFINITY : g.far[r];
        if (g.refused[r] || out[r] > 0) continue;
        if (!near) kl_group_scales(&g, n);
        near = 1;
        out[r] = kl_near_logits(g.rows + r, u, w, g.shift_high[r], g.shift_low[r], g.scale[r], g.ratio[r], K,
                                g.masks[r]);
    }
    /* A pass that is not enough costs as much as masks do in four. */
    return (near ? KL_EXPECT_NEAR : 0) | (4 * masks > n ? KL_EXPECT_MASKS : 0);
}
