"""A value depends on its rows and on the centre, and on nothing else: not threads, tiles, batches, order, FMA ISAs."""

import numpy as np
import pytest
from clouds import LOGITS, operands, rows
from named import ALL, FEW, takes

import klfast as kl
from klfast import plan

NAMES = ["dirichlet-1", "dirichlet-0.05", "five-clouds-1e-2", "duplicates", "zero-ridden", "long-rows", "logits",
         "logits-masks"]
FUNCTIONS = {
    "rowwise": lambda P, Q, **n: [kl.rowwise(P, _resized(Q, P.shape[0]), **n)],
    "entropy": lambda P, Q, **n: [kl.entropy(P, **n), kl.entropy(Q, **n)],
    "pairwise64": lambda P, Q, **n: [kl.pairwise(P, Q, **n), kl.pairwise(P, Q, "cross_entropy", **n)],
    "pairwise32": lambda P, Q, **n: [kl.pairwise(P, Q, dtype="float32", **n)],
    "reverse": lambda P, Q, **n: [kl.pairwise(P, Q, "reverse_kl", **n)],
    "kneighbors": lambda P, Q, **n: [*kl.kneighbors(P, Q, 7, **n), *kl.kneighbors(Q, k=3, **n)],
    "radius": lambda P, Q, **n: csr(kl.radius_neighbors(P, Q, 1.0, **n)),
    "reduce": lambda P, Q, **n: [kl.reduce(P, Q, op, axis=axis, **n) for op in ("sum", "max") for axis in (0, 1)],
}


def csr(x):
    return [x.data, x.indices, x.indptr]


def every_consumer(divergence):
    """A function (P, Q, n_jobs) of what every consumer gives, as in FUNCTIONS."""
    def call(P, Q, **n):
        left = part(P, np.arange(min(P.shape[0], 40)))
        terms = [] if divergence == "cross_entropy" else [kl.contributions(left, part(left, [0]), divergence, **n)]
        return [kl.rowwise(P, _resized(Q, P.shape[0]), divergence, **n), kl.pairwise(P, Q, divergence, **n),
                kl.pairwise(P, Q, divergence, dtype="float32", **n), *kl.kneighbors(P, Q, 7, divergence, **n),
                *csr(kl.radius_neighbors(P, Q, 0.5, divergence, **n)), kl.reduce(P, Q, "sum", divergence, **n),
                *kl.pairwise_chunked(left, Q, divergence, working_memory=0.02, **n), *terms]

    return call


def _resized(dist, n):
    return part(dist, np.resize(np.arange(dist.shape[0]), n))


def part(dist, index):
    return kl.Categorical(**{dist.parameter: dist.values[index]})


def assert_same_bits(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b):
        assert x.dtype == y.dtype and x.shape == y.shape
        np.testing.assert_array_equal(x, y)
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_threads(all_threads, name, function):
    P, Q = operands(name, 130, 300)
    one = FUNCTIONS[function](P, Q, n_jobs=1)
    for n_jobs in (2, 3):
        assert_same_bits(one, FUNCTIONS[function](P, Q, n_jobs=n_jobs))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("name", NAMES)
def test_isas_with_fma(each_isa, name, function):
    P, Q = operands(name, 70, 200)
    results = list(each_isa(lambda: FUNCTIONS[function](P, Q)).values())
    if len(results) < 2:
        pytest.skip("this machine has fewer than two ISAs with fused multiply-adds")
    for other in results[1:]:
        assert_same_bits(results[0], other)


@pytest.mark.parametrize("name, divergence", [("dirichlet-0.05", d) for d in ALL] + [
    (name, d) for name in ("zero-ridden", "logits-masks") for d in FEW if takes(d, name in LOGITS)])
def test_every_divergence(all_threads, each_isa, name, divergence):
    """Threads, and ISAs with fused multiply-adds."""
    P, Q = operands(name, 50, 100)
    call = every_consumer(divergence)
    results = [*each_isa(lambda: call(P, Q, n_jobs=1)).values()]
    if divergence in FEW and name == "dirichlet-0.05":
        results.append(call(P, Q, n_jobs=2))
    for other in results[1:]:
        assert_same_bits(results[0], other)


@pytest.mark.parametrize("name", NAMES)
def test_many_rows_make_one_centre(all_threads, each_isa, name):
    """More rows than one task of the centre's sum takes, for any number of threads and ISAs."""
    P, Q = operands(name, 3, 2500)
    results = [*each_isa(lambda: kl.pairwise(P, Q, n_jobs=1)).values(), *(kl.pairwise(P, Q, n_jobs=n) for n in (2, 5))]
    for other in results[1:]:
        assert_same_bits([results[0]], [other])


@pytest.mark.parametrize("divergence", FEW)
def test_batches_of_every_shape(divergence, rng):
    """A row's values do not depend on the rows beside it."""
    P, Q = operands("dirichlet-0.05", 60, 150)
    index = kl.Index(Q, divergence)
    order = rng.permutation(60)
    for rows_of in (order, order[:1], order[:29]):
        some = part(P, rows_of)
        for dtype in ("float32", "float64"):
            assert_same_bits([index.pairwise(P, dtype=dtype)[rows_of]], [index.pairwise(some, dtype=dtype)])
        assert_same_bits([x[rows_of] for x in index.kneighbors(P, 6)], index.kneighbors(some, 6))
        assert_same_bits([index.reduce(P, "sum")[rows_of]], [index.reduce(some, "sum")])
        near, some_near = index.radius_neighbors(P, 0.5), index.radius_neighbors(some, 0.5)
        for i, row in enumerate(rows_of):
            at, here = slice(*near.indptr[row : row + 2]), slice(*some_near.indptr[i : i + 2])
            assert_same_bits([near.data[at], near.indices[at]], [some_near.data[here], some_near.indices[here]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "cross_entropy"])
@pytest.mark.parametrize("name", NAMES)
def test_batches_and_order(name, divergence, dtype, rng):
    P, Q = operands(name, 60, 150)
    index = kl.Index(Q, divergence)
    whole, neighbours = index.pairwise(P, dtype=dtype), index.kneighbors(P, 6)
    for cut in ([slice(0, 1), slice(1, 60)], [slice(i, i + 13) for i in range(0, 60, 13)], [rng.permutation(60)]):
        for rows_of in cut:
            assert_same_bits([whole[rows_of]], [index.pairwise(part(P, rows_of), dtype=dtype)])
            assert_same_bits([x[rows_of] for x in neighbours], index.kneighbors(part(P, rows_of), 6))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_references(name, rng):
    """Permuted references permute the neighbours' values; their numbers too, up to ties."""
    P, Q = operands(name, 30, 150)
    order = rng.permutation(150)
    values, columns = kl.kneighbors(P, Q, 20)
    permuted_values, permuted_columns = kl.kneighbors(P, part(Q, order), 20)
    np.testing.assert_array_equal(values, permuted_values)
    tie = values[:, 1:] == values[:, :-1]
    distinct = ~np.pad(tie, ((0, 0), (1, 0))) & ~np.pad(tie, ((0, 0), (0, 1))) & (values < values[:, -1:])
    np.testing.assert_array_equal(columns[distinct], order[permuted_columns][distinct])


@pytest.mark.parametrize("divergence", ["kl", "jeffreys", "js_distance", "total_variation", "renyi:2"])
def test_tiles(all_threads, monkeypatch, divergence):
    """Blocks of any size give the same bits."""
    P, Q = operands("dirichlet-0.05", 100, 700)
    results = []
    for shape in ((24, 64, 1), (48, 128, 3), (96, 512, 1), (240, 1024, 7)):
        monkeypatch.setattr(plan, "blocks", lambda *_, shape=shape: plan.Blocks(*shape))
        index = kl.Index(Q, divergence)
        results.append([index.pairwise(P), index.pairwise(P, dtype="float32"), *index.kneighbors(P, 9),
                        *csr(index.radius_neighbors(P, 0.3)), index.reduce(P, "sum")])
    for other in results[1:]:
        assert_same_bits(results[0], other)


def test_layout_does_not_matter():
    p, q = rows("dirichlet-0.05", 40, 90)
    expected = [kl.rowwise(p, q[:40]), kl.pairwise(p, q), *kl.kneighbors(p, q, 5), kl.entropy(p)]
    for view in (np.asfortranarray, lambda x: np.repeat(x, 2, axis=1)[:, ::2], lambda x: x[::-1].copy()[::-1],
                 lambda x: x[:, ::-1].copy()[:, ::-1]):
        P, Q = view(p), view(q)
        assert_same_bits(expected, [kl.rowwise(P, Q[:40]), kl.pairwise(P, Q), *kl.kneighbors(P, Q, 5), kl.entropy(P)])
