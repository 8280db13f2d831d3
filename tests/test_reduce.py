"""reduce: what NumPy makes of the matrix, without the matrix, in bits that no number of threads changes."""

import math

import numpy as np
import pytest
import scipy.sparse
from clouds import LOGITS, brute_force, exact, operands, rows
from named import ALL, FEW, takes

import klfast as kl
from klfast import _engine, consumers, plan
from klfast.divergences import find

OPS = {"sum": np.sum, "mean": np.mean, "min": np.min, "max": np.max}
RTOL = 1e-12 + 4e-15


def check(P, Q, divergence, right):
    index = kl.Index(Q, divergence)
    for op, numpy in OPS.items():
        for axis in (0, 1):
            values = index.reduce(P, op, axis=axis)
            assert values.dtype == np.float64 and values.shape == (right.shape[1 - axis],)
            with np.errstate(over="ignore"):
                wanted = numpy(right, axis=axis)
            np.testing.assert_allclose(values, wanted, rtol=2 * RTOL, err_msg=f"{op}, axis {axis}")
            np.testing.assert_array_equal(values == 0, wanted == 0)
            assert not np.signbit(values).any()


@pytest.mark.parametrize("name, divergence", [(name, d) for name in ("dirichlet-0.05", "cloud-1e-4", "zero-ridden",
                                                                     "logits-masks") for d in ALL
                                              if takes(d, name in LOGITS)])
def test_equals_numpy(isa, name, divergence):
    check(*operands(name, 25, 75), divergence, exact(name, 25, 75, divergence))


@pytest.mark.parametrize("divergence", FEW)
@pytest.mark.parametrize("name", ["one-bin", "duplicates", "proportional", "near-ties", "wide"])
def test_more_clouds(name, divergence):
    check(*operands(name, 7, 66), divergence, exact(name, 7, 66, divergence))


@pytest.mark.parametrize("divergence", FEW)
def test_rtol_0_gives_the_values_of_rowwise(divergence):
    """Least and largest to the bit; sums as if added in exact arithmetic."""
    P, Q = operands("dirichlet-1", 40, 70)
    right = exact("dirichlet-1", 40, 70, divergence)
    for axis in (0, 1):
        for op in ("min", "max"):
            np.testing.assert_array_equal(kl.reduce(P, Q, op, divergence, axis=axis, rtol=0), OPS[op](right, axis=axis))
        total = [math.fsum(line) for line in (right.T if axis == 0 else right)]
        np.testing.assert_array_equal(kl.reduce(P, Q, "sum", divergence, axis=axis, rtol=0), total)


def test_sums_are_compensated():
    """A few large values and many small ones, over every boundary of the parts."""
    rng = np.random.default_rng(3)
    Q = rng.dirichlet(np.ones(2), plan.REDUCE_COLUMNS + 4000)
    Q[::1000] = [1 - 1e-13, 1e-13]
    P = np.array([[1e-12, 1 - 1e-12], [0.5, 0.5]])
    right = np.stack([kl.rowwise(p, Q) for p in P])
    wanted = [math.fsum(line) for line in right]
    np.testing.assert_array_equal(kl.reduce(P, Q, "sum", rtol=0), wanted)
    np.testing.assert_allclose(kl.reduce(P, Q, "mean", rtol=0), np.array(wanted) / len(Q), rtol=2e-16)
    np.testing.assert_array_equal(kl.reduce(Q, P, "sum", "reverse_kl", axis=0, rtol=0), wanted)


@pytest.mark.parametrize("divergence, n, m, ops", [
    *((divergence, *shape, tuple(OPS)) for divergence in ("kl", "js", "jeffreys")
      for shape in ((2500, 60), (5, 17_000))),
    ("hellinger", plan.REDUCE_ROWS + 1, plan.REDUCE_COLUMNS + 1, ("sum",)),
])
def test_many_rows_and_columns(all_threads, divergence, n, m, ops):
    """Several parts of rows and of columns; the bits are the same for every number of threads."""
    rng = np.random.default_rng(1)
    P, Q = rng.dirichlet(np.ones(3), n), rng.dirichlet(np.ones(3), m)
    matrix = kl.pairwise(P, Q, divergence)
    for op in ops:
        for axis in (0, 1):
            one, *others = (kl.reduce(P, Q, op, divergence, axis=axis, n_jobs=n_jobs) for n_jobs in (1, 2, 5))
            np.testing.assert_allclose(one, OPS[op](matrix, axis=axis), rtol=3e-12)
            assert all(one.tobytes() == other.tobytes() for other in others), (op, axis)


@pytest.mark.parametrize("divergence", FEW)
def test_threads(all_threads, divergence):
    P, Q = operands("dirichlet-0.05", 130, 300)
    for op, axis in (("sum", 0), ("sum", 1), ("max", 0), ("min", 1)):
        one, two = (kl.reduce(P, Q, op, divergence, axis=axis, n_jobs=n_jobs).tobytes() for n_jobs in (1, 2))
        assert one == two, (op, axis)


STEEP = ["chi2", "neyman_chi2", "alpha:-3", "alpha:4"]  # of heavy tails: a bound of all rows together may be too wide
BILINEAR = [name for name in ALL if find(name).finish == "linear" and find(name).form.shape == _engine.PRODUCT]


@pytest.fixture
def by_pairs(monkeypatch):
    """(n, m, op) of every matrix of tiles that was reduced."""
    shapes = []
    tiles = consumers.reduce
    monkeypatch.setattr(consumers, "reduce", lambda *args: shapes.append(args[1:4]) or tiles(*args))
    return shapes


@pytest.mark.parametrize("name, divergence", [(name, d) for name in ("dirichlet-1", "zero-ridden", "logits")
                                              for d in BILINEAR if takes(d, name in LOGITS) and d not in STEEP])
def test_means_need_no_pairs(by_pairs, name, divergence):
    P, Q = operands(name, 25, 75)
    index = kl.Index(Q, divergence)
    right = exact(name, 25, 75, divergence)
    for op in ("sum", "mean"):
        for axis in (0, 1):
            np.testing.assert_allclose(index.reduce(P, op, axis=axis), OPS[op](right, axis=axis), rtol=RTOL)
            assert index.info == {"pairs": 25 * 75, "recomputed": 0, "equal": 0, "candidates": 0}
    assert not by_pairs


@pytest.mark.parametrize("divergence", BILINEAR)
@pytest.mark.parametrize("name", ["dirichlet-1", "dirichlet-0.05", "long-rows", "two-bins", "cloud-1e-2", "cloud-1e-5",
                                  "cloud-1e-8", "five-clouds-1e-6", "small-bins", "one-hot"])
def test_certified_means_are_within_a_small_rtol(by_pairs, name, divergence):
    """The bound of a mean is sound: what it lets through at a tolerance near its own size is that close."""
    P, Q = operands(name, 20, 70)
    right = exact(name, 20, 70, divergence)
    for axis in (0, 1):
        wanted = [math.fsum(line) if np.isfinite(line).all() else np.inf for line in (right.T if axis == 0 else right)]
        for rtol in (3e-14, 1e-13):
            values = kl.reduce(P, Q, "sum", divergence, axis=axis, rtol=rtol)
            np.testing.assert_allclose(values, wanted, rtol=rtol + 8e-15)
    assert divergence != "kl" or sum(n * m for n, m, _ in by_pairs) < 4 * right.size  # or nothing was tested


@pytest.mark.parametrize("divergence", ["kl", "neyman_chi2", "jeffreys"])
def test_doubtful_means_go_by_pairs(by_pairs, divergence):
    """Only the rows, or columns, that the mean cannot certify: equal to all others, or of a sum near the ends of the
    exponent range."""
    P, Q = rows("dirichlet-1", 30, 70)
    P[7] *= 1e-310
    right = brute_force(kl.Categorical(counts=P), kl.Categorical(counts=Q), divergence)
    P, Q = kl.Categorical(counts=P), kl.Categorical(counts=Q)
    np.testing.assert_allclose(kl.reduce(P, Q, "mean", divergence), right.mean(axis=1), rtol=RTOL)
    assert by_pairs == [(1, 70, "mean")]
    turned = {"kl": "reverse_kl", "neyman_chi2": "chi2", "jeffreys": "jeffreys"}[divergence]
    np.testing.assert_allclose(kl.reduce(Q, P, "sum", turned, axis=0), right.sum(axis=1), rtol=RTOL)
    assert by_pairs[1:] == [(70, 1, "sum")]
    # A row without features in the operand that is added up leaves no mean at all.
    np.testing.assert_allclose(kl.reduce(P, Q, "sum", divergence, axis=0), right.sum(axis=0), rtol=RTOL)
    assert by_pairs[2:] == [(30, 70, "sum")]


def test_equal_rows_have_a_mean_of_0(by_pairs):
    P = np.tile(np.random.default_rng(0).dirichlet(np.ones(5)), (80, 1))
    assert kl.reduce(P).tobytes() == np.zeros(80).tobytes()
    assert by_pairs == [(80, 80, "mean")]


@pytest.mark.parametrize("divergence", ["kl", "jeffreys", "cross_entropy", "tsallis:0.25"])
def test_means_of_many_rows(all_threads, each_isa, divergence):
    """More rows than the sums have parts: the bits depend neither on threads nor on the instruction set."""
    rng = np.random.default_rng(2)
    P, Q = rng.dirichlet(np.ones(3), 9), rng.dirichlet(np.ones(3), 270_000)
    results = [result for n_jobs in (1, 2, 3)
               for result in each_isa(lambda n=n_jobs: kl.reduce(P, Q, "sum", divergence, n_jobs=n)).values()]
    wanted = [math.fsum(kl.rowwise(np.broadcast_to(p, Q.shape), Q, divergence)) for p in P]
    np.testing.assert_allclose(results[0], wanted, rtol=RTOL)
    assert len({result.tobytes() for result in results}) == 1


def test_infinities():
    """They carry through sums, means and maxima, and do not hide a finite minimum."""
    P = np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]])
    Q = np.array([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0]])
    inf = np.inf
    for op in ("sum", "mean", "max"):
        assert kl.reduce(P, Q, op).tolist() == [inf, inf, inf]
        assert np.isinf(kl.reduce(P, Q, op, axis=0)).tolist() == [True, True, True]
        assert kl.reduce(P[2:], Q[::2], op)[0] == pytest.approx(np.log(2) * (2 if op == "sum" else 1), rel=1e-15)
    assert kl.reduce(P, Q, "min").tolist() == [0, inf, pytest.approx(np.log(2), rel=1e-15)]
    assert kl.reduce(P, Q, "min", axis=0).tolist() == [0, inf, 0]


def test_without_q_the_diagonal_counts():
    P = np.random.default_rng(0).dirichlet(np.ones(4), 80)
    assert kl.reduce(P, op="min").tobytes() == np.zeros(80).tobytes()
    matrix = kl.pairwise(P)
    for axis in (0, 1):
        np.testing.assert_allclose(kl.reduce(P, axis=axis), matrix.mean(axis=axis), rtol=3e-12)


def test_the_default_is_the_mean_of_each_row():
    P, Q = operands("dirichlet-1", 9, 70)
    wanted = kl.reduce(P, Q, "mean", "kl", axis=1)
    np.testing.assert_array_equal(kl.reduce(P, Q), wanted)
    np.testing.assert_array_equal(kl.reduce(P, Q, axis=-1), wanted)
    np.testing.assert_array_equal(kl.reduce(P, Q, axis=-2), kl.reduce(P, Q, axis=0))
    np.testing.assert_array_equal(kl.Index(Q).reduce(P), wanted)


@pytest.mark.parametrize("divergence", [name for name in FEW if find(name).logarithmic])
def test_base(divergence):
    P, Q = operands("dirichlet-1", 9, 70)
    unit = np.log(2) ** (0.5 if find(divergence).finish == "sqrt" else 1)
    for op in OPS:
        np.testing.assert_allclose(kl.reduce(P, Q, op, divergence, base=2), kl.reduce(P, Q, op, divergence) / unit,
                                   rtol=2.1e-12)


def test_rtol():
    P, Q = operands("dirichlet-1", 30, 70)
    right = exact("dirichlet-1", 30, 70, "kl")
    for rtol in (1e-15, 1e-9, 1e-3):
        np.testing.assert_allclose(kl.reduce(P, Q, "sum", rtol=rtol), right.sum(axis=1), rtol=rtol + 8e-15)
    for rtol in (-1, 1, np.nan, "1"):
        with pytest.raises(ValueError, match=r"rtol must be in \[0, 1\)"):
            kl.reduce(P, Q, rtol=rtol)


def test_sparse_and_mixed_rows():
    p, q = rows("duplicates", 12, 70)
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    SP, SQ = (kl.Categorical(counts=scipy.sparse.csr_array(x)) for x in (p, q))
    np.testing.assert_array_equal(kl.reduce(SP, SQ, "min"), kl.reduce(P, Q, "min"))
    with np.errstate(divide="ignore"):
        LQ = kl.Categorical(logits=np.log(q))
    wanted = brute_force(P, Q, "js").min(axis=1)
    np.testing.assert_allclose(kl.reduce(P, LQ, "min", "js"), wanted, rtol=1e-12, atol=1e-30)


def test_empty():
    none, some = np.empty((0, 3)), np.array([[0.5, 0.5, 0.0]] * 2)
    assert kl.reduce(none, some, "sum").shape == kl.reduce(none, some, "min").shape == (0,)
    assert kl.reduce(some, none, "sum").tolist() == [0, 0] == kl.reduce(none, some, "sum", axis=0).tolist()
    assert kl.reduce(none, some, "mean").shape == (0,) and kl.reduce(some, none, "max", axis=0).shape == (0,)
    for op in ("mean", "min", "max"):
        with pytest.raises(ValueError, match=f"{op} over axis 1 of a 2 x 0 matrix: there is nothing to reduce"):
            kl.reduce(some, none, op)
        with pytest.raises(ValueError, match=f"{op} over axis 0 of a 0 x 2 matrix: there is nothing to reduce"):
            kl.reduce(none, some, op, axis=0)


@pytest.mark.parametrize("op", ["median", "Sum", None, 0, np.sum])
def test_bad_op(op):
    with pytest.raises(ValueError, match="op must be 'sum', 'mean', 'min' or 'max'; got"):
        kl.reduce([[0.5, 0.5]], op=op)


@pytest.mark.parametrize("axis", [2, -3, None, True, "rows", 0.5])
def test_bad_axis(axis):
    with pytest.raises(ValueError, match=r"axis must be 1 \(over the columns: one value a row\) or 0"):
        kl.reduce([[0.5, 0.5]], axis=axis)
