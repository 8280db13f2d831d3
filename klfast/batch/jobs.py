"""Runs jobs: plan, announce, resume, hand shards to workers, assemble. The public questions are in `questions`."""

from __future__ import annotations

import errno
import functools
import logging
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

import klfast as kl

from . import planning, pool, preflight, sinks, workers
from .job import Job, Question, Task, identity
from .manifest import JobDirectory, Record
from .preflight import Estimate
from .result import Result, duration, size
from .sources import Source

log = logging.getLogger("klfast.batch")


FULL = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up",
        errno.EFBIG: "a file has reached the largest size allowed"}

# What the backends raise when a worker dies; most of them are not installed.
DEAD = ("TerminatedWorkerError", "BrokenProcessPool", "KilledWorker", "WorkerCrashedError", "ActorDiedError")


class JobError(RuntimeError):
    """A job ended before its answer was complete; finished shards are kept, and ``resume`` goes on from them."""


@dataclass(frozen=True)
class Options:
    """How a job is run: nothing here changes a value of its answer."""

    memory: int | None = None
    workers: int | None = None
    n_jobs: int | None = None
    resume: bool = False
    dry_run: bool = False
    progress: bool = False
    layout: str = "edges"
    announce: Callable[[Estimate], object] | None = None  # called before the work starts


def run(question: Question, left: Source, right: Source | None, target: Path, options: Options) -> Result | Estimate:
    """Do a job; see `klfast.batch.kneighbors`."""
    start = time.perf_counter()
    _check(question, left, right)
    sinks.check(target, options.layout)
    staff = pool.available(options.workers, options.n_jobs)
    directory = JobDirectory(target.with_name(target.name + ".parts"))
    ready = _prepare(question, left, right, staff, directory, target, options)
    job = ready.job
    if not options.dry_run:
        directory.open()
    try:
        done = _earlier(directory, job, target, options)
        estimate = _estimate(job, ready.sizes, staff, done, target)
        (options.announce or (lambda e: log.info("%r", e)))(estimate)
        if options.dry_run:
            return estimate
        complete = options.resume and _complete(directory, target)
        records = [] if complete else _work(ready, staff, directory, done, target, options)
        directory.store(ready.identity, job.plan, job.id, ready.fingerprints, finished=True)
        directory.remove()
    except BaseException:
        _leave(directory, options)
        raise
    finally:
        directory.close()
        workers.forget()
    return _result(job, target, staff, estimate, records, done, time.perf_counter() - start)


def _check(question: Question, left: Source, right: Source | None) -> None:
    """ValueError for a question that these inputs cannot answer, before any work."""
    references = right or left
    uniform = np.full((1, left.shape[1]), 1 / max(left.shape[1], 1))
    if left.shape[1]:  # the divergence, and the smoothing for so many bins
        values = np.log(uniform) if "log" in question.parameter else uniform
        kl.Index(question.distributions(values), question.divergence)
    if left.shape[1] != references.shape[1]:
        raise ValueError(f"{left.path} and {references.path} must have the same number of bins; got {left.shape[1]} "
                         f"and {references.shape[1]}")
    if left.shape[1] == 0 and left.shape[0]:
        raise ValueError(f"{left.path} has shape {left.shape}: distributions need at least one bin")
    if question.kind == "rowwise" and references.shape[0] not in (1, left.shape[0]):
        raise ValueError(f"{left.path} and {references.path} must have the same number of rows (or the second one "
                         f"row); got {left.shape[0]} and {references.shape[0]}")
    candidates = references.shape[0] - (right is None)
    if question.k is not None and not 1 <= question.k <= candidates:
        raise ValueError(f"k must be 1 to {max(candidates, 0)}, the number of candidates; got {question.k}")


@dataclass(frozen=True)
class Prepared:
    """A job, the sizes that its plan was made from, and what identifies it."""

    job: Job
    sizes: planning.Sizes
    identity: dict
    fingerprints: dict


def _prepare(question: Question, left: Source, right: Source | None, staff: planning.Workers, directory: JobDirectory,
             target: Path, options: Options) -> Prepared:
    """The job with its plan: that of the unfinished job, if it is resumed."""
    fingerprints = {side: source.fingerprint() for side, source in (("P", left), ("Q", right)) if source}
    versions = {"klfast": kl.__version__, "arithmetic": workers.arithmetic()}
    sizes = preflight.sizes_of(question, left, right, target)
    stored = directory.stored()
    unfinished = stored or (directory.exists() and any(directory.path.glob("*.part")))
    if unfinished and not options.resume and not options.dry_run:
        raise ValueError(f"{directory.path} holds an unfinished job: resume it, or remove it")
    memory = options.memory or int(preflight.available_memory() * preflight.MEMORY_SHARE)
    if stored and options.resume:
        plan = planning.Plan(**stored["plan"])
        needed = planning.peak(sizes, plan, staff)
        if options.memory and needed > options.memory:
            raise ValueError(f"the shards of the unfinished job in {directory.path} need {size(needed)} with "
                             f"{staff.workers} workers; {size(options.memory)} were given")
    else:
        plan = planning.make(sizes, staff, memory)
    data, name = identity(question, fingerprints, plan, versions)
    if stored and options.resume:
        _refuse_other(stored, data, directory.path)
    return Prepared(Job(question, left, right, plan, directory.path, name), sizes, data, fingerprints)


def _refuse_other(stored: dict, data: dict, path: Path) -> None:
    """ValueError that names what differs between the job on disk and the one that was asked for."""
    differences = []
    for part in ("question", "versions"):
        for key in {**stored[part], **data[part]}:
            old, new = stored[part].get(key), data[part].get(key)
            if old != new:
                old, new = (x.get("name", x) if isinstance(x, dict) else x for x in (old, new))  # a divergence
                differences.append(f"{key} was {old!r} and is {new!r}")
    for side in {**stored["inputs"], **data["inputs"]}:
        old, new = stored["inputs"].get(side), data["inputs"].get(side)
        if old is None or new is None or {k: v for k, v in old.items() if k != "path"} != new:
            differences.append(f"the input {side} ({(old or {}).get('path', 'none')}) has changed")
    if differences:
        raise ValueError(f"the unfinished job in {path} is another one: {'; '.join(differences)}; remove the directory "
                         "to start anew")


def _complete(directory: JobDirectory, target: Path) -> bool:
    """Whether an earlier run put the output in place, and ended while it removed the parts."""
    return (directory.stored() or {}).get("finished", False) and target.exists()


def _earlier(directory: JobDirectory, job: Job, target: Path, options: Options) -> dict[str, Record | None]:
    """What an earlier run of the same job finished."""
    if not (options.resume and directory.stored()) or options.dry_run:
        return {}
    done = dict.fromkeys(_tasks(job)) if _complete(directory, target) else directory.finished(job)
    log.info("resuming: %d of %d tasks are finished", len(done), len(_tasks(job)))
    return done


def _tasks(job: Job) -> dict[str, Task]:
    """All tasks by name, in the order of the work."""
    return {task.name: task for group in (job.checks(), *job.passes()) for task in group}


def _estimate(job: Job, sizes: planning.Sizes, staff, done, target: Path) -> Estimate:
    q = job.question
    parts, output = preflight.disk_bytes(q, job.left, job.right, job.plan, sizes.within)
    staged = sum(source.staged_bytes for source in (job.left, job.right) if source)
    seconds = preflight.calibrate(q, job.left, job.right, staff)
    if seconds is not None:
        seconds += 2 * parts / preflight.DISK_SPEED
    if seconds is not None and done:
        seconds *= 1 - sum(name.startswith("part") for name in done) / (len(job.passes()[0]) * job.plan.blocks)
    estimate = Estimate(
        q.kind, job.left.shape[0], job.references.shape[0], job.pairs, seconds, planning.peak(sizes, job.plan, staff),
        parts + output + staged + preflight.ROW_OVERHEAD * len(_tasks(job)), len(job.passes()[0]), job.plan.blocks,
        staff.workers, staff.threads, len(done))
    preflight.refuse_impossible(estimate, target.parent, staff.local, sum(r.bytes for r in done.values() if r))
    return estimate


def _work(ready: Prepared, staff, directory: JobDirectory, done, target: Path, options: Options) -> list[Record]:
    """Everything that is not done yet, then the output."""
    job = ready.job
    records: list[Record] = []
    before = sum(_pairs(job, task) for name, task in _tasks(job).items() if name in done)
    with _explained(job, directory, records, done), tqdm(total=max(1, job.pairs), initial=before, unit="pair",
                                                         unit_scale=True, disable=not options.progress) as bar:
        directory.store(ready.identity, job.plan, job.id, ready.fingerprints)
        staged = {side: source.stage(directory.path, f"input-{side}")
                  for side, source in (("left", job.left), ("right", job.right)) if source}
        near = replace(job, **staged)
        for tasks in (job.checks(), *job.passes()):
            _run_pass(near, staff, directory, [task for task in tasks if task.name not in done], bar, records)
        _refuse_changed(job, ready.fingerprints)
        sinks.assemble(near, target, options.layout)
    return records


def _run_pass(job: Job, staff, directory: JobDirectory, tasks: list[Task], bar, records: list[Record]) -> None:
    by_name = {task.name: task for task in tasks}
    encoders = staff.threads * staff.a_process
    perform = functools.partial(workers.perform, job, staff.threads, encoders)
    own = workers.arithmetic()
    for record in pool.run(staff, perform, tasks):
        if record.arithmetic != own:
            raise JobError(f"the worker {record.worker} computes other last bits than this machine (another "
                           "instruction set or build of klfast); force one by KLFAST_ISA on all machines")
        directory.add(record)
        records.append(record)
        task = by_name[record.task]
        bar.update(_pairs(job, task))
        log.info("%s rows %d to %d: %.2f s, %s, by %s", record.task, task.begin, task.end, record.seconds,
                 size(record.bytes), record.worker)


def _pairs(job: Job, task: Task) -> int:
    """Pairs that a task looks at, for the progress bar: they add up to those of the job."""
    if task.kind != "part":
        return 0
    rows = task.end - task.begin
    if job.question.kind == "rowwise":
        return rows
    begin, end = job.block(task.block)
    itself = job.right is None and job.question.kind != "pairwise"
    return rows * (end - begin) - itself * max(0, min(end, task.end) - max(begin, task.begin))


def _refuse_changed(job: Job, fingerprints: dict) -> None:
    for side, source in (("P", job.left), ("Q", job.right)):
        if source and source.fingerprint() != fingerprints[side]:
            raise JobError(f"{source.path} changed while the job ran; its answer would mix old and new rows")


@contextmanager
def _explained(job: Job, directory: JobDirectory, records: list[Record], done):
    """Turns what can go wrong into one message that says what is kept."""

    def kept() -> str:
        count, total = len(records) + len(done), len(_tasks(job))
        return f"{count} of {total} tasks are finished and kept in {directory.path}; resume goes on from there"

    try:
        yield
    except (ValueError, JobError, MemoryError):
        raise
    except OSError as error:
        what = FULL.get(error.errno, error.strerror or str(error))
        raise JobError(f"{error.filename or directory.path}: {what}; {kept()}") from error
    except Exception as error:
        name = type(error).__name__
        if name in DEAD:
            raise JobError(f"a worker process died (killed, or out of memory); {kept()}") from error
        raise JobError(f"{name}: {error}; {kept()}") from error


def _leave(directory: JobDirectory, options: Options) -> None:
    """After an error: parts stay, but a directory without any part is removed."""
    if options.dry_run or not directory.held:
        return
    try:
        if not any(directory.path.glob("*.part")):
            directory.remove()
    except OSError as error:
        log.warning("%s could not be removed: %s", directory.path, error)


def _result(job: Job, target: Path, staff, estimate: Estimate, records, done, seconds: float) -> Result:
    peaks = {record.worker: 0 for record in records}
    for record in records:
        peaks[record.worker] = max(peaks[record.worker], record.peak)
    if not staff.in_driver:
        peaks["driver"] = workers.peak_bytes()
    disk = sum(p.stat().st_size for p in target.rglob("*") if p.is_file()) if target.is_dir() else target.stat().st_size
    log.info("done in %s: %s", duration(seconds), target)
    return Result(target, job.question.kind, job.left.shape[0], job.references.shape[0], job.pairs, len(_tasks(job)),
                  len(done), seconds, staff.workers, estimate.memory, sum(peaks.values()) or workers.peak_bytes(), disk)
