"""Smoothing against its explicit formulas; never anything unless asked for."""

import numpy as np
import pytest
import scipy.sparse

import klfast as kl
from klfast.distributions import smoothing


@pytest.fixture
def counts(rng):
    return [rng.poisson(2, (size, 7)).astype(float) + np.eye(7)[0] for size in (25, 90)]


BACKGROUND = np.array([5.0, 1, 1, 1, 1, 0, 1])


def explicit(x, scheme):
    """The smoothed probabilities by the formulas of the literature."""
    total, K = x.sum(axis=1, keepdims=True), x.shape[1]
    if not isinstance(scheme, tuple):
        return (x + scheme) / (total + K * scheme)
    name, amount, *rest = scheme
    b = (np.asarray(rest[0], float) / np.sum(rest[0])) if rest else np.full(K, 1 / K)
    if name == "jelinek-mercer":
        return (1 - amount) * x / total + amount * b
    return (x + amount * b) / (total + amount)


SCHEMES = [0.5, 1, 1e-9, 1000.0, np.float32(0.25), ("jelinek-mercer", 0.1), ("jelinek-mercer", 0.999),
           ("jelinek-mercer", 0.3, BACKGROUND), ("dirichlet", 2.0), ("dirichlet", 50, BACKGROUND.tolist())]


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda s: str(s)[:30])
def test_formulas(isa, counts, scheme):
    p, q = counts
    P, Q = (kl.Categorical(counts=x, smoothing=scheme) for x in counts)
    R, S = (kl.Categorical(counts=explicit(x, scheme)) for x in counts)
    # A rounding of the rows themselves, 1e-16, shows in a divergence as 1e-16 / sqrt(divergence).
    np.testing.assert_allclose(kl.pairwise(P, Q), kl.pairwise(R, S), rtol=1e-10, atol=1e-16)
    np.testing.assert_allclose(kl.entropy(P), kl.entropy(R), rtol=1e-13)
    np.testing.assert_allclose(kl.rowwise(P, kl.Categorical(counts=q[:25], smoothing=scheme)),
                               kl.rowwise(R, kl.Categorical(counts=explicit(q[:25], scheme))), rtol=1e-10, atol=1e-16)
    values, columns = kl.kneighbors(P, Q, 5)
    np.testing.assert_allclose(values, kl.kneighbors(R, S, 5)[0], rtol=1e-10, atol=1e-16)
    assert columns.shape == (25, 5)


@pytest.mark.parametrize("scheme", [0.5, ("jelinek-mercer", 0.1), ("dirichlet", 2.0)], ids=str)
def test_of_every_storage(isa, counts, scheme):
    expected = kl.pairwise(*(kl.Categorical(counts=x, smoothing=scheme) for x in counts))
    for convert in (lambda x: x.astype("float32"), lambda x: x.astype("int16"), np.asfortranarray,
                    scipy.sparse.csr_array):
        P, Q = (kl.Categorical(counts=convert(x), smoothing=scheme) for x in counts)
        np.testing.assert_array_equal(kl.pairwise(P, Q, dtype="float64"), expected)


def test_of_probs_and_of_empty_rows():
    p = np.array([[0.5, 0.5, 0.0]])
    smooth = kl.Categorical(probs=p, smoothing=("jelinek-mercer", 0.1))
    assert kl.rowwise([0, 0, 1.0], kl.Categorical(probs=p[0], smoothing=("jelinek-mercer", 0.1))) \
        == pytest.approx(-np.log(0.1 / 3))
    assert np.isfinite(kl.pairwise([[0, 0, 1.0]], smooth)).all()
    empty = np.zeros((1, 4))
    assert kl.entropy(kl.Categorical(counts=empty, smoothing=0.5)) == pytest.approx(np.log(4))
    with pytest.raises(ValueError, match="row 0 is empty"):  # 0.1 * background * (sum of the row)
        kl.entropy(kl.Categorical(counts=empty, smoothing=("jelinek-mercer", 0.1)))


def test_zero_amounts_and_none_change_nothing(counts):
    plain = kl.Categorical(counts=counts[1])
    for scheme in (None, 0, 0.0, ("jelinek-mercer", 0), ("dirichlet", 0)):
        smooth = kl.Categorical(counts=counts[1], smoothing=scheme)
        np.testing.assert_array_equal(kl.pairwise(smooth), kl.pairwise(plain))
    assert np.isinf(kl.pairwise(plain)).any()
    assert np.isfinite(kl.pairwise(kl.Categorical(counts=counts[1], smoothing=1e-300))).all()


def test_smoothed_rows_do_not_broadcast_their_input(counts):
    before = counts[0].copy()
    kl.entropy(kl.Categorical(counts=counts[0], smoothing=0.5))
    assert before.tobytes() == counts[0].tobytes()


@pytest.mark.parametrize("scheme, message", [
    (-1, "the number added to every bin must be a finite number >= 0; got -1"),
    (np.nan, "must be a finite number >= 0"), (np.inf, "must be a finite number >= 0"),
    (True, "smoothing is a number"), ("laplace", "smoothing is a number"), (("dirichlet",), "smoothing is a number"),
    ([1, 2], "smoothing is a number"), (("laplace", 1), "unknown smoothing 'laplace'; smoothing is a number"),
    (("jelinek-mercer", 1), "weight of 'jelinek-mercer' must be below 1"),
    (("jelinek-mercer", -0.1), "weight of 'jelinek-mercer' must be a finite number >= 0"),
    (("dirichlet", "x"), "mass of 'dirichlet' must be a finite number >= 0"),
    (("dirichlet", 1, [1, 2]), r"background of smoothing must have shape \(7,\), one number a bin; got \(2,\)"),
    (("dirichlet", 1, [0.0] * 7), "background .* must be finite, nonnegative and not all zero"),
    (("dirichlet", 1, [-1.0] + [1] * 6), "background .* must be finite, nonnegative"),
])
def test_refusals(counts, scheme, message):
    with pytest.raises(ValueError, match=message):
        kl.Categorical(counts=counts[0], smoothing=scheme)


@pytest.mark.parametrize("parameter", ["logits", "log_probs"])
def test_logits_are_not_smoothed(parameter):
    with pytest.raises(ValueError, match=f"smoothing applies to counts and probs, not to {parameter}"):
        kl.Categorical(**{parameter: np.zeros((2, 3))}, smoothing=0.5)


def test_parse():
    assert smoothing.parse(None, 3) is None
    prior = smoothing.parse(("jelinek-mercer", 0.2), 4)
    assert prior.probs.tolist() == [0.25] * 4 and prior.weight == pytest.approx(0.25) and prior.by_sum
    prior = smoothing.parse(("dirichlet", 3, [1, 3]), 2)
    assert prior.probs.tolist() == [0.25, 0.75] and prior.weight == 3 and not prior.by_sum
