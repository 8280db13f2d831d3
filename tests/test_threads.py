"""Threads: how many run, many callers at once, Ctrl-C, fork."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest

import klfast as kl
from klfast import _engine, consumers

ROOT = Path(__file__).parents[1]


def python(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          env={**os.environ, "PYTHONPATH": str(ROOT), **environment})


@pytest.fixture
def threads_used(monkeypatch, all_threads):
    """Numbers of threads that the engine was asked for."""
    used = []
    for name in ("rowwise", "scan", "entropy"):
        original = getattr(_engine, name)
        monkeypatch.setattr(_engine, name, lambda *args, original=original: used.append(args[-1]) or original(*args))
    pairing = _engine.Pairing
    monkeypatch.setattr(_engine, "Pairing", lambda *args, **kw: used.append(kw["n_threads"]) or pairing(*args, **kw))
    return used


CALLS = [
    lambda P, **n: kl.rowwise(P, P, **n), lambda P, **n: kl.entropy(P, **n), lambda P, **n: kl.pairwise(P, **n),
    lambda P, **n: kl.kneighbors(P, k=2, **n), lambda P, **n: kl.nearest(P, P, **n),
    lambda P, **n: kl.Index(P, **n).pairwise(),
]


@pytest.mark.parametrize("call", CALLS)
def test_number_of_threads(threads_used, rng, call):
    P = rng.dirichlet(np.ones(5), 3000)
    call(P, n_jobs=3)
    assert set(threads_used) - {1} == {3}  # the centre, one row, is read by one
    threads_used.clear()
    with joblib.parallel_config(n_jobs=1):
        call(P)
    assert set(threads_used) == {1}


def test_omp_num_threads():
    code = "import klfast; print(klfast.show_config()['threads'])"
    assert python(code, OMP_NUM_THREADS="3").stdout.strip() == "3"
    assert python(code, OMP_NUM_THREADS="1").stdout.strip() == "1"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is a Linux matter")
def test_affinity():
    code = ("import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1]); "
            "import klfast; print(klfast.show_config()['threads'])")
    environment = {"OMP_NUM_THREADS": ""}
    assert python(code, **environment).stdout.strip() == "1"


def test_many_callers_at_once(rng):
    """Different questions from several Python threads, answered as one after the other."""
    P = [rng.dirichlet(np.ones(K), 200) for K in (3, 17, 64)]
    shared = kl.Index(P[2])
    questions = [call for p in P for call in (
        lambda p=p: kl.pairwise(p, n_jobs=2), lambda p=p: kl.kneighbors(p, k=5, n_jobs=2)[1],
        lambda p=p: kl.rowwise(p, p[::-1], n_jobs=2), lambda p=p: kl.entropy(p),
        lambda: shared.kneighbors(P[2][:50], 3)[0], lambda: shared.pairwise(P[2][:50], dtype="float32"),
    )]
    alone = [question() for question in questions]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            together = list(pool.map(lambda question: question(), questions))
            for a, b in zip(alone, together):
                assert a.tobytes() == b.tobytes()


def test_errors_stay_with_their_caller(rng):
    good = rng.dirichlet(np.ones(9), 500)
    bad = good.copy()
    bad[77, 3] = np.nan

    def ask(p):
        try:
            return kl.pairwise(p, n_jobs=2).shape
        except ValueError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(ask, [good, bad] * 8))
    assert answers[0::2] == [(500, 500)] * 8
    assert all("row 77, bin 3 is nan" in answer for answer in answers[1::2])


def test_the_interpreter_runs_on(rng):
    """The GIL is released: another Python thread advances during one long call."""
    P = rng.dirichlet(np.ones(64), 4000)
    ticks = 0
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(kl.pairwise, P, n_jobs=1)
        while not future.done():
            ticks += 1
            time.sleep(0.001)
    assert ticks > 10


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and their children, ignore it
import numpy as np, klfast as kl
P = np.random.default_rng(0).dirichlet(np.ones(64), {n})
index = kl.Index(P)
{warm}
print("ready", flush=True)
try:
    {call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
else:
    print("finished", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one child process")
@pytest.mark.parametrize("n, warm, call", [
    (150_000, "index.kneighbors(P[:100], 10)", "index.kneighbors(None, 10)"),
    (60_000, "index.pairwise(P[:2], dtype='float32')",
     "[index.pairwise(P[:9000], dtype='float32') for _ in range(50)]"),
    (60_000, "", "[kl.rowwise(P, P[::-1]) for _ in range(10000)]"),
], ids=["kneighbors", "pairwise", "rowwise"])
def test_interrupt(n, warm, call):
    """Ctrl-C during a long call: KeyboardInterrupt within half a second."""
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED.format(n=n, warm=warm, call=call)], cwd=ROOT,
                               text=True,
                               stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        answer = process.stdout.readline()
        waited = time.perf_counter() - start
    finally:
        process.kill()
        process.communicate()
    assert answer == "interrupted\n"
    assert waited < 0.5


def test_slabs():
    """Whole units that grow to the goal of 0.2 s, about fourfold a step at most; every row once."""
    seen = []
    consumers.run_slabs(1000, 7, lambda a, b: seen.append((a, b)), False)
    assert [a for a, _ in seen] == [0, *(b for _, b in seen[:-1])] and seen[-1][1] == 1000
    sizes = [b - a for a, b in seen]
    assert sizes[0] == 7 and all(size % 7 == 0 for size in sizes[:-1]) and len(sizes) > 3
    assert all(b <= 6 * a for a, b in zip(sizes, sizes[1:]))
    slow = []
    consumers.run_slabs(5, 1, lambda a, b: slow.append(b - a) or time.sleep(0.25), False)
    assert slow == [1] * 5
    consumers.run_slabs(0, 1, lambda a, b: slow.append(None), False)
    assert None not in slow


@pytest.mark.parametrize("n, slabs", [(4000, [768, 3232]), (10_000, [768, 3072, 3072, 3088])])
def test_slabs_are_alike(monkeypatch, n, slabs):
    """The last one is not a small rest: at 14,000 rows a second the goal is 2800 rows, and blocks are 768."""
    now, seen = [0.0], []
    monkeypatch.setattr(consumers.time, "perf_counter", lambda: now[0])

    def work(begin, end):
        seen.append(end - begin)
        now[0] += (end - begin) / 14_000

    consumers.run_slabs(n, 768, work, False)
    assert seen == slabs


def test_progress_bar(capsys, rng):
    P = rng.dirichlet(np.ones(9), 300)
    kl.pairwise(P, progress="pairs done")
    assert "pairs done" in capsys.readouterr().err
    kl.kneighbors(P, k=3, progress=True)
    assert "pair" in capsys.readouterr().err
    kl.pairwise(P)
    assert capsys.readouterr().err == ""


def _in_child(queue, P):
    queue.put(kl.pairwise(P, n_jobs=1).tobytes())


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_fork(rng):
    """A child of a process that has used threads can compute on one of its own."""
    P = rng.dirichlet(np.ones(9), 100)
    expected = kl.pairwise(P, n_jobs=2).tobytes()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue, P))
    child.start()
    try:
        assert queue.get(timeout=20) == expected
    finally:
        child.kill()
        child.join()
