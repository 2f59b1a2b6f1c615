"""What the kernels of a suite's cells would take of a GPU, without one."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from mssbench.arrays import STORAGE
from mssbench.errors import Unsupported
from mssbench.kernels.planner import LIMITS, Launch, Limits, plan
from mssbench.kernels.variants import Family
from mssbench.records import Cell

_FAMILIES: dict[str, Family] = {
    "fused": "iterate", "fused_tensor_cores": "iterate", "jacobi": "jacobi",
    "lyapunov_fused": "lyapunov", "lyapunov_tensor_cores": "lyapunov", "loewner_fused": "loewner",
}  # fmt: skip

_PROCESSORS = 132  # of a H100 or H200


def kernels(cells: Iterable[Cell], arch: str = "sm_90") -> list[dict[str, Any]]:
    """A row for each kernel or refusal: who asks for it, and for how many matrices at most."""
    limits = replace(LIMITS[arch], processors=_PROCESSORS)
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for cell in cells:
        for method, family, parameters in _kernels(cell):
            row = _row(cell, method, family, parameters, limits)
            kept = found.setdefault((method, str(row["kernel"])), row)
            kept["n"] = sorted({*kept["n"], *row["n"]})
            kept["blocks"] = max(kept["blocks"], row["blocks"])
    return list(found.values())


def _kernels(cell: Cell) -> Iterator[tuple[str, Family, dict[str, Any]]]:
    """Method, family and parameters of each kernel of a pair."""
    for name, prefix in ((cell.forward, ""), (cell.backward, "backward_")):
        if name in _FAMILIES:
            given = {k.removeprefix(prefix): v for k, v in cell.parameters.items()
                     if k.startswith("backward_") == bool(prefix)}  # fmt: skip
            yield name, _FAMILIES[name], given


def _row(
    cell: Cell, method: str, family: Family, given: dict[str, Any], limits: Limits
) -> dict[str, Any]:
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
        "kernel": launch.variant.symbol, "threads": launch.variant.threads,
        "shared_bytes": launch.shared_bytes, "blocks": launch.blocks,
    }  # fmt: skip
