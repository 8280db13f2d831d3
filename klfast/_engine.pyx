# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
# cython: initializedcheck=False, freethreading_compatible=True
"""Schedules the C kernels: OpenMP over blocks of rows, memory, the choice of the ISA.

Nothing here computes; every loop over rows hands whole blocks to C with the GIL released. Callers
pass checked operands; a refused row comes back as a status in `Stats`.
"""
from cython.parallel cimport prange, threadid
from libc.stdint cimport int8_t, int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memset

from ._kernels cimport *

import os

import numpy as np

cimport numpy as cnp

cnp.import_array()

PROBS, LOGITS = KL_PROBS, KL_LOGITS
MEAN, NATURAL = KL_MEAN, KL_NATURAL
ROW_NAN, ROW_INFINITE, ROW_NEGATIVE = KL_ROW_NAN, KL_ROW_INFINITE, KL_ROW_NEGATIVE
ROW_EMPTY, ROW_SUM, ROW_OF_Q = KL_ROW_EMPTY, KL_ROW_SUM, KL_ROW_OF_Q

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


cdef void *address(array) except? NULL:
    return cnp.PyArray_DATA(<cnp.ndarray>array)


cdef class Rows:
    """A matrix of distributions, one a row: the user's memory as it lies, and how to read it.

    `values` is a 2-d array of a type in STORAGES with any strides, or a CSR matrix (canonical, float64
    values, int32 indices, int64 indptr)."""
    cdef kl_rows c
    cdef object values, prior, index, parts
    cdef readonly int domain

    def __init__(self, values, int domain, prior=None, double prior_weight=1, bint weight_by_sum=False,
                 bint take_log=False, index=None):
        memset(&self.c, 0, sizeof(kl_rows))
        self.values, self.domain = values, domain
        self.c.n_rows, self.c.n_cols = values.shape
        self.c.domain, self.c.take_log = domain, take_log
        self.c.prior_weight, self.c.weight_by_sum = prior_weight, weight_by_sum
        if isinstance(values, np.ndarray):
            self.c.data = <const char *>address(values)
            self.c.row_stride, self.c.col_stride = values.strides
            self.c.storage = STORAGES[values.dtype.name]
        else:
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

    @property
    def shape(self):
        return self.c.n_rows, self.c.n_cols

    def shares_memory(self, array):
        """Whether the values lie in the memory of `array` (or may: where that is too hard to say)."""
        if not isinstance(self.values, np.ndarray):
            return False
        try:
            return np.shares_memory(self.values, array, max_work=10_000)
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
                    self.c.take_log, index)

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
        bad = [(int(s["status_row"]), int(s["status"]), float(s["status_value"]))
               for s in self.array[self.array["status"] != 0]]
        if not bad:
            return None
        row, status, value = min(bad)
        return status, row, value


cdef double[:, ::1] scratch_for(int n_threads, int64_t size):
    # A whole number of cache lines a thread, so that no two threads write to one.
    return np.empty((n_threads, (size + 7) // 8 * 8 + 8))


cdef uint8_t[:, ::1] workspaces(int n_threads, int64_t size):
    raw = np.empty((n_threads * ((size + 127) // 64 * 64)) + 64, np.uint8)
    start = -raw.__array_interface__["data"][0] % 64
    return raw[start:start + n_threads * ((size + 127) // 64 * 64)].reshape(n_threads, -1)


ROWS_A_TASK = 1024  # of the O(n K) loops; also fixes the order in which the centre is added up


def scan(Rows rows, double tolerance, int n_threads):
    """Check every row and compute its norm. Returns (norms, has_zeros, stats)."""
    cdef int64_t n = rows.c.n_rows, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end
    stats = Stats(n_threads)
    cdef stats_of_thread *each = (<Stats>stats).each
    result = np.zeros(n, NORM)
    cdef kl_norm *norms = <kl_norm *>address(result)
    cdef int32_t[:, ::1] zeros = np.zeros((n_threads, 16), np.int32)
    cdef double[:, ::1] scratch = scratch_for(n_threads, rows.c.n_cols)
    cdef int64_t step = ROWS_A_TASK
    cdef const kl_kernels *kernels = active
    cdef int me
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = threadid()
            end = min(t * step + step, n)
            kernels.scan(&rows.c, t * step, end, tolerance, norms, &zeros[me, 0], &scratch[me, 0],
                        &each[me].stats)
    return result, bool(np.asarray(zeros)[:, 0].any()), stats


def mean_probs(Rows rows, norms, int n_threads):
    """Mean of the normalised rows; the same bits for every number of threads."""
    cdef int64_t n = rows.c.n_rows, K = rows.c.n_cols, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t
    cdef int64_t group = max(1, (tasks + 255) // 256), groups = (tasks + group - 1) // group, end
    sums = np.zeros((groups, max(K, 1)))
    cdef double[:, ::1] partial = sums
    cdef const kl_norm *norm = <const kl_norm *>address(norms)
    cdef Stats stats = Stats(n_threads)
    cdef stats_of_thread *each = stats.each
    cdef double[:, ::1] scratch = scratch_for(n_threads, K)
    cdef int64_t step = ROWS_A_TASK * group
    cdef const kl_kernels *kernels = active
    cdef int me
    for t in prange(groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = threadid()
        end = min(t * step + step, n)
        kernels.accumulate(&rows.c, norm, t * step, end, &partial[t, 0], &scratch[me, 0], &each[me].stats)
    return sums[:, :K].sum(axis=0) / n


def entropy(Rows rows, norms, int n_threads):
    cdef int64_t n = rows.c.n_rows, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end
    result = np.empty(n)
    cdef double[::1] out = result
    cdef const kl_norm *norm = <const kl_norm *>address(norms)
    cdef Stats stats = Stats(n_threads)
    cdef stats_of_thread *each = stats.each
    cdef double[:, ::1] scratch = scratch_for(n_threads, rows.c.n_cols)
    cdef int64_t step = ROWS_A_TASK
    cdef const kl_kernels *kernels = active
    cdef int me
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = threadid()
            end = min(t * step + step, n)
            kernels.entropy(&rows.c, norm, t * step, end, &out[0], &scratch[me, 0], &each[me].stats)
    return result


def rowwise(Rows P, Rows Q, int64_t begin, int64_t end, bint cross, double tolerance_p,
            double tolerance_q, double[::1] out, int n_threads):
    """out[begin:end] = D(P_i || Q_i). Returns stats; the status of a refused row of Q has ROW_OF_Q added."""
    cdef int64_t step = max(1, min(ROWS_A_TASK, (end - begin + 4 * n_threads - 1) // (4 * n_threads)))
    cdef int64_t tasks = (end - begin + step - 1) // step, t, first, last
    stats = Stats(n_threads)
    cdef stats_of_thread *each = (<Stats>stats).each
    cdef double[:, ::1] scratch = scratch_for(n_threads, 4 * max(P.c.n_cols, 8 * min(P.c.n_cols, 256)))
    cdef const kl_kernels *kernels = active
    cdef int me
    for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = threadid()
        first = begin + t * step
        last = min(first + step, end)
        kernels.rowwise(&P.c, &Q.c, first, last, cross, tolerance_p, tolerance_q, &out[0],
                       &scratch[me, 0], &each[me].stats)
    return stats


def keys(Rows rows, norms, int n_threads):
    """A key per row; equal distributions have equal keys."""
    cdef int64_t n = rows.c.n_rows, t, i
    result = np.empty(n, np.uint64)
    cdef uint64_t[::1] out = result
    cdef const kl_norm *norm = <const kl_norm *>address(norms)
    cdef double[:, ::1] scratch = scratch_for(n_threads, rows.c.n_cols)
    cdef const kl_kernels *kernels = active
    cdef int me
    for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
        me = threadid()
        out[i] = kl_row_key(rows.c.domain, kernels.read(&rows.c, i, &scratch[me, 0]), norm[i],
                            rows.c.n_cols)
    return result


def compare(Rows a, Rows b, rows_a, rows_b, int n_threads):
    """(same, identical) of row rows_a[t] of a and row rows_b[t] of b: see kl_rows_same, kl_rows_identical."""
    cdef int64_t[::1] ia = np.ascontiguousarray(rows_a, np.int64), ib = np.ascontiguousarray(rows_b, np.int64)
    cdef int64_t n = ia.shape[0], tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end, step = ROWS_A_TASK
    same, identical = np.zeros(n, np.int8), np.zeros(n, np.int8)
    cdef int8_t[::1] s = same, i = identical
    cdef double[:, ::1] scratch = scratch_for(n_threads, 2 * a.c.n_cols)
    cdef const kl_kernels *kernels = active
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            end = min(t * step + step, n)
            kl_compare_rows(kernels, &a.c, &b.c, &ia[0], &ib[0], t * step, end, &s[0], &i[0],
                            &scratch[threadid(), 0])
    return same.astype(bool), identical.astype(bool)


cdef class Center:
    """The point around which features are taken, with its whitening scale."""
    cdef kl_center c
    cdef readonly object probs, row
    cdef object scale, unscale

    def __init__(self, row, norm, probs, scale):
        self.row, self.probs, self.scale = (np.ascontiguousarray(x, np.float64) for x in (row, probs, scale))
        self.unscale = np.divide(1, self.scale, where=self.scale > 0, out=np.zeros_like(self.scale))
        self.c.row = <const double *>address(self.row)
        self.c.probs = <const double *>address(self.probs)
        self.c.scale = <const double *>address(self.scale)
        self.c.unscale = <const double *>address(self.unscale)
        self.c.norm.a, self.c.norm.b = norm


cdef class Columns:
    """The right operand, encoded and packed for the active ISA."""
    cdef readonly object features, offset, norm, slack, support
    cdef readonly Rows rows
    cdef readonly Center center
    cdef readonly int role
    cdef readonly bint single
    cdef readonly str isa
    cdef object norms

    def __init__(self, Rows rows, norms, Center center, int role, bint single, bint with_support,
                 double slack_factor, double slack_floor, int n_threads):
        cdef int64_t n = rows.c.n_rows, K = rows.c.n_cols, words = (K + 63) // 64, t, first
        cdef int64_t width = active.nr32 if single else active.nr64
        cdef int64_t panels = (n + width - 1) // width, size = 4 if single else 8
        real = np.float32 if single else np.float64
        self.rows, self.norms, self.center, self.role = rows, norms, center, role
        self.single, self.isa = single, active.name.decode()
        raw = np.empty(panels * width * K * size + 64, np.uint8)  # aligned to a cache line
        start = -raw.__array_interface__["data"][0] % 64
        self.features = raw[start:start + panels * width * K * size].view(real)
        self.offset, self.norm, self.slack = (np.empty(panels * width, real) for _ in range(3))
        self.support = np.empty(panels * width * words if with_support else 0, np.uint64)
        cdef char *features = <char *>address(self.features)
        cdef char *offset = <char *>address(self.offset)
        cdef char *norm = <char *>address(self.norm)
        cdef char *slack = <char *>address(self.slack)
        cdef uint64_t *support = <uint64_t *>address(self.support)
        cdef const kl_norm *norm_of = <const kl_norm *>address(norms)
        cdef Stats stats = Stats(n_threads)
        cdef stats_of_thread *each = stats.each
        cdef double[:, ::1] scratch = scratch_for(n_threads, 2 * K)
        cdef uint8_t[::1] args_memory = np.zeros(n_threads * sizeof(kl_encode_args), np.uint8)
        cdef kl_encode_args *args = <kl_encode_args *>&args_memory[0]
        cdef const kl_kernels *kernels = active
        cdef int me
        for t in prange(panels, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = threadid()
            first = t * width
            args[me].rows, args[me].norms, args[me].center = &rows.c, norm_of, &center.c
            args[me].begin, args[me].end = first, min(first + width, n)
            args[me].role, args[me].single, args[me].width = role, single, <int32_t>width
            args[me].norm_factor, args[me].slack_factor = 1, slack_factor
            args[me].slack_floor, args[me].scratch = slack_floor, &scratch[me, 0]
            args[me].features = features + first * K * size
            args[me].offset, args[me].norm = offset + first * size, norm + first * size
            args[me].slack = slack + first * size
            args[me].support = support + first * words if with_support else NULL
            kernels.encode(&args[me], &each[me].stats)

    @property
    def nbytes(self):
        return sum(x.nbytes for x in (self.features, self.offset, self.norm, self.slack, self.support))


cdef class Pairing:
    """Rows to be compared with encoded columns; `dense` and `top` run slabs of rows."""
    cdef kl_pairing c
    cdef object keep
    cdef readonly Rows left
    cdef readonly Columns right
    cdef readonly Stats stats
    cdef int n_threads

    def __init__(self, Rows left, left_norms, Columns right, *, double norm_factor, double slack_factor,
                 double slack_floor, left_extra=None, left_class=None, right_class=None,
                 int64_t row_block, int64_t column_block, int n_threads):
        if right.isa != active.name.decode():
            raise RuntimeError(f"the columns were encoded for {right.isa}, the active ISA is {active_isa()}")
        if left_class is not None:
            left_class, right_class = (np.ascontiguousarray(x, np.int64) for x in (left_class, right_class))
        self.left, self.right, self.n_threads = left, right, n_threads
        self.keep = (left_norms, left_extra, left_class, right_class)
        self.stats = Stats(n_threads)
        self.c.kernels = active
        self.c.left, self.c.right = &left.c, &right.rows.c
        self.c.left_norms = <const kl_norm *>address(left_norms)
        self.c.right_norms = <const kl_norm *>address(right.norms)
        self.c.center = &right.center.c
        self.c.left_role, self.c.single = NATURAL if right.role == MEAN else MEAN, right.single
        self.c.norm_factor, self.c.slack_factor, self.c.slack_floor = norm_factor, slack_factor, slack_floor
        self.c.left_extra = NULL
        self.c.left_class = self.c.right_class = NULL
        self.c.right_support = NULL
        self.c.features = <const void *>address(right.features)
        self.c.offset = <const void *>address(right.offset)
        self.c.norm = <const void *>address(right.norm)
        self.c.slack = <const void *>address(right.slack)
        if right.support.size:
            self.c.right_support = <const uint64_t *>address(right.support)
        if left_extra is not None:
            self.c.left_extra = <const double *>address(left_extra)
        if left_class is not None:
            self.c.left_class = <const int64_t *>address(left_class)
            self.c.right_class = <const int64_t *>address(right_class)
        self.c.row_block, self.c.column_block = row_block, column_block

    def dense(self, out, int64_t begin, int64_t end, int64_t column_parts, double accept, double factor):
        """Write the values of rows [begin, end) to those rows of out (float32 or float64, any strides)."""
        cdef kl_dense_out o
        o.data = <char *>address(out)
        o.row_stride, o.col_stride = out.strides
        o.single, o.accept, o.factor = out.dtype == np.float32, accept, factor
        cdef int64_t block = self.c.row_block, rows = (end - begin + block - 1) // block, t, r, c
        cdef int64_t part = self._part(column_parts), m = self.c.right.n_rows
        cdef int64_t parts = (m + part - 1) // part
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, 0))
        cdef stats_of_thread *each = self.stats.each
        cdef int me
        for t in prange(rows * parts, nogil=True, schedule="dynamic", num_threads=self.n_threads):
            me = threadid()
            r = begin + t // parts * block
            c = t % parts * part
            kl_dense_block(&self.c, &o, r, min(r + block, end), c, min(c + part, m), &space[me, 0],
                           &each[me].stats)

    def top(self, int64_t k, bint skip_self, int64_t begin, int64_t end, int64_t column_parts):
        """(values, columns), each (parts, end - begin, k): the k nearest within each part of the columns."""
        cdef kl_top top
        top.k, top.skip_self = k, skip_self
        top.capacity = 2 * k + 32
        cdef int64_t block = self.c.row_block, rows = (end - begin + block - 1) // block, t, r, c, s
        cdef int64_t part = self._part(column_parts), m = self.c.right.n_rows
        cdef int64_t parts = (m + part - 1) // part
        values = np.empty((parts, end - begin, k))
        columns = np.empty((parts, end - begin, k), np.int64)
        cdef double[:, :, ::1] v = values
        cdef int64_t[:, :, ::1] j = columns
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, top.capacity))
        cdef stats_of_thread *each = self.stats.each
        cdef int me
        for t in prange(rows * parts, nogil=True, schedule="dynamic", num_threads=self.n_threads):
            me = threadid()
            s = t % parts
            r = begin + t // parts * block
            c = s * part
            kl_top_block(&self.c, &top, r, min(r + block, end), c, min(c + part, m), &v[s, r - begin, 0],
                         &j[s, r - begin, 0], &space[me, 0], &each[me].stats)
        return values, columns

    def _part(self, int64_t column_parts):
        """Columns a part, whole panels."""
        cdef int64_t m = self.c.right.n_rows, width = 64
        cdef int64_t part = (m + column_parts - 1) // max(column_parts, 1)
        return max(width, (part + width - 1) // width * width)


def expand(values, classes, starts, members, query_class, bint skip_self, int64_t k, int n_threads):
    """Neighbour lists of distinct rows to those of all rows: see kl_top_expand. query_class[i] is the
    list of row i."""
    cdef int64_t n = query_class.shape[0], i, k_classes = values.shape[1]
    out_values, out_columns = np.empty((n, k)), np.empty((n, k), np.int64)
    cdef const double[:, ::1] v = values
    cdef const int64_t[:, ::1] c = classes
    cdef const int64_t[::1] s = starts, mem = members, q = query_class
    cdef double[:, ::1] ov = out_values
    cdef int64_t[:, ::1] oc = out_columns
    cdef int64_t[:, ::1] cursors = np.empty((n_threads, k_classes + 8), np.int64)
    for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
        kl_top_expand(k, k_classes, &v[q[i], 0], &c[q[i], 0], &s[0], &mem[0], i if skip_self else -1,
                      &ov[i, 0], &oc[i, 0], &cursors[threadid(), 0])
    return out_values, out_columns
