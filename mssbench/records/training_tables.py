"""Put the results of trainings into their three tables, see `records.training`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite, nan
from statistics import median
from typing import Any, NamedTuple

from mssbench.records.measurement import Status
from mssbench.records.schema import Column
from mssbench.records.training import (
    COUNTS,
    CURVES,
    MEAN,
    PROBES,
    ROBUSTNESS,
    SETTING,
    TRAININGS,
    TrainingCell,
)

Row = dict[str, Any]
_NOT_REACHED = {"status": str(Status.INTERRUPTED), "reason": "the run has not reached it"}
_TIMES = ("seconds", "root_seconds")
# What must be equal for a training to be compared with that of mean pooling.
OF_CONTROL = ("seed", *(name for name in SETTING if name != "policy"))


class Table(NamedTuple):
    """The columns and the rows of a table."""

    columns: tuple[Column, ...]
    rows: list[Row]


def tables(
    cells: Iterable[TrainingCell],
    results: Mapping[str, Mapping[str, Any] | None],
) -> dict[str, Table]:
    """Return the tables of a run by the names of their files.

    results: by cell, what its process reported, with the machine and the number of threads; None
    for a training that has not ended.
    """
    trainings: list[Row] = []
    curves: list[Row] = []
    robustness: list[Row] = []
    for cell in cells:
        result: Mapping[str, Any] = results[cell.cell_id] or _NOT_REACHED
        key = asdict(cell)
        identity = {
            "initial": result.get("initial", ""),
            "data": result.get("data", ""),
            "cell_id": cell.cell_id,
            "environment": result.get("environment", ""),
            "threads": result.get("threads"),
        }
        epochs = [_epoch(epoch) for epoch in _epochs(result)]
        curves += [key | epoch | identity for epoch in epochs]
        robustness += [key | row | identity for row in result.get("robustness", ())]
        ended = {"status": result["status"], "reason": result.get("reason", "")}
        trainings.append(_training(cell, epochs) | identity | ended)

    _add_epochs_to_first_order(trainings, curves)
    return {
        "trainings.csv": Table(TRAININGS, trainings),
        "curves.csv": Table(CURVES, curves),
        "robustness.csv": Table(ROBUSTNESS, robustness),
    }


def _epochs(result: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    epochs: Sequence[Mapping[str, Any]] = result.get("epochs", ())
    return epochs


def _epoch(epoch: Mapping[str, Any]) -> Row:
    """Return the row of an epoch, without the key."""
    row: Row = {name: value for name, value in epoch.items() if name != "probes"}
    row.update(epoch.get("probes", {}))
    return row


def _training(cell: TrainingCell, epochs: Sequence[Row]) -> Row:
    """Return the row of a training from the rows of its epochs.

    Counts and seconds are sums, and what a probe found is the median over the epochs. Everything
    else is that of the last epoch.
    """
    last = dict(epochs[-1]) if epochs else {}
    summed = [c.name for c in COUNTS if c.name != "failed"] + list(_TIMES)
    totals = {name: sum(epoch[name] for epoch in epochs) for name in summed}
    probed = {c.name: _median([epoch.get(c.name, nan) for epoch in epochs]) for c in PROBES}
    messages = [epoch["exception"] for epoch in epochs if epoch["exception"]]
    rest = {
        "exception": messages[0] if messages else "",
        "first_skipped": _first_skipped(epochs),
        "truth_error": _truth_error(epochs),
    }
    return asdict(cell) | last | totals | probed | rest


def _truth_error(epochs: Iterable[Row]) -> float:
    """Return the largest distance of a probe of the gradient from 1, NaN without such probes."""
    found = [abs(e["truth"] - 1) for e in epochs if isfinite(e.get("truth", nan))]
    return max(found, default=nan)


def _first_skipped(epochs: Iterable[Row]) -> int | None:
    """Return the number of the first step of a training that was skipped, from 1."""
    before = 0
    for epoch in epochs:
        if epoch["first_skipped"] is not None:
            return before + int(epoch["first_skipped"])
        before += epoch["steps"]
    return None


def _median(values: Sequence[float | None]) -> float:
    """Return the median of the finite values, NaN if there are none."""
    finite = [value for value in values if value is not None and isfinite(value)]
    return median(finite) if finite else nan


def _add_epochs_to_first_order(trainings: Sequence[Row], curves: Sequence[Row]) -> None:
    """Set `epochs_to_first_order`, see its meaning among the columns, where mean pooling ended."""
    targets = {
        _control(row): row["accuracy"]
        for row in trainings
        if row["forward"] == MEAN and row["status"] == Status.OK
    }
    of_cell: dict[str, list[Row]] = {}
    for row in curves:
        of_cell.setdefault(row["cell_id"], []).append(row)
    for row in trainings:
        target = targets.get(_control(row), nan)
        reached = [e["epoch"] for e in of_cell.get(row["cell_id"], ()) if e["accuracy"] >= target]
        row["epochs_to_first_order"] = min(reached, default=None)


def _control(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in OF_CONTROL)
