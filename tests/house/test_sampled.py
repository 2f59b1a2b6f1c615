"""What the mark `sampled` leaves of the cases of a test, see helpers/sampled.py."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.root import TESTS as FOLDER

TESTS = """
import pytest

@pytest.mark.sampled(3)
@pytest.mark.parametrize("i", range(8))
def test_some(i): pass

@pytest.mark.sampled(1, slow=1)
@pytest.mark.parametrize("i", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
def test_one(i): pass

@pytest.mark.sampled(slow=2)
@pytest.mark.slow
@pytest.mark.parametrize("i", range(5))
def test_slow(i): pass

@pytest.mark.sampled(9)
@pytest.mark.parametrize("i", range(2))
def test_all(i): pass

@pytest.mark.parametrize("i", range(2))
def test_plain(i): pass
"""
SETTINGS = "[pytest]\nmarkers =\n    sampled\n    slow\n    exhaustive\n    gate\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sampled")
    shutil.copy(FOLDER / "helpers" / "sampled.py", folder)
    (folder / "conftest.py").write_text('pytest_plugins = ["sampled"]\n')
    (folder / "test_it.py").write_text(TESTS)
    (folder / "pytest.ini").write_text(SETTINGS)
    return folder


def collected(folder: Path, marks: str) -> list[str]:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-m",
            marks,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return [line.partition("::")[2] for line in done.stdout.splitlines() if "::" in line]


def of(names: list[str], test: str) -> list[str]:
    return [name for name in names if name.startswith(f"{test}[")]


def test_a_few_cases_run_by_default_and_each_case_has_its_turn(folder: Path) -> None:
    default = collected(folder, "not slow and not exhaustive")
    assert len(of(default, "test_some")) == 3
    assert len(of(default, "test_one")) == 1
    assert len(of(default, "test_all")) == len(of(default, "test_plain")) == 2
    assert collected(folder, "not slow and not exhaustive") == default

    slow = collected(folder, "slow and not exhaustive")
    assert len(of(slow, "test_some")) == 5
    assert len(of(slow, "test_one")) == 1
    assert len(of(slow, "test_slow")) == 2
    exhaustive = collected(folder, "exhaustive")
    assert len(of(exhaustive, "test_one")) == 1
    assert len(of(exhaustive, "test_slow")) == 3
    assert sorted([*default, *slow, *exhaustive]) == sorted(collected(folder, ""))
