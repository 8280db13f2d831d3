"""Writes table.npz: the rows of strata.py with their KL, reverse KL and entropy to 106 bits.

    python tests/oracle/generate.py            keeps the values of the long rows (15 seconds)
    python tests/oracle/generate.py --long     computes them again, too (half an hour)

Every value is computed by two independent formulas, which must agree to 33 digits: the one of
klfast.reference (logarithms of normalised rows, a sum of nonnegative terms) and the one below (moments of
unnormalised rows, at a precision that its cancellation cannot reach).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from oracle import strata
from oracle.table import PATH, VALUES

from klfast import reference


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
    with mpmath.workdps(60):
        high = max(float(first), 5e-324)  # positive, however small
        return high, float(first - mpmath.mpf(high)) if high > 5e-324 else 0.0


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
    columns = {"stratum": [], "domain": [], "storage": [], "length": [], "p": [], "q": []}
    values = {name: [] for name in VALUES}
    for stratum, domain, storage, p, q in strata.all_cases():
        for key, item in zip(columns, (stratum, domain, storage, len(p), p, q)):
            columns[key].append(item)
        for name in VALUES:
            values[name].append(checked(name, p, q, domain))
    columns["p"], columns["q"] = np.concatenate(columns["p"]), np.concatenate(columns["q"])
    values |= long_values() if with_long else kept_values()
    np.savez_compressed(PATH, **{k: np.array(v) for k, v in {**columns, **values}.items()})
    print(f"{len(columns['length'])} cases, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main("--long" in sys.argv[1:])
