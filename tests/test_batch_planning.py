"""The plan of a job as a table: sizes, workers and memory in; rows of a shard, references of a block out."""

from __future__ import annotations

from dataclasses import replace

import joblib
import pytest

from klfast.batch import planning, pool, preflight
from klfast.batch.planning import Plan, Sizes, Workers

MIB = 1 << 20
ONE, TWO_THREADS = Workers(1, 1, 2), Workers(2, 1, 1)
TWO_PROCESSES, CLUSTER = Workers(2, 2, 1, in_driver=False), Workers(100, 100, 16, local=False, in_driver=False)
SIZES = Sizes(n=200_000, m=200_000, n_bins=64, row_bytes=512, reference_bytes=872, answer_bytes=768, least_block=11)
ROWS = replace(SIZES, per_pair=False, answer_bytes=64)


@pytest.mark.parametrize(("sizes", "workers", "memory", "shards", "blocks"), [
    (SIZES, ONE, 1024 * MIB, 32, 1),  # 32 s of work on two threads: a second each
    (SIZES, TWO_THREADS, 1024 * MIB, 64, 1),
    (SIZES, TWO_PROCESSES, 1024 * MIB, 64, 1),
    (SIZES, TWO_THREADS, 256 * MIB, 290, 1),  # 166 MiB of references just fit into 256 - 88
    (SIZES, TWO_THREADS, 250 * MIB, 32, 2),
    (SIZES, TWO_PROCESSES, 512 * MIB, 32, 2),  # each process holds its own
    (replace(SIZES, n=20_000, m=20_000), ONE, 1024 * MIB, 1, 1),  # a third of a second: one shard
    (replace(SIZES, n=3_000, m=10), ONE, 1024 * MIB, 1, 1),
    (replace(SIZES, n=0), ONE, 1024 * MIB, 0, 1),
    (replace(SIZES, m=0), ONE, 1024 * MIB, 1, 1),
    (replace(SIZES, n=10**8, m=10**8), CLUSTER, 100 << 36, 8400, 2),  # 81 GiB of references on nodes of 64 GiB
    (replace(SIZES, n=10**8, m=10**6), ONE, 64 << 30, 1334, 1),  # a minute each
    (ROWS, ONE, 1024 * MIB, 1, 1),  # linear work: memory alone decides
    (replace(ROWS, n=10**8), ONE, 1024 * MIB, 59, 1),
])
def test_plans(sizes, workers, memory, shards, blocks):
    plan = planning.make(sizes, workers, memory)
    assert -(-sizes.n // plan.shard_rows) == pytest.approx(shards, rel=0.02)
    assert plan.blocks == blocks
    assert planning.peak(sizes, plan, workers) <= memory


def test_a_plan_is_a_pure_function():
    assert planning.make(SIZES, ONE, 256 * MIB) == planning.make(SIZES, ONE, 256 * MIB)


@pytest.mark.parametrize("workers", [ONE, TWO_THREADS, TWO_PROCESSES])
@pytest.mark.parametrize("sizes", [SIZES, ROWS, replace(SIZES, value_bytes=8), replace(SIZES, least_block=5000)])
def test_a_refusal_names_memory_that_does(sizes, workers):
    with pytest.raises(ValueError, match=r"1 MiB is not enough .* MiB would do") as caught:
        planning.make(sizes, workers, MIB)
    enough = int(str(caught.value).split("; ")[1].split()[0].replace(",", "")) * MIB
    plan = planning.make(sizes, workers, enough)
    assert planning.peak(sizes, plan, workers) <= enough
    with pytest.raises(ValueError, match="would do"):
        planning.make(sizes, workers, int(0.97 * enough))


def test_blocks_are_of_one_size():
    plan = planning.make(SIZES, ONE, 180 * MIB)
    assert plan.blocks == 3 and plan.block_rows == -(-200_000 // 3)


@pytest.mark.parametrize(("text", "count"), [
    ("4G", 4 << 30), ("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("100kb", 100 << 10), ("2T", 2 << 40), ("77", 77),
    (12345, 12345), (None, None)])
def test_memory_is_read(text, count):
    assert preflight.parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "G", "4Q", "-1", "nan", "inf", 0, -5, 1.5j, True])
def test_memory_that_makes_no_sense(text):
    with pytest.raises(ValueError, match="memory is a number of bytes"):
        preflight.parse_bytes(text)


def test_workers_and_threads_never_exceed_the_cores():
    cores = joblib.cpu_count()
    assert pool.available(None, None) == Workers(1, 1, cores)
    for backend in ("threading", "loky"):
        for workers in (1, 2, cores, 2 * cores):
            with joblib.parallel_config(backend=backend):
                found = pool.available(workers, None)
            assert found.workers == workers and found.threads == max(1, cores // workers)
            assert found.in_driver == (backend == "threading" or workers == 1)
    with joblib.parallel_config(backend="loky", n_jobs=2, inner_max_num_threads=3):
        assert pool.available(None, None) == Workers(2, 2, 3, in_driver=False)
        assert pool.available(None, 5).threads == 5
    with joblib.parallel_config(n_jobs=2):
        assert pool.available(None, None).workers == 2


def test_plans_survive_json():
    plan = planning.make(SIZES, ONE, 256 * MIB)
    assert Plan(**vars(plan)) == plan
