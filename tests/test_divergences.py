"""The table of divergences: the list, the names, the documentation and the code agree."""

import inspect
import pydoc

import numpy as np
import pytest

import klfast as kl
from klfast import reference
from klfast.divergences import TABLE, Divergence, find

NAMES = [d.name for d in kl.divergences()]


def test_the_table_is_what_the_function_returns():
    assert kl.divergences() == list(TABLE) and all(isinstance(d, Divergence) for d in TABLE)
    kl.divergences().clear()
    assert [d.name for d in kl.divergences()] == NAMES


def test_names_are_unique():
    names = [name for d in TABLE for name in (d.name, *d.aliases)]
    assert len(names) == len(set(names))
    assert all(name == name.lower() and name.isidentifier() for name in names)


@pytest.mark.parametrize("d", TABLE, ids=NAMES)
def test_every_name_finds_its_row(d):
    assert all(find(name) is d for name in (d.name, *d.aliases))
    assert find(d) is d


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError) as error:
        find("nothing")
    assert all(name in str(error.value) for name in NAMES)


@pytest.mark.parametrize("d", TABLE, ids=NAMES)
def test_every_row_is_complete(d):
    assert d.formula and d.source and any(year in d.source for year in map(str, range(1900, 2100)))
    with pytest.raises(AttributeError):
        d.name = "other"


@pytest.mark.parametrize("d", TABLE, ids=NAMES)
def test_the_formula_is_what_is_computed(rng, d):
    """The row's formula, read as NumPy, the specification, and every function of the library agree."""
    P, Q = rng.dirichlet(np.ones(6), 8), rng.dirichlet(np.ones(6), 8)
    code = d.formula.replace("sum_k ", "sum(", 1).replace("_k", "").replace(" log(", " * log(") + ")"
    by_formula = np.array([eval(code, {"p": p, "q": q, "log": np.log, "sum": np.sum}) for p, q in zip(P, Q)])
    exact = [float(getattr(reference, d.name)(p, q)) for p, q in zip(P, Q)]
    for name in (d.name, *d.aliases, d):
        np.testing.assert_allclose(kl.rowwise(P, Q, name), exact, rtol=2e-15)
    np.testing.assert_allclose(by_formula, exact, rtol=1e-12)
    np.testing.assert_allclose(np.diag(kl.pairwise(P, Q, d.name)), exact, rtol=1e-12)
    np.testing.assert_allclose(kl.nearest(P, Q, d.name)[0], kl.pairwise(P, Q, d.name).min(axis=1), rtol=1e-12)


@pytest.mark.parametrize("d", TABLE, ids=NAMES)
def test_properties(rng, d):
    """Symmetry, bound and triangle inequality are what the row says, and not less than that."""
    P = np.concatenate([rng.dirichlet(np.full(5, 0.2), 30), np.eye(5)])
    values = kl.pairwise(P, P, d.name)
    assert np.allclose(values, values.T) is d.symmetric
    assert np.isfinite(values).all() == (d.upper_bound is not None)
    if d.upper_bound is not None:
        assert values.max() <= d.upper_bound
    Q = rng.dirichlet(np.ones(5), 30)
    values = kl.pairwise(Q, Q, d.name)
    holds = (values[:, None, :] <= values[:, :, None] + values[None, :, :] + 1e-12).all()
    assert not d.triangle_inequality or holds


def test_public_names_are_documented():
    for name in kl.__all__:
        item = getattr(kl, name)
        assert item is not None
        if callable(item):
            assert inspect.getdoc(item), name
    text = pydoc.render_doc(kl.rowwise, renderer=pydoc.plaintext)
    assert "Parameters" in text and "Returns" in text and "Raises" in text and "References" in text


@pytest.mark.parametrize("function", [kl.rowwise, kl.entropy, kl.pairwise, kl.kneighbors, kl.nearest])
def test_docstrings_name_every_parameter(function):
    doc = inspect.getdoc(function)
    if "Parameters and errors as in" in doc or "Parameters, result, errors: see" in doc:
        return
    section = doc.split("Parameters\n")[1].split("Returns\n")[0]
    for name in inspect.signature(function).parameters:
        assert name in section, name


def test_roles_are_the_same_everywhere():
    """Rows are P, columns are Q: an asymmetric pair tells."""
    P, Q = np.array([[0.5, 0.5, 0.0]]), np.array([[0.2, 0.3, 0.5]])
    forward = float(reference.kl(P[0], Q[0]))
    assert kl.kl_divergence(P, Q)[0] == kl.rowwise(P, Q)[0] == pytest.approx(forward)
    assert kl.pairwise(P, Q)[0, 0] == pytest.approx(forward) and kl.pairwise(Q, P)[0, 0] == np.inf
    assert kl.kneighbors(P, Q, 1)[0][0, 0] == kl.nearest(P, Q)[0][0] == pytest.approx(forward)
    assert kl.Index(Q).pairwise(P)[0, 0] == pytest.approx(forward)
    assert kl.pairwise(P, Q, "reverse_kl")[0, 0] == np.inf
