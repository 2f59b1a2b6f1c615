"""Problems on which no method could be compared: no method's fault, so they count against none."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.measurement import UNTRIED
from mssbench.records.noise import UNVERIFIED
from mssbench.results.labels import spoken

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[Any, ...]


class LeftOut(NamedTuple):
    """A problem on which no method was compared, and how the first of its rows ended.

    spectrum: what was measured of its matrices, see kinds.spectrum; empty where nothing was.
    """

    column: Key
    problem: str
    ended: str
    spectrum: str = ""

    @property
    def name(self) -> str:
        """The problem with what was measured of it: `convfeat(positions=49) (κ 1e11)`."""
        return f"{self.problem} ({self.spectrum})" if self.spectrum else self.problem


def comparable(
    frame: "pd.DataFrame", competition: list[str]
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """The rows without those of inputs on which no method can be compared; and a row for each such.

    That is where nothing was tried, or where the reference itself is not known well enough. Where
    no other input is left to a competition its rows stay, and say why.
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
    """`left out at n = 96: convfeat (unsupported)`, a sentence for each column of a block."""
    columns: dict[Key, list[str]] = {}
    for each in left_out:
        about = ", ".join(filter(None, [each.spectrum, each.ended]))
        columns.setdefault(each.column, []).append(f"{each.problem} ({about})")
    for column, problems in columns.items():
        where = ", ".join(map(spoken, column_names, column))
        yield f"left out at {where}: {', '.join(dict.fromkeys(problems))}"
