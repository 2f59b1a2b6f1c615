"""One arm of `ab` inside its process: a cell made ready, then sampled when asked."""

import io
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from helpers.tables import CELL

from mssbench import pytest_plugin
from mssbench.engines import worker
from mssbench.measure.instruments import disturbance
from mssbench.measure.on_demand import held
from mssbench.measure.session import Session, Settings
from mssbench.methods import registry
from mssbench.methods.method import Root
from mssbench.methods.registry import register_forward
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.policy import Policy

TINY = replace(
    Cell(**CELL), library="numpy", size=4, batch=2, precision="float64", problem="wishart(ratio=4)"
)
SETTINGS = Session(Settings(Policy(warmup_seconds=0.0)))


@contextmanager
def registered(method: Any) -> Iterator[Cell]:
    register = register_forward(
        cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",)
    )
    with registry.temporarily():
        register(method)
        yield replace(TINY, forward=method.__name__)


def root(a: Any) -> Any:
    w, v = np.linalg.eigh(a)
    return (v * np.sqrt(w)[..., None, :]) @ np.swapaxes(v, -1, -2)


def test_the_method_is_announced_before_it_runs() -> None:
    told: list[str] = []

    def watched_root(a: Any) -> Root:
        assert told == ["announced"]
        time.sleep(5e-3)
        return Root(sqrt=root(a))

    with (
        registered(watched_root) as cell,
        held(cell, SETTINGS, lambda: told.append("announced"), verify=True) as found,
    ):
        row, seconds, kept = found
        assert row.status is Status.OK, row.reason
        assert row.row()["root_error"] < 1e-12
        assert kept is not None
        start = time.perf_counter()
        sample = kept.sample(3)
        around = time.perf_counter() - start
        assert seconds >= 5e-3
        assert 5e-3 <= sample.seconds <= around / 3  # a call


def test_what_writes_into_its_input_is_not_held() -> None:
    def spoils_its_input(a: Any) -> Root:
        a *= 1.5
        return Root(sqrt=root(a))

    with (
        registered(spoils_its_input) as cell,
        held(cell, SETTINGS, verify=False) as (row, _, kept),
    ):
        assert kept is None
        assert "wrote into its input" in row.reason


def test_a_method_that_is_not_known_here_is_no_crash() -> None:
    """As in the process of a revision before it."""
    with held(replace(TINY, forward="of_tomorrow"), SETTINGS, verify=True) as (row, _, kept):
        assert (kept, row.status) == (None, Status.UNSUPPORTED)
        assert "of_tomorrow" in row.reason


@pytest.mark.parametrize(("load", "flags"), [(0.0, ()), (99.0, ("loaded",))])
def test_a_sample_says_what_disturbed_it(
    monkeypatch: pytest.MonkeyPatch, load: float, flags: tuple[str, ...]
) -> None:
    monkeypatch.setattr(disturbance.os, "getloadavg", lambda: (load, load, load))
    with held(replace(TINY, forward="eigh"), SETTINGS, verify=False) as (_, _, kept):
        assert kept is not None
        assert kept.sample(1).flags == flags


def served(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    setup = {"settings": {"policy": asdict(SETTINGS.settings.policy), "max_error": 0.1}, "also": []}
    replies = io.StringIO()
    lines = io.StringIO("".join(json.dumps(r) + "\n" for r in (setup, *requests)))
    worker.serve(lines, replies, worker.TorchInstruments)
    said = [json.loads(line) for line in replies.getvalue().splitlines()]
    return said[2:]  # after the protocol and the facts


def test_the_device_is_asked_whether_it_lives_after_a_failure_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """To ask empties the allocator's cache, which samples would then have to fill."""
    asked: list[str] = []
    monkeypatch.setattr(worker, "_context_lost", lambda device: bool(asked.append(device)) or True)
    calls = []

    def fails_later(a: Any) -> Root:
        calls.append(1)
        if len(calls) > 3:
            raise ZeroDivisionError
        return Root(sqrt=root(a))

    with registered(fails_later) as cell:
        hold = {"hold": asdict(cell), "verify": False}
        said = served(hold, {"sample": 1}, {"sample": 9})
    assert [s["event"] for s in said] == ["measuring", "held", "sample", "sample"]
    assert [s.get("lost", False) for s in said] == [False, False, False, True]
    assert "ZeroDivisionError" in said[-1]["reason"]
    assert asked == ["cpu"]
    said = served({"hold": asdict(replace(TINY, forward="of_tomorrow")), "verify": False})
    assert said[-1]["lost"]


def test_what_pytest_benchmark_times_is_of_the_wall(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a GPU, whose own clock `ab` would read."""

    @contextmanager
    def of_a_gpu(cell: Cell, _settings: Any, *, verify: bool) -> Iterator[Any]:
        assert verify
        row = Measurement(cell, "forward", "gpu", "hot", Status.OK, "", {"root_error": 1e-9})
        with held(cell, SETTINGS, verify=False) as (_, seconds, kept):
            yield row, seconds, kept

    class Benchmark:
        stats = None

        def __init__(self) -> None:
            self.extra_info: dict[str, Any] = {}

        def pedantic(self, call: Any, setup: Any, rounds: int) -> None:
            args, _ = setup()
            call(*args)

    monkeypatch.setattr("mssbench.measure.on_demand.held", of_a_gpu)
    row = pytest_plugin.bench(replace(TINY, forward="eigh"), Benchmark())
    assert row["clock"] == "wall"


@pytest.mark.parametrize("number", range(1, 8))
def test_what_writes_into_any_input_that_has_a_turn_is_not_held(register: Any, number: int) -> None:
    def spoils_one(a: Any) -> Root:
        found = root(a)
        rotation = each_once.batch._rotation
        if a is rotation.all[number].a:
            a[-1, -1, 0] += 1e-13
        return Root(sqrt=found)

    register["forward"](
        cite="mine, 2026", products=lambda: 1.0, libraries=("numpy",), yields=("sqrt",)
    )(spoils_one)
    cell = replace(TINY, forward="spoils_one")
    each_once = Session(Settings(Policy(warmup_seconds=60.0, max_samples=7)))
    with held(cell, each_once, verify=False) as (row, _, kept):
        assert kept is None
        assert "spoils_one wrote into its input" in row.reason
