"""Values of the families through the public functions, against exact ones, quadrature and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats as s
from test_families_api import batches, row_by_row

import klfast as kl
from klfast import distributions as d
from klfast import reference_families as reference


@pytest.mark.parametrize("near", [1e-9, 1e-11, 1e-12])
def test_near_rows_in_a_far_cloud(near):
    """KL of 1e-18 and below, where the products leave nothing: no bound may accept what they gave."""
    clouds = list(batches(np.random.default_rng(5), 40))
    for P, far in zip(batches(np.random.default_rng(7), 3, near), clouds):
        rows = P.parameters()
        left, right = kl.distributions.Parameters(P), kl.distributions.Parameters(far)
        right.values = np.concatenate([rows, far.parameters()])
        exact = np.array([[float(reference.kl(P.family, p, q)) for q in rows] for p in rows])
        assert 0 < exact[~np.eye(3, dtype=bool)].min() < (10 * near if P.family == "uniform" else 1e-15)
        np.testing.assert_allclose(row_by_row(P, "kl"), exact, rtol=2e-14, err_msg=P.family)
        np.testing.assert_allclose(kl.pairwise(left, right)[:, :3], exact, rtol=1e-12, err_msg=P.family)
        single = kl.pairwise(left, right, dtype=np.float32)[:, :3]
        np.testing.assert_allclose(single, np.float32(exact), rtol=1e-4, err_msg=P.family)


SCIPY = {  # of our parameters
    d.Normal: s.norm, d.Laplace: s.laplace, d.Gumbel: s.gumbel_r, d.Cauchy: s.cauchy,
    d.Uniform: lambda low, high: s.uniform(low, high - low), d.VonMises: lambda m, k: s.vonmises(k, m),
    d.Exponential: lambda r: s.expon(scale=1 / r), d.Gamma: lambda a, b: s.gamma(a, scale=1 / b),
    d.InverseGamma: lambda a, b: s.invgamma(a, scale=b), d.Chi2: s.chi2,
    d.InverseGaussian: lambda m, k: s.invgauss(m / k, scale=k),
    d.LogNormal: lambda m, z: s.lognorm(z, scale=np.exp(m)), d.HalfNormal: lambda z: s.halfnorm(scale=z),
    d.Rayleigh: lambda z: s.rayleigh(scale=z), d.Pareto: lambda x, a: s.pareto(a, scale=x),
    d.Weibull: lambda x, k: s.weibull_min(k, scale=x), d.Beta: s.beta, d.Poisson: s.poisson, d.Bernoulli: s.bernoulli,
    d.Binomial: s.binom, d.NegativeBinomial: lambda r, p: s.nbinom(r, 1 - p), d.Geometric: lambda p: s.geom(p, loc=-1),
}


def draw(cls, rng, n):
    """n distributions near enough to each other that powers up to 3 are integrable, and their scipy versions."""
    def around(x, spread=0.15):
        return x * np.exp(rng.uniform(-spread, spread, n))

    parameters = {
        d.Normal: lambda: (rng.normal(size=n), around(2.0)), d.LogNormal: lambda: (rng.normal(size=n), around(0.5)),
        d.Laplace: lambda: (rng.normal(size=n), around(2.0)), d.Gumbel: lambda: (around(0.3), 1.5),
        d.Cauchy: lambda: (rng.normal(size=n), around(2.0)),
        d.Uniform: lambda: (np.sort(rng.uniform(size=n))[::-1], 2 + np.sort(rng.uniform(size=n))),
        d.VonMises: lambda: (rng.uniform(-3, 3, n), around(2.0)), d.Gamma: lambda: (around(2.5), around(1.5)),
        d.InverseGamma: lambda: (around(3.5), around(1.5)), d.InverseGaussian: lambda: (around(2.0), around(3.0)),
        d.Pareto: lambda: (1.5, around(3.0)), d.Weibull: lambda: (around(2.0), 1.7),
        d.Beta: lambda: (around(2.0), around(1.4)), d.Binomial: lambda: (7.0, rng.uniform(0.2, 0.8, n)),
        d.NegativeBinomial: lambda: (2.5, around(0.4)), d.Bernoulli: lambda: (rng.uniform(0.1, 0.9, n),),
        d.Geometric: lambda: (around(0.4),), d.Chi2: lambda: (around(3.5),),
    }.get(cls, lambda: (around(2.0),))()
    full = np.broadcast_arrays(*parameters)
    return cls(*parameters), [SCIPY[cls](*(float(x[i]) for x in full)) for i in range(n)]


def log_integral(p, q, order):
    """log of the integral of p^order q^(1 - order), by scipy: between quantiles of both, or summed up."""
    if hasattr(p.dist, "pmf"):
        k = np.arange(0, 2000)
        with np.errstate(invalid="ignore"):
            logs = order * p.logpmf(k) + (1 - order) * q.logpmf(k)
        return scipy.special.logsumexp(logs[p.logpmf(k) > -np.inf])
    levels = np.array([1e-14, 1e-9, 1e-6, 1e-3, 0.03, 0.2, 0.5])
    cuts = np.unique([x for f in (p, q) for x in (*f.ppf(levels), *f.isf(levels), *f.support())])
    low, high = max(p.support()[0], q.support()[0]), min(p.support()[1], q.support()[1])
    cuts = cuts[(cuts >= low) & (cuts <= high)] if p.dist.name != "vonmises" else np.linspace(-np.pi, np.pi, 9)

    def f(x):
        log_p = p.logpdf(x)
        return np.exp(order * log_p + (1 - order) * q.logpdf(x)) if log_p > -700 else 0.0

    with np.errstate(all="ignore"):
        return np.log(sum(scipy.integrate.quad(f, a, b, epsabs=0, epsrel=1e-9, limit=30)[0]
                          for a, b in zip(cuts[:-1], cuts[1:])))


@pytest.mark.filterwarnings("ignore::scipy.integrate.IntegrationWarning")
@pytest.mark.parametrize("order", [0.3, 1.5])
@pytest.mark.parametrize("cls", [cls for cls in SCIPY if cls is not d.Cauchy], ids=lambda cls: cls.__name__)
def test_renyi_by_quadrature(cls, order, rng):
    P, p = draw(cls, rng, 3)
    values = kl.pairwise(P, divergence=kl.Renyi(order))
    finite = 0
    for i in range(3):
        for j in range(3):
            if i != j and np.isfinite(values[i, j]):
                finite += 1
                expected = log_integral(p[i], p[j], order) / (order - 1)
                assert values[i, j] == pytest.approx(expected, rel=1e-6, abs=1e-9), (P, i, j)
    assert finite >= (3 if cls is d.Uniform and order > 1 else 6)


def test_entropies_against_scipy(rng):
    for cls in SCIPY:
        P, p = draw(cls, rng, 3)
        np.testing.assert_allclose(kl.entropy(P), [float(x.entropy()) for x in p], rtol=1e-6, err_msg=cls.__name__)
    L = np.linalg.cholesky(np.cov(rng.normal(size=(3, 9))))
    C, mu = L @ L.T, np.array([0.6, 0.0, 0.8])
    for P, p in ((d.MultivariateNormal(np.zeros((1, 3)), scale_tril=L), s.multivariate_normal(np.zeros(3), C)),
                 (d.DiagNormal(np.zeros((1, 3)), L.diagonal()), s.multivariate_normal(np.zeros(3), L.diagonal() ** 2)),
                 (d.Dirichlet([[0.5, 2.0, 3.0]]), s.dirichlet([0.5, 2.0, 3.0])),
                 (d.Wishart([4.5], scale_tril=L), s.wishart(4.5, C)),
                 (d.VonMisesFisher(mu[None], 3.0), s.vonmises_fisher(mu, 3.0))):
        np.testing.assert_allclose(kl.entropy(P), [float(p.entropy())], rtol=1e-12, err_msg=type(P).__name__)


def test_every_family_has_its_entropy_tested():
    with_matrices = {d.MultivariateNormal, d.DiagNormal, d.Dirichlet, d.Wishart, d.VonMisesFisher}
    assert set(SCIPY) | with_matrices == set(kl.distributions.FAMILIES)


def test_entropies_against_torch(rng):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    seen = set()
    for P in batches(rng, 5):
        theirs = getattr(torch.distributions, "Independent" if P.event_ndim and P.family == "normal" else
                         type(P).__name__, None)
        values = {name: torch.as_tensor(np.array(x)) for name, x in P.values.items()}
        if theirs is None:
            continue
        if theirs is torch.distributions.Independent:
            law = theirs(torch.distributions.Normal(**values), 1)
        elif theirs is torch.distributions.Binomial:
            law = theirs(total_count=7, probs=values["probs"])
        else:
            law = theirs(**values)
        try:
            expected = law.entropy().numpy()
        except NotImplementedError:
            continue
        np.testing.assert_allclose(kl.entropy(P), expected, rtol=1e-9, atol=1e-9, err_msg=type(P).__name__)
        seen.add(type(P).__name__)
    assert len(seen) >= 17, seen
