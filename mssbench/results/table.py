"""results/<run>/ <-> DataFrame. Reads every older version of the schema; merges runs."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError, TableError, nearest
from mssbench.records.schema import COLUMNS, KEY, SCHEMA
from mssbench.results.damage import CHECKED, QUANTILES, duplicate, fault, pointer, refuse, twice
from mssbench.results.files import contents
from mssbench.results.parsing import Left, check_names, rows_of, without_mark
from mssbench.results.rows import JOURNAL, TABLE, as_csv, header, read_journal, refuse_newer

if TYPE_CHECKING:  # they take half a second to import, and a command's --help needs neither
    import pandas as pd
    import pyarrow as pa

_DTYPES = {"str": "str", "int": "Int64", "float": "float64", "bool": "boolean"}
_KIND = {c.name: c.kind for c in SCHEMA}
# A field that is NA, as R writes a missing value.
_MISSING_OF_R = re.compile(rb'(?:^|,)"?NA"?(?:,|\r?$)', re.MULTILINE)


def load(path: str | Path, *, left: list[Left] | None = None) -> "pd.DataFrame":
    """The table of a run as a DataFrame with typed columns, missing values as NA.

    path: a run's folder, or its table.csv. A run that was killed, or is still going on, reads as
    far as it got. left: takes the rows that cannot be read, so that the others can; of a row that
    is there twice the last then stands. Raises TableError if there is no table, if it is not one of
    ours or damaged, or if a newer mssbench wrote it.
    """
    file = _file(Path(path))
    frame = _read(file, left)
    journal = file.with_name(JOURNAL)
    if journal.exists():
        return _with_journal(frame, journal)
    if left is None:
        _refuse_duplicates(file, frame)
        return frame
    return frame.drop_duplicates(list(KEY), keep="last", ignore_index=True)


def _refuse_duplicates(file: Path, frame: "pd.DataFrame") -> None:
    """Raise TableError where two rows have one key."""
    if frame.duplicated(list(KEY)).any():
        plain = [[None if x is None else str(x) for x in frame[name].tolist()] for name in KEY]
        keys = list(zip(*plain, strict=True))
        pair = duplicate(keys)
        assert pair is not None
        words = (word for word in keys[pair[1]] if word not in ("", "<NA>"))
        raise twice(file, pair, ", ".join(map(str, words)))


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


def _read(file: Path, left: list[Left] | None) -> "pd.DataFrame":
    """Read a table with Arrow, which is fast and reads every float exactly.

    What another program has written, or what is damaged, is read as text first.
    """
    import pandas as pd
    import pyarrow as pa

    data = without_mark(_whole_rows(file))
    names = _header(file, data)
    # Arrow takes neither 12.0 for a whole number nor NA for a missing one
    foreign = b"NA" in data and _MISSING_OF_R.search(data) is not None
    table = None if foreign else _by_arrow(data, names)
    if table is None:
        with _as_table_errors():
            rows = rows_of(file, data, left=left)
        table = _by_arrow(header() + as_csv(rows), COLUMNS)
        if table is None:  # by what `rows_of` takes and Arrow does not
            raise refuse(file, "one of its values is not as a table of ours has it")
    _check_version(file, table)
    return typed(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))


def _by_arrow(data: bytes, names: Sequence[str]) -> "pa.Table | None":
    """The columns of ours as Arrow reads them; None where a row is not as we would write it."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    types = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    known = [name for name in names if name in _KIND]
    convert = arrow_csv.ConvertOptions(
        column_types={name: types[_KIND[name]] for name in known},
        include_columns=known,
        null_values=[""],
        strings_can_be_null=False,
    )
    parse = arrow_csv.ParseOptions(newlines_in_values=True)
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data), parse_options=parse, convert_options=convert
        )
    except pa.ArrowInvalid:
        return None
    # which row it is that is wrong is found out by whoever reads them as text
    words = [name for name in CHECKED if name in table.column_names and name not in QUANTILES]
    if fault({name: table[name].unique().to_pylist() for name in words}) is not None:
        return None
    return None if _has_faulty_time(table) else table


def _has_faulty_time(table: "pa.Table") -> bool:
    """Whether a row has a time in part, or one below zero: what `fault` says row by row."""
    import pyarrow.compute as pc

    there = [name for name in QUANTILES if name in table.column_names]
    if "seconds_median" not in there:
        return False
    is_timed = table["seconds_median"].is_valid()
    wrong = [pc.less(table[name], 0.0).fill_null(False) for name in there]
    wrong += [pc.and_(table[name].is_null(), is_timed) for name in there]
    return any(pc.any(each).as_py() for each in wrong)


def _header(file: Path, data: bytes) -> list[str]:
    """The names of the columns. Raises TableError unless they are those of a result table."""
    try:
        if why := pointer(data):
            raise TableError(f"{file} is not a result table: {why}.")
        first = data.partition(b"\n")[0].rstrip(b"\r").decode("utf-8")
        names = next(csv.reader([first]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{file} is not a result table: {error}") from None
    with _as_table_errors():
        check_names(file, names, KEY)
    return names


@contextmanager
def _as_table_errors() -> Iterator[None]:
    """What refuses a folder that is to be written refuses a table that is to be read."""
    try:
        yield
    except RunError as error:
        text = str(error).replace(" Nothing was written: choose another --out.", "")
        raise TableError(text) from None


def _whole_rows(file: Path) -> bytes:
    """The bytes of the file; while it is written, those up to the last line break.

    A row that was torn when its writer was killed is whole in the journal.
    """
    try:
        data = contents(file) or b""
    except OSError as error:
        raise TableError(f"{file} cannot be read: {error.strerror or error}.") from None
    return data[: data.rfind(b"\n") + 1] if file.with_name(JOURNAL).exists() else data


def _check_version(file: Path, table: "pa.Table") -> None:
    versions = table["schema"].unique().to_pylist() if "schema" in table.column_names else []
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
