"""What a user gets: the wheel, its suites and data, the README's commands, the public names."""

import html
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers.root import ROOT

import mssbench
from mssbench.suite import shipped

README = (ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else ""
DOCS = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_public_names_are_there() -> None:
    for name in mssbench.__all__:
        assert getattr(mssbench, name) is not None
    assert set(mssbench.__all__) <= set(dir(mssbench))
    with pytest.raises(AttributeError, match="no attribute 'sqrt'"):
        mssbench.sqrt  # noqa: B018


def test_the_version_is_said_once() -> None:
    """The build takes it from the package; the wheel below has it in its name."""
    assert "version" not in PROJECT["project"]
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "mssbench/__init__.py"


def test_the_wheel_has_suites_data_and_types(tmp_path: Path) -> None:
    """Built offline with what is installed here; skipped where the build back end is not."""
    pytest.importorskip("hatchling")
    code = "from hatchling.build import build_wheel; import sys; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"mssbench-{mssbench.__version__}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    folder = "mssbench/methods/kernels"
    kernels = {f"{folder}/{f.name}" for f in (ROOT / folder).glob("*.cuh")}
    assert len(kernels) == 7
    assert kernels < names
    for name in shipped.of_runs():
        assert f"mssbench/suites/{name}.toml" in names
    stored = ("problems/data/convfeat_64x49.npz", "problems/data/captured_64x49.npz")
    for name in ("py.typed", *stored, "methods/forward/eigh.py", "worker.py"):
        assert f"mssbench/{name}" in names
    assert not [n for n in names if n.startswith(("tests/", "results/"))]


def test_suites_are_found_in_an_installed_wheel_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site" / "mssbench"
    (package / "suites").mkdir(parents=True)
    (package / "suites" / "only.toml").write_text("")
    monkeypatch.setattr(shipped, "files", lambda _: package)
    assert list(shipped.of_runs()) == ["only"]


def test_suites_are_found_in_a_checkout() -> None:
    assert {"smoke", "quick", "standard", "precision"} <= set(shipped.of_runs())


def test_constraints_pin_what_the_project_needs_directly() -> None:
    pinned = re.findall(r"^([\w-]+)==", (ROOT / ".ci/constraints.txt").read_text(), re.M)
    names = {name.lower() for name in pinned}
    project = PROJECT["project"]
    wanted = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        wanted += extra
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)
        assert name is not None
        assert name[0].lower() in names, f"{requirement} is not pinned in .ci/constraints.txt"


def test_the_readme_says_the_commands_that_ci_runs() -> None:
    blocks = re.findall(r"<!-- ci: (\w+) -->\n```\w*\n(.*?)```", README, re.S)
    commands = dict(blocks)
    assert set(commands) == {"run", "test"}
    for command in commands.values():
        assert "pip install -c .ci/constraints.txt" in command
    assert "mssbench run quick" in commands["run"]
    assert "pytest" in commands["test"]


def test_the_page_on_the_table_names_every_column() -> None:
    from mssbench.records.schema import SCHEMA

    for column in SCHEMA:
        assert f"`{column.name}`" in DOCS["table"], f"docs/table.md has no column {column.name}"


def test_the_page_on_suites_names_every_suite() -> None:
    for name in shipped.of_runs():
        assert f"| `{name}` |" in DOCS["suites"], f"docs/suites.md has no suite {name}"


def test_the_readme_is_short_and_its_picture_is_of_the_same_run() -> None:
    """The picture is wider, so that its bars are longer; what a line ends with is the same."""
    assert len(README.splitlines()) <= 120
    picture = (ROOT / "docs" / "quick.svg").read_text()
    letters = html.unescape(re.sub(r"<[^>]+>", "", picture)).replace("\xa0", " ")
    text = README.partition("mssbench run quick\n```\n\n```\n")[2].partition("```")[0]

    lines = [line for line in text.splitlines() if "sqrtm(" in line or re.search(r" [mu]s  ", line)]
    assert len(lines) > 3
    for line in lines:
        for word in line.split():
            if "█" not in word:
                assert word in letters, line


def test_the_picture_fetches_nothing() -> None:
    picture = (ROOT / "docs" / "quick.svg").read_text()
    hosts = set(re.findall(r"https?://[\w.]+", picture))
    assert hosts <= {"http://www.w3.org", "https://www.textualize.io"}
    assert "url(http" not in picture


def readme_code(language: str, first_words: str) -> str:
    """The code block of the README that begins so."""
    found = re.findall(rf"```{language}\n({re.escape(first_words)}.*?)```", README, re.S)
    assert len(found) == 1, f"README has {len(found)} blocks that begin with {first_words!r}"
    return str(found[0])


def test_the_readme_s_own_code_runs() -> None:
    names: dict[str, Any] = {}
    exec(readme_code("python", "import torch, mssbench"), names)
    assert names["a"].grad.isfinite().all()
