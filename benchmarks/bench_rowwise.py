"""Benchmarks: row by row, from probabilities and from logits; one for each contestant."""

from .cases import LOGITS, ROWWISE
from .conftest import contestants


@contestants([ROWWISE, *LOGITS])
def test_rowwise(contest, case, rival):
    contest(case, rival)
