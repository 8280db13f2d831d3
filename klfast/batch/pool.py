"""Which workers joblib has, and how many threads each may use."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import joblib
from joblib.parallel import get_active_backend

from .columnar import extra
from .planning import Workers

WAVE = 4  # tasks a worker in a call, for backends that hand results back only at the end of a call


def available(workers: int | None, n_jobs: int | None) -> Workers:
    """The workers of the backend that `joblib.parallel_config` names; threads of this process if it names none.

    Parameters
    ----------
    workers : int, optional
        Tasks at a time. Default: what parallel_config says; one if it says nothing.
    n_jobs : int, optional
        Threads of each worker. Default: ``inner_max_num_threads`` of parallel_config, else this machine's cores shared
        among the workers, and one for workers elsewhere.
    """
    if workers is not None and (workers == 0 or workers < -joblib.cpu_count()):
        raise ValueError(f"workers must be a nonzero integer; got {workers}")
    backend, configured = get_active_backend(prefer="threads")[0], get_active_backend()[1]
    kind = type(backend).__name__
    threads = getattr(backend, "uses_threads", False)
    if workers is None:
        workers = configured if configured is not None else 1 if threads else -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib says what it falls back to when the work starts
        workers = max(1, backend.effective_n_jobs(workers))
    local = threads or kind in ("LokyBackend", "MultiprocessingBackend")
    in_driver = threads or (local and workers == 1)
    if n_jobs is None:
        n_jobs = backend.inner_max_num_threads or (max(1, joblib.cpu_count() // workers) if local else 1)
    elif n_jobs < 0:
        n_jobs = max(1, joblib.cpu_count() + 1 + n_jobs)
    processes = 1 if in_driver else _processes(backend, workers)
    return Workers(workers, processes, n_jobs, local, in_driver)


def _processes(backend, workers: int) -> int:
    """Processes that the workers live in: a Dask worker may have several threads."""
    client = getattr(backend, "client", None)
    return max(1, min(workers, len(client.ncores()))) if client is not None else workers


def run(workers: Workers, function, tasks: list) -> Iterator:
    """Results of function(task), each as soon as it is there, whatever the order."""
    backend, _ = get_active_backend(prefer="threads")
    if hasattr(backend, "client"):
        _report_deaths(backend)
    calls = [joblib.delayed(function)(task) for task in tasks]
    count = min(workers.workers, max(1, len(tasks)))
    if count == 1 and workers.in_driver:
        yield from (function(task) for task in tasks)
    elif backend.supports_return_generator:
        yield from _parallel(workers, "generator_unordered")(calls)
    else:
        for begin in range(0, len(calls), WAVE * workers.workers):
            yield from _parallel(workers, "list")(calls[begin : begin + WAVE * workers.workers])


def _report_deaths(backend) -> None:
    """Let joblib's Dask backend report a task that Dask gives up because its workers died: it waits forever else
    (joblib 1.6, `DaskDistributedBackend._collect`, calls back for tasks that end well only)."""
    submit = type(backend).submit

    def reporting(function, callback=None):
        future = submit(backend, function, callback)
        if callback is not None:
            future.add_done_callback(lambda f: callback(f.exception()) if f.exception() is not None else None)
        return future

    backend.submit = reporting


def _parallel(workers: Workers, return_as: str) -> joblib.Parallel:
    return joblib.Parallel(n_jobs=workers.workers, prefer="threads", batch_size=1, return_as=return_as)


@contextmanager
def backend(name: str | None, workers: int | None) -> Iterator[None]:
    """The joblib backend of this name, set up where it needs that; None: whatever is configured.

    Dask takes the scheduler that DASK_SCHEDULER_ADDRESS names, or starts workers here; Ray the cluster of RAY_ADDRESS,
    or it starts one here.
    """
    if name is None:
        yield
        return
    packages = {"dask": "distributed", "ray": "ray.util.joblib", "spark": "joblibspark"}
    module = extra(packages[name], name, f"the backend {name}") if name in packages else None
    if name in ("ray", "spark"):
        getattr(module, f"register_{name}")()
    with module.Client() if name == "dask" else nullcontext():
        try:
            context = joblib.parallel_config(backend=name, n_jobs=workers or -1)
        except ValueError as error:
            raise ValueError(f"joblib has no backend {name!r}: {error}") from None
        with context:
            yield
