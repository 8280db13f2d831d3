"""Loads the engine with threads that wait quietly.

OpenMP's threads keep their cores busy where they wait for each other, by default of GCC's library for milliseconds.
When the system has left two of them to one core, as it does after a pause or while another library's threads are still
busy (NumPy's are for 30 ms after a product), the one that waits keeps the one with work left from it: calls of 1 ms
took 10 to 25. After 2000 looks they sleep instead. The library reads that from the environment once, when it is loaded;
what the user has chosen there stays, and nothing is left there for others.
"""

import os

CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
# 2 cores of Zen 4, another process at work: 0 and 5000 made calls of 1 ms longer, 20,000 twice as long.
LOOKS = "2000"

if any(name in os.environ for name in CHOICES):
    from . import _engine
else:
    os.environ["GOMP_SPINCOUNT"] = LOOKS
    try:
        from . import _engine
    finally:
        del os.environ["GOMP_SPINCOUNT"]

__all__ = ["_engine"]
