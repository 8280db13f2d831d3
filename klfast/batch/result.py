"""What a job hands back: where the answer is, how much it was, how long it took. Arrays are read when asked for."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse

from .sources import mapped_member


@dataclass(frozen=True)
class Result:
    """A finished job.

    Attributes
    ----------
    path : Path
        The output.
    question : str
        ``"kneighbors"``, ``"pairwise"`` ...
    rows, references, pairs : int
        Rows, columns, and how many values were looked at.
    tasks, resumed : int
        Tasks, and how many of them an earlier run had finished.
    seconds : float
        Time of this run.
    workers : int
        Tasks at a time.
    planned_memory, peak_memory, disk : int
        Bytes: most that the plan allows for, most that the processes of this run held, and the output on disk.
    """

    path: Path
    question: str
    rows: int
    references: int
    pairs: int
    tasks: int
    resumed: int
    seconds: float
    workers: int
    planned_memory: int
    peak_memory: int
    disk: int

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays of the output by name, memory-mapped where the format allows; a Parquet file's columns."""
        suffix = self.path.suffix.lower()
        if suffix == ".npy":
            return {"values": np.load(self.path, mmap_mode="r")}
        if suffix == ".npz":
            with zipfile.ZipFile(self.path) as archive, open(self.path, "rb") as file:
                return {name.removesuffix(".npy"): mapped_member(archive, file, name.removesuffix(".npy"))
                        for name in archive.namelist()}
        if suffix == ".zarr":
            import zarr

            node = zarr.open(str(self.path), mode="r")
            return dict(node.arrays()) if isinstance(node, zarr.Group) else {"values": node}
        import pyarrow.parquet as pq

        table = pq.read_table(self.path, memory_map=True)
        return {name: table.column(name).to_numpy() for name in table.column_names}

    def load(self):
        """What the call in memory returns: an array, (distances, indices), or a sparse matrix; a table of Parquet."""
        if self.path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return pq.read_table(self.path)
        found = self.arrays
        if "indptr" in found:
            parts = [np.asarray(found[name]) for name in ("data", "indices", "indptr")]
            return scipy.sparse.csr_array(tuple(parts), shape=(self.rows, self.references))
        return (found["distances"], found["indices"]) if "distances" in found else found["values"]

    def __getattr__(self, name: str):
        if name in ("distances", "indices", "values", "ids", "reference_ids") and name in self.arrays:
            return self.arrays[name]
        raise AttributeError(f"this result of {self.question} has no {name!r}")

    def __repr__(self) -> str:
        rate = self.pairs / max(self.seconds, 1e-9)
        of = f"{self.rows:,} rows" + (f" × {self.references:,} references" if self.question != "rowwise" else "")
        resumed = f", {self.resumed:,} of them finished before" if self.resumed else ""
        speed = f", {scaled(rate)}pairs/s" if not self.resumed else ""
        return (f"{self.question}: {of}, {several(self.pairs, 'pair')}\n"
                f"  output  {self.path} ({size(self.disk)})\n"
                f"  time    {duration(self.seconds)}{speed}, {several(self.workers, 'worker')}, "
                f"{several(self.tasks, 'task')}{resumed}\n"
                f"  memory  {size(self.peak_memory)} at most, {size(self.planned_memory)} planned")


def several(count: int, noun: str) -> str:
    """``1 shard`` and ``1,000 shards``."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def scaled(x: float) -> str:
    """x with three digits and a prefix: 12,345,678 is ``12.3 M``."""
    for unit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= unit:
            return f"{x / unit:.3g} {prefix}"
    return f"{x:.3g} "


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if count >= unit:
            return f"{count / unit:,.3g} {name}" if count < 1000 * unit else f"{count / unit:,.0f} {name}"
    return f"{count:,.0f} bytes"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 100 * 3600 else f"{seconds / 86400:.1f} days"
