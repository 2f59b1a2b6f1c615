"""A run's rows as they stand in its files, read and written as text, without torch or pandas."""

import csv
import io
import json
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mssbench.errors import RunError, TableError
from mssbench.records.measurement import Row
from mssbench.records.schema import COLUMNS, KEY, SCHEMA, SCHEMA_VERSION

TABLE, SAMPLES = "table.csv", "samples.parquet"
ENVIRONMENT, SUITE = "environment.json", "suite.toml"
JOURNAL = "journal.jsonl"


def folder_of(path: Path) -> Path:
    """The folder of a run that is named by its folder, or by its table.csv."""
    return path.parent if path.is_file() else path


def peek(path: Path) -> list[Row]:
    """Every row measured so far in a folder, as text: the table's, then what only its journal has.

    Takes no lock and writes nothing. Raises RunError if the table is none of ours.
    """
    found = {_key(row): row for row in read_rows(path / TABLE)}
    for entry in read_journal(path / JOURNAL):
        for row in map(_as_text, entry["rows"]):
            found[_key(row)] = row
    return list(found.values())


def typed(row: Row) -> Row:
    """A row of text as one of numbers, null where it has nothing. One of numbers stays as it is."""
    return {c.name: _value(row.get(c.name), c.kind) for c in SCHEMA}


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


def as_csv(rows: Iterable[Row]) -> bytes:
    """Rows as CSV lines. Python writes a float with as many digits as it takes to read it back."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writerows(_as_text(row) for row in rows)
    return text.getvalue().encode()


def _as_text(row: Row) -> Row:
    return {
        k: "" if v is None else _flat(v) if isinstance(v, str) else str(v) for k, v in row.items()
    }


def _flat(text: str) -> str:
    """Without line breaks, so that a row is a line; and fit for UTF-8, whatever a method said."""
    return " ".join(text.splitlines()).replace("\0", "").encode(errors="replace").decode()


def _key(row: Row) -> tuple[str, ...]:
    return tuple(row.get(name) or "" for name in KEY)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table as text, without pandas; a torn last line is left out.

    Raises RunError for a file that is no table of ours, TableError for one of a newer mssbench.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return []
    if header().startswith(data):
        return []
    text = data[: data.rfind(b"\n") + 1].decode(errors="replace")
    reader = csv.DictReader(io.StringIO(text))
    try:
        if missing := {*KEY, "cell_id", "status"} - {*(reader.fieldnames or ())}:
            raise RunError(
                f"{path} is no result table: it has no column {min(missing)}. "
                "Nothing was written: choose another --out."
            )
        found = [r for r in reader if None not in r.values()]
        refuse_newer(path, (int(v) for r in found if (v := r.get("schema") or "").isdigit()))
        return found
    except csv.Error as error:
        raise RunError(f"{path} is no result table: {error}. Choose another --out.") from None


def read_suite(path: Path) -> dict[str, Any] | None:
    """The suite that the run in folder `path` was measured with, if it is there and whole."""
    try:
        return tomllib.loads((path / SUITE).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def refuse_newer(path: Path, versions: Iterable[int]) -> None:
    """Raise TableError if a table has columns that this mssbench would lose."""
    newest = max(versions, default=1)
    if newest > SCHEMA_VERSION:
        raise TableError(
            f"{path} has schema {newest}; this mssbench reads up to {SCHEMA_VERSION}. "
            "Upgrade: pip install -U mssbench."
        )


def read_facts(folder: Path) -> dict[str, Any]:
    """{"environments": facts by hash, "runs": by run_id} of all that was measured in a folder.

    Raises RunError where the file is damaged.
    """
    found: dict[str, Any] = {"environments": {}, "runs": {}}
    try:
        return found | dict(json.loads((folder / ENVIRONMENT).read_text("utf-8")))
    except (FileNotFoundError, NotADirectoryError):
        return found
    except (ValueError, TypeError) as error:
        raise RunError(
            f"{folder / ENVIRONMENT} is damaged ({error}): what the rows were measured on "
            "is not known. Choose another --out, or --fresh to measure all of it again."
        ) from None


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """The finished cells of a run that did not finish; what is torn is left out."""
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        for line in file:
            # without its end a line is still being written, or was when its writer was killed
            if line.endswith(b"\n") and (entry := _entry(line)):
                yield entry


def _entry(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:  # a machine that lost its power can leave anything
        return None
    return found if isinstance(found, dict) and found.get("rows") else None
