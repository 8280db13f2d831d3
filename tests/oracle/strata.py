"""The rows of the oracle, stratum by stratum: every kind of input on which divergences are known to go wrong.

A case is (stratum, domain, storage, p, q); p and q are float64 arrays that the storage type holds exactly.
Rows of "probs" need not sum to 1. All come from numpy.random.default_rng (PCG64) with the seeds below.
"""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np

SEED = 1951
LENGTHS = (*range(1, 18), 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000)
EPSILONS = [10.0**-e for e in range(1, 16)]
NONE = -np.inf


def all_cases():
    rng = np.random.default_rng(SEED)
    for make in (lengths, near, neighbours, proportional, zeros, one_hot, subnormal, extreme_ratios, tiny, narrow,
                 counts, logit_lengths, logit_near, logit_neighbours, logit_shifts, logit_wide, logit_masks,
                 logit_huge, logit_narrow):
        for case in make(rng):
            yield make.__name__, *case


def lengths(rng):
    for K in LENGTHS:
        for concentration in (1.0, 0.1) if K < 1000 else (1.0,):
            yield "probs", "float64", _positive(rng, K, concentration), _positive(rng, K, concentration)


def near(rng):
    for eps, K in itertools.product(EPSILONS, (3, 65)):
        q = _positive(rng, K, 1.0)
        yield "probs", "float64", q * (1 + eps * rng.uniform(-1, 1, K)), q


def neighbours(rng):
    for K in (2, 3, 7, 64):
        q = _positive(rng, K, 1.0)
        one = q.copy()
        one[K // 2] = np.nextafter(one[K // 2], 1)
        every = np.nextafter(q, rng.choice([0.0, 1.0], K))
        least = q.copy()
        least[np.argmin(q)] = np.nextafter(q.min(), 0)
        for p in (one, every, least):
            yield "probs", "float64", p, q


def proportional(rng):
    for K, factor in itertools.product((1, 2, 5, 64), (1.0, 2.0**-40, 2.0**40, 3.7, 1 / 3, 1e-9)):
        p = _positive(rng, K, 1.0)
        yield "probs", "float64", p, p * factor  # equal up to a rounding, or exactly
    for K, factor in itertools.product((2, 9, 64), (3.0, 7.0, 12345.0)):
        p = rng.integers(0, 1000, K).astype(np.float64) + 1
        yield "probs", "float64", p, p * factor  # exactly equal distributions


def zeros(rng):
    patterns = [np.array(p, np.float64) for p in itertools.product((0, 1), repeat=3) if any(p)]
    for a, b in itertools.product(patterns, patterns):
        yield "probs", "float64", a * _positive(rng, 3, 1.0), b * _positive(rng, 3, 1.0)
    for K in (9, 16, 65):
        for _ in range(4):
            q = _positive(rng, K, 1.0) * (rng.random(K) < 0.6)
            q[0] = 0.1
            p = _positive(rng, K, 1.0) * (rng.random(K) < 0.6)
            p[1] = 0.2
            yield "probs", "float64", p, q
            yield "probs", "float64", np.where(q > 0, p, 0) + 1e-3 * (q > 0), q


def one_hot(rng):
    for K in (1, 2, 3, 17):
        hot = np.zeros(K)
        hot[K // 2] = 1
        dense = _positive(rng, K, 1.0)
        yield "probs", "float64", hot, dense
        yield "probs", "float64", dense, hot
        yield "probs", "float64", hot, 0.1 * hot
        for rest in (1e-3, 1e-8, 1e-16, 1e-20):
            yield "probs", "float64", hot + rest * (1 - hot), dense
            yield "probs", "float64", hot, hot + rest * (1 - hot)


def subnormal(rng):
    for K in (2, 3, 16):
        p, q = (rng.integers(1, 1000, K) * 5e-324 for _ in range(2))
        dense = _positive(rng, K, 1.0)
        yield "probs", "float64", p, q  # whole rows
        yield "probs", "float64", p, dense
        yield "probs", "float64", dense, q
        for tiny_value in (5e-324, 1e-310, 2e-308):
            part = dense.copy()
            part[0] = tiny_value
            yield "probs", "float64", part, dense
            yield "probs", "float64", dense, part


def extreme_ratios(rng):
    yield "probs", "float64", np.array([1, 1e-300]), np.array([1e-300, 1])
    yield "probs", "float64", np.array([1e300, 1e300, 1e-300]), np.array([1e300, 1e-300, 1e300])
    for K in (2, 3, 8, 64):
        for _ in range(4):
            yield "probs", "float64", 10 ** rng.uniform(-300, 300, K), 10 ** rng.uniform(-300, 300, K)
        p = _positive(rng, K, 1.0)
        yield "probs", "float64", p * 1e300, _positive(rng, K, 1.0) * 1e-300
        yield "probs", "float64", p * 1e-300, _positive(rng, K, 1.0) * 1e-305
        yield "probs", "float64", p * 1e250, p * 10 ** rng.uniform(-300, 0, K)


def tiny(rng):
    """Values below 1e-30 that come from small bins, not from small differences."""
    for exponent in (-32, -60, -120, -250, -300):
        small = 10.0**exponent
        yield "probs", "float64", np.array([1, small]), np.array([1, 0.3 * small])
        yield "probs", "float64", np.array([1, 3 * small]), np.array([1, small])
        yield "probs", "float64", np.array([0.5, 0.5, small]), np.array([0.5, 0.5, 1.5 * small])
        yield "probs", "float64", np.array([1.0, 0.0]), np.array([1, small])


def narrow(rng):
    for storage in ("float32", "float16", "bfloat16"):
        dtype = dtype_of(storage)
        for K in (1, 2, 5, 8, 64, 65):
            p, q = (_positive(rng, K, 1.0).astype(dtype).astype(np.float64) + 2.0**-13 for _ in range(2))
            yield "probs", storage, p.astype(dtype).astype(np.float64), q.astype(dtype).astype(np.float64)
        least = {"float32": 1e-45, "float16": 6e-8, "bfloat16": 1e-40}[storage]
        for pair in ([1, least], [0.5, 0.5]), ([0.5, 0.5], [1, least]), ([0, 1], [0.25, 0.75]):
            yield "probs", storage, *(np.array(x).astype(dtype).astype(np.float64) for x in pair)


def counts(rng):
    for storage, top in (("int8", 127), ("uint8", 255), ("int16", 2**15 - 1), ("uint16", 2**16 - 1),
                         ("int32", 2**31 - 1), ("uint32", 2**32 - 1), ("int64", 2**53), ("uint64", 2**53)):
        for K in (3, 9, 64):
            yield "probs", storage, *(rng.integers(1, top, K).astype(np.float64) for _ in range(2))
            q = rng.poisson(3, K).astype(np.float64) + 1
            yield "probs", storage, np.floor(q * rng.random(K)) + np.eye(K)[0], q


def logit_lengths(rng):
    for K in LENGTHS:
        for scale in (0.1, 3.0) if K < 1000 else (3.0,):
            yield "logits", "float64", scale * rng.standard_normal(K), scale * rng.standard_normal(K)


def logit_near(rng):
    for eps, K in itertools.product(EPSILONS, (3, 65)):
        b = 3 * rng.standard_normal(K)
        yield "logits", "float64", b + eps * rng.uniform(-1, 1, K), b


def logit_neighbours(rng):
    for K in (2, 5, 64):
        b = 3 * rng.standard_normal(K)
        one = b.copy()
        one[K // 2] = np.nextafter(one[K // 2], 10)
        yield "logits", "float64", one, b
        yield "logits", "float64", np.nextafter(b, rng.choice([-10.0, 10.0], K)), b


def logit_shifts(rng):
    for K in (1, 2, 7, 64):
        a = np.round(rng.standard_normal(K) * 8) / 8
        for shift in (0.0, 1.0, -1024.0, 2.0**40):
            yield "logits", "float64", a, a + shift  # exactly equal distributions
        a = rng.standard_normal(K)
        for shift in (1 / 3, 1e6, -1e12):
            yield "logits", "float64", a, a + shift  # equal up to the rounding of the shifted numbers


def logit_wide(rng):
    for K in (1, 2, 3, 16, 65):
        for scale in (10.0, 100.0, 1e4):
            yield "logits", "float64", rng.uniform(-scale, scale, K), rng.uniform(-scale, scale, K)
        a = rng.uniform(-1e4, 1e4, K)
        yield "logits", "float64", a, a + rng.standard_normal(K)
    for depth in (-30.0, -200.0, -700.0, -740.0, -1e4):
        yield "logits", "float64", np.array([0, depth]), np.array([0, depth - 5])
        yield "logits", "float64", np.array([0, depth]), np.array([0, -1.0])
        yield "logits", "float64", np.array([0, -1.0]), np.array([0, depth])


def logit_masks(rng):
    for a_mask, b_mask in itertools.product(itertools.product((0, NONE), repeat=3), repeat=2):
        if max(a_mask) == 0 and max(b_mask) == 0:
            yield ("logits", "float64", rng.standard_normal(3) + np.array(a_mask),
                   rng.standard_normal(3) + np.array(b_mask))
    for K in (9, 64):
        for scale in (1.0, 1e4):
            b = rng.uniform(-scale, scale, K)
            a = rng.uniform(-scale, scale, K)
            a[rng.random(K) < 0.5] = NONE
            a[0] = 0
            yield "logits", "float64", a, b
            yield "logits", "float64", a, np.where(a == NONE, NONE, b)
            yield "logits", "float64", a, np.where(a == NONE, -50, a)


def logit_huge(rng):
    yield "logits", "float64", np.array([0, -1e300]), np.array([0, 1e300])
    yield "logits", "float64", np.array([1e307, 0]), np.array([0, 1e307])
    yield "logits", "float64", np.array([0, -1e308]), np.array([0, 1e308])
    yield "logits", "float64", np.array([1e308, -1e308]), np.array([-3.0, 1.0])
    yield "logits", "float64", np.array([1e308, -1e308]), np.array([1e308, -1e307])
    yield "logits", "float64", np.array([0.0, 0.0]), np.array([0, -1e100])
    yield "logits", "float64", np.array([0, -800.0]), np.array([0, -1e300])


def logit_narrow(rng):
    for storage in ("float32", "float16", "bfloat16"):
        dtype = dtype_of(storage)
        for K in (1, 2, 8, 65):
            a, b = ((3 * rng.standard_normal(K)).astype(dtype).astype(np.float64) for _ in range(2))
            yield "logits", storage, a, b
            yield "logits", storage, np.where(np.arange(K) == K // 2, NONE, a) if K > 1 else a, b


# Long rows are made again from their seed; only their reference values are kept.
LONG = (("probs", 10_000, 1), ("probs", 10_000, 2), ("logits", 10_000, 3), ("probs", 100_000, 4),
        ("probs", 1_000_000, 5), ("logits", 100_000, 6))


def long_rows(domain, K, seed):
    """Row p and a row q that is near it for even seeds."""
    rng = np.random.default_rng(seed)
    if domain == "logits":
        a = 3 * rng.standard_normal(K)
        return a, (a + 1e-6 * rng.uniform(-1, 1, K) if seed % 2 == 0 else 3 * rng.standard_normal(K))
    p = _positive(rng, K, 1.0)
    return p, (p * (1 + 1e-6 * rng.uniform(-1, 1, K)) if seed % 2 == 0 else _positive(rng, K, 1.0))


def dtype_of(storage: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16 if storage == "bfloat16" else storage)


def _positive(rng, K, concentration):
    p = rng.standard_gamma(concentration, K) + 1e-12
    return p / p.sum()
