/* Blocks of rows: check, sum up, compare row by row. Each calls the row kernels above. */

/* `single`: weights in float32, as in kl_number_at. */
static kl_row_status kl_scan_row(int32_t domain, const void *row, int single, int64_t K, double tolerance,
                                 kl_norm *norm, int32_t *zeros)
{
    if (domain == KL_LOGITS) return kl_scan_logits(row, K, tolerance, norm, zeros);
    kl_row_status status = single ? kl_scan_probs(row, 1, K, tolerance, norm, zeros)
                                  : kl_scan_probs(row, 0, K, tolerance, norm, zeros);
    if (domain != KL_MEASURE || status != KL_ROW_EMPTY) return status;
    *zeros = 1;
    return KL_ROW_OK;
}

static void kl_refuse(kl_stats *stats, kl_row_status status, int64_t row, double value)
{
    if (stats->status != KL_ROW_OK && stats->status_row <= row) return;
    stats->status = status;
    stats->status_row = row;
    stats->status_value = value;
}

static void kl_scan(const kl_rows *rows, int64_t begin, int64_t end, double tolerance,
                    kl_norm *norms, int32_t *zeros, double *scratch, kl_stats *stats)
{
    const int64_t K = rows->n_cols;
    const int single = kl_in_float32(rows), short_weights = rows->domain != KL_LOGITS && K && K <= KL_SUM_BLOCK;
    const int by_four = short_weights && K % KL_LANES == 0 && (single || kl_in_place(rows));
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t i = begin; i < end; i++) {
        for (; by_four && i + KL_SCANNED <= end; i += KL_SCANNED) {
            const void *four[KL_SCANNED];
            for (int r = 0; r < KL_SCANNED; r++) four[r] = kl_placed(rows, i + r);
            if (!(single ? kl_scan_four(four, 1, K, tolerance, norms + i, zeros)
                         : kl_scan_four(four, 0, K, tolerance, norms + i, zeros))) break;
        }
        if (i == end) return;
        const void *row = single ? kl_placed(rows, i) : kl_read(rows, i, scratch);
        kl_row_status status = kl_scan_row(rows->domain, row, single, K, tolerance, norms + i, zeros);
        if (status != KL_ROW_OK) {
            kl_refuse(stats, status, i, norms[i].a);
            return;
        }
    }
}

/* A bin where some row has mass must not vanish from the centre, however small the mass: c > 0 is all that the
 * three-point identity asks. */
#define KL_LEAST_MASS 0x1p-960

/* What a row of weights or log-weights is multiplied by: 1 / sum in two factors, which neither over- nor underflow. */
typedef struct { vf64 half, weight; kl_softmax_base base; } kl_row_factor;

KL_INLINE kl_row_factor kl_row_factor_of(int32_t domain, kl_norm norm)
{
    const int probs = domain != KL_LOGITS;
    const double mass = domain == KL_PROBS ? norm.a : 1;
    int exponent;
    frexp(mass, &exponent);
    const double half = probs ? ldexp(1, -exponent / 2) : 1;
    return (kl_row_factor){kl_set_f64(half), kl_set_f64(1 / (probs ? mass * half : norm.b)),
                           kl_softmax_base_of(probs ? 0 : norm.a)};
}

/* Bins [0, n), n a multiple of KL_LANES; constants: `probs`, `single` (as in kl_number_at). */
KL_INLINE void kl_add_bins(int probs, int single, const void *row, int64_t n, kl_row_factor f, double *sum)
{
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 v = kl_number_at(row, k, single);
        const vi64 empty = probs ? v == 0 : v < -0x1.fffffffffffffp1023;
        if (!probs) v = kl_softmax_weight(v, f.base);
        v = kl_select(empty, (vf64){0}, v * f.half * f.weight + KL_LEAST_MASS);
        kl_store_f64(sum + k, kl_load_f64(sum + k) + v);
    }
}

static void kl_accumulate(const kl_rows *rows, const kl_norm *norms, int64_t begin, int64_t end,
                          double *sum, double *scratch, kl_stats *stats)
{
    const int64_t K = rows->n_cols, whole = K - K % KL_LANES;
    const int probs = rows->domain != KL_LOGITS, single = kl_in_float32(rows);
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t i = begin; i < end; i++) {
        const void *row = single ? kl_placed(rows, i) : kl_read(rows, i, scratch);
        const kl_row_factor f = kl_row_factor_of(rows->domain, norms[i]);
        double buffer[KL_LANES], last[KL_LANES] = {0};
        if (single) kl_add_bins(1, 1, row, whole, f, sum);
        else if (probs) kl_add_bins(1, 0, row, whole, f, sum);
        else kl_add_bins(0, 0, row, whole, f, sum);
        if (whole == K) continue;
        kl_wide_tail(row, whole, K, single, 0, buffer);
        for (int64_t k = whole; k < K; k++) last[k - whole] = sum[k];
        if (probs) kl_add_bins(1, 0, buffer, KL_LANES, f, last);
        else kl_add_bins(0, 0, buffer, KL_LANES, f, last);
        for (int64_t k = whole; k < K; k++) sum[k] = last[k - whole];
    }
}

/* Rows [first, first + n), at most KL_IN_FLIGHT, read and checked. */
KL_INLINE int kl_read_pairs(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                            kl_row_pair *pairs, int32_t *zeros, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols;
    const int p_in_place = kl_in_place(P), q_in_place = kl_in_place(Q);
    for (int64_t r = 0; r < n; r++) {
        double *own = scratch + 4 * r * K; /* two rows as doubles, and room for their weights */
        kl_row_pair *x = pairs + r;
        x->p = p_in_place ? kl_placed(P, first + r) : kl_read(P, first + r, own);
        x->q = q_in_place ? kl_placed(Q, first + r) : kl_read(Q, first + r, own + K);
        kl_row_status status = kl_scan_row(P->domain, x->p, 0, K, tolerances[0], &x->np, zeros);
        if (status != KL_ROW_OK) {
            kl_refuse(stats, status, first + r, x->np.a);
            return 0;
        }
        status = kl_scan_row(P->domain, x->q, 0, K, tolerances[1], &x->nq, zeros);
        if (status != KL_ROW_OK) {
            kl_refuse(stats, status + KL_ROW_OF_Q, first + r, x->nq.a);
            return 0;
        }
    }
    return 1;
}

/* KL of rows of logits: in groups, and what they leave, with an error or nearly equal, in the general way. */
static void kl_rowwise_logits(const kl_divergence *f, const kl_rows *P, const kl_rows *Q, int64_t begin, int64_t end,
                              const double *tolerances, int32_t single, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols, brief_group = single ? kl_brief_group(P, Q) : 0, most = kl_rows_in_flight(K);
    int untried = 0, expected = brief_group && begin < end ? kl_brief_starts_near(P, Q, begin) : 0;
    for (int64_t first = begin, n; first < end; first += n) {
        const int near = expected & KL_EXPECT_NEAR;
        const int brief = brief_group && !(expected & KL_EXPECT_MASKS) && !(near && untried);
        const int64_t group = brief ? brief_group : kl_logit_group_size(P, Q, expected);
        n = end - first < group ? end - first : group;
        expected = brief ? kl_brief_group_values(P, Q, first, n, tolerances, f->factor, near,
                                                 out + first, scratch)
                         : kl_logit_group_values(P, Q, first, n, tolerances, expected, out + first, scratch);
        untried = expected & KL_EXPECT_LEFT ? KL_BRIEF_UNTRIED : untried ? untried - 1 : 0;
        if (brief_group) expected = (expected & KL_EXPECT_MASKS) | kl_brief_near(out + first, n);
        for (int64_t i = first, run; i < first + n; i += run ? run : 1) {
            kl_row_pair pairs[KL_IN_FLIGHT];
            int32_t zeros = 0; /* not asked for */
            for (run = 0; run < most && i + run < first + n && out[i + run] == 0; run++) {}
            if (!run) continue;
            if (!kl_read_pairs(P, Q, i, run, tolerances, pairs, &zeros, scratch, stats)) return;
            for (int64_t r = 0; r < run; r++)
                out[i + r] = kl_direct_logits(pairs[r].p, pairs[r].np, pairs[r].q, pairs[r].nq, K);
        }
        for (int64_t i = first; i < first + n; i++) out[i] *= f->factor;
    }
}

/* Groups of weights that are not tried after one of which all was left, and after the next such: it costs up to half of
 * the other way. */
#define KL_UNTRIED_WEIGHTS 15
#define KL_LONG_UNTRIED 63

/* KL of rows of weights: what one pass leaves in the general way. */
static void kl_rowwise_weights(const kl_divergence *f, const kl_rows *P, const kl_rows *Q, int64_t begin, int64_t end,
                               const double *tolerances, double *out, double *scratch, kl_stats *stats)
{
    const int64_t K = P->n_cols, group = kl_rows_in_flight(K);
    int near = 0, untried = 0, pause = 0;
    for (int64_t first = begin; first < end; first += group) {
        const int64_t n = end - first < group ? end - first : group;
        const uint32_t all = (1u << n) - 1;
        uint32_t left = all;
        if (!untried) {
            left = kl_given_pairs(P, Q, first, n, tolerances, f->factor, out, scratch);
            pause = left < all ? 0 : pause ? KL_LONG_UNTRIED : KL_UNTRIED_WEIGHTS;
        }
        untried = untried ? untried - 1 : pause;
        for (int64_t i = first, run = 1; left && i < first + n; i += run) {
            kl_row_pair pairs[KL_IN_FLIGHT];
            int32_t zeros = 0; /* not asked for */
            for (run = 0; left >> (i + run - first) & 1; run++) {}
            if (!kl_read_pairs(P, Q, i, run, tolerances, pairs, &zeros, scratch, stats)) return;
            if (run) near = kl_direct_probs(pairs, run, K, near ? 0 : INFINITY, out + i);
            for (int64_t r = 0; r < run; r++) out[i + r] *= f->factor;
            if (!run) run = 1;
        }
    }
}

KL_INLINE double kl_entropy_of(int32_t domain, const double *row, kl_norm norm, int64_t K)
{
    return domain == KL_LOGITS ? kl_entropy_logits(row, norm, K) : kl_entropy_probs(row, norm, K);
}

/* Entropies of rows that were checked, onto their values. */
static void kl_add_entropies(const kl_divergence *f, const kl_rows *P, int64_t begin, int64_t end, double *out,
                             double *scratch)
{
    for (int64_t i = begin; i < end; i++) {
        const double *row = kl_read(P, i, scratch);
        int32_t zeros = 0; /* not asked for */
        kl_norm norm;
        kl_scan_row(P->domain, row, 0, P->n_cols, -1, &norm, &zeros);
        out[i] += f->factor * kl_entropy_of(P->domain, row, norm, P->n_cols);
    }
}

static void kl_rowwise(const kl_divergence *f, const kl_rows *P, const kl_rows *Q, int64_t begin, int64_t end,
                       double tolerance_p, double tolerance_q, int32_t single, double *out, double *scratch,
                       kl_stats *stats)
{
    const int64_t K = P->n_cols, group = kl_rows_in_flight(K);
    const int32_t probs = P->domain == KL_PROBS;
    const double tolerances[2] = {tolerance_p, tolerance_q};
    kl_row_pair pairs[KL_IN_FLIGHT];
    stats->isa_ran |= KL_ISA_BIT;
    if (f->kind == KL_KL && f->finish == KL_LINEAR && (probs || P->domain == KL_LOGITS)) {
        const int32_t brief = single && !f->adds_entropy;
        if (probs) kl_rowwise_weights(f, P, Q, begin, end, tolerances, out, scratch, stats);
        else kl_rowwise_logits(f, P, Q, begin, end, tolerances, brief, out, scratch, stats);
        if (f->adds_entropy && stats->status == KL_ROW_OK) kl_add_entropies(f, P, begin, end, out, scratch);
        return;
    }
    for (int64_t first = begin; first < end; first += group) {
        const int64_t n = end - first < group ? end - first : group;
        int32_t zeros = 0; /* not asked for */
        if (!kl_read_pairs(P, Q, first, n, tolerances, pairs, &zeros, scratch, stats)) return;
        kl_values(f, P->domain, pairs, n, K, out + first);
    }
}

static void kl_entropy(const kl_rows *rows, const kl_norm *norms, int64_t begin, int64_t end,
                       double *out, double *scratch, kl_stats *stats)
{
    stats->isa_ran |= KL_ISA_BIT;
    for (int64_t i = begin; i < end; i++) {
        const double *row = kl_read(rows, i, scratch);
        out[i] = kl_entropy_of(rows->domain, row, norms[i], rows->n_cols);
    }
}
