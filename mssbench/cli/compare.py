"""`mssbench compare`: two tables, row by row. Needs no torch."""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType

from mssbench.cli.judging import closing, end, judging
from mssbench.cli.options import Across, Display, GitHub, Json, OnlyRows, words
from mssbench.compare.describe import compare
from mssbench.compare.judgement import Judged, judgement_data
from mssbench.compare.tables import side
from mssbench.console import comparison as differences
from mssbench.console.comparison import check_display
from mssbench.errors import TableError, unknown
from mssbench.records.schema import KEY


def command(
    base: Annotated[Path, typer.Argument(metavar="BASE", help="Folder of a run.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Folder of another run.")],
    by: Annotated[str, typer.Option(help="Key columns of which means are taken.")] = "",
    only: OnlyRows = None,
    across: Across = "",
    display: Display = "simple",
    github: GitHub = False,
    as_json: Json = False,
) -> None:
    """Say of every row of two runs what became of it, from intervals and never from points alone.

    It describes: of two runs minutes or months apart no verdict on time is final, see `ab`. Exit
    code: 0 fine, 2 misuse, 5 not comparable, 6 nothing was measured on both sides.
    """
    check_display(display)
    with judging("mssbench compare", told=github, as_json=as_json) as tell:
        result = compared(base, new, words(across), words(by), only)
        code = result.outcome.exit_code
        tell(result, code)

    end(data(result, code) if as_json else tables(result, display), code)


def compared(
    base: Path, new: Path, across: Collection[str], by: Sequence[str], only: str | None
) -> Judged:
    """Compare two runs row by row.

    Raises TableError for a column of `by` that is no key, and what compare.compare raises.
    """
    for name in by:
        if name not in KEY:
            raise TableError(f"--by: {unknown('column', name, KEY)}")

    return compare(side(base, only), side(new, only), across, by)


def tables(result: Judged, display: str) -> Iterator[RenderableType]:
    """A comparison for people, with the line for machines last."""
    yield from differences.comparison(result, display)
    yield closing(result.outcome, result.verdicts)


def data(result: Judged, code: int) -> dict[str, Any]:
    """The same for JSON. code: the exit code of the process."""
    return {
        "verdict": result.outcome,
        "exit_code": code,
        "verdicts": dict(result.verdicts),
        "geometric_means": [
            dict(mean.at) | {"ratio": mean.ratio, "rows": mean.rows} for mean in result.means
        ],
        "rows": [judgement_data(judgement) for judgement in result.judgements],
    }
