"""The specification: what every divergence is, in plain and slow code. Tests compare the library with it.

Rows are sequences of floats, taken as the exact numbers that they are; a row of "probs" stands for the
distribution row / sum(row), a row of "logits" for its softmax. Values come back as mpmath numbers with at
least 40 correct digits (mpmath is needed, and only here).

    kl(p, q)              sum_k p_k log(p_k / q_k)         0 log 0 = 0;  p_k > 0 = q_k gives inf
    reverse_kl(p, q)      kl(q, p)
    cross_entropy(p, q)   -sum_k p_k log(q_k)
    entropy(p)            -sum_k p_k log(p_k)
    pairwise, kneighbors  brute force over any function of two rows
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

DIGITS = 60


def kl(p, q, domain="probs"):
    """``sum_k p_k log(p_k / q_k)`` of the normalised rows, exactly 0 if they are equal."""
    return 0 if same(p, q, domain) else _settled(_kl, p, q, domain)


def reverse_kl(p, q, domain="probs"):
    """``sum_k q_k log(q_k / p_k)``."""
    return kl(q, p, domain)


def cross_entropy(p, q, domain="probs"):
    """``-sum_k p_k log(q_k)``; exactly 0 if q has all its mass in one bin, and p in the same."""
    alone = sum(x != _empty(domain) for x in q) == 1 and same(p, q, domain)
    return 0 if alone else _settled(_cross_entropy, p, q, domain)


def entropy(p, domain="probs"):
    """``-sum_k p_k log(p_k)``; exactly 0 if one bin has all the mass."""
    return cross_entropy(p, p, domain)


def same(p, q, domain="probs") -> bool:
    """Whether two rows are the same distribution, in exact rational arithmetic."""
    none = _empty(domain)
    if any((a == none) != (b == none) for a, b in zip(p, q)):
        return False
    pairs = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(p, q) if a != none]
    a0, b0 = pairs[0]
    if domain == "probs":
        return all(a * b0 == b * a0 for a, b in pairs)
    return all(a - b == a0 - b0 for a, b in pairs)


def pairwise(P, Q, pair) -> np.ndarray:
    """``out[i, j] = pair(P[i], Q[j])``."""
    return np.array([[pair(p, q) for q in Q] for p in P], np.float64).reshape(len(P), len(Q))


def kneighbors(P, Q, k: int, pair):
    """The k smallest pair(P[i], Q[j]) of each row, ordered by (value, j): (values, columns).

    Q=None: Q is P, and each row leaves itself out.
    """
    values = pairwise(P, P if Q is None else Q, pair)
    return smallest(values, k, leave_out_self=Q is None)


def smallest(values: np.ndarray, k: int, leave_out_self: bool = False):
    """The k smallest of each row of a matrix, ordered by (value, column): (values, columns)."""
    columns = np.empty((len(values), k), np.int64)
    for i, row in enumerate(values):
        order = np.argsort(row, kind="stable")
        columns[i] = order[order != i][:k] if leave_out_self else order[:k]
    return np.take_along_axis(values, columns, 1), columns


def _empty(domain) -> float:
    return 0.0 if domain == "probs" else -np.inf


def _log_probs(mp, row, domain):
    """Logarithms of row / sum(row) or of softmax(row), -inf where there is no mass."""
    x = [mp.mpf(float(value)) for value in row]
    if domain == "probs":
        x = [mp.log(value) if value > 0 else mp.ninf for value in x]
    top = max(range(len(x)), key=x.__getitem__)
    rest = mp.fsum(mp.exp(value - x[top]) for k, value in enumerate(x) if k != top and value > mp.ninf)
    log_sum = mp.log1p(rest)  # over the largest weight: exact digits even where one bin has nearly everything
    return [(value - x[top]) - log_sum if value > mp.ninf else value for value in x]


def _kl(mp, p, q, domain):
    """``sum_k p_k (log(p_k / q_k) + q_k / p_k - 1)``: the same sum, of nonnegative terms."""
    log_p, log_q = _log_probs(mp, p, domain), _log_probs(mp, q, domain)
    if any(a > mp.ninf and b == mp.ninf for a, b in zip(log_p, log_q)):
        return mp.inf
    present = [(a, b) for a, b in zip(log_p, log_q) if b > mp.ninf]
    return mp.fsum(_term(mp, a, b) for a, b in present)


def _term(mp, log_p, log_q):
    """``p log(p / q) - p + q >= 0``, by the series of ``p (e^x - 1 - x)`` where the differences would cancel."""
    p, q = mp.exp(log_p), mp.exp(log_q)
    if log_p == mp.ninf:
        return q
    x = log_q - log_p
    if abs(x) > 1e-3:
        return q - p - p * x
    total, term, n = mp.mpf(0), x * x / 2, 2
    while abs(term) > abs(total) * mp.eps:
        total, n = total + term, n + 1
        term = term * x / n
    return p * total


def _cross_entropy(mp, p, q, domain):
    log_p, log_q = _log_probs(mp, p, domain), _log_probs(mp, q, domain)
    if any(a > mp.ninf and b == mp.ninf for a, b in zip(log_p, log_q)):
        return mp.inf
    return mp.fsum(mp.exp(a) * -b for a, b in zip(log_p, log_q) if a > mp.ninf)


def _settled(formula, *arguments):
    """A positive value, with as many digits as it takes for 40 of them not to change any more."""
    from mpmath.ctx_mp import MPContext

    mp = MPContext()  # its own precision: nothing of the caller's mpmath is touched
    mp.dps = DIGITS
    last = formula(mp, *arguments)
    while True:
        mp.dps = 2 * mp.dps
        value = formula(mp, *arguments)
        if value == mp.inf or value > 0 and abs(value - last) < value * mp.mpf(10) ** -40:
            return value
        last = value
