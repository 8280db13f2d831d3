/* Coordinates of families of Bernoulli trials, one a lane: families/counts.c in vectors. With
 * g(a, b) = a log(a/b) - a + b
 *     Bernoulli            g(p, q) + g(1 - p, 1 - q)
 *     Geometric            that over p
 *     Binomial             total_count times that, where the counts are equal
 *     NegativeBinomial     total_count/(1 - p) times that
 * for probabilities inside (0, 1), and from logits log(1 + w gamma(-v t) + v gamma(w t)), w = 1 - v = sigmoid(a) of
 * p's logit a, t = a - b.
 */
KL_INLINE vi64 kl_is_inside(vf64 p) { return (p > 0x1p-200) & (p < 1.0); }

KL_INLINE vf64 kl_generalized(vf64 p, vf64 q, vf64 d) { return kl_term(p, q, d, kl_log_reduce(p, q, d)); }

KL_INLINE vf64 kl_trial(vf64 p, vf64 q)
{
    vf64 d = p - q;
    return kl_generalized(p, q, d) + kl_generalized(1.0 - p, 1.0 - q, -d);
}

/* log(1 + x), relative to itself. */
KL_INLINE vf64 kl_log_beyond_one(vf64 x) { return kl_log_of(1.0 + x, kl_set_f64(1), x); }

/* e^x of x <= 0. */
KL_INLINE vf64 kl_falling_exp(vf64 x) { return kl_exp(x, (vf64){0}); }

/* Of a logit beyond 600: NaN, as of NaN. */
KL_INLINE vf64 kl_logit_coordinate(vf64 p, vf64 q)
{
    vi64 turned = p > 0;
    vf64 a = kl_select(turned, -p, p), b = kl_select(turned, -q, q), t = a - b;
    vf64 odds = kl_falling_exp(a), v = 1.0 / (1.0 + odds), w = odds * v;
    vi64 far = kl_abs(t) > 8.0; /* e^t has an error of |t| u */
    vf64 reached = kl_select(far, (vf64){0}, t);
    vf64 value = kl_log_beyond_one(KL_FMA_F64(w, kl_gamma_of(-v * reached), v * kl_gamma_of(w * reached)));
    if (KL_BITS_F64(far)) { /* softplus(b) - softplus(a) + w t */
        vf64 above = kl_select(b > 0, b, (vf64){0}), rest = kl_log_beyond_one(kl_falling_exp(-kl_abs(b)));
        value = kl_select(far, above + ((rest - kl_log_beyond_one(odds)) + w * t), value);
    }
    return kl_select((kl_abs(p) < 600.0) & (kl_abs(q) < 600.0), value, kl_set_f64(NAN));
}

/* Of total counts n; whole numbers have at most 52 bits here. */
KL_INLINE vi64 kl_counts_serve(int whole, vf64 p, vf64 q)
{
    vi64 serves = (p == q) & (p > 0x1p-200) & (p < 0x1p51);
    return whole ? serves & ((p + 0x1p52) - 0x1p52 == p) : serves;
}
