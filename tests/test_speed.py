"""The harness's own speed: what a cell costs beyond its problem, reference, warm-up and samples."""

import io
import json
import statistics
import subprocess
import sys
import time
from dataclasses import asdict
from typing import Any

import pytest
from pace import slowness
from pytest_benchmark.fixture import BenchmarkFixture

from mssbench import suite
from mssbench.records import Cell
from mssbench.sampling import Policy
from mssbench.worker import serve

SMOKE = suite.load(suite.find("smoke"), auto="cpu")
CELLS = [c for c in SMOKE.cells if c.device == "cpu"]
POLICY = Policy(min_seconds=0, min_samples=3, max_seconds=0.01, warmup_seconds=0, interval=1)


def spent_by(cells: list[Cell]) -> list[dict[str, float]]:
    """Where a worker's time went, cell by cell."""
    setup = {"settings": {"policy": asdict(POLICY), "max_error": 0.1}, "also": []}
    lines = [
        json.dumps(setup),
        *(json.dumps({"cell": asdict(c)}) for c in cells),
    ]
    replies = io.StringIO()
    serve(io.StringIO("\n".join(lines) + "\n"), replies)
    said = [json.loads(line) for line in replies.getvalue().splitlines()]
    return [s["spent"] for s in said if s["event"] == "done"]


def test_own_cost_of_a_cell_is_at_most_5_ms() -> None:
    """The median of every third cell of the smoke suite, after every method has been used once.

    Three tries, since a busy machine can only make it slower.
    """
    medians, cells = [], CELLS[::3]
    for _ in range(3):
        spent = spent_by([*cells, *cells])[len(cells) :]
        medians.append(statistics.median(s["own"] for s in spent))
        if medians[-1] <= 5e-3 * slowness():
            return
    pytest.fail(f"own cost of the median cell: {min(medians) * 1e3:.1f} ms")


def test_own_cost_is_all_that_is_not_accounted_for() -> None:
    for s in spent_by(CELLS[:3]):
        parts = sum(s[k] for k in ("problem", "reference", "warmup", "samples"))
        assert s["own"] == pytest.approx(s["total"] - parts)
        assert s["own"] > 0


@pytest.mark.benchmark(group="command line")
def test_help_takes_less_than_04_s(benchmark: BenchmarkFixture) -> None:
    def help_() -> None:
        subprocess.run(
            [sys.executable, "-m", "mssbench", "--help"], check=True, capture_output=True
        )

    benchmark.pedantic(help_, rounds=5, warmup_rounds=1)
    assert benchmark.stats.stats.min < 0.4 * slowness()


@pytest.mark.benchmark(group="suite")
def test_ten_thousand_cells_expand_in_half_a_second(benchmark: BenchmarkFixture) -> None:
    overrides = ["size=4:128:+4", "seed=0:32:+1"]  # 32 sizes, 33 seeds

    def expand() -> Any:
        return suite.load(suite.find("quick"), auto="cpu", overrides=overrides)

    loaded = benchmark.pedantic(expand, rounds=3, warmup_rounds=1)
    assert len(loaded.cells) > 10_000
    assert benchmark.stats.stats.min / len(loaded.cells) < 50e-6 * slowness()


@pytest.mark.benchmark(group="command line")
def test_a_dry_run_of_ten_thousand_cells_takes_two_seconds(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-m", "mssbench", "run", "quick", "--dry-run", "--json"]
    command += ["--set", "size=8,16,32,64", "--set", "seed=0:52:+1", "--device", "cpu"]
    cells: list[int] = []

    def dry_run() -> None:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        cells.append(json.loads(done.stdout)["cells"])

    benchmark.pedantic(dry_run, rounds=3)
    assert cells[0] >= 10_000
    assert benchmark.stats.stats.min < 2.0 * slowness()


def test_the_clock_itself_costs_less_than_two_microseconds_a_block() -> None:
    from mssbench.clock import HostClock

    clock = HostClock()
    seconds = min(clock.block(lambda _: None, [None]) for _ in range(1000))
    limit = slowness()
    assert seconds < 2e-6 * limit
    start = time.perf_counter()
    for _ in range(1000):
        clock.block(lambda _: None, [None])
    assert (time.perf_counter() - start) / 1000 < 20e-6 * limit


@pytest.mark.parametrize("name", ["newton_schulz", "minimax_hybrid", "minimax", "pade", "taylor"])
def test_a_method_computes_its_coefficients_once_and_not_in_every_timed_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 16 matrices of 16 x 16 the algebra of a polynomial took as long as the products."""
    import torch
    from numpy import linalg
    from numpy.polynomial import Chebyshev, Polynomial

    from mssbench import methods

    def never(*_: object, **__: object) -> None:
        raise AssertionError(f"{name} does algebra of polynomials in a call")

    a = torch.eye(4).repeat(2, 1, 1)
    method = methods.lookup("forward", name)
    given = method.complete({})
    first = method.call(a, frozenset(["sqrt"]), **given)
    for kind in (Polynomial, Chebyshev):
        monkeypatch.setattr(kind, "__init__", never)
    monkeypatch.setattr(linalg, "solve", never)
    again = method.call(a, frozenset(["sqrt"]), **given)
    assert torch.equal(first.sqrt, again.sqrt)
