"""Closed forms in mpmath, continued: directions, and families with a location or a tail (see _family_forms)."""

from __future__ import annotations

TERMS = 10**8  # of a series, at most; mpmath by itself would give up sooner


def log_bessel(mp, d, kappa):
    """log I_nu(kappa) - nu log kappa up to a constant, nu = d/2 - 1."""
    return mp.log(mp.hyp0f1(mp.mpf(d) / 2, kappa**2 / 4, maxterms=TERMS))


def mean_length(mp, d, kappa):
    """A_d(kappa) = I_(d/2) / I_(d/2-1)."""
    half = mp.mpf(d) / 2
    z = kappa**2 / 4
    return kappa / d * mp.hyp0f1(half + 1, z, maxterms=TERMS) / mp.hyp0f1(half, z, maxterms=TERMS)


def _kl_directions(mp, d, a, b, cosine):
    length = mean_length(mp, d, a)
    return log_bessel(mp, d, b) - log_bessel(mp, d, a) + length * (a - b * cosine)


def kl_von_mises(mp, p, q):
    return _kl_directions(mp, 2, p[1], q[1], mp.cos(p[0] - q[0]))


def h_von_mises(mp, t):
    return mp.log(2 * mp.pi) + log_bessel(mp, 2, t[1]) - t[1] * mean_length(mp, 2, t[1])


def eta_von_mises(mp, t):
    return [t[1] * mp.cos(t[0]), t[1] * mp.sin(t[0])]


def A_von_mises_fisher(mp, e):
    return log_bessel(mp, len(e), mp.sqrt(mp.fsum(x**2 for x in e)))


def kl_von_mises_fisher(mp, p, q):
    mu, nu, d = p[:-1], q[:-1], len(p) - 1
    cosine = mp.fdot(mu, nu) / mp.sqrt(mp.fdot(mu, mu) * mp.fdot(nu, nu))
    return _kl_directions(mp, d, p[-1], q[-1], cosine)


def h_von_mises_fisher(mp, t):
    d, kappa = len(t) - 1, t[-1]
    half = mp.mpf(d) / 2
    area = mp.log(2) + half * mp.log(mp.pi) - mp.loggamma(half)  # of the unit sphere: kappa = 0
    return area + log_bessel(mp, d, kappa) - kappa * mean_length(mp, d, kappa)


def eta_von_mises_fisher(mp, t):
    norm = mp.sqrt(mp.fdot(t[:-1], t[:-1]))
    return [t[-1] * x / norm for x in t[:-1]]


# ---- location and scale ----------------------------------------------------------------------------------------


def kl_pareto(mp, p, q):
    if p[0] < q[0]:
        return mp.inf
    s = q[1] / p[1]
    return q[1] * mp.log(p[0] / q[0]) + s - 1 - mp.log(s)


def h_pareto(mp, t):
    return mp.log(t[0] / t[1]) + 1 + 1 / t[1]


def log_pareto(mp, t, x):
    return mp.log(t[1] / t[0]) - (t[1] + 1) * mp.log(x / t[0])


def kl_weibull(mp, p, q):
    (lp, kp), (lq, kq) = p, q
    return (mp.log(kp / lp**kp) - mp.log(kq / lq**kq) + (kp - kq) * (mp.log(lp) - mp.euler / kp)
            + (lp / lq) ** kq * mp.gamma(kq / kp + 1) - 1)


def h_weibull(mp, t):
    return mp.euler * (1 - 1 / t[1]) + mp.log(t[0] / t[1]) + 1


def log_weibull(mp, t, x):
    return mp.log(t[1] / t[0]) + (t[1] - 1) * mp.log(x / t[0]) - (x / t[0]) ** t[1]


def kl_laplace(mp, p, q):
    gap = abs(p[0] - q[0])
    return mp.log(q[1] / p[1]) + (p[1] * mp.exp(-gap / p[1]) + gap) / q[1] - 1


def h_laplace(mp, t):
    return 1 + mp.log(2 * t[1])


def log_laplace(mp, t, x):
    return -mp.log(2 * t[1]) - abs(x - t[0]) / t[1]


def log_integral_laplace(mp, p, q, s):
    gap, a, b = abs(p[0] - q[0]), s / p[1], (1 - s) / q[1]
    if a + b <= 0:
        return mp.inf
    inner = gap * mp.exp(-a * gap) if a == b else (mp.exp(-a * gap) - mp.exp(-b * gap)) / (b - a)
    total = (mp.exp(-a * gap) + mp.exp(-b * gap)) / (a + b) + inner
    return mp.log(total) - s * mp.log(2 * p[1]) - (1 - s) * mp.log(2 * q[1])


def kl_gumbel(mp, p, q):
    r, gap = p[1] / q[1], (q[0] - p[0]) / q[1]
    return mp.log(q[1] / p[1]) + mp.euler * (r - 1) + mp.exp(gap) * mp.gamma(r + 1) - 1 - gap


def h_gumbel(mp, t):
    return mp.log(t[1]) + mp.euler + 1


def log_gumbel(mp, t, x):
    z = (x - t[0]) / t[1]
    return -mp.log(t[1]) - z - mp.exp(-z)


def kl_cauchy(mp, p, q):
    return mp.log(((p[1] + q[1]) ** 2 + (p[0] - q[0]) ** 2) / (4 * p[1] * q[1]))


def h_cauchy(mp, t):
    return mp.log(4 * mp.pi * t[1])


def log_cauchy(mp, t, x):
    return -mp.log(mp.pi * t[1] * (1 + ((x - t[0]) / t[1]) ** 2))


def around(mp, p, q):
    """Points between which a density with location and scale is smooth, and which share out its mass."""
    return [-mp.inf, *sorted({p[0] - 3 * p[1], p[0], q[0], p[0] + 3 * p[1], p[0] + 30 * p[1]}), mp.inf]


def above(mp, p, q):
    return [p[0] - 6 * p[1], p[0], p[0] + 3 * p[1], p[0] + 30 * p[1], mp.inf]  # mass below: exp(-exp(6))


def beyond(mp, p, q):
    return [p[0], 2 * p[0], 10 * p[0], mp.inf]


def positive(mp, p, q):
    return [mp.mpf(0), p[0] / 10, p[0], 3 * p[0], mp.inf]


def kl_uniform(mp, p, q):
    return mp.log((q[1] - q[0]) / (p[1] - p[0])) if q[0] <= p[0] and p[1] <= q[1] else mp.inf


def h_uniform(mp, t):
    return mp.log(t[1] - t[0])


def log_uniform(mp, t, x):
    return -mp.log(t[1] - t[0]) if t[0] <= x <= t[1] else mp.ninf
