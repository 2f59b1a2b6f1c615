"""The events that an engine yields while it measures cells (methods, problem, size, ...)."""

from typing import Any, NamedTuple

from mssbench.records.cell import Cell
from mssbench.records.measurement import Status


class Ready(NamedTuple):
    """A worker has started: its device, the facts of its machine, and the hash of these facts.

    undone: sentences on the settings that the user's files changed when they were imported.
    """

    device: str
    facts: dict[str, Any]
    environment: str
    undone: tuple[str, ...] = ()


class Waiting(NamedTuple):
    """The engine waits, because the process `holder` measures on this device."""

    device: str
    holder: str


class Killed(NamedTuple):
    """A signal from outside has ended a worker, which is replaced.

    how: the signal, such as `signal 9 (SIGKILL)`. in_cell: whether the worker was measuring a cell,
    which is measured again.
    """

    how: str
    in_cell: bool


class Started(NamedTuple):
    """A worker begins to measure a cell."""

    cell: Cell


class CeilingsMeasured(NamedTuple):
    """The highest rates that a device reaches, measured now.

    found: the rates. Each key is one text, the device and the name of a rate: `cpu float32`, or
    `gpu-UUID bytes_per_second`.
    """

    found: dict[str, float]


class Finished(NamedTuple):
    """A cell is finished: the rows from its worker, or a status and reason if there are no rows."""

    cell: Cell
    rows: list[dict[str, Any]]
    samples: list[list[float]]
    spent: dict[str, float]  # seconds by purpose, see records.summary.MEASURING
    status: Status | None = None
    reason: str = ""
    log: str = ""  # the traceback of a method that crashed


Event = Ready | Waiting | Killed | Started | CeilingsMeasured | Finished
PROTOCOL_VERSION = 4  # version of the messages between supervisor and worker, see worker.py
