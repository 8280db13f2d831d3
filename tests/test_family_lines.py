"""Row by row: coordinates of families in vectors, any number of them a row, from wherever they lie."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from oracle import assert_accurate
from oracle_families import cases

import klfast as kl
from klfast import reference_families as reference

POSITIVE, ANY, INSIDE, COUNT = "positive", "any", "inside", "count"
# Parameters; the relative error of a term is below 5e-15, where an exponential is large 5e-14 (docs/families.md).
FAMILIES = {
    "normal": (kl.Normal, (ANY, POSITIVE), 4e-15), "log_normal": (kl.LogNormal, (ANY, POSITIVE), 4e-15),
    "half_normal": (kl.HalfNormal, (POSITIVE,), 4e-15), "rayleigh": (kl.Rayleigh, (POSITIVE,), 4e-15),
    "exponential": (kl.Exponential, (POSITIVE,), 4e-15), "poisson": (kl.Poisson, (POSITIVE,), 4e-15),
    "laplace": (kl.Laplace, (ANY, POSITIVE), 5e-15), "cauchy": (kl.Cauchy, (ANY, POSITIVE), 5e-15),
    "gumbel": (kl.Gumbel, (ANY, POSITIVE), 5e-14), "weibull": (kl.Weibull, (POSITIVE, POSITIVE), 5e-14),
    "bernoulli": (kl.Bernoulli, (INSIDE,), 4e-15), "geometric": (kl.Geometric, (INSIDE,), 4e-15),
    "bernoulli_logits": (lambda x, **axes: kl.Bernoulli(logits=x, **axes), (ANY,), 4e-15),
    "binomial": (kl.Binomial, (COUNT, INSIDE), 4e-15), "negative_binomial": (kl.NegativeBinomial, (COUNT, INSIDE), 4e-15),
    "chi2": (kl.Chi2, (POSITIVE,), 5e-15), "gamma": (kl.Gamma, (POSITIVE, POSITIVE), 5e-15),
    "inverse_gamma": (kl.InverseGamma, (POSITIVE, POSITIVE), 5e-15), "beta": (kl.Beta, (POSITIVE, POSITIVE), 5e-15),
    "inverse_gaussian": (kl.InverseGaussian, (POSITIVE, POSITIVE), 4e-15),
}
each_family = pytest.mark.parametrize("name", FAMILIES)


def draw(name, rng, n, d, spread=0.5):
    def parameter(kind):
        u = spread * rng.uniform(-1, 1, (n, d))
        return {POSITIVE: np.exp(u), ANY: 1.5 + u, INSIDE: 0.5 + 0.4 * u, COUNT: np.full((n, d), 7.0)}[kind]

    return [parameter(kind) for kind in FAMILIES[name][1]]


def batch(name, parameters, event_ndim=1):
    return FAMILIES[name][0](*parameters, event_ndim=event_ndim)


@cache  # the same for every instruction set
def exact_coordinate(name, p, q):
    return float(reference.kl(name, np.array(p), np.array(q)))


def exact(name, p, q):
    return math.fsum(exact_coordinate(name, tuple(x[k] for x in p), tuple(x[k] for x in q)) for k in range(len(p[0])))


@each_family
@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 65])
def test_values_on_every_instruction_set(name, isa, d, rng):
    rows = 2 if d > 9 else 5
    for spread in (1.0, 1e-3, 1e-9):
        p, q = draw(name, rng, rows, d, spread), draw(name, rng, rows, d, spread)
        values = kl.kl_divergence(batch(name, p), batch(name, q))
        for i in range(rows):
            wanted = exact(name, [x[i] for x in p], [x[i] for x in q])
            assert values[i] == pytest.approx(wanted, rel=FAMILIES[name][2], abs=0)


@pytest.mark.parametrize("name", [*FAMILIES, "dirichlet"])
def test_values_against_the_table(name, isa):
    """The pairs on which the direct forms are judged, near and extreme ones among them, by the public call."""
    def of(row):
        if name == "dirichlet":
            return kl.Dirichlet(row)
        return batch(name, np.split(row, len(FAMILIES[name][1])))

    of_family = [case for case in cases() if case.family == name]
    found = np.array([kl.kl_divergence(of(case.p), of(case.q)) for case in of_family])
    wanted = np.array([case.kl for case in of_family])
    assert_accurate(found, wanted[:, 0], wanted[:, 1], 5e-14 if name in ("gumbel", "weibull") else 6e-15, name)


@each_family
@pytest.mark.parametrize("n, d", [(1, 1), (255, 1), (257, 1), (3000, 1), (40, 5), (11, 100), (5, 256), (5, 257), (3, 700)])
def test_rows_are_sums_of_their_coordinates(name, n, d, rng):
    """Rows that fill a line of 256 coordinates, do not, or take several."""
    p, q = draw(name, rng, n, d), draw(name, rng, n, d)
    single = kl.kl_divergence(batch(name, p, 0), batch(name, q, 0))
    assert single.shape == (n, d)
    sums = [math.fsum(row) for row in single]
    np.testing.assert_allclose(kl.kl_divergence(batch(name, p), batch(name, q)), sums, rtol=1.5e-15)
    both = kl.rowwise(batch(name, p), batch(name, q), "jeffreys")
    np.testing.assert_array_equal(both, kl.rowwise(batch(name, q), batch(name, p), "jeffreys"))
    np.testing.assert_allclose(both, kl.kl_divergence(batch(name, p), batch(name, q))
                               + kl.kl_divergence(batch(name, q), batch(name, p)), rtol=2e-15)


@each_family
@pytest.mark.parametrize("d", [1, 3, 256, 300])
def test_searches_have_the_bits_of_rowwise(name, d, rng):
    p, q = draw(name, rng, 3, d), draw(name, rng, 20, d)
    values, columns = kl.kneighbors(batch(name, p), batch(name, q), 20)
    for i in range(3):
        row = kl.rowwise(batch(name, [np.repeat(x[i : i + 1], 20, axis=0) for x in p]), batch(name, q))
        np.testing.assert_array_equal(values[i], row[columns[i]])


@each_family
def test_rows_from_anywhere(name, rng):
    """Strided, reversed, broadcast and float32 parameters give the values of contiguous ones."""
    p, q = draw(name, rng, 64, 6), draw(name, rng, 64, 6)
    expected = kl.rowwise(batch(name, p), batch(name, q))
    wide = [np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)[::2, ::3] for x in p]
    np.testing.assert_array_equal(kl.rowwise(batch(name, wide), batch(name, [np.asfortranarray(x) for x in q])), expected)
    back = kl.rowwise(batch(name, [x[::-1] for x in p]), batch(name, [x[::-1] for x in q]))
    np.testing.assert_array_equal(back[::-1], expected)
    one = kl.rowwise(batch(name, p), batch(name, [x[0] for x in q]))
    np.testing.assert_array_equal(one, kl.rowwise(batch(name, p), batch(name, [np.tile(x[0], (64, 1)) for x in q])))
    narrow = [x.astype(np.float32) for x in p]
    np.testing.assert_array_equal(kl.rowwise(batch(name, narrow), batch(name, q)),
                                  kl.rowwise(batch(name, [x.astype(np.float64) for x in narrow]), batch(name, q)))


@each_family
@pytest.mark.parametrize("d", [1, 3, 300])
def test_equal_and_nearly_equal_rows(name, d, rng):
    p = draw(name, rng, 40, d)
    q = [x.copy() for x in p]
    q[-1][0, -1] = np.nextafter(q[-1][0, -1], np.inf)
    values = kl.rowwise(batch(name, p), batch(name, q))
    assert 0 < values[0] < 1e-30 and (values[1:] == 0).all() and not np.signbit(values).any()


@pytest.mark.parametrize("name", ["normal", "exponential", "laplace"])
@pytest.mark.parametrize("d", [1, 2])
def test_parameters_out_of_reach_are_for_the_direct_form(name, d, rng):
    """Beyond 2^+-200, subnormal, or with values that over- or underflow."""
    for scale in (1e-320, 1e-300, 1e-70, 1e70, 1e300):
        p, q = draw(name, rng, 4, d), draw(name, rng, 4, d)
        p[-1][1, 0] *= scale
        q[-1][2, 0] *= scale
        p[-1][3, 0] *= scale
        q[-1][3, 0] *= scale
        values = kl.rowwise(batch(name, p), batch(name, q))
        for i in range(4):
            wanted = exact(name, [x[i] for x in p], [x[i] for x in q])
            assert values[i] == pytest.approx(wanted, rel=1e-14, abs=0) or wanted == values[i] == np.inf


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, 0.0])
def test_parameters_that_were_changed_since(all_threads, bad, rng):
    """They are checked when a distribution is made, and looked at again only where a value does not count."""
    p, q = draw("normal", rng, 3000, 2), draw("normal", rng, 3000, 2)
    P, Q = batch("normal", p), batch("normal", q)
    p[1][2100, 1] = q[1][1700, 0] = bad
    with pytest.raises(ValueError, match="^Q: row 1700, parameter 2 of Normal is not valid any more"):
        kl.rowwise(P, Q)
    with pytest.raises(ValueError, match="^Q: row 1700, parameter 2 of Normal is not valid any more"):
        kl.rowwise(P, Q, "reverse_kl")
    q[1][1700, 0] = 1
    with pytest.raises(ValueError, match="^P: row 2100, parameter 3 of Normal is not valid any more"):
        kl.rowwise(P, Q, "reverse_kl")


@pytest.mark.parametrize("name", ["gamma", "chi2", "beta"])
def test_gamma_functions_at_any_size(name, isa, rng):
    """Shapes from 1e-8 to 1e8 beside each other: none, some and all of the steps to the series."""
    cls, kinds, tolerance = FAMILIES[name]
    for near in (None, 1.0, 1e-2, 1e-9):
        p = [10 ** rng.uniform(-8, 8, (30, 1)) for _ in kinds]
        q = [10 ** rng.uniform(-8, 8, (30, 1)) if near is None else x * np.exp(near * rng.uniform(-1, 1, (30, 1))) for x in p]
        values = kl.rowwise(cls(*p), cls(*q))
        for i in range(30):
            assert values[i] == pytest.approx(exact(name, [x[i] for x in p], [x[i] for x in q]), rel=1e-14, abs=0)


def test_logits_far_from_each_other(isa):
    """Beyond the reach of e^t, and beyond that of the terms."""
    p, q = (x.ravel() for x in np.meshgrid([-900.0, -500, -40, -9, -1, 0, 3, 8, 30, 800], [-700.0, -300, -12, 0, 5, 20, 650]))
    values = kl.rowwise(kl.Bernoulli(logits=p), kl.Bernoulli(logits=q))
    for i, value in enumerate(values):
        assert value == pytest.approx(exact("bernoulli_logits", [p[i : i + 1]], [q[i : i + 1]]), rel=4e-15, abs=0)


def test_trials_that_are_certain(isa):
    """Probabilities 0 and 1 are for the direct form, row by row."""
    p, q = np.array([0.0, 0.0, 1.0, 0.5, 1.0, 0.3]), np.array([0.5, 0.0, 1.0, 0.0, 0.25, 0.3])
    np.testing.assert_allclose(kl.rowwise(kl.Bernoulli(p), kl.Bernoulli(q)),
                               [math.log(2), 0, 0, np.inf, math.log(4), 0], rtol=1e-15)
    np.testing.assert_allclose(kl.rowwise(kl.Binomial(3, p), kl.Binomial(3, q)),
                               [3 * math.log(2), 0, 0, np.inf, 3 * math.log(4), 0], rtol=1e-15)


@pytest.mark.parametrize("name, parameter", [("gamma", 0), ("gamma", 1), ("beta", 0), ("chi2", 0), ("inverse_gaussian", 1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0, -1e300, 0.0])
def test_shapes_that_were_changed_since(name, parameter, bad, rng):
    p, q = draw(name, rng, 300, 2), draw(name, rng, 300, 2)
    P, Q = batch(name, p), batch(name, q)
    p[parameter][211, 1] = bad
    with pytest.raises(ValueError, match=f"^P: row 211, parameter {2 * parameter + 1} of .* is not valid any more"):
        kl.rowwise(P, Q)


def test_counts_that_were_changed_since(rng):
    p, q = draw("binomial", rng, 300, 1), draw("binomial", rng, 300, 1)
    P, Q = batch("binomial", p), batch("binomial", q)
    p[0][:] = q[0][:] = 2.5
    with pytest.raises(ValueError, match="^P: row 0, parameter 0 of Binomial is not valid any more"):
        kl.rowwise(P, Q)


def dirichlet_rows(rng, n, K, near=None):
    """Concentrations of any size beside each other; near: how far q's are from p's, relative."""
    p = 10 ** rng.uniform(-3, 3, (n, 1)) * np.exp(2 * rng.normal(size=(n, K)))
    q = 10 ** rng.uniform(-3, 3, (n, 1)) * np.exp(2 * rng.normal(size=(n, K)))
    return (p, q) if near is None else (p, p * (1 + near * rng.uniform(-1, 1, (n, K))))


@pytest.mark.parametrize("K", [2, 3, 8, 9, 40])
@pytest.mark.parametrize("near", [None, 0.5, 1e-3, 1e-9])
def test_dirichlet_on_every_instruction_set(K, near, isa, rng):
    p, q = dirichlet_rows(rng, 10, K, near)
    values = kl.rowwise(kl.Dirichlet(p), kl.Dirichlet(q))
    for i in range(10):
        assert values[i] == pytest.approx(float(reference.kl("dirichlet", p[i], q[i])), rel=1e-14, abs=0)


@pytest.mark.parametrize("size", [1e-8, 1e-3, 1.0, 1e3, 1e8])
def test_dirichlet_where_one_component_has_most(size, isa, rng):
    """Of p, of q, or of both, the same or another; and rows that are proportional but for a millionth."""
    p, q = np.exp(rng.normal(size=(2, 12, 5)))
    p[:8, 1] *= size
    q[4:, 1] *= size
    q[:4, 3] *= size
    q[8:10] = 3 * p[8:10] * (1 + 1e-6 * rng.uniform(-1, 1, (2, 5)))
    values = kl.rowwise(kl.Dirichlet(p), kl.Dirichlet(q))
    for i in range(12):
        assert values[i] == pytest.approx(float(reference.kl("dirichlet", p[i], q[i])), rel=1e-14, abs=0)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 65])
@pytest.mark.parametrize("K", [2, 5, 8, 300])
def test_dirichlet_rows_beside_each_other(n, K, rng):
    """A value does not depend on how many rows there are, where they lie, nor on those beside it."""
    p, q = dirichlet_rows(rng, n, K)
    P, Q = kl.Dirichlet(p), kl.Dirichlet(q)
    values, both = kl.rowwise(P, Q), kl.rowwise(P, Q, "jeffreys")
    singles = [kl.rowwise(kl.Dirichlet(p[i : i + 1]), kl.Dirichlet(q[i : i + 1]))[0] for i in range(n)]
    np.testing.assert_array_equal(values, singles)
    np.testing.assert_array_equal(values, kl.rowwise(kl.Dirichlet(np.asfortranarray(p)), Q))
    np.testing.assert_array_equal(values[::-1], kl.rowwise(kl.Dirichlet(p[::-1]), kl.Dirichlet(q[::-1])))
    np.testing.assert_array_equal(both, kl.rowwise(Q, P, "jeffreys"))
    np.testing.assert_allclose(both, values + kl.rowwise(Q, P), rtol=2e-15)
    found, columns = kl.kneighbors(P, Q, n)
    for i in range(n):
        np.testing.assert_array_equal(found[i], kl.rowwise(kl.Dirichlet(np.tile(p[i], (n, 1))), Q)[columns[i]])


def test_dirichlet_rows_that_are_equal_or_out_of_reach(rng):
    p, q = dirichlet_rows(rng, 40, 6, 0.5)
    q[3] = p[3]
    q[5] = p[5]
    q[5, 2] = np.nextafter(p[5, 2], np.inf)
    p[7] *= 1e-80
    q[9, 0] = 1e80
    values = kl.rowwise(kl.Dirichlet(p), kl.Dirichlet(q))
    assert values[3] == 0 and 0 < values[5] < 1e-30
    for i in (5, 7, 9):
        assert values[i] == pytest.approx(float(reference.kl("dirichlet", p[i], q[i])), rel=1e-14, abs=0)
    P, Q = kl.Dirichlet(p), kl.Dirichlet(q)
    q[21, 4] = -1
    with pytest.raises(ValueError, match="^Q: row 21, parameter 4 of Dirichlet is not valid any more"):
        kl.rowwise(P, Q)
