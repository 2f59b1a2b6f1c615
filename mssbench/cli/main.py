"""The command line: parse, call, print, exit. With cli_gate.py, the only one that exits."""

import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from mssbench import __version__
from mssbench.cli import judging
from mssbench.cli.options import Also, Device, Json, OnlyCells, Run, Set, Suite, words
from mssbench.cli.output import output
from mssbench.errors import MssbenchError, NotComparable

app = typer.Typer(
    help="Which differentiable batched matrix square root is faster, and how wrong is each one?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"mssbench {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options that stand before any command."""


@app.command()
def run(
    suite: Suite,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. [default: results/SUITE]")
    ] = None,
    set_: Set = [],  # noqa: B006
    only: OnlyCells = None,
    effort: Annotated[
        str | None, typer.Option(help="How long to sample: smoke, quick, standard or rigorous.")
    ] = None,
    device: Device = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything again.")] = False,
    retry: Annotated[
        str,
        typer.Option(
            metavar="STATUS,..", help="Measure cells again that ended so: timeout,crashed."
        ),
    ] = "",
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Stop after this time; values that an axis names first are measured first.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the cells, estimate time and memory, and stop.")
    ] = False,
    also: Also = [],  # noqa: B006
    python: Annotated[
        str | None, typer.Option(help="Interpreter for the workers; it needs mssbench.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what is missing of SUITE, then show the table.

    Running again resumes. Exit code: 0 fine, 2 misuse, 4 a cell crashed, overstayed or ran out of
    memory, 6 nothing could be measured, 130 interrupted (what was measured is saved).
    """
    from mssbench.cli import run as command
    from mssbench.console.terminal import make_console
    from mssbench.suite import forecast, select

    chosen = select.choose(suite, set_, only, effort, device, also, elsewhere=dry_run)
    if dry_run:
        output(forecast.forecast_data(chosen) if as_json else command.forecast(chosen))
        return
    path, again = out or Path("results") / chosen.name, command.retried(retry)
    summary = command.measure(
        chosen,
        path,
        fresh=fresh,
        retry=again,
        also=also,
        python=python,
        minutes=minutes,
        log=make_console(stderr=True),
    )
    output(command.data(path) if as_json else command.tables(path))
    raise typer.Exit(summary.exit_code)


@app.command()
def show(
    run: Run,
    rows: Annotated[
        str, typer.Option(help="Key columns, `method`, `pair` or `backend`.")
    ] = "method",
    columns: Annotated[str, typer.Option(help="Key columns.")] = "size",
    value: Annotated[str, typer.Option(help="The column that is shown.")] = "seconds_median",
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="Only rows for which this holds.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a run: best in bold, ratio to it in brackets, error beside time."""
    from mssbench.cli import show as command

    shown = command.show_data if as_json else command.show
    output(shown(run, words(rows), words(columns), value, where))


@app.command()
def claims(
    run: Run,
    as_json: Json = False,
) -> None:
    """Say of each claim of RUN's suite whether it holds here, and what decides it."""
    from mssbench.cli import claims as command

    output(command.data(run) if as_json else command.report(run))


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(help="backends, backwards, problems or suites.")],
    also: Also = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """List what there is, with citation, parameters, and why something is unavailable here."""
    from mssbench.cli import listing as command

    found = command.listing(what, also)
    output(found if as_json else command.table(what, found))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what can run on this machine, what will spoil its results, and what to do about it."""
    from mssbench.cli import doctor as command

    found = command.examine()
    output(found if as_json else command.report(found))


@app.command()
def selftest(
    device: Annotated[str | None, typer.Option(help="cpu or cuda. [default: what is here]")] = None,
    as_json: Json = False,
) -> None:
    """Hold the harness against known times, other timers, and methods made slow or wrong.

    Takes about a minute and writes nothing. Exit code: 0 trust it, 1 the harness is wrong here,
    2 misuse, 3 unclear, because the machine is too noisy now.
    """
    from mssbench.cli import selftest as command
    from mssbench.console.terminal import make_console

    report = command.examine(device, make_console(stderr=True))
    output(command.data(report) if as_json else command.table(report))
    raise typer.Exit(report.exit_code)


@app.command()
def merge(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the merged run; not needed for a single RUN.")
    ] = None,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Join runs of different machines or versions.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Join runs into one table; of one RUN, settle what a killed run left behind."""
    from mssbench.cli import show as command
    from mssbench.results import merge as merge_

    found = merge_.merge(runs, out, mixed=mixed)
    output(found if as_json else [command.merged(found)])


judging.register(app)
_UNFORESEEN = 70  # EX_SOFTWARE


def main() -> None:
    """Entry point. A MssbenchError is one line on stderr and its exit code, mostly 2.

    What nobody foresaw ends with its traceback and a code of its own: Python's 1 would be taken for
    a regression.
    """
    try:
        app()
    except MssbenchError as error:
        typer.echo(f"mssbench: {error}", err=True)
        if isinstance(error, NotComparable):
            typer.echo("mssbench: verdict=incomparable")
        sys.exit(error.exit_code)
    except Exception:
        traceback.print_exc()
        typer.echo("mssbench: this is a mistake in mssbench: please report it", err=True)
        sys.exit(_UNFORESEEN)
