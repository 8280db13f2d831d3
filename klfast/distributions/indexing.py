"""Batches of distributions indexed as NumPy indexes an array of the batch's shape."""

from __future__ import annotations

import numpy as np


def shape_at(name: str, batch_shape: tuple[int, ...], key) -> tuple[int, ...]:
    """The shape of the batch's part at `key`; IndexError where there is none."""
    if not batch_shape:
        raise TypeError(f"one {name} distribution cannot be indexed")
    return np.broadcast_to(False, batch_shape)[key].shape


def taken(array: np.ndarray, own_axes: int, key) -> np.ndarray:
    """An array (batch..., and `own_axes` of each distribution) at a key of the batch: a view where NumPy makes one."""
    keys = key if isinstance(key, tuple) else (key,)
    behind = (slice(None),) * own_axes if any(k is Ellipsis for k in keys) else (...,)
    return array[(*keys, *behind)]
