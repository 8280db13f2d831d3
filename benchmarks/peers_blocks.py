"""Adapters of the peers that look for all neighbours within a radius, or reduce; see peers.py."""

from __future__ import annotations

from math import sqrt

import numpy as np
import scipy.sparse

from . import forms
from .cases import Inputs
from .peers_divergences import Call

VALUES = 1 << 19  # of a block: 4 MiB, as scikit-learn's pairwise reductions work in the cache


def numpy_blocks(x: Inputs) -> Call:
    """The expert's product, a block of rows at a time; each block is reduced, or searched, while it is in the cache."""
    block = max(1, VALUES // len(x.Q))
    product = forms.product(x.divergence)
    if x.question == "radius":
        def part(values):
            row, column = np.nonzero(values <= x.radius)
            return row, column, values[row, column]
    else:
        reduction = {"mean": np.mean, "sum": np.sum, "min": np.min, "max": np.max}[x.op]

        def part(values):
            return reduction(values, axis=1)

    # The features of Q are made again for each block by `product`: for a few of the blocks only, see `Q` below.
    return lambda: [part(product(x.P[a : a + block], x.Q)) for a in range(0, len(x.P), block)]
