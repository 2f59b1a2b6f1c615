"""One run as its readers need it: the table, the facts beside it, and the suite it came from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError
from mssbench.results import table
from mssbench.results.facts_file import LEFT_OVER, read_facts
from mssbench.results.rows import SUITE, folder_of, read_suite

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Run:
    """A run on disk. Each part is read when it is first used, and then kept.

    path: the run's folder, or the table.csv in it.
    """

    path: Path

    @property
    def folder(self) -> Path:
        """The folder of the run, also where its table was named."""
        return folder_of(self.path)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """The rows with typed columns, see table.load. Raises TableError where there are none."""
        return table.load(self.path)

    @cached_property
    def left_over(self) -> set[str]:
        """The cell_ids of an earlier run that the suite of the latest run does not have."""
        return set(self.facts.get(LEFT_OVER, ()))

    @cached_property
    def current(self) -> "pd.DataFrame":
        """The rows of the cells that the suite of the latest run has.

        A verdict rests on these alone: a row that an earlier run left in the folder says nothing
        of the code and the suite that are judged.
        """
        if not self.left_over:
            return self.frame
        return self.frame[~self.frame["cell_id"].isin(self.left_over)]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What the rows were measured on, see rows.read_facts. Raises RunError where damaged."""
        return read_facts(self.folder)

    @cached_property
    def suite(self) -> dict[str, Any]:
        """The document of the suite; empty where the file is missing or cannot be parsed."""
        return read_suite(self.folder) or {}

    def known_suite(self) -> dict[str, Any]:
        """The same, where nothing may rest on a suite that is lost.

        Empty where the file is missing. Raises RunError where it is there and cannot be read.
        """
        file = self.folder / SUITE
        if file.exists() and read_suite(self.folder) is None:
            raise RunError(f"{file} is damaged: its limits are not known. Bring the file back.")
        return self.suite
