"""The choice of the ISA: ordered, overridable, provable; and its names stand in two folders only."""

import io
import os
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

import klfast as kl
from klfast import _engine

ROOT = Path(__file__).parents[1]
NAMES = list(_engine.isas())
SUPPORTED = [name for name, supported in _engine.isas().items() if supported]


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


def test_the_last_one_runs_everywhere():
    assert NAMES[-1] == "baseline" and SUPPORTED[-1] == "baseline"
    assert len(set(NAMES)) == len(NAMES)


def test_the_best_is_the_default(monkeypatch):
    code = "import klfast; print(klfast.show_config()['isa'])"
    assert python(code, KLFAST_ISA="").stdout.strip() == SUPPORTED[0]


@pytest.mark.parametrize("name", NAMES)
def test_forced_by_the_environment(name):
    """The forced implementation is the one that show_config reports and the one whose kernels run."""
    code = """
import numpy as np, klfast
from klfast import _engine
rows = _engine.Rows(np.ones((3, 4)), _engine.PROBS)
print(klfast.show_config()["isa"], *_engine.scan(rows, -1.0, 1)[2].isas_ran)
"""
    result = python(code, KLFAST_ISA=name)
    if name in SUPPORTED:
        assert result.stdout.split() == [name, name], result.stderr
    else:
        assert result.returncode != 0 and f"does not support the ISA '{name}'" in result.stderr


def test_unknown_isa_raises():
    result = python("import klfast", KLFAST_ISA="avx1024")
    assert result.returncode != 0
    assert "ValueError: unknown ISA 'avx1024'; compiled in: " + ", ".join(NAMES) in result.stderr


def test_use_isa():
    before = _engine.active_isa()
    with pytest.raises(ValueError, match="unknown ISA 'sse'; compiled in: "):
        _engine.use_isa("sse")
    assert _engine.active_isa() == before
    for name in SUPPORTED:
        assert _engine.use_isa(name) == name == _engine.active_isa() == kl.show_config()["isa"]
    assert _engine.use_isa() == SUPPORTED[0]
    _engine.use_isa(before)


def test_every_entry_runs_the_forced_isa(isa, recorder, rng):
    P, Q = rng.dirichlet(np.ones(9), 30), rng.dirichlet(np.ones(9), 70)
    for call in (lambda: kl.rowwise(P, Q[:30]), lambda: kl.pairwise(P, Q), lambda: kl.pairwise(P, Q, dtype="float32"),
                 lambda: kl.kneighbors(P, Q, 3), lambda: kl.entropy(P)):
        recorder.stats.clear()
        call()
        assert recorder.ran == {isa}


def test_proof_can_fail(recorder, rng):
    """The record tells which ISA ran, and not which was asked for."""
    before, P = _engine.active_isa(), rng.dirichlet(np.ones(9), 3)
    _engine.use_isa("baseline")
    kl.rowwise(P, P)
    _engine.use_isa(before)
    assert recorder.ran == {"baseline"}


def test_columns_are_for_one_isa(rng):
    """An index that was encoded for one ISA encodes again for another; mixing the two is refused."""
    if len(SUPPORTED) < 2:
        pytest.skip("this machine supports one ISA only")
    before, Q = _engine.active_isa(), rng.dirichlet(np.ones(9), 70)
    _engine.use_isa(SUPPORTED[0])
    index = kl.Index(Q)
    first = index.pairwise()
    pairing, _, _ = index._pair(index.divergence.form, *index._meet(None, 1), (None, None), False, False, 1)
    _engine.use_isa(SUPPORTED[-1])
    np.testing.assert_allclose(index.pairwise(), first, rtol=1e-11)
    with pytest.raises(RuntimeError, match=f"encoded for {SUPPORTED[0]}, the active ISA is {SUPPORTED[-1]}"):
        _engine.Pairing(index.divergence.form, index._operand.rows, index._operand.norms, pairing.right, norm_factor=1, slack_factor=1,
                        slack_floor=0, row_block=24, column_block=64, n_threads=1)
    _engine.use_isa(before)


def test_show_config():
    config = kl.show_config()
    assert set(config) >= {"version", "isa", "isas", "threads"}
    assert config["version"] == kl.__version__ and config["isas"] == _engine.isas() and config["threads"] >= 1


# ---- ISA names occur only under src_c/isa, src_c/dispatch and in setup.py ----

ISA_WORDS = re.compile(r"avx|sse\d|neon|fma3|immintrin|arm_neon|_mm\d*_|__m\d{3}|\bsve\b|cpuid|xgetbv", re.IGNORECASE)


def code_of(path: Path) -> str:
    """The text without comments and docstrings."""
    text = path.read_text(encoding="utf8")
    if path.suffix in (".c", ".h"):
        return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.DOTALL)
    if path.suffix == ".py":
        tokens = tokenize.generate_tokens(io.StringIO(text).readline)
        return " ".join(t.string for t in tokens if t.type != tokenize.COMMENT and not t.string.startswith('"""'))
    return re.sub(r'"""(?:.|\n)*?"""|#[^\n]*', "", text)


def sources():
    for folder in ("src_c", "klfast"):
        for path in sorted((ROOT / folder).rglob("*")):
            inside = path.relative_to(ROOT).parts
            generated = path.name == "_engine.c"
            if path.suffix in (".c", ".h", ".py", ".pyx", ".pxd", ".pyi") and inside[1] not in ("isa", "dispatch") \
                    and not generated:
                yield path


def test_isa_names_stand_in_two_folders():
    found = {str(path.relative_to(ROOT)): match.group() for path in sources()
             if (match := ISA_WORDS.search(code_of(path)))}
    assert not found
    assert len(list(sources())) > 20


def test_the_search_would_find_them():
    """Each ISA file holds such a name, and comments do not count."""
    for name in ("avx2", "avx512", "neon"):
        assert ISA_WORDS.search(code_of(ROOT / "src_c" / "isa" / f"{name}.c"))
    assert ISA_WORDS.search(code_of(ROOT / "src_c" / "dispatch" / "select.c"))
    assert not ISA_WORDS.search(re.sub(r"/\*.*?\*/", "", "/* avx2 */ int x;"))


def test_recipe_of_an_isa():
    """One file and its lines in setup.py and select.c: each file of src_c/isa is named in both."""
    setup, select = (ROOT / "setup.py").read_text(), (ROOT / "src_c" / "dispatch" / "select.c").read_text()
    for path in (ROOT / "src_c" / "isa").glob("*.c"):
        assert f'"{path.stem}":' in setup and f"kl_kernels_{path.stem}" in select
        assert f'KL_TABLE("{path.stem}")' in path.read_text()
