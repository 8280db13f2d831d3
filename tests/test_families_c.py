"""The C kernels of the families against their high-precision reference: values, identity, equality, checks."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from family_library import families  # noqa: F401 (a fixture)
from oracle import assert_accurate
from oracle_families import cases
from oracle_families.strata import moved, row

from klfast import Index, VonMisesFisher
from klfast import reference_families as reference

NAMES = list(reference.FAMILIES)
EXPONENTIAL = [name for name in NAMES if name not in ("gumbel", "cauchy", "uniform")]
RTOL = 4e-15  # the contract is 1e-14 (1e-13 for some), what was measured 1e-15: libm may differ
SHARED = {"laplace": 0, "weibull": 1}  # the parameter that makes them exponential families
U = 2.0**-53


def cloud(name, rng, spread, n=25):
    """Rows around one row, relative distances of `spread`, or (None) rows far apart."""
    base = row(name, rng, 0.5)
    rows = [row(name, rng, 0.5) if spread is None else moved(name, base, spread, rng) for _ in range(n)]
    rows = np.array(rows, np.float64)
    if name in SHARED:
        rows[:, SHARED[name]] = rows[0, SHARED[name]]
    return rows


def test_library_and_reference_have_the_same_families(families):
    assert set(families.tables) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_direct_against_the_table(families, name):
    of_family = [case for case in cases() if case.family == name]
    assert len(of_family) >= 30
    found = np.array([families[name].kl(case.p, case.q) for case in of_family])
    wanted = np.array([case.kl for case in of_family])
    assert_accurate(found, wanted[:, 0], wanted[:, 1], RTOL, name)


@pytest.mark.parametrize("name", [name for name in NAMES if reference.FAMILIES[name].entropy])
def test_entropy(families, name):
    assert families[name].has_entropy
    for case in cases():
        if case.family == name:
            assert families[name].entropy(case.p) == pytest.approx(case.entropy, rel=1e-14, abs=1e-14), case


@pytest.mark.parametrize("spread", [None, 1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize("name", EXPONENTIAL)
def test_product_identity_lies_within_its_bound(families, name, spread, rng):
    """|offset_p + offset_q - x . y - KL| <= bound for all pairs, and the bound is worth having."""
    rows, family = cloud(name, rng, spread), families[name]
    center = family.center(rows)
    assert family.check(center)[0] == 0
    x, of_x = family.features("mean", rows, center)
    y, of_y = family.features("natural", rows, center)
    n = x.shape[1] + 16
    products = of_x[:, None, 0] + of_y[None, :, 0] - x @ y.T
    bound = n * U / (1 - n * U) * np.sqrt(of_x[:, None, 2] * of_y[None, :, 2])
    bound += 32 * U * (of_x[:, None, 1] + of_y[None, :, 1])
    direct = np.array([[family.kl(p, q) for q in rows] for p in rows])
    assert np.isfinite(bound).all()
    assert (np.abs(products - direct) <= bound).all()
    pairs = ~np.eye(len(rows), dtype=bool) & (direct > 0)
    assert np.median(bound[pairs] / direct[pairs]) < 1e-12


@pytest.mark.parametrize("name", EXPONENTIAL)
def test_identity_against_the_reference(families, name, rng):
    """The same for a few pairs with exact values: the direct kernel is not the judge."""
    rows, family = cloud(name, rng, 1e-3, 4), families[name]
    center = family.center(rows)
    x, of_x = family.features("mean", rows, center)
    y, of_y = family.features("natural", rows, center)
    for i, p in enumerate(rows):
        for j, q in enumerate(rows):
            value = of_x[i, 0] + of_y[j, 0] - x[i] @ y[j]
            bound = (x.shape[1] + 17) * U * np.sqrt(of_x[i, 2] * of_y[j, 2]) + 32 * U * (of_x[i, 1] + of_y[j, 1])
            assert abs(value - float(reference.kl(name, p, q))) <= bound


@pytest.mark.parametrize("name", NAMES)
def test_zero_exactly_for_equal_rows(families, name, rng):
    for size in (0.5, 2.0):
        p = np.array(row(name, rng, size), np.float64)
        assert str(families[name].kl(p, p.copy())) == "0.0"
        q = p.copy()
        q[-1] = np.nextafter(q[-1], 0)
        assert families[name].kl(p, q) > 0 and families[name].kl(q, p) > 0


@pytest.mark.parametrize("name", [n for n in NAMES if reference.FAMILIES[n].parameters])
def test_products_over_coordinates_add_up(families, name, rng):
    """A row of d coordinates is as d rows of one: divergence, entropy, features."""
    d, family = 5, families[name]
    rows = np.array([[row(name, rng, 0.5) for _ in range(d)] for _ in range(4)], np.float64)  # row, coordinate, number
    if name in SHARED:
        rows[:, :, SHARED[name]] = rows[:1, :, SHARED[name]]
    flat = np.ascontiguousarray(rows.transpose(0, 2, 1).reshape(4, -1))
    each = sum(family.kl(np.ascontiguousarray(rows[0, i]), np.ascontiguousarray(rows[1, i])) for i in range(d))
    assert family.kl(flat[0], flat[1]) == pytest.approx(each, rel=1e-15)
    if family.has_entropy:
        each = sum(family.entropy(np.ascontiguousarray(rows[0, i])) for i in range(d))
        assert family.entropy(flat[0]) == pytest.approx(each, rel=1e-14, abs=1e-14)
    if name in EXPONENTIAL:
        center = family.center(flat)
        x, of_x = family.features("mean", flat[:1], center)
        y, of_y = family.features("natural", flat[1:2], center)
        assert x.shape[1] == family.width(flat.shape[1])
        value = of_x[0, 0] + of_y[0, 0] - x[0] @ y[0]
        assert value == pytest.approx(family.kl(flat[0], flat[1]), rel=1e-10)


@pytest.mark.parametrize("name, p, q", [
    ("pareto", [1.0, 2.0], [2.0, 2.0]), ("uniform", [0.0, 2.0], [0.5, 3.0]), ("bernoulli", [0.5], [0.0]),
    ("bernoulli", [0.5], [1.0]), ("poisson", [1.0], [0.0]), ("binomial", [3.0, 0.5], [2.0, 0.5]),
    ("geometric", [0.5], [1.0]), ("negative_binomial", [3.0, 0.5], [3.0, 0.0]),
])
def test_infinite_off_the_support(families, name, p, q):
    assert families[name].kl(np.array(p), np.array(q)) == np.inf


@pytest.mark.parametrize("name, p, q, value", [
    ("bernoulli", [0.0], [0.5], np.log(2)), ("bernoulli", [1.0], [0.25], np.log(4)), ("poisson", [0.0], [1.5], 1.5),
    ("geometric", [1.0], [0.5], np.log(2)), ("negative_binomial", [2.0, 0.0], [3.0, 0.5], 3 * np.log(2)),
    ("binomial", [3.0, 0.0], [2.0, 0.5], 2 * np.log(2)), ("uniform", [0.0, 1.0], [0.0, 4.0], np.log(4)),
    ("pareto", [2.0, 1.0], [1.0, 1.0], np.log(2)), ("von_mises", [0.3, 0.0], [2.0, 0.0], 0.0),
    ("von_mises_fisher", [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], 0.0),
])
def test_ends_of_the_domain(families, name, p, q, value):
    assert families[name].kl(np.array(p), np.array(q)) == pytest.approx(value, rel=1e-15)


@pytest.mark.parametrize("name, q", [("bernoulli", [0.0]), ("poisson", [0.0]), ("geometric", [1.0])])
def test_rows_without_natural_parameters_are_left_to_the_direct_kernel(families, name, q):
    rows = np.array([[0.3], [0.6], q])
    features, numbers = families[name].features("natural", rows, families[name].center(rows))
    assert np.isinf(numbers[2, 1]) and not features[2].any() and np.isfinite(numbers[:2]).all()
    assert np.isfinite(families[name].features("mean", rows, families[name].center(rows))[1]).all()


@pytest.mark.parametrize("name, bad, status, where", [
    ("normal", [0.0, np.nan], 1, 1), ("normal", [np.inf, 1.0], 2, 0), ("normal", [0.0, 0.0, 1.0, -1.0], 4, 3),
    ("poisson", [-1.0], 3, 0), ("bernoulli", [1.5], 5, 0), ("geometric", [0.0], 5, 0), ("binomial", [2.5, 0.5], 6, 0),
    ("negative_binomial", [2.5, 1.0], 5, 1), ("uniform", [1.0, 1.0], 7, 1), ("von_mises_fisher", [1.0, 1.0, 2.0], 8, 0),
    ("wishart", [1.0, 1.0, 0.0, 1.0], 9, 0), ("wishart", [3.0, 1.0, 0.0, -1.0], 4, 3),
    ("multivariate_normal", [0.0, 0.0, 1.0, np.nan, 1.0], 1, 3), ("dirichlet", [1.0, 0.0], 4, 1),
    ("gamma", [1.0, 0.0], 4, 1),
])
def test_check_names_the_parameter(families, name, bad, status, where):
    assert families[name].check(np.array(bad, np.float64)) == (status, where)


@pytest.mark.parametrize("name", NAMES)
def test_check_accepts_the_rows_of_the_table(families, name):
    assert all(families[name].check(case.q)[0] == 0 for case in cases() if case.family == name)


def test_cauchy_is_symmetric_and_scales_are_invariant(families, rng):
    for _ in range(20):
        p, q = (np.array(row("cauchy", rng, 1.0)) for _ in range(2))
        assert families["cauchy"].kl(p, q) == pytest.approx(families["cauchy"].kl(q, p), rel=1e-14)
        for name in ("normal", "laplace", "cauchy", "gumbel", "uniform"):
            a, b = (np.array(row(name, rng, 0.5)) for _ in range(2))
            assert families[name].kl(8 * a, 8 * b) == pytest.approx(families[name].kl(a, b), rel=1e-14)


@pytest.mark.parametrize("d", [2, 3, 17, 60, 66, 70, 300, 768, 5000])
def test_directions_in_many_dimensions(families, d, rng):
    """Series, integral and expansion meet: kappa from 1e-3 to 1e6, rows close together and far apart."""
    for kappa in 10.0 ** np.arange(-3, 7 if d < 300 else 4):
        mu = rng.normal(size=d)
        p = np.array([*(mu / np.linalg.norm(mu)), kappa])
        for factor in (rng.uniform(0.2, 0.6), rng.uniform(1.5, 30), 1 + rng.uniform(-1e-2, 1e-2), 1 + 1e-7):
            q = np.array([*p[:-1], kappa * factor])
            wanted = float(reference.kl("von_mises_fisher", p, q))
            assert_accurate(families["von_mises_fisher"].kl(p, q), wanted, 0.0, RTOL)


@pytest.mark.parametrize("d, low, high", [(8, 10, 500), (128, 50, 500), (768, 100, 2000)])
def test_bounds_of_directions_are_worth_having(d, low, high, rng):
    """As embeddings have them: next to no pair of a cloud is computed twice."""
    loc = rng.normal(size=(300, d))
    rows = VonMisesFisher(loc / np.linalg.norm(loc, axis=1, keepdims=True), rng.uniform(low, high, 300))
    index = Index(rows)
    index.pairwise(rows)
    assert index.info["recomputed"] - 300 <= 0.001 * index.info["pairs"]


def test_covariances_of_larger_condition(families, rng):
    d = 6
    for condition in (1e2, 1e6):
        Q = np.linalg.qr(rng.normal(size=(d, d)))[0]
        C = (Q * np.geomspace(1, condition, d)) @ Q.T
        L = np.linalg.cholesky((C + C.T) / 2)[np.tril_indices(d)]
        for eps in (1e-1, 1e-6):
            M = L * (1 + eps * rng.uniform(-1, 1, len(L)))
            p, q = np.array([*np.zeros(d), *L]), np.array([*(eps * rng.normal(size=d)), *M])
            for name, a, b in (("multivariate_normal", p, q), ("wishart", np.array([7.5, *L]), np.array([1e6, *M]))):
                assert_accurate(families[name].kl(a, b), float(reference.kl(name, a, b)), 0.0, 1e-13, name)


@pytest.mark.parametrize("size", [20, 290])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("multivariate_normal", "wishart")])
def test_whatever_the_parameters(families, name, size, rng):
    """Never negative, never NaN, 0 only for equal rows; features are finite, or the row is left to the direct kernel."""
    family = families[name]
    for _ in range(100):
        rows = np.array([row(name, rng, size) for _ in range(2)], np.float64)
        if any(family.check(r)[0] for r in rows):
            continue
        assert (family.kl(rows[0], rows[1]) > 0) == (not np.array_equal(rows[0], rows[1]))
        assert not family.has_entropy or not np.isnan(family.entropy(rows[0]))
        if family.width(rows.shape[1]):
            center = family.center(rows)
            assert family.check(center)[0] == 0
            for role in ("mean", "natural"):
                features, numbers = family.features(role, rows, center)
                assert np.isfinite(features).all() and np.isfinite(numbers[:, [0, 2]]).all() and (numbers >= 0).all()


POWERS = [name for name in NAMES if name != "cauchy"]
COMMON_IN_POWERS = {"pareto": 0, "weibull": 1, "gumbel": 1}


def chernoff_pairs(name):
    """Every pair of the table, with what must be in common in common."""
    for case in cases():
        if case.family == name:
            q = case.q.copy()
            if name in COMMON_IN_POWERS:
                q[COMMON_IN_POWERS[name]] = case.p[COMMON_IN_POWERS[name]]
            yield case.p, q


@pytest.mark.parametrize("name", [name for name in POWERS if name != "uniform"])
def test_chernoff_is_exact(families, name):
    """Also of near rows, where s KL(r||p) + (1 - s) KL(r||q) is no larger than what the rounding of r would add."""
    for number, (p, q) in enumerate(chernoff_pairs(name)):
        s = (0.5, 0.9, 0.3)[number % 3]
        expected = reference.chernoff(name, p, q, s)
        assert abs(families[name].chernoff(p, q, s) - expected) <= RTOL * expected + 5e-324, (p, q, s)
        assert families[name].chernoff(p, p, s) == 0


@pytest.mark.parametrize("name", [name for name in POWERS if name != "uniform"])
def test_orders_above_1_are_exact(families, name):
    """-t KL(p||q) + KL(p||r) with r beyond p, near 1 and far from it; inf exactly where there is no r."""
    infinite = 0
    for number, (p, q) in enumerate(chernoff_pairs(name)):
        s = (2.0, 1.0 + 2.0**-30, 1.5, 1.1, 7.0)[number % 5]
        expected = reference.chernoff(name, p, q, s)
        found = families[name].chernoff(p, q, s)
        if expected == np.inf:
            infinite += 1
            assert found == np.inf, (p, q, s)
        else:
            assert abs(found - expected) <= 2 * max(1, s / 2) * RTOL * expected + 5e-324, (p, q, s)
        assert families[name].chernoff(p, p, s) == 0
    everywhere = ("bernoulli", "bernoulli_logits", "binomial", "poisson", "von_mises", "von_mises_fisher")
    assert (infinite == 0) == (name in everywhere)


@pytest.mark.parametrize("name", ["exponential", "normal", "rayleigh", "chi2", "gamma", "laplace"])
def test_orders_above_1_at_the_edge(families, name):
    """Where s eta_p + t eta_q is a millionth of eta_p, or of the least below 0."""
    for rest in (1e-6, 1e-12, -1e-12):
        s, family = 3.0, reference.FAMILIES[name]
        p, q = np.ones(family.parameters), np.ones(family.parameters)
        ratio = (s - rest) / (s - 1)  # of the natural parameters
        if name in ("normal", "laplace", "rayleigh"):
            p[-1], q[-1] = 1, {"normal": ratio**-0.5, "rayleigh": ratio**-0.5, "laplace": 1 / ratio}[name]
        else:
            q[-1] = ratio
        expected = reference.chernoff(name, p, q, s)
        found = families[name].chernoff(p, q, s)
        assert (expected == np.inf) == (rest < 0)
        assert found == np.inf if rest < 0 else abs(found - expected) <= 1e-14 * expected, (rest, found, expected)


@pytest.mark.parametrize("s", [0.3, 0.999, 1.5, 2.0])
def test_powers_of_concentrated_rows(families, s, rng):
    """Of one mean, or of large parameters, a divergence is small beside what a rounding of parameters changes."""
    for size in (5.0, 1e5, 1e9):
        for eps in (1e-2, 1e-5, 1e-8):
            p = np.array(row("wishart", rng, 1.0))
            p[0], ratio = size, 1 + eps * rng.uniform(0.5, 1)
            q = np.array([size * ratio, *(p[1:] / np.sqrt(ratio))])
            a = size * rng.uniform(0.5, 2, 5)
            for name, left, right in (("wishart", p, q), ("dirichlet", a, a * (1 + eps * rng.uniform(-1, 1, 5)))):
                expected = reference.chernoff(name, left, right, s)
                assert abs(families[name].chernoff(left, right, s) - expected) <= RTOL * expected, (name, size, eps)


@pytest.mark.parametrize("size", [0.5, 4, 20, 290])
@pytest.mark.parametrize("name", POWERS)
def test_powers_whatever_the_parameters(families, name, size, rng):
    """Never negative, never NaN, 0 only for equal rows; Renyi's divergences of orders above 1 are KL or more."""
    family = families[name]
    if name in ("multivariate_normal", "wishart") and size > 4:
        return  # their factors are computed from covariances, which overflow
    for k in range(60):
        p, q = (np.array(row(name, rng, size), np.float64) for _ in range(2))
        q = q if k % 3 else np.array(moved(name, p, 10 ** rng.uniform(-15, 0), rng), np.float64)
        if name in COMMON_IN_POWERS:
            q[COMMON_IN_POWERS[name]] = p[COMMON_IN_POWERS[name]]
        if family.check(p)[0] or family.check(q)[0]:
            continue
        for s in (1e-3, 0.5, 0.999, 1 + 2.0**-40, 1.5, 2.0, 50.0, 1e4):
            value = family.chernoff(p, q, s)
            assert value >= 0 and (value > 0) == (not np.array_equal(p, q)), (p, q, s, value)
            if s > 1 and size <= 20 and value > 1e-300:
                assert value >= (s - 1) * family.kl(p, q) * (1 - 1e-9), (p, q, s, value)


def test_chernoff_of_other_supports(families, rng):
    uniform, pareto = families["uniform"], families["pareto"]
    p, q = np.array([0.0, 2.0]), np.array([1.0, 5.0])
    assert uniform.chernoff(p, q, 0.3) == pytest.approx(-np.log((1 / 2) ** 0.3 * (1 / 4) ** 0.7), rel=1e-14)
    assert uniform.chernoff(p, np.array([2.0, 3.0]), 0.3) == np.inf
    p, q, s = np.array([1.0, 2.0]), np.array([1.5, 3.0]), 0.3
    x = 1.5 * np.exp(np.linspace(0, 40, 1_000_001))
    f = (2.0 / x**3) ** s * (3 * 1.5**3 / x**4) ** (1 - s) * x
    area = np.trapezoid(f, np.log(x))
    assert pareto.chernoff(p, q, s) == pytest.approx(-np.log(area), rel=1e-8)
    assert pareto.chernoff(q, p, 1 - s) == pytest.approx(-np.log(area), rel=1e-8)
    one = np.array([1.5, 2.0])
    f = (2 * 1.5**2 / x**3) ** 1.5 * (3 * 1.5**3 / x**4) ** -0.5 * x
    assert pareto.chernoff(one, q, 1.5) == pytest.approx(np.log(np.trapezoid(f, np.log(x))), rel=1e-8)
    assert pareto.chernoff(one, q, 3.0) == np.inf  # the tail would be that of 1/x
    for s in (1.5, 3.0):
        assert pareto.chernoff(p, q, s) == np.inf  # mass of p before q begins
        assert pareto.chernoff(q, p, s) == pytest.approx((s - 1) * 2 * np.log(1.5) + families["exponential"].chernoff(
            np.array([3.0]), np.array([2.0]), s), rel=1e-15)
        assert uniform.chernoff(np.array([1.0, 2.0]), np.array([0.0, 4.0]), s) == (s - 1) * np.log(4)
        assert uniform.chernoff(p, q * 1.5, s) == np.inf
    for name, first, bad in (("gumbel", [0.0, 1.0], [0.0, 2.0]), ("weibull", [1.0, 1.0], [1.0, 2.0])):
        assert np.isnan(families[name].chernoff(np.array(first), np.array(bad), 0.5))


@pytest.mark.parametrize("name, parameters", [
    ("poisson", (0.01, 0.7, 30.0, 1e3)), ("binomial", ((1, 0.3), (40, 0.999), (3000, 0.4))),
    ("negative_binomial", ((0.3, 0.6), (1.0, 0.9), (25.0, 0.7)))])
def test_entropies_of_counts(families, name, parameters):
    """By summing up scipy's logarithms of masses: absolute errors of theirs are 1e-13."""
    make = {"poisson": scipy.stats.poisson, "binomial": scipy.stats.binom,
            "negative_binomial": lambda r, p: scipy.stats.nbinom(r, 1 - p)}[name]
    for t in parameters:
        row = np.atleast_1d(np.float64(t))
        log_p = make(*row).logpmf(np.arange(20_000))
        log_p = log_p[log_p > -700]
        assert families[name].entropy(row) == pytest.approx(-(np.exp(log_p) * log_p).sum(), rel=1e-12)


@pytest.mark.parametrize("rate", [1e5, 1e9, 1e15])
def test_entropies_of_large_counts(families, rate):
    """A bell: log(2 pi e v)/2 and the next terms in 1/v."""
    expected = 0.5 * np.log(2 * np.pi * np.e * rate) - 1 / (12 * rate) - 1 / (24 * rate**2)
    assert families["poisson"].entropy(np.array([rate])) == pytest.approx(expected, rel=1e-14)
    fair = 0.5 * np.log(0.5 * np.pi * np.e * rate) - 1 / (12 * rate**2)
    assert families["binomial"].entropy(np.array([rate, 0.5])) == pytest.approx(fair, rel=1e-14)
    p = 1 - 1 / rate
    geometric = -(p * np.log1p(p - 1) + (1 - p) * np.log(1 - p)) / (1 - p)
    assert families["negative_binomial"].entropy(np.array([1.0, p])) == pytest.approx(geometric, rel=1e-14)
