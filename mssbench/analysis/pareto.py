"""Find the methods that no other method beats in time and in errors: the Pareto front of a run.

A front is found for each size, batch, precision, device, function and phase, and for each kind of
matrix: easy, hard, singular, or with repeated eigenvalues. Both errors of a step count, that of the
root and that of the gradient.

Times are intervals, so that some comparisons cannot be decided. A method is

* `front` if no other method, whatever the true times are, is as fast and as accurate;
* `undecided` if another one is as accurate, and their intervals overlap;
* `beaten` if another one is as accurate and certainly faster.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, log
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import kinds
from mssbench.analysis.decision import PLACE, WALL
from mssbench.analysis.kinds import ProblemKind
from mssbench.analysis.naming import short_names
from mssbench.records.measurement import ABSENT
from mssbench.results.labels import METHOD, with_outcomes
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

# Key columns that have one value in all rows of a front.
KEYS = (*PLACE, "phase")
# Errors are estimates: within this factor they count as equal, as in `compare`.
_SAME_ERROR = 2.0


class Standing(StrEnum):
    """Whether a method is on the front, see the module."""

    FRONT = "front"
    UNDECIDED = "undecided"
    BEATEN = "beaten"


class Contender(NamedTuple):
    """A method that is right on all matrices of a front, with its time and errors.

    seconds, low, high: the geometric means, over the problems and seeds, of the medians and of the
        ends of their intervals.
    root_error, gradient_error: the largest relative errors; the second is NaN in a forward.
    by: the label of a method that beats it, or may do so; empty if there is none.
    """

    method: str
    seconds: float
    low: float
    high: float
    root_error: float
    gradient_error: float
    standing: Standing = Standing.FRONT
    by: str = ""


@dataclass
class Front:
    """The methods at one place on one kind of matrix, fastest first.

    place: the values of KEYS.
    problems: the names of the problems of this kind.
    not_right: for each method that is not right on all of them, why, such as `inaccurate`. Methods
        that cannot run on the machine are left out.
    """

    place: dict[str, Any]
    kind: ProblemKind
    problems: tuple[str, ...]
    contenders: list[Contender] = field(default_factory=list)
    not_right: dict[str, str] = field(default_factory=dict)


def fronts(frame: "pd.DataFrame") -> list[Front]:
    """Return the fronts of the rows of a run, measured by the wall clock, in the order of the rows.

    The phase `backward` has none, since its time cannot be had without that of a forward.
    """
    rows = with_outcomes(frame[(frame["clock"] == WALL) & (frame["phase"] != "backward")])

    able = rows[~rows["status"].isin(ABSENT)]

    found = []
    for key, of_place in able.groupby(list(KEYS), sort=False, dropna=False):
        place = dict(zip(KEYS, key, strict=True))
        part = _named(of_place)
        for kind in kinds.kinds(part).values():
            of_kind = part[part["problem"].isin(kind.problems)]
            front = _front(place, kind, of_kind)
            if front.contenders or front.not_right:
                found.append(front)
    return found


def _named(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Return the rows with short names of their methods in the column `method`."""
    methods = rows.drop_duplicates(list(METHOD))
    names = short_names([dict(row) for row in Rows(methods[list(METHOD)])])
    by_label = dict(zip(methods["method"], names, strict=True))
    return rows.assign(method=rows["method"].map(by_label))


def _front(place: Mapping[str, Any], kind: ProblemKind, rows: "pd.DataFrame") -> Front:
    """Return the front of these rows, which all have the same place and kind of matrix."""
    front = Front(dict(place), kind, kind.problems)
    inputs = rows[["problem", "seed"]].drop_duplicates()

    right = []
    for method, of_method in rows.groupby("method", sort=False):  # short names, see `_named`
        measured = of_method[of_method["usable"] & of_method["seconds_median"].notna()]
        if len(measured.drop_duplicates(["problem", "seed"])) < len(inputs):
            front.not_right[str(method)] = _why(of_method, len(inputs))
        else:
            right.append(_contender(str(method), measured))

    front.contenders = placed(right)
    return front


def _why(rows: "pd.DataFrame", inputs: int) -> str:
    """Return the most frequent outcome of a method that is not right on all inputs of a front.

    inputs: the number of the front's problems and seeds.
    """
    wrong = rows.loc[~rows["usable"], "ended"]
    if wrong.empty:
        return f"measured on {len(rows)} of {inputs} problems"
    return str(wrong.value_counts().index[0])


def _contender(method: str, rows: "pd.DataFrame") -> Contender:
    """Return a method with its time and errors over the rows of all problems and seeds."""
    return Contender(
        method,
        seconds=_geometric_mean(rows["seconds_median"]),
        low=_geometric_mean(rows["seconds_low"]),
        high=_geometric_mean(rows["seconds_high"]),
        root_error=float(rows["root_error"].max()),
        gradient_error=float(rows["gradient_error"].max()),
    )


def _geometric_mean(seconds: "pd.Series") -> float:
    return exp(sum(map(log, seconds)) / len(seconds))


def placed(contenders: Sequence[Contender]) -> list[Contender]:
    """Return methods with their standings among each other, fastest first."""
    by_time = sorted(contenders, key=lambda contender: contender.seconds)
    return [_with_standing(contender, by_time) for contender in by_time]


def _with_standing(contender: Contender, others: Sequence[Contender]) -> Contender:
    """Return a method with its standing among the others."""
    as_accurate = [other for other in others if _is_rival(other, contender)]

    for other in as_accurate:
        if other.high < contender.low:
            return contender._replace(standing=Standing.BEATEN, by=other.method)
    for other in as_accurate:
        if other.seconds < contender.seconds and other.low <= contender.high:
            return contender._replace(standing=Standing.UNDECIDED, by=other.method)
    return contender


def _is_rival(other: Contender, contender: Contender) -> bool:
    """Whether another method is as accurate as this one. An unknown error is as good as none."""
    return other.method != contender.method and all(
        not theirs > _SAME_ERROR * mine
        for theirs, mine in (
            (other.root_error, contender.root_error),
            (other.gradient_error, contender.gradient_error),
        )
    )


def as_data(found: Sequence[Front]) -> Iterator[dict[str, Any]]:
    """Yield one record for each method of each front, for JSON."""
    for front in found:
        common = front.place | {
            "kind": front.kind.name,
            "problems": list(front.problems),
            "condition": front.kind.condition,
        }
        for contender in front.contenders:
            yield common | _record(contender)
        for method, why in front.not_right.items():
            yield common | {"method": method, "standing": "not_right", "why": why}


def _record(contender: Contender) -> dict[str, Any]:
    return {
        "method": contender.method,
        "standing": str(contender.standing),
        "by": contender.by or None,
        "seconds": contender.seconds,
        "seconds_low": contender.low,
        "seconds_high": contender.high,
        "root_error": contender.root_error,
        "gradient_error": contender.gradient_error,
    }
