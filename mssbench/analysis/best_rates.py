"""The best learning rate of a method: the one rule of the tables of rates and of claims.

A rate counts if it has all seeds of the method and all of its trainings are sound: their status is
ok, or one that a claim accepts. Of these rates the one with the highest mean accuracy is the best.
A rate at which networks do not train is known not to be the best one. A training that was
interrupted or crashed says nothing about its rate, so that the best rate is then not known for
sure: a claim is not resolved, and the table of rates says so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

from mssbench.records.measurement import Status
from mssbench.results.trainings import TRAINED

if TYPE_CHECKING:
    import pandas as pd

# The choice and the comparison use the same numbers, so that both are too good by chance.
CAUTION = (
    "A best rate is chosen by the mean accuracy of the same seeds on the same test data that are "
    "compared, which favours methods with more rates."
)


@dataclass(frozen=True)
class BestRate:
    """The learning rate at which a method is most accurate, and whether it is on the grid's edge.

    at_edge: whether it is the smallest or the largest rate at which the method was trained, so that
    a rate outside of the grid may be better.
    """

    rate: float
    at_edge: bool


class Rates(NamedTuple):
    """The learning rates of one method.

    trained: all rates, also those that do not count. accuracies: by rate and seed, of those that
    count. best: None if no rate counts.
    unknown: the trainings that say nothing about their rate, such as those that crashed.
    """

    trained: Sequence[float]
    accuracies: Mapping[float, Mapping[int, float]]
    best: BestRate | None
    unknown: "pd.DataFrame"

    @property
    def means(self) -> dict[float, float]:
        """The mean accuracy over the seeds by learning rate."""
        return {rate: fmean(by_seed.values()) for rate, by_seed in self.accuracies.items()}


def rates(rows: "pd.DataFrame", accept: Collection[str] = ()) -> Rates:
    """Return the learning rates of one method, see the module.

    rows: all of its trainings, alike but for rate and seed. accept: statuses besides ok that count.
    """
    rows = rows.reset_index(drop=True)
    sound = rows["status"].isin([str(Status.OK), *accept]) & rows["accuracy"].notna()
    seeds = rows["seed"].nunique()
    accuracies = {
        float(rate): dict(zip(part["seed"].tolist(), part["accuracy"].tolist(), strict=True))
        for rate, part in rows.groupby("learning_rate")
        if len(part) == seeds and sound[part.index].all()
    }
    trained = sorted(float(rate) for rate in rows["learning_rate"].unique())
    found = Rates(trained, accuracies, None, rows[~rows["status"].isin(TRAINED)])
    if not accuracies:
        return found
    means = found.means
    best = max(means, key=lambda rate: means[rate])
    return found._replace(best=BestRate(best, at_edge=best in (trained[0], trained[-1])))
