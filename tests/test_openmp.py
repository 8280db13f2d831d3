"""How the threads of the engine wait for each other, and where they run."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

import klfast

SCRIPT = "import os, klfast; print([os.environ.get(x) for x in ('GOMP_SPINCOUNT', 'OMP_WAIT_POLICY')])"


def environment_of_openmp(**chosen):
    """What GCC's OpenMP says it has read, and what is left in the environment."""
    env = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env={**env, **chosen, "OMP_DISPLAY_ENV": "verbose"},
                         capture_output=True, text=True, check=True)
    if "GOMP_SPINCOUNT" not in run.stderr:
        pytest.skip("another OpenMP than GCC's, which alone reads and reports this")
    return run.stderr, run.stdout


def test_waiting_threads_soon_sleep():
    said, left = environment_of_openmp()
    assert "GOMP_SPINCOUNT = '2000'" in said
    assert left.strip() == "[None, None]"


@pytest.mark.parametrize("name, value", [("GOMP_SPINCOUNT", "77"), ("OMP_WAIT_POLICY", "ACTIVE")])
def test_the_users_choice_stays(name, value):
    said, left = environment_of_openmp(**{name: value})
    assert f"{name} = '{value}'" in said and "'2000'" not in said
    assert value in left


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="the system does not tell where threads may run")
def test_threads_keep_the_cores_that_they_may_use():
    """A thread that was woken on a busy core moves to another one, which it may leave again."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(64), 3000), rng.dirichlet(np.ones(64), 3000)
    cores = os.sched_getaffinity(0)
    for _ in range(5):
        klfast.kl_divergence(p, q, n_jobs=4)
        klfast.pairwise(p[:300], q[:300], n_jobs=4)
        time.sleep(0.05)
    assert {frozenset(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")} == {frozenset(cores)}
