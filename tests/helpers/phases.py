"""A pytest plugin: two workers run the tests, then one process those that need the machine alone.

`pytest`, with folders or without arguments, starts two workers of pytest-xdist. They leave out the
tests marked `timing`; when they have ended, this process runs these one after the other, within the
same session, so that counts, failures, ``--maxfail`` and the exit status are those of both phases.

Everything runs in this process, in one phase, where files or single tests are named, with ``-n 0``,
``--pdb``, ``-s`` or ``--collect-only``, and where pytest-xdist is not installed. ``-n 4`` starts
four workers, and the second phase follows as well.

Tests marked `slow`, `gate` or `exhaustive` are left out by ``addopts`` in pyproject.toml. A test
that is named by its node id runs whatever its marks are.
"""

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

WORKERS = 2
DEFAULT_MARKS = "not slow and not gate and not exhaustive"

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before NumPy and torch are imported: two workers with all threads each would get in each
    # other's way. OpenBLAS and MKL read the same variable, and so do processes that tests start.
    os.environ["OMP_NUM_THREADS"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Phases(config), "phases-of-tests")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Decide how many processes run the tests, before pytest-xdist looks."""
    if _is_worker(config):
        return

    option = config.option
    if option.markexpr == DEFAULT_MARKS and any("::" in argument for argument in config.args):
        option.markexpr = ""

    if _may_choose_workers(config):
        option.numprocesses = WORKERS
    if getattr(option, "numprocesses", None) and option.dist == "no":
        # Each worker begins with half of the files, so that most fixtures of a file are made once.
        option.dist = "worksteal"


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _may_choose_workers(config: pytest.Config) -> bool:
    """Whether pytest-xdist is there and the command line leaves the number of processes open."""
    option = config.option
    if getattr(option, "numprocesses", 0) is not None or option.dist != "no" or option.tx:
        return False
    watched = option.collectonly or option.usepdb or option.trace or option.capture == "no"
    if watched or config.getoption("mssbench", None):
        return False
    return all(Path(argument).is_dir() for argument in config.args)


class Phases:
    """In a worker: leave out what must run alone. In the process that started them: run it then."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.left_out: dict[str, None] = {}  # node ids in their order, each once
        self.not_collected = False  # a file, by a worker

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if not _is_worker(self.config):
            return
        alone = [item for item in items if item.get_closest_marker("timing")]
        items[:] = [item for item in items if not item.get_closest_marker("timing")]
        output: dict[str, Any] = self.config.workeroutput  # type: ignore[attr-defined]
        output["timing"] = [item.nodeid for item in alone]

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self.not_collected |= report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """A worker has ended and says which tests it has left out; all of them say the same."""
        output = getattr(node, "workeroutput", None) or {}
        self.left_out.update(dict.fromkeys(output.get("timing", ())))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        done = yield
        go_on = not self.not_collected or self.config.option.continue_on_collection_errors
        if self.left_out and go_on:
            self._run_alone(session)
        return done

    def _run_alone(self, session: pytest.Session) -> None:
        reporter = self.config.pluginmanager.getplugin("terminalreporter")
        if reporter is not None:
            reporter.write_line("")  # what the workers wrote ends in the middle of a line
            reporter.section("second phase: tests marked timing, one at a time", sep="-")

        in_workers = session.testscollected
        places = [str(self.config.rootpath / nodeid) for nodeid in self.left_out]
        items = list(session.perform_collect(places))
        session.testscollected = in_workers + len(items)

        for item, following in zip(items, [*items[1:], None], strict=True):
            self.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
