"""The result of measuring a cell: statuses, measurements and rows of the result table.

A cell is one combination of methods, problem, size and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.schema import SCHEMA, SCHEMA_VERSION
from mssbench.records.timing import Timing


class Status(StrEnum):
    """How the measurement of a cell ended. The column `reason` has the details."""

    OK = "ok"
    NONFINITE = "nonfinite"  # nan or inf in the output
    DIVERGED = "diverged"  # finite, but the error exceeds that of the zero matrix
    INACCURATE = "inaccurate"  # the error exceeds the suite's max_error
    IMPLAUSIBLE = "implausible"  # faster than the measured ceilings of the machine allow
    OOM = "oom"  # out of memory
    TIMEOUT = "timeout"  # killed because it exceeded timeout_seconds
    CRASHED = "crashed"  # raised, returned an invalid output, or ended its worker process
    UNSUPPORTED = "unsupported"  # the method or problem does not exist for this cell
    NOT_INSTALLED = "not_installed"  # a package is missing
    UNAVAILABLE = "unavailable"  # installed, but no device or driver for it
    INTERRUPTED = "interrupted"  # the run was stopped before this cell


# Statuses of cells that were timed. Only OK may win a comparison.
MEASURED = frozenset(
    {Status.OK, Status.NONFINITE, Status.DIVERGED, Status.INACCURATE, Status.IMPLAUSIBLE}
)
# Statuses of cells that cannot run: the machine or the method lacks what the cell needs.
ABSENT = frozenset({Status.UNSUPPORTED, Status.NOT_INSTALLED, Status.UNAVAILABLE})

# Statuses of cells that were not tried, so that nothing is known of the method on these matrices.
UNTRIED = ABSENT | {Status.INTERRUPTED}


@dataclass(frozen=True)
class Measurement:
    """The result of one phase of a cell, such as `backward`, on one clock. It becomes one row."""

    cell: Cell
    phase: str
    clock: str
    cache: str
    status: Status
    reason: str = ""
    values: Mapping[str, Any] | None = None  # measured columns by name; others are null
    timing: Timing | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The key columns of the row: the fields of the cell, phase, clock and cache."""
        place = {"phase": self.phase, "clock": self.clock, "cache": self.cache}
        return self.cell.fields | place

    def row(self, **identity: Any) -> dict[str, Any]:
        """Return the row: every column of the schema by name.

        A number that was not measured is None, and a missing text is empty. identity: values of
        columns of the group `identity`, such as `run_id`.
        """
        known: dict[str, Any] = {
            **self.key,
            "status": str(self.status),
            "reason": one_line(self.reason),
            **(self.timing.statistics() if self.timing else {}),
            **(self.values or {}),
            "cell_id": self.cell.cell_id,
            "schema": SCHEMA_VERSION,
            **identity,
        }

        return {c.name: known.get(c.name, "" if c.kind == "str" else None) for c in SCHEMA}


def uniform(cell: Cell, status: Status, reason: str) -> tuple[Measurement, ...]:
    """Return the measurements of a cell without times: one status for all phases and clocks."""
    return tuple(
        Measurement(cell, phase, clock, cache, status, reason)
        for phase in phases(cell)
        for clock, cache in clocks(cell)
    )


def one_line(text: str, limit: int = 400) -> str:
    """Return the text on one line, of at most `limit` characters, and valid as UTF-8."""
    flat = " ".join(text.split()).encode(errors="replace").decode()
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


Row = dict[str, Any]
AnyRow = Mapping[str, Any]  # a row that is only read


def worst_status(rows: Sequence[Row]) -> str:
    """Return one status for all rows of a cell: the first status that is not ok, or ok."""
    return next((r["status"] for r in rows if r["status"] != Status.OK), str(Status.OK))
