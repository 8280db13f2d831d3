"""References to 106 bits for rows of every kind that the accuracy contract names.

strata.py, more_strata.py  make the rows
generate.py                computes their values, by two formulas (the second ones in formulas.py), into table.npz
cases()                    KL, reverse KL and entropy from the table; long_case(): of up to a million bins
divergence_cases()         the other divergences: (stratum, domain, storage, p, q, name, parameter, (high, low))
compare.py                 judges a value
"""

from .compare import assert_accurate, error
from .table import Case, DivergenceCase, cases, divergence_cases, long_case, strata_of

__all__ = ["Case", "DivergenceCase", "assert_accurate", "cases", "divergence_cases", "error", "long_case", "strata_of"]
