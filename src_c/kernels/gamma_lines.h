/* Coordinates of families with gamma functions, one a lane: families/gamma_terms.h and families/dirichlet.c in vectors,
 * and there the derivations. With log Gamma(z) = z log z - z + h(z),
 *     Gamma    a_q psi(m_p/m_q) + B_h(a_q, a_p),   m = a/b
 *     Chi2     g(df_q/2, df_p/2) + B_h(df_q/2, df_p/2)
 *     Beta     the Dirichlet of two components
 * B_h shifts both arguments by steps of 1 to where the series serves.
 *
 * A lane that needs no step keeps what it has while others take one: no value depends on its neighbours.
 */
#include "../families/gamma_series.h"

/* ab - cd with a relative error of 2u (Jeannerod, Louvet & Muller, Math. Comp. 82, 2013). */
KL_INLINE vf64 kl_determinant(vf64 a, vf64 b, vf64 c, vf64 d)
{
    vf64 product = c * d, error = kl_fma_exact(-c, d, product);
    return kl_fma_exact(a, b, -product) + error;
}

/* Bregman divergence of R at (x, y): d^2 R[y, x, y], a divided difference, by Horner's scheme on those of P, w = z^-2:
 *     (w f)[y, x, y] = w(y) f[y, x, y] + w[x, y] f[x, y] + w[y, x, y] f(y).
 * f1 and f2 are -f[x, y] and f[y, x, y] over ab, a = 1/x, b = 1/y. */
KL_INLINE vf64 kl_bregman_series(vf64 d, vf64 x, vf64 y)
{
    vf64 a = 1.0 / x, b = 1.0 / y, w = b * b, w1 = a + b, w2 = b * (w1 + b);
    vf64 f = kl_set_f64(KL_SHIFTED[KL_SHIFTED_TERMS - 1]), f1 = {0}, f2 = {0};
    for (int j = KL_SHIFTED_TERMS - 2; j >= 0; j--) {
        f2 = KL_FMA_F64(w, f2, KL_FMA_F64(a * b * w1, f1, w2 * f));
        f1 = KL_FMA_F64(a * a, f1, w1 * f);
        f = KL_FMA_F64(w, f, kl_set_f64(KL_SHIFTED[j]));
    }
    return (d * a) * (d * b) * (b * KL_FMA_F64(a, f1, f + f2));
}

/* d = x - y. */
KL_INLINE vf64 kl_bregman_h(vf64 d, vf64 x, vf64 y)
{
    vf64 sum = {0};
    for (int n = 0; n < KL_SHIFTED_TO; n++) {
        vi64 small = KL_MIN_F64(x, y) < (double)KL_SHIFTED_TO;
        if (!KL_BITS_F64(small)) break;
        vf64 p = x * (y + 1.0), q = y * (x + 1.0), step = (x + 1.0) * kl_psi_of(p, q, d, d / q);
        sum += kl_select(small, step, (vf64){0});
        x = kl_select(small, x + 1.0, x);
        y = kl_select(small, y + 1.0, y);
    }
    return sum + KL_FMA_F64(kl_set_f64(0.5), kl_psi_of(x, y, d, d / y), kl_bregman_series(d, x, y));
}

KL_INLINE vf64 kl_gamma_coordinate(vf64 ap, vf64 bp, vf64 aq, vf64 bq)
{
    vf64 p = ap * bq, q = aq * bp, d = kl_determinant(ap, bq, aq, bp);
    return KL_FMA_F64(aq, kl_psi_of(p, q, d, d / q), kl_bregman_h(aq - ap, aq, ap));
}

KL_INLINE vf64 kl_chi2_coordinate(vf64 p, vf64 q)
{
    vf64 x = 0.5 * q, y = 0.5 * p;
    return kl_generalized(x, y, x - y) + kl_bregman_h(x - y, x, y);
}

/* ---- Beta. With x, y the larger parameter of p, and q's, s, t the other, e = s - t, and det = x t - y s: -------- */

/* psi(x/y) - psi((x + s)/(y + t)): with k = det/(y (x + s)) that is k (d + e)/(y + t) + k - log(1 + k); where the
 * quotients are far from each other, as it stands. */
KL_INLINE vf64 kl_psi_gap(vf64 det, vf64 d, vf64 all, vf64 x, vf64 y, vf64 s, vf64 t)
{
    vf64 X = x + s, Y = y + t, q = y * X, k = det / q, ratio = all / Y;
    vf64 near = KL_FMA_F64(k, ratio, kl_psi_of(x * Y, q, det, k));
    vi64 far = kl_abs(k) > 0.5;
    if (!KL_BITS_F64(far)) return near;
    return kl_select(far, kl_psi_of(x, y, d, d / y) - kl_psi_of(X, Y, all, ratio), near);
}

/* A quantity at the first of two places, at the second, and the difference of the two. */
typedef struct { vf64 one, all, gap; } kl_twin;

KL_INLINE kl_twin kl_twin_product(kl_twin u, kl_twin v)
{
    return (kl_twin){u.one * v.one, u.all * v.all, KL_FMA_F64(u.gap, v.one, u.all * v.gap)};
}

KL_INLINE kl_twin kl_twin_sum(kl_twin u, kl_twin v) { return (kl_twin){u.one + v.one, u.all + v.all, u.gap + v.gap}; }

/* kl_bregman_series at (x, y) less that at (x + s, y + t). */
KL_INLINE vf64 kl_series_gap(vf64 d, vf64 e, vf64 x, vf64 y, vf64 s, vf64 t)
{
    vf64 a1 = 1.0 / x, a2 = 1.0 / (x + s), b1 = 1.0 / y, b2 = 1.0 / (y + t);
    vf64 c = kl_set_f64(KL_SHIFTED[KL_SHIFTED_TERMS - 1]);
    const kl_twin a = {a1, a2, s * a1 * a2}, b = {b1, b2, t * b1 * b2}, gap = {d, d + e, -e}, none = {{0}, {0}, {0}};
    const kl_twin wx = kl_twin_product(a, a), w1 = kl_twin_sum(a, b), w2 = kl_twin_product(b, kl_twin_sum(w1, b));
    const kl_twin w = kl_twin_product(b, b), across = kl_twin_product(kl_twin_product(a, b), w1);
    kl_twin f = {c, c, {0}}, f1 = none, f2 = none;
    for (int j = KL_SHIFTED_TERMS - 2; j >= 0; j--) {
        c = kl_set_f64(KL_SHIFTED[j]);
        f2 = kl_twin_sum(kl_twin_product(w, f2), kl_twin_sum(kl_twin_product(across, f1), kl_twin_product(w2, f)));
        f1 = kl_twin_sum(kl_twin_product(wx, f1), kl_twin_product(w1, f));
        f = kl_twin_sum(kl_twin_product(w, f), (kl_twin){c, c, {0}});
    }
    const kl_twin sizes = kl_twin_product(kl_twin_product(gap, a), kl_twin_product(gap, b));
    return kl_twin_product(sizes, kl_twin_product(b, kl_twin_sum(kl_twin_product(a, f1), kl_twin_sum(f, f2)))).gap;
}

/* What the larger parameters give, with them shifted; X, Y: the sums of all, and det, after that. */
typedef struct { vf64 value, X, Y, det; } kl_dominant;

KL_INLINE kl_dominant kl_dominant_part(vf64 x, vf64 y, vf64 d, vf64 s, vf64 t, vf64 e, vf64 det)
{
    vf64 gap = {0}, all = d + e;
    for (int n = 0; n < KL_SHIFTED_TO; n++) {
        vi64 small = KL_MIN_F64(x, y) < (double)KL_SHIFTED_TO;
        if (!KL_BITS_F64(small)) break;
        gap += kl_select(small, kl_psi_gap(det, d, all, x, y, s, t), (vf64){0});
        x = kl_select(small, x + 1.0, x);
        y = kl_select(small, y + 1.0, y);
        det = kl_select(small, det - e, det);
    }
    gap += KL_FMA_F64(kl_set_f64(0.5), kl_psi_gap(det, d, all, x, y, s, t), kl_series_gap(d, e, x, y, s, t));
    vf64 X = x + s, Y = y + t;
    return (kl_dominant){gap + kl_generalized(x * Y, y * X, det) / Y, X, Y, det};
}

KL_INLINE vf64 kl_beta_coordinate(vf64 ap, vf64 bp, vf64 aq, vf64 bq)
{
    vi64 turned = bp > ap;
    vf64 y = kl_select(turned, bp, ap), t = kl_select(turned, ap, bp), x = kl_select(turned, bq, aq);
    vf64 s = kl_select(turned, aq, bq), e = s - t;
    const kl_dominant top = kl_dominant_part(x, y, x - y, s, t, e, kl_determinant(x, t, y, s));
    vf64 rest = kl_generalized(s * top.Y, t * top.X, -top.det) / top.Y + kl_bregman_h(e, s, t);
    return rest + top.value;
}
