"""Writes table.npz: the rows of strata.py with their KL to 106 bits (and the entropy of p).

    python tests/oracle_families/generate.py        about two minutes

Every value is computed by two formulas, klfast.reference_families.kl and kl_again, which must agree to 25 digits
(10 where the second is a numerical integral).
"""

from __future__ import annotations

import sys
from pathlib import Path

import mpmath
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from oracle_families import strata
from oracle_families.table import PATH

from klfast import reference_families as reference

INTEGRABLE = ("ordinary", "equal")  # quadrature settles only where the two are not too near or too far


def checked(stratum: str, family: str, p, q) -> tuple[float, float]:
    """KL as high + low, after the second formula has confirmed it."""
    value = reference.kl(family, p, q)
    exact = reference.exponential(family, p, q)
    if value != 0 and value != mpmath.inf and (exact or stratum in INTEGRABLE):
        again = reference.kl_again(family, p, q)
        if not abs(again - value) <= abs(value) * mpmath.mpf(10) ** (-25 if exact else -10):
            raise AssertionError(f"KL of {family} rows {p}, {q}: {value} or {again}?")
    with mpmath.workdps(60):
        high = float(value)
        return high, float(value - mpmath.mpf(high)) if 0 < high < np.inf else 0.0


def main():
    columns = {"stratum": [], "family": [], "length": [], "p": [], "q": [], "kl": [], "entropy": []}
    for stratum, family, p, q in strata.all_cases():
        has_entropy = reference.FAMILIES[family].entropy is not None
        entropy = float(reference.entropy(family, p)) if has_entropy else np.nan
        for key, item in zip(columns, (stratum, family, len(p), p, q, checked(stratum, family, p, q), entropy)):
            columns[key].append(item)
    columns["p"], columns["q"] = np.concatenate(columns["p"]), np.concatenate(columns["q"])
    np.savez_compressed(PATH, **{key: np.array(x) for key, x in columns.items()})
    print(f"{len(columns['length'])} cases, {PATH.stat().st_size} bytes")


if __name__ == "__main__":
    main()
