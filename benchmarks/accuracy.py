"""Writes docs/accuracy.md: errors of klfast, on every ISA, and of other libraries, stratum by stratum.

    python -m benchmarks.accuracy [--output PATH]

Exits with 1 if klfast misses its contract anywhere (two minutes; needs the extras `test` and `bench`).
"""

from __future__ import annotations

import argparse
import platform
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import klfast as kl

from .accuracy_cases import KINDS, SAMPLE, Batch, batches
from .accuracy_scores import (
    DIRECT, OUTCOMES, PAIRWISE, Figures, Miss, Score, limit, measure_klfast, measure_peers, misses,
)
from .report import cpu_model

OUTPUT = Path(__file__).parents[1] / "docs" / "accuracy.md"
LIBRARIES = ("numpy", "scipy", "torch", "numkong", "simsimd", "mpmath")
DIRECT_FUNCTIONS = ("rowwise", "entropy", "cross-entropy")

INTRODUCTION = """\
*{header}*

Written by `python -m benchmarks.accuracy`. Errors are relative to the exact value of the floats that are given, rows
exactly normalised.

**References.** {oracle:,} pairs of the tests' oracle (`tests/oracle`: committed values), {samples:,} pairs sampled here
and {grid:,} pairs of the grids of `tests/clouds.py`; the latter two computed on the spot with mpmath at 100 digits, by
two formulas that agree to 33 digits (moments of the rows as given; a sum of p log(p/q) - p + q over normalised rows).
Values below 1e-304 (float32 results: below 1.2e-38) are judged as if they were that large.

**Figures.** A cell reads `largest / p99.9 / RMS`; below 1,000 values, where p99.9 would be the largest, `largest / RMS`;
`–`: no value to judge, `exact`: all are right to the bit. Behind it the number of outcomes that no tolerance excuses:
{outcomes}. Errors are taken over finite positive exact values with finite answers, negative ones included.

**Kinds.** Nearly equal: {near}. Edge cases: rows with empty bins, subnormal numbers, masses over hundreds of orders of
magnitude, logits beyond ±100. Well separated: all others.

**What the others are given.** The same rows, in float64 ({native} sampled pairs also in float32). `scipy.stats.entropy`
normalises by itself. For the others, rows whose sum is further than 1e-15 from 1 are divided by their float64 sum, as a
user would; float32 rows are left as they are (sums within 1e-7 of 1), and functions that do not normalise inherit that.
From logits, SciPy gets its own softmax; torch its own log_softmax. SciPy's `kl_div` sums p log(p/q) - p + q. NumKong
and SimSIMD run on the kernels that they choose on this machine, and return float64. SimSIMD's float64 kernel (6.5) is
far off even where nothing cancels: KL of (¼, ¾) from (½, ½) comes out as 0.1458 instead of 0.1308, which is what three
terms of the Taylor series of the logarithm give. Its float32 kernel is the better one."""


def render(data: list[Batch], results, rivals, missed: list[Miss]) -> str:
    """The whole report."""
    best = next(iter(results))
    parts = [
        "# Accuracy", _introduction(data),
        "## Summary", f"Largest relative error, and wrong outcomes; klfast on {best}.", _summary(results[best], rivals),
        "## The contract", _contract(missed),
        "## klfast, by function and instruction set",
        "Each instruction set was forced, and its kernels proved to be those that ran; names joined by `=` gave the "
        "same bits in the whole line. `product` is `pairwise` with rtol just below 1: the product form uncorrected, unless it "
        "could be off by a factor of 2. Functions ending in float32 return float32.", _functions(results),
        "## klfast, row by row, by type of the input", "Results in float64.", _types(results),
        "## klfast, row by row, by stratum", "Results in float64.", _direct_strata(results),
        "## klfast, all pairs, by stratum",
        "Pairs of the oracle and of the samples are the diagonals of such matrices. In brackets: the share of the pairs "
        "of a grid that the direct kernel computed again.", _pairwise_strata(results),
        "## Nearly equal rows, by relative difference",
        "p = q (1 + ε u), u uniform in ±1, normalised; logits: a = b + ε u. Largest relative errors in float64; KL: the "
        "median.", _differences(results[best], rivals, "probs"), _differences(results[best], rivals, "logits"),
        "## Other libraries: KL of probabilities, by stratum", _rival_strata(rivals, "kl of probs", False),
        "## Other libraries: KL of logits, by stratum", _rival_strata(rivals, "kl of logits", False),
        "## Other libraries in float32: KL, by stratum", _rival_strata(rivals, "kl of probs", True),
        _rival_strata(rivals, "kl of logits", True),
        "## Other libraries: entropy and cross-entropy", _rival_functions(results[best], rivals)]
    paragraphs = [p if p.startswith(("|", "#")) else textwrap.fill(p, 120, break_on_hyphens=False)
                  for part in parts for p in part.split("\n\n")]
    return "\n\n".join(paragraphs) + "\n"


def _introduction(data: list[Batch]) -> str:
    def pairs(chosen: Iterable[Batch]) -> int:
        return sum(b.kl.shape[1] for b in chosen)

    config = kl.show_config()
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))
    sampled = [b for b in data if b.sampled]
    return INTRODUCTION.format(
        header=f"{date.today()}; {cpu_model()}; klfast {config['version']}, Python {platform.python_version()}, {libraries}",
        oracle=pairs(b for b in data if not b.sampled and not b.grid), samples=pairs(sampled),
        grid=pairs(b for b in data if b.grid), native=f"{pairs(b for b in sampled if b.storage == 'float32'):,}",
        near=_near_strata(data), outcomes="; ".join(f"`{name}` {what}" for name, what in OUTCOMES.items()))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _near_strata(data: list[Batch]) -> str:
    names = dict.fromkeys(b.stratum for b in data if (b.kinds == KINDS[1]).any() and not b.stratum.endswith("long"))
    return ", ".join(names) + ", and every second long row"


# ---- cells and tables -------------------------------------------------------------------------------------------


def number(x: float) -> str:
    return "–" if np.isnan(x) else "exact" if x == 0 else f"{x:.1e}".replace("e-0", "e-").replace("e+0", "e+")


def wrong(f: Figures) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in f.wrong.items() if count)


def cell(f: Figures) -> str:
    if f.n == 0:
        return ""
    three = [f.largest, f.p999, f.rms] if f.n >= SAMPLE else [f.largest, f.rms]
    errors = number(f.largest) if not f.largest > 0 else " / ".join(map(number, three))
    return f"{errors}; {wrong(f)}" if wrong(f) else errors


def largest(f: Figures) -> str:
    if f.n == 0:
        return ""
    return f"{number(f.largest)}; {wrong(f)}" if wrong(f) else number(f.largest)


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    rows = [list(head), *map(list, lines)]
    rows.insert(1, ["---"] * len(rows[0]))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def by(scores: Iterable[Score], key: Callable[[Batch], object]) -> dict:
    """Scores grouped by a key of their batches, in order."""
    groups: dict = {}
    for s in scores:
        groups.setdefault(key(s.batch), []).append(s)
    return groups


def stratum(batch: Batch) -> str:
    return batch.stratum


def of_domain(scores: Iterable[Score], domain: str) -> list[Score]:
    return [s for s in scores if s.batch.domain == domain]


# ---- klfast -----------------------------------------------------------------------------------------------------


def _summary(functions, rivals) -> str:
    lines = []
    for domain in DIRECT:
        for name in ("rowwise", "rowwise float32", *list(PAIRWISE)[:2]):
            lines.append(_summary_line(f"**klfast {name}**", domain, of_domain(functions[name], domain)))
        lines += [_summary_line(library, domain, scores) for (function, library), scores in rivals.items()
                  if function == f"kl of {domain}"]
    return table(["KL by", "of", *KINDS], lines)


def _summary_line(name, domain, scores) -> list[str]:
    return [name, domain, *(largest(Figures.of(scores, kind)) for kind in KINDS)]


def _contract(missed: list[Miss]) -> str:
    promise = ("Direct values within 2e-15 (logits: 4e-15), float32 results rounded once more; all pairs within 1e-12 "
               "(float32: 1e-4); never negative, -0.0 or NaN; 0 only for equal rows, inf only without support.\n\n")
    if not missed:
        return promise + "**Met by every value on every instruction set.**"
    groups: dict = {}
    for m in missed:
        groups.setdefault((m.batch.stratum, m.batch.storage, m.batch.P.shape[1]), []).append(m)
    lines = []
    for (name, storage, K), group in groups.items():
        functions, isas = (", ".join(dict.fromkeys(names)) for names in zip(*((m.function, m.isa) for m in group)))
        worst = max(group, key=lambda m: np.nan_to_num(m.error, nan=np.inf))
        lines.append([name, storage, f"{K:,}", functions, isas, f"{worst.value:.3g}", f"{worst.exact:.3g}"])
    head = ["stratum", "type", "bins", "functions", "instruction sets", "worst: value", "should be"]
    return f"{promise}**Missed in {len(groups)} places:**\n\n{table(head, lines)}"


def merged(results, choose: Callable[[dict], list[list[Score]]]) -> Iterable[tuple[str, list[list[Score]]]]:
    """(ISAs, chosen lists of scores), those ISAs together that gave the same bits."""
    groups: dict[tuple, list[str]] = {}
    for isa, functions in results.items():
        bits = tuple(s.value.tobytes() for scores in choose(functions) for s in scores)
        groups.setdefault(bits, []).append(isa)
    return [(" = ".join(isas), choose(results[isas[0]])) for isas in groups.values()]


def _functions(results) -> str:
    names = next(iter(results.values()))
    lines = []
    for function in sorted(names, key=lambda f: (f.partition(" ")[0] in PAIRWISE, list(names).index(f))):
        for domain in DIRECT:
            for isas, (scores,) in merged(results, lambda functions: [of_domain(functions[function], domain)]):
                f = Figures.of(scores)
                promised = "" if function.startswith("product") else number(limit(function, domain))
                lines.append([function, domain, isas, f"{f.n:,}", cell(f), promised])
    return table(["function", "of", "instruction set", "n", "error", "promised"], lines)


def _strata(results, names: tuple[str, ...], key: Callable[[Batch], object] = stratum) -> list[list]:
    """[key, n, ISAs, cell of each function] for each key of the batches."""
    groups = {isa: {f: by(functions[f], key) for f in names} for isa, functions in results.items()}
    lines = []
    for name in next(iter(groups.values()))[names[0]]:
        for isas, scores in merged(groups, lambda functions: [functions[f].get(name, []) for f in names]):
            cells = [cell(Figures.of(s)) + _share(s) for s in scores]
            lines.append([name, f"{Figures.of(scores[0]).n:,}", isas, *cells])
    return lines


def _types(results) -> str:
    lines = _strata(results, ("rowwise",), lambda b: (b.domain, b.storage))
    lines.sort(key=lambda line: line[0][0], reverse=True)
    return table(["of", "type", "n", "instruction set", "rowwise"], ([*line[0], *line[1:]] for line in lines))


def _direct_strata(results) -> str:
    return table(["stratum", "n", "instruction set", *DIRECT_FUNCTIONS], _strata(results, DIRECT_FUNCTIONS))


def _pairwise_strata(results) -> str:
    return table(["stratum", "n", "instruction set", *PAIRWISE], _strata(results, tuple(PAIRWISE)))


def _share(scores: list[Score]) -> str:
    share = scores[0].recomputed if scores else None
    return "" if share is None else f" ({share:.2g})" if 0 < share < 0.01 else f" ({share:.0%})"


# ---- other libraries --------------------------------------------------------------------------------------------


def _differences(functions, rivals, domain) -> str:
    shown = {f"klfast {name}": functions[name] for name in ("rowwise", *PAIRWISE)}
    shown |= {library: s for (f, library), s in rivals.items() if f == f"kl of {domain}" and "float32" not in library}
    groups = {}
    for name, scores in shown.items():
        chosen = [s for s in of_domain(scores, domain) if s.batch.epsilon and s.batch.storage == "float64"]
        groups[name] = by(chosen, lambda b: b.epsilon)
    lines = []
    for e, scores in groups["klfast rowwise"].items():
        figures = [largest(Figures.of(group[e])) for group in groups.values()]
        lines.append([f"1e-{e}", f"{np.median(scores[0].batch.kl[0]):.0e}", *figures])
    return table(["ε" if domain == "probs" else "ε, logits", "KL", *groups], lines)


def _rival_strata(rivals, function, single: bool) -> str:
    groups = {library: by(scores, stratum) for (f, library), scores in rivals.items()
              if f == function and library.endswith("float32") == single}
    first = next(iter(groups.values()))
    lines = [[name, f"{Figures.of(first[name]).n:,}", *(cell(Figures.of(group[name])) for group in groups.values())]
             for name in first]
    return table(["stratum", "n", *groups], lines)


def _rival_functions(functions, rivals) -> str:
    lines = []
    for f in DIRECT_FUNCTIONS[1:]:
        for domain in DIRECT:
            compared = {f"**klfast {f}**": of_domain(functions[f], domain)}
            compared |= {library: scores for (function, library), scores in rivals.items() if function == f"{f} of {domain}"}
            lines += [[name, f, domain, *(cell(Figures.of(scores, kind)) for kind in KINDS)]
                      for name, scores in compared.items()]
    return table(["by", "function", "of", *KINDS], lines)


# ---- the program ------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=OUTPUT, help="default: docs/accuracy.md")
    output = parser.parse_args(arguments).output
    data = list(batches())
    results = measure_klfast(data)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        rivals = measure_peers(data)
    missed = misses(results)
    output.write_text(render(data, results, rivals, missed), encoding="utf-8")
    for miss in missed:
        print("MISSED:", miss, file=sys.stderr)
    print(f"{sum(b.kl.shape[1] for b in data):,} pairs, contract {'MISSED' if missed else 'met'}; wrote {output.name}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
