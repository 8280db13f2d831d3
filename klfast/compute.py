"""The public functions. They check arguments and delegate; no arithmetic loops here."""

from __future__ import annotations

import math

import numpy as np

from . import _engine, divergences, memory, plan, rows
from .arguments import base_factor, checked_out
from .distributions import as_distribution, as_pair
from .encoding import check_match, refused
from .index import Index


def rowwise(P, Q, divergence="kl", *, axis=-1, base=None, out=None, n_jobs=None):
    """Divergence of each distribution of P from the matching one of Q.

    ``D(P_i || Q_i) = sum_k p_ik log(p_ik / q_ik)`` for ``"kl"``, rows normalised exactly.

    Parameters
    ----------
    P, Q : array-like, Categorical or a family
        Distributions along `axis`; the other axes broadcast. As a convenience, also two frozen scipy.stats
        distributions: by a family where one fits both, else by quadrature, which is slow and reaches about 1e-8
        (`klfast.quadrature.kl_scipy` says how far); kl, reverse_kl and jeffreys only.
    divergence : str or Divergence
        A name of `klfast.divergences`, or such as ``klfast.Renyi(0.5)``.
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
        float64 (float32 if both inputs hold no more than float32). Values are exact to 4e-15 relative in float64 (KL of
        probabilities: 2e-15; powers of an order s above 4: s 1e-15): +0.0 if and only if the distributions are equal,
        inf only where the divergence is.

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
    form = d.form if base is None else d.form_in(base_factor(base, d))
    if is_frozen(P) and is_frozen(Q):
        return of_frozen(P, Q, divergence) * base_factor(base, d)
    threads = plan.n_threads(n_jobs)
    p, q, pv, qv, shape = _broadcast(P, Q, d, axis)
    result_type = np.float32 if p.single and q.single else np.float64
    direct = out is None  # an array of the caller may overlap P or Q
    out, _ = checked_out(out, shape, result_type)
    values = out.reshape(-1) if direct else np.empty(out.size, out.dtype)
    threads = plan.worth(threads, values.size * plan.row_work(pv.shape[-1], p.domain == _engine.FAMILY))
    if values.size:
        rows.run(d, form, p, q, pv, qv, shape, values, threads)
    if not direct:
        out[...] = values.reshape(shape)
    return out if out.ndim else out[()]


def is_frozen(x) -> bool:
    """A frozen scipy.stats distribution, one that is not an array."""
    return type(x).__module__.startswith("scipy.stats") and type(x).__name__.endswith("_frozen")


def of_frozen(P, Q, divergence):
    """The divergence of one pair of frozen scipy.stats distributions, in nats."""
    from .quadrature import divergence_scipy

    return divergence_scipy(P, Q, divergence)


def _broadcast(P, Q, divergence, axis):
    """Both sides as distributions, their values with the bins last and broadcast, and the shape of the answer."""
    p, q = as_pair(P, Q)
    pv, qv = rows.bins_last(p, axis, "P"), rows.bins_last(q, axis, "Q")
    check_match(p, q, divergence, pv.shape[-1], qv.shape[-1])
    try:
        shape = np.broadcast_shapes(pv.shape[:-1], qv.shape[:-1])
    except ValueError:
        raise ValueError(f"P and Q do not broadcast: shapes {p.shape} and {q.shape}, bins along axis {axis}") from None
    if pv.shape[-1] == 0 and math.prod(shape):
        raise ValueError(f"P has shape {p.shape}: distributions need at least one bin")
    return p, q, rows.broadcast(pv, shape), rows.broadcast(qv, shape), shape


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
    P : array-like, Categorical or a family
        Distributions along `axis`; of a family the batch. Densities have their differential entropy.
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
    factor = base_factor(base)
    threads = plan.n_threads(n_jobs)
    p = as_distribution(P)
    values = rows.bins_last(p, axis, "P")
    shape = values.shape[:-1]
    matrix = p.rows(rows.as_matrix(values))
    threads = plan.worth(threads, math.prod(matrix.shape))
    room = memory.empty((matrix.shape[0],), _engine.NORM)
    result, stats = _engine.entropy(matrix, room, p.sum_tolerance, threads)
    if stats.refused:
        raise refused(p, matrix, "P", stats, rows.place(stats.refused[1], shape))
    if factor != 1:
        result *= factor
    return result.reshape(shape).astype(np.float32 if p.single else np.float64, copy=False)[()]


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
    divergence : str or Divergence
        A name of `klfast.divergences`, or such as ``klfast.Renyi(0.5)``.
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


def radius_neighbors(P, Q=None, radius=1.0, divergence="kl", *, limit=None, n_jobs=None, progress=False):
    """The rows of Q with ``D(P_i || Q_j) <= radius``, for each row of P: exact.

    Parameters
    ----------
    P, Q : array-like (n, K), (m, K) or Categorical
        One distribution a row. Q=None: Q is P, and each row leaves itself out.
    radius : float
        In nats; pairs at exactly this value belong to the answer.
    divergence, n_jobs, progress
        As in `pairwise`.
    limit : int, optional
        MemoryError, instead of a full memory, beyond so many pairs; default 100 million.

    Returns
    -------
    scipy.sparse.csr_array (n, m), float64
        The values of `rowwise`, to the bit; each row's entries in the order of (value, column). Zeros (equal
        distributions) are stored, explicitly: `eliminate_zeros` would lose them.

    Raises
    ------
    ValueError
        As `rowwise`, before any work; a radius that is negative or not finite.
    MemoryError
        More pairs than `limit`.

    Notes
    -----
    As in `kneighbors`, a float32 product screens and the direct float64 kernel decides. Memory: the answer, and
    about three times that while it is collected.
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.radius_neighbors(left, radius, limit=limit, progress=progress)


def reduce(P, Q=None, op="mean", divergence="kl", *, axis=1, rtol=None, base=None, n_jobs=None, progress=False):
    """Sum, mean, least or largest of ``D(P_i || Q_j)`` over the columns or the rows, without the matrix.

    Parameters
    ----------
    P, Q : array-like (n, K), (m, K) or Categorical
        One distribution a row. Q=None: Q is P, and the zeros of the diagonal count.
    op : {"mean", "sum", "min", "max"}
    divergence, rtol, base, n_jobs, progress
        As in `pairwise`.
    axis : {1, 0}
        1: over the columns, one number for each row of P; 0: over the rows, one for each row of Q.

    Returns
    -------
    ndarray (n,) or (m,), float64
        Sums are compensated; the bits do not depend on the number of threads.

    Raises
    ------
    ValueError
        As `rowwise`; a mean, min or max of nothing.

    Notes
    -----
    Sums and means of KL, Jeffreys, chi-squared and other sums of products take (n + m) K operations, all else n m K.
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.reduce(left, op, axis=axis, rtol=rtol, base=base, progress=progress)


def pairwise_chunked(P, Q=None, divergence="kl", *, reduce_func=None, working_memory=None, dtype=None, rtol=None,
                     base=None, n_jobs=None, progress=False):
    """Generate `pairwise` in chunks of rows, in the manner of `sklearn.metrics.pairwise_distances_chunked`.

    Parameters
    ----------
    P, Q, divergence, dtype, rtol, base, n_jobs, progress
        As in `pairwise`.
    reduce_func : callable, optional
        Called as ``reduce_func(chunk, start)``, start being the first row; its result is yielded instead of the chunk.
    working_memory : float, optional
        MiB of a chunk; default 64. A chunk has at least one row.

    Yields
    ------
    ndarray (rows, m), or what reduce_func returns

    Raises
    ------
    ValueError
        As `pairwise`, at the call, not at the first chunk.

    Examples
    --------
    >>> import numpy as np, klfast as kl
    >>> P = np.random.default_rng(0).dirichlet(np.ones(8), 1000)
    >>> far = [chunk.max(axis=1) for chunk in kl.pairwise_chunked(P, working_memory=1)]
    >>> len(far)
    8
    """
    index, left = _index_and_rows(P, Q, divergence, n_jobs)
    return index.pairwise_chunked(left, reduce_func=reduce_func, working_memory=working_memory, dtype=dtype, rtol=rtol,
                                  base=base, progress=progress)


def contributions(P, Q, divergence="kl", *, axis=-1, base=None, n_jobs=None):
    """What each bin adds to ``D(P_i || Q_i)``: nonnegative terms, inf in the bins that make the value infinite.

    For ``"kl"``, ``p_k log(p_k / q_k) - p_k + q_k``, which sum to the divergence as ``p_k log(p_k / q_k)`` do, without
    its negative terms. In general the terms f(p_k, q_k) of the divergence with f = f' = 0 at p_k = q_k. Where the
    divergence ends in a root or a logarithm, the terms are those under it: they sum to the squared distance for
    ``"js_distance"`` and ``"hellinger"``, to ``1 - sum_k p_k^s q_k^(1-s)`` for Renyi's and its like (above order 1
    to its negative).

    Parameters
    ----------
    P, Q, divergence, axis, base, n_jobs
        As in `rowwise`. Cross-entropy has no such terms.

    Returns
    -------
    ndarray
        float64, the broadcast shape of P and Q.

    Raises
    ------
    ValueError
        As `rowwise`.

    References
    ----------
    Csiszar, "Information-type measures of difference of probability distributions", Studia Sci. Math. Hung. 2 (1967).
    """
    d = divergences.find(divergence)
    if d.adds_entropy:
        raise ValueError(f"{d.name} has no nonnegative terms that vanish where p = q; take the contributions of 'kl'")
    unit = base_factor(base, d)
    threads = plan.n_threads(n_jobs)
    p, q, pv, qv, shape = _broadcast(P, Q, d, axis)
    if p.domain == _engine.FAMILY:
        raise ValueError(f"{p.name} has no bins, so there are no contributions of bins")
    if not math.prod(shape) or rows.is_sparse(pv) or rows.is_sparse(qv):
        pv, qv = (v.toarray() if rows.is_sparse(v) else v for v in (pv, qv))
    terms = np.empty((math.prod(shape), pv.shape[-1]))
    rows.run_contributions(d, p, q, pv, qv, shape, terms, threads)
    terms *= d.weight * (1 if d.finish == "log" else unit)  # under a logarithm there are no units
    return np.moveaxis(terms.reshape(*shape, terms.shape[-1]), -1, axis)


def _index_and_rows(P, Q, divergence, n_jobs):
    if Q is None:
        return Index(P, divergence, n_jobs=n_jobs, _name="P"), None
    p, q = as_pair(P, Q)
    if len(p.shape) == 2 and len(q.shape) == 2:
        check_match(p, q, divergences.find(divergence), p.shape[1], q.shape[1])
    return Index(q, divergence, n_jobs=n_jobs), p
