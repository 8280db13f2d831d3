/* KL of coordinates of a family, one a lane, from their parameters as they are: for values row by row, where no number of
 * a row serves another pair. Terms as in family_terms.h, and with psi(r) = r - 1 - log r
 *     Normal        psi(s_p/s_q) + (e^2 + u^2)/2,   e = (s_p - s_q)/s_q, u = (m_p - m_q)/s_q
 *     HalfNormal    psi(s_p/s_q) + e^2/2, since psi(r^2) = (r - 1)^2 + 2 psi(r)
 *     Rayleigh      twice that
 *     Exponential   psi(r_q/r_p)
 *     Poisson       r_p log(r_p/r_q) - r_p + r_q
 * A coordinate with a parameter beyond 2^+-200 is NaN: then the direct form has the pair.
 */
KL_INLINE vi64 kl_within_reach(vf64 x) { return (x > 0x1p-200) & (x < 0x1p200); }

/* The two parameters of a coordinate and a reciprocal, as the family's `terms` has them. */
KL_INLINE kl_member kl_member_of(int term, vf64 a, vf64 b)
{
    switch (term) {
    case KL_TERM_CAUCHY: return (kl_member){a, b, 0.5 / b};
    case KL_TERM_UNIFORM: return (kl_member){a, b, 1.0 / (b - a)};
    default: return (kl_member){a, b, 1.0 / b};
    }
}

KL_INLINE vi64 kl_member_serves(int term, kl_member m)
{
    const vi64 serves = kl_within_reach(m.c) & (kl_abs(m.a) < 0x1p200) & (kl_abs(m.b) < 0x1p200);
    return term == KL_TERM_WEIBULL || term == KL_TERM_PARETO ? serves & (m.a > 0x1p-200) : serves;
}

/* Of one parameter. */
KL_INLINE vf64 kl_coordinate_of_one(int term, vf64 p, vf64 q)
{
    const vi64 serves = kl_within_reach(p) & kl_within_reach(q);
    vf64 d = p - q, value;
    if (term == KL_TERM_EXPONENTIAL) value = kl_psi_of(q, p, -d, -d / p);
    else if (term == KL_TERM_POISSON) value = kl_term(p, q, d, kl_log_reduce(p, q, d));
    else {
        vf64 e = d / q;
        value = KL_FMA_F64(0.5 * e, e, kl_psi_of(p, q, d, e));
        if (term == KL_TERM_RAYLEIGH) value += value;
    }
    return kl_select(serves, value, kl_set_f64(NAN));
}

/* Of two. */
KL_INLINE vf64 kl_coordinate_of_two(int term, kl_member p, kl_member q)
{
    const vi64 serves = kl_member_serves(term, p) & kl_member_serves(term, q);
    vf64 value;
    if (term == KL_TERM_NORMAL) {
        vf64 d = p.b - q.b, e = d * q.c, u = (p.a - q.a) * q.c;
        value = KL_FMA_F64(kl_set_f64(0.5), KL_FMA_F64(e, e, u * u), kl_psi_of(p.b, q.b, d, e));
    } else {
        const kl_term_total s = kl_term_add(term, p, q, (kl_term_total){{0}, {0}});
        value = s.sum;
        if (term == KL_TERM_CAUCHY || term == KL_TERM_UNIFORM)
            value += kl_log_of(1.0 + s.excess, kl_set_f64(1), s.excess);
    }
    return kl_select(serves, value, kl_set_f64(NAN));
}

KL_INLINE void kl_line_of(int term, int both, const double *const *p, const double *const *q, int64_t n, double *out)
{
    for (int64_t k = 0; k < n; k += KL_W64) {
        vf64 value, pa = kl_load_f64(p[0] + k), qa = kl_load_f64(q[0] + k);
        if (term < KL_TERM_NORMAL) {
            value = kl_coordinate_of_one(term, pa, qa);
            if (both) value += kl_coordinate_of_one(term, qa, pa);
        } else {
            const kl_member x = kl_member_of(term, pa, kl_load_f64(p[1] + k));
            const kl_member y = kl_member_of(term, qa, kl_load_f64(q[1] + k));
            value = kl_coordinate_of_two(term, x, y);
            if (both) value += kl_coordinate_of_two(term, y, x);
        }
        kl_store_f64(out + k, value);
    }
}

/* out[k]: the value of coordinate k, for n of them, a multiple of KL_LANES; p[j], q[j]: their parameters number j. With
 * `both` also the other way round. */
static void kl_family_line(int32_t term, int32_t both, const double *const *p, const double *const *q, int64_t n,
                           double *out)
{
#define KL_LINE(name)                                                  \
    case name:                                                         \
        if (both) kl_line_of(name, 1, p, q, n, out);                   \
        else kl_line_of(name, 0, p, q, n, out);                        \
        return;
    switch (term) {
    KL_LINE(KL_TERM_HALF_NORMAL)
    KL_LINE(KL_TERM_RAYLEIGH)
    KL_LINE(KL_TERM_EXPONENTIAL)
    KL_LINE(KL_TERM_POISSON)
    KL_LINE(KL_TERM_NORMAL)
    KL_LINE(KL_TERM_LAPLACE)
    KL_LINE(KL_TERM_GUMBEL)
    KL_LINE(KL_TERM_WEIBULL)
    KL_LINE(KL_TERM_PARETO)
    KL_LINE(KL_TERM_CAUCHY)
    KL_LINE(KL_TERM_UNIFORM)
    }
#undef KL_LINE
}
