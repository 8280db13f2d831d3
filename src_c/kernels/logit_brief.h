/* Pairs of float32 rows of logits whose KL is rounded to float32: most have it from shorter exponentials, with a bound
 * on its error that tells whether it rounds to what the full form (logit_rows.h) would. docs/numerics.md has the proof.
 */

/* e^s on [-ln2/16, ln2/16], minimax of degree 4 with relative error 8.24e-11
 * (mpmath.chebyfit(exp, [-ln2/16, ln2/16], 5)). */
static const double KL_EXP_BRIEF[5] = {1, 0x1.ffffffb13431dp-1, 0x1.ffffffe5bc28ap-2, 0x1.555f955d596d1p-3,
                                       0x1.555c2aab02002p-5};

/* Rows with more bins have no brief form. */
#define KL_BRIEF_BINS (1 << 18)

/* The relative error of a weight: the polynomial's, and roundings below 1e-13. */
#define KL_BRIEF_WEIGHT 8.3e-11

/* Of values next below it one in four is left, and more of smaller ones. */
#define KL_BRIEF_LEAST 0x1p-5

/* Most pairs in a group. Its rows stay in the second-level cache, so that a pair that is left is not fetched again. */
#define KL_BRIEF_GROUP 32
#define KL_BRIEF_BYTES (1 << 18)

/* Floats from those in use to those that are asked for: the processor itself fetches ahead only within a page, and rows
 * of 64 to 256 bins took 4% to 9% longer. */
#define KL_BRIEF_AHEAD 512

/* Bins between two looks for logits beyond: masks are often many. */
#define KL_BRIEF_PIECE 1024

/* Pairs in a group; 0: rows that have no brief form. */
KL_INLINE int64_t kl_brief_group(const kl_rows *P, const kl_rows *Q)
{
    const int64_t K = P->n_cols;
    if (!kl_logits_single(P, Q) || K < KL_LANES || K > KL_BRIEF_BINS) return 0;
    const int64_t group = KL_BRIEF_BYTES / (8 * K);
    return group < 1 ? 1 : group < KL_BRIEF_GROUP ? group : KL_BRIEF_GROUP;
}

/* Sums of the rows of a group, lane by lane: to fold each row's at once would make the next one wait. */
typedef struct {
    double a[KL_BRIEF_GROUP][KL_LANES], b[KL_BRIEF_GROUP][KL_LANES], linear[KL_BRIEF_GROUP][KL_LANES];
    int beyond[KL_BRIEF_GROUP];
} kl_brief_lanes;

KL_INLINE vf64 kl_exp_brief(vf64 s)
{
    vf64 t = kl_set_f64(KL_EXP_BRIEF[4]);
    KL_UNROLL for (int i = 3; i >= 0; i--) t = KL_FMA_F64(t, s, kl_set_f64(KL_EXP_BRIEF[i]));
    return t;
}

KL_INLINE vf64 kl_brief_scale(kl_exp_reduced r) { return kl_exp_scale(r.shifted, (vi64)((vu64)r.shifted << 49)); }

KL_INLINE kl_pass_open kl_brief_reduce(const kl_logit_rows *rows, int64_t k)
{
    __builtin_prefetch((const float *)rows->a + k + KL_BRIEF_AHEAD);
    __builtin_prefetch((const float *)rows->b + k + KL_BRIEF_AHEAD);
    return kl_pass_reduce(rows, k, 1, 0);
}

/* Adds a group of bins. `beyond` takes up the bits of the reduced numbers. */
KL_INLINE void kl_brief_add(kl_pass_lanes *s, const kl_pass_open *r, const int64_t *live)
{
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vf64 a_scale = kl_brief_scale(r->a[j]), b_scale = kl_brief_scale(r->b[j]);
        if (live) a_scale = kl_live(a_scale, live + j * KL_W64), b_scale = kl_live(b_scale, live + j * KL_W64);
        const vf64 p = a_scale * kl_exp_brief(r->a[j].s);
        s->beyond |= r->a[j].shifted | r->b[j].shifted;
        s->a.v[j] += p;
        s->b.v[j] = KL_FMA_F64(b_scale, kl_exp_brief(r->b[j].s), s->b.v[j]);
        s->linear.v[j] = KL_FMA_F64(p, r->difference.v[j], s->linear.v[j]);
    }
}

/* Adds bins [begin, end), a multiple of KL_LANES. A group is reduced beside the polynomials of the one before where
 * there are registers for it. */
KL_INLINE void kl_brief_bins(kl_pass_lanes *s, const kl_logit_rows *rows, int64_t begin, int64_t end)
{
    const int ahead = KL_LOCKSTEP > 2;
    kl_pass_open next = kl_brief_reduce(rows, begin);
    for (int64_t k = begin + KL_LANES; k < end; k += KL_LANES) {
        const kl_pass_open now = next;
        if (ahead) next = kl_brief_reduce(rows, k);
        kl_brief_add(s, &now, NULL);
        if (!ahead) next = kl_brief_reduce(rows, k);
    }
    kl_brief_add(s, &next, NULL);
}

/* Where a logit lies beyond KL_PLAIN_LOGITS or so, or is no number, its bits are not all among those that KL_MAGIC less
 * 2048 has above the last 12: so it is for each of the 2^32 floats, with fused multiply-add and without. */
KL_INLINE int kl_brief_beyond(const kl_pass_lanes *s)
{
    const vu64 plain = (vu64)kl_set_f64(KL_MAGIC - 2048) | 4095;
    return KL_BITS_F64((vi64)(((vu64)s->beyond | plain) != plain)) != 0;
}

/* Sums of rows [first, first + n). A row with logits beyond is left at the next piece. */
static __attribute__((noinline)) void kl_brief_pass(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n,
                                                    kl_brief_lanes *found)
{
    const int64_t K = P->n_cols, whole = K - K % KL_LANES;
    for (int64_t r = 0; r < n; r++) {
        const kl_logit_rows rows = {.a = kl_placed(P, first + r), .b = kl_placed(Q, first + r)};
        kl_pass_lanes s = {.a = kl_lanes_zero(), .b = kl_lanes_zero(), .linear = kl_lanes_zero(), .beyond = {0}};
        int64_t done = whole < KL_BRIEF_PIECE ? whole : KL_BRIEF_PIECE;
        kl_brief_bins(&s, &rows, 0, done);
        while (done < whole && !kl_brief_beyond(&s)) {
            const int64_t begin = done;
            done = whole - done < KL_BRIEF_PIECE ? whole : done + KL_BRIEF_PIECE;
            kl_brief_bins(&s, &rows, begin, done);
        }
        if (whole < K) {
            const kl_pass_open last = kl_brief_reduce(&rows, K - KL_LANES);
            kl_brief_add(&s, &last, KL_LIVE + K % KL_LANES);
        }
        memcpy(found->a[r], &s.a, sizeof s.a);
        memcpy(found->b[r], &s.b, sizeof s.b);
        memcpy(found->linear[r], &s.linear, sizeof s.linear);
        found->beyond[r] = kl_brief_beyond(&s);
    }
}

KL_INLINE double kl_brief_total(const double *lanes)
{
    kl_lanes x;
    memcpy(&x, lanes, sizeof x);
    return kl_lanes_total(&x);
}

/* Whether the full form might refuse a row. */
KL_INLINE int kl_brief_doubts(double sum, double tolerance)
{
    return tolerance >= 0 && !(fabs(log(sum)) + 1e-9 <= tolerance);
}

/* A value, and what bounds its distance from KL and from the full form's value. `roundings`: of the sums, relative. */
typedef struct { vf64 value, error; } kl_brief_found;

KL_INLINE kl_brief_found kl_brief_finish(vf64 a, vf64 b, vf64 linear, double roundings)
{
    const vf64 lambda = kl_log_value(kl_log_reduce(b, a, b - a)), value = lambda - linear / a;
    const vf64 near = value * 1.5 + 1.25, spread = KL_MIN_F64(near, value + 2.0);
    const vf64 rounding = (value + kl_abs(lambda) * 1.5 + 2.0) * (2 * roundings);
    return (kl_brief_found){value, KL_FMA_F64(spread, kl_set_f64(2.001 * KL_BRIEF_WEIGHT), rounding)};
}

/* KL of rows [first, first + n), not yet times `factor`, where that rounds to the same float32 as the value of the full
 * form. Returns the bits of the pairs that are left. */
static uint64_t kl_brief_values(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                                double factor, double *out)
{
    const double roundings = (double)(P->n_cols / KL_LANES + 64) * 0x1p-53;
    double a[KL_BRIEF_GROUP], b[KL_BRIEF_GROUP], linear[KL_BRIEF_GROUP];
    double value[KL_BRIEF_GROUP], error[KL_BRIEF_GROUP];
    kl_brief_lanes lanes;
    uint64_t left = 0;
    kl_brief_pass(P, Q, first, n, &lanes);
    for (int64_t r = 0; r < n; r++) {
        a[r] = kl_brief_total(lanes.a[r]), b[r] = kl_brief_total(lanes.b[r]);
        linear[r] = kl_brief_total(lanes.linear[r]);
        left |= (uint64_t)lanes.beyond[r] << r;
    }
    for (int64_t r = 0; r < n && (tolerances[0] >= 0 || tolerances[1] >= 0); r++)
        left |= (uint64_t)(kl_brief_doubts(a[r], tolerances[0]) || kl_brief_doubts(b[r], tolerances[1])) << r;
    for (int64_t r = n; r % KL_LANES; r++) a[r] = b[r] = 1, linear[r] = 0;
    for (int64_t j = 0; j < n; j += KL_W64) {
        const kl_brief_found found = kl_brief_finish(kl_load_f64(a + j), kl_load_f64(b + j), kl_load_f64(linear + j),
                                                     roundings);
        kl_store_f64(value + j, found.value);
        kl_store_f64(error + j, found.error);
    }
    for (int64_t r = 0; r < n; r++) {
        const float low = (float)((value[r] - error[r]) * factor), high = (float)((value[r] + error[r]) * factor);
        left |= (uint64_t)!(low == high) << r;
        out[r] = value[r];
    }
    return left;
}

/* KL as the full form's, or another double that rounds to the same float32 once it is multiplied by `factor`. Returns
 * whether to expect masks. */
static int kl_brief_group_values(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                                 double factor, double *out, double *scratch)
{
    const uint64_t left = kl_brief_values(P, Q, first, n, tolerances, factor, out);
    int64_t masks = 0;
    for (int64_t i = 0, run; left >> i; i += run ? run : 1) {
        for (run = 0; run < KL_GROUP && left >> (i + run) & 1; run++) {}
        if (!run) continue;
        const int found = kl_logit_group_values(P, Q, first + i, run, tolerances, 0, out + i, scratch);
        masks += found & KL_EXPECT_MASKS ? run : 0;
    }
    return 4 * masks > n ? KL_EXPECT_MASKS : 0;
}

/* Whether the next rows are likely to be left, after n such values. */
static int kl_brief_unlikely(const double *values, int64_t n)
{
    int64_t small = 0;
    for (int64_t i = 0; i < n; i++) small += values[i] < KL_BRIEF_LEAST;
    return 4 * small > n ? KL_EXPECT_NEAR : 0;
}

/* Whether the first row is likely to be left: its logits differ by nearly the same in the first bins. */
static int kl_brief_starts_near(const kl_rows *P, const kl_rows *Q, int64_t row)
{
    const float *a = kl_placed(P, row), *b = kl_placed(Q, row);
    float least = INFINITY, most = -INFINITY;
    for (int k = 0; k < KL_LANES; k++) least = fminf(least, a[k] - b[k]), most = fmaxf(most, a[k] - b[k]);
    return most - least < 0.25f ? KL_EXPECT_NEAR : 0;
}
