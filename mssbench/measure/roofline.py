"""Compute the shortest possible time of a row by the roofline model, from the machine's ceilings.

A ceiling is the highest rate that the machine has reached, in products, in bytes or in calls per
second. The limit, which is the shortest possible time, follows from the counted work of a row, and
from the data that must be read and written.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mssbench.records import units
from mssbench.records.cell import APPLIED, OF_FEATURES, Cell

# Fraction of the limit below which a time is impossible. It is not 1, because a ceiling is measured
# too, and may come out too low if other work runs on the machine.
_DOUBT = 0.5
# The same where other work did run. That takes a part of the cores and of the bandwidth, and a
# ceiling is the best of several measurements, so it comes out a few times too low at most.
_FAR = 0.1
# Arrays of the batch's size that every method must read or write: A, Y; Y, G, S; all four.
_ARRAYS = {"forward": 2, "backward": 3, "step": 4}
# For isqrt_b only A and S count, since vectors are small. For features only X and dL/dX count,
# which is a lower bound for any M.
_ARRAYS_OF_INPUT = {"forward": 1, "backward": 2, "step": 2}


class Limit(NamedTuple):
    """The shortest time that the ceilings allow for a row, and the ceiling that sets it.

    seconds: None where tensor cores round their operands, because their ceiling is not measured.
    bound: `compute`, `memory` or `launches`.
    certain: seconds for the products that were counted exactly, without any estimate.
    """

    seconds: float | None
    bound: str
    certain: float

    def columns(self, seconds: float) -> dict[str, Any]:
        """Return the columns of the table for a median of `seconds`."""
        return {
            "limit_seconds": self.seconds,
            "limit_fraction": None if self.seconds is None else self.seconds / seconds,
            "bound": self.bound,
        }

    def exceeded_by(self, seconds: float) -> bool:
        """Whether a time of `seconds` is so much shorter than `certain` that it is impossible."""
        return seconds < _DOUBT * self.certain

    def far_exceeded_by(self, seconds: float) -> bool:
        """Whether a time of `seconds` is impossible even if the ceilings came out too low.

        They do if other work ran on the machine while they were measured. The time must then be
        shorter than `certain` by a larger factor than in `exceeded_by`.
        """
        return seconds < _FAR * self.certain

    def alarm(self, seconds: float) -> str:
        """Return the reason of a row whose time is too short to be possible."""
        return (
            f"{units.seconds(seconds)} is faster than this machine's ceilings allow its products, "
            f"{units.seconds(self.certain)}: work was left out, or the call was not waited for"
        )


def limit(
    cell: Cell,
    phase: str,
    batch_bytes: int,
    known: Mapping[str, Any],
    ceilings: Mapping[str, float],
) -> Limit | None:
    """Return the limit of one phase of a method; None where its work or the machine is unknown.

    batch_bytes: size of the input.
    known: counts of one call, as in counts.py: `flops`, and how many products are `certain` and
        `rounded`.
    ceilings: see Ceilings.measure.
    """
    if not known["flops"] or not {cell.precision, "bytes_per_second"} <= ceilings.keys():
        return None

    only_input = cell.function in (APPLIED, OF_FEATURES)
    arrays = (_ARRAYS_OF_INPUT if only_input else _ARRAYS)[phase]
    memory = arrays * batch_bytes / ceilings["bytes_per_second"]
    launch = 1 / ceilings["calls_per_second"]
    product = 2.0 * cell.size**3 * cell.batch / ceilings[cell.precision]  # seconds of one product

    certain = known["certain"] or 0.0
    if known["rounded"]:
        return Limit(None, "", certain * product)

    compute = known["flops"] / ceilings[cell.precision]
    seconds, bound = max((compute, "compute"), (memory, "memory"), (launch, "launches"))
    return Limit(seconds, bound, certain * product)
