"""References to 106 bits for rows of every kind that the accuracy contract names.

strata.py    makes the rows      generate.py  computes their values, by two formulas, into table.npz
compare.py   judges a value      cases()      reads the table
"""

from .compare import assert_accurate, error
from .table import Case, cases, long_case, strata_of

__all__ = ["Case", "assert_accurate", "cases", "error", "long_case", "strata_of"]
