"""Adapters of klfast and of its peers: each is `prepare(inputs)`, which returns the call to be timed.

What `prepare` does is not timed. klfast is timed from the user's arrays to the answer (validation, encoding and
the allocation of the answer included), except in the "search" question, where its index is built before. The bare
products and the memory floors get everything prepared: they are bounds, not answers.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import pairwise
from time import perf_counter

import numpy as np
from scipy.special import rel_entr

import klfast as kl
from klfast import memory

from . import peers_blocks, peers_divergences, peers_families
from .cases import Inputs
from .forms import negative_entropy, product
from .peers_divergences import Call, by_threads


@dataclass(frozen=True)
class Peer:
    """An adapter. `values(answer, inputs)` reads divergences from its answer; None: it has none (a bound)."""

    prepare: Callable[[Inputs], Call]
    values: Callable | None = lambda answer, x: answer
    module: str | None = None


def faiss_library():
    """FAISS, whose own OpenBLAS is told to take AVX2 kernels: the AVX-512 ones that it would choose take 2.4 times as
    long for the products of a search (Zen 5), those of NumPy half as long."""
    if "faiss" not in sys.modules and platform.machine() == "x86_64":
        os.environ["OPENBLAS_CORETYPE"] = "Haswell"
    try:
        return import_module("faiss")
    finally:
        os.environ.pop("OPENBLAS_CORETYPE", None)


@contextmanager
def limit_threads(threads: int):
    """The same number of threads for every BLAS and OpenMP runtime, torch and FAISS."""
    from threadpoolctl import threadpool_limits

    for name in ("torch", "faiss"):
        try:
            module = faiss_library() if name == "faiss" else import_module(name)
        except ImportError:
            continue
        (module.set_num_threads if name == "torch" else module.omp_set_num_threads)(threads)
    with threadpool_limits(limits=threads):
        yield


# ---- klfast -------------------------------------------------------------------------------------------------


def klfast(x: Inputs) -> Call:
    jobs = {"n_jobs": x.threads}
    if x.question == "pairwise":
        return lambda: kl.pairwise(x.P, x.Q, x.divergence, **jobs)
    if x.question == "pairwise_new":
        def call():
            memory.release()
            return kl.pairwise(x.P, x.Q, x.divergence, **jobs)
        return call
    if x.question == "pairwise_out":
        out = kl.pairwise(x.P, x.Q, x.divergence, **jobs)
        return lambda: kl.pairwise(x.P, x.Q, x.divergence, out=out, **jobs)
    if x.question == "kneighbors":
        return lambda: kl.kneighbors(x.P, x.Q, x.k, x.divergence, **jobs)
    if x.question == "search":
        index = kl.Index(x.Q, x.divergence, **jobs)
        return lambda: index.kneighbors(x.P, x.k)
    if x.question == "self_neighbors":
        return lambda: kl.kneighbors(kl.Categorical(counts=x.P, smoothing=0.5), k=x.k, **jobs)
    if x.question == "nearest":
        return lambda: kl.nearest(x.P, x.Q, x.divergence, **jobs)
    if x.question == "rowwise":
        return lambda: kl.rowwise(x.P, x.Q, x.divergence, **jobs)
    if x.question == "rowwise_logits":
        return lambda: kl.rowwise(kl.Categorical(logits=x.P), kl.Categorical(logits=x.Q), x.divergence, **jobs)
    if x.question == "radius":
        return lambda: kl.radius_neighbors(x.P, x.Q, x.radius, x.divergence, **jobs)
    if x.question == "reduce":
        return lambda: kl.reduce(x.P, x.Q, x.op, x.divergence, **jobs)
    if x.question in ("family", "family_rowwise"):
        return peers_families.klfast(x)
    raise ValueError(f"no adapter for the question {x.question!r}")


def klfast_single(x: Inputs) -> Call:
    return klfast(replace(x, threads=1))


def smoothed(counts: np.ndarray) -> np.ndarray:
    """What `Categorical(counts=counts, smoothing=0.5)` stands for, in float64."""
    x = counts + 0.5
    return x / x.sum(axis=1, keepdims=True)


# ---- NumPy and SciPy ----------------------------------------------------------------------------------------


expert = product("kl")


def expert_nearest(x: Inputs) -> Call:
    """Blocks of 4 MiB of values, as scikit-learn's pairwise_distances_argmin chunks them."""
    block = max(1, (1 << 19) // len(x.Q))

    def call():
        log_q = np.log(x.Q).T
        values, columns = np.empty(len(x.P)), np.empty(len(x.P), np.int64)
        for a in range(0, len(x.P), block):
            p = x.P[a : a + block]
            tile = p @ log_q
            c = columns[a : a + block] = tile.argmax(axis=1)
            values[a : a + block] = negative_entropy(p) - tile[np.arange(len(p)), c]
        return values, columns

    return call


def numpy_top(x: Inputs) -> Call:
    def call():
        D = expert(x.P, x.Q)
        c = np.argpartition(D, x.k, axis=1)[:, : x.k]
        v = np.take_along_axis(D, c, 1)
        order = v.argsort(axis=1)
        return np.take_along_axis(v, order, 1), np.take_along_axis(c, order, 1)

    return call


def numpy_rowwise(x: Inputs) -> Call:
    return lambda: np.einsum("ij,ij->i", x.P, np.log(x.P / x.Q))


def scipy_rel_entr(x: Inputs) -> Call:
    if x.question == "rowwise":
        return lambda: rel_entr(x.P, x.Q).sum(axis=-1)
    if x.divergence == "js":
        def call():
            p, q = x.P[:, None], x.Q[None]
            middle = (p + q) / 2
            return (rel_entr(p, middle).sum(axis=-1) + rel_entr(q, middle).sum(axis=-1)) / 2

        return call
    return lambda: rel_entr(x.P[:, None], x.Q[None]).sum(axis=-1)


def scipy_entropy(x: Inputs) -> Call:
    from scipy.stats import entropy

    return lambda: entropy(x.P, x.Q, axis=1)


# ---- bounds -------------------------------------------------------------------------------------------------


def bare_product(x: Inputs) -> Call:
    """Only the matrix product, into a fresh array: the logarithm of Q is ready."""
    log_q = np.log(x.Q)
    return lambda: np.matmul(x.P, log_q.T)


def bare_product_out(x: Inputs) -> Call:
    """The same, into an array in use."""
    log_q = np.log(x.Q)
    out = np.matmul(x.P, log_q.T)
    return lambda: np.matmul(x.P, log_q.T, out=out)


def expert_out(x: Inputs) -> Call:
    """What an expert writes for KL where the array for the answer is there: nothing else of its size."""
    out = expert(x.P, x.Q)

    def call():
        np.matmul(x.P, np.log(x.Q).T, out=out)
        return np.subtract(negative_entropy(x.P)[:, None], out, out=out)

    return call


def bare_product_blocks(x: Inputs) -> Call:
    """Only the float32 products of all pairs, block by block into one reused array; nothing is selected."""
    P = np.asarray(x.P, np.float32)
    Q = np.asarray(x.Q, np.float32)
    if x.question == "self_neighbors":
        P, Q = (smoothed(counts).astype(np.float32) for counts in (P, Q))
    log_q = np.log(Q)
    rows, columns = min(len(P), 4096), min(len(Q), 8192)
    out = np.empty((rows, columns), np.float32)

    def call():
        for a in range(0, len(P), rows):
            p = P[a : a + rows]
            for b in range(0, len(Q), columns):
                q = log_q[b : b + columns]
                np.matmul(p, q.T, out=out[: len(p), : len(q)])

    return call


def read_once(x: Inputs, *arrays: np.ndarray) -> Call:
    """A dot product over the bytes of the inputs, by whichever way of reading them is fastest here.

    Where one core can saturate the memory, more threads only disturb each other: both are tried.
    """
    from threadpoolctl import ThreadpoolController

    first, last = arrays[0].reshape(-1), arrays[-1].reshape(-1)
    controller = ThreadpoolController()
    pool = ThreadPoolExecutor(x.threads)
    parts = [slice(*b) for b in pairwise(np.linspace(0, first.size, x.threads + 1).astype(int))]

    def one_core():
        with controller.limit(limits=1, user_api="blas"):
            return np.dot(first, last)

    def one_part_a_thread():
        with controller.limit(limits=1, user_api="blas"):
            return sum(pool.map(lambda part: np.dot(first[part], last[part]), parts))

    def seconds(call):
        start = perf_counter()
        call()
        return perf_counter() - start

    ways = [lambda: np.dot(first, last), one_core, one_part_a_thread]
    return min(ways, key=lambda way: min(seconds(way) for _ in range(4)))


# ---- compiled libraries -------------------------------------------------------------------------------------


METRICS = {"kl": "kullbackleibler", "js": "jensenshannon", "js_distance": "jensenshannon"}


def squared_js(answer, x: Inputs):
    """SciPy, SimSIMD and NumKong return the Jensen–Shannon distance, the square root of the divergence."""
    return answer**2 if x.divergence == "js" else answer


def simsimd(x: Inputs) -> Call:
    import simsimd

    return lambda: np.asarray(simsimd.cdist(x.P, x.Q, metric=METRICS[x.divergence], threads=x.threads))


def numkong(x: Inputs) -> Call:
    """NumKong's cdist has no threads; it releases the GIL, so rows are shared among Python threads."""
    import numkong

    metric = METRICS[x.divergence]
    return by_threads(x, lambda P, out: numkong.cdist(P, x.Q, metric=metric, out=out))


def faiss(x: Inputs) -> Call:
    """Maximum inner product with log Q: the same neighbours up to float32. Only the search is timed."""
    import faiss

    index = faiss.IndexFlatIP(x.Q.shape[1])
    index.add(np.log(x.Q).astype(np.float32))
    P, h = x.P.astype(np.float32), negative_entropy(x.P)

    def call():
        products, columns = index.search(P, x.k)
        values = h[:, None] - products
        return (values, columns) if x.question != "nearest" else (values[:, 0], columns[:, 0])

    return call


def torch_kl_div(x: Inputs) -> Call:
    import torch
    from torch.nn.functional import kl_div, log_softmax

    p, q = torch.from_numpy(x.P), torch.from_numpy(x.Q)
    if x.question == "rowwise":
        return lambda: kl_div(q.log(), p, reduction="none").sum(-1).numpy()

    def call():
        return kl_div(log_softmax(q, -1), log_softmax(p, -1), reduction="none", log_target=True).sum(-1).numpy()

    return call


PEERS = {
    "expert NumPy": Peer(peers_divergences.expert),
    "expert NumPy, blocks": Peer(expert_nearest),
    "NumPy + argpartition": Peer(numpy_top),
    "NumPy einsum": Peer(numpy_rowwise),
    "scipy rel_entr": Peer(scipy_rel_entr),
    "scipy stats.entropy": Peer(scipy_entropy),
    "bare DGEMM": Peer(bare_product, None),
    "bare SGEMM": Peer(bare_product, None),
    "expert NumPy, into out": Peer(expert_out),
    "bare DGEMM, into out": Peer(bare_product_out, None),
    "bare SGEMM, into out": Peer(bare_product_out, None),
    "bare SGEMM, blocks": Peer(bare_product_blocks, None),
    "memory floor (read P)": Peer(lambda x: read_once(x, x.P), None),
    "memory floor (read P, Q)": Peer(lambda x: read_once(x, x.P, x.Q), None),
    "SimSIMD": Peer(simsimd, squared_js, module="simsimd"),
    "NumKong": Peer(numkong, squared_js, module="numkong"),
    "FAISS IndexFlatIP": Peer(faiss, module="faiss"),
    "torch kl_div": Peer(torch_kl_div, module="torch"),
    "torch log_softmax + kl_div": Peer(torch_kl_div, module="torch"),
    "klfast, 1 thread": Peer(klfast_single),
    "NumPy, row by row": Peer(peers_divergences.row_by_row),
    "scipy cdist": Peer(peers_divergences.scipy_cdist, squared_js),
    "scikit-learn additive_chi2": Peer(peers_divergences.sklearn_chi2, module="sklearn"),
    "torch cdist": Peer(peers_divergences.torch_cdist, module="torch"),
    "expert NumPy, Gaussians": Peer(peers_families.numpy_products),
    "NumPy, closed form by rows": Peer(peers_families.numpy_normal),
    "torch.distributions": Peer(peers_families.torch_kl, module="torch"),
    "NumPy, closed form": Peer(peers_families.numpy_kl),
    "FAISS, f32": Peer(peers_divergences.faiss_all_pairs, module="faiss"),
    "expert NumPy, radius": Peer(peers_blocks.numpy_radius),
    "expert NumPy, reduced": Peer(peers_blocks.numpy_reduce),
    "NumPy, mean of log Q": Peer(peers_blocks.mean_of_logarithms),
    "scikit-learn NearestNeighbors": Peer(peers_blocks.sklearn_radius, peers_blocks.from_sklearn, module="sklearn"),
    "FAISS IndexFlatL2, f32": Peer(peers_blocks.faiss_radius, peers_blocks.from_faiss, module="faiss"),
}
