"""`mssbench compare`: compare two runs row by row. It does not import torch."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from mssbench.cli.judging import closing, judging
from mssbench.cli.options import AcrossOfCompare, Display, GitHub, Json, OnlyRows, words
from mssbench.cli.output import output, output_json
from mssbench.compare.describe import compare
from mssbench.compare.judgement import Judged, judgement_data
from mssbench.compare.tables import side
from mssbench.console import comparison
from mssbench.console.comparison import check_display
from mssbench.errors import TableError, unknown
from mssbench.records.schema import KEY

EXAMPLES = ("mssbench compare results/before results/after --by forward",)


def command(
    base: Annotated[
        Path, typer.Argument(metavar="BASE", help="Folder of the run to compare NEW with.")
    ],
    new: Annotated[
        Path, typer.Argument(metavar="NEW", help="Folder of the run that is compared with BASE.")
    ],
    by: Annotated[
        str,
        typer.Option(
            metavar="COLUMN,..",
            help="Key columns, e.g. forward,size: print a mean ratio of times for each of their "
            "values, besides phase, clock and cache.",
        ),
    ] = "",
    only: OnlyRows = None,
    across: AcrossOfCompare = "",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Compare two runs row by row.

    A difference in time is reported only where the confidence intervals of both medians do not
    overlap. The command never fails because of a time: use `ab` to decide whether a time has
    changed. Runs with other code are compared with a remark; runs with other inputs or from other
    machines are compared only if --across says so. Exit code: 0 fine, 2 misuse, 5 not comparable,
    6 nothing was measured on both sides.
    """
    check_display(display)
    with judging("compare", told=github, as_json=as_json) as tell:
        result = compared(base, new, words(across), words(by), only)
        code = result.outcome.exit_code
        tell(result, code)

    if as_json:
        output_json("compare", data(result, code))
    else:
        output(tables(result, display))
    raise typer.Exit(code)


def compared(
    base: Path, new: Path, across: Collection[str], by: Sequence[str], only: str | None
) -> Judged:
    """Compare the rows of two runs for which `only` holds, and return the result.

    across: aspects in which the runs may differ, see `--across`. by: key columns; the means of the
    ratios of times are taken for each combination of their values.
    Raises TableError for a column of `by` that is no key column, for an unknown word in `across`,
    or if there is no such run or row, and NotComparable if the runs differ in another aspect or
    have no row in common.
    """
    for name in by:
        if name not in KEY:
            raise TableError(f"--by: {unknown('column', name, KEY)}")

    return compare(side(base, only), side(new, only), across, by)


def tables(result: Judged, display: str) -> Iterator[RenderableType]:
    """Yield the tables of a comparison; the last line has a fixed form, for scripts."""
    yield from comparison.comparison(result, display)
    yield closing(result)


def data(result: Judged, code: int) -> dict[str, Any]:
    """Return the result of a comparison for JSON. code: the exit code of the process."""
    return {
        "verdict": result.outcome,
        "exit_code": code,
        "verdicts": dict(result.verdicts),
        "remarks": list(result.remarks),
        "geometric_means": [
            dict(mean.at) | {"ratio": mean.ratio, "rows": mean.rows} for mean in result.means
        ],
        "rows": [judgement_data(judgement) for judgement in result.judgements],
    }
