"""Batches indexed as NumPy indexes an array of their shape."""

import numpy as np
import pytest
import scipy.sparse

import klfast as kl
from klfast import distributions as d

RNG = np.random.default_rng(3)
KEYS = [3, -1, slice(1, 4), slice(None, None, -2), [4, 0, 0], np.arange(5) > 2, ..., None, (slice(2), ...), slice(0)]
GRID_KEYS = [1, (1, 2), (slice(None), 2), (..., 0), (0, [3, 1]), np.eye(3, 4) > 0, (..., None), ([0, 2], slice(1, 3))]


def spd(*shape):
    a = RNG.normal(size=(*shape, 2, 2))
    return a @ np.swapaxes(a, -1, -2) + np.eye(2)


def ones(*shape):
    return RNG.uniform(1, 2, shape)


FIVE = [d.Normal(ones(5), 1.0), d.Normal(0.0, ones(5)), d.DiagNormal(ones(5, 3), ones(3)),
        d.DiagNormal(ones(5, 1), ones(3)), d.DiagNormal(ones(5, 3), 2.0), d.Poisson(ones(5, 2), event_ndim=1), d.MultivariateNormal(ones(5, 2), spd()),
        d.MultivariateNormal(ones(2), spd(5)), d.MultivariateNormal(ones(5, 2), spd(5)), d.Wishart(ones(5) + 4, spd()),
        d.Wishart(7, spd(5)), d.VonMisesFisher(np.eye(5), 2.0), d.VonMisesFisher(np.eye(5), ones(5)),
        d.Dirichlet(ones(5, 4)), d.Bernoulli(logits=ones(5)), d.Binomial(4, ones(5) / 3), d.Uniform(0.0, ones(5))]
GRID = [d.Normal(ones(3, 1), ones(4)), d.DiagNormal(ones(3, 1, 2), ones(4, 2)), d.Gamma(ones(3, 4), 1.0),
        d.MultivariateNormal(ones(4, 2), spd(3, 1)), d.Dirichlet(ones(3, 4, 2))]


def rows(dist):
    return dist.parameters().reshape(*dist.batch_shape, -1)


@pytest.mark.parametrize("dist, keys", [(x, KEYS) for x in FIVE] + [(x, GRID_KEYS) for x in GRID],
                         ids=lambda x: type(x).__name__)
def test_families(dist, keys):
    whole = np.broadcast_to(rows(dist), dist.batch_shape + (rows(dist).shape[-1],))
    numbers = np.arange(np.prod(dist.batch_shape)).reshape(dist.batch_shape)
    for key in keys:
        part = dist[key]
        assert type(part) is type(dist) and part.batch_shape == numbers[key].shape
        assert part.event_shape == dist.event_shape
        expected = whole.reshape(-1, whole.shape[-1])[numbers[key].ravel()]
        np.testing.assert_array_equal(part.parameters(), expected)
        if len(part.batch_shape) == 1 and part.batch_shape[0]:
            np.testing.assert_array_equal(kl.pairwise(part, part), kl.pairwise(part[:], part[:]))
    assert dist.batch_shape == numbers.shape  # as it was


def test_answers():
    P = d.DiagNormal(ones(50, 3), ones(50, 3))
    np.testing.assert_array_equal(kl.pairwise(P[10:20], P), kl.pairwise(P, P)[10:20])
    np.testing.assert_allclose(kl.pairwise(P[[7, 3]], P[::2]), kl.pairwise(P, P)[[7, 3]][:, ::2], rtol=1e-12)
    assert [x.loc.shape for x in P][:2] == [(3,), (3,)] and len(list(P)) == 50
    assert np.shares_memory(P[10:20].loc, P.loc)
    shared = d.MultivariateNormal(ones(50, 2), spd())
    assert shared[:10].scale_tril.shape == (2, 2)  # not ten of them


@pytest.mark.parametrize("parameter", ["probs", "counts", "logits"])
def test_categorical(parameter):
    x = RNG.dirichlet(np.ones(6), (5, 3))
    dist = kl.Categorical(**{parameter: x})
    for key in KEYS:
        np.testing.assert_array_equal(dist[key].values, x[key])
    for key in ((..., 0), (1, 2), ([0, 4], slice(2)), (slice(None), None)):
        index = (*key, slice(None))
        np.testing.assert_array_equal(dist[key].values, x[index])
        assert dist[key].parameter == parameter
    assert len(dist) == 5 and len(dist[0]) == 3
    assert kl.Categorical(counts=x[0], smoothing=0.5)[1:].smoothing == 0.5


def test_sparse():
    x = RNG.poisson(0.5, (5, 7)) + np.eye(5, 7)
    dist = kl.Categorical(counts=scipy.sparse.csr_array(x), smoothing=0.1)
    for key in (slice(1, 4), [4, 0, 0], np.arange(5) > 2, slice(0)):
        part = dist[key]
        assert scipy.sparse.issparse(part.values)
        np.testing.assert_array_equal(part.values.toarray(), x[key])
    np.testing.assert_array_equal(dist[3].values, x[3])
    np.testing.assert_array_equal(kl.pairwise(dist[1:3], dist), kl.pairwise(dist, dist)[1:3])


@pytest.mark.parametrize("dist", [
    d.Normal(ones(5), 1.0), d.DiagNormal(ones(5, 3), 1.0), kl.Categorical(probs=np.eye(5)),
    kl.Categorical(counts=scipy.sparse.csr_array(np.eye(5))),
], ids=lambda x: type(x).__name__)
def test_what_is_not_there(dist):
    """Neither rows beyond the batch nor the coordinates of one distribution."""
    for key in (5, -6, (0, 0), (slice(None), 1), np.ones(4, bool)):
        with pytest.raises(IndexError):
            dist[key]
    with pytest.raises(TypeError, match="one (Normal|DiagNormal|Categorical) distribution cannot be indexed"):
        dist[0][0]
    with pytest.raises(TypeError, match="no length"):
        len(dist[0])
