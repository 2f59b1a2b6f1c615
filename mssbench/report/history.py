"""Detect steps in the times of cells over several runs, sorted by date.

A machine may become faster or slower as a whole between two runs. The time divided by that of one
batched product of the same shape in the same run (the column `gemms`) cancels this, so that a step
must show in both, if both are known.
"""

from collections.abc import Iterator, Sequence
from math import isfinite, log
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from mssbench.records.schema import KEY
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

LEAST_RUNS = 3  # with fewer runs there is a comparison, but no history
_EACH_SIDE = 2  # runs on each side of a step: a single run may have been disturbed
_LEAST = 1.05  # smaller changes are within what two builds of the same code differ by

RULE = (
    "The runs are sorted by date. A step divides them in two so that every 95 % interval before it "
    "lies on one side of every interval after it, with at least "
    f"{_EACH_SIDE} runs on each side and a change of at least {100 * (_LEAST - 1):.0f} %. The same "
    "must hold for the time counted in batched products of the same run, so that a machine that "
    "became faster or slower as a whole is no step. Where that is unknown before or after the "
    "step, the time alone decides, and the machine may be the reason."
)


class Moment(NamedTuple):
    """The time of a cell in one run.

    row: the number of the row in the table. seconds, low, high: the median and its 95 % interval.
    gemms: the time counted in batched products; NaN if it was not measured. machine: the hash of
    the machine and its libraries.
    """

    row: int
    name: str
    seconds: float
    low: float
    high: float
    gemms: float
    machine: str


class Step(NamedTuple):
    """A change of a cell's time that lasts.

    row: the first row after it. before, after: the last run before it and the first one after it.
    ratio: the median time after it, divided by that before it. ratio_in_products: the same for
    times counted in batched products; NaN if they are unknown. elsewhere: whether the run after it
    was measured on another machine, or with other libraries, than the one before.
    """

    row: int
    before: str
    after: str
    ratio: float
    ratio_in_products: float
    elsewhere: bool


def steps(table: "pd.DataFrame") -> list[Step]:
    """Return the steps in the times of all cells that several runs measured, largest first.

    table: the rows of all runs, see drawn.py. Its index numbers the rows.
    """
    # The logarithm of a time of zero, which a coarse clock may measure, is not finite.
    timed = table[table["usable"] & (table["seconds_low"] > 0)].sort_values(
        "started", kind="stable"
    )
    columns = ["moment", "seconds_median", "seconds_low", "seconds_high", "gemms", "machine"]

    found: list[Step] = []
    for _, rows in timed.groupby(list(KEY), sort=False, dropna=False):
        if len(rows["run"].unique()) < LEAST_RUNS:
            continue
        plain = Rows(rows[columns].astype(object).where(rows[columns].notna(), float("nan")))
        moments = [
            Moment(int(row), *(plain.column(name)[i] for name in columns))
            for i, row in enumerate(rows.index)
        ]
        found += _steps(moments)
    return sorted(found, key=lambda step: -abs(log(step.ratio)))


def _steps(moments: Sequence[Moment]) -> Iterator[Step]:
    """Yield the steps among some moments of one cell: the largest, then those on either side."""
    splits = [
        (abs(log(ratio)), at)
        for at in range(_EACH_SIDE, len(moments) - _EACH_SIDE + 1)
        if (ratio := _change(moments[:at], moments[at:])) is not None
    ]
    if not splits:
        return

    _, at = max(splits)
    before, after = moments[:at], moments[at:]
    ratio = _change(before, after)
    assert ratio is not None
    in_products = _ratio([m.gemms for m in before], [m.gemms for m in after])
    yield Step(
        after[0].row,
        before[-1].name,
        after[0].name,
        ratio,
        in_products,
        before[-1].machine != after[0].machine,
    )
    yield from _steps(before)
    yield from _steps(after)


def _change(before: Sequence[Moment], after: Sequence[Moment]) -> float | None:
    """Return the ratio of the times after and before, or None if there is no step between them."""
    ratio = _ratio([m.seconds for m in before], [m.seconds for m in after])
    if max(ratio, 1 / ratio) < _LEAST:
        return None

    lower, upper = (before, after) if ratio > 1 else (after, before)
    if max(m.high for m in lower) >= min(m.low for m in upper):
        return None

    fewer, more = ([m.gemms for m in side if isfinite(m.gemms)] for side in (lower, upper))
    known = bool(fewer and more)
    if known and (max(fewer) >= min(more) or median(more) < _LEAST * median(fewer)):
        return None
    return ratio


def _ratio(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the median of the numbers after, divided by that of the numbers before."""
    known = [[x for x in side if isfinite(x)] for side in (before, after)]
    if not all(known) or median(known[0]) == 0:
        return float("nan")
    return median(known[1]) / median(known[0])
