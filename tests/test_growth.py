"""No cliffs in correctness: every question at sizes on both sides of each block, one of n, m, K, k varied at a time."""

from functools import cache

import numpy as np
import pytest

import klfast as kl

SIZES = (1, 2, 7, 63, 64, 65, 1000)
BASE = {"n": 9, "m": 150, "K": 20, "k": 5}
SHAPES = [{**BASE, name: size, **({"m": 1100} if name == "k" else {})} for name in BASE for size in SIZES]
SHAPES = [shape | {"k": min(shape["k"], shape["m"])} for shape in SHAPES]
RTOL = 1e-12
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(f"{x}{shape[x]}" for x in shape))


@cache
def _data(n, m, K):
    rng = np.random.default_rng(5)
    P, Q = rng.dirichlet(np.ones(K), n), rng.dirichlet(np.ones(K), m)
    p, q = (np.array(x, np.longdouble) for x in (P, Q))
    p, q = (x / x.sum(axis=1, keepdims=True) for x in (p, q))
    # Eleven more bits than the answer: the textbook formula has the digits that float64 would lose.
    values = ((p * np.log(p)).sum(axis=1)[:, None] - p @ np.log(q).T).astype(np.float64) if K > 1 else np.zeros((n, m))
    for x in (P, Q, values):
        x.flags.writeable = False
    return P, Q, values


def data(shape):
    """P, Q and all values."""
    return _data(shape["n"], shape["m"], shape["K"])


@every_shape
def test_pairwise(shape):
    P, Q, values = data(shape)
    np.testing.assert_allclose(kl.pairwise(P, Q), values, rtol=RTOL)
    np.testing.assert_allclose(kl.pairwise(P, Q, dtype=np.float32), values, rtol=1.1e-4)


@every_shape
def test_rowwise(shape):
    P, Q, values = data(shape)
    columns = np.arange(len(P)) % len(Q)
    np.testing.assert_allclose(kl.rowwise(P, Q[columns]), values[np.arange(len(P)), columns], rtol=RTOL)


@every_shape
def test_kneighbors_and_nearest(shape):
    P, Q, values = data(shape)
    found, columns = kl.kneighbors(P, Q, shape["k"])
    np.testing.assert_allclose(found, np.sort(values, axis=1)[:, :shape["k"]], rtol=RTOL)
    np.testing.assert_allclose(found, np.take_along_axis(values, columns, 1), rtol=RTOL)
    assert all(len(set(row)) == shape["k"] for row in columns.tolist())
    nearest, column = kl.nearest(P, Q)
    assert nearest.tobytes() == found[:, 0].tobytes() and column.tolist() == columns[:, 0].tolist()


@every_shape
@pytest.mark.parametrize("share", [0.05, 0.95])
def test_radius(shape, share):
    P, Q, values = data(shape)
    ordered = np.append(np.sort(values.ravel()), 2 * values.max())
    at = int(share * values.size)
    radius = (ordered[at] + ordered[at + 1]) / 2  # between two values, so that no rounding decides
    found = kl.radius_neighbors(P, Q, radius)
    rows, columns = np.repeat(np.arange(len(P)), np.diff(found.indptr)), found.indices
    np.testing.assert_allclose(found.data, values[rows, columns], rtol=RTOL)
    assert set(zip(rows.tolist(), columns.tolist())) == set(zip(*(x.tolist() for x in np.nonzero(values <= radius))))
    assert len(columns) == (values <= radius).sum()


@every_shape
@pytest.mark.parametrize("divergence", ["kl", "js_distance"])
def test_reduce(shape, divergence):
    """kl has means without pairs; js_distance goes by tiles, as least and largest do."""
    P, Q, values = data(shape)
    if divergence != "kl":
        values = kl.pairwise(P, Q, divergence)
    for axis in (0, 1):
        for op, numpy in (("sum", np.sum), ("mean", np.mean), ("min", np.min), ("max", np.max)):
            np.testing.assert_allclose(kl.reduce(P, Q, op, divergence, axis=axis), numpy(values, axis=axis),
                                       rtol=2 * RTOL, err_msg=f"{op}, axis {axis}")
