"""The workloads as data: a name, sizes, the peers that answer the same question, the targets.

A target is a ratio of two times of one run (klfast divided by the peer), never an absolute time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatch

import numpy as np

from . import peers_families
from .forms import MEASURES

QUICK = 16  # `--quick` divides the number of rows and of columns by this


@dataclass(frozen=True)
class Inputs:
    """What every adapter of peers.py gets: the arrays of one question, and how many threads it may use."""

    question: str
    P: np.ndarray
    Q: np.ndarray
    k: int
    divergence: str
    threads: int
    radius: float = 0.0
    op: str = ""

    def head(self, rows: int) -> Inputs:
        """The question for the first `rows` rows of P (of both operands, if they go row by row)."""
        by_row = self.question in ("rowwise", "rowwise_logits")
        return replace(self, P=self.P[:rows], Q=self.Q[:rows] if by_row else self.Q)


@dataclass(frozen=True)
class Rival:
    """A peer in a case. A slow one answers for the first `rows` rows only; its time is scaled up, and marked."""

    peer: str
    rows: int | None = None


@dataclass(frozen=True)
class Target:
    """klfast takes at most `ratio` times as long as the peer."""

    peer: str
    ratio: float

    def __str__(self) -> str:
        return f"≤ {self.ratio:.3g}× {self.peer}"


@dataclass(frozen=True)
class Case:
    """One workload. `question` names the call of klfast; n rows of P against m rows of Q, over `bins` bins."""

    name: str
    title: str
    question: str
    n: int
    m: int
    bins: int
    dtype: str = "float64"
    k: int = 0
    divergence: str = "kl"
    radius: float = 0.0
    op: str = ""  # of `reduce`; in the memory cases the call
    rivals: tuple[Rival, ...] = ()
    targets: tuple[Target, ...] = ()
    data: str = "dirichlet"
    tolerance: float = 1e-9  # of the check against a float64 reference
    in_readme: bool = True  # results.md has every case, the README's table those that its promises are about

    def quick(self) -> Case:
        """The same case on 1/QUICK of the rows and columns: shows that it runs, not how fast."""
        def small(size):
            return max(min(size, 16), size // QUICK)

        rivals = tuple(Rival(r.peer, r.rows and small(r.rows)) for r in self.rivals)
        return replace(self, n=small(self.n), m=small(self.m), rivals=rivals)

    def inputs(self, threads: int, seed: int = 1) -> Inputs:
        """Fresh random (or real) operands of this case."""
        P, Q = DATA[self.data.partition(":")[0]](self, np.random.default_rng(seed))
        return Inputs(self.question, P, Q, self.k, self.divergence, threads, self.radius, self.op)


# ---- data ---------------------------------------------------------------------------------------------------


def dirichlet(rng: np.random.Generator, n: int, bins: int, dtype) -> np.ndarray:
    """n draws of Dirichlet(1, ..., 1), in place: normalised exponentials."""
    x = np.empty((n, bins), dtype)
    rng.standard_exponential(dtype=x.dtype, out=x)
    # The float32 generator returns an exact 0 once in 2^23 draws, and zeros are another workload.
    np.maximum(x, 1e-6, out=x)
    x /= x.sum(axis=1, keepdims=True)
    return x


def _dirichlet_pair(case: Case, rng):
    m = case.n if case.question == "rowwise" else case.m
    return dirichlet(rng, case.n, case.bins, case.dtype), dirichlet(rng, m, case.bins, case.dtype)


def _peaked_pair(case: Case, rng):
    """Rows far apart, as confident predictions are: most of the mass in a few bins."""
    logits = 10 * rng.standard_normal((2, case.n, case.bins))
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    return tuple((weights / weights.sum(axis=2, keepdims=True)).astype(case.dtype))


def _logits_pair(case: Case, rng):
    """Two sets of logits that resemble each other, as a student's resemble its teacher's."""
    p = rng.standard_normal((case.n, case.bins), dtype=np.float32)
    q = rng.standard_normal((case.n, case.bins), dtype=np.float32)
    p *= 3
    q += p
    return p, q


def _positive_pair(case: Case, rng):
    """Rows of positive numbers with sums of their own, as spectra have: for measures."""
    return tuple(np.maximum(rng.standard_gamma(4.0, (n, case.bins)), 1e-3).astype(case.dtype) for n in (case.n, case.m))


def _clusters_pair(case: Case, rng):
    """Smoothed histograms of 256 counts from 200 rows a cluster, as patches or documents of one kind resemble."""
    centres = rng.dirichlet(np.full(case.bins, 0.5), max(1, case.m // 200))

    def rows(n):
        members = centres[rng.integers(len(centres), size=n)]
        weights = rng.standard_gamma(100 * members + 1e-3)
        counts = rng.poisson(256 * weights / weights.sum(axis=1, keepdims=True)) + 0.5
        return (counts / counts.sum(axis=1, keepdims=True)).astype(case.dtype)

    return rows(case.n), rows(case.m)


def _patches(case: Case, rng):
    """Colour histograms of the patches of two photographs: counts, with many equal rows."""
    from klfast.demo import load_patches

    counts = load_patches().histograms
    counts = np.ascontiguousarray(counts[:: max(1, counts.shape[0] // case.n)][: case.n])
    return counts, counts


DATA: dict[str, Callable] = {"dirichlet": _dirichlet_pair, "logits": _logits_pair, "peaked": _peaked_pair,
                             "patches": _patches, "positive": _positive_pair, "clusters": _clusters_pair,
                             "family": peers_families.pair}


# ---- the table ----------------------------------------------------------------------------------------------

SQUARES = ((4096, 16), (4096, 32), (4096, 64), (4096, 128), (2048, 512), (2048, 1024))


def _pairwise(dtype: str) -> list[Case]:
    short, gemm = ("f64", "bare DGEMM") if dtype == "float64" else ("f32", "bare SGEMM")
    cases = []
    for n, bins in SQUARES:
        rivals = [Rival("expert NumPy"), Rival(gemm)]
        if bins == 128:  # the slow ones once
            rivals += [Rival("SimSIMD", n // 8), Rival("NumKong", n // 8), Rival("scipy rel_entr", n // 64)]
        cases.append(Case(
            f"pairwise-{short}-k{bins}", f"pairwise KL, {short}, {n}×{n}, K = {bins}", "pairwise", n, n, bins, dtype,
            rivals=tuple(rivals), tolerance=1e-11 if dtype == "float64" else 1e-4,
            targets=(Target("expert NumPy", 0.6 if bins <= 128 else 0.8), Target(gemm, 1.05))))
    return cases


def _pairwise_into(dtype: str) -> list[Case]:
    """The first answer of a program, whose memory is new, and one into an array of the caller's."""
    short, gemm = ("f64", "bare DGEMM") if dtype == "float64" else ("f32", "bare SGEMM")
    n, bins, tolerance = 4096, 64, 1e-11 if dtype == "float64" else 1e-4
    size = f"{short}, {n}×{n}, K = {bins}"
    return [
        Case(f"new-{short}", f"pairwise KL into new memory, {size}", "pairwise_new", n, n, bins, dtype,
             rivals=(Rival("expert NumPy"), Rival(gemm)), tolerance=tolerance),
        Case(f"out-{short}", f"pairwise KL into an array in use, {size}", "pairwise_out", n, n, bins, dtype,
             rivals=(Rival("expert NumPy, into out"), Rival(f"{gemm}, into out")), tolerance=tolerance)]


def _neighbors(bins: int) -> list[Case]:
    n, m, k = 4000, 200_000, 10
    rivals = (Rival("FAISS IndexFlatIP"), Rival("bare SGEMM, blocks"))
    size = f"{n:,} × {m:,}, K = {bins}"
    return [
        Case(f"kneighbors-k{bins}", f"exact top-{k}, {size}", "kneighbors", n, m, bins, k=k,
             rivals=(*rivals, Rival("NumPy + argpartition", n // 16)),
             targets=(Target("FAISS IndexFlatIP", 0.6), Target("bare SGEMM, blocks", 1.0))),
        Case(f"search-k{bins}", f"the same, klfast.Index built before, K = {bins}", "search", n, m, bins, k=k,
             rivals=rivals),
    ]


def _few(m: int) -> list[Case]:
    n, bins = 5_000_000, 32
    few = m <= 64
    floor = "memory floor (read P)"
    # 5,000,000 × 1,000 doubles are 40 GB: `pairwise` answers for a twentieth of the rows.
    dense_rows = n if few else n // 20
    slow = n // 10
    rows = f"{n:,} × {bins} against {m:,}"
    dense = rows if few else f"{dense_rows:,} × {bins} against {m:,}"
    nearest_rivals = (
        Rival("expert NumPy, blocks", slow), Rival("FAISS IndexFlatIP", None if few else slow),
        Rival(floor) if few else Rival("bare SGEMM, blocks", slow))
    dense_rivals = (Rival("expert NumPy", slow if few else slow // 4), Rival(floor) if few else Rival("bare DGEMM"))
    return [
        Case(f"few-nearest-{m}", f"nearest, {rows}", "nearest", n, m, bins, k=1, rivals=nearest_rivals,
             targets=(Target(floor, 1.5) if few else Target("bare SGEMM, blocks", 1.0),)),
        Case(f"few-pairwise-{m}", f"pairwise, {dense}", "pairwise", dense_rows, m, bins, rivals=dense_rivals,
             targets=(Target(floor, 1.5) if few else Target("bare DGEMM", 1.0),)),
    ]


# All pairs of every other divergence, the peers that have it beside it. By rows of P: the slow ones answer for a part.
PRODUCT = (Rival("expert NumPy"),)
BY_ROW = Rival("NumPy, row by row", 128)
JS_PEERS = (BY_ROW, Rival("scipy cdist", 64), Rival("NumKong", 256), Rival("SimSIMD", 256), Rival("FAISS, f32", 64))
DIVERGENCE_RIVALS = {
    "reverse_kl": PRODUCT,
    "cross_entropy": PRODUCT,
    "generalized_kl": PRODUCT,
    "jeffreys": PRODUCT,
    "js": JS_PEERS,
    "js_distance": JS_PEERS[1:-1],
    "bhattacharyya": PRODUCT,
    "squared_hellinger": PRODUCT,
    "hellinger": (*PRODUCT, Rival("torch cdist")),
    "chi2": PRODUCT,
    "neyman_chi2": PRODUCT,
    "total_variation": (Rival("scipy cdist"), Rival("torch cdist"), Rival("FAISS, f32")),
    "triangular": (BY_ROW, Rival("scikit-learn additive_chi2", 256)),
    "itakura_saito": PRODUCT,
    "renyi:2": PRODUCT,
    "tsallis:0.5": PRODUCT,
    "alpha:0.5": PRODUCT,
    "chernoff:0.3": PRODUCT,
    "skew_kl:0.9": (BY_ROW,),
    "skew_js:0.3": (BY_ROW,),
}


def _divergence(name: str, rivals: tuple[Rival, ...]) -> Case:
    n, bins = 2048, 64
    data = "positive" if name in MEASURES else "dirichlet"
    return Case(f"divergences-{name.replace(':', '-')}", f"pairwise {name}, f64, {n}×{n}, K = {bins}", "pairwise", n, n,
                bins, divergence=name, rivals=rivals, data=data, tolerance=1e-11, in_readme=False)


def _far(name: str) -> Case:
    near = _divergence(name, DIVERGENCE_RIVALS[name])
    return replace(near, name=near.name.replace("divergences", "far"), title=f"{near.title}, rows far apart",
                   data="peaked")


def _radius(divergence: str, radius: float, rivals: tuple[Rival, ...]) -> Case:
    n = 20_000
    return Case(f"radius-{divergence}", f"all within a radius, {divergence}, {n:,} × {n:,}, K = 64 (about 20 a row)",
                "radius", n, n, 64, divergence=divergence, radius=radius, data="clusters", rivals=rivals)


def _reduce(op: str, divergence: str, rivals: tuple[Rival, ...]) -> Case:
    n = 20_000
    title = f"{op} of each row, {divergence}, {n:,} × {n:,}, K = 64"
    return Case(f"reduce-{op}-{divergence}", title, "reduce", n, n, 64, divergence=divergence, op=op,
                rivals=rivals, tolerance=1e-11)


def _jensen_shannon(dtype: str, factor: float) -> Case:
    short = "f64" if dtype == "float64" else "f32"
    return Case(f"js-{short}", f"pairwise Jensen–Shannon, {short}, 1024×1024, K = 128", "pairwise", 1024, 1024, 128,
                dtype, divergence="js", rivals=(Rival("SimSIMD"), Rival("NumKong"), Rival("scipy rel_entr", 32)),
                targets=(Target("SimSIMD", 1 / factor),), tolerance=1e-9 if dtype == "float64" else 1e-4)


def _scaling(case: Case) -> Case:
    one = "klfast, 1 thread"
    return replace(case, name=f"scaling-{case.question}", title=f"scaling: {case.title}", rivals=(Rival(one),),
                   targets=(Target(one, 1 / 1.9),))


PAIRWISE = [*_pairwise("float64"), *_pairwise("float32"), *_pairwise_into("float64"), *_pairwise_into("float32")]
NEIGHBORS = [*_neighbors(64), *_neighbors(128)]
PATCHES = Case(
    "patches", "exact top-10 of 128,544 image patches among themselves, K = 64", "self_neighbors", 128_544, 128_544, 64,
    k=10, data="patches", rivals=(Rival("bare SGEMM, blocks", 8192),), targets=(Target("bare SGEMM, blocks", 0.2),))
ROWWISE = Case(
    "rowwise-f64", "rowwise KL, f64, 1,000,000 × 64", "rowwise", 1_000_000, 1, 64,
    rivals=(Rival("memory floor (read P, Q)"), Rival("NumPy einsum", 250_000), Rival("scipy rel_entr", 250_000),
            Rival("scipy stats.entropy", 125_000), Rival("torch kl_div", 250_000)),
    targets=(Target("memory floor (read P, Q)", 1.5), Target("scipy rel_entr", 1 / 20)))
LOGITS = [
    Case(f"logits-{bins}", f"rowwise KL from logits, f32, {n:,} × {bins:,}", "rowwise_logits", n, 1, bins, "float32",
         data="logits", rivals=(Rival("memory floor (read P, Q)"), Rival("torch log_softmax + kl_div", n // 4)),
         targets=(Target("torch log_softmax + kl_div", 1 / 8), Target("memory floor (read P, Q)", 2.0)), tolerance=1e-5)
    for n, bins in ((1_000_000, 64), (4096, 128_256))
]
FEW = [*_few(16), *_few(1000)]
JENSEN_SHANNON = [_jensen_shannon("float32", 5), _jensen_shannon("float64", 3)]
DIVERGENCES = [*(_divergence(name, rivals) for name, rivals in DIVERGENCE_RIVALS.items()),
               *map(_far, ("jeffreys", "bhattacharyya", "chi2", "renyi:2"))]
RADIUS = [
    _radius("kl", 0.31, (Rival("expert NumPy, radius", 2500),)),
    _radius("hellinger", 0.27, (Rival("expert NumPy, radius", 2500), Rival("scikit-learn NearestNeighbors"),
                               Rival("FAISS IndexFlatL2, f32"))),
]
REDUCE = [
    _reduce("mean", "kl", (Rival("expert NumPy, reduced", 2500), Rival("NumPy, mean of log Q"))),
    _reduce("max", "kl", (Rival("expert NumPy, reduced", 2500),)),
]
SCALING = [_scaling(PAIRWISE[2]), _scaling(NEIGHBORS[0]), _scaling(ROWWISE)]
def _memory(call: str, m: int) -> Case:
    """Measured in bytes, by memory.py: peak above inputs and answer."""
    size = "d = 32" if call.startswith("gaussian") else "K = 64"
    return Case(f"memory-{call.replace(' ', '-')}", f"peak memory of {call}, 20,000 × {m:,}, {size}", "memory", 20_000, m,
                64, op=call)


def _family(case: str, name: str, n: int, d: int, *rivals: Rival) -> Case:
    return Case(case, f"pairwise KL of {name}, f64, {n:,}×{n:,}, d = {d}", "family", n, n, d, op=name,
                data=f"family:{name}", rivals=rivals, tolerance=1e-9, in_readme=not case.startswith("family-"))


def _family_by_rows(name: str, n: int, *rivals: Rival) -> Case:
    return Case(f"family-rows-{name.lower()}", f"rowwise KL of {name}, f64, {n:,} × 32", "family_rowwise", n, n, 32,
                op=name, data=f"family:{name}", rivals=rivals, tolerance=1e-9, in_readme=name == "Normal")


FAMILIES = [
    _family_by_rows("Normal", 500_000, Rival("torch.distributions"), Rival("NumPy, closed form by rows")),
    *(_family_by_rows(name, 100_000, Rival("torch.distributions")) for name in peers_families.ROW_BY_ROW),
    _family("gaussians", "Normal", 4096, 32, Rival("expert NumPy, Gaussians"), Rival("torch.distributions", 64)),
    _family("full-covariance", "MultivariateNormal", 2000, 16, Rival("NumPy, closed form"),
            Rival("torch.distributions", 16)),
    _family("full-covariance-64", "MultivariateNormal", 1000, 64, Rival("NumPy, closed form")),
    _family("directions", "VonMisesFisher", 2000, 256, Rival("NumPy, closed form")),
    *(_family(f"family-{name.lower()}", name, 512, 8,
              Rival("NumPy, closed form") if name in peers_families.NUMPY else Rival("torch.distributions", 64))
      for name in peers_families.SMALL),
]

MEMORY = [_memory("kneighbors", 200_000), _memory("gaussian kneighbors", 200_000),
          _memory("radius_neighbors", 20_000), _memory("reduce", 20_000),
          _memory("pairwise_chunked", 20_000)]

ALL = [*PAIRWISE, *NEIGHBORS, PATCHES, ROWWISE, *LOGITS, *JENSEN_SHANNON, *RADIUS, *REDUCE, *SCALING, *MEMORY, *FEW,
       *DIVERGENCES, *FAMILIES]


def select(patterns: str | None) -> list[Case]:
    """Cases by comma-separated names, shell patterns, or leading parts of a name ("rowwise", "pairwise-f64")."""
    if not patterns:
        return list(ALL)
    wanted = [p.strip() for p in patterns.split(",") if p.strip()]
    chosen = [c for c in ALL if any(fnmatch(c.name, p) or c.name.startswith(p + "-") for p in wanted)]
    if not chosen:
        raise SystemExit(f"no case matches {patterns!r}; there are: {', '.join(c.name for c in ALL)}")
    return chosen
