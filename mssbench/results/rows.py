"""A run's rows as they stand in its files, read and written as text, without torch or pandas."""

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
    """The folder of a run that is named by its folder, or by its table.csv."""
    return path.parent if path.is_file() else path


def peek(path: Path, left: list[Left] | None = None) -> list[Row]:
    """Every row measured so far in a folder, as text: the table's, then what only its journal has.

    Takes no lock and writes nothing. Raises RunError if the table is none of ours, and TableError
    where it is damaged, or has one row twice while no journal tells which one is the newer. left:
    takes the rows that cannot be read, so that the others can; the last of each then stands.
    """
    stored = read_rows(path / TABLE, left)
    found = {_key(row): row for row in stored}
    if left is None and len(found) < len(stored) and not (path / JOURNAL).exists():
        pair = duplicate(map(_key, stored))
        assert pair is not None
        raise twice(path / TABLE, pair, ", ".join(filter(None, _key(stored[pair[1]]))))

    for entry in read_journal(path / JOURNAL):
        for row in map(_as_text, entry["rows"]):
            found[_key(row)] = row
    return list(found.values())


def typed(row: Row, names: Iterable[str] = COLUMNS) -> Row:
    """A row of text as one of numbers, null where it has nothing. One of numbers stays as it is.

    names: the columns that it is to have.
    """
    return {name: _value(row.get(name), _KINDS[name]) for name in names}


def all_typed(rows: Sequence[Row], names: Sequence[str]) -> list[Row]:
    """The same as `typed` of each row, converted column by column, which is faster."""
    columns = [_values([row.get(name) for row in rows], _KINDS[name]) for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _values(column: list[Any], kind: str) -> list[Any]:
    if kind == "str":
        return [x or "" for x in column]
    known = {text: _value(text, kind) for text in {x for x in column if isinstance(x, str)}}
    return [known[x] if isinstance(x, str) else x for x in column]


def _value(x: Any, kind: str) -> Any:
    if kind == "str":
        return x or ""
    if not isinstance(x, str):
        return x
    if x == "":
        return None
    return x == "True" if kind == "bool" else int(x) if kind == "int" else float(x)


def header() -> bytes:
    """The first line of a table, and its line break."""
    return (",".join(COLUMNS) + "\n").encode()


def as_csv(rows: "Iterable[Row] | Rows") -> bytes:
    """Rows as CSV lines. Python writes a float with as many digits as it takes to read it back."""
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
    """Texts without line breaks. Most columns have a few that come again and again."""
    flat = {x: _flat(x) if isinstance(x, str) else x for x in set(values)}
    return [flat[x] for x in values]


def _as_text(row: Row) -> Row:
    return {
        k: "" if v is None else _flat(v) if isinstance(v, str) else str(v) for k, v in row.items()
    }


def _flat(text: str) -> str:
    """Without line breaks, so that a row is a line; and fit for UTF-8, whatever a method said."""
    return " ".join(text.splitlines()).replace("\0", "").encode(errors="replace").decode()


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name) or "" for name in KEY)


def read_rows(path: Path, left: list[Left] | None = None) -> list[Row]:
    """The rows of a table as text, without pandas; a torn last line is left out.

    left: takes the rows that cannot be read, so that the others can. Raises RunError for a file
    that is not a table of ours, TableError for one that is damaged, or of a newer mssbench.
    """
    try:
        data = contents(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from None
    if data is None or header().startswith(data):
        return []
    found = rows_of(path, data, left=left)
    refuse_newer(path, (int(v) for v in {r.get("schema") or "" for r in found} if v))
    return found


def read_suite(path: Path) -> dict[str, Any] | None:
    """The suite that the run in folder `path` was measured with, if it is there and whole."""
    try:
        text = suite_text(path)
        return None if text is None else tomllib.loads(text)
    except (ValueError, RecursionError):
        return None


def suite_text(path: Path) -> str | None:
    """The text of the suite in folder `path`; None where there is none, or none that is a text."""
    try:
        data = contents(path / SUITE)
        return None if data is None else without_mark(data).decode()
    except (OSError, ValueError):
        return None


def refuse_newer(path: Path, versions: Iterable[int]) -> None:
    """Raise TableError if a table has columns that this mssbench would lose."""
    newest = max(versions, default=1)
    if newest > SCHEMA_VERSION:
        raise TableError(
            f"{path} has schema {newest}; this mssbench reads up to {SCHEMA_VERSION}. "
            "Upgrade: pip install -U mssbench."
        )


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The finished cells of a run that did not finish; what is torn is left out.

    Raises RunError for a symbolic link, which is not followed: a run writes into its journal.
    """
    try:
        data = contents(path, follow=False)
    except OSError as error:
        raise RunError(
            f"{path} is not read: {error.strerror or error}. Nothing was written: remove it, or "
            "choose another --out."
        ) from None
    for line in (data or b"").splitlines(keepends=True):
        # without its end a line is still being written, or was when its writer was killed
        if line.endswith(b"\n") and (entry := _entry(line)):
            yield entry


def _entry(line: bytes) -> dict[str, Any] | None:
    """What a line of a journal says; None for one that is damaged."""
    try:
        found = json.loads(line)
        whole = isinstance(found, dict) and found["rows"] and all(map(_is_row, found["rows"]))
        return found if whole and _are_samples(found["samples"], found["rows"]) else None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None  # a machine that lost its power can leave anything


def _is_row(row: Any) -> bool:
    """Whether a row has its key, and values that its columns can hold."""
    if not isinstance(row, dict):
        return False
    numbers = typed(row)  # which raises for a text that is not a number
    fits = all(_fits(x, _KINDS[name]) for name, x in numbers.items())
    return fits and bool(row["cell_id"]) and fault({k: [x] for k, x in numbers.items()}) is None


def _fits(x: Any, kind: str) -> bool:
    types: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "bool": (bool,)}
    if kind == "int" and isinstance(x, int) and not is_storable(x):
        return False
    return x is None or isinstance(x, types.get(kind, (int, float)))


def _are_samples(samples: Any, rows: Sequence[Row]) -> bool:
    return len(samples) == len(rows) and all(isinstance(x, int | float) for s in samples for x in s)
