"""A user who guards a method with the recipe of docs/ci.md, typed as it is printed there."""

import re
from typing import Any

import pytest
from helpers.root import ROOT

PAGE = (ROOT / "docs" / "ci.md").read_text().partition("## A gate in CI")[2]
SUITE = re.findall(r"```toml\n(.*?)```", PAGE, re.S)[0]
RECIPES = dict(re.findall(r"<!-- ci: (\w+) -->\n```sh\n(.*?)```", PAGE, re.S))

LOOP = "for _ in range(iterations):"
THREE_TIMES = ((LOOP, LOOP.replace("iterations", "3 * iterations")),)
WRONG = (("3 * eye", "3.03 * eye"),)  # the same work, and a root that is off by 1.5 %
# A time without any work: no count shows it, so that it needs a limit on time.
WAITING = ((LOOP, f"__import__('time').sleep(0.03)\n    {LOOP}"),)
TIME_LIMIT = "--fail-on 'torch/my_root*:seconds:100%'"


@pytest.fixture
def guarded(user: Any) -> Any:
    """A user with a baseline of a method that works, and the text of that method."""
    user.writes("mine.toml", SUITE)
    for line in RECIPES["baseline"].splitlines():
        answer = user.types(line)
        assert answer.code == 0, answer.text
    assert (user.folder / "results" / "baselines" / "mine" / "table.csv").is_file()
    return user


@pytest.mark.slow
@pytest.mark.timing
def test_a_gate_in_ci(guarded: Any) -> None:
    method = (guarded.folder / "my_root.py").read_text()
    same = gate(guarded)
    assert same.code == 0, same.text
    assert last(same)["verdict"] == "pass"

    guarded.writes("my_root.py", changed(method, THREE_TIMES))
    slower = gate(guarded)
    assert slower.code == 1, slower.text
    assert last(slower)["verdict"] == "regression"
    assert re.search(r"^ worse +torch/my_root ", slower.text, re.M)
    assert re.search(r"operators \S+ -> \S+, allowed", slower.text)
    assert "worse  torch/eigh" not in slower.text

    guarded.writes("my_root.py", changed(method, WRONG))
    wrong = gate(guarded)
    assert wrong.code == 1, wrong.text
    assert re.search(r"^ worse +torch/my_root ", wrong.text, re.M)
    assert re.search(r"root_error \S+ -> \S+, allowed", wrong.text)
    assert not re.search(r"operators \S+ -> \S+, allowed", wrong.text)

    guarded.writes("my_root.py", changed(method, WAITING))
    assert gate(guarded).code == 0  # times decide only where a limit was set
    late = guarded.types(f"{RECIPES['gate'].splitlines()[-1]} {TIME_LIMIT}")
    assert late.code == 1, late.text
    assert re.search(r"^ slower +torch/my_root ", late.text, re.M)

    guarded.writes("my_root.py", method)
    assert gate(guarded).code == 0


def gate(user: Any) -> Any:
    """What the last of the commands says that CI runs; those before it must succeed."""
    *before, check = RECIPES["gate"].splitlines()
    for line in before:
        answer = user.types(line)
        assert answer.code == 0, answer.text
    return user.types(check)


def changed(text: str, changes: tuple[tuple[str, str], ...]) -> str:
    """The method with some lines replaced, each of which must be there."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def last(answer: Any) -> dict[str, str]:
    """The line for scripts, by its words."""
    line = answer.text.splitlines()[-1]
    assert line.startswith("mssbench: ")
    return dict(word.split("=") for word in line.split()[1:])
