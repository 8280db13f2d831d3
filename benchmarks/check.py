"""Whether an answer is right: the largest error against a plain float64 reference, on a sample of rows.

A wrong answer cannot count as a fast one. The reference is `forms.reference`, elementwise, on normalised rows (for KL:
`scipy.special.rel_entr`).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse
from scipy.special import log_softmax, rel_entr

from . import forms, peers_families
from .cases import Inputs
from .peers import smoothed

ROWS = 4
# Divergences below this count as this large: rel_entr itself has an absolute error of 1e-16 a bin.
SMALL = 1e-4


def error(x: Inputs, answer) -> float:
    """Largest relative error of the sampled rows; inf if a neighbour is missing, or the shape is wrong."""
    rows = np.random.default_rng(0).choice(len(x.P), min(ROWS, len(x.P)), replace=False)
    if x.question in ("rowwise", "rowwise_logits"):
        rows = np.random.default_rng(0).choice(len(x.P), min(64 * ROWS, len(x.P), 1 + (1 << 22) // x.P.shape[1]), False)
        expected, answer = _rowwise(x, rows), np.asarray(answer)
        return _relative(answer[rows], expected) if answer.shape == (len(x.P),) else np.inf
    if x.question == "family_rowwise":
        expected = [peers_families.to_all(replace(x, question="family", P=x.P[i : i + 1], Q=x.Q[i : i + 1]), 0)[0]
                    for i in rows]
        return _relative(np.asarray(answer)[rows], expected) if np.shape(answer) == (len(x.P),) else np.inf
    if x.question in ("pairwise", "pairwise_new", "pairwise_out", "family"):
        answer = np.asarray(answer)
        if answer.shape != (len(x.P), len(x.Q)):
            return np.inf
        return max(_relative(answer[i], _to_all(x, i)) for i in rows)
    if x.question == "reduce":
        return _relative(answer[rows], [_reduced(x, i) for i in rows]) if answer.shape == (len(x.P),) else np.inf
    if x.question == "radius":
        answer = scipy.sparse.csr_array(answer)
        if answer.shape != (len(x.P), len(x.Q)):
            return np.inf
        return max(_within(*_entries(answer, i), x, i) for i in rows)
    values, columns = answer
    if len(values) != len(x.P):
        return np.inf
    return max(_neighbors(np.atleast_1d(values[i]), np.atleast_1d(columns[i]), x, i) for i in rows)


def _neighbors(values, columns, x: Inputs, i: int) -> float:
    """Error of one list: its values against the k smallest, and against those of the columns that it names."""
    expected = _to_all(x, i)
    if x.question == "self_neighbors":
        expected[i] = np.inf  # a row is not its own neighbour
    if columns.shape != (x.k,) or len(set(columns.tolist())) < x.k:
        return np.inf
    smallest = np.sort(np.partition(expected, x.k - 1)[: x.k])
    return max(_relative(values, smallest), _relative(values, expected[columns]))


def _entries(matrix, i: int):
    """Values and columns of row i, as they are stored: a zero is an entry."""
    part = slice(matrix.indptr[i], matrix.indptr[i + 1])
    return matrix.data[part], matrix.indices[part]


def _within(values, columns, x: Inputs, i: int) -> float:
    """Error of the values, and how far beyond the radius an entry lies that is there, or within it one that is not."""
    expected = _to_all(x, i)
    if len(set(columns.tolist())) < len(columns):
        return np.inf
    inside = np.zeros(len(expected), bool)
    inside[columns] = True
    misplaced = expected[inside != (expected <= x.radius)]
    return max(_relative(values, expected[columns]), _relative(x.radius, misplaced))


def _reduced(x: Inputs, i: int) -> float:
    return {"mean": np.mean, "sum": np.sum, "min": np.min, "max": np.max}[x.op](_to_all(x, i))


def _to_all(x: Inputs, i: int) -> np.ndarray:
    """Divergence of row i of P from every row of Q."""
    if x.question == "family":
        return peers_families.to_all(x, i)
    prepared = np.float64 if x.divergence in forms.MEASURES else _normalised
    prepared = smoothed if x.question == "self_neighbors" else prepared
    divergence = forms.reference(x.divergence)
    p = prepared(x.P[i : i + 1])
    out = np.empty(len(x.Q))
    for a in range(0, len(x.Q), 1 << 15):  # blocks: no second copy of Q
        out[a : a + (1 << 15)] = divergence(p, prepared(x.Q[a : a + (1 << 15)]))
    return out


def _rowwise(x: Inputs, rows) -> np.ndarray:
    p, q = x.P[rows].astype(np.float64), x.Q[rows].astype(np.float64)
    if x.question == "rowwise_logits":
        p, q = log_softmax(p, axis=1), log_softmax(q, axis=1)
        return (np.exp(p) * (p - q)).sum(axis=1)
    return rel_entr(_normalised(p), _normalised(q)).sum(axis=1)


def _normalised(rows) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / rows.sum(axis=1, keepdims=True)


def _relative(values, expected) -> float:
    expected = np.asarray(expected)
    same = values == expected  # infinities included
    with np.errstate(invalid="ignore"):
        errors = np.where(same, 0.0, np.abs(values - expected) / np.maximum(np.abs(expected), SMALL))
    return float(np.inf if np.isnan(errors).any() else errors.max(initial=0.0))
