"""Attacks by other plug-ins and options of pytest: there is a result, or a refusal by name."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.runs import write_suite

from mssbench import pytest_plugin
from mssbench.machine import facts

# What pytest-codspeed does as far as it concerns us: an option, and a fixture of its own.
CODSPEED = """
import pytest

class Fixture:
    extra_info = {}
    def pedantic(self, target, setup=None, **_):
        args, kwargs = setup(); target(*args, **kwargs)

def pytest_addoption(parser):
    parser.addoption("--codspeed", action="store_true", default=False)

@pytest.fixture
def benchmark():
    return Fixture()
"""


def run(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *map(str, arguments)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | environment
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    return write_suite(tmp_path, 'forward = "numpy/eigh"')


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert done.returncode == 4, said
    assert all(word in said for word in words), said
    assert "INTERNALERROR" not in said


def test_attack_codspeed_beside_a_suite_is_refused_by_name(tmp_path: Path, suite: Path) -> None:
    (tmp_path / "codspeed_like.py").write_text(CODSPEED)
    done = run(
        tmp_path,
        "-p",
        "codspeed_like",
        "--codspeed",
        "--mssbench",
        suite,
        "--benchmark-json",
        "out.json",
        PYTHONPATH=str(tmp_path),
    )
    refused(done, "--mssbench", "--codspeed", "Leave out one")
    assert not (tmp_path / "out.json").exists()


def test_attack_the_environment_of_codspeeds_action_is_refused_by_name(
    tmp_path: Path, suite: Path
) -> None:
    done = run(tmp_path, "--mssbench", suite, CODSPEED_ENV="1")
    refused(done, "--codspeed")


@pytest.mark.sampled(1)
def test_attack_the_fixture_of_codspeed_is_refused_in_a_test_of_a_user(tmp_path: Path) -> None:
    (tmp_path / "codspeed_like.py").write_text(CODSPEED)
    (tmp_path / "test_mine.py").write_text(
        "def test_mine(mssbench):\n    mssbench('numpy/eigh', size=4, batch=2)\n"
    )
    done = run(
        tmp_path,
        "-p",
        "codspeed_like",
        "-p",
        "no:benchmark",
        "--codspeed",
        "test_mine.py",
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 1
    assert "leave out --codspeed" in done.stdout
    assert "AttributeError" not in done.stdout


@pytest.mark.parametrize("workers", [("-n", "2"), ("-n", "1"), ("--dist", "load", "--tx", "popen")])
def test_attack_workers_of_xdist_are_refused_and_leave_no_empty_file(
    tmp_path: Path, suite: Path, workers: tuple[str, ...]
) -> None:
    done = run(tmp_path, *workers, "--mssbench", suite, "--benchmark-json", "out.json")
    refused(done, "pytest-xdist", "-n 0")
    assert not (tmp_path / "out.json").exists()


def test_attack_a_session_inside_a_worker_of_xdist_is_refused(tmp_path: Path, suite: Path) -> None:
    done = run(tmp_path, "--mssbench", suite, PYTEST_XDIST_WORKER="gw0")
    refused(done, "pytest-xdist")


@pytest.mark.slow
def test_attack_no_workers_of_xdist_are_fine(tmp_path: Path, suite: Path) -> None:
    done = run(tmp_path, "-n", "0", "--mssbench", suite, "--benchmark-json", "out.json", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads((tmp_path / "out.json").read_text())["benchmarks"]) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "options",
    [
        ("--benchmark-skip",),
        ("--benchmark-disable", "--benchmark-json", "out.json"),
        ("--benchmark-disable", "--benchmark-autosave"),
        ("--benchmark-disable", "--benchmark-save", "x"),
    ],
)
def test_attack_options_under_which_nothing_is_timed_are_refused(
    tmp_path: Path, suite: Path, options: tuple[str, ...]
) -> None:
    refused(run(tmp_path, "--mssbench", suite, *options), options[0])


@pytest.mark.slow
def test_attack_a_session_in_which_every_cell_is_skipped_is_no_success(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, 'forward = "torch/eigh"\ndevice = "cuda"')
    done = run(tmp_path, "--mssbench", suite, "--benchmark-json", "out.json", "-q")
    if "unavailable" not in done.stdout and "1 passed" in done.stdout:
        pytest.skip("there is a CUDA device")
    assert done.returncode != 0, done.stdout + done.stderr


@pytest.mark.slow
def test_attack_cells_that_cannot_be_measured_here_end_without_success(tmp_path: Path) -> None:
    """No device is missing: the method has no such function."""
    suite = write_suite(tmp_path, 'forward = "torch/gcp_seb"\nfunction = "isqrt"')
    done = run(tmp_path, "--mssbench", suite, "-q")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "mssbench: no cell was measured" in done.stdout


@pytest.mark.slow
def test_attack_cells_that_are_disabled_on_purpose_are_called_once(
    tmp_path: Path, suite: Path
) -> None:
    done = run(tmp_path, "--mssbench", suite, "--benchmark-disable", "-q")
    assert done.returncode == 0, done.stdout + done.stderr


KEEPS_ITS_FIRST_ANSWER = """
import torch
from mssbench.methods.registry import Root, lookup, register_forward

kept = {}

@register_forward(cite="an attack, 2026", products=lambda: 1.0, yields=("sqrt",))
def keeps(a):
    if a.shape not in kept:
        kept[a.shape] = lookup("forward", "eigh").call(a, frozenset(["sqrt"])).sqrt.clone()
    return Root(sqrt=kept[a.shape])

def test_keeps(mssbench):
    mssbench("torch/keeps", size=8, batch=4)
"""


@pytest.mark.slow
def test_attack_a_method_that_keeps_its_first_answer_is_wrong_here_too(tmp_path: Path) -> None:
    """Its first call is verified and right; the last one that is timed is wrong."""
    (tmp_path / "test_keeps.py").write_text(KEEPS_ITS_FIRST_ANSWER)
    done = run(tmp_path, "-q", "-p", "no:xdist", "test_keeps.py")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "root error" in done.stdout


def test_attack_a_pytest_that_ignores_the_ends_of_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Git is asked for the commit of the facts, and a failure of it must be one."""
    codes: list[int] = []

    def describe() -> dict[str, str]:
        codes.append(subprocess.run(["false"]).returncode)
        return {}

    monkeypatch.setattr(facts, "describe", describe)
    monkeypatch.setattr(pytest_plugin, "_facts", {})
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pytest_plugin._environment()
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert codes == [1]
