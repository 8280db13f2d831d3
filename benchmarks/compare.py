"""Base against head: the same cases on two builds of klfast, call by call in turn.

    python -m benchmarks.compare BASE_REV [--only NAME,...] [--rounds N] [--threads N] [--quick]

BASE_REV is built in a temporary worktree; head is the working tree, as it is built now. Two processes hold the two
builds and the same inputs, and answer in turn, so that whatever else the machine does falls on both alike.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles

import klfast as kl

from .cases import Case, select
from .measure import PAUSE, seconds
from .memory import ROOT

DEFAULT = "pairwise-f64-k64,pairwise-f64-k512,pairwise-f32-k64,kneighbors-k64,rowwise-f64,logits-64,few-nearest-16"
# Imports klfast from the tree in argv[1], then benchmarks (cases, adapters) from head, whichever tree is measured.
START = """
import sys
tree, head = sys.argv[1:3]
sys.path.insert(0, tree)
import klfast
sys.path[0] = head
assert klfast.__file__.startswith(tree), klfast.__file__
from benchmarks.compare import worker
worker()
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__.splitlines()[0])
    parser.add_argument("base", metavar="BASE_REV", help="a git revision")
    parser.add_argument("--only", metavar="NAME,...", default=DEFAULT, help="cases, as in benchmarks.report")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=kl.show_config()["threads"])
    parser.add_argument("--quick", action="store_true", help="small sizes: a smoke test")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error("--rounds must be at least 2: the spread needs them")
    cases = [c for c in select(options.only) if c.question != "memory"]
    with worktree(options.base) as tree, Worker(tree) as base, Worker(ROOT) as head:
        print(f"| case | base {options.base} | head | head ÷ base | middle half of the rounds |")
        print("| --- | ---: | ---: | ---: | --- |")
        for case in cases:
            print(line(case, base, head, options), flush=True)
    return 0


def line(case: Case, base: Worker, head: Worker, options) -> str:
    """One row of the table: both medians, the median ratio, and its quartiles."""
    order = [base, head]
    for one in order:
        reply = one.ask(prepare=case.name, threads=options.threads, quick=options.quick)
        if "error" in reply:
            for each in order:
                each.ask(forget=True)
            return f"| {case.name} | {'base' if one is base else 'head'} cannot: {reply['error']} | | | |"
    times = {base: [], head: []}
    for _ in range(options.rounds):
        for one in order:
            time.sleep(PAUSE)
            times[one].append(one.ask(time=True)["seconds"])
        order.reverse()
    for one in order:
        one.ask(forget=True)
    low, middle, high = quantiles([h / b for b, h in zip(times[base], times[head])], n=4, method="inclusive")
    b, h = (quantiles(times[one], n=4, method="inclusive")[1] * 1e3 for one in (base, head))
    # Where the middle half of the ratios lies on one side of 1, the difference is more than noise.
    verdict = "" if low <= 1 <= high else " faster" if middle < 1 else " slower"
    return f"| {case.name} | {b:.4g} ms | {h:.4g} ms | **{middle:.3f}**{verdict} | {low:.3f} – {high:.3f} |"


@contextmanager
def worktree(revision: str):
    """A temporary checkout of the revision, built in place."""
    with tempfile.TemporaryDirectory(prefix="klfast-base-") as folder:
        tree = Path(folder).resolve() / "tree"
        subprocess.run(["git", "worktree", "add", "--detach", "--quiet", str(tree), revision], cwd=ROOT, check=True)
        try:
            print(f"building {revision} …", file=sys.stderr)
            subprocess.run([sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"], cwd=tree, check=True,
                           stdout=sys.stderr)
            yield tree
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=ROOT, check=True)


class Worker:
    """A process that holds one build and answers questions, one line of JSON each way."""

    def __init__(self, tree: Path):
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        # -P: the current folder must not come before the tree that is asked for.
        self.process = subprocess.Popen([sys.executable, "-P", "-c", START, str(tree), str(ROOT)], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, **question) -> dict:
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            raise SystemExit(f"a benchmark process ended early, with status {self.process.wait()}")
        return json.loads(reply)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_) -> None:
        self.process.stdin.close()
        self.process.wait()


def worker() -> None:
    """Answer the questions on standard input: prepare a case, time a call, forget it."""
    from . import check, peers

    call, repeats = None, 1
    for text in sys.stdin:
        question = json.loads(text)
        reply: dict = {}
        if "prepare" in question:
            try:
                (case,) = [c for c in select(question["prepare"]) if c.name == question["prepare"]]
                inputs = (case.quick() if question["quick"] else case).inputs(question["threads"])
                call = peers.klfast(inputs)
                error = check.error(inputs, call())  # the warm-up, too
                # One call of a millisecond is mostly noise: a round is the median of a tenth of a second.
                repeats = min(25, 1 + int(0.1 / seconds(call)))
                if not error <= case.tolerance:
                    reply["error"] = f"wrong values (error {error:.1e})"
            except Exception as failed:  # an older build may lack what the case needs
                reply["error"] = f"{type(failed).__name__}: {failed}"
        elif "forget" in question:
            call = inputs = None  # its memory, before the next case
        else:
            reply["seconds"] = median(seconds(call) for _ in range(repeats))
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    sys.exit(main())
