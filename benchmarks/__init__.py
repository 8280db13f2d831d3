"""Benchmarks of klfast: workloads (cases), rivals (peers), and the programs that time them.

    python -m benchmarks.report               every workload and its target, as one table
    python -m benchmarks.compare BASE_REV     base against head
    python -m benchmarks.growth               figures of time against n, m, K, k and threads; --cliffs: a table
    pytest benchmarks/ --benchmark-only       the same cases under pytest-benchmark
"""
