"""Jobs give the bits of the calls in memory, whatever the shards, the blocks and the files."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

import klfast as kl
from klfast import batch
from klfast.batch import planning, workers

pa = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
zarr = pytest.importorskip("zarr", reason="the extra `zarr` is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")

BINS = 12


@pytest.fixture
def counts(rng):
    """Rows with zeros, many copies (more than k, so that a row is not among its own first k + 1), scaled copies."""
    X = rng.poisson(3.0, (400, BINS)).astype(float)
    X[X.sum(axis=1) == 0] = 1
    X[50:90] = X[3]
    X[200:240] = X[3]
    X[300:320] = 2 * X[3]
    X[350:355] = X[7]
    return X


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def small_plan(monkeypatch):
    """small_plan(rows, references): the next jobs have shards and blocks of these sizes."""

    def use(shard_rows, block_rows=None):
        def make(sizes, staff, memory):
            block = min(block_rows or sizes.m, sizes.m) if sizes.per_pair else sizes.m
            return planning.Plan(shard_rows, max(block, 1), -(-sizes.m // max(block, 1)), 100)

        monkeypatch.setattr(planning, "make", make)

    return use


def same(result, expected) -> None:
    found = result if isinstance(result, tuple) else (result,)
    for a, b in zip(found, expected if isinstance(expected, tuple) else (expected,), strict=True):
        assert np.asarray(a).dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a), b, strict=True)


# ---- values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shard_rows", "block_rows"), [(400, None), (97, None), (97, 250), (250, 64), (400, 33)])
@pytest.mark.parametrize("k", [1, 7, 60, 399])
def test_neighbours_among_themselves(folder, small_plan, counts, shard_rows, block_rows, k):
    np.save("X.npy", counts)
    small_plan(shard_rows, block_rows)
    result = batch.kneighbors("X.npy", "graph.npz", k, input="counts")
    same(result.load(), kl.kneighbors(kl.Categorical(counts=counts), k=k))
    assert not (folder / "graph.npz.parts").exists()


@pytest.mark.parametrize("divergence", [d.name for d in kl.divergences()])
@pytest.mark.parametrize("smoothing", [None, 0.5, ("dirichlet", 2.0, np.arange(1.0, BINS + 1))])
def test_neighbours_among_others(folder, small_plan, counts, divergence, smoothing):
    counts = np.delete(counts, np.s_[300:320], axis=0)  # scaled copies: equal but for roundings, in some divergences
    np.save("P.npy", counts[:200])
    np.save("Q.npy", counts)
    small_plan(61, 130)
    result = batch.kneighbors("P.npy", "graph.npz", 20, divergence, against="Q.npy", input="counts",
                              smoothing=smoothing)
    p, q = (kl.Categorical(counts=x, smoothing=smoothing) for x in (counts[:200], counts))
    same(result.load(), kl.kneighbors(p, q, 20, divergence))


@pytest.mark.parametrize("parameter", ["logits", "log_probs", "probs"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parameters_and_precision(folder, small_plan, rng, parameter, dtype):
    X = rng.normal(size=(300, BINS))
    if parameter != "logits":
        X = X - np.log(np.exp(X).sum(axis=1, keepdims=True))
    X = (np.exp(X) if parameter == "probs" else X).astype(dtype)
    np.save("X.npy", X)
    small_plan(77, 128)
    d = kl.Categorical(**{parameter: X})
    same(batch.nearest("X.npy", "nearest.npz", input=parameter).load(), kl.nearest(d))
    same(batch.rowwise("X.npy", "values.npy", "X.npy", "cross_entropy", input=parameter, base=2).load(),
         kl.rowwise(d, d, "cross_entropy", base=2))
    small_plan(77)
    same(batch.pairwise("X.npy", "D.npy", input=parameter).load(), kl.pairwise(d))


@pytest.mark.parametrize("options", [{}, {"base": 2}, {"dtype": "float32"}, {"rtol": 1e-9, "dtype": np.float64}])
def test_pairs(folder, small_plan, counts, options):
    np.save("P.npy", counts[:150])
    np.save("Q.npy", counts)
    small_plan(41)
    result = batch.pairwise("P.npy", "D.npy", "Q.npy", input="counts", **options)
    same(result.load(), kl.pairwise(*(kl.Categorical(counts=x) for x in (counts[:150], counts)), **options))
    assert isinstance(result.load(), np.memmap)


def test_pairs_in_blocks_are_within_rtol(folder, small_plan, counts):
    np.save("X.npy", counts)
    small_plan(300, 128)
    D = batch.pairwise("X.npy", "D.npy", input="counts").load()
    expected = kl.pairwise(kl.Categorical(counts=counts))
    np.testing.assert_allclose(D, expected, rtol=2e-12)
    assert ((D == 0) == (expected == 0)).all()


def test_rows_against_one(folder, small_plan, counts):
    np.save("P.npy", counts)
    np.save("Q.npy", counts[3:4])
    small_plan(100)
    result = batch.rowwise("P.npy", "values.npy", "Q.npy", input="counts")
    same(result.load(), kl.rowwise(kl.Categorical(counts=counts), kl.Categorical(counts=counts[3:4])))


@pytest.mark.parametrize(("shard_rows", "block_rows"), [(400, None), (97, 250), (250, 64)])
@pytest.mark.parametrize("against", [None, "Q.npy"])
@pytest.mark.parametrize("radius", [0.0, 0.4, 50.0])
def test_neighbours_within_a_radius(folder, small_plan, counts, shard_rows, block_rows, against, radius):
    np.save("X.npy", counts)
    np.save("Q.npy", counts[::-1] + 0.0)
    small_plan(shard_rows, block_rows)
    result = batch.radius_neighbors("X.npy", "graph.npz", radius, against=against, input="counts", smoothing=0.5)
    p, q = (kl.Categorical(counts=x, smoothing=0.5) for x in (counts, counts[::-1]))
    expected = kl.radius_neighbors(p, q if against else None, radius)
    for found in (result.load(), scipy.sparse.load_npz("graph.npz")):
        assert found.shape == expected.shape and found.nnz == expected.nnz
        for name in ("indptr", "indices", "data"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    edges = batch.radius_neighbors("X.npy", "e.parquet", radius, against=against, input="counts", smoothing=0.5).load()
    assert edges["target"].to_pylist() == expected.indices.tolist()
    assert edges["source"].to_pylist() == np.repeat(np.arange(400), np.diff(expected.indptr)).tolist()
    zarr_result = batch.radius_neighbors("X.npy", "g.zarr", radius, against=against, input="counts", smoothing=0.5)
    np.testing.assert_array_equal(zarr_result.load().data, expected.data)


def test_no_rows(folder):
    np.save("P.npy", np.empty((0, 4)))
    np.save("Q.npy", np.full((3, 4), 0.25))
    assert batch.kneighbors("P.npy", "g.npz", 2, against="Q.npy").distances.shape == (0, 2)
    assert batch.pairwise("P.npy", "D.npy", "Q.npy").load().shape == (0, 3)
    assert batch.rowwise("P.npy", "d.npy", "P.npy").load().shape == (0,)


# ---- files -------------------------------------------------------------------------------------------------


def write(path: str, X: np.ndarray, ids=None) -> None:
    """X in the format that the name of the file says."""
    kind, _, suffix = path.partition(".")
    n, width = X.shape
    columns = {"id": pa.array(ids)} if ids is not None else {}
    if suffix == "npy":
        np.save(path, np.asfortranarray(X) if kind == "fortran" else X)
    elif kind == "csr":
        scipy.sparse.save_npz(path, scipy.sparse.csr_array(X), compressed=False)
    elif kind in ("packed", "csc"):
        scipy.sparse.save_npz(path, scipy.sparse.csr_array(X).asformat("csr" if kind == "packed" else "csc"))
    elif kind in ("dense", "squeezed"):
        (np.savez if kind == "dense" else np.savez_compressed)(path, X)
    elif kind == "fixed":
        columns["x"] = pa.FixedSizeListArray.from_arrays(pa.array(X.ravel()), width)
    elif kind == "list":
        columns["x"] = pa.ListArray.from_arrays(pa.array(np.arange(n + 1, dtype=np.int32) * width), pa.array(X.ravel()))
    elif kind == "wide":
        columns |= {f"bin{i}": X[:, i] for i in range(width)}
    elif kind == "array":
        zarr.save_array(path, X)
    elif kind == "group":
        group = zarr.create_group(path)
        group.create_array("x", data=X, chunks=(64, 5))
        group.create_array("labels", data=np.arange(n))
    if suffix == "parquet":
        pq.write_table(pa.table(columns), path, row_group_size=90)


INPUTS = ["c.npy", "fortran.npy", "csr.npz", "packed.npz", "csc.npz", "dense.npz", "squeezed.npz", "fixed.parquet",
          "list.parquet", "wide.parquet", "array.zarr", "group.zarr"]


@pytest.mark.parametrize("path", INPUTS)
def test_inputs(folder, small_plan, counts, path):
    write(path, counts)
    small_plan(97, 300)
    result = batch.kneighbors(path, "graph.npz", 5, input="counts", smoothing=0.5)
    same(result.load(), kl.kneighbors(kl.Categorical(counts=counts, smoothing=0.5), k=5))
    source = batch.source(path)
    values = source.stage(folder, "copy").read(13, 220)
    dense = values.toarray() if scipy.sparse.issparse(values) else values
    np.testing.assert_array_equal(dense, counts[13:220])
    assert source.shape == counts.shape and source.read_ids() is None


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
@pytest.mark.parametrize("path", ["c.npy", "fixed.parquet", "list.parquet", "wide.parquet", "array.zarr"])
def test_types_of_inputs(folder, counts, dtype, path):
    write(path, counts.astype(dtype))
    source = batch.source(path)
    assert source.dtype == dtype and source.read(5, 9).dtype == dtype
    np.testing.assert_array_equal(source.read(380, 400), counts[380:])


@pytest.mark.parametrize("ids", [np.arange(400) * 3 + 10**12, [f"patch-{i}" for i in range(400)]])
def test_ids_are_carried_through(folder, small_plan, counts, ids):
    write("fixed.parquet", counts, ids)
    small_plan(97, 300)
    distances, indices = kl.kneighbors(kl.Categorical(counts=counts, smoothing=0.5), k=3)
    names, arguments = np.asarray(ids), {"k": 3, "input": "counts", "smoothing": 0.5}

    edges = batch.kneighbors("fixed.parquet", "edges.parquet", **arguments).load()
    assert edges.column_names == ["source", "target", "distance"]
    assert edges["source"].to_pylist() == np.repeat(names, 3).tolist()
    assert edges["target"].to_pylist() == names[indices].ravel().tolist()
    assert edges["distance"].to_pylist() == distances.ravel().tolist()

    lists = batch.kneighbors("fixed.parquet", "lists.parquet", layout="lists", **arguments).load()
    assert lists["id"].to_pylist() == names.tolist()
    assert lists["neighbors"].to_pylist() == names[indices].tolist()
    assert lists["distances"].to_pylist() == distances.tolist()

    for path in ("graph.npz", "graph.zarr"):
        result = batch.kneighbors("fixed.parquet", path, **arguments)
        assert np.asarray(result.ids[:]).tolist() == names.tolist()
        np.testing.assert_array_equal(np.asarray(result.indices[:]), indices)

    values = batch.rowwise("fixed.parquet", "values.parquet", "fixed.parquet", input="counts").load()
    assert values["id"].to_pylist() == names.tolist() and set(values["divergence"].to_pylist()) == {0.0}


def test_ids_from_other_places(folder, counts):
    write("group.zarr", counts)
    np.save("X.npy", counts)
    np.savez("X.npz", x=counts, names=np.arange(400) + 5)
    np.save("names.npy", np.arange(400) + 5)
    for path, ids in (("group.zarr", "labels"), ("X.npz", "names"), ("X.npy", "names.npy")):
        found = batch.source(path, ids=ids).read_ids()
        np.testing.assert_array_equal(found, np.arange(400) + (0 if ids == "labels" else 5))
    against = batch.source("X.npy", ids="names.npy")
    edges = batch.nearest("X.npy", "e.parquet", against=against, input="counts").load()
    assert edges["source"][0].as_py() == 0 and edges["target"][0].as_py() == 5


@pytest.mark.parametrize("suffix", ["npz", "zarr", "parquet"])
def test_outputs_do_not_depend_on_the_shards(folder, small_plan, counts, suffix, monkeypatch):
    np.save("X.npy", counts)
    monkeypatch.setattr(batch.sinks, "EDGES", 1000)
    monkeypatch.setattr(batch.sinks, "CHUNK_BYTES", 2000)
    contents = []
    for rows, references in ((400, 400), (97, 300), (350, 64)):
        small_plan(rows, references)
        path = batch.kneighbors("X.npy", f"{rows}.{suffix}", 5, input="counts").path
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        contents.append([(p.relative_to(path), p.read_bytes()) for p in files])
    assert contents[0] == contents[1] == contents[2]


def test_npz_is_what_numpy_writes(folder, counts):
    np.save("X.npy", counts)
    path = batch.kneighbors("X.npy", "graph.npz", 5, input="counts").path
    distances, indices = kl.kneighbors(kl.Categorical(counts=counts), k=5)
    np.savez("expected.npz", distances=distances, indices=indices)
    assert path.read_bytes() == (folder / "expected.npz").read_bytes()
    np.save("D.npy", kl.pairwise(kl.Categorical(counts=counts)))
    assert batch.pairwise("X.npy", "E.npy", input="counts").path.read_bytes() == (folder / "D.npy").read_bytes()


def test_zarr_of_pairs(folder, small_plan, counts):
    np.save("X.npy", counts)
    small_plan(97)
    result = batch.pairwise("X.npy", "D.zarr", input="counts")
    np.testing.assert_array_equal(result.load()[:], kl.pairwise(kl.Categorical(counts=counts)))


# ---- results and refusals ----------------------------------------------------------------------------------


def test_a_result_prints_and_loads_lazily(folder, counts):
    np.save("X.npy", counts)
    result = batch.kneighbors("X.npy", "graph.npz", 5, input="counts")
    assert "400 rows × 400 references, 159,600 pairs" in repr(result)
    assert "arrays" not in vars(result) and isinstance(result.distances, np.memmap)
    assert (result.pairs, result.rows, result.references, result.resumed) == (159_600, 400, 400, 0)
    with pytest.raises(AttributeError, match="has no 'neighbours'"):
        result.neighbours


def test_references_are_encoded_once(folder, small_plan, counts, monkeypatch):
    np.save("X.npy", counts)
    small_plan(60, 200)
    built = []
    original = kl.Index
    monkeypatch.setattr(workers.kl, "Index", lambda q, *a, **b: built.append(len(q.values)) or original(q, *a, **b))
    batch.kneighbors("X.npy", "graph.npz", 5, input="counts", workers=2)
    assert [size for size in built if size == 200] == [200, 200]  # two blocks, seven shards each
    assert not workers._encoded  # nor is memory held afterwards


def test_a_dry_run_only_estimates(folder, counts):
    np.save("X.npy", counts)
    estimate = batch.kneighbors("X.npy", "graph.npz", 5, input="counts", dry_run=True)
    assert sorted(p.name for p in folder.iterdir()) == ["X.npy"]
    assert (estimate.pairs, estimate.shards, estimate.blocks) == (159_600, 1, 1)
    assert 0 < estimate.seconds < 60 and estimate.disk > 2 * 400 * 5 * 16
    assert "159,600 pairs, about" in repr(estimate) and "disk" in repr(estimate)


def refuse(match, function, *args, **options):
    with pytest.raises(ValueError, match=match):
        function(*args, **options)


def test_refusals(folder, counts, monkeypatch):
    np.save("X.npy", counts)
    np.save("narrow.npy", counts[:, :5])
    np.save("vector.npy", counts[0])
    (folder / "notes.txt").write_text("no")
    (folder / "damaged.npy").write_bytes((folder / "X.npy").read_bytes()[:1000])
    (folder / "damaged.parquet").write_bytes(b"PAR1 and nothing else")
    before = sorted(folder.iterdir())
    go = batch.kneighbors
    refuse("nowhere.npy does not exist", go, "nowhere.npy", "g.npz")
    refuse("notes.txt is none of .npy", go, "notes.txt", "g.npz")
    refuse("damaged.npy cannot be read", go, "damaged.npy", "g.npz")
    refuse("damaged.parquet cannot be read", go, "damaged.parquet", "g.npz")
    refuse("vector.npy cannot be read: it must be 2-d", go, "vector.npy", "g.npz")
    refuse("g.npy must end in .npz or .parquet or .zarr", go, "X.npy", "g.npy")
    refuse("X.npy is also an input", batch.pairwise, "X.npy", "X.npy")
    refuse("same number of bins; got 12 and 5", go, "X.npy", "g.npz", against="narrow.npy")
    refuse("k must be 1 to 399", go, "X.npy", "g.npz", 400)
    refuse("k must be a positive integer", go, "X.npy", "g.npz", 2.5)
    refuse("unknown divergence 'l2'", go, "X.npy", "g.npz", 3, "l2")
    refuse("input must be probs", go, "X.npy", "g.npz", input="weights")
    refuse("layout must be edges or lists", go, "X.npy", "g.parquet", layout="tables")
    refuse("memory of 10 MiB is not enough for 1 worker; .* MiB would do", go, "X.npy", "g.npz", memory="10M")
    refuse("workers must be a nonzero", go, "X.npy", "g.npz", workers=0)
    refuse("same number of rows", batch.rowwise, "X.npy", "d.npy", batch.source("X.npy").__class__(
        folder / "X.npy", (399, BINS), "float64", 96))
    refuse("X.npy: row 0 sums to .*counts=", go, "X.npy", "g.npz")
    refuse("smoothing is a number", go, "X.npy", "g.npz", input="counts", smoothing="much")
    monkeypatch.setattr(batch.preflight.shutil, "disk_usage", lambda path: type("U", (), {"free": 1000}))
    refuse("the job needs .* on the disk .*; 1,000 bytes are free", go, "X.npy", "g.npz", input="counts")
    monkeypatch.setattr(batch.preflight, "available_memory", lambda: 1 << 20)
    refuse("the job needs .* of memory; 1 MiB are free", go, "X.npy", "g.npz", memory="1G", input="counts")
    assert sorted(folder.iterdir()) == before


def test_a_bad_row_is_found_before_the_work(folder, small_plan, counts):
    counts[313, 4] = -1
    np.save("X.npy", counts)
    np.save("good.npy", np.abs(counts))
    small_plan(50)
    refuse(r"X.npy: row 313, bin 4 is -1", batch.kneighbors, "X.npy", "g.npz", 3, input="counts")
    refuse(r"X.npy: row 313, bin 4 is -1", batch.kneighbors, "good.npy", "g.npz", 3, against="X.npy", input="counts")
    refuse(r"X.npy: row 313, bin 4 is -1", batch.rowwise, "good.npy", "d.npy", "X.npy", input="counts")
    assert not list(folder.glob("*.parts"))


def test_rows_that_are_not_rectangular(folder, counts):
    rows = [[1.0, 2.0]] * 100 + [[1.0, 2.0, 3.0]]
    pq.write_table(pa.table({"x": rows}), "ragged.parquet")
    pq.write_table(pa.table({"x": [[1.0, 2.0]] * 100 + [None]}), "null.parquet")
    pq.write_table(pa.table({"x": [[1.0, 2.0], [1.0, None]]}), "hole.parquet")
    pq.write_table(pa.table({"a": [1.0], "b": ["x"]}), "mixed.parquet")
    pq.write_table(pa.table({"a": [[1.0]], "b": [[1.0]]}), "two.parquet")
    refuse("row 100 has 3 bins", batch.nearest, "ragged.parquet", "g.npz", input="counts")
    refuse("row 100 has a null", batch.nearest, "null.parquet", "g.npz", input="counts")
    refuse("row 1 has a null", batch.nearest, "hole.parquet", "g.npz", input="counts")
    refuse("column 'b' is string", batch.nearest, "mixed.parquet", "g.npz", input="counts")
    refuse(r"several columns of lists \(a, b\)", batch.nearest, "two.parquet", "g.npz", input="counts")
    assert batch.source("two.parquet", column="b").shape == (1, 1)


def test_a_missing_extra_is_named(folder, counts, monkeypatch):
    np.save("X.npy", counts)
    for module in ("pyarrow", "pyarrow.parquet", "zarr"):
        monkeypatch.setitem(batch.sinks.extra.__globals__["importlib"].sys.modules, module, None)
    refuse(r"Parquet needs pyarrow: pip install 'klfast\[parquet\]'", batch.kneighbors, "X.npy", "g.parquet")
    refuse(r"Zarr needs zarr: pip install 'klfast\[zarr\]'", batch.kneighbors, "X.npy", "g.zarr")
