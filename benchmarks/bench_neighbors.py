"""Benchmarks: the k nearest, all within a radius, many rows against few; one for each contestant."""

from .cases import FEW, NEIGHBORS, PATCHES, RADIUS
from .conftest import contestants


@contestants([*NEIGHBORS, PATCHES, *RADIUS, *FEW])
def test_neighbors(contest, case, rival):
    contest(case, rival)
