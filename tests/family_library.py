"""The C families in a shared library of their own, called row by row through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

SOURCES = Path(__file__).parents[1] / "src_c"
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wall",
         "-Wextra", "-Werror", "-Wno-psabi"]  # those of setup.py
TRIANGLES = """
#include "klfast.h"
extern const kl_kernels kl_kernels_baseline;
const kl_triangles *kl_triangles_of_baseline(void);
const kl_triangles *kl_triangles_of_baseline(void) { return kl_kernels_baseline.triangles; }
"""
POINTER = ctypes.POINTER(ctypes.c_double)
I64 = ctypes.c_int64


class FeatureRow(ctypes.Structure):
    _fields_ = [("offset", ctypes.c_double), ("spread", ctypes.c_double), ("norm2", ctypes.c_double)]


class Work(ctypes.Structure):
    _fields_ = [("scratch", POINTER), ("triangles", ctypes.c_void_p)]


ROW = ctypes.CFUNCTYPE(FeatureRow, POINTER, POINTER, I64, POINTER, Work)
SIZE = ctypes.CFUNCTYPE(I64, I64)


class Table(ctypes.Structure):
    """kl_family of families.h."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("check", ctypes.CFUNCTYPE(ctypes.c_int32, POINTER, I64, ctypes.POINTER(I64))),
        ("direct", ctypes.CFUNCTYPE(ctypes.c_double, POINTER, POINTER, I64, Work)),
        ("entropy", ctypes.CFUNCTYPE(ctypes.c_double, POINTER, I64, Work)),
        ("width", SIZE), ("scratch", SIZE), ("sums", SIZE),
        ("accumulate", ctypes.CFUNCTYPE(None, POINTER, POINTER, I64, POINTER)),
        ("finish", ctypes.CFUNCTYPE(None, POINTER, ctypes.c_double, POINTER, I64, POINTER)),
        ("mean", ROW), ("natural", ROW),
        ("chernoff", ctypes.CFUNCTYPE(ctypes.c_double, POINTER, POINTER, ctypes.c_double, ctypes.c_double, I64,
                                      Work)),
    ]


def compiler() -> str | None:
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


def build(folder: Path) -> Path:
    """Compiles the library into `folder`."""
    target, triangles = folder / "families.so", folder / "triangles.c"
    triangles.write_text(TRIANGLES)
    sources = [*sorted(SOURCES.glob("families/*.c")), *sorted(SOURCES.glob("engine/*.c")), SOURCES / "isa" / "baseline.c",
               triangles]
    subprocess.run([compiler(), *FLAGS, f"-I{SOURCES}", *map(str, sources), "-o", str(target), "-lm"], check=True)
    return target


class Families:
    """families[name]: one CFamily."""

    def __init__(self, path: Path):
        self.library = ctypes.CDLL(str(path))
        self.library.kl_family_at.restype = ctypes.POINTER(Table)
        self.library.kl_triangles_of_baseline.restype = ctypes.c_void_p
        triangles = self.library.kl_triangles_of_baseline()
        self.tables = {}
        for number in range(self.library.kl_family_count()):
            table = self.library.kl_family_at(number)
            self.tables[table.contents.name.decode()] = CFamily(table.contents, triangles)

    def __getitem__(self, name) -> CFamily:
        return self.tables[name]


class CFamily:
    """One family; rows are float64 arrays of K parameters."""

    def __init__(self, table: Table, triangles: int):
        self.table, self.triangles = table, triangles
        self.name = table.name.decode()

    @cache
    def scratch(self, K: int):
        return np.full(self.table.scratch(K) + 1, np.nan)

    def work(self, K: int) -> Work:
        return Work(address(self.scratch(K)), self.triangles)

    def width(self, K: int) -> int:
        return self.table.width(K)

    def check(self, row) -> tuple[int, int]:
        where = I64(-1)
        return self.table.check(address(row), len(row), ctypes.byref(where)), where.value

    def kl(self, p, q) -> float:
        return self.table.direct(address(p), address(q), len(p), self.work(len(p)))

    def chernoff(self, p, q, s: float) -> float:
        return self.table.chernoff(address(p), address(q), s, 1 - s, len(p), self.work(len(p)))

    @property
    def has_entropy(self) -> bool:
        return bool(self.table.entropy)

    def entropy(self, p) -> float:
        return self.table.entropy(address(p), len(p), self.work(len(p)))

    def center(self, rows) -> np.ndarray:
        K = rows.shape[1]
        sums, center = np.zeros(self.table.sums(K)), np.full(K, np.nan)
        for row in rows:
            self.table.accumulate(address(row), address(rows[0]), K, address(sums))
        self.table.finish(address(sums), float(len(rows)), address(rows[0]), K, address(center))
        return center

    def features(self, role: str, rows, center):
        """Features (n, width) and the numbers offset, spread, norm2 (n, 3)."""
        K = rows.shape[1]
        out, numbers = np.full((len(rows), self.width(K)), np.nan), np.empty((len(rows), 3))
        function = getattr(self.table, role)
        for i, row in enumerate(rows):
            one = function(address(row), address(center), K, address(out[i]), self.work(K))
            numbers[i] = one.offset, one.spread, one.norm2
        return out, numbers


@pytest.fixture(scope="session")
def families(tmp_path_factory):
    if compiler() is None:
        pytest.skip("no C compiler: the families are tested as a library of their own")
    return Families(build(tmp_path_factory.mktemp("families")))


def address(array: np.ndarray):
    assert array.dtype == np.float64 and array.flags.c_contiguous
    return array.ctypes.data_as(POINTER)
