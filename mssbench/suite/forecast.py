"""Rough estimates of the time and memory of cells before they run, for `--dry-run`.

A cell is one combination of method, problem, size, batch, precision and so on. The shortest
possible time of a cell that was measured is another number: it is computed in measure/roofline.py,
from the counted work of the cell and the highest rates that the machine has reached.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from mssbench.arrays import STORAGE
from mssbench.errors import NotInstalled, Unsupported
from mssbench.machine.possible import absent
from mssbench.methods import registry, regularization
from mssbench.methods.kernels.planner import LIMITS, Launch, Limits, plan
from mssbench.methods.kernels.variants import Family
from mssbench.methods.method import Method
from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.policy import Policy
from mssbench.suite.suite import Suite

# Methods that run CUDA kernels of mssbench, and the family of their kernels.
_FAMILIES: dict[str, Family] = {
    "fused": "iterate",
    "fused_tensor_cores": "iterate",
    "jacobi": "jacobi",
    "lyapunov_fused": "lyapunov",
    "lyapunov_tensor_cores": "lyapunov",
    "loewner_fused": "loewner",
}
_PROCESSORS = 132  # multiprocessors of an H100 or H200


def kernels(cells: Iterable[Cell], arch: str = "sm_90") -> list[dict[str, Any]]:
    """Return the CUDA kernels that the cells would launch on a GPU of architecture `arch`.

    Each row has the method, the sizes n, the kernel or the reason why there is none, and how the
    kernel is launched: threads, shared memory, and the largest number of blocks.
    """
    limits = replace(LIMITS[arch], processors=_PROCESSORS)

    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in cells:
        for method, family, parameters in _kernels(cell):
            row = _row(cell, method, family, parameters, limits)
            kept = rows.setdefault((method, str(row["kernel"])), row)
            kept["n"] = sorted({*kept["n"], *row["n"]})
            kept["blocks"] = max(kept["blocks"], row["blocks"])
    return list(rows.values())


def _kernels(cell: Cell) -> Iterator[tuple[str, Family, dict[str, Any]]]:
    """Yield the method, the kernel family and the parameters of each kernel that a cell launches.

    A family is a group of kernels with one algorithm, such as `jacobi`.
    """
    for name, prefix in ((cell.forward, ""), (cell.backward, "backward_")):
        if name in _FAMILIES:
            given = {
                k.removeprefix(prefix): v
                for k, v in cell.parameters.items()
                if k.startswith("backward_") == bool(prefix)
            }

            yield name, _FAMILIES[name], given


def _row(
    cell: Cell, method: str, family: Family, given: dict[str, Any], limits: Limits
) -> dict[str, Any]:
    """Return the row that `kernels` has for one method of one cell. given: its parameters."""
    degree = given.get("degree", 0) if given.get("iterations") or family == "lyapunov" else 3
    terms = (degree + 1) // 2 if family in ("iterate", "lyapunov") else 0
    steps = max((given.get("iterations") or 0) + given.get("finish", 0), 1)
    row = {"method": method, "n": [cell.size], "threads": 0, "shared_bytes": 0, "blocks": 0}

    try:
        launch: Launch = plan(
            family,
            cell.size,
            cell.batch,
            STORAGE[cell.precision],
            limits,
            terms=terms,
            steps=steps,
            operands=given.get("operands"),
        )
    except Unsupported as error:
        return row | {"kernel": f"none: {error}"}

    return row | {
        "kernel": launch.variant.symbol,
        "threads": launch.variant.threads,
        "shared_bytes": launch.shared_bytes,
        "blocks": launch.blocks,
    }


# Orders of magnitude, because speeds are not known before they are measured: flop/s in batched
# products of a desktop processor and of a data-centre GPU, and seconds per launched operation.
_FLOPS = {"cpu": 3e10, "cuda": 1e13}
_CALL_SECONDS = {"cpu": 5e-6, "cuda": 1e-5}
_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


class Estimate(NamedTuple):
    """Estimated cost of one cell: seconds of wall time, and bytes of memory on the device."""

    seconds: float
    bytes: float


def estimate(cell: Cell, policy: Policy) -> Estimate:
    """Estimate the time and memory that measuring a cell takes.

    All its phases (forward, backward, step) and clocks, warm-up and the reference are included.
    """
    n, b = cell.size, cell.batch
    work = _work(cell)

    call = work.products * 2.0 * n**3 * b / _FLOPS[cell.device]
    call += work.launches * _CALL_SECONDS[cell.device]

    timed = max(policy.min_seconds, call * policy.min_samples)  # seconds of all passes
    timed = min(timed, max(policy.max_seconds, policy.few * call))
    rows = len(phases(cell)) * len(clocks(cell))
    # Cells with the same matrices share a reference, so this is an upper estimate.
    reference = 2e-3 + 2e-9 * n**3 * min(b, 8)
    warming = policy.passes * (policy.warmup_seconds + 3 * call)
    seconds = rows * (timed + warming) + reference

    # Number of (b, n, n) arrays in memory at a time. With a backward, three per iteration of the
    # forward are assumed to be kept.
    kept = 3 * (cell.iterations or 2) + 6 if cell.backward != "none" else 8
    return Estimate(seconds, float(kept * b * n * n * _BYTES[STORAGE[cell.precision]]))


class _Work(NamedTuple):
    """Work of one call of a pair, forward and backward: batched matrix products and launches."""

    products: float
    launches: float


def _work(cell: Cell) -> _Work:
    """Return the work that a cell's methods declare; 1 product and 1 launch if one is missing."""
    given: dict[bool, dict[str, Any]] = {False: {}, True: {}}  # key: whether of the backward
    _, parameters = regularization.split(cell.parameters)  # the cost of a ridge is negligible
    for key, value in parameters.items():
        given[key.startswith("backward_")][key.removeprefix("backward_")] = value

    try:
        forward = registry.lookup("forward", cell.forward)
        first = _of(forward, forward.cost(given[False]))
        if cell.backward == "none":
            return first

        backward = registry.lookup("backward", cell.backward)
        # A backward that replays the forward differentiates each product by two products.
        products = 2 * first.products if backward.replays else backward.cost(given[True])
        second = _of(backward, products)
        return _Work(first.products + second.products, first.launches + second.launches)
    except NotInstalled:
        return _Work(1.0, 1.0)


def _of(method: Method, products: float) -> _Work:
    return _Work(products, method.launches or products)


# Approximate time to start a worker: imports, and the first use of each library.
START_SECONDS = 5.0
ASSUMED = "sm_90"  # GPU architecture that forecasts assume: H100, H200


def seconds_here(cells: Iterable[Cell], policy: Policy, gpus: int = 1) -> float:
    """Estimate the seconds that cells take here. Cells that cannot run here take no time.

    gpus: the number of GPUs that share the cells of a GPU.
    """
    costs = [
        estimate(c, policy).seconds / (gpus if c.device == "cuda" else 1)
        for c in cells
        if absent(c) is None
    ]
    return sum(costs, START_SECONDS) if costs else 0.0


def forecast_data(chosen: Suite) -> dict[str, Any]:
    """Return the number of cells of a suite by method, with estimated time and memory, for JSON.

    Times include only the cells that can be measured on this machine. The others are listed under
    `absent`, with the status of their rows and the time that they would take elsewhere.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    cells: Counter[str] = Counter()
    most: dict[str, float] = {}
    here: Counter[str] = Counter()  # number of cells that can be measured on this machine
    elsewhere: dict[tuple[str, str], list[float]] = {}  # seconds by (status, reason)

    for cell in chosen.cells:
        pair = cell.backend if cell.backward == "none" else f"{cell.backend} + {cell.backward}"
        cost = estimate(cell, chosen.policy)
        cells[pair] += 1

        if missing := absent(cell):
            status, reason = missing
            elsewhere.setdefault((str(status), reason), []).append(cost.seconds)
        else:
            seconds[pair] += cost.seconds
            here[pair] += 1
        most[pair] = max(most.get(pair, 0.0), cost.bytes)

    return {
        "suite": chosen.name,
        "cells": len(chosen.cells),
        "seconds": round(START_SECONDS + sum(seconds.values()), 1) if here else 0.0,
        "bytes": max(most.values()),
        "devices": sorted({c.device for c in chosen.cells}),
        "methods": [
            {
                "method": p,
                "cells": n,
                "here": here[p],
                "seconds": round(seconds[p], 1),
                "bytes": most[p],
            }
            for p, n in sorted(cells.items())
        ],
        "absent": [
            {"status": status, "reason": why, "cells": len(costs), "seconds": round(sum(costs), 1)}
            for (status, why), costs in elsewhere.items()
        ],
        "kernels": kernels((c for c in chosen.cells if c.device == "cuda"), ASSUMED),
    }
