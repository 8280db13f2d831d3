"""The C tests of the kernels: guard pages around every length, under every ISA (tests/c)."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "c"
ROOT = Path(__file__).parents[1]
CC = next((path for path in map(shutil.which, filter(None, [os.environ.get("CC"), "cc", "gcc", "clang"])) if path),
          None)
MISSING = [tool for tool, path in (("a C compiler", CC), ("make", shutil.which("make"))) if path is None]


@pytest.mark.skipif(sys.platform == "win32", reason="guard pages by mmap")
@pytest.mark.skipif(bool(MISSING) and not os.environ.get("CI"), reason=f"{' and '.join(MISSING)} not found")
def test_kernels(tmp_path):
    assert not MISSING, f"{MISSING} not found: on CI the C tests must run"
    result = subprocess.run(["make", "-C", str(HERE), "test", f"BUILD={tmp_path}", f"CC={CC}", "OPTIMIZE=-O2"],
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    count = re.search(r"(\d+) passed, 0 failed", result.stdout)
    assert count and int(count.group(1)) > 100_000
    from klfast import _engine

    for name, supported in _engine.isas().items():
        checks = re.search(rf"^{name}: (\d+) checks$", result.stdout, re.MULTILINE)
        assert (checks is not None and int(checks.group(1)) > 1000) == supported, name


def test_flags_are_those_of_the_extension():
    """The Makefile's flags of each ISA, and setup.py's."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    flags = next(ast.literal_eval(node.value) for node in tree.body
                 if isinstance(node, ast.Assign) and node.targets[0].id == "ISA_FLAGS")
    makefile = (HERE / "Makefile").read_text()
    for isa, expected in {name: f for of_machine in flags.values() for name, f in of_machine.items()}.items():
        found = re.search(rf"^FLAGS_{isa} :=(.*)$", makefile, re.MULTILINE)
        assert found and found.group(1).split() == expected, isa
