"""Matrices of distributions on which product forms, screens and ties go wrong, by name."""

from __future__ import annotations

from functools import cache

import numpy as np

import klfast as kl
from klfast import _engine

RNG_SEED = 11


def normal_form(p):
    return p / p.sum(axis=1, keepdims=True)


def around(rng, center, n, spread):
    return normal_form(center * (1 + spread * rng.uniform(-1, 1, (n, center.size))))


def cloud(spread, K=64):
    def make(rng, n, m):
        center = rng.dirichlet(np.ones(K))
        return around(rng, center, n, spread), around(rng, center, m, spread)

    return make


def five_clouds(spread):
    def make(rng, n, m):
        centers = rng.dirichlet(np.ones(32), 5)
        return tuple(np.concatenate([around(rng, c, -(-size // 5), spread) for c in centers])[:size] for size in (n, m))

    return make


def dirichlet(concentration, K):
    def make(rng, n, m):
        p, q = (rng.standard_gamma(concentration, (size, K)) + 1e-300 for size in (n, m))
        return normal_form(p), normal_form(q)

    return make


def duplicates(rng, n, m):
    """Histograms of few counts: many equal rows, equal multiples, ties and zeros."""
    p, q = (rng.multinomial(4, [0.4, 0.3, 0.2, 0.1], size) for size in (n, m))
    return p * 1.0, q * rng.choice([1.0, 2.0, 3.0], (m, 1))


def proportional(rng, n, m):
    """Rows that are multiples of a few, exactly or up to a rounding (3.7)."""
    base = rng.dirichlet(np.ones(16), 8)
    return tuple(base[rng.integers(0, 8, size)] * rng.choice([1.0, 0.25, 3.7, 1 / 3], (size, 1)) for size in (n, m))


def near_ties(rng, n, m):
    """References at the same distance up to 1e-14."""
    p = rng.dirichlet(np.ones(8), n)
    q = np.tile(rng.dirichlet(np.ones(8), 1), (m, 1))
    return p, normal_form(q * (1 + 1e-14 * rng.uniform(-1, 1, q.shape)))


def zero_ridden(rng, n, m):
    """Supports of few bins: most pairs are infinite."""
    def make(size):
        p = rng.dirichlet(np.ones(70), size) * (rng.random((size, 70)) < rng.choice([0.1, 0.6, 0.97], (size, 1)))
        p[:, 3] += 0.01
        return normal_form(p)

    return make(n), make(m)


def wide(empty):
    """More bins than fit a workspace laid out for few, with and without bins that only P leaves empty."""
    def make(rng, n, m):
        p, q = (rng.dirichlet(np.ones(3000), size) for size in (n, m))
        full = rng.random(p.shape) >= empty
        full[::3] = True
        return normal_form(p * full), q

    return make


def one_hot(rng, n, m):
    return np.eye(9)[rng.integers(0, 9, n)], normal_form(np.eye(9)[rng.integers(0, 9, m)] + (rng.random((m, 1)) < 0.5))


def small_bins(rng, n, m):
    """Masses over 300 orders of magnitude."""
    return tuple(normal_form(10 ** rng.uniform(-300, 0, (size, 12))) for size in (n, m))


def scales(rng, n, m):
    """Rows whose sums lie anywhere from subnormal numbers to 1e300."""
    p, q = dirichlet(1.0, 8)(rng, n, m)
    return p * 10 ** rng.uniform(-316, 300, (n, 1)), q * 10 ** rng.uniform(-316, 300, (m, 1))


def a_subnormal_row(rng, n, m):
    """Ordinary rows, and one in the middle whose sum is a subnormal number."""
    p, q = dirichlet(1.0, 8)(rng, n, m)
    p[n // 2] *= 1e-310
    q[m // 2] *= 1e-310
    return p, q


def subnormal_bins(rng, n, m):
    """References whose mass in a bin is lost in their mean, 5e-324 / m."""
    p, q = dirichlet(1.0, 5)(rng, n, m)
    q[:, 2] = 0
    q[1::7, 2] = 5e-324
    return p, q


PROBS = {
    "dirichlet-1": dirichlet(1.0, 64), "dirichlet-0.05": dirichlet(0.05, 64), "long-rows": dirichlet(0.5, 700),
    "wide": wide(0.0), "wide-with-empty-bins": wide(0.5),
    "one-bin": dirichlet(1.0, 1), "two-bins": dirichlet(1.0, 2), "three-bins": dirichlet(0.3, 3),
    **{f"cloud-1e-{e}": cloud(10.0**-e) for e in (1, 2, 3, 4, 5, 6, 7, 8)},
    "five-clouds-1e-2": five_clouds(1e-2), "five-clouds-1e-6": five_clouds(1e-6), "duplicates": duplicates,
    "proportional": proportional, "near-ties": near_ties, "zero-ridden": zero_ridden, "one-hot": one_hot,
    "small-bins": small_bins, "subnormal-bins": subnormal_bins, "scales": scales, "a-subnormal-row": a_subnormal_row,
}


def logit_noise(scale, K=40):
    return lambda rng, n, m: tuple(scale * rng.standard_normal((size, K)) for size in (n, m))


def logit_cloud(spread):
    def make(rng, n, m):
        center = 3 * rng.standard_normal(33)
        return tuple(center + spread * rng.uniform(-1, 1, (size, 33)) for size in (n, m))

    return make


def logit_masks(rng, n, m):
    def make(size):
        a = 2 * rng.standard_normal((size, 20))
        a[rng.random(a.shape) < rng.choice([0.0, 0.3, 0.9], (size, 1))] = -np.inf
        a[:, 0] = 0
        return a

    return make(n), make(m)


def logit_deep(rng, n, m):
    """A bin far below the others in every reference: its mass, e^-900, is no double."""
    a, b = logit_noise(1.0, 6)(rng, n, m)
    b[:, 4] -= 900
    return a, b


def logit_shifted(rng, n, m):
    """Few distributions, each at several shifts: equal rows whose numbers differ."""
    base = np.round(rng.standard_normal((6, 10)) * 32) / 32
    return tuple(base[rng.integers(0, 6, size)] + rng.choice([0.0, 4.0, -1024.0], (size, 1)) for size in (n, m))


LOGITS = {
    "logits": logit_noise(2.0), "logits-wide": logit_noise(30.0), "logits-1e4": logit_noise(1e4, 12),
    "logits-cloud-1e-2": logit_cloud(1e-2), "logits-cloud-1e-5": logit_cloud(1e-5), "logits-masks": logit_masks,
    "logits-deep": logit_deep, "logits-shifted": logit_shifted,
}

NAMES = [*PROBS, *LOGITS]


def rows(name: str, n: int, m: int):
    """(P, Q) of that name, as arrays; the same every time."""
    return {**PROBS, **LOGITS}[name](np.random.default_rng(RNG_SEED), n, m)


def categorical(name: str, x):
    return kl.Categorical(logits=x) if name in LOGITS else kl.Categorical(counts=x)


def operands(name: str, n: int, m: int):
    return tuple(categorical(name, x) for x in rows(name, n, m))


def brute_force(P, Q, divergence: str = "kl") -> np.ndarray:
    """Every value by the direct kernel, in float64: rowwise over all pairs."""
    n, m = P.shape[0], Q.shape[0]
    p, q = (kl.Categorical(**{x.parameter: x.values[index]})
            for x, index in ((P, np.repeat(np.arange(n), m)), (Q, np.tile(np.arange(m), n))))
    return kl.rowwise(p, q, divergence, out=np.empty(n * m), n_jobs=1).reshape(n, m)


@cache
def _exact(name: str, n: int, m: int, divergence: str, isa: str) -> np.ndarray:
    values = brute_force(*operands(name, n, m), divergence)
    values.flags.writeable = False
    return values


def exact(name: str, n: int, m: int, divergence: str) -> np.ndarray:
    """brute_force of that cloud under the active ISA, once for all the tests that ask."""
    return _exact(name, n, m, divergence, _engine.active_isa())
