"""Fitting, moments and barycenters."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from family_library import families  # noqa: F401 (a fixture)

from klfast import distributions as d
from klfast.exponential import COMMON, COORDINATES
from klfast.fit import barycenter, fit, from_moments, full_parameters

N = 4000


def test_frequencies_are_kept_exactly():
    assert fit(d.Bernoulli, [1, 0], weights=[0.6, 0.4]).probs == 0.6
    assert fit("bernoulli", [1] * 6 + [0] * 4).probs == 0.6
    assert fit(d.Binomial, [3, 3], total_count=5).probs == 0.6


SAMPLES = {
    d.Normal: scipy.stats.norm(3, 2), d.LogNormal: scipy.stats.lognorm(0.5, scale=2),
    d.HalfNormal: scipy.stats.halfnorm(scale=2),
    d.Rayleigh: scipy.stats.rayleigh(scale=2), d.Laplace: scipy.stats.laplace(1, 2),
    d.Gumbel: scipy.stats.gumbel_r(1, 2),
    d.Uniform: scipy.stats.uniform(1, 3), d.Exponential: scipy.stats.expon(scale=0.5),
    d.Gamma: scipy.stats.gamma(2.5, scale=0.5),
    d.InverseGamma: scipy.stats.invgamma(3.5, scale=2), d.Chi2: scipy.stats.chi2(3.5), d.Beta: scipy.stats.beta(2, 0.7),
    d.InverseGaussian: scipy.stats.invgauss(0.5, scale=2), d.Pareto: scipy.stats.pareto(3.0, scale=2),
    d.Weibull: scipy.stats.weibull_min(1.7, scale=2), d.VonMises: scipy.stats.vonmises(2.0, 1),
    d.Poisson: scipy.stats.poisson(3), d.Geometric: scipy.stats.geom(0.3, loc=-1), d.Cauchy: scipy.stats.cauchy(1, 2),
}


def log_likelihood(cls, parameters, X):
    """Mean log density of X under scipy's version of the family."""
    s = scipy.stats
    a = parameters
    frozen = {
        d.Normal: lambda: s.norm(a[0], a[1]), d.LogNormal: lambda: s.lognorm(a[1], scale=np.exp(a[0])),
        d.HalfNormal: lambda: s.halfnorm(scale=a[0]), d.Rayleigh: lambda: s.rayleigh(scale=a[0]),
        d.Laplace: lambda: s.laplace(a[0], a[1]), d.Gumbel: lambda: s.gumbel_r(a[0], a[1]),
        d.Exponential: lambda: s.expon(scale=1 / a[0]), d.Gamma: lambda: s.gamma(a[0], scale=1 / a[1]),
        d.InverseGamma: lambda: s.invgamma(a[0], scale=a[1]), d.Chi2: lambda: s.chi2(a[0]),
        d.Beta: lambda: s.beta(a[0], a[1]), d.InverseGaussian: lambda: s.invgauss(a[0] / a[1], scale=a[1]),
        d.Weibull: lambda: s.weibull_min(a[1], scale=a[0]), d.VonMises: lambda: s.vonmises(a[1], a[0]),
        d.Poisson: lambda: s.poisson(a[0]), d.Geometric: lambda: s.geom(a[0], loc=-1),
        d.Cauchy: lambda: s.cauchy(a[0], a[1]),
    }[cls]()
    return np.mean(frozen.logpmf(X) if hasattr(frozen.dist, "pmf") else frozen.logpdf(X))


@pytest.mark.parametrize("cls", SAMPLES, ids=lambda c: c.__name__)
def test_no_neighbour_is_likelier(cls, rng):
    """The likelihood falls in every direction from the fit; a batch is fitted as its columns are."""
    X = SAMPLES[cls].rvs((N, 2), random_state=rng)
    both = fit(cls, X).parameters()
    one = fit(cls, X[:, 0]).parameters()[0]
    np.testing.assert_allclose(both[0], one, rtol=1e-9)
    if cls in (d.Uniform, d.Pareto):
        assert one[0] == X[:, 0].min()
        return
    best = log_likelihood(cls, one, X[:, 0])
    for k in range(len(one)):
        for factor in (0.99, 1.01):
            other = one.copy()
            other[k] *= factor
            assert log_likelihood(cls, other, X[:, 0]) < best
    given = fit(cls, X[:, 0], weights=np.ones(N)).parameters()[0] if cls is not d.Laplace else one
    np.testing.assert_allclose(given, one, rtol=1e-9)


def test_fits_of_vectors(rng):
    C = np.array([[2.0, 0.5], [0.5, 1.0]])
    X = rng.multivariate_normal([1, 2], C, 3000) + 1e6
    found = fit(d.MultivariateNormal, X)
    np.testing.assert_allclose(found.loc - 1e6, [1, 2], atol=0.2)
    np.testing.assert_allclose(found.covariance_matrix, np.cov(X.T, bias=True), rtol=1e-9)
    a = np.array([0.5, 2.0, 30.0])
    found = fit(d.Dirichlet, rng.dirichlet(a, 20_000)).concentration
    np.testing.assert_allclose(found, a, rtol=0.05)
    mu = np.array([0.6, 0.0, 0.8])
    found = fit(d.VonMisesFisher, scipy.stats.vonmises_fisher(mu, 20).rvs(5000, random_state=rng))
    np.testing.assert_allclose(found.loc, mu, atol=0.01)
    assert found.concentration == pytest.approx(20, rel=0.05)
    assert fit(d.DiagNormal, X).shape == (2,) and fit(d.DiagNormal, X).batch_shape == ()
    assert fit(d.NegativeBinomial, scipy.stats.nbinom(3, 0.4).rvs(N, random_state=rng), total_count=3).probs == \
        pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize("concentration", [0.5, 30.0, 700.0, 1e5])
@pytest.mark.parametrize("n", [2, 64, 768, 5000])
def test_directions_of_any_dimension(n, concentration):
    """Bessel functions of such orders are beyond the range of float64; their ratios are not."""
    P = d.VonMisesFisher(np.eye(n)[:1], concentration)
    for side in ("right", "left"):
        assert barycenter(P, side=side).concentration == pytest.approx(concentration, rel=1e-11)


@pytest.mark.parametrize("n", [3, 5, 20, 1000])
def test_cauchy_has_one_maximum(n, rng):
    """Both scores vanish, far from 0, too; and no other start of a search finds more."""
    X = scipy.stats.cauchy(1e6, 2).rvs((n, 30), random_state=rng)
    found = fit(d.Cauchy, X)
    z = (X - found.loc) / found.scale
    assert np.abs((z / (1 + z * z)).mean(axis=0)).max() < 1e-9  # locations of 1e6 have a grain of 1e-10
    assert np.abs((1 / (1 + z * z)).mean(axis=0) - 0.5).max() < 1e-9
    best = log_likelihood(d.Cauchy, (found.loc[0], found.scale[0]), X[:, 0])
    for loc in X[:6, 0]:
        for scale in (0.01, 0.3, 10.0):
            other = scipy.optimize.minimize(lambda t: -log_likelihood(d.Cauchy, (t[0], np.exp(t[1])), X[:, 0]),
                                            (loc, np.log(scale)), method="Nelder-Mead", options={"maxiter": 100})
            assert -other.fun <= best + 1e-12


def test_cauchy_with_weights_and_ties():
    np.testing.assert_allclose(fit(d.Cauchy, [1.0, 2, 3, 9], weights=[1, 2, 1, 1]).parameters(),
                               fit(d.Cauchy, [1.0, 2, 2, 3, 9]).parameters(), rtol=1e-12)
    for tied in ([1.0], [1.0, 2.0], [5.0] * 4, [1.0, 1.0, 2.0], [1.0, 1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="half of the observations or more are equal"):
            fit(d.Cauchy, tied)


@pytest.mark.parametrize("df", [3.2, 9.0, 2e4])
def test_wishart(df, rng):
    """The likelihood falls in every direction from the fit; a batch is fitted as its parts are; by moments, too."""
    V = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, 0.0], [0.1, 0.0, 3.0]])
    X = scipy.stats.wishart(df, V).rvs(600, random_state=rng)
    found = fit("wishart", X)
    row = found.parameters()[0]
    assert found.batch_shape == () and found.df == pytest.approx(df, rel=0.1)
    np.testing.assert_allclose(row, fit(d.Wishart, np.stack([X[::-1], X], axis=1)).parameters()[1], rtol=1e-9)
    np.testing.assert_allclose(row, fit(d.Wishart, X, weights=np.full(600, 0.3)).parameters()[0], rtol=1e-9)

    def likelihood(row):
        L = np.zeros((3, 3))
        L[np.tril_indices(3)] = row[1:]
        return scipy.stats.wishart(row[0], L @ L.T).logpdf(np.moveaxis(X, 0, -1)).mean()

    for k in range(len(row)):
        for step in (-0.01, 0.01):
            other = row.copy()
            other[k] += step * abs(row[1]) if k else step * row[0]
            assert likelihood(other) < likelihood(row)
    spread = V * V + np.outer(V.diagonal(), V.diagonal())
    again = from_moments("Wishart", np.stack([df * V] * 2), df * spread)
    np.testing.assert_allclose(again.df, df, rtol=1e-12)
    np.testing.assert_allclose((again.scale_tril @ np.swapaxes(again.scale_tril, 1, 2))[1], V, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("call, words", [
    (lambda: fit(d.Wishart, -np.ones((3, 2, 2))), "outside the support"),
    (lambda: fit(d.Wishart, [[[2.0, 1.0], [0.0, 2.0]]]), "outside the support"),
    (lambda: fit(d.Wishart, np.stack([np.eye(2)] * 3)), "df is inf"),
    (lambda: barycenter(d.Laplace([0, 1], 1)), r"loc of Laplace takes several values \(0 to 1\)"),
    (lambda: barycenter(d.Weibull([1, 1], [1, 2])), "concentration of Weibull takes several"),
    (lambda: barycenter(d.Binomial([3, 4], 0.5)), "total_count of Binomial takes several"),
    (lambda: barycenter(d.Gumbel([[0, 1], [2, 3]], [[1, 1], [1, 2]], event_ndim=1)), r"\(1 to 2\)"),
    (lambda: barycenter(d.Uniform([0, 1], 2)), "not an exponential family"),
    (lambda: fit(d.Gamma, [1.0, -1.0]), "outside the support"), (lambda: fit(d.Normal, []), "at least one"),
    (lambda: fit(d.Normal, [np.nan]), "finite"),
    (lambda: fit("norm", [1.0]), "unknown family"), (lambda: fit(d.Normal, [1.0, 2.0], weights=[1.0]), "weights"),
    (lambda: fit(d.Binomial, [1]), "total_count"), (lambda: from_moments(d.Cauchy, 0, 1), "cannot do Cauchy"),
    (lambda: from_moments(d.Gamma, 1, 0), "positive"), (lambda: barycenter(d.Normal(0, 1)), "one batch axis"),
    (lambda: barycenter(d.Cauchy([0, 1], 1)), "not an exponential family"),
    (lambda: barycenter(d.Normal([0, 1], 1), side="top"), "side"),
])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("name, frozen", [
    ("Normal", lambda p: scipy.stats.norm(*p)), ("Gamma", lambda p: scipy.stats.gamma(p[0], scale=1 / p[1])),
    ("Beta", lambda p: scipy.stats.beta(*p)), ("LogNormal", lambda p: scipy.stats.lognorm(p[1], scale=np.exp(p[0]))),
    ("InverseGamma", lambda p: scipy.stats.invgamma(p[0], scale=p[1])), ("Laplace", lambda p: scipy.stats.laplace(*p)),
    ("InverseGaussian", lambda p: scipy.stats.invgauss(p[0] / p[1], scale=p[1])),
    ("Gumbel", lambda p: scipy.stats.gumbel_r(*p)), ("Uniform", lambda p: scipy.stats.uniform(p[0], p[1] - p[0])),
    ("NegativeBinomial", lambda p: scipy.stats.nbinom(p[0], 1 - p[1])),
])
def test_moments(name, frozen):
    mean, variance = (3.0, 7.0) if name != "Beta" else (0.3, 0.02)
    found = frozen(from_moments(name, mean, variance).parameters()[0])
    assert found.mean() == pytest.approx(mean, rel=1e-12) and found.var() == pytest.approx(variance, rel=1e-10)


BATCHES = {
    "normal": lambda r: d.Normal(r.normal(size=5), np.exp(r.normal(size=5))),
    "log_normal": lambda r: d.LogNormal(r.normal(size=5), np.exp(r.normal(size=5))),
    "half_normal": lambda r: d.HalfNormal(np.exp(r.normal(size=5))),
    "rayleigh": lambda r: d.Rayleigh(np.exp(r.normal(size=5))),
    "poisson": lambda r: d.Poisson(np.exp(r.normal(size=5))), "bernoulli": lambda r: d.Bernoulli(r.uniform(size=5)),
    "bernoulli_logits": lambda r: d.Bernoulli(logits=r.normal(size=5)),
    "geometric": lambda r: d.Geometric(r.uniform(size=5)),
    "exponential": lambda r: d.Exponential(np.exp(r.normal(size=5))),
    "gamma": lambda r: d.Gamma(np.exp(r.normal(size=5)), np.exp(r.normal(size=5))),
    "inverse_gamma": lambda r: d.InverseGamma(np.exp(r.normal(size=5)), np.exp(r.normal(size=5))),
    "chi2": lambda r: d.Chi2(np.exp(r.normal(size=5))),
    "beta": lambda r: d.Beta(np.exp(r.normal(size=5)), np.exp(r.normal(size=5))),
    "dirichlet": lambda r: d.Dirichlet(np.exp(r.normal(size=(5, 3)))),
    "inverse_gaussian": lambda r: d.InverseGaussian(np.exp(r.normal(size=5)), np.exp(r.normal(size=5))),
    "von_mises": lambda r: d.VonMises(r.normal(size=5), np.exp(r.normal(size=5))),
    "von_mises_fisher": lambda r: d.VonMisesFisher(np.eye(3)[[0, 1, 2, 0, 1]], np.exp(r.normal(size=5))),
    "multivariate_normal": lambda r: d.MultivariateNormal(
        r.normal(size=(5, 2)), scale_tril=np.tril(np.exp(r.normal(size=(5, 2, 2))))),
    "wishart": lambda r: d.Wishart(1 + np.exp(r.normal(size=5)), scale_tril=np.tril(np.exp(r.normal(size=(5, 2, 2))))),
    "laplace": lambda r: d.Laplace(0.5, np.exp(r.normal(size=5))),
    "gumbel": lambda r: d.Gumbel(1e5 + r.normal(size=5), 2.0),
    "weibull": lambda r: d.Weibull(1e5 * np.exp(r.normal(size=5)), 80.0),
    "pareto": lambda r: d.Pareto(1.5, np.exp(r.normal(size=5))),
    "binomial": lambda r: d.Binomial(7, r.uniform(size=5)),
    "negative_binomial": lambda r: d.NegativeBinomial(2.5, r.uniform(size=5)),
}


def test_every_exponential_family_has_a_batch_here():
    assert set(BATCHES) == set(COORDINATES) | set(COMMON)


@pytest.mark.parametrize("name", COORDINATES)
def test_coordinates_there_and_back(name, rng):
    dists = BATCHES[name](rng)
    parameters = full_parameters(dists)
    c = COORDINATES[name]
    for there, back in ((c.to_mean, c.from_mean), (c.to_natural, c.from_natural)):
        for x, y in zip(parameters, back(*there(*parameters))):
            np.testing.assert_allclose(y, x, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("name", BATCHES)
def test_barycenter_is_the_minimum(name, side, rng, families):
    """No neighbour of the barycenter has a smaller weighted sum of divergences."""
    dists, weights = BATCHES[name](rng), rng.uniform(size=5)
    found = barycenter(dists, weights, side=side)
    assert type(found) is type(dists) and found.batch_shape == ()
    rows, center = dists.parameters(), found.parameters()[0]

    def cost(c):
        kl = families[name].kl
        return sum(w * (kl(row, c) if side == "right" else kl(c, row)) for w, row in zip(weights, rows))

    best = cost(center)
    shared = list(dists.values).index(COMMON[name][0]) if name in COMMON else None
    assert shared is None or (rows[:, shared] == center[shared]).all()
    for k in set(range(len(center))) - {shared}:
        for step in (-1e-3, 1e-3):
            other = center.copy()
            other[k] += step * max(abs(center[k]), 0.1)
            assert cost(other) >= best * (1 - 1e-12)


def test_barycenter_of_coordinates():
    """Each coordinate has its own common parameter."""
    found = barycenter(d.Laplace([[0, 5], [0, 5]], [[1, 2], [3, 4]], event_ndim=1))
    assert found.event_shape == (2,) and found.loc.tolist() == [0, 5] and found.scale.tolist() == [2, 3]
    left = barycenter(d.Binomial(4, [0.0, 0.5]), side="left")
    assert left.total_count == 4 and left.probs == 0


def test_barycenter_far_from_zero():
    found = barycenter(d.Normal([1e8, 1e8 + 2], 1e-3))
    assert found.loc == 1e8 + 1 and found.scale == pytest.approx(np.sqrt(1 + 1e-6), rel=1e-14)
    assert barycenter(d.Bernoulli([0.2, 1.0]), [0.5, 0.5]).probs == 0.6


def test_bhattacharyya_by_the_left_barycenter(families):
    """-log of the integral of p^a q^(1 - a) is a KL(r||p) + (1 - a) KL(r||q), r the left barycenter."""
    p, q = (1.0, 2.0), (0.0, 3.0)
    dists = d.Normal([p[0], q[0]], [p[1], q[1]])
    for a in (0.5, 0.2):
        r = barycenter(dists, [a, 1 - a], side="left").parameters()[0]
        value = sum(w * families["normal"].kl(r, row) for w, row in zip((a, 1 - a), dists.parameters()))
        mixed = a * q[1] ** 2 + (1 - a) * p[1] ** 2
        wanted = a * (1 - a) * (p[0] - q[0]) ** 2 / (2 * mixed) \
            + 0.5 * np.log(mixed) - (1 - a) * np.log(p[1]) - a * np.log(q[1])
        assert value == pytest.approx(wanted, rel=1e-14)
