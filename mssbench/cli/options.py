"""Arguments and options that several commands take, how they are split, and help's examples."""

from pathlib import Path
from typing import Annotated

import typer


def suites(incomplete: str) -> list[str]:
    """The shipped suites that begin so, for the completion of a shell."""
    from mssbench.suite.suite import shipped  # a shell completes in a process of its own

    return [name for name in shipped() if name.startswith(incomplete)]


def columns(incomplete: str) -> list[str]:
    """The columns of a table that begin so, for the completion of a shell."""
    from mssbench.records.schema import COLUMNS

    return [name for name in COLUMNS if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """The statuses of a row that begin so, for the completion of a shell."""
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
        help="Measure matrices of your own: .npy, .npz, .pt, .safetensors, .mat, .csv or .h5.",
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
        help="What --matrices holds: matrices, or features whose covariance is taken.",
    ),
]
Also = Annotated[list[Path], typer.Option(help="Python file with methods of your own; repeatable.")]
FailOn = Annotated[
    list[str],
    typer.Option(metavar="[METHODS:]COLUMN:LIMIT", help="seconds:50%, gradient_error:3x, ..."),
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
    """The words of a text that commas separate, as a list."""
    return [w.strip() for w in text.split(",") if w.strip()]


def examples(*lines: str) -> str:
    """The end of a help page: each of these command lines on a line of its own."""
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
