/* KL of Dirichlet rows: the sum of families/dirichlet.c in vectors. With x, y the largest component of p, and q's,
 * shifted by N steps to 4 or more, and X, Y the sums of q and p with that,
 *     KL = [gap of the largest, kl_dominant_part] + sum over the others of  g(q_i Y, p_i X)/Y + B_h(q_i, p_i).
 * The others are taken a lane each, row by row; the largest of several rows then a lane each, in kl_dirichlet_gap.
 *
 * q_i Y - p_i X = (q_i P - p_i Q) + N (q_i - p_i), P and Q the sums before the shift in twice the precision, so that
 * what is left of a difference of nearly proportional rows is not their rounding.
 */
typedef struct { double high, low; } kl_sum2;

KL_INLINE kl_sum2 kl_plus(kl_sum2 a, double b)
{
    const double sum = a.high + b, z = sum - a.high;
    return (kl_sum2){sum, a.low + ((a.high - (sum - z)) + (b - z))};
}

/* The lanes of a sum, folded in halves without losing what their additions round off. */
KL_INLINE kl_sum2 kl_folded(const kl_sum *s)
{
    double t[KL_LANES], rest = kl_lanes_total(&s->low);
    memcpy(t, &s->high, sizeof t);
    for (int n = KL_LANES / 2; n; n /= 2)
        for (int l = 0; l < n; l++) {
            const kl_sum2 both = kl_plus((kl_sum2){t[l], rest}, t[l + n]);
            t[l] = both.high, rest = both.low;
        }
    return (kl_sum2){t[0], rest};
}

/* One group of lanes of two rows, 1 beyond their ends; `others`: inside, and not the largest. */
typedef struct { vf64 p[KL_NV], q[KL_NV]; vi64 others[KL_NV]; } kl_components;

KL_INLINE kl_components kl_components_at(const double *p, const double *q, int64_t k, int64_t K, int64_t top)
{
    double padded[2][KL_LANES];
    const int whole = K - k >= KL_LANES;
    const double *from_p = whole ? p + k : kl_tail(p, k, K, 1, padded[0]);
    const double *from_q = whole ? q + k : kl_tail(q, k, K, 1, padded[1]);
    kl_components c;
    KL_UNROLL for (int j = 0; j < KL_NV; j++) {
        vi64 at;
        KL_UNROLL for (int l = 0; l < KL_W64; l++) at[l] = k + j * KL_W64 + l;
        c.p[j] = kl_load_f64(from_p + j * KL_W64);
        c.q[j] = kl_load_f64(from_q + j * KL_W64);
        c.others[j] = (at < K) & (at != top);
    }
    return c;
}

/* The first of the largest components of p; -1 where one of either row is not within reach. */
KL_INLINE int64_t kl_largest(const double *p, const double *q, int64_t K)
{
    vf64 most = {0};
    vi64 lost = {0};
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const kl_components c = kl_components_at(p, q, k, K, -1);
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            lost |= ~(kl_within_reach(c.p[j]) & kl_within_reach(c.q[j]));
            most = KL_MAX_F64(most, kl_select(c.others[j], c.p[j], (vf64){0}));
        }
    }
    if (KL_BITS_F64(lost)) return -1;
    double largest = 0;
    KL_UNROLL for (int l = 0; l < KL_W64; l++) largest = most[l] > largest ? most[l] : largest;
    int64_t top = 0;
    while (p[top] != largest) top++;
    return top;
}

/* Sums over all components but `top`. */
typedef struct { kl_sum2 p, q, d; } kl_rest_sums;

KL_INLINE kl_rest_sums kl_sums_of_rest(const double *p, const double *q, int64_t K, int64_t top)
{
    kl_sum sum_p = kl_sum_zero(), sum_q = kl_sum_zero(), sum_d = kl_sum_zero();
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const kl_components c = kl_components_at(p, q, k, K, top);
        kl_lanes of_p, of_q, of_d;
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            of_p.v[j] = kl_select(c.others[j], c.p[j], (vf64){0});
            of_q.v[j] = kl_select(c.others[j], c.q[j], (vf64){0});
            of_d.v[j] = of_q.v[j] - of_p.v[j];
        }
        kl_sum_add(&sum_p, &of_p);
        kl_sum_add(&sum_q, &of_q);
        kl_sum_add(&sum_d, &of_d);
    }
    return (kl_rest_sums){kl_folded(&sum_p), kl_folded(&sum_q), kl_folded(&sum_d)};
}

/* The terms of row number `lane` of `rows`. */
static void kl_dirichlet_rest(const double *p, const double *q, int64_t K, int lane, kl_dirichlet_rows *rows)
{
    const int64_t top = kl_largest(p, q, K);
    if (top < 0) {
        rows->rest[lane] = NAN;
        return;
    }
    const double x = q[top], y = p[top];
    const kl_rest_sums rest = kl_sums_of_rest(p, q, K, top);
    const kl_sum2 P = kl_plus(rest.p, y), Q = kl_plus(rest.q, x);
    const double s = rest.q.high + rest.q.low, t = rest.p.high + rest.p.low, e = rest.d.high + rest.d.low;
    double N = 0, a = x, b = y;
    for (; N < KL_SHIFTED_TO && (a < b ? a : b) < KL_SHIFTED_TO; N++) a += 1, b += 1;
    const vf64 X = kl_set_f64(a + s), Y = kl_set_f64(b + t), over = 1.0 / Y;
    kl_sum sum = kl_sum_zero();
    for (int64_t k = 0; k < K; k += KL_LANES) {
        const kl_components c = kl_components_at(p, q, k, K, top);
        kl_lanes terms;
        KL_UNROLL for (int j = 0; j < KL_NV; j++) {
            vf64 u = c.q[j], v = c.p[j], d = u - v;
            vf64 det = kl_determinant(u, kl_set_f64(P.high), v, kl_set_f64(Q.high)) + (u * P.low - v * Q.low);
            vf64 split = kl_generalized(u * Y, v * X, KL_FMA_F64(kl_set_f64(N), d, det));
            vf64 term = KL_FMA_F64(split, over, kl_bregman_h(d, u, v));
            terms.v[j] = kl_select(c.others[j], term, (vf64){0});
        }
        kl_sum_add(&sum, &terms);
    }
    const kl_sum2 total = kl_folded(&sum);
    const vf64 high = kl_determinant(kl_set_f64(x), kl_set_f64(rest.p.high), kl_set_f64(y), kl_set_f64(rest.q.high));
    rows->rest[lane] = total.high + total.low;
    rows->x[lane] = x, rows->y[lane] = y, rows->s[lane] = s, rows->t[lane] = t, rows->e[lane] = e;
    rows->det[lane] = high[0] + (x * rest.p.low - y * rest.q.low);
}

/* out[lane]: KL of each row, of which kl_dirichlet_rest has had all. */
static void kl_dirichlet_gap(const kl_dirichlet_rows *rows, double *out)
{
    for (int l = 0; l < KL_LANES; l += KL_W64) {
        vf64 x = kl_load_f64(rows->x + l), y = kl_load_f64(rows->y + l);
        const kl_dominant top = kl_dominant_part(x, y, x - y, kl_load_f64(rows->s + l), kl_load_f64(rows->t + l),
                                                 kl_load_f64(rows->e + l), kl_load_f64(rows->det + l));
        kl_store_f64(out + l, kl_load_f64(rows->rest + l) + top.value);
    }
}
