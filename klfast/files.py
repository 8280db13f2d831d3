"""Arrays from files and files from arrays: inputs are memory-mapped, outputs appear whole or not at all."""

from __future__ import annotations

import errno
import math
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import scipy.sparse

# What scipy.sparse.save_npz puts into every archive.
SPARSE_MEMBERS = {"format", "shape", "data"}

# What numpy, scipy and zipfile raise for damaged files (NotImplementedError: a compression that zipfile lacks); they
# come out again as one ValueError that names the file.
UNREADABLE = (ValueError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read(path: Path):
    """The array in a .npy or .npz file.

    Parameters
    ----------
    path : Path
        ``.npy``: memory-mapped, read-only. ``.npz``: the only array in it, or a matrix that
        `scipy.sparse.save_npz` wrote, as CSR.

    Returns
    -------
    ndarray or scipy.sparse matrix

    Raises
    ------
    ValueError
        No such file, another kind of file, Python objects instead of numbers, or damage. The message names the file.
    """
    readers = {".npy": _read_npy, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if not path.exists():
        raise ValueError(f"{path} does not exist")
    if not path.is_file():
        raise ValueError(f"{path} is not a file")
    if reader is None:
        raise ValueError(f"{path} is neither .npy nor .npz; save the array with numpy.save, "
                         "or a sparse matrix with scipy.sparse.save_npz")
    try:
        return reader(path)
    except (OSError, *UNREADABLE) as error:
        raise ValueError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _read_npy(path: Path) -> np.ndarray:
    return np.lib.format.open_memmap(path, mode="r")


def _read_npz(path: Path):
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz archive")
    with np.load(path, allow_pickle=False) as archive:
        names = archive.files
        if not SPARSE_MEMBERS.issubset(names):
            if len(names) != 1:
                raise ValueError(f"it holds {len(names)} arrays ({', '.join(names)}); one array is needed, or a matrix "
                                 "of scipy.sparse.save_npz")
            return archive[names[0]]
    matrix = scipy.sparse.load_npz(path)
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)  # indices come from outside: none may point out of the matrix
    return matrix.tocsr()


def check_output(path: Path, suffix: str | tuple[str, ...], inputs: list[Path]) -> Path:
    """Where output goes, links resolved; ValueError if it cannot be written or is an input.

    The path must end in `suffix`, or one of them; .zarr is a directory, all others are files.
    """
    suffixes = (suffix,) if isinstance(suffix, str) else suffix
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"the output {path} must end in {' or '.join(suffixes)}")
    target = Path(os.path.realpath(path))
    is_directory = path.suffix.lower() == ".zarr"
    if target.exists() and not (target.is_dir() if is_directory else target.is_file()):
        raise ValueError(f"the output {path} is not a {'directory' if is_directory else 'file'}")
    if not target.parent.is_dir():
        raise ValueError(f"the directory of the output, {target.parent}, does not exist")
    if not os.access(target.parent, os.W_OK):
        raise ValueError(f"the directory of the output, {target.parent}, is not writable")
    for source in inputs:
        if target.exists() and source.exists() and os.path.samefile(target, source):
            raise ValueError(f"the output {path} is also an input; choose another name")
    return target


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary name beside `target`: renamed to it at the end, removed if anything goes wrong."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def write_npy(target: Path, shape: tuple[int, ...], dtype, fill: Callable[[np.ndarray], object]) -> None:
    """Write the .npy file that `fill` fills in place; it may be larger than memory."""
    size, free = math.prod(shape) * np.dtype(dtype).itemsize, shutil.disk_usage(target.parent).free
    if size > free:
        raise ValueError(f"{target} needs {size / 1e9:,.1f} GB; {free / 1e9:,.1f} GB are free there")
    with replacing(target) as part:
        array = np.lib.format.open_memmap(part, mode="w+", dtype=dtype, shape=shape)
        _reserve(part)
        fill(array)
        array.flush()
        del array  # Windows renames only closed files


def write_npz(target: Path, **arrays: np.ndarray) -> None:
    """Write an uncompressed .npz file."""
    with replacing(target) as part, open(part, "xb") as file:
        np.savez(file, **arrays)


def _reserve(part: Path) -> None:
    """Take the disk space now: a mapped file for which it runs out later ends the process by a signal."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(part, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # what file systems without it answer
                raise
