"""Rows far apart under Renyi's divergence and its relatives: by sum p^s q^t, where features would leave doubts."""

import numpy as np
import pytest
from clouds import brute_force

import klfast as kl
from klfast import _engine

DIVERGENCES = ["renyi:0.5", "renyi:0.9", "bhattacharyya", "chernoff:0.3", "renyi:2", "renyi:3.5", "chi2", "neyman_chi2",
               "tsallis:2.5", "alpha:4"]
RTOL = {np.float64: 1e-12, np.float32: 1e-4}


def rows(kind, n, bins, rng):
    x = 10 * rng.normal(size=(n, bins))
    if kind == "logits":
        return kl.Categorical(logits=x)
    weights = np.exp(x - x.max(1, keepdims=True))
    if kind == "bare":
        weights[:, ::7] = 0
    return kl.Categorical(counts=weights)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("kind, bins", [("probs", 64), ("probs", 5), ("bare", 33), ("logits", 70), ("logits", 300)])
def test_far_apart(isa, kind, bins, divergence, rng):
    """As the direct kernel has them, without asking it but for a few."""
    P, Q = rows(kind, 40, bins, rng), rows(kind, 90, bins, rng)
    exact, index = brute_force(P, Q, divergence), kl.Index(Q, divergence)
    for dtype, rtol in RTOL.items():
        values = index.pairwise(P, dtype=dtype)
        finite = exact < 1e30
        np.testing.assert_allclose(values[finite], exact[finite], rtol=rtol)
        np.testing.assert_array_equal(values[~finite] > 1e29, True)
        if bins > 5:
            assert index.info["recomputed"] <= 0.02 * index.info["pairs"]


@pytest.mark.parametrize("divergence", ["renyi:0.5", "renyi:2"])
def test_near_and_far(divergence, rng):
    """Clouds far from each other: the pairs within one are left to the features or to the direct kernel."""
    centers = np.exp(8 * rng.normal(size=(6, 50)))
    for spread in (1e-9, 1e-4, 1e-2, 0.3):
        P, Q = (kl.Categorical(counts=np.repeat(centers, 9, axis=0) * np.exp(spread * rng.normal(size=(54, 50))))
                for _ in range(2))
        np.testing.assert_allclose(kl.pairwise(P, Q, divergence), brute_force(P, Q, divergence), rtol=1e-12)


@pytest.mark.parametrize("divergence", ["renyi:0.5", "chi2"])
@pytest.mark.parametrize("kind", ["bare", "logits"])
def test_nothing_but_the_pair_decides(kind, divergence, rng):
    """Not the threads, nor the rows and columns beside it that were asked for before."""
    P, Q = rows(kind, 130, 40, rng), rows(kind, 700, 40, rng)
    index = kl.Index(Q, divergence, n_jobs=1)
    values = index.pairwise(P)
    for threads in (2, 3):
        assert kl.pairwise(P, Q, divergence, n_jobs=threads).tobytes() == values.tobytes()
        assert index.pairwise(P, n_jobs=threads).tobytes() == values.tobytes()
    chunks = list(kl.pairwise_chunked(P, Q, divergence=divergence, working_memory=0.05))
    assert len(chunks) > 5 and np.concatenate(chunks).tobytes() == values.tobytes()
    assert index.reduce(P, "max").tobytes() == values.max(axis=1).tobytes()


def test_rows_that_float64_does_not_hold():
    """Probabilities below its range, and disjoint rows, are the direct kernel's."""
    tiny = np.full((3, 4), 1e-310)
    tiny[:, 0] = 1
    P = kl.Categorical(counts=np.vstack([tiny * [1, 2, 3, 4], np.eye(4)]))
    Q = kl.Categorical(counts=np.vstack([tiny[:, ::-1], np.eye(4)[::-1]]))
    for divergence in ("renyi:0.5", "bhattacharyya", "renyi:2"):
        np.testing.assert_allclose(kl.pairwise(P, Q, divergence), brute_force(P, Q, divergence), rtol=1e-12)


@pytest.mark.parametrize("divergence", ["bhattacharyya", "renyi:0.7"])
@pytest.mark.parametrize("bins, density", [(30, 0.1), (64, 0.05), (65, 0.03), (300, 0.01)])
def test_rows_that_do_not_meet(isa, bins, density, divergence, rng):
    """Sparse histograms: infinite where no bin has mass of both, which the direct kernel is not asked for."""
    P, Q = (rng.poisson(3, (n, bins)) * (rng.random((n, bins)) < density) for n in (70, 200))
    P[:, 0] += P.sum(1) == 0
    Q[:, -1] += Q.sum(1) == 0
    apart = P.astype(float) @ Q.T == 0
    for p, q in ((kl.Categorical(counts=P), kl.Categorical(counts=Q)),
                 (kl.Categorical(logits=logs(P)), kl.Categorical(logits=logs(Q)))):
        for dtype in (np.float64, np.float32):
            index = kl.Index(q, divergence)
            values = index.pairwise(p, dtype=dtype)
            np.testing.assert_array_equal(np.isinf(values), apart)
            np.testing.assert_allclose(values, brute_force(p, q, divergence), rtol=RTOL[dtype])
            assert index.info["recomputed"] <= 0.05 * values.size < apart.sum()
    values, columns = index.kneighbors(p, 5)
    np.testing.assert_array_equal(values, np.sort(brute_force(p, q, divergence), axis=1)[:, :5])
    assert (columns[np.isinf(values)] >= 0).all()


def logs(x):
    with np.errstate(divide="ignore"):
        return np.log(x)


@pytest.mark.parametrize("divergence", DIVERGENCES)
@pytest.mark.parametrize("kind, bins", [("probs", 64), ("bare", 33), ("logits", 70)])
def test_searches(isa, kind, bins, divergence, rng):
    """The exact neighbours, of few candidates: bounds tell the pairs apart."""
    P, Q = rows(kind, 40, bins, rng), rows(kind, 600, bins, rng)
    exact, index = brute_force(P, Q, divergence), kl.Index(Q, divergence)
    order = np.argsort(exact, axis=1, kind="stable")[:, :7]
    values, columns = index.kneighbors(P, 7)
    np.testing.assert_array_equal(columns, order)
    np.testing.assert_array_equal(values, np.take_along_axis(exact, order, 1))
    assert index.info["recomputed"] <= 0.1 * index.info["pairs"]
    radius = np.median(values)
    found = index.radius_neighbors(P, radius)
    assert found.nnz == (exact <= radius).sum()
    assert index.info["recomputed"] <= 0.1 * index.info["pairs"]
    means = index.reduce(P, "max")
    np.testing.assert_allclose(means, exact.max(1), rtol=1e-12)


def test_forms(rng):
    """Near rows keep their features; far ones do not, whatever is asked of them."""
    center = rng.dirichlet(np.ones(40))
    near = center * np.exp(1e-3 * rng.normal(size=(90, 40)))
    far = np.exp(10 * rng.normal(size=(90, 40)))
    for divergence in ("renyi:2", "chi2", "renyi:0.5"):
        shapes = {}
        for name, x in (("near", near), ("far", far)):
            reference = kl.Index(kl.Categorical(counts=x), divergence)._reference
            shapes[name] = {(search, single): reference.tiles(search, single).shape
                            for search in (False, True) for single in (False, True)}
        assert set(shapes["near"].values()) == {_engine.PRODUCT}
        features = divergence == "renyi:0.5"
        assert shapes["far"] == {(search, single): _engine.PRODUCT if search and features else _engine.OVERLAP
                                 for search in (False, True) for single in (False, True)}
    assert kl.Index(far[:1] / far[:1].sum(), "renyi:2")._reference.tiles(False, False).shape == _engine.PRODUCT
    assert kl.Index(np.repeat(center[None], 9, 0), "chi2")._reference.tiles(False, False).shape == _engine.PRODUCT
