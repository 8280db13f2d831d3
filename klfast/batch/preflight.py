"""Before a job starts: what it will take in time, memory and disk, and whether that is there."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import klfast as kl

from . import workers as worker
from .job import PER_PAIR, Question
from .planning import Plan, Sizes, Workers
from .result import duration, scaled, several, size
from .sources import Source

# A calibration asks with so many rows and references, and holds so many numbers: 10 to 100 ms on one core.
SAMPLE_ROWS, SAMPLE_REFERENCES, SAMPLE_VALUES = 512, 16384, 1 << 20

# Bytes a second that a disk takes and gives, for the time of jobs with large answers: a solid-state disk in a server.
DISK_SPEED = 5e8

# Part of a system's free memory that a job takes unless told otherwise.
MEMORY_SHARE = 0.7

# What the libraries behind a format take in a process, their buffers included: PyArrow 26, 150 MiB; Zarr 3.1, 50 MiB.
LIBRARY_BYTES = {".parquet": 192 << 20, ".pq": 192 << 20, ".zarr": 64 << 20}

# Bytes in Parquet and Zarr files are compressed, but indices and distances hardly: counted as they are.
ROW_OVERHEAD = 256  # manifest, headers, log lines: far below the rest


@dataclass(frozen=True)
class Estimate:
    """What a job will do and take.

    Attributes
    ----------
    question, rows, references, pairs
        As in `Result`.
    seconds : float or None
        From a short calibration on this machine; None where there is nothing to measure.
    memory, disk : int
        Bytes: peak of all processes together, and on disk while it runs (parts and output).
    shards, blocks, workers, threads : int
        Row shards, blocks of references, tasks at a time, threads of each.
    finished : int
        Tasks that an earlier run finished.
    """

    question: str
    rows: int
    references: int
    pairs: int
    seconds: float | None
    memory: int
    disk: int
    shards: int
    blocks: int
    workers: int
    threads: int
    finished: int = 0

    def __repr__(self) -> str:
        of = f"{self.rows:,} rows" + (f" × {self.references:,} references" if self.question in PER_PAIR else "")
        blocks = f" × {self.blocks:,} blocks" if self.blocks > 1 else ""
        time_ = "" if self.seconds is None else f", about {duration(self.seconds)}"
        rate = "" if not self.seconds else f" ({scaled(self.pairs / self.seconds)}pairs/s)"
        done = f"; {self.finished:,} tasks are finished" if self.finished else ""
        return (f"{self.question}: {of}, {several(self.pairs, 'pair')}{time_}{rate}; {several(self.shards, 'shard')}"
                f"{blocks} on {several(self.workers, 'worker')} × {several(self.threads, 'thread')}, memory "
                f"{size(self.memory)}, disk {size(self.disk)}{done}")


def sizes_of(question: Question, left: Source, right: Source | None, target: Path) -> Sizes:
    """Bytes a row, a reference and an answer of this question, written to `target`."""
    references = right or left
    n_bins, k = left.shape[1], (question.k or 1) + 1
    per_pair = question.kind in PER_PAIR
    feature = 8 if question.kind == "pairwise" and value_type(question, left, right) == np.float64 else 4
    # Norms, keys, their order, classes and groups of equal rows: eleven numbers of 8 bytes.
    coarse = 0 if question.kind == "pairwise" else n_bins + 16  # the screen's bytes, where the processor has use for them
    reference_bytes = references.row_bytes + feature * n_bins + 16 + coarse + 88
    answer_bytes, value_bytes, row_bytes, within = 64, 0, left.row_bytes, 0.0
    if question.lists:
        answer_bytes += 16 * k * 4  # values and indices; merged, without self and being written
    elif question.kind == "radius_neighbors":
        within = neighbours_a_row(question, left, references)
        answer_bytes += int(2 * 24 * 3 * within)  # shards differ: twice the mean; collected, without self, merged
    elif question.kind == "pairwise":
        value_bytes = value_type(question, left, right).itemsize
    elif question.kind == "rowwise":
        row_bytes += references.row_bytes
    libraries = {suffix: size for suffix, size in LIBRARY_BYTES.items()
                 if suffix in (left.path.suffix, references.path.suffix, target.suffix)}
    return Sizes(left.shape[0], references.shape[0], n_bins, row_bytes, reference_bytes, answer_bytes, value_bytes,
                 per_pair, k, within, sum(libraries.values()))


def neighbours_a_row(question: Question, left: Source, references: Source) -> float:
    """The mean number of references within the radius, from a sample."""
    n, m = left.shape[0], references.shape[0]
    if n == 0 or m == 0:
        return 0.0
    columns = min(m, SAMPLE_REFERENCES, max(1, SAMPLE_VALUES // max(1, left.shape[1])))
    rows = min(n, max(1, SAMPLE_VALUES // columns))
    p, q = worker.rows_of(question, left, 0, rows), worker.rows_of(question, references, 0, columns)
    with worker.places(left, 0, "P"), worker.places(references, 0, "Q"):
        return kl.Index(q, question.divergence).radius_neighbors(p, question.radius).nnz / rows * m / columns


def value_type(question: Question, left: Source, right: Source | None) -> np.dtype:
    """Type of the values of an answer."""
    if question.lists or question.kind == "radius_neighbors":
        return np.dtype(np.float64)
    if question.dtype:
        return np.dtype(question.dtype)
    single = all(s.dtype in ("float32", "float16", "bfloat16") for s in (left, right or left))
    return np.dtype(np.float32 if single else np.float64)


def disk_bytes(question: Question, left: Source, right: Source | None, plan: Plan, within: float) -> tuple[int, int]:
    """Bytes of all parts, and of the output."""
    n, m = left.shape[0], (right or left).shape[0]
    if question.kind == "radius_neighbors":
        output = int(n * (8 + 16 * within))
        return output * (1 + (plan.blocks > 1)), output
    if question.lists:
        output = n * question.k * 16
        return output * (plan.blocks + (plan.blocks > 1)), output
    output = n * (m if question.kind == "pairwise" else 1) * value_type(question, left, right).itemsize
    return output, output


def calibrate(question: Question, left: Source, right: Source | None, workers: Workers) -> float | None:
    """Seconds that a job will take, from a small part of it on this machine."""
    references = right or left
    n, m = left.shape[0], references.shape[0]
    if n == 0 or m == 0 or (question.lists and min(m, SAMPLE_REFERENCES) < question.k):
        return None
    threads = workers.threads * (workers.workers if workers.local else 1)
    few = max(1, SAMPLE_VALUES // max(1, left.shape[1]))
    rows = min(n, few, SAMPLE_ROWS if question.kind in PER_PAIR else few)
    if question.kind == "rowwise":
        p = worker.rows_of(question, left, 0, rows)
        q = worker.rows_of(question, references, 0, 1 if m == 1 else rows)
        with worker.places(left, 0, "P"), worker.places(references, 0, "Q"):
            seconds = _seconds(lambda: kl.rowwise(p, q, question.divergence, n_jobs=threads))
        return seconds * n / rows * _share(workers)
    columns = min(m, SAMPLE_REFERENCES, max(few, question.k or 1))
    if not question.lists:
        rows = max(1, min(rows, SAMPLE_VALUES // columns))
    p, q = worker.rows_of(question, left, 0, rows), worker.rows_of(question, references, 0, columns)
    start = time.perf_counter()
    with worker.places(references, 0, "Q"):
        index = kl.Index(q, question.divergence, n_jobs=threads)
    if question.kind == "pairwise":
        def ask():
            index.pairwise(p, dtype=question.dtype, rtol=question.rtol, n_jobs=threads)
    elif question.kind == "radius_neighbors":
        def ask():
            index.radius_neighbors(p, question.radius, n_jobs=threads)
    else:
        k = min(question.k or 1, columns)

        def ask():
            index.kneighbors(p, k, n_jobs=threads)
    with worker.places(left, 0, "P"):
        ask()
    encoding = time.perf_counter() - start
    pairs = _seconds(ask) * (n / rows) * (m / columns)
    return (pairs + max(encoding, 0) * m / columns) * _share(workers)


def _share(workers: Workers) -> float:
    """Part of the work that this machine's calibration stands for: workers elsewhere divide it."""
    return 1.0 if workers.local else 1 / workers.workers


def _seconds(function) -> float:
    """The shorter of two runs, the first of which may wake threads."""
    times = []
    for _ in range(2):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def available_memory() -> int:
    """Free bytes of this machine, of its control group if that has fewer."""
    free = None
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(line.split()[1]) << 10
    except OSError:
        pass
    if free is None:
        names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
        known = "SC_PHYS_PAGES" in names
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2 if known else 4 << 30
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError):  # no control groups, or no limit ("max")
        pass
    return max(0, free)


def parse_bytes(memory) -> int | None:
    """``4G``, ``512M``, ``"1.5 GiB"`` or a number of bytes; None stays None."""
    if memory is None or isinstance(memory, int) and not isinstance(memory, bool) and memory > 0:
        return memory
    text = str(memory).strip().upper().removesuffix("B").removesuffix("I")
    shift = {"K": 10, "M": 20, "G": 30, "T": 40}.get(text[-1:], 0)
    try:
        count = int(float(text[:-1] if shift else text) * (1 << shift))
    except (ValueError, OverflowError):
        count = 0
    if count <= 0:
        raise ValueError(f"memory is a number of bytes, or one with K, M, G or T (4G, 512M); got {memory!r}")
    return count


def refuse_impossible(estimate: Estimate, directory: Path, local: bool, on_disk: int) -> None:
    """ValueError if the memory or the disk that a job needs is not there; `on_disk` bytes it has taken before."""
    free = available_memory()
    if local and estimate.memory > free:
        raise ValueError(f"the job needs {size(estimate.memory)} of memory; {size(free)} are free: give less as memory")
    free = shutil.disk_usage(directory).free
    if estimate.disk - on_disk > free:
        raise ValueError(f"the job needs {size(estimate.disk - on_disk)} on the disk of {directory} (parts and "
                         f"output); {size(free)} are free there")
