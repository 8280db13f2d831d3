"""contributions: the terms of the specification, nonnegative; they add up to what the finish is taken of."""

import numpy as np
import pytest
import scipy.sparse
from named import ALL, FEW, MEASURES, NORMALISED, SUMS, parts, takes
from oracle import error
from test_divergences import ZERO_PATTERNS

import klfast as kl
from klfast import reference
from klfast.divergences import find

TERMS = [name for name in ALL if name != "cross_entropy"]
RTOL = 1e-13


def terms_of(name):
    """(name of the sum under the finish, its parameters, its weight): the terms of what ends in a root or logarithm."""
    family, parameters = parts(name)
    if family in ("renyi", "chernoff", "bhattacharyya"):
        alpha = parameters.get("alpha", 0.5)
        return "tsallis", {"alpha": alpha}, abs(alpha - 1)
    return {"js_distance": "js", "hellinger": "squared_hellinger"}.get(family, family), parameters, 1.0


def specification(p, q, name, domain="probs"):
    family, parameters, weight = terms_of(name)
    return [weight * term for term in reference.contributions(p, q, family, domain, **parameters)]


def value_of(name, total):
    """The finish, from the formulas."""
    family, parameters, _ = terms_of(name)
    name = parts(name)[0]
    if name in ("js_distance", "hellinger"):
        return np.sqrt(total)
    if name in ("bhattacharyya", "chernoff"):
        with np.errstate(divide="ignore"):
            return -np.log1p(-np.minimum(total, 1))
    if name == "renyi":
        order = parameters["alpha"]
        with np.errstate(divide="ignore"):
            return np.log1p(np.sign(order - 1) * total) / (order - 1)
    return total


def assert_terms(found, p, q, name, domain="probs"):
    wanted = [specification(a, b, name, domain) for a, b in zip(p, q)]
    high = np.array([[float(term) for term in row] for row in wanted])
    assert found.shape == p.shape and found.dtype == np.float64
    # A bin where p = q adds 0 exactly; one beside a row sum that rounds may be off by the rounding of the sum.
    sums = np.where(np.isinf(high), 0, high).sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):
        assert ((found == high) | (error(found, high) <= RTOL) | (np.abs(found - high) <= 1e-16 * sums)).all()
    assert (found >= 0).all() and not np.signbit(found).any()
    return found


def pairs(rng, K=7):
    """Far and near rows, rows with zeros on either side, equal rows."""
    q = rng.dirichlet(np.ones(K), 8)
    p = rng.dirichlet(np.ones(K), 8)
    p[1] = q[1] * (1 + 1e-6 * rng.uniform(-1, 1, K))
    p[2], q[2] = p[2] * [1, 0, 1, 0, 1, 1, 1], q[2] * [1, 0, 0, 1, 1, 1, 1]
    p[3, 2] = q[4, 5] = 0
    p[5] = q[5]
    p[6, 1:], q[7, 1:] = 0, 0
    return p, q


@pytest.mark.parametrize("name", TERMS)
def test_are_those_of_the_specification(isa, rng, name):
    p, q = pairs(rng)
    found = kl.contributions(kl.Categorical(counts=p), kl.Categorical(counts=q), name)
    assert_terms(found, p, q, name)
    assert found[5].tobytes() == np.zeros(7).tobytes()


@pytest.mark.parametrize("name", [name for name in TERMS if takes(name, True)])
def test_of_logits(rng, name):
    a, b = rng.standard_normal((2, 4, 6))
    a[0, 2] = b[1, 3] = a[2, 4] = b[2, 4] = -np.inf
    b[3] = a[3] + 0.5
    a, b = np.round(a * 64) / 64, np.round(b * 64) / 64
    found = kl.contributions(kl.Categorical(logits=a), kl.Categorical(logits=b), name)
    assert_terms(found, a, b, name, "logits")
    assert found[3].tobytes() == np.zeros(6).tobytes()


@pytest.mark.parametrize("name", TERMS)
def test_they_sum_to_the_value(isa, rng, name):
    p, q = (x[[0, 1, 2, 3, 4, 5]] for x in pairs(rng))
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    total = kl.contributions(P, Q, name).sum(axis=1)
    np.testing.assert_allclose(value_of(name, total), kl.rowwise(P, Q, name), rtol=1e-12)


@pytest.mark.parametrize("name", SUMS)
def test_of_many_bins(rng, name):
    P, Q = (kl.Categorical(counts=rng.dirichlet(np.ones(5000), 3)) for _ in range(2))
    np.testing.assert_allclose(kl.contributions(P, Q, name).sum(axis=1), kl.rowwise(P, Q, name), rtol=1e-13)


@pytest.mark.parametrize("name", [name for name in TERMS if find(name).infinite])
def test_infinite_bins(name):
    """inf stands in the bins that make the value infinite, and nowhere else; not where it is the finish that does."""
    outside = {"p > 0 where q = 0": [1, 2], "q > 0 where p = 0": [3], "p and q have no bin in common": [],
               "one of p, q is 0 where the other is not": [1, 2, 3]}[find(name).infinite]
    p, q = np.array([0.25, 0.25, 0.5, 0.0, 0.0]), np.array([0.5, 0.0, 0.0, 0.5, 0.0])
    found = kl.contributions(p, q, name)
    assert np.flatnonzero(np.isinf(found)).tolist() == outside
    assert found[4] == 0 and np.isfinite(np.delete(found, outside)).all()


@pytest.mark.parametrize("pattern", ZERO_PATTERNS)
@pytest.mark.parametrize("name", TERMS)
def test_zero_patterns(name, pattern):
    p, q = ZERO_PATTERNS[pattern]
    found = kl.contributions(kl.Categorical(counts=p[None]), kl.Categorical(counts=q[None]), name)
    assert_terms(found, p[None], q[None], name)
    assert (found[0][(p == 0) & (q == 0)] == 0).all()


@pytest.mark.parametrize("name", MEASURES)
def test_of_measures(rng, name):
    """Nothing is normalised: multiples are far apart, empty rows are rows."""
    p = rng.gamma(1.0, 3.0, (5, 6))
    q = np.concatenate([2 * p[:2], p[2:3], np.zeros((1, 6)), rng.gamma(1.0, 3.0, (1, 6))])
    found = kl.contributions(p, q, name)
    assert_terms(found, p, q, name)
    assert found[2].tobytes() == np.zeros(6).tobytes() and (found[0] > 0).all()
    assert np.isinf(found[3]).all()


@pytest.mark.parametrize("name", FEW)
def test_axis_and_broadcasting(rng, name):
    P, Q = rng.dirichlet(np.ones(4), (3, 5)), rng.dirichlet(np.ones(4), 5)
    found = kl.contributions(P, Q, name)
    assert found.shape == (3, 5, 4)
    for i, j in np.ndindex(3, 5):
        np.testing.assert_array_equal(found[i, j], kl.contributions(P[i, j], Q[j], name))
    for axis in (0, 1, -2):
        moved = kl.contributions(np.moveaxis(P, -1, axis), np.moveaxis(np.broadcast_to(Q, P.shape), -1, axis), name,
                                 axis=axis)
        np.testing.assert_array_equal(moved, np.moveaxis(found, -1, axis))


@pytest.mark.parametrize("name", FEW)
def test_of_sparse_and_narrow_rows(rng, name):
    p, q = (rng.integers(0, 3, (20, 12)) + np.eye(12, dtype=int)[rng.integers(0, 12, 20)] for _ in range(2))
    wanted = kl.contributions(kl.Categorical(counts=p), kl.Categorical(counts=q), name)
    for make in (lambda x: scipy.sparse.csr_array(x * 1.0), lambda x: x.astype("float16"), np.asfortranarray,
                 lambda x: x[::-1].copy()[::-1]):
        found = kl.contributions(kl.Categorical(counts=make(p)), kl.Categorical(counts=make(q)), name)
        assert isinstance(found, np.ndarray) and found.dtype == np.float64
        np.testing.assert_array_equal(found, wanted)
    mixed = kl.contributions(kl.Categorical(counts=scipy.sparse.csr_array(p * 1.0)), kl.Categorical(counts=q), name)
    np.testing.assert_array_equal(mixed, wanted)


@pytest.mark.parametrize("name", [name for name in NORMALISED if name != "cross_entropy"])
def test_mixed_operands(rng, name):
    p, q = rng.dirichlet(np.ones(5), (2, 6))
    wanted = kl.contributions(p, q, name)
    found = kl.contributions(p, kl.Categorical(logits=np.log(q)), name)
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize("name", [name for name in TERMS if find(name).logarithmic])
def test_base(rng, name):
    """The terms are in units of log(base), but for those under a logarithm, which are the same in every base."""
    P, Q = rng.dirichlet(np.ones(5), (2, 6))
    unit = 1 if find(name).finish == "log" else np.log(2)
    np.testing.assert_allclose(kl.contributions(P, Q, name, base=2) * unit, kl.contributions(P, Q, name), rtol=1e-15)


def test_threads(rng, all_threads):
    P, Q = rng.dirichlet(np.ones(9), (2, 300))
    for name in FEW:
        assert kl.contributions(P, Q, name, n_jobs=1).tobytes() == kl.contributions(P, Q, name, n_jobs=2).tobytes()


def test_cross_entropy_has_none():
    with pytest.raises(ValueError, match="cross_entropy has no nonnegative terms .*; take the contributions of 'kl'"):
        kl.contributions([0.5, 0.5], [0.5, 0.5], "cross_entropy")


def test_empty():
    assert kl.contributions(np.empty((0, 3)), np.empty((0, 3))).shape == (0, 3)
    assert kl.contributions(np.empty((0, 3)), [0.5, 0.5, 0.0]).shape == (0, 3)
    sparse = kl.Categorical(counts=scipy.sparse.csr_array(np.empty((0, 3))))
    assert kl.contributions(sparse, sparse).shape == (0, 3)
