"""Benchmarks: the k nearest, and many rows against few; one for each contestant."""

from .cases import FEW, NEIGHBORS, PATCHES
from .conftest import contestants


@contestants([*NEIGHBORS, PATCHES, *FEW])
def test_neighbors(contest, case, rival):
    contest(case, rival)
