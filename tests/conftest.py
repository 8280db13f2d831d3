"""Fixtures: every compiled ISA in turn, with proof that it did the work."""

from __future__ import annotations

import numpy as np
import pytest

from klfast import _engine, plan

COMPILED = _engine.isas()
SUPPORTED = [name for name, supported in COMPILED.items() if supported]


class Recorder:
    """Collects the statistics of every engine call."""

    def __init__(self):
        self.stats = []

    @property
    def ran(self) -> set[str]:
        return {name for stats in self.stats for name in stats.isas_ran}


@pytest.fixture
def recorder(monkeypatch):
    """Records which ISA's kernels run, at the engine's entries that return statistics."""
    record = Recorder()

    def watch(name, stats_of):
        original = getattr(_engine, name)

        def call(*args, **kwargs):
            result = original(*args, **kwargs)
            record.stats.append(stats_of(result))
            return result

        monkeypatch.setattr(_engine, name, call)

    watch("scan", lambda result: result[2])
    watch("rowwise", lambda result: result)
    watch("entropy", lambda result: result[1])
    watch("Pairing", lambda result: result.stats)
    watch("Side", lambda result: result.stats)
    return record


@pytest.fixture(params=list(COMPILED))
def isa(request, recorder):
    """Name of the ISA that is forced; afterwards: it ran, and no other did."""
    if not COMPILED[request.param]:
        pytest.skip(f"this machine does not support {request.param}")
    before = _engine.active_isa()
    _engine.use_isa(request.param)
    yield request.param
    _engine.use_isa(before)
    assert recorder.ran == {request.param}


@pytest.fixture
def each_isa():
    """each_isa(f): {name: f()} under every supported ISA that has fused multiply-adds."""
    before = _engine.active_isa()

    def run(function, names=tuple(name for name in SUPPORTED if name != SUPPORTED[-1])):
        results = {}
        for name in names:
            _engine.use_isa(name)
            results[name] = function()
        return results

    yield run
    _engine.use_isa(before)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def all_threads(monkeypatch):
    """However small the work, every thread that was asked for takes part."""
    monkeypatch.setattr(plan, "worth", lambda threads, bins: threads)
