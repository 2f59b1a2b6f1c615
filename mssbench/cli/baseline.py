"""`mssbench baseline`: save, list and show the runs that later runs are compared with.

results/baselines/NAME/          the newest baseline: table.csv, environment.json, suite.toml
results/baselines/NAME@DATE/     earlier baselines of that name, as many as `--keep` says
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench.cli.options import Json, RunArgument, examples
from mssbench.cli.output import output, output_json
from mssbench.cli.show import View, show, show_data
from mssbench.console import lists
from mssbench.records import units
from mssbench.results import baselines
from mssbench.results.baselines import FOLDER

command = typer.Typer(
    help="Keep runs as baselines, to compare others with.",
    no_args_is_help=True,
    add_completion=False,
    epilog=examples("mssbench baseline save results/ci --name ci", "mssbench baseline list"),
)


@command.command("save", epilog=examples("mssbench baseline save results/ci --name ci"))
def save_baseline(
    run: RunArgument,
    name: Annotated[
        str | None,
        typer.Option(
            help="Name for the baseline in results/baselines.", show_default="the name of its suite"
        ),
    ] = None,
    keep: Annotated[
        int, typer.Option(min=0, help="How many older baselines of that name to keep.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """Copy a run to results/baselines, to compare later runs with; its raw samples are left out."""
    summary = baselines.save(run, name, keep)
    if as_json:
        output_json("baseline save", summary)
    else:
        output([saved(summary)])


@command.command("list", epilog=examples("mssbench baseline list"))
def list_baselines(as_json: Json = False) -> None:
    """List all baselines, the newest of each name first."""
    records = baselines.known()
    if as_json:
        output_json("baseline list", {"rows": records})
    else:
        output(table(records))


@command.command("show", epilog=examples("mssbench baseline show ci"))
def show_baseline(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the baseline to show.")],
    as_json: Json = False,
) -> None:
    """Print the tables of a baseline, as `mssbench show` prints those of a run."""
    view = View(baselines.find(name))
    if as_json:
        output_json("baseline show", show_data(view))
    else:
        output(show(view))


def table(records: Sequence[dict[str, Any]]) -> Iterator[RenderableType]:
    """Yield the list of baselines as a table."""
    if not records:
        yield Text(f"no baseline in {FOLDER}; `mssbench baseline save RUN` saves a run as one")
        return
    yield lists.listing(f"baselines in {FOLDER}", records)


def saved(summary: dict[str, Any]) -> Text:
    """Return one line on the saved baseline, with the command that compares a run with it."""
    dropped = f", dropped {', '.join(summary['dropped'])}" if summary["dropped"] else ""
    return Text(
        f"{units.count(summary['counts']['rows'], 'row')} in {summary['path']}{dropped}; "
        f"`mssbench check RUN --baseline {summary['name']}` compares a run with it"
    )
