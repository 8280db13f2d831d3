"""pytest-benchmark over the cases: collects bench_*.py, and gives each contestant of a case as one benchmark.

    pytest benchmarks/ --benchmark-only [--quick] [--threads N] [-k NAME]
"""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from . import check, peers
from .cases import Case, Rival
from .measure import KLFAST, why_not


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="small sizes: a smoke test")
    parser.addoption("--threads", type=int, default=None, help="of klfast and every peer (default: as klfast)")


def pytest_collect_file(file_path, parent):
    if file_path.name.startswith("bench_") and file_path.suffix == ".py":
        return pytest.Module.from_parent(parent, path=file_path)


def contestants(cases: list[Case]):
    """Parameters (case, rival) of a benchmark: klfast first, then the rivals of each case."""
    pairs = [(case, rival) for case in cases for rival in (Rival(KLFAST), *case.rivals)]
    return pytest.mark.parametrize(("case", "rival"), pairs, ids=[f"{c.name}-{r.peer}" for c, r in pairs])


@pytest.fixture(scope="module")
def operands():
    """The inputs of the case that ran last: each case's are made once, and only one case's are held."""
    return {}


@pytest.fixture
def contest(request, benchmark, operands):
    """Time one contestant of one case, with its answer checked before."""
    quick, threads = request.config.getoption("--quick"), request.config.getoption("--threads")
    threads = threads or peers.kl.show_config()["threads"]

    def run(case: Case, rival: Rival) -> None:
        reason = why_not(case, threads)
        if reason:
            pytest.skip(reason)
        # Sizes of the quick case, and of this rival within it.
        sized = case.quick() if quick else case
        rows = next((r.rows for r in sized.rivals if r.peer == rival.peer), None)
        peer = peers.PEERS.get(rival.peer, peers.Peer(peers.klfast))
        if peer.module and find_spec(peer.module) is None:
            pytest.skip(f"{peer.module} is not installed")
        if case.name not in operands:
            operands.clear()
            operands[case.name] = sized.inputs(threads)
        inputs = operands[case.name].head(rows) if rows else operands[case.name]
        with peers.limit_threads(threads):
            call = peer.prepare(inputs)
            answer = call()
            if peer.values is not None:
                error = benchmark.extra_info["error"] = check.error(inputs, peer.values(answer, inputs))
                assert rival.peer != KLFAST or error <= case.tolerance
            del answer
            benchmark.group = f"{case.name}: {case.title}" + (" (quick: smaller)" if quick else "")
            # A slow rival answers for a part of the rows: its whole time would be `scale` times this one.
            benchmark.extra_info["scale"] = len(operands[case.name].P) / len(inputs.P)
            benchmark.pedantic(call, rounds=1 if quick else 7)

    return run
