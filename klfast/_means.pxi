"""Means over all rows of an operand, without pairs: part of _engine.pyx."""

MEAN_GROUPS = 256  # sums over parts of the rows, whatever the threads


cdef class Side:
    """An operand's rows with what their encoding takes."""
    cdef kl_encode_args c
    cdef object keep
    cdef readonly Rows rows
    cdef readonly Stats stats

    def __init__(self, Form form, Rows rows, norms, Center center, int role, *, double norm_factor,
                 double slack_factor, double slack_floor, extra=None, int n_threads):
        memset(&self.c, 0, sizeof(kl_encode_args))
        self.keep, self.rows, self.stats = (form, norms, center, extra), rows, Stats(n_threads)
        self.c.divergence, self.c.rows, self.c.center = &form.c, &rows.c, &center.c
        self.c.norms = <const kl_norm *>address(norms)
        self.c.role = role
        self.c.norm_factor, self.c.slack_factor, self.c.slack_floor = norm_factor, slack_factor, slack_floor
        if extra is not None:
            self.c.extra = <const double *>address(extra)


def mean_values(Side side, Side other, bint with_support, double accept, int n_threads):
    """(values, certified): the mean of each row of `side` over the rows of `other`, and whether its bound allows it."""
    cdef int64_t n = side.rows.c.n_rows, m = other.rows.c.n_rows, K = side.rows.c.n_cols, step = ROWS_A_TASK, t
    cdef int64_t group = max(step, (m + MEAN_GROUPS - 1) // MEAN_GROUPS), groups = (m + group - 1) // group
    cdef int64_t words = (K + 63) // 64, numbers = kl_width_of(side.c.divergence, &side.rows.c) + 3
    cdef double[:, :, ::1] sums = np.zeros((groups, 2, numbers))
    supports = np.zeros((groups, 2, words), np.uint64)
    supports[:, 0] = ~np.uint64(0)
    cdef uint64_t[:, :, ::1] support = supports
    cdef uint8_t[::1] space = np.zeros(groups * sizeof(kl_row_sums), np.uint8)
    cdef kl_row_sums *totals = <kl_row_sums *>&space[0]
    values, certified = np.empty(n), np.empty(n, np.bool_)
    cdef double[::1] value = values
    cdef uint8_t[::1] sure = certified.view(np.uint8)
    cdef double[:, ::1] memory = scratch_for(n_threads, max(kl_mean_doubles(&side.c), kl_mean_doubles(&other.c)))
    cdef stats_of_thread *each = side.stats.each
    cdef const kl_kernels *kernels = active
    cdef int me
    cdef kl_team team = team_of(n_threads)
    for t in range(groups):
        totals[t].sum, totals[t].low = &sums[t, 0, 0], &sums[t, 1, 0]
        if with_support:
            totals[t].every, totals[t].any = &support[t, 0, 0], &support[t, 1, 0]
    for t in prange(groups, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        kl_row_sums_add(kernels, &other.c, t * group, min(t * group + group, m), totals + t, &memory[me, 0],
                        &each[me].stats)
    kl_row_sums_mean(totals, groups, &other.c)
    for t in prange((n + step - 1) // step, nogil=True, schedule="dynamic", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        kl_mean_values(kernels, &side.c, totals, accept, t * step, min(t * step + step, n), &value[0], &sure[0],
                       &memory[me, 0], &each[me].stats)
    return values, certified
