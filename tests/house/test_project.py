"""What people expect of a project: its files agree with the code, and its actions are pinned."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers.root import ROOT
from house.test_layers import FLOORS

WORKFLOWS = sorted((ROOT / ".github").rglob("*.yml"))
NAMES = [str(path.relative_to(ROOT)) for path in WORKFLOWS]
ITEM = re.compile(r"`([^`]+)`")


def test_the_table_of_packages_is_the_one_that_is_checked() -> None:
    rows = re.findall(r"^\| (\d) \| (.+?) \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert [(int(number), tuple(ITEM.findall(names))) for number, names in rows] == [
        *enumerate(FLOORS, 1)
    ]


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_what_a_page_links_to_and_names_is_there(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.S)
    linked = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    assert all((ROOT / path).exists() for path in linked), linked
    if page == "CONTRIBUTING.md":
        ours = re.compile(r"(mssbench|tests|suites)/\S+")
        named = [path for path in ITEM.findall(text) if ours.fullmatch(path)]
        assert len(named) > 5
        assert all("NAME" in path or (ROOT / path).exists() for path in named), named


@pytest.mark.parametrize("path", WORKFLOWS, ids=NAMES)
def test_a_workflow_is_yaml_and_every_action_of_others_is_pinned(path: Path) -> None:
    text = path.read_text()
    assert yaml.safe_load(text)
    for action in re.findall(r"^\s*(?:- )?uses: (\S+)", text, re.M):
        assert action.startswith("./") or re.search(r"@[0-9a-f]{40}$", action), action


def test_the_versions_of_python_are_the_same_wherever_they_are_said() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [c.rpartition(" ")[2] for c in project["classifiers"] if "Python :: 3." in c]
    assert project["requires-python"] == f">={named[0]}"
    first, last = (int(version.removeprefix("3.")) for version in (named[0], named[-1]))
    assert named == [f"3.{minor}" for minor in range(first, last + 1)]

    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert jobs["test"]["strategy"]["matrix"]["python"] == named
    assert f"Python {named[0]} to {named[-1]}." in (ROOT / "README.md").read_text()


def test_a_release_is_tried_before_it_is_published() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]
    assert jobs["publish"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    done = " ".join(step.get("run", "") for step in jobs["build"]["steps"])
    order = ("python -m build", "twine check", "CHANGELOG.md", "fresh/bin/mssbench run smoke")
    places = [done.index(words) for words in order]
    assert places == sorted(places)


def test_a_report_of_a_bug_comes_with_the_facts_of_the_machine() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    (doctor,) = (part for part in form["body"] if part.get("id") == "doctor")
    assert "mssbench doctor --json" in doctor["attributes"]["label"]
    assert doctor["validations"]["required"]


def test_the_citation_has_what_its_format_asks_for() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(found)


def test_the_formatter_formats() -> None:
    """A few tables may keep their own layout; beyond that, one style holds for the repository."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "*.py"], capture_output=True, text=True, check=True
    )
    mark = "fmt: " + "skip"
    found = [
        name
        for name in listed.stdout.split()
        if (ROOT / name).exists()
        for line in (ROOT / name).read_text("utf-8").splitlines()
        if mark in line
    ]
    assert len(found) <= 15, found
