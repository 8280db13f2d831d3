"""The families as classes: shapes, validation, agreement with torch.distributions and with quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from family_library import families  # noqa: F401 (a fixture)

import klfast
from klfast import distributions as d
from klfast.quadrature import from_scipy, kl_scipy

SPD = np.array([[2.0, 0.5], [0.5, 1.0]])


def kl(families, P, Q):
    """rowwise KL of two batches by the C kernels."""
    assert P.family == Q.family
    family = families[P.family]
    return np.array([family.kl(p, q) for p, q in zip(P.parameters(), Q.parameters())])


@pytest.mark.parametrize("dist, batch, event, K", [
    (d.Normal(0.0, [1.0, 2.0]), (2,), (), 2), (d.Normal(np.zeros((3, 1)), np.ones(4)), (3, 4), (), 2),
    (d.DiagNormal(np.zeros((3, 4)), 1.0), (3,), (4,), 8), (d.Poisson(np.ones((2, 5)), event_ndim=1), (2,), (5,), 5),
    (d.Gamma(1.0, 2.0), (), (), 2), (d.Dirichlet(np.ones((2, 3))), (2,), (3,), 3),
    (d.MultivariateNormal(np.zeros((3, 2)), SPD), (3,), (2,), 5), (d.Wishart([3.0, 4.0], SPD), (2,), (2, 2), 4),
    (d.VonMisesFisher(np.eye(3), 2.0), (3,), (3,), 4), (d.Binomial(5, [0.5, 0.25]), (2,), (), 2),
])
def test_shapes(dist, batch, event, K):
    assert (dist.batch_shape, dist.event_shape, dist.shape) == (batch, event, batch + event)
    rows = dist.parameters()
    assert rows.shape == (int(np.prod(batch)), K) and rows.dtype == np.float64 and rows.flags.c_contiguous
    assert type(dist).__name__ in repr(dist)


def test_layouts():
    assert d.DiagNormal([[1, 2], [3, 4]], [5, 6]).parameters().tolist() == [[1, 2, 5, 6], [3, 4, 5, 6]]
    L = np.array([[1.0, 0, 0], [2, 3, 0], [4, 5, 6]])
    assert d.MultivariateNormal([7, 8, 9], scale_tril=L).parameters().tolist() == [[7, 8, 9, 1, 2, 3, 4, 5, 6]]
    assert d.Wishart(5, scale_tril=L).parameters().tolist() == [[5, 1, 2, 3, 4, 5, 6]]
    assert d.VonMisesFisher([0, 1], [2, 3]).parameters().tolist() == [[0, 1, 2], [0, 1, 3]]
    assert d.Normal(np.float32(0.1), 1).single is False and d.Poisson(np.float32([0.1])).single


def test_three_matrices_are_one_distribution():
    L = np.linalg.cholesky(SPD)
    rows = [d.MultivariateNormal([0.0, 1.0], **{name: matrix}).parameters() for name, matrix in (
        ("scale_tril", L), ("covariance_matrix", SPD), ("precision_matrix", np.linalg.inv(SPD)))]
    np.testing.assert_allclose(rows[1], rows[0], rtol=1e-15)
    np.testing.assert_allclose(rows[2], rows[0], rtol=1e-14)
    np.testing.assert_allclose(d.MultivariateNormal([0.0, 1.0], SPD).covariance_matrix, SPD, rtol=1e-15)


@pytest.mark.parametrize("make, words", [
    (lambda: d.Normal(0, [1, 2, -3]), r"Normal: scale\[2\] is -3; it must be positive"),
    (lambda: d.Normal([[0, np.nan]], 1), r"loc\[0, 1\] is nan; it must be a finite number"),
    (lambda: d.Gamma([-1, 0], 1), r"concentration\[0\] is -1 \(1 more like it\)"),
    (lambda: d.Normal([1, 2], [1, 2, 3]), r"do not broadcast: loc \(2,\), scale \(3,\)"),
    (lambda: d.Normal("one", 1), "loc does not convert"), (lambda: d.Normal(1j, 1), "loc does not convert"),
    (lambda: d.Normal(np.ma.masked_array([1.0, 2], [0, 1]), 1), "masked"),
    (lambda: d.Normal(1, 1, event_ndim=1), "at least one axis"), (lambda: d.Normal(1, 1, event_ndim=2), "event_ndim"),
    (lambda: d.Bernoulli(), "exactly one of probs=, logits=; got none"),
    (lambda: d.Bernoulli([0.5], logits=[0.0]), "got probs, logits"), (lambda: d.Bernoulli(1.5), r"in \[0, 1\]"),
    (lambda: d.Geometric(0.0), r"in \(0, 1\]"), (lambda: d.NegativeBinomial(1, 1.0), r"in \[0, 1\)"),
    (lambda: d.Binomial(2.5, 0.5), "positive integer"),
    (lambda: d.Uniform([0, 1], [1, 1]), r"at \[1\] they are 1 and 1"),
    (lambda: d.Dirichlet([1.0]), "at least two"), (lambda: d.VonMisesFisher([1.0, 1.0], 1), "norm 1.414"),
    (lambda: d.VonMisesFisher([1.0], 1), "at least two"), (lambda: d.VonMisesFisher(np.eye(2), [1, 2, 3]), "broadcast"),
    (lambda: d.Wishart(1, SPD), "above the dimension less 1, 1"),
    (lambda: d.MultivariateNormal([0, 0]), "exactly one"),
    (lambda: d.MultivariateNormal([0, 0, 0], SPD), "does not fit"),
    (lambda: d.MultivariateNormal([0, 0], -SPD), "not positive definite"),
    (lambda: d.MultivariateNormal([0, 0], [[1, 2], [0, 1]]), "not symmetric"),
    (lambda: d.MultivariateNormal([0, 0], scale_tril=SPD), "above the diagonal"),
    (lambda: d.MultivariateNormal([0, 0], scale_tril=np.diag([1, -1])), "diagonal of scale_tril"),
    (lambda: d.MultivariateNormal([0, 0], np.ones((2, 3))), "square"),
])
def test_errors_say_what_and_where(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_what_can_be_compared():
    P, Q = d.comparable(d.Bernoulli([0.5, 0.25]), d.Bernoulli(logits=[0.0, 1.0]))
    assert P.family == Q.family == "bernoulli_logits" and P.logits[0] == 0
    assert d.comparable(d.DiagNormal(np.zeros((3, 2)), 1), d.Normal(np.zeros((5, 2)), 1, event_ndim=1))[1].shape == (5, 2)
    for bad, words in (((d.Normal(0, 1), d.Cauchy(0, 1)), "within a family"),
                       ((d.Dirichlet([1, 1]), d.Dirichlet([1, 1, 1])), "must agree"),
                       ((d.Binomial(3, 0.5), d.Binomial([3, 4], 0.5)), r"several values \(3 to 4\)"),
                       ((d.NegativeBinomial(3, 0.5), d.NegativeBinomial(2, 0.5)), "all are equal"),
                       ((d.Bernoulli([1.0]), d.Bernoulli(logits=[0.0])), "no finite logit")):
        with pytest.raises(ValueError, match=words):
            d.comparable(*bad)


def pairs_of(rng, n=6):
    """Two batches of each family that torch has, as (class name, torch arguments of P, of Q)."""
    def real():
        return rng.normal(size=n)

    def positive():
        return np.exp(rng.normal(size=n))

    def probability():
        return rng.uniform(0.05, 0.95, n)

    for name in ("Normal", "LogNormal", "Laplace", "Gumbel"):
        yield name, {"loc": real(), "scale": positive()}, {"loc": real(), "scale": positive()}
    yield "HalfNormal", {"scale": positive()}, {"scale": positive()}
    yield "Exponential", {"rate": positive()}, {"rate": positive()}
    yield "Poisson", {"rate": positive()}, {"rate": positive()}
    yield "Gamma", *({"concentration": positive(), "rate": positive()} for _ in range(2))
    yield "Beta", *({"concentration1": positive(), "concentration0": positive()} for _ in range(2))
    yield "Dirichlet", *({"concentration": np.exp(rng.normal(size=(n, 4)))} for _ in range(2))
    for name in ("Bernoulli", "Geometric"):
        yield name, {"probs": probability()}, {"probs": probability()}
    yield "Bernoulli", {"logits": real()}, {"logits": real()}
    yield "Binomial", *({"total_count": 7, "probs": probability()} for _ in range(2))
    yield "Pareto", *({"scale": np.full(n, 1.5), "alpha": positive()} for _ in range(2))
    low = real()
    yield "Uniform", {"low": low, "high": low + 1}, {"low": low - positive(), "high": low + 1 + positive()}
    yield "Cauchy", *({"loc": real(), "scale": positive()} for _ in range(2))
    yield "MultivariateNormal", *({"loc": rng.normal(size=(n, 2)), "covariance_matrix": SPD * positive()[:, None, None]}
                                  for _ in range(2))


def test_agreement_with_torch(families, rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    seen = set()

    def tensor(arguments):
        return {key: torch.as_tensor(x, dtype=torch.float64) for key, x in arguments.items()}

    for name, p, q in pairs_of(rng):
        cls = getattr(torch.distributions, name)
        theirs = torch.distributions.kl_divergence(cls(**tensor(p)), cls(**tensor(q))).numpy()
        ours = kl(families, getattr(d, name)(**p), getattr(d, name)(**q))
        np.testing.assert_allclose(ours, theirs, rtol=1e-6 if name in ("Gumbel", "Uniform") else 1e-9, err_msg=name)
        same = getattr(d, name)(**tensor(p))  # tensors are taken as they are
        np.testing.assert_array_equal(same.parameters(), getattr(d, name)(**p).parameters())
        seen.add(name)
    assert len(seen) >= 17


FROZEN = [
    (scipy.stats.norm(1, 2), scipy.stats.norm(0, 3)), (scipy.stats.laplace(1, 2), scipy.stats.laplace(0, 1)),
    (scipy.stats.gumbel_r(1, 2), scipy.stats.gumbel_r(0, 3)), (scipy.stats.cauchy(1, 2), scipy.stats.cauchy(0, 1)),
    (scipy.stats.uniform(0, 1), scipy.stats.uniform(-1, 3)),
    (scipy.stats.vonmises(2.0, 1), scipy.stats.vonmises(3.0, 0)),
    (scipy.stats.expon(scale=2), scipy.stats.expon(scale=3)), (scipy.stats.gamma(2.5, scale=2), scipy.stats.gamma(1.5)),
    (scipy.stats.invgamma(3.5, scale=2), scipy.stats.invgamma(2.5)), (scipy.stats.chi2(3), scipy.stats.chi2(5)),
    (scipy.stats.invgauss(0.5, scale=2), scipy.stats.invgauss(1.0)),
    (scipy.stats.lognorm(0.5, scale=2), scipy.stats.lognorm(1)),
    (scipy.stats.halfnorm(scale=2), scipy.stats.halfnorm()), (scipy.stats.rayleigh(scale=2), scipy.stats.rayleigh()),
    (scipy.stats.pareto(3.0, scale=2), scipy.stats.pareto(2.0)),
    (scipy.stats.weibull_min(2.0, scale=2), scipy.stats.weibull_min(1.5)),
    (scipy.stats.beta(2, 3), scipy.stats.beta(3, 2)), (scipy.stats.poisson(3), scipy.stats.poisson(5)),
    (scipy.stats.bernoulli(0.3), scipy.stats.bernoulli(0.6)), (scipy.stats.binom(7, 0.3), scipy.stats.binom(7, 0.6)),
    (scipy.stats.nbinom(3.5, 0.3), scipy.stats.nbinom(3.5, 0.6)),
    (scipy.stats.geom(0.3, loc=-1), scipy.stats.geom(0.6, loc=-1)),
]


@pytest.mark.parametrize("p, q", FROZEN, ids=lambda f: f.dist.name)
def test_closed_forms_against_quadrature(families, p, q):
    integral = kl_scipy(p, q)
    P, Q = from_scipy(p), from_scipy(q)
    exact = float(families[P.family].kl(P.parameters()[0], Q.parameters()[0]))
    assert integral.method in ("quadrature", "sum")
    assert abs(integral.value - exact) <= max(integral.error, 1e-9 * exact), (integral, exact)
    closed = kl_scipy(p, q, closed_form=lambda P, Q: families[P.family].kl(P.parameters()[0], Q.parameters()[0]))
    assert closed.value == exact and closed.method == "closed form" and np.isnan(closed.error)


def test_quadrature_of_what_has_no_closed_form():
    gap = kl_scipy(scipy.stats.norm(0, 1), scipy.stats.t(5))
    x = np.linspace(-40, 40, 400_001)
    p, q = scipy.stats.norm.pdf(x), scipy.stats.t.logpdf(x, 5)
    assert gap.value == pytest.approx(np.trapezoid(p * (scipy.stats.norm.logpdf(x) - q), x), rel=1e-7)
    assert kl_scipy(scipy.stats.norm(0, 1), scipy.stats.uniform(0, 1)).value == np.inf
    narrow = kl_scipy(scipy.stats.norm(1e4, 1e-3), scipy.stats.norm(1e4, 1.001e-3))
    assert narrow.value == pytest.approx(9.98e-7, rel=1e-2)
    with pytest.raises(ValueError, match="one of each"):
        kl_scipy(scipy.stats.norm(), scipy.stats.poisson(1))
    for other in (scipy.stats.t(5), scipy.stats.gamma(2, loc=1), scipy.stats.geom(0.5)):
        with pytest.raises(ValueError, match="no family of klfast"):
            from_scipy(other)


def test_scipy_densities_are_those_of_the_families(rng):
    """from_scipy of the matrix-valued ones: parameters in our layout."""
    frozen = scipy.stats.multivariate_normal([1.0, 2.0], SPD)
    np.testing.assert_allclose(from_scipy(frozen).covariance_matrix, SPD, rtol=1e-14)
    assert from_scipy(scipy.stats.dirichlet([1.0, 2.0])).parameters().tolist() == [[1.0, 2.0]]
    assert from_scipy(scipy.stats.vonmises_fisher([0.0, 1.0], 3)).parameters().tolist() == [[0.0, 1.0, 3.0]]
    assert from_scipy(scipy.stats.wishart(4, SPD)).family == "wishart"


@pytest.mark.parametrize("frozen", [p for p, _ in FROZEN if not hasattr(p.dist, "pmf")], ids=lambda f: f.dist.name)
def test_entropies_against_scipy(families, frozen):
    P = from_scipy(frozen)
    assert families[P.family].entropy(P.parameters()[0]) == pytest.approx(float(frozen.entropy()), rel=1e-7, abs=1e-9)


def test_parameters_are_read_where_they_lie(rng):
    """Strided, broadcast and reversed parameters give the same bits as contiguous ones, and are not copied."""
    both = rng.normal(size=(40, 2, 6))
    loc, scale = both[::-1, 0], np.exp(rng.normal(size=(6, 1))).T  # one scale for all rows
    P = d.DiagNormal(np.ascontiguousarray(loc), np.repeat(scale, 40, axis=0))
    Q = d.DiagNormal(loc, scale)
    assert not np.shares_memory(P.parts()[0], loc) and Q.parts()[1].strides[0] == 0
    np.testing.assert_array_equal(klfast.pairwise(Q, Q), klfast.pairwise(P, P))
    np.testing.assert_array_equal(klfast.kneighbors(Q, Q, 3)[0], klfast.kneighbors(P, P, 3)[0])
    np.testing.assert_array_equal(klfast.rowwise(Q, P), np.zeros(40))
    fixed = np.ascontiguousarray(loc)
    assert np.shares_memory(d.DiagNormal(fixed, 1.0).parts()[0], fixed)
    with pytest.raises(ValueError, match="overlaps"):
        klfast.pairwise(d.DiagNormal(fixed, 1.0), d.DiagNormal(loc[:6], 1.0), out=fixed)
