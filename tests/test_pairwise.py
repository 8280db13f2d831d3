"""pairwise: every finite entry within rtol, zeros and infinities exactly where they belong, on every ISA."""

import numpy as np
import pytest
from clouds import NAMES, brute_force, operands, rows

import klfast as kl
from klfast import memory, plan

DIVERGENCES = ("kl", "reverse_kl", "cross_entropy")
# What the direct kernel may be off itself, here and in the reference.
DIRECT = 4e-15


def assert_within(values, exact, rtol):
    """Finite entries within rtol of the direct values; +0.0, inf where those are; nothing negative or NaN."""
    assert not np.isnan(values).any() and not np.signbit(values).any()
    largest = float(np.finfo(values.dtype).max)
    over = np.isfinite(exact) & (exact > largest * (1 - rtol))
    assert (values[over] >= largest * (1 - 2 * rtol)).all()  # inf, but for the last digits
    values, exact = values[~over], exact[~over]
    np.testing.assert_array_equal(np.isinf(values), np.isinf(exact))
    tiny = exact < np.finfo(values.dtype).tiny
    np.testing.assert_array_equal(values[~tiny] == 0, exact[~tiny] == 0)
    finite = np.isfinite(exact) & (exact > 0) & ~tiny
    relative = np.abs(values[finite].astype(np.float64) - exact[finite]) / exact[finite]
    assert relative.max(initial=0) <= rtol


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("name", NAMES)
def test_within_tolerance(isa, name, divergence):
    P, Q = operands(name, 37, 75)
    exact = brute_force(P, Q, divergence)
    assert_within(kl.pairwise(P, Q, divergence), exact, 1e-12 + DIRECT)
    assert_within(kl.pairwise(P, Q, divergence, dtype="float32"), exact, 1e-4)


@pytest.mark.parametrize("name", ["dirichlet-1", "cloud-1e-5", "five-clouds-1e-2", "duplicates", "zero-ridden",
                                  "logits"])
@pytest.mark.parametrize("rtol", [0, 1e-18, 1e-15, 3e-15, 1e-13, 1e-9, 1e-3, 0.9])
def test_meets_any_tolerance(isa, name, rtol):
    P, Q = operands(name, 30, 70)
    exact = brute_force(P, Q)
    values = kl.pairwise(P, Q, rtol=rtol)
    assert_within(values, exact, rtol + DIRECT)
    if rtol == 0:  # nothing but the direct kernel will do
        np.testing.assert_array_equal(values, exact)
    assert_within(kl.pairwise(P, Q, rtol=rtol, dtype="float32"), exact, rtol + DIRECT + 2.0**-24)


@pytest.mark.parametrize("name", ["dirichlet-1", "zero-ridden", "logits-masks", "duplicates"])
def test_typical_error_of_float32(name):
    P, Q = operands(name, 60, 70)
    exact = brute_force(P, Q)
    finite = np.isfinite(exact) & (exact > 0)
    values = kl.pairwise(P, Q, dtype="float32")
    assert np.median(np.abs(values[finite] - exact[finite]) / exact[finite]) < 3e-7


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (5, 3), (96, 512), (97, 513), (200, 1100), (11, 64),
                                   (13, 65)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_edges_of_tiles(all_threads, isa, shape, dtype):
    P, Q = operands("three-bins", *shape)
    values = kl.pairwise(P, Q, dtype=dtype, n_jobs=2)
    assert values.shape == shape and values.dtype == dtype
    assert_within(values, brute_force(P, Q), {"float32": 1e-4, "float64": 1e-12 + DIRECT}[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", [64, 71, 80])
@pytest.mark.parametrize("offset", [0, 4])
def test_written_past_the_caches(isa, monkeypatch, rng, dtype, columns, offset):
    """Into an array in use, aligned to cache lines or not: the same bits as into a new one."""
    P, Q = rng.dirichlet(np.ones(9), 50), rng.dirichlet(np.ones(9), columns)
    P[3] = Q[5]
    expected = kl.pairwise(P, Q, dtype=dtype)
    monkeypatch.setattr(plan, "STREAM_BYTES", 1)
    out = memory.empty((50 * columns + offset,), dtype)[offset:].reshape(50, columns)
    assert kl.pairwise(P, Q, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_answers_start_cache_lines(rng):
    values = kl.pairwise(rng.dirichlet(np.ones(5), 30), rng.dirichlet(np.ones(5), 3))
    assert values.ctypes.data % 64 == 0 and values.flags.c_contiguous and values.flags.writeable


@pytest.mark.parametrize("K", [1, 2, 5, 63, 64, 65, 255, 256, 257, 520])
def test_lengths(isa, K, rng):
    P, Q = rng.dirichlet(np.ones(K), 15), rng.dirichlet(np.ones(K), 20)
    assert_within(kl.pairwise(P, Q), kl.rowwise(P[:, None], Q[None]), 1e-12 + DIRECT)


@pytest.mark.parametrize("name", ["duplicates", "proportional", "logits-shifted"])
def test_equal_rows_are_exactly_zero(isa, name):
    """Enough columns that equal rows are found by their keys, and few enough that the kernel decides."""
    for m in (20, 150):
        P, Q = operands(name, 40, m)
        exact = brute_force(P, Q)
        assert (exact == 0).sum() > 20
        for divergence in ("kl", "reverse_kl"):
            values = kl.pairwise(P, Q, divergence)
            assert values[exact == 0].tobytes() == np.zeros((exact == 0).sum()).tobytes()
            assert (values[exact > 0] > 0).all()


@pytest.mark.parametrize("name", ["dirichlet-1", "duplicates", "zero-ridden", "logits-masks"])
def test_one_operand(name):
    Q = operands(name, 3, 80)[1]
    values = kl.pairwise(Q)
    np.testing.assert_array_equal(values, kl.pairwise(Q, Q))
    assert np.diag(values).tobytes() == np.zeros(80).tobytes()


def test_work_is_mostly_certified():
    """The figures of the design: nothing recomputed on one cloud of any spread; equal rows cost nothing."""
    for name in ("dirichlet-1", "cloud-1e-1", "cloud-1e-4", "cloud-1e-8"):
        index = kl.Index(operands(name, 1, 200)[1])
        index.pairwise(operands(name, 100, 1)[0])
        assert index.info["recomputed"] == 0, name
    Q = operands("duplicates", 1, 200)[1]
    index = kl.Index(Q)
    zeros = (index.pairwise() == 0).sum()
    assert index.info["equal"] == zeros and index.info["pairs"] == 200 * 200


def test_index_gives_the_same_as_the_function():
    P, Q = operands("dirichlet-0.05", 20, 90)
    index = kl.Index(Q)
    assert len(index) == 90 and "90 distributions" in repr(index)
    for dtype in ("float64", "float32", "float64"):
        np.testing.assert_array_equal(index.pairwise(P, dtype=dtype), kl.pairwise(P, Q, dtype=dtype))


@pytest.mark.parametrize("divergence", DIVERGENCES)
def test_mixed_operands(isa, divergence):
    """Weights against log-weights."""
    p, q = rows("dirichlet-1", 20, 70)
    weights, logits = kl.Categorical(probs=p), kl.Categorical(logits=np.log(q) + 3)
    expected = kl.pairwise(p, q, divergence)
    np.testing.assert_allclose(kl.pairwise(weights, logits, divergence), expected, rtol=1e-11)
    weights, logits = kl.Categorical(logits=np.log(p) + 3), kl.Categorical(probs=q)
    np.testing.assert_allclose(kl.pairwise(weights, logits, divergence), expected, rtol=1e-11)
