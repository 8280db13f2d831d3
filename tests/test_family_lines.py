"""Row by row: coordinates of families in vectors, any number of them a row, from wherever they lie."""

from __future__ import annotations

import math

import numpy as np
import pytest

import klfast as kl
from klfast import reference_families as reference

POSITIVE, ANY = "positive", "any"
# Parameters; the relative error of a term is below 4e-15, where an exponential is large 5e-14 (docs/families.md).
FAMILIES = {
    "normal": (kl.Normal, (ANY, POSITIVE), 4e-15), "log_normal": (kl.LogNormal, (ANY, POSITIVE), 4e-15),
    "half_normal": (kl.HalfNormal, (POSITIVE,), 4e-15), "rayleigh": (kl.Rayleigh, (POSITIVE,), 4e-15),
    "exponential": (kl.Exponential, (POSITIVE,), 4e-15), "poisson": (kl.Poisson, (POSITIVE,), 4e-15),
    "laplace": (kl.Laplace, (ANY, POSITIVE), 5e-15), "cauchy": (kl.Cauchy, (ANY, POSITIVE), 5e-15),
    "gumbel": (kl.Gumbel, (ANY, POSITIVE), 5e-14), "weibull": (kl.Weibull, (POSITIVE, POSITIVE), 5e-14),
}
each_family = pytest.mark.parametrize("name", FAMILIES)


def draw(name, rng, n, d, spread=0.5):
    kinds = FAMILIES[name][1]
    return [np.exp(spread * rng.uniform(-1, 1, (n, d))) if kind is POSITIVE else 1.5 + spread * rng.uniform(-1, 1, (n, d))
            for kind in kinds]


def batch(name, parameters, event_ndim=1):
    return FAMILIES[name][0](*parameters, event_ndim=event_ndim)


def exact(name, p, q):
    return math.fsum(float(reference.kl(name, np.array([x[k] for x in p]), np.array([x[k] for x in q])))
                     for k in range(len(p[0])))


@each_family
@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 65])
def test_values_on_every_instruction_set(name, isa, d, rng):
    for spread in (1.0, 1e-3, 1e-9):
        p, q = draw(name, rng, 5, d, spread), draw(name, rng, 5, d, spread)
        values = kl.kl_divergence(batch(name, p), batch(name, q))
        for i in range(5):
            wanted = exact(name, [x[i] for x in p], [x[i] for x in q])
            assert values[i] == pytest.approx(wanted, rel=FAMILIES[name][2], abs=0)


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
