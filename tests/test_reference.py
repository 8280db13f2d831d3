"""The specification itself, on values that can be checked by hand."""

import math

import mpmath
import numpy as np
import pytest
import scipy.spatial.distance
import scipy.special
import scipy.stats

from klfast import reference
from klfast.reference import AS_THEY_ARE, PARAMETERS, VALUES, contributions, value

LOG2, LOG3, LOG5 = math.log(2), math.log(3), math.log(5)
AFFINITY = (1 + math.sqrt(3)) / math.sqrt(8)  # sum sqrt(p q) of (1/2, 1/2) and (1/4, 3/4)
SOME_PARAMETER = {"renyi": 2.5, "tsallis": 0.3, "alpha_divergence": 0.4, "chernoff": 0.2, "skew_js": 0.3,
                  "skew_kl": 0.6}
DIVERGENCES = [name for name in VALUES if name != "cross_entropy"]
SUMS = [name for name in DIVERGENCES
        if name not in ("renyi", "chernoff", "bhattacharyya", "hellinger", "js_distance")]


def parameters_of(name):
    return {PARAMETERS[name]: SOME_PARAMETER[name]} if name in PARAMETERS else {}


def agree(x, y, digits=38):
    """Whether two values have so many digits in common."""
    with mpmath.workdps(80):
        return abs(x - y) <= abs(y) * mpmath.mpf(10) ** -digits


def rows(K=7, near=None, seed=5):
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.ones(K))
    return (rng.dirichlet(np.ones(K)) if near is None else q * (1 + near * rng.uniform(-1, 1, K))), q


@pytest.mark.parametrize("p, q, value", [
    ([0.5, 0.5], [0.25, 0.75], LOG2 - LOG3 / 2),
    ([1, 1], [1, 3], LOG2 - LOG3 / 2),
    ([1, 0], [0.5, 0.5], LOG2),
    ([0.5, 0.5], [1, 0], math.inf),
    ([1, 0], [0, 1], math.inf),
    ([1, 3], [2, 6], 0),
    ([5], [7], 0),
])
def test_kl_of_probs(p, q, value):
    assert float(reference.kl(p, q)) == pytest.approx(value, rel=1e-15)
    assert reference.reverse_kl(q, p) == reference.kl(p, q)


def test_kl_of_logits():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    expected = float(reference.kl(p, q))
    assert float(reference.kl(np.log(p), np.log(q) + 5, "logits")) == pytest.approx(expected, rel=1e-14)
    assert reference.kl([0, -math.inf], [3, -math.inf], "logits") == 0
    assert reference.kl([0, 0], [3, -math.inf], "logits") == mpmath.inf
    assert float(reference.kl([0, -math.inf], [0, 0], "logits")) == pytest.approx(LOG2)


def test_entropy_and_cross_entropy():
    p, q = [1, 1, 2], [3, 4, 1]
    assert float(reference.entropy(p)) == pytest.approx(1.5 * LOG2)
    assert reference.entropy([0, 4, 0]) == 0 == reference.cross_entropy([0, 4], [0, 1])
    total = reference.kl(p, q) + reference.entropy(p)
    assert abs(reference.cross_entropy(p, q) - total) < total * mpmath.mpf(10) ** -40
    assert reference.cross_entropy([1, 1], [1, 0]) == mpmath.inf


def test_equality_is_exact():
    assert reference.same([1, 3], [2, 6]) and reference.same([0.0, 1.0], [5.0, 6.0], "logits")
    third = 1 / 3
    assert not reference.same([1, 3], [third, 1]) and not reference.same([1, 0], [1, 5e-324])
    assert not reference.same([0, 1e-300], [0, 2e-300], "logits")


def test_digits_do_not_depend_on_the_size_of_the_answer():
    """A bin of mass s against one of x s beside a bin of mass 1: KL = p log(p / q) - p + q to first order in s."""
    for small in (2.0**-100, 2.0**-800):
        value = reference.kl([1, small], [1, small / 4])
        assert float(value / small) == pytest.approx(2 * LOG2 - 1 + 0.25, rel=1e-15)
        assert float(reference.entropy([1, small]) / small) == pytest.approx(1 - math.log(small), rel=1e-15)


def test_caller_keeps_its_precision():
    with mpmath.workdps(20):
        reference.kl([1, 2], [2, 1])
        assert mpmath.mp.dps == 20


@pytest.mark.parametrize("name, parameters, expected", [
    ("jeffreys", {}, LOG3 / 4),
    ("js", {}, 3 / 2 * LOG2 - 5 / 8 * LOG5),
    ("total_variation", {}, 1 / 4), ("triangular", {}, 2 / 15), ("chi2", {}, 1 / 3), ("neyman_chi2", {}, 1 / 4),
    ("squared_hellinger", {}, 1 - AFFINITY), ("hellinger", {}, math.sqrt(1 - AFFINITY)),
    ("bhattacharyya", {}, -math.log(AFFINITY)), ("chernoff", {"alpha": 0.5}, -math.log(AFFINITY)),
    ("tsallis", {"alpha": 3}, 11 / 18), ("renyi", {"alpha": 3}, math.log(20 / 9) / 2),
    ("alpha_divergence", {"alpha": -3}, 1 / 6), ("alpha_divergence", {"alpha": 3}, 1 / 8),
    ("alpha_divergence", {"alpha": 0}, 4 * (1 - AFFINITY)),
    ("skew_kl", {"alpha": 0.5}, 2 * LOG2 - (LOG3 + LOG5) / 2),
])
def test_two_bins_by_hand(name, parameters, expected):
    assert float(value(name, [1, 1], [0.25, 0.75], **parameters)) == pytest.approx(expected, rel=1e-13)
    assert float(value(name, [7, 7], [1, 3], **parameters)) == pytest.approx(expected, rel=1e-13)
    assert float(value(name, [0, 0], [0, math.log(3)], "logits", **parameters)) == pytest.approx(expected, rel=1e-13)


def test_measures_by_hand():
    p, q = [1, 1], [0.25, 0.75]
    assert float(reference.generalized_kl(p, q)) == pytest.approx(4 * LOG2 - LOG3 - 1, rel=1e-15)
    assert float(reference.itakura_saito(p, q)) == pytest.approx(10 / 3 - 4 * LOG2 + LOG3, rel=1e-15)
    assert reference.generalized_kl([0, 0], [1, 2]) == 3 and reference.generalized_kl([0, 1], [0, 0]) == mpmath.inf
    assert reference.generalized_kl([0, 0], [0, 0]) == 0 == reference.itakura_saito([0, 0], [0, 0])
    assert reference.generalized_kl([2, 4], [1, 2]) > 0, "proportional rows are different measures"
    assert agree(reference.itakura_saito([0, 1], [0, 2]), reference.itakura_saito([1], [2]))
    assert reference.itakura_saito([0, 1], [1, 1]) == mpmath.inf == reference.itakura_saito([1, 1], [0, 1])
    for name in AS_THEY_ARE:
        with pytest.raises(ValueError, match="probs"):
            value(name, [0.0], [1.0], "logits")


@pytest.mark.parametrize("near", [None, 1e-3, 1e-9, 1e-15])
def test_relations(near):
    p, q = rows(near=near)
    chi2, hellinger2 = reference.chi2(p, q), reference.squared_hellinger(p, q)
    with mpmath.workdps(100):
        assert agree(reference.bhattacharyya(p, q), -mpmath.log1p(-hellinger2))
        assert agree(reference.renyi(p, q, 2), mpmath.log1p(chi2))
        assert agree(reference.renyi(p, q, 0.5), 2 * reference.bhattacharyya(p, q))
        assert agree(reference.chernoff(p, q, 0.25), reference.renyi(p, q, 0.25) * 3 / 4)
        assert agree(reference.alpha_divergence(p, q, 0), 4 * hellinger2)
        assert agree(reference.alpha_divergence(p, q, -3), chi2 / 2)
        assert agree(reference.alpha_divergence(p, q, 3), reference.neyman_chi2(p, q) / 2)
        assert agree(reference.tsallis(p, q, 2), chi2)
        assert agree(reference.tsallis(p, q, 0.25), reference.alpha_divergence(p, q, 0.5) / 4)
        assert agree(reference.jeffreys(p, q), reference.kl(p, q) + reference.reverse_kl(p, q))
        assert agree(reference.hellinger(p, q) ** 2, hellinger2)
        assert agree(reference.js_distance(p, q) ** 2, reference.js(p, q))
        middle = [mpmath.mpf(float(a)) / mpmath.fsum(p) + mpmath.mpf(float(b)) / mpmath.fsum(q) for a, b in zip(p, q)]
        pairs = ((mpmath.mpf(float(a)) / mpmath.fsum(p), m / 2) for a, m in zip(p, middle))
        assert agree(reference.skew_kl(p, q, 0.5), mpmath.fsum(a * mpmath.log(a / m) for a, m in pairs))


def test_jensen_shannon_by_entropies():
    p, q = rows()
    P, Q = p / p.sum(), q / q.sum()
    by_entropies = scipy.stats.entropy((P + Q) / 2) - scipy.stats.entropy(P) / 2 - scipy.stats.entropy(Q) / 2
    assert float(reference.js(p, q)) == pytest.approx(by_entropies, rel=1e-13)


def test_agrees_with_scipy():
    p, q = rows(K=30, seed=8)
    distance, entropy = scipy.spatial.distance, scipy.stats.entropy
    middle = (p + q) / 2
    for name, expected in {
        "kl": entropy(p, q), "reverse_kl": entropy(q, p), "jeffreys": entropy(p, q) + entropy(q, p),
        "js_distance": distance.jensenshannon(p, q), "js": distance.jensenshannon(p, q) ** 2,
        "total_variation": distance.cityblock(p, q) / 2, "generalized_kl": scipy.special.kl_div(p, q).sum(),
        "hellinger": distance.euclidean(np.sqrt(p), np.sqrt(q)) / math.sqrt(2),
    }.items():
        assert float(value(name, p, q)) == pytest.approx(expected, rel=1e-12), name
    assert float(reference.skew_kl(p, q, 0.5)) == pytest.approx(scipy.special.rel_entr(p, middle).sum(), rel=1e-12)


def test_limits_in_alpha():
    """alpha -> 1 is KL, with an error of the first order in alpha - 1; alpha -> 0 of the Renyi family is alpha KL'."""
    p, q = rows()
    kl, reverse = reference.kl(p, q), reference.reverse_kl(p, q)
    for name, at, limit in (("renyi", 1, kl), ("tsallis", 1, kl), ("alpha_divergence", -1, kl),
                            ("alpha_divergence", 1, reverse)):
        assert agree(value(name, p, q, alpha=at), limit), name
        for step in (1e-3, 1e-9, -1e-9, 2.0**-52):
            assert agree(value(name, p, q, alpha=at + step), limit, digits=-math.log10(20 * abs(step))), name
    for name in ("renyi", "tsallis", "chernoff"):
        assert agree(value(name, p, q, alpha=1e-20) / 1e-20, reverse, digits=15), name
    assert agree(reference.skew_kl(p, q, 1), kl)
    assert agree(reference.skew_js(p, q, 1e-12) / 1e-12, kl, digits=10)


@pytest.mark.parametrize("name", ["jeffreys", "js", "js_distance", "total_variation", "triangular", "squared_hellinger",
                                  "hellinger", "bhattacharyya"])
def test_symmetric_ones(name):
    for near in (None, 1e-12):
        p, q = rows(near=near)
        assert agree(value(name, p, q), value(name, q, p))


def test_duality():
    p, q = rows(near=1e-4)
    assert agree(reference.alpha_divergence(p, q, 0.7), reference.alpha_divergence(q, p, -0.7))
    assert agree(reference.chernoff(p, q, 0.25), reference.chernoff(q, p, 0.75))
    assert agree(reference.skew_js(p, q, 0.25), reference.skew_js(q, p, 0.75))
    assert agree(reference.tsallis(p, q, 0.25) * 0.75, reference.tsallis(q, p, 0.75) * 0.25)


def test_bounds():
    """Topsoe 2000: triangular / 4 <= js <= triangular log(2) / 2; and those of Le Cam and Pinsker."""
    for seed in range(5):
        p, q = rows(K=4, seed=seed)
        triangular, variation = reference.triangular(p, q), reference.total_variation(p, q)
        squared = reference.squared_hellinger(p, q)
        assert triangular / 4 <= reference.js(p, q) <= triangular * LOG2 / 2
        assert squared <= variation <= mpmath.sqrt(2 * squared) and 2 * variation**2 <= reference.kl(p, q)
        assert 2 * squared <= triangular <= 4 * squared
    assert reference.js([1, 0], [0, 1]) - mpmath.log(2) < 1e-15 and reference.triangular([1, 0], [0, 1]) == 2


INFINITE = {  # at p = (1, 1, 0), q = (1, 0, 1); at p = (1, 1), q = (1, 0); and the other way round
    "kl": (True, True, False), "jeffreys": (True, True, True), "chi2": (True, True, False),
    "neyman_chi2": (True, False, True),
}


@pytest.mark.parametrize("name", [name for name in DIVERGENCES if name not in AS_THEY_ARE])
def test_zeros(name):
    """inf where the formula says so; equal rows with zeros are 0."""
    some = parameters_of(name)
    wanted = INFINITE.get(name, (name == "renyi", name == "renyi", False))  # of order 2.5
    wanted = wanted if name != "reverse_kl" else (True, False, True)
    pairs = ([1, 1, 0], [1, 0, 1]), ([1, 1], [1, 0]), ([1, 0], [1, 1])
    for (p, q), infinite in zip(pairs, wanted):
        assert (value(name, p, q, **some) == mpmath.inf) == infinite, (p, q)
        with np.errstate(divide="ignore"):
            assert (value(name, np.log(p), np.log(q), "logits", **some) == mpmath.inf) == infinite, (p, q)
    assert value(name, [2, 0, 6], [1, 0, 3], **some) == 0
    assert value(name, [2, -math.inf, 6], [3, -math.inf, 7], "logits", **some) == 0


@pytest.mark.parametrize("name, alpha, p_alone, q_alone, disjoint", [
    ("renyi", 0.5, False, False, True), ("renyi", 3, True, False, True), ("chernoff", 0.5, False, False, True),
    ("tsallis", 0.5, False, False, False), ("tsallis", 2, True, False, True), ("tsallis", 1, True, False, True),
    ("alpha_divergence", 0, False, False, False), ("alpha_divergence", -1, True, False, True),
    ("alpha_divergence", -2, True, False, True), ("alpha_divergence", 1, False, True, True),
    ("alpha_divergence", 2, False, True, True),
])
def test_powers_of_zero(name, alpha, p_alone, q_alone, disjoint):
    for (p, q), infinite in (([1, 1], [1, 0]), p_alone), (([1, 0], [1, 1]), q_alone), (([1, 0], [0, 1]), disjoint):
        assert (value(name, p, q, alpha=alpha) == mpmath.inf) == infinite


@pytest.mark.parametrize("name", SUMS)
@pytest.mark.parametrize("near", [None, 1e-9])
def test_contributions_are_nonnegative_and_sum_to_the_value(name, near):
    p, q = rows(near=near)
    p[3] = q[3] = 0
    terms = contributions(p, q, name, **parameters_of(name))
    assert len(terms) == len(p) and terms[3] == 0 and min(terms) >= 0
    with mpmath.workdps(80):
        assert agree(mpmath.fsum(terms), value(name, p, q, **parameters_of(name)))


@pytest.mark.parametrize("name", SUMS)
def test_contributions_of_equal_bins_are_0(name):
    """Also of bins that are equal after normalisation only, here the first."""
    some = parameters_of(name)
    p, q = ([1.0, 2, 3], [1.0, 3, 2]) if name in AS_THEY_ARE else ([1.0, 2, 3], [2.0, 6, 4])
    assert [term > 0 for term in contributions(p, q, name, **some)] == [False, True, True]
    assert contributions(p, p, name, **some) == [0, 0, 0]
    if name not in AS_THEY_ARE:
        a, b = [0.5, 1.5, -2.0, -math.inf], [1.5, -1.0, 2.5, -math.inf]
        assert [term > 0 for term in contributions(a, b, name, "logits", **some)] == [False, True, True, False]


def test_contributions_by_hand():
    p, q = [0.25, 0.75, 0.0], [0.5, 0.25, 0.25]
    assert [float(term) for term in contributions(p, q, "total_variation")] == [0.125, 0.25, 0.125]
    assert [float(term) for term in contributions(p, q, "chi2")] == pytest.approx([0.125, 1, 0.25])
    assert [float(term) for term in contributions(p, q, "kl")] == pytest.approx(
        [0.25 - LOG2 / 4, 0.75 * LOG3 - 0.5, 0.25])
    assert contributions(q, p, "kl")[2] == mpmath.inf
    with pytest.raises(KeyError):
        contributions(p, q, "renyi", alpha=2)


def test_small_differences_of_large_bins():
    """All three bins of [1, 1, s] differ from those of [1, 1, 2 s], by s / 4, s / 4 and s / 2."""
    for small in (1e-30, 1e-300):
        assert float(reference.total_variation([1, 1, small], [1, 1, 2 * small])) == pytest.approx(small / 2, rel=1e-15)


def test_power_series_ends_at_no_zero_coefficient():
    """Of r = -1 every second coefficient is 0."""
    p, q = rows(near=1e-4)
    assert agree(reference.tsallis(p, q, 2), reference.chi2(p, q))


def test_logits_of_any_range():
    assert float(reference.js([0, -1e300], [0, 1e300], "logits")) == pytest.approx(LOG2, rel=1e-15)
    assert float(reference.chi2([1e308, -1e308], [-3, 1], "logits")) == pytest.approx(math.exp(4), rel=1e-15)


@pytest.mark.parametrize("name, parameter", [
    ("renyi", 0), ("tsallis", -1), ("chernoff", 1), ("chernoff", 0), ("skew_js", 1), ("skew_kl", 0), ("skew_kl", 1.5),
])
def test_parameters_out_of_range(name, parameter):
    with pytest.raises(ValueError, match="wanted"):
        value(name, [1, 2], [2, 1], **{PARAMETERS[name]: parameter})


def test_brute_force_orders_by_value_then_index():
    P = [[0.0], [1.0], [1.0]]
    Q = [[1.0], [0.0], [1.0], [2.0]]
    values, columns = reference.kneighbors(P, Q, 3, lambda p, q: abs(p[0] - q[0]))
    assert columns.tolist() == [[1, 0, 2], [0, 2, 1], [0, 2, 1]]
    assert values.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 1]]
    _, columns = reference.kneighbors(P, None, 2, lambda p, q: abs(p[0] - q[0]))
    assert columns.tolist() == [[1, 2], [2, 0], [1, 0]]
