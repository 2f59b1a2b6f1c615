"""`TrainingRun`, which reads the tables of a run of trainings, and `Shown`, several of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis.learning_rates import Grid, grids
from mssbench.analysis.training_claims import TrainingVerdict, judge
from mssbench.analysis.training_reading import load
from mssbench.analysis.trainings import APART, Group, groups
from mssbench.errors import SuiteError
from mssbench.records.measurement import Status
from mssbench.results import conditions
from mssbench.results.facts_file import read_facts
from mssbench.results.rows import SUITE, read_suite
from mssbench.results.trainings import folder_of

if TYPE_CHECKING:
    import pandas as pd


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
    def grids(self) -> list[Grid]:
        """The tasks that were trained at several learning rates, see `analysis.learning_rates`."""
        return grids(self.trainings)

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
    folder = folder_of(path)
    trainings, curves, robustness = load(folder)
    ended = trainings.loc[trainings["status"] != Status.INTERRUPTED, "cell_id"]
    return TrainingRun(
        folder,
        trainings,
        curves[curves["cell_id"].isin(ended)],
        robustness[robustness["cell_id"].isin(ended)],
        read_facts(folder),
        read_suite(folder) or {},
    )


class Place(NamedTuple):
    """A group of a run, with its title: what distinguishes it from the other groups."""

    run: str
    group: Group
    title: str


class GridPlace(NamedTuple):
    """A grid of learning rates of a run, with its title: what distinguishes it from the others."""

    run: str
    grid: Grid
    title: str


class Shown(NamedTuple):
    """Runs of trainings by name, with the places of their groups, and of their grids, in lists."""

    runs: Mapping[str, TrainingRun]
    places: Sequence[Place]
    grids: Sequence[GridPlace] = ()

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
    """Return runs of trainings, by name, with all their groups and grids."""
    found = [(name, group) for name, run in runs.items() for group in run.groups]
    varying = [
        name
        for name in APART
        # The numbers of places and channels follow from the task, as a rule: they are named only
        # if they differ within one.
        if len({(g.task, getattr(g, name)) for _, g in found}) > len({g.task for _, g in found})
    ]
    several = len(runs) > 1
    places = [
        Place(name, group, _title(name, vars(group), varying, several)) for name, group in found
    ]
    of_grids = [name for name in varying if name != "learning_rate"]
    all_grids = [
        GridPlace(name, grid, _title(name, grid.title, of_grids, several))
        for name, run in runs.items()
        for grid in run.grids
    ]
    return Shown(runs, places, all_grids)


# How a title writes the columns that are numbers; words stand alone.
_SPOKEN = {
    "learning_rate": "learning rate {:g}",
    "epochs": "{} epochs",
    "batch": "batch {}",
    "places": "M = {}",
    "channels": "n = {}",
    "policy": "policy {}",
}


def _title(run: str, alike: Mapping[str, Any], varying: Sequence[str], several: bool) -> str:
    """Return the task, and what varies between groups, such as `tex12, learning rate 0.1`.

    alike: the columns that are equal for all trainings of the group or grid.
    """
    words = [_SPOKEN.get(name, "{}").format(alike[name]) for name in varying if name != "task"]
    return ", ".join([*([run] if several else []), alike["task"], *words])


def about(group: Group) -> str:
    """Return how all networks of a group were trained, in one line."""
    names = [f.name for f in fields(Group) if f.name in APART and f.name != "task"]
    return " · ".join(_SPOKEN.get(name, "{}").format(getattr(group, name)) for name in names)
