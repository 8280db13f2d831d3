"""Row by row: shapes, broadcasting and slabs of `rowwise` and `entropy`."""

from __future__ import annotations

import math

import numpy as np

from . import _engine, consumers, plan
from .distributions import Categorical
from .distributions.parametric import Parts
from .encoding import as_measure, refused


def is_sparse(values) -> bool:
    return not isinstance(values, (np.ndarray, Parts))


def bins_last(dist: Categorical, axis, name: str):
    """The values of a distribution with the bins last; of a family its parameters, as they lie."""
    if dist.domain == _engine.FAMILY:
        if axis != -1:
            raise ValueError(f"axis: {name} is of a family, whose distributions are its batch; leave axis=-1")
        return dist.parts
    values = dist.values
    try:
        axis = np.lib.array_utils.normalize_axis_index(axis, values.ndim)
    except np.exceptions.AxisError:
        raise ValueError(f"axis {axis} is out of bounds for {name} of shape {dist.shape}") from None
    if not is_sparse(values):
        return values if axis == values.ndim - 1 else np.moveaxis(values, axis, -1)
    if axis != 1:
        raise ValueError(f"{name} is sparse: its bins must be along the last axis")
    return values


def broadcast(values, shape):
    if values.shape[:-1] == tuple(shape):
        return values
    if isinstance(values, Parts):
        return values.with_batch(np.broadcast_to, *shape)
    if not is_sparse(values):
        return np.broadcast_to(values, (*shape, values.shape[-1]))
    raise ValueError(f"a sparse operand of shape {values.shape} does not broadcast to {tuple(shape)} rows")


def run(d, form, p, q, pv, qv, shape, out, threads, first=0):
    """Recurse over outer axes until what is left is one (rows, bins) matrix on both sides, without copying."""
    flat = [flatten(v) for v in (pv, qv)]
    if any(v is None for v in flat):
        size = math.prod(pv.shape[1:-1])
        for i in range(pv.shape[0]):
            run(d, form, p, q, pv[i], qv[i], shape, out, threads, first + i * size)
        return
    P, Q, tolerances = meet(d, p, q, *flat, lambda row: place(first + row, shape), threads)
    n = P.shape[0]
    target = out[first : first + n]
    if d.swapped:
        P, Q, tolerances = Q, P, tolerances[::-1]

    def work(begin, end):
        stats = _engine.rowwise(form, P, Q, begin, end, *tolerances, target, threads)
        if stats.refused:
            status, row, value = stats.refused
            second = status >= _engine.ROW_OF_Q
            is_q = second != d.swapped
            raise (q if is_q else p).refusal(Q if second else P, "Q" if is_q else "P",
                                             status - _engine.ROW_OF_Q * second, row, value, place(first + row, shape))

    bins = plan.row_work(P.shape[1], P.domain == _engine.FAMILY)
    consumers.run_slabs(n, max(1, min(n, (1 << 20) // P.shape[1])), work, False, first=max(1, plan.FIRST_BINS // bins))


def meet(d, p, q, p_values, q_values, place_of, threads):
    """Both sides in one domain, and the tolerances of their sums: (P, Q, tolerances)."""
    P, Q = p.rows(p_values), q.rows(q_values)
    if d.measure:
        return as_measure(p, P, "P"), as_measure(q, Q, "Q"), [-1.0, -1.0]
    tolerances = [p.sum_tolerance, q.sum_tolerance]
    if P.domain != Q.domain:  # weights meet log-weights: check the weights, then read their logarithms
        for rows, dist, name in ((P, p, "P"), (Q, q, "Q")):
            if rows.domain == _engine.PROBS:
                stats = _engine.scan(rows, dist.sum_tolerance, threads)[2]
                if stats.refused:
                    raise refused(dist, rows, name, stats, place_of(stats.refused[1]))
        tolerances = [-1.0 if r.domain == _engine.PROBS else t for r, t in zip((P, Q), tolerances)]
        P, Q = (r.as_logits() if r.domain == _engine.PROBS else r for r in (P, Q))
    return P, Q, tolerances


def flatten(values):
    """values as (rows, bins) without a copy, or None."""
    if is_sparse(values) or values.ndim == 2:
        return values
    if values.ndim == 1:
        return values[None]
    try:
        if isinstance(values, Parts):
            return values.with_batch(np.reshape, math.prod(values.shape[:-1]), copy=False)
        return np.reshape(values, (-1, values.shape[-1]), copy=False)
    except ValueError:
        return None


def as_matrix(values):
    """values as (rows, bins), copied if need be."""
    if is_sparse(values):
        return values
    if isinstance(values, Parts):
        return values.with_batch(np.reshape, math.prod(values.shape[:-1]))
    return values.reshape(-1, values.shape[-1]) if values.size else values.reshape(0, 1)


def place(row: int, shape) -> str:
    if len(shape) <= 1:
        return f"row {row}" if shape else "the row"
    return f"row {tuple(int(i) for i in np.unravel_index(row, shape))}"


def run_contributions(d, p, q, pv, qv, shape, out, threads):
    """The terms of each bin, into out (rows, bins), after the checks of `rowwise`."""
    checked = np.empty(out.shape[0])
    run(d, d.form, p, q, pv, qv, shape, checked, threads)
    flat = [np.ascontiguousarray(v).reshape(-1, out.shape[1]) for v in (pv, qv)]
    P, Q, _ = meet(d, p, q, *flat, lambda row: place(row, shape), threads)
    if d.swapped:
        P, Q = Q, P
    out[...] = _engine.contributions(d.form, P, Q, threads)
