"""What the parametric families have in common: parameters, batch dimensions, validation, the matrix for the kernels.

A family names its parameters and what each may be; everything else is here. Batch dimensions come from broadcasting the
parameters, as in torch.distributions. A family of one variable is a product over its last axis with ``event_ndim=1``:
its divergence is then the sum over that axis.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .indexing import shape_at, taken
from .parametric import Parts


@dataclass(frozen=True)
class Domain:
    """What a parameter may be: `holds(values)` marks the good ones (finite is asked for anyway)."""

    words: str
    holds: Callable[[np.ndarray], np.ndarray]
    is_interval: bool = True

    def good(self, array: np.ndarray) -> np.ndarray:
        return np.isfinite(array) & self.holds(array)


REAL = Domain("a finite number", np.isfinite)
POSITIVE = Domain("positive", lambda x: x > 0)
NONNEGATIVE = Domain("0 or more", lambda x: x >= 0)
PROBABILITY = Domain("in [0, 1]", lambda x: (x >= 0) & (x <= 1))
PROBABILITY_ABOVE_0 = Domain("in (0, 1]", lambda x: (x > 0) & (x <= 1))
PROBABILITY_BELOW_1 = Domain("in [0, 1)", lambda x: (x >= 0) & (x < 1))
COUNT = Domain("a positive integer", lambda x: (x > 0) & (x == np.floor(x)), is_interval=False)

CHUNK = 1 << 15  # numbers, 256 KiB


class Family:
    """A batch of distributions of one parametric family.

    Attributes
    ----------
    family : str
        Name of the kernels in ``src_c/families``.
    values : dict of str to ndarray
        The parameters by name, float64, not broadcast.
    batch_shape, event_shape, shape : tuple of int
        One distribution for each element of the batch; `shape` is both.

    Notes
    -----
    Batches are indexed as arrays of `batch_shape` are: ``P[10:20]``, ``P[mask]``, ``P[3]``.
    """

    family: ClassVar[str]
    domains: ClassVar[dict[str, Domain]]
    common: ClassVar[str | None] = None  # a parameter without whose equality there is no closed form
    powers: ClassVar[bool] = True  # whether Renyi's divergence and its relatives have a closed form
    common_in_powers: ClassVar[str | None] = None  # the parameter that must be equal for these
    own_axes: ClassVar[dict[str, int]] = {}  # axes of a parameter that belong to one distribution, if not event_ndim

    def __init__(self, *, event_ndim: int = 0, **parameters):
        if event_ndim not in (0, 1):
            raise ValueError(f"event_ndim must be 0 (one variable) or 1 (the last axis is independent coordinates of "
                             f"one distribution); got {event_ndim!r}")
        self.event_ndim = event_ndim
        self.single = all(_is_single(x) for x in parameters.values())
        family = type(self).__name__
        self.values = {name: checked(family, name, x, self.domains[name]) for name, x in parameters.items()}
        full = broadcast_shapes(family, {name: x.shape for name, x in self.values.items()})
        if len(full) < event_ndim:
            raise ValueError(f"{family} with event_ndim=1 needs parameters with at least one axis")
        self.event_shape = full[len(full) - event_ndim:]
        self.batch_shape = full[:len(full) - event_ndim]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.batch_shape + self.event_shape

    def parts(self) -> tuple[np.ndarray, ...]:
        """Arrays (batch..., numbers), or (batch..., d, d) of lower triangles, that side by side are the rows which the
        kernels read; views where they can be."""
        whole = (np.broadcast_to(x, self.shape) for x in self.values.values())
        return tuple(x if self.event_shape else x[..., None] for x in whole)

    def parameters(self) -> np.ndarray:
        """The parameters as the kernels read them: (n, K) float64, one distribution of the batch a row."""
        joined = Parts(self.parts(), len(self.batch_shape)).joined()
        return np.ascontiguousarray(joined.reshape(self._count, joined.shape[-1]))

    @property
    def _count(self) -> int:
        return int(np.prod(self.batch_shape, dtype=np.int64))

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError(f"one {type(self).__name__} distribution has no length")
        return self.batch_shape[0]

    def __getitem__(self, key) -> Family:
        """The distributions at `key`, as NumPy indexes an array of `batch_shape`."""
        part = copy.copy(self)
        part.batch_shape = shape_at(type(self).__name__, self.batch_shape, key)
        part.values = {name: self._at(name, x, key) for name, x in self.values.items()}
        return part

    def _at(self, name: str, x: np.ndarray, key) -> np.ndarray:
        axes = self.own_axes.get(name, self.event_ndim)
        own = x.shape[x.ndim - axes:] if x.ndim >= axes else x.shape
        if x.size == math.prod(own):  # one for the whole batch
            return x.reshape(own)
        part = taken(np.broadcast_to(x, self.batch_shape + own), axes, key)
        return np.ascontiguousarray(part).reshape(part.shape)

    def __getattr__(self, name):
        values = self.__dict__.get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __repr__(self) -> str:
        given = ", ".join(f"{name}=<array {x.shape}>" if x.ndim else f"{name}={x[()]:g}"
                          for name, x in self.values.items())
        event = ", event_ndim=1" if self.event_ndim else ""
        return f"{type(self).__name__}({given}{event})"


def comparable(P: Family, Q: Family) -> tuple[Family, Family]:
    """P and Q ready to be compared by one family's kernels; else an error that says why they cannot be."""
    if P.family != Q.family and hasattr(P, "as_logits") and hasattr(Q, "as_logits"):
        P, Q = P.as_logits(), Q.as_logits()
    if P.family != Q.family:
        raise ValueError(f"P is {type(P).__name__} and Q is {type(Q).__name__}: there is a closed form only within a "
                         f"family; klfast.quadrature.kl_scipy integrates any two")
    if P.event_shape != Q.event_shape:
        raise ValueError(f"one distribution of P has shape {P.event_shape}, one of Q {Q.event_shape}; they must agree")
    if P.common is not None:
        both = np.concatenate([x.values[P.common].ravel() for x in (P, Q)])
        if both.size and not (both == both[0]).all():
            raise ValueError(f"{type(P).__name__}: {P.common} takes several values ({both.min():g} to {both.max():g}); "
                             f"there is a closed form only where all are equal")
    return P, Q


def as_float64(family: str, name: str, x) -> np.ndarray:
    """x as a contiguous float64 array; complaints name the parameter."""
    if isinstance(x, np.ma.MaskedArray):
        if np.ma.is_masked(x):
            raise ValueError(f"{family}: {name} is a masked array with masked entries; fill or drop them")
        x = x.data
    if type(x).__module__.partition(".")[0] == "torch":
        if x.device.type != "cpu":
            raise ValueError(f"{family}: {name} is a tensor on {x.device}; klfast runs on the CPU: pass tensor.cpu()")
        x = x.detach().double().numpy()
    try:
        array = np.asarray(x)
        if array.dtype.kind == "c":
            raise TypeError
        return np.ascontiguousarray(array, np.float64).reshape(array.shape)
    except (TypeError, ValueError):
        raise ValueError(f"{family}: {name} does not convert to an array of real numbers") from None


def checked(family: str, name: str, x, domain: Domain) -> np.ndarray:
    """x as float64, every value in the domain; else an error that says which is not."""
    array = as_float64(family, name, x)
    if domain.is_interval and array.size > CHUNK and domain.good(extremes(array)).all():
        return array
    good = domain.good(array)
    if not good.all():
        complain(family, name, array, good, domain.words)
    return array


def extremes(array: np.ndarray) -> np.ndarray:
    """Least and largest number of a contiguous array, NaN if one is, read once."""
    flat = array.reshape(-1)
    chunks = [flat[i : i + CHUNK] for i in range(0, flat.size, CHUNK)]
    return np.array([end for chunk in chunks for end in (chunk.min(), chunk.max())])


def complain(family: str, name: str, array: np.ndarray, good: np.ndarray, words: str):
    where = tuple(int(k) for k in np.argwhere(~good)[0]) if array.ndim else ()
    index = f"[{', '.join(map(str, where))}]" if where else ""
    more = int((~good).sum()) - 1
    also = f" ({more} more like it)" if more else ""
    raise ValueError(f"{family}: {name}{index} is {array[where]:g}{also}; it must be {words}")


def broadcast_shapes(family: str, shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes.values())
    except ValueError:
        given = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{family}: the parameters do not broadcast: {given}") from None


def one_of(family: str, given: dict):
    """The name and value of the only parameter that is not None."""
    present = {name: x for name, x in given.items() if x is not None}
    if len(present) != 1:
        raise ValueError(f"{family} takes exactly one of {', '.join(f'{name}=' for name in given)}; "
                         f"got {', '.join(present) or 'none'}")
    return next(iter(present.items()))


def lower_triangle(family: str, name: str, x, what: str) -> np.ndarray:
    """The Cholesky factor of covariances, or of the inverse of precisions, or the factor itself: (..., d, d)."""
    array = checked(family, name, x, REAL)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{family}: {name} must hold square matrices, (..., d, d); got shape {array.shape}")
    if name == "scale_tril":
        diagonal = np.diagonal(array, axis1=-2, axis2=-1)
        if any(array[..., i, i + 1:].any() for i in range(array.shape[-1])):
            raise ValueError(f"{family}: scale_tril has entries above the diagonal; pass np.tril(scale_tril), or "
                             f"covariance_matrix=")
        if not (diagonal > 0).all():
            complain(family, "the diagonal of scale_tril", diagonal, diagonal > 0, "positive")
        return array
    if not np.allclose(array, np.swapaxes(array, -1, -2), rtol=1e-8, atol=0):
        raise ValueError(f"{family}: {name} is not symmetric")
    try:
        if name == "covariance_matrix":
            return np.linalg.cholesky(array)
        # Reversed, the Cholesky factor is U in P = U U^T, upper triangular; then P^-1 = L L^T with L = U^-T.
        U = np.linalg.cholesky(array[..., ::-1, ::-1])[..., ::-1, ::-1]
        identity = np.broadcast_to(np.eye(array.shape[-1]), array.shape)
        return np.tril(np.linalg.solve(np.swapaxes(U, -1, -2), identity))
    except np.linalg.LinAlgError:
        raise ValueError(f"{family}: {name} is not positive definite in each of its matrices; {what}") from None


def _is_single(x) -> bool:
    dtype = getattr(x, "dtype", None)
    return str(dtype).removeprefix("torch.") in ("float32", "float16", "bfloat16")
