"""Lists of neighbours: a row taken out of its own list, and lists of several blocks of references made one."""

from __future__ import annotations

import numpy as np

from . import parts
from .job import Job, Task
from .manifest import part_file


def without_self(job: Job, task: Task, values: np.ndarray, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of a block as rows of all references; each row leaves itself out where the job says so.

    Such a list was asked for k + 1 long. If the row is among them, k others remain; if not (so many copies of it have
    smaller indices, or it is in another block), the last one is not needed. A list that is shorter because the block
    is small keeps all, and the place of the row itself becomes (nan, -1) at its end.
    """
    indices = indices + job.block(task.block)[0]
    if job.right is not None:
        return values, indices
    itself = indices == np.arange(task.begin, task.end)[:, None]
    values, indices = np.where(itself, np.nan, values), np.where(itself, -1, indices)
    order = np.argsort(itself, axis=1, kind="stable")[:, : job.question.k]
    return np.take_along_axis(values, order, 1), np.take_along_axis(indices, order, 1)


def merge(job: Job, task: Task) -> tuple[np.ndarray, ...]:
    """One part of the answer from those of all blocks."""
    tasks = [Task("part", task.number, task.begin, task.end, block) for block in range(job.plan.blocks)]
    found = [[array[:] for array in parts.read(job.directory / part_file(job, part))] for part in tasks]
    if job.question.kind == "radius_neighbors":
        return _merge_within(found)
    values, indices = (np.concatenate(arrays, axis=1) for arrays in zip(*found))
    # Lists are ordered by (value, index) and blocks by index: a stable sort of the values is the order of both. NaN,
    # which stands for the row itself, comes last.
    order = np.argsort(values, axis=1, kind="stable")[:, : job.question.k]
    return np.take_along_axis(values, order, 1), np.take_along_axis(indices, order, 1)


def within(job: Job, task: Task, found) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A CSR answer as (neighbours a row, indices, values), the row itself left out where the job says so."""
    counts, indices, values = np.diff(found.indptr), found.indices + job.block(task.block)[0], found.data
    if job.right is None:
        rows = np.repeat(np.arange(task.begin, task.end), counts)
        others = indices != rows
        counts = np.bincount(rows[others] - task.begin, minlength=counts.size)
        indices, values = indices[others], values[others]
    return counts.astype(np.int64), indices.astype(np.int64), values


def _merge_within(found) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.concatenate([np.repeat(np.arange(counts.size), counts) for counts, _, _ in found])
    indices, values = (np.concatenate([part[i] for part in found]) for i in (1, 2))
    order = np.lexsort((indices, values, rows))
    return sum(counts for counts, _, _ in found), indices[order], values[order]
