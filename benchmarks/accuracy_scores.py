"""Scores for the accuracy report: klfast, function by function on every ISA, and other libraries, batch by batch."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import scipy.special
import scipy.stats

import klfast as kl
from klfast import _engine

from .accuracy_cases import Batch

DIRECT = {"probs": 2e-15, "logits": 4e-15}
SINGLE = 2.0**-24 * (1 + 1e-6)  # one rounding of the float64 value
# Smaller values are judged as if they were this large: the least numbers of the type are their grain.
FLOOR = {"float64": 1e-304, "float32": 2.0**-126}
SUM = 1e-15  # rows whose float64 sum is this close to 1 count as normalised

# Outcomes that are wrong whatever the tolerance, and how the tables call them.
OUTCOMES = {"neg": "negative", "nan": "NaN", "fin": "finite where inf is right", "inf": "inf where finite is right",
            "nz": "not 0 where 0 is right", "zero": "0 where positive is right"}


# ---- figures ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Score:
    """What a function gave for a batch: errors (NaN where no relative error exists) and wrong outcomes."""

    batch: Batch
    value: np.ndarray
    errors: np.ndarray
    wrong: dict[str, np.ndarray]
    recomputed: float | None = None  # share of a grid's pairs that the direct kernel computed again

    def select(self, kind: str | None) -> np.ndarray:
        return np.full(self.errors.shape, True) if kind is None else self.batch.kinds == kind


def judge(batch: Batch, value, exact, recomputed=None) -> Score:
    value, (high, low) = np.asarray(value), exact
    with np.errstate(all="ignore"):
        right = high.astype(value.dtype)  # what rounding makes of the exact value: 0 and inf may be right
        floor = FLOOR[value.dtype.name]
        errors = np.abs((value - high) - low) / np.maximum(high, floor)
    errors[~np.isfinite(right) | (high == 0) | ~np.isfinite(value)] = np.nan
    positive = right > 0 if exact is batch.kl else high > floor
    wrong = {"neg": value < 0, "nan": np.isnan(value), "fin": np.isinf(right) & np.isfinite(value),
             "inf": np.isinf(value) & np.isfinite(right), "nz": (high == 0) & (np.abs(value) > 0) & np.isfinite(value),
             "zero": positive & (value == 0)}
    return Score(batch, value, errors, wrong, recomputed)


@dataclass(frozen=True)
class Figures:
    n: int
    largest: float
    p999: float
    rms: float
    wrong: dict[str, int]

    @classmethod
    def of(cls, scores: list[Score], kind: str | None = None) -> Figures:
        parts = [s.errors[s.select(kind)] for s in scores]
        n = sum(map(len, parts))
        errors = np.concatenate([*parts, []])
        errors = errors[~np.isnan(errors)]
        wrong = {name: sum(int(s.wrong[name][s.select(kind)].sum()) for s in scores) for name in OUTCOMES}
        if not errors.size:
            return cls(n, np.nan, np.nan, np.nan, wrong)
        largest = errors.max()
        scaled = errors / largest if 0 < largest < np.inf else errors  # squares would overflow
        rms = largest * np.sqrt(np.mean(scaled**2)) if 0 < largest < np.inf else largest
        return cls(n, largest, np.quantile(errors, 0.999, method="inverted_cdf"), rms, wrong)


# ---- klfast -----------------------------------------------------------------------------------------------------


def klfast_values(batch: Batch):
    """(function, values, exact values, share recomputed) of everything that klfast does with a batch."""
    P, Q = batch.operands()
    n = batch.kl.shape[1]
    yield "rowwise", kl.rowwise(P, Q, out=np.empty(n)), batch.kl, None
    if P.single:
        yield "rowwise float32", kl.rowwise(P, Q), batch.kl, None
    if batch.entropy is not None:
        yield "entropy" + " float32" * P.single, kl.entropy(P), batch.entropy, None
    if batch.cross is not None:
        yield "cross-entropy", kl.rowwise(P, Q, "cross_entropy", out=np.empty(n)), batch.cross, None
    index = kl.Index(batch.operands(rowwise=False)[1])
    for function, (dtype, rtol) in PAIRWISE.items():
        values = index.pairwise(batch.operands(rowwise=False)[0], dtype=dtype, rtol=rtol)
        share = index.info["recomputed"] / index.info["pairs"]
        yield function, values.ravel() if batch.grid else values.diagonal(), batch.kl, share if batch.grid else None


ANY = float(np.nextafter(1, 0))  # accepts whatever is certain to be within a factor of 2
PAIRWISE = {"pairwise": ("float64", None), "pairwise float32": ("float32", None), "product": ("float64", ANY),
            "product float32": ("float32", ANY)}


def limit(function: str, domain: str) -> float:
    """What klfast promises of a function."""
    if function.startswith("product"):
        return ANY
    if function.startswith("pairwise"):
        return 1e-4 if function.endswith("float32") else 1e-12
    return DIRECT[domain] + SINGLE * function.endswith("float32")


@contextmanager
def only(isa: str):
    """Make an ISA the active one, and prove that its kernels and no others ran."""
    seen, before = [], _engine.active_isa()
    entries = {"scan": lambda result: result[2], "rowwise": lambda result: result, "Pairing": lambda result: result.stats}
    originals = {name: getattr(_engine, name) for name in entries}

    def watched(name):
        def call(*args, **options):
            result = originals[name](*args, **options)
            seen.append((name, entries[name](result)))
            return result

        return call

    _engine.use_isa(isa)
    try:
        for name in entries:
            setattr(_engine, name, watched(name))
        yield
    finally:
        for name, original in originals.items():
            setattr(_engine, name, original)
        _engine.use_isa(before)
    for name in entries:
        ran = {isa_name for entry, stats in seen if entry == name for isa_name in stats.isas_ran}
        if ran != {isa}:
            raise AssertionError(f"{name} was to run on {isa}, but ran on {sorted(ran)}")


def measure_klfast(data: list[Batch]) -> dict[str, dict[str, list[Score]]]:
    """{ISA: {function: scores}}, best ISA first."""
    results = {}
    for isa in [name for name, supported in _engine.isas().items() if supported]:
        scores = defaultdict(list)
        with only(isa):
            for batch in data:
                for function, values, exact, share in klfast_values(batch):
                    scores[function].append(judge(batch, values, exact, share))
        results[isa] = dict(scores)
    return results


@dataclass(frozen=True)
class Miss:
    """The worst of some values that break the contract; `p` and `q` make it again."""

    function: str
    isa: str
    batch: Batch
    count: int
    pair: int
    value: float
    exact: float
    error: float

    def __str__(self) -> str:
        p, q = (x[self.pair].tolist() for x in self.batch.pairs)
        rows = f"; p = {p}, q = {q}" if len(p) <= 8 else ""
        return (f"{self.function} on {self.isa}, {self.batch.stratum} ({self.batch.domain}, {self.batch.storage}, "
                f"{len(p)} bins): {self.count} values; pair {self.pair} is {self.value!r}, should be {self.exact!r}, "
                f"relative error {self.error:.3g}{rows}")


def misses(results) -> list[Miss]:
    """Where klfast breaks its contract, batch by batch."""
    found = []
    for isa, functions in results.items():
        for function, scores in functions.items():
            for s in scores:
                bad = s.errors > limit(function, s.batch.domain)
                bad |= np.any([*s.wrong.values(), np.signbit(s.value)], axis=0)
                if bad.any():
                    i = int(np.argmax(np.where(bad, np.nan_to_num(s.errors, nan=np.inf), -1)))
                    exact = {"entropy": s.batch.entropy, "cross-entropy": s.batch.cross}.get(
                        function.partition(" ")[0], s.batch.kl)
                    found.append(Miss(function, isa, s.batch, int(bad.sum()), i, float(s.value[i]),
                                      float(exact[0][i]), float(s.errors[i])))
    return found


# ---- other libraries --------------------------------------------------------------------------------------------


def measure_peers(data: list[Batch]) -> dict[tuple[str, str], list[Score]]:
    """{(function, library): scores}. Everything in float64; samples stored in float32 also in float32."""
    scores = defaultdict(list)
    for batch in data:
        types = [np.float64] + [np.float32] * (batch.storage == "float32" and batch.sampled)
        for dtype in types:
            P, Q = (np.ascontiguousarray(x, dtype) for x in batch.pairs)
            for (function, name), compute in peers(batch.domain).items():
                exact = {"kl": batch.kl, "entropy": batch.entropy, "cross-entropy": batch.cross}[function]
                if exact is None:
                    continue
                rows = (P, Q) if batch.domain == "logits" or name == "scipy stats.entropy" else (_sum_to_1(P), _sum_to_1(Q))
                values = np.asarray(compute(*rows)).reshape(len(P))
                label = name + " float32" * (dtype == np.float32)
                scores[f"{function} of {batch.domain}", label].append(judge(batch, values, exact))
    return dict(scores)


def _sum_to_1(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their float64 sums, those left alone that sum to 1 (float32: to its precision)."""
    if rows.dtype == np.float32:
        return rows
    sums = rows.sum(axis=1, keepdims=True)
    return np.where(np.abs(sums - 1) <= SUM, rows, rows / sums)


def peers(domain: str) -> dict:
    """{(function, library): function of two matrices}."""
    import torch
    from torch.nn.functional import cross_entropy, kl_div, log_softmax

    t, special, softmax = torch.from_numpy, scipy.special, lambda x: scipy.special.softmax(x, axis=1)
    if domain == "logits":
        def torch_kl(a, b):
            a, b = log_softmax(t(a), -1), log_softmax(t(b), -1)
            return kl_div(b, a, reduction="none", log_target=True).sum(-1)

        return {
            ("kl", "torch log_softmax + kl_div"): torch_kl,
            ("kl", "scipy softmax + rel_entr"): lambda a, b: special.rel_entr(softmax(a), softmax(b)).sum(1),
            ("kl", "scipy softmax + stats.entropy"): lambda a, b: scipy.stats.entropy(softmax(a), softmax(b), axis=1),
            ("entropy", "torch Categorical(logits)"):
                lambda a, b: torch.distributions.Categorical(logits=t(a), validate_args=False).entropy(),
            ("entropy", "scipy softmax + entr"): lambda a, b: special.entr(softmax(a)).sum(1),
            ("cross-entropy", "torch softmax + cross_entropy"):
                lambda a, b: cross_entropy(t(b), torch.softmax(t(a), -1), reduction="none"),
            ("cross-entropy", "scipy softmax + log_softmax"):
                lambda a, b: -np.where(softmax(a) > 0, softmax(a) * special.log_softmax(b, axis=1), 0).sum(1),
        }
    import numkong
    import simsimd

    return {
        ("kl", "scipy stats.entropy"): lambda p, q: scipy.stats.entropy(p, q, axis=1),
        ("kl", "scipy rel_entr"): lambda p, q: special.rel_entr(p, q).sum(1),
        ("kl", "scipy kl_div"): lambda p, q: special.kl_div(p, q).sum(1),
        ("kl", "torch kl_div"): lambda p, q: kl_div(t(q).log(), t(p), reduction="none").sum(-1),
        ("kl", "NumKong"): lambda p, q: numkong.kullbackleibler(p, q),
        ("kl", "SimSIMD"): lambda p, q: simsimd.kullbackleibler(p, q),
        ("entropy", "scipy stats.entropy"): lambda p, q: scipy.stats.entropy(p, axis=1),
        ("entropy", "scipy entr"): lambda p, q: special.entr(p).sum(1),
        ("entropy", "torch entr"): lambda p, q: torch.special.entr(t(p)).sum(-1),
        ("cross-entropy", "scipy xlogy"): lambda p, q: -special.xlogy(p, q).sum(1),
        ("cross-entropy", "torch xlogy"): lambda p, q: -torch.special.xlogy(t(p), t(q)).sum(-1),
    }
