"""What an engine reports while it measures."""

from typing import Any, NamedTuple

from mssbench.records.cell import Cell
from mssbench.records.measurement import Status


class Ready(NamedTuple):
    """A worker has started: its device, the facts of its machine, and the hash that names them."""

    device: str
    facts: dict[str, Any]
    environment: str


class Waiting(NamedTuple):
    """Another process measures on this device; we wait for it."""

    device: str
    holder: str


class Started(NamedTuple):
    """A cell is now on a worker."""

    cell: Cell


class Ceilings(NamedTuple):
    """What a device can do at most, measured now, by names that have the device's in them."""

    found: dict[str, float]


class Finished(NamedTuple):
    """A cell is done: rows from its worker, or the status and reason of its end without rows."""

    cell: Cell
    rows: list[dict[str, Any]]
    samples: list[list[float]]
    spent: dict[str, float]
    status: Status | None = None
    reason: str = ""
    log: str = ""  # the traceback of a method that crashed


Event = Ready | Waiting | Started | Ceilings | Finished
PROTOCOL_VERSION = 4  # of the lines between a worker and its supervisor; see worker.py
