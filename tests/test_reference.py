"""The specification itself, on values that can be checked by hand."""

import math

import mpmath
import numpy as np
import pytest

from klfast import reference

LOG2, LOG3 = math.log(2), math.log(3)


@pytest.mark.parametrize("p, q, value", [
    ([0.5, 0.5], [0.25, 0.75], LOG2 - LOG3 / 2),
    ([1, 1], [1, 3], LOG2 - LOG3 / 2),
    ([1, 0], [0.5, 0.5], LOG2),
    ([0.5, 0.5], [1, 0], math.inf),
    ([1, 0], [0, 1], math.inf),
    ([1, 3], [2, 6], 0),
    ([5], [7], 0),
])
def test_kl_of_probs(p, q, value):
    assert float(reference.kl(p, q)) == pytest.approx(value, rel=1e-15)
    assert reference.reverse_kl(q, p) == reference.kl(p, q)


def test_kl_of_logits():
    p, q = np.array([0.2, 0.3, 0.5]), np.array([0.6, 0.3, 0.1])
    expected = float(reference.kl(p, q))
    assert float(reference.kl(np.log(p), np.log(q) + 5, "logits")) == pytest.approx(expected, rel=1e-14)
    assert reference.kl([0, -math.inf], [3, -math.inf], "logits") == 0
    assert reference.kl([0, 0], [3, -math.inf], "logits") == mpmath.inf
    assert float(reference.kl([0, -math.inf], [0, 0], "logits")) == pytest.approx(LOG2)


def test_entropy_and_cross_entropy():
    p, q = [1, 1, 2], [3, 4, 1]
    assert float(reference.entropy(p)) == pytest.approx(1.5 * LOG2)
    assert reference.entropy([0, 4, 0]) == 0 == reference.cross_entropy([0, 4], [0, 1])
    total = reference.kl(p, q) + reference.entropy(p)
    assert abs(reference.cross_entropy(p, q) - total) < total * mpmath.mpf(10) ** -40
    assert reference.cross_entropy([1, 1], [1, 0]) == mpmath.inf


def test_equality_is_exact():
    assert reference.same([1, 3], [2, 6]) and reference.same([0.0, 1.0], [5.0, 6.0], "logits")
    third = 1 / 3
    assert not reference.same([1, 3], [third, 1]) and not reference.same([1, 0], [1, 5e-324])
    assert not reference.same([0, 1e-300], [0, 2e-300], "logits")


def test_digits_do_not_depend_on_the_size_of_the_answer():
    """A bin of mass s against one of x s beside a bin of mass 1: KL = p log(p / q) - p + q to first order in s."""
    for small in (2.0**-100, 2.0**-800):
        value = reference.kl([1, small], [1, small / 4])
        assert float(value / small) == pytest.approx(2 * LOG2 - 1 + 0.25, rel=1e-15)
        assert float(reference.entropy([1, small]) / small) == pytest.approx(1 - math.log(small), rel=1e-15)


def test_caller_keeps_its_precision():
    with mpmath.workdps(20):
        reference.kl([1, 2], [2, 1])
        assert mpmath.mp.dps == 20


def test_brute_force_orders_by_value_then_index():
    P = [[0.0], [1.0], [1.0]]
    Q = [[1.0], [0.0], [1.0], [2.0]]
    values, columns = reference.kneighbors(P, Q, 3, lambda p, q: abs(p[0] - q[0]))
    assert columns.tolist() == [[1, 0, 2], [0, 2, 1], [0, 2, 1]]
    assert values.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 1]]
    _, columns = reference.kneighbors(P, None, 2, lambda p, q: abs(p[0] - q[0]))
    assert columns.tolist() == [[1, 2], [2, 0], [1, 0]]
