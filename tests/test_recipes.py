"""CONTRIBUTING's recipes hold: what the engine has terms for becomes a divergence by one row of the table."""

import numpy as np
import pytest

import klfast as kl
from klfast.divergences import Divergence

NEW = {
    "half_chi2": (Divergence("half_chi2", "sum_k (p_k - q_k)^2 / (2 q_k)", kind="power", number=2.0),
                  lambda p, q: ((p - q) ** 2 / q).sum() / 2),
    "root_of_triangular": (Divergence("root_of_triangular", "sqrt(triangular)", kind="triangular", finish="sqrt"),
                           lambda p, q: np.sqrt(((p - q) ** 2 / (p + q)).sum())),
    "log_of_jeffreys": (Divergence("log_of_jeffreys", "log(1 + 2 jeffreys)", kind="jeffreys", finish="log", scale=2.0),
                        lambda p, q: np.log1p(2 * ((p - q) * np.log(p / q)).sum())),
}


@pytest.mark.parametrize("name", NEW)
def test_a_row_of_the_table_is_enough(isa, name):
    divergence, formula = NEW[name]
    rng = np.random.default_rng(1)
    P, Q = rng.dirichlet(np.ones(19), 30), rng.dirichlet(np.ones(19), 40)
    expected = np.array([[formula(p, q) for q in Q] for p in P])
    near = np.sort(expected, axis=1)[:, :3]
    radius = float(np.sort(expected, axis=None)[99:101].mean())
    np.testing.assert_allclose(kl.pairwise(P, Q, divergence), expected, rtol=1e-12)
    np.testing.assert_allclose(kl.rowwise(P[:, None], Q, divergence), expected, rtol=1e-12)
    np.testing.assert_allclose(kl.kneighbors(P, Q, 3, divergence)[0], near, rtol=1e-12)
    np.testing.assert_allclose(kl.nearest(P, Q, divergence)[0], near[:, 0], rtol=1e-12)
    assert kl.radius_neighbors(P, Q, radius, divergence).nnz == 100
    np.testing.assert_allclose(kl.reduce(P, Q, "mean", divergence), expected.mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(np.concatenate(list(kl.pairwise_chunked(P, Q, divergence))), expected, rtol=1e-12)
    assert kl.contributions(P, Q[:30], divergence).shape == (30, 19)
