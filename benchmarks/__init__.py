"""Benchmarks of klfast: workloads (cases), rivals (peers), and the programs that time them.

    python -m benchmarks.report               every workload and its target, as one table
    python -m benchmarks.compare BASE_REV     base against head
    python -m benchmarks.growth               figures of time against n, m, K, k and threads; --cliffs: a table
    pytest benchmarks/ --benchmark-only       the same cases under pytest-benchmark
"""

import os

# Each peer runs the kernels that it chooses for this machine: held to older instructions by the environment, products
# of OpenBLAS (NumPy's, FAISS's) take twice as long where AVX-512 is whole.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)
