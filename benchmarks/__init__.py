"""Benchmarks of klfast: workloads (cases), rivals (peers), and the programs that time them.

    python -m benchmarks.report               every workload and its target, as one table
    python -m benchmarks.compare BASE_REV     base against head
    python -m benchmarks.growth               figures of time against n, m, K, k and threads; --cliffs: a table
    pytest benchmarks/ --benchmark-only       the same cases under pytest-benchmark
"""

import os

# NumPy's products run the kernels that OpenBLAS chooses for this machine: held to older instructions by the environment,
# they take twice as long where AVX-512 is whole. (FAISS: peers.faiss_library.)
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
