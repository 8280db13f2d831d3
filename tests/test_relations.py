"""What the divergences are to each other, and what holds for all of them, on inputs that hypothesis makes up."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from named import ALL, MEASURES, NORMALISED
from test_divergences import DISJOINT, INFINITE
from test_properties import MODERATE, WEIGHT, check_divergence, counts, log_weights, logits, matrix, weights

import klfast as kl
from klfast import reference
from klfast.divergences import find

NAME = st.sampled_from(ALL)
OF_DISTRIBUTIONS = st.sampled_from(NORMALISED)
ROWS = st.one_of(st.just(0.0), MODERATE)
ULP = 2.0**-52


def infinite_by_zeros(name, has_p, has_q):
    """Whether the row of the table says inf for these supports."""
    condition = find(name).infinite
    if condition == DISJOINT:
        return not (has_p & has_q).any()
    left, right = bool((has_p & ~has_q).any()), bool((has_q & ~has_p).any())
    kind = "of-each" if left and right else "of-q" if left else "of-p" if right else "none"
    return kind in INFINITE[condition]


def check(name, p, q, make, equal, nothing):
    """Never negative, never NaN, +0.0 iff equal, inf where an empty bin says so or the value is beyond float64."""
    infinite = infinite_by_zeros(name, p != nothing, q != nothing)
    values = kl.rowwise(make(p), make(q), name), kl.pairwise(make(p[None]), make(q[None]), name).item()
    for value in values:
        overflows = not infinite and np.isinf(value) and find(name).upper_bound is None
        if name == "cross_entropy":  # 0 only where both have all in one bin
            equal = equal and np.count_nonzero(p != nothing) == 1
        check_divergence(np.array(value), equal, infinite or overflows)
    if np.isfinite(values).all():
        assert abs(values[0] - values[1]) <= 1.1e-12 * values[0] + 1e-307


@given(weights(), NAME)
def test_values_of_weights(x, name):
    p, q = x
    equal = bool((p == q).all()) if name in MEASURES else reference.same(p, q)
    check(name, p, q, counts, equal, 0)


@given(log_weights(), OF_DISTRIBUTIONS)
def test_values_of_logits(x, name):
    a, b = x
    check(name, a, b, logits, reference.same(a, b, "logits"), -np.inf)


@given(matrix(4, 3, WEIGHT), st.sampled_from(MEASURES))
def test_measures_may_be_empty(x, name):
    """Rows of any sum, 0 too."""
    values = kl.pairwise(counts(x[:2]), counts(x[2:]), name)
    for i, j in np.ndindex(2, 2):
        p, q = x[i], x[2 + j]
        infinite = infinite_by_zeros(name, p > 0, q > 0)
        assert values[i, j] == 0 if (p == q).all() else values[i, j] > 0
        assert not infinite or np.isinf(values[i, j])
    direct = kl.rowwise(counts(x[:2, None]), counts(x[None, 2:]), name)
    np.testing.assert_allclose(values, direct, rtol=1.1e-12, atol=1e-307)


@given(weights(n=5), st.integers(1, 4), NAME)
def test_neighbours_are_those_of_brute_force(x, k, name):
    exact = np.array([[kl.rowwise(counts(p), counts(q), name) for q in x] for p in x])
    values, columns = kl.kneighbors(counts(x), k=k, divergence=name)
    expected = reference.smallest(exact, k, leave_out_self=True)
    np.testing.assert_array_equal(values, expected[0])
    np.testing.assert_array_equal(columns, expected[1])
    radius = expected[0][0, -1]
    if np.isfinite(radius):
        found = kl.radius_neighbors(counts(x), radius=radius, divergence=name)
        wanted = (exact <= radius) & ~np.eye(5, dtype=bool)
        np.testing.assert_array_equal(np.diff(found.indptr), wanted.sum(axis=1))


@given(weights(elements=ROWS), NAME)
def test_symmetric_to_the_bit(x, name):
    if find(name).symmetric:
        p, q = map(counts, x)
        assert kl.rowwise(p, q, name) == kl.rowwise(q, p, name)


@given(log_weights(), OF_DISTRIBUTIONS)
def test_symmetric_to_the_bit_for_logits(x, name):
    if find(name).symmetric:
        p, q = map(logits, x)
        assert kl.rowwise(p, q, name) == kl.rowwise(q, p, name)


@given(weights(elements=ROWS), st.integers(-200, 200), st.integers(-200, 200), OF_DISTRIBUTIONS)
def test_powers_of_two_change_no_bit(x, i, j, name):
    p, q = x
    value = kl.rowwise(counts(p), counts(q), name)
    scaled = kl.rowwise(counts(np.ldexp(p, i)), counts(np.ldexp(q, j)), name)
    assert np.float64(value).tobytes() == np.float64(scaled).tobytes()


@given(weights(elements=ROWS), st.integers(-100, 100))
def test_scaling_measures(x, i):
    """generalized_kl scales along, Itakura-Saito does not notice."""
    p, q = x
    scaled = [counts(np.ldexp(y, i)) for y in x]
    assert kl.rowwise(*scaled, "generalized_kl") == np.ldexp(kl.rowwise(counts(p), counts(q), "generalized_kl"), i)
    assert kl.rowwise(*scaled, "itakura_saito") == kl.rowwise(counts(p), counts(q), "itakura_saito")


@given(matrix(2, 12, st.integers(0, 1000).map(float)), st.data(),
       st.sampled_from([d for d in ALL if d != "itakura_saito"]))
def test_merging_bins_never_increases(x, data, name):
    """Data processing; sums of whole numbers are exact."""
    x[x.sum(axis=1) == 0, 0] = 1
    groups = data.draw(st.lists(st.integers(0, 11), min_size=12, max_size=12))
    merged = np.stack([np.bincount(groups, row, 12) for row in x])
    fine, coarse = kl.rowwise(*map(counts, x), name), kl.rowwise(*map(counts, merged), name)
    assert coarse <= fine * (1 + 1e-14)


@given(weights(elements=WEIGHT), OF_DISTRIBUTIONS)
def test_upper_bounds(x, name):
    bound = find(name).upper_bound
    if bound is not None:
        p, q = map(counts, x)
        assert kl.rowwise(p, q, name) <= bound * (1 + 2 * ULP)
        assert kl.pairwise(counts(x), divergence=name).max() <= bound * (1 + 1e-12)


@pytest.mark.parametrize("name", [name for name in ALL if find(name).upper_bound is not None])
def test_disjoint_rows_reach_the_bound(isa, rng, name):
    p, q = rng.dirichlet(np.ones(4), (2, 50))
    P, Q = np.pad(p, ((0, 0), (0, 4))), np.pad(q, ((0, 0), (4, 0)))
    bound = find(name).upper_bound
    np.testing.assert_allclose(kl.rowwise(P, Q, name), bound, rtol=2 * ULP, atol=0)
    np.testing.assert_allclose(kl.pairwise(P, Q, name), bound, rtol=1e-12, atol=0)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(kl.rowwise(kl.Categorical(logits=np.log(P)), kl.Categorical(logits=np.log(Q)), name),
                                   bound, rtol=4 * ULP, atol=0)


@given(weights(n=3, elements=ROWS), st.sampled_from([name for name in ALL if find(name).triangle_inequality]))
def test_triangle_inequality(x, name):
    p, q, r = map(counts, x)
    assert kl.rowwise(p, r, name) <= (kl.rowwise(p, q, name) + kl.rowwise(q, r, name)) * (1 + 1e-14)


@given(weights(n=3, elements=ROWS), st.sampled_from(["js_distance", "hellinger", "total_variation"]))
def test_triangle_inequality_near(x, name):
    """Rows near each other, where roots are steep."""
    x = x[:1] * (1 + 1e-9 * (x - x.mean()))
    p, q, r = map(counts, x)
    assert kl.rowwise(p, r, name) <= (kl.rowwise(p, q, name) + kl.rowwise(q, r, name)) * (1 + 1e-14)


@given(weights(n=4), st.sampled_from([("kl", "reverse_kl"), ("chi2", "neyman_chi2"), ("alpha:0.3", "alpha:-0.3"),
                                      ("alpha:4", "alpha:-4"), ("alpha:-1", "alpha:1")]))
def test_reverses(x, names):
    """One is the other with its arguments exchanged, to the bit row by row."""
    P, Q = counts(x[:2]), counts(x[2:])
    assert kl.rowwise(P, Q, names[0]).tobytes() == kl.rowwise(Q, P, names[1]).tobytes()
    forward, backward = kl.pairwise(P, Q, names[0]), kl.pairwise(Q, P, names[1]).T
    np.testing.assert_array_equal(forward == 0, backward == 0)
    finite = np.isfinite(forward) & np.isfinite(backward)
    np.testing.assert_allclose(forward[finite], backward[finite], rtol=2.2e-12, atol=1e-307)


def pairs(seed=5, K=8):
    """Rows far apart, near, and with bins that neither, one or the other has."""
    rng = np.random.default_rng(seed)
    p, q = rng.dirichlet(np.ones(K), (2, 40))
    p[10:20] = q[10:20] * (1 + 1e-5 * rng.uniform(-1, 1, (10, K)))
    p[20:25, 1] = q[20:25, 1] = q[25:30, 2] = p[30:35, 3] = 0
    p[39], q[38] = q[39], p[38]
    return counts(p), counts(q)


@pytest.mark.parametrize("name, factor, other", [
    ("renyi:1", 1, "kl"), ("tsallis:1", 1, "kl"), ("alpha:-1", 1, "kl"), ("alpha:1", 1, "reverse_kl"),
    ("skew_kl:1", 1, "kl"), ("renyi:0.5", 2, "bhattacharyya"), ("chernoff:0.5", 1, "bhattacharyya"),
    ("tsallis:2", 1, "chi2"),
    ("tsallis:0.5", 2, "squared_hellinger"), ("alpha:0", 4, "squared_hellinger"), ("alpha:-3", 0.5, "chi2"),
    ("alpha:3", 0.5, "neyman_chi2"), ("skew_js:0.5", 1, "js"),
])
def test_numbers_that_have_names(isa, name, factor, other):
    P, Q = pairs()
    values, others = kl.rowwise(P, Q, name), kl.rowwise(P, Q, other)
    np.testing.assert_allclose(values, factor * others, rtol=2 * ULP, atol=0)
    np.testing.assert_allclose(kl.pairwise(P, Q, name), factor * kl.pairwise(P, Q, other), rtol=2.1e-12, atol=0)


def test_sums_and_roots_of_others(isa):
    P, Q = pairs()

    def value(name):
        return kl.rowwise(P, Q, name)

    def same(a, b, rtol=4e-15):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=0)

    same(value("js_distance") ** 2, value("js"))
    same(value("hellinger") ** 2, value("squared_hellinger"))
    same(value("jeffreys"), value("kl") + value("reverse_kl"))
    same(value("cross_entropy"), value("kl") + kl.entropy(P))
    same(value("js"), (value("skew_kl:0.5") + kl.rowwise(Q, P, "skew_kl:0.5")) / 2)
    same(value("chernoff:0.25"), 0.75 * value("renyi:0.25"))
    same(value("chernoff:0.25"), kl.rowwise(Q, P, "chernoff:0.75"))
    same(-np.log1p(-value("squared_hellinger")), value("bhattacharyya"), 1e-13)
    same(np.log1p(value("chi2")), value("renyi:2"), 1e-14)
    same(np.expm1(2 * value("renyi:3")) / 2, value("tsallis:3"), 1e-13)
    same(value("tsallis:0.3"), 0.7 * value("alpha:0.4") * 0.3 / 0.7)  # s (1 - s) C_s = (1 - s) tsallis


STEPS = [10.0**-e for e in range(3, 10)]


@pytest.mark.parametrize("family, at, limit", [(kl.Renyi, 1, "kl"), (kl.Tsallis, 1, "kl"), (kl.Alpha, -1, "kl"),
                                               (kl.Alpha, 1, "reverse_kl")])
@pytest.mark.parametrize("sign", [1, -1])
def test_continuous_where_the_number_takes_the_limit(isa, family, at, limit, sign):
    """Off by about the step times the variance of the logarithm of the ratio, however small the step."""
    rng = np.random.default_rng(2)
    p = rng.uniform(1, 5, (30, 9))
    q = np.where(np.arange(30)[:, None] < 15, p * (1 + 1e-4 * rng.uniform(-1, 1, p.shape)), rng.uniform(1, 5, p.shape))
    P, Q = counts(p), counts(q)
    right, matrix_of_kl = kl.rowwise(P, Q, limit), kl.pairwise(P, Q, limit)
    for step in STEPS:
        d = family(at + sign * step)
        np.testing.assert_allclose(kl.rowwise(P, Q, d), right, rtol=2 * step + 1e-14)
        np.testing.assert_allclose(kl.pairwise(P, Q, d), matrix_of_kl, rtol=2 * step + 3e-12)
    assert kl.rowwise(P, Q, family(at)).tobytes() == right.tobytes()


@pytest.mark.parametrize("family, numbers", [
    (kl.Renyi, [1e-3, 0.1, 0.5, 0.9, 0.999, 1 - 1e-9, 1, 1 + 1e-9, 1.001, 1.5, 2, 5, 50]),
    (kl.Tsallis, [1e-3, 0.1, 0.5, 0.9, 0.999, 1, 1.001, 1.5, 2, 5]), (kl.SkewKL, [0.01, 0.1, 0.5, 0.9, 0.999, 1]),
])
def test_monotone_in_the_number(family, numbers):
    P, Q = pairs()
    values = np.stack([kl.rowwise(P, Q, family(number)) for number in numbers])
    assert (values[1:] >= values[:-1] * (1 - 8e-15)).all()


@given(weights(elements=ROWS))
def test_inequalities_between_them(x):
    """Pinsker; Le Cam and Hellinger against total variation; Topsoe's; Bretagnolle and Huber's."""
    P, Q = map(counts, x)
    tv, h2, js, kl1, chi2, delta = (kl.rowwise(P, Q, name) for name in (
        "total_variation", "squared_hellinger", "js", "kl", "chi2", "triangular"))
    room = 1 + 1e-14
    assert 2 * tv**2 <= kl1 * room and kl1 <= np.log1p(chi2) * room <= chi2 * room
    assert h2 <= tv * room and tv <= math.sqrt(h2 * max(2 - h2, 0)) * room
    assert delta / 4 <= js * room and js <= math.log(2) / 2 * delta * room
    assert 2 * tv**2 <= delta * room <= 2 * tv * room**2
    assert tv <= math.sqrt(-math.expm1(-kl1)) * room and kl1 >= -math.log1p(-min(h2, 1 - 1e-16)) * (1 - 1e-14)


@given(weights(n=2, elements=ROWS), st.data(), NAME)
def test_order_of_bins_does_not_matter(x, data, name):
    order = data.draw(st.permutations(range(x.shape[1])))
    a, b = (kl.rowwise(counts(y[0]), counts(y[1]), name) for y in (x, x[:, order]))
    assert a == b or abs(a - b) <= 8e-15 * a


@given(weights(n=2, elements=ROWS, max_bins=12), st.integers(1, 30), NAME)
def test_empty_bins_do_not_matter(x, extra, name):
    wide = np.zeros((2, x.shape[1] + extra))
    wide[:, extra // 2 : extra // 2 + x.shape[1]] = x
    a, b = (kl.rowwise(counts(y[0]), counts(y[1]), name) for y in (x, wide))
    assert a == b or abs(a - b) <= 8e-15 * a


@given(weights(n=2, elements=ROWS, max_bins=8), NAME)
def test_contributions_add_up(x, name):
    if name != "cross_entropy":
        terms = kl.contributions(counts(x[0]), counts(x[1]), name)
        assert (terms >= 0).all() and not np.signbit(terms).any()
        if find(name).finish == "linear":
            value = kl.rowwise(counts(x[0]), counts(x[1]), name)
            assert value == terms.sum() or abs(value - terms.sum()) <= 1e-13 * value


@given(st.binary(min_size=64, max_size=64 * 16), NAME)
def test_any_bits_are_accepted_or_refused(data, name):
    """Random bit patterns: answers without NaN, or a ValueError; never a crash, never a warning."""
    x = np.frombuffer(data[: len(data) // 64 * 64], np.float64).reshape(-1, 8)
    for P in (counts(x), counts(np.abs(x)), logits(x), counts(x.view(np.float32)), counts(x.view(np.int16))):
        for call in (lambda P=P: kl.pairwise(P, divergence=name), lambda P=P: kl.nearest(P, P, name)[0],
                     lambda P=P: kl.reduce(P, P, "max", name), lambda P=P: kl.radius_neighbors(P, P, 1.0, name).data):
            try:
                values = call()
                assert not np.isnan(values).any() and not np.signbit(values).any()
            except ValueError as error:
                assert "row" in str(error)
