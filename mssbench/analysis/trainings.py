"""Compare methods by the trainings of their networks, paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.errors import TableError
from mssbench.records.measurement import Status
from mssbench.records.training import TrainingCell

if TYPE_CHECKING:
    import pandas as pd

LEAST_SEEDS = 5  # with fewer, the spread of seeds is not known well enough to rank anything
LEVEL = 0.05  # of the adjusted p-values, so that a wrong sentence appears in one table of twenty
_CONFIDENCE = 0.95
# The method that others are compared with, if it is there: the exact root with its exact gradient.
_REFERENCE = {"forward": "eigh", "backward": "loewner", "options": "", "then": ""}
# What is equal for all methods of a group.
ALIKE = [
    "task",
    "learning_rate",
    "epochs",
    "batch",
    "precision",
    "places",
    "channels",
    "policy",
    "device",
]


class Difference(NamedTuple):
    """The accuracy of a method minus that of the reference, over the seeds that both have.

    low, high: the 95 % t interval of the mean. wins: seeds in which the method is better.
    p: the p-value of the two-sided t test, adjusted by Holm for all methods of the group.
    """

    mean: float
    low: float
    high: float
    wins: int
    seeds: int
    p: float


@dataclass
class Line:
    """One method of a group: its accuracies by seed, and what went wrong.

    skipped: the largest share of skipped steps. first: accuracy after the first epoch, the mean.
    """

    method: str
    accuracies: dict[int, float]
    statuses: tuple[str, ...]
    loss: float
    first: float
    skipped: float
    milliseconds: float
    root_share: float
    difference: Difference | None = None

    @property
    def ok(self) -> bool:
        """Whether every training of the method ended well."""
        return not self.statuses

    @property
    def mean(self) -> float:
        """The mean accuracy over the seeds."""
        return fmean(self.accuracies.values())

    @property
    def spread(self) -> float:
        """The standard deviation of the accuracy over the seeds; NaN for a single one."""
        values = list(self.accuracies.values())
        return stdev(values) if len(values) > 1 else float("nan")


@dataclass
class Group:
    """The methods of one task, trained alike in one precision, most accurate first.

    seeds: how many all sound methods share. reference: the method that differences are taken from.
    ranked: whether there are enough seeds to say which method is better.
    """

    task: str
    learning_rate: float
    epochs: int
    batch: int
    precision: str
    places: int
    channels: int
    policy: str
    device: str
    seeds: int
    reference: str
    lines: list[Line] = field(default_factory=list)

    @property
    def ranked(self) -> bool:
        """Whether there are enough seeds to rank methods."""
        return self.seeds >= LEAST_SEEDS


def load(folder: Path) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Return the tables of trainings and of epochs of a run.

    Raises TableError if one is missing or cannot be read.
    """
    import pandas as pd

    tables = []
    for name in ("trainings.csv", "curves.csv"):
        file = folder / name
        try:
            texts = dict.fromkeys(("backward", "options", "then", "reason", "exception"), "str")
            table = pd.read_csv(file, dtype=texts, keep_default_na=True)
        except (OSError, ValueError) as error:
            raise TableError(f"{file} cannot be read: {error}") from None
        known = table[list(texts.keys() & set(table.columns))].fillna("")
        tables.append(table.assign(**{name: known[name] for name in known.columns}))
    return tables[0], tables[1]


def groups(trainings: "pd.DataFrame", curves: "pd.DataFrame") -> list[Group]:
    """Return the methods of each task, learning rate, number of epochs, batch and precision.

    Those that are sound have their difference from the exact root, if it was trained too.

    A method that skipped half of its steps has the status nonfinite, whatever its accuracy, and is
    not compared.
    """
    names = [
        TrainingCell(**{k: _plain(row[k]) for k in TrainingCell.__dataclass_fields__}).method
        for row in trainings.to_dict("records")
    ]
    trainings = trainings.assign(method=names)
    first = curves[curves["epoch"] == 1].set_index("cell_id")["accuracy"]

    found = []
    for key, rows in trainings.groupby(ALIKE, sort=False):
        lines = [_line(str(m), part, first) for m, part in rows.groupby("method", sort=False)]
        sound = [line for line in lines if line.ok]
        common = set.intersection(*(set(line.accuracies) for line in sound)) if sound else set()
        exact = set(rows.loc[(rows[list(_REFERENCE)] == _REFERENCE).all(axis=1), "method"])
        reference = next((line.method for line in sound if line.method in exact), "")
        group = Group(
            **dict(zip(ALIKE, map(_plain, key), strict=True)),
            seeds=len(common),
            reference=reference,
            lines=lines,
        )
        if group.ranked and reference:
            _compare(group, sound)
        lines.sort(key=lambda line: (not line.ok, -line.mean if line.accuracies else 0.0))
        found.append(group)
    return found


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _line(method: str, rows: "pd.DataFrame", first: "pd.Series") -> Line:
    """Return the line of a method. first: the accuracy after the first epoch, by cell."""
    trained = rows[rows["accuracy"].notna()]
    bad = rows.loc[rows["status"] != Status.OK, "status"]
    steps = trained["steps"].clip(lower=1)
    return Line(
        method,
        dict(zip(trained["seed"].tolist(), trained["accuracy"].tolist(), strict=True)),
        tuple(dict.fromkeys(bad.tolist())),
        loss=float(trained["loss"].mean()),
        first=float(first.reindex(trained["cell_id"]).mean()),
        skipped=float((trained["skipped"] / steps).max()),
        milliseconds=float((1e3 * trained["seconds"] / steps).median()),
        root_share=float((trained["root_seconds"] / trained["seconds"]).median()),
    )


def _compare(group: Group, sound: Sequence[Line]) -> None:
    """Give each sound line its difference from the reference."""
    by_name = {line.method: line for line in sound}
    reference = by_name[group.reference]
    others = [line for line in sound if line is not reference]
    raw = {line.method: _difference(line.accuracies, reference.accuracies) for line in others}
    adjusted = holm({name: difference.p for name, difference in raw.items()})
    for line in others:
        line.difference = raw[line.method]._replace(p=adjusted[line.method])


def _difference(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """Return the paired difference of accuracies, by seed, with the p-value of its t test."""
    from scipy import stats

    seeds = sorted(set(one) & set(other))
    differences = [one[seed] - other[seed] for seed in seeds]
    mean, n = fmean(differences), len(differences)
    error = stdev(differences) / sqrt(n)
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
        return Difference(mean, mean, mean, _wins(differences), n, p)

    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, n - 1))
    return Difference(mean, mean - half, mean + half, _wins(differences), n, p)


def _wins(differences: Sequence[float]) -> int:
    return sum(difference > 0 for difference in differences)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return p-values adjusted for many tests at once (Holm, Scandinavian J. Statistics 1979)."""
    adjusted, largest = {}, 0.0
    ordered = sorted(p_values, key=lambda name: p_values[name])
    for rank, name in enumerate(ordered):
        largest = max(largest, min(1.0, (len(ordered) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def equal_starts(trainings: "pd.DataFrame") -> bool:
    """Whether all trainings of a task and seed began with the same weights and data."""
    known = trainings[trainings["initial"].notna()]
    for _, rows in known.groupby(["task", "seed"]):
        distinct = rows[["initial", "data"]].drop_duplicates()
        if len(distinct) > 1:
            return False
    return True
