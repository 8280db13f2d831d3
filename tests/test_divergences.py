"""The table of divergences: the list, the names, the documentation and the code agree; what it states is so."""

import inspect
import pydoc

import numpy as np
import pytest
from named import ALL, specification

import klfast as kl
from klfast import reference
from klfast.divergences import APART, DISJOINT, FAMILIES, OUTSIDE, TABLE, Divergence, find

NAMES = [d.name for d in TABLE]
INSIDE_OUT = "q > 0 where p = 0"

# (p, q) by where the bins without mass lie.
ZERO_PATTERNS = {
    "none": (np.array([0.25, 0.5, 0.25]), np.array([0.5, 0.25, 0.25])),
    "both": (np.array([0.25, 0.0, 0.75]), np.array([0.5, 0.0, 0.5])),
    "of-q": (np.array([0.25, 0.5, 0.25]), np.array([0.5, 0.0, 0.5])),
    "of-p": (np.array([0.5, 0.0, 0.5]), np.array([0.25, 0.5, 0.25])),
    "of-each": (np.array([0.5, 0.5, 0.0]), np.array([0.0, 0.25, 0.75])),
    "disjoint": (np.array([0.5, 0.0, 0.5, 0.0]), np.array([0.0, 1.0, 0.0, 0.0])),
}
INFINITE = {OUTSIDE: {"of-q", "of-each", "disjoint"}, INSIDE_OUT: {"of-p", "of-each", "disjoint"},
            APART: {"of-q", "of-p", "of-each", "disjoint"}, DISJOINT: {"disjoint"}, "": set()}


def test_the_table_is_what_the_function_returns():
    listed = kl.divergences()
    assert listed[:len(TABLE)] == list(TABLE) and all(isinstance(d, Divergence) for d in listed)
    assert [d.name.partition("(")[0] for d in listed[len(TABLE):]] == list(FAMILIES)  # one of each
    assert all(d.parameter and d.source and find(d.name) == d for d in listed[len(TABLE):])
    listed.clear()
    assert [d.name for d in kl.divergences()][:len(TABLE)] == NAMES


def test_names_are_unique():
    names = [name for d in TABLE for name in (d.name, *d.aliases)] + list(FAMILIES)
    assert len(names) == len(set(names))
    assert all(name == name.lower() and name.isidentifier() for name in names)


def test_the_specification_has_the_same_names():
    assert {name for name in reference.VALUES if name not in reference.PARAMETERS} == set(NAMES)
    assert {name.removesuffix("_divergence") for name in reference.PARAMETERS} == set(FAMILIES)


@pytest.mark.parametrize("d", TABLE, ids=NAMES)
def test_every_name_finds_its_row(d):
    assert all(find(name) is d for name in (d.name, *d.aliases))
    assert find(d) is d


@pytest.mark.parametrize("family", FAMILIES)
def test_families_by_string(family):
    """As the name of the result reads, too."""
    public = {"renyi": kl.Renyi, "tsallis": kl.Tsallis, "alpha": kl.Alpha, "chernoff": kl.Chernoff,
              "skew_kl": kl.SkewKL, "skew_js": kl.SkewJS}[family]
    assert public is FAMILIES[family]
    for number in ("0.5", "0.25", "5e-1", " .3"):
        d = find(f"{family}:{number}")
        assert d == find(f"{family}({number})") == public(float(number)) == find(d.name) == find(d)
        assert d.name == f"{family}({float(number)})" and d.parameter in ("alpha", "weight") and d.source and d.formula
    assert kl.Renyi(2) == kl.Renyi(2.0) == kl.Renyi(np.float32(2)) == find("renyi:2")


@pytest.mark.parametrize("d", [find(name) for name in ALL], ids=ALL)
def test_every_row_is_complete(d):
    assert d.formula and d.source and any(year in d.source for year in map(str, range(1900, 2100)))
    assert d.infinite in INFINITE and (d.upper_bound is None or not d.infinite)
    assert bool(d.parameter) == ("(" in d.name) and hash(d) == hash(find(d.name))
    with pytest.raises(AttributeError):
        d.name = "other"


def kl_of(p, q):
    return np.sum(p * np.log(p / q))


# What the texts say, in NumPy: a formula that is changed in the table has to be changed here.
FORMULAS = {
    "sum_k p_k log(p_k / q_k)": kl_of,
    "sum_k q_k log(q_k / p_k)": lambda p, q: np.sum(q * np.log(q / p)),
    "-sum_k p_k log(q_k)": lambda p, q: -np.sum(p * np.log(q)),
    "sum_k p_k log(p_k / q_k) - p_k + q_k, rows as they are": lambda p, q: np.sum(p * np.log(p / q) - p + q),
    "sum_k (p_k - q_k) log(p_k / q_k)": lambda p, q: np.sum((p - q) * np.log(p / q)),
    "(KL(p, m) + KL(q, m)) / 2, m = (p + q) / 2": lambda p, q: (kl_of(p, (p + q) / 2) + kl_of(q, (p + q) / 2)) / 2,
    "sqrt(js)": lambda p, q: np.sqrt((kl_of(p, (p + q) / 2) + kl_of(q, (p + q) / 2)) / 2),
    "-log sum_k sqrt(p_k q_k)": lambda p, q: -np.log(np.sum(np.sqrt(p * q))),
    "1 - sum_k sqrt(p_k q_k) = sum_k (sqrt(p_k) - sqrt(q_k))^2 / 2":
        lambda p, q: np.sum((np.sqrt(p) - np.sqrt(q)) ** 2 / 2),
    "sqrt(squared_hellinger)": lambda p, q: np.sqrt(1 - np.sum(np.sqrt(p * q))),
    "sum_k (p_k - q_k)^2 / q_k": lambda p, q: np.sum((p - q) ** 2 / q),
    "sum_k (p_k - q_k)^2 / p_k": lambda p, q: np.sum((p - q) ** 2 / p),
    "sum_k |p_k - q_k| / 2": lambda p, q: np.sum(np.abs(p - q) / 2),
    "sum_k (p_k - q_k)^2 / (p_k + q_k)": lambda p, q: np.sum((p - q) ** 2 / (p + q)),
    "sum_k p_k / q_k - log(p_k / q_k) - 1, rows as they are": lambda p, q: np.sum(p / q - np.log(p / q) - 1),
    "log(sum_k p_k^alpha q_k^(1-alpha)) / (alpha - 1)": lambda p, q, a: np.log(np.sum(p**a * q ** (1 - a))) / (a - 1),
    "(sum_k p_k^alpha q_k^(1-alpha) - 1) / (alpha - 1)": lambda p, q, a: (np.sum(p**a * q ** (1 - a)) - 1) / (a - 1),
    "4 / (1 - alpha^2) (1 - sum_k p_k^((1-alpha)/2) q_k^((1+alpha)/2))":
        lambda p, q, a: 4 / (1 - a * a) * (1 - np.sum(p ** ((1 - a) / 2) * q ** ((1 + a) / 2))),
    "-log sum_k p_k^alpha q_k^(1-alpha)": lambda p, q, a: -np.log(np.sum(p**a * q ** (1 - a))),
    "KL(p, alpha q + (1 - alpha) p)": lambda p, q, a: kl_of(p, a * q + (1 - a) * p),
    "w KL(p, m) + (1 - w) KL(q, m), m = w p + (1 - w) q":
        lambda p, q, w: w * kl_of(p, w * p + (1 - w) * q) + (1 - w) * kl_of(q, w * p + (1 - w) * q),
}


@pytest.mark.parametrize("name", ALL)
def test_the_formula_is_what_is_computed(rng, name):
    """The row's formula in NumPy, the specification, and every function of the library agree."""
    P, Q = rng.dirichlet(np.ones(6), 8), rng.dirichlet(np.ones(6), 8)
    d, number = find(name), [float(x) for x in name.partition(":")[2:] if x]
    by_formula = [FORMULAS[d.formula](p, q, *number) for p, q in zip(P, Q)]
    exact = [float(specification(name)(p, q)) for p, q in zip(P, Q)]
    np.testing.assert_allclose(by_formula, exact, rtol=1e-11)
    for known in (d.name, *d.aliases, d, name):
        np.testing.assert_allclose(kl.rowwise(P, Q, known), exact, rtol=4e-15)
    np.testing.assert_allclose(np.diag(kl.pairwise(P, Q, name)), exact, rtol=1e-12)
    np.testing.assert_allclose(kl.nearest(P, Q, name)[0], kl.pairwise(P, Q, name).min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("pattern", ZERO_PATTERNS)
@pytest.mark.parametrize("name", ALL)
def test_infinite_where_the_row_says(isa, name, pattern):
    """For weights and for log-weights, row by row and in a matrix."""
    d = find(name)
    p, q = (x[None] for x in ZERO_PATTERNS[pattern])
    infinite = pattern in INFINITE[d.infinite]
    with np.errstate(divide="ignore"):
        of_logits = [kl.Categorical(logits=np.log(x)) for x in (p, q)]
    for P, Q in [(p, q)] + [of_logits] * (not d.measure):
        for values in (kl.rowwise(P, Q, d), kl.pairwise(P, Q, d), kl.pairwise(P, Q, d, dtype="float32"),
                       kl.nearest(P, Q, d)[0], kl.reduce(P, Q, "max", d)):
            assert np.isinf(values).all() == infinite and (values > 0).all()
    assert np.isinf(float(specification(name)(p[0], q[0]))) == infinite


@pytest.mark.parametrize("name", ALL)
def test_symmetry_and_bounds(rng, name):
    """Symmetry and bound are what the row says, and not less than that."""
    d = find(name)
    P = np.concatenate([rng.dirichlet(np.full(5, 0.2), 30) + 1e-9, np.eye(5)])
    P = kl.Categorical(counts=P)
    values = kl.pairwise(P, divergence=d)
    assert np.allclose(values, values.T, rtol=1e-11, atol=0) is d.symmetric
    assert np.isfinite(values).all() == (d.upper_bound is not None)
    if d.upper_bound is not None:
        assert values.max() <= d.upper_bound * (1 + 1e-12)


@pytest.mark.parametrize("name", ["hellinger", "js_distance", "total_variation"])
def test_the_metrics_are_those_that_say_so(name):
    assert {find(other).name for other in ALL if find(other).triangle_inequality} >= {name}
    assert sum(d.triangle_inequality for d in map(find, ALL)) == 3


@pytest.mark.parametrize("name", [name for name in ALL if not find(name).triangle_inequality])
def test_what_is_no_metric_breaks_the_triangle(name):
    """p and q near the ends, r between them."""
    p, q = np.array([0.999, 0.001]), np.array([0.001, 0.999])
    r = (p + q) / 2
    direct, round_about = kl.rowwise(p, q, name), kl.rowwise(p, r, name) + kl.rowwise(r, q, name)
    if name in ("cross_entropy", "chernoff:0.1", "skew_kl:0.5", "skew_kl:0.99", "renyi:0.999"):
        p, q, r = np.array([0.5, 0.5]), np.array([0.001, 0.999]), np.array([0.2, 0.8])
        direct, round_about = kl.rowwise(p, q, name), kl.rowwise(p, r, name) + kl.rowwise(r, q, name)
    assert direct > round_about or not find(name).symmetric


@pytest.mark.parametrize("name", ["KL", "jensen", "", None, 3, "renyi", "renyi:", "renyi:2:3", ("kl",)])
def test_unknown_names(name):
    with pytest.raises(ValueError) as error:
        find(name)
    if ":" not in str(name):
        assert f"unknown divergence {name!r}; klfast has: " in str(error.value)
        assert all(known in str(error.value) for known in NAMES)
        assert all(f"{family}:NUMBER" in str(error.value) for family in FAMILIES)
    with pytest.raises(ValueError):
        kl.pairwise([[0.5, 0.5]], divergence=name)


@pytest.mark.parametrize("name, message", [
    ("renyi:x", "'renyi:x': 'x' is not a number"), ("alpha:", "'alpha:': '' is not a number"),
    ("renyi:-1", "Renyi needs an order above 0; got -1.0"), ("renyi:0", "Renyi needs an order above 0; got 0.0"),
    ("tsallis:-0.0", "Tsallis needs an order above 0"), ("alpha:inf", "Alpha needs a finite number; got inf"),
    ("chernoff:1", "Chernoff needs a number between 0 and 1; got 1.0"), ("chernoff:nan", "Chernoff needs"),
    ("skew_kl:0", r"SkewKL needs a number above 0, up to 1; got 0.0"),
    ("skew_js:1", "SkewJS needs a number between 0 and 1"),
])
def test_bad_numbers_in_strings(name, message):
    with pytest.raises(ValueError, match=message):
        find(name)


@pytest.mark.parametrize("family, bad", [
    (kl.Renyi, [0, -1, 0.0]), (kl.Tsallis, [0, -2.5]), (kl.Alpha, []), (kl.Chernoff, [0, 1, 1.5, -0.1]),
    (kl.SkewKL, [0, 1.0000001, -1]), (kl.SkewJS, [0, 1, 2]),
])
def test_bad_numbers(family, bad):
    for value in [*bad, np.nan, np.inf, -np.inf, True, False, "0.5", None, 0.5j, [0.5]]:
        with pytest.raises(ValueError, match=rf"{family.__name__} needs .*; got "):
            family(value)


def test_numbers_take_the_limits_by_their_names():
    """At the ends of a family stands another divergence, which says so."""
    for d, name in ((kl.Renyi(1), "kl"), (kl.Tsallis(1.0), "kl"), (kl.Alpha(-1), "kl"), (kl.Alpha(1), "reverse_kl"),
                    (kl.SkewKL(1), "kl")):
        assert d.form is not None and d.kind == "kl" and d.swapped == find(name).swapped
        assert d.formula.endswith(f"; here {name}") and d.infinite == find(name).infinite and find(d.name) == d


PUBLIC = [kl.rowwise, kl.entropy, kl.pairwise, kl.kneighbors, kl.nearest, kl.radius_neighbors, kl.reduce,
          kl.pairwise_chunked, kl.contributions, *FAMILIES.values()]


def test_public_names_are_documented():
    for name in kl.__all__:
        item = getattr(kl, name)
        assert item is not None
        if callable(item):
            assert inspect.getdoc(item), name
    text = pydoc.render_doc(kl.rowwise, renderer=pydoc.plaintext)
    assert "Parameters" in text and "Returns" in text and "Raises" in text and "References" in text


@pytest.mark.parametrize("function", PUBLIC, ids=[function.__name__ for function in PUBLIC])
def test_docstrings_name_every_parameter(function):
    doc = inspect.getdoc(function)
    if "Parameters and errors as in" in doc or "Parameters, result, errors: see" in doc:
        return
    section = doc.split("Parameters\n")[1].split("Returns\n")[0].split("Yields\n")[0]
    for name in inspect.signature(function).parameters:
        assert name in section, name
    assert "Raises\n" in doc


def test_roles_are_the_same_everywhere():
    """Rows are P, columns are Q: an asymmetric pair tells."""
    P, Q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.2, 0.3, 0.5]])
    forward = float(reference.kl(P[0], Q[0]))
    assert kl.kl_divergence(P, Q)[0] == kl.rowwise(P, Q)[0] == pytest.approx(forward)
    assert kl.pairwise(P, Q)[0, 0] == pytest.approx(forward) and kl.pairwise(Q, P)[0, 0] == np.inf
    assert kl.kneighbors(P, Q, 1)[0][0, 0] == kl.nearest(P, Q)[0][0] == pytest.approx(forward)
    assert kl.Index(Q).pairwise(P)[0, 0] == pytest.approx(forward)
    assert kl.pairwise(P, Q, "reverse_kl")[0, 0] == np.inf


@pytest.mark.parametrize("name", [name for name in ALL if not find(name).symmetric])
def test_roles_of_every_divergence(rng, name):
    """Every consumer takes P first."""
    P, Q = rng.dirichlet(np.ones(4), 1), rng.dirichlet(np.ones(4), 1)
    forward, backward = kl.rowwise(P, Q, name)[0], kl.rowwise(Q, P, name)[0]
    assert abs(forward - backward) > 1e-3 * forward
    for value in (kl.pairwise(P, Q, name), kl.pairwise(P, Q, name, dtype="float32"), kl.kneighbors(P, Q, 1, name)[0],
                  kl.radius_neighbors(P, Q, 1e9, name).toarray(), kl.reduce(P, Q, "sum", name),
                  next(kl.pairwise_chunked(P, Q, name)), kl.Index(Q, name).pairwise(P)):
        assert value.item() == pytest.approx(forward, rel=1e-4)
