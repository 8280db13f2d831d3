"""Memory of large arrays: what is freed is kept a while for the next array of its size."""

from __future__ import annotations

import math
import mmap
import os
import threading
import weakref

import numpy as np

CACHE_LINE = 64
LARGE = 1 << 24  # bytes; below it malloc itself reuses what was freed
KEEP = int(os.environ.get("KLFAST_KEEP_MIB", -1)) << 20  # bytes; below 0: an eighth of this machine's memory
MOST = 4  # blocks: an answer, the one before it, the features of both sides
CAN_KEEP = hasattr(mmap, "MADV_FREE")

# The system clears new memory page by page: 33 ms of a core for 128 MiB, where writing them takes 9 and computing
# 4096 x 4096 values of 64 bins 41 (Zen 4, huge pages). Blocks in `_kept` are marked free to the system (MADV_FREE),
# which takes their pages when it runs short, and otherwise leaves them as they are.
_kept: list[mmap.mmap] = []
_lock = threading.RLock()  # a collection of garbage within may give a block back


def empty(shape, dtype) -> np.ndarray:
    """A new array, unset, that starts a cache line: NumPy's large ones start 16 bytes into one, and every wide store
    would touch two lines."""
    return empty_or_kept(shape, dtype)[0]


def empty_or_kept(shape, dtype) -> tuple[np.ndarray, bool]:
    """`empty`, and whether its memory has been written before."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    if size >= LARGE and CAN_KEEP:
        raw, kept = _pages(size)
        start = 0
    else:
        raw, kept = np.empty(size + CACHE_LINE, np.uint8), False
        start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start:start + size].view(dtype).reshape(shape), kept


def release() -> None:
    """Give what is kept back to the system now."""
    with _lock:
        _kept.clear()


def most_kept() -> int:
    """Bytes that are kept at most."""
    if not CAN_KEEP:
        return 0
    return KEEP if KEEP >= 0 else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8


def _pages(size: int) -> tuple[np.ndarray, bool]:
    """At least `size` bytes of whole pages, and whether they are of a kept block."""
    with _lock:
        block = min((b for b in _kept if size <= len(b) <= size + size // 4), key=len, default=None)
        kept = block is not None
        if kept:
            _kept.remove(block)
        else:
            release()  # so that nothing is held beside what would have been needed without it
    if not kept:
        try:
            block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:
            raise MemoryError(f"no memory for an array of {size:,} bytes: {error}") from None
        if hasattr(mmap, "MADV_HUGEPAGE"):
            block.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(block, np.uint8)
    # Every array over these bytes holds this object in the end: when it dies, they do.
    weakref.finalize(raw.base, _give_back, block).atexit = False
    return raw, kept


def _give_back(block: mmap.mmap) -> None:
    most = most_kept()
    if len(block) > most:
        return
    try:
        block.madvise(mmap.MADV_FREE)
    except OSError:  # a system that knows only the name
        return
    with _lock:
        _kept.append(block)
        while len(_kept) > MOST or sum(map(len, _kept)) > most:
            del _kept[0]
