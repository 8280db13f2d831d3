"""Which rows have a key in common: as numpy.unique says, whatever the keys."""

import numpy as np
import pytest

from klfast import _engine

KEYS = {
    "apart": lambda rng, n: rng.permutation(n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
    "few": lambda rng, n: rng.integers(0, 7, n).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15),
    "one": lambda rng, n: np.full(n, 2**64 - 1, np.uint64),
    "one place": lambda rng, n: rng.integers(0, n, n).astype(np.uint64) << np.uint64(44),  # of the table
    "one tag": lambda rng, n: rng.integers(0, n, n).astype(np.uint64),  # in the slots, and neighbouring places
}


@pytest.mark.parametrize("n", [0, 1, 2, 15, 100, 5000])
@pytest.mark.parametrize("kind", KEYS)
def test_keys(kind, n, rng=np.random.default_rng(5)):
    keys = KEYS[kind](rng, n)
    _, first, classes = np.unique(keys, return_index=True, return_inverse=True)
    table = _engine.Keys(keys)
    np.testing.assert_array_equal(table.first, first[classes])
    assert table.copies == n - first.size
    wanted = np.concatenate([keys[::-1], KEYS[kind](rng, 2 * n) + np.uint64(3)])
    expected = [np.flatnonzero(keys == key)[:1].sum() if (keys == key).any() else -1 for key in wanted]
    for threads in (1, 3):
        np.testing.assert_array_equal(table.find(wanted, threads), expected)
