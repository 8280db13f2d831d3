"""klfast: Kullback-Leibler divergences between millions of distributions.

    >>> import numpy as np, klfast as kl
    >>> P = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    >>> kl.pairwise(P)
    array([[0.        , 0.71355818],
           [       inf, 0.        ]])

Rows are P, columns are Q, always: ``out[i, j] = D(P_i || Q_j)``, in nats.
"""

from .compute import entropy, kl_divergence, kneighbors, nearest, pairwise, rowwise
from .config import __version__, show_config
from .distributions import Categorical
from .divergences import Divergence, divergences
from .index import Index

__all__ = [
    "Categorical", "Divergence", "Index", "__version__", "divergences", "entropy", "kl_divergence", "kneighbors",
    "nearest", "pairwise", "rowwise", "show_config",
]
