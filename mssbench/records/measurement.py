"""What came out of a cell: its status, and the row it becomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.schema import SCHEMA, SCHEMA_VERSION
from mssbench.records.timing import Timing


class Status(StrEnum):
    """How a cell ended. The text beside each is what its reason explains further."""

    OK = "ok"
    NONFINITE = "nonfinite"  # nan or inf in the output
    DIVERGED = "diverged"  # finite, but further from the truth than the zero matrix
    INACCURATE = "inaccurate"  # the error exceeds the suite's max_error
    IMPLAUSIBLE = "implausible"  # faster than the machine's own ceilings allow
    OOM = "oom"  # out of memory
    TIMEOUT = "timeout"  # killed when it overstayed
    CRASHED = "crashed"  # raised, broke the contract, or took its worker down
    UNSUPPORTED = "unsupported"  # the method or problem does not exist for this cell
    NOT_INSTALLED = "not_installed"  # a package is missing
    UNAVAILABLE = "unavailable"  # installed, but no device or driver for it
    INTERRUPTED = "interrupted"  # the run was stopped before it


# Measured, and the time is real; only OK may win a comparison.
MEASURED = frozenset(
    {Status.OK, Status.NONFINITE, Status.DIVERGED, Status.INACCURATE, Status.IMPLAUSIBLE}
)
# Nothing ran, nor could it: the machine or the method lacks what the cell needs.
ABSENT = frozenset({Status.UNSUPPORTED, Status.NOT_INSTALLED, Status.UNAVAILABLE})

# Nothing was tried: it says nothing of the method on these matrices.
UNTRIED = ABSENT | {Status.INTERRUPTED}


@dataclass(frozen=True)
class Measurement:
    """What one phase of one cell gave on one clock: a row. `values` has the measured columns."""

    cell: Cell
    phase: str
    clock: str
    cache: str
    status: Status
    reason: str = ""
    values: Mapping[str, Any] | None = None  # column -> number; absent means null
    timing: Timing | None = None

    @property
    def key(self) -> dict[str, Any]:
        """The fields of the cell, the phase, the clock and the cache: what names a row."""
        place = {"phase": self.phase, "clock": self.clock, "cache": self.cache}
        return self.cell.fields | place

    def row(self, **identity: Any) -> dict[str, Any]:
        """Every column of the schema; a number that was not measured is None, a word empty."""
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
    """The rows of a cell that ended the same way in every phase, before any number."""
    return tuple(
        Measurement(cell, phase, clock, cache, status, reason)
        for phase in phases(cell)
        for clock, cache in clocks(cell)
    )


def one_line(text: str, limit: int = 400) -> str:
    """Text fit for a table cell: no line breaks, not endless, and UTF-8 can hold it."""
    flat = " ".join(text.split()).encode(errors="replace").decode()
    return flat if len(flat) <= limit else flat[: limit - 3] + "..."


Row = dict[str, Any]
AnyRow = Mapping[str, Any]  # one that is only read


def worst_status(rows: Sequence[Row]) -> str:
    """One word for a cell with several rows: the first that is not ok."""
    return next((r["status"] for r in rows if r["status"] != Status.OK), str(Status.OK))
