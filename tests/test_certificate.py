"""The certificate is sound: no fast value is further from the exact one than its own bound, in any stratum."""

import numpy as np
import pytest
from clouds import NAMES, brute_force, operands

import klfast as kl
from klfast import _engine, encoding, plan
from klfast.divergences import find

ACCEPT_ALL = 1e30
BY_BINS = ("kl", "jeffreys", "power", "itakura_saito")  # have a bound without norms, too
# The reference is the direct kernel, which has this much of its own (test_direct).
DIRECT = {"probs": 2e-15, "logits": 4e-15}


def fast_values_and_bounds(P, Q, divergence, single, far=False):
    """Values of the product alone, and the least bound of each, from the engine's own norms and slacks; `far`: of sums
    over bins in their form for rows far apart, all of them."""
    index = kl.Index(Q, divergence)
    left, reference = index._meet(P, 1)
    base, by_slack, by_value, _ = reference.far_certificate(single)
    constants = (base, by_slack, by_value, 1.0) if far else (0.0, 0.0, 0.0, 0.0)
    reference.far_certificate = lambda single: constants
    reference._overlap = None  # by features
    pairing, _, _ = index._pair(index.divergence.form, left, reference, (None, None), single, False, 1)
    values = np.empty((left.n, len(index)), np.float32 if single else np.float64)
    pairing.dense(values, 0, left.n, 1, ACCEPT_ALL, False)
    columns, constants = pairing.right, reference.certificate(single)
    role = _engine.MEAN if columns.role == _engine.NATURAL else _engine.NATURAL
    rows = _engine.Columns(columns.form, left.rows, left.norms, columns.center, role, single, False, False,
                           constants.slack, constants.floor, 1)
    norm = rows.norm[: left.n, None].astype(float) * columns.norm[: len(index)]
    slack = rows.slack[: left.n, None].astype(float) + columns.slack[: len(index)]
    extra = left.entropy[:, None] if find(divergence).adds_entropy else 0
    bounds = constants.norm * norm + slack
    if index.divergence.kind in BY_BINS:
        sums = values / index.divergence.factor
        apart = max(1, constants.norm / constants.slack) * slack + constants.norm * sums
        bounds = np.where(sums >= 0, np.minimum(bounds, apart), bounds)
    if far:
        bounds = np.where(values > 0, base + by_slack * slack + by_value * values, bounds)
    return values, index.divergence.factor * bounds, extra, pairing.stats.recomputed


LINEAR = ["kl", "reverse_kl", "jeffreys", "js", "skew_js:0.2", "skew_kl:0.3", "skew_kl:0.99", "squared_hellinger", "chi2",
          "neyman_chi2", "tsallis:0.1", "tsallis:0.999", "tsallis:1.001", "tsallis:3.5", "alpha:-2", "total_variation",
          "triangular"]


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("divergence", ["kl", "reverse_kl", "js", "tsallis:0.1"])
@pytest.mark.parametrize("name", NAMES)
def test_sound(isa, name, divergence, single):
    check_sound(name, divergence, single)


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("divergence", LINEAR)
@pytest.mark.parametrize("name", NAMES)
def test_sound_for_every_divergence(name, divergence, single):
    """Under the best instruction set."""
    check_sound(name, divergence, single)


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("divergence", ["js", "skew_js:0.2", "skew_kl:0.3", "skew_kl:0.99"])
@pytest.mark.parametrize("name", NAMES)
def test_sound_far_apart(isa, name, divergence, single):
    """The form for rows far apart, of all pairs, the nearest ones among them."""
    check_sound(name, divergence, single, far=True)


@pytest.mark.parametrize("divergence", ["tsallis:8", "tsallis:20", "tsallis:60"])
@pytest.mark.parametrize("name", ["dirichlet-1", "cloud-1e-1", "scales"])
def test_sound_for_high_orders(name, divergence):
    """They magnify the roundings of the weights."""
    check_sound(name, divergence, False)


def overlap_values_and_bounds(P, Q, divergence, single):
    """The same by overlaps, of all pairs; sums p^s q^t that are 1 or on the wrong side of it are left out."""
    index = kl.Index(Q, divergence)
    left, reference = index._meet(P, 1)
    tiles = reference.tiles = lambda search, single: reference._overlap
    pairing, _, _ = index._pair(index.divergence.form, left, reference, (None, None), single, False, 1)
    values = np.empty((left.n, len(index)), np.float32 if single else np.float64)
    pairing.dense(values, 0, left.n, 1, ACCEPT_ALL, False)
    error, d = reference.certificate(single, tiles(False, single)).slack, index.divergence
    if d.finish == "log":
        return values, np.full(values.shape, abs(d.factor) * error), pairing.stats.recomputed
    return values, error * (np.abs(values) + abs(d.factor / (d.number * (1 - d.number)))), pairing.stats.recomputed


@pytest.mark.parametrize("divergence", ["chi2", "neyman_chi2", "tsallis:3.5", "tsallis:60", "renyi:0.5", "renyi:0.9",
                                        "renyi:0.999", "renyi:1.5", "renyi:3", "bhattacharyya"])
@pytest.mark.parametrize("name", NAMES)
def test_sound_by_overlap(name, divergence):
    """Under the best instruction set; tests/c has each."""
    P, Q = operands(name, 50, 70)
    exact = brute_force(P, Q, divergence)
    for single in (False, True)[:1 + (divergence in ("renyi:0.5", "renyi:0.9", "renyi:0.999", "bhattacharyya"))]:
        values, bounds, recomputed = overlap_values_and_bounds(P, Q, divergence, single)
        finite = exact < 1e250
        error = np.abs(values[finite].astype(float) - exact[finite])
        rounding = 2.0**-24 if single else DIRECT[P.parameter if P.parameter == "logits" else "probs"]
        allowed = bounds[finite] + rounding * exact[finite]
        assert (error <= allowed).all()
        if name == "dirichlet-1" and divergence != "tsallis:60":  # whose sums pass the range of float64
            assert recomputed <= 0.01 * values.size


def check_sound(name, divergence, single, far=False):
    P, Q = operands(name, 50, 70)
    exact = brute_force(P, Q, divergence)
    values, bounds, _, _ = fast_values_and_bounds(P, Q, divergence, single, far)
    assert not np.isnan(bounds).any() and (bounds > 0).all()
    finite = exact < (1e30 if single else 1e250)  # powers of ratios pass the range of the product
    if not finite.any():
        assert name in ("subnormal-bins", "logits-deep", "logits-1e4")
        return
    error = np.abs(values[finite].astype(float) - exact[finite])
    allowed = bounds[finite] + DIRECT[P.parameter if P.parameter == "logits" else "probs"] * exact[finite]
    worst = np.argmax(error - allowed)
    assert (error <= allowed).all(), (f"value {values[finite][worst]!r}, exact {exact[finite][worst]!r}, bound "
                                      f"{bounds[finite][worst]:.3g}")


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["dirichlet-1", "cloud-1e-3", "cloud-1e-8", "logits", "logits-cloud-1e-5"])
def test_useful(isa, name, single):
    """A bound that accepts nothing would be sound, too: on one cloud it is a small part of the value."""
    P, Q = operands(name, 50, 70)
    values, bounds, _, recomputed = fast_values_and_bounds(P, Q, "kl", single)
    assert recomputed == 0
    assert np.median(bounds / values) < (1e-4 if single else 1e-12)


@pytest.mark.parametrize("divergence", ["total_variation", "triangular", "squared_hellinger"])
@pytest.mark.parametrize("name", ["cloud-1e-1", "cloud-1e-3", "cloud-1e-8", "logits-cloud-1e-5"])
def test_useful_for_near_rows(isa, name, divergence):
    """However near they are: neither the normalisers' roundings nor slacks of first order are in the way."""
    P, Q = operands(name, 50, 70)
    index = kl.Index(Q, divergence)
    values = index.pairwise(P)
    assert index.info["recomputed"] <= 0.01 * values.size
    np.testing.assert_allclose(values, brute_force(P, Q, divergence), rtol=1e-12)


@pytest.mark.parametrize("divergence", ["chi2", "neyman_chi2", "renyi:2"])
def test_useful_far_apart(isa, divergence):
    """Bins of q near 0 make |x||y| large, but hardly any |x y|: by the norms alone 2% of these pairs are in doubt."""
    rng = np.random.default_rng(5)
    P, Q = (rng.dirichlet(np.ones(64), size) for size in (300, 500))
    index = kl.Index(Q, divergence)
    index.pairwise(P)
    assert index.info["recomputed"] <= 0.001 * index.info["pairs"]


def test_useful_for_bins_that_one_side_lacks(isa):
    """Jeffreys, as a drift monitor has it: bins that the references leave empty, but for a little smoothing."""
    rng = np.random.default_rng(5)
    counts = rng.poisson(rng.gamma(0.2, 5, (2, 1, 64)), (2, 200, 64))
    P, Q = (kl.Categorical(counts=x, smoothing=1e-6) for x in counts)
    index = kl.Index(Q, "jeffreys")
    index.pairwise(P)
    assert index.info["recomputed"] <= 0.001 * index.info["pairs"]


FAMILIES = {
    "normal": lambda n, rng: kl.DiagNormal(rng.normal(size=(n, 32)), np.exp(rng.uniform(-7, -4, (n, 32)))),
    "dirichlet": lambda n, rng: kl.Dirichlet(np.exp(rng.uniform(-4, 4, (n, 50)))),
    "gamma": lambda n, rng: kl.Gamma(*np.exp(rng.uniform(-2, 4, (2, n, 8))), event_ndim=1),
}


@pytest.mark.parametrize("divergence", ["kl", "jeffreys"])
@pytest.mark.parametrize("family", FAMILIES)
def test_useful_for_families(family, divergence):
    """Mean features may be a hundred times as long as natural ones, or the other way round."""
    rng = np.random.default_rng(6)
    P, Q = FAMILIES[family](250, rng), FAMILIES[family](250, rng)
    index = kl.Index(Q, divergence)
    values = index.pairwise(P)
    assert index.info["recomputed"] <= 0.01 * index.info["pairs"]
    np.testing.assert_allclose(values.diagonal(), kl.rowwise(P, Q, divergence), rtol=2e-12)


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("divergence", ["js", "skew_js:0.3", "skew_kl:0.9"])
def test_useful_for_sums(isa, divergence, single):
    """Random rows take the form for rows far apart, whose bound is small enough."""
    P, Q = operands("dirichlet-1", 50, 70)
    values, bounds, _, _ = fast_values_and_bounds(P, Q, divergence, single, far=True)
    near, _, _, _ = fast_values_and_bounds(P, Q, divergence, single)
    assert (values != near).mean() > 0.5
    assert np.median(bounds / values) < (1e-4 if single else 1e-12)


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ["dirichlet-1", "cloud-1e-5", "zero-ridden"])
def test_cross_entropy(isa, name, single):
    """The entropy of the row is added to value and bound alike: it, too, is rounded to the product's precision."""
    P, Q = operands(name, 50, 70)
    exact = brute_force(P, Q, "cross_entropy")
    values, bounds, entropy, _ = fast_values_and_bounds(P, Q, "cross_entropy", single)
    finite = np.isfinite(exact)
    allowed = bounds + 4 * plan.UNIT[single] * (entropy + np.where(finite, exact, 0))
    assert (np.abs(values[finite].astype(float) - exact[finite]) <= allowed[finite]).all()


def test_test_can_fail(monkeypatch):
    """With constants a hundred times too small the same comparison finds wrong bounds."""
    true = plan.certificate

    def small(n_bins, single, magnified):
        c = true(n_bins, single)
        return plan.Certificate(c.norm / 100, c.slack / 100, c.floor / 100)

    monkeypatch.setattr(plan, "certificate", small)
    P, Q = operands("dirichlet-0.05", 50, 70)
    values, bounds, _, _ = fast_values_and_bounds(P, Q, "kl", True)
    exact = brute_force(P, Q)
    finite = np.isfinite(exact)
    assert (np.abs(values[finite].astype(float) - exact[finite]) > bounds[finite]).any()


@pytest.mark.parametrize("single", [True, False], ids=["float32", "float64"])
def test_far_test_can_fail(single):
    """So it does with the bound of sums for rows far apart."""
    P, Q = operands("dirichlet-0.05", 50, 70)
    values, bounds, _, _ = fast_values_and_bounds(P, Q, "js", single, far=True)
    assert (np.abs(values.astype(float) - brute_force(P, Q, "js")) > bounds / 100).any()
