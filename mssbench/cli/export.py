"""`mssbench export`: a run in the format of another tool. Needs no torch."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mssbench import results, units
from mssbench.cli import streams
from mssbench.cli.options import OnlyRows, Run
from mssbench.cli.output import output, write
from mssbench.compare.tables import side
from mssbench.errors import RunError
from mssbench.export import Exported, export
from mssbench.results import table
from mssbench.results.files import replace
from mssbench.results.labels import with_labels

EXAMPLES = (
    "mssbench export results/quick --to markdown",
    "mssbench export results/ci --to junit --out junit.xml",
)


def command(
    run: Run,
    to: Annotated[str, typer.Option(help="markdown, json, csv, junit, pytest-benchmark, ...")],
    out: Annotated[Path | None, typer.Option(help="File.", show_default="stdout")] = None,
    only: OnlyRows = None,
) -> None:
    """Write a run in the format of another tool."""
    text = exported(run, to, only)
    if out is None:
        write(text)
        if why := streams.lost():  # a part of a file would be taken for all of it
            raise RunError(f"the export is not complete: {why}.")
    else:
        output([saved(text, out)])


def exported(path: Path, to: str, only: str | None) -> str:
    """A run, or the rows of it for which `only` holds, as text in a format of export.FORMATS."""
    from mssbench.results import samples  # pyarrow, which --help does without

    selected = side(path, only)
    rows = table.records(with_labels(selected.frame))
    run = results.open(path)
    return export(Exported(run.name, rows, selected.facts, samples.read(run.folder)), to)


def saved(text: str, out: Path) -> Text:
    """Write a text into a file, whole or not at all; a line about it."""
    try:
        replace(out, text.encode())
    except OSError as error:
        raise RunError(f"{out} cannot be written: {error.strerror or error}.") from None
    return Text(f"{units.size(len(text.encode()))} in {out}")
