"""Distributions of a parametric family where rows of bins are expected: their parameters, as the engine reads them."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .. import _engine


class Parameters:
    """The batch of a `Family` as rows of parameters, with the attributes of `Categorical` that matter to the engine."""

    domain = _engine.FAMILY
    sum_tolerance = -1.0

    def __init__(self, distribution):
        self.distribution = distribution
        self.name, self.family = type(distribution).__name__, distribution.family
        self.batch_shape, self.single = distribution.batch_shape, distribution.single
        self._parts = distribution.parts()

    @cached_property
    def values(self) -> np.ndarray:
        """The parameters in one array, (batch..., K): a copy."""
        return np.concatenate(self._parts, axis=-1)

    @property
    def shape(self) -> tuple[int, ...]:
        if "values" in self.__dict__:
            return self.values.shape
        return (*self.batch_shape, sum(part.shape[-1] for part in self._parts))

    def rows(self, values=None) -> _engine.Rows:
        """The engine's view of a 2-d array of parameters (default: all, if 2-d, as they lie)."""
        if values is None and "values" not in self.__dict__ and len(self.batch_shape) == 1:
            return _engine.Rows(self._parts, self.domain, family=self.family)
        values = self.values if values is None else values
        return _engine.Rows(np.ascontiguousarray(values), self.domain, family=self.family)

    def refusal(self, rows, name: str, status: int, row: int, value: float, place: str) -> ValueError:
        """Parameters are checked when a family is made: this guards against arrays that were changed since."""
        return ValueError(f"{name}: {place}, parameter {int(value % 1e9)} of {self.name} is not valid any more; "
                          "were its arrays changed?")
