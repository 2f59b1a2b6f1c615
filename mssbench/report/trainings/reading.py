"""`TrainingRun`, which reads the tables of a run of trainings, and `Shown`, several of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis.training_claims import TrainingVerdict, judge
from mssbench.analysis.trainings import APART, Group, groups, load, load_robustness
from mssbench.errors import RunError, SuiteError, TableError
from mssbench.records.measurement import Status
from mssbench.records.schema import Column
from mssbench.records.training import CURVES, ROBUSTNESS, TRAINING_KEY, TRAININGS, TrainingCell
from mssbench.results import conditions
from mssbench.results.facts_file import read_facts
from mssbench.results.rows import SUITE, read_suite

if TYPE_CHECKING:
    import pandas as pd

_FILE, _CURVES, _ROBUSTNESS = "trainings.csv", "curves.csv", "robustness.csv"
_CELLS = "cells"  # folder of the trainings that have ended, which a run has before its tables
# Columns without which a table says nothing. A table of an older version may lack others.
_NEEDED = {
    _FILE: {*TRAINING_KEY, "status", "loss", "accuracy", "steps", "skipped", "cell_id"},
    _CURVES: {*TRAINING_KEY, "epoch", "loss", "accuracy", "cell_id"},
    _ROBUSTNESS: {*TRAINING_KEY, "change", "severity", "accuracy", "cell_id"},
}


def is_of_trainings(path: Path) -> bool:
    """Whether a path is that of a run of trainings: its folder, or the trainings.csv in it.

    Raises RunError for a folder of trainings that has no tables yet.
    """
    folder = path.parent if path.name == _FILE else path
    if (folder / _FILE).is_file():
        return True
    if (folder / _CELLS).is_dir() and not (folder / "table.csv").exists():
        raise RunError(
            f"{folder} has trainings, but no {_FILE} yet. The tables are written when `mssbench "
            "train` ends: wait for it, or resume it with the same command."
        )
    return False


@dataclass(frozen=True)
class TrainingRun:
    """The tables of a run of trainings, with the column `method`, the name of the method.

    trainings: all rows. curves, robustness: the rows of the trainings that have ended; those of
    robustness may be none. facts: as `read_facts` returns them. suite: the parsed suite.toml.
    """

    folder: Path
    trainings: "pd.DataFrame"
    curves: "pd.DataFrame"
    robustness: "pd.DataFrame"
    facts: Mapping[str, Any]
    suite: Mapping[str, Any]

    @cached_property
    def ended(self) -> "pd.DataFrame":
        """The rows of the trainings that have ended, well or badly."""
        return self.trainings[self.trainings["status"] != Status.INTERRUPTED]

    @cached_property
    def groups(self) -> list[Group]:
        """The methods that were trained alike, see `analysis.trainings`."""
        return groups(self.ended, self.curves)

    @cached_property
    def claims(self) -> list[TrainingVerdict]:
        """The verdicts on the claims of the suite. Raises SuiteError for a malformed claim."""
        stated = self.suite.get("claim", [])
        if not stated:
            return []
        try:
            return judge(stated, self.trainings, self.curves, self.robustness)
        except SuiteError as error:
            raise SuiteError(f"{self.folder / SUITE}: {error}") from None

    def where(self, condition: str, option: str) -> "TrainingRun":
        """Return the run with the trainings for which a condition on their columns holds.

        option: the name of the option that holds it, for messages. Raises TableError for a
        condition that is wrong, and if no training is left.
        """
        kept = conditions.chosen(self.trainings, condition, option)
        cells = kept["cell_id"]
        return replace(
            self,
            trainings=kept,
            curves=self.curves[self.curves["cell_id"].isin(cells)],
            robustness=self.robustness[self.robustness["cell_id"].isin(cells)],
        )


def read(path: Path) -> TrainingRun:
    """Return a run of trainings. path: its folder, or the trainings.csv in it.

    Raises TableError if a table cannot be read, and RunError for a damaged environment.json.
    """
    folder = path.parent if path.name == _FILE else path
    trainings, curves = load(folder)
    trainings = _typed(trainings, TRAININGS, folder / _FILE)
    curves = _typed(curves, CURVES, folder / _CURVES)
    robustness = _typed(_robustness(folder / _ROBUSTNESS), ROBUSTNESS, folder / _ROBUSTNESS)
    ended = trainings.loc[trainings["status"] != Status.INTERRUPTED, "cell_id"]
    return TrainingRun(
        folder,
        trainings,
        curves[curves["cell_id"].isin(ended)],
        robustness[robustness["cell_id"].isin(ended)],
        read_facts(folder),
        read_suite(folder) or {},
    )


def _robustness(file: Path) -> "pd.DataFrame":
    """Return the table of robustness, without rows if there is none."""
    import pandas as pd

    if file.exists():
        return load_robustness(file.parent)
    return pd.DataFrame(columns=[column.name for column in ROBUSTNESS])


def _typed(frame: "pd.DataFrame", columns: Sequence[Column], file: Path) -> "pd.DataFrame":
    """Return the known columns of a table with their types, and with the names of the methods.

    Missing numbers are NaN, and missing texts are empty.
    """
    import pandas as pd

    if missing := sorted(_NEEDED[file.name] - set(frame.columns)):
        raise TableError(f"{file} is no table of trainings: it lacks {', '.join(missing)}.")
    known = {}
    for column in columns:
        values = frame.get(column.name, pd.Series(nan, frame.index))
        if column.kind == "str":
            known[column.name] = values.astype(object).where(values.notna(), "").astype(str)
            continue
        try:
            known[column.name] = pd.to_numeric(values)
        except (ValueError, TypeError):
            raise TableError(f"{file}: a value of {column.name} is no number.") from None
        if column.name in TRAINING_KEY and known[column.name].isna().any():
            raise TableError(f"{file}: a value of {column.name} is missing.")
    table = pd.DataFrame(known, index=frame.index)
    return table.assign(method=_methods(table))


def _methods(table: "pd.DataFrame") -> list[str]:
    """Return the name of the method of each row."""
    rows = table[list(TRAINING_KEY)].itertuples(index=False, name=None)
    names: dict[tuple[Any, ...], str] = {}
    return [names.setdefault(key, TrainingCell(*key).method) for key in rows]


class Place(NamedTuple):
    """A group of a run, with its title: what distinguishes it from the other groups."""

    run: str
    group: Group
    title: str


class Shown(NamedTuple):
    """Runs of trainings by name, with the places of their groups in one list."""

    runs: Mapping[str, TrainingRun]
    places: Sequence[Place]

    def numbered(self, table: str) -> "pd.DataFrame":
        """Return the rows of one table of all runs, with the column `place`: a number.

        table: the name of an attribute of `TrainingRun`. Rows that are of no group are left out.
        """
        import pandas as pd

        numbers = {
            (place.run, *(getattr(place.group, name) for name in APART)): number
            for number, place in enumerate(self.places)
        }
        parts = []
        for name, run in self.runs.items():
            frame: pd.DataFrame = getattr(run, table)
            keys = frame[APART].itertuples(index=False, name=None)
            parts.append(frame.assign(place=[numbers.get((name, *key), -1) for key in keys]))
        every = pd.concat(parts, ignore_index=True)
        return every[every["place"] >= 0]


def shown(runs: Mapping[str, TrainingRun]) -> Shown:
    """Return runs of trainings, by name, with all their groups."""
    found = [(name, group) for name, run in runs.items() for group in run.groups]
    varying = [
        name
        for name in APART
        # The numbers of places and channels follow from the task, as a rule: they are named only
        # if they differ within one.
        if len({(g.task, getattr(g, name)) for _, g in found}) > len({g.task for _, g in found})
    ]
    several = len(runs) > 1
    return Shown(
        runs, [Place(name, group, _title(name, group, varying, several)) for name, group in found]
    )


# How a title writes the columns that are numbers; words stand alone.
_SPOKEN = {
    "learning_rate": "learning rate {:g}",
    "epochs": "{} epochs",
    "batch": "batch {}",
    "places": "M = {}",
    "channels": "n = {}",
    "policy": "policy {}",
}


def _title(run: str, group: Group, varying: Sequence[str], several: bool) -> str:
    """Return the task, and what varies between groups, such as `tex12, learning rate 0.1`."""
    words = [
        _SPOKEN.get(name, "{}").format(getattr(group, name)) for name in varying if name != "task"
    ]
    return ", ".join([*([run] if several else []), group.task, *words])


def about(group: Group) -> str:
    """Return how all networks of a group were trained, in one line."""
    names = [f.name for f in fields(Group) if f.name in APART and f.name != "task"]
    return " · ".join(_SPOKEN.get(name, "{}").format(getattr(group, name)) for name in names)
