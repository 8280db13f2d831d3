"""What a worker does: read rows, ask klfast, write a part. References are encoded once a process, not once a shard."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import sys
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np

import klfast as kl

from . import merging, parts
from .job import Job, Question, Task
from .manifest import Record, part_file
from .sources import Source

_lock = threading.Lock()
_encoded: dict[tuple[str, int], kl.Index] = {}  # at most one: blocks are worked on one after another


def perform(job: Job, threads: int, encoders: int, task: Task) -> Record:
    """Do one task of a job with `threads` threads; references are encoded with `encoders`."""
    start = time.perf_counter()
    if task.kind == "check":
        check(job, task, threads)
        file = digest = None
        size = 0
    else:
        answer = merging.merge(job, task) if task.kind == "merge" else ask(job, task, threads, encoders)
        file = part_file(job, task)
        digest = parts.write(job.directory / file, answer)
        size = (job.directory / file).stat().st_size
    return Record(task.name, file, digest, size, time.perf_counter() - start, f"{platform.node()}:{os.getpid()}",
                  peak_bytes(), arithmetic())


def ask(job: Job, task: Task, threads: int, encoders: int) -> tuple[np.ndarray, ...]:
    """The answer for a shard: the arrays of a part."""
    q = job.question
    left = rows_of(job.question, job.left, task.begin, task.end)
    with places(job.left, task.begin, "P"):
        if q.kind == "rowwise":
            return (_rowwise(job, task, left, threads),)
        index = reference(job, task.block, left, encoders)
        if q.kind == "pairwise":
            return (index.pairwise(left, dtype=q.dtype, rtol=q.rtol, base=q.base, n_jobs=threads),)
        if q.kind == "radius_neighbors":
            return merging.within(job, task, index.radius_neighbors(left, q.radius, limit=q.limit, n_jobs=threads))
        wanted = min(q.k + (job.right is None), len(index))
        return merging.without_self(job, task, *index.kneighbors(left, wanted, n_jobs=threads))


def _rowwise(job: Job, task: Task, left: kl.Categorical, threads: int) -> np.ndarray:
    q, one = job.question, job.right.shape[0] == 1
    right = rows_of(job.question, job.right, *((0, 1) if one else (task.begin, task.end)))
    with places(job.right, 0 if one else task.begin, "Q"):
        return kl.rowwise(left, right, q.divergence, base=q.base, n_jobs=threads)


def check(job: Job, task: Task, threads: int) -> None:
    """ValueError if a row is no distribution: `Index` looks at every one, and encodes only when asked."""
    source = job.right if task.of_references else job.left
    rows = rows_of(job.question, source, task.begin, task.end)
    with places(source, task.begin, "Q"):
        kl.Index(rows, job.question.divergence, n_jobs=threads)


def reference(job: Job, block: int, left: kl.Categorical, encoders: int) -> kl.Index:
    """The references of a block, encoded; kept for the next task of this process."""
    key = (job.id, block)
    with _lock:
        if key not in _encoded:
            _encoded.clear()  # first, so that two blocks are never in memory
            begin, end = job.block(block)
            rows = rows_of(job.question, job.references, begin, end)
            with places(job.references, begin, "Q"):
                index = kl.Index(rows, job.question.divergence, n_jobs=encoders)
            _warm(index, job, left)
            _encoded[key] = index
        return _encoded[key]


def _warm(index: kl.Index, job: Job, left: kl.Categorical) -> None:
    """Let the index encode now, while other threads of this process wait, rather than in each of them."""
    one = job.question.distributions(left.values[:1])
    if job.question.kind == "pairwise":
        index.pairwise(one, dtype=job.question.dtype, rtol=job.question.rtol)
    elif job.question.kind == "radius_neighbors":
        index.radius_neighbors(one, job.question.radius)
    else:
        index.kneighbors(one, 1)


def forget() -> None:
    """Release the references that this process has encoded."""
    with _lock:
        _encoded.clear()


def rows_of(question: Question, source: Source, begin: int, end: int) -> kl.Categorical:
    """Distributions from a range of rows; errors name the file."""
    values = source.read(begin, end)
    try:
        return question.distributions(values)
    except ValueError as error:
        raise ValueError(f"{source.path}: {error}") from None


class places:
    """Turns what an error calls "P: row 5" or "Q: row 5" into the file and the row in it."""

    def __init__(self, source, begin: int, name: str):
        self.source, self.begin, self.name = source, begin, name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is ValueError:
            found = re.match(rf"{self.name}: row (\d+)", str(error))
            if found:
                message = f"{self.source.path}: row {self.begin + int(found[1])}{str(error)[found.end():]}"
                raise ValueError(message) from None
        return False


def peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not say."""
    try:  # Linux: what getrusage says begins with the peak of the process that started this one
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@cache
def arithmetic() -> str:
    """A few values to the bit: machines that give the same may share a job."""
    rng = np.random.default_rng(5)
    rows = rng.dirichlet(np.ones(37), 40)
    values = (kl.rowwise(rows[:20], rows[20:]), kl.pairwise(rows), kl.pairwise(rows, dtype="float32"))
    return hashlib.sha256(b"".join(v.tobytes() for v in values)).hexdigest()[:16]
