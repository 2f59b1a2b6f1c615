"""The commands that hold runs against each other, keep them, and hand them on. See cli.py."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from mssbench.cli.options import (
    Across,
    Also,
    Device,
    Display,
    FailOn,
    GitHub,
    Json,
    OnlyCells,
    OnlyRows,
    Run,
    Set,
    Suite,
    words,
)
from mssbench.cli.output import output, write
from mssbench.compare.verdict import Outcome
from mssbench.errors import MssbenchError, NotComparable


class Inconclusive(StrEnum):
    """What an unclear comparison is for whoever asked."""

    PASS = "pass"  # noqa: S105  (a word, not a secret)
    FAIL = "fail"


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
    from mssbench.cli import compare as compare_
    from mssbench.console.comparison import check_display

    check_display(display)
    with _judging("mssbench compare", told=github, as_json=as_json) as tell:
        found = compare_.compared(base, new, words(across), words(by), only)
        code = found.outcome.exit_code
        tell(found, code)
    shapes = compare_.compared_tables(found, display)
    _end(compare_.compared_data(found, code) if as_json else shapes, code)


def check(
    run: Run,
    baseline: Annotated[str, typer.Option(help="A saved baseline, or the folder of a run.")],
    fail_on: FailOn = [],  # noqa: B006
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
    from mssbench.cli import compare as compare_
    from mssbench.console.comparison import check_display

    check_display(display)
    with _judging("mssbench check", told=github, as_json=as_json) as tell:
        found = compare_.checked(run, baseline, fail_on, words(across), only)
        code = found.outcome.exit_code
        tell(found, code)
    shapes = compare_.checked_tables(found, display)
    _end(compare_.checked_data(found, code) if as_json else shapes, code)


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
    fail_on: FailOn = [],  # noqa: B006
    seed: Annotated[
        str | None, typer.Option(help="Of every random order. [default: another each time]")
    ] = None,
    inconclusive: Annotated[
        Inconclusive, typer.Option(help="What it is when this machine cannot tell.")
    ] = Inconclusive.FAIL,
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Say whether NEW is slower than BASE, from pairs of processes sampled in turn.

    The gate for time: screens all cells, confirms what stands out in fresh pairs, and compares base
    with itself. Exit code: 0 pass, 1 regression, 2 misuse, 3 unclear, 4 cells are broken or gone,
    5 other inputs, 6 nothing was measured, 130 interrupted.
    """
    from mssbench.cli import ab as ab_
    from mssbench.console.comparison import check_display
    from mssbench.console.terminal import make_console
    from mssbench.suite import select

    check_display(display)
    with _judging("mssbench ab", told=github, as_json=as_json) as tell:
        chosen = select.choose(suite, set_, only, None, device, also)
        log, drawn = make_console(stderr=True), seed if seed is not None else secrets.token_hex(4)
        found = ab_.compare(chosen, base, new, also, fail_on, drawn, log)
        code = found.outcome.code(unclear_passes=inconclusive is Inconclusive.PASS)
        tell(found, code)
    _end(ab_.data(found, code) if as_json else ab_.tables(found, display), code)


def export(
    run: Run,
    to: Annotated[str, typer.Option(help="markdown, json, csv, junit, pytest-benchmark, ...")],
    out: Annotated[Path | None, typer.Option(help="File. [default: stdout]")] = None,
    only: OnlyRows = None,
) -> None:
    """Write a run in the format of another tool."""
    from mssbench.cli import export as export_

    text = export_.exported(run, to, only)
    if out is None:
        write(text)
    else:
        output([export_.write(text, out)])


def import_(
    file: Annotated[Path, typer.Argument(help="A JSON of pytest-benchmark.")],
    out: Annotated[Path, typer.Option(help="Folder of the run to be made.")],
) -> None:
    """Make a run of what `pytest --mssbench` or `export --to pytest-benchmark` wrote."""
    from mssbench.cli import export as export_

    output([export_.imported(file, out)])


@baselines.command("save")
def save_baseline(
    run: Run,
    name: Annotated[str | None, typer.Option(help="[default: the name of its suite]")] = None,
    keep: Annotated[int, typer.Option(min=0, help="Older ones of that name to keep.")] = 3,
    as_json: Json = False,
) -> None:
    """Keep a run as a baseline under results/baselines; its raw samples are left out."""
    from mssbench.cli import baseline as baseline_
    from mssbench.results import baselines as baselines_

    found = baselines_.save(run, name, keep)
    output(found if as_json else [baseline_.saved(found)])


@baselines.command("list")
def list_baselines(as_json: Json = False) -> None:
    """List the baselines that there are, the newest of each name first."""
    from mssbench.cli import baseline as baseline_
    from mssbench.results import baselines as baselines_

    found = baselines_.known()
    output(found if as_json else baseline_.table(found))


@baselines.command("show")
def show_baseline(
    name: Annotated[str, typer.Argument(help="Of a baseline.")], as_json: Json = False
) -> None:
    """Show a baseline as `show` does a run."""
    from mssbench.cli import show as shown
    from mssbench.results import baselines as baselines_

    where = (baselines_.find(name), ["method"], ["size"], "seconds_median", None)
    output(shown.show_data(*where) if as_json else shown.show(*where))


@contextmanager
def _judging(title: str, *, told: bool, as_json: bool) -> Iterator[Callable[..., None]]:
    """Tell GitHub of what is found, or of the error that kept it from being found.

    Annotations are read from either stream, and stdout may be JSON: of two tables that do not
    compare as well.
    """
    from mssbench.export import github as github_

    def say(lines: Iterable[str]) -> None:
        for line in lines:
            typer.echo(line, err=True)

    try:
        yield lambda *found: say(github_.report(title, *found)) if told else None
    except MssbenchError as error:
        if told:
            say(github_.refused(title, error))
        if not (as_json and isinstance(error, NotComparable)):
            raise
        typer.echo(f"mssbench: {error}", err=True)
        verdict = {"verdict": Outcome.INCOMPARABLE, "exit_code": error.exit_code}
        _end(verdict | {"reason": str(error)}, error.exit_code)


def _end(what: Any, code: int) -> NoReturn:
    output(what)
    raise typer.Exit(code)
