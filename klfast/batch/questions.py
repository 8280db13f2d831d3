"""The public questions of `klfast.batch`: those of klfast, on files of any size."""

from __future__ import annotations

from pathlib import Path

import numpy as np


from .. import files
from ..arguments import base_factor
from . import sinks
from .job import Question
from .jobs import Options, run
from .preflight import parse_bytes
from .sources import Source, open_source


def source(path, *, column: str | None = None, ids: str | None = None) -> Source:
    """Distributions in a file, one a row.

    Parameters
    ----------
    path : str or Path
        ``.npy`` (two-dimensional, memory-mapped); ``.npz`` (one array, or a matrix of `scipy.sparse.save_npz`);
        ``.parquet`` (a column of fixed-size lists or lists, or one numeric column a bin); ``.zarr`` (a two-dimensional
        array, or a group with one).
    column : str, optional
        Which column of lists, or which array of an archive or group, where there are several.
    ids : str, optional
        The names of the rows, which answers then carry: a column of the Parquet file (default: ``id``, if there is
        one), an array of the archive or group, or a ``.npy`` file.

    Raises
    ------
    ValueError
        No such file, another kind of file, or damage; the message names the file.
    """
    return path if isinstance(path, Source) else open_source(path, column, ids)


def kneighbors(src, dst, k=10, divergence="kl", *, against=None, input="probs", smoothing=None, layout="edges",
               memory=None, workers=None, n_jobs=None, resume=False, dry_run=False, progress=False, announce=None):
    """The k nearest references of each row, exactly, to the bits of `klfast.kneighbors`.

    Parameters
    ----------
    src : str, Path or `source`
        Rows P: a file. Workers read the rows of their shards from it.
    dst : str or Path
        The output: ``.npz`` or ``.zarr`` with ``distances`` and ``indices``, both (n, k), and ``ids`` and
        ``reference_ids`` where the inputs have them; ``.parquet`` with the neighbours by their ids.
    k, divergence
        As in `klfast.kneighbors`.
    against : str, Path or `source`, optional
        References Q. Default: the rows themselves, each without itself.
    input : str
        What the numbers are: ``"probs"``, ``"counts"``, ``"logits"`` or ``"log_probs"``.
    smoothing : float or tuple, optional
        As in `klfast.Categorical`.
    layout : str
        Of Parquet: ``"edges"`` (source, target, distance) or ``"lists"`` (id, neighbors, distances).
    memory : int or str, optional
        What all processes together may take, such as ``"4G"``; with workers on other machines, their sum. Default: 70%
        of what is free here.
    workers : int, optional
        Shards at a time, under the backend that `joblib.parallel_config` names (default: threads). Default: what
        parallel_config says; else one, with all threads.
    n_jobs : int, optional
        Threads of each worker. Default: the cores of this machine shared among the workers; one for workers elsewhere.
    resume : bool
        Continue a job that was interrupted, if there is one: finished shards are verified and skipped.
    dry_run : bool
        Only estimate.
    progress : bool
        Show a progress bar.
    announce : callable, optional
        Called with the `Estimate` before the work starts. Default: it is logged (logger ``klfast.batch``).

    Returns
    -------
    Result, or Estimate if `dry_run`

    Raises
    ------
    ValueError
        Wrong input, not enough memory or disk, an unfinished job that is not this one; nothing has been computed.
    JobError
        The job ended early: a full disk, an unreadable input, a dead worker. Finished shards are kept.
    """
    options = _options(memory, workers, n_jobs, resume, dry_run, progress, layout, announce)
    question = _question("kneighbors", divergence, input, smoothing, k=_integer("k", k))
    return run(question, source(src), against and source(against), _target(question.kind, dst, src, against), options)


def nearest(src, dst, divergence="kl", *, against=None, input="probs", smoothing=None, layout="edges", memory=None,
            workers=None, n_jobs=None, resume=False, dry_run=False, progress=False, announce=None):
    """The nearest reference of each row; ``distances`` and ``indices`` are (n,). See `kneighbors`."""
    options = _options(memory, workers, n_jobs, resume, dry_run, progress, layout, announce)
    question = _question("nearest", divergence, input, smoothing, k=1)
    return run(question, source(src), against and source(against), _target(question.kind, dst, src, against), options)


def radius_neighbors(src, dst, radius, divergence="kl", *, against=None, limit=None, input="probs", smoothing=None,
                     layout="edges", memory=None, workers=None, n_jobs=None, resume=False, dry_run=False,
                     progress=False, announce=None):
    """The references up to `radius` from each row, nearest first, to the bits of `klfast.radius_neighbors`.

    Into ``.npz`` (CSR, for `scipy.sparse.load_npz`), ``.parquet`` or ``.zarr`` (a group of ``indptr``, ``indices`` and
    ``data``). `limit` is the number of pairs that one shard may find. Memory and disk are planned for from a sample.
    See `kneighbors`.
    """
    options = _options(memory, workers, n_jobs, resume, dry_run, progress, layout, announce)
    question = _question("radius_neighbors", divergence, input, smoothing, radius=float(radius), limit=limit)
    return run(question, source(src), against and source(against), _target(question.kind, dst, src, against), options)


def pairwise(src, dst, against=None, divergence="kl", *, input="probs", smoothing=None, dtype=None, rtol=None,
             base=None, memory=None, workers=None, n_jobs=None, resume=False, dry_run=False, progress=False,
             announce=None):
    """All divergences, (n, m), into ``.npy`` or ``.zarr``. See `kneighbors` and `klfast.pairwise`.

    Where the references fit into `memory` the values are those of `klfast.pairwise`, to the bit. Else they are taken in
    blocks of columns, each around a centre of its own: every value is within `rtol` then, but its last bits
    depend on the blocks.
    """
    options = _options(memory, workers, n_jobs, resume, dry_run, progress, "edges", announce)
    question = _question("pairwise", divergence, input, smoothing, base=base, rtol=rtol,
                         dtype=dtype and np.dtype(dtype).name)
    return run(question, source(src), against and source(against), _target(question.kind, dst, src, against), options)


def rowwise(src, dst, against, divergence="kl", *, input="probs", smoothing=None, base=None, memory=None,
            workers=None, n_jobs=None, resume=False, dry_run=False, progress=False, announce=None):
    """Divergence of each row from the matching row of `against` (or from its only one), to the bits of
    `klfast.rowwise`; into ``.npy``, ``.npz``, ``.parquet`` (id, divergence) or ``.zarr``. See `kneighbors`."""
    options = _options(memory, workers, n_jobs, resume, dry_run, progress, "edges", announce)
    question = _question("rowwise", divergence, input, smoothing, base=base)
    return run(question, source(src), source(against), _target(question.kind, dst, src, against), options)


def _question(kind: str, divergence, parameter, smoothing, base=None, **arguments) -> Question:
    base_factor(base)  # complain now
    if parameter not in ("probs", "counts", "logits", "log_probs"):
        raise ValueError(f"input must be probs, counts, logits or log_probs; got {parameter!r}")
    if isinstance(smoothing, tuple):  # a background as plain numbers, so that the manifest can hold it
        smoothing = tuple(x.tolist() if hasattr(x, "tolist") else x for x in smoothing)
    return Question(kind, divergence, str(parameter), smoothing, base=base, **arguments)


def _options(memory, workers, n_jobs, resume, dry_run, progress, layout, announce) -> Options:
    return Options(parse_bytes(memory), workers, n_jobs, resume, dry_run, progress, layout, announce)


def _integer(name: str, value) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(f"{name} must be a positive integer; got {value!r}")
    return int(value)


def _target(kind: str, dst, *inputs) -> Path:
    """The output's real path; ValueError if it cannot be written or is an input."""
    paths = [Path(getattr(path, "path", path)) for path in inputs if path is not None]
    return files.check_output(Path(dst), sinks.FORMATS[kind], paths)
