"""The table of commands: what `--help` lists without imports, and what an invocation imports."""

import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import typer
from helpers.pace import of_process, too_slow
from helpers.tables import called
from typer.testing import CliRunner

from mssbench.cli import main

MODULES = sorted(f"mssbench.cli.{module}" for module, _ in main.COMMANDS.values())


def imported_by(*arguments: str) -> set[str]:
    """The modules of commands that an invocation imports in a fresh interpreter."""
    code = (
        f"import sys\nsys.argv = ['mssbench', *{arguments!r}]\n"
        "from mssbench.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print('imported', *({set(MODULES)!r} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


def documented(name: str) -> str:
    """The first sentence of a command's docstring, or the help of a command of several."""
    module, _ = main.COMMANDS[name]
    command = import_module(f"mssbench.cli.{module}").command
    text = command.info.help if isinstance(command, typer.Typer) else command.__doc__
    return re.split(r"(?<=\.)\s", text.strip())[0]


@pytest.mark.parametrize("name", main.COMMANDS)
def test_a_help_line_is_the_first_sentence_of_its_command(name: str) -> None:
    assert main.COMMANDS[name][1] == documented(name)


def test_every_module_of_the_command_line_is_a_command_or_shared_by_commands() -> None:
    files = {path.stem for path in Path(main.__file__).parent.glob("*.py")}
    shared = {"__init__", "main", "judging", "options", "output", "saving"}
    assert files - shared == {module for module, _ in main.COMMANDS.values()}


@pytest.mark.parametrize("arguments", [("--help",), (), ("--version",), ("frobnicate",)])
def test_listing_the_commands_imports_none_of_them(arguments: tuple[str, ...]) -> None:
    assert imported_by(*arguments) == set()


def test_an_invocation_imports_its_own_command_alone() -> None:
    assert imported_by("merge", "--help") == {"mssbench.cli.merge"}
    assert imported_by("list", "nonsense") == {"mssbench.cli.listing"}


def test_help_is_that_of_the_commands_themselves(monkeypatch, capsys) -> None:
    class Eager(main.LazyGroup):
        def __init__(self, **attributes):
            super().__init__(**attributes)
            self.commands.update({name: main.load(name) for name in main.COMMANDS})

    listed = called(capsys, "--help")
    monkeypatch.setattr(main.app.info, "cls", Eager)
    assert called(capsys, "--help") == listed
    assert listed[0] == 0
    positions = [listed[1].index(f"│ {name} ") for name in main.COMMANDS]
    assert positions == sorted(positions)  # in the order of the table


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_shows_its_own_help(name: str, capsys) -> None:
    code, out, err = called(capsys, name, "--help")
    assert (code, err) == (0, "")
    assert f"mssbench {name}" in out
    assert documented(name).split()[0] in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'."),
        (["shwo"], "Did you mean 'show'?"),
        (["baseline", "lost"], "No such command 'lost'. Did you mean 'list'?"),
    ],
)
def test_a_command_that_does_not_exist_is_misuse(arguments, message, capsys) -> None:
    code, out, err = called(capsys, *arguments)
    assert (code, out) == (2, "")
    assert message in re.sub(r"[\s│]+", " ", err)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("mssbench ", list(main.COMMANDS)),
        ("mssbench c", ["claims", "compare", "check"]),
        ("mssbench baseline s", ["save", "show"]),
        ("mssbench merge --m", ["--mixed"]),
    ],
)
def test_a_shell_completes_commands_and_their_options(words, completed) -> None:
    position = len(words.split()) - (not words.endswith(" "))
    variables = {
        "_MSSBENCH_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(position),
    }
    done = CliRunner().invoke(main.app, [], prog_name="mssbench", env=variables)
    assert done.stdout.split() == completed


def test_the_app_runs_in_a_test_runner(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main.app, ["baseline", "list", "--json"])
    assert done.exit_code == 0
    assert json.loads(done.stdout)["rows"] == []


def test_help_takes_at_most_03_s() -> None:
    assert not too_slow(0.3, lambda: of_process("-m", "mssbench", "--help"))


def test_a_paragraph_of_a_help_is_as_wide_as_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    _, out, _ = called(capsys, "run", "--help")
    (line,) = [line for line in out.splitlines() if "Running again resumes." in line]
    assert line.strip().endswith("(what was measured is saved).")
