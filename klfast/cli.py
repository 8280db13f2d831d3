"""The command line: typer reads the arguments, the public functions do the work, `files` reads and writes."""

from __future__ import annotations

import functools
import importlib
import platform
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import numpy as np

import klfast as kl
from klfast import files
from klfast.batch.jobs import JobError
from klfast.batch.result import scaled
from klfast.batch.terminal import Sharding
from klfast.batch.workers import peak_bytes
from klfast.options import (Backend, Base, Column, DivergenceName, DryRun, Ids, Input, InputKind, Jobs, Layout, Memory,
                            NWorkers, Output, Precision, QIds, Resume, Rows, Smoothing, Verbose, argument, option, typer)

# ---- commands ----------------------------------------------------------------------------------------------


def kneighbors(
    P: Rows,
    output: Output,
    against: Annotated[Path | None, option("--against", help="Reference distributions Q; default: P, and each row "
                                               "leaves itself out.")] = None,
    k: Annotated[int, option("-k", "--neighbors", help="Neighbours a row.")] = 10,
    divergence: DivergenceName = "kl",
    input: InputKind = Input.probs,
    smoothing: Smoothing = None,
    n_jobs: Jobs = None,
    memory: Memory = None,
    workers: NWorkers = None,
    backend: Backend = None,
    column: Column = None,
    ids: Ids = None,
    against_ids: QIds = None,
    layout: Layout = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """Exact nearest neighbours of each row.

    Writes an .npz or .zarr with `distances` and `indices`, both (n, k), nearest first, or the edges as .parquet.
    """
    jobs = Sharding(memory, workers, backend, column, ids, against_ids, layout, resume, dry_run, verbose)
    if jobs.needed(output, P, against):
        return sharded(jobs, "kneighbors", P, output, against, divergence, input, smoothing, n_jobs, k=k)
    target = files.check_output(output, ".npz", [P, against] if against else [P])
    with task(P=P, Q=against or P) as finish:
        p = distributions(P, input, smoothing)
        q = p if against is None else distributions(against, input, smoothing)
        distances, indices = kl.kneighbors(p, None if against is None else q, k, divergence, n_jobs=n_jobs,
                                           progress=on_terminal())
        files.write_npz(target, distances=distances, indices=indices)
        finish(p.shape[0] * (q.shape[0] - (against is None)), output)


def radius(
    P: Rows,
    output: Output,
    radius: Annotated[float, option("-r", "--radius", help="Largest value, in nats.")],
    against: Annotated[Path | None, option("--against", help="Reference distributions Q; default: P, and each row "
                                              "leaves itself out.")] = None,
    divergence: DivergenceName = "kl",
    input: InputKind = Input.probs,
    smoothing: Smoothing = None,
    n_jobs: Jobs = None,
    memory: Memory = None,
    workers: NWorkers = None,
    backend: Backend = None,
    column: Column = None,
    ids: Ids = None,
    against_ids: QIds = None,
    layout: Layout = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """All neighbours of each row within a radius.

    Writes a sparse matrix (.npz, for scipy.sparse.load_npz), the edges as .parquet, or a .zarr group.
    """
    jobs = Sharding(memory, workers, backend, column, ids, against_ids, layout, resume, dry_run, verbose)
    sharded(jobs, "radius_neighbors", P, output, against, divergence, input, smoothing, n_jobs, radius=radius)


def pairwise(
    P: Rows,
    output: Output,
    Q: Annotated[Path | None, argument("Q", "Distributions of the columns; default: P.")] = None,
    divergence: DivergenceName = "kl",
    input: InputKind = Input.probs,
    smoothing: Smoothing = None,
    dtype: Annotated[Precision | None, option("--dtype", help="Of the values; default: float64, or float32 if the "
                                                  "inputs hold no more.")] = None,
    rtol: Annotated[float | None, option("--rtol", help="Guaranteed relative accuracy; default 1e-12 (float64), "
                                             "1e-4 (float32).")] = None,
    base: Base = None,
    n_jobs: Jobs = None,
    memory: Memory = None,
    workers: NWorkers = None,
    backend: Backend = None,
    column: Column = None,
    ids: Ids = None,
    against_ids: QIds = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """All divergences D(P_i || Q_j).

    Writes an .npy or .zarr of n rows and m columns, which may be larger than memory.
    """
    jobs = Sharding(memory, workers, backend, column, ids, against_ids, None, resume, dry_run, verbose)
    if jobs.needed(output, P, Q):
        return sharded(jobs, "pairwise", P, output, Q, divergence, input, smoothing, n_jobs, dtype=dtype, rtol=rtol,
                       base=base)
    target = files.check_output(output, ".npy", [P, Q] if Q else [P])
    with task(P=P, Q=Q or P) as finish:
        p = distributions(P, input, smoothing)
        q = p if Q is None else distributions(Q, input, smoothing)
        index = kl.Index(q, divergence, n_jobs=n_jobs)
        single = p.single and q.single
        files.write_npy(target, (*p.shape[:1], len(index)), dtype or ("float32" if single else "float64"),
                        lambda out: index.pairwise(None if Q is None else p, rtol=rtol, base=base, out=out,
                                                   progress=on_terminal()))
        finish(p.shape[0] * len(index), output)


def rowwise(
    P: Rows,
    Q: Annotated[Path, argument("Q", "Distributions to compare with those of P, row by row.")],
    output: Output,
    divergence: DivergenceName = "kl",
    input: InputKind = Input.probs,
    smoothing: Smoothing = None,
    base: Base = None,
    n_jobs: Jobs = None,
    memory: Memory = None,
    workers: NWorkers = None,
    backend: Backend = None,
    column: Column = None,
    ids: Ids = None,
    against_ids: QIds = None,
    resume: Resume = False,
    dry_run: DryRun = False,
    verbose: Verbose = False,
) -> None:
    """Divergences D(P_i || Q_i), row by row.

    Writes an .npy, .npz, .parquet or .zarr of n values.
    """
    jobs = Sharding(memory, workers, backend, column, ids, against_ids, None, resume, dry_run, verbose)
    if jobs.needed(output, P, Q, per_pair=False):
        return sharded(jobs, "rowwise", P, output, Q, divergence, input, smoothing, n_jobs, base=base)
    target = files.check_output(output, ".npy", [P, Q])
    with task(P=P, Q=Q) as finish:
        p, q = (distributions(path, input, smoothing) for path in (P, Q))
        values = np.asarray(kl.rowwise(p, q, divergence, base=base, n_jobs=n_jobs))
        files.write_npy(target, values.shape, values.dtype, lambda out: np.copyto(out, values))
        finish(values.size, output)


def info() -> None:
    """Version, instruction sets, divergences."""
    config = kl.show_config()
    isas = ", ".join(name if runs else f"{name} (not on this machine)" for name, runs in config["isas"].items())
    lines = {"klfast": config["version"], "instruction set": config["isa"], "compiled in": isas,
             "threads": config["threads"],
             "python, numpy": f"{platform.python_version()}, {np.__version__}"}
    for name, value in lines.items():
        print(f"{name:<16} {value}")
    print("divergences")
    for d in kl.divergences():
        print(f"  {d.name:<18} {d.formula}")


def demo(
    output: Annotated[Path, option("-o", "--output", help="Directory to write to.")] = Path("demo_output"),
    n_jobs: Jobs = None,
) -> None:
    """Neighbours of 128,544 image patches.

    Needs pip install 'klfast[demo]'; writes a graph and a picture.
    """
    try:
        for module in ("sklearn.datasets", "matplotlib", "PIL"):
            importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"the demo needs {error.name}: pip install 'klfast[demo]'") from None
    from klfast import demo as main_job

    main_job.run(output, n_jobs, on_terminal())


# ---- inputs, progress, summary ---------------------------------------------------------------------------------


def distributions(path: Path, kind: Input, smoothing: str | None) -> kl.Categorical:
    """The distributions in a file; ValueError names the file."""
    amount, values = parse_smoothing(smoothing), files.read(path)
    try:
        return kl.Categorical(**{kind.value: values}, smoothing=amount)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_smoothing(text: str | None):
    """``0.5`` or ``scheme:number``, as `klfast.Categorical` takes it."""
    if text is None:
        return None
    found = re.fullmatch(r"(?:(jelinek-mercer|dirichlet):)?(.+)", text)
    try:
        scheme, number = found[1], float(found[2])
    except (TypeError, ValueError):
        raise ValueError(f"--smoothing takes a number, jelinek-mercer:WEIGHT or dirichlet:MASS; got {text!r}") from None
    return (scheme, number) if scheme else number


def sharded(jobs: Sharding, kind: str, P: Path, output: Path, Q: Path | None, divergence: str, input: Input,
            smoothing: str | None, n_jobs: int | None, **arguments) -> None:
    """The command as a job of `klfast.batch`."""
    arguments |= dict(divergence=divergence, input=input.value, smoothing=parse_smoothing(smoothing), n_jobs=n_jobs)
    with task(P=P, Q=Q or P):
        result = jobs.run(kind, P, output, Q, arguments, on_terminal())
    if result:
        print(summary(result.pairs, result.seconds, f"{result.peak_memory / 2**20:,.0f} MiB", output)
              + f" ({result.tasks:,} tasks, {result.resumed:,} of them finished before)" * bool(result.resumed))


def on_terminal() -> bool:
    """Whether a person is watching: then a progress bar is shown."""
    return sys.stderr.isatty()


@contextmanager
def task(**names: Path) -> Iterator[Callable[[int, Path], None]]:
    """Times a command; errors about the operands P and Q come to name their files.

    Parameters
    ----------
    P, Q : Path
        The files behind the two operands.

    Yields
    ------
    callable
        ``finish(pairs, output)`` prints the summary: pairs, seconds, pairs a second, peak memory, output.
    """
    start = time.perf_counter()

    def finish(pairs: int, output: Path) -> None:
        print(summary(pairs, time.perf_counter() - start, peak_memory(), output))

    try:
        yield finish
    except ValueError as error:
        message = re.sub(r"^([PQ])(?=:| must| has)", lambda found: str(names[found[1]]), str(error))
        raise ValueError(_as_options(message)) from None


def summary(pairs: int, seconds: float, memory: str, output: Path) -> str:
    """The line at the end of a command."""
    return (f"{pairs:,} pair{'s' * (pairs != 1)} in {seconds:.2f} s, {scaled(pairs / seconds)}pairs/s, "
            f"peak memory {memory}, wrote {output}")


def _as_options(message: str) -> str:
    """Advice to call `klfast.Categorical(counts=..., smoothing=0.5)` as options of the command line."""
    smoothed = re.sub(r"klfast\.Categorical\((\w+)=\.\.\., smoothing=([\d.]+)\)", r"--input \1 --smoothing \2", message)
    return re.sub(r"klfast\.Categorical\((\w+)=\.\.\.\)", r"--input \1", smoothed)


def peak_memory() -> str:
    """The most memory that this process has held, or ``unknown`` where the system does not say."""
    held = peak_bytes()
    return f"{held / 2**20:,.0f} MiB" if held else "unknown"


# ---- the program ----------------------------------------------------------------------------------------------


def _application():
    """The typer application. Commands come back as functions to call, so that errors and Ctrl-C in the work itself
    reach `main` as they are."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

    @app.callback(invoke_without_command=True)
    def klfast(context: typer.Context,
               version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False):
        """Kullback-Leibler divergences between millions of distributions."""
        if version:
            print(f"klfast {kl.__version__}")
        elif context.invoked_subcommand is None:
            print(context.get_help())
        if version or context.invoked_subcommand is None:
            raise typer.Exit()

    for command in (kneighbors, radius, pairwise, rowwise, info, demo):
        @functools.wraps(command)
        def later(*args, command=command, **options):
            return functools.partial(command, *args, **options)

        app.command()(later)
    return app


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 a job ended early, 2 wrong input (one line on stderr), 130 interrupted.

    Parameters
    ----------
    arguments : list of str, optional
        Default: those of the process.
    """
    if typer is None:
        _fail("the command line needs typer: pip install 'klfast[cli]'")
    usage_error = typer.BadParameter.__base__
    try:
        _stop_on_signals()
        job = _application()(arguments, prog_name="klfast", standalone_mode=False)
        if callable(job):
            job()
    except usage_error as error:
        where = error.ctx.command_path if error.ctx else "klfast"
        _fail(f"{error.format_message().rstrip('.')} (see {where} --help)")
    except ValueError as error:
        _fail(str(error))
    except JobError as error:
        _fail(str(error), 1)
    except MemoryError as error:
        _fail(f"not enough memory: {error}")
    except OSError as error:
        _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")
    except KeyboardInterrupt as error:
        _fail(f"interrupted; {error}" if str(error) else "interrupted", 130)
    sys.exit(0)


def _stop_on_signals() -> None:
    """Let a polite request to end (SIGTERM, SIGHUP) clean up as Ctrl-C does."""
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.default_int_handler)


def _fail(message: str, status: int = 2) -> NoReturn:
    print("klfast:", " ".join(message.split()), file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    main()
