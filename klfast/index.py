"""Index: a reference set, encoded once and asked many times. Check, encode, plan, run."""

from __future__ import annotations

import numpy as np

from . import _engine, consumers, divergences, memory, plan
from .arguments import (base_factor, checked_axis, checked_k, checked_limit, checked_op, checked_radius, checked_rtol,
                        dense_out)
from .distributions import as_distribution, as_pair
from .encoding import Operand, Reference, check, check_match


class Index:
    """A reference set, encoded once and asked many times.

    Parameters
    ----------
    Q : array-like (m, K) or Categorical
        One distribution a row: the columns of every answer.
    divergence : str or Divergence
        ``D(P_i || Q_j)`` of every question; a name of `klfast.divergences`, or such as ``klfast.Renyi(0.5)``.
    n_jobs : int, optional
        Threads of the encoding, and of the questions unless they say otherwise.

    Notes
    -----
    The index refers to the memory of Q; do not change it while the index lives. Its features take
    half of the bytes of a float64 Q for neighbours, and the whole for float64 `pairwise` (for neighbours, too, by
    Renyi's divergence of an order above 1 and chi-squared, where rows are far apart).
    """

    def __init__(self, Q, divergence="kl", *, n_jobs=None, _name="Q"):
        self.divergence = divergences.find(divergence)
        self.n_jobs = n_jobs
        self._given = q = as_pair(Q, Q)[1]
        check_match(q, q, self.divergence, q.shape[-1], q.shape[-1])
        self._operand = check(q, _name, plan.n_threads(n_jobs), self.divergence.measure)
        role = _engine.MEAN if self.divergence.swapped else _engine.NATURAL
        self._reference = Reference(self._operand, role, self.divergence.form)
        self._other: Index | None = None
        self.info: dict[str, int] = {}

    def __len__(self) -> int:
        return self._operand.n

    def __repr__(self) -> str:
        return f"Index({self._operand.n} distributions over {self._operand.n_bins} bins, {self.divergence.name})"

    def pairwise(self, P=None, *, dtype=None, rtol=None, base=None, out=None, n_jobs=None, progress=False):
        """All values ``D(P_i || Q_j)``; see `klfast.pairwise`. P=None: the rows of Q."""
        threads = self._threads(n_jobs)
        form = self._form(base)
        left, reference = self._meet(P, threads)
        n, m = left.n, self._operand.n
        single_in = left.single and self._operand.single
        out, in_use = dense_out(out, (n, m), dtype, np.float32 if single_in else np.float64)
        if left.rows.shares_memory(out) or self._operand.rows.shares_memory(out):
            raise ValueError("out overlaps the memory of P or Q, which the answer would overwrite; give another array")
        return self._dense(left, reference, P is None, form, out, in_use, rtol, threads, progress)

    def _dense(self, left, reference, same, form, out, in_use, rtol, threads, progress):
        """`in_use`: the memory of `out` has been written before."""
        n, m = out.shape
        single_out = out.dtype == np.float32
        rtol = checked_rtol(rtol, single_out)
        if n == 0 or m == 0:
            return out
        classes = reference.classes_of(None if same else left)
        single = plan.product_in_single(single_out, rtol)
        pairing, blocks, first = self._pair(form, left, reference, classes, single, False, threads, dense=True)
        stream = plan.stream(out.nbytes, in_use)
        consumers.dense(pairing, out, stream, blocks, first, plan.accept_factor(rtol), progress)
        self.info = _info(pairing, n * m)
        return out

    def pairwise_chunked(self, P=None, *, reduce_func=None, working_memory=None, dtype=None, rtol=None, base=None,
                         n_jobs=None, progress=False):
        """`pairwise` in chunks of rows; see `klfast.pairwise_chunked`."""
        threads = self._threads(n_jobs)
        form = self._form(base)
        left, reference = self._meet(P, threads)
        m = self._operand.n
        single_in = left.single and self._operand.single
        dtype = dense_out(None, (0, m), dtype, np.float32 if single_in else np.float64)[0].dtype
        checked_rtol(rtol, dtype == np.float32)
        rows = plan.chunk_rows(m * dtype.itemsize, working_memory)

        def chunk(begin, bar):
            part = left.select(np.arange(begin, min(begin + rows, left.n)))
            out, in_use = memory.empty_or_kept((part.n, m), dtype)
            self._dense(part, reference, False, form, out, in_use, rtol, threads, False)
            bar.update(out.size)
            return out if reduce_func is None else reduce_func(out, begin)

        def chunks():  # holds no chunk itself: the next one can have the memory of one that its user has let go
            with consumers.progress_bar(left.n * m, progress) as bar:
                for begin in range(0, left.n, rows):
                    yield chunk(begin, bar)

        return chunks()

    def kneighbors(self, P=None, k=10, *, n_jobs=None, progress=False):
        """The k nearest rows of Q; see `klfast.kneighbors`. P=None: each row of Q, without itself."""
        threads = self._threads(n_jobs)
        m = self._operand.n
        k = checked_k(k, m, P is None)
        left, reference = self._meet(P, threads, later=k == 1 and m <= plan.FEW_COLUMNS)
        if left.n == 0:
            return np.empty((0, k)), np.empty((0, k), np.int64)
        if m < 2:
            return self._search(left, reference, k, False, False, threads, progress)
        if reference.distinct is None:
            return self._search(left, reference, k, P is None, False, threads, progress)
        index, group, starts, members = reference.distinct
        # Rows that agree to the bit are searched once, and each answer is spread over its copies.
        queries = left.select(index) if P is None else left
        wanted = min(index.size, k + (P is None))
        values, classes = self._search(queries, reference, wanted, P is None, True, threads, progress)
        lists = group if P is None else np.arange(left.n)
        return _engine.expand(values, classes, starts, members, lists.astype(np.int64), P is None, k, threads)

    def nearest(self, P=None, *, n_jobs=None, progress=False):
        """The nearest row of Q; see `klfast.nearest`."""
        values, indices = self.kneighbors(P, 1, n_jobs=n_jobs, progress=progress)
        return values[:, 0], indices[:, 0]

    def radius_neighbors(self, P=None, radius=1.0, *, limit=None, n_jobs=None, progress=False):
        """The rows of Q up to `radius` away; see `klfast.radius_neighbors`. P=None: each row of Q, without itself."""
        threads = self._threads(n_jobs)
        radius, limit = checked_radius(radius), checked_limit(limit)
        left, reference = self._meet(P, threads)
        n, m = left.n, self._operand.n
        if n == 0 or m == 0:
            return consumers.no_pairs(n, m)
        classes = reference.classes_of(None if P is None else left)
        pairing, blocks, first = self._pair(self.divergence.form, left, reference, classes, True, False, threads,
                                            search=True)
        result = consumers.within(pairing, n, m, radius, P is None, limit, blocks, first, progress)
        self.info = _info(pairing, n * m)
        return result

    def reduce(self, P=None, op="mean", *, axis=1, rtol=None, base=None, n_jobs=None, progress=False):
        """Sum, mean, least or largest value of each row or column; see `klfast.reduce`. P=None: the rows of Q."""
        threads = self._threads(n_jobs)
        op, axis, rtol = checked_op(op), checked_axis(axis), checked_rtol(rtol, False)
        form = self._form(base)
        left, reference = self._meet(P, threads)
        n, m = left.n, self._operand.n
        if (n if axis == 0 else m) == 0 and op != "sum":
            raise ValueError(f"{op} over axis {axis} of a {n} x {m} matrix: there is nothing to reduce")
        if n == 0 or m == 0:
            return np.zeros(m if axis == 0 else n)
        accept, same, form = plan.accept_factor(rtol), P is None, form.tiled_as(reference.form)
        if op in ("sum", "mean") and form.is_bilinear(left.rows):
            return self._reduce_by_means(left, reference, same, form, op, axis, accept, threads, progress)
        return self._reduce_tiles(left, reference, same, form, op, axis, accept, threads, progress)

    def _reduce_tiles(self, left, reference, same, form, op, axis, accept, threads, progress):
        n, m = left.n, reference.operand.n
        classes = reference.classes_of(None if same else left)
        pairing, blocks, first = self._pair(form, left, reference, classes, False, False, threads)
        result = consumers.reduce(pairing, n, m, op, axis == 0, blocks, first, accept, progress)
        self.info = _info(pairing, n * m)
        return result

    def _reduce_by_means(self, left, reference, same, form, op, axis, accept, threads, progress):
        """A mean of bilinear values is one value against the mean of the features; what that cannot certify goes the
        way of all pairs."""
        n, m = left.n, reference.operand.n
        sides = self._sides(form, left, reference, threads)
        side, other = sides if axis == 1 else sides[::-1]
        threads = plan.worth(threads, (n + m) * left.n_bins)
        values, certified = _engine.mean_values(side, other, self._supports(form, left, reference), accept, threads)
        if op == "sum":
            values *= other.rows.shape[0]
        doubts = np.flatnonzero(~certified)
        if 0 < doubts.size < certified.size:
            same = False
            left, reference = (left.select(doubts), reference) if axis == 1 else (left, reference.part(doubts))
        if doubts.size:
            values[doubts] = self._reduce_tiles(left, reference, same, form, op, axis, accept, threads, progress)
        else:
            self.info = _info(side, n * m)
            with consumers.progress_bar(n * m, progress) as bar:
                bar.update(n * m)
        self.info["pairs"] = n * m
        return values

    def _sides(self, form, left: Operand, reference: Reference, threads: int) -> tuple[_engine.Side, _engine.Side]:
        """Rows and columns for means: one of the two carries the constant of the norms."""
        c, right = plan.mean_certificate(reference.certificate(False)), reference.operand
        role = _engine.NATURAL if reference.role == _engine.MEAN else _engine.MEAN
        extra = left.entropy if self.divergence.adds_entropy else None
        factors = dict(slack_factor=c.slack, slack_floor=c.floor, n_threads=threads)
        return (_engine.Side(form, left.rows, left.norms, reference.center, role, norm_factor=c.norm, extra=extra,
                             **factors),
                _engine.Side(form, right.rows, right.norms, reference.center, reference.role, norm_factor=1.0,
                             **factors))

    def _threads(self, n_jobs) -> int:
        return plan.n_threads(self.n_jobs if n_jobs is None else n_jobs)

    def _form(self, base) -> _engine.Form:
        return self.divergence.form if base is None else self.divergence.form_in(base_factor(base, self.divergence))

    def _meet(self, P, threads: int, later: bool = False) -> tuple[Operand, Reference]:
        """The rows and the reference in one domain: weights that meet log-weights are read as logarithms. `later`: rows
        that fit may be unchecked."""
        if P is None:
            return self._operand, self._reference
        p = as_distribution(P)
        if p.domain == _engine.FAMILY and self._given.domain == _engine.FAMILY:
            p, q = as_pair(p.distribution, self._given.distribution)
            if q.family != self._given.family:  # Bernoulli by probabilities, asked about logits
                return self._converted(q)._meet(p, threads)
        fits = len(p.shape) == 2 and p.shape[1] == self._operand.n_bins
        left = check(p, "P", threads, self.divergence.measure, later and fits)
        check_match(p, self._given, self.divergence, left.n_bins, self._operand.n_bins)
        if left.rows.domain == _engine.LOGITS:
            return left, self._reference.as_logits
        if self._operand.rows.domain == _engine.LOGITS:
            left = left.as_logits()
        return left, self._reference

    def _converted(self, q) -> Index:
        """The index of the same rows by other parameters."""
        if self._other is None:
            self._other = Index(q, self.divergence, n_jobs=self.n_jobs)
        return self._other

    def _search(self, left, reference, k, same, distinct, threads, progress):
        form, skip_self = self.divergence.form, same and not distinct
        pairing, blocks, first = self._pair(form, left, reference, (None, None), True, distinct, threads, search=True,
                                            nearest=k == 1 and not skip_self)
        m = pairing.right.rows.shape[0]
        if not pairing.checks_left(k, skip_self):
            left.check()
        result = consumers.top(pairing, left, m, k, skip_self, same, blocks, first, progress)
        self.info = _info(pairing, left.n * m)
        return result

    def _supports(self, form, left: Operand, reference: Reference, search: bool = False) -> bool:
        """Whether empty bins can make a value infinite: on the side that may lack mass, or for symmetric rules on
        either, or on both. A `search` needs not know of the last ones, which are as far as can be."""
        if form.support == _engine.SUPPORT_WITHIN:
            return (left if self.divergence.swapped else reference.operand).has_zeros
        if form.support == _engine.SUPPORT_EQUAL:
            return left.has_zeros or reference.operand.has_zeros
        return (form.support == _engine.SUPPORT_MEETING and not search
                and left.has_zeros and reference.operand.has_zeros)

    def _pair(self, form, left: Operand, reference: Reference, classes, single: bool, distinct: bool, threads: int,
              dense=False, search=False, nearest=False):
        """The pairing with the reference encoded, the blocks to walk it in, and the rows of the first slab."""
        tiles = reference.tiles(search, single)
        form, single = form.tiled_as(tiles), single and not tiles.needs_double
        coarse = (single and not dense and form.shape == _engine.PRODUCT
                  and plan.coarse(reference.operand.n, reference.width, nearest))
        columns = reference.columns(tiles, single, distinct, self._supports(form, left, reference, search), coarse)
        m, c = columns.rows.shape[0], reference.certificate(single, tiles)
        products = plan.products(reference.width, form.shape in (_engine.PRODUCT, _engine.OVERLAP))
        threads = plan.worth(threads, left.n * (left.row_work + m * products // plan.PRODUCTS_A_BIN))
        blocks = plan.blocks(left.n, m, reference.width, threads, dense, columns.bytes.size > 0)
        extra = left.entropy if self.divergence.adds_entropy else None
        pairing = _engine.Pairing(
            form, left.rows, left.room, columns, norm_factor=c.norm, slack_factor=c.slack, slack_floor=c.floor,
            far=reference.far_certificate(single), left_extra=extra, left_class=classes[0], right_class=classes[1],
            row_block=blocks.rows, column_block=blocks.columns, n_threads=threads, unchecked=left.unchecked)
        return pairing, blocks, plan.first_slab(left.n, m, products, threads)


def _info(pairing, pairs: int) -> dict[str, int]:
    s = pairing.stats
    return {"pairs": pairs, "recomputed": s.recomputed, "equal": s.equal, "candidates": s.candidates}
