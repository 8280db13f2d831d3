/* The terms of the divergences, bin by bin: sums of nonnegative numbers in which nothing cancels.
 *
 * POWER, with t = 1 - s, x = -t log(p/q) and gamma(x) = e^x - 1 - x:  p^s q^t = p e^x, and
 *     s p + t q - p^s q^t = t g(p, q) - p gamma(x),   divided by s t:   (g - p gamma(x) / t) / s,
 * which tends to KL as t -> 0. For t < 0 both parts add up; for 0 < t <= 1/2 at most about half cancels. Where |x| > 1
 * the left side is taken as it stands. s = 1/2 (Hellinger) and s = 2 (chi-squared) need no logarithm.
 */
KL_INLINE vf64 kl_sqrt(vf64 x)
{
    KL_UNROLL for (int i = 0; i < KL_W64; i++) x[i] = sqrt(x[i]);
    return x;
}

typedef struct { vf64 term, overlap; } kl_power_bin; /* overlap: p^s q^t */

KL_INLINE kl_power_bin kl_power(vf64 p, vf64 q, vf64 g, vf64x2 log, double s, double t)
{
    vf64 x = log.high * -t, error = kl_fma_exact(log.high, kl_set_f64(-t), -x);
    vi64 near = kl_abs(x) <= 1.0, over = x > 1400.0;
    vf64 close = kl_select(near, x, (vf64){0}), gamma = kl_gamma_near(close);
    vf64 far = p * kl_exp(kl_select(over, kl_set_f64(1400), x), KL_FMA_F64(log.low, kl_set_f64(-t), error));
    vf64 overlap = kl_select(near, p + p * (close + gamma), far);
    vf64 term = kl_select(near, (g - p * (gamma / t)) / s, (s * p + t * q - far) / (s * t));
    vi64 no_p = log.high == -INFINITY, no_q = log.high == INFINITY;
    vf64 alone = t > 0 ? p / t : kl_set_f64(INFINITY); /* what p adds where q is 0 */
    term = kl_select(no_p, q / s, kl_select(no_q, alone, term));
    vi64 both = log.high != log.high;
    return (kl_power_bin){kl_select(both, (vf64){0}, term), kl_select(no_p | no_q | both, (vf64){0}, overlap)};
}

/* g(p, m) for a mixture m; d = p - m. */
KL_INLINE vf64 kl_g(vf64 p, vf64 m, vf64 d)
{
    return kl_select(p == 0, m, kl_term(p, m, d, kl_log_reduce(p, m, d)));
}

/* One vector of terms of the bins at k. `kind`, and POWER's special numbers, are constants where this is inlined. */
KL_INLINE vf64 kl_term_of(int kind, double number, double rest, const kl_bins *b, int64_t k, vf64 *overlap)
{
    vf64 p = kl_load_f64(b->p + k), q = kl_load_f64(b->q + k), d = kl_load_f64(b->d + k), g;
    vi64 apart = (p == 0) ^ (q == 0), both = (p == 0) & (q == 0);
    vf64x2 log;
    switch (kind) {
    case KL_KL: return kl_select((q == 0) & (p > 0), kl_set_f64(INFINITY), kl_load_f64(b->g + k));
    case KL_JEFFREYS:
        g = kl_select(apart, kl_set_f64(INFINITY), d * kl_load_f64(b->log + k));
        return kl_select(both, (vf64){0}, g);
    case KL_ITAKURA_SAITO:
        log.high = kl_load_f64(b->log + k);
        g = kl_select(kl_abs(log.high) <= 1.0, kl_gamma_near(log.high), p / q - 1.0 - log.high);
        return kl_select(apart, kl_set_f64(INFINITY), kl_select(both, (vf64){0}, g));
    case KL_POWER:
        if (number == 0.5) {
            vf64 rp = kl_sqrt(p), rq = kl_sqrt(q), r = kl_select(both, (vf64){0}, d / (rp + rq));
            *overlap = rp * rq;
            return 2.0 * r * r;
        }
        if (number == 2) {
            *overlap = (vf64){0};
            return kl_select(both, (vf64){0}, 0.5 * d * (d / q));
        }
        log = (vf64x2){kl_load_f64(b->log + k), kl_load_f64(b->low + k)};
        kl_power_bin power = kl_power(p, q, kl_load_f64(b->g + k), log, number, rest);
        *overlap = power.overlap;
        return power.term;
    case KL_SKEW_JS: {
        vf64 m = number * p + (1 - number) * q;
        g = number * kl_g(p, m, (1 - number) * d) + (1 - number) * kl_g(q, m, -number * d);
        return kl_select(both, (vf64){0}, g);
    }
    case KL_SKEW_KL: return kl_select(both, (vf64){0}, kl_g(p, (1 - number) * p + number * q, number * d));
    case KL_TRIANGULAR: return kl_select(both, (vf64){0}, d * (d / (p + q)));
    default: return 0.5 * kl_abs(d);
    }
}

/* What of a bin the term takes: see kl_fill. */
KL_INLINE int kl_needs_of(int kind, double number)
{
    switch (kind) {
    case KL_KL: return KL_NEEDS_G;
    case KL_JEFFREYS: case KL_ITAKURA_SAITO: return KL_NEEDS_LOG;
    case KL_POWER: return number == 0.5 || number == 2 ? 0 : KL_NEEDS_LOG | KL_NEEDS_LOW | KL_NEEDS_G;
    default: return 0;
    }
}

/* f'' at p = q over p: what an error common to all bins of a row costs is half of it times its square. */
KL_INLINE double kl_curvature(int kind, double number)
{
    switch (kind) {
    case KL_JEFFREYS: return 2;
    case KL_SKEW_JS: return number * (1 - number);
    case KL_SKEW_KL: return number * number;
    default: return 1;
    }
}
