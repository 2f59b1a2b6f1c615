"""How fast a row could have been at the machine's ceilings.

By its own work, and by the least work that reaches its error.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mssbench import units
from mssbench.records import APPLIED, Cell, Status
from mssbench.rows import Row

# A ceiling is measured too, and on a machine with other work perhaps too low.
_DOUBT = 0.5
DRIFTED = 0.10  # of a ceiling between the start and the end of a run: its times compare badly
# Arrays of the batch's size that must be read or written whatever the method: A, Y; Y, G, S; all.
_ARRAYS = {"forward": 2, "backward": 3, "step": 4}
_ARRAYS_APPLIED = {"forward": 1, "backward": 2, "step": 2}  # of vectors only A, and S
_GROUP = ("function", "problem", "size", "batch", "precision", "device", "seed", "phase")


class Limit(NamedTuple):
    """The least seconds that ceilings allow a row, and by which of them.

    None where tensor cores round what they multiply: their ceiling is not measured.
    """

    seconds: float | None
    bound: str  # compute | memory | launches
    certain: float  # the same of the work that no estimate is part of

    def columns(self, seconds: float) -> dict[str, Any]:
        """As the table has them, for a median of `seconds`."""
        return {
            "limit_seconds": self.seconds,
            "limit_fraction": None if self.seconds is None else self.seconds / seconds,
            "bound": self.bound,
        }

    def exceeded_by(self, seconds: float) -> bool:
        """Whether that is faster than can be."""
        return seconds < _DOUBT * self.certain

    def alarm(self, seconds: float) -> str:
        """What is wrong with that."""
        return (
            f"{units.seconds(seconds)} is faster than this machine's ceilings allow its products, "
            f"{units.seconds(self.certain)}: something was not done, or not waited for"
        )


def limit(
    cell: Cell, phase: str, batch_bytes: int, known: Mapping[str, Any],
    ceilings: Mapping[str, float],
) -> Limit | None:  # fmt: skip
    """The limit of one phase of a method; None where its work or the machine is not known.

    batch_bytes: of (b, n, n); known: `flops` of one call, and of its products those that are
    `certain` and `rounded`, see counts.py; ceilings: see anchors.measure.
    """
    if not known["flops"] or not {cell.precision, "bytes_per_second"} <= ceilings.keys():
        return None
    arrays = (_ARRAYS_APPLIED if cell.function == APPLIED else _ARRAYS)[phase]
    memory = arrays * batch_bytes / ceilings["bytes_per_second"]
    launch = 1 / ceilings["calls_per_second"]
    product = 2.0 * cell.size**3 * cell.batch / ceilings[cell.precision]  # seconds of one
    certain = known["certain"] or 0.0
    if known["rounded"]:
        return Limit(None, "", certain * product)
    compute = known["flops"] / ceilings[cell.precision]
    seconds, bound = max((compute, "compute"), (memory, "memory"), (launch, "launches"))
    return Limit(seconds, bound, certain * product)


def problem_fractions(rows: Sequence[Row]) -> list[float | None]:
    """The column `problem_fraction` of these rows.

    It is the lowest limit among the rows of at most twice the error, over a row's own time. An
    error is an estimate: within a factor of two it is the same.
    """
    groups: dict[tuple[Any, ...], list[tuple[float, float]]] = {}
    for row in rows:
        if row["status"] == Status.OK and _error(row) is not None and row["limit_seconds"]:
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
    found: float | None = row["root_error" if row["phase"] == "forward" else "gradient_error"]
    return found


def drift(ceilings: Sequence[Mapping[str, float]]) -> float | None:
    """The largest relative change of a ceiling against the first time it was measured.

    ceilings: in the order of time, each device's under a name of its own. None where none was
    measured twice.
    """
    first: dict[str, float] = {}
    changes = []
    for found in ceilings:
        for name, value in found.items():
            if name in first:
                changes.append(abs(value / first[name] - 1))
            first.setdefault(name, value)
    return max(changes, default=None)
