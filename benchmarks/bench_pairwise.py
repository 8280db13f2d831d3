"""Benchmarks: all pairs, into a dense matrix; one for each contestant."""

from .cases import PAIRWISE, JENSEN_SHANNON
from .conftest import contestants


@contestants([*PAIRWISE, *JENSEN_SHANNON])
def test_pairwise(contest, case, rival):
    contest(case, rival)
