"""results/<run>/ <-> DataFrame. Reads every older version of the schema; merges runs."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import TableError, nearest
from mssbench.records.schema import COLUMNS, KEY, SCHEMA
from mssbench.results.rows import JOURNAL, TABLE, read_journal, refuse_newer

if TYPE_CHECKING:  # they take half a second to import, and a command's --help needs neither
    import pandas as pd
    import pyarrow as pa

_DTYPES = {"str": "str", "int": "Int64", "float": "float64", "bool": "boolean"}
_KIND = {c.name: c.kind for c in SCHEMA}


def load(path: str | Path) -> "pd.DataFrame":
    """The table of a run as a DataFrame with typed columns, missing values as NA.

    path: a run's folder, or its table.csv. A run that was killed, or is still going on, reads as
    far as it got. Raises TableError if there is no table, if it is not one of ours, or if a newer
    mssbench wrote it.
    """
    file = _file(Path(path))
    frame = _read(file)
    journal = file.with_name(JOURNAL)
    if journal.exists():
        frame = _with_journal(frame, journal)
    return frame


def _file(path: Path) -> Path:
    if path.is_dir():
        path = path / TABLE
    if not path.is_file():
        folder = path.parent if path.name == TABLE else path
        raise TableError(
            f"there is no run in {folder}.{_beside(folder)} "
            f"Make one with `mssbench run quick --out {folder}`."
        )
    return path


def _beside(folder: Path, most: int = 5) -> str:
    """The runs in the same folder as one that is not there, the likeliest one first."""
    names = sorted(p.parent.name for p in folder.parent.glob(f"*/{TABLE}"))
    if not names:
        return ""
    near = nearest(folder.name, names)
    hint = f" Did you mean {str(folder.with_name(near))!r}?" if near else ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{hint} Runs beside it: {', '.join(names[:most])}{more}."


def _read(file: Path) -> "pd.DataFrame":
    """Read a table with Arrow, which is fast and reads every float exactly."""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    known = [name for name in _header(file) if name in _KIND]
    convert = arrow_csv.ConvertOptions(
        column_types={name: types[_KIND[name]] for name in known},
        include_columns=known,
        null_values=[""],
        strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(_whole_rows(file)), parse_options=parse, convert_options=convert
        )
    except pa.ArrowInvalid as error:
        raise TableError(f"{file} is not a result table: {error}") from None
    _check_version(file, table)
    return typed(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))


def _header(file: Path) -> list[str]:
    """The names of the columns. Raises TableError unless they are those of a result table."""
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            names = next(csv.reader(lines), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{file} is not a result table: {error}") from None
    if missing := [name for name in KEY if name not in names]:
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else ".")
        raise TableError(f"{file} is not a result table: it has no column {few}")
    return names


def _whole_rows(file: Path) -> bytes:
    """The bytes of the file; while it is written, those up to the last line break.

    A row that was torn when its writer was killed is whole in the journal.
    """
    data = file.read_bytes()
    return data[: data.rfind(b"\n") + 1] if file.with_name(JOURNAL).exists() else data


def _check_version(file: Path, table: "pa.Table") -> None:
    versions = table["schema"].to_pylist() if "schema" in table.column_names else []
    refuse_newer(file, (v for v in versions if v is not None))


def typed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Every column of the schema, in its order and with its type; an absent one is missing."""
    import pandas as pd

    columns = {}
    for name in COLUMNS:
        dtype = _DTYPES[_KIND[name]]
        if name in frame:
            columns[name] = frame[name].astype(dtype)
        else:
            missing = "" if dtype == "str" else pd.NA if dtype != "float64" else float("nan")
            columns[name] = pd.Series(missing, index=frame.index, dtype=dtype)
    return pd.DataFrame(columns)


def _with_journal(frame: "pd.DataFrame", journal: Path) -> "pd.DataFrame":
    rows = [row for entry in read_journal(journal) for row in entry["rows"]]
    if not rows:
        return frame

    import pandas as pd

    theirs = pd.DataFrame.from_records(rows, columns=list(COLUMNS))
    texts = [name for name, kind in _KIND.items() if kind == "str"]
    theirs[texts] = theirs[texts].astype(object).fillna("")
    both = pd.concat([frame, typed(theirs)], ignore_index=True)
    return both.drop_duplicates(list(KEY), keep="last", ignore_index=True)


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Rows as plain Python values; a missing number is None."""
    clean = frame.astype(object).where(frame.notna(), None)
    return [{str(k): _native(v) for k, v in row.items()} for row in clean.to_dict("records")]


def plain(value: Any) -> Any:
    """One value as Python has it; None for a missing one."""
    import pandas as pd

    return None if value is pd.NA else _native(value)


def _native(value: Any) -> Any:
    """A number of numpy as a number of Python."""
    return value.item() if hasattr(value, "item") else value
