/* KL of pairs of rows of weights, some pairs at a time: checks, sums and terms in one pass over each from where it lies.
 * It is the value of rows whose sums agree, which those of probabilities do; the bits are those of kl_direct_probs.
 * Others are left to the caller: rows with an empty or a tiny bin, near rows of different sums, what must be refused.
 */
typedef struct { kl_direct_sums sums[KL_LANES]; uint32_t tame; } kl_given_group;

KL_INLINE int kl_is_single(const kl_rows *P, const kl_rows *Q)
{
    return kl_side_by_side(P, KL_FLOAT32, 4) && kl_side_by_side(Q, KL_FLOAT32, 4);
}

/* Adds up pairs [first, first + n). Lanes are folded only when all rows are through. */
KL_INLINE void kl_sum_given(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, int single, double *scratch,
                            kl_given_group *g)
{
    const int64_t K = P->n_cols;
    const int p_in_place = single || kl_in_place(P), q_in_place = single || kl_in_place(Q);
    g->tame = 0;
    for (int64_t r = 0; r < n; r++) {
        const void *p = p_in_place ? kl_placed(P, first + r) : kl_read(P, first + r, scratch);
        const void *q = q_in_place ? kl_placed(Q, first + r) : kl_read(Q, first + r, scratch + K);
        const kl_direct_lanes s = kl_direct_row(p, q, 1, K, KL_AS_GIVEN, single, g->sums + r);
        g->tame |= (uint32_t)(kl_lanes_least(&s.least) > KL_TINY) << r;
    }
}

/* KL of rows [first, first + n), n <= KL_LANES; 0 for those that are left. Returns whether some were for being near. */
static int kl_given_pairs(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                          double *out, double *scratch)
{
    const int64_t K = P->n_cols;
    kl_given_group g;
    kl_direct_group s;
    double kl[KL_LANES];
    uint32_t usual = 0;
    int near = 0;
    if (kl_is_single(P, Q)) kl_sum_given(P, Q, first, n, 1, scratch, &g);
    else kl_sum_given(P, Q, first, n, 0, scratch, &g);
    for (int64_t r = 0; r < KL_LANES; r++) {
        s.p[r] = s.q[r] = 1, s.g[r] = 0;
        if (!(g.tame >> r & 1)) continue;
        const kl_direct_sums *sums = g.sums + r;
        const double p = kl_row_total(&sums->p, K), q = kl_row_total(&sums->q, K);
        if (!kl_is_usual((kl_norm){p, 0}) || !kl_is_usual((kl_norm){q, 0}) || kl_sum_refused(p, tolerances[0])
            || kl_sum_refused(q, tolerances[1])) continue;
        s.p[r] = p, s.q[r] = q, s.g[r] = kl_row_total(&sums->g, K);
        usual |= 1u << r;
    }
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 p = kl_load_f64(s.p + j), q = kl_load_f64(s.q + j);
        vf64 agreeing = kl_from_agreeing(kl_load_f64(s.g + j), p, q);
        kl_store_f64(kl + j, KL_IF_ZERO_F64(kl_log_shift(p, q), agreeing, (vf64){0}));
    }
    for (int64_t r = 0; r < n; r++) {
        out[first + r] = kl[r];
        near |= usual >> r & 1 && kl[r] == 0;
    }
    return near;
}
