"""Divergences of any two scipy.stats distributions: by a family's closed form where there is one, else by quadrature.

    kl_scipy(scipy.stats.norm(0, 1), scipy.stats.t(5))      Quadrature(value=..., error=..., method='quadrature')

A convenience, and slow: a quadrature is thousands of calls of Python functions, and reaches 1e-8 at best where the
closed forms reach 1e-14. For many pairs use the families of klfast.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.integrate

from . import distributions as families


@dataclass(frozen=True)
class Quadrature:
    """A value in nats, an estimate of its absolute error (NaN: by closed form), and how it was found."""

    value: float
    error: float
    method: str


def from_scipy(frozen):
    """A frozen scipy.stats distribution as one of klfast's families.

    Parameters
    ----------
    frozen : scipy.stats frozen distribution
        Such as ``scipy.stats.norm(1, 2)``.

    Returns
    -------
    distribution
        One distribution, without batch axes.

    Raises
    ------
    ValueError
        No family has this distribution (a shifted gamma, say, or Student's t).
    """
    dist = getattr(frozen, "dist", frozen)
    name = getattr(dist, "name", None)
    special = {"multivariate_normal_frozen": _multivariate_normal, "dirichlet_frozen": _dirichlet,
               "vonmises_fisher_frozen": _von_mises_fisher, "wishart_frozen": _wishart}
    if type(frozen).__name__ in special:
        return special[type(frozen).__name__](frozen)
    if name not in _FROM_SCIPY or not hasattr(frozen, "kwds"):
        raise ValueError(f"no family of klfast is scipy.stats' {name or type(frozen).__name__}")
    shapes = dist.shapes.replace(" ", "").split(",") if dist.shapes else []
    names = [*shapes, "loc", *([] if hasattr(dist, "pmf") else ["scale"])]
    values = dict(zip(names, frozen.args)) | frozen.kwds
    loc, scale = float(values.pop("loc", 0.0)), float(values.pop("scale", 1.0))
    made = _FROM_SCIPY[name](loc, scale, **{key: float(x) for key, x in values.items()})
    if made is None:
        raise ValueError(f"no family of klfast is scipy.stats' {name} with loc={loc:g}, scale={scale:g}")
    return made


def kl_scipy(p, q, *, closed_form=None) -> Quadrature:
    r"""``KL(P || Q)`` of two frozen one-dimensional scipy.stats distributions, in nats.

    Parameters
    ----------
    p, q : scipy.stats frozen distributions
        Both continuous or both discrete.
    closed_form : callable, optional
        ``closed_form(P, Q)`` of two klfast distributions of one family, where both are such; without it the value is
        integrated all the same.

    Returns
    -------
    Quadrature
        The value, an estimate of its error, and the method. inf where p has mass and q has none.

    Notes
    -----
    The integral is that of ``p log(p/q) - p + q``, never negative, over p's support, plus ``1 - (mass of q there)``,
    cut at quantiles of both distributions so that narrow peaks are found.
    """
    if closed_form is not None:
        try:
            P, Q = from_scipy(p), from_scipy(q)
        except ValueError:
            P = Q = None
        if P is not None and P.family == Q.family:
            return Quadrature(float(closed_form(P, Q)), float("nan"), "closed form")
    if hasattr(p.dist, "pmf") != hasattr(q.dist, "pmf"):
        raise ValueError("KL needs two densities or two mass functions; got one of each")
    (low, high), (low_q, high_q) = p.support(), q.support()
    if low < low_q or high > high_q:
        return Quadrature(float("inf"), 0.0, "support")
    outside = q.cdf(low) + q.sf(high) if not hasattr(p.dist, "pmf") else q.cdf(low - 1) + q.sf(high)
    if hasattr(p.dist, "pmf"):
        value, error = _sum(p, q)
        method = "sum"
    else:
        value, error = _integral(p, q, low, high)
        method = "quadrature"
    return Quadrature(float(value + outside), float(error), method)


def divergence_scipy(P, Q, divergence="kl") -> float:
    """A divergence of two frozen scipy.stats distributions: what `klfast.rowwise` does with such.

    By a family where one fits both and has the divergence; else, for kl, reverse_kl and jeffreys, by `kl_scipy`.

    Parameters
    ----------
    P, Q : scipy.stats frozen distributions
    divergence : str or Divergence

    Returns
    -------
    float
        In nats.

    Raises
    ------
    ValueError
        Another divergence of distributions that are not of one family; one density and one mass function.
    """
    from .compute import rowwise
    from .divergences import find

    d = find(divergence)
    try:
        p, q = families.comparable(from_scipy(P), from_scipy(Q))
    except ValueError:
        p = None
    if p is not None:
        return rowwise(p, q, d)
    if d.name not in ("kl", "reverse_kl", "jeffreys"):
        raise ValueError(f"{d.name} of two scipy.stats distributions needs both to be of one family of klfast; kl, "
                         "reverse_kl and jeffreys are integrated")
    if not (hasattr(P, "dist") and hasattr(Q, "dist")):
        raise ValueError("only one-dimensional distributions are integrated; these are not of one family of klfast")
    value = 0.0 if d.name == "reverse_kl" else kl_scipy(P, Q).value
    return np.float64(value if d.name == "kl" else value + kl_scipy(Q, P).value)


def _term(log_p, log_q):
    """p log(p/q) - p + q >= 0 from logarithms, without cancellation for near ones."""
    p, q, gap = np.exp(log_p), np.exp(log_q), log_q - log_p
    near = p * (np.expm1(np.clip(gap, -1, 1)) - gap)
    return np.where(p == 0, q, np.where(np.abs(gap) <= 1, near, q - p - p * gap))


def _integral(p, q, low, high):
    levels = np.concatenate([[1e-12, 1e-9, 1e-6, 1e-3, 1e-2], np.linspace(0.1, 0.9, 5)])
    points = np.concatenate([f(levels) for frozen in (p, q) for f in (frozen.ppf, frozen.isf)])
    cuts = np.unique(np.concatenate([[low, high], points[(points > low) & (points < high)]]))
    total = error = 0.0
    with np.errstate(all="ignore"):
        for a, b in zip(cuts[:-1], cuts[1:]):
            part, bound, *_ = scipy.integrate.quad(lambda x: float(_term(p.logpdf(x), q.logpdf(x))), a, b, limit=200,
                                                   epsabs=0, epsrel=1e-11, full_output=1)  # no warnings: an error
            total, error = total + part, error + bound
    return total, error


def _sum(p, q, most=10_000_000):
    """Over p's support, or what has all but 1e-20 of both masses."""
    low, high = p.support()[0], max(p.ppf(0.999), q.ppf(0.999))
    width = 16 + high - low
    while high < p.support()[1] and max(p.sf(high), q.sf(high)) > 1e-20 and high - low <= most:
        high, width = high + width, 2 * width
    if not high - low <= most:
        raise ValueError(f"the mass functions spread over more than {most} integers; that many are not summed")
    k = np.arange(int(low), int(min(high, p.support()[1])) + 1)
    with np.errstate(all="ignore"):
        terms = _term(p.logpmf(k), q.logpmf(k))
    return terms.sum(), 1e-14 * np.abs(terms).sum() + 1e-16


def _positive(make):
    """A family of positive numbers, where scipy's loc must be 0."""
    return lambda loc, scale, **shapes: make(scale, **shapes) if loc == 0 else None


def _discrete(make):
    return lambda loc, scale, **shapes: make(**shapes) if loc == 0 and scale == 1 else None


_FROM_SCIPY = {
    "norm": lambda loc, scale: families.Normal(loc, scale),
    "laplace": lambda loc, scale: families.Laplace(loc, scale),
    "gumbel_r": lambda loc, scale: families.Gumbel(loc, scale),
    "cauchy": lambda loc, scale: families.Cauchy(loc, scale),
    "uniform": lambda loc, scale: families.Uniform(loc, loc + scale),
    "vonmises": lambda loc, scale, kappa: families.VonMises(loc, kappa) if scale == 1 else None,
    "expon": _positive(lambda scale: families.Exponential(1 / scale)),
    "gamma": _positive(lambda scale, a: families.Gamma(a, 1 / scale)),
    "invgamma": _positive(lambda scale, a: families.InverseGamma(a, scale)),
    "chi2": _positive(lambda scale, df: families.Chi2(df) if scale == 1 else families.Gamma(df / 2, 0.5 / scale)),
    "invgauss": _positive(lambda scale, mu: families.InverseGaussian(mu * scale, scale)),
    "lognorm": _positive(lambda scale, s: families.LogNormal(np.log(scale), s)),
    "halfnorm": _positive(families.HalfNormal),
    "rayleigh": _positive(families.Rayleigh),
    "pareto": _positive(lambda scale, b: families.Pareto(scale, b)),
    "weibull_min": _positive(lambda scale, c: families.Weibull(scale, c)),
    "beta": lambda loc, scale, a, b: families.Beta(a, b) if (loc, scale) == (0, 1) else None,
    "poisson": _discrete(lambda mu: families.Poisson(mu)),
    "bernoulli": _discrete(lambda p: families.Bernoulli(p)),
    "binom": _discrete(lambda n, p: families.Binomial(n, p)),
    "nbinom": _discrete(lambda n, p: families.NegativeBinomial(n, 1 - p)),
    "geom": lambda loc, scale, p: families.Geometric(p) if loc == -1 else None,  # scipy counts the success, too
}


def _multivariate_normal(frozen):
    return families.MultivariateNormal(frozen.mean, covariance_matrix=np.asarray(frozen.cov))


def _dirichlet(frozen):
    return families.Dirichlet(frozen.alpha)


def _von_mises_fisher(frozen):
    return families.VonMisesFisher(frozen.mu, frozen.kappa)


def _wishart(frozen):
    return families.Wishart(frozen.df, covariance_matrix=np.asarray(frozen.scale))
