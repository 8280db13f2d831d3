/* Sums over the coordinates of two rows of a family that has no product form: the tiles of KL_SUM_FAMILY. Included by
 * product.h for float64.
 *
 * A coordinate of a row is three numbers a, b, c, as the family's `terms` leaves them: two parameters and a reciprocal.
 * With psi(r) = r - 1 - log r and gamma(x) = e^x - 1 - x, both >= 0 and each from a difference of parameters,
 *     Laplace   psi(b_p/b_q) + (b_p/b_q) gamma(-|a_p - a_q|/b_p)                 c = 1/b
 *     Gumbel    psi(r) + B + gamma(M),   r = b_p/b_q, M = (a_q - a_p)/b_q + log Gamma(1 + r)
 *     Weibull   psi(r) + B + gamma(M),   r = b_q/b_p, M = b_q log(a_p/a_q) + log Gamma(1 + r)
 *     Cauchy    log(1 + x),   x = ((a_p - a_q)^2 + (b_p - b_q)^2) c_p c_q        c = 1/(2 b)
 *     Uniform   log(1 + x),   x = ((a_p - a_q) + (b_q - b_p)) c_p                c = 1/(b - a)
 *     Pareto    b_q log(a_p/a_q) + psi(b_q/b_p)
 * B is the Bregman divergence of log Gamma between 1 + r and 2. Of Cauchy and Uniform one logarithm serves KL_FACTORS
 * coordinates: log(1 + x) + log(1 + y) = log(1 + (x + y + x y)), where nothing cancels.
 *
 * A term that is out of reach here is NaN: then the direct form has the pair. Parameters lie within 2^+-200
 * (families.h), so nothing else over- or underflows.
 */
#define KL_FACTORS 8 /* of at most 1 + 2^100 each */

typedef struct { vf64 a, b, c; } kl_member;
typedef struct { vf64 sum, excess; } kl_term_total; /* log(1 + excess) belongs to the sum, too */

/* psi(p/q) from d = p - q and t = d/q. With v = d/(p + q): t - 2v = t v. */
KL_INLINE vf64 kl_psi_of(vf64 p, vf64 q, vf64 d, vf64 t)
{
    kl_log_reduced r = kl_log_reduce(p, q, d);
    vf64 w = r.v * r.v, near = r.v * t;
    vf64 far = KL_FMA_F64(kl_exponent(r.shift), kl_set_f64(-KL_LN2 * KL_EXPONENT_UNIT), t - (r.v + r.v));
    return KL_FMA_F64(-r.v, w * kl_atanh_series(w), KL_IF_ZERO_F64(r.shift, near, far));
}

/* gamma(r)/r^2 on [-ln2/2, ln2/2]: degree 9, error 2e-17 of e^r (mpmath.chebyfit). */
static const double KL_GAMMA_HALF[10] = {
    0x1.0000000000001p-1, 0x1.5555555555556p-3, 0x1.5555555553d63p-5, 0x1.11111111109b3p-7, 0x1.6c16c1788bd90p-10,
    0x1.a01a01a7c41d5p-13, 0x1.a019b90d2ae7ap-16, 0x1.71de0dae63bb3p-19, 0x1.289185613a3d6p-22, 0x1.af38a9b0ec855p-26};

/* gamma(x), x <= 700. With x = n ln2 + r it is 2^n r^2 P(r) + (2^n r + (2^n - 1 - x)): the bracket is 0 where n is. */
KL_INLINE vf64 kl_gamma_of(vf64 x)
{
    const double magic = 0x1.8p52;
    vf64 least = kl_set_f64(-700), bounded = kl_select(x < least, least, x);
    vf64 shifted = KL_FMA_F64(bounded, kl_set_f64(0x1.71547652b82fep0), kl_set_f64(magic)), n = shifted - magic;
    vf64 r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_HIGH32), bounded);
    r = KL_FMA_F64(-n, kl_set_f64(KL_LN2_REST), r);
    vf64 power = (vf64)((vu64)((vi64)shifted + 1023) << 52);
    return KL_FMA_F64(power, kl_square_times(r, KL_GAMMA_HALF, 10), KL_FMA_F64(power, r, (power - 1.0) - x));
}

KL_INLINE vf64 kl_log_of(vf64 p, vf64 q, vf64 d) { return kl_log_value(kl_log_reduce(p, q, d)); }

/* B(1 + r, 2)/(r - 1)^2 as a polynomial in (r - 1)/(r + 3) - 7/64 for r <= 6: relative error 1.7e-16
 * (mpmath.chebyfit(f, [-1/3 - 7/64, 5/9 - 7/64], 24)). */
#define KL_LOG_GAMMA_FROM 6.0
static const double KL_LOG_GAMMA[24] = {
    0x1.2ca8c6d649a8bp-2, -0x1.0958d373d5dedp-2, 0x1.1d00cb5ff502dp-5, -0x1.2358c95e6d612p-4,
    0x1.1aeccdb9487bep-6, -0x1.30af9f4186a4cp-5, 0x1.2cebbc45d52edp-7, -0x1.8198ce53ea901p-6,
    0x1.2fb7a09043ab1p-8, -0x1.0e401c9fbf25ap-6, 0x1.df0cbaa684253p-10, -0x1.9772d5ae3a47cp-7,
    -0x1.219796c13095cp-16, -0x1.45c84036d2decp-7, -0x1.73061af721ed0p-10, -0x1.17c01fae14189p-7,
    -0x1.ab604b1f869dbp-10, -0x1.a964ced1a3408p-8, -0x1.a410bef213291p-8, -0x1.792dc97719b9dp-7,
    0x1.9134aa762bf9fp-8, 0x1.b88a2f064360ap-8, -0x1.3eb32198b44e0p-6, -0x1.b3788380a9e23p-6};

/* z (log Gamma(z) - (z - 1/2) log z + z - log(2 pi)/2) as a polynomial in 1/z^2 for z >= 7: error 2e-16. */
static const double KL_STIRLING[6] = {
    0x1.5555555555549p-4, -0x1.6c16c16abc18ap-9, 0x1.a019f574447ebp-11, -0x1.38096f77900e9p-11,
    0x1.b58252ffd3eb3p-11, -0x1.9f1d1793bff2ep-10};

#define KL_ONE_LESS_EULER 0x1.b0ee6072093cep-2
#define KL_HALF_LOG_TWO_PI 0x1.d67f1c864beb5p-1

/* B(1 + r, 2) = log Gamma(1 + r) - (1 - euler)(r - 1) from t = r - 1. */
KL_INLINE vf64 kl_bregman_log_gamma(vf64 t)
{
    vf64 near = t * t * kl_polynomial(t / (4.0 + t) - 0.109375, KL_LOG_GAMMA, 24);
    vi64 beyond = t > KL_LOG_GAMMA_FROM - 1.0;
    if (!KL_BITS_F64(beyond)) return near;
    vf64 z = 2.0 + t, over = 1.0 / z, rest = over * kl_polynomial(over * over, KL_STIRLING, 6);
    vf64 far = KL_FMA_F64(z - 0.5, kl_log_of(z, kl_set_f64(1), z - 1.0), rest - z) + KL_HALF_LOG_TWO_PI;
    return kl_select(beyond, KL_FMA_F64(t, kl_set_f64(-KL_ONE_LESS_EULER), far), near);
}

/* Two shapes of ratio r = p/q, t = r - 1, and L. The errors of M, a few u (|L| + log Gamma), are relative ones of e^M:
 * the limits keep them below the 1024 u that plan.py grants. */
KL_INLINE vf64 kl_extreme_value(vf64 p, vf64 q, vf64 d, vf64 t, vf64 L)
{
    vf64 B = kl_bregman_log_gamma(t), M = L + KL_FMA_F64(t, kl_set_f64(KL_ONE_LESS_EULER), B);
    vf64 term = kl_psi_of(p, q, d, t) + (B + kl_gamma_of(M));
    return kl_select((t <= 63.0) & (M <= 64.0), term, kl_set_f64(NAN));
}

/* One coordinate of p and q added. */
KL_INLINE kl_term_total kl_term_add(int term, kl_member p, kl_member q, kl_term_total s)
{
    vf64 x;
    switch (term) {
    case KL_TERM_LAPLACE:
        x = p.b - q.b;
        s.sum += KL_FMA_F64(p.b * q.c, kl_gamma_of(-kl_abs(p.a - q.a) * p.c), kl_psi_of(p.b, q.b, x, x * q.c));
        break;
    case KL_TERM_GUMBEL:
        x = p.b - q.b;
        s.sum += kl_extreme_value(p.b, q.b, x, x * q.c, (q.a - p.a) * q.c);
        break;
    case KL_TERM_WEIBULL:
        x = q.b - p.b;
        s.sum += kl_extreme_value(q.b, p.b, x, x * p.c, q.b * kl_log_of(p.a, q.a, p.a - q.a));
        break;
    case KL_TERM_PARETO:
        x = q.b - p.b;
        x = KL_FMA_F64(q.b, kl_log_of(p.a, q.a, p.a - q.a), kl_psi_of(q.b, p.b, x, x * p.c));
        s.sum += kl_select(p.a < q.a, kl_set_f64(INFINITY), x);
        break;
    case KL_TERM_CAUCHY:
        x = p.a - q.a;
        x = KL_FMA_F64(p.b - q.b, p.b - q.b, x * x) * (p.c * q.c);
        x = kl_select(x < 0x1p100, x, kl_set_f64(NAN));
        s.excess += KL_FMA_F64(x, s.excess, x);
        break;
    default: /* KL_TERM_UNIFORM */
        x = ((p.a - q.a) + (q.b - p.b)) * p.c;
        x = kl_select(x < 0x1p100, x, kl_set_f64(NAN));
        s.sum = kl_select((p.a < q.a) | (p.b > q.b), kl_set_f64(INFINITY), s.sum);
        s.excess += KL_FMA_F64(x, s.excess, x);
    }
    return s;
}

/* One side of a vector of pairs: number j of coordinate k at [(3 k + j) step], of each row or, `one`, of all lanes. */
typedef struct {
    const double *x;
    int64_t step;
    int one;
} kl_side;

KL_INLINE vf64 kl_side_at(kl_side s, int j)
{
    return s.one ? kl_set_f64(s.x[j * s.step]) : kl_load_f64(s.x + j * s.step);
}

KL_INLINE kl_member kl_side_member(kl_side s)
{
    return (kl_member){kl_side_at(s, 0), kl_side_at(s, 1), kl_side_at(s, 2)};
}

/* The sum over d coordinates, in an order that depends on nothing but d. */
KL_INLINE vf64 kl_term_line(int term, kl_side p, kl_side q, int64_t d)
{
    const int64_t factors = term == KL_TERM_CAUCHY || term == KL_TERM_UNIFORM ? KL_FACTORS : KL_CHAIN;
    vf64 total = {0};
    for (int64_t begin = 0; begin < d; begin += KL_CHAIN) {
        const int64_t end = d < begin + KL_CHAIN ? d : begin + KL_CHAIN;
        kl_term_total s = {{0}, {0}};
        for (int64_t k = begin; k < end; k++, p.x += 3 * p.step, q.x += 3 * q.step) {
            s = kl_term_add(term, kl_side_member(p), kl_side_member(q), s);
            if (factors == KL_CHAIN || ((k + 1) % factors && k + 1 < end)) continue;
            s.sum += kl_log_of(1.0 + s.excess, kl_set_f64(1), s.excess);
            s.excess = (vf64){0};
        }
        total += s.sum;
    }
    return total;
}

/* `one` is a constant where a line is inlined. */
#define KL_TERM_LINE(term)                                                                                            \
    static __attribute__((noinline)) vf64 kl_line_##term(kl_side p, kl_side q, int64_t d)                             \
    {                                                                                                                 \
        const kl_side p0 = {p.x, p.step, 0}, p1 = {p.x, p.step, 1}, q0 = {q.x, q.step, 0}, q1 = {q.x, q.step, 1};     \
        if (p.one) return q.one ? kl_term_line(term, p1, q1, d) : kl_term_line(term, p1, q0, d);                      \
        return q.one ? kl_term_line(term, p0, q1, d) : kl_term_line(term, p0, q0, d);                                 \
    }
KL_TERM_LINE(KL_TERM_LAPLACE)
KL_TERM_LINE(KL_TERM_GUMBEL)
KL_TERM_LINE(KL_TERM_WEIBULL)
KL_TERM_LINE(KL_TERM_PARETO)
KL_TERM_LINE(KL_TERM_CAUCHY)
KL_TERM_LINE(KL_TERM_UNIFORM)
#undef KL_TERM_LINE

static vf64 kl_line(int term, kl_side p, kl_side q, int64_t d)
{
    switch (term) {
    case KL_TERM_LAPLACE: return kl_line_KL_TERM_LAPLACE(p, q, d);
    case KL_TERM_GUMBEL: return kl_line_KL_TERM_GUMBEL(p, q, d);
    case KL_TERM_WEIBULL: return kl_line_KL_TERM_WEIBULL(p, q, d);
    case KL_TERM_PARETO: return kl_line_KL_TERM_PARETO(p, q, d);
    case KL_TERM_CAUCHY: return kl_line_KL_TERM_CAUCHY(p, q, d);
    default: return kl_line_KL_TERM_UNIFORM(p, q, d);
    }
}

KL_INLINE vf64 kl_line_both(int term, int both, kl_side p, kl_side q, int64_t d)
{
    const vf64 sum = kl_line(term, p, q, d);
    return both ? sum + kl_line(term, q, p, d) : sum;
}

/* The tile such that a value is minus it; -1 of a pair that is left to the direct form. */
static void kl_tile_family(const kl_product_args *args, const double *left, const double *right, kl_tile_f64 *tile)
{
    for (int i = 0; i < KL_MR; i++)
        for (int h = 0; h < 2; h++) {
            const kl_side row = {left + i, KL_MR, 1}, col = {right + h * KL_W64, KL_NR, 0};
            vf64 sum = kl_line_both(args->term, args->both, args->turned ? col : row, args->turned ? row : col,
                                    args->K / KL_TERM_NUMBERS);
            tile->v[i][h] = kl_select(sum == sum, -sum, kl_set_f64(1));
        }
}
