"""`mssbench plot`: write a figure of runs to a file. It does not import torch."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from mssbench import results
from mssbench.cli.export import saved
from mssbench.cli.options import words
from mssbench.cli.output import output
from mssbench.errors import RunError, TableError
from mssbench.records import units
from mssbench.report.packages import require

if TYPE_CHECKING:
    from mssbench.results.run import Run

EXAMPLES = (
    "mssbench plot results/quick -o front.pdf",
    'mssbench plot results/quick --figure winners,failures --where "size == 64"',
)
# The figures by name, in the order of the help text; a test compares them with those that exist.
FIGURES = (
    "front",
    "failures",
    "winners",
    "limit",
    "size",
    "batch",
    "condition",
    "iterations",
    "history",
)


def _figures(incomplete: str) -> list[str]:
    """Return the names of figures that start with the typed text, for shell completion."""
    return [name for name in (*FIGURES, "all") if name.startswith(incomplete)]


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of the runs. Most figures need one; history needs at least two.",
        ),
    ],
    figure: Annotated[
        str,
        typer.Option(
            metavar="NAME,..",
            help="What to draw: front (time against error), failures (which methods are ok on "
            "which matrices), winners (the fastest method on each), limit (the time divided by "
            "the shortest possible time), size, batch (time over these), condition, iterations "
            "(error over these), history (time over at least two runs), or all.",
            autocompletion=_figures,
        ),
    ] = "front",
    where: Annotated[
        str | None,
        typer.Option(
            metavar="EXPR",
            help="Draw only the rows for which this condition on the columns holds, e.g. "
            "\"phase == 'step' and batch == 64\".",
            show_default="sqrt, steps in float32 by the wall clock, where there are some",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File to write one figure to. The end of its name is its format: .png, .svg, .pdf "
            "or .html.",
            show_default="RUN-FIGURE.png in the current folder",
        ),
    ] = None,
) -> None:
    """Draw figures of a run: time against error, the fastest methods, failures, and more.

    A figure has one panel for each combination of matrices, size, batch and so on. The panels have
    equal axes.
    """
    require()
    output(drawings(runs, words(figure), where, out))


def drawings(
    paths: list[Path], names: list[str], where: str | None, out: Path | None
) -> Iterator[Text]:
    """Write figures of some runs, and yield a line for each file.

    names: of the figures, or `all`. where: the condition on the rows; None for the usual rows.
    out: the file of a single figure; None for files that are named after run and figure.

    Nothing is written unless all figures can be drawn; of `all`, those that have nothing to draw
    are left out. Raises TableError for an unknown figure or if a figure has nothing to draw, and
    RunError for a name of a file that has no known format, or that is to hold several figures.
    """
    from mssbench.report import draw
    from mssbench.report.cautions import cautions
    from mssbench.report.drawn import chosen, measured, table_of, unique_names

    wanted = draw.figures_named(names)
    if out is not None:
        draw.format_of(out)
        if len(wanted) > 1:
            raise RunError(
                f"{out} can hold one figure, and {len(wanted)} are asked for: leave out --out, or "
                "name one with --figure."
            )

    opened = [results.open(path) for path in paths]
    runs = measured(opened)
    if where is not None:
        runs = chosen(runs, where, "--where")
    table = table_of(runs)
    warnings = list(cautions(runs))

    drawable = []
    for figure in wanted:
        rows, usual = draw.usual_rows(figure, table) if where is None else (table, [])
        remarks = [warning.short for warning in warnings] if figure.times else []
        try:
            drawable.append((figure, draw.specification(figure, rows, remarks), usual))
        except TableError as error:
            if names != ["all"]:
                raise
            yield Text(f"Left out: {error}", style="dim")
    if not drawable:
        raise TableError("none of the figures has anything to draw for these rows.")

    for warning in warnings:
        yield Text(warning.text, style="bold yellow")
    stem = unique_names(opened)[0].strip("/").replace("/", "-")
    for figure, spec, usual in drawable:
        file = out if out is not None else Path(f"{stem}-{figure.name}.png")
        line = saved(iter([draw.rendered(spec, draw.format_of(file))]), file)
        yield line.append(f"  ({', '.join(usual)})" if usual else "", "dim")
    yield from _remarks(opened, narrowed=any(usual for _, _, usual in drawable))


def _remarks(runs: "list[Run]", *, narrowed: bool) -> Iterator[Text]:
    """Yield sentences on rows that were not drawn. narrowed: whether usual rows were chosen."""
    if narrowed:
        yield Text("In brackets: the rows that were drawn. --where chooses others.", style="dim")
    for run in runs:
        if run.left_over:
            yield Text(
                f"Not drawn: rows of {units.count(len(run.left_over), 'cell')} of {run.path} that "
                "the suite no longer has; an earlier run measured them.",
                "yellow",
            )
