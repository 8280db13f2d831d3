"""radius_neighbors is exact: the pairs of brute force, its values to the bit, ordered by (value, column)."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
from clouds import LOGITS, NAMES, brute_force, exact, operands, rows
from named import ALL, FEW, takes

import klfast as kl


def expected(values, radius, leave_out_self=False):
    """(values, columns, starts) of the rows of a matrix, by sorting."""
    lists = []
    for i, row in enumerate(values):
        columns = np.argsort(row, kind="stable")
        columns = columns[(row[columns] <= radius) & ((columns != i) | (not leave_out_self))]
        lists.append((row[columns], columns))
    counts = [columns.size for _, columns in lists]
    joined = [np.concatenate([each[t] for each in lists]) for t in (0, 1)]
    return *joined, np.concatenate([[0], np.cumsum(counts)])


def assert_exact(found, values, radius, leave_out_self=False):
    data, columns, starts = expected(values, radius, leave_out_self)
    assert isinstance(found, scipy.sparse.csr_array) and found.shape == values.shape and found.dtype == np.float64
    np.testing.assert_array_equal(found.indptr, starts)
    np.testing.assert_array_equal(found.indices, columns)
    assert found.data.tobytes() == data.tobytes()


def radii(values):
    """0, the greatest finite value, and values of the matrix themselves: the radius is inclusive."""
    finite = np.sort(values[np.isfinite(values)])
    return [0.0] if not finite.size else [0.0, finite[finite.size // 20], finite[finite.size // 3], finite[-1]]


def check(name, divergence, n=11, m=70):
    P, Q = operands(name, n, m)
    right = exact(name, n, m, divergence)
    index = kl.Index(Q, divergence)
    for radius in radii(right):
        assert_exact(index.radius_neighbors(P, radius), right, radius)
    own = brute_force(Q, Q, divergence)
    for radius in radii(own)[:3]:
        assert_exact(index.radius_neighbors(None, radius), own, radius, leave_out_self=True)


CLOUDS = ["dirichlet-0.05", "cloud-1e-4", "zero-ridden", "near-ties", "logits-masks"]
OTHERS = ["dirichlet-1", "one-bin", "cloud-1e-8", "five-clouds-1e-2", "duplicates", "proportional", "small-bins",
          "scales", "subnormal-bins", "logits-1e4", "logits-shifted"]


@pytest.mark.parametrize("name, divergence", [(name, d) for name in CLOUDS for d in ALL if takes(d, name in LOGITS)])
def test_equals_brute_force(isa, name, divergence):
    check(name, divergence)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in OTHERS for d in FEW if takes(d, name in LOGITS)])
def test_more_clouds(name, divergence):
    check(name, divergence)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in CLOUDS + OTHERS])
def test_kl_on_every_cloud(name):
    check(name, "kl", 7, 66)


@pytest.mark.parametrize("divergence", FEW)
def test_threads(all_threads, divergence):
    """More rows and columns than a block; the same bits whatever the number of threads."""
    P, Q = operands("dirichlet-0.05", 150, 700)
    right = brute_force(P, Q, divergence)
    radius = np.sort(right.ravel())[right.size // 10]
    if not np.isfinite(radius):
        radius = 1.0
    for n_jobs in (1, 2, 3):
        assert_exact(kl.radius_neighbors(P, Q, radius, divergence, n_jobs=n_jobs), right, radius)


def test_many_slabs(monkeypatch):
    """Rows that come in several parts, as large answers do."""
    from klfast import consumers

    P, Q = operands("duplicates", 300, 200)
    right = brute_force(P, Q)
    monkeypatch.setattr(consumers, "SLAB_SECONDS", 0)
    for radius in (0.0, 0.3):
        assert_exact(kl.radius_neighbors(P, Q, radius), right, radius)


def test_zeros_are_stored():
    """Equal rows are neighbours at 0, explicitly; without Q a row's copies are, and it itself is not."""
    Q = kl.Categorical(counts=np.tile([1.0, 2.0, 3.0], (70, 1)))
    found = kl.radius_neighbors(Q, Q, 0.0)
    assert found.nnz == 70 * 70 and not found.data.any() and not np.signbit(found.data).any()
    found = kl.radius_neighbors(Q, radius=0.0)
    assert found.nnz == 70 * 69 and (found.diagonal() == 0).all()
    assert all(i not in found.indices[found.indptr[i] : found.indptr[i + 1]] for i in range(70))


def test_inclusive():
    P, Q = np.array([[1.0, 0.0]]), np.array([[0.5, 0.5], [0.25, 0.75]])
    values = kl.rowwise(P, Q)
    for j in (0, 1):
        assert kl.radius_neighbors(P, Q, values[j]).nnz == j + 1
        assert kl.radius_neighbors(P, Q, np.nextafter(values[j], 0)).nnz == j


def test_infinite_pairs_are_never_neighbours():
    P, Q = operands("zero-ridden", 20, 80)
    right = exact("zero-ridden", 20, 80, "kl")
    assert_exact(kl.radius_neighbors(P, Q, np.finfo(float).max), right, np.finfo(float).max)
    assert kl.radius_neighbors(P, Q, 1e308).nnz == np.isfinite(right).sum()


def test_rows_are_sorted_by_value_and_can_be_sorted_by_column():
    P, Q = operands("dirichlet-1", 20, 80)
    found = kl.radius_neighbors(P, Q, 0.8)
    assert not found.has_sorted_indices and found.nnz > 50
    dense = found.toarray()
    right = exact("dirichlet-1", 20, 80, "kl")
    np.testing.assert_array_equal(dense, np.where(right <= 0.8, right, 0))
    found.sort_indices()
    np.testing.assert_array_equal(found.toarray(), dense)


@pytest.mark.parametrize("divergence", FEW)
def test_sparse_rows(divergence):
    p, q = rows("zero-ridden", 20, 80)
    SP, SQ = (kl.Categorical(counts=scipy.sparse.csr_array(x)) for x in (p, q))
    right = exact("zero-ridden", 20, 80, divergence)
    radius = radii(right)[2]
    assert_exact(kl.radius_neighbors(SP, SQ, radius, divergence), right, radius)


def test_mixed_operands():
    p, q = rows("duplicates", 9, 70)
    with np.errstate(divide="ignore"):
        logits = kl.Categorical(logits=np.log(q))
    P = kl.Categorical(counts=p)
    right = np.array([[kl.rowwise(kl.Categorical(counts=a), kl.Categorical(logits=b)) for b in logits.values]
                      for a in p])
    for radius in radii(right):
        assert_exact(kl.radius_neighbors(P, logits, radius), right, radius)


def test_empty():
    none, some = np.empty((0, 3)), np.array([[0.5, 0.5, 0.0]] * 2)
    for P, Q, shape in ((none, some, (0, 2)), (some, none, (2, 0)), (none, none, (0, 0))):
        found = kl.radius_neighbors(P, Q, 1.0)
        assert found.shape == shape and found.nnz == 0 and found.dtype == np.float64
    assert kl.radius_neighbors(none).shape == (0, 0)
    assert kl.radius_neighbors(some[:1]).nnz == 0


@pytest.mark.parametrize("radius", [-1e-300, -1, np.nan, np.inf, True, "1", None, 1j])
def test_bad_radius(radius):
    for call in (lambda: kl.radius_neighbors([[0.5, 0.5]], radius=radius),
                 lambda: kl.Index([[0.5, 0.5]]).radius_neighbors(None, radius)):
        with pytest.raises(ValueError, match="radius must be a finite number >= 0; got"):
            call()


def test_radius_of_other_types():
    P = np.array([[0.5, 0.5], [0.25, 0.75]])
    for radius in (1, np.float32(1), np.int64(1), np.float64(1)):
        assert kl.radius_neighbors(P, P, radius).nnz == 4


@pytest.mark.parametrize("limit", [-1, 1.5, True, "3", np.nan])
def test_bad_limit(limit):
    with pytest.raises(ValueError, match="limit must be a whole number of pairs; got"):
        kl.radius_neighbors([[0.5, 0.5]], radius=1.0, limit=limit)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_limit(all_threads, n_jobs):
    P, Q = operands("dirichlet-1", 100, 300)
    pairs = kl.radius_neighbors(P, Q, 10.0).nnz
    assert pairs == 100 * 300
    assert kl.radius_neighbors(P, Q, 10.0, limit=pairs, n_jobs=n_jobs).nnz == pairs
    assert kl.radius_neighbors(P, Q, 0.0, limit=0, n_jobs=n_jobs).nnz == 0
    for limit in (0, 1, pairs - 1):
        message = rf"more than limit={limit:,} pairs lie within radius=10 .*smaller radius, or a larger limit"
        with pytest.raises(MemoryError, match=message):
            kl.radius_neighbors(P, Q, 10.0, limit=limit, n_jobs=n_jobs)


MEASURE_MEMORY = """
import resource, sys
import numpy as np
import klfast as kl

P = np.random.default_rng(0).dirichlet(np.ones(8), 12_000)
kl.radius_neighbors(P[:100], P[:100], 0.001)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
found = kl.radius_neighbors(P, radius=0.01)
print(found.nnz, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no module resource")
def test_memory_is_that_of_the_answer():
    """12,000 rows have 144 million pairs, 1.1 GB of float64; the answer is small, and so is the memory."""
    result = subprocess.run([sys.executable, "-c", MEASURE_MEMORY], capture_output=True, text=True, check=True)
    found, kibibytes = map(int, result.stdout.split())
    kibibytes //= 1024 if sys.platform == "darwin" else 1
    assert 10 < found < 100_000
    assert kibibytes < 60_000
