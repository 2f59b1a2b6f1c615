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
from mssbench.results import trainings

if TYPE_CHECKING:
    from mssbench.results.run import Run

EXAMPLES = (
    'mssbench plot results/quick --figure winners,failures --where "size == 64"',
    "mssbench plot results/train_smoke --figure differences -o trained.pdf",
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
# The same of trainings.
OF_TRAININGS = ("curves", "differences", "robustness", "probes")


def _figures(incomplete: str) -> list[str]:
    """Return the names of figures that start with the typed text, for shell completion."""
    return [name for name in (*FIGURES, *OF_TRAININGS, "all") if name.startswith(incomplete)]


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of the runs, or of runs of trainings. Most figures need one; history "
            "needs at least two.",
        ),
    ],
    figure: Annotated[
        str,
        typer.Option(
            metavar="NAME,..",
            help="What to draw: front (time against error), failures (which methods are ok on "
            "which matrices), winners (the fastest method on each), limit (the time divided by "
            "the shortest possible time), size, batch (time over these), condition, iterations "
            "(error over these), history (time over at least two runs), or all. Of trainings: "
            "curves (accuracy and loss by epoch), differences (from the exact root), robustness "
            "(to changed data), probes (of loss and gradient), or all.",
            show_default="front, or curves of trainings",
            autocompletion=_figures,
        ),
    ] = "",
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
    names = words(figure) if figure else [_usual(runs)]
    output(drawings(runs, names, where, out))


def _usual(paths: list[Path]) -> str:
    """Return the figure that is drawn unless the user names one."""
    return OF_TRAININGS[0] if _are_of_trainings(paths) else FIGURES[0]


def _are_of_trainings(paths: list[Path]) -> bool:
    """Whether the runs are of trainings. Raises RunError if some are and others are not."""
    kinds = [trainings.is_run(path) for path in paths]
    if any(kinds) and not all(kinds):
        raise RunError(
            f"{paths[kinds.index(True)]} is a run of trainings, and {paths[kinds.index(False)]} is "
            "not: draw them one after the other. `mssbench report` puts both on one page."
        )
    return all(kinds)


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

    if _are_of_trainings(paths):
        yield from _of_trainings(paths, names, where, out)
        return
    if others := [name for name in names if name in OF_TRAININGS]:
        raise TableError(
            f"--figure {others[0]} is a figure of trainings, and {paths[0]} is a run of `mssbench "
            f"run`, which has {', '.join(FIGURES)}."
        )
    wanted = draw.figures_named(names)
    _check_out(out, len(wanted))

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


def _check_out(out: Path | None, figures: int) -> None:
    """Raise RunError if a file has no known format, or is to hold several figures."""
    from mssbench.report import draw

    if out is None:
        return
    draw.format_of(out)
    if figures > 1:
        raise RunError(
            f"{out} can hold one figure, and {figures} are asked for: leave out --out, or name one "
            "with --figure."
        )


def _of_trainings(
    paths: list[Path], names: list[str], where: str | None, out: Path | None
) -> Iterator[Text]:
    """Do for runs of trainings what `drawings` does for others."""
    from mssbench.report import draw
    from mssbench.report.drawn import unique_names
    from mssbench.report.trainings.draw import figures_named, specifications
    from mssbench.report.trainings.reading import read, shown
    from mssbench.report.trainings.sentences import cautions

    if others := [name for name in names if name in FIGURES]:
        raise TableError(
            f"--figure {others[0]} is no figure of trainings, and {paths[0]} is a run of "
            f"trainings, which has {', '.join(OF_TRAININGS)}."
        )
    wanted = figures_named(names)
    _check_out(out, len(wanted))
    runs = [read(path) for path in paths]
    run_names = unique_names(runs)
    if where is not None:
        runs = [run.where(where, "--where") for run in runs]
    by_name = dict(zip(run_names, runs, strict=True))

    drawable = []
    for figure, spec in specifications(by_name, wanted):
        if not isinstance(spec, TableError):
            drawable.append((figure, spec))
        elif names != ["all"]:
            raise spec
        else:
            yield Text(f"Left out: {spec}", style="dim")
    if not drawable:
        raise TableError("none of the figures has anything to draw for these trainings.")

    for caution in cautions(shown(by_name), times=False):  # no figure shows any
        yield Text(caution, style="bold yellow")
    stem = run_names[0].strip("/").replace("/", "-")
    for figure, spec in drawable:
        file = out if out is not None else Path(f"{stem}-{figure.name}.png")
        yield saved(iter([draw.rendered(spec, draw.format_of(file))]), file)


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
