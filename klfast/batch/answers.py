"""The finished parts of a job as one answer, read by ranges of rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import parts
from .job import Job, Task, ranges
from .manifest import part_file

BLOCK_BYTES = 1 << 22  # read at a time


class Answer:
    """Rows of an answer, whatever the shards that it was computed in.

    Parameters
    ----------
    job : Job
        All tasks of which are finished.
    """

    def __init__(self, job: Job):
        self.job = job
        self.n, self.m = job.left.shape[0], job.references.shape[0]
        self._open: tuple[int, list] = (-1, [])

    def blocks(self, rows: int) -> Iterator[tuple[int, int, list[np.ndarray]]]:
        """(begin, end, arrays) for pieces of `rows` rows."""
        for begin, end in ranges(self.n, rows):
            yield begin, end, self.read(begin, end)

    def rows_a_block(self, row_bytes: int) -> int:
        """Rows to read at a time, a power of two: it does not depend on the shards, and so what is written does not."""
        return 1 << max(0, (BLOCK_BYTES // max(row_bytes, 1)).bit_length() - 1)

    def read(self, begin: int, end: int) -> list[np.ndarray]:
        """The arrays of rows [begin, end)."""
        pieces = [self._rows(begin, end, number) for number in self._shards(begin, end)]
        return pieces[0] if len(pieces) == 1 else [np.concatenate(arrays) for arrays in zip(*pieces)]

    def counts(self) -> np.ndarray:
        """Neighbours of each row, of an answer within a radius."""
        shards = range(len(ranges(self.n, self.job.plan.shard_rows)))
        return np.concatenate([self._shard(i)[0][:] for i in shards] or [np.empty(0, np.int64)])

    @property
    def dtypes(self) -> list[np.dtype]:
        """Types of the arrays."""
        if self.n == 0 or self.m == 0:
            return [np.dtype(np.float64), np.dtype(np.int64)]
        return [array.dtype for array in self._shard(0)]

    def _shards(self, begin: int, end: int) -> range:
        rows = self.job.plan.shard_rows
        return range(begin // rows, -(-end // rows))

    def _rows(self, begin: int, end: int, number: int) -> list[np.ndarray]:
        first = number * self.job.plan.shard_rows
        a, b = max(begin - first, 0), end - first
        arrays = self._shard(number)
        if self.job.question.kind != "radius_neighbors":
            return [array[a:b] for array in arrays]
        counts, indices, values = arrays[0][:], *arrays[1:]
        bounds = np.concatenate([[0], np.cumsum(counts)])
        c, d = bounds[a], bounds[min(b, counts.size)]
        return [counts[a:b], indices[c:d], values[c:d]]

    def _shard(self, number: int) -> list[parts.Stored]:
        """The arrays of a shard."""
        if self._open[0] != number:
            self._open = (-1, [])
            begin, end = ranges(self.n, self.job.plan.shard_rows)[number]
            self._open = (number, self._arrays(Task("merge" if self.job.merges else "part", number, begin, end)))
        return self._open[1]

    def _arrays(self, task: Task) -> list[parts.Stored]:
        job = self.job
        if job.question.kind != "pairwise" or job.plan.blocks == 1:
            return parts.read(job.directory / part_file(job, task))
        tasks = [Task("part", task.number, task.begin, task.end, block) for block in range(job.plan.blocks)]
        return [Columns([parts.read(job.directory / part_file(job, task))[0] for task in tasks])]


class Columns:
    """Arrays side by side, sliced by rows."""

    def __init__(self, arrays: list[parts.Stored]):
        self.arrays, self.dtype = arrays, arrays[0].dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        return np.concatenate([array[rows] for array in self.arrays], axis=1)
