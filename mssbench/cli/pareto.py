"""`mssbench pareto`: print the methods that no other beats in time and error. No torch is used."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import results
from mssbench.analysis import advice, conclusions, pareto
from mssbench.analysis.trust import trust
from mssbench.cli.options import Json, RunArgument
from mssbench.cli.output import output, output_json
from mssbench.console.pareto import tables
from mssbench.errors import TableError
from mssbench.results import conditions
from mssbench.results.labels import with_labels
from mssbench.results.run import Run

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = (
    "mssbench pareto results/quick",
    "mssbench pareto results/quick --where \"phase == 'step' and size == 64\" --all",
)


def command(
    run: RunArgument,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Use only the rows of the run for which this condition on the columns holds, "
            'e.g. "size > 16".',
            show_default="all rows",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="List also the methods that are beaten or not right, and why."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the methods that no other one beats in time and error: the Pareto fronts of a run."""
    if as_json:
        output_json("pareto", data(run, where))
    else:
        output(show(run, where, everything))


def show(path: Path, where: str | None, everything: bool) -> Iterator[RenderableType]:
    """Yield the fronts of a run as tables, below a warning if its times cannot be compared."""
    run = results.open(path)
    frame = _chosen(run, where)
    reliability = trust(frame, run.facts)
    if not reliability.comparable:
        yield Text(advice.warning(reliability, "--fresh"), "bold yellow")

    yield from tables(_fronts(run, frame), everything=everything)
    for sentence in conclusions.machines(frame, run.facts):
        yield Text(sentence, style="dim")


def data(path: Path, where: str | None) -> dict[str, Any]:
    """Return every method of every front with its standing, for JSON."""
    run = results.open(path)
    frame = _chosen(run, where)
    return {
        "comparable": trust(frame, run.facts).comparable,
        "rows": list(pareto.as_data(_fronts(run, frame))),
    }


def _chosen(run: Run, where: str | None) -> "pd.DataFrame":
    """Return the rows for which `where` holds, or all. Raises TableError if it leaves none."""
    labelled = with_labels(run.current)
    return labelled if where is None else conditions.chosen(labelled, where, "--where")


def _fronts(run: Run, frame: "pd.DataFrame") -> list[pareto.Front]:
    """Return the fronts of these rows of a run. Raises TableError if there is none."""
    found = pareto.fronts(frame)
    if not found:
        raise TableError(
            f"{run.path} has no times of a forward or a step on the wall clock among the chosen "
            "rows, so that there is no front. `mssbench show` lists why cells have no time."
        )
    return found
