"""klfast: Kullback-Leibler divergences between millions of distributions.

    >>> import numpy as np, klfast as kl
    >>> P = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    >>> kl.pairwise(P)
    array([[0.        , 0.71355818],
           [       inf, 0.        ]])

Rows are P, columns are Q, always: ``out[i, j] = D(P_i || Q_j)``, in nats.
"""

from . import openmp  # isort: skip  # before all others: it loads the engine
from .compute import (contributions, entropy, kl_divergence, kneighbors, nearest, pairwise, pairwise_chunked,
                      radius_neighbors, reduce, rowwise)
from .config import __version__, show_config
from .distributions import (Bernoulli, Beta, Binomial, Categorical, Cauchy, Chi2, DiagNormal, Dirichlet, Exponential,
                            Gamma, Geometric, Gumbel, HalfNormal, InverseGamma, InverseGaussian, Laplace, LogNormal,
                            MultivariateNormal, NegativeBinomial, Normal, Pareto, Poisson, Rayleigh, Uniform, VonMises,
                            VonMisesFisher, Weibull, Wishart)
from .divergences import Alpha, Chernoff, Divergence, Renyi, SkewJS, SkewKL, Tsallis, divergences
from .fit import barycenter, fit, from_moments
from .index import Index

__all__ = [
    "Alpha", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Chernoff", "Chi2", "DiagNormal", "Dirichlet",
    "Divergence", "Exponential", "Gamma", "Geometric", "Gumbel", "HalfNormal", "Index", "InverseGamma",
    "InverseGaussian", "Laplace", "LogNormal", "MultivariateNormal", "NegativeBinomial", "Normal", "Pareto", "Poisson",
    "Rayleigh", "Renyi", "SkewJS", "SkewKL", "Tsallis", "Uniform", "VonMises", "VonMisesFisher", "Weibull", "Wishart",
    "__version__", "barycenter", "batch", "contributions", "divergences", "entropy", "fit", "from_moments",
    "kl_divergence", "kneighbors", "nearest", "pairwise", "pairwise_chunked", "radius_neighbors", "reduce", "rowwise",
    "show_config",
]


def __getattr__(name: str):
    """`klfast.batch` on first use: jobs need more imports than calls."""
    if name == "batch":
        import importlib

        return importlib.import_module(".batch", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
