"""Axes, broadcasting, empty inputs, single bins, `out`, `base`, and the forms of the answer."""

import numpy as np
import pytest

import klfast as kl

FIRST = np.array([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])


def one_by_one(P, Q):
    """rowwise by a loop over broadcast rows."""
    shape = np.broadcast_shapes(P.shape[:-1], Q.shape[:-1])
    P, Q = (np.broadcast_to(x, (*shape, x.shape[-1])) for x in (P, Q))
    out = np.empty(shape)
    for i in np.ndindex(shape):
        out[i] = kl.rowwise(P[i], Q[i])
    return out


def test_the_example_of_the_package():
    assert kl.pairwise(FIRST).tolist() == [[0, pytest.approx(0.71355818)], [np.inf, 0]]


@pytest.mark.parametrize("p_shape, q_shape", [
    ((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((3, 1), (4,)), ((4,), (3, 1)), ((2, 3), (2, 3)),
    ((2, 1, 3), (5, 1)),
    ((1,), (6,)), ((2, 3, 4), (3, 1)), ((1, 1, 1), ()), ((5, 1), (1, 5)),
])
def test_broadcasting(isa, rng, p_shape, q_shape):
    P, Q = rng.dirichlet(np.ones(5), p_shape or None), rng.dirichlet(np.ones(5), q_shape or None)
    values = kl.rowwise(P, Q)
    np.testing.assert_array_equal(values, one_by_one(P, Q))
    assert values.shape == np.broadcast_shapes(p_shape, q_shape)


@pytest.mark.parametrize("axis", [-1, 0, 1, 2, -2, -3])
def test_axis(rng, axis):
    P, Q = (rng.dirichlet(np.ones(4), (3, 5)) for _ in range(2))
    moved = [np.moveaxis(x, -1, axis) for x in (P, Q)]
    np.testing.assert_array_equal(kl.rowwise(*moved, axis=axis), kl.rowwise(P, Q))
    np.testing.assert_array_equal(kl.entropy(moved[0], axis=axis), kl.entropy(P))
    contiguous = [np.ascontiguousarray(x) for x in moved]
    np.testing.assert_array_equal(kl.rowwise(*contiguous, axis=axis), kl.rowwise(P, Q))


def test_views_that_no_reshape_can_flatten(rng):
    P = np.broadcast_to(rng.dirichlet(np.ones(4), (1, 6)), (3, 6, 4))[:, ::2]
    Q = rng.dirichlet(np.ones(4), (6, 3)).swapaxes(0, 1)[:, ::2]
    np.testing.assert_array_equal(kl.rowwise(P, Q), one_by_one(P, Q))


def test_scalars_come_back_as_scalars():
    p, q = [0.5, 0.5], [0.25, 0.75]
    for value in (kl.rowwise(p, q), kl.kl_divergence(p, q), kl.entropy(p)):
        assert isinstance(value, np.float64)


def test_kl_divergence_is_rowwise(rng):
    P, Q = (rng.dirichlet(np.ones(4), 6) for _ in range(2))
    np.testing.assert_array_equal(kl.kl_divergence(P, Q, base=2), kl.rowwise(P, Q, "kl", base=2))


def test_empty():
    none, some = np.empty((0, 3)), FIRST
    assert kl.rowwise(none, none).shape == (0,) and kl.rowwise(none, some[:1]).shape == (0,)
    assert kl.rowwise(np.empty((2, 0, 3)), some[0]).shape == (2, 0)
    assert kl.entropy(none).shape == (0,)
    for P, Q, shape in ((none, some, (0, 2)), (some, none, (2, 0)), (none, none, (0, 0))):
        for dtype in ("float32", "float64"):
            assert kl.pairwise(P, Q, dtype=dtype).shape == shape
    assert kl.pairwise(none).shape == (0, 0)
    values, columns = kl.kneighbors(none, some, 2)
    assert values.shape == columns.shape == (0, 2) and columns.dtype == np.int64
    assert [x.shape for x in kl.nearest(none, some)] == [(0,), (0,)]


def test_one_bin(isa):
    P, Q = np.ones((70, 1)), kl.Categorical(counts=np.arange(1.0, 101)[:, None])
    assert kl.rowwise(P, np.ones((70, 1))).tobytes() == np.zeros(70).tobytes()
    assert kl.pairwise(P, Q).tobytes() == np.zeros((70, 100)).tobytes()
    assert kl.entropy(P).tobytes() == np.zeros(70).tobytes()
    assert kl.pairwise(P, Q, "cross_entropy").tobytes() == np.zeros((70, 100)).tobytes()
    values, columns = kl.kneighbors(P, Q, 3)
    assert (values == 0).all() and (columns == [0, 1, 2]).all()


def outputs(shape, dtype):
    """Arrays of that shape with every kind of strides, each a view of a larger one."""
    n, m = shape
    record = np.zeros(shape, [("before", "u1"), ("x", dtype)])
    return {
        "C": np.empty(shape, dtype), "Fortran": np.empty((m, n), dtype).T,
        "columns": np.empty((n, 3 * m), dtype)[:, 1::3],
        "rows": np.empty((2 * n, m), dtype)[::2], "backwards": np.empty(shape, dtype)[::-1, ::-1],
        "block": np.empty((n + 2, m + 3), dtype)[1:-1, 2:-1], "unaligned": record["x"],
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_of_pairwise(isa, rng, dtype):
    P, Q = rng.dirichlet(np.ones(6), 25), rng.dirichlet(np.ones(6), 70)
    expected = kl.pairwise(P, Q, dtype=dtype)
    for name, out in outputs((25, 70), dtype).items():
        guard = out.base
        before = None if guard is None or name in ("Fortran", "backwards") else guard.copy()
        assert kl.pairwise(P, Q, out=out) is out
        np.testing.assert_array_equal(out, expected, name)
        if before is not None:  # nothing beside the view is touched
            copy = out.copy()
            out[...] = 0
            view_of_before = {"columns": np.s_[:, 1::3], "rows": np.s_[::2], "block": np.s_[1:-1, 2:-1]}.get(name)
            if view_of_before is not None:
                before[view_of_before] = 0
                np.testing.assert_array_equal(guard, before, name)
            out[...] = copy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_of_rowwise(rng, dtype):
    P, Q = (rng.dirichlet(np.ones(6), (5, 7)) for _ in range(2))
    expected = kl.rowwise(P, Q).astype(dtype)
    for name, out in outputs((5, 7), dtype).items():
        assert kl.rowwise(P, Q, out=out) is out, name
        np.testing.assert_array_equal(out, expected, name)
    scalar = np.empty((), dtype)
    kl.rowwise(P[0, 0], Q[0, 0], out=scalar)
    assert scalar == expected[0, 0]


def test_float32_answer_of_float64_input(rng):
    P, Q = rng.dirichlet(np.ones(6), 25), rng.dirichlet(np.ones(6), 70)
    exact = kl.pairwise(P, Q)
    for values in (kl.pairwise(P, Q, dtype=np.float32), kl.pairwise(P, Q, out=np.empty((25, 70), np.float32))):
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, exact, rtol=1e-5)
    tight = kl.pairwise(P, Q, dtype=np.float32, rtol=1e-9)  # a float64 product, rounded once
    np.testing.assert_array_equal(tight, exact.astype(np.float32))


def test_float64_answer_of_float32_input(rng):
    P, Q = (rng.dirichlet(np.ones(6), size).astype(np.float32) for size in (25, 70))
    values = kl.pairwise(P, Q, dtype=np.float64)
    wide = [kl.Categorical(counts=x.astype(np.float64)) for x in (P, Q)]
    np.testing.assert_array_equal(values, kl.pairwise(*wide))


@pytest.mark.parametrize("base", [2, 10, 1.5, np.e, np.float32(4)])
def test_base(isa, rng, base):
    P, Q = (rng.dirichlet(np.ones(6), 15) for _ in range(2))
    log = np.log(np.float64(base))
    np.testing.assert_allclose(kl.rowwise(P, Q, base=base), kl.rowwise(P, Q) / log, rtol=5e-16)
    np.testing.assert_allclose(kl.entropy(P, base=base), kl.entropy(P) / log, rtol=5e-16)
    for dtype, rtol in (("float64", 5e-16), ("float32", 3e-7)):
        np.testing.assert_allclose(kl.pairwise(P, Q, base=base, dtype=dtype),
                                   kl.pairwise(P, Q, dtype=dtype).astype(float) / log, rtol=rtol)


def test_bits():
    assert kl.entropy([0.25] * 4, base=2) == 2
    assert kl.rowwise([1.0, 0.0], [0.5, 0.5], base=2) == 1
    assert kl.pairwise([[1.0, 0.0]], [[0.5, 0.5]], base=2) == 1


def test_values_by_hand():
    P, Q = np.array([[0.5, 0.5]]), np.array([[0.25, 0.75]])
    forward, backward = 0.5 * np.log(4 / 3), 0.25 * np.log(0.5) + 0.75 * np.log(1.5)
    for call in (kl.rowwise, kl.pairwise):
        assert call(P, Q).item() == pytest.approx(forward, rel=1e-15)
        assert call(P, Q, "reverse_kl").item() == pytest.approx(backward, rel=1e-14)
        assert call(P, Q, "cross_entropy").item() == pytest.approx(-0.5 * np.log(0.25 * 0.75), rel=1e-15)
