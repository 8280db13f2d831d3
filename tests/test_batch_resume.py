"""Nothing is lost: jobs are killed, their parts damaged, their disk filled, and the answer is always the same bytes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import klfast as kl
from klfast import batch
from klfast.batch import manifest, parts, planning

CHILD = Path(__file__).with_name("batch_child.py")
ROWS = 240

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


@pytest.fixture
def folder(tmp_path, monkeypatch, rng):
    """A directory with inputs and the answer; jobs have shards of 40 rows and blocks of 100 references."""
    monkeypatch.chdir(tmp_path)
    X = rng.poisson(2.0, (ROWS, 16)) + 0.5
    X[20:40] = X[0]
    np.save("X.npy", X)
    distances, indices = kl.kneighbors(kl.Categorical(counts=X), k=5)
    np.savez("expected.npz", distances=distances, indices=indices)
    monkeypatch.setattr(planning, "make", lambda sizes, staff, memory: planning.Plan(40, 100, 3, 200))
    return tmp_path


def job(**options):
    return batch.kneighbors("X.npy", "graph.npz", **({"k": 5, "input": "counts"} | options))


def complete() -> bool:
    return Path("graph.npz").read_bytes() == Path("expected.npz").read_bytes() and not Path("graph.npz.parts").exists()


def child(shards, function, *arguments) -> tuple[dict, ...]:
    """What a function of batch_child.py prints."""
    command = [sys.executable, str(CHILD), json.dumps(shards), function, *map(json.dumps, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return tuple(json.loads(line) for line in done.stdout.splitlines())


@pytest.fixture
def stopped(folder, monkeypatch):
    """stopped(n): a job that ended with a full disk after n parts."""

    def stop(count, number=errno.ENOSPC):
        written = []
        original = parts.write

        def write(target, arrays):
            if len(written) == count:
                raise OSError(number, os.strerror(number), str(target))
            written.append(target)
            return original(target, arrays)

        with monkeypatch.context() as patch:
            patch.setattr(parts, "write", write)
            with pytest.raises(batch.JobError) as caught:
                job()
        return str(caught.value)

    return stop


# ---- killed ------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_random_moments(folder, seed):
    kills = child([40, 100], "random_kills", "graph.npz", seed)[0]["result"]
    assert kills >= 3
    assert complete()


@posix
@pytest.mark.parametrize(("suffix", "stride"), [(".npz", 2), (".zarr", 11)])
def test_killed_at_every_step(folder, suffix, stride):
    if suffix == ".zarr":
        pytest.importorskip("zarr", reason="the extra `zarr` is not installed")
    assert child([120, 120], "every_step", suffix, stride)[0]["result"] > 40


# ---- damaged -----------------------------------------------------------------------------------------------


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_damaged_part_is_computed_again(folder, stopped, damage):
    stopped(9)
    found = sorted(Path("graph.npz.parts").glob("*.part"))
    assert len(found) == 9
    damage(found[2])
    damage(found[5])
    result = job(resume=True)
    assert result.resumed == 7 + 2  # two checks of rows among them
    assert complete()


def test_a_damaged_log(folder, stopped):
    stopped(9)
    log = Path("graph.npz.parts/parts.jsonl")
    log.write_bytes(log.read_bytes()[:-7] + b"\n[1]\n\xff\n")
    assert job(resume=True).resumed == 8 + 2
    assert complete()


def test_a_damaged_manifest(folder, stopped):
    stopped(9)
    Path("graph.npz.parts/manifest.json").write_text("{")
    with pytest.raises(ValueError, match=r"manifest.json cannot be read .* remove .*graph.npz.parts to start anew"):
        job(resume=True)


def test_leftovers_are_removed(folder, stopped):
    stopped(9)
    directory = Path("graph.npz.parts")
    (directory / ".half.123.tmp").write_bytes(b"half")
    (directory / ".output.zarr.123.tmp").mkdir()
    (directory / "part-0000-000000-0123456789abcdef.part").write_bytes(b"of another job")
    assert job(resume=True).resumed == 11
    assert complete()


def test_a_job_that_only_had_to_clean_up(folder, monkeypatch):
    monkeypatch.setattr(manifest.JobDirectory, "remove", lambda self: None)
    job()
    assert json.loads(Path("graph.npz.parts/manifest.json").read_text())["finished"]
    monkeypatch.undo()
    os.chdir(folder)
    result = job(resume=True)
    assert result.resumed == result.tasks == 2 + 3 * 6 + 6
    assert complete()


# ---- refused -----------------------------------------------------------------------------------------------


def test_an_unfinished_job_is_not_thrown_away(folder, stopped):
    stopped(9)
    with pytest.raises(ValueError, match=r"graph.npz.parts holds an unfinished job: resume it, or remove it"):
        job()
    assert len(list(Path("graph.npz.parts").glob("*.part"))) == 9


@pytest.mark.parametrize(("options", "difference"), [
    ({"k": 6}, "k was 5 and is 6"),
    ({"divergence": "reverse_kl"}, "divergence was 'kl' and is 'reverse_kl'"),
    ({"input": "counts", "smoothing": 0.5}, "smoothing was None and is 0.5"),
    ({"against": "X.npy"}, r"the input Q \(none\) has changed"),
])
def test_another_question_is_refused(folder, stopped, options, difference):
    stopped(9)
    with pytest.raises(ValueError, match=difference):
        job(resume=True, **options)
    assert job(resume=True).resumed == 11


def test_another_input_is_refused(folder, stopped, monkeypatch):
    stopped(9)
    shutil.copy2("X.npy", "kept.npy")
    X = np.load("X.npy")
    X[-1, -1] += 1
    np.save("X.npy", X)
    with pytest.raises(ValueError, match=r"the input P \(.*X.npy\) has changed; remove the directory"):
        job(resume=True)
    shutil.copy("kept.npy", "X.npy")  # the same contents at another time
    assert job(resume=True).resumed == 11


def test_another_version_is_refused(folder, stopped, monkeypatch):
    stopped(9)
    monkeypatch.setattr(kl, "__version__", "99")
    with pytest.raises(ValueError, match="klfast was .* and is '99'"):
        job(resume=True)


def test_a_resumed_job_keeps_its_shards(folder, stopped, monkeypatch):
    stopped(9)
    monkeypatch.undo()
    os.chdir(folder)
    with pytest.raises(ValueError, match="the shards of the unfinished job .* need"):
        job(resume=True, memory="1M")
    assert job(resume=True, workers=2).tasks == 26
    assert complete()


HOLDER = """
import sys
from pathlib import Path
from klfast.batch.manifest import JobDirectory
directory = JobDirectory(Path("graph.npz.parts"))
directory.open()
print("held", flush=True)
sys.stdin.read()
"""


def test_two_processes_do_not_share_a_job(folder, stopped):
    pytest.importorskip("fcntl", reason="this system has no file locks")
    stopped(9)
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(ValueError, match="another process works on .*graph.npz.parts"):
            job(resume=True)
        holder.communicate()
    assert job(resume=True).resumed == 11


# ---- disks and inputs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota"),
                                               (errno.EIO, "Input/output error")])
def test_a_disk_that_takes_no_more(folder, stopped, number, words):
    message = stopped(9, number)
    assert words in message and "11 of 26 tasks are finished and kept in" in message and "\n" not in message
    assert not list(Path("graph.npz.parts").glob(".*.tmp")) and not Path("graph.npz").exists()
    assert job(resume=True).resumed == 11
    assert complete()


@posix
@pytest.mark.parametrize("size", [2_000, 6_000, 12_000])
def test_a_limit_of_file_sizes(folder, size):
    """2,000 bytes: no part; 6,000: the log ends the job midway; 12,000: every part, but not the output."""
    said, status = child([40, 100], "limited", "graph.npz", size)
    assert status["result"] == 1
    assert "largest size allowed" in said["error"]
    assert not Path("graph.npz").exists()
    kept = len(list(Path("graph.npz.parts").glob("*.part"))) if size > 2_000 else 0
    assert (kept > 0) == (size > 2_000)
    assert job(resume=True).resumed >= kept
    assert complete()


def test_a_file_system_of_two_megabytes(folder):
    mounted = folder / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mounted)], capture_output=True).returncode:
        pytest.skip("only root may mount a file system")
    try:
        with pytest.raises(ValueError, match="the job needs .* on the disk"):
            batch.kneighbors("X.npy", mounted / "graph.npz", 239, input="counts")
        with pytest.raises(batch.JobError, match=r"the disk is full; \d+ of 26 tasks are finished and kept"):
            batch.kneighbors("X.npy", mounted / "graph.npz", 5, input="counts", announce=lambda _: fill(mounted))
        assert list((mounted / "graph.npz.parts").glob("*.part"))
        (mounted / "filler").unlink()
        batch.kneighbors("X.npy", mounted / "graph.npz", 5, input="counts", resume=True)
        assert (mounted / "graph.npz").read_bytes() == Path("expected.npz").read_bytes()
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def fill(mounted: Path) -> None:
    """Leave 64 KiB on the file system."""
    free = shutil.disk_usage(mounted).free
    with open(mounted / "filler", "wb") as file:
        file.write(bytes(free - (64 << 10)))


def test_an_input_that_is_truncated_while_the_job_runs(folder, monkeypatch):
    def cut(estimate):
        with open("X.npy", "r+b") as file:
            file.truncate(1000)

    with pytest.raises(ValueError, match="X.npy cannot be read"):
        job(announce=cut)
    assert not Path("graph.npz.parts").exists()


def test_an_input_that_changes_while_the_job_runs(folder):
    def change(estimate):
        X = np.load("X.npy")
        X[7] = X[8]
        np.save("X.npy", X)

    with pytest.raises(batch.JobError, match="X.npy changed while the job ran"):
        job(announce=change)
    assert not Path("graph.npz").exists()


def test_fingerprints_see_changes_in_large_inputs(folder, monkeypatch):
    from klfast.batch import sources

    monkeypatch.setattr(sources, "SAMPLED", 4096)
    monkeypatch.setattr(sources, "BLOCK", 512)
    before = sources.fingerprint(Path("X.npy"))
    assert "modified" in before and sources.fingerprint(Path("X.npy")) == before
    for place in (0, 15_000, -1):
        data = bytearray(Path("X.npy").read_bytes())
        data[place] ^= 1
        Path("X.npy").write_bytes(data)
        after = sources.fingerprint(Path("X.npy"))
        assert after != before
        before = after
