"""Families without a product form through the public functions: tiles of terms summed over coordinates."""

from __future__ import annotations

import numpy as np
import pytest

import klfast as kl
from klfast import _engine, plan
from klfast import reference_families as reference

CLASSES = {"laplace": kl.Laplace, "gumbel": kl.Gumbel, "weibull": kl.Weibull, "pareto": kl.Pareto, "cauchy": kl.Cauchy,
           "uniform": kl.Uniform}
# Both are of a few units in the last place, but for the exponential in Gumbel's and Weibull's (docs/families.md).
RTOL = {name: 5e-15 for name in CLASSES} | {"gumbel": 5e-14, "weibull": 5e-14}
each_family = pytest.mark.parametrize("name", CLASSES)


def parameters(name, rng, n, d, spread=0.5, reach=0.0):
    """(n, 2, d) parameters around one member; `reach` widens the support of Uniform and Pareto."""
    a, b = 1.5 + spread * rng.uniform(-1, 1, (n, d)), np.exp(spread * rng.uniform(-1, 1, (n, d)))
    if name == "pareto":
        a -= 0.4 * reach
    if name == "uniform":
        a, b = a - reach, 4 + b + reach
    return np.stack([a, b], axis=1)


def batch(name, rows):
    return CLASSES[name](rows[:, 0], rows[:, 1], event_ndim=1)


def row_by_row(name, p, q, divergence="kl"):
    return kl.rowwise(batch(name, np.repeat(p, len(q), axis=0)), batch(name, np.tile(q, (len(p), 1, 1))),
                      divergence).reshape(len(p), len(q))


@each_family
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "jeffreys"])
@pytest.mark.parametrize("n, m, d", [(3, 70, 1), (40, 33, 8), (5, 9, 9), (2, 20, 300)])
def test_all_pairs_agree_with_rowwise(name, divergence, n, m, d, rng):
    """They add up the same terms, of several coordinates in another order."""
    for spread in (1.0, 1e-2, 1e-9):
        p, q = parameters(name, rng, n, d, spread), parameters(name, rng, m, d, spread, reach=spread)
        index = kl.Index(batch(name, q), divergence)
        rows = row_by_row(name, p, q, divergence)
        np.testing.assert_allclose(index.pairwise(batch(name, p)), rows, rtol=0 if d == 1 else 2e-15)
        assert index.info["recomputed"] == 0
        single = index.pairwise(batch(name, p), dtype=np.float32)
        np.testing.assert_array_equal(single, index.pairwise(batch(name, p)).astype(np.float32))


@each_family
def test_values_on_every_instruction_set(name, isa, rng):
    """Against the specification, from far apart to 1e-9 of each other."""
    for spread in (1.0, 1e-3, 1e-9):
        p, q = parameters(name, rng, 4, 1, spread), parameters(name, rng, 5, 1, spread, reach=spread)
        values = kl.pairwise(batch(name, p), batch(name, q))
        for i in range(4):
            for j in range(5):
                exact = float(reference.kl(name, p[i, :, 0], q[j, :, 0]))
                assert values[i, j] == pytest.approx(exact, rel=RTOL[name], abs=0) or exact == values[i, j] == np.inf


@pytest.mark.parametrize("name", ["gumbel", "weibull"])
def test_shapes_of_any_ratio(name, rng):
    """Polynomial and Stirling's series of log Gamma meet at a ratio of 6; beyond 64 the direct form has the pair."""
    ratios = np.concatenate([np.geomspace(1e-4, 150, 400), 6 + np.linspace(-1e-6, 1e-6, 7), 64 + np.linspace(-1, 1, 9)])
    q = np.stack([np.full_like(ratios, 2.0), 1 / ratios if name == "gumbel" else ratios], axis=1)[:, :, None]
    p = np.array([2.5, 1.0])[None, :, None]
    exact = [float(reference.kl(name, p[0, :, 0], row[:, 0])) for row in q]
    np.testing.assert_allclose(kl.pairwise(batch(name, p), batch(name, q))[0], exact, rtol=5e-14)
    np.testing.assert_array_equal(kl.pairwise(batch(name, p), batch(name, q)), row_by_row(name, p, q))


@each_family
def test_out_of_reach_is_direct(name, rng):
    """Parameters beyond 2^+-200 and terms beyond the limits."""
    p = parameters(name, rng, 6, 2)
    q = p.copy()
    q[0, 1, 0] *= 2.0**210
    q[1, 1, 1] *= 2.0**199
    q[2, 0, 0] += 1e5 if name != "pareto" else 0
    if name == "uniform":
        q[:, 0] -= 1e40
    exact = [[float(reference.kl(name, a.ravel(), b.ravel())) for b in q] for a in p]
    index = kl.Index(batch(name, q))
    np.testing.assert_allclose(index.pairwise(batch(name, p)), exact, rtol=RTOL[name])
    np.testing.assert_allclose(index.pairwise(batch(name, p)), row_by_row(name, p, q), rtol=2e-15)
    assert index.info["recomputed"] >= 6




@each_family
def test_zero_only_for_equal_rows(name, rng):
    p = parameters(name, rng, 90, 3)
    q = p.copy()
    q[0, 1, 2] = np.nextafter(q[0, 1, 2], np.inf)
    values = kl.pairwise(batch(name, p), batch(name, q))
    assert values[0, 0] > 0 and str(values[1, 1]) == "0.0" and (values.diagonal()[1:] == 0).all()
    assert (values[~np.eye(90, dtype=bool)] > 0).all()


@pytest.mark.parametrize("name", ["uniform", "pareto"])
def test_infinite_off_the_support(name, rng):
    p, q = parameters(name, rng, 40, 3), parameters(name, rng, 70, 3)
    q[::2, 0] -= 0.8
    q[::4, 1] += 0.8
    exact = row_by_row(name, p, q)
    assert 0.05 < np.isinf(exact).mean() < 0.95
    np.testing.assert_allclose(kl.pairwise(batch(name, p), batch(name, q)), exact, rtol=RTOL[name])
    values, columns = kl.kneighbors(batch(name, p), batch(name, q), 40)
    order = np.lexsort((np.broadcast_to(np.arange(70), exact.shape), exact), axis=1)[:, :40]
    np.testing.assert_array_equal(values, np.take_along_axis(exact, order, 1))
    np.testing.assert_array_equal(columns[np.isfinite(values)], order[np.isfinite(values)])


@each_family
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "jeffreys"])
def test_searches_are_exact_and_screened(name, divergence, rng):
    p, q = parameters(name, rng, 30, 4), parameters(name, rng, 600, 4, reach=1.0)
    q[::5, 1] *= 1 + 1e-13  # ties but for the last digits
    exact = row_by_row(name, p, q, divergence)
    index = kl.Index(batch(name, q), divergence)
    values, columns = index.kneighbors(batch(name, p), 5)
    order = np.argsort(exact, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(values, np.take_along_axis(exact, order, 1))
    if np.isfinite(values).all():
        np.testing.assert_array_equal(columns, order)
        assert index.info["candidates"] < 0.5 * exact.size
    radius = float(np.quantile(exact[np.isfinite(exact)], 0.1)) if np.isfinite(exact).any() else 1.0
    within = index.radius_neighbors(batch(name, p), radius)
    np.testing.assert_array_equal(within.toarray(), np.where(exact <= radius, exact, 0))


@each_family
def test_bits_depend_on_the_pair_alone(name, each_isa, rng):
    p, q = parameters(name, rng, 37, 11), parameters(name, rng, 200, 11, reach=0.5)
    whole = kl.pairwise(batch(name, p), batch(name, q), n_jobs=2)
    np.testing.assert_array_equal(kl.pairwise(batch(name, p), batch(name, q), n_jobs=1), whole)
    np.testing.assert_array_equal(kl.pairwise(batch(name, p[5:9]), batch(name, q[50:77])), whole[5:9, 50:77])
    np.testing.assert_array_equal(kl.pairwise(batch(name, q), batch(name, p), "reverse_kl"), whole.T)
    both = kl.pairwise(batch(name, q), batch(name, p), "jeffreys")
    np.testing.assert_array_equal(kl.pairwise(batch(name, p), batch(name, q), "jeffreys"), both.T)
    for isa, values in each_isa(lambda: kl.pairwise(batch(name, p), batch(name, q))).items():
        np.testing.assert_array_equal(values, whole, err_msg=isa)


@pytest.mark.parametrize("name, common", [("laplace", 0), ("pareto", 0), ("weibull", 1)])
def test_columns_that_share_the_parameter_keep_the_product(name, common, rng):
    q = parameters(name, rng, 50, 3)
    shape = kl.Index(batch(name, q))._reference.form.shape
    assert shape == _engine.SUM_FAMILY
    q[:, common] = q[0, common]
    index = kl.Index(batch(name, q))
    assert index._reference.form.shape == _engine.PRODUCT
    p = parameters(name, rng, 20, 3)  # and rows that do not share it are right, too
    p[:10, common] = q[0, common]
    np.testing.assert_allclose(index.pairwise(batch(name, p)), row_by_row(name, p, q), rtol=1e-12)


def test_tolerances_below_the_bound_are_met_by_the_direct_form(rng):
    p, q = parameters("gumbel", rng, 9, 4), parameters("gumbel", rng, 12, 4)
    index = kl.Index(batch("gumbel", q))
    np.testing.assert_array_equal(index.pairwise(batch("gumbel", p), rtol=1e-13), row_by_row("gumbel", p, q))
    assert index.info["recomputed"] == 9 * 12 and plan.term_certificate(12).slack > 1e-13
