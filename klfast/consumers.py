"""Consumers of tiles: allocate the answer, hand slabs of rows to the engine, finish.

Between slabs (about 0.2 s) control is back in Python: Ctrl-C works and the progress bar moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import scipy.sparse
from tqdm import tqdm

from . import _engine, memory, plan
from .encoding import Operand

SLAB_SECONDS = 0.2


def run_slabs(n: int, unit: int, work: Callable[[int, int], None], progress, pairs_per_row: int = 1,
              first: int = 1) -> None:
    """Call work(begin, end) over 0..n in slabs of whole `unit`s that take about SLAB_SECONDS each; the first has about
    `first` rows."""
    with progress_bar(n * pairs_per_row, progress) as bar:
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


def progress_bar(pairs: int, progress) -> tqdm:
    return tqdm(total=pairs, unit="pair", unit_scale=True, disable=not progress,
                desc=progress if isinstance(progress, str) else None)


def dense(pairing: _engine.Pairing, out: np.ndarray, stream: bool, unit: int, parts: int, first: int, accept: float,
          progress) -> np.ndarray:
    """Every value, into `out`; `stream`: past the caches."""
    run_slabs(out.shape[0], unit, lambda a, b: pairing.dense(out, a, b, parts, accept, stream), progress,
              out.shape[1], first)
    return out


def top(pairing: _engine.Pairing, left: Operand, m: int, k: int, skip_self: bool, same: bool, unit: int, parts: int,
        first: int, progress):
    """The k nearest columns of each row: (values, columns), ordered by (value, column). `same`: row i is column i."""
    n = left.n
    values, columns = memory.empty((n, k), np.float64), memory.empty((n, k), np.int64)
    pairing.take_sample(plan.sample(m, pairing.right.form.width(pairing.right.rows)))

    def work(begin, end):
        v, c = pairing.top(k, skip_self, same, begin, end, parts, (values[begin:end], columns[begin:end]))
        left.refuse(pairing.stats)
        if len(v) > 1:
            values[begin:end], columns[begin:end] = _merge(v, c, k)

    run_slabs(n, unit, work, progress, m, first)
    return values, columns


def _merge(values: np.ndarray, columns: np.ndarray, k: int):
    """One list per row from the lists of several parts of the columns."""
    v = np.concatenate(values, axis=1)
    c = np.concatenate(columns, axis=1)
    v[c < 0] = np.inf
    order = np.lexsort((np.where(c < 0, np.iinfo(np.int64).max, c), v), axis=1)[:, :k]
    return np.take_along_axis(v, order, 1), np.take_along_axis(c, order, 1)


def no_pairs(n: int, m: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((np.empty(0), np.empty(0, np.int64), np.zeros(n + 1, np.int64)), shape=(n, m))


def within(pairing: _engine.Pairing, n: int, m: int, radius: float, skip_self: bool, limit: int, unit: int, first: int,
           progress) -> scipy.sparse.csr_array:
    """The pairs up to `radius` as CSR, each row's by (value, column); MemoryError beyond `limit` of them."""
    found: list[tuple[np.ndarray, ...]] = []
    total = 0

    def work(begin, end):
        nonlocal total
        part = pairing.within(radius, skip_self, begin, end, limit - total)
        if part is None:
            raise MemoryError(f"more than limit={limit:,} pairs lie within radius={radius:g} (seen by row {end - 1} of "
                              f"{n}); give a smaller radius, or a larger limit (24 bytes a pair)")
        found.append(part)
        total += part[0].size

    run_slabs(n, unit, work, progress, m, first)
    values, columns, counts = (np.concatenate([part[t] for part in found]) for t in range(3))
    starts = np.concatenate([[0], np.cumsum(counts)])
    result = scipy.sparse.csr_array((values, columns, starts), shape=(n, m))
    result.has_sorted_indices = m <= 1  # sorted by value
    return result


START = {"sum": 0.0, "mean": 0.0, "min": np.inf, "max": -np.inf}


def reduce(pairing: _engine.Pairing, n: int, m: int, op: str, over_rows: bool, unit: int, first: int, accept: float,
           progress) -> np.ndarray:
    """One number a row or, `over_rows`, a column. Sums are split where plan.REDUCE_* say, whatever the threads."""
    code, start = _engine.REDUCTIONS[op], START[op]
    result, low = np.full(m if over_rows else n, start), np.zeros(m if over_rows else n)

    def take(at, values, rest):
        if op in ("min", "max"):
            result[at] = getattr(np, f"f{op}")(result[at], values)
            return
        with np.errstate(invalid="ignore"):
            total = result[at] + values  # TwoSum
            z = total - result[at]
            error = (result[at] - (total - z)) + (values - z)
        low[at] += np.where(np.isfinite(error), error, 0.0) + rest
        result[at] = total

    def work(begin, end):
        partial, rests = pairing.reduce(code, over_rows, begin, end, plan.REDUCE_ROWS, plan.REDUCE_COLUMNS, accept,
                                        start)
        for values, rest in zip(partial, rests):
            take(slice(None) if over_rows else slice(begin, end), values, rest)

    run_slabs(n, plan.REDUCE_ROWS if over_rows else unit, work, progress, m, first)
    result += low
    return result / (n if over_rows else m) if op == "mean" else result
