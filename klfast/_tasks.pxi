"""How threads begin a loop, and how they share the blocks of a dense slab: part of _engine.pyx."""

cdef enum:
    PIECE = 64        # columns: whole panels
    PIECE_FROM = 512  # columns of a piece of a block at least: each encodes the block's rows again


cdef kl_team team_of(int n_threads) noexcept nogil:
    # Of one loop: each of its tasks asks `kl_settled` for the number of its thread.
    cdef kl_team team
    memset(&team, 0, sizeof(kl_team))
    team.size = n_threads
    return team


ctypedef struct tasks_of_slab:
    # Blocks [0, total) of a slab: `groups` times `together` neighbours for a thread, then single ones, so that the
    # threads end together, and the last `split` in `pieces` each.
    int64_t total, together, groups, split, pieces, count


cdef tasks_of_slab tasks_over(int64_t total, int64_t together, int64_t pieces, int n_threads) noexcept nogil:
    cdef tasks_of_slab s
    if n_threads == 1:
        together, pieces = total, 1
    s.total, s.together, s.pieces = total, max(together, 1), pieces
    s.split = min(n_threads, total) if pieces > 1 else 0
    s.groups = max(total - s.split - (n_threads - 1) * together, 0) // s.together
    s.count = s.groups + (total - s.groups * s.together - s.split) + s.split * pieces
    return s


cdef void blocks_of_task(const tasks_of_slab *s, int64_t t, int64_t *first, int64_t *last,
                         int64_t *piece) noexcept nogil:
    # Blocks [first, last) of task t; piece: which of the pieces, or -1.
    cdef int64_t singles = s.total - s.groups * s.together - s.split
    piece[0] = -1
    if t < s.groups:
        first[0] = t * s.together
        last[0] = first[0] + s.together
        return
    first[0] = t - s.groups + s.groups * s.together
    if t >= s.groups + singles:
        piece[0] = (t - s.groups - singles) % s.pieces
        first[0] = s.total - s.split + (t - s.groups - singles) // s.pieces
    last[0] = first[0] + 1


cdef void dense_task(const kl_pairing *p, const kl_dense_out *o, const tasks_of_slab *s, int64_t t, int64_t begin,
                     int64_t end, int64_t part, void *space, kl_stats *stats) noexcept nogil:
    cdef int64_t m = p.right.n_rows, parts = (m + part - 1) // part, block, last, piece, r, c, stop, width
    block = last = piece = 0
    blocks_of_task(s, t, &block, &last, &piece)
    while block < last:
        r = begin + block // parts * p.row_block
        c = block % parts * part
        stop = min(c + part, m)
        if piece >= 0:
            width = ((stop - c + s.pieces - 1) // s.pieces + PIECE - 1) // PIECE * PIECE
            c = c + piece * width
            stop = min(c + width, stop)
        if c < stop:
            kl_dense_block(p, o, r, min(r + p.row_block, end), c, stop, space, stats)
        block += 1
