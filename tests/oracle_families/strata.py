"""Rows of parameters, stratum by stratum: every kind of pair on which closed forms are known to go wrong.

A case is (stratum, family, p, q). All come from numpy.random.default_rng with the seed below.
"""

from __future__ import annotations

import zlib

import numpy as np

from klfast.reference_families import FAMILIES

SEED = 1959
EPSILONS = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-12)
LOCATIONS = ("normal", "laplace", "gumbel", "cauchy", "multivariate_normal", "uniform")
COMMON = {"binomial": 0, "negative_binomial": 0, "pareto": 0}  # parameters that both rows share


def all_cases():
    for family in FAMILIES:
        rng = np.random.default_rng([SEED, zlib.crc32(family.encode())])
        for stratum in (ordinary, near, neighbours, extreme, offset, equal):
            for p, q in stratum(family, rng):
                yield stratum.__name__, family, np.array(p, np.float64), np.array(q, np.float64)


def ordinary(family, rng):
    for _ in range(8):
        yield row(family, rng, 0.7), row(family, rng, 0.7)


def near(family, rng):
    for eps in EPSILONS:
        for size in (0.5, 2.0):
            p = row(family, rng, size)
            yield p, moved(family, p, eps, rng)


def neighbours(family, rng):
    for size in (0.5, 2.0):
        p = row(family, rng, size)
        for k in range(len(p)):
            if k == COMMON.get(family):
                continue
            q = np.array(p, np.float64)
            q[k] = np.nextafter(q[k], np.inf if q[k] < 0 else 0)
            yield p, q


def extreme(family, rng):
    for _ in range(8):
        p, q = row(family, rng, 4.0), row(family, rng, 4.0)
        if family not in ("weibull", "gumbel"):  # theirs leave the range of float64 soon
            yield p, q


def offset(family, rng):
    """Locations a million scales away from 0."""
    if family not in LOCATIONS:
        return
    for eps in (1.0, 1e-3, 1e-6):
        p = row(family, rng, 0.5)
        q = moved(family, p, eps, rng)
        d = {"multivariate_normal": 3, "uniform": 2}.get(family, 1)  # the first d parameters are locations
        shift = 1e6 * rng.normal(size=1 if family == "uniform" else d)
        gap = eps * rng.normal(size=d) if family != "uniform" else 0
        yield [*(shift + p[:d]), *p[d:]], [*(shift + gap + q[:d]), *q[d:]]


def equal(family, rng):
    p = row(family, rng, 1.0)
    yield p, p


def row(family, rng, size):
    """Random parameters, positive ones of sizes 10^-size to 10^size."""

    def scale():
        return 10 ** rng.uniform(-size, size)

    if family in ("normal", "log_normal", "laplace", "cauchy", "gumbel"):
        return [rng.normal() * scale(), scale()]
    if family in ("gamma", "inverse_gamma", "beta", "inverse_gaussian"):
        return [scale(), scale()]
    if family == "weibull":
        return [scale(), 10 ** rng.uniform(-min(size, 0.5), min(size, 0.5))]
    if family in ("bernoulli", "geometric"):
        return [1 / (1 + 10 ** rng.uniform(-size, size))]
    if family == "bernoulli_logits":
        return [rng.normal() * 4 * size]
    if family in ("binomial", "negative_binomial"):
        return [7.0, 1 / (1 + scale())]
    if family == "pareto":
        return [1.5, scale()]
    if family == "dirichlet":
        return [scale() for _ in range(4)]
    if family == "uniform":
        low = rng.normal()
        return [low, low + scale()]
    if family == "von_mises":
        return [rng.uniform(-3, 3), scale()]
    if family == "von_mises_fisher":
        return [*_unit(rng.normal(size=5)), scale()]
    if family == "multivariate_normal":
        return [*rng.normal(size=3) * scale(), *_factor(rng, 3, size)]
    if family == "wishart":
        return [2 + scale(), *_factor(rng, 3, size)]
    return [scale()]


def moved(family, p, eps, rng):
    """p with every parameter changed by a relative eps at most."""
    q = np.array(p, np.float64)
    q *= 1 + eps * rng.uniform(-0.9, 0.9, len(q))
    if family in COMMON:
        q[COMMON[family]] = p[COMMON[family]]
    if family in ("bernoulli", "geometric", "binomial", "negative_binomial"):
        q[-1] = min(q[-1], 0.5 + 0.5 * p[-1])
    if family == "von_mises_fisher":
        q[:-1] = _unit(q[:-1])
    if family == "wishart":
        q[0] = 2 + (p[0] - 2) * (1 + eps * rng.uniform(-0.9, 0.9))
    if family == "uniform":
        q = np.array([p[0] - eps * rng.uniform(), p[1] + eps * rng.uniform()])
    return q


def _unit(x):
    return x / np.sqrt(np.sum(x * x))


def _factor(rng, d, size):
    """Rows of a Cholesky factor of a covariance of condition up to 10^(2 size), at most 1e6."""
    Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
    size = min(size, 3.0)
    C = (Q * 10 ** rng.uniform(-size, size, d)) @ Q.T
    return np.linalg.cholesky((C + C.T) / 2)[np.tril_indices(d)]
