"""Parametric families in the benchmarks: data, klfast's call, torch.distributions and NumPy's closed forms beside it.

P and Q are arrays of parameters, (n, parameters, d), or (n, d, d + 1) where a covariance is one: scale_tril after the
location of MultivariateNormal, or after a column whose first entry is Wishart's df.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import klfast as kl

from . import forms_families

# The parameters of every family, by the names that torch.distributions and klfast share.
PARAMETERS = {
    "Normal": ("loc", "scale"), "LogNormal": ("loc", "scale"), "Laplace": ("loc", "scale"), "Gumbel": ("loc", "scale"),
    "Cauchy": ("loc", "scale"), "Uniform": ("low", "high"), "HalfNormal": ("scale",), "Rayleigh": ("scale",),
    "Exponential": ("rate",), "Poisson": ("rate",), "Gamma": ("concentration", "rate"),
    "InverseGamma": ("concentration", "rate"), "Chi2": ("df",), "Beta": ("concentration1", "concentration0"),
    "Dirichlet": ("concentration",), "InverseGaussian": ("loc", "concentration"), "Pareto": ("scale", "alpha"),
    "Weibull": ("scale", "concentration"), "Bernoulli": ("probs",), "BernoulliLogits": ("logits",),
    "Binomial": ("total_count", "probs"), "NegativeBinomial": ("total_count", "probs"), "Geometric": ("probs",),
    "VonMises": ("loc", "concentration"),
}
MATRICES = ("MultivariateNormal", "Wishart")
ROW_BY_ROW = ("Laplace", "Exponential", "Poisson", "Bernoulli", "BernoulliLogits", "Geometric", "Gamma", "Beta",
              "Dirichlet")
COUNT = 10.0
NUMPY = (*forms_families.BY_COORDINATES, "VonMisesFisher", "Wishart")  # torch has no KL of them
SMALL = tuple(name for name in (*PARAMETERS, "VonMisesFisher", "Wishart") if name != "Normal")


def data(name: str, n: int, d: int, rng, of_p: bool) -> np.ndarray:
    if name in MATRICES:
        L = np.tril(0.8 / np.sqrt(d) * rng.standard_normal((n, d, d)), -1) + np.eye(d) * np.exp(0.2 * rng.standard_normal((n, 1, d)))
        first = rng.standard_normal((n, d, 1))
        return np.concatenate([first if name == "MultivariateNormal" else d + np.exp(first), L], axis=2)
    if name == "VonMisesFisher":
        mu = rng.standard_normal((n, d))
        mu /= np.linalg.norm(mu, axis=1, keepdims=True)
        concentration = d / 2 * np.exp(0.5 * rng.standard_normal((n, 1)))
        return np.stack([mu, np.repeat(concentration, d, axis=1)], axis=1)
    real, positive = rng.standard_normal((n, d)), np.exp(0.5 * rng.standard_normal((n, d)))
    columns = {"loc": positive if name == "InverseGaussian" else real, "low": real, "logits": real,
               "probs": 1 / (1 + positive), "total_count": np.full((n, d), COUNT)}
    X = np.stack([columns.get(parameter, np.exp(0.5 * rng.standard_normal((n, d)))) for parameter in PARAMETERS[name]],
                 axis=1)
    if name == "Uniform":  # P within Q
        X[:, 1] += X[:, 0] + (0 if of_p else 16)
        X[:, 0] -= 0 if of_p else 8
    if name == "Pareto" and of_p:
        X[:, 0] += 8
    return X


def pair(case, rng):
    name = case.data.partition(":")[2]
    return data(name, case.n, case.bins, rng, True), data(name, case.m, case.bins, rng, False)


def arguments(name: str, X) -> dict:
    """X[..., parameter, coordinate] as keywords."""
    return {parameter: X[..., k, :] for k, parameter in enumerate(PARAMETERS[name])}


def family_of(x, X):
    """The batch of klfast that an array of parameters stands for."""
    if x.op == "MultivariateNormal":
        return kl.MultivariateNormal(X[:, :, 0], scale_tril=X[:, :, 1:])
    if x.op == "Wishart":
        return kl.Wishart(X[:, 0, 0], scale_tril=X[:, :, 1:])
    if x.op == "VonMisesFisher":
        return kl.VonMisesFisher(X[:, 0], X[:, 1, 0])
    if x.op == "Dirichlet":
        return kl.Dirichlet(X[:, 0])
    return getattr(kl, x.op.removesuffix("Logits"))(**arguments(x.op, X), event_ndim=1)


def by_parameter(x, X):
    """The parameters, each in an array of its own, as those who compare rows have them."""
    return {name: np.ascontiguousarray(values) for name, values in arguments(x.op, X).items()}


def klfast(x):
    if x.question == "family_rowwise":
        family, p, q = getattr(kl, x.op.removesuffix("Logits")), by_parameter(x, x.P), by_parameter(x, x.Q)
        over = {} if x.op == "Dirichlet" else {"event_ndim": 1}
        return lambda: kl.kl_divergence(family(**p, **over), family(**q, **over), n_jobs=x.threads)
    return lambda: kl.pairwise(family_of(x, x.P), family_of(x, x.Q), x.divergence, n_jobs=x.threads)


def torch_of(x, X, axis):
    import torch

    X = torch.from_numpy(X).unsqueeze(axis)
    cls = getattr(torch.distributions, x.op.removesuffix("Logits"))
    if x.op == "MultivariateNormal":
        return cls(X[..., 0], scale_tril=X[..., 1:], validate_args=False)
    dist = cls(**arguments(x.op, X), validate_args=False)
    return dist if x.op == "Dirichlet" else torch.distributions.Independent(dist, 1)


def torch_kl(x):
    """All pairs by broadcasting, in blocks of rows so that no array is larger than 128 MiB."""
    import torch

    if x.question == "family_rowwise":
        p, q = ({name: torch.from_numpy(a) for name, a in by_parameter(x, X).items()} for X in (x.P, x.Q))
        family, over = getattr(torch.distributions, x.op.removesuffix("Logits")), int(x.op != "Dirichlet")
        return lambda: torch.distributions.kl_divergence(
            *(torch.distributions.Independent(family(**r, validate_args=False), over) for r in (p, q))).numpy()
    rows = max(1, (1 << 24) // (len(x.Q) * x.Q[0].size))

    def block(P):
        shape = len(P), len(x.Q)  # some of torch's formulas do not broadcast by themselves
        return torch.distributions.kl_divergence(torch_of(x, P, 1).expand(shape), torch_of(x, x.Q, 0).expand(shape))

    return lambda: np.concatenate([block(x.P[a : a + rows]).numpy() for a in range(0, len(x.P), rows)])


def numpy_kl(x):
    """The closed form: one product of matrices where it is one, else by broadcasting in blocks that fit the cache."""
    if x.op == "VonMisesFisher":
        return lambda: forms_families.von_mises_fisher(x.P[:, 0], x.P[:, 1, 0], x.Q[:, 0], x.Q[:, 1, 0])
    if x.op == "MultivariateNormal":
        return lambda: forms_families.multivariate_normal(x.P[:, :, 0], x.P[:, :, 1:], x.Q[:, :, 0], x.Q[:, :, 1:])
    if x.op == "Wishart":
        return lambda: forms_families.wishart(x.P[:, 0, 0], x.P[:, :, 1:], x.Q[:, 0, 0], x.Q[:, :, 1:])
    form, rows = forms_families.BY_COORDINATES[x.op], max(1, (1 << 15) // (len(x.Q) * x.Q.shape[2]))

    def block(P):
        return form(*np.moveaxis(P[:, None], 2, 0), *np.moveaxis(x.Q[None], 2, 0)).sum(axis=-1)

    return lambda: np.concatenate([block(x.P[a : a + rows]) for a in range(0, len(x.P), rows)])


def numpy_normal(x):
    """The closed form, row by row."""
    (m, s), (M, S) = (by_parameter(x, X).values() for X in (x.P, x.Q))

    def call():
        return (np.log(S / s) + (s**2 + (m - M) ** 2) / (2 * S**2) - 0.5).sum(axis=1)

    return call


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
    """Row i of P against all of Q, by an independent float64 formula: torch's, NumPy's, or for covariances by solving."""
    if x.op != "MultivariateNormal":
        return (numpy_kl if x.op in NUMPY else torch_kl)(replace(x, P=x.P[i : i + 1]))()[0]
    (m, L), d = (x.P[i, :, 0], x.P[i, :, 1:]), x.P.shape[1]
    out = np.empty(len(x.Q))
    for j, q in enumerate(x.Q):
        A, u = np.linalg.solve(q[:, 1:], L), np.linalg.solve(q[:, 1:], m - q[:, 0])
        logs = np.log(np.diagonal(q[:, 1:])).sum() - np.log(np.diagonal(L)).sum()
        out[j] = logs + 0.5 * ((A * A).sum() + u @ u - d)
    return out
