"""Compare methods by the trainings of their networks, paired by seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.records.measurement import Status
from mssbench.records.training import MEAN, TRAINING_KEY, TrainingCell
from mssbench.records.training_tables import OF_CONTROL

if TYPE_CHECKING:
    import pandas as pd

LEAST_SEEDS = 5  # with fewer, the spread of seeds is not known well enough to rank anything
LEVEL = 0.05  # of the adjusted p-values, so that a wrong sentence appears in one table of twenty
_CONFIDENCE = 0.95
# The method that others are compared with, if it is there: the exact root with its exact gradient.
_REFERENCE = {"forward": "eigh", "backward": "loewner", "options": "", "then": ""}
# What is equal for all methods of a group.
APART = [
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


class FirstOrder(NamedTuple):
    """How many epochs a method takes to the accuracy that mean pooling has at its end.

    mean: over the seeds in which it gets there; NaN if there are none. missed: the other seeds.
    """

    mean: float
    missed: int


@dataclass
class Line:
    """One method of a group: its accuracies by seed, and what went wrong.

    skipped, nonfinite: the largest shares of steps that were skipped, and that were not finite or
    raised. first: accuracy after the first epoch, the mean.
    shared: how many seeds it has in common with the reference of its group; all of its own without
    a reference.
    first_order: None if mean pooling was not trained.
    """

    method: str
    accuracies: dict[int, float]
    statuses: tuple[str, ...]
    loss: float
    first: float
    skipped: float
    nonfinite: float
    milliseconds: float
    root_share: float
    shared: int = 0
    first_order: FirstOrder | None = None
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
    """The methods of one task, trained alike in one precision.

    The most accurate one is first if there are enough seeds to rank methods; otherwise they are in
    the order of the suite.

    seeds: the most that a sound method has in common with the reference, or has if there is none.
    reference: the method that differences are taken from. ranked: whether there are enough seeds to
    say of any method whether it is better.
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

    @property
    def few(self) -> list[Line]:
        """The sound methods with too few seeds to be ranked, in a group that is."""
        return [x for x in self.lines if self.ranked and x.ok and x.shared < LEAST_SEEDS]


def groups(trainings: "pd.DataFrame", curves: "pd.DataFrame") -> list[Group]:
    """Return the methods of each task, learning rate, number of epochs, batch and precision.

    Those that are sound have their difference from the exact root, if it was trained too.

    A method that skipped half of its steps has the status nonfinite, whatever its accuracy, and is
    not compared.
    """
    trainings = with_methods(trainings)
    first = curves[curves["epoch"] == 1].set_index("cell_id")["accuracy"]

    found = []
    for key, rows in trainings.groupby(APART, sort=False):
        lines = [_line(str(m), part, first) for m, part in rows.groupby("method", sort=False)]
        targets = _targets(trainings, rows)
        for line in lines if targets else ():
            line.first_order = _first_order(rows[rows["method"] == line.method], targets)
        sound = [line for line in lines if line.ok]
        exact = exact_root(rows)
        reference = next((line for line in sound if line.method in exact), None)
        for line in sound:
            line.shared = len(line.accuracies.keys() & (reference or line).accuracies.keys())
        group = Group(
            **dict(zip(APART, map(plain, key), strict=True)),
            seeds=max((line.shared for line in sound), default=0),
            reference=reference.method if reference else "",
            lines=lines,
        )
        if group.ranked and reference:
            found_differences = differences(
                {line.method: line.accuracies for line in sound}, reference.method
            )
            for line in sound:
                line.difference = found_differences.get(line.method)
        if group.ranked:
            lines.sort(key=_place)
        found.append(group)
    return found


def with_methods(trainings: "pd.DataFrame") -> "pd.DataFrame":
    """Return the trainings with a column `method`, the names of their methods."""
    names = [
        TrainingCell(**{k: plain(row[k]) for k in TRAINING_KEY}).method
        for row in trainings.to_dict("records")
    ]
    return trainings.assign(method=names)


def exact_root(rows: "pd.DataFrame") -> set[str]:
    """Return the names of the methods in some rows that differences are taken from."""
    return set(rows.loc[(rows[list(_REFERENCE)] == _REFERENCE).all(axis=1), "method"])


def plain(value: Any) -> Any:
    """Return a value of a table as a number of Python, if it is one of NumPy."""
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
        nonfinite=float((trained["nonfinite_steps"] / steps).max()),
        milliseconds=float((1e3 * trained["seconds"] / steps).median()),
        root_share=float((trained["root_seconds"] / trained["seconds"]).median()),
    )


def _targets(trainings: "pd.DataFrame", rows: "pd.DataFrame") -> set[int]:
    """Return the seeds in which mean pooling was trained well like some rows of one group."""
    alike = [name for name in OF_CONTROL if name != "seed"]
    sound = trainings[(trainings["forward"] == MEAN) & (trainings["status"] == Status.OK)]
    return set(sound.loc[(sound[alike] == rows.iloc[0][alike]).all(axis=1), "seed"])


def _first_order(rows: "pd.DataFrame", targets: set[int]) -> FirstOrder:
    """Return the epochs of a method to first order. targets: the seeds with mean pooling."""
    epochs = rows.loc[
        rows["seed"].isin(targets) & rows["accuracy"].notna(), "epochs_to_first_order"
    ].astype(float)
    return FirstOrder(float(epochs.mean()), int(epochs.isna().sum()))


def differences(
    accuracies: Mapping[str, Mapping[int, float]], reference: str
) -> dict[str, Difference]:
    """Return the difference of each method from the reference, adjusted for their number.

    accuracies: by method and seed. A method that has fewer than five seeds in common with the
    reference has no difference; it does not keep others from having one.
    """
    exact = accuracies[reference]
    raw = {
        name: paired(of_method, exact)
        for name, of_method in accuracies.items()
        if name != reference and len(of_method.keys() & exact.keys()) >= LEAST_SEEDS
    }
    adjusted = holm({name: difference.p for name, difference in raw.items()})
    return {name: found._replace(p=adjusted[name]) for name, found in raw.items()}


def _place(line: Line) -> tuple[bool, bool, float]:
    """Return what sorts the methods of a group: sound ones with enough seeds by their accuracy."""
    mean = -line.mean if line.accuracies else 0.0
    return not line.ok, line.shared < LEAST_SEEDS, mean


def paired(one: Mapping[int, float], other: Mapping[int, float]) -> Difference:
    """Return the paired difference of accuracies, by seed, with the p-value of its t test."""
    return mean_difference([one[seed] - other[seed] for seed in sorted(set(one) & set(other))])


def mean_difference(differences: Sequence[float]) -> Difference:
    """Return the mean of two or more differences, one for each seed, with its interval."""
    from scipy import stats

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
    """Whether all trainings of a task and seed began with the same weights and data.

    The weights depend on the number of channels as well.
    """
    known = trainings[trainings["initial"].fillna("") != ""]  # others did not begin
    for _, rows in known.groupby(["task", "channels", "seed"]):
        distinct = rows[["initial", "data"]].drop_duplicates()
        if len(distinct) > 1:
            return False
    return True
