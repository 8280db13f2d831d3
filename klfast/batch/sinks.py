"""Outputs of a job: .npy, .npz, Parquet and Zarr, streamed from the finished parts; whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
import warnings
import zipfile
from pathlib import Path

import numpy as np

from . import parts
from .answers import Answer
from .columnar import extra
from .job import Job

FORMATS = {
    "kneighbors": (".npz", ".parquet", ".zarr"),
    "nearest": (".npz", ".parquet", ".zarr"),
    "radius_neighbors": (".npz", ".parquet", ".zarr"),
    "pairwise": (".npy", ".zarr"),
    "rowwise": (".npy", ".npz", ".parquet", ".zarr"),
}
LAYOUTS = ("edges", "lists")

# Rows of a Parquet row group (of edges) and bytes of a Zarr chunk. They do not depend on the shards.
EDGES = 1 << 17
CHUNK_BYTES = 1 << 22


def check(target: Path, layout: str) -> None:
    """ValueError if an answer cannot be written in this format and layout."""
    suffix = target.suffix.lower()
    if layout not in LAYOUTS:
        raise ValueError(f"layout must be {' or '.join(LAYOUTS)}; got {layout!r}")
    if suffix == ".parquet":
        extra("pyarrow.parquet", "parquet", "Parquet")
    if suffix == ".zarr":
        extra("zarr", "zarr", "Zarr")


def assemble(job: Job, target: Path, layout: str) -> None:
    """Write the answer of a finished job to `target`, by way of a temporary name in the job's directory."""
    writer = {".npy": _npy, ".npz": _npz, ".parquet": _parquet, ".zarr": _zarr}[target.suffix.lower()]
    temporary = job.directory / f".{target.name}.{secrets.token_hex(4)}.tmp"
    try:
        writer(job, Answer(job), temporary, layout)
        _flush(temporary)
        if target.is_dir():  # an older Zarr output: directories cannot be replaced in one step
            os.replace(target, job.directory / f".old.{secrets.token_hex(4)}.tmp")
        os.replace(temporary, target)
        parts.flush_directory(target.parent)
    except BaseException:
        shutil.rmtree(temporary) if temporary.is_dir() else temporary.unlink(missing_ok=True)
        raise


def _flush(path: Path) -> None:
    for p in (p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with open(p, "rb") as file:
            os.fsync(file.fileno())


def _squeeze(job: Job, arrays):
    return [a[:, 0] for a in arrays] if job.question.kind == "nearest" else arrays


def _shape(job: Job) -> tuple[int, ...]:
    n, kind = job.left.shape[0], job.question.kind
    if kind == "pairwise":
        return (n, job.references.shape[0])
    return (n, job.question.k) if kind == "kneighbors" else (n,)


def _named(job: Job) -> dict[str, int]:
    """Names of the arrays of an answer with a fixed number of values a row, and which array of a part each is."""
    return {"distances": 0, "indices": 1} if job.question.lists else {"values": 0}


def _ids(job: Job) -> dict[str, np.ndarray]:
    """The users' names of rows and references, where there are any."""
    found = {"ids": job.left.read_ids(), "reference_ids": job.right.read_ids() if job.right else None}
    return {name: ids for name, ids in found.items() if ids is not None}


# ---- .npy and .npz -------------------------------------------------------------------------------------------


def _npy(job: Job, answer: Answer, path: Path, layout: str) -> None:
    shape, dtype = _shape(job), answer.dtypes[0]
    with open(path, "xb") as file:
        parts.write_header(file, shape, dtype)
        for _, _, arrays in answer.blocks(answer.rows_a_block(dtype.itemsize * int(np.prod(shape[1:])))):
            parts.write_values(file, arrays[0])


def _npz(job: Job, answer: Answer, path: Path, layout: str) -> None:
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        if job.question.kind == "radius_neighbors":
            _csr_members(archive, answer)
        else:
            shape = _shape(job)
            rows = answer.rows_a_block(8 * int(np.prod(shape[1:])))
            for name, i in _named(job).items():
                blocks = (_squeeze(job, arrays)[i] for _, _, arrays in answer.blocks(rows))
                _member(archive, name, shape, answer.dtypes[i], blocks)
        for name, ids in _ids(job).items():
            _member(archive, name, ids.shape, ids.dtype, [ids])


def _csr_members(archive: zipfile.ZipFile, answer: Answer) -> None:
    """The members that `scipy.sparse.load_npz` reads."""
    pointers = np.concatenate([[0], np.cumsum(answer.counts())])
    nnz, rows = int(pointers[-1]), answer.rows_a_block(16 * max(1, int(pointers[-1]) // max(answer.n, 1)))
    _member(archive, "indices", (nnz,), np.int64, (arrays[1] for _, _, arrays in answer.blocks(rows)))
    _member(archive, "indptr", pointers.shape, np.int64, [pointers])
    for name, value in (("format", np.array(b"csr")), ("shape", np.array([answer.n, answer.m]))):
        _member(archive, name, value.shape, value.dtype, [value])
    _member(archive, "data", (nnz,), np.float64, (arrays[2] for _, _, arrays in answer.blocks(rows)))


def _member(archive: zipfile.ZipFile, name: str, shape, dtype, blocks) -> None:
    with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        parts.write_header(file, shape, dtype)
        for block in blocks:
            parts.write_values(file, block)


# ---- Parquet -------------------------------------------------------------------------------------------------


def _parquet(job: Job, answer: Answer, path: Path, layout: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = _ids(job)
    names = ids.get("ids"), ids.get("ids" if job.right is None else "reference_ids")
    tables = {"edges": _table_of_edges, "lists": _table_of_lists}
    make = _table_of_values if job.question.kind == "rowwise" else tables[layout]
    rows = max(1, EDGES // (job.question.k or 1))
    if job.question.kind == "radius_neighbors":
        rows = max(1, EDGES * answer.n // max(1, int(answer.counts().sum())))
    empty = [np.empty((0, job.question.k or 1), t) for t in answer.dtypes]
    if job.question.kind == "radius_neighbors":
        empty = [np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)]
    if job.question.kind == "rowwise":
        empty = [np.empty(0, answer.dtypes[0])]
    schema = make(pa, job, 0, 0, empty, *names).schema
    with open(path, "xb") as file, pq.ParquetWriter(file, schema) as writer:
        for begin, end, arrays in answer.blocks(rows):
            table = make(pa, job, begin, end, arrays, *names)
            writer.write_table(table, row_group_size=max(1, table.num_rows))


def _neighbours(job: Job, begin: int, end: int, arrays) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours a row, their indices, their values."""
    if job.question.kind == "radius_neighbors":
        return tuple(arrays)
    values, indices = arrays
    return np.full(end - begin, indices.shape[1]), indices.reshape(-1), values.reshape(-1)


def _table_of_values(pa, job: Job, begin, end, arrays, left, right):
    return pa.table({"id": _name(np.arange(begin, end), left), "divergence": arrays[0]})


def _table_of_edges(pa, job: Job, begin, end, arrays, left, right):
    counts, indices, values = _neighbours(job, begin, end, arrays)
    rows = np.repeat(np.arange(begin, end), counts)
    return pa.table({"source": _name(rows, left), "target": _name(indices, right), "distance": values})


def _table_of_lists(pa, job: Job, begin, end, arrays, left, right):
    counts, indices, values = _neighbours(job, begin, end, arrays)
    bounds = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    return pa.table({"id": _name(np.arange(begin, end), left),
                     "neighbors": pa.ListArray.from_arrays(bounds, pa.array(_name(indices, right))),
                     "distances": pa.ListArray.from_arrays(bounds, pa.array(values))})


def _name(rows: np.ndarray, names: np.ndarray | None) -> np.ndarray:
    return rows if names is None else names[rows]


# ---- Zarr ----------------------------------------------------------------------------------------------------


def _zarr(job: Job, answer: Answer, path: Path, layout: str) -> None:
    import zarr

    kind, shape = job.question.kind, _shape(job)
    if kind in ("pairwise", "rowwise") and not _ids(job):
        _fill(zarr.create_array(str(path), **_array(shape, answer.dtypes[0])), answer, 0, job)
        return
    group = zarr.create_group(str(path))
    if kind == "radius_neighbors":
        _csr_arrays(group, answer)
    else:
        for name, i in _named(job).items():
            _fill(group.create_array(name, **_array(shape, answer.dtypes[i])), answer, i, job)
    for name, ids in _ids(job).items():
        with warnings.catch_warnings():  # strings of fixed length: Zarr 3 writes them, and warns that others may not
            warnings.simplefilter("ignore")
            group.create_array(name, **_array(ids.shape, ids.dtype))[:] = ids


def _array(shape, dtype) -> dict:
    """Shape, chunks and type: chunks of whole rows, or of squares where a row is long."""
    dtype, width = np.dtype(dtype), int(np.prod(shape[1:]))
    columns = min(max(width, 1), max(1, CHUNK_BYTES // (256 * dtype.itemsize)))
    rows = max(1, min(max(shape[0], 1), CHUNK_BYTES // (columns * dtype.itemsize)))
    return {"shape": shape, "chunks": (rows, columns)[: len(shape)], "dtype": dtype}


def _fill(array, answer: Answer, i: int, job: Job) -> None:
    for begin, end, arrays in answer.blocks(array.chunks[0]):
        array[begin:end] = _squeeze(job, arrays)[i]


def _csr_arrays(group, answer: Answer) -> None:
    pointers = np.concatenate([[0], np.cumsum(answer.counts())])
    nnz = int(pointers[-1])
    group.create_array("indptr", **_array(pointers.shape, np.int64))[:] = pointers
    group.attrs["shape"] = [answer.n, answer.m]
    for name, i, dtype in (("indices", 1, np.int64), ("data", 2, np.float64)):
        array = group.create_array(name, **_array((nnz,), dtype))
        for begin, end, arrays in answer.blocks(answer.rows_a_block(16 * max(1, nnz // max(answer.n, 1)))):
            array[pointers[begin] : pointers[end]] = arrays[i]
