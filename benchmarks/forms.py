"""The divergences in NumPy: a plain reference for the check, and the forms that an expert writes.

    reference(name)   every row of q against one row p, elementwise in float64: what answers are checked by
    product(name)     all pairs by one matrix product, where the divergence has such a form
    by_rows(name)     one row p against all of Q, elementwise with reused arrays, where it has not

A name may carry a number: "renyi:2". None of them normalises.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import kl_div, rel_entr

MEASURES = ("generalized_kl", "itakura_saito")  # rows as they are


def parse(name: str) -> tuple[str, float]:
    """The family and the number of a name; 0 where it has none."""
    family, _, number = name.partition(":")
    return family, float(number or 0)


# ---- the reference ------------------------------------------------------------------------------------------


def _mixture(p, q, w):
    m = w * p + (1 - w) * q
    return w * rel_entr(p, m) + (1 - w) * rel_entr(q, m)


def _squared_hellinger(p, q):
    return ((np.sqrt(p) - np.sqrt(q)) ** 2).sum(axis=1) / 2


def _powers(p, q, s):
    return (p**s * q ** (1 - s)).sum(axis=1)


def _bhattacharyya(p, q):
    gap = _squared_hellinger(p, q)
    with np.errstate(divide="ignore"):
        return np.where(gap < 0.5, -np.log1p(-gap), -np.log(np.sqrt(p * q).sum(axis=1)))


REFERENCE: dict[str, Callable] = {
    "kl": lambda p, q, a: rel_entr(p, q).sum(axis=1),
    "reverse_kl": lambda p, q, a: rel_entr(q, p).sum(axis=1),
    "cross_entropy": lambda p, q, a: -(p * np.log(q)).sum(axis=1),
    "generalized_kl": lambda p, q, a: kl_div(p, q).sum(axis=1),
    "jeffreys": lambda p, q, a: ((p - q) * np.log(p / q)).sum(axis=1),
    "js": lambda p, q, a: _mixture(p, q, 0.5).sum(axis=1),
    "js_distance": lambda p, q, a: np.sqrt(_mixture(p, q, 0.5).sum(axis=1)),
    "bhattacharyya": lambda p, q, a: _bhattacharyya(p, q),
    "squared_hellinger": lambda p, q, a: _squared_hellinger(p, q),
    "hellinger": lambda p, q, a: np.sqrt(_squared_hellinger(p, q)),
    "chi2": lambda p, q, a: ((p - q) ** 2 / q).sum(axis=1),
    "neyman_chi2": lambda p, q, a: ((p - q) ** 2 / p).sum(axis=1),
    "total_variation": lambda p, q, a: np.abs(p - q).sum(axis=1) / 2,
    "triangular": lambda p, q, a: ((p - q) ** 2 / (p + q)).sum(axis=1),
    "itakura_saito": lambda p, q, a: (p / q - np.log(p / q) - 1).sum(axis=1),
    "renyi": lambda p, q, a: np.log(_powers(p, q, a)) / (a - 1),
    "tsallis": lambda p, q, a: (_powers(p, q, a) - 1) / (a - 1),
    "alpha": lambda p, q, a: 4 / (1 - a * a) * (1 - _powers(p, q, (1 - a) / 2)),
    "chernoff": lambda p, q, a: -np.log(_powers(p, q, a)),
    "skew_kl": lambda p, q, a: rel_entr(p, a * q + (1 - a) * p).sum(axis=1),
    "skew_js": lambda p, q, a: _mixture(p, q, a).sum(axis=1),
}


def reference(name: str) -> Callable:
    """f(p, q) for float64 rows p (1, K) and q (m, K): m values."""
    family, number = parse(name)
    return lambda p, q: REFERENCE[family](p, q, number)


# ---- one matrix product -------------------------------------------------------------------------------------


def negative_entropy(P: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", P, np.log(P))


def _kl(P, Q):
    """One product, the output reused, no other n × m array; the others go by its example."""
    out = P @ np.log(Q).T
    return np.subtract(negative_entropy(P)[:, None], out, out=out)


def _generalized_kl(P, Q):
    out = P @ np.log(Q).T
    np.subtract((negative_entropy(P) - P.sum(axis=1))[:, None], out, out=out)
    out += Q.sum(axis=1)
    return out


def _jeffreys(P, Q):
    """Four terms, two products, which are one product of twice the length."""
    out = np.hstack((P, np.log(P))) @ np.hstack((np.log(Q), Q)).T
    np.subtract(negative_entropy(P)[:, None], out, out=out)
    out += negative_entropy(Q)
    return out


def _itakura_saito(P, Q):
    out = P @ (1 / Q).T
    out += np.log(Q).sum(axis=1)
    out -= np.log(P).sum(axis=1)[:, None] + P.shape[1]
    return out


def _root(squares):
    np.maximum(squares, 0, out=squares)  # rounding leaves some below 0
    return np.sqrt(squares, out=squares)


def _affinity(P, Q):
    return np.sqrt(P) @ np.sqrt(Q).T


def _less_one(out, factor=1.0):
    """factor * (out - 1), in place."""
    out -= 1
    out *= factor
    return out


def _log(out, factor):
    np.log(out, out=out)
    out *= factor
    return out


def _product_of_powers(P, Q, s):
    return P**s @ (Q ** (1 - s)).T


PRODUCT: dict[str, Callable] = {
    "kl": lambda P, Q, a: _kl(P, Q),
    "reverse_kl": lambda P, Q, a: _kl(Q, P).T,
    "cross_entropy": lambda P, Q, a: P @ -np.log(Q).T,
    "generalized_kl": lambda P, Q, a: _generalized_kl(P, Q),
    "jeffreys": lambda P, Q, a: _jeffreys(P, Q),
    "bhattacharyya": lambda P, Q, a: _log(_affinity(P, Q), -1),
    "squared_hellinger": lambda P, Q, a: _less_one(_affinity(P, Q), -1),
    "hellinger": lambda P, Q, a: _root(_less_one(_affinity(P, Q), -1)),
    "chi2": lambda P, Q, a: _less_one((P * P) @ (1 / Q).T),
    "neyman_chi2": lambda P, Q, a: _less_one((1 / P) @ (Q * Q).T),
    "itakura_saito": lambda P, Q, a: _itakura_saito(P, Q),
    "renyi": lambda P, Q, a: _log(_product_of_powers(P, Q, a), 1 / (a - 1)),
    "tsallis": lambda P, Q, a: _less_one(_product_of_powers(P, Q, a), 1 / (a - 1)),
    "alpha": lambda P, Q, a: _less_one(_product_of_powers(P, Q, (1 - a) / 2), -4 / (1 - a * a)),
    "chernoff": lambda P, Q, a: _log(_product_of_powers(P, Q, a), -1),
}


def product(name: str) -> Callable:
    """f(P, Q) for float rows P (n, K) and Q (m, K): n × m values."""
    family, number = parse(name)
    return lambda P, Q: PRODUCT[family](P, Q, number)


# ---- row by row ---------------------------------------------------------------------------------------------


def _entropy_of_mixture(p, Q, w, buffers):
    """sum_k m_k log m_k, m = w p + (1 - w) q: one logarithm a bin."""
    m, logs = buffers
    np.multiply(Q, 1 - w, out=m)
    m += w * p
    np.log(m, out=logs)
    return np.einsum("jk,jk->j", m, logs)


def _skew_js(P, Q, w):
    hp, hq = negative_entropy(P), negative_entropy(Q)
    return lambda i, p, buffers: w * hp[i] + (1 - w) * hq - _entropy_of_mixture(p, Q, w, buffers)


def _skew_kl(P, Q, a):
    hp = negative_entropy(P)

    def row(i, p, buffers):
        m, logs = buffers
        np.multiply(Q, a, out=m)
        m += (1 - a) * p
        return hp[i] - np.log(m, out=logs) @ p

    return row


def _triangular(P, Q, _):
    def row(i, p, buffers):
        d, s = buffers
        np.subtract(p, Q, out=d)
        np.add(p, Q, out=s)
        d *= d
        d /= s
        return d.sum(axis=1)

    return row


BY_ROWS: dict[str, Callable] = {"js": lambda P, Q, a: _skew_js(P, Q, 0.5), "skew_js": _skew_js, "skew_kl": _skew_kl,
                                "triangular": _triangular}


def by_rows(name: str) -> Callable:
    """f(P, Q) for float rows P (n, K) and Q (m, K): n × m values."""
    family, number = parse(name)

    def call(P, Q):
        row = BY_ROWS[family](P, Q, number)
        out, buffers = np.empty((len(P), len(Q)), P.dtype), (np.empty_like(Q), np.empty_like(Q))
        for i, p in enumerate(P):
            out[i] = row(i, p, buffers)
        return out

    return call
