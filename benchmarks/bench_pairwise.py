"""Benchmarks: all pairs, into a dense matrix or reduced; one for each contestant."""

from .cases import DIVERGENCES, JENSEN_SHANNON, PAIRWISE, REDUCE
from .conftest import contestants


@contestants([*PAIRWISE, *JENSEN_SHANNON, *DIVERGENCES, *REDUCE])
def test_pairwise(contest, case, rival):
    contest(case, rival)
