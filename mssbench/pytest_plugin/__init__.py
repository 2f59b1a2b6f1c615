"""pytest: the cells of a suite as benchmarks, and a fixture for methods of your own.

    pytest --mssbench smoke --benchmark-json smoke.json
    pytest --mssbench quick --mssbench-only "size == 16" --benchmark-autosave

Errors, counts and status stand in `extra_info`; `mssbench import` makes a run of the JSON. Nothing
heavy is imported before it is asked for, as pytest loads this wherever mssbench is installed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_CELLS = Path(__file__).with_name("cells.py")
_MEASURED = pytest.StashKey[int]()  # how many cells were measured in a session
_facts: dict[str, Any] = {}  # of this process, once it has measured


def pytest_addoption(parser: pytest.Parser) -> None:
    """Three options, in a group of their own."""
    group = parser.getgroup("mssbench", "matrix square roots")
    group.addoption("--mssbench", metavar="SUITE", help="benchmark the cells of a suite")
    group.addoption("--mssbench-only", metavar="EXPR", help="only cells for which this holds")
    group.addoption(
        "--mssbench-set",
        metavar="KEY=V,V",
        action="append",
        default=[],
        help="replace an axis or a parameter; repeatable",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the suite's cells: alone, where no path was named."""
    if not config.getoption("--mssbench"):
        return
    if why := _no_result(config):
        raise pytest.UsageError(f"--mssbench {why}")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = []
    config.args.append(str(_CELLS))


def _no_result(config: pytest.Config) -> str:
    """Why cells would be called and no time kept, though all tests pass; empty where it is kept."""
    if config.getoption("codspeed", default=False) or "CODSPEED_ENV" in os.environ:
        return (
            "and --codspeed exclude each other: CodSpeed replaces pytest-benchmark, and keeps "
            "neither times nor errors of the cells. Leave out one of them."
        )
    if not config.pluginmanager.hasplugin("benchmark"):
        return "needs pytest-benchmark: pip install pytest-benchmark"
    if config.getoption("dist", default="no") != "no" or "PYTEST_XDIST_WORKER" in os.environ:
        return (
            "times its cells one after the other, and in the workers of pytest-xdist "
            "pytest-benchmark times nothing. Leave out -n, or write -n 0."
        )
    if config.getoption("benchmark_skip", default=False):
        return "and --benchmark-skip exclude each other: every cell would be skipped."
    disabled = config.getoption("benchmark_disable", default=False)
    if disabled and not config.getoption("benchmark_enable", default=False):
        for name in ("json", "save", "autosave"):
            if config.getoption(f"benchmark_{name}", default=None):
                return (
                    f"with --benchmark-disable times nothing, so that --benchmark-{name} would "
                    "have nothing to write. Leave out one of them."
                )
    return ""


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Not a success: cells were asked for, and none of them could be measured."""
    config = session.config
    if not config.getoption("--mssbench") or config.getoption("collectonly") or exitstatus:
        return
    if not config.stash.get(_MEASURED, 0):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say why a session without a failure is no success."""
    asked = config.getoption("--mssbench") and not config.getoption("collectonly")
    if asked and not config.stash.get(_MEASURED, 0):
        terminalreporter.write_line("mssbench: no cell was measured", yellow=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each cell."""
    if "mssbench_cell" in metafunc.fixturenames:
        cells = _chosen(metafunc.config)
        metafunc.parametrize("mssbench_cell", cells, ids=[str(c) for c in cells])


def count(config: pytest.Config) -> None:
    """Note that one more cell was measured."""
    config.stash[_MEASURED] = config.stash.get(_MEASURED, 0) + 1


def _chosen(config: pytest.Config) -> list[Any]:
    from mssbench.errors import MssbenchError
    from mssbench.suite.select import choose

    suite = config.getoption("--mssbench")
    try:
        overrides, only = config.getoption("--mssbench-set"), config.getoption("--mssbench-only")
        return list(choose(suite, overrides, only, None, None, []).cells)
    except MssbenchError as error:
        raise pytest.UsageError(f"--mssbench {suite}: {error}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: Any) -> None:
    """The facts that the rows' `environment` refers to."""
    del config
    if _facts:
        from mssbench.export.pytest_benchmark import FACTS

        machine_info[FACTS] = {"environments": dict(_facts), "runs": {}}


@pytest.fixture
def mssbench(benchmark: Any) -> Callable[..., dict[str, Any]]:
    """Benchmark one pair, a registered method of yours among them; its row, with the errors.

    mssbench("torch/my_root", "loewner", size=64, batch=16, problem="logspec(condition=1e4)",
    iterations=5): other axes and parameters are those of a suite. Skips what cannot run here, and
    fails what is wrong, unless `wrong=True` says that its errors are for the test to judge.
    """

    def measured(
        forward: str, backward: str = "none", *, wrong: bool = False, **given: Any
    ) -> dict[str, Any]:
        return bench(_cell(forward, backward, given), benchmark, wrong=wrong)

    return measured


def _cell(forward: str, backward: str, given: dict[str, Any]) -> Any:
    from mssbench.suite import expand

    axes = {"size": 32, "batch": 16, "device": "cpu"} | {
        k: given.pop(k) for k in list(given) if k in expand.AXES
    }
    method = {"forward": forward, "backward": backward} | given
    cells = expand.expand({"axes": axes, "method": [method]}, "cpu")
    if len(cells) != 1:
        raise pytest.UsageError(f"{forward}: one value for each axis and parameter, please.")
    return cells[0]


def bench(cell: Any, benchmark: Any, *, wrong: bool = False) -> dict[str, Any]:
    """Verify a cell and have it timed by pytest-benchmark; its row.

    Skips what does not exist here, and fails what raises or is wrong; but a method that is declared
    inexact may be wrong, and any may if that is for the caller to judge.
    """
    from mssbench.export.pytest_benchmark import KEY, strict
    from mssbench.measure.on_demand import held
    from mssbench.measure.process_state import watched
    from mssbench.methods import registry
    from mssbench.records.measurement import ABSENT, Status
    from mssbench.records.noise import LEFT_CHANGES
    from mssbench.records.timing import Timing
    from mssbench.results.labels import label, where

    if not hasattr(benchmark, "stats"):  # where that of pytest-benchmark has its times
        pytest.fail(
            f"mssbench needs the fixture `benchmark` of pytest-benchmark, not that of "
            f"{type(benchmark).__module__}: leave out --codspeed.",
            pytrace=False,
        )
    with watched() as state, held(cell, _session(), verify=True) as (found, seconds, kept):
        if found.status in ABSENT:
            pytest.skip(found.reason)
        if kept is None:
            pytest.fail(f"{found.status}: {found.reason}", pytrace=False)
        # timed by pytest-benchmark, and that is by the wall
        row = replace(found, clock="wall").row(environment=_environment())
        benchmark.name, benchmark.group = label(row), where(row)
        benchmark.fullname = f"mssbench::{benchmark.name} {benchmark.group}"
        rounds = max(5, min(1000, round(0.1 / max(seconds, 1e-6))))
        benchmark.pedantic(kept.call, setup=lambda: ((kept.prepare(),), {}), rounds=rounds)
        data = () if benchmark.stats is None else tuple(benchmark.stats.stats.data)
        if found.status is Status.OK:  # by its first output: the last one and its time count too
            found = _verified_again(found, kept, data or (seconds,))  # noqa: PLW2901
    row = replace(found, clock="wall").row(environment=_environment())
    if data:  # --benchmark-disable: once, untimed
        # its first call was one of many while it warmed up: nobody timed that
        row |= Timing(data, 1, seconds).statistics() | {"noise": "", "first_call_seconds": None}
    if state.changes.names:
        changed = f"it changed {', '.join(state.changes.names)}"
        row |= {"flags": LEFT_CHANGES, "reason": "; ".join(filter(None, [row["reason"], changed]))}
    benchmark.extra_info[KEY] = strict(row)
    if found.status is not Status.OK and not wrong:
        kinds = [("forward", cell.forward), ("backward", cell.backward)]
        used = [registry.lookup(k, name) for k, name in kinds if name != "none"]  # type: ignore[arg-type]
        if any(method.inexact for method in used):
            pytest.xfail(f"{found.status}: {found.reason}")
        pytest.fail(f"{found.status}: {found.reason}", pytrace=False)
    return row


def _verified_again(found: Any, kept: Any, seconds: Sequence[float]) -> Any:
    """The row by its last timed output as well, see Held.verify."""
    from mssbench.measure.admission import classify
    from mssbench.records.measurement import Status

    try:
        verified = kept.verify(seconds)
    except Exception as error:  # a method that raises is a result here too
        status, reason = classify(error)
        return replace(found, status=status, reason=reason)
    if verified is None:
        return found
    values = {**(found.values or {}), **verified.values}
    return replace(found, status=Status(verified.status), reason=verified.reason, values=values)


@cache
def _session() -> Any:
    """One for all tests of this process, as a worker has one: they share inputs and references."""
    from mssbench.measure.session import Session, Settings
    from mssbench.records.policy import Policy

    return Session(Settings(Policy(warmup_seconds=0.01)))


def _environment() -> str:
    from mssbench.machine import children
    from mssbench.machine.facts import describe
    from mssbench.records.facts import identify

    if not _facts:
        children.heed()
        facts = describe()
        _facts[identify(facts)] = facts
    return next(iter(_facts))
