/* KL of coordinates of a family, one a lane, from their parameters as they are: for values row by row, where no number
 * of a row serves another pair. Terms as in family_terms.h, trial_lines.h, gamma_lines.h, and, psi(r) = r - 1 - log r,
 *     Normal           psi(s_p/s_q) + (e^2 + u^2)/2,   e = (s_p - s_q)/s_q, u = (m_p - m_q)/s_q
 *     HalfNormal       psi(s_p/s_q) + e^2/2, since psi(r^2) = (r - 1)^2 + 2 psi(r)
 *     Rayleigh         twice that
 *     Exponential      psi(r_q/r_p)
 *     Poisson          r_p log(r_p/r_q) - r_p + r_q
 *     InverseGaussian  (psi(l_q/l_p) + l_q (m_p - m_q)^2/(m_q^2 m_p))/2
 * A coordinate with a parameter beyond 2^+-200, or where the terms do not hold, is NaN: the direct form has the pair.
 */
#include "trial_lines.h"
#include "gamma_lines.h"

KL_INLINE vi64 kl_within_reach(vf64 x) { return (x > 0x1p-200) & (x < 0x1p200); }

/* Of one parameter. */
KL_INLINE vf64 kl_coordinate_of_one(int term, vf64 p, vf64 q)
{
    vi64 serves = kl_within_reach(p) & kl_within_reach(q);
    vf64 d = p - q, value;
    switch (term) {
    case KL_TERM_EXPONENTIAL: value = kl_psi_of(q, p, -d, -d / p); break;
    case KL_TERM_POISSON: value = kl_generalized(p, q, d); break;
    case KL_TERM_CHI2: value = kl_chi2_coordinate(p, q); break;
    case KL_TERM_LOGIT: return kl_logit_coordinate(p, q);
    case KL_TERM_BERNOULLI: case KL_TERM_GEOMETRIC:
        value = kl_trial(p, q);
        serves = kl_is_inside(p) & kl_is_inside(q);
        if (term == KL_TERM_GEOMETRIC) value /= p;
        break;
    default: { /* KL_TERM_HALF_NORMAL, KL_TERM_RAYLEIGH */
        vf64 e = d / q;
        value = KL_FMA_F64(0.5 * e, e, kl_psi_of(p, q, d, e));
        if (term == KL_TERM_RAYLEIGH) value += value;
    }
    }
    return kl_select(serves, value, kl_set_f64(NAN));
}

/* A coordinate's two parameters and, for terms that tiles have too, the reciprocal that the family's `terms` adds. */
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
    switch (term) {
    case KL_TERM_GAMMA: case KL_TERM_BETA: case KL_TERM_INVERSE_GAUSSIAN: case KL_TERM_WEIBULL: case KL_TERM_PARETO:
        return kl_within_reach(m.a) & kl_within_reach(m.b);
    case KL_TERM_BINOMIAL: case KL_TERM_NEGATIVE_BINOMIAL: return kl_is_inside(m.b);
    default: return kl_within_reach(m.c) & (kl_abs(m.a) < 0x1p200) & (kl_abs(m.b) < 0x1p200);
    }
}

KL_INLINE vf64 kl_inverse_gaussian_coordinate(kl_member p, kl_member q)
{
    vf64 d = q.b - p.b, gap = (p.a - q.a) / q.a;
    return 0.5 * KL_FMA_F64(gap, gap * (q.b / p.a), kl_psi_of(q.b, p.b, d, d * p.c));
}

/* Of two. */
KL_INLINE vf64 kl_coordinate_of_two(int term, kl_member p, kl_member q)
{
    vi64 serves = kl_member_serves(term, p) & kl_member_serves(term, q);
    vf64 value;
    switch (term) {
    case KL_TERM_NORMAL: {
        vf64 d = p.b - q.b, e = d * q.c, u = (p.a - q.a) * q.c;
        value = KL_FMA_F64(kl_set_f64(0.5), KL_FMA_F64(e, e, u * u), kl_psi_of(p.b, q.b, d, e));
        break;
    }
    case KL_TERM_INVERSE_GAUSSIAN: value = kl_inverse_gaussian_coordinate(p, q); break;
    case KL_TERM_GAMMA: value = kl_gamma_coordinate(p.a, p.b, q.a, q.b); break;
    case KL_TERM_BETA: value = kl_beta_coordinate(p.a, p.b, q.a, q.b); break;
    case KL_TERM_BINOMIAL: case KL_TERM_NEGATIVE_BINOMIAL:
        value = p.a * kl_trial(p.b, q.b);
        if (term == KL_TERM_NEGATIVE_BINOMIAL) value /= 1.0 - p.b;
        serves &= kl_counts_serve(term == KL_TERM_BINOMIAL, p.a, q.a);
        break;
    default: {
        const kl_term_total s = kl_term_add(term, p, q, (kl_term_total){{0}, {0}});
        value = s.sum;
        if (term == KL_TERM_CAUCHY || term == KL_TERM_UNIFORM) value += kl_log_beyond_one(s.excess);
    }
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
    KL_LINE(KL_TERM_BERNOULLI)
    KL_LINE(KL_TERM_LOGIT)
    KL_LINE(KL_TERM_GEOMETRIC)
    KL_LINE(KL_TERM_CHI2)
    KL_LINE(KL_TERM_NORMAL)
    KL_LINE(KL_TERM_BINOMIAL)
    KL_LINE(KL_TERM_NEGATIVE_BINOMIAL)
    KL_LINE(KL_TERM_INVERSE_GAUSSIAN)
    KL_LINE(KL_TERM_GAMMA)
    KL_LINE(KL_TERM_BETA)
    KL_LINE(KL_TERM_LAPLACE)
    KL_LINE(KL_TERM_GUMBEL)
    KL_LINE(KL_TERM_WEIBULL)
    KL_LINE(KL_TERM_PARETO)
    KL_LINE(KL_TERM_CAUCHY)
    KL_LINE(KL_TERM_UNIFORM)
    }
#undef KL_LINE
}
