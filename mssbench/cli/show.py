"""`mssbench show`: print the tables of a run. It does not import torch."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import results
from mssbench.analysis import advice, blocks, conclusions
from mssbench.analysis.kinds import Conditions
from mssbench.analysis.trust import Trust, trust
from mssbench.cli.options import Json, RunArgument, columns, words
from mssbench.cli.output import output, output_json
from mssbench.console import blocks as console_blocks
from mssbench.console import epilogue
from mssbench.console.live import redraw
from mssbench.console.terminal import make_console
from mssbench.errors import ExitCode, RunError, TableError
from mssbench.records import units
from mssbench.records.schema import BY_NAME
from mssbench.results import conditions, table, trainings
from mssbench.results.folder import is_going_on
from mssbench.results.labels import counted, with_labels
from mssbench.results.rows import TABLE, folder_of
from mssbench.results.run import Run

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = (
    "mssbench show results/quick --where \"phase == 'step'\"",
    "mssbench show results/quick --columns size,problem --value gradient_error",
)


class View(NamedTuple):
    """What is shown of a run. All fields but the first are options of `mssbench show`."""

    path: Path
    rows: Sequence[str] = blocks.USUAL[0]
    columns: Sequence[str] = blocks.USUAL[1]
    value: str = blocks.USUAL[2]
    where: str | None = None
    left_over: bool = False

    @property
    def is_usual(self) -> bool:
        """Whether the tables have the usual rows, columns and values."""
        return (tuple(self.rows), tuple(self.columns), self.value) == blocks.USUAL


def command(
    run: RunArgument,
    rows: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,..",
            help="Columns whose values are the rows of the printed tables: key columns such as "
            "size,batch, or method, pair (forward and backward) or backend (library and forward).",
        ),
    ] = "method",
    columns: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,..",
            help="Columns, of the same kinds as for --rows, whose values head the columns of the "
            "printed tables, e.g. batch or size,problem.",
        ),
    ] = "size",
    value: Annotated[
        str,
        typer.Option(
            metavar="COLUMN",
            help="Column of the run whose numbers the tables show.",
            autocompletion=columns,
        ),
    ] = "seconds_median",
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Show only the rows of the run for which this condition on the columns holds, "
            'e.g. "size > 16".',
            show_default="all rows",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Redraw the tables until the run has ended.")
    ] = False,
    every: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time between redraws of --watch.")
    ] = 2.0,
    left_over: Annotated[
        bool,
        typer.Option(
            "--left-over",
            help="Show only the rows of cells that the suite of the run no longer has. An earlier "
            "run into the same folder measured them, and otherwise they are left out.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the tables of a run: time and error of each method, the best in bold."""
    view = View(run, words(rows), words(columns), value, where, left_over)
    if watch:
        _watch(view, every=every, as_json=as_json)
    if as_json:
        output_json("show", show_data(view))
    else:
        output(show(view))


def show(view: View) -> Iterator[RenderableType]:
    """Yield the tables of a run, then the conclusions that follow from them.

    Raises TableError if there is no run or no such row.
    """
    run = results.open(view.path)
    yield from _tables(run, _chosen(run, view), view)
    if run.left_over and not view.left_over:
        yield Text(
            f"Not shown: rows of {units.count(len(run.left_over), 'cell')} that the suite no "
            "longer has; an earlier run measured them. --left-over shows them.",
            "yellow",
        )


def so_far(view: View) -> Iterator[RenderableType]:
    """Yield what `show` yields, for a run that is still being measured and may have no row yet."""
    run = results.open(view.path)
    if not (run.folder / TABLE).exists():
        trainings.refuse_to_read(view.path)
        yield Text("no row yet", "dim")
        return

    rows = with_labels(_rows(run, view))
    frame = rows if view.where is None else conditions.select(rows, view.where, "--where")
    if rows.empty:
        yield Text("no row yet", "dim")
        return

    measured = f"{units.count(len(rows), 'row')} so far"
    if frame.empty:
        yield Text(f"{measured}, none of which is selected", "dim")
        return
    yield Text(measured, "dim")
    yield from _tables(run, frame, view)


def _watch(view: View, *, every: float, as_json: bool) -> None:
    """Redraw the tables of a run until it ends.

    Ctrl-C prints the tables a last time and exits with code 130. Raises RunError with --json, or
    if stdout is no terminal.
    """
    if as_json:
        raise RunError("--watch redraws tables: leave out --json.")
    console = make_console()
    if not sys.stdout.isatty() or console.is_dumb_terminal:
        raise RunError("--watch needs a terminal, which stdout is not: leave out --watch.")

    try:
        redraw(lambda: so_far(view), lambda: is_going_on(folder_of(view.path)), console, every)
    except KeyboardInterrupt:
        output(so_far(view))
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _tables(run: Run, frame: "pd.DataFrame", view: View) -> Iterator[RenderableType]:
    """Yield the tables of the rows in `frame`, and the conclusions from them.

    Times that cannot be compared with each other are shown without ranks, below a warning.
    """
    shown_blocks, reliability = _blocks(run, frame, view)
    if _shows_times(view) and not reliability.comparable:
        yield Text(advice.warning(reliability, "--fresh"), "bold yellow")

    yield from console_blocks.result(frame, shown_blocks)
    usual = shown_blocks if view.is_usual else None
    yield from epilogue.epilogue(_counted(frame), run.facts, usual)


def _blocks(run: Run, frame: "pd.DataFrame", view: View) -> tuple[list[blocks.Block], Trust]:
    """Return the tables of the rows in `frame`, and whether their times can be compared.

    If the times cannot be compared, tables of times have neither ratios nor a best entry.
    """
    shown = blocks.blocks(frame, view.rows, view.columns, view.value)
    reliability = trust(frame, run.facts)
    if _shows_times(view) and not reliability.comparable:
        shown = [block.unranked() for block in shown]
    return shown, reliability


def _shows_times(view: View) -> bool:
    """Whether the numbers in the tables are times. The column must exist, see `blocks.blocks`."""
    return BY_NAME[view.value].group == "time"


def show_data(view: View) -> dict[str, Any]:
    """Return the tables (blocks), conclusions and failures of a run for JSON. See `show`."""
    run = results.open(view.path)
    frame = _chosen(run, view)
    known = Conditions(frame)
    shown_blocks, reliability = _blocks(run, frame, view)
    return {
        "comparable": reliability.comparable,
        "blocks": [_block(block, known) for block in shown_blocks],
        "conclusions": conclusions.conclusions(frame, run.facts),
        "failures": conclusions.as_data(conclusions.failures(_counted(frame))),
        "environments": run.facts["environments"],
        "left_over_cells": len(run.left_over),
    }


def _block(block: blocks.Block, known: Conditions) -> dict[str, Any]:
    """Return one table for JSON. known: the condition numbers of the matrices that are shown."""

    def place(row: tuple[Any, ...], column: tuple[Any, ...]) -> dict[str, Any]:
        names = (*block.row_names, *block.column_names)
        return dict(zip(names, (*row, *column), strict=True))

    entries = [
        place(row, column)
        | {
            "condition": known.at(block.common | place(row, column)),
            block.value: entry.value,
            **({block.error: entry.error} if block.error else {}),
            "ratio": entry.ratio,
            "best": entry.best,
            "rows": entry.rows,
            **({"method": entry.method} if entry.method else {}),
            "failures": dict(entry.statuses),
            "partial": entry.points[0] < entry.points[1],
        }
        for row, by_column in block.entries.items()
        for column, entry in by_column.items()
    ]
    common = {k: table.plain(v) for k, v in block.common.items()}

    plain = [{k: table.plain(v) for k, v in entry.items()} for entry in entries]
    return common | {
        "hidden": block.hidden,
        "left_out": block.omissions(),
        "entries": plain,
    }


def _counted(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows with the status that each has in comparisons, see `labels.counted`.

    For example, a row whose time is shorter than the machine can reach does not count as ok.
    """
    return frame.assign(status=counted(frame))


def _rows(run: Run, view: View) -> "pd.DataFrame":
    """Return the rows of the cells that the suite has, or of those that it no longer has."""
    if view.left_over:
        return run.frame[run.frame["cell_id"].isin(run.left_over)]
    return run.current


def _chosen(run: Run, view: View) -> "pd.DataFrame":
    """Return the rows to be shown, with the columns of labels such as `method`.

    Raises TableError if there is none.
    """
    labelled = with_labels(_rows(run, view))
    if labelled.empty and view.left_over:
        raise TableError(
            f"{run.path} has no rows that are left over: its suite has all cells that are in its "
            "table. Leave out --left-over to show them."
        )
    if labelled.empty:
        raise TableError(f"{run.path} has no row yet.")
    return labelled if view.where is None else conditions.chosen(labelled, view.where, "--where")
