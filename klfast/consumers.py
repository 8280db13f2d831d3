"""Consumers of tiles: allocate the answer, hand slabs of rows to the engine, finish.

Between slabs (about 0.2 s) control is back in Python: Ctrl-C works and the progress bar moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from tqdm import tqdm

from . import _engine

SLAB_SECONDS = 0.2


def run_slabs(n: int, unit: int, work: Callable[[int, int], None], progress, pairs_per_row: int = 1,
              first: int = 1) -> None:
    """Call work(begin, end) over 0..n in slabs of whole `unit`s that take about SLAB_SECONDS each; the first has about
    `first` rows."""
    with tqdm(total=n * pairs_per_row, unit="pair", unit_scale=True, disable=not progress,
              desc=progress if isinstance(progress, str) else None) as bar:
        begin, size = 0, max(unit, first // unit * unit)
        while begin < n:
            end = min(begin + size, n)
            start = time.perf_counter()
            work(begin, end)
            seconds = max(time.perf_counter() - start, 1e-6)
            bar.update((end - begin) * pairs_per_row)
            goal = (end - begin) * SLAB_SECONDS / seconds
            # Grow at most fourfold a step, so that a cheap first slab does not make a long second one.
            size = max(unit, int(min(goal, 4 * size)) // unit * unit)
            begin = end


def dense(pairing: _engine.Pairing, out: np.ndarray, unit: int, parts: int, first: int, accept: float, factor: float,
          progress) -> np.ndarray:
    """Every value, into `out`."""
    run_slabs(out.shape[0], unit, lambda a, b: pairing.dense(out, a, b, parts, accept, factor), progress,
              out.shape[1], first)
    return out


def top(pairing: _engine.Pairing, n: int, m: int, k: int, skip_self: bool, unit: int, parts: int, first: int,
        progress):
    """The k nearest columns of each row: (values, columns), ordered by (value, column)."""
    values, columns = np.empty((n, k)), np.empty((n, k), np.int64)

    def work(begin, end):
        v, c = pairing.top(k, skip_self, begin, end, parts)
        values[begin:end], columns[begin:end] = _merge(v, c, k)

    run_slabs(n, unit, work, progress, m, first)
    return values, columns


def _merge(values: np.ndarray, columns: np.ndarray, k: int):
    """One list per row from the lists of several parts of the columns."""
    if values.shape[0] == 1:
        return values[0], columns[0]
    v = np.concatenate(values, axis=1)
    c = np.concatenate(columns, axis=1)
    v[c < 0] = np.inf
    order = np.lexsort((np.where(c < 0, np.iinfo(np.int64).max, c), v), axis=1)[:, :k]
    return np.take_along_axis(v, order, 1), np.take_along_axis(c, order, 1)
