"""The guide docs/plugins.md, followed to the letter: one file, then a package of its own."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from helpers.root import ROOT

import mssbench

GUIDE = (ROOT / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.S)
METHOD, CONTRACT = (text for language, text in BLOCKS if language == "python")
SUITE, PACKAGE = (text for language, text in BLOCKS if language == "toml")
ALSO, INSTALLED = (text for language, text in BLOCKS if language == "sh")
SMALL = ("--effort", "smoke", "--set", "size=8")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of the guide in an empty folder."""
    for name, text in {
        "my_method.py": METHOD,
        "mine.toml": SUITE,
        "pyproject.toml": PACKAGE,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def installed(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages with the guide's among them, built offline with what is here."""
    for tool in ("hatchling", "pip"):  # asked without an import: pip's switches distutils for good
        if not packages_distributions().get(tool):
            pytest.skip(f"{tool} is not installed")
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(site)]
    done = run(project, "pip", "install", *options, ".")
    assert done.returncode == 0, done.stderr
    return site


def run(folder: Path, *command: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """`python -m COMMAND` in a folder, with `path` in front of what Python searches."""
    paths = filter(None, (path, os.environ.get("PYTHONPATH", "")))
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )


def check(folder: Path) -> None:
    """The run has every row of the suite, and the method's root is right."""
    table = mssbench.load(folder / "results" / "mine")
    visser = table[table["forward"] == "visser"]
    assert sorted(visser["iterations"].unique()) == [10, 20, 40]
    assert set(visser["backward"]) == {"none", "loewner"}
    converged = visser[visser["iterations"] == 40]
    assert set(converged["status"]) == {"ok"}
    assert converged["root_error"].max() < 1e-2


def test_the_method_is_short() -> None:
    assert len(METHOD.splitlines()) <= 60


@pytest.mark.slow
def test_one_file_is_enough(project: Path) -> None:
    done = run(project, *ALSO.split(), *SMALL)
    assert done.returncode == 0, done.stderr
    check(project)


@pytest.mark.slow
def test_an_installed_package_needs_no_flag(installed: Path, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere")  # where no file of the method lies
    (folder / "mine.toml").write_text(SUITE)
    install, listing, measuring = (command.split() for command in INSTALLED.split(" && "))
    assert install == ["pip", "install", "."]
    listed = run(folder, *listing, "--json", path=str(installed))
    found = {r["backend"]: r for r in json.loads(listed.stdout)["rows"]}
    for library in ("torch", "numpy", "cupy"):
        assert found[f"{library}/visser"]["parameters"] == ["iterations=20"]
    done = run(folder, *measuring, *SMALL, path=str(installed))
    assert done.returncode == 0, done.stderr
    check(folder)


@pytest.mark.slow
def test_its_contract_is_asked_for_by_name(project: Path) -> None:
    (project / "test_it.py").write_text(CONTRACT)
    done = run(project, "pytest", "-q", "-p", "no:cacheprovider", "test_it.py")
    assert done.returncode == 0, done.stdout
    assert "15 passed" in done.stdout


def test_without_the_package_the_suite_is_refused_by_name(project: Path) -> None:
    done = run(project, "mssbench", "run", "mine.toml")
    assert done.returncode == 2
    assert "Unknown forward 'visser'" in done.stderr
