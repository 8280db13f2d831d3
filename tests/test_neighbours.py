"""kneighbors and nearest are exact: the values of rowwise to the bit, the columns of brute force, on every ISA."""

import numpy as np
import pytest
import scipy.sparse
from clouds import LOGITS, NAMES, brute_force, categorical, operands, rows
from clouds import exact as exact_values
from named import ALL, FEW, MEASURES, takes

import klfast as kl
from klfast import plan
from klfast.reference import smallest


def assert_exact(found, exact, k, leave_out_self=False):
    values, columns = smallest(exact, k, leave_out_self)
    assert found[0].dtype == np.float64 and found[1].dtype == np.int64
    assert found[0].shape == found[1].shape == (len(exact), k)
    np.testing.assert_array_equal(found[1], columns)
    assert found[0].tobytes() == values.tobytes()


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "cross_entropy"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_brute_force(isa, name, divergence):
    P, Q = operands(name, 25, 150)
    exact = brute_force(P, Q, divergence)
    index = kl.Index(Q, divergence)
    for k in (1, 10, 149, 150):
        assert_exact(index.kneighbors(P, k), exact, k)
    values, columns = index.nearest(P)
    np.testing.assert_array_equal(columns, smallest(exact, 1)[1][:, 0])
    assert values.shape == (25,) and values.tobytes() == smallest(exact, 1)[0].tobytes()


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "cross_entropy"])
@pytest.mark.parametrize("name", NAMES)
def test_leaves_itself_out(isa, name, divergence):
    m = 40 if name.startswith("wide") else 90
    Q = operands(name, 1, m)[1]
    exact = brute_force(Q, Q, divergence)
    index = kl.Index(Q, divergence)
    for k in (1, 10, m - 2, m - 1):
        assert_exact(index.kneighbors(None, k), exact, k, leave_out_self=True)


# Under every ISA; the other clouds under the best alone.
CLOUDS = ["dirichlet-0.05", "cloud-1e-4", "zero-ridden", "near-ties", "duplicates", "logits-masks"]
OTHERS = [name for name in NAMES if name not in [*CLOUDS, "wide", "wide-with-empty-bins"]]


def check_divergence(name, divergence):
    P, Q = operands(name, 11, 70)
    right, own = exact_values(name, 11, 70, divergence), brute_force(Q, Q, divergence)
    index = kl.Index(Q, divergence)
    for k in (1, 5, 70):
        assert_exact(index.kneighbors(P, k), right, k)
    assert_exact([x[:, None] for x in index.nearest(P)], right, 1)
    for k in (5, 69):
        assert_exact(index.kneighbors(None, k), own, k, leave_out_self=True)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in CLOUDS for d in ALL if takes(d, name in LOGITS)])
def test_every_divergence(isa, name, divergence):
    check_divergence(name, divergence)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in OTHERS for d in FEW if takes(d, name in LOGITS)])
def test_every_shape_on_every_cloud(name, divergence):
    check_divergence(name, divergence)


@pytest.mark.parametrize("divergence", MEASURES)
def test_measures_with_equal_and_proportional_rows(isa, divergence):
    """Multiples of a row lie at different distances; copies of it, and rows of zeros, tie."""
    base = np.array([[0.25, 0.5, 0.0, 0.25], [0, 0, 0, 0], [1.0, 3.0, 0, 2.0]])
    Q = kl.Categorical(counts=np.concatenate([base * factor for factor in np.resize([1.0, 2.0, 0.5, 1.0, 3.7], 30)]))
    P = kl.Categorical(counts=np.concatenate([base, 2 * base, [[1e-3, 1, 5, 0.1]]]))
    for k in (1, 7, 90):
        assert_exact(kl.kneighbors(P, Q, k, divergence), brute_force(P, Q, divergence), k)
    assert_exact(kl.kneighbors(Q, k=40, divergence=divergence), brute_force(Q, Q, divergence), 40, leave_out_self=True)
    if divergence == "generalized_kl":  # 2 p is nearer to 3 p than p is
        values, columns = kl.nearest([[2.0, 2]], [[1.0, 1], [3, 3]], divergence)
        assert columns.tolist() == [1] and values[0] > 0


@pytest.mark.parametrize("divergence", MEASURES)
@pytest.mark.parametrize("size", [1e40, 1e270, 6e289, 1e300, 1e-300])
def test_measures_of_any_size(divergence, size):
    """One row far beyond the others moves the centre there; neighbours are those of brute force all the same."""
    Q = kl.Categorical(counts=np.array([[size, size / 2], [1.0, 2.0], [1.0, 2.0], [3.0, 2.0]]))
    exact = brute_force(Q, Q, divergence)
    assert_exact(kl.kneighbors(Q, k=3, divergence=divergence), exact, 3, leave_out_self=True)
    assert kl.radius_neighbors(Q, radius=5.0, divergence=divergence).nnz == (exact <= 5).sum() - 4


@pytest.mark.parametrize("divergence", FEW)
def test_many_references_of_every_shape(all_threads, isa, divergence):
    """Several tiles of columns, split among threads and merged."""
    P, Q = operands("dirichlet-0.05", 3, 1500)
    right = brute_force(P, Q, divergence)
    for k, n_jobs in ((1, 2), (60, 2), (60, 1)):
        assert_exact(kl.kneighbors(P, Q, k, divergence, n_jobs=n_jobs), right, k)


@pytest.mark.parametrize("name", ["dirichlet-1", "five-clouds-1e-2", "duplicates", "zero-ridden", "near-ties",
                                  "logits"])
def test_many_references(all_threads, isa, name):
    """Several tiles of columns, few rows: the columns are split among threads and the parts merged."""
    P, Q = operands(name, 6, 3000)
    exact = brute_force(P, Q)
    for k, n_jobs in ((1, 2), (7, 2), (60, 2), (60, 1), (1500, 2)):
        assert_exact(kl.kneighbors(P, Q, k, n_jobs=n_jobs), exact, k)


def test_hundreds_of_tiles(isa):
    """Far more tiles of columns than there are bits in a word, in one part."""
    rng = np.random.default_rng(5)
    P, Q = rng.dirichlet(np.ones(3), 3), rng.dirichlet(np.ones(3), 60_000)
    assert_exact(kl.kneighbors(P, Q, 4, n_jobs=1), np.stack([kl.rowwise(p, Q) for p in P]), 4)


SAMPLED = plan.SAMPLE_FROM + 1000


def by_rows(P, Q):
    return np.stack([kl.rowwise(p, Q) for p in P])


def test_thresholds_of_a_sample(all_threads, isa, rng):
    """So many references that thresholds start from a sample of them: in one part, and in parts of the columns."""
    P, Q = rng.dirichlet(np.ones(5), 5), rng.dirichlet(np.ones(5), SAMPLED)
    exact = by_rows(P, Q)
    for k, n_jobs in ((10, 1), (100, 2), (100, 1), (1000, 2), (1000, 1), (4000, 1)):
        assert_exact(kl.kneighbors(P, Q, k, n_jobs=n_jobs), exact, k)


@pytest.mark.parametrize("near", [True, False])
def test_a_sample_that_misleads(all_threads, isa, rng, near):
    """The sampled references lie nearer than all others, so that thresholds start too low; or farther than those."""
    P, Q = rng.dirichlet(np.ones(5), 5), rng.dirichlet(np.ones(5), SAMPLED)
    P[:3] = P[0] * rng.uniform(0.99, 1.01, (3, 5))
    Q[plan.sample(SAMPLED, 5)] = (P[0] if near else np.array([1, 1e-6, 1e-6, 1e-6, 1e-6])) * rng.uniform(
        0.9, 1.1, (plan.SAMPLE, 5))
    P, Q = (x / x.sum(axis=1, keepdims=True) for x in (P, Q))
    exact = by_rows(P, Q)
    for k, n_jobs in ((30, 1), (1000, 2), (1000, 1)):
        assert_exact(kl.kneighbors(P, Q, k, n_jobs=n_jobs), exact, k)


def test_ties_within_a_sample(all_threads, isa, rng):
    """Multiples of seven rows: thousands of distances that differ by a rounding or not at all."""
    base = rng.dirichlet(np.ones(5), 7)
    Q = base[rng.integers(0, 7, SAMPLED)] * rng.uniform(1, 8, (SAMPLED, 1))
    P, Q = kl.Categorical(counts=np.concatenate([base[:1], rng.dirichlet(np.ones(5), 1)])), kl.Categorical(counts=Q)
    exact = brute_force(P, Q)
    for k, n_jobs in ((30, 1), (300, 2), (1000, 1)):
        assert_exact(kl.kneighbors(P, Q, k, n_jobs=n_jobs), exact, k)


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_most_of_many_references(isa, rng, share):
    """k beyond half of them, up to all; with `share` 0 most values are infinite, and fewer than k are finite."""
    P, Q = rng.dirichlet(np.ones(5), 2), rng.dirichlet(np.ones(5), SAMPLED)
    Q[200:, 0] *= share
    P, Q = kl.Categorical(counts=P), kl.Categorical(counts=Q)
    exact = brute_force(P, Q)
    assert (np.isfinite(exact).sum(axis=1) == (SAMPLED if share else 200)).all()
    for k in (1000, SAMPLED // 2 + 1, SAMPLED - 1, SAMPLED):
        assert_exact(kl.kneighbors(P, Q, k, n_jobs=1), exact, k)


def test_a_sample_leaves_few_candidates(rng):
    """Their number is near k where the thresholds of the first columns alone would leave k log(m / columns)."""
    P, Q = rng.dirichlet(np.ones(5), 50), rng.dirichlet(np.ones(5), SAMPLED)
    index = kl.Index(Q)
    index.kneighbors(P, 300, n_jobs=1)
    assert index.info["candidates"] < 50 * 300 * 2.5


@pytest.mark.parametrize("name", ["cloud-1e-3", "logits-cloud-1e-2", "logits-cloud-1e-5"])
def test_entropies_hide_no_neighbours(isa, name):
    """Cross-entropies of near rows agree in all of float32's digits: a row's entropy is no part of what is compared."""
    P, Q = operands(name, 50, 400)
    index = kl.Index(Q, "cross_entropy")
    index.kneighbors(P, 5)
    assert index.info["recomputed"] <= 0.05 * index.info["pairs"]


def test_a_sample_of_the_rows_themselves(rng):
    Q = rng.dirichlet(np.ones(5), SAMPLED)
    rows = [0, 1, SAMPLED // 2, SAMPLED - 1]
    values, columns = kl.kneighbors(Q, k=100)
    exact = by_rows(Q[rows], Q)
    exact[range(4), rows] = np.inf
    assert_exact((values[rows], columns[rows]), exact, 100)


@pytest.mark.parametrize("name", ["dirichlet-1", "duplicates", "zero-ridden"])
def test_many_rows(name):
    P, Q = operands(name, 500, 700)
    assert_exact(kl.kneighbors(P, Q, 5), brute_force(P, Q), 5)
    assert_exact(kl.kneighbors(Q, k=5), brute_force(Q, Q), 5, leave_out_self=True)


def test_ties_go_to_the_smaller_index(isa):
    """All references equal, at several scales and in an order that no sorting would leave."""
    base = np.array([0.1, 0.2, 0.7])
    Q = np.tile(base, (100, 1)) * np.resize([4.0, 1.0, 3.7, 0.5, 1.0], (100, 1))
    P = np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]])
    P, Q = kl.Categorical(counts=P), kl.Categorical(counts=Q)
    for k in (1, 3, 50, 99, 100):
        assert_exact(kl.kneighbors(P, Q, k), brute_force(P, Q), k)
    values, columns = kl.kneighbors(kl.Categorical(probs=np.tile([0.5, 0.5], (70, 1))), k=69)
    assert (values == 0).all()
    np.testing.assert_array_equal(columns, [np.delete(np.arange(70), i) for i in range(70)])


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl"])
def test_infinite_neighbours_come_last(isa, divergence):
    P, Q = operands("zero-ridden", 40, 120)
    exact = brute_force(P, Q, divergence)
    assert np.isinf(exact).mean() > 0.5
    assert_exact(kl.kneighbors(P, Q, 120, divergence), exact, 120)
    nowhere = np.zeros((1, 70))
    nowhere[0, 69] = 1.0  # a row that meets no reference: the first columns, at infinity
    Q = kl.Categorical(probs=np.pad(np.eye(69), ((0, 0), (0, 1))))
    values, columns = kl.kneighbors(nowhere, Q, 5, divergence)
    assert np.isinf(values).all() and columns.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("m, k", [(1, 1), (2, 1), (2, 2), (3, 3)])
def test_few_references(isa, m, k):
    P, Q = operands("three-bins", 5, m)
    assert_exact(kl.kneighbors(P, Q, k), brute_force(P, Q), k)
    if k < m:
        assert_exact(kl.kneighbors(Q, k=k), brute_force(Q, Q), k, leave_out_self=True)


@pytest.mark.parametrize("name", ["zero-ridden", "one-hot", "duplicates"])
def test_sparse(isa, name):
    p, q = rows(name, 30, 200)
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    SP, SQ = (kl.Categorical(counts=scipy.sparse.csr_array(x)) for x in (p, q))
    exact = brute_force(P, Q)
    for left, right in ((SP, SQ), (P, SQ), (SP, Q)):
        assert_exact(kl.kneighbors(left, right, 9), exact, 9)
    assert_exact(kl.kneighbors(SQ, k=9), brute_force(Q, Q), 9, leave_out_self=True)
    np.testing.assert_array_equal(kl.pairwise(SP, SQ), kl.pairwise(P, Q))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
def test_narrow_types_give_float64_distances(isa, dtype, rng):
    p, q = (rng.integers(0, 20, (size, 12)) + np.eye(12, dtype=int)[0] for size in (20, 100))
    P, Q = (kl.Categorical(counts=x.astype(dtype)) for x in (p, q))
    exact = brute_force(kl.Categorical(counts=p * 1.0), kl.Categorical(counts=q * 1.0))
    assert_exact(kl.kneighbors(P, Q, 11), exact, 11)


@pytest.mark.parametrize("divergence", FEW)
def test_sparse_and_narrow_of_every_shape(rng, divergence):
    p, q = (rng.integers(0, 5, (size, 12)) + np.eye(12, dtype=int)[0] for size in (10, 80))
    right = brute_force(kl.Categorical(counts=p * 1.0), kl.Categorical(counts=q * 1.0), divergence)
    for make in (lambda x: x.astype("float16"), lambda x: x.astype("uint8"), lambda x: scipy.sparse.csr_array(x * 1.0)):
        P, Q = (kl.Categorical(counts=make(x)) for x in (p, q))
        assert_exact(kl.kneighbors(P, Q, 11, divergence), right, 11)


@pytest.mark.parametrize("divergence", ["kl", "squared_hellinger", "jeffreys", "chi2", "js", "total_variation"])
@pytest.mark.parametrize("bins", [1, 2, 3, 4])
def test_rounded_multiples_of_one_row(isa, bins, divergence):
    """Distances of 1e-32 and equal rows among them: all is rounding, which the screen must allow for."""
    for seed in range(8):
        rng = np.random.default_rng(seed)
        base = rng.dirichlet(np.ones(bins), 1)
        P, Q = (kl.Categorical(counts=base * rng.uniform(1, 8, (size, 1))) for size in (15, 80))
        exact = brute_force(P, Q, divergence)
        for k in (1, 3, 10):
            assert_exact(kl.kneighbors(P, Q, k, divergence), exact, k)
        for radius in (0.0, np.median(exact)):
            assert kl.radius_neighbors(P, Q, radius, divergence).nnz == (exact <= radius).sum()


def mixed_brute_force(P, Q, divergence):
    return np.array([[float(kl.rowwise(categorical_row(P, i), categorical_row(Q, j), divergence))
                      for j in range(Q.shape[0])] for i in range(P.shape[0])])


def categorical_row(dist, i):
    return kl.Categorical(**{dist.parameter: dist.values[i]})


@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "js", "chi2", "hellinger", "skew_kl:0.5"])
def test_mixed_operands(divergence):
    """Weights and log-weights meet; multiples among the weights are equal rows, their logarithms need not be."""
    logits = rows("logits-masks", 5, 60)
    counts = np.random.default_rng(3).integers(1, 50, (40, 20))
    counts = np.concatenate([counts, 2 * counts, counts[:5], 3 * counts[:5]])
    for P, Q in ((kl.Categorical(logits=logits[0]), kl.Categorical(counts=counts)),
                 (kl.Categorical(counts=counts[:5]), kl.Categorical(logits=logits[1]))):
        exact = mixed_brute_force(P, Q, divergence)
        for k in (1, 6, 30):
            assert_exact(kl.kneighbors(P, Q, k, divergence), exact, k)


def test_index_is_asked_twice():
    P, Q = operands("duplicates", 20, 80)
    index = kl.Index(Q)
    first = index.kneighbors(P, 4)
    index.pairwise(P)
    index.kneighbors(None, 3)
    again = index.kneighbors(P, 4)
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again))


def test_screen_lets_little_through():
    """What makes it fast: on random data a row's exact values number a few k, not m."""
    P, Q = operands("dirichlet-1", 100, 3000)
    index = kl.Index(Q)
    index.kneighbors(P, 10)
    assert index.info["pairs"] == 300_000
    assert index.info["recomputed"] < 30 * 100


def test_names_cover_both_domains():
    assert set(LOGITS) < set(NAMES)
    for name in NAMES:
        P, Q = operands(name, 4, 9)
        assert P.shape[0] == 4 and Q.shape[0] == 9
        assert categorical(name, rows(name, 4, 9)[0]).parameter == P.parameter
