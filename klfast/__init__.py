"""klfast: Kullback-Leibler divergences between millions of distributions.

    >>> import numpy as np, klfast as kl
    >>> P = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    >>> kl.pairwise(P)
    array([[0.        , 0.71355818],
           [       inf, 0.        ]])

Rows are P, columns are Q, always: ``out[i, j] = D(P_i || Q_j)``, in nats.
"""

from .compute import (contributions, entropy, kl_divergence, kneighbors, nearest, pairwise, pairwise_chunked,
                      radius_neighbors, reduce, rowwise)
from .config import __version__, show_config
from .distributions import Categorical
from .divergences import Alpha, Chernoff, Divergence, Renyi, SkewJS, SkewKL, Tsallis, divergences
from .index import Index

__all__ = [
    "Alpha", "Categorical", "Chernoff", "Divergence", "Index", "Renyi", "SkewJS", "SkewKL", "Tsallis", "__version__",
    "contributions", "divergences", "entropy", "kl_divergence", "kneighbors", "nearest", "pairwise", "pairwise_chunked",
    "radius_neighbors", "reduce", "rowwise", "show_config",
]
