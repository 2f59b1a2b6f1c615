"""`mssbench merge`: join several runs into one table. It does not import torch."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.results import merge

EXAMPLES = (
    "mssbench merge results/monday results/tuesday --out results/both",
    "mssbench merge results/quick",
)


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN", help="Folders of the runs to join, or of one run to complete."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the merged run, new or empty; needed for several runs.",
            show_default="the folder of a single RUN",
        ),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed",
            help="Allow that the runs come from different machines or versions of the libraries.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Join runs into one table, or complete the files of one RUN that was killed."""
    summary = merge.merge(runs, out, mixed=mixed)
    if as_json:
        output_json("merge", summary)
    else:
        output([*map(_remark, summary["remarks"]), merged(summary)])


def merged(summary: dict[str, Any]) -> Text:
    """Return one line with the size and place of a merged run."""
    counts = summary["counts"]
    return Text(f"{counts['rows']} rows of {counts['cells']} cells in {summary['path']}")


def _remark(sentence: str) -> Text:
    """Return a remark on a damaged file as text that is never folded, so that its path is whole."""
    return Text(sentence, "yellow", no_wrap=True, overflow="ignore")
