"""Policy, as pure functions of sizes, types, cores and memory: threads, precision, block sizes, certificate.

No function here looks at data. `tests/test_plan.py` reads as the table of these decisions.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real

import joblib
import numpy as np
from joblib.parallel import get_active_backend

UNIT = {False: 2.0**-53, True: 2.0**-24}  # unit roundoff by `single`

# Longest run of multiply-adds into one accumulator (KL_CHAIN in src_c/kernels/kernels.h).
CHAIN = 256

# Each feature carries up to 9 roundings besides the product's own (reciprocal of the sum, difference or logarithm,
# whitening; src_c/kernels/features.h), in float64; a float32 product sees one more, of the feature itself.
FEATURE_ROUNDINGS = 16

# Offsets come from tables (12 units a term) or from the direct kernel (2e-15 = 18 units), are added with two roundings,
# and the row-wide errors of the features add 3 units of each; the float32 product sees their conversion instead, and 0.08
# units of shorter polynomials.
OFFSET_UNITS = {False: 32, True: 6}

# What a relative bound cannot cover: the product of two row-wide errors (3u * 3u, doubled) of float64, in which
# features are computed, and gradual underflow of the products in float32.
FLOOR = 32 * UNIT[False] ** 2
UNDERFLOW = {False: 0.0, True: 1e-32}

# Below this tolerance a float32 product would leave most entries uncertified.
SINGLE_RTOL = 2e-6

# A sum over bins: each term is off by so many units of what its bin adds to the two offsets. Measured: 69 at most;
# 128 and 77 of skewed KL (docs: numerics), by `single`.
SUM_ROUNDINGS = 84
SKEW_ROUNDINGS = {False: 140, True: 84}
LEVEL_ROUNDINGS = 40  # of the sum of a row's differences, which total variation takes off them (kl_level)

# A family's terms: the most that Gumbel's and Weibull's are off by, whose exponential magnifies roundings
# (src_c/kernels/family_terms.h); the others stay below 32. Below the floor a value may have underflowed.
TERM_ROUNDINGS = 1024
TERM_FLOOR = 1e-300

DEFAULT_RTOL = {False: 1e-12, True: 1e-4}


@dataclass(frozen=True)
class Certificate:
    """Constants of the bound |value - exact| <= norm * |x_i| |y_j| + slack * (a_i + b_j) + floor."""

    norm: float
    slack: float
    floor: float


# Powers p^s of order above 1 magnify the roundings of the weights, which are computed in float64.
WEIGHT_ROUNDINGS = 8


def certificate(n_bins: int, single: bool, magnified: float = 0.0) -> Certificate:
    """Constants for `n_bins` products in float32 (`single`) or float64 (docs: numerics); `magnified`: by how much more
    than in KL features magnify the roundings of weights."""
    unit, kappa = UNIT[single], OFFSET_UNITS[single]
    chain = min(n_bins, CHAIN) + -(-n_bins // CHAIN)
    roundings = chain + FEATURE_ROUNDINGS
    gamma = roundings * unit / (1 - roundings * unit)
    # kappa * u * KL <= kappa * u * (a + b + |x||y|): folded into the other two constants. The factor
    # covers the roundings of the bound itself.
    margin = 1.001
    floor = FLOOR + UNDERFLOW[single] * n_bins
    powers = WEIGHT_ROUNDINGS * magnified * UNIT[False]
    return Certificate(margin * (gamma + kappa * unit + powers), margin * 2 * (kappa * unit + powers), floor)


OVERLAP_ROUNDINGS = 4  # of the offsets, and of what a search makes of them


def overlap_certificate(n_bins: int, single: bool, magnified: float) -> Certificate:
    """The same for powers by sum p^s q^t itself, of which nothing cancels: the slack is relative to that sum."""
    c = certificate(n_bins, single, magnified)
    return Certificate(0.0, c.norm + OVERLAP_ROUNDINGS * UNIT[single], c.floor)


def sum_certificate(n_bins: int, single: bool, first_order: bool, gain: float = 0.0) -> Certificate:
    """The same for the divergences that are sums over bins: slack alone. `gain`: by how much a term magnifies the
    rounding of m/c (skewed KL: p/m <= 1/(1 - alpha))."""
    unit = UNIT[single]
    each = SKEW_ROUNDINGS[single] + 4 * gain if gain else SUM_ROUNDINGS + LEVEL_ROUNDINGS * first_order
    roundings = min(n_bins, CHAIN) + -(-n_bins // CHAIN) + each
    if roundings * unit > 0.5:
        return Certificate(0.0, math.inf, 0.0)
    gamma = roundings * unit / (1 - roundings * unit)
    return Certificate(0.0, 1.001 * gamma, FLOOR)


# The same sums for rows far apart (src_c/kernels/far.h; docs: numerics), in units, by `single`. m/c is off by (first +
# second * m/c), and as much is its smallest, a quarter of a unit, to be counted with: 1 + |log(m/c)| <= 1.1 + range * g
# where g, 1 as m/c goes to 0, is what the bin adds to KL(m||c). The logarithm is off by (first + second * itself).
FAR_CHAIN = 32  # KL_FAR_CHAIN in src_c/kernels/kernels.h
FAR_RATIO = {False: (12, 11), True: (5, 4)}
FAR_RANGE = {False: 38.5, True: 18.5}
FAR_LOG = {False: (38, 2), True: (9, 2)}
FAR_EMPTY = {False: 110, True: 37}  # skewed KL: of m log(m/c) where m/c is a few units
FAR_SUMS = {False: 16, True: 2}  # those of the rows and the centre, which are 1

# The form is tried where this part of the value that is usual for the offsets meets the tolerance. With more of it many
# values miss the bound and are computed twice; and rows that differ much have less than those that differ a little.
FAR_USUAL = 0.6
FAR_BINS = {False: 16, True: 32}  # values of fewer bins scatter too much: with 8, float32 takes 1.7 times as long


def far_usual(n_bins: int, single: bool) -> float:
    """That part; 0, so that the form is not tried, of few bins."""
    return FAR_USUAL if n_bins >= FAR_BINS[single] else 0.0


@dataclass(frozen=True)
class FarCertificate:
    """Constants of the bound |value - exact| <= base + by_offsets * (a_i + b_j) + by_value * value."""

    base: float
    by_offsets: float
    by_value: float


def far_certificate(n_bins: int, single: bool, gain: float = 0.0) -> FarCertificate:
    """Constants of a sum over bins in its form for rows far apart; `gain` as for sum_certificate."""
    chain = min(n_bins, FAR_CHAIN) + min(-(-n_bins // FAR_CHAIN), CHAIN // FAR_CHAIN) + -(-n_bins // CHAIN)
    (ratio, by_ratio), (log, by_log) = FAR_RATIO[single], FAR_LOG[single]
    # Units of the sum of all |terms|: 5 for the weights, their product with m/c or p/c, and ln 2.
    terms = chain + by_log + 5 + by_ratio + (1 if gain else 0)
    # The sum of all |terms|: of m |log(m/c)| at most 2 s + 1/2, of p |log(m/c)| at most 2 s + 2 v + 1.
    base = log + FAR_SUMS[single] + 1.1 * ratio + (gain * FAR_EMPTY[single] + by_ratio + terms if gain
                                                   else 1.1 * by_ratio + terms / 2)
    by_offsets = ratio * FAR_RANGE[single] + 2 * terms + OFFSET_UNITS[single] + 4
    unit = 1.01 * UNIT[single]
    return FarCertificate(unit * base, unit * by_offsets, unit * 2 * terms if gain else 0.0)


def term_certificate(width: int) -> Certificate:
    """The same for sums of a family's terms, of which none cancels: the slack is relative to the value."""
    roundings = min(width, CHAIN) + -(-width // CHAIN) + TERM_ROUNDINGS
    return Certificate(0.0, 1.001 * roundings * UNIT[False], TERM_FLOOR)


# A mean over rows adds two roundings to each feature and offset and one to the value: 3 units, where the constant of
# the norms has at least 50 and that of the slacks 64.
MEAN_MARGIN = 1.125


def mean_certificate(pairs: Certificate) -> Certificate:
    """Constants for the mean of one side's features, from those for its pairs in float64."""
    return Certificate(MEAN_MARGIN * pairs.norm, MEAN_MARGIN * pairs.slack, MEAN_MARGIN * pairs.floor)


def accept_factor(rtol: float) -> float:
    """The factor f such that bound <= f * value guarantees |value - exact| <= rtol * exact."""
    return rtol / (1 + rtol)


def product_in_single(single_output: bool, rtol: float) -> bool:
    """Whether a dense product runs in float32: only for float32 answers that ask no more of it."""
    return single_output and rtol >= SINGLE_RTOL


# Below so many columns the first thresholds, which take a product of their own, are most of the work. The nearest alone
# needs none: measured with 32 and 64 bins, bytes are 2% slower at 96 columns, 3 to 7% faster at 128, 20% at 250.
COARSE_COLUMNS = 256
COARSE_COLUMNS_OF_NEAREST = 128
COARSE_BINS = 1 << 15  # sums of products of bytes stay within 32 bits


def coarse(m: int, width: int, nearest: bool) -> bool:
    """Whether a float32 screen, of a search for the `nearest` alone or not, looks at bytes first, where the ISA can
    (src_c/kernels/coarse.h)."""
    return m >= (COARSE_COLUMNS_OF_NEAREST if nearest else COARSE_COLUMNS) and 4 <= width <= COARSE_BINS


# Columns whose values set the thresholds of a search with many neighbours. Measured with 200,000 columns of 64 bins: 2
# to 5% faster than 2048 at k = 30 to 1000; 8192 are slower at k = 10 and no faster at k = 300.
SAMPLE = 4096
SAMPLE_FROM = 8 * SAMPLE
SAMPLE_BYTES = 1 << 24  # of their features, of which a sample is packed once more: fewer columns of many bins
SAMPLE_PANEL = 64  # a multiple of every panel's width


@cache
def sample(m: int, width: int) -> np.ndarray:
    """The columns of that sample, ascending: one from each of as many equal parts of the m columns, at a place that no
    order of the data is likely to share."""
    fit = min(SAMPLE, SAMPLE_BYTES // (4 * max(width, 1))) // SAMPLE_PANEL * SAMPLE_PANEL
    count = fit if m >= SAMPLE_FROM else 0
    t = np.arange(count, dtype=np.int64)
    first, last = t * m // max(count, 1), (t + 1) * m // max(count, 1)
    return first + (t * 2654435761 >> 8) % np.maximum(last - first, 1)  # 2^32 by the golden ratio, scattered


@cache
def usable_cores() -> int:
    """Cores that this process may use: affinity and cgroup quota (asked once, it takes 50 microseconds)."""
    return joblib.cpu_count()


def n_threads(n_jobs: int | None = None) -> int:
    """Threads for a call: `n_jobs`, else joblib.parallel_config, else OMP_NUM_THREADS, else the cores
    that this process may use (affinity and cgroup quota). Negative: that many fewer than all, plus one."""
    cores = usable_cores()
    if n_jobs is None:
        n_jobs = get_active_backend()[1]
    if n_jobs is None:
        first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        n_jobs = int(first) if first.isdigit() and int(first) > 0 else cores
    if not isinstance(n_jobs, Integral) or isinstance(n_jobs, bool) or n_jobs == 0:
        raise ValueError(f"n_jobs must be a nonzero integer or None, not {n_jobs!r}")
    n_jobs = int(n_jobs)
    return n_jobs if n_jobs > 0 else max(1, cores + 1 + n_jobs)


# Waking a second thread costs 5 to 50 microseconds, and far more on a busy machine: below about 0.2 ms of work (in
# bins read by the direct kernel, 5 cycles each) a call stays on its own thread.
WORK_A_THREAD = 1 << 17

# A multiply-add of the packed product costs about a 64th of a bin of the direct kernel, a term of a sum over bins (with
# its logarithm) about 12 multiply-adds.
PRODUCTS_A_BIN = 64
PRODUCTS_A_TERM = 12


def products(width: int, is_product: bool) -> int:
    """Multiply-adds that a pair of rows with `width` features is worth."""
    return width * (1 if is_product else PRODUCTS_A_TERM)


# A parameter of a family takes 10 to 60 ns to encode in most, up to 480 with gamma functions; a bin 1.4 (Zen 4).
BINS_A_PARAMETER = 16


def row_work(size: int, is_family: bool) -> int:
    """Bins of the direct kernel that a row of `size` bins or parameters is worth."""
    return size * (BINS_A_PARAMETER if is_family else 1)


# Bins of the first slab of a call row by row, 10 ms of KL and 100 of other divergences: most calls are one slab.
FIRST_BINS = 1 << 24


def worth(threads: int, bins: int) -> int:
    """How many of `threads` are worth waking for this many bins of work."""
    return max(1, min(threads, bins // WORK_A_THREAD))


# Multiply-adds of a thread in the first slab, 10 to 80 ms: whether the pairs are cheaper or dearer than that shows in it.
# A call of little more is one slab: its threads wait for each other once.
FIRST_SLAB = 5e8
ONLY_SLAB = 1.2e9


def first_slab(n: int, m: int, products_a_pair: int, threads: int) -> int:
    """Rows of the first slab of n against m columns."""
    products = max(m * products_a_pair, 1)
    return max(1, n if n * products <= ONLY_SLAB * threads else int(FIRST_SLAB * threads / products))


# Rows and columns that `reduce` adds up before it adds those sums: they decide the bits, whatever the threads.
REDUCE_ROWS = 2048
REDUCE_COLUMNS = 16384
LIMIT = 10**8  # pairs within a radius: 2.4 GB while they are collected


CHUNK_MEBIBYTES = 64


def chunk_rows(row_bytes: int, working_memory: float | None) -> int:
    """Rows of a chunk of `working_memory` MiB; at least one."""
    if working_memory is None:
        working_memory = CHUNK_MEBIBYTES
    if not isinstance(working_memory, Real) or not 0 < working_memory < math.inf:
        raise ValueError(f"working_memory must be a positive number of MiB; got {working_memory!r}")
    return max(1, int(working_memory * 2**20) // max(row_bytes, 1))


@dataclass(frozen=True)
class Blocks:
    """Rows and columns of a tile, and into how many parts the columns are split among threads."""

    rows: int
    columns: int
    column_parts: int


# A tile's features and lists should stay in the second-level cache (1 MiB). Measured on Zen 4, float64, 4096 x 4096: a
# screen is flat from 48 to 192 rows; a dense product of few bins is bound by its stores and 10% faster with 24 rows,
# whose pages the first-level TLB holds; with 1024 bins it is 15% slower so, because the columns are read more often.
ROWS_A_BLOCK = 96
COARSE_ROWS_A_BLOCK = 384  # a coarse screen is fast enough to wait for the columns: more rows for each reading of them
COLUMNS_A_BLOCK = 512
# The nearest of few columns takes them all at once: their bytes, and the lower ends of the rows' pairs, fit the cache.
FEW_COLUMNS = 2048
FEW_BYTES = 1 << 18
FEW_PAIRS = 96 << 10
FEW_ROWS = 96  # register tiles of 12 rows, and panels of 32 where rows lie in the lanes (nearest.c)
BLOCK_BYTES = 1 << 19
DENSE_BINS = 256  # up to here, dense blocks have PANEL rows
BLOCKS_A_THREAD = 4  # at least, of the greatest height: `cuts` halves the last ones
PANEL = 24  # a multiple of every register tile's height


def blocks(n: int, m: int, n_bins: int, threads: int, dense: bool = False, in_bytes: bool = False) -> Blocks:
    """Tiles for n rows against m columns of n_bins features, enough of them to keep `threads` busy; `in_bytes`: for a
    coarse screen."""
    fit = BLOCK_BYTES // (8 * max(n_bins, 1))
    rows = max(PANEL, min(COARSE_ROWS_A_BLOCK if in_bytes else ROWS_A_BLOCK, 2 * fit) // PANEL * PANEL)
    if dense and n_bins <= DENSE_BINS:
        rows = PANEL
    columns = max(64, min(COLUMNS_A_BLOCK, fit) // 64 * 64)
    if in_bytes and m <= FEW_COLUMNS and m * n_bins <= FEW_BYTES:
        columns = math.ceil(m / 64) * 64 + 64
        rows = max(FEW_ROWS, min(rows, FEW_PAIRS // columns) // FEW_ROWS * FEW_ROWS)
    if threads == 1:
        return Blocks(rows, columns, 1)
    # Blocks enough that the last ones even out, or smaller blocks of rows; still too few: split the columns.
    wanted = BLOCKS_A_THREAD * threads
    rows = max(PANEL, min(rows, math.ceil(n / wanted / PANEL) * PANEL))
    parts = math.ceil(wanted / max(1, math.ceil(n / PANEL)))
    return Blocks(rows, columns, max(1, min(parts, math.ceil(m / columns))))


# A block of a coarse screen reads all columns: with 64 bins that takes as long as 9 rows. So blocks are high, and only
# the last of a slab, one for each thread at a time, take half of what is left, while that is a sixth of a block.
LEAST_HALF = 6


def cuts(begin: int, end: int, rows: int, threads: int) -> np.ndarray:
    """Where the blocks of rows [begin, end) begin, and `end`: `rows` high, and lower at the end for `threads` to end
    together."""
    whole = max(0, (end - begin) // (threads * rows) - 1) * threads * rows if threads > 1 else end - begin
    starts, at, height = [np.arange(begin, begin + whole, rows)], begin + whole, rows
    while at < end:
        share = (end - at) / threads
        wanted = share / 2 if share / 2 * LEAST_HALF >= rows else share
        height = min(height, math.ceil(wanted / PANEL) * PANEL)
        starts.append(np.arange(at, min(at + threads * height, end), height))
        at += threads * height
    return np.append(np.concatenate(starts), end)


# Writing past the caches spares an answer that overflows them the reading of its lines: float64, 4096 x 4096, 54 to 45
# ms of a core with 64 bins, 24 to 16 with 16. Not in new memory, whose pages the system has just cleared, and so
# cached: 29 to 31 ms with 16 bins.
STREAM_BYTES = 1 << 24


def stream(size: int, in_use: bool) -> bool:
    """Whether to write an answer of `size` bytes past the caches; `in_use`: its memory has been written before."""
    return in_use and size >= STREAM_BYTES
