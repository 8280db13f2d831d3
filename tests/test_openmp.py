"""How the threads of the engine wait for each other."""

import os
import subprocess
import sys

import pytest

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
