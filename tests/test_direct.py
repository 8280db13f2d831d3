"""Direct values against the oracle, on every ISA: the first and third clause of the accuracy contract."""

from collections import defaultdict

import numpy as np
import pytest
from oracle import assert_accurate, cases, long_case, strata_of
from oracle.strata import LONG

import klfast as kl

RTOL = {"probs": 2e-15, "logits": 4e-15}


def batches(domain, stratum):
    """The stratum's cases as matrices: one for each length and storage."""
    groups = defaultdict(list)
    for case in cases():
        if (case.domain, case.stratum) == (domain, stratum):
            groups[case.p.size, case.storage].append(case)
    for group in groups.values():
        parameter = "counts" if domain == "probs" else "logits"
        P, Q = (kl.Categorical(**{parameter: np.stack([getattr(c, side) for c in group])}) for side in "pq")
        yield P, Q, group


def references(group, name):
    return np.array([getattr(case, name) for case in group]).T


def by_stratum(test):
    names = [(domain, stratum) for domain in RTOL for stratum in strata_of(domain)]
    return pytest.mark.parametrize("domain, stratum", names, ids=[f"{d}-{s}" for d, s in names])(test)


@by_stratum
def test_rowwise(isa, domain, stratum):
    for P, Q, group in batches(domain, stratum):
        out = np.empty(len(group))
        for name, arguments in (("kl", (P, Q)), ("reverse_kl", (Q, P))):
            kl.rowwise(*arguments, out=out)
            assert_accurate(out, *references(group, name), RTOL[domain], f"{name} of {group[0].p.size} bins")


@by_stratum
def test_reverse_kl_is_kl_with_the_roles_swapped(isa, domain, stratum):
    for P, Q, _ in batches(domain, stratum):
        assert kl.rowwise(P, Q, "reverse_kl").tobytes() == kl.rowwise(Q, P).tobytes()


@by_stratum
def test_entropy(isa, domain, stratum):
    for P, _, group in batches(domain, stratum):
        high, low = references(group, "entropy")
        value, label = kl.entropy(P), f"entropy of {group[0].p.size} bins"
        if value.dtype == np.float32:  # one rounding more, at the end
            assert (np.abs(value - high) <= 0.501 * np.spacing(high.astype(np.float32))).all(), label
        else:
            assert_accurate(value, high, low, RTOL[domain], label, positive=False)


@by_stratum
def test_cross_entropy(isa, domain, stratum):
    for P, Q, group in batches(domain, stratum):
        out = np.empty(len(group))
        kl.rowwise(P, Q, "cross_entropy", out=out)
        (kl_high, kl_low), (h, h_low) = references(group, "kl"), references(group, "entropy")
        with np.errstate(invalid="ignore"):
            low = np.where(np.isinf(kl_high), 0, kl_low + h_low + np.where(kl_high > h, (kl_high - (kl_high + h)) + h,
                                                                           (h - (kl_high + h)) + kl_high))
        assert_accurate(out, kl_high + h, low, RTOL[domain], f"cross-entropy of {group[0].p.size} bins")


@pytest.mark.parametrize("number", range(len(LONG)), ids=[f"{domain}-{K}" for domain, K, _ in LONG])
def test_long_rows(isa, number):
    case = long_case(number)
    parameter = "counts" if case.domain == "probs" else "logits"
    P, Q = (kl.Categorical(**{parameter: x}) for x in (case.p, case.q))
    assert_accurate(kl.rowwise(P, Q), *case.kl, RTOL[case.domain], "kl")
    assert_accurate(kl.rowwise(P, Q, "reverse_kl"), *case.reverse_kl, RTOL[case.domain], "reverse_kl")
    assert_accurate(kl.entropy(P), *case.entropy, RTOL[case.domain], "entropy")


@pytest.mark.parametrize("K", [1, 2, 7, 8, 9, 64, 65, 1000])
def test_equal_rows_give_plus_zero(isa, rng, K):
    p = rng.standard_gamma(0.5, (50, K)) + 1e-9
    whole = rng.integers(1, 1000, (50, K)).astype(float)
    logits = np.round(rng.standard_normal((50, K)) * 16) / 16
    for P, Q in ((kl.Categorical(counts=p), kl.Categorical(counts=p * 2.0**-30)),
                 (kl.Categorical(counts=whole), kl.Categorical(counts=whole * 7)),
                 (kl.Categorical(logits=logits), kl.Categorical(logits=logits + 3.25))):
        for name in ("kl", "reverse_kl"):
            values = kl.rowwise(P, Q, name)
            assert values.tobytes() == np.zeros(50).tobytes()


def test_rounded_multiples_are_positive_and_tiny(isa, rng):
    """scipy.stats.entropy(a, 3.7 * a) is negative for half of all rows."""
    p = rng.standard_gamma(1.0, (2000, 16))
    values = kl.rowwise(kl.Categorical(counts=p), kl.Categorical(counts=3.7 * p))
    assert (values >= 0).all() and values.max() < 1e-31
    assert not np.signbit(values).any()


def test_mixed_operands(isa, rng):
    """Weights meet log-weights: the weights' logarithms, rounded to float64, are what is compared."""
    counts = rng.integers(0, 20, (40, 9)) + np.eye(9, dtype=int)[rng.integers(0, 9, 40)]
    logits = rng.standard_normal((40, 9))
    with np.errstate(divide="ignore"):
        as_logits = kl.Categorical(logits=np.log(counts))
    P, Q = kl.Categorical(counts=counts), kl.Categorical(logits=logits)
    weights = kl.Categorical(counts=np.exp(logits))
    np.testing.assert_allclose(kl.rowwise(P, Q), kl.rowwise(P, weights), rtol=1e-12)
    np.testing.assert_allclose(kl.rowwise(P, Q), kl.rowwise(as_logits, Q), rtol=1e-12)
    np.testing.assert_allclose(kl.rowwise(Q, P), kl.rowwise(weights, P), rtol=1e-12)
