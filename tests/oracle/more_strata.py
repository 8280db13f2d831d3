"""More rows for the divergences other than KL: rows that are near in some bins only, and rows of measures.

Cases are as in strata.py, from a generator of their own: what is added here moves no row there.
"""

from __future__ import annotations

import itertools

import numpy as np

from .strata import EPSILONS, NONE, SEED, _positive, dtype_of


def more_cases():
    """Pairs of distributions, of both domains."""
    yield from _named(np.random.default_rng(SEED + 1), (mixed, near_with_zeros, steep, almost_disjoint, logit_mixed,
                                                        logit_near_masks, logit_steep))


def measure_cases():
    """Pairs of rows of weights that nothing normalises, for generalized_kl and itakura_saito."""
    yield from _named(np.random.default_rng(SEED + 2), (
        measure_lengths, measure_near, measure_neighbours, measure_proportional, measure_zeros, measure_subnormal,
        measure_extreme, measure_narrow))


def _named(rng, makes):
    for make in makes:
        for case in make(rng):
            yield make.__name__, *case


def mixed(rng):
    """Some bins differ by 1e-9 of themselves or not at all, one or two by much."""
    for K, eps in itertools.product((4, 17, 33), (0.0, 1e-9)):
        q = _positive(rng, K, 1.0)
        p = q * (1 + eps * rng.uniform(-1, 1, K))
        p[0] *= 1.001
        yield "probs", "float64", p, q
        p = p.copy()
        p[:2] *= 300, 1e-5
        yield "probs", "float64", p, q


def near_with_zeros(rng):
    for K, eps in itertools.product((5, 33), (1e-2, 1e-7, 1e-13)):
        q = _positive(rng, K, 1.0) * (rng.random(K) < 0.6)
        q[0] = 0.3
        p = q * (1 + eps * rng.uniform(-1, 1, K))
        yield "probs", "float64", p, q
        for left, right in ((1e-20, 0.0), (0.0, 1e-20), (1e-20, 3e-20)):
            p, q = p.copy(), q.copy()
            p[1], q[1] = left, right
            yield "probs", "float64", p, q


def steep(rng):
    """Ratios of 2^(-K) ... 2^K: large powers overflow nothing, and small bins lead."""
    for K in (2, 9, 32, 200):
        q = 0.5 ** np.arange(K)
        yield "probs", "float64", q[::-1].copy(), q
        yield "probs", "float64", q * q, q
        yield "probs", "float64", rng.uniform(0.5, 1, K), q


def almost_disjoint(rng):
    for small in (1e-5, 1e-40, 1e-200, 1e-300):
        yield "probs", "float64", np.array([1, small]), np.array([small, 1])
        yield "probs", "float64", np.array([1, small, 0]), np.array([0, small, 1])
        yield "probs", "float64", np.array([1, small, 0, 0.2]), np.array([small, 0.3, 0.3, small])


def logit_mixed(rng):
    for K, eps in itertools.product((4, 17, 33), (0.0, 1e-10)):
        b = 3 * rng.standard_normal(K)
        a = b + eps * rng.uniform(-1, 1, K)
        a[0] += 0.001
        yield "logits", "float64", a, b
        a = a.copy()
        a[:2] += 5, -12
        yield "logits", "float64", a, b


def logit_near_masks(rng):
    for K, eps in itertools.product((5, 33), (1e-2, 1e-7, 1e-13)):
        b = np.where(rng.random(K) < 0.4, NONE, 3 * rng.standard_normal(K))
        b[0] = 1
        a = b + eps * rng.uniform(-1, 1, K)
        yield "logits", "float64", a, b
        for left, right in ((-45, NONE), (NONE, -45), (-45, -44)):
            a, b = a.copy(), b.copy()
            a[1], b[1] = left, right
            yield "logits", "float64", a, b


def logit_steep(rng):
    for K, step in itertools.product((2, 9, 32), (1.0, 20.0)):
        b = -step * np.arange(K)
        yield "logits", "float64", b[::-1].copy(), b
        yield "logits", "float64", 2 * b, b
        yield "logits", "float64", rng.uniform(-1, 1, K), b


def measure_lengths(rng):
    for K, scale in itertools.product((1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 65, 200), (1e-3, 1.0, 1e6)):
        yield "probs", "float64", scale * _positive(rng, K, 1.0), K * _positive(rng, K, 1.0)


def measure_near(rng):
    for eps, K in itertools.product(EPSILONS, (1, 3, 33)):
        q = 10 ** rng.uniform(-3, 3, K)
        yield "probs", "float64", q * (1 + eps * rng.uniform(0.5, 1, K) * rng.choice([-1, 1], K)), q


def measure_neighbours(rng):
    for K in (1, 2, 7, 64):
        q = 10 ** rng.uniform(-3, 3, K)
        one = q.copy()
        one[K // 2] = np.nextafter(one[K // 2], 1e9)
        yield "probs", "float64", one, q
        yield "probs", "float64", np.nextafter(q, rng.choice([0.0, 1e9], K)), q


def measure_proportional(rng):
    """Equal as distributions, but not as measures, unless the factor is 1."""
    for K, factor in itertools.product((1, 5, 64), (1.0, 2.0**-40, 2.0**40, 3.7, 1e-9, 1 + 2.0**-40)):
        p = _positive(rng, K, 1.0)
        yield "probs", "float64", p, p * factor


def measure_zeros(rng):
    patterns = [np.array(p, np.float64) for p in itertools.product((0, 1), repeat=3)]
    for a, b in itertools.product(patterns, patterns):
        yield "probs", "float64", a * 10 ** rng.uniform(-2, 2, 3), b * 10 ** rng.uniform(-2, 2, 3)
    for K in (1, 9, 16, 65):
        q = 10 ** rng.uniform(-2, 2, K) * (rng.random(K) < 0.6)
        p = 10 ** rng.uniform(-2, 2, K) * (rng.random(K) < 0.6)
        for left, right in ((p, q), (p * (q > 0), q), (np.where(q > 0, p + 0.1, 0), q), (0 * p, q), (p, 0 * q),
                            (0 * p, 0 * q), (q * (1 + 1e-9), q)):
            yield "probs", "float64", left, right


def measure_subnormal(rng):
    for K in (1, 3, 16):
        p, q = (rng.integers(1, 1000, K) * 5e-324 for _ in range(2))
        dense = _positive(rng, K, 1.0)
        yield "probs", "float64", p, q
        yield "probs", "float64", p, dense
        yield "probs", "float64", dense, q
        yield "probs", "float64", p, p


def measure_extreme(rng):
    for K in (1, 2, 9, 64):
        for span in (30, 150, 300):
            yield "probs", "float64", 10 ** rng.uniform(-span, span, K), 10 ** rng.uniform(-span, span, K)
        p = _positive(rng, K, 1.0)
        yield "probs", "float64", p * 1e300, _positive(rng, K, 1.0) * 1e300
        yield "probs", "float64", p * 1e-300, _positive(rng, K, 1.0) * 1e-300
        yield "probs", "float64", p * 1e300, p * (1 + 1e-7 * rng.uniform(-1, 1, K)) * 1e300


def measure_narrow(rng):
    for storage in ("float32", "float16", "bfloat16"):
        dtype = dtype_of(storage)
        for K in (1, 8, 65):
            p, q = ((rng.uniform(0.01, 9, K)).astype(dtype).astype(np.float64) for _ in range(2))
            yield "probs", storage, p, q
            yield "probs", storage, np.where(rng.random(K) < 0.3, 0, p), q
    for storage, top in (("int8", 127), ("uint16", 2**16 - 1), ("int64", 2**53)):
        for K in (3, 17):
            yield "probs", storage, *(rng.integers(1, top, K).astype(np.float64) for _ in range(2))
            yield "probs", storage, *(rng.poisson(2, K).astype(np.float64) for _ in range(2))
