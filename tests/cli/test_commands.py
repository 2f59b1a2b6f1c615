"""The table of commands: what `--help` lists without imports, and what an invocation imports."""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import typer
from helpers.pace import of_process, too_slow
from helpers.root import ROOT
from helpers.tables import called
from typer.testing import CliRunner

from mssbench.cli import main
from mssbench.compare import tables
from mssbench.console import comparison
from mssbench.export import FORMATS
from mssbench.results.labels import label
from mssbench.suite import shipped, suite

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
    shared = {"__init__", "main", "judging", "notebook", "options", "output", "saving", "streams"}
    shared |= {"measuring", "on_slurm", "slurm_task", "train_on_slurm"}
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


def examples_of(command) -> list[str]:
    """The command lines at the end of a command's help."""
    lines = (command.epilog or "").splitlines()
    return [line for line in lines if line.startswith("mssbench ")]


def every_command():
    """Each command by its words, those within a group like `baseline` included."""
    for name in main.COMMANDS:
        command = main.load(name)
        yield name, command
        for inner, sub in getattr(command, "commands", {}).items():
            yield f"{name} {inner}", sub


@pytest.mark.parametrize(("words", "command"), [pytest.param(*x, id=x[0]) for x in every_command()])
def test_the_help_of_every_command_has_an_example_that_its_parser_takes(words, command) -> None:
    lines = examples_of(command)
    assert 1 <= len(lines) <= 2
    for line in lines:
        parsed = parse(line)
        assert parsed[0] == words or words == "baseline"
        assert len(line) <= 78, "a narrow terminal would break it in two"


def parse(line: str) -> tuple[str, dict]:
    """The words of the command that a line calls, and its parameters. Raises a usage error."""
    _, *words = shlex.split(line)
    group: Any = typer.main.get_command(main.app)
    context = group.make_context("mssbench", words)
    name, command, rest = group.resolve_command(context, words)
    while hasattr(command, "commands"):
        inner, command, rest = command.resolve_command(context, rest)
        name = f"{name} {inner}"
    return name, command.make_context(name, rest, parent=context).params


PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
# Options that the documentation gives with one of these values.
VALUES = {"--across": tables.ACROSS, "--display": comparison.DISPLAYS, "--to": FORMATS}


def documented_lines() -> list[str]:
    """Each command line of mssbench in a block of code of the documentation.

    Blocks are commands of a shell, steps of a workflow, and examples, in which a command follows a
    dollar sign.
    """
    found = []
    for file in PAGES:
        blocks = re.findall(r"^```(sh|yaml|text)\n(.*?)^```", file.read_text("utf-8"), re.S | re.M)
        for language, block in blocks:
            for line in block.replace("\\\n", " ").splitlines():
                begins = {"sh": "", "yaml": r"\s*- (run: )?", "text": r"\$ "}[language]
                if (start := re.match(begins, line)) and "mssbench " in line:
                    found += calls_of(line[start.end() :])
    return found


def calls_of(line: str) -> list[str]:
    """The calls of mssbench alone in a line of a shell, such as one before `||`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for word in lexer:
        if re.fullmatch(r"[();<>|&]+", word):
            found.append([])
        else:
            found[-1].append(word)
    return [shlex.join(words) for words in found if words[:1] == ["mssbench"]]


def test_calls_are_found_beside_other_commands_and_comments() -> None:
    line = "cd x && mssbench run smoke --out 'a b' || [ $? -eq 4 ]  # mssbench show"
    assert calls_of(line) == ["mssbench run smoke --out 'a b'"]
    assert calls_of("pip install mssbench  # until it is on PyPI") == []
    assert len(documented_lines()) > 60
    assert "mssbench check results/ci --baseline ci" in documented_lines()  # of README's workflow


def inline_code() -> list[str]:
    """Each piece of code within a sentence of the documentation."""
    texts = (file.read_text(encoding="utf-8") for file in PAGES)
    sentences = (re.sub(r"```.*?```", "", text, flags=re.S) for text in texts)
    pieces = {piece for text in sentences for piece in re.findall(r"`([^`]+)`", text)}
    return sorted(" ".join(piece.split()) for piece in pieces)


def inline_lines() -> list[str]:
    """Each command within a sentence that has arguments; a name alone only mentions a command."""
    calls = [piece for piece in inline_code() if piece.startswith("mssbench ")]
    return [
        line.partition(" > ")[0]
        for line in calls
        if len(line.split()) > 2 and line not in {f"mssbench {name}" for name, _ in every_command()}
    ]


@pytest.mark.parametrize("line", sorted({*documented_lines(), *inline_lines()}))
def test_a_command_in_the_documentation_is_one_that_the_parser_takes(line) -> None:
    parse(line)


@pytest.mark.parametrize("line", sorted({*documented_lines(), *inline_lines()}))
def test_a_suite_in_the_documentation_comes_with_mssbench_or_is_a_file(line) -> None:
    named = parse(line)[1].get("suite", "SUITE")
    known = {**shipped.of_runs(), **shipped.of_trainings()}
    assert named in known or named == "SUITE" or named.endswith(".toml")


def flags_of_commands() -> set[str]:
    """The options of all commands, and those of the command line itself."""
    every = [typer.main.get_command(main.app), *(command for _, command in every_command())]
    return {flag for command in every for option in command.params for flag in option.opts}


def test_an_option_in_a_sentence_of_the_documentation_exists() -> None:
    named = {code.split()[0] for code in inline_code() if code.startswith("--")}
    assert len(named) > 20
    assert not named - flags_of_commands()


def wrong_values(code: str) -> list[str]:
    """The words that a piece of code gives to an option of VALUES, which does not take them."""
    given = re.findall(rf"({'|'.join(VALUES)})[ =]([a-z][a-z_,-]*)", code)
    return [word for flag, words in given for word in words.split(",") if word not in VALUES[flag]]


def test_the_values_of_options_in_the_documentation_are_taken() -> None:
    pieces = [*documented_lines(), *inline_code()]
    assert any("--across" in piece for piece in pieces)
    assert [piece for piece in pieces if wrong_values(piece)] == []


def test_a_value_that_an_option_does_not_take_is_found() -> None:
    assert wrong_values("--across code,problem,machine") == ["code"]
    assert wrong_values("mssbench export RUN --to json --out FILE") == []


@pytest.mark.parametrize(
    "line", [x for x in (*documented_lines(), *main.load("ab").epilog.splitlines()) if " ab " in x]
)
def test_an_example_of_ab_names_methods_that_its_suite_has(line) -> None:
    _, given = parse(line)
    sides = [given["base"], given["new"]]
    if all("/eigh" in side or "/svd" in side for side in sides):
        cells = suite.load(suite.find(given["suite"]), auto="cpu").cells
        assert {*sides} <= {label(asdict(cell)) for cell in cells}


def test_no_help_imports_what_only_measuring_and_reading_need() -> None:
    """One process asks every command for its help; each package takes half a second or more."""
    code = (
        "import sys; from mssbench.cli import main\n"
        "for name in main.COMMANDS:\n"
        "    sys.argv = ['mssbench', name, '--help']\n"
        "    try: main.main()\n"
        "    except SystemExit as stop: assert not stop.code, (name, stop.code)\n"
        "    heavy = {'torch', 'cupy', 'jax', 'scipy', 'pandas', 'pyarrow'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
