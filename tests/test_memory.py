"""Large answers reuse the memory of those that were freed, and of no other."""

import gc
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import klfast as kl
from klfast import memory

pytestmark = pytest.mark.skipif(not memory.CAN_KEEP, reason="this system has no MADV_FREE: nothing is kept")
SHAPE = (2100, 1003)  # 16.07 MiB of float64


def address(x):
    return x.__array_interface__["data"][0]


@pytest.fixture(autouse=True)
def nothing_kept():
    gc.collect()
    memory.release()


def test_freed_memory_is_used_again():
    x, kept = memory.empty_or_kept(SHAPE, np.float64)
    assert not kept and x.shape == SHAPE and x.flags.c_contiguous and x.flags.writeable
    x[:] = 1
    at = address(x)
    del x
    y, kept = memory.empty_or_kept((2100, 1001), np.float64)
    assert kept and address(y) == at and y.shape == (2100, 1001)
    del y
    z, kept = memory.empty_or_kept((4300, 1001), np.float64)  # too large: what was kept is not held beside it
    assert not kept and not memory._kept
    del z
    z, kept = memory.empty_or_kept(SHAPE, np.float64)  # half of what is kept: a waste
    assert not kept


def test_small_arrays_start_a_cache_line():
    for shape in [(1, 1), (7, 5), (1000, 1000)]:
        x = memory.empty(shape, np.float32)
        assert address(x) % 64 == 0 and x.shape == shape and x.dtype == np.float32


@pytest.mark.parametrize("held", [lambda x: x[5:7, ::2], lambda x: x.T, lambda x: memoryview(x), lambda x: x.view("u1"),
                                  lambda x: x.reshape(-1)[9:].base, lambda x: iter(x)],
                         ids=["slice", "transpose", "memoryview", "view", "base", "iterator"])
def test_memory_in_use_is_not_given_again(held):
    x = memory.empty(SHAPE, np.float64)
    at, rest = address(x), held(x)
    del x
    gc.collect()
    y = memory.empty(SHAPE, np.float64)
    assert address(y) != at
    del rest
    gc.collect()
    z = memory.empty(SHAPE, np.float64)
    assert address(z) == at


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("m", [1999, 2048, 2051])
def test_answers_in_kept_memory_are_the_same(rng, dtype, m):
    """Also those that are written past the caches, whole lines or not."""
    n = 2 * memory.LARGE // np.dtype(dtype).itemsize // m // 2 + 5
    P, Q = rng.dirichlet(np.ones(5), n), rng.dirichlet(np.ones(5), m)
    first = kl.pairwise(P, Q, dtype=dtype)
    expected, at = first.copy(), address(first)
    first[:] = np.nan
    del first
    second = kl.pairwise(P, Q, dtype=dtype)
    assert address(second) == at
    assert second.tobytes() == expected.tobytes()
    third = kl.pairwise(P, Q, dtype=dtype)
    assert address(third) != at and third.tobytes() == expected.tobytes()


def test_chunks_take_turns(rng):
    P, Q = rng.dirichlet(np.ones(4), 10_000), rng.dirichlet(np.ones(4), 1000)
    chunks = kl.pairwise_chunked(P, Q, working_memory=17)
    seen = {address(chunk) for chunk in chunks if chunk.nbytes >= memory.LARGE}
    assert 1 <= len(seen) <= 2  # a chunk lives until the loop has the next
    memory.release()
    chunks = kl.pairwise_chunked(P, Q, working_memory=17, reduce_func=lambda chunk, _: (address(chunk), chunk.nbytes))
    assert len({at for at, size in chunks if size >= memory.LARGE}) == 1


def test_no_more_is_kept_than_promised(monkeypatch):
    arrays = [memory.empty(SHAPE, np.float64) for _ in range(memory.MOST + 2)]
    del arrays
    assert len(memory._kept) == memory.MOST
    monkeypatch.setattr(memory, "KEEP", 3 << 24)
    x = memory.empty(SHAPE, np.float64)
    del x
    assert len(memory._kept) == 2 and sum(map(len, memory._kept)) <= 3 << 24
    x = memory.empty((1 << 23,), np.float64)
    assert not memory._kept
    del x
    assert not memory._kept  # 64 MiB are more than it may keep


def test_keep_nothing():
    script = ("import klfast as kl, numpy as np; from klfast import memory\n"
              "assert kl.show_config()['keeps'] == 0\nx = memory.empty((1 << 22,), np.float64); del x\n"
              "assert not memory._kept")
    subprocess.run([sys.executable, "-c", script], env=os.environ | {"KLFAST_KEEP_MIB": "0"}, check=True)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="this system does not say what is marked free")
def test_kept_memory_is_free_to_the_system():
    def lazily_free():
        lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("LazyFree:")) << 10

    x = memory.empty((1 << 23,), np.float64)
    x.fill(1)
    before = lazily_free()
    del x
    assert lazily_free() - before >= 60 << 20


def test_threads_share_nothing():
    """Each array is its thread's alone while it lives."""
    wrong = []

    def work(number):
        for turn in range(20):
            x = memory.empty(((1 << 21) + 512 * (turn % 3),), np.float64)
            x.fill(number)
            if not (x == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_answers_are_pickled_as_any_array():
    x = memory.empty(SHAPE, np.float64)
    x[:] = np.arange(SHAPE[1])
    assert (pickle.loads(pickle.dumps(x)) == x).all()
