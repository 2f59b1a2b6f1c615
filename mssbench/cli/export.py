"""`mssbench export`: write a run in the format of another tool. It does not import torch."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from mssbench import results
from mssbench.cli import streams
from mssbench.cli.options import OnlyRows, RunArgument
from mssbench.cli.output import output, write
from mssbench.compare.tables import side
from mssbench.console.terminal import make_console
from mssbench.errors import RunError
from mssbench.export import Exported
from mssbench.export import pieces as export_in_pieces
from mssbench.records import units
from mssbench.results.files import replacing
from mssbench.results.labels import with_labels
from mssbench.results.views import Rows

EXAMPLES = (
    "mssbench export results/quick --to markdown",
    "mssbench export results/ci --to junit --out junit.xml",
)


def command(
    run: RunArgument,
    to: Annotated[
        str,
        typer.Option(
            help="Format to write: markdown, latex, json, csv, junit, pytest-benchmark, bencher or "
            "github-action-benchmark."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="File to write the export to.", show_default="stdout")
    ] = None,
    only: OnlyRows = None,
) -> None:
    """Write a run in the format of another tool."""
    pieces = export_in_pieces(described(run, to, only), to)
    if left_over := results.open(run).left_over:
        make_console(stderr=True).print(
            f"left out: rows of {units.count(len(left_over), 'cell')} that the suite no longer "
            "has; an earlier run measured them.",
            soft_wrap=True,
        )
    if out is None:
        for piece in pieces:
            write(piece)
        if why := streams.lost():  # an incomplete file could be mistaken for a complete one
            raise RunError(f"the export is not complete: {why}.")
    else:
        output([saved(pieces, out)])


def exported(path: Path, to: str, only: str | None) -> str:
    """Return the rows of a run for which `only` holds, as text in a format of export.FORMATS."""
    return "".join(export_in_pieces(described(path, to, only), to))


def described(path: Path, to: str, only: str | None) -> Exported:
    """Return the data of a run that the format `to` needs, for the rows for which `only` holds.

    The samples, the single measured times, are read only for pytest-benchmark.
    """
    from mssbench.results import samples  # imports pyarrow, which --help must not wait for

    selected = side(path, only)
    run = results.open(path)
    known = samples.read(run.folder) if to == "pytest-benchmark" else {}
    return Exported(run.name, Rows(with_labels(selected.frame)), selected.facts, known)


def saved(pieces: Iterator[str | bytes], out: Path) -> Text:
    """Write the pieces of a text or of bytes to the file `out`; return a line with its size.

    The file appears only once it is complete. Raises RunError if it cannot be written.
    """
    size = 0

    try:
        with replacing(out) as temporary, temporary.open("wb") as file:
            for piece in pieces:
                data = piece if isinstance(piece, bytes) else piece.encode(errors="replace")
                size += file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        why = error.strerror or str(error)
        if not out.parent.exists():
            why = f"the folder {out.parent} does not exist"
        raise RunError(f"{out} cannot be written: {why}.") from None
    return Text(f"{units.size(size)} in {out}")
