"""The nearest of few references: one screen of all of them, without the rows' offsets, in float32 or bytes."""

import numpy as np
import pytest
from clouds import LOGITS, NAMES, around, brute_force, operands
from named import FEW, takes

import klfast as kl
from klfast.reference import smallest

K = 40


def check(P, Q, k, divergence="kl"):
    exact = brute_force(P, Q, divergence)
    values, columns = kl.kneighbors(P, Q, k, divergence)
    expected = smallest(exact, k)
    np.testing.assert_array_equal(columns, expected[1])
    assert values.tobytes() == expected[0].tobytes()


@pytest.mark.parametrize("m", [1, 2, 16, 17, 31, 33])
@pytest.mark.parametrize("name", ["dirichlet-1", "dirichlet-0.05", "zero-ridden", "duplicates", "small-bins", "logits"])
def test_every_small_number_of_references(isa, name, m):
    P, Q = operands(name, 29, m)
    for k in {1, min(m, 2), min(m, 17), m}:
        check(P, Q, k)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in NAMES for d in
                                              ("kl", "cross_entropy", "generalized_kl") if takes(d, name in LOGITS)])
def test_as_many_as_the_bytes_take(isa, name, divergence):
    m = 40 if name.startswith("wide") else 330
    P, Q = operands(name, 15, m)
    for k in (1, 3):
        check(P, Q, k, divergence)


@pytest.mark.parametrize("divergence", FEW)
@pytest.mark.parametrize("name", ["dirichlet-1", "five-clouds-1e-2"])
def test_every_shape(isa, name, divergence):
    P, Q = operands(name, 13, 300)
    check(P, Q, 1, divergence)


@pytest.mark.parametrize("spread", [1e-6, 1e-9, 1e-12, 1e-15])
@pytest.mark.parametrize("divergence", ["kl", "cross_entropy"])
def test_rows_far_from_references_that_are_nearly_one(isa, divergence, spread):
    """The values differ by less than they are rounded: the order is that of the rounded ones, which the screen must let
    through though its own bounds, without the offset, are far smaller."""
    rng = np.random.default_rng(3)
    P = rng.dirichlet(np.full(K, 0.05), 25) + 1e-9
    Q = around(rng, rng.dirichlet(np.ones(K)), 300, spread)
    P, Q = kl.Categorical(counts=P), kl.Categorical(counts=Q)
    for k in (1, 4):
        check(P, Q, k, divergence)


@pytest.mark.parametrize("m", [16, 300])
def test_rows_that_no_reference_supports(isa, m):
    """Infinitely far from all: the first reference; among rows that are not, and references with and without zeros."""
    rng = np.random.default_rng(4)
    P, Q = rng.dirichlet(np.ones(K), 30), rng.dirichlet(np.ones(K), m)
    Q[:, 5] = 0
    P[::2, 5] = 0
    for zeros in (False, True):
        Q[::3, 7] *= 1 - zeros
        P[::4, 7] *= 1 - zeros
        check(kl.Categorical(counts=P), kl.Categorical(counts=Q), 1)
    values, columns = kl.nearest(kl.Categorical(counts=P), kl.Categorical(counts=Q))
    assert np.isinf(values[1::2]).all() and (columns[1::2] == 0).all() and np.isfinite(values[::4]).all()


def test_bytes_that_leave_many_give_way_to_floats():
    """References in tight groups lie within the bytes' bound of each other: their exact values would take too long."""
    rng = np.random.default_rng(5)
    centers = rng.dirichlet(np.ones(K), 5)
    groups = np.concatenate([around(rng, c, 200, 3e-2) for c in centers])
    index = kl.Index(groups)
    P = np.concatenate([around(rng, c, 100, 3e-2) for c in centers])
    np.testing.assert_array_equal(index.nearest(P)[1], kl.pairwise(P, groups).argmin(axis=1))
    assert index.info["candidates"] < 10 * len(P)


@pytest.mark.parametrize("m", [16, 150, 300, 1000])
def test_parts_of_rows_and_threads_agree(all_threads, m):
    rng = np.random.default_rng(6)
    P, Q = rng.dirichlet(np.ones(K), 700), rng.dirichlet(np.ones(K), m)
    values, columns = kl.nearest(P, Q, n_jobs=1)
    again = [kl.nearest(P[a:a + 37], Q, n_jobs=2) for a in range(0, 700, 37)]
    assert values.tobytes() == np.concatenate([x[0] for x in again]).tobytes()
    np.testing.assert_array_equal(columns, np.concatenate([x[1] for x in again]))
