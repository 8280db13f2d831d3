"""The right operand, pairings and their consumers: part of _engine.pyx."""

cdef enum:
    HUGE_PAGES = 1 << 23  # bytes: some of them


cdef class Center:
    """The point around which features are taken, with its whitening scale."""
    cdef kl_center c
    cdef readonly object probs, row
    cdef object scale, unscale, inverse

    def __init__(self, row, norm, probs, scale):
        self.row, self.probs, self.scale = (np.ascontiguousarray(x, np.float64) for x in (row, probs, scale))
        # probs * scale where the scale is 1/sqrt(probs): POWER's two features then are the same floats.
        plain = np.abs(self.scale**2 * self.probs - 1) < 1e-12
        self.unscale = np.divide(1, self.scale, where=self.scale > 0, out=np.zeros_like(self.scale))
        self.inverse = np.divide(1, self.probs, where=self.probs > 0, out=np.zeros_like(self.probs))
        self.unscale[plain] = (self.probs * self.scale)[plain]
        self.c.row = <const double *>address(self.row)
        self.c.probs = <const double *>address(self.probs)
        self.c.scale = <const double *>address(self.scale)
        self.c.unscale = <const double *>address(self.unscale)
        self.c.inverse = <const double *>address(self.inverse)
        self.c.norm.a, self.c.norm.b = norm
        self.c.balance = 1

    def take_balance(self, double balance):
        """Features of the two roles are of one length if those of means grow by this factor and the others shrink."""
        self.c.balance = balance


cdef void pack_columns(const char *features, const int64_t *columns, int64_t width, int64_t K, int64_t size,
                       char *panel) noexcept nogil:
    # These columns of packed features as one panel. A column's features lie in as many cache lines.
    cdef int64_t r, k
    cdef const char *column
    for r in range(width):
        column = features + (columns[r] // width * width * K + columns[r] % width) * size
        for k in range(K):
            memcpy(panel + (k * width + r) * size, column + k * width * size, size)


cdef class Columns:
    """The right operand, encoded and packed for the active ISA; with `coarse` also in bytes, where it can use them."""
    cdef readonly object features, offset, norm, slack, support, weights, bytes, inverse, residual, bytes_norm, shift
    cdef readonly Form form
    cdef readonly Rows rows
    cdef readonly Center center
    cdef readonly int role
    cdef readonly bint single
    cdef readonly str isa
    cdef object norms, sample, few

    def __init__(self, Form form, Rows rows, norms, Center center, int role, bint single, bint with_support,
                 bint coarse, double slack_factor, double slack_floor, int n_threads):
        cdef int64_t n = rows.c.n_rows, K = kl_width_of(&form.c, &rows.c)
        cdef int64_t words = (rows.c.n_cols + 63) // 64, t, first
        cdef int64_t width = active.nr32 if single else active.nr64
        cdef int64_t panels = (n + width - 1) // width, size = 4 if single else 8
        real = np.float32 if single else np.float64
        self.form, self.rows, self.norms, self.center, self.role = form, rows, norms, center, role
        is_product = form.shape in (PRODUCT, OVERLAP)
        self.weights = np.empty(0, real) if is_product else center.probs.astype(real)  # of sums over bins
        self.single, self.isa = single, active.name.decode()
        self.features = memory.empty((panels * width * K,), real)
        self.offset, self.norm, self.slack = (np.empty(panels * width, real) for _ in range(3))
        self.support = np.empty(panels * width * words if with_support else 0, np.uint64)
        cdef int64_t groups = (K + 3) // 4, counted = panels * width if coarse and single and active.coarse else 0
        self.bytes = np.empty(counted * groups * 4, np.int8)
        self.inverse, self.residual, self.bytes_norm = (np.empty(counted, np.float32) for _ in range(3))
        self.shift = np.empty(counted, np.int32)
        cdef kl_bytes in_bytes = self.in_bytes()
        cdef char *features = <char *>address(self.features)
        cdef char *offset = <char *>address(self.offset)
        cdef char *norm = <char *>address(self.norm)
        cdef char *slack = <char *>address(self.slack)
        cdef uint64_t *support = <uint64_t *>address(self.support)
        cdef const kl_norm *norm_of = <const kl_norm *>address(norms)
        cdef Stats stats = Stats(n_threads)
        cdef stats_of_thread *each = stats.each
        cdef double[:, ::1] scratch = scratch_for(n_threads, kl_scratch_of(&form.c, &rows.c))
        cdef uint8_t[::1] args_memory = np.zeros(n_threads * sizeof(kl_encode_args), np.uint8)
        cdef kl_encode_args *args = <kl_encode_args *>&args_memory[0]
        cdef const kl_kernels *kernels = active
        cdef int me
        cdef int64_t together = max(1, min(HUGE_PAGES // (4 * width * max(K, 1) * size), panels // (8 * n_threads)))
        cdef kl_team team = team_of(n_threads)
        for t in prange(panels, nogil=True, schedule="dynamic", chunksize=together, num_threads=n_threads):
            me = kl_seated(&team, threadid())
            first = t * width
            args[me].divergence = &form.c
            args[me].rows, args[me].norms, args[me].center = &rows.c, norm_of, &center.c
            args[me].begin, args[me].end = first, min(first + width, n)
            args[me].role, args[me].single, args[me].width = role, single, <int32_t>width
            args[me].norm_factor, args[me].slack_factor = 1, slack_factor
            args[me].slack_floor, args[me].scratch = slack_floor, &scratch[me, 0]
            args[me].features = features + first * K * size
            args[me].offset, args[me].norm = offset + first * size, norm + first * size
            args[me].slack = slack + first * size
            args[me].bytes.bytes = in_bytes.bytes + first * groups * 4 if counted else NULL
            args[me].bytes.inverse, args[me].bytes.residual = in_bytes.inverse + first, in_bytes.residual + first
            args[me].bytes.norm, args[me].bytes.shift = in_bytes.norm + first, in_bytes.shift + first
            args[me].support = support + first * words if with_support else NULL
            kernels.encode(&args[me], &each[me].stats)

    def take_sample(self, columns, int n_threads):
        """Pack some columns once more, for thresholds to start from: plan.sample."""
        cdef int64_t width = active.nr32 if self.single else active.nr64, count = columns.size // width * width
        cdef int64_t K = self.form.width(self.rows), size = 4 if self.single else 8, t
        cdef const char *source
        cdef char *target
        cdef const int64_t *column
        cdef kl_team team = team_of(n_threads)
        if self.sample is None and count == columns.size > 0:
            features = np.empty(count * K * size, np.uint8)
            source, target = <char *>address(self.features), <char *>address(features)
            column = <int64_t *>address(columns)
            for t in prange(count // width, nogil=True, schedule="static", num_threads=n_threads):
                kl_seated(&team, threadid())
                pack_columns(source, column + t * width, width, K, size, target + t * width * K * size)
            self.sample = (features, self.offset[columns], self.norm[columns], self.slack[columns])

    cdef kl_sample sampled(self):
        cdef kl_sample s
        s.count = 0
        if self.sample is not None:
            features, offset, norm, slack = self.sample
            s.features, s.offset = <const void *>address(features), <const void *>address(offset)
            s.norm, s.slack, s.count = <const void *>address(norm), <const void *>address(slack), offset.size
        return s

    cdef kl_bytes in_bytes(self):
        cdef kl_bytes b
        b.bytes = <int8_t *>address(self.bytes) if self.bytes.size else NULL
        b.inverse, b.residual = <float *>address(self.inverse), <float *>address(self.residual)
        b.norm, b.shift = <float *>address(self.bytes_norm), <int32_t *>address(self.shift)
        return b

    @property
    def nbytes(self):
        return sum(x.nbytes for x in (self.features, self.offset, self.norm, self.slack, self.support, self.bytes,
                                      self.inverse, self.residual, self.bytes_norm, self.shift))


ctypedef struct hits_of_block:
    kl_hit *hits
    int64_t count, capacity
    int failed


cdef void hits_within(const kl_pairing *p, double radius, bint skip_self, int64_t begin, int64_t end, int64_t m,
                      void *space, hits_of_block *out, int64_t *totals, int n_threads, int me, int64_t limit,
                      kl_stats *stats) noexcept nogil:
    # The list grows by doubling; a thread stops when all of them together have passed the limit.
    cdef int64_t c = 0, cols, room, total, t
    cdef kl_hit *grown
    kl_within_begin(p, radius, begin, end, space, stats)
    while c < m:
        cols = min(p.column_block, m - c)
        room = out.count + (end - begin) * cols
        if room > out.capacity:
            room = max(room, 2 * out.capacity)
            grown = <kl_hit *>realloc(out.hits, room * sizeof(kl_hit))
            if grown == NULL:
                out.failed = 1
                return
            out.hits, out.capacity = grown, room
        total = kl_within_tile(p, radius, skip_self, begin, end, c, cols, space, out.hits + out.count, stats)
        out.count += total
        totals[8 * me] += total
        total = 0
        for t in range(n_threads):
            total += totals[8 * t]
        if total > limit:
            return
        c += cols
    grown = <kl_hit *>realloc(out.hits, max(out.count, 1) * sizeof(kl_hit))  # give back what the last tile did not need
    if grown != NULL:
        out.hits, out.capacity = grown, out.count


cdef class Pairing:
    """Rows to be compared with encoded columns; each consumer runs slabs of rows, in blocks (plan.cuts)."""
    cdef kl_pairing c
    cdef object keep
    cdef readonly Rows left
    cdef readonly Columns right
    cdef readonly Stats stats
    cdef readonly int n_threads

    def __init__(self, Form form, Rows left, left_norms, Columns right, *, double norm_factor, double slack_factor,
                 double slack_floor, far=(0, 0, 0, 0), left_extra=None, left_class=None, right_class=None,
                 int64_t row_block, int64_t column_block, int n_threads, unchecked=None):
        """`unchecked`: the tolerance of the sums of left rows whose norms are still to be computed (`checks_left`)."""
        if right.isa != active.name.decode():
            raise RuntimeError(f"the columns were encoded for {right.isa}, the active ISA is {active_isa()}")
        if left_class is not None:
            left_class, right_class = (np.ascontiguousarray(x, np.int64) for x in (left_class, right_class))
        self.left, self.right, self.n_threads = left, right, n_threads
        self.keep = (form, left_norms, left_extra, left_class, right_class)
        self.stats = Stats(n_threads)
        self.c.kernels = active
        self.c.divergence = &form.c
        self.c.left, self.c.right = &left.c, &right.rows.c
        self.c.left_norms = <const kl_norm *>address(left_norms)
        self.c.right_norms = <const kl_norm *>address(right.norms)
        self.c.center = &right.center.c
        self.c.left_role, self.c.single = NATURAL if right.role == MEAN else MEAN, right.single
        self.c.norm_factor, self.c.slack_factor, self.c.slack_floor = norm_factor, slack_factor, slack_floor
        self.c.far.base, self.c.far.by_slack, self.c.far.by_value, self.c.far.usual = far
        self.c.left_extra = NULL
        self.c.left_class = self.c.right_class = NULL
        self.c.right_support = NULL
        self.c.features = <const void *>address(right.features)
        self.c.offset = <const void *>address(right.offset)
        self.c.norm = <const void *>address(right.norm)
        self.c.slack = <const void *>address(right.slack)
        self.c.bytes = right.in_bytes()
        self.c.weights = <const void *>address(right.weights)
        if right.support.size:
            self.c.right_support = <const uint64_t *>address(right.support)
        if left_extra is not None:
            self.c.left_extra = <const double *>address(left_extra)
        if left_class is not None:
            self.c.left_class = <const int64_t *>address(left_class)
            self.c.right_class = <const int64_t *>address(right_class)
        self.c.row_block, self.c.column_block = row_block, column_block
        self.c.unchecked, self.c.sum_tolerance = NULL, 0
        if unchecked is not None:
            self.c.unchecked, self.c.sum_tolerance = <kl_norm *>address(left_norms), unchecked

    def dense(self, out, int64_t begin, int64_t end, int64_t column_parts, double accept, bint stream):
        """Write the values of rows [begin, end) to those rows of out (float32 or float64, any strides); `stream`: past
        the caches."""
        cdef kl_dense_out o
        o.data = <char *>address(out)
        o.row_stride, o.col_stride = out.strides
        o.single, o.accept, o.stream = out.dtype == np.float32, accept, stream
        cdef int64_t block = self.c.row_block, rows = (end - begin + block - 1) // block, t
        cdef int64_t part = self._part(column_parts), m = self.c.right.n_rows
        cdef int64_t parts = (m + part - 1) // part
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, 0))
        cdef stats_of_thread *each = self.stats.each
        # A thread gets neighbouring blocks, for huge pages of its own: two that touch one together both clear it.
        cdef int64_t pages = HUGE_PAGES // max(block * out.strides[0], 1)
        cdef int64_t together = max(1, min(pages, rows * parts // (8 * self.n_threads)))
        cdef int64_t pieces = max(1, min(4, part // PIECE_FROM))
        cdef tasks_of_slab tasks = tasks_over(rows * parts, together, pieces, self.n_threads)
        cdef int me
        cdef kl_team team = team_of(self.n_threads)
        for t in prange(tasks.count, nogil=True, schedule="dynamic", num_threads=self.n_threads):
            me = kl_seated(&team, threadid())
            dense_task(&self.c, &o, &tasks, t, begin, end, part, &space[me, 0], &each[me].stats)

    def take_sample(self, columns):
        """Some columns packed once more, from which the thresholds of searches start."""
        self.right.take_sample(columns, self.n_threads)

    def checks_left(self, int64_t k, bint skip_self):
        """Whether `top` checks rows as it comes to them: `stats.refused` tells. Else unchecked ones must be before."""
        cdef kl_top top
        memset(&top, 0, sizeof(kl_top))
        top.k, top.skip_self = k, skip_self
        return bool(kl_checks_left(&self.c, &top))

    def top(self, int64_t k, bint skip_self, bint same, const int64_t[::1] cuts, int64_t column_parts, out):
        """(values, columns), each (parts, rows, k): the k nearest within each part of the columns. Blocks of rows begin
        at `cuts`; the last is their end. `same`: row i is column i. A single part is written to `out`, two arrays
        (rows, k)."""
        cdef kl_top top
        top.k, top.skip_self, top.same = k, skip_self, same
        top.sample = self.right.sampled()
        top.few = NULL
        if kl_few_floats(&self.c, &top):
            top.few = self._few(kl_few_floats(&self.c, &top))
        top.capacity = k + max(16, k // 2)
        cdef int64_t rows = cuts.shape[0] - 1, begin = cuts[0], t, r, c, s
        cdef int64_t part = self._part(column_parts), m = self.c.right.n_rows
        cdef int64_t parts = (m + part - 1) // part
        shape = (parts, cuts[rows] - begin, k)
        values = out[0][None] if parts == 1 else np.empty(shape)
        columns = out[1][None] if parts == 1 else np.empty(shape, np.int64)
        cdef double[:, :, ::1] v = values
        cdef int64_t[:, :, ::1] j = columns
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, top.capacity))
        cdef stats_of_thread *each = self.stats.each
        # Where there are many, a thread gets neighbouring blocks, whose rows it has asked for.
        cdef int64_t together = max(1, min(8, rows * parts // (16 * self.n_threads)))
        cdef int me
        cdef kl_team team = team_of(self.n_threads)
        for t in prange(rows * parts, nogil=True, schedule="dynamic", chunksize=together, num_threads=self.n_threads):
            me = kl_seated(&team, threadid())
            s = t % parts
            r = cuts[t // parts]
            c = s * part
            kl_top_block(&self.c, &top, r, cuts[t // parts + 1], c, min(c + part, m), &v[s, r - begin, 0],
                         &j[s, r - begin, 0], &space[me, 0], &each[me].stats)
        return values, columns

    cdef const float *_few(self, int64_t size) except NULL:
        if self.right.few is None:
            few = memory.empty((size,), np.float32)
            kl_few_columns(&self.c, <float *>address(few))
            self.right.few = few
        return <const float *>address(self.right.few)

    def within(self, double radius, bint skip_self, const int64_t[::1] cuts, int64_t limit):
        """(values, columns, counts of the rows) of the pairs up to `radius`, each row's by (value, column); None if
        there are more than `limit`. `cuts`: see `top`."""
        cdef int64_t blocks = cuts.shape[0] - 1, m = self.c.right.n_rows, t
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, 1))
        cdef hits_of_block *found = <hits_of_block *>calloc(blocks, sizeof(hits_of_block))
        cdef int64_t[::1] totals = np.zeros(self.n_threads * 8, np.int64)  # a cache line a thread
        cdef stats_of_thread *each = self.stats.each
        cdef int me
        cdef kl_team team = team_of(self.n_threads)
        if found == NULL:
            raise MemoryError()
        try:
            for t in prange(blocks, nogil=True, schedule="dynamic", num_threads=self.n_threads):
                me = kl_seated(&team, threadid())
                hits_within(&self.c, radius, skip_self, cuts[t], cuts[t + 1], m, &space[me, 0], found + t,
                            &totals[0], self.n_threads, me, limit, &each[me].stats)
            if np.asarray(totals).sum() > limit:
                return None
            return self._sorted(found, cuts)
        finally:
            for t in range(blocks):
                free(found[t].hits)
            free(found)

    cdef _sorted(self, hits_of_block *found, const int64_t[::1] cuts):
        cdef int64_t blocks = cuts.shape[0] - 1, begin = cuts[0], t, h, most = 1
        starts = np.zeros(cuts[blocks] - begin + 1, np.int64)
        cdef int64_t[::1] s = starts
        for t in range(blocks):
            if found[t].failed:
                raise MemoryError("no memory for the pairs within the radius; give a smaller radius or limit=")
            most = max(most, found[t].count)
            for h in range(found[t].count):
                s[found[t].hits[h].row - begin + 1] += 1
        np.cumsum(starts, out=starts)
        h = s[cuts[blocks] - begin]
        values, columns = memory.empty((h,), np.float64), memory.empty((h,), np.int64)
        cdef double[::1] v = values
        cdef int64_t[::1] c = columns
        cdef uint8_t[::1] order = np.empty(most * sizeof(kl_hit), np.uint8)
        cdef int64_t[::1] cursors = np.empty(self.c.row_block, np.int64)
        for t in range(blocks):
            if found[t].count:
                for h in range(found[t].count):
                    found[t].hits[h].row -= begin
                kl_within_sort(found[t].hits, found[t].count, cuts[t] - begin, cuts[t + 1] - begin, &s[0],
                               &cursors[0], <kl_hit *>&order[0], &v[0], &c[0])
        return values, columns, np.diff(starts)

    def reduce(self, int op, bint over_rows, const int64_t[::1] cuts, int64_t column_part, double accept, start):
        """Partial results over parts of `column_part` columns: (parts, rows), or with `over_rows` over the parts of
        rows between `cuts`: (parts, columns). Threads share out parts, and within them what is not added up: rows (by
        `cuts`: see `top`), or columns."""
        cdef int64_t m = self.c.right.n_rows, block = self.c.row_block, t, c, last, stop, at
        cdef int64_t rows = cuts.shape[0] - 1, begin = cuts[0]
        cdef int64_t width = self._part((4 * self.n_threads + rows - 1) // rows) if over_rows else column_part
        cdef int64_t parts = (m + width - 1) // width
        shape = (rows, m) if over_rows else (parts, cuts[rows] - begin)
        results, lows = np.full(shape, start, np.float64), np.zeros(shape)
        cdef double[:, ::1] result = results, low = lows
        cdef uint8_t[:, ::1] space = workspaces(self.n_threads, kl_workspace_bytes(&self.c, 0))
        cdef stats_of_thread *each = self.stats.each
        cdef int me
        cdef kl_team team = team_of(self.n_threads)
        for t in prange(rows * parts, nogil=True, schedule="dynamic", num_threads=self.n_threads):
            me = kl_seated(&team, threadid())
            at, last = cuts[t // parts], cuts[t // parts + 1]
            c = t % parts * width
            stop = min(c + width, m)
            while at < last:
                if over_rows:
                    kl_reduce_block(&self.c, op, True, accept, at, min(at + block, last), c, stop,
                                    &result[t // parts, c], &low[t // parts, c], &space[me, 0], &each[me].stats)
                else:
                    kl_reduce_block(&self.c, op, False, accept, at, last, c, stop, &result[t % parts, at - begin],
                                    &low[t % parts, at - begin], &space[me, 0], &each[me].stats)
                at = at + block
        return results, lows

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
    cdef int me
    cdef kl_team team = team_of(n_threads)
    for i in prange(n, nogil=True, schedule="static", num_threads=n_threads):
        me = kl_seated(&team, threadid())
        kl_top_expand(k, k_classes, &v[q[i], 0], &c[q[i], 0], &s[0], &mem[0], i if skip_self else -1,
                      &ov[i, 0], &oc[i, 0], &cursors[me, 0])
    return out_values, out_columns
