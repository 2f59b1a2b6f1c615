"""Arguments and options that several commands share, and helpers for their texts."""

from pathlib import Path
from typing import Annotated

import typer


def suites(incomplete: str) -> list[str]:
    """Return the shipped suites that start with `incomplete`, for shell completion."""
    from mssbench.suite.suite import shipped  # late: only completion needs it, in its own process

    return [name for name in shipped() if name.startswith(incomplete)]


def columns(incomplete: str) -> list[str]:
    """Return the columns of a table that start with `incomplete`, for shell completion."""
    from mssbench.records.schema import COLUMNS

    return [name for name in COLUMNS if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Return the statuses of a row that start with `incomplete`, for shell completion."""
    from mssbench.records.measurement import Status

    return [str(status) for status in Status if status.startswith(incomplete)]


Suite = Annotated[
    str,
    typer.Argument(
        help="A shipped suite (`mssbench list suites`) or a file.", autocompletion=suites
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or its table.csv.")]
Set = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=V,V", help="Replace an axis, parameter or measure key."),
]
OnlyCells = Annotated[
    str | None,
    typer.Option("--only", metavar="EXPR", help='Only cells for which this holds: "size > 16".'),
]
OnlyRows = Annotated[
    str | None, typer.Option("--only", metavar="EXPR", help="Only rows for which this holds.")
]
Device = Annotated[str | None, typer.Option(help="cpu or cuda, for every cell.")]
Matrices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Measure your own matrices: .npy, .npz, .pt, .safetensors, .mat, .csv or .h5.",
    ),
]
Key = Annotated[
    str | None, typer.Option(metavar="NAME", help="The array of --matrices, if it has several.")
]
KindOfMatrices = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="Content of --matrices: matrices, or features whose covariance is computed.",
    ),
]
Also = Annotated[list[Path], typer.Option(help="Python file with your own methods; repeatable.")]
FailOn = Annotated[
    list[str],
    typer.Option(
        metavar="[METHODS:]COLUMN:LIMIT", help="Limit, e.g. seconds:50% or gradient_error:3x."
    ),
]
Across = Annotated[
    str, typer.Option(metavar="WORD,..", help="Allow differences in: machine, problem, versions.")
]
Display = Annotated[str, typer.Option(help="simple, intervals or explain.")]
GitHub = Annotated[
    bool, typer.Option("--github", help="Also write GitHub's summary, annotations and outputs.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def words(text: str) -> list[str]:
    """Return the comma-separated words of a text."""
    return [w.strip() for w in text.split(",") if w.strip()]


def examples(*lines: str) -> str:
    """Return the end of a help page, with one example command on each line."""
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
