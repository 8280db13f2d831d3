"""Adapters of the peers that answer all pairs of a divergence; see peers.py."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from math import sqrt

import numpy as np

from . import forms
from .cases import Inputs

Call = Callable[[], object]


def by_threads(x: Inputs, part: Callable) -> Call:
    """For functions without threads that release the GIL: part(P[a:b], out[a:b]) in one Python thread each."""
    bounds = np.linspace(0, len(x.P), x.threads + 1).astype(int)
    pool = ThreadPoolExecutor(x.threads)

    def call():
        out = np.empty((len(x.P), len(x.Q)))
        list(pool.map(lambda a, b: part(x.P[a:b], out[a:b]), bounds[:-1], bounds[1:]))
        return out

    return call


def expert(x: Inputs) -> Call:
    """The matrix product that an expert writes."""
    product = forms.product(x.divergence)
    return lambda: product(x.P, x.Q)


def row_by_row(x: Inputs) -> Call:
    """Where there is no product: the fewest logarithms, in arrays that are reused and fit in the cache."""
    rows = forms.by_rows(x.divergence)
    return lambda: rows(x.P, x.Q)


def scipy_cdist(x: Inputs) -> Call:
    """It has no threads, and releases the GIL. Its Jensen–Shannon is the distance."""
    from scipy.spatial.distance import cdist

    if x.divergence == "total_variation":
        def part(P, out):
            cdist(P, x.Q, "cityblock", out=out)
            out /= 2
    else:
        def part(P, out):
            cdist(P, x.Q, {"js": "jensenshannon", "js_distance": "jensenshannon"}[x.divergence], out=out)
    return by_threads(x, part)


def sklearn_chi2(x: Inputs) -> Call:
    """Its additive chi-squared kernel is the negative of the triangular discrimination."""
    from sklearn.metrics.pairwise import additive_chi2_kernel

    def call():
        out = additive_chi2_kernel(x.P, x.Q)
        return np.negative(out, out=out)

    return call


def torch_cdist(x: Inputs) -> Call:
    """Hellinger is Euclidean on square roots, total variation is city block."""
    import torch

    P, Q = torch.from_numpy(x.P), torch.from_numpy(x.Q)
    if x.divergence == "total_variation":
        return lambda: torch.cdist(P, Q, p=1).mul_(0.5).numpy()
    assert x.divergence == "hellinger", x.divergence
    return lambda: torch.cdist(P.sqrt(), Q.sqrt()).mul_(sqrt(0.5)).numpy()


def faiss_all_pairs(x: Inputs) -> Call:
    """FAISS has float32 only; the operands are converted before. Its Jensen–Shannon is the divergence."""
    import faiss

    P, Q = np.asarray(x.P, np.float32), np.asarray(x.Q, np.float32)
    if x.divergence == "js":
        return lambda: faiss.pairwise_distances(P, Q, faiss.METRIC_JensenShannon)
    assert x.divergence == "total_variation", x.divergence

    def call():
        out = faiss.pairwise_distances(P, Q, faiss.METRIC_L1)
        return np.multiply(out, 0.5, out=out)

    return call
