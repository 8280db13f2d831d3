"""References to 106 bits for pairs of parameter rows of every family.

strata.py    makes the rows      generate.py  computes their values, by two formulas, into table.npz
cases()      reads the table
"""

from .table import Case, cases

__all__ = ["Case", "cases"]
