"""The job directory: what the job is (manifest.json), which parts are finished (parts.jsonl), and the parts.

    <output>.parts/
        manifest.json     question, inputs with their fingerprints, versions, plan; written once
        parts.jsonl       a line for each finished task: its file, the SHA-256 of it, seconds
        part-0000-000017-<job>.part ...
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from . import parts
from .job import Job, Task
from .planning import Plan

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT = 1


@dataclass(frozen=True)
class Record:
    """A finished task: its file (None for checks), what it cost, who did it."""

    task: str
    file: str | None
    sha256: str | None
    bytes: int
    seconds: float
    worker: str
    peak: int
    arithmetic: str


class JobDirectory:
    """The directory of one job, held by one process at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._log = self._lock = None

    def exists(self) -> bool:
        return self.path.is_dir()

    # ---- what the job is

    def stored(self) -> dict | None:
        """The manifest, or None; ValueError if it is damaged."""
        file = self.path / "manifest.json"
        if not file.exists():
            return None
        try:
            data = json.loads(file.read_text())
            if data["format"] != FORMAT:
                raise ValueError(f"it has format {data['format']}, this klfast reads {FORMAT}")
            return data
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{file} cannot be read ({error}); remove {self.path} to start anew") from None

    def store(self, identity: dict, plan: Plan, job_id: str, fingerprints: dict, finished: bool = False) -> None:
        data = {"format": FORMAT, "job": job_id, **identity, "inputs": fingerprints, "plan": asdict(plan),
                "finished": finished}
        with parts.replacing(self.path / "manifest.json") as file:
            file.write(json.dumps(data, indent=1).encode())
        parts.flush_directory(self.path)

    # ---- one process at a time

    def open(self) -> None:
        """Make and lock the directory, remove what was being written when an earlier run ended."""
        self.path.mkdir(exist_ok=True)
        self._lock = open(self.path / "lock", "wb")
        if fcntl:
            try:
                fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                self._lock = None
                raise ValueError(f"another process works on {self.path}; wait for it, or end it") from None
            except OSError:  # a file system without locks
                pass
        for pattern in (".*.tmp", "input-*.npz"):  # copies of inputs carry no checksum: they are made again
            for leftover in self.path.glob(pattern):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)

    @property
    def held(self) -> bool:
        """Whether this process works on it."""
        return self._lock is not None

    def close(self) -> None:
        for file in (self._log, self._lock):
            if file:
                file.close()
        self._log = self._lock = None

    # ---- finished tasks

    def add(self, record: Record) -> None:
        """Note a finished task, durably."""
        if self._log is None:
            self._log = open(self.path / "parts.jsonl", "ab", buffering=0)
        self._log.write(json.dumps(asdict(record)).encode() + b"\n")
        os.fsync(self._log.fileno())

    def finished(self, job: Job) -> dict[str, Record]:
        """The tasks of this job that are done and whose files are as they were written; other files are removed."""
        found = {}
        for line in self._lines():
            try:
                record = Record(**json.loads(line))
            except (ValueError, TypeError):  # the line that was being written
                continue
            found[record.task] = record
        tasks = {task.name for group in (job.checks(), *job.passes()) for task in group}
        kept = {name: r for name, r in found.items() if name in tasks and self._intact(r)}
        files = {r.file for r in kept.values()}
        for path in self.path.glob("*.part"):
            if path.name not in files:
                path.unlink()
        self._rewrite(kept)
        return kept

    def _lines(self) -> list[bytes]:
        log = self.path / "parts.jsonl"
        return log.read_bytes().splitlines() if log.exists() else []

    def _intact(self, record: Record) -> bool:
        if record.file is None:
            return True
        path = self.path / record.file
        return path.is_file() and path.stat().st_size == record.bytes and parts.checksum(path) == record.sha256

    def _rewrite(self, kept: dict[str, Record]) -> None:
        with parts.replacing(self.path / "parts.jsonl") as file:
            for record in kept.values():
                file.write(json.dumps(asdict(record)).encode() + b"\n")

    # ---- the end

    def remove(self) -> None:
        """Remove everything, the manifest last."""
        self.close()
        for path in sorted(self.path.iterdir(), key=lambda p: p.name == "manifest.json"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(self.path, ignore_errors=True)


def part_file(job: Job, task: Task) -> str:
    """The name of a task's file; the job's id keeps apart what a late worker of an earlier job may still write."""
    return f"{task.name}-{job.id}.part"
