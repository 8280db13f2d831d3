"""Families through the public functions: values of the kernels, exact searches, relatives of Renyi's, errors."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

import klfast as kl
from klfast import distributions as d
from klfast import reference_families as reference
from klfast.quadrature import kl_scipy


def batches(rng, n=70, near=None):
    """One batch of each family, of rows far apart or `near` each other."""
    def real(size=n):
        return rng.normal(size=size) if near is None else 1 + near * rng.normal(size=size)

    def positive(size=n):
        return np.exp(real(size))

    def probability(size=n):
        return 1 / (1 + positive(size))

    L = np.tril(0.3 * real((n, 3, 3)), -1) + np.eye(3) * positive((n, 1, 3))
    mu = real((n, 4)) if near is None else np.eye(4)[0] + near * rng.normal(size=(n, 4))
    yield from (cls(real(), positive()) for cls in (d.Normal, d.LogNormal, d.VonMises))
    yield from (cls(positive()) for cls in (d.HalfNormal, d.Rayleigh, d.Poisson, d.Exponential, d.Chi2))
    yield from (cls(positive(), positive()) for cls in (d.Gamma, d.InverseGamma, d.Beta, d.InverseGaussian))
    yield from (d.Bernoulli(probability()), d.Bernoulli(logits=real()), d.Geometric(probability()))
    yield from (d.Binomial(7, probability()), d.NegativeBinomial(2.5, probability()), d.Dirichlet(positive((n, 5))))
    yield from (d.Laplace(1.0, positive()), d.Laplace(real(), positive()), d.Gumbel(real(), 2.0))
    yield from (d.Weibull(positive(), 1.5), d.Pareto(2.0, positive()))
    yield d.DiagNormal(real((n, 6)), positive((n, 6)))
    yield d.MultivariateNormal(real((n, 3)), scale_tril=L)
    yield d.Wishart(3 + positive(), scale_tril=L)
    yield d.VonMisesFisher(mu / np.linalg.norm(mu, axis=1, keepdims=True), positive())
    yield d.Cauchy(real(), positive())
    low = real()
    yield d.Uniform(low, low + positive())


BATCHES = list(batches(np.random.default_rng(5)))
NAMES = [f"{type(x).__name__}-{i}" for i, x in enumerate(BATCHES)]
each_family = pytest.mark.parametrize("P", BATCHES, ids=NAMES)


def row_by_row(P, divergence):
    """All pairs by rowwise: two batches that broadcast against each other."""
    rows = kl.distributions.Parameters(P).values
    p, q = kl.distributions.Parameters(P), kl.distributions.Parameters(P)
    p.values, q.values = rows[:, None], rows[None]
    return kl.rowwise(p, q, divergence)


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "jeffreys", "bhattacharyya", "hellinger", "renyi:0.3",
                                        "renyi:1.5", "chi2"])
@each_family
def test_every_question_agrees_with_rowwise(P, divergence):
    if isinstance(P, d.Cauchy) and divergence not in ("kl", "reverse_kl", "jeffreys"):
        with pytest.raises(ValueError, match="is not available for Cauchy"):
            kl.pairwise(P, divergence=divergence)
        return
    exact = row_by_row(P, divergence)
    n = len(P)
    assert (exact.diagonal() == 0).all() and (exact[~np.eye(n, dtype=bool)] > 0).all()
    assert np.isfinite(exact).sum() > 1.5 * n or (isinstance(P, d.Uniform) and divergence == "jeffreys")
    np.testing.assert_allclose(kl.pairwise(P, P, divergence), exact, rtol=1e-12)
    with np.errstate(over="ignore"):
        rounded = np.float32(exact)
    np.testing.assert_allclose(kl.pairwise(P, divergence=divergence, dtype=np.float32), rounded, rtol=2e-5)
    np.testing.assert_allclose(kl.reduce(P, P, "mean", divergence), exact.mean(axis=1), rtol=1e-11)
    np.testing.assert_allclose(np.concatenate(list(kl.pairwise_chunked(P, P, divergence))), exact, rtol=1e-12)
    index = kl.Index(P, divergence)
    order = np.lexsort((np.broadcast_to(np.arange(n), exact.shape), exact), axis=1)[:, :5]
    values, columns = index.kneighbors(P, 5)
    np.testing.assert_array_equal(values, np.take_along_axis(exact, order, 1))
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(index.nearest()[0], np.where(np.eye(n, dtype=bool), np.inf, exact).min(axis=1))
    radius = float(np.median(exact[np.isfinite(exact)]))
    within = index.radius_neighbors(P, radius).toarray()
    np.testing.assert_array_equal(within, np.where(exact <= radius, exact, 0))
    if divergence in ("jeffreys", "bhattacharyya", "hellinger"):
        np.testing.assert_array_equal(exact, exact.T)


@pytest.mark.parametrize("near", [1e-3, 1e-9])
def test_product_form_is_certified_for_near_rows(near):
    for P in batches(np.random.default_rng(6), 40, near):
        for divergence in ("kl", "jeffreys"):
            exact = row_by_row(P, divergence)
            np.testing.assert_allclose(kl.pairwise(P, P, divergence), exact, rtol=1e-11, err_msg=repr(P))


def test_far_from_the_origin(rng):
    P = d.DiagNormal(1e6 + rng.normal(size=(80, 5)), np.exp(0.1 * rng.normal(size=(80, 5))))
    np.testing.assert_allclose(kl.pairwise(P, P), row_by_row(P, "kl"), rtol=1e-12)


def test_relations_of_the_powers(rng):
    P, Q = d.Gamma(np.exp(rng.normal(size=9)), 1.0), d.Gamma(2.0, np.exp(rng.normal(size=9)))
    b = kl.rowwise(P, Q, "bhattacharyya")
    np.testing.assert_allclose(kl.rowwise(P, Q, "renyi:0.5"), 2 * b, rtol=1e-15)
    np.testing.assert_allclose(kl.rowwise(P, Q, "squared_hellinger"), -np.expm1(-b), rtol=1e-15)
    np.testing.assert_allclose(kl.rowwise(P, Q, "chernoff:0.3"), kl.rowwise(Q, P, "chernoff:0.7"), rtol=1e-14)
    C = kl.rowwise(P, Q, "chernoff:0.3")
    np.testing.assert_allclose(kl.rowwise(P, Q, "renyi:0.3"), C / 0.7, rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(P, Q, "tsallis:0.3"), -np.expm1(-C) / 0.7, rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(P, Q, "alpha:0.4"), -np.expm1(-C) * 4 / (1 - 0.4**2), rtol=1e-14)


def test_relations_above_order_1(rng):
    P, Q = d.Gamma(3 + rng.uniform(size=9), 2.0), d.Gamma(3.0, 2 + rng.uniform(size=9))
    two = kl.rowwise(P, Q, "renyi:2")
    assert np.isfinite(two).all()
    np.testing.assert_allclose(kl.rowwise(P, Q, "chi2"), np.expm1(two), rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(Q, P, "neyman_chi2"), np.expm1(two), rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(P, Q, "tsallis:2"), np.expm1(two), rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(P, Q, "alpha:-3"), np.expm1(two) / 2, rtol=1e-14)
    np.testing.assert_allclose(kl.rowwise(Q, P, "alpha:3"), np.expm1(two) / 2, rtol=1e-14)
    orders = [0.5, 1 - 2**-40, 1.0, 1 + 2**-40, 1.2, 2.0, 4.0]
    values = np.array([kl.rowwise(P, Q, kl.Renyi(order)) for order in orders])
    assert (np.diff(values, axis=0) >= 0).all()
    np.testing.assert_allclose(values[[1, 3]], values[[2, 2]], rtol=1e-11)  # order 1 is KL


@pytest.mark.parametrize("divergence", ["kl", "jeffreys", "renyi:0.3", "renyi:1.5"])
@each_family
def test_equal_rows_tie_by_index(P, divergence):
    if isinstance(P, d.Cauchy) and divergence.startswith("renyi"):
        with pytest.raises(ValueError, match="is not available for Cauchy"):
            kl.kneighbors(P, k=2, divergence=divergence)
        return
    picked = np.random.default_rng(3).integers(0, 25, 90)  # each row three or four times
    rows = type(P)(**{name: x[picked] if x.shape[:1] == (70,) else x for name, x in P.values.items()})
    copies = picked[:, None] == picked[None]
    assert copies.sum() > 4 * 90
    exact = row_by_row(rows, divergence)
    np.testing.assert_array_equal(exact == 0, copies)
    np.testing.assert_array_equal(kl.pairwise(rows, rows, divergence) == 0, copies)
    order = np.lexsort((np.broadcast_to(np.arange(90), exact.shape), exact), axis=1)[:, :8]
    values, columns = kl.kneighbors(rows, rows, 8, divergence=divergence)
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(values, np.take_along_axis(exact, order, 1))
    others = np.where(np.eye(90, dtype=bool), np.nan, exact)
    values, columns = kl.nearest(rows, divergence=divergence)
    np.testing.assert_array_equal(columns, np.nanargmin(others, axis=1))
    np.testing.assert_array_equal(values, np.nanmin(others, axis=1))


ONE_DISTRIBUTION = {
    "uniform on the circle": d.VonMises([0.5, -2.0, 0.5 + 2 * np.pi], 0.0),
    "uniform angles": d.VonMises([[0.5, 1.0], [2.0, 1.0]], [[0.0, 3.0], [0.0, 3.0]], event_ndim=1),
    "uniform on the sphere": d.VonMisesFisher(np.eye(3), 0.0),
    "parallel directions": d.VonMisesFisher([[0.0, 1.0, 0.0], [0.0, 1.0 + 1e-7, 0.0], [0.0, 1.0 - 5e-7, 0.0]], 4.0),
    "multiples": d.VonMisesFisher(np.outer([1.0, 1 + 2.0**-21, 1 - 2.0**-21], np.float32([0.6, 0, 0.8])), 1e9),
    "signs of 0": d.Normal([0.0, -0.0], 1.0),
}


@pytest.mark.parametrize("divergence", ["kl", "jeffreys", "hellinger", "renyi:2"])
@pytest.mark.parametrize("P", ONE_DISTRIBUTION.values(), ids=list(ONE_DISTRIBUTION))
def test_other_parameters_of_one_distribution(P, divergence):
    exact = row_by_row(P, divergence)
    assert (exact == 0).all() and not np.signbit(exact).any()
    np.testing.assert_array_equal(kl.pairwise(P, divergence=divergence), exact)
    values, columns = kl.kneighbors(P, P, 2, divergence=divergence)
    assert (values == 0).all() and (columns == [0, 1]).all()  # ties by index


def test_angles_that_differ_by_a_turn():
    """No float is 2 pi: these are near, not equal."""
    P, Q = d.VonMises(1.0, 3.0), d.VonMises(1.0 + 2 * np.pi, 3.0)
    expected = float(reference.kl("von_mises", P.parameters()[0], Q.parameters()[0]))
    assert 0 < expected < 1e-30 and kl.rowwise(P, Q) == pytest.approx(expected, rel=1e-13)


def test_errors(rng):
    normal = d.Normal(np.zeros(3), 1.0)
    for name in ("js", "js_distance", "triangular", "total_variation", "cross_entropy", "generalized_kl"):
        with pytest.raises(ValueError, match="is not available for Normal"):
            kl.pairwise(normal, divergence=name)
    with pytest.raises(ValueError, match="needs one scale in common"):
        kl.pairwise(d.Gumbel(0.0, np.arange(1.0, 4.0)), divergence="hellinger")
    with pytest.raises(ValueError, match="within a family"):
        kl.pairwise(normal, d.Cauchy(np.zeros(3), 1.0))
    with pytest.raises(ValueError, match="one family"):
        kl.pairwise(normal, np.full((3, 2), 0.5))


@each_family
def test_entropy(P):
    values = kl.entropy(P)
    assert values.shape == (70,) and np.isfinite(values).all()


@pytest.mark.parametrize("P", [BATCHES[i] for i in (0, 8, 17, 24)], ids=lambda P: type(P).__name__)
def test_instruction_sets(isa, P):
    np.testing.assert_allclose(kl.pairwise(P, P), row_by_row(P, "kl"), rtol=1e-12)


def test_frozen_distributions_of_scipy():
    p, q = scipy.stats.norm(0, 1), scipy.stats.norm(1, 2)
    assert kl.rowwise(p, q) == kl.rowwise(d.Normal(0, 1), d.Normal(1, 2))
    assert kl.rowwise(p, q, "hellinger") == kl.rowwise(d.Normal(0, 1), d.Normal(1, 2), "hellinger")
    t = scipy.stats.t(5)
    forth, back = kl_scipy(p, t).value, kl_scipy(t, scipy.stats.cauchy()).value
    assert kl.rowwise(p, t) == forth and kl.rowwise(scipy.stats.cauchy(), t, "reverse_kl") == back
    assert kl.rowwise(p, t, base=2) == pytest.approx(forth / np.log(2), rel=1e-15)
    with pytest.raises(ValueError, match="are integrated"):
        kl.rowwise(p, t, "hellinger")


def test_families_have_no_contributions():
    with pytest.raises(ValueError, match="Normal has no bins"):
        kl.contributions(kl.Normal(0.0, 1.0), kl.Normal(1.0, 1.0))
