"""Peak memory of kneighbors above its inputs and its answer, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STATUS = Path("/proc/self/status")  # Linux


def kneighbors(n: int, m: int, bins: int, k: int, threads: int) -> tuple[int, int]:
    """(peak above inputs and answer, what is allowed: 0.6 of the bytes of the float64 inputs + 64 MiB)."""
    arguments = [str(i) for i in (n, m, bins, k, threads)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run([sys.executable, "-m", "benchmarks.memory", *arguments], cwd=ROOT, env=environment,
                         check=True, stdout=subprocess.PIPE, text=True)
    extra = json.loads(run.stdout)["extra_bytes"]
    return extra, int(0.6 * 8 * bins * (n + m)) + (64 << 20)


def of_this_process(field: str) -> int:
    """Bytes now (VmRSS) or at most so far (VmHWM). Not ru_maxrss, which a child inherits from its parent."""
    for line in STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"{STATUS} has no {field}")


def worker(n: int, m: int, bins: int, k: int, threads: int) -> None:
    import numpy as np

    import klfast as kl

    from .cases import dirichlet

    rng = np.random.default_rng(1)
    # A first call loads libraries and starts threads; what they hold is not the question's memory.
    kl.kneighbors(*(dirichlet(rng, 256, bins, np.float64) for _ in "PQ"), k=k, n_jobs=threads)
    P, Q = dirichlet(rng, n, bins, np.float64), dirichlet(rng, m, bins, np.float64)
    before = of_this_process("VmRSS")
    if of_this_process("VmHWM") > before + (32 << 20):
        raise RuntimeError("the inputs took more memory to make than they hold: the peak would hide the call's own")
    values, columns = kl.kneighbors(P, Q, k, n_jobs=threads)
    print(json.dumps({"extra_bytes": of_this_process("VmHWM") - before - values.nbytes - columns.nbytes}))


if __name__ == "__main__":
    worker(*map(int, sys.argv[1:]))
