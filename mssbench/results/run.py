"""`Run`, which reads a run on disk: its table, its facts and its suite."""

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
    """A run on disk. Each file is read when it is first used, and then kept in memory.

    path: the run's folder, or the table.csv in it.
    """

    path: Path

    @property
    def folder(self) -> Path:
        """The folder of the run."""
        return folder_of(self.path)

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def frame(self) -> "pd.DataFrame":
        """The rows with typed columns, see table.load. Raises TableError if there is no table."""
        return table.load(self.path)

    @cached_property
    def left_over(self) -> set[str]:
        """The cell_ids in the table that the suite of the latest run does not have."""
        return set(self.facts.get(LEFT_OVER, ()))

    @cached_property
    def current(self) -> "pd.DataFrame":
        """The rows of the cells that the suite of the latest run has.

        Only these are used for verdicts: a row that an earlier run left in the folder may be of
        another code and another suite.
        """
        if not self.left_over:
            return self.frame
        return self.frame[~self.frame["cell_id"].isin(self.left_over)]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The facts of machines and runs, see `read_facts`. Raises RunError if damaged."""
        return read_facts(self.folder)

    @cached_property
    def suite(self) -> dict[str, Any]:
        """The suite of the run, as read from suite.toml; empty if it is missing or not TOML."""
        return read_suite(self.folder) or {}

    def known_suite(self) -> dict[str, Any]:
        """Return `suite`, but raise RunError if suite.toml is there and cannot be parsed.

        This is for callers that would apply wrong limits without the suite.
        """
        file = self.folder / SUITE
        if file.exists() and read_suite(self.folder) is None:
            raise RunError(f"{file} is damaged: its limits are not known. Restore the file.")
        return self.suite
