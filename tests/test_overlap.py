"""Rows far apart under Renyi's divergence and its relatives: values from sum p^s q^t, where features leave doubts."""

import numpy as np
import pytest
from clouds import brute_force

import klfast as kl

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
