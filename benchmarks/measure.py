"""Times one case: klfast and its peers, interleaved round by round, and checks every answer."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from importlib.util import find_spec
from statistics import median

import numpy as np

import klfast as kl

from . import check, memory, peers
from .cases import Case, Inputs

# After a call, idle threads of OpenBLAS and OpenMP spin for some 30 ms and would slow the next one down.
PAUSE = 0.1
# A call of no more seconds is timed at its second run in a row, for two reasons: after another library's threads have
# run, the system may leave both threads of the next one on one core for some 10 ms, until it balances them; and a virtual
# machine hands memory that lay free for a while back to its host: 2 GB of answer then took 2.6 s instead of 0.3.
SHORT = 3.0
SECONDS_A_CASE = 15
KLFAST = "klfast"


@dataclass
class Timing:
    """Times of one contestant, already scaled up by `scale`, and the largest relative error of its answer."""

    seconds: list[float] = field(default_factory=list)
    scale: float = 1.0
    error: float | None = None

    @property
    def median(self) -> float:
        return median(self.seconds)


@dataclass
class Result:
    case: Case
    timings: dict[str, Timing] = field(default_factory=dict)
    skipped: str = ""  # why there is nothing to show
    missing: list[str] = field(default_factory=list)  # peers that are not installed
    extra_bytes: int | None = None  # of the memory case
    allowed_bytes: int | None = None

    def ratio(self, peer: str) -> tuple[float, float, float]:
        """Median, smallest and largest of klfast / peer over the rounds."""
        pairs = zip(self.timings[KLFAST].seconds, self.timings[peer].seconds)
        ratios = [ours / theirs for ours, theirs in pairs]
        return median(ratios), min(ratios), max(ratios)

    @property
    def correct(self) -> bool:
        ours = self.timings.get(KLFAST)
        return ours is None or ours.error <= self.case.tolerance

    @property
    def met(self) -> bool | None:
        """Whether every target is met; None where a peer of one is not there to be compared with."""
        if self.extra_bytes is not None:
            return self.extra_bytes <= self.allowed_bytes
        compared = [t for t in self.case.targets if t.peer in self.timings]
        if not self.correct or any(self.ratio(t.peer)[0] > t.ratio for t in compared):
            return False
        return True if compared and len(compared) == len(self.case.targets) else None


def measure(case: Case, threads: int, rounds: int) -> Result:
    """One case: prepare, warm up and check everyone, then time the rounds."""
    result = Result(case)
    result.skipped = why_not(case, threads)
    if result.skipped:
        return result
    if case.question == "memory":
        result.extra_bytes, result.allowed_bytes = memory.measure(case.op, case.n, case.m, case.bins, threads)
        return result
    with peers.limit_threads(threads):
        calls = _prepare(case, case.inputs(threads), result)
        warm = {name: _warm_up(call, inputs, peer, result.timings[name])
                for name, (call, inputs, peer) in calls.items()}
        calls = {name: call for name, (call, _, _) in calls.items()}
        for _ in range(_rounds(sum(warm.values()) + PAUSE * len(warm), rounds)):
            for name, call in calls.items():
                time.sleep(PAUSE)
                if warm[name] < SHORT:
                    seconds(call)
                timing = result.timings[name]
                timing.seconds.append(seconds(call) * timing.scale)
    return result


def why_not(case: Case, threads: int) -> str:
    """Why a case cannot run here, or an empty string."""
    try:
        kl.Index(np.eye(2), case.divergence)
    except ValueError:
        return f"klfast has no {case.divergence!r}"
    if case.data == "patches":
        try:
            from klfast.demo import load_patches  # noqa: F401
        except ImportError as missing:
            return f"no patches: {missing}"
    if case.question == "memory" and not memory.STATUS.exists():
        return "needs /proc"
    if case.name.startswith("scaling") and threads == 1:
        return "needs two threads"
    return ""


def _prepare(case: Case, inputs: Inputs, result: Result) -> dict:
    calls = {KLFAST: (peers.klfast(inputs), inputs, peers.Peer(peers.klfast))}
    result.timings[KLFAST] = Timing()
    for rival in case.rivals:
        peer = peers.PEERS[rival.peer]
        if peer.module and find_spec(peer.module) is None:
            result.missing.append(rival.peer)
            continue
        part = inputs.head(rival.rows) if rival.rows else inputs
        calls[rival.peer] = peer.prepare(part), part, peer
        result.timings[rival.peer] = Timing(scale=len(inputs.P) / len(part.P))
    return calls


def _warm_up(call, inputs: Inputs, peer: peers.Peer, timing: Timing) -> float:
    start = time.perf_counter()
    answer = call()
    spent = time.perf_counter() - start
    if peer.values is not None:
        timing.error = check.error(inputs, peer.values(answer, inputs))
    return spent


def seconds(call) -> float:
    """Time of one call; its answer is unmapped outside the clock, for everyone alike."""
    start = time.perf_counter()
    answer = call()
    stop = time.perf_counter()
    del answer
    return stop - start


def _rounds(seconds_a_round: float, rounds: int) -> int:
    """As many rounds as the case may take, at most twice what was asked for, at least three."""
    affordable = math.floor(SECONDS_A_CASE / seconds_a_round)
    return max(min(3, rounds), min(2 * rounds, affordable))
