"""Read and write the rows of a table quickly if it is spelled as mssbench itself spells it.

Nearly every table that a run continues was written by mssbench, and most of its rows are written
back unchanged. Such a table has no quotes, so that a row is a line that is split at its commas, and
each value is already in the final spelling. Whatever differs from that, such as a table saved by a
spreadsheet or a damaged one, is left to `mssbench.results.rows`, which converts it or reports what
is wrong with it. Both give the same rows and the same bytes.
"""

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from operator import itemgetter
from pathlib import Path

from mssbench.records.measurement import Row
from mssbench.records.schema import COLUMNS, KEY, SCHEMA, SCHEMA_VERSION
from mssbench.results.damage import CHECKED, QUANTILES, fault
from mssbench.results.files import contents
from mssbench.results.rows import JOURNAL, TABLE, as_csv, header, peek

_BLOCK = 1000  # rows that are converted together: few enough to stay in the cache of a processor
_MARKS = (b'"', b"\r", b"\0")  # bytes of which no plain table has one
_NA = re.compile(rb"[,\n]NA[,\n]")  # a field NA, which is how R writes a missing value
_TRUTH = frozenset({"", "True", "False"})
_SHORT = 18  # a number of at most 18 digits is below 2**63
_VERSIONS = frozenset({"", *map(str, range(1, SCHEMA_VERSION + 1))})  # which this mssbench reads
# The columns whose values are checked, with their types. The others may have any text.
_CHECKED = {c.name: c.kind for c in SCHEMA if c.kind != "str" or c.name in CHECKED}
_values_of = itemgetter(*COLUMNS)
_times_of = itemgetter(*QUANTILES)


def read(path: Path) -> list[Row]:
    """Return every row measured so far in a folder, as texts: `peek`, but faster for most tables.

    Raises the errors of `peek`.
    """
    if not (path / JOURNAL).exists():
        try:
            data = contents(path / TABLE)
        except OSError:
            data = None
        if data is not None and (rows := rows_of(data)) is not None:
            return rows
    return peek(path)


def rows_of(data: bytes) -> list[Row] | None:
    """Return the rows of a table, or None if it is not spelled as mssbench spells it.

    data: the bytes of the table. None is returned also for a table that would be refused, such as
    one with two rows of the same key.
    """
    if not data.startswith(header()) or not data.endswith(b"\n"):
        return None
    if any(mark in data for mark in _MARKS) or (b"NA" in data and _NA.search(data)):
        return None
    try:
        lines = data.decode().split("\n")[1:-1]
    except UnicodeDecodeError:
        return None
    if max(map(len, lines), default=0) > csv.field_size_limit():  # the other reader refuses these
        return None

    rows: list[Row] = []
    keys: set[tuple[str, ...]] = set()
    known: dict[str, set[str]] = {name: set() for name in _CHECKED}  # the values of each column
    empty = dict.fromkeys(COLUMNS, "")  # filling a copy is faster than letting a dictionary grow
    for start in range(0, len(lines), _BLOCK):
        block = [line.split(",") for line in lines[start : start + _BLOCK]]
        if {*map(len, block)} != {len(COLUMNS)}:
            return None
        columns = dict(zip(COLUMNS, zip(*block, strict=True), strict=True))
        for name, values in known.items():
            values.update(columns[name])
        keys.update(zip(*(columns[name] for name in KEY), strict=True))

        for fields in block:
            row: Row = empty.copy()
            row.update(zip(COLUMNS, fields, strict=True))
            rows.append(row)

    return rows if len(keys) == len(rows) and _are_plain(known, rows) else None


def _are_plain(known: dict[str, set[str]], rows: Sequence[Row]) -> bool:
    """Whether the rows of a table are valid, and all their values are in the final spelling.

    known: the different values of each column in `_CHECKED`.
    """
    if not known["schema"] <= _VERSIONS:
        return False
    if not all(_are_numbers(values, _CHECKED[name]) for name, values in known.items()):
        return False

    words = [name for name in CHECKED if name not in QUANTILES]
    return fault({name: list(known[name]) for name in words}) is None and _are_timed(known, rows)


def _are_timed(known: dict[str, set[str]], rows: Sequence[Row]) -> bool:
    """Whether no time is negative, and each row has either all times or none.

    known: the different values of each column in `_CHECKED`.
    """
    values = set[str]().union(*(known[name] for name in QUANTILES))
    # A sign sorts before the decimal point and every digit.
    if any(value < "." for value in values - {""}):
        return False
    if "" not in values or values == {""}:
        return True

    timed = {tuple(map(bool, times)) for times in map(_times_of, rows)}
    return timed <= {(True,) * len(QUANTILES), (False,) * len(QUANTILES)}


def _are_numbers(values: Collection[str], kind: str) -> bool:
    """Whether all values of a column are of its type, in the spelling of mssbench.

    kind: the type of the column; a column of texts may have any values.
    """
    if kind == "str":
        return True
    if kind == "bool":
        return _TRUTH.issuperset(values)

    together = "".join(values)  # one test of the joined text is faster than one of each value
    if kind == "int":
        digits = not together or (together.isascii() and together.isdecimal())
        return digits and max(map(len, values), default=0) <= _SHORT

    # Python also reads numbers with underscores, blanks around them, or digits of other scripts.
    if not together.isascii() or not together.isprintable() or "_" in together or " " in together:
        return False
    try:
        list(map(float, filter(None, values)))
    except ValueError:
        return False
    return True


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return rows as CSV lines: `as_csv`, but faster for rows that were read and not changed."""
    return b"".join(map(_block_to_csv, _blocks(rows)))


def _blocks(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    for start in range(0, len(rows), _BLOCK):
        yield rows[start : start + _BLOCK]


def _block_to_csv(rows: Sequence[Row]) -> bytes:
    """Return some rows as CSV lines, joined without the csv module if no field needs quotes."""
    try:
        text = "\n".join(map(",".join, map(_values_of, rows))) + "\n"
        data = text.encode()
    except (KeyError, TypeError, UnicodeEncodeError):  # a column is missing, or not every value
        return as_csv(rows)  # is a text, or one is no valid text

    commas = len(rows) * (len(COLUMNS) - 1)
    needs_quotes = '"' in text or "\0" in text or text.count(",") != commas
    return as_csv(rows) if needs_quotes or len(text.splitlines()) != len(rows) else data
