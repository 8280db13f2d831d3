# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""Schedules the C kernels: OpenMP over blocks of rows, memory, the choice of the ISA.

Nothing here computes; every loop over rows hands whole blocks to C with the GIL released. Callers
pass checked operands; a refused row comes back as a status in `Stats`.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy, memset

from ._kernels cimport *

import os
from functools import cache

import numpy as np

from klfast import memory

cimport numpy as cnp

cnp.import_array()

PROBS, LOGITS, MEASURE, FAMILY = KL_PROBS, KL_LOGITS, KL_MEASURE, KL_FAMILY
KINDS = {"kl": KL_KL, "jeffreys": KL_JEFFREYS, "power": KL_POWER, "itakura_saito": KL_ITAKURA_SAITO,
         "skew_js": KL_SKEW_JS, "skew_kl": KL_SKEW_KL, "variation": KL_VARIATION, "triangular": KL_TRIANGULAR}
FINISHES = {"linear": KL_LINEAR, "sqrt": KL_SQRT, "log": KL_LOG}
PRODUCT, SUM_JS, SUM_SKEW, SUM_ABS, SUM_FAMILY = KL_PRODUCT, KL_SUM_JS, KL_SUM_SKEW, KL_SUM_ABS, KL_SUM_FAMILY
OVERLAP = KL_OVERLAP
SUPPORT_FREE, SUPPORT_WITHIN, SUPPORT_EQUAL = KL_SUPPORT_FREE, KL_SUPPORT_WITHIN, KL_SUPPORT_EQUAL
SUPPORT_MEETING = KL_SUPPORT_MEETING
REDUCTIONS = {"sum": KL_REDUCE_SUM, "mean": KL_REDUCE_SUM, "min": KL_REDUCE_MIN, "max": KL_REDUCE_MAX}
MEAN, NATURAL = KL_MEAN, KL_NATURAL
ROW_NAN, ROW_INFINITE, ROW_NEGATIVE = KL_ROW_NAN, KL_ROW_INFINITE, KL_ROW_NEGATIVE
ROW_EMPTY, ROW_SUM, ROW_PARAMETER, ROW_OF_Q = KL_ROW_EMPTY, KL_ROW_SUM, KL_ROW_PARAMETER, KL_ROW_OF_Q
PARAMETER_STATUS = {"nan": KL_PARAMETER_NAN, "infinite": KL_PARAMETER_INFINITE, "negative": KL_PARAMETER_NEGATIVE,
                    "not_positive": KL_PARAMETER_NOT_POSITIVE, "not_probability": KL_PARAMETER_NOT_PROBABILITY,
                    "not_integer": KL_PARAMETER_NOT_INTEGER, "not_above_low": KL_PARAMETER_NOT_ABOVE_LOW,
                    "not_unit": KL_PARAMETER_NOT_UNIT, "below_dimension": KL_PARAMETER_BELOW_DIMENSION}

# ---- ISA -------------------------------------------------------------------------------------------

cdef const kl_kernels *active = NULL


def isas():
    """Names of the compiled implementations, best first, and whether this machine runs each."""
    return {kl_isa_at(i).name.decode(): bool(kl_isa_supported(i)) for i in range(kl_isa_count())}


def use_isa(name=None):
    """Make an implementation the active one; None takes the best that this machine supports."""
    global active
    cdef int i
    for i in range(kl_isa_count()):
        if name is None and kl_isa_supported(i) or name == kl_isa_at(i).name.decode():
            if not kl_isa_supported(i):
                raise ValueError(f"this processor or operating system does not support the ISA {name!r}; "
                                 f"supported: {', '.join(n for n, ok in isas().items() if ok)}")
            active = kl_isa_at(i)
            return active.name.decode()
    raise ValueError(f"unknown ISA {name!r}; compiled in: {', '.join(isas())}")


def active_isa():
    return active.name.decode()


use_isa(os.environ.get("KLFAST_ISA") or None)

# ---- operands -----------------------------------------------------------------------------------------

STORAGES = {"float64": KL_FLOAT64, "float32": KL_FLOAT32, "float16": KL_FLOAT16, "bfloat16": KL_BFLOAT16,
            "int8": KL_INT8, "uint8": KL_UINT8, "bool": KL_UINT8, "int16": KL_INT16, "uint16": KL_UINT16,
            "int32": KL_INT32, "uint32": KL_UINT32, "int64": KL_INT64, "uint64": KL_UINT64}


@cache
def type_name(dtype):
    """dtype.name, which NumPy puts together anew each time: a call of one row asks a dozen times."""
    return dtype.name


cdef void *address(array) except? NULL:
    return cnp.PyArray_DATA(<cnp.ndarray>array)


cdef class Form:
    """A divergence as the engine knows it: kind and number of its terms, finish (kl_divergence in klfast.h)."""
    cdef kl_divergence c

    def __init__(self, kind, number=0, rest=None, finish="linear", scale=0, factor=1, adds_entropy=False):
        self.c.kind, self.c.finish, self.c.adds_entropy = KINDS[kind], FINISHES[finish], adds_entropy
        self.c.number, self.c.rest = number, 1 - number if rest is None else rest
        self.c.scale, self.c.factor = scale, factor

    @property
    def shape(self):
        """The tile that its fast form runs in."""
        return kl_shape_of(&self.c)

    @property
    def support(self):
        """Which empty bins make a value infinite."""
        return kl_support_of(&self.c)

    @property
    def gain(self):
        """The largest p/m of a skewed KL, 0 elsewhere."""
        return 1 / (1 - self.c.number) if self.c.kind == KL_SKEW_KL else 0.0

    @property
    def usual(self):
        """Skewed JS and KL of rows that differ a little at random: the value, by what the bins add to the offsets."""
        cdef double w = self.c.number
        return 2 * w * w / (1 + w) if self.c.kind == KL_SKEW_KL else 2 * w * (1 - w)

    @property
    def number(self):
        """The s, w or a of its terms."""
        return self.c.number

    @property
    def magnified(self):
        """By how much more than KL's the features of a power magnify the roundings of weights: |s| + |1 - s| - 1."""
        return 2 * self.c.number - 2 if self.c.kind == KL_POWER and self.c.number > 1 else 0.0

    @property
    def goes_both_ways(self):
        """Whether features serve both directions, so that those of the two roles should be of one length."""
        return self.c.kind == KL_JEFFREYS and kl_shape_of(&self.c) == KL_PRODUCT

    @property
    def needs_double(self):
        """Whether its tiles run in float64 only: terms of families, and overlaps that float32 cannot hold."""
        return bool(self.c.by_terms or (self.c.by_overlap and self.c.number > 1))

    def overlap_at(self, values):
        """POWER: sum p^s q^t, and the sum of terms, of pairs with these values."""
        cdef double product = self.c.number * self.c.rest
        if self.c.finish == KL_LOG:
            overlap = np.exp(values / self.c.factor)
            return overlap, (1 - overlap) / product
        terms = values / self.c.factor
        return 1 - product * terms, terms

    def width(self, Rows rows):
        """Features a row."""
        return kl_width_of(&self.c, &rows.c)

    def is_bilinear(self, Rows rows):
        """Whether a value is a sum of offsets less a product of features, and nothing else."""
        return kl_shape_of(&self.c) == KL_PRODUCT and self.c.finish == KL_LINEAR and kl_width_of(&self.c, &rows.c) > 0

    def against(self, Rows columns):
        """This form, or as sums of a family's terms where that is how these columns are compared."""
        cdef Form form = Form.__new__(Form)
        form.c = self.c
        form.c.by_terms = kl_by_terms(&self.c, &columns.c)
        return form

    def tiled_as(self, Form other):
        """This form (in another unit) with the tiles of the other."""
        cdef Form form = Form.__new__(Form)
        form.c = self.c
        form.c.by_terms, form.c.by_overlap = other.c.by_terms, other.c.by_overlap
        return form

    def of_overlap(self, Rows columns):
        """This form by products that give sum p^s q^t itself; None where it has none."""
        cdef Form form = Form.__new__(Form)
        form.c = self.c
        form.c.by_overlap = True
        return form if kl_has_overlap(&self.c, columns.c.domain) else None


def numbers_of(own):
    """How many numbers of a row an array holds, by its axes but those of the rows: (n,), or (d, d) of a lower triangle."""
    return own[0] if len(own) == 1 else own[0] * (own[0] + 1) // 2


cdef class Rows:
    """A matrix of distributions, one a row: the user's memory as it lies, and how to read it. With a `family`, rows are
    the parameters of its distributions.

    `values` is a 2-d array of a type in STORAGES with any strides, or a CSR matrix (canonical, float64
    values, int32 indices, int64 indptr), or of a family a tuple of float64 arrays that lie side by side, 3-d ones with
    the lower triangles of their matrices."""
    cdef kl_rows c
    cdef object values, prior, index, parts
    cdef readonly object family
    cdef readonly int domain

    def __init__(self, values, int domain, prior=None, double prior_weight=1, bint weight_by_sum=False,
                 bint take_log=False, index=None, family=None):
        memset(&self.c, 0, sizeof(kl_rows))
        self.values, self.domain, self.family = values, domain, family
        if family is not None:
            self.c.family = kl_family_named(family.encode())
            if self.c.family == NULL:
                raise ValueError(f"the engine has no family {family!r}")
        self.c.domain, self.c.take_log = domain, take_log
        if isinstance(values, tuple):
            self._take_parts()
        else:
            self.c.n_rows, self.c.n_cols = values.shape
        self.c.prior_weight, self.c.weight_by_sum = prior_weight, weight_by_sum
        if isinstance(values, np.ndarray):
            self.c.data = <const char *>address(values)
            self.c.row_stride, self.c.col_stride = values.strides
            self.c.storage = STORAGES[type_name(values.dtype)]
        elif not isinstance(values, tuple):
            self.parts = (values.data, values.indptr, values.indices)
            self.c.data = <const char *>address(values.data)
            self.c.indptr = <const int64_t *>address(values.indptr)
            self.c.indices = <const int32_t *>address(values.indices)
        if prior is not None:
            self.prior = np.ascontiguousarray(prior, np.float64)
            self.c.prior = <const double *>address(self.prior)
        if index is not None:
            self.index = np.ascontiguousarray(index, np.int64)
            self.c.n_rows = self.index.shape[0]
            self.c.index = <const int64_t *>address(self.index)

    cdef _take_parts(self):
        if len(self.values) > KL_MOST_PARTS:
            raise ValueError(f"{len(self.values)} parts of a matrix, at most {KL_MOST_PARTS}")
        for i, part in enumerate(self.values):
            self.c.part[i].data = <const char *>address(part)
            self.c.n_rows = part.shape[0]
            self.c.part[i].row_stride, self.c.part[i].col_stride = part.strides[0], part.strides[part.ndim - 1]
            self.c.part[i].n_cols = numbers_of(part.shape[1:])
            if part.ndim == 3:
                self.c.part[i].side, self.c.part[i].line_stride = part.shape[1], part.strides[1]
            self.c.n_cols += self.c.part[i].n_cols
        self.c.n_parts = len(self.values)

    @property
    def shape(self):
        return self.c.n_rows, self.c.n_cols

    def shares_memory(self, array):
        """Whether the values lie in the memory of `array` (or may: where that is too hard to say)."""
        arrays = self.values if isinstance(self.values, tuple) else (self.values,)
        try:
            return any(np.shares_memory(x, array, max_work=10_000) for x in arrays if isinstance(x, np.ndarray))
        except np.exceptions.TooHardError:
            return True

    def read(self, int64_t i):
        """Row i as the kernels read it (a copy)."""
        cdef double[::1] scratch = np.empty(max(self.c.n_cols, 1))
        cdef const double *row = active.read(&self.c, i, &scratch[0])
        out = np.empty(self.c.n_cols)
        cdef double[::1] o = out
        cdef int64_t k
        for k in range(self.c.n_cols):
            o[k] = row[k]
        return out

    def select(self, index):
        """The rows at `index`, without copying them."""
        if self.index is not None:
            index = self.index[index]
        return Rows(self.values, self.domain, self.prior, self.c.prior_weight, self.c.weight_by_sum,
                    self.c.take_log, index, self.family)

    def as_measure(self):
        """The same weights, not normalised."""
        return Rows(self.values, MEASURE, self.prior, self.c.prior_weight, self.c.weight_by_sum, False, self.index)

    def as_logits(self):
        """The same weights read as their logarithms."""
        return Rows(self.values, LOGITS, self.prior, self.c.prior_weight, self.c.weight_by_sum, True,
                    self.index)


STATS = np.dtype([("recomputed", np.uint64), ("equal", np.uint64), ("candidates", np.uint64), ("isa_ran", np.uint32),
                  ("status", np.uint32), ("status_row", np.int64), ("status_value", np.float64),
                  ("apart", np.uint8, 16)])  # kl_stats, padded to a cache line: one a thread
NORM = np.dtype([("a", np.float64), ("b", np.float64)])  # kl_norm

ctypedef struct stats_of_thread:
    kl_stats stats
    uint8_t apart[16]

assert sizeof(stats_of_thread) == STATS.itemsize == 64 and sizeof(kl_norm) == NORM.itemsize


cdef class Stats:
    """What the threads of a call left behind."""
    cdef object array
    cdef stats_of_thread *each

    def __init__(self, int n_threads):
        self.array = np.zeros(n_threads, STATS)
        self.each = <stats_of_thread *>address(self.array)

    @property
    def recomputed(self):
        """Pairs that the fast form could not certify and the direct kernel computed again."""
        return int(self.array["recomputed"].sum())

    @property
    def equal(self):
        """Pairs known to be equal, and so 0, without any work."""
        return int(self.array["equal"].sum())

    @property
    def candidates(self):
        """Pairs that the screen of a neighbour search let through."""
        return int(self.array["candidates"].sum())

    @property
    def isas_ran(self):
        """Names of the implementations whose kernels did the work."""
        bits = int(np.bitwise_or.reduce(self.array["isa_ran"]))
        return [kl_isa_at(i).name.decode() for i in range(kl_isa_count()) if kl_isa_at(i).bit & bits]

    @property
    def refused(self):
        """(status, row, value) of the first refused row, or None."""
        cdef int64_t t
        cdef bint any_refused = False
        for t in range(self.array.size):
            any_refused = any_refused or self.each[t].stats.status != 0
        if not any_refused:
            return None
        bad = [(int(s["status_row"]), int(s["status"]), float(s["status_value"]))
               for s in self.array[self.array["status"] != 0]]
        row, status, value = min(bad)
        return status, row, value


cdef double[:, ::1] scratch_for(int n_threads, int64_t size):
    # Whole cache lines, so that no two threads write to one and vectors do not straddle them.
    cdef int64_t row = (size + 7) // 8 * 8 + 8
    raw = np.empty(n_threads * row + 8)
    cdef int64_t start = (-<int64_t>address(raw) & 63) // 8
    return raw[start:start + n_threads * row].reshape(n_threads, row)


cdef uint8_t[:, ::1] workspaces(int n_threads, int64_t size):
    raw = np.empty((n_threads * ((size + 127) // 64 * 64)) + 64, np.uint8)
    cdef int64_t start = -<int64_t>address(raw) & 63
    return raw[start:start + n_threads * ((size + 127) // 64 * 64)].reshape(n_threads, -1)


include "_rows.pxi"
include "_tasks.pxi"
include "_pairing.pxi"
include "_means.pxi"
