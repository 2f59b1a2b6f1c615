"""Read and write the rows of table.csv and of the journal as texts, without torch or pandas.

The journal, journal.jsonl, has a line for each finished cell of a run that is not complete yet.
"""

import csv
import io
import json
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from mssbench.errors import RunError, TableError
from mssbench.records.measurement import Row
from mssbench.records.schema import COLUMNS, KEY, SCHEMA, SCHEMA_VERSION
from mssbench.results.damage import duplicate, fault, twice
from mssbench.results.files import contents
from mssbench.results.parsing import Left, is_storable, rows_of, without_mark
from mssbench.results.views import Rows

TABLE, SAMPLES = "table.csv", "samples.parquet"
ENVIRONMENT, SUITE = "environment.json", "suite.toml"
JOURNAL = "journal.jsonl"
_KINDS = {c.name: c.kind for c in SCHEMA}


def folder_of(path: Path) -> Path:
    """Return the folder of a run, given the folder itself or its table.csv."""
    return path.parent if path.is_file() else path


def peek(path: Path, left: list[Left] | None = None) -> list[Row]:
    """Return every row measured so far in a folder, as texts, from the table and the journal.

    Takes no lock and writes nothing. Of rows with the same key the last one is returned; the rows
    of the journal come after those of the table. left: receives the rows that cannot be read, so
    that the others are returned. Without it, such a row raises TableError, and so do two rows of
    the table with the same key, unless there is a journal. With or without it, RunError is raised
    if a file cannot be opened or the table is not one of mssbench, and TableError if a newer
    mssbench wrote the table.
    """
    stored = read_rows(path / TABLE, left)
    latest = {_key(row): row for row in stored}
    if left is None and len(latest) < len(stored) and not (path / JOURNAL).exists():
        pair = duplicate(map(_key, stored))
        assert pair is not None
        raise twice(path / TABLE, pair, ", ".join(filter(None, _key(stored[pair[1]]))))

    for entry in read_journal(path / JOURNAL):
        for row in map(_as_text, entry["rows"]):
            latest[_key(row)] = row
    return list(latest.values())


def typed(row: Row, names: Iterable[str] = COLUMNS) -> Row:
    """Return a row with its texts converted to numbers; a missing number is None.

    names: the columns of the result.
    """
    return {name: _value(row.get(name), _KINDS[name]) for name in names}


def all_typed(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """Return the rows with texts converted to numbers, as `typed` does, but faster: by columns.

    names: the columns of the result.
    """
    columns = [_values([row.get(name) for row in rows], _KINDS[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: list[Any], kind: str) -> list[Any]:
    if kind == "str":
        return [x or "" for x in column]
    known = {text: _value(text, kind) for text in {x for x in column if isinstance(x, str)}}
    return [known[x] if isinstance(x, str) else x for x in column]


def _value(x: Any, kind: str) -> Any:
    """Return a value of a column of this kind as text, number or truth value; None if missing."""
    if kind == "str":
        return x or ""
    if not isinstance(x, str):
        return x
    if x == "":
        return None
    return x == "True" if kind == "bool" else int(x) if kind == "int" else float(x)


def header() -> bytes:
    """Return the first line of a table, with its line break."""
    return (",".join(COLUMNS) + "\n").encode()


def as_csv(rows: "Iterable[Row] | Rows") -> bytes:
    """Return rows as CSV lines. Floats have enough digits to be read back exactly."""
    if isinstance(rows, Rows):
        blocks = ({name: each.column(name) for name in COLUMNS} for each in rows.blocks())
        return b"".join(map(_csv_block, blocks))

    rows = list(rows)
    try:
        columns = [list(values) for values in zip(*map(itemgetter(*COLUMNS), rows), strict=True)]
    except KeyError:  # the rows of an older table lack some columns
        columns = [[row.get(name) for row in rows] for name in COLUMNS]
    return _csv_block(dict(zip(COLUMNS, columns, strict=True))) if rows else b""


def _csv_block(columns: dict[str, list[Any]]) -> bytes:
    for c in SCHEMA:
        if c.kind == "str":
            columns[c.name] = _flat_column(columns[c.name])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _flat_column(values: Sequence[Any]) -> list[Any]:
    """Return the texts of a column without line breaks. Each distinct text is converted once."""
    flat = {x: _flat(x) if isinstance(x, str) else x for x in set(values)}
    return [flat[x] for x in values]


def _as_text(row: Row) -> Row:
    return {
        k: "" if v is None else _flat(v) if isinstance(v, str) else str(v) for k, v in row.items()
    }


def _flat(text: str) -> str:
    """Return a text without line breaks, so that a row is one line, and valid as UTF-8."""
    return " ".join(text.splitlines()).replace("\0", "").encode(errors="replace").decode()


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name) or "" for name in KEY)


def read_rows(path: Path, left: list[Left] | None = None) -> list[Row]:
    """Return the rows of a table as texts, without pandas; empty if there is no file.

    An incomplete last line is left out.

    left: receives the line of each row that cannot be read, and what is wrong with it; the other
        rows are returned. Without this list the first such row raises TableError.
    Raises RunError if the file cannot be opened or is not a table of mssbench, and TableError if
    too many rows cannot be read, or if a newer mssbench wrote the table.
    """
    try:
        data = contents(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from None
    if data is None or header().startswith(data):
        return []

    rows = rows_of(path, data, left=left)
    refuse_newer(path, (int(v) for v in {r.get("schema") or "" for r in rows} if v))
    return rows


def read_suite(path: Path) -> dict[str, Any] | None:
    """Return the suite of the run in folder `path`; None if it is missing or cannot be parsed."""
    try:
        text = suite_text(path)
        return None if text is None else tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def suite_text(path: Path) -> str | None:
    """Return the text of the suite in folder `path`; None if it is missing or cannot be read."""
    try:
        data = contents(path / SUITE)
        return None if data is None else without_mark(data).decode()
    except (OSError, ValueError):
        return None


def refuse_newer(path: Path, versions: Iterable[int]) -> None:
    """Raise TableError if a newer mssbench wrote a table, whose new columns would be lost.

    versions: the versions in the table's column `schema`.
    """
    newest = max(versions, default=1)
    if newest > SCHEMA_VERSION:
        raise TableError(
            f"{path} has schema {newest}; this mssbench reads up to {SCHEMA_VERSION}. "
            "Upgrade: pip install -U mssbench."
        )


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a journal: the finished cells of a run that was killed or is going on.

    Incomplete entries are left out. Raises RunError if the file cannot be read, or is a symbolic
    link, which is not followed, because a run writes to its journal.
    """
    try:
        data = contents(path, follow=False)
    except OSError as error:
        raise RunError(
            f"{path} cannot be read: {error.strerror or error}. It must be a file that you may "
            "read, and no symbolic link. If you move it away, the cells in it are lost to the run."
        ) from None
    for line in (data or b"").splitlines(keepends=True):
        # A line without a line break is still being written, or its writer was killed.
        if line.endswith(b"\n") and (entry := entry_in(line)):
            yield entry


def entry_in(line: bytes) -> dict[str, Any] | None:
    """Return the entry in a line of a journal: a cell's rows and samples; None if damaged."""
    try:
        entry = json.loads(line)
        whole = isinstance(entry, dict) and entry["rows"] and all(map(_is_row, entry["rows"]))
        return entry if whole and _are_samples(entry["samples"], entry["rows"]) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # after a power failure, a line may contain anything


def _is_row(row: Any) -> bool:
    """Whether a row has its key, and values of the types of its columns."""
    if not isinstance(row, dict):
        return False
    numbers = typed(row)  # raises for a text that is not a number
    fits = all(_fits(x, _KINDS[name]) for name, x in numbers.items())
    return fits and bool(row["cell_id"]) and fault({k: [x] for k, x in numbers.items()}) is None


def _fits(x: Any, kind: str) -> bool:
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,)}
    if kind == "int" and isinstance(x, int) and not is_storable(x):
        return False
    return x is None or isinstance(x, types.get(kind, (int, float)))


def _are_samples(samples: Any, rows: Sequence[Row]) -> bool:
    return len(samples) == len(rows) and all(isinstance(x, int | float) for s in samples for x in s)
