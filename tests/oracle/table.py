"""Reads table.npz: rows as they were stored, and their values as high + low."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .strata import LONG, dtype_of, long_rows

PATH = Path(__file__).with_name("table.npz")
VALUES = ("kl", "reverse_kl", "entropy")


@dataclass(frozen=True)
class Case:
    """Rows p and q (of type `storage`); references are (high, low)."""

    stratum: str
    domain: str
    storage: str
    p: np.ndarray
    q: np.ndarray
    kl: tuple[float, float]
    reverse_kl: tuple[float, float]
    entropy: tuple[float, float]


class DivergenceCase(NamedTuple):
    """One value of a divergence of klfast.reference.VALUES; `reference` is (high, low)."""

    stratum: str
    domain: str
    storage: str
    p: np.ndarray
    q: np.ndarray
    name: str
    parameter: float | None  # reference.PARAMETERS[name] is what it is called
    reference: tuple[float, float]


@cache
def cases() -> tuple[Case, ...]:
    t = _columns()
    values = zip(*(map(tuple, t[name]) for name in VALUES))
    return tuple(Case(*row, *references) for row, references in zip(_rows(""), values))


@cache
def divergence_cases() -> tuple[DivergenceCase, ...]:
    """The values of all the other divergences; cases of one pair follow each other and share its arrays."""
    t = _columns()
    rows = _rows("") + _rows("more_")
    return tuple(DivergenceCase(*rows[i], str(t["divergence_names"][name]), None if np.isnan(parameter) else
                                float(parameter), (float(high), float(low)))
                 for i, name, parameter, (high, low) in zip(*(t["divergence_" + key] for key in
                                                              ("case", "name", "parameter", "value"))))


@cache
def _columns() -> dict[str, np.ndarray]:
    with np.load(PATH) as table:
        return {name: table[name] for name in table.files}


@cache
def _rows(prefix: str) -> list[tuple]:
    """(stratum, domain, storage, p, q) of each pair."""
    t = _columns()
    ends = np.cumsum(t[prefix + "length"])[:-1]
    p, q = (np.split(t[prefix + side], ends) for side in ("p", "q"))
    columns = (t[prefix + key] for key in ("stratum", "domain", "storage"))
    return [(str(stratum), str(domain), str(storage), a.astype(dtype_of(storage)), b.astype(dtype_of(storage)))
            for stratum, domain, storage, a, b in zip(*columns, p, q)]


def strata_of(domain: str) -> list[str]:
    return list(dict.fromkeys(case.stratum for case in cases() if case.domain == domain))


def long_case(number: int) -> Case:
    """Case `number` of strata.LONG, up to a million bins, made again from its seed."""
    domain, K, seed = LONG[number]
    p, q = long_rows(domain, K, seed)
    values = {name: tuple(_columns()["long_" + name][number]) for name in VALUES}
    return Case("long", domain, "float64", p, q, **values)
