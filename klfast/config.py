"""What runs here: version, instruction set, threads."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import _engine, plan

try:
    __version__ = version("klfast")
except PackageNotFoundError:  # imported from a source tree that was built in place
    __version__ = "0+source"


def show_config() -> dict:
    """Version, instruction sets and threads.

    Returns
    -------
    dict
        ``version``; ``isa``, the implementation in use; ``isas``, every compiled one and whether this
        machine supports it, best first (``KLFAST_ISA`` in the environment chooses); ``threads``, what
        ``n_jobs=None`` means now: joblib.parallel_config, else OMP_NUM_THREADS, else the usable cores.
    """
    return {"version": __version__, "isa": _engine.active_isa(), "isas": _engine.isas(),
            "threads": plan.n_threads(None)}
