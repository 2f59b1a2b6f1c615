"""What a cell will cost, roughly, before it runs: for `--dry-run`, not for verdicts.

What it could have cost at this machine's ceilings is in limits.py, from its own counted work.
"""

from typing import Any, NamedTuple

from mssbench import methods
from mssbench.arrays import STORAGE
from mssbench.errors import NotInstalled
from mssbench.records import Cell, clocks, phases
from mssbench.registry import Method
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
    work = _work(cell)
    call = work.products * 2.0 * n**3 * b / _FLOPS[cell.device]
    call += work.launches * _CALL_SECONDS[cell.device]
    timed = max(policy.min_seconds, call * policy.min_samples)  # of all passes
    timed = min(timed, max(policy.max_seconds, policy.few * call))
    rows = len(phases(cell)) * len(clocks(cell))
    reference = 2e-3 + 2e-9 * n**3 * min(b, 8)  # shared by a group, so this is an upper estimate
    warming = policy.passes * (policy.warmup_seconds + 3 * call)
    seconds = rows * (timed + warming) + reference
    kept = 3 * (cell.iterations or 2) + 6 if cell.backward != "none" else 8
    return Estimate(seconds, float(kept * b * n * n * _BYTES[STORAGE[cell.precision]]))


class _Work(NamedTuple):
    """Of one call of a pair."""

    products: float
    launches: float


def _work(cell: Cell) -> _Work:
    """What the methods say of themselves; 1 where one is not here to ask."""
    given: dict[bool, dict[str, Any]] = {False: {}, True: {}}  # of the forward, of the backward
    for key, value in cell.parameters.items():
        given[key.startswith("backward_")][key.removeprefix("backward_")] = value
    try:
        forward = methods.lookup("forward", cell.forward)
        found = _of(forward, forward.products(**given[False]))
        if cell.backward == "none":
            return found
        backward = methods.lookup("backward", cell.backward)
        more = 2 * found.products if backward.replays else backward.products(**given[True])
        back = _of(backward, more)
        return _Work(found.products + back.products, found.launches + back.launches)
    except NotInstalled:
        return _Work(1.0, 1.0)


def _of(method: Method, products: float) -> _Work:
    return _Work(products, method.launches or products)
