"""Direct values against the oracle, on every ISA: the first and third clause of the accuracy contract."""

from collections import defaultdict

import mpmath
import numpy as np
import pytest
from oracle import assert_accurate, cases, long_case, strata_of
from oracle.strata import LONG

import klfast as kl
from klfast import _engine

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


ODD_LOGITS = {
    "one": [3.0], "two equal": [-7.0, -7.0], "all equal": [0.25] * 70, "largest in the tail": [0.0] * 8 + [9.0],
    "two largest": [1.0, 5.0, 5.0, -2.0, 5.0], "one and masks": [-np.inf] * 9 + [1.0], "next to nothing": [0.0, -600.0],
    "subnormal": [0.0, -720.0, -730.0], "nothing": [0.0, -800.0], "huge": [1e300, -1e300, 1e300],
    "two blocks, largest last": [-3.0] * 99 + [40.0], "faint in a long row": [0.0] + [-640.0] * 300}


@pytest.mark.parametrize("kind", ODD_LOGITS)
def test_entropy_of_odd_logits(isa, kind):
    a = np.array(ODD_LOGITS[kind])
    with mpmath.workdps(700):
        u = [mpmath.mpf(float(x)) - mpmath.mpf(float(a.max())) for x in a if x != -np.inf]
        weights = [mpmath.exp(x) if x > -10**6 else mpmath.mpf(0) for x in u]
        total = mpmath.fsum(weights)
        expected = float(mpmath.log(total) - mpmath.fsum(w * x for w, x in zip(weights, u)) / total)
    value = kl.entropy(kl.Categorical(logits=a))
    assert value == pytest.approx(expected, rel=4e-15, abs=1e-320), kind  # subnormal weights have few digits
    cross = kl.rowwise(kl.Categorical(logits=a), kl.Categorical(logits=a + 2.0), "cross_entropy")
    assert cross == pytest.approx(expected, rel=4e-15, abs=1e-99)


@pytest.mark.parametrize("low, high", [(-1e-3, 1e-3), (-1, 1), (-40, 40), (-600, 600), (-744, 709)])
def test_logarithms_of_weights(isa, rng, low, high):
    """Of operands that meet log-weights: within 2 ulp."""
    for K in (1, 7, 8, 9, 50, 400):
        weights = np.exp(rng.uniform(low, high, K))
        logs = _engine.Rows(weights[None, :], _engine.PROBS).as_logits().read(0)
        with mpmath.workdps(40):
            exact = [mpmath.log(mpmath.mpf(float(w))) for w in weights]
            errors = [float(abs(mpmath.mpf(float(x)) - y)) for x, y in zip(logs, exact)]
        assert (np.array(errors) <= 2 * np.spacing(np.abs(logs))).all(), K
    odd = np.array([[0, 1, 5e-324, 1e300, 2, 0, 0.5, 1e-310, 7]])
    with np.errstate(divide="ignore"):
        assert (_engine.Rows(odd, _engine.PROBS).as_logits().read(0) == np.log(odd[0])).all()
    assert kl.rowwise(odd / odd.sum(), kl.Categorical(logits=np.zeros((1, 9)))) > 0


LOGITS_OF_ANY_KIND = {
    "random": lambda rng, n, K: [rng.standard_normal((n, K)) for _ in range(2)],
    "wide": lambda rng, n, K: [30 * rng.standard_normal((n, K)) for _ in range(2)],
    "near": lambda rng, n, K: near_logits(rng, n, K),
    "masks": lambda rng, n, K: masked_logits(rng, n, K),
    "offset": lambda rng, n, K: [rng.standard_normal((n, K)) + 120, rng.standard_normal((n, K)) - 120],
    "large": lambda rng, n, K: [1000 * rng.standard_normal((n, K)) for _ in range(2)],
    "one in many is huge": lambda rng, n, K: huge_logits(rng, n, K),
}


def near_logits(rng, n, K):
    """Each row nearer than the one before."""
    a = rng.standard_normal((n, K))
    return [a, a + rng.standard_normal((n, K)) * np.geomspace(1, 1e-5, n)[:, None]]


def masked_logits(rng, n, K):
    a, b = rng.standard_normal((2, n, K))
    mask = rng.random((n, K)) < np.linspace(0, 0.5, n)[:, None]
    mask[:, 0] = False
    b[mask & (rng.random((n, K)) < 0.5)] = -np.inf
    a[mask] = -np.inf
    return [a, b]


def huge_logits(rng, n, K):
    """A few logits from just beyond what the exponential takes to 2^120."""
    a, b = rng.standard_normal((2, n, K))
    for x in (a, b):
        some = rng.integers(0, n, n // 2), rng.integers(0, K, n // 2)
        x[some] = rng.choice([-1, 1], n // 2) * np.exp2(rng.uniform(6, 120, n // 2))
    return [a, b]


@pytest.mark.parametrize("kind", LOGITS_OF_ANY_KIND)
def test_float32_answers_are_those_of_float64_rounded(isa, rng, kind):
    for K in [*range(1, 41), 63, 64, 65, 257, 1000, 5000]:
        logits = [x.astype(np.float32) for x in LOGITS_OF_ANY_KIND[kind](rng, 40 + 4000 // K, K)]
        P, Q = (kl.Categorical(logits=x) for x in logits)
        for options in ({}, {"base": 2}):
            full = kl.rowwise(P, Q, out=np.empty(P.shape[0]), **options)
            values = kl.rowwise(P, Q, **options)
            assert values.dtype == np.float32
            np.testing.assert_array_equal(values, full.astype(np.float32), f"{K} bins")
            assert kl.rowwise(P, Q, out=np.empty_like(values), **options).tobytes() == values.tobytes()


@pytest.mark.parametrize("K", [128256, (1 << 18) + 9])
def test_float32_answers_of_long_rows(isa, rng, K):
    P, Q = (kl.Categorical(logits=rng.standard_normal((3, K)).astype(np.float32)) for _ in range(2))
    np.testing.assert_array_equal(kl.rowwise(P, Q), kl.rowwise(P, Q, out=np.empty(3)).astype(np.float32))


def test_float32_log_probs_are_refused_as_float64_ones(isa, rng):
    """Sums just within and just beyond the tolerance: what refuses a row must not depend on the answer's type."""
    x = rng.standard_normal((400, 16))
    x = (x - np.log(np.exp(x).sum(axis=1))[:, None] + np.linspace(-3e-3, 3e-3, 400)[:, None]).astype(np.float32)
    refused = []
    for row in x:
        dist = kl.Categorical(log_probs=row)
        try:
            kl.rowwise(dist, dist, out=np.empty(()))
            refused.append(False)
            kl.rowwise(dist, dist)
        except ValueError:
            with pytest.raises(ValueError, match="not 1"):
                kl.rowwise(dist, dist)
            refused.append(True)
    assert 50 < sum(refused) < 350


def test_float32_log_probs_of_near_rows_are_refused_as_float64_ones(isa, rng):
    """The row of q, whose sum the form for near rows does not form."""
    x = rng.standard_normal((400, 16))
    x -= np.log(np.exp(x).sum(axis=1))[:, None]
    P = x.astype(np.float32)
    Q = (x + 1e-4 * rng.standard_normal(x.shape) + np.linspace(-3e-3, 3e-3, 400)[:, None]).astype(np.float32)
    refused = []
    for p, q in zip(P, Q, strict=True):
        pair = kl.Categorical(log_probs=p), kl.Categorical(log_probs=q)
        messages = []
        for out in (np.empty(()), np.empty((), np.float32)):
            try:
                kl.rowwise(*pair, out=out)
                messages.append("")
            except ValueError as error:
                messages.append(str(error))
        assert messages[0] == messages[1]
        refused.append(messages[0] != "")
    assert 50 < sum(refused) < 350
