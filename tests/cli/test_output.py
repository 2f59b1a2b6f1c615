"""What `--json` prints: one shape for all commands."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import stand_in, write_suite
from helpers.tables import called, row, write

from mssbench.cli import ab, doctor, listing, main, selftest
from mssbench.cli.output import JSON_SCHEMA, output_json
from mssbench.compare.judgement import Judged
from mssbench.compare.verdict import Outcome
from mssbench.methods import registry
from mssbench.run import training
from mssbench.selftest.checks import Report

CLAIM = """
[[claim]]
claim = "It is accurate."
source = "nobody, 2020"
value = "root_error"
left = "forward == 'eigh'"
relation = "<"
right = 1.0
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a suite, runs, and a file of methods, where nothing takes long."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "place").mkdir()
    write_suite(tmp_path / "place", "forward = 'numpy/eigh'")
    for name, size in (("base", 16), ("new", 16), ("other", 64)):
        run = write(tmp_path / name, row(1.0, root=1e-6, size=size, noise="quiet", passes=2))
        (run / "suite.toml").write_text(f'name = "tiny"\n{CLAIM}')
    stand_in(tmp_path)

    nothing = Judged((), Outcome.PASS)
    monkeypatch.setattr(ab, "compare", lambda *_: nothing)
    monkeypatch.setattr(doctor, "examine", lambda: {"findings": []})
    monkeypatch.setattr(selftest, "examine", lambda *_: Report("cpu", (), 0.01, 1.0))
    monkeypatch.setattr(training, "run", lambda *_, **__: [{"status": "ok"}])
    return tmp_path


# By the words that the envelope has for a command: a command line that answers to --json.
INVOCATIONS = {
    "run": ["run", "SUITE", "--out", "measured", "--python", "./stand_in"],
    "run --dry-run": ["run", "SUITE", "--dry-run"],
    "recommend": ["recommend", "--size", "16", "--batch", "64", "base"],
    "train": ["train", "train_smoke", "--out", "trained"],
    "show": ["show", "base"],
    "pareto": ["pareto", "base"],
    "claims": ["claims", "base"],
    **{f"list {kind}": ["list", kind] for kind in listing.KINDS},
    "list suite-schema": ["list", "suite-schema"],
    "test": ["test", "mine.py"],
    "doctor": ["doctor"],
    "selftest": ["selftest"],
    "merge": ["merge", "base", "other", "--out", "both"],
    "compare": ["compare", "base", "new"],
    "check": ["check", "new", "--baseline", "base"],
    "ab": ["ab", "SUITE", "--base", "x", "--new", "y"],
    "baseline save": ["baseline", "save", "base"],
    "baseline list": ["baseline", "list"],
    "baseline show": ["baseline", "show", "base"],
}


def answer(capsys: Any, place: Path, words: list[str]) -> dict[str, Any]:
    suite = str(next((place / "place").glob("*.toml")))
    _, out, err = called(capsys, *[suite if w == "SUITE" else w for w in words], "--json")
    assert out, err
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def with_json(name: str, command: Any) -> set[str]:
    """The commands with an option --json, of one command or of a group of them."""
    if hasattr(command, "commands"):
        return {word for n, c in command.commands.items() for word in with_json(f"{name} {n}", c)}
    return {name} if any("--json" in p.opts for p in command.params) else set()


def test_no_command_with_json_is_left_out_of_these_tests() -> None:
    every = set().union(*(with_json(name, main.load(name)) for name in main.COMMANDS))
    assert every  # else the options were not found
    assert every == {name if name in every else name.split()[0] for name in INVOCATIONS}


@pytest.mark.parametrize("command", INVOCATIONS)
def test_every_command_answers_in_the_same_envelope(
    command: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with registry.temporarily():
        if command == "test":
            called(capsys, "new", "mine.py")
        found = answer(capsys, place, INVOCATIONS[command])
    assert list(found)[:2] == ["schema", "command"]
    assert (found["schema"], found["command"]) == (JSON_SCHEMA, command)
    assert len(found) > 2
    assert isinstance(found.get("rows", []), list)  # rows are a list everywhere, never a count


def test_tables_that_do_not_compare_are_told_in_the_envelope(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, place, ["compare", "base", "other"])
    assert (found["schema"], found["command"]) == (JSON_SCHEMA, "compare")
    assert found["verdict"] == "incomparable"


@pytest.mark.parametrize("key", ["schema", "command"])
def test_a_command_cannot_have_a_key_of_the_envelope_for_itself(key: str) -> None:
    with pytest.raises(AssertionError, match=key):
        output_json("show", {key: 1})
