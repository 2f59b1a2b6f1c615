"""Complete the rows of a run with the columns that depend on all rows, and compute the drift.

Drift is the relative change of the machine's own speed during the run.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, inf, log
from statistics import median
from typing import Any, NamedTuple

from mssbench.records.measurement import Row
from mssbench.records.noise import STEP_ORDER, Noise
from mssbench.records.schema import error_column
from mssbench.results.labels import counts_as_ok
from mssbench.results.rows import all_typed
from mssbench.run import passes

# Rows that agree in these columns solve the same problem. The lowest `limit_seconds` among them is
# the limit of the problem, see `problem_fractions`.
_GROUP = ("function", "problem", "size", "batch", "precision", "device", "seed", "phase")
# The columns that are read here and in `passes.steadied`. Only these are converted to numbers,
# which saves time for a large table.
_READ = (
    *_GROUP,
    "cell_id",
    "library",
    "forward",
    "iterations",
    "options",
    "clock",
    "cache",
    "status",
    "flags",
    "computed_in",
    "environment",
    "passes",
    "spread",
    "seconds_median",
    "seconds_low",
    "seconds_high",
    "limit_seconds",
    "root_error",
    "gradient_error",
)


_PART = 300  # rows whose columns are converted together, see `_numbers`
# Columns in which a forward alone and a step with it agree, beside the options of the forward.
_FORWARD = (
    *(name for name in _GROUP if name != "phase"),
    "library",
    "forward",
    "iterations",
    "clock",
    "cache",
    "environment",
)
# A forward alone and one that records for a gradient may differ by some tens of percent.
_LONGER = 1.5


class Settled(NamedTuple):
    """The final rows of a run, the numbers of rows by noise class, and the drift."""

    rows: list[Row]
    noise: Counter[str]  # number of measured rows by noise class
    drift: float | None  # see `drift`


def finish(
    rows: Sequence[Row],
    samples: Mapping[passes.RowKey, Sequence[float]],
    ceilings: Sequence[Mapping[str, float]],
) -> Settled:
    """Complete the rows of a run with the columns that depend on all rows.

    rows: all rows of the run, in the order of the table; their numbers may be texts, as in a file.
    samples: raw seconds of the measured rows, by `passes.place`. ceilings: the speeds of the
    machine at different times, see `drift`. No file is read or written, so that the parts of a run
    can be completed together.
    """
    numbers = _numbers(rows)
    steadied = passes.steadied(numbers, samples)
    fractions = problem_fractions(numbers)
    contradicted = longer_than_their_step(numbers)

    settled = [
        _completed(row, _unstable(row, new) if is_longer else new, fraction)
        for row, new, fraction, is_longer in zip(
            rows, steadied, fractions, contradicted, strict=True
        )
    ]
    measured = {cell_id for cell_id, *_ in samples}
    noise = Counter(
        row["noise"]
        for row in settled
        if row["cell_id"] in measured and row["noise"] and passes.place(row) in samples
    )
    return Settled(settled, noise, drift(ceilings))


def _numbers(rows: Sequence[Row]) -> list[Row]:
    """Return the columns `_READ` of all rows, as numbers.

    Few rows are converted at a time, because rows that are still in the cache of the processor are
    read in half the time.
    """
    parts = (rows[start : start + _PART] for start in range(0, len(rows), _PART))
    return [numbers for part in parts for numbers in all_typed(part, _READ)]


def _completed(row: Row, new: Row, fraction: float | None) -> Row:
    """Return the row with the columns `new` and its problem_fraction.

    If the row has these values already it is returned itself, not a copy.
    """
    changed = new | {"problem_fraction": fraction}
    if all(row.get(k, "") == ("" if v is None else str(v)) for k, v in changed.items()):
        return row
    return row | changed


def longer_than_their_step(rows: Sequence[Row]) -> list[bool]:
    """Return for each row whether it is of a forward that seems to take longer than its step.

    A step computes the root of the forward, and the gradient as well. As other work on the machine
    can only make a call slower, the time of such a forward was disturbed, though its own samples
    may agree with each other.
    """
    steps: dict[tuple[Any, ...], float] = {}
    for row in rows:
        if row["phase"] == "step" and row["seconds_high"]:
            key = _forward_of(row)
            steps[key] = min(steps.get(key, inf), row["seconds_high"])
    if not steps:
        return [False] * len(rows)
    return [
        row["phase"] == "forward"
        and bool(row["seconds_low"])
        and row["seconds_low"] > _LONGER * steps.get(_forward_of(row), inf)
        for row in rows
    ]


def _forward_of(row: Row) -> tuple[Any, ...]:
    """Return a key that a row of a forward alone and the rows of steps with it share."""
    options = [o for o in str(row["options"] or "").split() if not o.startswith("backward_")]
    return (*(row[name] for name in _FORWARD), *options)


def _unstable(row: Row, new: Row) -> Row:
    """Return the columns `new` of a row, marked unstable: another row contradicts its time."""
    flags = str(new.get("flags", row.get("flags")) or "").split()
    return new | {
        "noise": Noise.UNSTABLE,
        "flags": " ".join([*flags, *([STEP_ORDER] if STEP_ORDER not in flags else [])]),
    }


def problem_fractions(rows: Sequence[Row]) -> list[float | None]:
    """Return the column `problem_fraction`: how near each row is to the fastest possible method.

    The value is the lowest `limit_seconds` (the time that the machine's ceilings allow) among the
    rows of the same problem whose error is at most twice as large, divided by the median time of
    the row. Errors are estimates: within a factor of two they count as equal.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        if counts_as_ok(row) and _error(row) is not None and row["limit_seconds"]:
            members = groups.setdefault(tuple(row[k] for k in _GROUP), [])
            members.append((_error(row) or 0.0, row["limit_seconds"]))

    return [_fraction(row, groups) for row in rows]


def _fraction(
    row: Row, groups: Mapping[tuple[Any, ...], list[tuple[float, float]]]
) -> float | None:
    """Return `problem_fraction` of one row; None if its error or time is unknown.

    groups: (error, limit_seconds) of the rows of each problem, by the values of _GROUP.
    """
    error = _error(row)
    if error is None or not row["seconds_median"]:
        return None

    members = groups.get(tuple(row[k] for k in _GROUP), ())
    limits = [limit for other, limit in members if other <= 2 * error]
    return min(limits) / row["seconds_median"] if limits else None


def _error(row: Row) -> float | None:
    error: float | None = row[error_column(row["phase"])]
    return error


def drift(ceilings: Sequence[Mapping[str, float]]) -> float | None:
    """Return the relative change of a machine's speed during a run: 0.5 for a change by half.

    A ceiling is a peak speed of the machine, such as that of matrix products. Each is compared with
    its first measurement. The change at one time is the median over the ceilings of a device,
    because a single measurement, which takes a few milliseconds, is easily disturbed. The drift is
    the largest change at any time; None if no ceiling was measured twice.

    ceilings: measured speeds by `DEVICE NAME`, one mapping for each time, in the order of time.
    """
    first: dict[str, float] = {}
    changes = []
    for rates in ceilings:
        by_device: dict[str, list[float]] = {}
        for name, value in rates.items():
            if name in first:
                device = name.rpartition(" ")[0]
                by_device.setdefault(device, []).append(abs(log(value / first[name])))
            first.setdefault(name, value)
        changes += [exp(median(logs)) - 1 for logs in by_device.values()]

    return max(changes, default=None)
