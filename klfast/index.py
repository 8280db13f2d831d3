"""Index: a reference set, encoded once and asked many times. Check, encode, plan, run."""

from __future__ import annotations

import numpy as np

from . import _engine, consumers, divergences, plan
from .arguments import base_factor, checked_k, checked_rtol, dense_out
from .distributions import as_distribution
from .encoding import Operand, Reference, check, check_bins


class Index:
    """A reference set, encoded once and asked many times.

    Parameters
    ----------
    Q : array-like (m, K) or Categorical
        One distribution a row: the columns of every answer.
    divergence : str
        ``D(P_i || Q_j)`` of every question; a name of `klfast.divergences`.
    n_jobs : int, optional
        Threads of the encoding, and of the questions unless they say otherwise.

    Notes
    -----
    The index refers to the memory of Q; do not change it while the index lives. Its features take
    half of the bytes of a float64 Q for neighbours, and the whole for float64 `pairwise`.
    """

    def __init__(self, Q, divergence="kl", *, n_jobs=None, _name="Q"):
        self.divergence = divergences.find(divergence)
        self.n_jobs = n_jobs
        self._operand = check(as_distribution(Q), _name, plan.n_threads(n_jobs))
        role = _engine.NATURAL if self.divergence.p_is_mean else _engine.MEAN
        self._reference = Reference(self._operand, role)
        self.info: dict[str, int] = {}

    def __len__(self) -> int:
        return self._operand.n

    def __repr__(self) -> str:
        return f"Index({self._operand.n} distributions over {self._operand.n_bins} bins, {self.divergence.name})"

    def pairwise(self, P=None, *, dtype=None, rtol=None, base=None, out=None, n_jobs=None, progress=False):
        """All values ``D(P_i || Q_j)``; see `klfast.pairwise`. P=None: the rows of Q."""
        threads = plan.n_threads(self.n_jobs if n_jobs is None else n_jobs)
        factor = base_factor(base)
        left, reference = self._meet(P, threads)
        n, m = left.n, self._operand.n
        single_in = left.single and self._operand.single
        out = dense_out(out, (n, m), dtype, np.float32 if single_in else np.float64)
        if left.rows.shares_memory(out) or self._operand.rows.shares_memory(out):
            raise ValueError("out overlaps the memory of P or Q, which the answer would overwrite; give another array")
        single_out = out.dtype == np.float32
        rtol = checked_rtol(rtol, single_out)
        if n == 0 or m == 0:
            return out
        classes = reference.classes_of(None if P is None else left)
        pairing, blocks = self._pair(left, reference, classes, plan.product_in_single(single_out, rtol), False, threads, dense=True)
        consumers.dense(pairing, out, blocks.rows * threads, blocks.column_parts, plan.first_slab(m, left.n_bins, threads),
                        plan.accept_factor(rtol), factor, progress)
        self.info = _info(pairing, n * m)
        return out

    def kneighbors(self, P=None, k=10, *, n_jobs=None, progress=False):
        """The k nearest rows of Q; see `klfast.kneighbors`. P=None: each row of Q, without itself."""
        threads = plan.n_threads(self.n_jobs if n_jobs is None else n_jobs)
        m = self._operand.n
        k = checked_k(k, m, P is None)
        left, reference = self._meet(P, threads)
        if left.n == 0:
            return np.empty((0, k)), np.empty((0, k), np.int64)
        if m < 2:
            return self._search(left, reference, k, False, False, threads, progress)
        index, group, starts, members = reference.distinct
        if index.size == m:
            return self._search(left, reference, k, P is None, False, threads, progress)
        # Rows that agree to the bit are searched once, and each answer is spread over its copies.
        queries = left.select(index) if P is None else left
        wanted = min(index.size, k + (P is None))
        values, classes = self._search(queries, reference, wanted, False, True, threads, progress)
        lists = group if P is None else np.arange(left.n)
        return _engine.expand(values, classes, starts, members, lists.astype(np.int64), P is None, k, threads)

    def nearest(self, P=None, *, n_jobs=None, progress=False):
        """The nearest row of Q; see `klfast.nearest`."""
        values, indices = self.kneighbors(P, 1, n_jobs=n_jobs, progress=progress)
        return values[:, 0], indices[:, 0]

    def _meet(self, P, threads: int) -> tuple[Operand, Reference]:
        """The rows and the reference in one domain: weights that meet log-weights are read as logarithms."""
        if P is None:
            return self._operand, self._reference
        left = check(as_distribution(P), "P", threads)
        check_bins(left.n_bins, self._operand.n_bins)
        if left.rows.domain == _engine.LOGITS:
            return left, self._reference.as_logits
        if self._operand.rows.domain == _engine.LOGITS:
            left = left.as_logits()
        return left, self._reference

    def _search(self, left, reference, k, skip_self, distinct, threads, progress):
        pairing, blocks = self._pair(left, reference, (None, None), True, distinct, threads)
        m = pairing.right.rows.shape[0]
        result = consumers.top(pairing, left.n, m, k, skip_self, blocks.rows * threads, blocks.column_parts,
                               plan.first_slab(m, left.n_bins, threads), progress)
        self.info = _info(pairing, left.n * m)
        return result

    def _pair(self, left: Operand, reference: Reference, classes, single: bool, distinct: bool, threads: int, dense=False):
        """The pairing with the reference encoded, and the blocks to walk it in."""
        natural = reference.operand if self.divergence.p_is_mean else left
        columns = reference.columns(single, distinct, natural.has_zeros)
        c = plan.certificate(left.n_bins, single)
        bins = left.n * left.n_bins * (1 + columns.rows.shape[0] // plan.PRODUCTS_A_BIN)
        threads = plan.worth(threads, bins)
        blocks = plan.blocks(left.n, columns.rows.shape[0], left.n_bins, threads, dense)
        pairing = _engine.Pairing(
            left.rows, left.norms, columns, norm_factor=c.norm, slack_factor=c.slack, slack_floor=c.floor,
            left_extra=left.entropy if self.divergence.adds_entropy else None, left_class=classes[0],
            right_class=classes[1], row_block=blocks.rows, column_block=blocks.columns, n_threads=threads)
        return pairing, blocks


def _info(pairing, pairs: int) -> dict[str, int]:
    s = pairing.stats
    return {"pairs": pairs, "recomputed": s.recomputed, "equal": s.equal, "candidates": s.candidates}
