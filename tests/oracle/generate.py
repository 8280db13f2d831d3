"""Writes table.npz: the rows of strata.py and more_strata.py with their divergences to 106 bits.

    python tests/oracle/generate.py            keeps the values of the long rows (under 3 minutes)
    python tests/oracle/generate.py --long     computes them again, too (an hour)

Every value is computed by two independent formulas, which must agree to 33 digits: the one of
klfast.reference (logarithms of normalised rows, a sum of nonnegative terms) and another one at a precision that
its cancellation cannot reach: for KL and entropy moments of unnormalised rows (below), for all the other
divergences their textbook sums (formulas.py).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from oracle import formulas, more_strata, strata
from oracle.table import PATH, VALUES

from klfast import reference

NEAR_ONE = (0.999, 1 - 1e-9, 1 + 1e-9, 1.001)
POWERS = (1e-3, 0.25, 0.5, 0.9, *NEAR_ONE, 2.0, 3.5, 10.0)
# What the table holds for a pair of distributions: names with their parameters, None for those that have none.
ASKED = {
    "jeffreys": (None,), "js": (None,), "js_distance": (None,), "skew_js": (0.2,), "skew_kl": (0.5, 0.99),
    "total_variation": (None,), "triangular": (None,), "squared_hellinger": (None,), "hellinger": (None,),
    "bhattacharyya": (None,), "chernoff": (0.1, 0.7), "chi2": (None,), "neyman_chi2": (None,), "tsallis": POWERS,
    "renyi": POWERS, "alpha_divergence": (-3.0, -1.000001, 0.0, 0.3, 1.000001, 5.0),
}
ASKED_OF_MEASURES = {"generalized_kl": (None,), "itakura_saito": (None,)}
ROOTS = ("hellinger", "js_distance")
# Cases taken from each stratum, evenly; of rows longer than LONG only the names without parameters.
PER_STRATUM = {"near": 13, "logit_near": 13, "zeros": 14, "extreme_ratios": 10, "logit_huge": 2}
PER_STRATUM_ELSE = 6
LONG = 100


def second_formula(name, p, q, domain, digits):
    """KL from moments of the rows as they are.

    probs:  KL = sum p (log p - log q) / Sp - log Sp + log Sq        H = log Sp - sum p log p / Sp
    logits: KL = lse(b) - lse(a) + mean of (a - b)                   H = lse(a) - mean of a
    """
    if name == "reverse_kl":
        p, q = q, p
    none = 0.0 if domain == "probs" else -np.inf
    if name == "kl" and any(a != none and b == none for a, b in zip(p, q)):
        return mpmath.inf
    with mpmath.workdps(digits):
        both = [(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(p, q)]
        if domain == "probs":
            weights = [a for a, _ in both]
            logs = [(mpmath.log(a) if a else 0, mpmath.log(b) if b else 0) for a, b in both]
            total, other = mpmath.log(mpmath.fsum(weights)), mpmath.log(mpmath.fsum(b for _, b in both))
        else:
            tops = [max(side) for side in zip(*both)]
            logs = [(a - tops[0] if a > mpmath.ninf else 0, b - tops[1] if b > mpmath.ninf else 0) for a, b in both]
            weights = [mpmath.exp(a - tops[0]) if a > mpmath.ninf else mpmath.mpf(0) for a, _ in both]
            total = mpmath.log(mpmath.fsum(weights))
            other = mpmath.log(mpmath.fsum(mpmath.exp(b - tops[1]) for _, b in both if b > mpmath.ninf))
        mass = mpmath.fsum(weights)
        if name == "entropy":
            return total - mpmath.fdot(weights, (a for a, _ in logs)) / mass
        return other - total + mpmath.fdot(weights, (a - b for a, b in logs)) / mass


def digits_for(value, p, q, domain) -> int | None:
    """Digits that the second formula needs; None where they are too many to be worth it."""
    if value == 0 or value == mpmath.inf:
        return None
    below = max(0, -int(mpmath.log10(value)))
    finite = [abs(float(x)) for x in [*p, *q] if np.isfinite(x)]
    span = max(map(_exponent, finite)) - min(map(_exponent, filter(None, finite)), default=0)
    digits = 50 + below + span + (16 if domain == "logits" else 0)
    return digits if digits < 12_000 else None


def _exponent(x: float) -> int:
    return math.frexp(x)[1] * 302 // 1000


def checked(name, p, q, domain) -> tuple[float, float]:
    """The reference as high + low, after the second formula has confirmed it."""
    first = getattr(reference, name)(*((p, domain) if name == "entropy" else (p, q, domain)))
    digits = digits_for(first, p, q, domain)
    if digits is None:
        return max(float(first), 5e-324 if first else 0.0), 0.0
    second = second_formula(name, p, q, domain, digits)
    if second != first and abs(second - first) > abs(first) * mpmath.mpf(10) ** -33:
        raise AssertionError(f"{name} of {domain} rows {p[:4]}..., {q[:4]}...: {first} or {second}?")
    return _high_low(first)


def checked_divergence(name, p, q, domain, *parameter) -> tuple[float, float] | None:
    """The same for a divergence of formulas.py; None if that check would take too many digits."""
    first = reference.VALUES[name](p, q, *parameter, domain=domain)
    digits = formulas.digits_for(first * first if name in ROOTS else first, p, q)
    if digits is None:
        return None
    second = formulas.textbook(name, p, q, domain, digits, *parameter)
    tolerance = abs(first) * mpmath.mpf(10) ** -33 if first else mpmath.mpf(10) ** (-digits // 3)
    if second != first and not abs(second - first) <= tolerance:
        raise AssertionError(f"{name} {parameter} of {domain} rows {p[:4]}..., {q[:4]}...: {first} or {second}?")
    return _high_low(first)


def _high_low(value) -> tuple[float, float]:
    with mpmath.workdps(60):
        high = float(value)
        if value and high == 0:
            return 5e-324, 0.0  # positive, however small
        return high, float(value - mpmath.mpf(high)) if 5e-324 < high < math.inf else 0.0


def selected(cases) -> list[int]:
    """Numbers of the cases whose divergences the table holds: some of every stratum, evenly."""
    of_stratum = {}
    for i, case in enumerate(cases):
        of_stratum.setdefault(case[0], []).append(i)
    chosen = []
    for stratum, numbers in of_stratum.items():
        quota = min(len(numbers), PER_STRATUM.get(stratum, PER_STRATUM_ELSE))
        chosen += [numbers[(2 * k + 1) * len(numbers) // (2 * quota)] for k in range(quota)]
    return chosen


def divergence_columns(first_cases, more, measures) -> dict[str, list]:
    """Rows more_* and values divergence_*; cases are numbered through the three lists."""
    asked = [(i, first_cases[i], ASKED) for i in selected(first_cases)]
    asked += [(i, case, ASKED) for i, case in enumerate(more, len(first_cases))]
    asked += [(i, case, ASKED_OF_MEASURES) for i, case in enumerate(measures, len(first_cases) + len(more))]
    names = [*ASKED, *ASKED_OF_MEASURES]
    columns = {key: [] for key in ("case", "name", "parameter", "value")}
    left_out = 0
    for i, (_, domain, _, p, q), what in asked:
        for name, parameter in ((name, parameter) for name in what for parameter in what[name]):
            if parameter is not None and len(p) > LONG:
                continue
            value = checked_divergence(name, p, q, domain, *() if parameter is None else (parameter,))
            left_out += value is None
            if value is not None:
                row = i, names.index(name), math.nan if parameter is None else parameter, value
                for column, item in zip(columns.values(), row):
                    column.append(item)
    print(f"{len(columns['value'])} values of divergences, {left_out} too small to be checked left out")
    return {"divergence_" + key: column for key, column in columns.items()} | {"divergence_names": names}


def row_columns(cases) -> dict[str, list]:
    columns = {"stratum": [], "domain": [], "storage": [], "length": [], "p": [], "q": []}
    for stratum, domain, storage, p, q in cases:
        for key, item in zip(columns, (stratum, domain, storage, len(p), p, q)):
            columns[key].append(item)
    return columns | {side: np.concatenate(columns[side]) for side in ("p", "q")}


def long_values() -> dict[str, list]:
    values = {"long_" + name: [] for name in VALUES}
    for domain, K, seed in strata.LONG:
        print(f"{domain}, {K} bins", flush=True)
        p, q = strata.long_rows(domain, K, seed)
        for name in VALUES:
            values["long_" + name].append(checked(name, p, q, domain))
    return values


def kept_values() -> dict[str, np.ndarray]:
    with np.load(PATH) as table:
        return {name: table[name] for name in table.files if name.startswith("long_")}


def main(with_long: bool):
    cases, more, measures = (list(make()) for make in (strata.all_cases, more_strata.more_cases,
                                                       more_strata.measure_cases))
    values = {name: [checked(name, p, q, domain) for _, domain, _, p, q in cases] for name in VALUES}
    columns = row_columns(cases) | values | (long_values() if with_long else kept_values())
    columns |= {"more_" + key: column for key, column in row_columns(more + measures).items()}
    columns |= divergence_columns(cases, more, measures)
    np.savez_compressed(PATH, **{key: np.array(column) for key, column in columns.items()})
    print(f"{len(cases)} and {len(more) + len(measures)} cases, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main("--long" in sys.argv[1:])
