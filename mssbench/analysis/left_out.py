"""Leave out the problems on which no method could be compared, so that they count against none."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.measurement import UNTRIED
from mssbench.records.noise import UNVERIFIED
from mssbench.results.labels import spoken

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[Any, ...]


class LeftOut(NamedTuple):
    """A problem on which no method was compared, and the status of its first row.

    spectrum: the measured condition of its matrices, see kinds.spectrum; empty if unknown.
    """

    column: Key  # the column of the block that it is left out of
    problem: str
    ended: str
    spectrum: str = ""

    @property
    def name(self) -> str:
        """The problem with its measured condition: `convfeat(positions=49) (κ 1e11)`."""
        return f"{self.problem} ({self.spectrum})" if self.spectrum else self.problem


def comparable(
    frame: "pd.DataFrame", competition: list[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Split off the inputs on which no method can be compared.

    Returns the other rows, and one row for each problem that is left out. An input is left out if
    no method was tried on it, or if its reference is not accurate enough. If a competition has no
    other input, its rows are kept, so that the table shows the reason.

    frame: rows with `ended` and `_point`. competition: columns in which compared rows are equal.
    """
    tried, verified = ~frame["ended"].isin(UNTRIED), frame["ended"] != UNVERIFIED
    if tried.all() and verified.all():
        return frame, frame.iloc[:0]

    frame = frame.assign(_tried=tried, _verified=verified)
    points = frame.groupby([*competition, "_point"], dropna=False)
    frame["_fit"] = points["_tried"].transform("any") & points["_verified"].transform("all")

    any_fit = frame.groupby(competition, dropna=False)["_fit"].transform("any")
    out = frame[any_fit & ~frame["_fit"]]
    unverified_first = out.sort_values("_verified", kind="stable")
    return (
        frame[frame["_fit"] | ~any_fit],
        unverified_first.drop_duplicates([*competition, "problem"]).sort_index(),
    )


def sentences(left_out: Iterable[LeftOut], column_names: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each column of a block: `left out at n = 96: convfeat (unsupported)`."""
    columns: dict[Key, list[str]] = {}
    for omission in left_out:
        about = ", ".join(filter(None, [omission.spectrum, omission.ended]))
        columns.setdefault(omission.column, []).append(f"{omission.problem} ({about})")
    for column, problems in columns.items():
        where = ", ".join(map(spoken, column_names, column))
        yield f"left out at {where}: {', '.join(dict.fromkeys(problems))}"
