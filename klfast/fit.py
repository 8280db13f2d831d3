"""Fitting families to data, and averaging distributions.

    fit(Normal, X)                      maximum likelihood, for every column of X at once
    from_moments(Gamma, 3.0, 2.0)       by mean and variance
    barycenter(dists, weights)          the distribution nearest to all of a batch
"""

from __future__ import annotations

import numpy as np

from . import distributions as families
from .exponential import COMMON, COORDINATES, newton


def fit(family, X, *, axis: int = 0, weights=None, **known):
    r"""The distribution of a family with the largest likelihood of the data.

    Parameters
    ----------
    family : class or str
        A family, such as ``klfast.Gamma``, or its name.
    X : array-like
        Observations along `axis`; all other axes are a batch, fitted at once. For MultivariateNormal, DiagNormal,
        Dirichlet and VonMisesFisher the last axis holds one observation, for Wishart the last two do.
    axis : int
        The axis of the observations.
    weights : array-like, optional
        Nonnegative, one for each observation (frequencies, say): of shape (n,).
    **known
        `total_count` of Binomial (needed) and NegativeBinomial (needed).

    Returns
    -------
    distribution of the family
        With the other axes of X as its batch.

    Raises
    ------
    ValueError
        No observations, observations outside the support, or such that no distribution has the largest likelihood
        (for Cauchy: half of them or more are equal).

    Notes
    -----
    For exponential families the mean parameters of the answer are the averages of the sufficient statistics. Gamma,
    Beta, Dirichlet, von Mises and Wishart solve for the rest by Newton's method; Normal averages squared deviations
    from the mean. Cauchy's location and scale together have one maximum of the likelihood, whatever the data (of the
    location alone, with a known scale, there may be many); the EM algorithm climbs to it.

    References
    ----------
    Copas, *On the unimodality of the likelihood for the Cauchy distribution*, Biometrika 62 (1975); Kent, Tyler &
    Vardi, *A curious likelihood identity for the multivariate t-distribution*, Commun. Stat. Simul. 23 (1994).
    """
    cls = family_class(family)
    X = np.moveaxis(np.asarray(X, np.float64), axis, 0)
    if X.shape[0] == 0 or not np.isfinite(X).all():
        raise ValueError(f"fit of {cls.__name__}: observations must be finite, and there must be at least one")
    if cls is families.Laplace and weights is not None:
        raise ValueError("fit of Laplace takes no weights: its location is a plain median")
    average = _averager(X, weights)
    if cls.__name__ in _FITS:
        return _FITS[cls.__name__](X, average, **known)
    name = "bernoulli" if cls is families.Bernoulli else cls.family
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = COORDINATES[name].statistics(X)
        if not all(np.isfinite(t).all() for t in statistics):
            raise ValueError(f"fit of {cls.__name__}: some observations are outside the support")
        return made(cls, COORDINATES[name].from_mean(*map(average, statistics)))


def from_moments(family, mean, variance):
    """The distribution of a family with this mean and variance (MultivariateNormal: covariance; Wishart: the variances
    of all entries, of which the sum counts).

    Parameters
    ----------
    family : class or str
        Normal, DiagNormal, MultivariateNormal, LogNormal, Gamma, InverseGamma, Beta, InverseGaussian, Laplace, Gumbel,
        Uniform, NegativeBinomial, Wishart.
    mean, variance : array-like
        They broadcast.
    """
    cls = family_class(family)
    if cls is families.MultivariateNormal:
        return cls(mean, covariance_matrix=variance)
    m, v = np.asarray(mean, np.float64), np.asarray(variance, np.float64)
    if not (v > 0).all():
        raise ValueError("from_moments: variances must be positive")
    if cls.__name__ not in _MOMENTS:
        raise ValueError(f"from_moments cannot do {cls.__name__}; it can do MultivariateNormal, {', '.join(_MOMENTS)}")
    return made(cls, _MOMENTS[cls.__name__](m, v))


def barycenter(dists, weights=None, *, side: str = "right"):
    r"""The distribution of the same exponential family that is nearest to a batch of distributions.

    .. math:: right: \arg\min_c \sum_i w_i KL(P_i\|c), \qquad left: \arg\min_c \sum_i w_i KL(c\|P_i)

    Parameters
    ----------
    dists : distribution
        A batch (one batch axis) of an exponential family, or of Laplace, Gumbel, Weibull, Pareto, Binomial or
        NegativeBinomial distributions with the location, scale, shape, scale, total_count in common.
    weights : array-like (n,), optional
        Nonnegative; equal if not given.
    side : {"right", "left"}
        right: the mean of the mean parameters (moments match); left: the mean of the natural parameters.

    Raises
    ------
    ValueError
        Not such a batch; the message names the parameter that takes several values.
    """
    if side not in ("right", "left"):
        raise ValueError(f"side must be 'right' or 'left'; got {side!r}")
    if dists.family not in COORDINATES and dists.family not in COMMON:
        raise ValueError(f"barycenter: {type(dists).__name__} is not an exponential family in all of its parameters")
    if len(dists.batch_shape) != 1:
        raise ValueError(f"barycenter needs one batch axis; got batch shape {dists.batch_shape}")
    parameters = full_parameters(dists)
    average = _averager(parameters[0], weights)
    if dists.family in COMMON:
        return _barycenter_in_common(dists, parameters, average, side)
    c = COORDINATES[dists.family]
    if dists.family in ("normal", "log_normal", "multivariate_normal") and side == "right":
        found = _normal_mixture(dists, parameters, average)
    else:
        found = _middle(c, parameters, average, side)
    return like(dists, found)


def _middle(c, parameters, average, side):
    """The mean of the mean parameters (right) or of the natural ones (left), as parameters."""
    if side == "right":
        return c.from_mean(*map(average, c.to_mean(*parameters)))
    return c.from_natural(*map(average, c.to_natural(*parameters)))


def _barycenter_in_common(dists, parameters, average, side):
    """Of families that are exponential ones where one parameter is in common."""
    name, coordinates = COMMON[dists.family]
    full = dict(zip(dists.values, parameters))
    shared = full.pop(name)
    if not (shared == shared[0]).all():
        at = np.argwhere((shared != shared[0]).any(axis=0))[0]
        several = shared[(slice(None), *at)]
        raise ValueError(f"barycenter: {name} of {type(dists).__name__} takes several values ({several.min():g} to "
                         f"{several.max():g}); there is a barycenter only where it is in common")
    (other, values), = full.items()
    with np.errstate(divide="ignore"):  # a probability of 0 has the natural parameter -inf
        found, = _middle(coordinates(shared[0], values[0]), [values], average, side)
    both = {name: shared[0], other: found}
    return like(dists, [both[key] for key in dists.values])


def full_parameters(dists) -> list[np.ndarray]:
    """The parameters, each with the whole batch."""
    out = []
    for name, x in dists.values.items():
        if isinstance(dists, (families.MultivariateNormal, families.Wishart)):
            event = x.shape[-1:] if name == "loc" else x.shape[-2:] if name == "scale_tril" else ()
        elif isinstance(dists, families.VonMisesFisher):
            event = x.shape[-1:] if name == "loc" else ()
        else:
            event = dists.event_shape
        out.append(np.broadcast_to(x, dists.batch_shape + event))
    return out


def like(dists, parameters):
    """A distribution of the same class with other parameters."""
    cls = type(dists)
    if cls in (families.MultivariateNormal, families.Wishart, families.DiagNormal, families.Dirichlet,
               families.VonMisesFisher):
        return made(cls, parameters)
    return cls(**dict(zip(dists.values, parameters)), event_ndim=dists.event_ndim)


def made(cls, parameters):
    """A distribution from its parameters in their order, the matrix of covariances as a Cholesky factor."""
    if cls in (families.MultivariateNormal, families.Wishart):
        return cls(parameters[0], scale_tril=parameters[1])
    return cls(*parameters)


def family_class(family):
    if isinstance(family, str):
        found = {f.__name__.lower(): f for f in families.FAMILIES}.get(family.replace("_", "").lower())
        if found is None:
            raise ValueError(f"unknown family {family!r}; there are {', '.join(f.__name__ for f in families.FAMILIES)}")
        return found
    return family


def _averager(X, weights):
    """average(t) over the first axis; products are summed first, so frequencies 0.6, 0.4 of 1, 0 average to 0.6."""
    if weights is None:
        return lambda t: np.mean(t, axis=0)
    w = np.asarray(weights, np.float64)
    if w.shape != X.shape[:1] or not (np.isfinite(w).all() and (w >= 0).all() and w.sum() > 0):
        raise ValueError(f"weights must be {X.shape[0]} nonnegative numbers, not all zero; got shape {w.shape}")
    return lambda t: np.tensordot(w, t, axes=(0, 0)) / w.sum()


def _normal_mixture(dists, parameters, average):
    """Mean and covariance of a mixture, from deviations: E x^2 - (E x)^2 would lose digits far from 0."""
    m, s = parameters
    center = average(m)
    gap = m - center
    if dists.family != "multivariate_normal":
        return [center, np.sqrt(average(s * s) + average(gap * gap))]
    covariance = average(s @ np.swapaxes(s, -1, -2)) + average(gap[..., :, None] * gap[..., None, :])
    return [center, np.linalg.cholesky(covariance)]


def _fit_normal(X, average, cls=families.Normal):
    m = average(X)
    return cls(m, np.sqrt(average((X - m) ** 2)))


def _fit_multivariate_normal(X, average):
    m = average(X)
    gap = X - m
    return families.MultivariateNormal(m, covariance_matrix=average(gap[..., :, None] * gap[..., None, :]))


def _fit_log_normal(X, average):
    if not (X > 0).all():
        raise ValueError("fit of LogNormal: observations must be positive")
    return _fit_normal(np.log(X), average, families.LogNormal)


def _fit_laplace(X, average):
    m = np.median(X, axis=0)
    return families.Laplace(m, average(np.abs(X - m)))


def _fit_cauchy(X, average):
    """EM, with the scale step of Kent, Tyler & Vardi: weights 1/(1 + z^2), z = (x - loc)/scale. On Cauchy data a step
    halves the distance to the maximum, about."""
    middle = np.median(X, axis=0)
    X = X - middle
    m, s = np.zeros_like(middle), np.maximum(average(np.sqrt(np.abs(X))) ** 2, 1e-300)
    for _ in range(10_000):
        with np.errstate(over="ignore"):
            w = 1 / (1 + ((X - m) / s) ** 2)
        total, last, size = average(w), m, s
        m = average(w * X) / total
        s = np.maximum(np.sqrt(average(w * (X - m) ** 2) / total), 1e-300)
        if np.all(np.abs(m - last) + np.abs(s - size) <= 4e-15 * s):
            break
    nearest = np.take_along_axis(X, np.abs(X - m).argmin(axis=0)[None], axis=0)
    if (average(X == nearest) >= 0.5).any():
        raise ValueError("fit of Cauchy: half of the observations or more are equal; the likelihood has no maximum, it "
                         "grows as the scale falls")
    return families.Cauchy(middle + m, s)


def _fit_uniform(X, average):
    return families.Uniform(X.min(axis=0), X.max(axis=0))


def _fit_binomial(X, average, total_count=None):
    if total_count is None:
        raise ValueError("fit of Binomial needs total_count=")
    return families.Binomial(total_count, probs=average(X) / total_count)


def _fit_negative_binomial(X, average, total_count=None):
    if total_count is None:
        raise ValueError("fit of NegativeBinomial needs total_count=")
    m = average(X)
    return families.NegativeBinomial(total_count, probs=m / (total_count + m))


def _fit_pareto(X, average):
    scale = X.min(axis=0)
    return families.Pareto(scale, 1 / average(np.log(X / scale)))


def _fit_weibull(X, average):
    """1/k = sum x^k log x / sum x^k - mean log x, by Newton's method on logarithms centred on their mean."""
    z = np.log(X)
    z = z - average(z)

    def step(k):
        w = np.exp(k * (z - z.max(axis=0)))
        m0, m1, m2 = average(w), average(w * z), average(w * z * z)
        return (m1 / m0 - 1 / k) / (m2 / m0 - (m1 / m0) ** 2 + 1 / k**2)

    k = newton(step, 1.28 / np.maximum(np.sqrt(average(z * z)), 1e-300))
    top = X.max(axis=0)
    return families.Weibull(top * average((X / top) ** k) ** (1 / k), k)


def _fit_gumbel(X, average):
    """-X/scale of a Gumbel law is the logarithm of a Weibull observation."""
    middle = average(X)
    size = np.maximum(np.sqrt(average((X - middle) ** 2)), 1e-300)
    w = _fit_weibull(np.exp(-(X - middle) / size), average)
    scale = size / w.concentration
    return families.Gumbel(middle - size * np.log(w.scale), scale)


_FITS = {
    "Normal": _fit_normal, "DiagNormal": lambda X, average: _fit_normal(X, average, families.DiagNormal),
    "MultivariateNormal": _fit_multivariate_normal, "LogNormal": _fit_log_normal, "Laplace": _fit_laplace,
    "Uniform": _fit_uniform, "Binomial": _fit_binomial, "NegativeBinomial": _fit_negative_binomial,
    "Pareto": _fit_pareto, "Weibull": _fit_weibull, "Gumbel": _fit_gumbel, "Cauchy": _fit_cauchy,
}


def _beta_moments(m, v):
    total = m * (1 - m) / v - 1
    return [m * total, (1 - m) * total]


def _log_normal_moments(m, v):
    s2 = np.log1p(v / m**2)
    return [np.log(m) - s2 / 2, np.sqrt(s2)]


def _wishart_moments(m, v):
    """Entry i, j has the variance (M_ij^2 + M_ii M_jj)/n."""
    diagonal = np.diagonal(m, axis1=-2, axis2=-1)
    n = (m * m + diagonal[..., :, None] * diagonal[..., None, :]).sum((-2, -1)) / (v + 0 * m).sum((-2, -1))
    return [n, np.linalg.cholesky(m / n[..., None, None])]


_MOMENTS = {
    "Normal": lambda m, v: [m, np.sqrt(v)],
    "DiagNormal": lambda m, v: [m, np.sqrt(v)],
    "LogNormal": _log_normal_moments,
    "Gamma": lambda m, v: [m * m / v, m / v],
    "InverseGamma": lambda m, v: [m * m / v + 2, m * (m * m / v + 1)],
    "Beta": _beta_moments,
    "InverseGaussian": lambda m, v: [m, m**3 / v],
    "Laplace": lambda m, v: [m, np.sqrt(v / 2)],
    "Gumbel": lambda m, v: [m - np.euler_gamma * np.sqrt(6 * v) / np.pi, np.sqrt(6 * v) / np.pi],
    "Uniform": lambda m, v: [m - np.sqrt(3 * v), m + np.sqrt(3 * v)],
    "Wishart": _wishart_moments, "NegativeBinomial": lambda m, v: [m * m / (v - m), 1 - m / v],
}
