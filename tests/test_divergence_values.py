"""Row by row values of every divergence against the oracle, on every ISA: to 4e-15, +0.0 iff equal, inf where it is."""

from collections import defaultdict
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from named import ALL, IN_REFERENCE, NORMALISED, specification
from oracle import assert_accurate, divergence_cases, error

import klfast as kl
from klfast import reference
from klfast.divergences import find

RTOL = 4e-15
OF_ORACLE = {of_reference: name for name, of_reference in IN_REFERENCE.items()}


@cache
def asked():
    """{"renyi:0.5": {(domain, storage, bins): cases}}."""
    groups = defaultdict(lambda: defaultdict(list))
    for case in divergence_cases():
        name = OF_ORACLE.get(case.name, case.name) + (f":{case.parameter!r}" if case.parameter is not None else "")
        groups[name][case.domain, case.storage, case.p.size].append(case)
    return groups


def operands(domain, group):
    parameter = "counts" if domain == "probs" else "logits"
    return (kl.Categorical(**{parameter: np.stack([getattr(case, side) for case in group])}) for side in "pq")


@pytest.mark.parametrize("name", asked())
def test_oracle(isa, name):
    divergence = find(name)
    for (domain, storage, bins), group in asked()[name].items():
        P, Q = operands(domain, group)
        out = np.empty(len(group))  # float64, whatever the storage
        kl.rowwise(P, Q, divergence, out=out)
        high, low = np.array([case.reference for case in group]).T
        assert_accurate(out, high, low, RTOL, f"{name} of {bins} bins, {storage} {domain}")
        if divergence.symmetric:
            assert kl.rowwise(Q, P, divergence, out=np.empty(len(group))).tobytes() == out.tobytes()


@pytest.mark.parametrize("order", [5, 8, 20, 60, 100])
@pytest.mark.parametrize("spread", [1e-4, 0.1, 1])
def test_high_orders(isa, rng, order, spread):
    """Which magnify the roundings of p/q: 1e-15 times the order, against sums of fractions."""
    P = rng.dirichlet(np.ones(9), 8)
    Q = P * np.exp(spread * rng.normal(size=P.shape))
    exact = []
    for p, q in zip(P.tolist(), Q.tolist()):
        p, q = ([Fraction(x) for x in row] for row in (p, q))
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        exact.append(float((sum(x**order * y ** (1 - order) for x, y in zip(p, q)) - 1) / (order - 1)))
    values = kl.rowwise(kl.Categorical(counts=P), kl.Categorical(counts=Q), kl.Tsallis(order))
    np.testing.assert_allclose(values, exact, rtol=order * 1e-15)


def test_oracle_knows_every_divergence():
    names = {name.partition(":")[0] for name in asked()} | {"kl", "reverse_kl", "cross_entropy"}  # test_direct.py
    assert names == {name.partition(":")[0] for name in ALL}


@pytest.mark.parametrize("name", ALL)
def test_one_row_is_as_many(isa, rng, name):
    """A value does not depend on the rows beside it: blocks of rows, and lengths around a group of lanes."""
    for K in (1, 3, 8, 17, 70):
        P, Q = rng.dirichlet(np.ones(K), 9), rng.dirichlet(np.ones(K), 9)
        P[1], Q[2, 0], P[3, K // 2] = Q[1], 0, 0
        P[3, 0] += 1e-3  # not empty
        Q[2, K - 1] += 1e-3
        P, Q = (kl.Categorical(counts=x) for x in (P, Q))
        values = kl.rowwise(P, Q, name)
        alone = [kl.rowwise(kl.Categorical(counts=p), kl.Categorical(counts=q), name)
                 for p, q in zip(P.values, Q.values)]
        assert values.tobytes() == np.array(alone).tobytes()


@pytest.mark.parametrize("name", NORMALISED)
def test_logits_are_softmax(isa, rng, name):
    a, b = 2 * rng.standard_normal((2, 12, 9))
    a[0, 3] = b[1, 4] = a[2, 5] = b[2, 5] = -np.inf
    values = kl.rowwise(kl.Categorical(logits=a), kl.Categorical(logits=b), name)
    p, q = kl.Categorical(counts=np.exp(a)), kl.Categorical(counts=np.exp(b))
    np.testing.assert_allclose(values, kl.rowwise(p, q, name), rtol=1e-13)
    np.testing.assert_allclose(kl.rowwise(p, kl.Categorical(logits=b), name), values, rtol=1e-13)


@pytest.mark.parametrize("name", NORMALISED)
def test_smoothing_and_sparse_rows(rng, name):
    """What is done to rows as they are read is the same for every divergence."""
    import scipy.sparse

    counts = rng.poisson(1.0, (2, 20, 11)) + np.eye(11, dtype=int)[rng.integers(0, 11, (2, 20))]
    P, Q = (kl.Categorical(counts=x, smoothing=0.5) for x in counts)
    by_hand = [kl.Categorical(counts=x + 0.5) for x in counts]
    np.testing.assert_array_equal(kl.rowwise(P, Q, name), kl.rowwise(*by_hand, name))
    dense = [kl.Categorical(counts=x) for x in counts]
    sparse = [kl.Categorical(counts=scipy.sparse.csr_array(x * 1.0)) for x in counts]
    np.testing.assert_array_equal(kl.rowwise(*sparse, name), kl.rowwise(*dense, name))


@pytest.mark.parametrize("name", ALL)
def test_random_rows_against_the_specification(rng, name):
    """Rows that are in no table, among them rows near each other."""
    exact = specification(name)
    for K, spread in ((4, 1.0), (6, 1e-3), (5, 1e-9)):
        q = rng.dirichlet(np.ones(K), 4)
        p = q * (1 + spread * rng.uniform(-1, 1, q.shape))
        wanted = [exact(a, b) for a, b in zip(p, q)]
        values = kl.rowwise(kl.Categorical(counts=p), kl.Categorical(counts=q), name)
        assert error(values, [float(x) for x in wanted], [float(x - float(x)) for x in wanted]).max() <= RTOL


@pytest.mark.parametrize("name", NORMALISED)
def test_same_distribution_is_plus_zero(isa, rng, name):
    """Multiples that are exact; rounded multiples are other distributions."""
    whole = rng.integers(1, 1000, (30, 13)).astype(float)
    logits = np.round(rng.standard_normal((30, 13)) * 16) / 16
    real = rng.standard_gamma(1.0, (30, 13))
    if name == "cross_entropy":
        whole, logits, real = np.eye(30)[:, :13] + np.eye(30, 13, -13), np.where(np.eye(30, 13) > 0, 1.5, -np.inf), None
        whole, logits = whole[:13], logits[:13]
    for P, Q in ((kl.Categorical(counts=whole), kl.Categorical(counts=whole * 7)),
                 (kl.Categorical(logits=logits), kl.Categorical(logits=logits - 3.25))):
        values = kl.rowwise(P, Q, name)
        assert values.tobytes() == np.zeros(len(values)).tobytes()
    if real is not None:
        values = kl.rowwise(kl.Categorical(counts=real), kl.Categorical(counts=3.7 * real), name)
        equal = [reference.same(p, q) for p, q in zip(real, 3.7 * real)]
        np.testing.assert_array_equal(values == 0, equal)
        assert (values >= 0).all() and values.max() < 1e-14


@pytest.mark.parametrize("name", ALL)
def test_float32_answers(rng, name):
    """Rounded once from the float64 value; an overflow is inf, without a warning."""
    P, Q = (rng.dirichlet(np.ones(9), 30).astype(np.float32) for _ in range(2))
    Q[0, 0] = 1e-37
    P, Q = kl.Categorical(counts=P), kl.Categorical(counts=Q)
    values, wide = kl.rowwise(P, Q, name), np.empty(30)
    assert values.dtype == np.float32
    kl.rowwise(P, Q, name, out=wide)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(values, wide.astype(np.float32))
