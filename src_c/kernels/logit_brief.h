/* Pairs of float32 or half rows of logits whose KL is rounded to float32: most have it from shorter exponentials, with
 * a bound on its error that tells whether it rounds to what the full form (logit_rows.h) would. Near rows have a form
 * of their own. docs/numerics.md has the proofs.
 */

/* The forms: of far rows; of near rows; of far rows with finer exponentials: short ones, and what the first leaves. */
typedef enum { KL_BRIEF_FAR, KL_BRIEF_NEAR, KL_BRIEF_FINE } kl_brief_form;

/* e^s on [-ln2/16, ln2/16], minimax of degree 4 with relative error 8.24e-11, and of degree 5 with 5.98e-13
 * (mpmath.chebyfit(exp, [-ln2/16, ln2/16], 5 and 6), the first coefficient 1). */
static const double KL_EXP_BRIEF[5] = {1, 0x1.ffffffb13431dp-1, 0x1.ffffffe5bc28ap-2, 0x1.555f955d596d1p-3,
                                       0x1.555c2aab02002p-5};
static const double KL_EXP_FINE[6] = {1, 0x1.00000000000b9p+0, 0x1.ffffffd0b901cp-2, 0x1.55555547d35f6p-3,
                                      0x1.555d888b31a8bp-5, 0x1.1115c09afc4f5p-7};

/* The relative error of a weight: the polynomial's, and roundings below 1e-13. */
#define KL_BRIEF_WEIGHT 8.3e-11
#define KL_FINE_WEIGHT 7e-13

/* Up to here rows have the finer exponentials at once: the one or two of a hundred that are left cost more, each for
 * itself (Zen 4: 38 and 22 ns a row of 16 bins, 60 and 54 of 64, 100 and 98 of 128, 663 and 685 of 1000). */
#define KL_FINE_BINS 128

/* gamma(x)/x^2 on [-1, 1], gamma(x) = e^x - 1 - x: 1/2 + x/6 + x^2 h(x), h minimax of degree 7, with relative error
 * 4.17e-11 x^2 (mpmath.chebyfit(lambda x: ((e^x - 1 - x)/x^2 - 1/2 - x/6)/x^2, [-1, 1], 8)). */
static const double KL_GAMMA_BRIEF[10] = {
    0.5, 0x1.5555555555555p-3, 0x1.5555555311229p-5, 0x1.111111105ece3p-7, 0x1.6c16ca7c7c13ap-10,
    0x1.a01a0731fac34p-13, 0x1.a00eafd01aed2p-16, 0x1.71d7456a578ccp-19, 0x1.2c69686be4cd9p-22, 0x1.b3f23212287a8p-26};
#define KL_BRIEF_GAMMA 4.2e-11

/* Rows with more bins have no brief form. */
#define KL_BRIEF_BINS (1 << 18)

/* Below it rows are taken to be near. The other form leaves one in four of values next below, and more of smaller ones.
 */
#define KL_BRIEF_LEAST 0x1p-5

/* Groups of near rows that go to the full form at once, after one that was left to it: logits too far apart. */
#define KL_BRIEF_UNTRIED 15

/* Most pairs in a group. Its rows stay in the second-level cache, so that a pair that is left is not fetched again. */
#define KL_BRIEF_GROUP 32
#define KL_BRIEF_BYTES (1 << 18)

/* Bins between two looks for logits beyond: masks are often many. */
#define KL_BRIEF_PIECE 1024

KL_INLINE int kl_brief_halves(const kl_rows *rows)
{
    return kl_side_by_side(rows, KL_FLOAT16, 2) || kl_side_by_side(rows, KL_BFLOAT16, 2);
}

/* Pairs in a group; 0: rows that have no brief form. Halves are widened in the scratch of kl_logit_group_values, which
 * has 8 K floats for each of kl_rows_in_flight(K) pairs. */
KL_INLINE int64_t kl_brief_group(const kl_rows *P, const kl_rows *Q)
{
    const int64_t K = P->n_cols;
    const int halves = kl_brief_halves(P) || kl_brief_halves(Q);
    if (K < KL_LANES || K > KL_BRIEF_BINS) return 0;
    if (!kl_side_by_side(P, KL_FLOAT32, 4) && !kl_brief_halves(P)) return 0;
    if (!kl_side_by_side(Q, KL_FLOAT32, 4) && !kl_brief_halves(Q)) return 0;
    const int64_t room = halves ? 4 * kl_rows_in_flight(K) : KL_BRIEF_GROUP;
    const int64_t most = room < KL_BRIEF_GROUP ? room : KL_BRIEF_GROUP, group = KL_BRIEF_BYTES / (8 * K);
    return group < 1 ? 1 : group < most ? group : most;
}

/* Rows [first, first + n) as float32, where they lie or, of halves, in `room`. */
static kl_rows kl_brief_floats(const kl_rows *rows, int64_t first, int64_t n, float *room)
{
    const int64_t K = rows->n_cols;
    kl_rows r = *rows;
    if (r.storage == KL_FLOAT32 && r.index) r.index += first;
    else if (r.storage == KL_FLOAT32) r.data += first * r.row_stride;
    if (r.storage == KL_FLOAT32) return r;
    for (int64_t i = 0; i < n; i++) {
        const uint16_t *x = kl_placed(rows, first + i);
        float *out = room + i * K;
        if (r.storage == KL_FLOAT16) for (int64_t k = 0; k < K; k++) out[k] = kl_half_to_float(x[k]);
        else for (int64_t k = 0; k < K; k++) out[k] = kl_bfloat_to_float(x[k]);
    }
    r.storage = KL_FLOAT32, r.index = NULL, r.data = (const char *)room, r.row_stride = 4 * K, r.col_stride = 4;
    return r;
}

/* Sums of the rows of a group, lane by lane: to fold each row's at once would make the next one wait. `centre` and
 * `least` are those of near rows, whose `b` is -G and `linear` M (kl_near_finish). */
typedef struct {
    double a[KL_BRIEF_GROUP][KL_LANES], b[KL_BRIEF_GROUP][KL_LANES], linear[KL_BRIEF_GROUP][KL_LANES];
    double centre[KL_BRIEF_GROUP], least[KL_BRIEF_GROUP][KL_W64];
    int beyond[KL_BRIEF_GROUP];
} kl_brief_lanes;

/* A polynomial of degree n, in one chain: other bins fill the waits. */
KL_INLINE vf64 kl_brief_chain(vf64 x, const double *coefficients, int n)
{
    vf64 t = kl_set_f64(coefficients[n]);
    KL_UNROLL for (int i = n - 1; i >= 0; i--) t = KL_FMA_F64(t, x, kl_set_f64(coefficients[i]));
    return t;
}

KL_INLINE vf64 kl_exp_brief(vf64 s, kl_brief_form form)
{
    return form == KL_BRIEF_FINE ? kl_brief_chain(s, KL_EXP_FINE, 5) : kl_brief_chain(s, KL_EXP_BRIEF, 4);
}

KL_INLINE vf64 kl_brief_scale(kl_exp_reduced r) { return kl_exp_scale(r.shifted, (vi64)((vu64)r.shifted << 49)); }

/* Constant: `form`, in the functions below. The differences of near rows are relative to the centre, else that is 0. */
KL_INLINE kl_pass_open kl_brief_reduce(const kl_logit_rows *rows, int64_t k, double centre, kl_brief_form form)
{
    kl_ask_further((const float *)rows->a + k, KL_LANES * sizeof(float));
    kl_ask_further((const float *)rows->b + k, KL_LANES * sizeof(float));
    kl_pass_open r = kl_pass_reduce(rows, k, 1, 0);
    KL_UNROLL for (int j = 0; j < KL_NV && form == KL_BRIEF_NEAR; j++) r.difference.v[j] += centre;
    return r;
}

/* Adds a group of bins. `beyond` takes up the bits of the reduced numbers; `least`, of near rows, the negative squares
 * of the differences. */
KL_INLINE void kl_brief_add(kl_pass_lanes *s, const kl_pass_open *r, const int64_t *live, kl_brief_form form)
{
    const int near = form == KL_BRIEF_NEAR;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        const vf64 e = r->difference.v[j], minus_square = -e * e;
        vf64 a_scale = kl_brief_scale(r->a[j]), b_scale = kl_brief_scale(r->b[j]);
        if (live) a_scale = kl_live(a_scale, live + j * KL_W64), b_scale = kl_live(b_scale, live + j * KL_W64);
        const vf64 p = a_scale * kl_exp_brief(r->a[j].s, form);
        s->beyond |= near ? r->a[j].shifted : r->a[j].shifted | r->b[j].shifted;
        s->a.v[j] += p;
        s->linear.v[j] = KL_FMA_F64(p, e, s->linear.v[j]);
        if (near) s->least = KL_MIN_F64(minus_square, s->least);
        if (near) s->b.v[j] = KL_FMA_F64(p * minus_square, kl_brief_chain(e, KL_GAMMA_BRIEF, 9), s->b.v[j]);
        else s->b.v[j] = KL_FMA_F64(b_scale, kl_exp_brief(r->b[j].s, form), s->b.v[j]);
    }
}

/* Adds bins [begin, end), a multiple of KL_LANES. A group is reduced beside the polynomials of the one before where
 * there are registers for it. */
KL_INLINE void kl_brief_bins(kl_pass_lanes *s, const kl_logit_rows *rows, int64_t begin, int64_t end, double centre,
                             kl_brief_form form)
{
    const int ahead = KL_LOCKSTEP > 2;
    kl_pass_open next = kl_brief_reduce(rows, begin, centre, form);
    for (int64_t k = begin + KL_LANES; k < end; k += KL_LANES) {
        const kl_pass_open now = next;
        if (ahead) next = kl_brief_reduce(rows, k, centre, form);
        kl_brief_add(s, &now, NULL, form);
        if (!ahead) next = kl_brief_reduce(rows, k, centre, form);
    }
    kl_brief_add(s, &next, NULL, form);
}

/* Where a logit lies beyond KL_PLAIN_LOGITS or so, or is no number, its bits are not all among those that KL_MAGIC less
 * 2048 has above the last 12: so it is for each of the 2^32 floats, with fused multiply-add and without. */
KL_INLINE int kl_brief_beyond(const kl_pass_lanes *s, int near)
{
    const vu64 plain = (vu64)kl_set_f64(KL_MAGIC - 2048) | 4095;
    if (near && KL_BITS_F64((vi64)(s->least < -1.0))) return 1;
    return KL_BITS_F64((vi64)(((vu64)s->beyond | plain) != plain)) != 0;
}

/* About a - b of near rows: the mean over the first bins. */
KL_INLINE double kl_brief_centre(const kl_logit_rows *rows)
{
    kl_lanes d;
    KL_UNROLL for (int j = 0; j < KL_NV; j++)
        d.v[j] = kl_number_at(rows->a, j * KL_W64, 1) - kl_number_at(rows->b, j * KL_W64, 1);
    return kl_lanes_total(&d) / KL_LANES;
}

/* Sums of row r. It is left at the next piece if it has logits beyond. */
KL_INLINE void kl_brief_row(const kl_logit_rows *rows, int64_t K, int64_t r, kl_brief_lanes *found,
                              kl_brief_form form)
{
    const int near = form == KL_BRIEF_NEAR;
    const int64_t whole = K - K % KL_LANES;
    const double centre = near ? kl_brief_centre(rows) : 0;
    kl_pass_lanes s = {.a = kl_lanes_zero(), .b = kl_lanes_zero(), .linear = kl_lanes_zero(), .beyond = {0},
                       .least = {0}};
    int64_t done = whole < KL_BRIEF_PIECE ? whole : KL_BRIEF_PIECE;
    kl_brief_bins(&s, rows, 0, done, centre, form);
    while (done < whole && !kl_brief_beyond(&s, near)) {
        const int64_t begin = done;
        done = whole - done < KL_BRIEF_PIECE ? whole : done + KL_BRIEF_PIECE;
        kl_brief_bins(&s, rows, begin, done, centre, form);
    }
    if (whole < K) {
        const kl_pass_open last = kl_brief_reduce(rows, K - KL_LANES, centre, form);
        kl_brief_add(&s, &last, KL_LIVE + K % KL_LANES, form);
    }
    memcpy(found->a[r], &s.a, sizeof s.a);
    memcpy(found->b[r], &s.b, sizeof s.b);
    memcpy(found->linear[r], &s.linear, sizeof s.linear);
    found->beyond[r] = kl_brief_beyond(&s, near);
    if (near) kl_store_f64(found->least[r], s.least), found->centre[r] = centre;
}

/* Sums of rows [first, first + n). */
static __attribute__((noinline)) void kl_brief_pass(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n,
                                                    kl_brief_form form, kl_brief_lanes *found)
{
    for (int64_t r = 0; r < n; r++) {
        const kl_logit_rows rows = {.a = kl_placed(P, first + r), .b = kl_placed(Q, first + r)};
        if (form == KL_BRIEF_NEAR) kl_brief_row(&rows, P->n_cols, r, found, KL_BRIEF_NEAR);
        else if (form == KL_BRIEF_FINE) kl_brief_row(&rows, P->n_cols, r, found, KL_BRIEF_FINE);
        else kl_brief_row(&rows, P->n_cols, r, found, KL_BRIEF_FAR);
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

KL_INLINE kl_brief_found kl_brief_finish(vf64 a, vf64 b, vf64 linear, double weight, double roundings)
{
    const vf64 lambda = kl_log_value(kl_log_reduce(b, a, b - a)), value = lambda - linear / a;
    const vf64 near = value * 1.5 + 1.25, spread = KL_MIN_F64(near, value + 2.0);
    const vf64 rounding = (value + kl_abs(lambda) * 1.5 + 2.0) * (2 * roundings);
    return (kl_brief_found){value, KL_FMA_F64(spread, kl_set_f64(2.001 * weight), rounding)};
}

/* KL = G + log1pmx(x), x = G + M, of sums relative to a: G of gamma(e), M of e, e = b - a + centre, |e| <= `most`.
 * log1p(x) = 2v + vt, v = x/(x + 2), and log1pmx(x) = log1p(x) - x = v (t - x). */
KL_INLINE kl_brief_found kl_near_finish(vf64 a, vf64 minus_g, vf64 m, vf64 most, double roundings)
{
    const vf64 G = -minus_g / a, x = G + m / a, v = x / (x + 2.0), w = v * v;
    const vf64 value = G + v * (w * kl_atanh_series(w) - x);
    const vf64 sums = (G + kl_abs(x) * most) * (2 * roundings), terms = G * most * most * KL_BRIEF_GAMMA;
    const vf64 error = value * (2.001 * KL_BRIEF_WEIGHT) + (terms + sums) / (x + 1.0);
    return (kl_brief_found){value, KL_IF_LESS_F64(kl_abs(v), kl_set_f64(17 / 81.0), error, kl_set_f64(INFINITY))};
}

/* What the sums of a group say, row by row; `b` and `linear` of near rows as in kl_brief_lanes. */
typedef struct {
    double a[KL_BRIEF_GROUP], b[KL_BRIEF_GROUP], linear[KL_BRIEF_GROUP], most[KL_BRIEF_GROUP];
    double value[KL_BRIEF_GROUP], error[KL_BRIEF_GROUP];
} kl_brief_group_found;

/* Folds the lanes. Returns the bits of the pairs that are left. */
KL_INLINE uint64_t kl_brief_fold(const kl_brief_lanes *lanes, int64_t n, int near, const double *tolerances,
                                 kl_brief_group_found *g)
{
    uint64_t left = 0;
    for (int64_t r = 0; r < n; r++) {
        g->a[r] = kl_brief_total(lanes->a[r]), g->b[r] = kl_brief_total(lanes->b[r]);
        g->linear[r] = kl_brief_total(lanes->linear[r]);
        left |= (uint64_t)lanes->beyond[r] << r;
        if (!near) continue;
        kl_lanes least;
        KL_UNROLL for (int j = 0; j < KL_NV; j++) least.v[j] = kl_load_f64(lanes->least[r]);
        g->most[r] = sqrt(-kl_lanes_least(&least));
    }
    for (int64_t r = 0; r < n && (tolerances[0] >= 0 || tolerances[1] >= 0); r++) {
        const double b = near ? (g->a[r] + g->linear[r] - g->b[r]) * exp(-lanes->centre[r]) : g->b[r];
        left |= (uint64_t)(kl_brief_doubts(g->a[r], tolerances[0]) || kl_brief_doubts(b, tolerances[1])) << r;
    }
    for (int64_t r = n; r % KL_LANES; r++) g->a[r] = g->b[r] = 1, g->linear[r] = g->most[r] = 0;
    return left;
}

/* KL of rows [first, first + n), not yet times `factor`, where that rounds to the same float32 as the value of the full
 * form. Returns the bits of the pairs that are left. */
static uint64_t kl_brief_values(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                                double factor, kl_brief_form form, double *out)
{
    const int near = form == KL_BRIEF_NEAR;
    const double weight = form == KL_BRIEF_FINE ? KL_FINE_WEIGHT : KL_BRIEF_WEIGHT;
    const double roundings = (double)(P->n_cols / KL_LANES + 64) * 0x1p-53;
    kl_brief_lanes lanes;
    kl_brief_group_found g;
    kl_brief_pass(P, Q, first, n, form, &lanes);
    uint64_t left = kl_brief_fold(&lanes, n, near, tolerances, &g);
    for (int64_t j = 0; j < n; j += KL_W64) {
        const vf64 a = kl_load_f64(g.a + j), b = kl_load_f64(g.b + j), linear = kl_load_f64(g.linear + j);
        const kl_brief_found found = near ? kl_near_finish(a, b, linear, kl_load_f64(g.most + j), roundings)
                                          : kl_brief_finish(a, b, linear, weight, roundings);
        kl_store_f64(g.value + j, found.value);
        kl_store_f64(g.error + j, found.error);
    }
    for (int64_t r = 0; r < n && near; r++) {
        const double apart = (fabs(lanes.centre[r]) + 2 * g.most[r]) * 0x1p-53;
        g.error[r] += apart * (sqrt(2 * (g.value[r] + g.error[r])) + apart);
    }
    for (int64_t r = 0; r < n; r++) {
        const float low = (float)((g.value[r] - g.error[r]) * factor);
        const float high = (float)((g.value[r] + g.error[r]) * factor);
        left |= (uint64_t)!(low == high && low > 0) << r;
        out[r] = g.value[r];
    }
    return left;
}

/* Pairs from i on whose bits are set. */
KL_INLINE int64_t kl_brief_run(uint64_t bits, int64_t i, int64_t most)
{
    int64_t run = 0;
    while (i + run < KL_BRIEF_GROUP && run < most && bits >> (i + run) & 1) run++;
    return run;
}

/* The pairs whose bits are set in another form. Returns the bits of those that are still left. */
static uint64_t kl_brief_retry(const kl_rows *P, const kl_rows *Q, uint64_t bits, const double *tolerances,
                               double factor, kl_brief_form form, double *out)
{
    uint64_t left = 0;
    for (int64_t i = 0, run; bits >> i; i += run ? run : 1) {
        run = kl_brief_run(bits, i, KL_BRIEF_GROUP);
        if (run) left |= kl_brief_values(P, Q, i, run, tolerances, factor, form, out + i) << i;
    }
    return left;
}

/* Those that are left by a form of far rows: the near ones as such, the others with finer exponentials. */
static uint64_t kl_brief_again(const kl_rows *P, const kl_rows *Q, uint64_t left, const double *tolerances,
                               double factor, kl_brief_form before, double *out)
{
    uint64_t near = 0;
    for (int64_t i = 0; left >> i; i++) near |= (uint64_t)(left >> i & 1 && fabs(out[i]) < KL_BRIEF_LEAST) << i;
    const uint64_t far = left ^ near;
    return kl_brief_retry(P, Q, near, tolerances, factor, KL_BRIEF_NEAR, out)
         | (before == KL_BRIEF_FINE ? far : kl_brief_retry(P, Q, far, tolerances, factor, KL_BRIEF_FINE, out));
}

/* KL as the full form's, or another double that rounds to the same float32 once it is multiplied by `factor`. Takes
 * whether to expect near rows; returns whether to expect masks, or near rows that are left. */
static int kl_brief_group_values(const kl_rows *P, const kl_rows *Q, int64_t first, int64_t n, const double *tolerances,
                                 double factor, int near, double *out, double *scratch)
{
    const int64_t most = kl_logit_group_size(P, Q, near);
    float *room = (float *)scratch;
    const kl_rows p = kl_brief_floats(P, first, n, room), q = kl_brief_floats(Q, first, n, room + n * P->n_cols);
    const kl_brief_form form = near ? KL_BRIEF_NEAR : P->n_cols <= KL_FINE_BINS ? KL_BRIEF_FINE : KL_BRIEF_FAR;
    uint64_t left = kl_brief_values(&p, &q, 0, n, tolerances, factor, form, out);
    int64_t masks = 0, again = 0;
    if (!near && left) left = kl_brief_again(&p, &q, left, tolerances, factor, form, out);
    for (int64_t i = 0, run; left >> i; i += run ? run : 1) {
        run = kl_brief_run(left, i, most);
        if (!run) continue;
        const int found = kl_logit_group_values(P, Q, first + i, run, tolerances, near, out + i, scratch);
        masks += found & KL_EXPECT_MASKS ? run : 0;
        again += run;
    }
    return (4 * masks > n ? KL_EXPECT_MASKS : 0) | (near && 2 * again > n ? KL_EXPECT_LEFT : 0);
}

/* Whether the next rows are likely to be near, after n such values. */
static int kl_brief_near(const double *values, int64_t n)
{
    int64_t small = 0;
    for (int64_t i = 0; i < n; i++) small += values[i] < KL_BRIEF_LEAST;
    return 4 * small > n ? KL_EXPECT_NEAR : 0;
}

/* Whether the first row is likely to be near: its logits differ by nearly the same in the first bins. (A far row
 * that is taken for a near one costs the full form; a near one that is not, a pass.) */
static int kl_brief_starts_near(const kl_rows *P, const kl_rows *Q, int64_t row)
{
    float room[2][KL_LANES], least = INFINITY, most = -INFINITY;
    kl_rows p = *P, q = *Q;
    p.n_cols = q.n_cols = KL_LANES;
    p = kl_brief_floats(&p, row, 1, room[0]), q = kl_brief_floats(&q, row, 1, room[1]);
    const float *a = kl_placed(&p, 0), *b = kl_placed(&q, 0);
    for (int k = 0; k < KL_LANES; k++) least = fminf(least, a[k] - b[k]), most = fmaxf(most, a[k] - b[k]);
    return most - least < 0.35f ? KL_EXPECT_NEAR : 0;
}
