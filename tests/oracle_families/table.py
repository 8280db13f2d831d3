"""Reads table.npz: parameter rows and their values as high + low."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_name("table.npz")


@dataclass(frozen=True)
class Case:
    stratum: str
    family: str
    p: np.ndarray
    q: np.ndarray
    kl: tuple[float, float]
    entropy: float  # of p; NaN where there is no closed form


@cache
def cases() -> tuple[Case, ...]:
    with np.load(PATH) as table:
        t = {name: table[name] for name in table.files}
    ends = np.cumsum(t["length"])[:-1]
    rows = zip(np.split(t["p"], ends), np.split(t["q"], ends))
    return tuple(Case(str(t["stratum"][i]), str(t["family"][i]), p, q, tuple(t["kl"][i]), float(t["entropy"][i]))
                 for i, (p, q) in enumerate(rows))
