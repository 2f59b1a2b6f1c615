"""A run in the formats of others: one file for each, as text."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mssbench.errors import TableError, unknown
from mssbench.records.measurement import AnyRow
from mssbench.results.labels import where

Samples = Mapping[Any, list[float]]
# The module of each format, which is imported when it is asked for.
FORMATS = {
    "bencher": "bencher",
    "csv": "csv_",
    "github-action-benchmark": "github_action_benchmark",
    "json": "json_",
    "junit": "junit",
    "markdown": "markdown",
    "pytest-benchmark": "pytest_benchmark",
}
_PIECE = 1_000_000  # characters: few writes, and little memory


@dataclass(frozen=True)
class Exported:
    """What a format is made of."""

    name: str  # of the run
    rows: Sequence[AnyRow]  # with a `method`, as plain values
    facts: Mapping[str, Any]  # of environment.json
    samples: Samples  # seconds, by cell_id, phase, clock and cache; may be empty

    def measured(self) -> list[AnyRow]:
        """Rows with a time."""
        return [row for row in self.rows if row["seconds_median"] is not None]


def names(rows: Sequence[AnyRow]) -> Iterator[str]:
    """Yield a name for each row, `METHOD · WHERE`, for tools that know a row by its name alone.

    No two of them are equal: rows that would share one are followed by the id of their cell.
    """
    plain = [f"{row['method']} · {where(row)}" for row in rows]
    counts = Counter(plain)
    taken: set[str] = set()
    for name, row in zip(plain, rows, strict=True):
        own = name if counts[name] == 1 else f"{name} · {row['cell_id']} {row['cache']}"
        while own in taken:  # of a table in which two cells have one id
            own += "'"
        taken.add(own)
        yield own


def export(what: Exported, to: str) -> str:
    """The run as text in a format of FORMATS. Raises TableError for one that is not there."""
    return "".join(pieces(what, to))


def pieces(what: Exported, to: str) -> Iterator[str]:
    """Yield the same text in parts, since that of a large run would fill the memory."""
    if to not in FORMATS:
        raise TableError(f"--to: {unknown('format', to, FORMATS)}")
    found: str | Iterator[str] = import_module(f"mssbench.export.{FORMATS[to]}").text(what)
    part, size = [], 0
    for piece in [found] if isinstance(found, str) else found:
        part.append(piece)
        size += len(piece)
        if size > _PIECE:
            yield "".join(part)
            part, size = [], 0
    yield "".join(part)
