"""klfast.batch: the questions of klfast on files larger than memory, in shards, resumable, on any joblib backend.

    >>> import klfast.batch
    >>> klfast.batch.kneighbors("X.npy", "graph.npz", k=10, memory="4G", resume=True)    # doctest: +SKIP
    kneighbors: 1,000,000 rows × 1,000,000 references, 999,999,000,000 pairs
      output  graph.npz (153 MiB)
      ...
"""

from .jobs import JobError
from .preflight import Estimate
from .questions import kneighbors, nearest, pairwise, radius_neighbors, rowwise, source
from .result import Result

__all__ = ["Estimate", "JobError", "Result", "kneighbors", "nearest", "pairwise", "radius_neighbors", "rowwise",
           "source"]
