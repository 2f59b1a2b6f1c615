"""A run in the formats of others: one file for each, as text."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mssbench.errors import TableError, unknown
from mssbench.records.measurement import Row

Samples = Mapping[Any, list[float]]
# The module of each format, which is imported when it is asked for.
FORMATS = {
    "bencher": "bencher",
    "csv": "csv_",
    "github-action-benchmark": "github_action_benchmark",
    "json": "json_",
    "junit": "junit",
    "markdown": "markdown",
    "pytest-benchmark": "pytest_benchmark",
}


@dataclass(frozen=True)
class Exported:
    """What a format is made of."""

    name: str  # of the run
    rows: list[Row]  # with a `method`, as plain values
    facts: Mapping[str, Any]  # of environment.json
    samples: Samples  # seconds, by cell_id, phase, clock and cache; may be empty

    def measured(self) -> list[Row]:
        """Rows with a time."""
        return [row for row in self.rows if row["seconds_median"] is not None]


def export(what: Exported, to: str) -> str:
    """The run as text in a format of FORMATS. Raises TableError for one that is not there."""
    if to not in FORMATS:
        raise TableError(f"--to: {unknown('format', to, FORMATS)}")
    text: Callable[[Exported], str] = import_module(f"mssbench.export.{FORMATS[to]}").text
    return text(what)
