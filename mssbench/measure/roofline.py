"""How fast a row could have been at the machine's ceilings.

By its own work, and by the least work that reaches its error.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from mssbench import units
from mssbench.records.cell import APPLIED, OF_FEATURES, Cell

# A ceiling is measured too, and on a machine with other work perhaps too low.
_DOUBT = 0.5
# Other work takes a part of the cores and of the bandwidth, and a ceiling is the best that was seen
# in several looks: it comes out a few times too low at most.
_FAR = 0.1
# Arrays of the batch's size that must be read or written whatever the method: A, Y; Y, G, S; all.
_ARRAYS = {"forward": 2, "backward": 3, "step": 4}
# Of vectors only A, and S count. Of features only X, and dL/dX: a lower bound for any M.
_ARRAYS_OF_INPUT = {"forward": 1, "backward": 2, "step": 2}


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

    def far_exceeded_by(self, seconds: float) -> bool:
        """Whether no other work on the machine explains that it is faster than can be."""
        return seconds < _FAR * self.certain

    def alarm(self, seconds: float) -> str:
        """What is wrong with that."""
        return (
            f"{units.seconds(seconds)} is faster than this machine's ceilings allow its products, "
            f"{units.seconds(self.certain)}: something was not done, or not waited for"
        )


def limit(
    cell: Cell,
    phase: str,
    batch_bytes: int,
    known: Mapping[str, Any],
    ceilings: Mapping[str, float],
) -> Limit | None:
    """The limit of one phase of a method; None where its work or the machine is not known.

    batch_bytes: of the input; known: `flops` of one call, and of its products those that are
    `certain` and `rounded`, see counts.py; ceilings: see Ceilings.measure.
    """
    if not known["flops"] or not {cell.precision, "bytes_per_second"} <= ceilings.keys():
        return None
    only_input = cell.function in (APPLIED, OF_FEATURES)
    arrays = (_ARRAYS_OF_INPUT if only_input else _ARRAYS)[phase]
    memory = arrays * batch_bytes / ceilings["bytes_per_second"]
    launch = 1 / ceilings["calls_per_second"]
    product = 2.0 * cell.size**3 * cell.batch / ceilings[cell.precision]  # seconds of one
    certain = known["certain"] or 0.0
    if known["rounded"]:
        return Limit(None, "", certain * product)
    compute = known["flops"] / ceilings[cell.precision]
    seconds, bound = max((compute, "compute"), (memory, "memory"), (launch, "launches"))
    return Limit(seconds, bound, certain * product)
