"""The plan of a job, as a pure function of sizes, workers and memory: rows of a shard, references of a block.

No function here looks at data. `tests/test_batch_planning.py` reads as the table of these decisions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# Python with klfast, NumPy and SciPy takes 58 MiB; its allocator, thread stacks and small buffers, the rest.
PROCESS_BYTES = 88 << 20

# Multiply-adds a second of one core (Zen 4, K = 64: 4.4e10, of a search in bytes 1.1e11), for the sizes of shards only:
# times are measured.
SPEED = 4e10

# A shard takes about a second where there are enough of them to even out (SHARDS of them for each worker: half a shard
# lost at the end is 1.6% then), and never much more than a minute, so that little is lost when a job is killed.
SHARD_SECONDS, LONGEST_SECONDS, SHARDS = 1.0, 60.0, 32

# Rows that a shard needs so that an encoded block of references pays: the encoding of a row costs about 20 products.
FEWEST_ROWS = 256
FEWEST_REFERENCES = 1024

REFERENCES_SHARE = 0.7  # of the memory of a process, the rest is for shards
CHECK_BYTES = 1 << 26


@dataclass(frozen=True)
class Sizes:
    """What the plan depends on: rows, bins, and bytes.

    Attributes
    ----------
    n, m, n_bins : int
        Rows, references, bins.
    row_bytes, reference_bytes : int
        Memory of a row as it is read, and of a reference with its features.
    answer_bytes : int
        Memory of the answers of a row, apart from `value_bytes`.
    value_bytes : int
        Memory of the answers of a row for each reference of the block.
    per_pair : bool
        Whether the work is rows times references, or rows.
    least_block : int
        References that a block must have.
    within : float
        Neighbours of a row within the radius, as a sample has them.
    library_bytes : int
        Memory that libraries for the formats of the files take in every process.
    """

    n: int
    m: int
    n_bins: int
    row_bytes: int
    reference_bytes: int
    answer_bytes: int
    value_bytes: int = 0
    per_pair: bool = True
    least_block: int = 1
    within: float = 0.0
    library_bytes: int = 0


@dataclass(frozen=True)
class Workers:
    """Who does the work: workers in processes, threads of each worker, whether they run on this machine."""

    workers: int = 1
    processes: int = 1
    threads: int = 1
    local: bool = True
    in_driver: bool = True

    @property
    def a_process(self) -> int:
        """Workers that share a process."""
        return -(-self.workers // self.processes)


@dataclass(frozen=True)
class Plan:
    """Rows of a shard, references of a block, how many blocks, rows of a check."""

    shard_rows: int
    block_rows: int
    blocks: int
    check_rows: int


def make(sizes: Sizes, workers: Workers, memory: int) -> Plan:
    """The plan of a job within `memory` bytes for all processes together; ValueError if it cannot be done."""
    room = process_room(sizes, workers, memory)
    fixed, a_reference, least = _least(sizes, workers)
    if fixed + least * a_reference > room:
        needed = _overhead(sizes, workers) + workers.processes * (fixed + least * a_reference)
        raise ValueError(f"memory of {memory / 2**20:,.0f} MiB is not enough for {workers.workers} "
                         f"worker{'s' * (workers.workers != 1)}; {math.ceil(needed / 2**20):,} MiB would do")
    block_rows = sizes.m
    if fixed + sizes.m * a_reference > room:
        fit = max(least, int(min((room - fixed) / a_reference, REFERENCES_SHARE * room / sizes.reference_bytes)))
        block_rows = -(-sizes.m // -(-sizes.m // fit))
    blocks = -(-sizes.m // block_rows) if sizes.m else 1
    left = room - (block_rows * sizes.reference_bytes if sizes.per_pair else 0)
    fit = int(left / workers.a_process / _bytes_of_row(sizes, block_rows))
    shard_rows = min(fit, _wanted_rows(sizes, block_rows, workers))
    check_rows = max(1, min(CHECK_BYTES, room // (2 * workers.a_process)) // max(sizes.row_bytes, 1))
    return Plan(max(1, shard_rows), max(1, block_rows), blocks, check_rows)


def process_room(sizes: Sizes, workers: Workers, memory: int) -> int:
    """Bytes for data in each process, of `memory` for all of them."""
    return int((memory - _overhead(sizes, workers)) / workers.processes)


def _overhead(sizes: Sizes, workers: Workers) -> int:
    """Bytes of the processes themselves; on this machine the one that plans is among them."""
    processes = workers.processes + (workers.local and not workers.in_driver)
    return processes * (PROCESS_BYTES + sizes.library_bytes)


def _least(sizes: Sizes, workers: Workers) -> tuple[float, float, int]:
    """The smallest plan, in bytes of a process: what does not depend on the references, each one, and how many."""
    rows = workers.a_process * min(sizes.n, FEWEST_ROWS)
    fixed = rows * _bytes_of_row(sizes, 0)
    if not sizes.per_pair:
        return fixed, 0.0, 0
    least = min(sizes.m, max(FEWEST_REFERENCES, sizes.least_block))
    return fixed, sizes.reference_bytes + rows * sizes.value_bytes, least


def peak(sizes: Sizes, plan: Plan, workers: Workers) -> int:
    """Bytes that all processes together take at most."""
    references = plan.block_rows * sizes.reference_bytes if sizes.per_pair else 0
    shard = min(plan.shard_rows, sizes.n) * _bytes_of_row(sizes, plan.block_rows)
    checks = min(plan.check_rows, sizes.n) * sizes.row_bytes
    data = max(references + workers.a_process * shard, workers.a_process * checks)
    return _overhead(sizes, workers) + workers.processes * data


def _bytes_of_row(sizes: Sizes, block_rows: int) -> int:
    return sizes.row_bytes + sizes.answer_bytes + sizes.value_bytes * block_rows + 1


def _wanted_rows(sizes: Sizes, block_rows: int, workers: Workers) -> int:
    """Rows of a shard for an even load: a multiple of the workers, of about a second, or more where there are many."""
    work = sizes.n * max(sizes.n_bins, 1) * (block_rows if sizes.per_pair else 1)
    seconds = work / SPEED / workers.threads
    shards = max(1, min(seconds / SHARD_SECONDS, SHARDS * workers.workers), seconds / LONGEST_SECONDS)
    shards = math.ceil(shards / workers.workers) * workers.workers if shards > 1 else 1
    return -(-sizes.n // shards)
