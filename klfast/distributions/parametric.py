"""Distributions of a parametric family where rows of bins are expected: their parameters, as the engine reads them."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from .. import _engine


class Parts:
    """Arrays (batch..., numbers), or (batch..., d, d) of which lower triangles count, that side by side are rows of
    parameters; as one array where rows meet rows, but not copied into one."""

    def __init__(self, arrays, batch_ndim: int):
        self.arrays, self.ndim = tuple(arrays), batch_ndim + 1
        width = sum(_engine.numbers_of(x.shape[batch_ndim:]) for x in self.arrays)
        self.shape = (*self.arrays[0].shape[:batch_ndim], width)
        self.size = math.prod(self.shape)

    def __getitem__(self, i):
        arrays = [x[i] for x in self.arrays]
        return Parts(arrays, arrays[0].ndim - 1)

    def with_batch(self, change, *batch, **options) -> Parts:
        """`change`, np.broadcast_to or np.reshape, to this shape of the batch."""
        own = self.ndim - 1
        return Parts((change(x, (*batch, *x.shape[own:]), **options) for x in self.arrays), len(batch))

    def joined(self) -> np.ndarray:
        """One array (batch..., K): a copy."""
        flat = (packed(x) if x.ndim > self.ndim else x for x in self.arrays)
        return np.concatenate(list(flat), axis=-1)


def packed(triangle: np.ndarray) -> np.ndarray:
    """The rows of lower triangles without their zeros: (..., d, d) to (..., d (d + 1)/2)."""
    d = triangle.shape[-1]
    rows, columns = np.tril_indices(d)
    # Indexed by two axes, the triangles would lie side by side in memory, and each row of the answer far apart.
    return triangle.reshape(*triangle.shape[:-2], d * d).take(rows * d + columns, axis=-1)


class Parameters:
    """The batch of a `Family` as rows of parameters, with the attributes of `Categorical` that matter to the engine."""

    domain = _engine.FAMILY
    sum_tolerance = -1.0

    def __init__(self, distribution):
        self.distribution = distribution
        self.name, self.family = type(distribution).__name__, distribution.family
        self.batch_shape, self.single = distribution.batch_shape, distribution.single
        self._parts = Parts(distribution.parts(), len(distribution.batch_shape))

    @cached_property
    def values(self) -> np.ndarray:
        """The parameters in one array, (batch..., K): a copy."""
        return self._parts.joined()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.parts.shape

    @property
    def parts(self) -> Parts | np.ndarray:
        """The parameters as they lie, or in one array where that has been made."""
        return self.__dict__.get("values", self._parts)

    def rows(self, values=None) -> _engine.Rows:
        """The engine's view of parameters, a 2-d array or `Parts` (default: all, if 2-d, as they lie)."""
        if values is None:
            values = self.parts if self.parts.ndim == 2 else self.values
        if isinstance(values, Parts):
            return _engine.Rows(values.arrays, self.domain, family=self.family)
        return _engine.Rows(np.ascontiguousarray(values), self.domain, family=self.family)

    def refusal(self, rows, name: str, status: int, row: int, value: float, place: str) -> ValueError:
        """Parameters are checked when a family is made: this guards against arrays that were changed since."""
        return ValueError(f"{name}: {place}, parameter {int(value % 1e9)} of {self.name} is not valid any more; "
                          "were its arrays changed?")
