"""The oracle is tested: its comparer accepts what is right and rejects what is wrong, its table is what it says."""

import numpy as np
import pytest
from oracle import assert_accurate, cases, divergence_cases, error, formulas, more_strata, strata
from oracle.generate import ASKED, ASKED_OF_MEASURES, checked, checked_divergence
from oracle.table import PATH

from klfast import reference

U = 2.0**-52


def ulps(x, n):
    for _ in range(abs(n)):
        x = np.nextafter(x, np.inf if n > 0 else -np.inf)
    return x


@pytest.mark.parametrize("right", [1.0, 0.7, 1e-25, 3e300, 1e-300])
def test_measures_units_in_the_last_place(right):
    assert error(right, right) == 0
    for n in (-4, -1, 1, 4):
        assert error(ulps(right, n), right) == pytest.approx(abs(n) * np.spacing(right) / right, rel=1e-6)
    assert_accurate(ulps(right, 3), right, rtol=4.01 * U)
    with pytest.raises(AssertionError, match="1 of 1 values"):
        assert_accurate(ulps(right, 4), right, rtol=1.99 * U)


def test_uses_the_low_part():
    high, low = 1.0, 0.4 * U
    assert error(1.0, high, low) == pytest.approx(0.4 * U)
    assert error(1.0 + U, high, low) == pytest.approx(0.6 * U)


@pytest.mark.parametrize("value, high", [
    (np.nan, 1.0), (np.nan, 0.0), (np.nan, np.inf), (-0.0, 0.0), (5e-324, 0.0), (-1.0, 1.0), (0.0, 1e-300),
    (0.0, 5e-324),
    (1e308, np.inf), (np.inf, 1e308), (-np.inf, np.inf), (1e-302, 1e-303),
])
def test_rejects(value, high):
    assert error(value, high) > 0.5
    with pytest.raises(AssertionError):
        assert_accurate(np.array([high, value]), np.array([high, high]))


@pytest.mark.parametrize("value", [0.0, np.inf, 5e-324, 1e308])
def test_accepts(value):
    assert error(value, value) == 0
    assert_accurate([value, value], [value, value])


def test_accepts_the_grain_of_subnormal_numbers():
    assert error(5e-324, 1e-323) < 1e-18
    assert error(1e-319, 1e-323) < 2e-15
    assert error(2e-304, 1e-304) == pytest.approx(1)
    assert error(0.0, 5e-324, positive=False) < 1e-18
    assert error(-0.0, 5e-324, positive=False) == np.inf


def test_table_holds_the_rows_of_the_strata():
    made = list(strata.all_cases())
    assert len(made) == len(cases()) > 500
    for (stratum, domain, storage, p, q), case in zip(made, cases()):
        assert (stratum, domain, storage) == (case.stratum, case.domain, case.storage)
        assert p.tobytes() == case.p.astype(np.float64).tobytes() and q.tobytes() == case.q.astype(np.float64).tobytes()
    assert PATH.stat().st_size < 3_000_000


def test_table_holds_the_values_of_the_generator():
    """Two formulas again, for a sample: the table is not older than its generator."""
    sample = [case for case in cases() if case.p.size < 20][::23]
    assert len(sample) > 15
    for case in sample:
        p, q = case.p.astype(np.float64), case.q.astype(np.float64)
        for name in ("kl", "reverse_kl", "entropy"):
            assert checked(name, p, q, case.domain) == getattr(case, name), (case, name)


def test_table_covers_the_contract():
    values = np.array([case.kl[0] for case in cases()])
    finite = values[np.isfinite(values)]
    assert (values == 0).sum() > 20 and np.isinf(values).sum() > 20
    for low, high in ((1e-33, 1e-25), (1e-25, 1e-15), (1e-15, 1e-5), (1e-5, 1), (1, 50), (300, 800), (1e3, 1e5)):
        assert ((finite > low) & (finite < high)).sum() >= 5, (low, high)
    lengths = {case.p.size for case in cases()}
    assert set(range(1, 18)) | {64, 65, 1000} <= lengths


def test_second_formula_can_object(monkeypatch):
    p, q = np.array([0.25, 0.75]), np.array([0.5, 0.5])
    assert checked("kl", p, q, "probs")[0] == pytest.approx(0.130812)
    monkeypatch.setattr(reference, "kl", lambda p, q, domain: reference.entropy(p, domain))
    with pytest.raises(AssertionError, match="kl of probs"):
        checked("kl", p, q, "probs")


def exact_rows(case):
    return case.p.astype(np.float64), case.q.astype(np.float64)


def parameter_of(case):
    return () if case.parameter is None else (case.parameter,)


def test_divergences_are_of_the_rows_of_the_strata():
    made = [*strata.all_cases(), *more_strata.more_cases(), *more_strata.measure_cases()]
    rows = {(stratum, domain, storage, p.tobytes(), q.tobytes()) for stratum, domain, storage, p, q in made}
    for case in divergence_cases():
        p, q = exact_rows(case)
        assert (case.stratum, case.domain, case.storage, p.tobytes(), q.tobytes()) in rows
    more = {row[0] for row in made[len(cases()):]}
    assert {case.stratum for case in divergence_cases()} == set(strata_names()) | more


def strata_names():
    return dict.fromkeys(case.stratum for case in cases())


def test_divergences_are_those_of_the_reference():
    """A sample, anew: by the specification alone, and by both formulas."""
    rng = np.random.default_rng(1)
    short = [case for case in divergence_cases() if case.p.size <= 17 and case.stratum != "logit_huge"]
    for number in rng.choice(len(short), 120, replace=False):
        case = short[number]
        p, q = exact_rows(case)
        value = reference.value(case.name, p, q, case.domain, **{reference.PARAMETERS[case.name]: case.parameter}
                                if case.parameter is not None else {})
        assert error(float(value) or 5e-324 * bool(value), *case.reference) <= U / 2, case
        assert checked_divergence(case.name, p, q, case.domain, *parameter_of(case)) == case.reference, case


def test_divergences_cover_the_contract():
    of_name = {}
    for case in divergence_cases():
        of_name.setdefault(case.name, []).append(case)
    assert set(of_name) == {*ASKED, *ASKED_OF_MEASURES} and len(divergence_cases()) > 5000
    never_infinite = {"js", "js_distance", "skew_js", "skew_kl", "total_variation", "triangular", "squared_hellinger",
                      "hellinger"}
    for name, found in of_name.items():
        values = np.array([case.reference[0] for case in found])
        wanted = {**ASKED, **ASKED_OF_MEASURES}[name]
        assert {case.parameter for case in found} == set(wanted)
        assert (values == 0).sum() >= 5 * len(wanted), name
        assert np.isinf(values).any() == (name not in never_infinite), name
        finite = values[np.isfinite(values)]
        first_order = name in ("total_variation", "hellinger", "js_distance")
        for low, high in ((1e-33, 1e-20), (1e-20, 1e-9), (1e-9, 1e-2), (1e-2, 3)) if not first_order else (
                (1e-17, 1e-9), (1e-9, 1e-2), (1e-2, 1)):
            assert ((finite > low) & (finite < high)).sum() >= 5, (name, low, high)
    assert {case.storage for case in divergence_cases()} >= {"float16", "bfloat16", "float32", "int32", "int64"}


def test_divergences_are_never_negative_and_0_only_for_equal_rows():
    for case in divergence_cases():
        p, q = exact_rows(case)
        as_they_are = case.name in reference.AS_THEY_ARE
        equal = bool((p == q).all()) if as_they_are else reference.same(p, q, case.domain)
        assert (case.reference[0] == 0) == equal and case.reference[0] >= 0, case


def test_infinities_are_where_the_supports_say():
    """Of those that know no parameter, and of finite values below the largest double."""
    for case in divergence_cases():
        none = 0 if case.domain == "probs" else -np.inf
        p, q = (row != none for row in exact_rows(case))
        left, right, meet = bool((p & ~q).any()), bool((q & ~p).any()), bool((p & q).any())
        wanted = {"jeffreys": left or right, "chi2": left, "neyman_chi2": right, "bhattacharyya": not meet,
                  "generalized_kl": left, "itakura_saito": left or right}.get(case.name)
        if case.name == "renyi":
            wanted = left if case.parameter > 1 else not meet
        if wanted is not None:
            overflows = not wanted and case.name in ("chi2", "neyman_chi2", "itakura_saito", "jeffreys")
            assert np.isinf(case.reference[0]) == wanted or overflows, case


def test_rejects_slightly_wrong_divergences():
    positive = [case for case in divergence_cases() if 1e-300 < case.reference[0] < np.inf][::97]
    high, low = np.array([case.reference for case in positive]).T
    assert_accurate(high, high, low, rtol=U / 2)
    assert (error(high * (1 + 8 * U), high, low) > 4 * U).all() and (error(-high, high, low) == np.inf).all()
    with pytest.raises(AssertionError, match="1 of"):
        assert_accurate(np.where(np.arange(high.size) == 5, high * (1 - 1e-14), high), high, low)


@pytest.mark.parametrize("name", formulas.FORMULAS)
def test_second_formulas_can_object(name, monkeypatch):
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.3, 0.45, 0.25])
    parameter = (0.3,) if name in reference.PARAMETERS else ()
    right = reference.VALUES[name](p, q, *parameter)
    assert checked_divergence(name, p, q, "probs", *parameter)[0] == float(right)
    monkeypatch.setitem(reference.VALUES, name, lambda *_, **__: right * (1 + right.context.mpf(10) ** -32))
    with pytest.raises(AssertionError, match=f"{name} .* of probs"):
        checked_divergence(name, p, q, "probs", *parameter)
