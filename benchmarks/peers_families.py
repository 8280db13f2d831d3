"""Parametric families in the benchmarks: data, klfast's call, torch.distributions beside it, NumPy's products.

P and Q are arrays of parameters, (n, parameters, d), or for full covariances (n, d, d + 1): location and scale_tril.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import klfast as kl


def data(name: str, n: int, d: int, rng) -> np.ndarray:
    if name == "MultivariateNormal":
        L = np.tril(0.2 * rng.standard_normal((n, d, d)), -1) + np.eye(d) * np.exp(0.2 * rng.standard_normal((n, 1, d)))
        return np.concatenate([rng.standard_normal((n, d, 1)), L], axis=2)
    first = rng.standard_normal((n, d)) if name in REAL else np.exp(0.5 * rng.standard_normal((n, d)))
    if name in PROBABILITIES:
        first = 1 / (1 + first)
    return np.stack([first, np.exp(0.5 * rng.standard_normal((n, d)))], axis=1)[:, : NUMBERS.get(name, 1)]


REAL = ("Normal", "LogNormal", "Laplace", "Gumbel", "Cauchy")
PROBABILITIES = ("Bernoulli", "Geometric")
NUMBERS = {name: 2 for name in (*REAL, "Gamma", "Beta")}
SMALL = ("LogNormal", "Laplace", "Gumbel", "Cauchy", "Gamma", "Beta", "Bernoulli", "Geometric", "Poisson",
         "Exponential", "HalfNormal", "Dirichlet")


def pair(case, rng):
    name = case.data.partition(":")[2]
    return data(name, case.n, case.bins, rng), data(name, case.m, case.bins, rng)


def family_of(x, X):
    """The batch of klfast that an array of parameters stands for."""
    if x.op == "MultivariateNormal":
        return kl.MultivariateNormal(X[:, :, 0], scale_tril=X[:, :, 1:])
    if x.op == "Dirichlet":
        return kl.Dirichlet(X[:, 0])
    return getattr(kl, x.op)(*np.moveaxis(X, 1, 0), event_ndim=1)


def klfast(x):
    return lambda: kl.pairwise(family_of(x, x.P), family_of(x, x.Q), x.divergence, n_jobs=x.threads)


def torch_of(x, X, axis):
    import torch

    X = torch.from_numpy(X).unsqueeze(axis)
    cls = getattr(torch.distributions, x.op)
    if x.op == "MultivariateNormal":
        return cls(X[..., 0], scale_tril=X[..., 1:], validate_args=False)
    numbers = [X[..., k, :] for k in range(X.shape[-2])]
    if x.op == "Dirichlet":
        return cls(*numbers, validate_args=False)
    return torch.distributions.Independent(cls(*numbers, validate_args=False), 1)


def torch_kl(x):
    """All pairs by broadcasting, in blocks of rows so that no array is larger than 128 MiB."""
    import torch

    rows = max(1, (1 << 24) // (len(x.Q) * x.Q[0].size))

    def block(P):
        shape = len(P), len(x.Q)  # some of torch's formulas do not broadcast by themselves
        return torch.distributions.kl_divergence(torch_of(x, P, 1).expand(shape), torch_of(x, x.Q, 0).expand(shape))

    return lambda: np.concatenate([block(x.P[a : a + rows]).numpy() for a in range(0, len(x.P), rows)])


def numpy_products(x):
    """Diagonal Gaussians by two products: what an expert writes. Near rows lose their digits."""
    def call():
        (m, s), (M, S) = (np.moveaxis(X, 1, 0) for X in (x.P, x.Q))
        weight = 1 / S**2
        out = (s**2 + m**2) @ (0.5 * weight).T
        out -= m @ (M * weight).T
        out += (0.5 * M**2 * weight + np.log(S)).sum(axis=1)
        out -= (np.log(s) + 0.5).sum(axis=1)[:, None]
        return out

    return call


def to_all(x, i: int) -> np.ndarray:
    """Row i of P against all of Q, by an independent float64 formula: torch's, or for full covariances by solving."""
    if x.op != "MultivariateNormal":
        return torch_kl(replace(x, P=x.P[i : i + 1]))()[0]
    (m, L), d = (x.P[i, :, 0], x.P[i, :, 1:]), x.P.shape[1]
    out = np.empty(len(x.Q))
    for j, q in enumerate(x.Q):
        A, u = np.linalg.solve(q[:, 1:], L), np.linalg.solve(q[:, 1:], m - q[:, 0])
        logs = np.log(np.diagonal(q[:, 1:])).sum() - np.log(np.diagonal(L)).sum()
        out[j] = logs + 0.5 * ((A * A).sum() + u @ u - d)
    return out
