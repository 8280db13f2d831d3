"""Benchmarks of klfast: workloads (cases), rivals (peers), and the programs that time them.

    python -m benchmarks.report               every workload and its target, as one table
    python -m benchmarks.compare BASE_REV     base against head
    pytest benchmarks/ --benchmark-only       the same cases under pytest-benchmark
"""
