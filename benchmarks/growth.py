"""Time against n, m, K, k and threads, beside the fastest peers: one figure a variable, and a search for cliffs.

    python -m benchmarks.growth [--threads N] [--seconds S] [--output FOLDER] [--only n,m,K,k,threads] [--quick]
    python -m benchmarks.growth --cliffs

Figures are log-log, so that a slope of 1 is time in proportion. `--cliffs` prints instead how the time per unit of work
changes from a size to its neighbours, which a blocked kernel must not let show: beyond FACTOR it is marked. Those are
processor times of one thread, which a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import klfast as kl

from . import peers
from .cases import Case
from .measure import KLFAST, PAUSE
from .memory import ROOT
from .report import header

PEERS = {"pairwise": ("expert NumPy", "bare DGEMM"), "kneighbors": ("FAISS IndexFlatIP", "bare SGEMM, blocks"),
         "rowwise": ("NumPy einsum", "memory floor (read P, Q)")}
TITLES = {"n": "rows of P (n)", "m": "rows of Q (m)", "K": "bins (K)", "k": "neighbours (k)", "threads": "threads"}
FILES = {"K": "bins", "k": "neighbours"}  # names that do not differ by case alone
MINIMUM, MAXIMUM = 3, 12  # calls of a contestant at a size


@dataclass(frozen=True)
class Curve:
    """One question with one of its sizes varied."""

    question: str
    variable: str
    values: tuple[int, ...]
    n: int = 1000
    m: int = 1000
    K: int = 64
    k: int = 10

    def case(self, value: int) -> Case:
        size = {"n": self.n, "m": self.m, "K": self.K, "k": self.k, self.variable: value}
        k = size["k"] if self.question == "kneighbors" else 0
        return Case("growth", "", self.question, size["n"], size["m"], size["K"], k=k)

    def work(self, value: int) -> float:
        """What the time is in proportion to, if it grows as it should; k asks for more of the same pairs."""
        return 1 if self.variable == "k" else value

    @property
    def fixed(self) -> str:
        names = {"pairwise": "nmK", "kneighbors": "nmKk", "rowwise": "nK"}[self.question]
        return ", ".join(f"{name} = {getattr(self, name):,}" for name in names if name != self.variable)


def decades(low: int, high: int) -> tuple[int, ...]:
    """1, 3, 10, 30, ... from 10**low to 10**high."""
    return tuple(step * 10**e for e in range(low, high) for step in (1, 3)) + (10**high,)


CURVES = (
    Curve("pairwise", "n", decades(0, 4)),
    Curve("kneighbors", "n", decades(0, 4), m=10_000),
    Curve("rowwise", "n", decades(1, 6)),
    Curve("pairwise", "m", decades(0, 4)),
    Curve("kneighbors", "m", decades(1, 5)),
    Curve("pairwise", "K", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)),
    Curve("kneighbors", "K", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024), m=10_000),
    Curve("rowwise", "K", (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096), n=5000),
    Curve("kneighbors", "k", decades(0, 3), m=20_000),
    Curve("pairwise", "threads", (), n=3000, m=3000),
    Curve("kneighbors", "threads", (), n=2000, m=50_000),
    Curve("rowwise", "threads", (), n=500_000),
)


# ---- timing -------------------------------------------------------------------------------------------------


def measured(curve: Curve, names: tuple[str, ...], threads: int, budget: float) -> dict[str, list[float]]:
    """Best time of each contestant at each value; calls alternate, for about `budget` seconds each."""
    times: dict[str, list[float]] = {name: [] for name in names}
    for value in curve.values:
        used = value if curve.variable == "threads" else threads
        inputs = curve.case(value).inputs(used)
        with peers.limit_threads(used):
            calls = {name: peers.klfast(inputs) if name == KLFAST else peers.PEERS[name].prepare(inputs)
                     for name in names}
            for name, best in best_of(calls, budget).items():
                times[name].append(best)
    return times


def best_of(calls: dict, budget: float, clock=time.perf_counter) -> dict:
    """The shortest time of each call; after a warm-up they take turns until each has had its budget."""
    def seconds(call):
        start = clock()
        answer = call()
        stop = clock()
        del answer  # outside the clock, as in measure
        return stop - start

    times = {}
    for name, call in calls.items():
        seconds(call)
        times[name] = [seconds(call)]
    rounds = {name: min(MAXIMUM, max(MINIMUM, int(budget / first))) for name, (first,) in times.items()}
    for turn in range(1, max(rounds.values())):
        for name, call in calls.items():
            if turn < rounds[name]:
                time.sleep(PAUSE / 2)  # idle threads of one library disturb the next one
                times[name].append(seconds(call))
    return {name: min(found) for name, found in times.items()}


def available(question: str) -> tuple[str, ...]:
    """klfast and those of its peers that are installed."""
    found = [name for name in PEERS[question] if not (module := peers.PEERS[name].module) or find_spec(module)]
    return (KLFAST, *found)


# ---- figures ------------------------------------------------------------------------------------------------


def figure(variable: str, curves: list[Curve], results: list[dict], threads: int, path: Path) -> None:
    """A panel a question, a line a contestant; dashed: time in proportion."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(1, len(curves), figsize=(4.6 * len(curves) + 0.4, 4.4), squeeze=False,
                                layout="constrained")
    for axis, curve, times in zip(axes[0], curves, results):
        for name, marker, color in zip(times, "osd", ("C3", "C0", "0.5")):
            axis.plot(curve.values, times[name], marker=marker, color=color, markersize=4, linewidth=1.4, label=name,
                      zorder=3 if name == KLFAST else 2)
        last, top = curve.values[-1], times[KLFAST][-1]
        ideal = [top * last / x if variable == "threads" else top * curve.work(x) / curve.work(last)
                 for x in curve.values]
        axis.plot(curve.values, ideal, "--", color="0.75", linewidth=1, zorder=1, label="in proportion")
        axis.set(xscale="log", yscale="log", xlabel=TITLES[variable], title=f"{curve.question}\n{curve.fixed}",
                 ylim=(min(map(min, times.values())) / 2, None))
        if variable == "threads":
            axis.set_xticks(curve.values, [str(x) for x in curve.values])
            axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0, 0].set_ylabel("seconds")
    machine, versions = header(threads).split("; ", 1)
    notes = (f"random Dirichlet rows, float64; best of {MINIMUM} to {MAXIMUM} calls; FAISS: the search alone; bare "
             "products and the memory floor are bounds, not answers")
    fig.supxlabel(f"{machine}\n{versions}\n{notes}", fontsize=6)
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    pyplot.close(fig)


def report(curve: Curve, times: dict[str, list[float]]) -> None:
    """Times at the largest value, and the slope of the last step of tenfold or so."""
    if len(curve.values) < 2:
        return
    near = max((x for x in curve.values if x * 8 <= curve.values[-1]), default=curve.values[0])
    at = curve.values.index(near)
    parts = []
    for name, found in times.items():
        slope = np.log(found[-1] / found[at]) / np.log(curve.values[-1] / near)
        parts.append(f"{name} {found[-1] * 1e3:.3g} ms (slope {slope:.2f})")
    print(f"{curve.question:11s}{curve.variable} = {curve.values[-1]:,}: " + ", ".join(parts), flush=True)


# ---- cliffs -------------------------------------------------------------------------------------------------

FACTOR = 1.3  # of the time per unit of work, between neighbouring sizes
NEIGHBOURS = ((63, 64, 65), (127, 128, 129), (1000, 1001))
STEPS = (
    Curve("pairwise", "n", (), m=20_000), Curve("pairwise", "m", (), n=20_000),
    Curve("pairwise", "K", (), n=1500, m=1500),
    Curve("kneighbors", "n", (), m=50_000), Curve("kneighbors", "m", (), n=20_000),
    Curve("kneighbors", "K", (), n=1500, m=10_000), Curve("kneighbors", "k", (), m=20_000),
    Curve("rowwise", "K", (), n=20_000),
)
# One row against many, and many against one, may take this many times what the direct kernel takes row by row: a
# reference set is encoded first, with its centre and its features.
MANY = 200_000
ONE_FACTOR = {"n": 4.0, "m": 2.5}
THREADS_FACTOR = 0.8  # all threads beside one, of the same call


def cliffs(threads: int, budget: float) -> int:
    """Prints the table; the number of marked lines."""
    marked = 0
    print("| question | sizes | time a unit of work, relative to the least | largest |")
    print("| --- | --- | --- | --- |")
    for curve in STEPS:
        for sizes in NEIGHBOURS:
            calls = {size: peers.klfast(curve.case(size).inputs(1)) for size in sizes}
            best = best_of(calls, budget, time.thread_time)
            units = [best[size] / curve.work(size) for size in sizes]
            marked += line(curve.question, f"{curve.variable} = {', '.join(map(str, sizes))}; {curve.fixed}",
                           [unit / min(units) for unit in units], FACTOR)
    rows, one = (Case("growth", "", "rowwise", n, 1, 64).inputs(1).P for n in (MANY, 1))
    for variable, P, Q in (("n", one, rows), ("m", rows, one)):
        marked += one_against_many(variable, P, Q, threads, budget)
    return marked


def one_against_many(variable: str, P, Q, threads: int, budget: float) -> int:
    """A single row of P, or of Q: beside the direct kernel, and all threads beside one."""
    def calls(jobs):
        return {"pairwise": lambda: kl.pairwise(P, Q, n_jobs=jobs), "nearest": lambda: kl.nearest(P, Q, n_jobs=jobs),
                "radius": lambda: kl.radius_neighbors(P, Q, 0.3, n_jobs=jobs),
                "reduce max": lambda: kl.reduce(P, Q, "max", n_jobs=jobs),
                "reduce mean": lambda: kl.reduce(P, Q, "mean", n_jobs=jobs)}

    sizes = f"n = {len(P):,}, m = {len(Q):,}, K = {P.shape[1]}"
    pairs = np.broadcast_arrays(P, Q)
    best = best_of({"rowwise": lambda: kl.rowwise(*pairs, n_jobs=1)} | calls(1), budget, time.thread_time)
    marked = sum(line(name, f"{sizes}; beside rowwise", [best[name] / best["rowwise"]], ONE_FACTOR[variable])
                 for name in calls(1))
    if threads == 1:
        return marked
    for name in calls(1):
        best = best_of({jobs: calls(jobs)[name] for jobs in (1, threads)}, budget)
        marked += line(name, f"{sizes}; {threads} threads beside 1", [best[threads] / best[1]], THREADS_FACTOR)
    return marked


def line(question: str, sizes: str, units: list[float], allowed: float) -> bool:
    worst = max(units)
    mark = f" **above {allowed}**" if worst > allowed else f" (at most {allowed})"
    print(f"| {question} | {sizes} | {', '.join(f'{unit:.2f}' for unit in units)} | {worst:.2f}{mark} |", flush=True)
    return worst > allowed


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=kl.show_config()["threads"], help="of klfast and every peer")
    parser.add_argument("--seconds", type=float, default=0.15, help="of a contestant at a size")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "growth", help="folder of the figures")
    parser.add_argument("--only", metavar="NAME,...", default=",".join(TITLES), help="variables")
    parser.add_argument("--quick", action="store_true", help="only the smaller sizes: shows that it runs")
    parser.add_argument("--cliffs", action="store_true", help="the table of neighbouring sizes instead")
    options = parser.parse_args(arguments)
    if options.cliffs:
        return 1 if cliffs(options.threads, options.seconds) else 0
    for variable in options.only.split(","):
        curves = [prepared(c, options) for c in CURVES if c.variable == variable]
        if not curves:
            parser.error(f"no variable {variable!r}; there are {', '.join(TITLES)}")
        results = [measured(c, available(c.question), options.threads, options.seconds) for c in curves]
        for curve, times in zip(curves, results):
            report(curve, times)
        figure(variable, curves, results, options.threads, options.output / f"{FILES.get(variable, variable)}.png")
    return 0


def prepared(curve: Curve, options) -> Curve:
    """The curve with its thread counts, or for a quick run its smaller half."""
    values = curve.values
    if curve.variable == "threads":
        values = tuple(sorted({1, *(2**e for e in range(1, 10) if 2**e <= options.threads), options.threads}))
    if options.quick:
        values = values[: (len(values) + 1) // 2]
    return replace(curve, values=values)


if __name__ == "__main__":
    sys.exit(main())
