"""What comes in: element types, strides, memory, and the arrays of other libraries."""

import ml_dtypes
import numpy as np
import pytest
import scipy.sparse

import klfast as kl

REAL = ["float64", "float32", "float16", "bfloat16", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64",
        "uint64", "bool", "longdouble", ">f8", ">f4", ">i4", ">f2"]
SINGLE = {"float32", "float16", "bfloat16"}


def dtype_of(name):
    return np.dtype(ml_dtypes.bfloat16 if name == "bfloat16" else name)


@pytest.fixture
def counts(rng):
    return [rng.integers(0, 2, (size, 11)) + np.eye(11, dtype=int)[rng.integers(0, 11, size)] for size in (30, 80)]


@pytest.mark.parametrize("name", REAL)
def test_element_types(isa, name, counts):
    if name == "bool":
        counts = [x > 0 for x in counts]
    p, q = (x.astype(dtype_of(name)) for x in counts)
    P, Q = kl.Categorical(counts=p), kl.Categorical(counts=q)
    R, S = (kl.Categorical(counts=x.astype(np.float64)) for x in (p, q))
    single = name in SINGLE
    row, table = kl.rowwise(P, kl.Categorical(counts=q[:30])), kl.pairwise(P, Q)
    assert row.dtype == table.dtype == kl.entropy(P).dtype == (np.float32 if single else np.float64)
    expected = kl.rowwise(R, kl.Categorical(counts=q[:30].astype(float)))
    np.testing.assert_array_equal(row, expected.astype(row.dtype))
    np.testing.assert_array_equal(table, kl.pairwise(R, Q, dtype=table.dtype))
    np.testing.assert_array_equal(kl.entropy(P), kl.entropy(R).astype(row.dtype))
    for a, b in zip(kl.kneighbors(P, Q, 4), kl.kneighbors(R, S, 4)):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "longdouble", ">f4"])
def test_element_types_of_logits(isa, name, rng):
    a, b = (rng.standard_normal((20, 9)).astype(dtype_of(name)) for _ in range(2))
    a[0, 3] = -np.inf
    out = np.empty(20)
    kl.rowwise(kl.Categorical(logits=b), kl.Categorical(logits=a), out=out)
    expected = kl.rowwise(kl.Categorical(logits=b.astype(float)), kl.Categorical(logits=a.astype(float)))
    np.testing.assert_array_equal(out, expected)
    assert np.isinf(out[0]) and np.isfinite(out[1:]).all()


def test_float16_holds_all_its_values(isa):
    """Every finite float16 from 0 up, subnormal ones too, against the same number as float64."""
    values = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    P, Q = kl.Categorical(counts=values[None]), kl.Categorical(counts=values.astype(np.float64)[None])
    np.testing.assert_array_equal(kl.rowwise(P, Q), [0.0])
    brain = values.view(np.uint16)[1:].view(ml_dtypes.bfloat16)[:16000]
    P, Q = kl.Categorical(counts=brain[None]), kl.Categorical(counts=brain.astype(np.float64)[None])
    np.testing.assert_array_equal(kl.rowwise(P, Q), [0.0])


def test_wide_integers():
    """Up to 2^53 exact; above, rounded to the nearest double."""
    big = np.array([[2**53 - 1, 3]], np.int64)
    same = kl.rowwise(kl.Categorical(counts=big), kl.Categorical(counts=big.astype(np.float64)))
    assert same.tolist() == [0.0]
    top = np.array([[2**64 - 1, 2**63]], np.uint64)
    same = kl.rowwise(kl.Categorical(counts=top), kl.Categorical(counts=top.astype(np.float64)))
    assert same.tolist() == [0.0]


def test_mixed_types(isa, counts):
    """float32 only if both sides hold no more."""
    p, q = (kl.Categorical(counts=x) for x in (counts[0].astype("float32"), counts[1][:30].astype("float16")))
    wide = kl.Categorical(counts=counts[1][:30].astype("float64"))
    assert kl.rowwise(p, q).dtype == kl.pairwise(p, q).dtype == np.float32
    assert kl.rowwise(p, wide).dtype == kl.pairwise(wide, p).dtype == np.float64
    np.testing.assert_array_equal(kl.rowwise(p, q), kl.rowwise(p, wide).astype(np.float32))


def strided(x):
    """The same matrix with every kind of strides."""
    wide = np.repeat(np.repeat(x, 2, axis=0), 3, axis=1)
    block = np.zeros((x.shape[0], x.shape[1] + 5), x.dtype)
    block[:, 2:-3] = x
    record = np.zeros(x.shape, [("before", "u1"), ("x", x.dtype)])
    record["x"] = x
    return {
        "Fortran": np.asfortranarray(x), "step": wide[::2, ::3], "negative": x[::-1, ::-1].copy()[::-1, ::-1],
        "slice": block[:, 2:-3], "unaligned": record["x"], "transposed": x.T.copy().T,
    }


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint8"])
def test_strides(isa, dtype, counts):
    p, q = (x.astype(dtype) for x in counts)
    expected = kl.pairwise(kl.Categorical(counts=p), kl.Categorical(counts=q))
    for name, view in strided(p).items():
        np.testing.assert_array_equal(kl.pairwise(kl.Categorical(counts=view), kl.Categorical(counts=q)), expected,
                                      name)
    for name, view in strided(q).items():
        np.testing.assert_array_equal(kl.pairwise(kl.Categorical(counts=p), kl.Categorical(counts=view)), expected,
                                      name)


def test_zero_strides(counts):
    p, q = counts[0] * 1.0, counts[1] * 1.0
    P = kl.Categorical(counts=np.broadcast_to(p[0], (50, 11)))
    np.testing.assert_array_equal(kl.pairwise(P, kl.Categorical(counts=q)),
                                  np.tile(kl.pairwise(kl.Categorical(counts=p[:1]), kl.Categorical(counts=q)), (50, 1)))
    uniform = kl.Categorical(counts=np.broadcast_to(1.0, (3, 7)))
    np.testing.assert_allclose(kl.entropy(uniform), np.log(7), rtol=1e-15)


def test_read_only_and_memory_mapped(tmp_path, counts):
    p, q = (x / x.sum(axis=1, keepdims=True) for x in counts)
    expected = kl.pairwise(p, q)
    np.save(tmp_path / "q.npy", q)
    mapped = np.load(tmp_path / "q.npy", mmap_mode="r")
    p.flags.writeable = False
    np.testing.assert_array_equal(kl.pairwise(p, mapped), expected)
    np.testing.assert_array_equal(kl.rowwise(p, mapped[:30]), kl.rowwise(p, q[:30]))
    raw = np.memmap(tmp_path / "p.raw", dtype="float64", mode="w+", shape=p.shape, offset=8)
    raw[:] = p
    np.testing.assert_array_equal(kl.pairwise(raw, q), expected)


def test_inputs_are_not_changed(counts):
    p, q = (x / x.sum(axis=1, keepdims=True) for x in counts)
    copies = p.copy(), q.copy()
    kl.rowwise(p, q[:30])
    kl.pairwise(p, q)
    kl.kneighbors(p, q, 3)
    kl.entropy(p)
    assert p.tobytes() == copies[0].tobytes() and q.tobytes() == copies[1].tobytes()


def test_array_likes(counts):
    p = counts[0] / counts[0].sum(axis=1, keepdims=True)
    expected = kl.pairwise(p)
    for x in (p.tolist(), tuple(map(tuple, p)), np.ma.masked_array(p), list(p), p.astype(object)):
        np.testing.assert_array_equal(kl.pairwise(x), expected)
    assert kl.rowwise([0.5, 0.5], (0.25, 0.75)) == pytest.approx(0.5 * np.log(4 / 3))


def test_pandas(counts):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    p = counts[0] / counts[0].sum(axis=1, keepdims=True)
    frame = pandas.DataFrame(p, columns=[f"bin {k}" for k in range(11)])
    np.testing.assert_array_equal(kl.pairwise(frame), kl.pairwise(p))
    np.testing.assert_array_equal(kl.rowwise(frame, frame.iloc[0]), kl.rowwise(p, p[0]))
    np.testing.assert_array_equal(kl.entropy(pandas.DataFrame({"a": [1, 0], "b": [0, 1]})), [0, 0])


def test_torch(counts):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    p = counts[0] / counts[0].sum(axis=1, keepdims=True)
    tensor = torch.tensor(p, requires_grad=True)
    np.testing.assert_array_equal(kl.pairwise(tensor), kl.pairwise(p))
    half = torch.tensor(counts[0]).to(torch.bfloat16)
    np.testing.assert_array_equal(kl.pairwise(kl.Categorical(counts=half), dtype="float64"),
                                  kl.pairwise(kl.Categorical(counts=counts[0])))
    logits = kl.Categorical(logits=torch.tensor([[0.0, 1.0]], dtype=torch.float32))
    assert kl.entropy(logits).dtype == np.float32


@pytest.mark.parametrize("make", [scipy.sparse.csr_array, scipy.sparse.csc_array, scipy.sparse.coo_array,
                                  scipy.sparse.csr_matrix, scipy.sparse.lil_array, scipy.sparse.bsr_array])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
def test_sparse_formats(isa, make, dtype, counts):
    p, q = (x.astype(dtype) for x in counts)
    P, Q = kl.Categorical(counts=make(p)), kl.Categorical(counts=make(q))
    expected = kl.pairwise(kl.Categorical(counts=p.astype(float)), kl.Categorical(counts=q.astype(float)))
    np.testing.assert_array_equal(kl.pairwise(P, Q, dtype="float64"), expected)
    out = np.empty(30)
    np.testing.assert_array_equal(kl.rowwise(P, kl.Categorical(counts=make(q[:30])), out=out),
                                  kl.rowwise(kl.Categorical(counts=p.astype(float)),
                                             kl.Categorical(counts=q[:30].astype(float))))
    entropy = kl.entropy(P)
    assert entropy.dtype == (np.float32 if dtype == "float32" else np.float64)  # as a dense matrix would give
    np.testing.assert_array_equal(entropy, kl.entropy(kl.Categorical(counts=p.astype(float))).astype(entropy.dtype))


def test_sparse_in_disorder():
    """Unsorted columns, duplicates that add up, explicit zeros, empty rows at the ends of other rows."""
    data, columns, pointers = [1.0, 2.0, 0.0, 1.0, 3.0, 1.0], [2, 0, 1, 2, 1, 1], [0, 4, 6]
    messy = scipy.sparse.csr_array((data, columns, pointers), shape=(2, 4))
    dense = np.array([[2.0, 0, 2, 0], [0, 4, 0, 0]])
    np.testing.assert_array_equal(kl.pairwise(kl.Categorical(counts=messy)), kl.pairwise(kl.Categorical(counts=dense)))
    assert messy.data.tolist() == data  # the caller's matrix is left alone
    with pytest.raises(ValueError, match="row 1 is empty"):
        kl.pairwise(kl.Categorical(counts=scipy.sparse.csr_array(np.array([[1.0, 0], [0, 0]]))))


def test_more_than_two_to_the_31_elements(tmp_path):
    """Rows at an offset beyond 32 bits: a sparse file of 2^31 + 64 KiB, of which only the last page is written."""
    n, K = (2**31 + 65536) // 64, 64
    path = tmp_path / "big.raw"
    path.touch()
    big = np.memmap(path, dtype=np.uint8, mode="w+", shape=(n, K))
    big[-5:] = np.arange(5 * K, dtype=np.uint8).reshape(5, K) + 1
    expected = kl.entropy(kl.Categorical(counts=np.array(big[-5:], float)))
    from klfast import _engine

    rows = _engine.Rows(big, _engine.PROBS)
    assert rows.shape == (n, K)
    np.testing.assert_array_equal(rows.read(n - 2), big[-2])
    tail = rows.select(np.arange(n - 5, n))
    norms, _, _ = _engine.scan(tail, -1.0, 1)
    np.testing.assert_array_equal(_engine.entropy(tail, norms, None, 1)[0], expected)
    np.testing.assert_array_equal(kl.entropy(kl.Categorical(counts=big[-5:])), expected)
    del big, rows, tail


def test_more_than_two_to_the_31_elements_by_broadcasting():
    """A view of 2^32 elements: only its size is large."""
    from klfast import _engine

    n, K = 2**26, 64
    p, q = np.arange(1.0, K + 1), np.ones(K)
    P, Q = (_engine.Rows(np.broadcast_to(x, (n, K)), _engine.PROBS) for x in (p, q))
    out = np.empty(n)  # never touched but for its last page
    stats = _engine.rowwise(_engine.Form("kl"), P, Q, n - 3, n, -1.0, -1.0, out, 2)
    assert stats.refused is None
    expected = kl.rowwise(kl.Categorical(counts=p), kl.Categorical(counts=q))
    assert out[n - 3 :].tolist() == [expected] * 3


def test_dlpack(counts):
    """Objects that offer their memory by DLPack alone."""

    class Tensor:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **kwargs):
            return self.array.__dlpack__(**kwargs)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    p, q = (x + 1.0 for x in counts)
    np.testing.assert_array_equal(kl.pairwise(kl.Categorical(counts=Tensor(p)), kl.Categorical(counts=Tensor(q))),
                                  kl.pairwise(kl.Categorical(counts=p), kl.Categorical(counts=q)))
