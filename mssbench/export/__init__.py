"""Export of a run to the formats of other tools; each format has a module of its own."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mssbench.errors import TableError, unknown
from mssbench.records.measurement import AnyRow
from mssbench.results.labels import where

SamplesByRow = Mapping[Any, list[float]]
# The module of each format, which is imported only when the format is used.
FORMATS = {
    "bencher": "bencher",
    "csv": "csv_",
    "github-action-benchmark": "github_action_benchmark",
    "json": "json_",
    "junit": "junit",
    "latex": "latex",
    "markdown": "markdown",
    "pytest-benchmark": "pytest_benchmark",
}
# Characters of a piece: large enough for few writes, small enough for little memory.
_PIECE = 1_000_000


@dataclass(frozen=True)
class Exported:
    """The data of a run from which a format is written."""

    name: str  # of the run
    rows: Sequence[AnyRow]  # with the label of the method as `method`, as plain values
    facts: Mapping[str, Any]  # the content of environment.json
    samples: SamplesByRow  # seconds, by (cell_id, phase, clock, cache); may be empty

    def measured(self) -> list[AnyRow]:
        """Return the rows with a time."""
        return [row for row in self.rows if row["seconds_median"] is not None]


def names(rows: Sequence[AnyRow]) -> Iterator[str]:
    """Yield a unique name for each row, for tools that identify rows by name.

    The name is `METHOD · WHERE`: the method's label, and the row's other key values as in
    `labels.where`. Rows that would have the same name get their cell_id and cache appended.
    """
    plain = [f"{row['method']} · {where(row)}" for row in rows]
    counts = Counter(plain)
    used: set[str] = set()

    for name, row in zip(plain, rows, strict=True):
        unique = name if counts[name] == 1 else f"{name} · {row['cell_id']} {row['cache']}"
        while unique in used:  # in a table in which two cells have one id
            unique += "'"
        used.add(unique)
        yield unique


def export(what: Exported, to: str) -> str:
    """Return a run as text in another format. to: the format, a name of FORMATS.

    Raises TableError for an unknown format.
    """
    return "".join(pieces(what, to))


def pieces(what: Exported, to: str) -> Iterator[str]:
    """Yield the text that `export` returns in pieces, as a large run may not fit into memory.

    Raises TableError for an unknown format.
    """
    if to not in FORMATS:
        raise TableError(f"--to: {unknown('format', to, FORMATS)}")

    text: str | Iterator[str] = import_module(f"mssbench.export.{FORMATS[to]}").text(what)
    part, size = [], 0
    for piece in [text] if isinstance(text, str) else text:
        part.append(piece)
        size += len(piece)
        if size > _PIECE:
            yield "".join(part)
            part, size = [], 0
    yield "".join(part)
