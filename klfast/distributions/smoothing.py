"""Smoothing of counts: how pseudo-counts are asked for, and what is added to a row.

Every scheme is "row + weight * prior", which the engine does while it reads a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import numpy as np

HELP = ("smoothing is a number (added to every bin), ('jelinek-mercer', weight[, background]) or "
        "('dirichlet', mass[, background])")


@dataclass(frozen=True)
class Prior:
    """What is added to each row: weight * probs, times the row's sum if `by_sum`."""

    probs: np.ndarray
    weight: float
    by_sum: bool


def parse(smoothing, n_bins: int) -> Prior | None:
    """The prior that `smoothing` asks for, or None.

    additive a:                  x_k + a
    jelinek-mercer, weight w:    (1 - w) x_k / S + w b_k         (Jelinek & Mercer 1980)
    dirichlet, mass m:           (x_k + m b_k) / (S + m)         (MacKay & Peto 1995)

    b, the background, is uniform unless given.
    """
    if smoothing is None:
        return None
    if isinstance(smoothing, Real) and not isinstance(smoothing, bool):
        amount = _amount(smoothing, "the number added to every bin")
        return Prior(np.ones(n_bins), amount, False) if amount else None
    if not (isinstance(smoothing, tuple) and len(smoothing) in (2, 3)):
        raise ValueError(f"{HELP}; got {smoothing!r}")
    scheme, amount, *rest = smoothing
    background = _background(rest[0], n_bins) if rest else np.full(n_bins, 1 / max(n_bins, 1))
    if scheme == "jelinek-mercer":
        weight = _amount(amount, "the weight of 'jelinek-mercer'")
        if weight >= 1:
            raise ValueError(f"the weight of 'jelinek-mercer' must be below 1 (1 would leave nothing of "
                             f"the data); got {weight}")
        return Prior(background, weight / (1 - weight), True) if weight else None
    if scheme == "dirichlet":
        mass = _amount(amount, "the mass of 'dirichlet'")
        return Prior(background, mass, False) if mass else None
    raise ValueError(f"unknown smoothing {scheme!r}; {HELP}")


def _amount(value, what: str) -> float:
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 <= value < float("inf"):
        raise ValueError(f"{what} must be a finite number >= 0; got {value!r}")
    return float(value)


def _background(values, n_bins: int) -> np.ndarray:
    background = np.asarray(values, np.float64)
    if background.shape != (n_bins,):
        raise ValueError(f"the background of smoothing must have shape ({n_bins},), one number a bin; "
                         f"got {background.shape}")
    if not (np.isfinite(background).all() and (background >= 0).all() and background.sum() > 0):
        raise ValueError("the background of smoothing must be finite, nonnegative and not all zero")
    return background / background.sum()
