"""What must hold for every input, on inputs that hypothesis makes up."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import klfast as kl
from klfast import reference

settings.register_profile("klfast", max_examples=150, deadline=None, derandomize=True,
                          suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("klfast")

# Weights of any size whose sums stay finite, zeros and subnormal numbers among them; few values, so that ties occur.
WEIGHT = st.one_of(st.just(0.0), st.sampled_from([1.0, 2.0, 3.0, 0.1]), st.floats(0, 1e300),
                   st.floats(1e-12, 1.0, allow_subnormal=False))
LOGIT = st.one_of(st.just(-np.inf), st.sampled_from([0.0, 1.0, -3.5]), st.floats(-1e4, 1e4))
MODERATE = st.floats(1e-6, 1.0)


def matrix(n, K, elements):
    return hnp.arrays(np.float64, (n, K), elements=elements)


@st.composite
def weights(draw, n=2, elements=WEIGHT, max_bins=20):
    x = draw(matrix(n, draw(st.integers(1, max_bins)), elements))
    assume((x.sum(axis=1) > 0).all())
    return x


@st.composite
def log_weights(draw, n=2, elements=LOGIT):
    x = draw(matrix(n, draw(st.integers(1, 20)), elements))
    x[x.max(axis=1) == -np.inf, 0] = 0.0  # a row needs a bin; to draw again would throw away most short rows
    return x


def counts(x):
    return kl.Categorical(counts=x)


def logits(x):
    return kl.Categorical(logits=x)


def check_divergence(values, equal, infinite):
    assert not np.isnan(values).any() and not np.signbit(values).any()
    np.testing.assert_array_equal(values == 0, equal)
    np.testing.assert_array_equal(np.isinf(values), infinite)


@given(weights())
def test_zero_iff_equal_infinite_iff_unsupported(x):
    p, q = x
    equal, infinite = reference.same(p, q), bool(((p > 0) & (q == 0)).any())
    values = kl.rowwise(counts(p), counts(q)), kl.pairwise(counts(x[:1]), counts(x[1:])).item()
    for value in values:
        check_divergence(np.array(value), equal, infinite)
    if np.isfinite(values[0]):
        assert abs(values[0] - values[1]) <= 1.1e-12 * values[0] + 5e-323


@given(log_weights())
def test_the_same_for_logits(x):
    a, b = x
    equal, infinite = reference.same(a, b, "logits"), bool(((a > -np.inf) & (b == -np.inf)).any())
    values = kl.rowwise(logits(a), logits(b)), kl.pairwise(logits(x[:1]), logits(x[1:])).item()
    for value in values:
        check_divergence(np.array(value), equal, infinite)
    if np.isfinite(values[0]):
        assert abs(values[0] - values[1]) <= 1.1e-12 * values[0] + 5e-323


@given(weights(n=6), st.integers(1, 5))
def test_neighbours_are_those_of_brute_force(x, k):
    Q = counts(x)
    exact = np.array([[kl.rowwise(counts(p), counts(q)) for q in x] for p in x])
    values, columns = kl.kneighbors(Q, k=k)
    expected = reference.smallest(exact, k, leave_out_self=True)
    np.testing.assert_array_equal(columns, expected[1])
    np.testing.assert_array_equal(values, expected[0])


@given(weights(elements=st.one_of(st.just(0.0), MODERATE)), st.integers(-200, 200), st.integers(-200, 200))
def test_powers_of_two_change_no_bit(x, i, j):
    p, q = x
    value = kl.rowwise(counts(p), counts(q))
    scaled = kl.rowwise(counts(np.ldexp(p, i)), counts(np.ldexp(q, j)))
    assert np.float64(value).tobytes() == np.float64(scaled).tobytes()
    assert kl.entropy(counts(p)) == kl.entropy(counts(np.ldexp(p, i)))


@given(weights(elements=WEIGHT), st.data())
def test_merging_bins_never_increases(x, data):
    """Data processing: KL of the coarser histograms is at most that of the finer ones."""
    K = x.shape[1]
    assume((x.max(axis=1) < 1e290).all())
    groups = data.draw(hnp.arrays(np.int64, K, elements=st.integers(0, K - 1)))
    merged = np.stack([np.bincount(groups, row, K) for row in x])
    fine, coarse = kl.rowwise(counts(x[0]), counts(x[1])), kl.rowwise(counts(merged[0]), counts(merged[1]))
    # The merged sums are rounded: a relative change of e in q changes KL by up to e, to first order.
    assert coarse <= fine * (1 + 1e-12) + 4e-15


@given(weights(elements=st.one_of(st.just(0.0), MODERATE)))
def test_pinsker(x):
    """KL >= (sum |p - q|)^2 / 2."""
    p, q = (row / row.sum() for row in x)
    distance = np.abs(p - q).sum()
    assert kl.rowwise(counts(x[0]), counts(x[1])) >= 0.5 * max(distance - 1e-14, 0) ** 2 * (1 - 1e-14)


@given(weights(n=4))
def test_reverse_is_the_other_way_round(x):
    P, Q = counts(x[:2]), counts(x[2:])
    assert kl.rowwise(P, Q, "reverse_kl").tobytes() == kl.rowwise(Q, P).tobytes()
    forward, backward = kl.pairwise(Q, P), kl.pairwise(P, Q, "reverse_kl").T
    np.testing.assert_array_equal(forward == 0, backward == 0)
    np.testing.assert_array_equal(np.isinf(forward), np.isinf(backward))
    finite = np.isfinite(forward)
    np.testing.assert_allclose(forward[finite], backward[finite], rtol=2.2e-12, atol=5e-323)


@given(weights(elements=st.one_of(st.just(0.0), MODERATE)))
def test_cross_entropy_is_entropy_plus_kl(x):
    P, Q = counts(x[0]), counts(x[1])
    cross = kl.rowwise(P, Q, "cross_entropy")
    np.testing.assert_allclose(cross, kl.rowwise(P, Q) + kl.entropy(P), rtol=1e-15)


@given(weights(n=1, elements=WEIGHT))
def test_entropy_lies_between_zero_and_log_k(x):
    value, present = kl.entropy(counts(x[0])), np.count_nonzero(x[0])
    assert not np.isnan(value) and not np.signbit(value)
    assert 0 <= value <= np.log(present) * (1 + 1e-15)
    if present == 1:
        assert value == 0


@given(weights(n=2, elements=st.one_of(st.just(0.0), MODERATE)), st.data())
def test_order_of_bins_does_not_matter(x, data):
    order = data.draw(st.permutations(range(x.shape[1])))
    a, b = (kl.rowwise(counts(y[0]), counts(y[1])) for y in (x, x[:, order]))
    assert a == b or abs(a - b) <= 4e-15 * a


@given(weights(n=2, elements=st.one_of(st.just(0.0), MODERATE), max_bins=12), st.integers(1, 30))
def test_empty_bins_do_not_matter(x, extra):
    """Bins without mass on both sides change nothing, wherever they stand."""
    wide = np.zeros((2, x.shape[1] + extra))
    wide[:, extra // 2 : extra // 2 + x.shape[1]] = x
    a, b = (kl.rowwise(counts(y[0]), counts(y[1])) for y in (x, wide))
    assert a == b or abs(a - b) <= 4e-15 * a


@given(weights(n=2, elements=st.one_of(st.just(0.0), MODERATE), max_bins=8))
def test_rowwise_against_the_specification(x):
    value, exact = kl.rowwise(counts(x[0]), counts(x[1])), reference.kl(x[0], x[1])
    if np.isinf(value) or value == 0:
        assert float(exact) == value
    else:
        assert abs(float((value - exact) / exact)) <= 2e-15


@given(log_weights(elements=st.one_of(st.just(-np.inf), st.integers(-2000, 2000).map(lambda n: n / 64))),
       st.integers(-1000, 1000))
def test_logits_may_be_shifted(x, shift):
    """Exactly representable shifts change no distribution."""
    a, b = x
    value, moved = kl.rowwise(logits(a), logits(b)), kl.rowwise(logits(a + shift), logits(b))
    assert value == moved or abs(value - moved) <= 8e-15 * value


@given(st.binary(min_size=64, max_size=64 * 16))
def test_any_bits_are_accepted_or_refused(data):
    """Random bit patterns: an answer without NaN, or a ValueError; never a crash, never a warning."""
    x = np.frombuffer(data[: len(data) // 64 * 64], np.float64).reshape(-1, 8)
    for P in (counts(x), logits(x), counts(x.view(np.float32)), counts(x.view(np.int16))):
        for call in (lambda P=P: kl.pairwise(P), lambda P=P: kl.entropy(P), lambda P=P: kl.nearest(P, P)[0]):
            try:
                assert not np.isnan(call()).any()
            except ValueError as error:
                assert "row" in str(error)
