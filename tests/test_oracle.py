"""The oracle is tested: its comparer accepts what is right and rejects what is wrong, its table is what it says."""

import numpy as np
import pytest
from oracle import assert_accurate, cases, error, strata
from oracle.generate import checked
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
    assert PATH.stat().st_size < 2_000_000


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
