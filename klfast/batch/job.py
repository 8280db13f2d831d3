"""What is asked, of which inputs, and in which pieces. Small and frozen: this is what travels to workers."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import klfast as kl

from .planning import Plan
from .sources import Source

PER_PAIR = ("kneighbors", "nearest", "pairwise", "radius_neighbors")  # the others work row by row


@dataclass(frozen=True)
class Question:
    """A question of klfast: its name and its arguments, and what the numbers of the inputs mean."""

    kind: str
    divergence: str | kl.Divergence = "kl"
    parameter: str = "probs"
    smoothing: float | tuple | None = None
    k: int | None = None
    radius: float | None = None
    limit: int | None = None
    base: float | None = None
    rtol: float | None = None
    dtype: str | None = None

    def distributions(self, values) -> kl.Categorical:
        """The distributions that rows of an input stand for."""
        return kl.Categorical(**{self.parameter: values}, smoothing=self.smoothing)

    @property
    def lists(self) -> bool:
        """Whether the answer is a list of k neighbours a row."""
        return self.kind in ("kneighbors", "nearest")


@dataclass(frozen=True)
class Task:
    """One piece of work: rows [begin, end) of one side, against one block of the references."""

    kind: str  # "check": are the rows distributions?  "part": a piece of the answer  "merge": blocks into one
    number: int
    begin: int
    end: int
    block: int = 0
    of_references: bool = False

    @property
    def name(self) -> str:
        side = "q" if self.of_references else "p"
        return f"{self.kind}-{side if self.kind == 'check' else f'{self.block:04d}'}-{self.number:06d}"


@dataclass(frozen=True)
class Job:
    """A question, its inputs, its plan, and the directory of its parts.

    `right` is None where the rows are compared with themselves; `id` names the question, its inputs and its plan.
    """

    question: Question
    left: Source
    right: Source | None
    plan: Plan
    directory: Path
    id: str

    @property
    def references(self) -> Source:
        return self.right or self.left

    @property
    def pairs(self) -> int:
        n, m = self.left.shape[0], self.references.shape[0]
        if self.question.kind not in PER_PAIR:
            return n
        return n * (m - (self.right is None and self.question.kind != "pairwise"))

    def block(self, number: int) -> tuple[int, int]:
        """Rows of the references in a block."""
        begin = number * self.plan.block_rows
        return begin, min(begin + self.plan.block_rows, self.references.shape[0])

    def checks(self) -> list[Task]:
        """Tasks that look at every row once, before any work, as a call in memory does."""
        if self.question.kind not in PER_PAIR:
            return []
        tasks = []
        for source, of_references in ((self.left, False), (self.right, True)):
            if source is not None:
                tasks += [Task("check", i, a, b, of_references=of_references)
                          for i, (a, b) in enumerate(ranges(source.shape[0], self.plan.check_rows))]
        return tasks

    def passes(self) -> list[list[Task]]:
        """The tasks, in groups that run one after another: a block of the references at a time, then the merge."""
        rows = list(enumerate(ranges(self.left.shape[0], self.plan.shard_rows)))
        blocks = range(self.plan.blocks)
        groups = [[Task("part", i, a, b, block) for i, (a, b) in rows] for block in blocks]
        if self.merges:
            groups.append([Task("merge", i, a, b) for i, (a, b) in rows])
        return groups

    @property
    def merges(self) -> bool:
        return self.plan.blocks > 1 and self.question.kind != "pairwise"


def ranges(n: int, step: int) -> list[tuple[int, int]]:
    """0..n in pieces of `step`."""
    return [(begin, min(begin + step, n)) for begin in range(0, n, max(step, 1))]


def identity(question: Question, fingerprints: dict, plan: Plan, versions: dict) -> tuple[dict, str]:
    """What makes two jobs the same job, as JSON data, and a short name for it."""
    inputs = {side: {k: v for k, v in found.items() if k != "path"} for side, found in fingerprints.items()}
    data = json.loads(json.dumps({"question": asdict(question), "inputs": inputs, "versions": versions}, default=list))
    text = json.dumps({**data, "plan": asdict(plan)}, sort_keys=True)
    return data, hashlib.sha256(text.encode()).hexdigest()[:16]
