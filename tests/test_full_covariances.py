"""MultivariateNormal and Wishart: any condition, many dimensions, triangles wherever they lie."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import klfast as kl
from klfast import reference_families as reference

FAMILIES = ["multivariate_normal", "wishart"]


def triangles(rng, n, d, condition, spread):
    """Scale matrices around one whose condition, as its covariance has it squared, is about the given one."""
    base = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(1, condition, d) ** 0.5
    L = np.linalg.cholesky(base @ base.T / np.trace(base @ base.T))
    L = L @ (np.eye(d) + spread / np.sqrt(d) * np.tril(rng.uniform(-1, 1, (n, d, d))))
    return L, (L @ rng.normal(size=(n, d, 1)))[..., 0] * spread


def batch(name, L, loc, spread, rng):
    if name == "multivariate_normal":
        return kl.MultivariateNormal(loc, scale_tril=L)
    return kl.Wishart(L.shape[-1] + 3.0 + spread * rng.uniform(0, 1, len(L)), scale_tril=L)


@cache  # the same for every instruction set
def pairs(name, d, condition, spread):
    rng = np.random.default_rng([d, int(condition), int(1 / spread)])
    P = batch(name, *triangles(rng, 4, d, condition, spread), spread, rng)
    rows = P.parameters()
    return P, np.array([[float(reference.kl(name, p, q)) for q in rows] for p in rows])


@pytest.mark.parametrize("spread", [0.5, 1e-2, 1e-6])
@pytest.mark.parametrize("condition", [1.0, 1e5, 1e10, 1e14])
@pytest.mark.parametrize("d", [2, 5, 9])
@pytest.mark.parametrize("name", FAMILIES)
def test_values_at_any_condition(name, d, condition, spread, isa):
    """A covariance of condition 1e14 costs no digit."""
    P, exact = pairs(name, d, condition, spread)
    for i in range(len(P)):
        np.testing.assert_allclose(kl.rowwise(P[i : i + 1], P), exact[i], rtol=3e-15)
    np.testing.assert_allclose(kl.pairwise(P), exact, rtol=1e-12)


@pytest.mark.parametrize("d", [3, 16, 24, 40, 64])
@pytest.mark.parametrize("name", FAMILIES)
def test_all_pairs_are_products(name, d, rng):
    """In many dimensions, too, the products' values are certified: none is computed pair by pair."""
    X = rng.normal(size=(2, 30, d, 3 * d))
    P, Q = (batch(name, np.linalg.cholesky(x @ x.transpose(0, 2, 1) / d), rng.normal(size=(30, d)), 1.0, rng) for x in X)
    index = kl.Index(Q)
    values = index.pairwise(P)
    exact = np.array([kl.rowwise(P, Q[j : j + 1]) for j in range(30)]).T
    assert index.info["recomputed"] == 0
    np.testing.assert_allclose(values, exact, rtol=1e-12)
    assert np.abs(values / exact - 1).max() < 1e-14
    np.testing.assert_array_equal(index.kneighbors(P, 4)[0], np.sort(exact, axis=1)[:, :4])


@pytest.mark.parametrize("order", [0.3, 0.5, 2.0])
def test_powers_at_any_condition(order, rng):
    """Renyi's divergence of two covariances with a factor in common does not depend on it."""
    L, loc = triangles(rng, 6, 5, 1.0, 0.1)
    common = np.linalg.cholesky(np.diag(np.geomspace(1, 1e12, 5)))
    plain = kl.pairwise(kl.MultivariateNormal(loc, scale_tril=L), divergence=kl.Renyi(order))
    scaled = kl.MultivariateNormal((common @ loc[..., None])[..., 0], scale_tril=common @ L)
    np.testing.assert_allclose(kl.pairwise(scaled, divergence=kl.Renyi(order)), plain, rtol=1e-13)


@pytest.mark.parametrize("name", FAMILIES)
def test_units_do_not_matter(name, isa, rng):
    """Scales near both ends of the range of float64 cost no bit."""
    L, loc = triangles(rng, 6, 5, 1e4, 0.5)
    P = batch(name, L, loc, 0.5, np.random.default_rng(1))
    for power in (-900, -400, 400, 1015):
        Q = batch(name, np.ldexp(L, power), np.ldexp(loc, power), 0.5, np.random.default_rng(1))
        for i in range(3):
            np.testing.assert_array_equal(kl.rowwise(Q[i : i + 1], Q), kl.rowwise(P[i : i + 1], P))
        np.testing.assert_allclose(kl.pairwise(Q), kl.pairwise(P), rtol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_triangles_are_read_where_they_lie(name, rng):
    L, loc = triangles(rng, 20, 5, 10.0, 0.3)
    P = batch(name, L, loc, 0.0, rng)
    assert np.shares_memory(P.parts()[1], P.scale_tril) and np.shares_memory(P[3:9].parts()[1], P.scale_tril)
    wide = np.zeros((40, 10, 10))
    wide[::2, ::2, ::2] = L
    for other in (wide[::2, ::2, ::2], np.asfortranarray(L), L[::-1][::-1]):
        Q = batch(name, other, loc, 0.0, rng)
        np.testing.assert_array_equal(kl.pairwise(Q), kl.pairwise(P))
        np.testing.assert_array_equal(kl.rowwise(Q, P), np.zeros(20))
    one = batch(name, np.broadcast_to(L[0], L.shape), loc, 0.0, rng)
    np.testing.assert_array_equal(kl.rowwise(one, P), kl.rowwise(batch(name, np.array([L[0]] * 20), loc, 0.0, rng), P))
    grid = batch(name, L.reshape(4, 5, 5, 5).swapaxes(0, 1).reshape(20, 5, 5), loc, 0.0, rng)
    assert kl.rowwise(grid, P).shape == (20,)
    if name == "multivariate_normal":
        square = kl.MultivariateNormal(loc.reshape(4, 5, 5), scale_tril=L.reshape(4, 5, 5, 5))
        np.testing.assert_array_equal(kl.rowwise(square, square[::-1]), kl.rowwise(P, P[np.r_[15:20, 10:15, 5:10, :5]]).reshape(4, 5))
        np.testing.assert_array_equal(kl.rowwise(square[1, 2], square), kl.rowwise(P[7], P).reshape(4, 5))
