"""The specification of the parametric families: divergence and entropy of two rows of parameters, plain and slow.

Rows are sequences of floats, taken as the exact numbers that they are, in the layout of ``src_c/families/families.h``.
Values are mpmath numbers with at least 40 correct digits (mpmath is needed, and only here).

    kl(family, p, q)                the closed form
    kl_again(family, p, q)          a second formula: the Bregman divergence of the log-partition function with
                                    numerical derivatives, or a numerical integral (then fewer digits)
    chernoff(family, p, q, s)       |log of the integral of p^s q^(1-s)| by the log-partition function
    entropy(family, p)              the closed form
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from . import _family_forms as forms
from . import _family_forms_more as more

DIGITS = 60


@dataclass(frozen=True)
class Family:
    """Closed forms of one coordinate (or of a whole row, if `parameters` is 0).

    log_partition and natural define the exponential family: KL(p||q) is the Bregman divergence of the first,
    A(eta_q) - A(eta_p) - (eta_q - eta_p) . grad A(eta_p). Where they are missing, log_density and support are
    integrated. space tells whether natural parameters are such: those between two are, those beyond one may not be.
    """

    parameters: int
    kl: Callable
    entropy: Callable | None = None
    natural: Callable | None = None
    log_partition: Callable | None = None
    common: int | None = None          # number of the parameter that must agree for `natural` to hold
    log_density: Callable | None = None
    support: Callable | None = None    # (mp, p, q): points between which both densities are smooth
    log_integral: Callable | None = None  # (mp, p, q, s): of p^s q^(1-s), where `natural` does not hold
    space: Callable = forms.everywhere


FAMILIES: dict[str, Family] = {
    "normal": Family(2, forms.kl_normal, forms.h_normal, forms.eta_normal, forms.A_normal,
                     space=forms.last_negative),
    "log_normal": Family(2, forms.kl_normal, forms.h_log_normal, forms.eta_normal, forms.A_normal,
                         space=forms.last_negative),
    "half_normal": Family(1, forms.kl_half_normal, forms.h_half_normal, forms.eta_square, forms.A_half_log,
                          space=forms.last_negative),
    "rayleigh": Family(1, forms.kl_rayleigh, forms.h_rayleigh, forms.eta_square, forms.A_log,
                       space=forms.last_negative),
    "multivariate_normal": Family(0, forms.kl_mvn, forms.h_mvn, forms.eta_mvn, forms.A_mvn, space=forms.space_mvn),
    "bernoulli": Family(1, forms.kl_bernoulli, forms.h_bernoulli, forms.eta_bernoulli, forms.A_bernoulli),
    "bernoulli_logits": Family(1, forms.kl_logits, forms.h_logits, lambda mp, t: [t[0]], forms.A_bernoulli),
    "binomial": Family(2, forms.kl_binomial, None, forms.eta_binomial, forms.A_binomial, common=0),
    "geometric": Family(1, forms.kl_geometric, forms.h_geometric, forms.eta_geometric, forms.A_geometric,
                        space=forms.last_negative),
    "negative_binomial": Family(2, forms.kl_negative_binomial, None, forms.eta_negative_binomial,
                                forms.A_negative_binomial, common=0, space=forms.first_negative),
    "poisson": Family(1, forms.kl_poisson, None, lambda mp, t: [mp.log(t[0])], lambda mp, e: mp.exp(e[0])),
    "exponential": Family(1, forms.kl_exponential, forms.h_exponential, lambda mp, t: [-t[0]], forms.A_log,
                          space=forms.last_negative),
    "gamma": Family(2, forms.kl_gamma, forms.h_gamma, lambda mp, t: [t[0], -t[1]], forms.A_gamma,
                    space=forms.space_gamma),
    "inverse_gamma": Family(2, forms.kl_gamma, forms.h_inverse_gamma, lambda mp, t: [t[0], -t[1]], forms.A_gamma,
                            space=forms.space_gamma),
    "chi2": Family(1, forms.kl_chi2, forms.h_chi2, lambda mp, t: [t[0] / 2], lambda mp, e: mp.loggamma(e[0]),
                   space=forms.all_positive),
    "beta": Family(2, forms.kl_dirichlet, forms.h_dirichlet, lambda mp, t: list(t), forms.A_dirichlet,
                   space=forms.all_positive),
    "dirichlet": Family(0, forms.kl_dirichlet, forms.h_dirichlet, lambda mp, t: list(t), forms.A_dirichlet,
                        space=forms.all_positive),
    "inverse_gaussian": Family(2, forms.kl_inverse_gaussian, forms.h_inverse_gaussian, forms.eta_inverse_gaussian,
                               forms.A_inverse_gaussian, space=forms.space_inverse_gaussian),
    "von_mises": Family(2, more.kl_von_mises, more.h_von_mises, more.eta_von_mises, more.A_von_mises_fisher),
    "von_mises_fisher": Family(0, more.kl_von_mises_fisher, more.h_von_mises_fisher, more.eta_von_mises_fisher,
                               more.A_von_mises_fisher),
    "wishart": Family(0, forms.kl_wishart, forms.h_wishart, forms.eta_wishart, forms.A_wishart,
                      space=forms.space_wishart),
    "pareto": Family(2, more.kl_pareto, more.h_pareto, lambda mp, t: [-t[1]], forms.A_log, 0,
                     more.log_pareto, more.beyond, None, forms.last_negative),
    "weibull": Family(2, more.kl_weibull, more.h_weibull, lambda mp, t: [-t[0] ** -t[1]], forms.A_log, 1,
                      more.log_weibull, more.positive, None, forms.last_negative),
    "laplace": Family(2, more.kl_laplace, more.h_laplace, lambda mp, t: [-1 / t[1]], forms.A_log, 0,
                      more.log_laplace, more.around, more.log_integral_laplace, forms.last_negative),
    "gumbel": Family(2, more.kl_gumbel, more.h_gumbel, log_density=more.log_gumbel, support=more.above),
    "cauchy": Family(2, more.kl_cauchy, more.h_cauchy, log_density=more.log_cauchy, support=more.around),
    "uniform": Family(2, more.kl_uniform, more.h_uniform, log_density=more.log_uniform,
                      support=lambda mp, p, q: p),
}


def kl(family: str, p, q):
    """``KL(p || q)`` by the closed form, exactly 0 for equal rows."""
    return _kl_rows(family, p, q, lambda f: f.kl)


def kl_again(family: str, p, q):
    """``KL(p || q)`` by a second formula, to 25 digits (10 where it is an integral)."""
    if not exponential(family, p, q):
        return _integrated(family, p, q)
    return _kl_rows(family, p, q, _bregman)


def chernoff(family: str, p, q, s: float):
    """``|log of the integral of p^s q^(1-s)|``, 0 < s not 1, of exponential families, Laplace, Gumbel of one scale."""
    return _kl_rows(family, p, q, lambda f: _log_integral(f, s))


def exponential(family: str, p, q) -> bool:
    """Whether the second formula is the Bregman divergence of a log-partition function."""
    f = FAMILIES[family]
    pairs = zip(coordinates(family, p), coordinates(family, q))
    return f.natural is not None and (f.common is None or all(a[f.common] == b[f.common] for a, b in pairs))


def entropy(family: str, p):
    """Entropy in nats by the closed form."""
    mp = _context(DIGITS)
    return mp.fsum(FAMILIES[family].entropy(mp, t) for t in _exact(mp, coordinates(family, p)))


def coordinates(family: str, row) -> list[list[float]]:
    """The parameters of each coordinate of a product family; the whole row of any other."""
    n = FAMILIES[family].parameters
    row = [float(x) for x in row]
    return [row[i::len(row) // n] for i in range(len(row) // n)] if n else [row]


def _exact(mp, rows):
    return [[mp.mpf(x) for x in row] for row in rows]


def _context(digits):
    from mpmath.ctx_mp import MPContext

    mp = MPContext()
    mp.dps = digits
    return mp


def _kl_rows(family, p, q, formula):
    left, right = coordinates(family, p), coordinates(family, q)
    total = 0
    for a, b in zip(left, right):
        if a != b:
            total = total + _settled(formula(FAMILIES[family]), a, b)
    return total


def _settled(formula, p, q):
    """A value >= 0 with as many digits as it takes for 40 of them not to change any more."""
    sizes = [abs(math.frexp(x)[1]) for x in (*p, *q) if math.isfinite(x)]
    digits, last = DIGITS + max(sizes, default=0), None  # so that 1 - p and p + q are seen as what they are
    while digits < 20_000:
        mp = _context(digits)
        value = formula(mp, [mp.mpf(x) for x in p], [mp.mpf(x) for x in q])
        unchanged = last is not None and abs(value - last) <= abs(value) * mp.mpf(10) ** -40
        if value == mp.inf or unchanged and (value or digits > 1000):  # 0 so far: it may be e^-745
            return value
        last, digits = value, 2 * digits
    if abs(value) < mp.mpf(10) ** -10_000:
        return mp.mpf(0)  # equal distributions with different parameters
    raise ArithmeticError(f"{formula} does not settle for {p}, {q}")


def _bregman(family: Family):
    """A(eta_q) - A(eta_p) - (eta_q - eta_p) . grad A(eta_p), the gradient by central differences."""

    def formula(mp, p, q):
        left, right = family.natural(mp, p), family.natural(mp, q)

        def A(eta):
            return family.log_partition(mp, eta)

        digits = mp.dps
        value = A(right) - A(left)
        for k, (a, b) in enumerate(zip(left, right)):
            if a == b:
                continue
            step = (abs(a) if a else mp.mpf(1)) * mp.mpf(10) ** (-digits // 4)
            slope = mp.mpf(0)
            for offset, weight in ((1, mp.mpf(3) / 4), (2, -mp.mpf(3) / 20), (3, mp.mpf(1) / 60)):
                up, down = list(left), list(left)
                up[k], down[k] = a + offset * step, a - offset * step
                slope += weight * (A(up) - A(down)) / step
            value -= (b - a) * slope
        return value

    return formula


def _log_integral(family: Family, s: float):
    """The gap of the log-partition function between its value on the line of p and q and the line of its values."""

    def formula(mp, p, q):
        S, f = mp.mpf(s), family
        if f.log_integral is not None:
            return abs(f.log_integral(mp, p, q, S))
        if f.natural is None:  # Gumbel: e^(-x/b) is exponential, of rate e^(loc/b)
            f = FAMILIES["exponential"]
            p, q = ([mp.exp(t[0] / t[1])] for t in (p, q))
        a, b = f.natural(mp, p), f.natural(mp, q)
        on_line = [S * u + (1 - S) * v for u, v in zip(a, b)]
        if not f.space(mp, on_line):
            return mp.inf
        return abs(f.log_partition(mp, on_line) - S * f.log_partition(mp, a) - (1 - S) * f.log_partition(mp, b))

    return formula


def _integrated(family, p, q):
    """The integral of p log(p/q) over the support, coordinate by coordinate."""
    f, total = FAMILIES[family], 0
    for a, b in zip(coordinates(family, p), coordinates(family, q)):
        mp = _context(30)
        left, right = ([mp.mpf(x) for x in t] for t in (a, b))
        if f.kl(mp, left, right) == mp.inf:  # where q has no mass is not for quadrature to find
            return mp.inf

        def integrand(x):
            log_p = f.log_density(mp, left, x)
            return mp.exp(log_p) * (log_p - f.log_density(mp, right, x)) if log_p > mp.ninf else mp.mpf(0)

        total = total + mp.quad(integrand, f.support(mp, left, right))
    return total

