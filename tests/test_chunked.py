"""pairwise_chunked: the rows of pairwise to the bit, in chunks of the memory that was asked for, one at a time."""

import inspect

import numpy as np
import pytest
import scipy.sparse
from clouds import LOGITS, operands, rows
from named import ALL, FEW, takes

import klfast as kl
from klfast.divergences import find

SMALL = 70 * 8 * 7 / 2**20  # MiB of seven rows of 70 float64


@pytest.mark.parametrize("name, divergence", [(name, d) for name in ("dirichlet-0.05", "zero-ridden", "duplicates",
                                                                     "logits-masks") for d in ALL
                                              if takes(d, name in LOGITS)])
def test_is_pairwise_to_the_bit(name, divergence):
    P, Q = operands(name, 30, 70)
    for dtype in ("float64", "float32"):
        chunks = list(kl.pairwise_chunked(P, Q, divergence, working_memory=SMALL, dtype=dtype))
        assert all(chunk.dtype == dtype and chunk.flags.c_contiguous for chunk in chunks)
        assert np.concatenate(chunks).tobytes() == kl.pairwise(P, Q, divergence, dtype=dtype).tobytes()
    own = list(kl.pairwise_chunked(Q, divergence=divergence, working_memory=SMALL))
    assert np.concatenate(own).tobytes() == kl.pairwise(Q, divergence=divergence).tobytes()


@pytest.mark.parametrize("divergence", FEW)
def test_every_isa(isa, divergence):
    P, Q = operands("dirichlet-0.05", 30, 70)
    chunks = kl.Index(Q, divergence).pairwise_chunked(P, working_memory=SMALL)
    assert np.concatenate(list(chunks)).tobytes() == kl.pairwise(P, Q, divergence).tobytes()


@pytest.mark.parametrize("dtype, memory, rows_of_chunks", [
    ("float64", SMALL, [7, 7, 7, 7, 2]), ("float32", SMALL, [14, 14, 2]), ("float64", 1e-9, [1] * 30),
    ("float64", 1, [30]), ("float64", None, [30]), ("float64", np.float32(1), [30]),
])
def test_working_memory(dtype, memory, rows_of_chunks):
    P, Q = operands("dirichlet-1", 30, 70)
    chunks = kl.pairwise_chunked(P, Q, working_memory=memory, dtype=dtype)
    assert [len(chunk) for chunk in chunks] == rows_of_chunks


def test_default_is_64_mebibytes():
    P = np.random.default_rng(0).dirichlet(np.ones(2), 3000)
    assert [len(chunk) for chunk in kl.pairwise_chunked(P)] == [2796, 204]


def test_reduce_func():
    """Called with the chunk and its first row; what it returns is what is yielded."""
    P, Q = operands("dirichlet-1", 30, 70)
    matrix = kl.pairwise(P, Q)
    seen = []

    def nearest(chunk, start):
        seen.append((start, len(chunk)))
        np.testing.assert_array_equal(chunk, matrix[start : start + len(chunk)])
        return chunk.argmin(axis=1), "anything"

    found = list(kl.pairwise_chunked(P, Q, reduce_func=nearest, working_memory=SMALL))
    assert seen == [(0, 7), (7, 7), (14, 7), (21, 7), (28, 2)]
    np.testing.assert_array_equal(np.concatenate([columns for columns, _ in found]), matrix.argmin(axis=1))
    assert all(text == "anything" for _, text in found)
    assert list(kl.pairwise_chunked(P, Q, reduce_func=lambda chunk, start: None)) == [None]


def test_chunks_are_new_arrays():
    """A consumer may keep them, and write to them."""
    P, Q = operands("dirichlet-1", 30, 70)
    chunks = []
    for chunk in kl.pairwise_chunked(P, Q, working_memory=SMALL):
        chunks.append(chunk.copy())
        chunk[...] = -1
    assert np.concatenate(chunks).tobytes() == kl.pairwise(P, Q).tobytes()


def test_it_is_lazy():
    """Nothing is computed before it is asked for, nor after it is given up."""
    P, Q = operands("dirichlet-1", 30, 70)
    starts = []
    chunks = kl.pairwise_chunked(P, Q, reduce_func=lambda chunk, start: starts.append(start), working_memory=SMALL)
    assert inspect.isgenerator(chunks) and starts == []
    next(chunks)
    next(chunks)
    assert starts == [0, 7]
    chunks.close()
    assert starts == [0, 7]


def test_errors_come_at_the_call():
    P, Q = operands("dirichlet-1", 5, 6)
    bad = np.array([[0.5, np.nan]])
    for call, message in (
        (lambda: kl.pairwise_chunked(bad), "P: row 0, bin 1 is nan"),
        (lambda: kl.pairwise_chunked([[0.5, 0.5]], bad), "Q: row 0, bin 1 is nan"),
        (lambda: kl.pairwise_chunked(P, [[0.5, 0.5]]), "same number of bins"),
        (lambda: kl.pairwise_chunked(P, Q, "nothing"), "unknown divergence"),
        (lambda: kl.pairwise_chunked(P, Q, rtol=2), "rtol must be"),
        (lambda: kl.pairwise_chunked(P, Q, base=0.5), "base must be"),
        (lambda: kl.pairwise_chunked(P, Q, dtype="int32"), "dtype must be float32 or float64"),
        (lambda: kl.pairwise_chunked(P, Q, n_jobs=0), "n_jobs must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("memory", [0, -1, np.nan, np.inf, "64", 1j])
def test_bad_working_memory(memory):
    with pytest.raises(ValueError, match="working_memory must be a positive number of MiB; got"):
        kl.pairwise_chunked([[0.5, 0.5]], working_memory=memory)


def test_errors_of_reduce_func_pass_through():
    def fail(chunk, start):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(kl.pairwise_chunked([[0.5, 0.5]], reduce_func=fail))


def test_empty():
    none, some = np.empty((0, 3)), np.array([[0.5, 0.5, 0.0]] * 2)
    assert list(kl.pairwise_chunked(none, some)) == []
    assert [chunk.shape for chunk in kl.pairwise_chunked(some, none)] == [(2, 0)]
    assert list(kl.pairwise_chunked(none)) == []


def test_arguments_are_those_of_pairwise():
    """Rows in CSR, mixed operands, units, tolerances, float32 by default for float32 rows, any number of threads."""
    p, q = rows("duplicates", 30, 70)
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    sparse = kl.Categorical(counts=scipy.sparse.csr_array(p))
    with np.errstate(divide="ignore"):
        logits = kl.Categorical(logits=np.log(q))
    narrow = [kl.Categorical(counts=x.astype("float32")) for x in (p, q)]
    for left, right, arguments in ((sparse, Q, {}), (P, logits, {}), (*narrow, {}), (P, Q, {"base": 2}),
                                   (P, Q, {"rtol": 0}), (P, Q, {"n_jobs": 2}), (P, Q, {"progress": False})):
        chunks = list(kl.pairwise_chunked(left, right, working_memory=SMALL, **arguments))
        whole = kl.pairwise(left, right, **arguments)
        assert chunks[0].dtype == whole.dtype and np.concatenate(chunks).tobytes() == whole.tobytes()


def test_names_and_objects_are_the_same(rng):
    P = rng.dirichlet(np.ones(4), 9)
    for name in FEW:
        by_name, by_object = (list(kl.pairwise_chunked(P, divergence=d)) for d in (name, find(name)))
        np.testing.assert_array_equal(by_name, by_object)
