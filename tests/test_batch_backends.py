"""Jobs on processes and on clusters: the same bytes as in one process, also when a worker dies."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import klfast as kl

# Each cluster lives in a process of its own: it starts threads and processes, and ends with them.
SCRIPT = """
import json, os, signal
from pathlib import Path
import joblib
from klfast import batch
from klfast.batch import planning, pool

planning.make = lambda sizes, staff, memory: planning.Plan(500, 2000, -(-sizes.m // 2000), 2000)
log, driver, run = Path("graph.npz.parts/parts.jsonl"), os.getpid(), pool.run

def finished():
    return [json.loads(line) for line in log.read_bytes().splitlines()] if log.exists() else []

def deadly(function):
    '''The same function, but the first worker that takes a task when four shards are finished dies of it.'''
    def call(task):
        if sum(r["task"].startswith("part") for r in finished()) >= 4:
            try:
                Path("killed").touch(exist_ok=False)
            except FileExistsError:
                return function(task)
            assert os.getpid() != driver
            os.kill(os.getpid(), signal.SIGKILL)
        return function(task)
    return call

def job(**options):
    result = batch.kneighbors("X.npy", "graph.npz", 5, **options)
    print(result, flush=True)
    return result
"""

LOKY = SCRIPT + """
if __name__ == "__main__":
    with joblib.parallel_config(backend="loky", n_jobs=2):
        pool.run = lambda workers, function, tasks: run(workers, deadly(function), tasks)
        try:
            job()
        except batch.JobError as error:
            print("error:", error, flush=True)
        assert not Path("graph.npz").exists()
        result = job(resume=True)
        assert result.resumed >= 4 and result.workers == 2
"""

DASK = SCRIPT + """
if __name__ == "__main__":
    from dask.distributed import Client, LocalCluster
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, protocol="tcp", host="127.0.0.1",
                      dashboard_address=None) as cluster, Client(cluster) as client:
        assert all(address.startswith("tcp://127.0.0.1") for address in client.ncores())
        pids = set(client.run(os.getpid).values())
        assert len(pids) == 2
        with joblib.parallel_config(backend="dask"):
            pool.run = lambda workers, function, tasks: run(workers, deadly(function), tasks)
            try:
                result = job()
                assert result.workers == 2
            except batch.JobError as error:
                print("error:", error, flush=True)
                job(resume=True)
        assert not pids <= set(client.run(os.getpid).values())
"""

RAY = SCRIPT + """
if __name__ == "__main__":
    import ray
    from ray.util.joblib import register_ray
    register_ray()
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", _node_ip_address="127.0.0.1")
    with joblib.parallel_config(backend="ray", n_jobs=2):
        job()
    ray.shutdown()
"""


@pytest.fixture
def folder(tmp_path, rng):
    X = rng.dirichlet(np.full(32, 0.3), 6000)
    X[100:130] = X[7]
    np.save(tmp_path / "X.npy", X)
    distances, indices = kl.kneighbors(X, k=5)
    np.savez(tmp_path / "expected.npz", distances=distances, indices=indices)
    return tmp_path


def run(script: str, folder: Path, **environment) -> str:
    """Run it; the output file is the answer, and nothing else is left."""
    (folder / "script.py").write_text(script)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True, timeout=240,
                          env=os.environ | {"OMP_NUM_THREADS": "1"} | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "graph.npz").read_bytes() == (folder / "expected.npz").read_bytes()
    assert not (folder / "graph.npz.parts").exists()
    return done.stdout


def needs(module: str, extra: str):
    return pytest.mark.skipif(importlib.util.find_spec(module) is None, reason=f"the extra `{extra}` is not installed")


def test_a_process_dies(folder):
    said = run(LOKY, folder)
    assert (folder / "killed").exists()
    assert "error: a worker process died" in said and "tasks are finished and kept in" in said


@needs("distributed", "dask")
def test_dask_over_tcp_loses_a_worker(folder):
    said = run(DASK, folder)
    assert (folder / "killed").exists() and "error" not in said


@needs("distributed", "dask")
def test_dask_gives_a_shard_up(folder):
    said = run(DASK, folder, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0")
    assert "error: a worker process died" in said and "resume goes on from there" in said


@needs("ray", "ray")
def test_ray(folder):
    said = run(RAY, folder, RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_UV_RUN_RUNTIME_ENV="0")
    assert "6,000 rows" in said


MEMORY = """
import json, sys
import joblib
from klfast import batch

if __name__ == "__main__":
    kind, budget, backend = sys.argv[1:]
    with joblib.parallel_config(backend=backend, n_jobs=2):
        if kind == "kneighbors":
            result = batch.kneighbors("few.npy", "out.npz", 10, against="many.npy", memory=budget)
        else:
            result = batch.pairwise("many.npy", "out.npy", "few.npy", memory=budget)
    print(json.dumps([batch.preflight.parse_bytes(budget), result.planned_memory, result.peak_memory]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say how much a process held")
@pytest.mark.parametrize(("kind", "budget", "backend"), [
    ("kneighbors", "110M", "threading"), ("kneighbors", "320M", "loky"), ("pairwise", "100M", "threading")])
def test_memory_stays_under_the_budget(tmp_path, rng, kind, budget, backend):
    """100,000 rows take 24 MiB, encoded 34 MiB more; all values of the pairs 76 MiB."""
    many = rng.random((100_000, 64), dtype=np.float32)
    many /= many.sum(axis=1, keepdims=True)
    np.save(tmp_path / "many.npy", many)
    np.save(tmp_path / "few.npy", many[:200])
    (tmp_path / "script.py").write_text(MEMORY)
    done = subprocess.run([sys.executable, "script.py", kind, budget, backend], cwd=tmp_path, capture_output=True,
                          text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    budget, planned, peak = json.loads(done.stdout)
    assert peak <= planned <= budget
    found = np.load(tmp_path / ("out.npz" if kind == "kneighbors" else "out.npy"), mmap_mode="r")
    if kind == "kneighbors":
        distances, indices = kl.kneighbors(many[:200], many, 10)
        np.testing.assert_array_equal(found["distances"], distances)
        np.testing.assert_array_equal(found["indices"], indices)
    else:
        np.testing.assert_array_equal(found, kl.pairwise(many, many[:200]))


def test_threads_and_processes_agree(folder, monkeypatch):
    said = run(SCRIPT + """
if __name__ == "__main__":
    for backend in ("threading", "loky"):
        with joblib.parallel_config(backend=backend, n_jobs=2):
            print(json.dumps([job().workers, Path("graph.npz").read_bytes() == Path("expected.npz").read_bytes()]))
""", folder)
    assert [json.loads(line) for line in said.splitlines() if line.startswith("[")] == [[2, True]] * 2
