"""Loops over rows: check, sum up, compare row by row, find equal ones: part of _engine.pyx."""

ROWS_A_TASK = 1024  # of the O(n K) loops; also fixes the order in which the centre is added up


def scan(Rows rows, double tolerance, int n_threads, out=None):
    """Check every row and compute its norm. Returns (norms, has_zeros, stats); the norms in `out` if given."""
    cdef int64_t n = rows.c.n_rows, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end
    stats = Stats(n_threads)
    cdef stats_of_thread *each = (<Stats>stats).each
    result = np.zeros(n, NORM) if out is None else out
    cdef kl_norm *norms = <kl_norm *>address(result)
    cdef int32_t[:, ::1] zeros = np.zeros((n_threads, 16), np.int32)
    cdef double[:, ::1] scratch = scratch_for(n_threads, rows.c.n_cols)
    cdef int64_t step = ROWS_A_TASK
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = kl_seated(&team, threadid())
            end = min(t * step + step, n)
            if rows.c.family != NULL:
                kl_family_scan(kernels, &rows.c, t * step, end, &scratch[me, 0], &each[me].stats)
            else:
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
    cdef kl_team team = team_of(n_threads)
    for t in prange(groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        end = min(t * step + step, n)
        kernels.accumulate(&rows.c, norm, t * step, end, &partial[t, 0], &scratch[me, 0], &each[me].stats)
    return sums[:, :K].sum(axis=0) / n


def family_center(Rows rows, int n_threads):
    """The centre of the rows of a family (its parameters); the same bits for every number of threads."""
    cdef int64_t n = rows.c.n_rows, K = rows.c.n_cols, size = rows.c.family.sums(K), t, end
    cdef int64_t group = max(ROWS_A_TASK, (n + 255) // 256), groups = (n + group - 1) // group
    cdef Form form = Form("kl")
    sums, result = np.zeros((groups, max(size, 1))), np.empty(K)
    cdef double[:, ::1] partial = sums, scratch = scratch_for(n_threads, kl_scratch_of(&form.c, &rows.c))
    cdef double[::1] center = result
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    if rows.c.family.width(K) == 0:
        return rows.read(0)
    for t in prange(groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        end = min(t * group + group, n)
        kl_family_accumulate(kernels, &rows.c, t * group, end, &partial[t, 0], &scratch[me, 0])
    total = sums.sum(axis=0)
    partial = total[None, :]
    kl_family_center(kernels, &rows.c, &partial[0, 0], &center[0], &scratch[0, 0])
    return result


def mean_lengths(concentration, double d):
    """The lengths of the means of directions in R^d of these concentrations, and their derivatives."""
    cdef double[::1] kappa = np.array(concentration, np.float64).ravel()
    lengths, slopes = np.empty(kappa.shape[0]), np.empty(kappa.shape[0])
    cdef double[::1] length = lengths, slope = slopes
    cdef int64_t i
    for i in range(kappa.shape[0]):
        length[i] = kl_mean_length(kappa[i], d, &slope[i])
    return lengths.reshape(np.shape(concentration)), slopes.reshape(np.shape(concentration))


def entropy(Rows rows, norms, tolerance, int n_threads):
    """(entropy of each row, stats). With a tolerance, not None, rows are checked on the way, as `scan` does, and `norms` is
    room for theirs."""
    cdef int64_t n = rows.c.n_rows, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end
    result = np.empty(n)
    cdef double[::1] out = result
    cdef kl_norm *norm = <kl_norm *>address(norms)
    cdef bint unchecked = tolerance is not None
    cdef double allowed = tolerance if unchecked else 0
    stats = Stats(n_threads)
    cdef stats_of_thread *each = (<Stats>stats).each
    cdef int32_t[:, ::1] zeros = np.zeros((n_threads, 16), np.int32)
    cdef Form form = Form("kl")
    cdef double[:, ::1] scratch = scratch_for(n_threads, kl_scratch_of(&form.c, &rows.c))
    cdef int64_t step = ROWS_A_TASK
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = kl_seated(&team, threadid())
            end = min(t * step + step, n)
            if rows.c.family != NULL:
                if unchecked:
                    kl_family_scan(kernels, &rows.c, t * step, end, &scratch[me, 0], &each[me].stats)
                if each[me].stats.status == 0:
                    kl_family_entropy(kernels, &rows.c, t * step, end, &out[0], &scratch[me, 0])
            else:
                if unchecked:
                    kernels.scan(&rows.c, t * step, end, allowed, norm, &zeros[me, 0], &scratch[me, 0], &each[me].stats)
                if each[me].stats.status == 0:
                    kernels.entropy(&rows.c, norm, t * step, end, &out[0], &scratch[me, 0], &each[me].stats)
    return result, stats


def rowwise(Form form, Rows P, Rows Q, int64_t begin, int64_t end, double tolerance_p,
            double tolerance_q, out, int n_threads):
    """out[begin:end] = D(P_i || Q_i), in float64 or rounded to float32. Returns stats; the status of a refused row of Q
    has ROW_OF_Q added."""
    cdef int64_t step = max(1, min(ROWS_A_TASK, (end - begin + 4 * n_threads - 1) // (4 * n_threads)))
    cdef int64_t tasks = (end - begin + step - 1) // step, t, first, last, i
    cdef int32_t single = out.dtype == np.float32
    cdef float[::1] narrow = out if single else None
    cdef double[:, ::1] values = np.empty((n_threads, step)) if single else out[None, :]
    cdef double *target
    stats = Stats(n_threads)
    cdef stats_of_thread *each = (<Stats>stats).each
    cdef double[:, ::1] scratch = scratch_for(n_threads, max(4 * max(P.c.n_cols, 8 * min(P.c.n_cols, 256)),
                                                             kl_scratch_of(&form.c, &P.c)))
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        first = begin + t * step
        last = min(first + step, end)
        # Values of row `first` and on: rounded, they are at the start of the thread's own.
        target = &values[me, 0] - first if single else &values[0, 0]
        if P.c.family != NULL:
            kl_family_rowwise(&form.c, kernels, &P.c, &Q.c, first, last, target, &scratch[me, 0], &each[me].stats)
        else:
            kernels.rowwise(&form.c, &P.c, &Q.c, first, last, tolerance_p, tolerance_q, single, target,
                            &scratch[me, 0], &each[me].stats)
        if single:
            for i in range(first, last):
                narrow[i] = <float>target[i]
    return stats


def contributions(Form form, Rows P, Rows Q, int n_threads):
    """The nonnegative term of each bin of each pair of rows: (n, K)."""
    cdef int64_t n = P.c.n_rows, K = P.c.n_cols, i
    result = np.empty((n, K))
    cdef double[:, ::1] out = result
    cdef double[:, ::1] scratch = scratch_for(n_threads, 2 * K)
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    if n and K:
        for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
            me = kl_seated(&team, threadid())
            kl_contributions(&form.c, P.c.domain, kernels.read(&P.c, i, &scratch[me, 0]),
                             kernels.read(&Q.c, i, &scratch[me, K]), K, &out[i, 0])
    return result


def keys(Rows rows, norms, bint glance, int n_threads):
    """A key per row; equal distributions have equal keys. `glance`: from the first bins."""
    cdef int64_t n = rows.c.n_rows, tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, step = ROWS_A_TASK
    result = np.empty(n, np.uint64)
    cdef uint64_t *out = <uint64_t *>address(result)
    cdef const kl_norm *norm = <const kl_norm *>address(norms)
    cdef double[:, ::1] scratch = scratch_for(n_threads, rows.c.n_cols)
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        kl_row_keys(kernels, &rows.c, norm, glance, t * step, min(t * step + step, n), &scratch[me, 0], out)
    return result


cdef class Keys:
    """The keys of rows, to find the first row that has one."""
    cdef object keys, slots
    cdef readonly object first   # the first row with the key of each row
    cdef readonly int64_t copies  # rows that are not the first

    def __init__(self, keys):
        cdef const uint64_t *key = <const uint64_t *>address(keys)
        cdef int64_t n = keys.size
        self.keys, self.slots = keys, np.zeros(kl_key_slots(n), np.uint64)
        self.first = np.empty(n, np.int64)
        cdef uint64_t *slots = <uint64_t *>address(self.slots)
        cdef int64_t *first = <int64_t *>address(self.first)
        with nogil:
            n = kl_keys_enter(key, n, slots, first)
        self.copies = n

    def find(self, wanted, int n_threads):
        """The first row with each wanted key, -1 where there is none."""
        cdef int64_t n = self.keys.size, m = wanted.size, tasks = (m + ROWS_A_TASK - 1) // ROWS_A_TASK, t
        cdef int64_t step = ROWS_A_TASK
        result = np.empty(m, np.int64)
        cdef const uint64_t *key = <const uint64_t *>address(self.keys)
        cdef const uint64_t *slots = <const uint64_t *>address(self.slots)
        cdef const uint64_t *sought = <const uint64_t *>address(wanted)
        cdef int64_t *out = <int64_t *>address(result)
        cdef kl_team team = team_of(n_threads)
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            kl_seated(&team, threadid())
            kl_keys_find(key, n, slots, sought, t * step, min(t * step + step, m), out)
        return result


def compare(Rows a, Rows b, rows_a, rows_b, int n_threads):
    """(same, identical) of row rows_a[t] of a and row rows_b[t] of b: see kl_rows_same, kl_rows_identical."""
    cdef int64_t[::1] ia = np.ascontiguousarray(rows_a, np.int64), ib = np.ascontiguousarray(rows_b, np.int64)
    cdef int64_t n = ia.shape[0], tasks = (n + ROWS_A_TASK - 1) // ROWS_A_TASK, t, end, step = ROWS_A_TASK
    same, identical = np.zeros(n, np.int8), np.zeros(n, np.int8)
    cdef int8_t[::1] s = same, i = identical
    cdef double[:, ::1] scratch = scratch_for(n_threads, 2 * a.c.n_cols)
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    if n:
        for t in prange(tasks, nogil=True, schedule="dynamic", num_threads=n_threads):
            me = kl_seated(&team, threadid())
            end = min(t * step + step, n)
            kl_compare_rows(kernels, &a.c, &b.c, &ia[0], &ib[0], t * step, end, &s[0], &i[0], &scratch[me, 0])
    return same.astype(bool), identical.astype(bool)
