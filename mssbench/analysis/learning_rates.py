"""Compare methods over a grid of learning rates: each at every rate, and each at its best one.

The best rate of a method is the one with its highest mean accuracy, among the rates at which all of
its trainings ended well. A best rate at the edge of the grid says that a rate outside of it may be
better still.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from mssbench.analysis.trainings import (
    APART,
    LEAST_SEEDS,
    Difference,
    exact_root,
    holm,
    paired,
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

    accuracies: of the rates at which all of its seeds ended well. rates: all at which it was
    trained. best: None without such a rate. difference: from the reference, both at their best.
    """

    method: str
    accuracies: Mapping[float, Mapping[int, float]]
    rates: Sequence[float]
    best: float | None
    difference: Difference | None = None

    @property
    def means(self) -> dict[float, float]:
        """The mean accuracy over the seeds by learning rate."""
        return {rate: fmean(by_seed.values()) for rate, by_seed in self.accuracies.items()}

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the smallest or the largest at which the method was trained."""
        return self.best in (min(self.rates), max(self.rates))


@dataclass
class Grid:
    """The methods of one task that was trained at several learning rates, alike in all else.

    title: what is alike. seeds: how many the best rates of all methods share. reference: the method
    that differences are taken from; empty if it was not trained.
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


def grids(trainings: "pd.DataFrame") -> list[Grid]:
    """Return a grid for each task with two or more learning rates, trained alike in all else.

    With enough seeds the methods are in the order of their accuracy at the best rate; otherwise in
    the order of the suite.
    """
    found = []
    for key, rows in with_methods(trainings).groupby(_SETTING, sort=False):
        rates = sorted(float(rate) for rate in rows["learning_rate"].unique())
        if len(rates) < 2:
            continue
        lines = [_line(str(name), part) for name, part in rows.groupby("method", sort=False)]
        title = dict(zip(_SETTING, map(plain, key), strict=True))
        found.append(_compared(Grid(title, rates, 0, "", lines), exact_root(rows)))
    return found


def _line(method: str, rows: "pd.DataFrame") -> RateLine:
    """Return the line of a method."""
    seeds = rows["seed"].nunique()
    accuracies = {
        float(rate): dict(zip(part["seed"].tolist(), part["accuracy"].tolist(), strict=True))
        for rate, part in rows.groupby("learning_rate")
        if len(part) == seeds and (part["status"] == Status.OK).all()
    }
    line = RateLine(method, accuracies, sorted(rows["learning_rate"].unique()), None)
    line.best = max(accuracies, key=lambda rate: line.means[rate], default=None)
    return line


def _compared(grid: Grid, exact: set[str]) -> Grid:
    """Return a grid with its seeds, its reference, and the difference of each method from that.

    exact: the names of the exact root with its exact gradient.
    """
    at_best = {
        line.method: line.accuracies[line.best] for line in grid.lines if line.best is not None
    }
    grid.seeds = len(set.intersection(*map(set, at_best.values()))) if at_best else 0
    grid.reference = next((name for name in at_best if name in exact), "")
    if not grid.ranked:
        return grid

    if grid.reference:
        reference = at_best[grid.reference]
        raw = {
            name: paired(accuracies, reference)
            for name, accuracies in at_best.items()
            if name != grid.reference
        }
        adjusted = holm({name: difference.p for name, difference in raw.items()})
        for line in grid.lines:
            if line.method in raw:
                line.difference = raw[line.method]._replace(p=adjusted[line.method])
    grid.lines.sort(key=lambda line: -line.means[line.best] if line.best is not None else 1.0)
    return grid
