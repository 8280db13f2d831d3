"""Categorical distributions: histograms, probability vectors, softmax outputs."""

from __future__ import annotations

import copy

import numpy as np
import scipy.sparse

from .. import _engine
from . import smoothing as _smoothing
from .indexing import shape_at, taken

# Rows of probabilities must sum to 1 this closely, by the precision that they are stored in.
SUM_TOLERANCE = {"float64": 1e-6, "float32": 1e-3, "float16": 1e-2, "bfloat16": 1e-2}


class Categorical:
    """Distributions over a finite set of bins, given in exactly one of four ways.

    Parameters
    ----------
    probs : array-like (..., K)
        Probabilities; rows sum to 1 within 1e-6 (float32: 1e-3; half precision: 1e-2). Values are those of the exactly
        normalised rows.
    logits : array-like (..., K)
        Log-weights, softmax of each row; -inf masks a bin.
    log_probs : array-like (..., K)
        Logarithms of probabilities: logits whose exponentials sum to 1 as closely as `probs` must.
    counts : array-like (..., K)
        Nonnegative weights with any positive sum.
    smoothing : float or tuple, optional
        For counts and probs: a number a, added to every bin; ``("jelinek-mercer", weight[, background])``
        for (1 - weight) p + weight b; ``("dirichlet", mass[, background])`` for (x + mass b)/(S + mass).
        The background b is uniform unless given. Nothing is ever smoothed unless asked for.

    Notes
    -----
    Arrays are neither copied nor converted where their type is float64, float32, float16, bfloat16 or
    an integer. A `scipy.sparse` matrix is kept as CSR. Zeros are exact zeros: 0 log 0 = 0, and mass
    where the other distribution has none gives inf. Batches are indexed as arrays of their shape without the
    bins are: ``P[10:20]``, ``P[mask]``, ``P[3]``.

    Raises
    ------
    ValueError
        Not exactly one parameter; masked, complex or non-numeric data; smoothing of logits. Values
        are checked when a divergence is computed, and the error names the row.
    """

    def __init__(self, probs=None, *, logits=None, log_probs=None, counts=None, smoothing=None):
        given = {k: v for k, v in dict(probs=probs, logits=logits, log_probs=log_probs, counts=counts).items()
                 if v is not None}
        if len(given) != 1:
            raise ValueError("Categorical takes exactly one of probs=, logits=, log_probs=, counts=; got "
                             + (", ".join(given) or "none"))
        self.parameter, values = given.popitem()
        self.values = as_values(values, f"{self.parameter}=")
        self.dtype = values.dtype if scipy.sparse.issparse(values) else self.values.dtype
        if self.parameter in ("logits", "log_probs"):
            if smoothing is not None:
                raise ValueError(f"smoothing applies to counts and probs, not to {self.parameter}; pass "
                                 "counts=exp(...) to smooth")
            if scipy.sparse.issparse(self.values):
                raise ValueError(f"{self.parameter}= cannot be sparse: a missing logit would be 0, not -inf")
        if self.values.ndim == 0:
            raise ValueError(f"{self.parameter}= needs at least one axis, the bins; got a scalar")
        self.smoothing = smoothing
        _smoothing.parse(smoothing, self.shape[-1])  # complain now

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    @property
    def domain(self) -> int:
        return _engine.LOGITS if self.parameter in ("logits", "log_probs") else _engine.PROBS

    @property
    def single(self) -> bool:
        """Whether the values hold no more than float32 (so that float32 is the natural answer)."""
        return _engine.type_name(self.dtype) in ("float32", "float16", "bfloat16")

    @property
    def sum_tolerance(self) -> float:
        """How far a row's sum may be from 1; negative: any sum."""
        if self.parameter in ("counts", "logits") or self.smoothing is not None:
            return -1.0
        return SUM_TOLERANCE.get(_engine.type_name(self.dtype), 1e-6)

    def __len__(self) -> int:
        if len(self.shape) == 1:
            raise TypeError("one Categorical distribution has no length")
        return self.shape[0]

    def __getitem__(self, key) -> Categorical:
        """The distributions at `key`, as NumPy indexes an array of the batch's shape."""
        batch = shape_at("Categorical", self.shape[:-1], key)
        part = copy.copy(self)
        if scipy.sparse.issparse(self.values):
            rows = self.values[np.atleast_1d(np.arange(self.shape[0])[key])]
            part.values = as_values(rows if batch else rows.toarray()[0], f"{self.parameter}=")
        else:
            part.values = taken(self.values, 1, key)
        return part

    def rows(self, values=None) -> _engine.Rows:
        """The engine's view of a 2-d array of these distributions (default: all, if 2-d)."""
        values = self.values if values is None else values
        prior = _smoothing.parse(self.smoothing, values.shape[-1])
        if prior is None:
            return _engine.Rows(values, self.domain)
        return _engine.Rows(values, self.domain, prior.probs, prior.weight, prior.by_sum)

    def refusal(self, rows: _engine.Rows, name: str, status: int, row: int, value: float, place: str) -> ValueError:
        """The error for a refused row: what is wrong, where, what to do."""
        logits = self.domain == _engine.LOGITS
        data = rows.read(row)
        if status == _engine.ROW_EMPTY:
            what = "every logit is -inf" if logits else "the row sums to 0"
            return ValueError(f"{name}: {place} is empty ({what}); drop it" + ("" if logits else ", or smooth: "
                              "klfast.Categorical(counts=..., smoothing=0.5)"))
        if status == _engine.ROW_SUM and logits:
            return ValueError(f"{name}: {place} of log_probs has probabilities that sum to exp({value:.6g}), not 1 "
                              f"(tolerance {self.sum_tolerance:g}); pass klfast.Categorical(logits=...) to normalise")
        if status == _engine.ROW_SUM:
            return ValueError(f"{name}: {place} sums to {value:.9g}, not 1 (tolerance {self.sum_tolerance:g}); if these "
                              "are counts or weights, pass klfast.Categorical(counts=...), which normalises")
        test = {_engine.ROW_NAN: np.isnan, _engine.ROW_NEGATIVE: lambda x: x < 0,
                _engine.ROW_INFINITE: np.isposinf if logits else np.isinf}[status]
        where = np.flatnonzero(test(data))
        if not where.size:
            return ValueError(f"{name}: {place} is finite but its sum overflows float64; scale the row down")
        k = int(where[0])
        advice = {_engine.ROW_NAN: "replace or drop it", _engine.ROW_INFINITE: "replace or drop it",
                  _engine.ROW_NEGATIVE: "probabilities and counts are >= 0; log-weights go to "
                                        "klfast.Categorical(logits=...)"}
        return ValueError(f"{name}: {place}, bin {k} is {data[k]:g}; {advice[status]}")

    def __repr__(self) -> str:
        smooth = "" if self.smoothing is None else f", smoothing={self.smoothing!r}"
        return f"Categorical({self.parameter}=<{_engine.type_name(self.dtype)} array {self.shape}>{smooth})"


def as_values(x, name: str):
    """x as an array that the engine can read in place (or CSR), converting only where it must."""
    if scipy.sparse.issparse(x):
        return _as_csr(x)
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(f"{name} is a masked array with masked entries; fill them (x.filled(0)) or drop them")
        x = x.data
    if type(x).__module__.partition(".")[0] == "torch":
        x = _from_torch(x)
    try:
        only_dlpack = hasattr(x, "__dlpack__") and not hasattr(x, "__array__")
        array = np.from_dlpack(x) if only_dlpack else np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    stored = _engine.type_name(array.dtype)
    if stored == "bool":
        return array.view(np.uint8)
    if array.dtype.kind == "c" or stored not in _engine.STORAGES and array.dtype.kind not in "fiuO":
        raise ValueError(f"{name} has dtype {array.dtype}; real numbers are needed")
    if stored not in _engine.STORAGES or not array.dtype.isnative:
        try:
            array = array.astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{name} has dtype {array.dtype} and does not convert to float64") from None
    return array


def _as_csr(x):
    if x.dtype.kind not in "fiub":
        raise ValueError(f"a sparse matrix of dtype {x.dtype} was given; real numbers are needed")
    csr = scipy.sparse.csr_array(x)
    try:
        csr.check_format(full_check=True)  # the engine trusts the indices
    except ValueError as error:
        raise ValueError(f"a damaged sparse matrix was given: {error}") from None
    if not csr.has_canonical_format:
        csr = csr.copy()
        csr.sum_duplicates()
    parts = (csr.data.astype(np.float64, copy=False), csr.indices.astype(np.int32, copy=False))
    result = scipy.sparse.csr_array((*parts, csr.indptr), shape=csr.shape)
    # scipy narrows index arrays; the engine reads 64-bit row pointers.
    result.indptr = result.indptr.astype(np.int64, copy=False)
    result.indices = result.indices.astype(np.int32, copy=False)
    return result


def _from_torch(tensor):
    """A CPU tensor's memory; bfloat16, which NumPy lacks, by its bits."""
    if tensor.device.type != "cpu":
        raise ValueError(f"a tensor on {tensor.device} was given; klfast runs on the CPU: pass tensor.cpu()")
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            return tensor.float().numpy()
        import torch

        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()
