"""The decisions of plan.py, as a table: pure functions of sizes, types, cores."""

import math

import joblib
import numpy as np
import pytest

from klfast import plan


@pytest.mark.parametrize("n, m, n_bins, threads, rows, columns, parts", [
    # rows fit 1 MiB of float64, whole panels of 24, at most 96 x 512
    (10**6, 10**6, 64, 1, 96, 512, 1),
    (10**6, 10**6, 64, 8, 96, 512, 1),
    (10**6, 10**6, 1, 1, 96, 512, 1),
    (10**6, 10**6, 0, 1, 96, 512, 1),
    (10**6, 10**6, 682, 1, 96, 64, 1),
    (10**6, 10**6, 1000, 1, 96, 64, 1),
    (10**6, 10**6, 3000, 1, 24, 64, 1),
    (10**6, 10**6, 10**6, 1, 24, 64, 1),
    # few rows: smaller blocks first, then the columns are split
    (100, 10**6, 64, 1, 96, 512, 1),
    (400, 10**6, 64, 4, 48, 512, 1),
    (200, 10**6, 64, 4, 24, 512, 2),
    (4000, 10**6, 64, 4, 96, 512, 1),
    (1, 10**6, 64, 2, 24, 512, 8),
    (1, 10**6, 64, 16, 24, 512, 64),
    (24, 1000, 64, 16, 24, 512, 2),
    (1, 1, 64, 16, 24, 512, 1),
])
def test_blocks(n, m, n_bins, threads, rows, columns, parts):
    assert plan.blocks(n, m, n_bins, threads) == plan.Blocks(rows, columns, parts)


@pytest.mark.parametrize("m, n_bins, rows, columns", [
    (300, 32, 192, 384), (1000, 32, 96, 1088), (2000, 128, 96, 2112), (2002, 131, 384, 448), (2049, 32, 384, 512)])
def test_blocks_of_few_columns_in_bytes(m, n_bins, rows, columns):
    assert plan.blocks(10**6, m, n_bins, 1, in_bytes=True) == plan.Blocks(rows, columns, 1)


@pytest.mark.parametrize("n_bins, rows", [(1, 24), (256, 24), (257, 96), (1000, 96), (3000, 24)])
def test_dense_blocks(n_bins, rows):
    assert plan.blocks(10**6, 10**6, n_bins, 1, dense=True).rows == rows


@pytest.mark.parametrize("n, m, n_bins, threads, rows", [
    (4000, 200_000, 64, 1, 39), (4000, 200_000, 64, 2, 78), (2, 10**9, 100, 1, 1), (10**9, 0, 0, 1, 10**9),
    (2048, 2048, 512, 2, 2048), (2048, 2048, 512, 1, 476)])
def test_first_slab(n, m, n_bins, threads, rows):
    assert plan.first_slab(n, m, n_bins, threads) == rows


@pytest.mark.parametrize("begin, end, rows, threads, heights", [
    (0, 4000, 384, 1, [384] * 10 + [160]), (768, 4000, 384, 2, [384] * 6 + [240] * 2 + [120] * 3 + [88]),
    (0, 768, 384, 2, [192] * 2 + [96] * 4), (0, 100, 24, 2, [24] * 4 + [4]), (5, 6, 24, 3, [1]), (7, 7, 24, 2, [])])
def test_cuts(begin, end, rows, threads, heights):
    cuts = plan.cuts(begin, end, rows, threads)
    assert cuts.dtype == np.int64 and cuts[-1] == end and np.diff(cuts).tolist() == heights


def test_cuts_let_threads_end_together():
    """Blocks in order, each to the thread that is free first: the threads end a third of a block apart, or a panel."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        n, begin = int(np.exp(rng.uniform(0, 11))), int(rng.integers(0, 100))
        rows, threads = plan.PANEL * int(rng.integers(1, 17)), int(rng.integers(2, 33))
        heights = np.diff(plan.cuts(begin, begin + n, rows, threads))
        assert heights.sum() == n and heights.min() > 0 and heights.max() <= rows
        assert (np.diff(heights) <= 0).all() and not (heights[:-1] % plan.PANEL).any()
        speeds, free = rng.uniform(0.8, 1, threads), np.zeros(threads)
        for height in heights:
            thread = free.argmin()
            free[thread] += height / speeds[thread]
        assert free.max() - free.min() <= (max(rows / 3, plan.PANEL) + plan.PANEL) / 0.8


def test_blocks_suit_the_engine():
    """Whole panels, numbers that fit the 16 bits of an entry, work for every thread if there is any."""
    rng = np.random.default_rng(0)
    for n, m, n_bins, threads in zip(*(np.exp(rng.uniform(0, top, 500)).astype(int) for top in (14, 14, 12, 5))):
        b = plan.blocks(int(n), int(m), int(n_bins), int(threads))
        assert b.rows % plan.PANEL == 0 and b.columns % 64 == 0 and 0 < b.rows < 2**16 and 0 < b.columns < 2**16
        assert 1 <= b.column_parts <= max(1, math.ceil(m / b.columns))
        tasks = math.ceil(n / b.rows) * b.column_parts
        assert tasks >= min(threads, math.ceil(n / plan.PANEL), math.ceil(m / b.columns))


@pytest.mark.parametrize("single_output, rtol, expected", [
    (False, 1e-4, False), (False, 0.5, False), (True, 1e-4, True), (True, 2e-6, True), (True, 1.9e-6, False),
    (True, 0, False),
])
def test_precision_of_the_product(single_output, rtol, expected):
    assert plan.product_in_single(single_output, rtol) is expected


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("n_bins", [1, 2, 64, 256, 257, 1000, 10**6])
def test_certificate(n_bins, single):
    """Higham's gamma for the longest chain and what else is rounded; the worst case of NUMERICS, nothing less."""
    c, u = plan.certificate(n_bins, single), plan.UNIT[single]
    chain = min(n_bins, 256) + math.ceil(n_bins / 256)
    assert c.norm >= (chain + plan.FEATURE_ROUNDINGS + plan.OFFSET_UNITS[single]) * u
    assert c.norm <= 1.1 * (chain + plan.FEATURE_ROUNDINGS + plan.OFFSET_UNITS[single]) * u
    assert c.slack >= 2 * plan.OFFSET_UNITS[single] * u and c.floor > 0
    assert plan.certificate(n_bins + 1, single).norm >= c.norm


@pytest.mark.parametrize("gain", [0.0, 1.5, 10.0])
@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("n_bins", [1, 2, 32, 33, 256, 257, 1000, 10**6])
def test_far_certificate(n_bins, single, gain):
    """The roundings of the longest chain, of the sum of all |terms| (2 s + 1/2 of JS); a value counts in skewed KL."""
    c, u = plan.far_certificate(n_bins, single, gain), plan.UNIT[single]
    chain = min(n_bins, 32) + min(math.ceil(n_bins / 32), 8) + math.ceil(n_bins / 256)
    assert c.base >= (chain / 2 + plan.FAR_LOG[single][0] + plan.FAR_RATIO[single][0]) * u
    assert c.by_offsets >= (2 * chain + plan.FAR_RATIO[single][0] * plan.FAR_RANGE[single]) * u
    assert c.by_value >= 2 * chain * u if gain else c.by_value == 0
    assert plan.far_certificate(n_bins + 1, single, gain).base >= c.base
    assert plan.far_certificate(n_bins, single, gain + 1).base > c.base


def test_far_form_of_few_bins():
    assert plan.far_usual(31, True) == plan.far_usual(15, False) == 0
    assert plan.far_usual(32, True) == plan.far_usual(16, False) == plan.FAR_USUAL


def test_units():
    assert plan.UNIT == {False: np.finfo(float).eps / 2, True: np.finfo(np.float32).eps / 2}
    assert plan.DEFAULT_RTOL == {False: 1e-12, True: 1e-4}


@pytest.mark.parametrize("rtol", [0, 1e-15, 1e-12, 1e-4, 0.5, 0.999])
def test_accept_factor(rtol):
    """bound <= f * value, |value - exact| <= bound  =>  |value - exact| <= rtol * exact, at both ends."""
    f = plan.accept_factor(rtol)
    for sign in (-1, 1):
        exact = 1 + sign * f  # value = 1, off by its whole bound
        assert f <= rtol * exact * (1 + 1e-12) or sign == -1 and f <= rtol * (1 - f) * (1 + 1e-12)
    assert 0 <= f <= rtol


@pytest.mark.parametrize("n_jobs, cores, environment, expected", [
    (1, 8, None, 1), (3, 8, None, 3), (100, 8, None, 100), (-1, 8, None, 8), (-2, 8, None, 7), (-8, 8, None, 1),
    (-100, 8, None, 1), (None, 8, None, 8), (None, 8, "3", 3), (None, 8, "5,2", 5), (None, 8, "0", 8), (None, 8, "", 8),
    (None, 8, "many", 8), (2, 8, "3", 2), (-1, 8, "3", 8), (np.int64(4), 8, None, 4),
])
def test_threads(monkeypatch, n_jobs, cores, environment, expected):
    monkeypatch.setattr(plan, "usable_cores", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if environment is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", environment)
    assert plan.n_threads(n_jobs) == expected


def test_joblib_comes_before_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with joblib.parallel_config(n_jobs=3):
        assert plan.n_threads(None) == 3
        assert plan.n_threads(2) == 2
    assert plan.n_threads(None) == 5
    with joblib.parallel_config(n_jobs=-1):
        assert plan.n_threads(None) == plan.n_threads(-1)


@pytest.mark.parametrize("threads, bins, expected", [
    (1, 10**12, 1), (8, 0, 1), (8, 2**17 - 1, 1), (8, 2**18, 2), (8, 2**40, 8), (2, 2**40, 2),
])
def test_threads_worth_waking(threads, bins, expected):
    assert plan.worth(threads, bins) == expected


@pytest.mark.parametrize("m", [plan.SAMPLE_FROM, plan.SAMPLE_FROM + 1, 200_000, 3 * 10**9])
@pytest.mark.parametrize(("width", "count"), [(1, 4096), (64, 4096), (1024, 4096), (1025, 4032), (10_000, 384)])
def test_a_sample_has_a_column_of_each_part(m, width, count):
    columns = plan.sample(m, width)
    assert columns.tolist() == sorted(set(columns.tolist())) and columns.size == count
    parts = [t * m // count for t in range(count + 1)]
    assert all(first <= column < last for first, column, last in zip(parts, columns.tolist(), parts[1:]))


def test_no_sample_of_few_columns_or_of_too_many_bins():
    assert plan.sample(plan.SAMPLE_FROM - 1, 64).size == plan.sample(10**6, 10**6).size == 0


@pytest.mark.parametrize("m, width, nearest, expected", [
    (127, 32, True, False), (128, 32, True, True), (255, 32, False, False), (256, 32, False, True), (256, 3, True, False),
    (256, 4, True, True), (10**6, 1 << 15, False, True), (10**6, (1 << 15) + 1, False, False)])
def test_bytes_come_first(m, width, nearest, expected):
    assert plan.coarse(m, width, nearest) == expected
