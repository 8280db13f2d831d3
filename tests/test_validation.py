"""Every refusal: a ValueError that says what is wrong, where, and what to do, before any work."""

import numpy as np
import pytest
import scipy.sparse
from named import ALL, MEASURES, NORMALISED

import klfast as kl
from klfast import _engine

GOOD = np.array([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4], [1.0, 0.0, 0.0]])


def with_entry(row, column, value, parameter="probs"):
    x = GOOD.copy()
    if parameter in ("logits", "log_probs"):
        x = np.log(x, where=x > 0, out=np.full_like(x, -np.inf))
    x[row, column] = value
    return kl.Categorical(**{parameter: x})


CALLS = {
    "rowwise": kl.rowwise, "kl_divergence": kl.kl_divergence, "pairwise": kl.pairwise,
    "kneighbors": lambda P, Q, **n: kl.kneighbors(P, Q, 2, **n), "nearest": kl.nearest,
    "radius_neighbors": kl.radius_neighbors, "reduce": kl.reduce, "pairwise_chunked": kl.pairwise_chunked,
    "contributions": kl.contributions,
}
OF_ROWS = ("rowwise", "kl_divergence", "contributions")  # the others take matrices


@pytest.mark.parametrize("side", "PQ")
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("parameter, value, message", [
    ("probs", np.nan, r"row 2, bin 1 is nan; replace or drop it"),
    ("probs", np.inf, r"row 2, bin 1 is inf; replace or drop it"),
    ("probs", -np.inf, r"row 2, bin 1 is -inf; probabilities and counts are >= 0; .*logits="),
    ("probs", -1e-9, r"row 2, bin 1 is -1e-09; probabilities and counts are >= 0; .*logits="),
    ("probs", 0.31, r"row 2 sums to 1.01, not 1 \(tolerance 1e-06\).*Categorical\(counts=...\)"),
    ("counts", np.nan, r"row 2, bin 1 is nan; replace or drop it"),
    ("counts", -3.0, r"row 2, bin 1 is -3; probabilities and counts are >= 0"),
    ("logits", np.nan, r"row 2, bin 1 is nan; replace or drop it"),
    ("logits", np.inf, r"row 2, bin 1 is inf; replace or drop it"),
    ("log_probs", 0.0, r"row 2 of log_probs has probabilities that sum to exp\(0.53062\d*\), not 1.*logits="),
])
def test_bad_entries(isa, call, side, parameter, value, message):
    bad = with_entry(2, 1, value, parameter)
    good = with_entry(0, 0, np.log(0.5) if parameter in ("logits", "log_probs") else 0.5, parameter)
    P, Q = (bad, good) if side == "P" else (good, bad)
    with pytest.raises(ValueError, match=f"^{side}: {message}"):
        CALLS[call](P, Q)


@pytest.mark.parametrize("m", [1, 16, 300, 2100])
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "cross_entropy", "generalized_kl", "js"])
def test_the_first_bad_row_of_many(all_threads, divergence, m):
    """Also where the rows are checked on the way, in blocks that threads take in any order."""
    rng = np.random.default_rng(m)
    P, Q = rng.dirichlet(np.ones(8), 1500), rng.dirichlet(np.ones(8), m)
    P[[1300, 900, 901], [1, 2, 3]] = np.nan, -1, np.inf
    for call in (kl.nearest, kl.pairwise):
        with pytest.raises(ValueError, match="^P: row 900, bin 2 is -1;"):
            call(P, Q, divergence)
    good = P[:900]
    np.testing.assert_array_equal(kl.nearest(good, Q, divergence)[1], kl.pairwise(good, Q, divergence).argmin(axis=1))


@pytest.mark.parametrize("m", [16, 300])
def test_the_first_bad_row_of_blocks_in_any_order(monkeypatch, m):
    """Runtimes of OpenMP may give a thread a block and later one further up."""
    rng = np.random.default_rng(m)
    P, Q = rng.dirichlet(np.ones(8), 1500), rng.dirichlet(np.ones(8), m)
    P[[1300, 900], [1, 2]] = np.nan, -1

    def backwards(n, unit, work, *rest):
        with pytest.raises(ValueError, match="^P: row 1300, bin 1 is nan;"):
            work(1000, n)
        work(0, 1000)

    monkeypatch.setattr("klfast.consumers.run_slabs", backwards)
    with pytest.raises(ValueError, match="^P: row 900, bin 2 is -1;"):
        kl.nearest(P, Q, n_jobs=1)


def consumers(divergence):
    """Every function that takes a divergence, as a function of P and Q."""
    return [lambda P, Q: kl.rowwise(P, Q, divergence), lambda P, Q: kl.pairwise(P, Q, divergence),
            lambda P, Q: kl.kneighbors(P, Q, 1, divergence), lambda P, Q: kl.nearest(P, Q, divergence),
            lambda P, Q: kl.radius_neighbors(P, Q, 1.0, divergence), lambda P, Q: kl.reduce(P, Q, "sum", divergence),
            lambda P, Q: kl.pairwise_chunked(P, Q, divergence), lambda P, Q: kl.contributions(P, Q, divergence)]


@pytest.mark.parametrize("divergence", ALL)
@pytest.mark.parametrize("side", "PQ")
def test_sides_are_named_for_every_divergence(divergence, side):
    for value, message in ((np.nan, "nan; replace"), (-0.5, "-0.5; probabilities and counts are >= 0")):
        bad = with_entry(1, 2, value)
        P, Q = (bad, GOOD) if side == "P" else (GOOD, bad)
        for call in consumers(divergence)[: 7 if divergence == "cross_entropy" else 8]:
            with pytest.raises(ValueError, match=f"^{side}: row 1, bin 2 is {message}"):
                call(P, Q)


@pytest.mark.parametrize("divergence", NORMALISED)
def test_sums_are_checked_for_every_divergence(divergence):
    """Which of the two is first in the terms does not matter."""
    empty = np.concatenate([GOOD[:3], np.zeros((1, 3))])
    for call in consumers(divergence)[: 7 if divergence == "cross_entropy" else 8]:
        for bad, message in ((2 * GOOD, "row 0 sums to 2, not 1"), (empty, "row 3 is empty")):
            with pytest.raises(ValueError, match=f"^P: {message}"):
                call(bad, GOOD)
            with pytest.raises(ValueError, match=f"^Q: {message}"):
                call(GOOD, bad)


@pytest.mark.parametrize("divergence", MEASURES)
def test_measures_take_any_sums_and_no_logits(divergence):
    rows = np.array([[0.0, 0.0, 0.0], [1e-3, 2.0, 0.0], [7.0, 0.0, 1e30], [0.5, 0.25, 0.25]])
    logits = kl.Categorical(logits=np.log(GOOD[:3]))
    for call in consumers(divergence):
        call(rows, rows)
        for P, Q, side in ((logits, rows[:3], "P"), (rows[:3], logits, "Q"), (logits, logits, "P|Q")):
            message = (rf"^({side}): this divergence compares rows as they are, not normalised; it takes weights "
                       r"\(an array, or Categorical\(counts=...\)\), not logits$")
            with pytest.raises(ValueError, match=message):
                call(P, Q)
    index = kl.Index(rows, divergence)
    with pytest.raises(ValueError, match="^P: this divergence compares rows as they are"):
        index.pairwise(logits)


@pytest.mark.parametrize("mixed", ["weights are wrong", "logits are wrong"])
def test_mixed_operands_name_the_side_that_is_wrong(mixed):
    weights = with_entry(1, 2, np.nan if mixed.startswith("weights") else 0.7)
    logits = with_entry(1, 2, np.nan if mixed.startswith("logits") else -0.4, "logits")
    bad = "P" if mixed.startswith("weights") else "Q"
    for call in CALLS.values():
        with pytest.raises(ValueError, match=f"^{bad}: row 1, bin 2 is nan"):
            call(weights, logits)


def test_first_bad_row_is_named():
    P = np.tile([0.5, 0.5], (5000, 1))
    P[[4200, 1700, 3000]] = [[0.5, 0.6], [np.nan, 0.5], [-1, 2]]
    for n_jobs in (1, 2, 3):
        for call in (kl.rowwise, kl.pairwise):
            with pytest.raises(ValueError, match="row 1700, bin 0 is nan"):
                call(P, np.array([[0.5, 0.5]]), n_jobs=n_jobs)


def test_rows_of_many_axes_are_named_by_index():
    P = np.tile([0.5, 0.5], (3, 4, 1))
    P[1, 2, 0] = np.nan
    with pytest.raises(ValueError, match=r"^P: row \(1, 2\), bin 0 is nan"):
        kl.rowwise(P, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"^Q: row \(1, 2\), bin 0 is nan"):
        kl.rowwise([0.5, 0.5], P)
    with pytest.raises(ValueError, match=r"^P: row \(1, 2\), bin 0 is nan"):
        kl.entropy(P)
    with pytest.raises(ValueError, match=r"^P: row \(1, 2\), bin 0 is nan"):
        kl.entropy(np.moveaxis(P, -1, 0), axis=0)
    with pytest.raises(ValueError, match=r"^P: the row, bin 0 is nan"):
        kl.entropy([np.nan, 1])


@pytest.mark.parametrize("parameter, row, message", [
    ("probs", [0, 0, 0], r"row 1 is empty \(the row sums to 0\); drop it, or smooth: .*smoothing=0.5"),
    ("counts", [0, 0, 0], r"row 1 is empty \(the row sums to 0\); drop it, or smooth"),
    ("logits", [-np.inf] * 3, r"row 1 is empty \(every logit is -inf\); drop it"),
])
def test_empty_rows(parameter, row, message):
    x = np.array([[1.0, 0, 0], row])
    for call in CALLS.values():
        with pytest.raises(ValueError, match=message):
            call(kl.Categorical(**{parameter: x}), kl.Categorical(**{parameter: np.ones((2, 3))})
                 if parameter != "probs" else GOOD[:2])
    with pytest.raises(ValueError, match=message):
        kl.entropy(kl.Categorical(**{parameter: x}))


def test_overflowing_sum():
    with pytest.raises(ValueError, match="row 0 is finite but its sum overflows float64; scale the row down"):
        kl.entropy(kl.Categorical(counts=[[1e308, 1e308]]))


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-6), ("float32", 1e-3), ("float16", 1e-2)])
def test_sum_tolerance(dtype, tolerance):
    for factor, allowed in ((0.8, True), (1.3, False)):
        P = np.array([[0.5, 0.5 + factor * tolerance]]).astype(dtype)
        if allowed:
            kl.rowwise(P, P)
        else:
            with pytest.raises(ValueError, match=rf"not 1 \(tolerance {tolerance:g}\)"):
                kl.rowwise(P, P)


def test_counts_are_not_probabilities():
    with pytest.raises(ValueError, match=r"row 0 sums to 6, not 1.*pass klfast.Categorical\(counts=...\)"):
        kl.pairwise([[1, 2, 3]], [[1, 2, 3]])


@pytest.mark.parametrize("P, Q, message", [
    (GOOD, GOOD[:, :2], "same number of bins; got 3 and 2"),
    (GOOD[0], GOOD, r"P must be 2-d, one distribution a row; got shape \(3,\); a single distribution is x\[None, :\]"),
    (GOOD, GOOD[0], "Q must be 2-d"),
    (GOOD[None], GOOD, r"P must be 2-d, one distribution a row; got shape \(1, 4, 3\)"),
    (np.empty((2, 0)), np.empty((2, 0)), "at least one bin"),
])
def test_shapes_of_matrices(P, Q, message):
    for name, call in CALLS.items():
        if name not in OF_ROWS:
            with pytest.raises(ValueError, match=message):
                call(P, Q)


def test_shapes_of_rowwise():
    with pytest.raises(ValueError, match="same number of bins; got 3 and 2"):
        kl.rowwise(GOOD, GOOD[:, :2])
    with pytest.raises(ValueError, match=r"P and Q do not broadcast: shapes \(4, 3\) and \(3, 3\), bins along axis -1"):
        kl.rowwise(GOOD, GOOD[:3])
    with pytest.raises(ValueError, match=r"axis 2 is out of bounds for P of shape \(4, 3\)"):
        kl.rowwise(GOOD, GOOD, axis=2)
    with pytest.raises(ValueError, match="axis 1 is out of bounds for P"):
        kl.entropy([0.5, 0.5], axis=1)
    with pytest.raises(ValueError, match="at least one bin"):
        kl.rowwise(np.empty((2, 0)), np.empty((2, 0)))
    with pytest.raises(ValueError, match="needs at least one axis, the bins; got a scalar"):
        kl.rowwise(1.0, 1.0)


@pytest.mark.parametrize("k", [0, -1, 1.5, True, None, "3"])
def test_bad_k(k):
    with pytest.raises(ValueError, match="k must be a positive integer; got"):
        kl.kneighbors(GOOD, GOOD, k)


def test_too_many_neighbours():
    with pytest.raises(ValueError, match="k = 5 neighbours were asked for, but there are only 4 candidates$"):
        kl.kneighbors(GOOD, GOOD, 5)
    with pytest.raises(ValueError, match=r"only 3 candidates \(a row is not its own neighbour\)"):
        kl.kneighbors(GOOD, k=4)
    with pytest.raises(ValueError, match="only 0 candidates"):
        kl.nearest(GOOD, np.empty((0, 3)))
    with pytest.raises(ValueError, match="only 0 candidates"):
        kl.nearest(GOOD[:1])


@pytest.mark.parametrize("base", [0, 1, 0.5, -2, np.inf, np.nan, "e", 1j])
def test_bad_base(base):
    for call in (kl.rowwise, kl.pairwise):
        with pytest.raises(ValueError, match="base must be a finite number above 1"):
            call(GOOD, GOOD, base=base)
    with pytest.raises(ValueError, match="base must be a finite number above 1"):
        kl.entropy(GOOD, base=base)


@pytest.mark.parametrize("rtol", [-1e-3, 1, 2, np.nan, "1e-3"])
def test_bad_rtol(rtol):
    with pytest.raises(ValueError, match=r"rtol must be in \[0, 1\)"):
        kl.pairwise(GOOD, GOOD, rtol=rtol)


@pytest.mark.parametrize("n_jobs", [0, 1.5, "2", True])
def test_bad_n_jobs(n_jobs):
    for call in CALLS.values():
        with pytest.raises(ValueError, match="n_jobs must be a nonzero integer or None"):
            call(GOOD, GOOD, n_jobs=n_jobs)


@pytest.mark.parametrize("name", ["KL", "jensen", "", None, 3])
def test_unknown_divergence(name):
    for call in (kl.rowwise, kl.pairwise, kl.nearest):
        with pytest.raises(ValueError, match="unknown divergence .*; klfast has: kl, reverse_kl"):
            call(GOOD, GOOD, name)


@pytest.mark.parametrize("x, message", [
    (np.array([[1 + 0j, 0]]), "dtype complex128; real numbers are needed"),
    (np.array([["a", "b"]]), "real numbers are needed"),
    (np.array([["2020-01-01"]], "datetime64[D]"), "real numbers are needed"),
    (np.array([[object(), 1]]), "does not convert to float64"),
    ([[0.5, 0.5], [1.0]], "not a rectangular array of numbers"),
    (np.ma.masked_array([[0.5, 0.5]], [[True, False]]), r"masked entries; fill them \(x.filled\(0\)\) or drop them"),
    (scipy.sparse.csr_array(np.array([[1 + 0j]])), "real numbers are needed"),
])
def test_not_numbers(x, message):
    with pytest.raises(ValueError, match=message):
        kl.pairwise(x)


def test_parameters_of_categorical():
    with pytest.raises(ValueError, match="exactly one of probs=, logits=, log_probs=, counts=; got none"):
        kl.Categorical()
    with pytest.raises(ValueError, match="exactly one of .*; got probs, counts"):
        kl.Categorical(GOOD, counts=GOOD)
    with pytest.raises(ValueError, match="logits= cannot be sparse: a missing logit would be 0, not -inf"):
        kl.Categorical(logits=scipy.sparse.csr_array(GOOD))


def test_sparse_restrictions():
    S = kl.Categorical(counts=scipy.sparse.csr_array(GOOD))
    with pytest.raises(ValueError, match="P is sparse: its bins must be along the last axis"):
        kl.rowwise(S, GOOD, axis=0)
    with pytest.raises(ValueError, match="a sparse operand of shape .* does not broadcast"):
        kl.rowwise(S, np.tile(GOOD, (2, 1, 1)))
    bad = scipy.sparse.csr_array(np.array([[0.5, 0.5, 0], [0.5, 0, -0.5]]))
    with pytest.raises(ValueError, match="row 1, bin 2 is -0.5"):
        kl.pairwise(bad)


@pytest.mark.parametrize("call", [kl.rowwise, kl.pairwise])
def test_bad_out(call):
    shape = call(GOOD, GOOD).shape
    with pytest.raises(ValueError, match="out must be a float32 or float64 ndarray; got int64"):
        call(GOOD, GOOD, out=np.empty(shape, int))
    with pytest.raises(ValueError, match="out must be a float32 or float64 ndarray; got list"):
        call(GOOD, GOOD, out=[0.0])
    with pytest.raises(ValueError, match="out must be a float32 or float64 ndarray; got >f8"):
        call(GOOD, GOOD, out=np.empty(shape, ">f8"))
    with pytest.raises(ValueError, match="out has shape .*, the answer has"):
        call(GOOD, GOOD, out=np.empty((7, 7)))
    read_only = np.empty(shape)
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="out is read-only"):
        call(GOOD, GOOD, out=read_only)


def test_bad_dtype():
    for dtype in ("float16", "int32", "complex128"):
        with pytest.raises(ValueError, match="dtype must be float32 or float64"):
            kl.pairwise(GOOD, GOOD, dtype=dtype)
    with pytest.raises(ValueError, match="dtype is float32 but out has float64"):
        kl.pairwise(GOOD, GOOD, dtype="float32", out=np.empty((4, 4)))


def test_nothing_is_written_before_the_arguments_are_right():
    out = np.full((4, 4), 7.0)
    bad = with_entry(3, 0, np.nan)
    for arguments in ({"rtol": 2}, {"base": -1}, {"n_jobs": 0}):
        with pytest.raises(ValueError):
            kl.pairwise(GOOD, GOOD, out=out, **arguments)
    for P, Q in ((bad, GOOD), (GOOD, bad)):
        with pytest.raises(ValueError):
            kl.pairwise(P, Q, out=out)
    assert (out == 7).all()


def test_valid_edges_are_accepted():
    """-0.0 is zero, tolerances are inclusive enough, and nothing warns (filterwarnings = error)."""
    P = np.array([[0.5, 0.5, -0.0], [1.0, 0.0, 0.0]])
    assert kl.pairwise(P).tolist() == [[0, np.inf], [pytest.approx(np.log(2), rel=1e-15), 0]]
    assert kl.rowwise(kl.Categorical(log_probs=np.log(GOOD[:3])), kl.Categorical(log_probs=np.log(GOOD[:3]))).tolist() \
        == [0, 0, 0]


def test_damaged_sparse_matrix():
    """Columns outside of the matrix would be written outside of a row."""
    damaged = scipy.sparse.csr_array(GOOD)
    damaged.indices[0] = 1000
    with pytest.raises(ValueError, match="a damaged sparse matrix was given"):
        kl.pairwise(kl.Categorical(counts=damaged))


def test_out_may_not_be_the_input():
    P = np.tile(0.25, (4, 4))
    for arguments in ((P, P), (P, P.copy()), (P.copy(), P)):
        with pytest.raises(ValueError, match="out overlaps the memory of P or Q"):
            kl.pairwise(*arguments, out=P)
    assert (P == 0.25).all()


def test_out_of_rowwise_may_be_the_input():
    """Row values are written after all of them are computed."""
    P, Q = np.tile([0.5, 0.5], (2, 1)), np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = kl.rowwise(P, Q)
    kl.rowwise(P, Q, out=Q[0])
    assert Q[0].tolist() == expected.tolist()


@pytest.mark.parametrize("bins", [1, 8, 24, 33, 64, 72])
def test_a_row_is_checked_the_same_alone_and_among_others(isa, bins):
    """Norms to the bit, empty bins, and which row is refused, wherever in a group of rows it stands."""
    rng = np.random.default_rng(bins)
    for bad in (None, np.nan, np.inf, -1.0, -0.0):
        x = rng.dirichlet(np.ones(bins), 23) * rng.uniform(0.5, 2, (23, 1))
        x[rng.random(x.shape) < 0.02] = 0
        x[:, 0] += 0.5
        if bad is not None:
            x[13, rng.integers(bins)] = bad
        together = _engine.scan(_engine.Rows(x, _engine.PROBS), -1.0, 1)
        alone = [_engine.scan(_engine.Rows(row[None], _engine.PROBS), -1.0, 1) for row in x]
        first = next((i for i, one in enumerate(alone) if one[2].refused), len(x))
        assert (first == 13) == (bad is not None and not (bad == 0 and bins > 1))
        assert together[0][:first].tobytes() == b"".join(one[0].tobytes() for one in alone[:first])
        assert (together[2].refused is None) == (first == len(x))
        if first < len(x):
            assert together[2].refused[:2] == (alone[first][2].refused[0], first)
        else:
            assert together[1] == any(one[1] for one in alone)
