"""What a cell will cost, roughly, before it runs: for `--dry-run`, not for verdicts.

What it could have cost at this machine's ceilings is in limits.py, from its own counted work.
"""

from typing import NamedTuple

from mssbench import methods
from mssbench.arrays import STORAGE
from mssbench.errors import NotInstalled
from mssbench.records import Cell, clocks, phases
from mssbench.sampling import Policy

# Batched products per second of wall time are known only once measured; these are the order of
# magnitude of one desktop core group and of one data-centre GPU, in flop/s, and of one call.
_FLOPS = {"cpu": 3e10, "cuda": 1e13}
_CALL_SECONDS = {"cpu": 5e-6, "cuda": 1e-5}
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class Estimate(NamedTuple):
    """Seconds of wall time and bytes of memory on the device, for one cell."""

    seconds: float
    bytes: float


def estimate(cell: Cell, policy: Policy) -> Estimate:
    """The measurement of one cell: its phases, clocks, warm-up and reference."""
    n, b = cell.size, cell.batch
    products = _products(cell)
    call = products * (2.0 * n**3 * b / _FLOPS[cell.device] + _CALL_SECONDS[cell.device])
    timed = max(policy.min_seconds, call * policy.min_samples)  # of all passes
    timed = min(timed, max(policy.max_seconds, policy.few * call))
    rows = len(phases(cell)) * len(clocks(cell))
    reference = 2e-3 + 2e-9 * n**3 * min(b, 8)  # shared by a group, so this is an upper estimate
    warming = policy.passes * (policy.warmup_seconds + 3 * call)
    seconds = rows * (timed + warming) + reference
    kept = 3 * (cell.iterations or 2) + 6 if cell.backward != "none" else 8
    return Estimate(seconds, float(kept * b * n * n * _BYTES[STORAGE[cell.precision]]))


def _products(cell: Cell) -> float:
    """Batched products of one call of the pair; 1 where a method is not here to ask."""
    try:
        forward = methods.lookup("forward", cell.forward)
        mine = {k: v for k, v in cell.parameters.items() if not k.startswith("backward_")}
        count = forward.products(**mine)
        if cell.backward == "none":
            return count
        backward = methods.lookup("backward", cell.backward)
        theirs = {
            k.removeprefix("backward_"): v
            for k, v in cell.parameters.items()
            if k.startswith("backward_")
        }
        return count + (2 * count if backward.replays else backward.products(**theirs))
    except NotInstalled:
        return 1.0
