"""Arguments and options that several commands share, and helpers for their help texts."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mssbench.errors import SuiteError


def suites(incomplete: str) -> list[str]:
    """Return the names of shipped suites that start with the typed text, for shell completion."""
    from mssbench.suite.shipped import of_runs  # late: only completion needs it, in its own process

    return [name for name in of_runs() if name.startswith(incomplete)]


def columns(incomplete: str) -> list[str]:
    """Return the names of table columns that start with the typed text, for shell completion."""
    from mssbench.records.schema import COLUMNS

    return [name for name in COLUMNS if name.startswith(incomplete)]


def statuses(incomplete: str) -> list[str]:
    """Return all statuses a row can have that start with the typed text, for shell completion."""
    from mssbench.records.measurement import Status

    return [str(status) for status in Status if status.startswith(incomplete)]


SuiteArgument = Annotated[
    str,
    typer.Argument(
        metavar="SUITE",
        help="The suite to measure: a name from `mssbench list suites`, or a TOML file.",
        autocompletion=suites,
    ),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="Folder of the run to read, or its table.csv.")
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        metavar="KEY=V,V",
        help="Replace values of the suite. KEY is an axis (function, problem, size, batch, "
        "precision, device or seed), a parameter of its methods, or a key of its table `measure`: "
        "size=8,16 or iterations=5 or passes=1. Repeatable.",
    ),
]
OnlyCells = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="EXPR",
        help="Measure only the cells of the suite (combinations of method, problem, size and so "
        'on) for which this condition on axes and parameters holds, e.g. "size > 16".',
        show_default="all cells",
    ),
]
OnlyRows = Annotated[
    str | None,
    typer.Option(
        "--only",
        metavar="EXPR",
        help="Take only the rows for which this condition on the columns of the table holds, "
        'e.g. "size > 16".',
        show_default="all rows",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="Measure every cell on this device: cpu, cuda, or auto, which is cuda if torch can "
        "use a GPU, else cpu.",
        show_default="the suite's own; if it has none: auto",
    ),
]
Matrices = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Measure on your own matrices, from a .npy, .npz, .pt, .safetensors, .mat, .csv or "
        ".h5 file, instead of the suite's.",
        show_default="the suite's own",
    ),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Name of the array to read from the --matrices file, if the file holds several.",
        show_default="its only array, or the one called matrices or features",
    ),
]
KindOfMatrices = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help="What the --matrices file holds: matrices, or features, whose covariance is computed.",
        show_default="matrices if the arrays are square, else features",
    ),
]
Also = Annotated[
    list[Path],
    typer.Option(help="Python file that registers your own methods or problems. Repeatable."),
]
_LIMIT = "[METHODS:]COLUMN:LIMIT"
_LIMITS = (
    "seconds:50% allows 50 % more time (the lower quartile of the samples), gradient_error:3x "
    "three times the error. METHODS is a pattern, e.g. torch/newton*: the limit is for methods "
    "whose names fit it. Repeatable."
)
FailOnBaseline = Annotated[
    list[str],
    typer.Option(
        "--fail-on",
        metavar=_LIMIT,
        help=f"Fail if a column has grown beyond LIMIT, compared with the baseline: {_LIMITS}",
    ),
]
FailOnBase = Annotated[
    list[str],
    typer.Option(
        "--fail-on",
        metavar=_LIMIT,
        help=f"Fail if a column has grown beyond LIMIT, compared with BASE: {_LIMITS}",
    ),
]
AcrossOfCheck = Annotated[
    str,
    typer.Option(
        "--across",
        metavar="WORD,..",
        help="Compare RUN and the baseline although they differ in what these words name: problem "
        "(the matrices), versions (the releases of the libraries; with this word, counts of "
        "operations are never compared), machine (the hardware and other facts of the "
        "environment). Otherwise the command refuses to compare them. Without a limit on a time, "
        "the machine may differ in any case.",
    ),
]
AcrossOfCompare = Annotated[
    str,
    typer.Option(
        "--across",
        metavar="WORD,..",
        help="Compare the two runs although they differ in what these words name: problem (the "
        "matrices), machine (the hardware, the releases of the libraries and other facts of the "
        "environment). Otherwise the command refuses to compare them.",
    ),
]
Display = Annotated[
    str,
    typer.Option(
        help="How to print the compared rows: simple, intervals (with confidence intervals) or "
        "explain (with reasons and advice)."
    ),
]
GitHub = Annotated[
    bool,
    typer.Option(
        "--github",
        help="In GitHub Actions: also write the job summary, annotations and step outputs.",
    ),
]


class Engine(StrEnum):
    """Where the work of a command is done: on this machine, or on a cluster with Slurm."""

    LOCAL = "local"
    SLURM = "slurm"


EngineOption = Annotated[
    Engine,
    typer.Option(
        help="Where to measure: local is this machine, slurm a cluster, on whose login node the "
        "command is typed."
    ),
]
SlurmOptions = Annotated[
    list[str],
    typer.Option(
        "--slurm",
        metavar="KEY=VALUE",
        help="With --engine slurm: an option of sbatch, such as partition=gpu, gres=gpu:1, "
        "cpus-per-task=8 or exclusive. Repeatable.",
    ),
]
ShardsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="With --engine slurm: into how many parts the work is dealt, each of which is a task.",
        show_default="parts of about ten minutes, or one for each seed",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def words(text: str) -> list[str]:
    """Return the comma-separated words of a text."""
    return [w.strip() for w in text.split(",") if w.strip()]


def without(words: Sequence[str], *options: str) -> list[str]:
    """Return the words of a command line without these options and their values."""
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if not {before, word, word.partition("=")[0]} & {*options}
    ]


def refuse_options_of_a_cluster(
    engine: Engine, given: Mapping[str, object], shard: str | None
) -> None:
    """Raise SuiteError for options that do not go with the engine.

    given: the values of the options that are for a cluster, by their names. shard: of --shard.
    """
    if engine is Engine.LOCAL and (wrong := [name for name, value in given.items() if value]):
        raise SuiteError(f"{wrong[0]} is for a cluster: say --engine slurm, or leave it out.")
    if engine is Engine.SLURM and shard is not None:
        raise SuiteError(
            "--engine slurm deals all shards by itself: leave out --shard. Their number is that of "
            "--shards."
        )


def examples(*lines: str) -> str:
    """Return the end of a help page, with one example command on each line."""
    return "\n\n".join([f"Example{'s' if len(lines) > 1 else ''}:", *lines])
