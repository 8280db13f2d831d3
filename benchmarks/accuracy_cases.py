"""Rows for the accuracy report, stratum by stratum, with their values to 106 bits.

The oracle of the tests gives its rows and committed values. Larger samples, and the grids of all pairs on which product
forms go wrong, get theirs here: from the exact floats, at 100 digits, by two formulas that must agree to 33 digits.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from mpmath.ctx_mp import MPContext

import klfast as kl
from klfast import reference

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import clouds  # noqa: E402  (of tests/)
import oracle  # noqa: E402

DIGITS = 100
AGREEMENT = 33
GUARD = 50
SEED = 1959
SAMPLE = 1000
GRID = 16, 70  # 70 columns: enough for the table of equal rows
LONG_GRID = 2, 64

SEPARATED, NEAR, EDGE = "well separated", "nearly equal", "edge cases"
KINDS = (SEPARATED, NEAR, EDGE)
EDGES = {"zeros", "one_hot", "subnormal", "extreme_ratios", "tiny", "logit_wide", "logit_masks", "logit_huge",
         "small-bins", "subnormal-bins", "one-hot", "zero-ridden", "logits-1e4", "logits-masks", "logits-deep"}
NEARLY = ("near", "neighbours", "proportional", "difference", "cloud", "five-clouds", "duplicates", "logit_near",
          "logit_neighbours", "logit_shifts", "logit difference", "logits-cloud", "logits-shifted")


@dataclass
class Batch:
    """Rows P and Q, pair by pair or (`grid`) all pairs, and their exact values as (high, low)."""

    stratum: str
    domain: str
    storage: str
    P: np.ndarray
    Q: np.ndarray
    kl: np.ndarray
    entropy: np.ndarray | None = None
    cross: np.ndarray | None = None
    grid: bool = False
    sampled: bool = False
    near: bool | None = None  # None: as the stratum says
    epsilon: int | None = None  # the relative difference is 1e-epsilon

    @cached_property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """P and Q row by row."""
        if not self.grid:
            return self.P, self.Q
        return np.repeat(self.P, len(self.Q), axis=0), np.tile(self.Q, (len(self.P), 1))

    @cached_property
    def kinds(self) -> np.ndarray:
        """Of each pair, one of KINDS: pairs with an empty bin are always edge cases."""
        near = self.stratum.startswith(NEARLY) if self.near is None else self.near
        kind = EDGE if self.stratum in EDGES else NEAR if near else SEPARATED
        none = 0 if self.domain == "probs" else -np.inf
        empty = np.any([(np.asarray(x, np.float64) == none).any(axis=1) for x in self.pairs], axis=0)
        return np.where(empty, EDGE, kind)

    def operands(self, rowwise: bool = True) -> tuple[kl.Categorical, kl.Categorical]:
        parameter = "counts" if self.domain == "probs" else "logits"
        return tuple(kl.Categorical(**{parameter: x}) for x in (self.pairs if rowwise else (self.P, self.Q)))


def batches() -> Iterator[Batch]:
    yield from oracle_batches()
    yield from samples()
    yield from grids()


# ---- the oracle of the tests ------------------------------------------------------------------------------------


def oracle_batches() -> Iterator[Batch]:
    """The committed cases: a batch for each stratum, length and storage; each long row is one."""
    groups = defaultdict(list)
    for case in oracle.cases():
        groups[case.stratum, case.domain, case.storage, case.p.size].append(case)
    for (stratum, domain, storage, _), cases in groups.items():
        yield _from_cases(stratum, domain, storage, cases)
    for number, (domain, _, seed) in enumerate(oracle.strata.LONG):
        batch = _from_cases("long" if domain == "probs" else "logit_long", domain, "float64", [oracle.long_case(number)])
        batch.near = seed % 2 == 0  # as strata.long_rows has it
        yield batch


def _from_cases(stratum, domain, storage, cases) -> Batch:
    P, Q = (np.stack([getattr(c, side) for c in cases]) for side in "pq")
    values, entropy = (np.array([getattr(c, name) for c in cases]).T for name in ("kl", "entropy"))
    return Batch(stratum, domain, storage, P, Q, values, entropy, _sum(values, entropy))


def _sum(a, b) -> np.ndarray:
    """(high, low) of a sum of two such pairs."""
    high = a[0] + b[0]
    with np.errstate(invalid="ignore"):
        larger, smaller = np.maximum(a[0], b[0]), np.minimum(a[0], b[0])
        low = np.where(np.isinf(high), 0, (larger - high) + smaller + a[1] + b[1])
    return np.array([high, low])


# ---- samples large enough for p99.9 -----------------------------------------------------------------------------


def samples() -> Iterator[Batch]:
    rng = np.random.default_rng(SEED)
    for concentration, K, storage in ((1.0, 64, "float64"), (0.05, 64, "float64"), (1.0, 32, "float32")):
        P, Q = (_normalised(rng.standard_gamma(concentration, (SAMPLE, K)) + 1e-30) for _ in range(2))
        yield _referenced(f"Dirichlet({concentration:g})", "probs", storage, P, Q)
    for storage, exponents in (("float64", range(1, 16)), ("float32", range(1, 7))):
        for e in exponents:
            Q = _normalised(rng.standard_gamma(1.0, (-(-SAMPLE // len(exponents)), 32)))
            P = _normalised(Q * (1 + 10.0**-e * rng.uniform(-1, 1, Q.shape)))
            yield _referenced("difference", "probs", storage, P, Q, epsilon=e)
    for storage in ("float64", "float32"):
        a, b = (2 * rng.standard_normal((SAMPLE, 32)) for _ in range(2))
        yield _referenced("normal logits", "logits", storage, a, b)
    for storage, exponents in (("float64", range(1, 16)), ("float32", range(1, 7))):
        for e in exponents:
            b = 2 * rng.standard_normal((-(-SAMPLE // len(exponents)), 32))
            a = b + 10.0**-e * rng.uniform(-1, 1, b.shape)
            yield _referenced("logit difference", "logits", storage, a, b, epsilon=e)


def _normalised(weights) -> np.ndarray:
    return weights / weights.sum(axis=1, keepdims=True)


def _referenced(stratum, domain, storage, P, Q, **more) -> Batch:
    P, Q = P.astype(storage), Q.astype(storage)
    values = np.array([exact_values(p, q, domain) for p, q in zip(P, Q)])  # (pairs, 3, 2)
    return Batch(stratum, domain, storage, P, Q, *values.transpose(1, 2, 0), sampled=True, **more)


def grids() -> Iterator[Batch]:
    """All pairs of the matrices of tests/clouds.py."""
    for name in clouds.NAMES:
        P, Q = clouds.rows(name, *(LONG_GRID if name == "long-rows" else GRID))
        domain = "logits" if name in clouds.LOGITS else "probs"
        left, right = ([Exact(x, domain) for x in rows] for rows in (P, Q))
        values = np.array([_split(exact_kl(p, q)) for p in left for q in right]).T
        yield Batch(name, domain, "float64", P, Q, values, grid=True)


# ---- exact values -----------------------------------------------------------------------------------------------


class Exact:
    """A row at DIGITS digits: weights (over the largest), their logarithms, and the distribution."""

    def __init__(self, row, domain: str, digits: int = DIGITS):
        self.row, self.domain, self.digits = row, domain, digits
        self.mp = mp = MPContext()
        mp.dps = digits
        x = [mp.mpf(float(value)) for value in row]
        top = max(x)
        if domain == "probs":
            self.weights = [value / top for value in x]
            self.logs = [mp.log(w) if w else mp.zero for w in self.weights]
        else:
            self.weights = [mp.exp(value - top) if value > mp.ninf else mp.zero for value in x]
            self.logs = [value - top if value > mp.ninf else mp.zero for value in x]
        self.mass = mp.fsum(self.weights)
        self.log_mass = mp.log(self.mass)
        self.probs = [w / self.mass for w in self.weights]

    def again(self, digits: int) -> Exact:
        return Exact(self.row, self.domain, digits)


def exact_values(p, q, domain: str):
    """KL, entropy of p and cross-entropy, each (high, low)."""
    P, Q = Exact(p, domain), Exact(q, domain)
    return _split(exact_kl(P, Q)), _split(_agreed(P, P, entropy_of_moments, entropy_of_terms)), _split(
        _agreed(P, Q, entropy_of_moments, entropy_of_terms))


def exact_kl(P: Exact, Q: Exact):
    if any(a and not b for a, b in zip(P.weights, Q.weights)):
        return P.mp.inf
    return _agreed(P, Q, kl_of_moments, kl_of_terms)


def _agreed(P: Exact, Q: Exact, first, second):
    """The value that both formulas give, with as many digits as it takes.

    Weights and probabilities are at most 1, so whatever is lost is below 10^(GUARD - AGREEMENT - digits): a value far
    above that is right, not only agreed upon.
    """
    if not all(b for a, b in zip(P.weights, Q.weights) if a):
        return P.mp.inf
    ten = P.mp.mpf(10)
    while True:
        a, b = first(P, Q), second(P, Q)
        if a > ten ** (GUARD - P.digits) and abs(a - b) <= a * ten**-AGREEMENT:
            return a
        if first is kl_of_moments and reference.same(P.row, Q.row, P.domain):
            return P.mp.zero
        if first is entropy_of_moments and np.count_nonzero(Q.weights) == 1:
            return P.mp.zero
        if P.digits > 800:
            if abs(a) < ten**-400 and abs(b) < ten**-400:
                return ten**-400  # positive, and below every double
            raise AssertionError(f"two formulas disagree: {a} and {b}, for the rows {P.row!r} and {Q.row!r}")
        P, Q = P.again(3 * P.digits), Q.again(3 * P.digits)


def kl_of_moments(P: Exact, Q: Exact):
    """``sum p (log p - log q) / Sp - log Sp + log Sq`` of rows that are not normalised."""
    fdot = P.mp.fdot
    return (fdot(P.weights, P.logs) - fdot(P.weights, Q.logs)) / P.mass - P.log_mass + Q.log_mass


def kl_of_terms(P: Exact, Q: Exact):
    """``sum p log(p/q) - p + q`` of normalised rows, by the logarithm of each ratio."""
    log = P.mp.log
    return P.mp.fsum(a * log(a / b) - a + b if a else b for a, b in zip(P.probs, Q.probs))


def entropy_of_moments(P: Exact, Q: Exact):
    """``log Sq - sum p log q / Sp``: the cross-entropy, the entropy for Q = P."""
    return Q.log_mass - P.mp.fdot(P.weights, Q.logs) / P.mass


def entropy_of_terms(P: Exact, Q: Exact):
    """``-sum p log q`` of normalised rows."""
    log = P.mp.log
    return -P.mp.fsum(a * log(b) for a, b in zip(P.probs, Q.probs) if a)


def _split(value) -> tuple[float, float]:
    """A number as high + low; positive ones stay so."""
    high = max(float(value), 5e-324) if value else 0.0
    return high, float(value - high) if 5e-324 < high < np.inf else 0.0
