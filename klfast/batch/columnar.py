"""Inputs of a job in Parquet files and Zarr arrays. Their libraries are imported where they are needed."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np

from .sources import Source, matrix_shape

BATCH_BYTES = 1 << 21  # decoded at a time


def extra(module: str, name: str, what: str):
    """An optional dependency, or ValueError that names what to install."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise ValueError(f"{what} needs {module.partition('.')[0]}: pip install 'klfast[{name}]'") from None


@dataclass(frozen=True)
class Parquet(Source):
    """Rows of a Parquet file: a column of fixed-size lists or of lists, or one numeric column a bin."""

    columns: tuple[str, ...] = ()
    listed: bool = True

    @classmethod
    def open(cls, path, column, ids):
        pa, pq = extra("pyarrow", "parquet", "Parquet"), extra("pyarrow.parquet", "parquet", "Parquet")
        with pq.ParquetFile(path) as file:
            schema, n = file.schema_arrow, file.metadata.num_rows
            if ids is None and "id" in schema.names and column != "id":
                ids = "id"
            if ids is not None and not ids.endswith(".npy") and ids not in schema.names:
                raise ValueError(f"it has no column {ids!r} for the ids; its columns are {', '.join(schema.names)}")
            columns, listed = _columns_of(pa, schema, column, ids)
            kind = schema.field(columns[0]).type
            if listed:
                n_bins = kind.list_size if pa.types.is_fixed_size_list(kind) else _first_length(file, columns[0])
                dtype = _numeric(pa, kind.value_type, columns[0])
            else:
                n_bins = len(columns)
                dtype = np.result_type(*(_numeric(pa, schema.field(c).type, c) for c in columns))
        return cls(path, (n, n_bins), dtype.name, n_bins * dtype.itemsize, ids, tuple(columns), listed)

    def _read(self, begin, end):
        out = np.empty((end - begin, self.shape[1]), self.dtype)
        for first, batch in self._batches(begin, end, self.columns, BATCH_BYTES // max(self.row_bytes, 1)):
            a, b = max(begin, first), min(end, first + batch.num_rows)
            out[a - begin : b - begin] = self._values(batch.slice(a - first, b - a), a)
        return out

    def _batches(self, begin, end, columns, size):
        """(first row, batch) of every batch that has rows of [begin, end)."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path) as file:
            bounds = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
            groups = [i for i in range(file.num_row_groups) if bounds[i] < end and bounds[i + 1] > begin]
            first = int(bounds[groups[0]]) if groups else 0
            for batch in file.iter_batches(max(1, size), row_groups=groups, columns=list(columns), use_threads=False):
                if first + batch.num_rows > begin:
                    yield first, batch
                first += batch.num_rows
                if first >= end:
                    return

    def _values(self, batch, row: int):
        if not self.listed:
            for name in self.columns:
                _refuse_nulls(batch.column(name), row)
            return np.column_stack([batch.column(name).to_numpy(zero_copy_only=False) for name in self.columns])
        column = batch.column(self.columns[0])
        _refuse_nulls(column, row)
        lengths = np.asarray(column.value_lengths()) if hasattr(column, "value_lengths") else None
        if lengths is not None and (lengths != self.shape[1]).any():
            bad = int(np.flatnonzero(lengths != self.shape[1])[0])
            raise ValueError(f"row {row + bad} has {lengths[bad]} bins, the first row has {self.shape[1]}")
        values = column.flatten()
        _refuse_nulls(values, row, self.shape[1])
        return values.to_numpy(zero_copy_only=False).reshape(-1, self.shape[1])

    def _read_ids(self):
        found = [np.asarray(batch.column(0)) for _, batch in self._batches(0, self.shape[0], (self.ids,), 1 << 20)]
        ids = np.concatenate(found) if found else np.empty(0, np.int64)
        return ids.astype(np.str_) if ids.dtype == object else ids


def _columns_of(pa, schema, column, ids) -> tuple[list[str], bool]:
    """The columns that hold the numbers, and whether they are one column of lists."""
    def is_list(kind):
        return pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind)

    lists = [f.name for f in schema if is_list(f.type) and column in (None, f.name)]
    if column and not lists:
        raise ValueError(f"it has no column of lists named {column!r}; its columns are {', '.join(schema.names)}")
    if len(lists) > 1:
        raise ValueError(f"it has several columns of lists ({', '.join(lists)}); name one as column")
    if lists:
        return lists, True
    wide = [name for name in schema.names if name != ids]
    if not wide:
        raise ValueError("it has no columns of numbers")
    return wide, False


def _numeric(pa, kind, name: str) -> np.dtype:
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise ValueError(f"column {name!r} is {kind}; real numbers are needed (a column of names is given as ids)")
    return np.dtype(kind.to_pandas_dtype())


def _first_length(file, name: str) -> int:
    for batch in file.iter_batches(1, columns=[name]):
        if batch.num_rows and batch.column(0)[0].is_valid:
            return len(batch.column(0)[0])
    return 0


def _refuse_nulls(column, row: int, per_row: int = 1) -> None:
    if column.null_count:
        bad = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise ValueError(f"row {row + bad // per_row} has a null; fill or drop it")


@dataclass(frozen=True)
class Zarr(Source):
    """A two-dimensional Zarr array, or the only one (or the named one) of a Zarr group."""

    array: str | None = None

    @classmethod
    def open(cls, path, column, ids):
        zarr = extra("zarr", "zarr", "Zarr")
        node = zarr.open(str(path), mode="r")
        if isinstance(node, zarr.Group):
            names = [column] if column else [name for name, a in node.arrays() if a.ndim == 2 and name != ids]
            if len(names) != 1 or names[0] not in node:
                raise ValueError(f"it is a group of {', '.join(name for name, _ in node.arrays()) or 'no arrays'}; "
                                 "one 2-d array is needed, or its name as column")
            column = names[0]
            node = node[column]
        elif column:
            raise ValueError(f"it is one array; column={column!r} has no meaning for it")
        shape = matrix_shape(node.shape)
        return cls(path, shape, node.dtype.name, node.dtype.itemsize * shape[1], ids, column)

    def _read(self, begin, end):
        return np.asarray(self._open(self.array)[begin:end])

    def _open(self, name: str | None):
        import zarr

        node = zarr.open(str(self.path), mode="r")
        return node[name] if name else node

    def _read_ids(self):
        return np.asarray(self._open(self.ids)[:])
