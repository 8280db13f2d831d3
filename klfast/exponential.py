"""Mean and natural parameters of the exponential families, and the way back: what fitting and barycenters need.

A distribution of an exponential family is given by its mean parameters, the expectations of its sufficient statistics
T(x), or by its natural ones. The maximum-likelihood fit has the mean parameters mean(T(X)); the right barycenter the
weighted mean of the mean parameters, the left one of the natural parameters (Banerjee et al., JMLR 6, 2005).

Functions take and give lists of arrays: one array for each parameter, whose axes are those of the batch (and of the
event, where T is a vector or a matrix: then these come last).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, expit, logit, polygamma

from ._engine import mean_lengths


@dataclass(frozen=True)
class Coordinates:
    """statistics(x), to_mean(*parameters), from_mean(*means), to_natural(*parameters), from_natural(*naturals).

    statistics: None where fitting does not go by them.
    """

    statistics: Callable | None
    to_mean: Callable
    from_mean: Callable
    to_natural: Callable
    from_natural: Callable


def newton(step, start, lower=0.0, iterations=100):
    """The root of a function, elementwise: step(x) is the Newton step; x stays above `lower`."""
    x = np.asarray(start, np.float64)
    for _ in range(iterations):
        last, x = x, x - step(x)
        x = np.where(x > lower, x, lower + 0.1 * (last - lower))
        if np.all(np.abs(x - last) <= 4e-16 * np.abs(x)):
            break
    return x


def inverse_digamma(y):
    """x with digamma(x) = y; the start is Minka's."""
    y = np.asarray(y, np.float64)
    start = np.where(y >= -2.22, np.exp(np.minimum(y, 700)) + 0.5, -1 / (y - digamma(1.0)))
    return newton(lambda x: (digamma(x) - y) / polygamma(1, x), start)


def gamma_shape(gap):
    """a with log a - digamma(a) = gap > 0 (Minka, *Estimating a Gamma distribution*, 2002)."""
    start = (3 - gap + np.sqrt((gap - 3) ** 2 + 24 * gap)) / (12 * gap)

    def step(a):  # in 1/a, where the function is nearly linear
        slope = (1 / a - polygamma(1, a)) * a * a
        better = 1 / (1 / a + (np.log(a) - digamma(a) - gap) / slope)
        return a - better

    return newton(step, start)


def dirichlet_from_logs(logs):
    """Concentrations whose E log x_i are `logs` (last axis), by Newton's method (Minka, *Estimating a Dirichlet*)."""
    logs = np.asarray(logs, np.float64)
    p = np.exp(logs)
    p = p / p.sum(-1, keepdims=True)
    gap = np.maximum((p * (np.log(p) - logs)).sum(-1, keepdims=True), 1e-300)
    a = p * np.maximum((logs.shape[-1] - 1) / 2 / gap, 1e-3)  # E log x_i is about log p_i - (1/p_i - 1)/2 a_0
    for _ in range(200):
        gradient = logs - digamma(a) + digamma(a.sum(-1, keepdims=True))
        diagonal, common = -polygamma(1, a), polygamma(1, a.sum(-1, keepdims=True))
        b = (gradient / diagonal).sum(-1, keepdims=True) / (1 / common + (1 / diagonal).sum(-1, keepdims=True))
        move = (gradient - b) / diagonal
        new = np.where(a - move > 0, a - move, 0.5 * a)
        done = np.all(np.abs(new - a) <= 1e-15 * a)
        a = new
        if done:
            break
    return a


def concentration_of(length, d):
    """kappa with A_d(kappa) = length; the start is Banerjee's."""
    length = np.asarray(length, np.float64)
    start = length * (d - length**2) / (1 - length**2)

    def step(kappa):
        reached, slope = mean_lengths(kappa, d)
        return (reached - length) / slope

    inside = np.clip(start, 1e-300, None)
    return np.where(length > 0, newton(step, inside, iterations=50), 0.0)


def wishart_df(gap, d):
    """n with d log(n/2) - sum_k digamma((n - k)/2) = gap > 0, k = 0 ... d - 1: Newton's method in 1/(n - d + 1), where
    the function is nearly linear (between 2/(n - d + 1) and d (d + 1)/2n)."""
    k = np.arange(d)
    gap = np.asarray(gap, np.float64)

    def step(above):
        n = above + d - 1
        halves = (n[..., None] - k) / 2
        value = (np.log(n / 2)[..., None] - digamma(halves)).sum(-1)
        slope = (1 / n[..., None] - polygamma(1, halves) / 2).sum(-1) * above * above
        return above - 1 / (1 / above + (value - gap) / slope)

    return newton(step, 2 / gap) + d - 1


def _log_det(x):
    """log|x| of symmetric positive definite matrices, NaN of others."""
    symmetric = np.isclose(x, np.swapaxes(x, -1, -2), rtol=1e-8, atol=0).all((-2, -1))
    sizes = np.linalg.eigvalsh(x)
    return np.where(symmetric & (sizes[..., 0] > 0), np.log(np.where(sizes > 0, sizes, 1)).sum(-1), np.nan)


def _wishart_mean(n, L):
    d = L.shape[-1]
    n = np.asarray(n, np.float64)
    digammas = digamma((n[..., None] - np.arange(d)) / 2).sum(-1)
    logs = 2 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(-1)
    return [n[..., None, None] * (L @ np.swapaxes(L, -1, -2)), digammas + d * np.log(2) + logs]


def _wishart_from_mean(m, log_det):
    L = np.linalg.cholesky(m)
    n = wishart_df(2 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum(-1) - log_det, L.shape[-1])
    return [n, L / np.sqrt(n)[..., None, None]]


def _wishart_natural(n, L):
    return [_precision(L), n]


def _wishart_from_natural(precision, n):
    return [n, np.linalg.cholesky(_inverse(precision))]


def _normal_from_mean(m, m2):
    return [m, np.sqrt(np.maximum(m2 - m * m, 0))]


def _matrix(x):
    return x[..., :, None] * x[..., None, :]


def _mvn_from_mean(m, m2):
    return [m, np.linalg.cholesky(m2 - _matrix(m))]


def _precision(L):
    inverse = np.linalg.inv(L)
    return np.swapaxes(inverse, -1, -2) @ inverse


def _inverse(precision):
    covariance = np.linalg.inv(precision)
    return (covariance + np.swapaxes(covariance, -1, -2)) / 2


def _mvn_natural(m, L):
    precision = _precision(L)
    return [(precision @ m[..., None])[..., 0], -precision / 2]


def _mvn_from_natural(eta, half):
    covariance = _inverse(-2 * half)
    return [(covariance @ eta[..., None])[..., 0], np.linalg.cholesky(covariance)]


def _gamma_from_mean(log, m):
    a = gamma_shape(np.log(m) - log)
    return [a, a / m]


def _direction_from_mean(m):
    length = np.linalg.norm(m, axis=-1)
    return [m / np.where(length > 0, length, 1)[..., None], concentration_of(length, m.shape[-1])]


def _direction_from_natural(eta):
    length = np.linalg.norm(eta, axis=-1)
    return [eta / np.where(length > 0, length, 1)[..., None], length]


def _circle(loc, scale):
    return np.stack([np.cos(loc), np.sin(loc)], -1) * np.asarray(scale)[..., None]


def _to_angle(parameters):
    mu, kappa = parameters
    return [np.arctan2(mu[..., 1], mu[..., 0]), kappa]


def _inverse_gaussian_from_mean(m, inverse):
    return [m, 1 / (inverse - 1 / m)]


def _scale_family(statistic, factor):
    """One statistic of mean factor * scale^2."""
    return Coordinates(statistic, lambda s: [factor * s * s], lambda t: [np.sqrt(t / factor)],
                       lambda s: [-1 / s**2], lambda e: [np.sqrt(-1 / e)])


_dirichlet = Coordinates(
    lambda x: [np.log(x)], lambda a: [digamma(a) - digamma(a.sum(-1, keepdims=True))],
    lambda t: [dirichlet_from_logs(t)], lambda a: [a], lambda e: [e])
_gamma = Coordinates(
    lambda x: [np.log(x), x], lambda a, b: [digamma(a) - np.log(b), a / b], _gamma_from_mean,
    lambda a, b: [a, -b], lambda e, f: [e, -f])

COORDINATES: dict[str, Coordinates] = {
    "normal": Coordinates(
        lambda x: [x, x * x], lambda m, s: [m, m * m + s * s], _normal_from_mean,
        lambda m, s: [m / s**2, -0.5 / s**2], lambda e, f: [-0.5 * e / f, np.sqrt(-0.5 / f)]),
    "half_normal": _scale_family(lambda x: [x * x], 1.0),
    "rayleigh": _scale_family(lambda x: [x * x], 2.0),
    "multivariate_normal": Coordinates(
        lambda x: [x, _matrix(x)], lambda m, L: [m, L @ np.swapaxes(L, -1, -2) + _matrix(m)], _mvn_from_mean,
        _mvn_natural, _mvn_from_natural),
    "wishart": Coordinates(lambda x: [x, _log_det(x)], _wishart_mean, _wishart_from_mean, _wishart_natural,
                           _wishart_from_natural),
    "poisson": Coordinates(lambda x: [x], lambda r: [r], lambda t: [t], lambda r: [np.log(r)], lambda e: [np.exp(e)]),
    "bernoulli": Coordinates(lambda x: [x], lambda p: [p], lambda t: [t], lambda p: [logit(p)], lambda e: [expit(e)]),
    "bernoulli_logits": Coordinates(
        lambda x: [x], lambda a: [expit(a)], lambda t: [logit(t)], lambda a: [a], lambda e: [e]),
    "geometric": Coordinates(
        lambda x: [x], lambda p: [(1 - p) / p], lambda t: [1 / (1 + t)], lambda p: [np.log1p(-p)],
        lambda e: [-np.expm1(e)]),
    "exponential": Coordinates(
        lambda x: [x], lambda r: [1 / r], lambda t: [1 / t], lambda r: [-r], lambda e: [-e]),
    "gamma": _gamma,
    "inverse_gamma": Coordinates(
        lambda x: [-np.log(x), 1 / x], _gamma.to_mean, _gamma.from_mean, _gamma.to_natural, _gamma.from_natural),
    "chi2": Coordinates(
        lambda x: [np.log(x / 2)], lambda n: [digamma(n / 2)], lambda t: [2 * inverse_digamma(t)], lambda n: [n / 2],
        lambda e: [2 * e]),
    "dirichlet": _dirichlet,
    "beta": Coordinates(
        lambda x: [np.log(x), np.log1p(-x)], lambda a, b: [digamma(a) - digamma(a + b), digamma(b) - digamma(a + b)],
        lambda t, u: list(np.moveaxis(dirichlet_from_logs(np.stack([t, u], -1)), -1, 0)),
        lambda a, b: [a, b], lambda e, f: [e, f]),
    "inverse_gaussian": Coordinates(
        lambda x: [x, 1 / x], lambda m, k: [m, 1 / m + 1 / k], _inverse_gaussian_from_mean,
        lambda m, k: [-k / m**2, -k], lambda e, f: [np.sqrt(f / e), -f]),
    "von_mises_fisher": Coordinates(
        lambda x: [x], lambda mu, k: [mu * mean_lengths(k, mu.shape[-1])[0][..., None]], _direction_from_mean,
        lambda mu, k: [mu * np.asarray(k)[..., None]], _direction_from_natural),
    "von_mises": Coordinates(
        lambda x: [_circle(x, np.ones_like(x))], lambda m, k: [_circle(m, mean_lengths(k, 2)[0])],
        lambda t: _to_angle(_direction_from_mean(t)), lambda m, k: [_circle(m, k)],
        lambda e: _to_angle(_direction_from_natural(e))),
}
COORDINATES["log_normal"] = Coordinates(
    lambda x: [np.log(x), np.log(x) ** 2], *(getattr(COORDINATES["normal"], name)
                                             for name in ("to_mean", "from_mean", "to_natural", "from_natural")))


def _gumbel(scale, typical):
    """e^(-x/scale) is exponential, of rate e^(loc/scale)."""
    return Coordinates(
        None, lambda m: [np.exp((typical - m) / scale)], lambda t: [typical - scale * np.log(t)],
        lambda m: [-np.exp((m - typical) / scale)], lambda e: [typical + scale * np.log(-e)])


def _weibull(k, typical):
    """x^k is exponential, of rate scale^-k."""
    return Coordinates(
        None, lambda s: [(s / typical) ** k], lambda t: [typical * t ** (1 / k)],
        lambda s: [-((s / typical) ** -k)], lambda e: [typical * (-e) ** (-1 / k)])


# Families that are exponential where one parameter is in common: its name, and the coordinates of the other one by that
# parameter and a typical value of the other one (parameters count relative to it, so that they stay in range).
COMMON: dict[str, tuple[str, Callable[..., Coordinates]]] = {
    "laplace": ("loc", lambda loc, typical: Coordinates(
        None, lambda b: [b], lambda t: [t], lambda b: [-1 / b], lambda e: [-1 / e])),
    "gumbel": ("scale", _gumbel),
    "weibull": ("concentration", _weibull),
    "pareto": ("scale", lambda scale, typical: Coordinates(
        None, lambda a: [1 / a], lambda t: [1 / t], lambda a: [-a], lambda e: [-e])),
    "binomial": ("total_count", lambda n, typical: COORDINATES["bernoulli"]),
    "negative_binomial": ("total_count", lambda r, typical: Coordinates(
        None, lambda p: [p / (1 - p)], lambda t: [t / (1 + t)], lambda p: [np.log(p)], lambda e: [np.exp(e)])),
}
