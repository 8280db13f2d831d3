"""Reads table.npz: rows as they were stored, and their values as high + low."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

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


@cache
def cases() -> tuple[Case, ...]:
    with np.load(PATH) as table:
        t = {name: table[name] for name in table.files}
    ends = np.cumsum(t["length"])
    rows = [tuple(np.split(t[side], ends[:-1])) for side in ("p", "q")]
    out = []
    for i, (p, q) in enumerate(zip(*rows)):
        storage = str(t["storage"][i])
        dtype = dtype_of(storage)
        values = {name: tuple(t[name][i]) for name in VALUES}
        out.append(Case(str(t["stratum"][i]), str(t["domain"][i]), storage, p.astype(dtype), q.astype(dtype), **values))
    return tuple(out)


def strata_of(domain: str) -> list[str]:
    return list(dict.fromkeys(case.stratum for case in cases() if case.domain == domain))


def long_case(number: int) -> Case:
    """Case `number` of strata.LONG, up to a million bins, made again from its seed."""
    domain, K, seed = LONG[number]
    p, q = long_rows(domain, K, seed)
    with np.load(PATH) as table:
        values = {name: tuple(table["long_" + name][number]) for name in VALUES}
    return Case("long", domain, "float64", p, q, **values)
