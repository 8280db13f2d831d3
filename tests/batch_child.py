"""Jobs in processes that the tests end: killed at random, killed at every step, out of disk, out of workers.

Run as a program it becomes a small server of its own children: klfast is imported once, each job runs in a fork, and so
hundreds of kills take seconds. OpenMP has not run in the parent, and jobs use one thread: forks are safe.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import sys
import time
from pathlib import Path

from klfast import batch
from klfast.batch import planning

STEPS = ("open", "write", "fsync", "replace", "rename", "unlink", "remove", "mkdir", "rmdir", "truncate")


def small_shards(rows: int, references: int) -> None:
    planning.make = lambda sizes, staff, memory: planning.Plan(rows, references, -(-sizes.m // references), 200)


def job(output: str, **options):
    return batch.kneighbors("X.npy", output, 5, input="counts", resume=True, workers=1, n_jobs=1, **options)


def fork(function) -> int:
    """A child that does `function()` and exits with its status; its number."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            function()
            status = 0
        except batch.JobError as error:
            print(json.dumps({"error": str(error)}), flush=True)
            status = 1
        finally:
            sys.stdout.flush()
            os._exit(status)
    return child


def status_of(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def random_kills(output: str, seed: int) -> int:
    """Kill the job at random moments until it gets through; how many kills that took."""
    rng, kills, longest = random.Random(seed), 0, 0.02
    while True:
        child = fork(lambda: job(output))
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)
        if status_of(child) == 0:
            return kills
        kills += 1
        longest = min(0.3, 1.06 * longest)  # at first before any shard is finished, later after


def kill_at(step: int, output: str) -> bool:
    """Kill the job just before its step-th operation on files; whether it came to it."""
    def run():
        left = step

        def watch(event, args):
            nonlocal left
            if event == "open" and args[1] is not None and not set(str(args[1])) & set("wax+"):
                return
            if event.partition(".")[2] in STEPS or event == "open":
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        original = os.fsync
        os.fsync = lambda descriptor: (watch("os.fsync", ()), original(descriptor))
        sys.addaudithook(watch)
        job(output)

    return status_of(fork(run)) == -signal.SIGKILL


def contents(output: str) -> list[tuple[str, bytes]] | None:
    """The bytes of a file, or of the files in a directory; None if there is none."""
    path = Path(output)
    if not path.exists():
        return None
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return [(str(p.relative_to(path)), p.read_bytes()) for p in files]


def every_step(suffix: str, stride: int) -> int:
    """Kill the job at each of its steps, each time from the start, and resume it; how many steps there are."""
    assert status_of(fork(lambda: job(f"expected{suffix}"))) == 0
    expected, step = contents(f"expected{suffix}"), 1
    while kill_at(step, output := f"step{step}{suffix}"):
        assert contents(output) in (None, expected), step
        assert status_of(fork(lambda: job(output))) == 0, step
        assert contents(output) == expected, step
        assert not Path(output + ".parts").exists(), step
        step += stride
    return step


def limited(output: str, size: int) -> int:
    """The job where no file may grow beyond `size` bytes."""
    def run():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        job(output)

    return status_of(fork(run))


def main() -> None:
    small_shards(*json.loads(sys.argv[1]))
    function, *arguments = sys.argv[2:]
    print(json.dumps({"result": globals()[function](*(json.loads(a) for a in arguments))}), flush=True)


if __name__ == "__main__":
    main()
