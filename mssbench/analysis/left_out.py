"""Leave out problems on which no method could be compared, so that they count against no method.

A problem is a generator of matrices with its parameters, such as `convfeat(positions=49)`.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.measurement import UNTRIED
from mssbench.records.noise import UNVERIFIED
from mssbench.results.labels import spoken

if TYPE_CHECKING:
    import pandas as pd

GroupKey = tuple[Any, ...]


class LeftOut(NamedTuple):
    """A problem on which no method was compared, and the status of its first row.

    spectrum: the measured condition numbers of its matrices as text, such as `κ 1e11`; empty if
    unknown.
    """

    column: GroupKey  # the column of the block that it is left out of
    problem: str
    ended: str
    spectrum: str = ""

    @property
    def name(self) -> str:
        """The name of the problem for a sentence: `convfeat(positions=49) (κ 1e11)`.

        The measured condition number is left out if it is unknown.
        """
        return f"{self.problem} ({self.spectrum})" if self.spectrum else self.problem


def comparable(
    frame: "pd.DataFrame", competition: list[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Split off the inputs, such as a problem with a seed, on which no method can be compared.

    Returns the other rows, and one row for each problem that is left out. An input is left out if
    no method was tried on it, or if its reference is not accurate enough. Where methods have no
    other input to be compared on, the rows are kept, so that the table shows the reason.

    frame: rows with the columns `ended`, the status, and `_point`, the number of the input.
    competition: the columns in which rows must be equal for their methods to be compared.
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
    """Yield sentences such as `left out at n = 96: convfeat (unsupported)`.

    There is one for each column of a printed table from which a problem was left out.
    column_names: the axes that distinguish the columns of the table, such as the size.
    """
    columns: dict[GroupKey, list[str]] = {}
    for omission in left_out:
        about = ", ".join(filter(None, [omission.spectrum, omission.ended]))
        columns.setdefault(omission.column, []).append(f"{omission.problem} ({about})")
    for column, problems in columns.items():
        where = ", ".join(map(spoken, column_names, column))
        yield f"left out at {where}: {', '.join(dict.fromkeys(problems))}"
