/* KL of pairs of rows of weights, some pairs at a time: checks, sums and terms in one pass over each from where it
 * lies. It is the value of rows whose sums agree, which those of probabilities do; the bits are those of
 * kl_direct_probs. Others are left to the caller: rows with an empty or a tiny bin, near rows of different sums, what
 * must be refused.
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
        vi64 tiny = {0};
        KL_UNROLL for (int j = 0; j < KL_NV; j++) tiny |= s.least.v[j] <= KL_TINY;
        g->tame |= (uint32_t)(KL_BITS_F64(tiny) == 0) << r;
    }
}

/* KL from the sums of one pair a lane; 0 where that is not it, or a sum is refused. Sums within a factor of two are
 * usual if one is. */
KL_INLINE vf64 kl_from_given(vf64 g, vf64 p, vf64 q, const double *tolerances)
{
    vf64 kl = KL_IF_ZERO_F64(kl_log_shift(p, q), kl_from_agreeing(g, p, q), (vf64){0});
    kl = KL_IF_LESS_F64(kl_set_f64(0x1p-399), p, kl, (vf64){0});
    kl = KL_IF_LESS_F64(p, kl_set_f64(0x1p399), kl, (vf64){0});
    kl = KL_IF_LESS_F64(kl_set_f64(tolerances[0]), kl_abs(p - 1.0), (vf64){0}, kl);
    return KL_IF_LESS_F64(kl_set_f64(tolerances[1]), kl_abs(q - 1.0), (vf64){0}, kl);
}

/* KL of rows [first, first + n), n <= KL_LANES, times `factor`. Returns those that are left, as bits. */
static uint32_t kl_given_pairs(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                               double factor, double *out, double *scratch)
{
    const int64_t K = P->n_cols;
    const double limits[2] = {tolerances[0] >= 0 ? tolerances[0] : INFINITY,
                              tolerances[1] >= 0 ? tolerances[1] : INFINITY};
    kl_given_group g;
    kl_direct_group s;
    uint32_t left = 0;
    if (kl_is_single(P, Q)) kl_sum_given(P, Q, first, n, 1, scratch, &g);
    else kl_sum_given(P, Q, first, n, 0, scratch, &g);
    for (int64_t r = 0; r < KL_LANES; r++) {
        const kl_direct_sums *sums = g.sums + (r < n ? r : 0);
        s.p[r] = kl_row_total(&sums->p, K);
        s.q[r] = kl_row_total(&sums->q, K);
        s.g[r] = kl_row_total(&sums->g, K);
    }
    KL_UNROLL for (int j = 0; j < KL_LANES; j += KL_W64) {
        vf64 kl = kl_from_given(kl_load_f64(s.g + j), kl_load_f64(s.p + j), kl_load_f64(s.q + j), limits);
        left |= (uint32_t)KL_BITS_F64((vi64)(kl == 0)) << j;
        kl_store_f64(s.d + j, kl * factor);
    }
    memcpy(out + first, s.d, (size_t)n * sizeof *out);
    return (left | ~g.tame) & ((1u << n) - 1);
}
