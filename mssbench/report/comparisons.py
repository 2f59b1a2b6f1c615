"""Compare each run of a report with the first one, row by row."""

from collections.abc import Mapping
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.compare.describe import compare
from mssbench.compare.judgement import Judged
from mssbench.compare.tables import StoredRun
from mssbench.errors import MssbenchError
from mssbench.records.schema import KEY
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

    from mssbench.results.run import Run

_OTHER_MACHINE = (
    "The two runs come from different machines, so that the ratios compare the machines as well as "
    "the code."
)


class Comparison(NamedTuple):
    """The comparison of a run with the first one.

    base, new: the names of the runs. remarks: sentences on what was not compared, and why.
    rows: for each pair of rows the number of one of them in the table, the verdict, the ratio of
    the times new / base with its interval, and the reason.
    """

    base: str
    new: str
    remarks: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]


def comparisons(table: "pd.DataFrame", runs: Mapping[str, "Run"]) -> list[Comparison]:
    """Return the comparison of each run but the first with the first one.

    table: the rows of all runs, see drawn.py. Its index numbers the rows. runs: by name.
    """
    base, *others = runs
    numbers = _numbers(table)
    return [_comparison(base, new, runs, numbers) for new in others]


def _numbers(table: "pd.DataFrame") -> dict[tuple[Any, ...], int]:
    """Return the number of each row by its run and its key."""
    rows = Rows(table)
    keys = zip(*(rows.column(name) for name in ("run", *KEY)), strict=True)
    return dict(zip(keys, table.index.tolist(), strict=True))


def _comparison(
    base: str, new: str, runs: Mapping[str, "Run"], numbers: Mapping[tuple[Any, ...], int]
) -> Comparison:
    """Return the comparison of two runs. numbers: the number of each row by its run and key."""
    sides = [StoredRun(runs[name].current, runs[name].facts) for name in (base, new)]
    try:
        judged, remarks = _judged(*sides)
    except MssbenchError as error:
        # The option of the command that the message goes on to name is none of the report.
        why = str(error).partition(" To compare them")[0]
        return Comparison(base, new, (f"These two runs cannot be compared: {why}",), ())

    rows = []
    for judgement in judged.judgements:
        name = base if judgement.pair.new is None else new
        key = (name, *(judgement.pair.row[column] for column in KEY))
        rows.append(
            {
                "row": numbers[key],
                "verdict": judgement.words,
                "ratio": _usable(judgement.ratio),
                "low": _usable(judgement.low),
                "high": _usable(judgement.high),
                "reason": judgement.reason,
            }
        )
    return Comparison(base, new, (*remarks, *judged.remarks), tuple(rows))


def _usable(ratio: float | None) -> float | None:
    """Return a ratio that has a logarithm; None for another one, as of a time of zero."""
    return ratio if ratio is not None and 0 < ratio < inf else None


def _judged(base: StoredRun, new: StoredRun) -> tuple[Judged, tuple[str, ...]]:
    """Return the judgements on two runs, and a remark if they come from different machines.

    Raises NotComparable if they have other matrices, or no row in common.
    """
    try:
        return compare(base, new), ()
    except MssbenchError:
        return compare(base, new, across=["machine"]), (_OTHER_MACHINE,)
