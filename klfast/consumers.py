"""Consumers of tiles: allocate the answer, hand slabs of rows to the engine, finish.

Between slabs (about 0.2 s) control is back in Python: Ctrl-C works and the progress bar moves.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext

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
        begin, size = 0, n if first >= n else max(unit, first // unit * unit)
        while begin < n:
            end = min(begin + size, n)
            start = time.perf_counter()
            work(begin, end)
            seconds = max(time.perf_counter() - start, 1e-6)
            bar.update((end - begin) * pairs_per_row)
            # Grow about fourfold a step at most, so that a cheap first slab does not make a long second one; and share
            # out evenly what is left, for threads wait for each other at the end of each.
            goal = min((end - begin) * SLAB_SECONDS / seconds, 4 * size)
            slabs = max(1, round((n - end) / max(goal, unit)))
            size = max(unit, (n - end) // slabs // unit * unit) if slabs > 1 else n - end
            begin = end


class Silence:
    """No progress bar, without the time that one takes to be made and not shown."""

    def update(self, pairs: int) -> None:
        pass


def progress_bar(pairs: int, progress):
    """A context: the bar."""
    if not progress:
        return nullcontext(Silence())
    return tqdm(total=pairs, unit="pair", unit_scale=True, desc=progress if isinstance(progress, str) else None)


def _unit(pairing: _engine.Pairing, blocks: plan.Blocks) -> int:
    """Rows of the least slab: a block for each thread."""
    return blocks.rows * pairing.n_threads


def _cuts(pairing: _engine.Pairing, blocks: plan.Blocks, begin: int, end: int) -> np.ndarray:
    return plan.cuts(begin, end, blocks.rows, pairing.n_threads)


def dense(pairing: _engine.Pairing, out: np.ndarray, stream: bool, blocks: plan.Blocks, first: int, accept: float,
          progress) -> np.ndarray:
    """Every value, into `out`; `stream`: past the caches."""
    run_slabs(out.shape[0], _unit(pairing, blocks),
              lambda a, b: pairing.dense(out, a, b, blocks.column_parts, accept, stream), progress, out.shape[1], first)
    return out


def top(pairing: _engine.Pairing, left: Operand, m: int, k: int, skip_self: bool, same: bool, blocks: plan.Blocks,
        first: int, progress):
    """The k nearest columns of each row: (values, columns), ordered by (value, column). `same`: row i is column i."""
    n = left.n
    values, columns = memory.empty((n, k), np.float64), memory.empty((n, k), np.int64)
    pairing.take_sample(plan.sample(m, pairing.right.form.width(pairing.right.rows)))

    def work(begin, end):
        v, c = pairing.top(k, skip_self, same, _cuts(pairing, blocks, begin, end), blocks.column_parts,
                           (values[begin:end], columns[begin:end]))
        left.refuse(pairing.stats)
        if len(v) > 1:
            values[begin:end], columns[begin:end] = _merge(v, c, k)

    run_slabs(n, _unit(pairing, blocks), work, progress, m, first)
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


def within(pairing: _engine.Pairing, n: int, m: int, radius: float, skip_self: bool, limit: int,
           blocks: plan.Blocks, first: int, progress) -> scipy.sparse.csr_array:
    """The pairs up to `radius` as CSR, each row's by (value, column); MemoryError beyond `limit` of them."""
    found: list[tuple[np.ndarray, ...]] = []
    total = 0

    def work(begin, end):
        nonlocal total
        part = pairing.within(radius, skip_self, _cuts(pairing, blocks, begin, end), limit - total)
        if part is None:
            raise MemoryError(f"more than limit={limit:,} pairs lie within radius={radius:g} (seen by row {end - 1} of "
                              f"{n}); give a smaller radius, or a larger limit (24 bytes a pair)")
        found.append(part)
        total += part[0].size

    run_slabs(n, _unit(pairing, blocks), work, progress, m, first)
    values, columns, counts = (np.concatenate([part[t] for part in found]) for t in range(3))
    starts = np.concatenate([[0], np.cumsum(counts)])
    result = scipy.sparse.csr_array((values, columns, starts), shape=(n, m))
    result.has_sorted_indices = m <= 1  # sorted by value
    return result


START = {"sum": 0.0, "mean": 0.0, "min": np.inf, "max": -np.inf}


def reduce(pairing: _engine.Pairing, n: int, m: int, op: str, over_rows: bool, blocks: plan.Blocks, first: int,
           accept: float, progress) -> np.ndarray:
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
        cuts = (np.append(np.arange(begin, end, plan.REDUCE_ROWS), end) if over_rows
                else _cuts(pairing, blocks, begin, end))
        partial, rests = pairing.reduce(code, over_rows, cuts, plan.REDUCE_COLUMNS, accept, start)
        for values, rest in zip(partial, rests):
            take(slice(None) if over_rows else slice(begin, end), values, rest)

    run_slabs(n, plan.REDUCE_ROWS if over_rows else _unit(pairing, blocks), work, progress, m, first)
    result += low
    return result / (n if over_rows else m) if op == "mean" else result
