"""What can be said of rows only once all of them are known."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, log
from statistics import median
from typing import Any, NamedTuple

from mssbench.records.measurement import Row
from mssbench.records.schema import error_column
from mssbench.results.labels import counts_as_ok
from mssbench.results.rows import all_typed
from mssbench.run import passes

# Rows that solve one problem: the least work that one of them needs is a limit for the others.
_GROUP = ("function", "problem", "size", "batch", "precision", "device", "seed", "phase")
# The columns that are looked at here and in `passes.steadied`: of a large table few are numbers.
_READ = (
    *_GROUP,
    "cell_id",
    "clock",
    "cache",
    "status",
    "flags",
    "computed_in",
    "environment",
    "noise",
    "passes",
    "spread",
    "seconds_median",
    "seconds_low",
    "seconds_high",
    "limit_seconds",
    "root_error",
    "gradient_error",
)


class Settled(NamedTuple):
    """The rows of a run as they will stand in its table, and what all of them together say."""

    rows: list[Row]
    noise: Counter[str]  # classes of the rows that were measured
    drift: float | None  # see `drift`


def finish(
    rows: Sequence[Row],
    samples: Mapping[passes.Place, Sequence[float]],
    ceilings: Sequence[Mapping[str, float]],
) -> Settled:
    """Complete the rows of a run with what depends on all of them.

    rows: in the order of the table; numbers may be texts, as a table has them. samples: raw
    seconds, by `passes.place`, of the rows that were measured. ceilings: in the order of time, see
    `drift`. Nothing is read or written, so shards of a run can be settled together.
    """
    numbers = all_typed(rows, _READ)
    steadied = passes.steadied(numbers, samples)
    fractions = problem_fractions(numbers)

    settled = [
        _completed(row, new, fraction)
        for row, new, fraction in zip(rows, steadied, fractions, strict=True)
    ]
    noise = Counter(
        row["noise"] for row in settled if row["noise"] and passes.place(row) in samples
    )
    return Settled(settled, noise, drift(ceilings))


def _completed(row: Row, new: Row, fraction: float | None) -> Row:
    """The row with these values; the row itself where it has them already, which saves a copy."""
    if not new and row.get("problem_fraction", "") == ("" if fraction is None else str(fraction)):
        return row
    return row | new | {"problem_fraction": fraction}


def problem_fractions(rows: Sequence[Row]) -> list[float | None]:
    """The column `problem_fraction` of these rows.

    It is the lowest limit among the rows of at most twice the error, over a row's own time. An
    error is an estimate: within a factor of two it is the same.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        if counts_as_ok(row) and _error(row) is not None and row["limit_seconds"]:
            found = groups.setdefault(tuple(row[k] for k in _GROUP), [])
            found.append((_error(row) or 0.0, row["limit_seconds"]))
    return [_fraction(row, groups) for row in rows]


def _fraction(
    row: Row, groups: Mapping[tuple[Any, ...], list[tuple[float, float]]]
) -> float | None:
    error = _error(row)
    if error is None or not row["seconds_median"]:
        return None
    equal = groups.get(tuple(row[k] for k in _GROUP), ())
    limits = [seconds for other, seconds in equal if other <= 2 * error]
    return min(limits) / row["seconds_median"] if limits else None


def _error(row: Row) -> float | None:
    error: float | None = row[error_column(row["phase"])]
    return error


def drift(ceilings: Sequence[Mapping[str, float]]) -> float | None:
    """How much a machine changed during a run: 0.5 where its speed went up or down by half.

    Each ceiling is compared with the first time it was measured. The change at one time is the
    median over the ceilings of a device, since a single one is easily disturbed for the few
    milliseconds that it takes; the drift is the largest change at any time.

    ceilings: in the order of time, `DEVICE NAME` to a rate. None where none was measured twice.
    """
    first: dict[str, float] = {}
    changes = []
    for found in ceilings:
        by_device: dict[str, list[float]] = {}
        for name, value in found.items():
            if name in first:
                device = name.rpartition(" ")[0]
                by_device.setdefault(device, []).append(abs(log(value / first[name])))
            first.setdefault(name, value)
        changes += [exp(median(logs)) - 1 for logs in by_device.values()]
    return max(changes, default=None)
