"""Find the methods that no other method beats in time and in errors: the Pareto front of a run.

A front is found for each size, batch, precision, device, function and phase, and for each kind of
matrix: easy, hard, singular, or with repeated eigenvalues. Both errors of a step count, that of the
root and that of the gradient.

Times have confidence intervals, so that some comparisons cannot be decided. A method is

* `front` if no other method that is as accurate has a shorter time;
* `undecided` if one has a shorter time, but their intervals overlap;
* `beaten` if one has a shorter time, and their intervals do not overlap.

Methods that regularize the matrix (with a ridge or a tolerance) are not compared: their errors are
those of the root of another matrix.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import exp, isnan, log
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import kinds
from mssbench.analysis.decision import PLACE, is_regularized
from mssbench.analysis.kinds import ProblemKind
from mssbench.analysis.naming import short_names
from mssbench.records.cell import WALL
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
    """Whether a method is on the front. The docstring of the module defines the three words."""

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
    not_compared: for each method that is no contender, why: a status such as `inaccurate`, or that
        it was not measured on all problems, or that it regularizes. Methods that cannot run on the
        machine are in neither list.
    """

    place: dict[str, Any]
    kind: ProblemKind
    problems: tuple[str, ...]
    contenders: list[Contender] = field(default_factory=list)
    not_compared: dict[str, str] = field(default_factory=dict)


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
            if front.contenders or front.not_compared:
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
        if why := _why_not(of_method, len(inputs)):
            front.not_compared[str(method)] = why
        else:
            right.append(_contender(str(method), of_method))

    front.contenders = placed(right)
    return front


def _why_not(rows: "pd.DataFrame", inputs: int) -> str:
    """Return why a method is no contender, or an empty text if it is one.

    rows: the rows of the method. inputs: the number of batches of matrices of the front, one for
    each problem and seed.
    """
    if is_regularized(rows.iloc[0]):
        return "it takes the root of a changed matrix (ridge or rtol)"

    wrong = rows.loc[~rows["usable"], "ended"]
    if len(wrong):
        return str(wrong.value_counts().index[0])
    if (measured := int(rows["seconds_median"].notna().sum())) < inputs:
        return f"measured on {measured} of {inputs} batches of matrices"
    return ""


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
        if other.seconds < contender.seconds:  # and the intervals overlap
            return contender._replace(standing=Standing.UNDECIDED, by=other.method)
    return contender


def _is_rival(other: Contender, contender: Contender) -> bool:
    """Whether another method is as accurate as this one, in root and gradient."""
    return (
        other.method != contender.method
        and _is_as_small(other.root_error, contender.root_error)
        and _is_as_small(other.gradient_error, contender.gradient_error)
    )


def _is_as_small(error: float, other: float) -> bool:
    """Whether an error is smaller than another one or counts as equal to it.

    An unknown error (NaN) is equal to another unknown one only: a forward has no gradient error.
    """
    if isnan(error) or isnan(other):
        return isnan(error) and isnan(other)
    return error <= _SAME_ERROR * other


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
        for method, why in front.not_compared.items():
            yield common | {"method": method, "standing": "not_compared", "why": why}


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
