"""What runs here: version, instruction set, threads, memory."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from . import _engine, memory, plan

try:
    __version__ = version("klfast")
except PackageNotFoundError:  # imported from a source tree that was built in place
    __version__ = "0+source"


def show_config() -> dict:
    """Version, instruction sets, threads and memory.

    Returns
    -------
    dict
        ``version``; ``isa``, the implementation in use; ``isas``, every compiled one and whether this
        machine supports it, best first (``KLFAST_ISA`` in the environment chooses); ``threads``, what
        ``n_jobs=None`` means now: joblib.parallel_config, else OMP_NUM_THREADS, else the usable cores;
        ``keeps``, how many bytes of freed large answers are kept at most for the next answer of that size,
        where the system can take them back when it runs short (``KLFAST_KEEP_MIB`` chooses; 0: none).
    """
    return {"version": __version__, "isa": _engine.active_isa(), "isas": _engine.isas(),
            "threads": plan.n_threads(None), "keeps": memory.most_kept()}
