"""The examples of the documentation run, and its tables are those of the code."""

import doctest
import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import klfast as kl
from klfast.divergences import FAMILIES, TABLE, find

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "divergences.md"
PAGES = [path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if path.exists()]
BOUNDS = {None: "-", 1.0: "1", 2.0: "2", math.log(2): "log 2", math.sqrt(math.log(2)): "sqrt(log 2)"}
INFINITE = {"": "-", "p > 0 where q = 0": "p ⊄ q", "q > 0 where p = 0": "q ⊄ p",
            "p and q have no bin in common": "p ∩ q = ∅", "one of p, q is 0 where the other is not": "p ≠ q"}


def examples(path: Path) -> str:
    """The page with everything but its Python sessions blanked out, so that line numbers stay; empty: none."""
    kept, inside = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        fence = line.startswith("```")
        kept.append(line if inside and not fence else "")
        inside = line == "```python" if fence else inside
    text = "\n".join(kept)
    return text if ">>>" in text else ""


@pytest.mark.parametrize("path", [p for p in PAGES if examples(p)], ids=lambda p: p.name)
def test_examples(path):
    """The blocks of a page share their names, in order."""
    text = examples(path)
    if "sklearn" in text:
        pytest.importorskip("sklearn")
    test = doctest.DocTestParser().get_doctest(text, {}, path.name, str(path), 0)
    report = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert result.attempted and not result.failed, "".join(report)


@pytest.fixture(scope="module")
def guide() -> str:
    if not GUIDE.exists():
        pytest.skip("the documentation is not here")
    return GUIDE.read_text(encoding="utf-8")


def table(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose header begins with `head`."""
    lines = text[text.index(f"| {head} |") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def row(d: kl.Divergence) -> list[str]:
    """The row of the guide's table that this divergence asks for."""
    def yes(flag):
        return "yes" if flag else "no"

    return [f"`{d.name}`", f"`{d.formula}`", yes(d.symmetric), yes(d.triangle_inequality), BOUNDS[d.upper_bound],
            INFINITE[d.infinite], yes(d.logarithmic)]


def test_the_table_of_divergences(guide):
    assert table(guide, "name") == [row(d) for d in TABLE]


def test_every_alias_is_named(guide):
    paragraph = guide[guide.index("Aliases: ") :].split("\n\n")[0]
    pairs = re.findall(r"((?:`\w+`[,\s]*)+)\sfor `(\w+)`", paragraph)
    named = {name: set(re.findall(r"`(\w+)`", aliases)) for aliases, name in pairs}
    assert named == {d.name: set(d.aliases) for d in TABLE if d.aliases}


def test_the_table_of_families(guide):
    rows = [(string.strip("`").partition(":"), *cells) for string, *cells in table(guide, "string")]
    assert [family for (family, *_), *_ in rows] == list(FAMILIES)
    P = np.random.default_rng(1).dirichlet(np.ones(6), 4)
    for (family, _, number), formula, _, special in rows:
        assert formula == f"`{find(f'{family}:{number}').formula}`"
        cases = re.findall(r"([-\d.]+): ([\d/]*) ?`(\w+)`", special)
        assert cases
        for at, factor, of in cases:
            values, others = (kl.pairwise(P, divergence=name) for name in (f"{family}:{at}", of))
            np.testing.assert_allclose(values, float(Fraction(factor or 1)) * others, rtol=1e-12)


def test_nearby_rows_are_as_the_guide_says(rng):
    q = rng.dirichlet(np.ones(20))
    p = q * (1 + 1e-4 * rng.standard_normal(20))
    p /= p.sum()
    chi2 = kl.rowwise(p, q, "chi2")
    for scale, names in {2: ("kl", "reverse_kl", "triangular"), 1: ("jeffreys",),
                         8: ("js", "squared_hellinger", "bhattacharyya")}.items():
        for name in names:
            np.testing.assert_allclose(kl.rowwise(p, q, name) * scale, chi2, rtol=1e-3)
