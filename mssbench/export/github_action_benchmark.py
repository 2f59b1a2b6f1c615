"""Export to github-action-benchmark's custom format, for its tool `customSmallerIsBetter`."""

from collections.abc import Iterator
from math import isfinite
from typing import Any

from mssbench.export import Exported, names
from mssbench.export.json_ import listed
from mssbench.records.measurement import AnyRow
from mssbench.records.schema import error_column


def text(what: Exported) -> Iterator[str]:
    """Yield a JSON list in pieces, with an entry for the time and the error of each row.

    An entry has the keys name, unit and value; that of a time also range and extra.
    """
    rows = what.measured()
    named = zip(names(rows), rows, strict=True)
    yield from listed(entry for name, row in named for entry in _entries(name, row))
    yield "\n"


def _entries(name: str, row: AnyRow) -> list[dict[str, Any]]:
    """Return an entry for a row's time, in microseconds, and one for its error if it is finite."""
    half = (row["seconds_high"] - row["seconds_low"]) / 2
    time = {
        "name": name,
        "unit": "us",
        "value": 1e6 * row["seconds_median"],
        "range": f"± {1e6 * half:.3g}",
        "extra": f"{row['samples']} samples, {row['status']}",
    }

    error = error_column(row["phase"])
    if row[error] is None or not isfinite(row[error]):
        return [time]
    return [time, {"name": f"{name} · {error}", "unit": "1", "value": row[error]}]
