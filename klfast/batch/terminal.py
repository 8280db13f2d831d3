"""Jobs from the command line: when one is needed, its options, its announcement, log lines and messages."""

from __future__ import annotations

import contextlib
import logging
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from . import pool, preflight, questions
from .jobs import JobError
from .result import Result

# Multiply-adds up to which a question is answered in memory, at once: a minute or two on two cores.
DIRECT_WORK = 1e13
DIRECT_FORMATS = (".npy", ".npz")
FORMATS = (*DIRECT_FORMATS, ".parquet", ".pq", ".zarr")


@dataclass(frozen=True)
class Sharding:
    """The options of a command that concern jobs; see `klfast.batch.kneighbors`."""

    memory: str | None = None
    workers: int | None = None
    backend: str | None = None
    column: str | None = None
    ids: str | None = None
    against_ids: str | None = None
    layout: str | None = None
    resume: bool = False
    dry_run: bool = False
    verbose: bool = False

    def needed(self, output: Path, P: Path, Q: Path | None, per_pair: bool = True) -> bool:
        """Whether this is a job: an option of jobs is given, another format than .npy and .npz, or much work."""
        if any(value is not None and value is not False for name, value in asdict(self).items() if name != "verbose"):
            return True
        inputs = [path for path in (P, Q) if path]
        if any(path.suffix.lower() not in DIRECT_FORMATS for path in (output, *inputs)):
            return all(path.suffix.lower() in FORMATS for path in (output, *inputs))
        try:
            shapes = [questions.source(path).shape for path in inputs]
            size = sum(path.stat().st_size for path in inputs)
        except (ValueError, OSError):  # whoever reads them will say what is wrong
            return False
        work = shapes[0][0] * shapes[0][1] * (shapes[-1][0] if per_pair else 1)
        return work > DIRECT_WORK or size > preflight.available_memory() // 2

    def run(self, kind: str, P: Path, output: Path, Q: Path | None, arguments: dict, progress: bool) -> Result | None:
        """Do the job; None after a dry run."""
        if self.layout:
            arguments = {**arguments, "layout": self.layout}
        source = questions.source(P, column=self.column, ids=self.ids)
        against = Q and questions.source(Q, column=self.column, ids=self.against_ids or self._shared_ids)
        try:
            with pool.backend(self.backend, self.workers), _log_lines(self.verbose):
                result = getattr(questions, kind)(
                    source, output, against=against, memory=self.memory, workers=self.workers, resume=self.resume,
                    dry_run=self.dry_run, progress=progress, announce=_announce, **arguments)
        except JobError as error:
            raise JobError(str(error).replace("resume goes on", "--resume goes on")) from None
        except ValueError as error:
            raise ValueError(str(error).replace("job: resume it,", "job: --resume it,")) from None
        except KeyboardInterrupt:
            if _directory(output).exists():
                raise KeyboardInterrupt(f"finished shards are kept in {_directory(output)}; --resume goes on from "
                                        "there") from None
            raise
        return result if isinstance(result, Result) else None

    @property
    def _shared_ids(self) -> str | None:
        """The name of the column of ids, which is the same in both inputs; a .npy file belongs to the first one."""
        return None if self.ids is None or self.ids.endswith(".npy") else self.ids


def _announce(estimate: preflight.Estimate) -> None:
    print(repr(estimate), file=sys.stderr)


def _directory(output: Path) -> Path:
    return output.with_name(output.name + ".parts")


@contextlib.contextmanager
def _log_lines(verbose: bool):
    """A line on stderr for each shard, above the progress bar."""
    if not verbose:
        yield
        return

    class Lines(logging.Handler):
        def emit(self, record):
            tqdm.write(self.format(record), file=sys.stderr)

    logger, handler = logging.getLogger("klfast.batch"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
