"""The two phases of a test run, see phases.py, in a small project that uses the same plugin."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers.root import TESTS as FOLDER

TESTS = """
import os
import pathlib
import pytest

def note(name):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    threads = os.environ.get("OMP_NUM_THREADS", "")
    with pathlib.Path("log").open("a") as log:
        log.write(f"{name} {worker[:2]} {threads}\\n")

@pytest.mark.timing
def test_timed():
    note("timed")
    assert "timed" not in os.environ.get("FAILS", "")

@pytest.mark.parametrize("i", range(4))
def test_plain(i):
    note("plain")
    assert "plain" not in os.environ.get("FAILS", "")

@pytest.mark.slow
def test_slow():
    note("slow")

@pytest.mark.gate
@pytest.mark.timing
def test_gate():
    note("gate")
"""
SETTINGS = """
[pytest]
addopts = -m 'not slow and not gate and not exhaustive' -p no:cacheprovider
testpaths = tests
markers =
    timing
    slow
    gate
    exhaustive
"""
IN_WORKERS = [("plain", "gw", "1")] * 4
ALL_IN_ONE = [("timed", "ma", ""), *[("plain", "ma", "")] * 4]
with_xdist = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    tests = tmp_path / "tests"
    tests.mkdir()
    shutil.copy(FOLDER / "helpers" / "phases.py", tests)
    (tests / "conftest.py").write_text('pytest_plugins = ["phases"]\n')
    (tests / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    return tmp_path


def ran(
    project: Path, *arguments: str, fails: str = "", xdist: bool = True
) -> tuple[int, str, list[tuple[str, ...]]]:
    """Exit status, output, and of each test that ran its name, its process and its threads."""
    of_this_run = ("PYTEST_", "OMP_", "COV_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(of_this_run)}
    env |= {"FAILS": fails, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # which starts in half the time
    plugins = ["-p", "xdist.plugin"] if xdist else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *arguments],
        cwd=project,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    log = project / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return done.returncode, done.stdout, [tuple(line.split(" ")) for line in lines]


@with_xdist
def test_workers_run_the_tests_and_then_one_process_those_that_measure_time(project: Path) -> None:
    code, out, notes = ran(project)
    assert code == 0, out
    assert notes == [*IN_WORKERS, ("timed", "ma", "")]
    assert "second phase: tests marked timing, one at a time" in out
    assert re.search(r"= 5 passed.* in ", out)


@pytest.mark.slow
@with_xdist
def test_a_failure_of_either_phase_fails_the_command(project: Path) -> None:
    code, out, notes = ran(project, fails="timed")
    assert code == 1
    assert re.search(r"= 1 failed, 4 passed", out)
    assert "FAILED tests/test_it.py::test_timed" in out
    assert len(notes) == 5

    code, out, notes = ran(project, fails="plain")
    assert code == 1
    assert re.search(r"= 4 failed, 1 passed", out)
    assert notes[-1] == ("timed", "ma", "")  # the second phase is worth knowing all the same

    code, out, notes = ran(project, "-x", fails="plain")
    assert code != 0
    assert "timed" not in {name for name, *_ in notes}


@pytest.mark.slow
@with_xdist
def test_after_a_file_that_cannot_be_imported_there_is_no_second_phase(project: Path) -> None:
    (project / "tests" / "test_other.py").write_text("import nothing_of_that_name\n")
    code, out, notes = ran(project)
    assert code != 0
    assert "ERROR tests/test_other.py" in out
    assert "timed" not in {name for name, *_ in notes}


@pytest.mark.slow
@with_xdist
def test_a_selection_holds_in_both_phases(project: Path) -> None:
    assert ran(project, "-k", "timed")[2] == [("timed", "ma", "")]
    assert ran(project, "-k", "plain", "tests")[2] == IN_WORKERS
    code, out, notes = ran(project, "-m", "slow or gate", "-n", "1")
    assert code == 0, out
    assert notes == [("slow", "gw", "1"), ("gate", "ma", "")]


@with_xdist
@pytest.mark.parametrize("arguments", [("-n", "0"), ("tests/test_it.py",), ("-s",)], ids=" ".join)
def test_one_process_runs_all_in_one_phase(project: Path, arguments: tuple[str, ...]) -> None:
    code, out, notes = ran(project, *arguments)
    assert code == 0, out
    assert notes == ALL_IN_ONE
    assert "second phase" not in out


def test_without_xdist_one_process_runs_all(project: Path) -> None:
    code, out, notes = ran(project, xdist=False)
    assert code == 0, out
    assert notes == ALL_IN_ONE


def test_a_test_that_is_named_runs_whatever_its_marks(project: Path) -> None:
    places = ["tests/test_it.py::test_gate", "tests/test_it.py::test_slow"]
    code, out, notes = ran(project, *places, xdist=False)
    assert code == 0, out
    assert notes == [("gate", "ma", ""), ("slow", "ma", "")]
