"""Inputs of a job: distributions in files, read by ranges of rows. .npy and .npz; Parquet and Zarr: `columnar`."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.sparse

from .. import files
from . import parts

# A fingerprint reads whole files up to SAMPLED bytes (40 ms), of longer ones as many in blocks of BLOCK spread evenly.
SAMPLED, BLOCK = 1 << 26, 1 << 20


@dataclass(frozen=True)
class Source(ABC):
    """Distributions in a file or directory, one a row. Small, so that it travels to workers; it keeps nothing open.

    Attributes
    ----------
    path : Path
        Where the data are; workers must see them under this name.
    shape : (int, int)
        Rows and bins.
    dtype : str
        Of the numbers.
    row_bytes : int
        Memory that a row takes when read (of sparse rows: the mean).
    ids : str or None
        Where the rows' names are: a column, an array in the archive, or a .npy file.
    """

    path: Path
    shape: tuple[int, int]
    dtype: str
    row_bytes: int
    ids: str | None = None

    def read(self, begin: int, end: int):
        """Rows [begin, end); ValueError or OSError names the file."""
        try:
            return self._read(begin, end)
        except OSError as error:
            raise OSError(error.errno, f"cannot be read: {error.strerror or error}", str(self.path)) from None
        except files.UNREADABLE as error:
            raise ValueError(f"{self.path} cannot be read: {error}") from None

    @abstractmethod
    def _read(self, begin: int, end: int):
        """Rows [begin, end) in this format, with whatever errors its library has."""

    def read_ids(self) -> np.ndarray | None:
        """The names of the rows, or None if they have none but their number."""
        if self.ids is None:
            return None
        if self.ids.endswith(".npy"):
            values = np.load(self.ids, mmap_mode="r")
        else:
            values = self._read_ids()
        if values.shape != self.shape[:1]:
            raise ValueError(f"the ids {self.ids} of {self.path} have shape {values.shape}; {self.shape[:1]} is needed")
        return values

    def _read_ids(self) -> np.ndarray:
        raise ValueError(f"the ids of {self.path} must be in a .npy file of their own; got {self.ids!r}")

    @property
    def staged_bytes(self) -> int:
        """Disk that `stage` takes."""
        return 0

    def stage(self, directory: Path, name: str) -> Source:
        """A source of the same rows that can be read by ranges: itself, or a copy in `directory`."""
        return self

    def fingerprint(self) -> dict:
        """What tells this input from another, or from itself after a change."""
        return {"rows": self.shape[0], "bins": self.shape[1], "dtype": self.dtype, **fingerprint(self.path)}


@dataclass(frozen=True)
class Npy(Source):
    """A two-dimensional array in a .npy file, memory-mapped."""

    @classmethod
    def open(cls, path: Path, column, ids) -> Npy:
        array = np.lib.format.open_memmap(path, mode="r")
        return cls(path, matrix_shape(array.shape), array.dtype.name, array.dtype.itemsize * array.shape[1], ids)

    def _read(self, begin, end):
        return np.lib.format.open_memmap(self.path, mode="r")[begin:end]


@dataclass(frozen=True)
class Npz(Source):
    """A matrix in an .npz archive: one array, or CSR as `scipy.sparse.save_npz` writes it.

    Members that are stored as they are can be mapped; compressed archives are copied (`stage`) at the start of a job.
    """

    member: str | None = None  # of a dense array; None: CSR
    original: Path | None = None

    @classmethod
    def open(cls, path: Path, column, ids) -> Npz:
        with zipfile.ZipFile(path) as archive:
            headers = {}
            for info in archive.infolist():
                with archive.open(info) as file:
                    headers[info.filename.removesuffix(".npy")] = parts.read_header(file)
        if files.SPARSE_MEMBERS.issubset(headers):
            (nnz,), dtype, _ = headers["data"]
            with np.load(path, allow_pickle=False) as archive:
                n, n_bins = (int(x) for x in archive["shape"])
            # The engine reads float64 values and 32-bit indices.
            return cls(path, (n, n_bins), dtype.name, 8 + 12 * -(-nnz // max(n, 1)), ids)
        names = [column] if column else [name for name in headers if name != ids]
        if len(names) != 1 or names[0] not in headers:
            raise ValueError(f"it holds {len(headers)} arrays ({', '.join(headers)}); one array is needed, or its name "
                             "as column, or a matrix of scipy.sparse.save_npz")
        shape, dtype, _ = headers[names[0]]
        return cls(path, matrix_shape(shape), dtype.name, dtype.itemsize * shape[1], ids, names[0])

    def _read(self, begin, end):
        if self.member:
            return self._slice(self.member, begin, end)
        if not self._is_csr():
            return files.read(self.path)[begin:end]
        pointers = self._slice("indptr", begin, end + 1)
        a, b = int(pointers[0]), int(pointers[-1])
        rows = (self._slice("data", a, b), self._slice("indices", a, b), pointers - a)
        return scipy.sparse.csr_array(rows, shape=(pointers.size - 1, self.shape[1]))

    def _slice(self, name: str, begin: int, end: int) -> np.ndarray:
        """Rows of an array; of a compressed one all that is before them must be read, which is why jobs copy it."""
        with zipfile.ZipFile(self.path) as archive:
            if archive.getinfo(name + ".npy").compress_type == zipfile.ZIP_STORED:
                with open(self.path, "rb") as file:
                    return mapped_member(archive, file, name)[begin:end]
            with archive.open(name + ".npy") as file:
                shape, dtype, order = parts.read_header(file)
                if order == "F":
                    return np.frombuffer(file.read(), dtype).reshape(shape[::-1]).T[begin:end]
                row = dtype.itemsize * int(np.prod(shape[1:]))
                file.seek(begin * row, os.SEEK_CUR)
                return np.frombuffer(file.read((min(end, shape[0]) - begin) * row), dtype).reshape(-1, *shape[1:])

    def _read_ids(self):
        with np.load(self.original or self.path, allow_pickle=False) as archive:
            return archive[self.ids]

    @property
    def _plain(self) -> bool:
        """Whether ranges of rows can be read from the archive as it is."""
        with zipfile.ZipFile(self.path) as archive:
            stored = all(info.compress_type == zipfile.ZIP_STORED for info in archive.infolist())
            names = {info.filename for info in archive.infolist()}
        return stored and (self.member is not None or {"indptr.npy", "indices.npy"} <= names and self._is_csr())

    def _is_csr(self) -> bool:
        with np.load(self.path, allow_pickle=False) as archive:
            return archive["format"].item() in (b"csr", "csr")

    @property
    def staged_bytes(self) -> int:
        if self._plain:
            return 0
        with zipfile.ZipFile(self.path) as archive:
            return sum(info.file_size for info in archive.infolist())

    def stage(self, directory, name):
        if self._plain:
            return self
        target = directory / f"{name}.npz"
        if not target.exists():
            with parts.replacing(target) as file:
                self._copy(file)
        return replace(self, path=target, original=self.path)

    def _copy(self, file) -> None:
        if self.member is None and not self._is_csr():
            scipy.sparse.save_npz(file, files.read(self.path), compressed=False)
            return
        with zipfile.ZipFile(self.path) as archive, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as copy:
            for info in archive.infolist():
                with archive.open(info) as data, copy.open(info.filename, "w", force_zip64=True) as out:
                    shutil.copyfileobj(data, out, parts.CHUNK)

    def fingerprint(self):
        return {**super().fingerprint(), **fingerprint(self.original or self.path)}


def open_source(path, column: str | None = None, ids: str | None = None) -> Source:
    """The source behind a path; ValueError names the file and says what is wrong."""
    from . import columnar

    kinds = {".npy": Npy, ".npz": Npz, ".parquet": columnar.Parquet, ".pq": columnar.Parquet, ".zarr": columnar.Zarr}
    path = Path(os.path.abspath(path))
    kind = kinds.get(path.suffix.lower())
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if kind is None:
        raise ValueError(f"{path} is none of {', '.join(kinds)}; save an array with numpy.save, a sparse matrix with "
                         "scipy.sparse.save_npz")
    if kind is not columnar.Zarr and not path.is_file():
        raise ValueError(f"{path} is not a file")
    if column and kind is Npy:
        raise ValueError(f"{path} holds one array; column={column!r} has no meaning for it")
    if ids is not None and str(ids).endswith(".npy"):
        ids = os.path.abspath(ids)
        if not os.path.exists(ids):
            raise ValueError(f"{ids} does not exist")
    try:
        source = kind.open(path, column, ids)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    except (*files.UNREADABLE, IndexError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    return source


def matrix_shape(shape) -> tuple[int, int]:
    """A shape that is rows and bins; ValueError else."""
    if len(shape) != 2:
        raise ValueError(f"it must be 2-d, one distribution a row; got shape {tuple(shape)}")
    return int(shape[0]), int(shape[1])


def mapped_member(archive: zipfile.ZipFile, file, name: str) -> np.ndarray:
    """An uncompressed array of an .npz archive, memory-mapped from `file`, the same archive opened for reading."""
    info = archive.getinfo(name + ".npy")
    file.seek(info.header_offset + 26)  # the local header ends with a name and an extra field, whose lengths are here
    lengths = [int.from_bytes(file.read(2), "little") for _ in range(2)]
    file.seek(sum(lengths), os.SEEK_CUR)
    shape, dtype, order = parts.read_header(file)
    return parts.mapped(archive.filename, file.tell(), shape, dtype, order)


def fingerprint(path: Path) -> dict:
    """Size and checksum of a file or directory; of much data the checksum of samples, and the time of change."""
    paths = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    stats = [p.stat() for p in paths]
    size, digest = sum(s.st_size for s in stats), hashlib.sha256()
    step = max(1, len(paths) * BLOCK // SAMPLED)  # of very many files every step-th is read
    share = SAMPLED // max(1, -(-len(paths) // step))
    for i, (p, s) in enumerate(zip(paths, stats)):
        digest.update(f"{p.relative_to(path) if p != path else ''}:{s.st_size}\n".encode())
        if i % step == 0:
            _add_samples(digest, p, s.st_size, share if len(paths) > 1 else SAMPLED)
    found = {"path": str(path), "bytes": size, "sha256": digest.hexdigest()}
    if size > SAMPLED:
        found["modified"] = max(s.st_mtime_ns for s in stats)
    return found


def _add_samples(digest, path: Path, size: int, share: int) -> None:
    with open(path, "rb") as file:
        if size <= share:
            while data := file.read(BLOCK):
                digest.update(data)
            return
        blocks = max(2, share // BLOCK)
        for i in range(blocks):  # the first and the last block among them
            file.seek((size - BLOCK) * i // (blocks - 1))
            digest.update(file.read(BLOCK))
