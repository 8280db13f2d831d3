"""Finished pieces of an answer on disk: arrays one after another in one file, whole or not at all, with a checksum."""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

CHUNK = 1 << 22  # bytes hashed and written at a time


class HashingWriter:
    """A file to write to that computes the checksum of what passes."""

    def __init__(self, file):
        self._file, self._hash = file, hashlib.sha256()

    def write(self, data) -> int:
        self._hash.update(data)
        return self._file.write(data)

    def hexdigest(self) -> str:
        return self._hash.hexdigest()


@contextmanager
def replacing(target: Path):
    """A new binary file that appears as `target`, flushed to the disk, when the block ends; never a part of it.

    The rename itself is left to the system to flush: a part that a loss of power takes back is computed again.
    """
    # Not derived from the process alone: workers on several machines may share the directory.
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def flush_directory(path: Path) -> None:
    """Make renames in a directory durable, where the system can."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open directories
        return
    try:
        os.fsync(descriptor)
    except OSError:  # nor can some network file systems flush them
        pass
    finally:
        os.close(descriptor)


def write(target: Path, arrays: tuple[np.ndarray, ...]) -> str:
    """Write the arrays to `target`; returns the SHA-256 of the file."""
    with replacing(target) as file:
        out = HashingWriter(file)
        for array in arrays:
            write_header(out, array.shape, array.dtype)
            write_values(out, array)
    return out.hexdigest()


def write_header(file, shape: tuple[int, ...], dtype) -> None:
    """The header that `numpy.save` writes for a C-ordered array."""
    np.lib.format.write_array_header_1_0(
        file, {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape})


def write_values(file, array: np.ndarray) -> None:
    """The bytes of an array in C order, a bounded number at a time."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    for begin in range(0, len(data), CHUNK):
        file.write(data[begin : begin + CHUNK])


@dataclass(frozen=True)
class Stored:
    """An array of a part. Slices of its rows are read when asked for: pages of a mapped file would stay in memory."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, rows: slice) -> np.ndarray:
        begin, end, _ = rows.indices(self.shape[0])
        width = math.prod(self.shape[1:])
        values = np.fromfile(self.path, self.dtype, (end - begin) * width,
                             offset=self.offset + begin * width * self.dtype.itemsize)
        return values.reshape(end - begin, *self.shape[1:])


def read(path: Path) -> list[Stored]:
    """The arrays of a part."""
    arrays = []
    with open(path, "rb") as file:
        end = os.fstat(file.fileno()).st_size
        while file.tell() < end:
            shape, dtype, _ = read_header(file)
            arrays.append(Stored(path, file.tell(), shape, dtype))
            file.seek(math.prod(shape) * dtype.itemsize, os.SEEK_CUR)
    return arrays


def read_header(file) -> tuple[tuple[int, ...], np.dtype, str]:
    """Shape, dtype and order ("C" or "F") of the .npy data that begin here."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = readers[version](file)
    return shape, dtype, "F" if fortran else "C"


def mapped(path: Path, offset: int, shape, dtype, order: str = "C") -> np.ndarray:
    """An array in a file, memory-mapped, read-only; empty ones, which cannot be mapped, are made."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "r", offset, shape, order)


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
