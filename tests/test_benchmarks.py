"""The benchmark tools start with what the tests install: no peer, no matplotlib."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("tool", ["report", "growth", "compare", "accuracy"])
def test_tool_starts(tool):
    done = subprocess.run([sys.executable, "-m", f"benchmarks.{tool}", "--help"], cwd=ROOT, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
