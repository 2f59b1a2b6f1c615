"""Export to Bencher Metric Format: {benchmark: {measure: {"value", "lower_value", ...}}}."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from mssbench.export import Exported, names
from mssbench.export.json_ import line
from mssbench.records.measurement import AnyRow

_PLAIN = (
    "root_error",
    "gradient_error",
    "products",
    "operators",
    "launches",
    "saved_bytes",
    "peak_bytes",
)


def text(what: Exported) -> Iterator[str]:
    """Yield the JSON of the rows with a time, in pieces.

    Each row has Bencher's measure `latency` in nanoseconds, and the columns _PLAIN as measures.
    Numbers that are not finite are left out, as they cannot be plotted.
    """
    rows = what.measured()
    lead = "{\n "
    for name, row in zip(names(rows), rows, strict=True):
        yield f"{lead}{line(name)}: {line(_measures(row))}"
        lead = ",\n "
    yield "{}\n" if lead.startswith("{") else "\n}\n"


def _measures(row: AnyRow) -> dict[str, Any]:
    """Return the values of a row by measure: `latency` with its interval, and some columns."""
    latency = {
        "value": 1e9 * row["seconds_median"],
        "lower_value": 1e9 * row["seconds_low"],
        "upper_value": 1e9 * row["seconds_high"],
    }
    known = {name: row[name] for name in _PLAIN if row[name] is not None}
    return {"latency": latency} | {k: {"value": v} for k, v in known.items() if isfinite(v)}
