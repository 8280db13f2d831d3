"""Checks of scalar arguments and of `out`, shared by the public functions: a clear error before any work."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from . import memory, plan


def base_factor(base, divergence=None) -> float:
    """What turns nats into units of `base`."""
    if base is None:
        return 1.0
    if divergence is not None and not divergence.logarithmic:
        raise ValueError(f"base: {divergence.name} is not a logarithm, so it has no base; leave base=None")
    if not isinstance(base, Real) or not 1 < base < math.inf:
        raise ValueError(f"base must be a finite number above 1; got {base!r}")
    return 1 / math.log(base)


def checked_rtol(rtol, single_out: bool) -> float:
    """rtol as a float in [0, 1), or the default of the output precision."""
    if rtol is None:
        return plan.DEFAULT_RTOL[single_out]
    if not isinstance(rtol, Real) or not 0 <= rtol < 1:
        raise ValueError(f"rtol must be in [0, 1); got {rtol!r}")
    return float(rtol)


def checked_k(k, m: int, leaves_out_self: bool) -> int:
    """k as an int, if there are that many candidates."""
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be a positive integer; got {k!r}")
    candidates = m - leaves_out_self
    if k > candidates:
        raise ValueError(f"k = {k} neighbours were asked for, but there are only {max(candidates, 0)} candidates"
                         + (" (a row is not its own neighbour)" if leaves_out_self else ""))
    return int(k)


def checked_radius(radius) -> float:
    """radius as a finite float >= 0."""
    if not isinstance(radius, Real) or isinstance(radius, bool) or not 0 <= radius < math.inf:
        raise ValueError(f"radius must be a finite number >= 0; got {radius!r}")
    return float(radius)


def checked_limit(limit) -> int:
    """limit as an int >= 0, or the default."""
    if limit is None:
        return plan.LIMIT
    if not isinstance(limit, Integral) or isinstance(limit, bool) or limit < 0:
        raise ValueError(f"limit must be a whole number of pairs; got {limit!r}")
    return int(limit)


def checked_op(op) -> str:
    if op not in ("sum", "mean", "min", "max"):
        raise ValueError(f"op must be 'sum', 'mean', 'min' or 'max'; got {op!r}")
    return op


def checked_axis(axis) -> int:
    """0 or 1, of the matrix of values."""
    if axis not in (0, 1, -1, -2) or isinstance(axis, bool):
        raise ValueError(f"axis must be 1 (over the columns: one value a row) or 0 (over the rows); got {axis!r}")
    return axis % 2


def checked_out(out, shape, default_type) -> tuple[np.ndarray, bool]:
    """`out` if it can hold the answer, or a new array; and whether its memory has been written before."""
    if out is None:
        return memory.empty_or_kept(shape, default_type)
    if not isinstance(out, np.ndarray) or out.dtype not in (np.float32, np.float64) or not out.dtype.isnative:
        raise ValueError(f"out must be a float32 or float64 ndarray; got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != tuple(shape):
        raise ValueError(f"out has shape {out.shape}, the answer has {tuple(shape)}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out, True


def dense_out(out, shape, dtype, default_type) -> tuple[np.ndarray, bool]:
    """The array of a dense answer, from `out` or `dtype`; and whether its memory has been written before."""
    if dtype is not None:
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64; got {dtype}")
        if out is not None and getattr(out, "dtype", None) != dtype:
            raise ValueError(f"dtype is {dtype} but out has {getattr(out, 'dtype', type(out).__name__)}")
    return checked_out(out, shape, dtype or default_type)
