"""Load the table of a run as a DataFrame. Tables of every older version of the schema are read."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError, TableError, nearest
from mssbench.records.schema import COLUMNS, KEY, SCHEMA
from mssbench.results import trainings
from mssbench.results.damage import CHECKED, QUANTILES, duplicate, fault, pointer, refuse, twice
from mssbench.results.files import contents
from mssbench.results.parsing import Left, check_names, cut_off, rows_of, without_mark
from mssbench.results.rows import JOURNAL, TABLE, as_csv, header, read_journal, refuse_newer

if TYPE_CHECKING:  # importing both takes half a second, and a command's --help needs neither
    import pandas as pd
    import pyarrow as pa

_DTYPES = {"str": "str", "int": "Int64", "float": "float64", "bool": "boolean"}
_KIND = {c.name: c.kind for c in SCHEMA}
# Columns that every version has written. Without one of them, rows would seem to be unmeasured.
_READ = ("status", "seconds_median")
# Matches a field NA, which is how R writes a missing value.
_MISSING_OF_R = re.compile(rb'(?:^|,)"?NA"?(?:,|\r?$)', re.MULTILINE)


def load(path: str | Path, *, left: list[Left] | None = None) -> "pd.DataFrame":
    """Return the table of a run as a DataFrame with typed columns, missing values as NA.

    path: the folder of a run, or its table.csv. For a run that was killed or is still going on, the
    rows so far are returned. left: a list that receives the rows that cannot be read, so that the
    others are returned; of rows with the same key the last one is then returned. Raises TableError
    if there is no table, if it is damaged or of another program, or if a newer mssbench wrote it. A
    table is damaged also if its last line is cut off and no journal has the row, for example
    because the file was copied incompletely.
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
    """Raise TableError if two rows have the same key."""
    if frame.duplicated(list(KEY)).any():
        plain = [[None if x is None else str(x) for x in frame[name].tolist()] for name in KEY]
        keys = list(zip(*plain, strict=True))
        pair = duplicate(keys)
        assert pair is not None
        words = (word for word in keys[pair[1]] if word not in ("", "<NA>"))
        raise twice(file, pair, ", ".join(map(str, words)))


def _file(path: Path) -> Path:
    """Return the path of the table of a run. Raises TableError if there is none."""
    if path.name == trainings.TRAININGS:
        trainings.refuse_to_read(path)
    if path.is_dir():
        path = path / TABLE

    if not path.is_file():
        folder = path.parent if path.name == TABLE else path
        trainings.refuse_to_read(folder)
        raise TableError(f"there is no run in {folder}.{_elsewhere(folder) or _beside(folder)}")
    return path


def _elsewhere(folder: Path) -> str:
    """Return a hint for a run whose parent folder does not exist: the most similar existing run.

    It is empty if the parent exists, or if no run in the folders beside it is similar.
    """
    parent = folder.parent
    if parent.is_dir() or not parent.name:
        return ""
    runs = [str(file.parent) for file in sorted(parent.parent.glob(f"*/*/{TABLE}"))]
    near = nearest(str(folder), runs)
    return f" Did you mean {near!r}? There is no folder {parent}." if near else ""


def _beside(folder: Path, most: int = 5) -> str:
    """Return a hint for a missing run: a similar name, the runs beside it, and how to make one."""
    return f"{_neighbours(folder, most)} Make one with `mssbench run quick --out {folder}`."


def _neighbours(folder: Path, most: int) -> str:
    """Return a hint with the most similar name, and the runs in the same folder; empty if none."""
    names = sorted(p.parent.name for p in folder.parent.glob(f"*/{TABLE}"))
    if not names:
        return ""
    near = nearest(folder.name, names)
    hint = f" Did you mean {str(folder.with_name(near))!r}?" if near else ""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{hint} Runs beside it: {', '.join(names[:most])}{more}."


def _read(file: Path, left: list[Left] | None) -> "pd.DataFrame":
    """Read a table with Arrow, which is fast and reads every float exactly.

    A table that another program has saved, or that is damaged, is first converted by `rows_of`.
    """
    import pandas as pd
    import pyarrow as pa

    data = without_mark(_whole_rows(file))
    names = _header(file, data)
    end, lost = cut_off(data, names)
    if lost and left is None:
        raise refuse(file, lost)
    data = data[:end]

    # Arrow accepts neither 12.0 as a whole number nor NA as a missing one.
    foreign = b"NA" in data and _MISSING_OF_R.search(data) is not None
    table = None if foreign else _by_arrow(data, names)
    if table is None:
        with _as_table_errors():
            rows = rows_of(file, data, left=left)
        table = _by_arrow(header() + as_csv(rows), COLUMNS)
        if table is None:  # `rows_of` accepts a value that Arrow does not
            raise refuse(file, "one of its values is not written as mssbench writes it")
    _check_version(file, table)
    if lost and left is not None:
        left.append(Left(data.count(b"\n") + 1, lost))
    return typed(table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get))


def _by_arrow(data: bytes, names: Sequence[str]) -> "pa.Table | None":
    """Return the columns of the schema as Arrow reads them; None if a row is invalid."""
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
    # The caller then reads the table as text, and finds out which row is invalid.
    words = [name for name in CHECKED if name in table.column_names and name not in QUANTILES]
    if fault({name: table[name].unique().to_pylist() for name in words}) is not None:
        return None
    return None if _has_faulty_time(table) else table


def _has_faulty_time(table: "pa.Table") -> bool:
    """Whether some row of a table has an incomplete or negative time."""
    import pyarrow.compute as pc

    present = [name for name in QUANTILES if name in table.column_names]
    if "seconds_median" not in present:
        return False

    is_timed = table["seconds_median"].is_valid()
    wrong = [pc.less(table[name], 0.0).fill_null(False) for name in present]
    wrong += [pc.and_(table[name].is_null(), is_timed) for name in present]
    return any(pc.any(column).as_py() for column in wrong)


def _header(file: Path, data: bytes) -> list[str]:
    """Return the names of a table's columns. Raises TableError if it is not a result table.

    file: for messages. data: its bytes.
    """
    try:
        if why := pointer(data):
            raise TableError(f"{file} is not a result table: {why}.")
        first = data.partition(b"\n")[0].rstrip(b"\r").decode("utf-8")
        names = next(csv.reader([first]), [])
    except UnicodeDecodeError:
        raise TableError(f"{file} is not a result table: its first line is not UTF-8.") from None
    except csv.Error as error:
        raise TableError(f"{file} is not a result table: {error}.") from None

    with _as_table_errors():
        check_names(file, names, (*KEY, *_READ))
    return names


@contextmanager
def _as_table_errors() -> Iterator[None]:
    """Convert any RunError in this context to a TableError.

    The parser is shared with `run`, whose messages say that nothing was written; that sentence is
    removed here, for commands that only read.
    """
    try:
        yield
    except RunError as error:
        text = str(error).replace(" Nothing was written: choose another --out.", "")
        raise TableError(text) from None


def _whole_rows(file: Path) -> bytes:
    """Return the bytes of a table; if there is a journal, only those up to the last line break.

    A last row that is incomplete because its writer was killed is complete in the journal.
    """
    journal = file.with_name(JOURNAL)
    is_written = journal.exists()  # also asked before the table is read: a run may end meanwhile
    try:
        data = contents(file) or b""
    except OSError as error:
        raise TableError(f"{file} cannot be read: {error.strerror or error}.") from None
    return data[: data.rfind(b"\n") + 1] if is_written or journal.exists() else data


def _check_version(file: Path, table: "pa.Table") -> None:
    versions = table["schema"].unique().to_pylist() if "schema" in table.column_names else []
    refuse_newer(file, (v for v in versions if v is not None))


def typed(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Return the frame with every column of the schema, in order and with its type.

    A column that the frame lacks is filled with missing values.
    """
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
    """Return the frame with the rows of a journal, which replace rows with the same key."""
    rows = [row for entry in read_journal(journal) for row in entry["rows"]]
    if not rows:
        return frame

    import pandas as pd

    new = pd.DataFrame.from_records(rows, columns=list(COLUMNS))
    texts = [name for name, kind in _KIND.items() if kind == "str"]
    new[texts] = new[texts].astype(object).fillna("")
    both = pd.concat([frame, typed(new)], ignore_index=True)
    return both.drop_duplicates(list(KEY), keep="last", ignore_index=True)


def records(frame: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows as dictionaries of Python values; a missing number is None."""
    clean = frame.astype(object).where(frame.notna(), None)
    return [{str(k): _native(v) for k, v in row.items()} for row in clean.to_dict("records")]


def plain(value: Any) -> Any:
    """Return one value as a Python object; None if it is missing."""
    import pandas as pd

    return None if value is pd.NA else _native(value)


def _native(value: Any) -> Any:
    """Return a NumPy number as a Python number, and any other value unchanged."""
    return value.item() if hasattr(value, "item") else value
