"""Peak memory of a call above its inputs and its answer, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")  # Linux
K = 10  # neighbours
RADIUS = 0.5  # of Dirichlet rows over 64 bins: 0.1% of the pairs
# What a call may take above its inputs and its answer, besides 64 MiB.
ALLOWED = {"kneighbors": "0.6× float64 inputs", "gaussian kneighbors": "0.6× float64 inputs",
           "radius_neighbors": "0.6× float64 inputs + 3× the answer",
           "reduce": "1.1× float64 Q", "pairwise_chunked": "1.1× float64 Q + a chunk of 64 MiB"}


def measure(call: str, n: int, m: int, bins: int, threads: int) -> tuple[int, int]:
    """(peak above inputs and answer, what is allowed)."""
    arguments = [call, *(str(i) for i in (n, m, bins, threads))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run([sys.executable, "-m", "benchmarks.memory", *arguments], cwd=ROOT, env=environment,
                         check=True, stdout=subprocess.PIPE, text=True)
    reply = json.loads(run.stdout)
    q = 8 * bins * m
    inputs = 8 * bins * n + q
    allowed = {"kneighbors": 0.6 * inputs, "gaussian kneighbors": 0.6 * inputs,
               "radius_neighbors": 0.6 * inputs + 3 * reply["answer_bytes"],
               "reduce": 1.1 * q, "pairwise_chunked": 1.1 * q + (64 << 20)}[call]
    return reply["extra_bytes"], int(allowed) + (64 << 20)


def of_this_process(field: str) -> int:
    """Bytes now (VmRSS) or at most so far (VmHWM). Not ru_maxrss, which a child inherits from its parent."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def worker(name: str, *sizes: int) -> None:
    import numpy as np

    import klfast as kl

    from .cases import dirichlet

    n, m, bins, threads = sizes

    def answer(P, Q):
        """The arrays that the call returns."""
        if name.endswith("kneighbors"):
            return kl.kneighbors(P, Q, K, n_jobs=threads)
        if name == "radius_neighbors":
            found = kl.radius_neighbors(P, Q, RADIUS, n_jobs=threads)
            return found.data, found.indices, found.indptr
        if name == "reduce":
            return (kl.reduce(P, Q, n_jobs=threads),)
        return tuple(kl.pairwise_chunked(P, Q, reduce_func=lambda chunk, start: chunk.max(axis=1), n_jobs=threads))

    def draw(rows):
        """Distributions of `bins` numbers each: in bins, or location and scale of half as many coordinates."""
        if not name.startswith("gaussian"):
            return dirichlet(rng, rows, bins, np.float64)
        loc, scale = (rng.standard_normal((rows, bins // 2)) for _ in range(2))
        return kl.DiagNormal(loc, np.exp(scale, out=scale))

    rng = np.random.default_rng(1)
    # A first call loads libraries and starts threads; what they hold is not the question's memory.
    answer(draw(256), draw(256))
    P, Q = draw(n), draw(m)
    before = of_this_process("VmRSS")
    if of_this_process("VmHWM") > before + (32 << 20):
        raise RuntimeError("the inputs took more memory to make than they hold: the peak would hide the call's own")
    held = sum(part.nbytes for part in answer(P, Q))
    print(json.dumps({"extra_bytes": of_this_process("VmHWM") - before - held, "answer_bytes": held}))


if __name__ == "__main__":
    worker(sys.argv[1], *map(int, sys.argv[2:]))
