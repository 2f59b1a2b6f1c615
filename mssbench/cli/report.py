"""`mssbench report`: write one HTML page on one or more runs. It does not import torch."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mssbench import results
from mssbench.cli.export import saved
from mssbench.cli.output import output
from mssbench.errors import RunError
from mssbench.report.packages import require
from mssbench.results import trainings

EXAMPLES = (
    "mssbench report results/quick",
    "mssbench report results/before results/after -o report.html",
)

_ENDINGS = (".html", ".htm")


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of the runs to report on, also of trainings. The first one is the one "
            "that others are compared with; three or more also have a history. Trainings have a "
            "section of their own.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="HTML file to write the report to.")
    ] = Path("report.html"),
    title: Annotated[
        str,
        typer.Option(help="Heading of the page.", show_default="the names of the runs"),
    ] = "",
) -> None:
    """Write one HTML page on one or more runs: findings, figures, and a table to search.

    The page works from disk and asks the network for nothing, so that it can be mailed or kept
    beside the results. Filters act on every part of it, and its address keeps them.
    """
    _check_file(out)
    require()
    from mssbench.report.page import page
    from mssbench.report.trainings.reading import read

    kinds = {run: trainings.is_run(run) for run in runs}
    measured = [results.open(run) for run in runs if not kinds[run]]
    text = page(measured, title, [read(run) for run in runs if kinds[run]])
    output([saved(iter([text]), out), Text("Open it in a browser; no server is needed.", "dim")])


def _check_file(out: Path) -> None:
    """Raise RunError for a file that is none of HTML, or whose folder does not exist."""
    if out.suffix.lower() not in _ENDINGS:
        raise RunError(
            f"{out}: a report is an HTML page, so that the name of its file must end in .html. "
            "To get a PDF, open the page in a browser and print it."
        )
    if not out.parent.is_dir():
        raise RunError(f"{out}: the folder {out.parent} does not exist.")
