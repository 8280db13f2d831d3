"""Runs the workloads and prints one Markdown table: klfast, its peers, the targets, and whether they are met.

    python -m benchmarks.report [--quick] [--rounds N] [--only NAME,...] [--threads N] [--output STEM] [--update-readme]
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import joblib

import klfast as kl

from . import memory
from .cases import QUICK, Case, select
from .measure import KLFAST, Result, measure
from .memory import ROOT

STEM = Path(__file__).parent / "results"
MARKERS = "<!-- bench:begin -->", "<!-- bench:end -->"
WRONG = 1e-2  # a peer whose values are further off than this gets a mark
LIBRARIES = ("numpy", "scipy", "faiss-cpu", "simsimd", "numkong", "torch")

NOTES = """\
Behind each peer: its median time, and in brackets the median over the rounds of klfast's time divided by the peer's;
below 1, klfast is faster. All ran in this one process, in turn, after a warm-up (calls of less than 3 s: right after an
untimed one), with the same number of threads ({threads}); NumPy's and SciPy's elementwise functions have only one, and
SciPy's cdist and NumKong get their rows from as many Python threads. klfast is timed from the arrays to the answer:
checks, encoding and allocation of the answer included. It keeps the memory of the large answer before, which its caller
has freed, and writes the next one there; "into new memory" is without that. FAISS is timed for the search alone, on
float32 operands made before, log Q for KL, square roots for Hellinger, and on x86 with the kernels of its OpenBLAS that
are the fastest for it, those of AVX2. Bare products (DGEMM, SGEMM) and memory floors
are bounds, not answers: the logarithms are ready; the product of `pairwise` goes into a fresh array, that in blocks
into one reused block. A memory floor is a dot product over the bytes of the inputs. klfast's answers were checked
against a float64 reference.

`*` timed on a part of the rows and scaled up."""


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    cases = select(options.only)
    results = []
    for case in cases:
        print(f"{case.name} …", end=" ", flush=True, file=sys.stderr)
        result = measure(case.quick() if options.quick else case, options.threads, options.rounds)
        print(result.skipped or f"{_ours(result)} | {_verdict(result)}", file=sys.stderr)
        results.append(result)
    text = render(results, options.threads, options.quick)
    print(text)
    complete = not options.quick and not options.only
    if options.output or complete:
        stem = Path(options.output) if options.output else STEM
        stem.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        stem.with_suffix(".json").write_text(json.dumps(as_json(results, options.threads), indent=1) + "\n",
                                             encoding="utf-8")
    if options.update_readme:
        chosen = [r for r in results if r.case.in_readme]
        update_readme(ROOT / "README.md", render(chosen, options.threads, options.quick))
    return 0 if all(r.correct for r in results) else 1


def _options(arguments):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help=f"1/{QUICK} of the rows and columns: a smoke test")
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds (up to twice as many of short calls)")
    parser.add_argument("--only", metavar="NAME,...", help="cases, by name, leading part of a name, or shell pattern")
    parser.add_argument("--threads", type=int, default=kl.show_config()["threads"], help="of klfast and every peer")
    parser.add_argument("--output", metavar="STEM",
                        help="write STEM.md and STEM.json (default: benchmarks/results, for a full run only)")
    parser.add_argument("--update-readme", action="store_true", help="put the table between the markers of README.md")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.threads < 1:
        parser.error("--rounds and --threads must be at least 1")
    return options


# ---- the table ----------------------------------------------------------------------------------------------


def render(results: list[Result], threads: int, quick: bool) -> str:
    """The whole report as Markdown."""
    lines = [f"*{header(threads)}*", ""]
    if quick:
        lines += [f"**Quick run, 1/{QUICK} of the rows and columns: it shows that everything runs, not how fast.**", ""]
    lines += ["| workload | klfast | peers: time (klfast ÷ peer) | target | met |", "| --- | ---: | --- | --- | --- |"]
    lines += [_line(r) for r in results if not r.skipped]
    lines += ["", NOTES.format(threads=threads)]
    wrong = sorted({f"{name}, {r.case.title}: {t.error:.2g}" for r in results for name, t in r.timings.items()
                    if name != KLFAST and t.error is not None and t.error > WRONG})
    if wrong:
        lines += ["", f"`‡` values off by more than {WRONG:.0%} (largest relative error in a sample of rows): "
                  + "; ".join(wrong) + "."]
    skipped = [f"{r.case.name} ({r.skipped})" for r in results if r.skipped]
    missing = sorted({name for r in results for name in r.missing})
    if skipped:
        lines += ["", "Skipped: " + "; ".join(skipped) + "."]
    if missing:
        lines += ["", "Not installed: " + ", ".join(missing) + "."]
    return "\n".join(lines)


def _line(result: Result) -> str:
    case = result.case
    peers = "<br>".join(_peer(result, name) for name in result.timings if name != KLFAST)
    targets = "<br>".join(map(str, case.targets))
    if result.extra_bytes is not None:
        targets = f"≤ {memory.ALLOWED[case.op]} + 64 MiB = {result.allowed_bytes / 2**20:.0f} MiB"
    return f"| {case.title} | {_ours(result)} | {peers} | {targets} | {_verdict(result)} |"


def _ours(result: Result) -> str:
    if result.extra_bytes is not None:
        return f"{result.extra_bytes / 2**20:.0f} MiB"
    return f"{_time(result.timings[KLFAST].median)}"


def _peer(result: Result, name: str) -> str:
    timing = result.timings[name]
    mark = "*" if timing.scale != 1 else ""
    mark += "‡" if timing.error is not None and timing.error > WRONG else ""
    # Far behind, 1/40 is easier to read than 0.03.
    ratio = result.ratio(name)[0]
    return f"{name} {_time(timing.median)}{mark} ({ratio:.2f})" if ratio >= 0.1 else \
        f"{name} {_time(timing.median)}{mark} (1/{1 / ratio:.3g})"


def _verdict(result: Result) -> str:
    if not result.correct:
        return f"WRONG: error {result.timings[KLFAST].error:.1e}"
    if not result.case.targets and result.extra_bytes is None:
        return ""
    if result.met is None:
        return "–"
    if result.met:
        return "yes"
    if result.extra_bytes is not None:
        return "no"
    over = [f"{result.ratio(t.peer)[0]:.2f}× {t.peer}" for t in result.case.targets
            if t.peer in result.timings and result.ratio(t.peer)[0] > t.ratio]
    return "no: " + ", ".join(over)


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2f} s" if seconds < 100 else f"{seconds:.0f} s"
    milliseconds = seconds * 1e3
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"


def header(threads: int) -> str:
    """The machine and the versions, on one line."""
    config = kl.show_config()
    libraries = ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name)))
    return (f"{cpu_model()}, {joblib.cpu_count()} cores, ISA {config['isa']}, {threads} threads; klfast "
            f"{config['version']}, Python {platform.python_version()}, {libraries}{blas_kernels()}; {date.today()}")


def cpu_model() -> str:
    """Its name and, since one name may stand for several generations, its family and model."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    name, family, model = (re.search(rf"^{field}\s*:\s*(.+)$", text, re.MULTILINE)
                           for field in ("model name", "cpu family", "model"))
    if not name:
        return platform.processor() or platform.machine()
    return name.group(1) + (f" (family {family.group(1)}, model {model.group(1)})" if family and model else "")


def blas_kernels() -> str:
    """Which kernels NumPy's matrix product has chosen, where it says so."""
    from threadpoolctl import threadpool_info

    blas = [f"{pool['internal_api']} for {pool['architecture']}" for pool in threadpool_info()
            if pool["user_api"] == "blas" and "numpy" in pool["filepath"] and "architecture" in pool]
    return f", products of NumPy by {blas[0]}" if blas else ""


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# ---- files --------------------------------------------------------------------------------------------------


def as_json(results: list[Result], threads: int) -> dict:
    """Everything measured: all rounds, errors, targets."""
    return {"header": header(threads), "cases": [_case_json(r.case, r) for r in results]}


def _case_json(case: Case, result: Result) -> dict:
    entry = {"name": case.name, "title": case.title}
    if result.skipped:
        return {**entry, "skipped": result.skipped}
    if result.extra_bytes is not None:
        return {**entry, "extra_bytes": result.extra_bytes, "allowed_bytes": result.allowed_bytes, "met": result.met}
    contestants = {name: {"median": t.median, "seconds": t.seconds, "scale": t.scale, "error": t.error}
                   | ({"ratio": dict(zip(("median", "min", "max"), result.ratio(name)))} if name != KLFAST else {})
                   for name, t in result.timings.items()}
    return {**entry, "contestants": contestants, "targets": {t.peer: t.ratio for t in case.targets}, "met": result.met}


def update_readme(path: Path, text: str) -> None:
    """Replace what stands between the markers."""
    old = path.read_text(encoding="utf-8")
    begin, end = MARKERS
    if old.count(begin) != 1 or old.count(end) != 1 or old.index(begin) > old.index(end):
        raise SystemExit(f"{path.name} needs one {begin} and, after it, one {end}; it was left as it is")
    before, _, rest = old.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
