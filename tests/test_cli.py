"""The command line: small questions at once, large ones as jobs, and one clear line for what goes wrong."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import klfast as kl
from klfast import cli
from klfast.batch import jobs, planning, pool, terminal

pytest.importorskip("typer", reason="the extra `cli` is not installed")


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A directory with counts in X.npy and Q.npy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_stop_on_signals", lambda: None)
    np.save("X.npy", rng.integers(0, 9, (120, 10)) + 1)
    np.save("Q.npy", rng.integers(0, 9, (50, 10)) + 1)
    return tmp_path


@pytest.fixture
def klfast(folder, capfd):
    """klfast(...): exit status, stdout, stderr of a command."""

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            cli.main([str(a) for a in arguments])
        out, err = capfd.readouterr()
        return caught.value.code, out, err

    return run


SUMMARY = re.compile(r"^[\d,]+ pairs in [\d.]+ s, [\d.e+]+ [kMGT]?pairs/s, peak memory [\d,]+ MiB, wrote \S+$")

COMMANDS = {
    "kneighbors": (["kneighbors", "X.npy", "-k", 4], ".npz"),
    "among others": (["kneighbors", "X.npy", "--against", "Q.npy"], ".npz"),
    "pairwise": (["pairwise", "X.npy", "Q.npy", "--base", 2, "--dtype", "float32"], ".npy"),
    "among themselves": (["pairwise", "X.npy", "--rtol", 1e-9], ".npy"),
    "rowwise": (["rowwise", "X.npy", "X.npy", "-d", "cross_entropy", "--base", 2], ".npy"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_job_writes_the_same_bytes(klfast, command, monkeypatch):
    arguments, suffix = COMMANDS[command]
    arguments = [*arguments, "--input", "counts", "--smoothing", "dirichlet:2"]
    status, out, err = klfast(*arguments, "-o", "direct" + suffix)
    assert (status, err) == (0, "") and SUMMARY.match(out)
    monkeypatch.setattr(planning, "_wanted_rows", lambda *a: 50)
    status, out, err = klfast(*arguments, "-o", "job" + suffix, "--workers", 2, "-v")
    assert status == 0 and SUMMARY.match(out)
    announced, *lines = err.splitlines()
    assert re.search(r"pairs, about .*3 shards on 2 workers × \d+ threads?, memory .* MiB, disk", announced)
    assert sum(line.startswith("part-") for line in lines) == 3
    assert Path("job" + suffix).read_bytes() == Path("direct" + suffix).read_bytes()
    assert not list(Path().glob("*.parts"))
    assert not logging.getLogger("klfast.batch").handlers


def test_a_dry_run(klfast):
    status, out, err = klfast("kneighbors", "X.npy", "-o", "g.npz", "--input", "counts", "--dry-run")
    assert (status, out) == (0, "") and "14,280 pairs, about" in err
    assert sorted(p.name for p in Path().iterdir()) == ["Q.npy", "X.npy"]


def test_resume(klfast, monkeypatch):
    command = ["kneighbors", "X.npy", "-o", "g.npz", "--input", "counts", "--workers", 1]
    monkeypatch.setattr(planning, "_wanted_rows", lambda *a: 50)

    def stopped(workers, function, tasks):
        for number, task in enumerate(tasks):
            if number == 2:
                raise KeyboardInterrupt
            yield function(task)

    with monkeypatch.context() as patch:
        patch.setattr(pool, "run", stopped)
        status, out, err = klfast(*command)
    assert status == 130 and err.endswith("finished shards are kept in g.npz.parts; --resume goes on from there\n")
    status, out, err = klfast(*command)
    assert status == 2 and "g.npz.parts holds an unfinished job: --resume it, or remove it" in err
    status, out, err = klfast(*command, "--resume")
    assert status == 0 and "(4 tasks, 3 of them finished before)" in out and "3 tasks are finished" in err
    distances, indices = kl.kneighbors(kl.Categorical(counts=np.load("X.npy")), k=10)
    with np.load("g.npz") as found:
        np.testing.assert_array_equal(found["distances"], distances)
        np.testing.assert_array_equal(found["indices"], indices)


def test_a_job_that_ends_early(klfast, monkeypatch):
    def fail(*a):
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(jobs.sinks, "assemble", fail)
    status, out, err = klfast("kneighbors", "X.npy", "-o", "g.npz", "--input", "counts", "--workers", 1)
    assert (status, out) == (1, "")
    assert re.fullmatch(r"klfast: somewhere: the disk is full; 2 of 2 tasks are finished and kept in \S+g.npz.parts; "
                        r"--resume goes on from there", err.splitlines()[-1])


@pytest.mark.parametrize(("arguments", "message"), [
    (["kneighbors", "none.npy", "-o", "g.npz"], "none.npy does not exist"),
    (["kneighbors", "none.npy", "-o", "g.npz", "--workers", 2], "none.npy does not exist"),
    (["kneighbors", "X.npy", "-o", "g.npz"], r"X.npy: row 0 sums to \d+, .* --input counts, which normalises"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--workers", 2],
     r"X.npy: row 0 sums to \d+, .* --input counts, which normalises"),
    (["kneighbors", "X.npy", "-o", "g.npy"], "output g.npy must end in .npz"),
    (["kneighbors", "X.npy", "-o", "g.txt", "--workers", 2], "output g.txt must end in .npz or .parquet or .zarr"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--memory", "lots"], "memory is a number of bytes"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--memory", "1M"], "memory of 1 MiB is not enough for 1 worker"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--backend", "smoke"], "joblib has no backend 'smoke'"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--workers", "0"], "workers must be a nonzero integer"),
    (["kneighbors", "X.npy", "-o", "g.npz", "--smoothing", "much", "--dry-run"], "--smoothing takes a number"),
    (["pairwise", "X.npy", "X.npy", "-o", "X.npy", "--resume"], "X.npy is also an input"),
    (["kneighbors", "X.npy"], r"\(see klfast kneighbors --help\)"),
])
def test_wrong_input_is_one_line(klfast, arguments, message):
    before = sorted(Path().iterdir())
    status, out, err = klfast(*arguments)
    assert (status, out) == (2, "")
    assert re.fullmatch(rf"klfast: .*{message}.*\n", err), err
    assert sorted(Path().iterdir()) == before


def test_ids_and_layouts(klfast):
    pq = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    np.save("names.npy", np.array([f"x{i}" for i in range(120)]))
    np.save("others.npy", np.arange(50) + 1000)
    status, out, err = klfast("kneighbors", "X.npy", "--against", "Q.npy", "-k", 2, "-o", "e.parquet", "--input",
                              "counts", "--ids", "names.npy", "--against-ids", "others.npy")
    assert status == 0
    edges = pq.read_table("e.parquet")
    _, indices = kl.kneighbors(*(kl.Categorical(counts=np.load(p)) for p in ("X.npy", "Q.npy")), k=2)
    assert edges["source"].to_pylist()[:3] == ["x0", "x0", "x1"]
    assert edges["target"].to_pylist() == (indices + 1000).ravel().tolist()
    klfast("kneighbors", "X.npy", "-k", 2, "-o", "l.parquet", "--input", "counts", "--layout", "lists")
    assert pq.read_table("l.parquet").column_names == ["id", "neighbors", "distances"]


def test_small_questions_are_answered_at_once_and_large_ones_as_jobs(folder, monkeypatch):
    def needed(*names, **options):
        output, *inputs = (Path(name) for name in names)
        return terminal.Sharding(**options).needed(output, *inputs, *[None] * (2 - len(inputs)))

    assert not needed("g.npz", "X.npy")
    assert not needed("g.npz", "X.npy", verbose=True)
    assert not needed("g.npz", "missing.npy") and not needed("g.txt", "X.npy") and not needed("g.npz", "X.csv")
    assert needed("g.npz", "X.npy", resume=True) and needed("g.npz", "X.npy", memory="1G")
    assert needed("g.parquet", "X.npy") and needed("g.npz", "X.parquet") and needed("g.npz", "X.npy", "Q.zarr")
    monkeypatch.setattr(terminal, "DIRECT_WORK", 120 * 10 * 50 - 1)
    assert needed("g.npz", "X.npy") and needed("g.npz", "X.npy", "Q.npy") and not needed("g.npz", "Q.npy")
    monkeypatch.setattr(terminal, "DIRECT_WORK", 1e13)
    monkeypatch.setattr(terminal.preflight, "available_memory", lambda: 1000)
    assert needed("g.npz", "X.npy")


def test_a_bar_on_a_terminal(klfast, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(cli, "on_terminal", lambda: True)
    status, out, err = klfast("kneighbors", "X.npy", "-o", "g.npz", "--input", "counts", "--workers", 1)
    assert status == 0 and "100%" in err and "pair/s" in err.replace("pairs", "")
