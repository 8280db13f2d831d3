"""Judges computed values against references given as unevaluated sums high + low of doubles."""

from __future__ import annotations

import numpy as np

# Where values come from numbers near the bottom of the exponent range, 2^-1074 = 5e-324 is their grain, and a factor of
# up to 1e4 (a logarithm, a logit) magnifies it: smaller values are judged as if they were this large.
SMALLEST = 1e-304


def error(value, high, low=0.0, positive=True) -> np.ndarray:
    """Relative error of each value; inf for NaN, for a wrong infinity, and where not exactly +0.0 is right.

    A positive reference below the least double stands in the table as the least double: with `positive`, as
    for divergences, 0 is wrong there too.
    """
    value, high, low = np.broadcast_arrays(*(np.asarray(x, np.float64) for x in (value, high, low)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        relative = np.abs((value - high) - low) / np.maximum(high, SMALLEST)
    wrong_sign = ~(value > 0) if positive else ~(value >= 0) | np.signbit(value)
    relative = np.where(wrong_sign | np.isnan(relative), np.inf, relative)
    same = (value == high) & (np.signbit(value) == np.signbit(high))
    return np.where((high == 0) | np.isinf(high), np.where(same, 0.0, np.inf), relative)


def assert_accurate(value, high, low=0.0, rtol=2e-15, label="", positive=True):
    """Every value within rtol of its reference; the message shows the worst one."""
    errors = error(value, high, low, positive)
    worst = int(np.argmax(errors)) if errors.size else 0
    if errors.size and not errors.flat[worst] <= rtol:
        got = np.broadcast_to(value, errors.shape).flat[worst]
        wanted = np.broadcast_to(high, errors.shape).flat[worst]
        raise AssertionError(f"{label}: {np.count_nonzero(~(errors <= rtol))} of {errors.size} values are off by more "
                             f"than {rtol:g}; worst, number {worst}: {got!r} should be {wanted!r} "
                             f"(relative error {errors.flat[worst]:.3g})")
