"""The public functions: check, encode, plan, run. No arithmetic loops here."""

from __future__ import annotations

import math
from numbers import Integral, Real

import numpy as np

from . import _engine, consumers, divergences, plan
from .distributions import Categorical, as_distribution
from .encoding import Operand, Reference, check, check_bins, refusal


def rowwise(P, Q, divergence="kl", *, axis=-1, base=None, out=None, n_jobs=None):
    """Divergence of each distribution of P from the matching one of Q.

    ``D(P_i || Q_i) = sum_k p_ik log(p_ik / q_ik)`` for ``"kl"``, rows normalised exactly.

    Parameters
    ----------
    P, Q : array-like or Categorical
        Distributions along `axis`; the other axes broadcast.
    divergence : str
        A name of `klfast.divergences`.
    axis : int
        The axis of the bins.
    base : float, optional
        Base of the logarithm; default e, so that the unit is the nat (base 2: bits).
    out : ndarray, optional
        float32 or float64 array for the answer. Where an error is raised its contents are undefined.
    n_jobs : int, optional
        Threads; see `klfast.show_config`.

    Returns
    -------
    ndarray
        float64 (float32 if both inputs hold no more than float32). Values are exact to 2e-15 relative in float64: +0.0 if
        and only if the distributions are equal, inf if and only if some p > 0 meets q = 0.

    Raises
    ------
    ValueError
        NaN, infinite or negative entries, rows that do not sum to 1, empty rows, shapes that do not
        match. The message names the place.

    References
    ----------
    Kullback and Leibler, "On Information and Sufficiency", Ann. Math. Stat. 22 (1951).
    """
    d = divergences.find(divergence)
    factor = _base_factor(base)
    threads = plan.n_threads(n_jobs)
    p, q = as_distribution(P), as_distribution(Q)
    pv, qv = _bins_last(p, axis, "P"), _bins_last(q, axis, "Q")
    check_bins(pv.shape[-1], qv.shape[-1])
    try:
        shape = np.broadcast_shapes(pv.shape[:-1], qv.shape[:-1])
    except ValueError:
        raise ValueError(f"P and Q do not broadcast: shapes {p.shape} and {q.shape}, bins along axis {axis}") from None
    result_type = np.float32 if p.single and q.single else np.float64
    out = _checked_out(out, shape, result_type)
    values = np.empty(math.prod(shape))
    if values.size:
        if pv.shape[-1] == 0:
            raise ValueError(f"P has shape {p.shape}: distributions need at least one bin")
        pv, qv = _broadcast(pv, shape), _broadcast(qv, shape)
        _rowwise_nd(d, p, q, pv, qv, shape, values, threads)
        if factor != 1:
            values *= factor
    out[...] = values.reshape(shape)
    return out if out.ndim else out[()]


def kl_divergence(P, Q, *, axis=-1, base=None, out=None, n_jobs=None):
    """``KL(P_i || Q_i) = sum_k p_ik log(p_ik / q_ik)``, row by row: `rowwise` with ``divergence="kl"``.

    The argument order is torch.distributions' and TFP's: the first is the distribution that the
    expectation is taken under. Parameters, result, errors: see `rowwise`.
    """
    return rowwise(P, Q, "kl", axis=axis, base=base, out=out, n_jobs=n_jobs)


def entropy(P, *, axis=-1, base=None, n_jobs=None):
    """Entropy of each distribution, ``H(P_i) = -sum_k p_ik log(p_ik)``, in nats unless `base` is given.

    Parameters
    ----------
    P : array-like or Categorical
        Distributions along `axis`.
    axis, base, n_jobs
        As in `rowwise`.

    Returns
    -------
    ndarray
        The shape of P without `axis`; float32 if P holds no more than float32, else float64.

    Raises
    ------
    ValueError
        As `rowwise`.

    References
    ----------
    Shannon, "A Mathematical Theory of Communication", Bell Syst. Tech. J. 27 (1948).
    """
    factor = _base_factor(base)
    threads = plan.n_threads(n_jobs)
    p = as_distribution(P)
    values = _bins_last(p, axis, "P")
    shape = values.shape[:-1]
    flat = values if _is_sparse(values) else values.reshape(-1, values.shape[-1]) if values.size else values.reshape(0, 1)
    rows = p.rows(flat)
    norms, _, stats = _engine.scan(rows, p.sum_tolerance, threads)
    if stats.refused:
        status, row, value = stats.refused
        raise refusal(p, rows, "P", status, row, value, _place(row, shape))
    result = _engine.entropy(rows, norms, threads) * factor
    return result.reshape(shape).astype(np.float32 if p.single else np.float64)[()]


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

    def __init__(self, Q, divergence="kl", *, n_jobs=None):
        self.divergence = divergences.find(divergence)
        self.n_jobs = n_jobs
        self._operand = check(as_distribution(Q), "Q", plan.n_threads(n_jobs))
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
        factor = _base_factor(base)
        left = self._left(P, threads)
        n, m = left.n, self._operand.n
        single_in = left.single and self._operand.single
        out = _dense_out(out, (n, m), dtype, np.float32 if single_in else np.float64)
        single_out = out.dtype == np.float32
        rtol = _checked_rtol(rtol, single_out)
        if n == 0 or m == 0:
            return out
        classes = self._reference.classes_of(None if P is None else left)
        pairing, blocks = self._pair(left, classes, plan.product_in_single(single_out, rtol), False, threads)
        consumers.dense(pairing, out, blocks.rows * threads, blocks.column_parts, plan.accept_factor(rtol), factor,
                        progress)
        self.info = _info(pairing, n * m)
        return out

    def kneighbors(self, P=None, k=10, *, n_jobs=None, progress=False):
        """The k nearest rows of Q; see `klfast.kneighbors`. P=None: each row of Q, without itself."""
        threads = plan.n_threads(self.n_jobs if n_jobs is None else n_jobs)
        m = self._operand.n
        k = _checked_k(k, m, P is None)
        left = self._left(P, threads)
        if left.n == 0:
            return np.empty((0, k)), np.empty((0, k), np.int64)
        if m < 2:
            return self._search(left, k, False, False, threads, progress)
        index, group, starts, members = self._reference.distinct
        if index.size == m:
            return self._search(left, k, P is None, False, threads, progress)
        # Rows that agree to the bit are searched once, and each answer is spread over its copies.
        queries = left.select(index) if P is None else left
        wanted = min(index.size, k + (P is None))
        values, classes = self._search(queries, wanted, False, True, threads, progress)
        lists = group if P is None else np.arange(left.n)
        return _engine.expand(values, classes, starts, members, lists.astype(np.int64), P is None, k, threads)

    def nearest(self, P=None, *, n_jobs=None, progress=False):
        """The nearest row of Q; see `klfast.nearest`."""
        values, indices = self.kneighbors(P, 1, n_jobs=n_jobs, progress=progress)
        return values[:, 0], indices[:, 0]

    def _left(self, P, threads: int) -> Operand:
        if P is None:
            return self._operand
        left = check(as_distribution(P), "P", threads)
        check_bins(left.n_bins, self._operand.n_bins)
        return left

    def _search(self, left, k, skip_self, distinct, threads, progress):
        pairing, blocks = self._pair(left, (None, None), True, distinct, threads)
        result = consumers.top(pairing, left.n, pairing.right.rows.shape[0], k, skip_self, blocks.rows * threads,
                               blocks.column_parts, progress)
        self.info = _info(pairing, left.n * pairing.right.rows.shape[0])
        return result

    def _pair(self, left: Operand, classes, single: bool, distinct: bool, threads: int):
        """Both operands in one domain, the right one encoded, and the blocks to walk them in."""
        reference = self._reference.in_domain(_engine.LOGITS) if left.rows.domain == _engine.LOGITS else self._reference
        if left.rows.domain != reference.operand.rows.domain:
            left, classes = left.as_logits(), (None, None)
        elif reference is not self._reference:
            classes = (None, None)
        natural = reference.operand if self.divergence.p_is_mean else left
        columns = reference.columns(single, distinct, natural.has_zeros)
        c = plan.certificate(left.n_bins, single)
        blocks = plan.blocks(left.n, columns.rows.shape[0], left.n_bins, threads)
        pairing = _engine.Pairing(
            left.rows, left.norms, columns, norm_factor=c.norm, slack_factor=c.slack, slack_floor=c.floor,
            left_extra=left.entropy if self.divergence.adds_entropy else None, left_class=classes[0],
            right_class=classes[1], row_block=blocks.rows, column_block=blocks.columns, n_threads=threads)
        return pairing, blocks


def pairwise(P, Q=None, divergence="kl", *, dtype=None, rtol=None, base=None, out=None, n_jobs=None, progress=False):
    """All divergences ``out[i, j] = D(P_i || Q_j)``: rows are P, columns are Q.

    ``sum_k p_ik log(p_ik / q_jk)`` for ``"kl"``. One packed matrix product around the mean of Q; every entry
    carries a rigorous error bound, and an entry that misses `rtol` is computed again by the direct kernel.

    Parameters
    ----------
    P : array-like (n, K) or Categorical
        One distribution a row.
    Q : array-like (m, K) or Categorical, optional
        Default: P.
    divergence : str
        A name of `klfast.divergences`.
    dtype : float32 or float64, optional
        Of the answer; default float64, or float32 if both inputs hold no more than float32.
    rtol : float, optional
        Guaranteed relative accuracy of every finite entry; default 1e-12 (float64), 1e-4 (float32, where the
        typical error is 1e-7).
    base : float, optional
        Base of the logarithm; default e (nats).
    out : ndarray (n, m), optional
        float32 or float64 array, of any strides, for the answer.
    n_jobs : int, optional
        Threads; see `klfast.show_config`.
    progress : bool or str
        Show a progress bar (with this label).

    Returns
    -------
    ndarray (n, m)

    Raises
    ------
    ValueError
        As `rowwise`, before any work.

    References
    ----------
    Banerjee, Merugu, Dhillon and Ghosh, "Clustering with Bregman Divergences", JMLR 6 (2005), for the three-point
    identity behind the product form.
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.pairwise(left, dtype=dtype, rtol=rtol, base=base, out=out, progress=progress)


def kneighbors(P, Q=None, k=10, divergence="kl", *, n_jobs=None, progress=False):
    """The k rows of Q with the smallest ``D(P_i || Q_j)``, for each row of P, nearest first: exact.

    Parameters
    ----------
    P, Q : array-like (n, K), (m, K) or Categorical
        One distribution a row. Q=None: Q is P, and each row leaves itself out.
    k : int
        Neighbours a row.
    divergence, n_jobs, progress
        As in `pairwise`.

    Returns
    -------
    distances : ndarray (n, k), float64
        In nats; the values of `rowwise`, to the bit.
    indices : ndarray (n, k), int64
        Rows of Q; ties go to the smaller index.

    Raises
    ------
    ValueError
        As `rowwise`, and for fewer than k candidates; before any work.

    Notes
    -----
    A float32 product with error bounds screens the candidates, the direct float64 kernel decides: the result is that
    of float64 brute force. Memory: n k, and half of the bytes of a float64 Q.
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.kneighbors(left, k, progress=progress)


def nearest(P, Q=None, divergence="kl", *, n_jobs=None, progress=False):
    """The row of Q with the smallest ``D(P_i || Q_j)``, for each row of P: assignment to centroids.

    Parameters and errors as in `kneighbors`.

    Returns
    -------
    distances : ndarray (n,), float64
    indices : ndarray (n,), int64
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.nearest(left, progress=progress)


# ---- arguments ---------------------------------------------------------------------------------------------


def _index_and_rows(P, Q, divergence, n_jobs):
    if Q is None:
        return Index(P, divergence, n_jobs=n_jobs), None
    p, q = as_distribution(P), as_distribution(Q)
    if len(p.shape) == 2 and len(q.shape) == 2:
        check_bins(p.shape[1], q.shape[1])
    return Index(q, divergence, n_jobs=n_jobs), p


def _base_factor(base) -> float:
    if base is None:
        return 1.0
    if not isinstance(base, Real) or not 0 < base < math.inf or base == 1:
        raise ValueError(f"base must be a positive number other than 1; got {base!r}")
    return 1 / math.log(base)


def _checked_rtol(rtol, single_out: bool) -> float:
    if rtol is None:
        return plan.DEFAULT_RTOL[single_out]
    if not isinstance(rtol, Real) or not 0 <= rtol < 1:
        raise ValueError(f"rtol must be in [0, 1); got {rtol!r}")
    return float(rtol)


def _checked_k(k, m: int, leaves_out_self: bool) -> int:
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be a positive integer; got {k!r}")
    candidates = m - leaves_out_self
    if k > candidates:
        raise ValueError(f"k = {k} neighbours were asked for, but there are only {max(candidates, 0)} candidates"
                         + (" (a row is not its own neighbour)" if leaves_out_self else ""))
    return int(k)


def _checked_out(out, shape, default_type):
    if out is None:
        return np.empty(shape, default_type)
    if not isinstance(out, np.ndarray) or out.dtype not in (np.float32, np.float64) or not out.dtype.isnative:
        raise ValueError(f"out must be a float32 or float64 ndarray; got {getattr(out, 'dtype', type(out).__name__)}")
    if out.shape != tuple(shape):
        raise ValueError(f"out has shape {out.shape}, the answer has {tuple(shape)}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def _dense_out(out, shape, dtype, default_type):
    if dtype is not None:
        dtype = np.dtype(dtype)
        if dtype not in (np.float32, np.float64):
            raise ValueError(f"dtype must be float32 or float64; got {dtype}")
        if out is not None and getattr(out, "dtype", None) != dtype:
            raise ValueError(f"dtype is {dtype} but out has {getattr(out, 'dtype', type(out).__name__)}")
    return _checked_out(out, shape, dtype or default_type)


def _info(pairing, pairs: int) -> dict[str, int]:
    s = pairing.stats
    return {"pairs": pairs, "recomputed": s.recomputed, "equal": s.equal, "candidates": s.candidates}


# ---- shapes of rowwise --------------------------------------------------------------------------------------


def _is_sparse(values) -> bool:
    return not isinstance(values, np.ndarray)


def _bins_last(dist: Categorical, axis, name: str):
    values = dist.values
    try:
        axis = np.lib.array_utils.normalize_axis_index(axis, values.ndim)
    except np.exceptions.AxisError:
        raise ValueError(f"axis {axis} is out of bounds for {name} of shape {dist.shape}") from None
    if not _is_sparse(values):
        return np.moveaxis(values, axis, -1)
    if axis != 1:
        raise ValueError(f"{name} is sparse: its bins must be along the last axis")
    return values


def _broadcast(values, shape):
    if not _is_sparse(values):
        return np.broadcast_to(values, (*shape, values.shape[-1]))
    if values.shape[:-1] != tuple(shape):
        raise ValueError(f"a sparse operand of shape {values.shape} does not broadcast to {tuple(shape)} rows")
    return values


def _rowwise_nd(d, p, q, pv, qv, shape, out, threads, first=0):
    """Recurse over outer axes until what is left is one (rows, bins) matrix on both sides, without copying."""
    flat = [_flatten(v) for v in (pv, qv)]
    if any(v is None for v in flat):
        size = math.prod(pv.shape[1:-1])
        for i in range(pv.shape[0]):
            _rowwise_nd(d, p, q, pv[i], qv[i], shape, out, threads, first + i * size)
        return
    P, Q = p.rows(flat[0]), q.rows(flat[1])
    tolerances = [p.sum_tolerance, q.sum_tolerance]
    if P.domain != Q.domain:  # weights meet log-weights: check the weights, then read their logarithms
        for rows, dist, name in ((P, p, "P"), (Q, q, "Q")):
            if rows.domain == _engine.PROBS:
                stats = _engine.scan(rows, dist.sum_tolerance, threads)[2]
                if stats.refused:
                    status, row, value = stats.refused
                    raise refusal(dist, rows, name, status, row, value, _place(first + row, shape))
        tolerances = [-1.0 if r.domain == _engine.PROBS else t for r, t in zip((P, Q), tolerances)]
        P, Q = (r.as_logits() if r.domain == _engine.PROBS else r for r in (P, Q))
    n = P.shape[0]
    target = out[first : first + n]
    if not d.p_is_mean:
        P, Q, tolerances = Q, P, tolerances[::-1]

    def work(begin, end):
        stats = _engine.rowwise(P, Q, begin, end, d.adds_entropy, *tolerances, target, threads)
        if stats.refused:
            status, row, value = stats.refused
            second = status >= 16
            is_q = second == d.p_is_mean
            raise refusal(q if is_q else p, Q if second else P, "Q" if is_q else "P", status - 16 * second, row, value,
                          _place(first + row, shape))

    consumers.run_slabs(n, max(1, min(n, (1 << 20) // P.shape[1])), work, False)


def _flatten(values):
    """values as (rows, bins) without a copy, or None."""
    if _is_sparse(values) or values.ndim == 2:
        return values
    if values.ndim == 1:
        return values[None, :]
    try:
        return np.reshape(values, (-1, values.shape[-1]), copy=False)
    except ValueError:
        return None


def _place(row: int, shape) -> str:
    if len(shape) <= 1:
        return f"row {row}" if shape else "the row"
    return f"row {tuple(int(i) for i in np.unravel_index(row, shape))}"
