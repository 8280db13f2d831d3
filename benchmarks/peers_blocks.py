"""Adapters of the peers that look for all neighbours within a radius, or reduce; see peers.py.

A radius answer is a sparse matrix, as klfast's; what a peer returns is turned into one outside the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import sqrt

import numpy as np
import scipy.sparse

from .cases import Inputs
from .forms import negative_entropy
from .peers_divergences import Call

ROWS, COLUMNS = 256, 2048  # of a block: 4 MiB of float64


@dataclass(frozen=True)
class Form:
    """D = offset_i - (left @ right)_ij, and what the value is of it: an expert compares and reduces before that."""

    left: np.ndarray
    right: np.ndarray
    offsets: np.ndarray
    root: bool = False

    @classmethod
    def of(cls, x: Inputs) -> Form:
        if x.divergence == "kl":
            return cls(x.P, np.log(x.Q).T, negative_entropy(x.P))
        assert x.divergence == "hellinger", x.divergence
        return cls(np.sqrt(x.P), np.sqrt(x.Q).T, np.ones(len(x.P)), root=True)

    def blocks(self):
        """(rows, columns, products) of each block; the array is reused."""
        n, m = len(self.left), self.right.shape[1]
        buffer = np.empty(min(ROWS, n) * min(COLUMNS, m), self.left.dtype)
        for a, b in product(range(0, n, ROWS), range(0, m, COLUMNS)):
            rows, columns = slice(a, min(a + ROWS, n)), slice(b, min(b + COLUMNS, m))
            shape = rows.stop - a, columns.stop - b
            out = buffer[: shape[0] * shape[1]].reshape(shape)
            yield rows, columns, np.matmul(self.left[rows], self.right[:, columns], out=out)


def numpy_radius(x: Inputs) -> Call:
    """The expert's product block by block, searched while it is in the cache."""
    def call():
        form, found = Form.of(x), []
        least = form.offsets - (x.radius**2 if form.root else x.radius)
        for rows, columns, products in form.blocks():
            i, j = np.nonzero(products >= least[rows, None])
            found.append((i + rows.start, j + columns.start, form.offsets[rows][i] - products[i, j]))
        i, j, values = (np.concatenate(parts) for parts in zip(*found))
        values = np.sqrt(np.maximum(values, 0)) if form.root else values
        return scipy.sparse.csr_array((values, (i, j)), shape=(len(x.P), len(x.Q)))

    return call


def numpy_reduce(x: Inputs) -> Call:
    """The expert's product block by block, reduced while it is in the cache."""
    def call():
        form = Form.of(x)
        mean = x.op == "mean"
        assert not form.root and x.op in ("mean", "max"), (x.divergence, x.op)
        out = np.full(len(x.P), 0.0 if mean else np.inf)
        for rows, _, products in form.blocks():
            if mean:
                out[rows] += products.sum(axis=1)
            else:
                np.minimum(out[rows], products.min(axis=1), out=out[rows])
        return form.offsets - (out / len(x.Q) if mean else out)

    return call


def mean_of_logarithms(x: Inputs) -> Call:
    """The mean of KL over Q needs no pairs: it is KL's formula with the mean of log Q."""
    return lambda: negative_entropy(x.P) - x.P @ np.log(x.Q).mean(axis=0)


def sklearn_radius(x: Inputs) -> Call:
    """Hellinger is Euclidean on square roots."""
    from sklearn.neighbors import NearestNeighbors

    def call():
        search = NearestNeighbors(radius=sqrt(2) * x.radius, algorithm="brute", n_jobs=x.threads).fit(np.sqrt(x.Q))
        return search.radius_neighbors(np.sqrt(x.P))

    return call


def from_sklearn(answer, x: Inputs):
    distances, columns = answer
    starts = np.concatenate(([0], np.cumsum([len(c) for c in columns])))
    values = np.concatenate(distances) * sqrt(0.5)
    return scipy.sparse.csr_array((values, np.concatenate(columns), starts), shape=(len(x.P), len(x.Q)))


def faiss_radius(x: Inputs) -> Call:
    """Squared Euclidean distances of square roots, in float32. Only the search is timed."""
    import faiss

    index = faiss.IndexFlatL2(x.Q.shape[1])
    index.add(np.sqrt(x.Q).astype(np.float32))
    P = np.sqrt(x.P).astype(np.float32)
    return lambda: index.range_search(P, 2 * x.radius**2)


def from_faiss(answer, x: Inputs):
    starts, squares, columns = answer
    values = np.sqrt(np.maximum(squares, 0).astype(np.float64) / 2)
    return scipy.sparse.csr_array((values, columns, starts.astype(np.int64)), shape=(len(x.P), len(x.Q)))
