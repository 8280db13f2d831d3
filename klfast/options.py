"""What the commands of the command line take: typer's arguments and options, with their help."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

try:
    import typer
except ImportError:  # the extra `cli` is not installed; `main` says so
    typer = None


class Input(StrEnum):
    """What the numbers of the inputs are."""

    probs = "probs"
    counts = "counts"
    logits = "logits"
    log_probs = "log_probs"


class Precision(StrEnum):
    """Type of the values."""

    float32 = "float32"
    float64 = "float64"


def option(*names: str, help: str):
    """A typer option; nothing without typer."""
    return typer and typer.Option(*names, help=help)


def argument(name: str, help: str):
    """A typer argument; nothing without typer."""
    return typer and typer.Argument(metavar=name, help=help)


Rows = Annotated[Path, argument("P", "Distributions, one a row: .npy, .npz (one array, or scipy.sparse.save_npz), "
                                      ".parquet, .zarr.")]
Output = Annotated[Path, option("-o", "--output", help="File to write; one that exists is replaced at the end.")]
DivergenceName = Annotated[str, option("--divergence", "-d", help="One of those that `klfast info` lists.")]
InputKind = Annotated[Input, option("--input", help="What the numbers are.")]
Smoothing = Annotated[str | None, option("--smoothing", help="Number added to every bin, or jelinek-mercer:WEIGHT, "
                                             "or dirichlet:MASS.")]
Base = Annotated[float | None, option("--base", help="Base of the logarithm; default e (nats), 2 gives bits.")]
Jobs = Annotated[int | None, option("--n-jobs", "-j", help="Threads (of each worker); default: the cores this process "
                                     "may use.")]
Memory = Annotated[str | None, option("--memory", help="What the job may take, such as 4G; inputs may be larger.")]
NWorkers = Annotated[int | None, option("--workers", help="Shards at a time; default 1, with all threads.")]
Backend = Annotated[str | None, option("--backend", help="joblib's: threading (default), loky, dask, ray, spark.")]
Resume = Annotated[bool, option("--resume", help="Go on with a job that was interrupted.")]
DryRun = Annotated[bool, option("--dry-run", help="Only say what the job will take.")]
Verbose = Annotated[bool, option("-v", "--verbose", help="A line for each shard.")]
Column = Annotated[str | None, option("--column", help="Column of lists (Parquet) or array (.npz, Zarr) to read.")]
Ids = Annotated[str | None, option("--ids", help="Names of the rows: a column or array of the input, or a .npy.")]
QIds = Annotated[str | None, option("--against-ids", help="Names of the rows of Q, if not as --ids says.")]
Layout = Annotated[str | None, option("--layout", help="Of .parquet: edges (default), or lists.")]
