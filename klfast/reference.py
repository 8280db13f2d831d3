"""The specification: what every divergence is, in plain and slow code. Tests compare the library with it.

Rows are sequences of floats, taken as the exact numbers that they are; a row of "probs" stands for the
distribution row / sum(row), a row of "logits" for its softmax. Values come back as mpmath numbers with at
least 40 correct digits (mpmath is needed, and only here).

    kl(p, q)              sum_k p_k log(p_k / q_k)         0 log 0 = 0;  p_k > 0 = q_k gives inf
    reverse_kl(p, q)      kl(q, p)
    cross_entropy(p, q)   -sum_k p_k log(q_k)
    entropy(p)            -sum_k p_k log(p_k)
    jeffreys, js, renyi, ...            one function each; by name in VALUES, their parameters in PARAMETERS
    generalized_kl, itakura_saito       of rows of weights as they are: nothing is normalised
    contributions(p, q, name)           the nonnegative terms of one value, bin by bin
    pairwise, kneighbors                brute force over any function of two rows

A divergence is exactly 0 if the distributions are equal (`same`), and positive otherwise. The terms are in
klfast.reference_terms: each is nonnegative, so that rows lose no digits however near they are.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from . import reference_terms as terms
from .reference_terms import AS_THEY_ARE

DIGITS = 60
TOLERANCE = -40  # digits of a value that more precision must not change

# The names of the parameters, where there are any.
PARAMETERS = {"renyi": "alpha", "tsallis": "alpha", "alpha_divergence": "alpha", "chernoff": "alpha",
              "skew_js": "weight", "skew_kl": "alpha"}


def kl(p, q, domain="probs"):
    """``sum_k p_k log(p_k / q_k)`` of the normalised rows, exactly 0 if they are equal."""
    return _sum("kl", p, q, domain)


def reverse_kl(p, q, domain="probs"):
    """``sum_k q_k log(q_k / p_k)``."""
    return kl(q, p, domain)


def cross_entropy(p, q, domain="probs"):
    """``-sum_k p_k log(q_k)``; exactly 0 if q has all its mass in one bin, and p in the same."""
    alone = sum(x != terms.nothing(domain) for x in q) == 1 and same(p, q, domain)
    return 0 if alone else _settled(_cross_entropy, p, q, domain)


def entropy(p, domain="probs"):
    """``-sum_k p_k log(p_k)``; exactly 0 if one bin has all the mass."""
    return cross_entropy(p, p, domain)


def jeffreys(p, q, domain="probs"):
    """``sum_k (p_k - q_k) log(p_k / q_k)``, kl + reverse_kl; inf unless the supports are equal."""
    return _sum("jeffreys", p, q, domain)


def skew_js(p, q, weight, domain="probs"):
    """``w KL(p || m) + (1 - w) KL(q || m)`` with ``m = w p + (1 - w) q``, 0 < w < 1."""
    _require(0 < weight < 1, "0 < weight < 1")
    return _sum("skew_js", p, q, domain, weight)


def js(p, q, domain="probs"):
    """Jensen-Shannon divergence, in nats: ``skew_js`` at 1/2."""
    return skew_js(p, q, 0.5, domain)


def js_distance(p, q, domain="probs"):
    """``sqrt(js)``, a metric."""
    return _root(js(p, q, domain))


def skew_kl(p, q, alpha, domain="probs"):
    """``KL(p || alpha q + (1 - alpha) p)``, 0 < alpha <= 1 (Lee 1999); kl at alpha = 1."""
    _require(0 < alpha <= 1, "0 < alpha <= 1")
    return _sum("skew_kl", p, q, domain, alpha)


def total_variation(p, q, domain="probs"):
    """``1/2 sum_k |p_k - q_k|``."""
    return _sum("total_variation", p, q, domain)


def triangular(p, q, domain="probs"):
    """``sum_k (p_k - q_k)^2 / (p_k + q_k)``: triangular discrimination (Topsoe), Vincze-Le Cam distance times 2."""
    return _sum("triangular", p, q, domain)


def squared_hellinger(p, q, domain="probs"):
    """``1 - sum_k sqrt(p_k q_k) = 1/2 sum_k (sqrt p_k - sqrt q_k)^2``."""
    return _sum("squared_hellinger", p, q, domain)


def hellinger(p, q, domain="probs"):
    """``sqrt(squared_hellinger)``, a metric."""
    return _root(squared_hellinger(p, q, domain))


def chi2(p, q, domain="probs"):
    """``sum_k (p_k - q_k)^2 / q_k`` (Pearson); inf where p_k > 0 = q_k."""
    return _sum("chi2", p, q, domain)


def neyman_chi2(p, q, domain="probs"):
    """``sum_k (p_k - q_k)^2 / p_k``."""
    return chi2(q, p, domain)


def tsallis(p, q, alpha, domain="probs"):
    """``(sum_k p_k^alpha q_k^(1-alpha) - 1) / (alpha - 1)``, alpha > 0; kl at alpha = 1."""
    _require(alpha > 0, "alpha > 0")
    return _sum("tsallis", p, q, domain, alpha)


def alpha_divergence(p, q, alpha, domain="probs"):
    """Amari's ``4 / (1 - alpha^2) (1 - sum_k p_k^((1-alpha)/2) q_k^((1+alpha)/2))``, any real alpha.

    kl at alpha = -1, reverse_kl at 1; inf where an exponent below 0 meets a zero, p_k = 0 < q_k or q_k = 0 < p_k.
    """
    return _sum("alpha_divergence", p, q, domain, alpha)


def renyi(p, q, alpha, domain="probs"):
    """``log(sum_k p_k^alpha q_k^(1-alpha)) / (alpha - 1)``, alpha > 0; kl at alpha = 1.

    alpha > 1: inf where p_k > 0 = q_k. alpha < 1: inf if the supports are disjoint, and only then.
    """
    _require(alpha > 0, "alpha > 0")
    if alpha == 1:
        return kl(p, q, domain)
    return 0 if same(p, q, domain) else _settled(_renyi, p, q, domain, alpha)


def chernoff(p, q, alpha, domain="probs"):
    """``-log(sum_k p_k^alpha q_k^(1-alpha))``, 0 < alpha < 1."""
    _require(0 < alpha < 1, "0 < alpha < 1")
    return 0 if same(p, q, domain) else _settled(_chernoff, p, q, domain, alpha)


def bhattacharyya(p, q, domain="probs"):
    """``-log(sum_k sqrt(p_k q_k))``: chernoff at 1/2."""
    return chernoff(p, q, 0.5, domain)


def generalized_kl(p, q, domain="probs"):
    """``sum_k p_k log(p_k / q_k) - p_k + q_k`` of rows as they are; rows may be empty (all 0)."""
    return _sum("generalized_kl", p, q, domain)


def itakura_saito(p, q, domain="probs"):
    """``sum_k p_k / q_k - log(p_k / q_k) - 1`` of rows as they are; 0 / 0 adds 0, one zero alone gives inf."""
    return _sum("itakura_saito", p, q, domain)


VALUES = {function.__name__: function for function in (
    kl, reverse_kl, cross_entropy, jeffreys, js, js_distance, skew_js, skew_kl, total_variation, triangular,
    squared_hellinger, hellinger, bhattacharyya, chernoff, chi2, neyman_chi2, tsallis, renyi, alpha_divergence,
    generalized_kl, itakura_saito)}


def value(name, p, q, domain="probs", **parameters):
    """The function `name` of VALUES: ``value("renyi", p, q, alpha=2)``."""
    return VALUES[name](p, q, domain=domain, **parameters)


def contributions(p, q, name, domain="probs", **parameters) -> list:
    """The terms of a divergence, one per bin, nonnegative; their sum is the divergence.

    They are those of the f-divergence with f(1) = f'(1) = 0, so that a bin where p_k = q_k adds exactly 0. What is
    no sum over bins (cross_entropy, renyi, chernoff, bhattacharyya, hellinger, js_distance) gives a KeyError.
    """
    of_rows = terms.of_rows(name)
    return [0] * len(p) if _equal(name, p, q, domain) else _settled_each(of_rows, p, q, domain, *parameters.values())


def same(p, q, domain="probs") -> bool:
    """Whether two rows are the same distribution, in exact rational arithmetic."""
    none = terms.nothing(domain)
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


def _equal(name, p, q, domain) -> bool:
    if name not in AS_THEY_ARE:
        return same(p, q, domain)
    _require(domain == "probs", "rows of probs: those of logits have no sum of their own")
    return all(float(a) == float(b) for a, b in zip(p, q))


def _sum(name, p, q, domain, *parameters):
    """The sum of the terms of a divergence."""
    of_rows = terms.of_rows(name)

    def total(mp, *arguments):
        return mp.fsum(of_rows(mp, *arguments))

    return 0 if _equal(name, p, q, domain) else _settled(total, p, q, domain, *parameters)


def _renyi(mp, p, q, domain, alpha):
    return _log_power_sum(mp, p, q, domain, alpha) / (mp.mpf(alpha) - 1)


def _chernoff(mp, p, q, domain, alpha):
    return -_log_power_sum(mp, p, q, domain, alpha)


def _log_power_sum(mp, p, q, domain, alpha):
    """``log(sum_k p_k^alpha q_k^(1-alpha))``: of the sum itself where it is small, else of its distance from 1."""
    s = mp.mpf(alpha)
    rows = terms.bins(mp, p, q, domain)
    power_sum = mp.fsum(p * mp.exp((1 - s) * x) for p, q, x in rows if p)
    if power_sum < 0.5:
        return mp.log(power_sum) if power_sum else mp.ninf
    return mp.log1p((s - 1) * mp.fsum(terms.tsallis(mp, *row, alpha) for row in rows if row[0] or row[1]))


def _cross_entropy(mp, p, q, domain):
    log_p, log_q = terms.log_probs(mp, p, domain), terms.log_probs(mp, q, domain)
    if any(a > mp.ninf and b == mp.ninf for a, b in zip(log_p, log_q)):
        return mp.inf
    return mp.fsum(mp.exp(a) * -b for a, b in zip(log_p, log_q) if a > mp.ninf)


def _root(value):
    return value.context.sqrt(value) if value else 0


def _settled(formula, *arguments):
    """A positive value, with as many digits as it takes for 40 of them not to change any more."""
    return _settled_each(lambda *arguments: [formula(*arguments)], *arguments, least=0)[0]


def _settled_each(formula, p, q, domain, *parameters, least=-1):
    """Values above `least`, with as many digits as it takes for 40 of each not to change any more."""
    from mpmath.ctx_mp import MPContext

    mp = MPContext()  # its own precision: nothing of the caller's mpmath is touched
    mp.dps = DIGITS + (_digits_of_logits(p, q) if domain == "logits" else 0)
    last = formula(mp, p, q, domain, *parameters)
    while True:
        mp.dps = 2 * mp.dps
        values = formula(mp, p, q, domain, *parameters)
        change = mp.mpf(10) ** TOLERANCE
        if all(x == mp.inf or x > least and abs(x - y) <= x * change for x, y in zip(values, last)):
            return values
        last = values


def _digits_of_logits(p, q) -> int:
    """Decimal digits before the point: the exponential of a number loses as many."""
    largest = max(abs(float(x)) for x in [*p, *q] if x > -np.inf)
    return int(np.log10(largest)) + 1 if largest > 1 else 0


def _require(condition, what):
    if not condition:
        raise ValueError(f"wanted: {what}")
