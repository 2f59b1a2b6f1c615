"""pytest plug-in: run the cells of a suite as benchmarks, and a fixture for your own methods.

A cell is one combination of method, problem, size, batch and so on.

    pytest --mssbench smoke --benchmark-json smoke.json
    pytest --mssbench quick --mssbench-only "size == 16" --benchmark-autosave

Errors, counts and status are stored in `extra_info`; `mssbench import` makes a run from the JSON.
Heavy modules are imported late, because pytest loads this plug-in wherever mssbench is installed.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

_CELLS = Path(__file__).with_name("cells.py")
_MEASURED = pytest.StashKey[int]()  # number of cells that were measured in a session
_facts: dict[str, Any] = {}  # facts of this process by environment; empty before the first cell


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of mssbench."""
    group = parser.getgroup("mssbench", "matrix square roots")
    group.addoption(
        "--mssbench",
        metavar="SUITE",
        help="benchmark the cells of a suite: a name from `mssbench list suites`, or a TOML file",
    )
    group.addoption(
        "--mssbench-only",
        metavar="EXPR",
        help="of the cells of --mssbench take only those for which this holds, e.g. 'size > 16'; "
        "default: all",
    )
    group.addoption(
        "--mssbench-set",
        metavar="KEY=V,V",
        action="append",
        default=[],
        help="replace values of an axis, a parameter or a [measure] key of the suite of "
        "--mssbench, e.g. size=8,16; repeatable",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Collect the tests of --mssbench, in addition to the paths on the command line, if any.

    Raises pytest.UsageError if another option would keep the cells from being timed.
    """
    if not config.getoption("--mssbench"):
        return
    if why := _no_result(config):
        raise pytest.UsageError(f"--mssbench {why}")
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args[:] = []
    config.args.append(str(_CELLS))


def _no_result(config: pytest.Config) -> str:
    """Return which option would keep cells from being timed while tests pass; empty if none."""
    if config.getoption("codspeed", default=False) or "CODSPEED_ENV" in os.environ:
        return (
            "and --codspeed exclude each other: CodSpeed replaces pytest-benchmark, and stores "
            "neither times nor errors of the cells. Leave out one of them."
        )

    if not config.pluginmanager.hasplugin("benchmark"):
        return "needs pytest-benchmark: pip install pytest-benchmark"
    if config.getoption("dist", default="no") != "no" or "PYTEST_XDIST_WORKER" in os.environ:
        return (
            "times its cells one after the other, and pytest-benchmark does not time anything in "
            "the workers of pytest-xdist. Leave out -n, or write -n 0."
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
    """Fail a session in which cells were requested, but none could be measured."""
    config = session.config
    if not config.getoption("--mssbench") or config.getoption("collectonly") or exitstatus:
        return
    if not config.stash.get(_MEASURED, 0):
        session.exitstatus = pytest.ExitCode.NO_TESTS_COLLECTED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print that no cell was measured, if that is why a session without failures fails."""
    cells_requested = config.getoption("--mssbench") and not config.getoption("collectonly")
    if cells_requested and not config.stash.get(_MEASURED, 0):
        terminalreporter.write_line("mssbench: no cell was measured", yellow=True)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Generate one test for each cell of --mssbench."""
    if "mssbench_cell" in metafunc.fixturenames:
        cells = _chosen(metafunc.config)
        metafunc.parametrize("mssbench_cell", cells, ids=[str(c) for c in cells])


def count(config: pytest.Config) -> None:
    """Count one more cell as measured, so that the session does not fail for lack of any."""
    config.stash[_MEASURED] = config.stash.get(_MEASURED, 0) + 1


def _chosen(config: pytest.Config) -> list[Any]:
    """Return the cells of --mssbench. Raises pytest.UsageError if they cannot be chosen."""
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
    """Add the machine's facts, to which the column `environment` refers, to the JSON file."""
    del config
    if _facts:
        from mssbench.export.pytest_benchmark import FACTS

        machine_info[FACTS] = {"environments": dict(_facts), "runs": {}}


@pytest.fixture
def mssbench(benchmark: Any) -> Callable[..., dict[str, Any]]:
    """Fixture: a function that benchmarks one pair and returns its row, with the errors.

    mssbench("torch/my_root", "loewner", size=64, batch=16, problem="logspec(condition=1e4)",
    iterations=5): a pair is a forward (root) and a backward (gradient), which may be your own. All
    axes of a suite and parameters of the methods are allowed. The test is skipped if the pair
    cannot run here, and fails if its status is not ok, unless `wrong=True` leaves it to the test to
    judge the errors in the row.
    """

    def measured(
        forward: str, backward: str = "none", *, wrong: bool = False, **given: Any
    ) -> dict[str, Any]:
        return bench(_cell(forward, backward, given), benchmark, wrong=wrong)

    return measured


def _cell(forward: str, backward: str, values: dict[str, Any]) -> Any:
    """Return the cell of a forward and a backward.

    values: axes and parameters, with one value each. Raises pytest.UsageError if there are several.
    """
    from mssbench.suite import expand

    axes = {"size": 32, "batch": 16, "device": "cpu"} | {
        k: values.pop(k) for k in list(values) if k in expand.AXES
    }
    method = {"forward": forward, "backward": backward} | values

    cells = expand.expand({"axes": axes, "method": [method]}, "cpu")
    if len(cells) != 1:
        raise pytest.UsageError(f"{forward}: give one value for each axis and parameter.")
    return cells[0]


def bench(cell: Any, benchmark: Any, *, wrong: bool = False) -> dict[str, Any]:
    """Verify a cell, time it with pytest-benchmark, and return its row.

    The test is skipped if the cell cannot be measured here, and fails if the method raises or its
    result is wrong; for a method that is declared inexact a wrong result is an expected failure.
    benchmark: the fixture of pytest-benchmark. wrong: whether a wrong result is left to the caller.
    """
    from mssbench.export.pytest_benchmark import KEY, strict
    from mssbench.measure.on_demand import held
    from mssbench.measure.process_state import watched
    from mssbench.methods import registry
    from mssbench.records.cell import WALL
    from mssbench.records.measurement import ABSENT, Status
    from mssbench.records.noise import LEFT_CHANGES
    from mssbench.records.timing import Timing
    from mssbench.results.labels import label, where

    if not hasattr(benchmark, "stats"):  # the attribute with the times of pytest-benchmark
        pytest.fail(
            f"mssbench needs the fixture `benchmark` of pytest-benchmark, not that of "
            f"{type(benchmark).__module__}: leave out --codspeed.",
            pytrace=False,
        )

    with (
        watched() as state,
        held(cell, _session(), verify=True) as (measurement, seconds, held_cell),
    ):
        if measurement.status in ABSENT:
            pytest.skip(measurement.reason)
        if held_cell is None:
            pytest.fail(f"{measurement.status}: {measurement.reason}", pytrace=False)

        # pytest-benchmark measures wall time.
        row = replace(measurement, clock=WALL).row(environment=_environment())
        benchmark.name, benchmark.group = label(row), where(row)
        benchmark.fullname = f"mssbench::{benchmark.name} {benchmark.group}"
        # About 0.1 s in all, but at least 5 rounds for a median, and at most 1000 for fast cells.
        rounds = max(5, min(1000, round(0.1 / max(seconds, 1e-6))))
        benchmark.pedantic(
            held_cell.call, setup=lambda: ((held_cell.prepare(),), {}), rounds=rounds
        )
        data = () if benchmark.stats is None else tuple(benchmark.stats.stats.data)
        if measurement.status is Status.OK:  # so far by the first output only
            measurement = _verified_again(  # noqa: PLW2901
                measurement, held_cell, data or (seconds,)
            )

    row = replace(measurement, clock=WALL).row(environment=_environment())
    if data:  # empty with --benchmark-disable
        # The first call was one of the warm-up calls and was not timed separately.
        row |= Timing(data, 1, seconds).statistics() | {"noise": "", "first_call_seconds": None}
    if state.changes.names:
        changed = f"it changed {', '.join(state.changes.names)}"
        flags = f"{row['flags'] or ''} {LEFT_CHANGES}".strip()
        row |= {"flags": flags, "reason": "; ".join(filter(None, [row["reason"], changed]))}

    benchmark.extra_info[KEY] = strict(row)
    if measurement.status is not Status.OK and not wrong:
        kinds = [("forward", cell.forward), ("backward", cell.backward)]
        used = [registry.lookup(k, name) for k, name in kinds if name != "none"]  # type: ignore[arg-type]
        if any(method.inexact for method in used):
            pytest.xfail(f"{measurement.status}: {measurement.reason}")
        pytest.fail(f"{measurement.status}: {measurement.reason}", pytrace=False)
    return row


def _verified_again(measurement: Any, kept: Any, seconds: Sequence[float]) -> Any:
    """Return the measurement after verifying its last timed output as well.

    kept: the held cell. seconds: the times of its calls.
    """
    from mssbench.measure.admission import classify
    from mssbench.records.measurement import Status

    try:
        verified = kept.verify(seconds)
    except Exception as error:  # an error of the method is a status, not a crash of the harness
        status, reason = classify(error)
        return replace(measurement, status=status, reason=reason)
    if verified is None:
        return measurement
    values = {**(measurement.values or {}), **verified.values}
    return replace(
        measurement, status=Status(verified.status), reason=verified.reason, values=values
    )


@cache
def _session() -> Any:
    """Return the session of this process, with which all tests share inputs and references."""
    from mssbench.measure.session import Session, Settings
    from mssbench.records.policy import Policy

    return Session(Settings(Policy(warmup_seconds=0.01)))


def _environment() -> str:
    """Return the hash of this process's environment, and keep its facts."""
    from mssbench.machine import children
    from mssbench.machine.facts import describe
    from mssbench.records.facts import identify

    if not _facts:
        children.heed()
        facts = describe()
        _facts[identify(facts)] = facts
    return next(iter(_facts))
