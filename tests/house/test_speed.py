"""The harness's own speed: what a cell costs beyond its problem, reference, warm-up and samples."""

import io
import json
import os
import statistics
import subprocess
import sys
from dataclasses import asdict
from math import inf
from typing import Any

import pytest
from helpers.pace import Spent, of_call, of_process, too_slow
from helpers.tables import mssbench

from mssbench.engines.worker import TorchInstruments, serve
from mssbench.measure.instruments.clocks import HostClock
from mssbench.records.cell import Cell
from mssbench.records.policy import Policy
from mssbench.suite import suite

SMOKE = suite.load(suite.find("smoke"), auto="cpu")
CELLS = [c for c in SMOKE.cells if c.device == "cpu"]
POLICY = Policy(min_seconds=0, min_samples=3, max_seconds=0.01, warmup_seconds=0, interval=1)


def lines_for(cells: list[Cell]) -> str:
    """What a supervisor says to have these cells measured."""
    setup = {"settings": {"policy": asdict(POLICY), "max_error": 0.1}, "also": []}
    lines = [json.dumps(setup), *(json.dumps({"cell": asdict(c)}) for c in cells)]
    return "\n".join(lines) + "\n"


def spent_of(replies: str) -> list[dict[str, float]]:
    said = [json.loads(line) for line in replies.splitlines()]
    return [s["spent"] for s in said if s.get("event") == "done"]


def spent_by(cells: list[Cell]) -> list[dict[str, float]]:
    """Where a worker's time went, cell by cell."""
    replies = io.StringIO()
    serve(io.StringIO(lines_for(cells)), replies, TorchInstruments)
    return spent_of(replies.getvalue())


def spent_by_a_worker(cells: list[Cell]) -> list[dict[str, float]]:
    """The same in a process of its own, which has not thousands of tests in its memory."""
    command = [sys.executable, "-m", "mssbench.worker", str(os.getpid())]
    done = subprocess.run(command, input=lines_for(cells), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return spent_of(done.stdout)


def _cells_of_quick(size: int) -> list[Cell]:
    """The cells of `quick` at one size, on three kinds of matrix, as far as a CPU can run them."""
    quick = suite.load(suite.find("quick"), auto="cpu", overrides=[f"size={size}"])
    return [c for c in quick.cells if c.library == "torch" and c.forward != "fused"]


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize(
    ("cells", "most"),
    [
        pytest.param(CELLS[::3], 5e-3, id="smoke"),
        pytest.param(
            _cells_of_quick(64)[:10:2], 8e-3, id="quick at n = 64", marks=pytest.mark.exhaustive
        ),
    ],
)
def test_own_cost_of_a_cell_is_some_milliseconds(cells: list[Cell], most: float) -> None:
    """The median of some cells of a suite, after every method has been used once.

    Of each cell the cheapest time counts: a busy machine can only make it dearer. At n = 64 it is
    4 to 5 ms on a quiet machine, and 6 to 7 for a step at batch 64.
    """
    own = [inf] * len(cells)

    def spend() -> Spent:
        again = spent_by_a_worker([*cells, *cells])[len(cells) :]
        own[:] = [min(x, s["own"]) for x, s in zip(own, again, strict=True)]
        return Spent(*[statistics.median(own)] * 2)

    assert not too_slow(most, spend)


def test_own_cost_is_all_that_is_not_accounted_for() -> None:
    for s in spent_by(CELLS[:3]):
        parts = sum(s[k] for k in ("problem", "reference", "warmup", "samples"))
        assert s["own"] == pytest.approx(s["total"] - parts)
        assert s["own"] > 0


@pytest.mark.timing
def test_help_takes_less_than_04_s() -> None:
    assert not too_slow(0.4, lambda: of_process("-m", "mssbench", "--help"))


@pytest.mark.timing
def test_ten_thousand_cells_expand_in_half_a_second() -> None:
    overrides = ["size=4:128:+4", "seed=0:32:+1"]  # 32 sizes, 33 seeds

    def expand() -> Any:
        return suite.load(suite.find("quick"), auto="cpu", overrides=overrides)

    count = len(expand().cells)
    assert count > 10_000
    assert not too_slow(50e-6 * count, lambda: of_call(expand))


@pytest.mark.slow
@pytest.mark.timing
def test_a_dry_run_of_ten_thousand_cells_takes_two_seconds() -> None:
    seeds = "seed=0:180:+1"
    command = ["run", "quick", "--dry-run", "--json", "--device", "cpu", "--set", seeds]
    assert json.loads(mssbench(*command).stdout)["cells"] > 10_000
    assert not too_slow(2.0, lambda: of_process("-m", "mssbench", *command))


@pytest.mark.timing
def test_the_clock_itself_costs_less_than_two_microseconds_a_block() -> None:
    """The shortest block; and what a block takes with all that is around its window."""
    clock = HostClock()
    blocks: list[float] = []

    def many() -> None:
        blocks.extend(clock.block(lambda _: None, [None]) for _ in range(1000))

    def shortest() -> Spent:
        many()
        return Spent(*[min(blocks)] * 2)

    assert not too_slow(2e-6, shortest)
    assert not too_slow(1000 * 20e-6, lambda: of_call(many))


@pytest.mark.parametrize("name", ["newton_schulz", "minimax_hybrid", "minimax", "pade", "taylor"])
def test_a_method_computes_its_coefficients_once_and_not_in_every_timed_call(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 16 matrices of 16 x 16 the algebra of a polynomial took as long as the products."""
    import torch
    from numpy import linalg
    from numpy.polynomial import Chebyshev, Polynomial

    from mssbench.methods import registry

    def never(*_: object, **__: object) -> None:
        raise AssertionError(f"{name} does algebra of polynomials in a call")

    a = torch.eye(4).repeat(2, 1, 1)
    method = registry.lookup("forward", name)
    given = method.complete({})
    first = method.call(a, frozenset(["sqrt"]), **given)
    for kind in (Polynomial, Chebyshev):
        monkeypatch.setattr(kind, "__init__", never)
    monkeypatch.setattr(linalg, "solve", never)
    again = method.call(a, frozenset(["sqrt"]), **given)
    assert torch.equal(first.sqrt, again.sqrt)
