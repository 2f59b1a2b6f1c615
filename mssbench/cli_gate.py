"""The commands that hold runs against each other, keep them, and hand them on. See cli.py."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mssbench.options import (
    Across,
    Also,
    Device,
    Display,
    GitHub,
    Json,
    OnlyCells,
    OnlyRows,
    Run,
    Set,
    Suite,
    words,
)
from mssbench.printing import output, write

baselines = typer.Typer(help="Keep runs that others are held against.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add them to the command line."""
    for command, name in (
        (compare, "compare"), (check, "check"), (ab, "ab"), (export, "export"),
        (import_, "import"),
    ):  # fmt: skip
        app.command(name)(command)
    app.add_typer(baselines, name="baseline")


def compare(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Folder of a run.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of another run.")],
    by: Annotated[str, typer.Option(help="Key columns of which means are taken.")] = "",
    only: OnlyRows = None,
    across: Across = "",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Say of every row of two runs what became of it, from intervals and never from points alone.

    It describes: of two runs minutes or months apart no verdict on time is final, see `ab`. Exit
    code: 0 fine, 2 misuse, 5 not comparable, 6 nothing was measured on both sides.
    """
    from mssbench.commands import compare as command

    command.check_display(display)
    found = command.compared(base, new, words(across), words(by), only)
    if github:
        _notify("mssbench compare", found.outcome, found.comparison)
    output(command.compared_data(found) if as_json else command.compared_tables(found, display))
    raise typer.Exit(found.outcome.exit_code)


def check(
    run: Run,
    baseline: Annotated[str, typer.Option(help="A saved baseline, or the folder of a run.")],
    fail_on: Annotated[
        list[str],
        typer.Option(metavar="[METHODS:]COLUMN:LIMIT", help="seconds:50%, gradient_error:3x, ..."),
    ] = [],  # noqa: B006
    only: OnlyRows = None,
    across: Across = "",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Hold a run against a baseline: status, errors and counts decide, and time only if asked to.

    Exit code: 0 pass, 1 regression, 2 misuse, 4 rows are broken or gone, 5 not comparable,
    6 nothing was measured.
    """
    from mssbench.commands import compare as command

    command.check_display(display)
    found = command.checked(run, baseline, fail_on, words(across), only)
    if github:
        _notify("mssbench check", found.outcome, found)
    output(command.checked_data(found) if as_json else command.checked_tables(found, display))
    raise typer.Exit(found.outcome.exit_code)


def ab(
    suite: Suite,
    base: Annotated[
        str, typer.Option(help="A Python that has mssbench, a revision, or a method of the suite.")
    ],
    new: Annotated[str, typer.Option(help="The same, for the other side.")],
    set_: Set = [],  # noqa: B006
    only: OnlyCells = None,
    device: Device = None,
    also: Also = [],  # noqa: B006
    seed: Annotated[str, typer.Option(help="Of every random order.")] = "0",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Say whether NEW is slower than BASE, from pairs of processes sampled in turn.

    The gate for time: screens all cells, confirms what stands out in fresh pairs, and compares base
    with itself. Exit code: 0 pass, 1 regression, 2 misuse, 3 unclear, 4 cells are broken or gone,
    6 nothing was measured, 130 interrupted.
    """
    from mssbench.commands import ab as command
    from mssbench.commands import compare as shared
    from mssbench.commands import run as runs
    from mssbench.console import make_console

    shared.check_display(display)
    chosen = runs.choose(suite, set_, only, None, device, also)
    found = command.compare(chosen, base, new, also, seed, make_console(stderr=True))
    if found is None:
        text, code = command.interrupted()
        output([text])
        raise typer.Exit(code)
    if github:
        _notify("mssbench ab", found.outcome, found)
    output(command.data(found) if as_json else command.tables(found, display))
    raise typer.Exit(found.outcome.exit_code)


def export(
    run: Run,
    to: Annotated[str, typer.Option(help="markdown, json, csv, junit, pytest-benchmark, ...")],
    out: Annotated[Path | None, typer.Option(help="File. [default: stdout]")] = None,
    only: OnlyRows = None,
) -> None:
    """Write a run in the format of another tool."""
    from mssbench.commands import export as command

    text = command.exported(run, to, only)
    if out is None:
        write(text)
    else:
        output([command.write(text, out)])


def import_(
    file: Annotated[Path, typer.Argument(help="A JSON of pytest-benchmark.")],
    out: Annotated[Path, typer.Option(help="Folder of the run to be made.")],
) -> None:
    """Make a run of what `pytest --mssbench` or `export --to pytest-benchmark` wrote."""
    from mssbench.commands import export as command

    output([command.imported(file, out)])


@baselines.command("save")
def save_baseline(
    run: Run,
    name: Annotated[str | None, typer.Option(help="[default: the name of its suite]")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Older ones of that name to keep.")] = 3,
    as_json: Json = False,
) -> None:
    """Keep a run as a baseline under results/baselines; its raw samples are left out."""
    from mssbench.commands import baseline as command

    found = command.save(run, name, keep)
    output(found if as_json else [command.saved(found)])


@baselines.command("list")
def list_baselines(as_json: Json = False) -> None:
    """List the baselines that there are, the newest of each name first."""
    from mssbench.commands import baseline as command

    found = command.known()
    output(found if as_json else command.table(found))


@baselines.command("show")
def show_baseline(
    name: Annotated[str, typer.Argument(help="Of a baseline.")], as_json: Json = False
) -> None:
    """Show a baseline as `show` does a run."""
    from mssbench.commands import baseline as command
    from mssbench.commands import show as shown

    where = (command.find(name), ["method"], ["size"], "seconds_median", None)
    output(shown.show_data(*where) if as_json else shown.show(*where))


def _notify(title: str, outcome: Any, found: Any) -> None:
    """Tell GitHub; its annotations are read from either stream, and stdout may be JSON."""
    from mssbench import github

    for line in github.report(title, outcome, found.verdicts, found.changes):
        typer.echo(line, err=True)
