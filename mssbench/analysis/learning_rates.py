"""Compare methods over a grid of learning rates: each at every rate, and each at its best one.

What a best rate is, says `best_rates`. A best rate at the edge of the grid says that a rate outside
of it may be better still.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mssbench.analysis.best_rates import BestRate, Rates, rates
from mssbench.analysis.trainings import (
    APART,
    LEAST_SEEDS,
    Difference,
    differences,
    exact_root,
    plain,
    with_methods,
)
from mssbench.records.measurement import Status

if TYPE_CHECKING:
    import pandas as pd

_SETTING = [name for name in APART if name != "learning_rate"]


@dataclass
class RateLine:
    """One method over a grid: its accuracies by rate and seed, and its best rate.

    unknown: how many of its trainings say nothing about their rate. statuses: theirs. shared: how
    many seeds it has in common with the reference, both at their best rate; all of its own without
    a reference. difference: from the reference, both at their best.
    """

    method: str
    rates: Rates
    unknown: int
    statuses: Sequence[str]
    shared: int = 0
    difference: Difference | None = None

    @property
    def best(self) -> BestRate | None:
        """The best rate; None if no rate counts."""
        return self.rates.best


@dataclass
class Grid:
    """The methods of one task that was trained at several learning rates, alike in all else.

    title: what is alike. seeds: the most that a method has in common with the reference, both at
    their best rate, or has if there is no reference. reference: the method that differences are
    taken from; empty if it was not trained.
    """

    title: Mapping[str, Any]
    rates: Sequence[float]
    seeds: int
    reference: str
    lines: list[RateLine] = field(default_factory=list)

    @property
    def ranked(self) -> bool:
        """Whether there are enough seeds to say which method is better."""
        return self.seeds >= LEAST_SEEDS

    @property
    def few(self) -> list[RateLine]:
        """The methods with too few seeds to be ranked, in a grid that is."""
        some = [line for line in self.lines if line.best is not None]
        return [line for line in some if self.ranked and line.shared < LEAST_SEEDS]


def grids(trainings: "pd.DataFrame") -> list[Grid]:
    """Return a grid for each task with two or more learning rates, trained alike in all else.

    trainings: also those that were interrupted, since a best rate is not known for sure without
    them. A method, or a task, of which no training has ended is left out, and so is a method with a
    single rate: at its best, it would be compared with others that had a choice.
    With enough seeds the methods are in the order of their accuracy at the best rate; otherwise in
    the order of the suite.
    """
    found = []
    for key, alike in with_methods(trainings).groupby(_SETTING, sort=False):
        ended = alike.loc[alike["status"] != Status.INTERRUPTED, "method"]
        ran = alike[alike["method"].isin(ended)]
        rows = ran[ran.groupby("method")["learning_rate"].transform("nunique") > 1]
        of_grid = sorted(float(rate) for rate in rows["learning_rate"].unique())
        if len(of_grid) < 2:
            continue
        lines = [_line(str(name), part) for name, part in rows.groupby("method", sort=False)]
        title = dict(zip(_SETTING, map(plain, key), strict=True))
        found.append(_compared(Grid(title, of_grid, 0, "", lines), exact_root(rows)))
    return found


def _line(method: str, rows: "pd.DataFrame") -> RateLine:
    """Return the line of a method."""
    found = rates(rows)
    statuses = tuple(dict.fromkeys(found.unknown["status"].tolist()))
    return RateLine(method, found, len(found.unknown), statuses)


def _compared(grid: Grid, exact: set[str]) -> Grid:
    """Return a grid with its seeds, its reference, and the difference of each method from that.

    exact: the names of the exact root with its exact gradient.
    """
    at_best = {
        line.method: line.rates.accuracies[line.best.rate]
        for line in grid.lines
        if line.best is not None
    }
    grid.reference = next((name for name in at_best if name in exact), "")
    for line in grid.lines:
        own = at_best.get(line.method, {})
        line.shared = len(own.keys() & at_best.get(grid.reference, own).keys())
    grid.seeds = max((line.shared for line in grid.lines), default=0)
    if not grid.ranked:
        return grid

    if grid.reference:
        found = differences(at_best, grid.reference)
        for line in grid.lines:
            line.difference = found.get(line.method)
    grid.lines.sort(key=_place)
    return grid


def _place(line: RateLine) -> tuple[bool, float]:
    """Return what sorts the methods of a grid: those with enough seeds by their accuracy."""
    mean = line.rates.means[line.best.rate] if line.best is not None else -1.0
    return line.shared < LEAST_SEEDS, -mean
