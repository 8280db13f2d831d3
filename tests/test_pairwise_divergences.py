"""pairwise of every divergence: within rtol of the values of rowwise, whatever the rows and the types."""

import numpy as np
import pytest
import scipy.sparse
from clouds import LOGITS, NAMES, brute_force, categorical, exact, operands, rows
from named import ALL, FEW, MEASURES, NORMALISED, takes
from test_pairwise import DIRECT, assert_within
from test_shapes import outputs

import klfast as kl
from klfast.divergences import find

# Under every ISA; the other clouds under the best alone, which has the most lanes.
CLOUDS = ["dirichlet-0.05", "cloud-1e-4", "three-bins", "zero-ridden", "scales", "logits-masks"]
COSTLY = ["wide", "wide-with-empty-bins"]
RTOL = {"float64": 1e-12 + DIRECT, "float32": 1e-4}


def check(name, n, m, divergence):
    P, Q = operands(name, n, m)
    index = kl.Index(Q, divergence)
    for dtype, rtol in RTOL.items():
        assert_within(index.pairwise(P, dtype=dtype), exact(name, n, m, divergence), rtol)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in CLOUDS for d in ALL if takes(d, name in LOGITS)])
def test_within_tolerance(isa, name, divergence):
    check(name, 25, 75, divergence)


@pytest.mark.parametrize("name, divergence", [(name, d) for name in NAMES if name not in CLOUDS + COSTLY for d in ALL
                                              if takes(d, name in LOGITS)])
def test_every_cloud(name, divergence):
    check(name, 25, 75, divergence)


@pytest.mark.parametrize("divergence", ALL)
@pytest.mark.parametrize("name", COSTLY)
def test_many_bins(name, divergence):
    check(name, 7, 66, divergence)


@pytest.mark.parametrize("divergence", FEW)
@pytest.mark.parametrize("rtol", [0, 1e-18, 3e-15, 1e-9, 1e-3, 0.9])
def test_meets_any_tolerance(isa, divergence, rtol):
    for name in ("dirichlet-1", "zero-ridden", "cloud-1e-5"):
        P, Q = operands(name, 20, 66)
        right = exact(name, 20, 66, divergence)
        values = kl.pairwise(P, Q, divergence, rtol=rtol)
        assert_within(values, right, rtol + DIRECT)
        if rtol == 0:
            np.testing.assert_array_equal(values, right)
        assert_within(kl.pairwise(P, Q, divergence, rtol=rtol, dtype="float32"), right, rtol + DIRECT + 2.0**-24)


@pytest.mark.parametrize("divergence", ALL)
def test_lengths(isa, rng, divergence):
    """Bins around a vector, a block of sums and a chain; rows and columns around a tile."""
    for K in (1, 2, 5, 63, 65, 257):
        for n, m in ((1, 1), (13, 35)):
            P, Q = (kl.Categorical(counts=rng.dirichlet(np.full(K, 0.7), size) + 1e-9) for size in (n, m))
            right = brute_force(P, Q, divergence)
            for dtype, rtol in RTOL.items():
                assert_within(kl.pairwise(P, Q, divergence, dtype=dtype), right, rtol)


@pytest.mark.parametrize("divergence", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float16", "int32"])
def test_narrow_rows(rng, divergence, dtype):
    p, q = (rng.integers(0, 9, (size, 12)) + np.eye(12, dtype=int)[0] for size in (20, 70))
    right = brute_force(kl.Categorical(counts=p * 1.0), kl.Categorical(counts=q * 1.0), divergence)
    P, Q = (kl.Categorical(counts=x.astype(dtype)) for x in (p, q))
    values = kl.pairwise(P, Q, divergence)
    assert values.dtype == (np.float64 if dtype == "int32" else np.float32)
    assert_within(values, right, RTOL[values.dtype.name])
    assert_within(kl.pairwise(P, Q, divergence, dtype="float64"), right, RTOL["float64"])


@pytest.mark.parametrize("divergence", ALL)
def test_sparse(divergence):
    p, q = rows("zero-ridden", 20, 70)
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    SP, SQ = (kl.Categorical(counts=scipy.sparse.csr_array(x)) for x in (p, q))
    dense = kl.pairwise(P, Q, divergence)
    for left, right in ((SP, SQ), (P, SQ), (SP, Q)):
        np.testing.assert_array_equal(kl.pairwise(left, right, divergence), dense)


@pytest.mark.parametrize("divergence", FEW)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_out_of_any_strides(rng, divergence, dtype):
    P, Q = rng.dirichlet(np.ones(6), 25), rng.dirichlet(np.ones(6), 70)
    wanted = kl.pairwise(P, Q, divergence, dtype=dtype)
    for name, out in outputs((25, 70), dtype).items():
        assert kl.pairwise(P, Q, divergence, out=out) is out
        np.testing.assert_array_equal(out, wanted, name)
    for view in (np.asfortranarray, lambda x: np.repeat(x, 3, axis=1)[:, ::3], lambda x: x[::-1].copy()[::-1]):
        np.testing.assert_array_equal(kl.pairwise(view(P), view(Q), divergence, dtype=dtype), wanted)


@pytest.mark.parametrize("divergence", ALL)
def test_index_is_asked_again(divergence):
    """In both precisions, with neighbours in between, and in a unit of its own."""
    P, Q = operands("dirichlet-0.05", 20, 90)
    index = kl.Index(Q, divergence)
    index.kneighbors(P, 3)
    for dtype in ("float64", "float32", "float64"):
        np.testing.assert_array_equal(index.pairwise(P, dtype=dtype), kl.pairwise(P, Q, divergence, dtype=dtype))
    if index.divergence.logarithmic:
        np.testing.assert_array_equal(index.pairwise(P, base=2), kl.pairwise(P, Q, divergence, base=2))
    np.testing.assert_array_equal(index.pairwise(P), kl.pairwise(P, Q, divergence))


@pytest.mark.parametrize("divergence", [name for name in ALL if find(name).logarithmic])
def test_base(rng, divergence):
    """In units of log(base); under a square root, as in scipy, its root."""
    P, Q = (rng.dirichlet(np.ones(6), 15) for _ in range(2))
    for base in (2, 10.0, np.float32(4)):
        unit = np.log(np.float64(base))
        unit = np.sqrt(unit) if find(divergence).finish == "sqrt" else unit
        np.testing.assert_allclose(kl.rowwise(P, Q, divergence, base=base), kl.rowwise(P, Q, divergence) / unit,
                                   rtol=1e-15)
        np.testing.assert_allclose(kl.pairwise(P, Q, divergence, base=base), kl.pairwise(P, Q, divergence) / unit,
                                   rtol=2.1e-12)
        np.testing.assert_allclose(kl.pairwise(P, Q, divergence, base=base, dtype="float32"),
                                   kl.pairwise(P, Q, divergence) / unit, rtol=2e-4)


@pytest.mark.parametrize("divergence", [name for name in ALL if not find(name).logarithmic])
def test_base_of_what_is_no_logarithm(divergence):
    P = np.array([[0.5, 0.5]])
    name = find(divergence).name.replace("(", r"\(").replace(")", r"\)")
    for call in (kl.rowwise, kl.pairwise, kl.contributions, kl.pairwise_chunked,
                 lambda P, Q, divergence, base: kl.reduce(P, Q, "sum", divergence, base=base)):
        with pytest.raises(ValueError, match=f"base: {name} is not a logarithm, so it has no base; leave base=None"):
            call(P, P, divergence, base=2)


@pytest.mark.parametrize("divergence", NORMALISED)
def test_mixed_operands(divergence):
    """Weights against log-weights."""
    p, q = rows("dirichlet-1", 20, 70)
    wanted = kl.pairwise(p, q, divergence)
    for P, Q in ((kl.Categorical(probs=p), kl.Categorical(logits=np.log(q) + 3)),
                 (kl.Categorical(logits=np.log(p) + 3), kl.Categorical(probs=q))):
        np.testing.assert_allclose(kl.pairwise(P, Q, divergence), wanted, rtol=1e-11)


@pytest.mark.parametrize("divergence", NORMALISED)
@pytest.mark.parametrize("name", ["duplicates", "proportional", "logits-shifted"])
def test_equal_rows_are_exactly_zero(name, divergence):
    """Enough columns that equal rows are found by their keys, and few enough that the kernel decides."""
    for m in (20, 150):
        P, Q = operands(name, 40, m)
        right = exact(name, 40, m, divergence)
        values = kl.pairwise(P, Q, divergence)
        np.testing.assert_array_equal(values == 0, right == 0)
        assert not np.signbit(values).any()


@pytest.mark.parametrize("divergence", MEASURES)
def test_proportional_rows_of_measures_are_not_equal(divergence):
    base = np.array([[0.25, 0.5, 0.25], [1.0, 0.0, 2.0]])
    Q = np.concatenate([base * factor for factor in np.resize([1.0, 2.0, 0.5, 1.0], 40)])
    values = kl.pairwise(base, Q, divergence)
    equal = (base[:, None] == Q[None]).all(axis=-1)
    np.testing.assert_array_equal(values == 0, equal)
    right = brute_force(kl.Categorical(counts=base), kl.Categorical(counts=Q), divergence)
    assert_within(values, right, RTOL["float64"])


@pytest.mark.parametrize("divergence", ALL)
def test_one_operand(divergence):
    for name in ("duplicates", "zero-ridden", "logits-masks"):
        if takes(divergence, name in LOGITS):
            x = rows(name, 3, 80)[1]
            Q = categorical(name, x)
            values = kl.pairwise(Q, divergence=divergence)
            np.testing.assert_array_equal(values, kl.pairwise(Q, categorical(name, x.copy()), divergence))
            if divergence != "cross_entropy":
                assert np.diag(values).tobytes() == np.zeros(80).tobytes()


# Those whose tiles see p and q alike, so that the order of the rows changes no bit. The others, those of
# sum sqrt(p q), have two offsets of different roundings and differ within rtol.
TO_THE_BIT = ["jeffreys", "js", "js_distance", "total_variation", "triangular"]


@pytest.mark.parametrize("divergence", [name for name in ALL if find(name).symmetric])
@pytest.mark.parametrize("name", ["dirichlet-1", "cloud-1e-3", "zero-ridden", "small-bins", "scales", "logits-masks",
                                  "logits-1e4"])
def test_symmetric(isa, name, divergence):
    Q = operands(name, 3, 90)[1]
    for dtype, rtol in RTOL.items():
        values = kl.pairwise(Q, divergence=divergence, dtype=dtype)
        if divergence in TO_THE_BIT:
            np.testing.assert_array_equal(values, values.T)
        else:
            np.testing.assert_allclose(values, values.T, rtol=2 * rtol)


@pytest.mark.parametrize("divergence", TO_THE_BIT)
@pytest.mark.parametrize("bins", [129, 256, 257, 600])
def test_symmetric_in_many_bins(isa, bins, divergence, rng):
    """Whatever the chains of additions, of which Jeffreys has two times as many."""
    Q = rng.dirichlet(np.ones(bins), 50)
    for dtype in RTOL:
        values = kl.pairwise(Q, divergence=divergence, dtype=dtype)
        np.testing.assert_array_equal(values, values.T)
