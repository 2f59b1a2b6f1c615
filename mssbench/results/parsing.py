"""Parse the text of a result table, including tables saved by a spreadsheet, pandas or R.

These programs write whole numbers as `12.0` or `1e+05`, missing values as NA, truth values as TRUE,
line ends as CRLF, a byte-order mark at the beginning, quotes around every field, a column of row
numbers, and columns in another order. All of this is converted back to the spelling of mssbench.
Anything else is reported as damage.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mssbench.errors import RunError
from mssbench.records.measurement import Row
from mssbench.records.schema import COLUMNS, KEY, SCHEMA
from mssbench.results.damage import CHECKED, faults, pointer, refuse

_KIND = {c.name: c.kind for c in SCHEMA}
_MARK = b"\xef\xbb\xbf"  # byte-order mark, which Excel writes before a text in UTF-8
# Spellings of a missing number or truth value.
_NOTHING = frozenset({"", "NA", "N/A", "#N/A", "NULL", "<NA>"})
_TRUTH = {
    "true": "True",
    "1": "True",
    "1.0": "True",
    "false": "False",
    "0": "False",
    "0.0": "False",
}
_FREE = ("reason", "problem")  # columns in which NA is a text and not a missing value
_MOST_LEFT = 100  # unreadable rows to leave out; each is reported, and more would fill the screen
_SHORT = 18  # a number of at most 18 digits is below 2**63
NEEDED = (*KEY, "cell_id", "status")  # columns without which a file is not a result table


class Left(NamedTuple):
    """A row that was left out because it cannot be read: its line, and what is wrong with it."""

    line: int
    why: str


def is_storable(number: int) -> bool:
    """Whether a whole number fits in 64 bits with sign, the type of columns of whole numbers."""
    return -(2**63) <= number < 2**63


def _is_plain(number: str) -> bool:
    """Whether a number has only characters that Arrow accepts too.

    Python also accepts 1_0, the digits of other scripts, and line breaks around a number.
    """
    return number.isascii() and number.isprintable() and "_" not in number


def without_mark(data: bytes) -> bytes:
    """Return the data without a byte-order mark at its beginning."""
    return data.removeprefix(_MARK)


def check_names(file: Path, names: Sequence[str], needed: Sequence[str] = NEEDED) -> None:
    """Raise RunError if a table lacks a needed column, or has a column of the schema twice.

    names: the columns of the table.
    """
    if missing := [name for name in needed if name not in names]:
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else ".")
        text = f"{file} is not a result table: it has no column {few}"
        raise RunError(text + _hint(names) + " Nothing was written: choose another --out.")

    twice = next((name for name in names if name in _KIND and names.count(name) > 1), None)
    if twice is not None:
        raise RunError(
            f"{file} is damaged: it has the column {twice} twice, possibly with different values. "
            "Remove one of them."
        )


def _hint(names: Sequence[str]) -> str:
    """Return a hint for a table whose separators are semicolons or tabs; empty for any other."""
    for mark, word in ((";", "semicolons"), ("\t", "tabs")):
        if any(name.count(mark) > 2 for name in names):
            return f" Its columns are separated by {word}: save it with commas."
    return ""


def rows_of(file: Path, data: bytes, *, left: list[Left] | None = None) -> list[Row]:
    """Return the rows of a table as texts in the spelling of mssbench.

    file: for messages. data: its bytes. A last line that is cut off is left out, since a run that
    is resumed measures its cell again; other readers refuse it, see `cut_off`. left: receives the
    rows that cannot be read, so that the others are returned; None: the first such row raises
    TableError. Raises RunError for a file that is not a result table.
    """
    if why := pointer(data):
        raise RunError(f"{file} is not a result table: {why}.")

    text = _decoded(file, without_mark(data), strict=left is None)
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        names = next(reader, [])
        check_names(file, names)
        lines = list(filter(None, reader))
    except csv.Error as error:
        raise RunError(f"{file} is not a result table: {error}.") from None

    if lines and not text.endswith(("\n", "\r")) and _is_torn(lines[-1], names):
        lines.pop()
    return _spelled(_Table(file, text, names, lines), left)


class _Table(NamedTuple):
    """The fields of a table, and the text from which they were read."""

    file: Path
    text: str
    names: list[str]
    lines: list[list[str]]

    def leave_out(self, wrong: Mapping[int, str], left: list[Left] | None) -> None:
        """Append the unreadable rows to `left`, in the order of their lines.

        wrong: what is wrong with each of them, by its number among the rows of the file, from 0.
        Raises TableError if `left` is None, or would have more than `_MOST_LEFT` rows.
        """
        if left is not None and len(left) + len(wrong) > _MOST_LEFT:
            raise refuse(self.file, f"more than {_MOST_LEFT} of its rows cannot be read")

        reader = csv.reader(io.StringIO(self.text, newline=""))
        next(reader)
        for number, _ in enumerate(filter(None, reader)):
            if number not in wrong:
                continue
            if left is None:
                raise refuse(self.file, f"line {reader.line_num}: {wrong[number]}")
            left.append(Left(reader.line_num, wrong[number]))


def cut_off(data: bytes, names: Sequence[str]) -> tuple[int, str]:
    """Return where the last line of a table begins if it is cut off, and what it lacks.

    data: the bytes of the table. names: its columns. For a whole table, the number of its bytes and
    an empty text are returned. As in `rows_of`, a last line that lacks only its line break is
    whole, and an empty last field counts as lost.
    """
    start, whole = data.rfind(b"\n") + 1, (len(data), "")
    if not start or data.endswith((b"\n", b"\r")):
        return whole

    try:
        words = next(csv.reader([data[start:].decode(errors="replace")]), [])
    except csv.Error:  # the reader of the table reports it
        return whole
    if not _is_torn(words, names):
        return whole
    fields = len(words) - (words[-1:] == [""])
    return start, f"the last line has {fields} of {len(names)} fields"


def _is_torn(words: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the last line, which has no line break, lacks fields or the last value.

    Otherwise only the line break is missing, which some editors do not write.
    """
    return len(words) != len(names) or not words[-1]


def _decoded(file: Path, data: bytes, *, strict: bool) -> str:
    """Return the text of a table. strict: whether invalid UTF-8 raises TableError."""
    try:
        return data.decode(errors="strict" if strict else "replace")
    except UnicodeDecodeError as error:
        if error.start > (end := data.rfind(b"\n")) >= 0:  # a killed writer left a torn character
            return data[: end + 1].decode()
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(file, f"line {line} is not UTF-8 ({error.reason})") from None


def _spelled(table: _Table, left: list[Left] | None) -> list[Row]:
    """Return the rows of a table in the spelling of mssbench. left: as in `rows_of`.

    Rows are converted column by column, because most columns need no change.
    """
    count, lines = len(table.names), table.lines
    numbers: Sequence[int] = range(len(lines))  # numbers of the rows that have all fields
    wrong = {}
    if {*map(len, lines)} - {count}:
        incomplete = [i for i, words in enumerate(lines) if len(words) != count]
        wrong = {i: f"it has {len(lines[i])} of {count} fields" for i in incomplete}
        numbers = [i for i in numbers if i not in wrong]
        lines = [lines[i] for i in numbers]

    fields = dict(zip(table.names, zip(*lines, strict=True), strict=False))
    unread: dict[int, str] = {}  # the first fault of a row, by its index in `lines`
    columns = {
        name: _column(name, fields.get(name, ()), unread) for name in COLUMNS if name in table.names
    }
    for place, why in faults({name: columns.get(name, ()) for name in CHECKED}):
        unread.setdefault(place, why)

    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if wrong or unread:
        wrong |= {numbers[place]: why for place, why in unread.items()}
        table.leave_out(wrong, left)
        rows = [row for place, row in enumerate(rows) if place not in unread]
    return rows


def _column(name: str, values: Sequence[str], wrong: dict[int, str]) -> Sequence[str]:
    """Return the values of one column in the spelling of mssbench.

    An invalid value is returned as the empty text. wrong: receives what is wrong with each invalid
    value, by the index of the value.
    """
    kind = _KIND[name]
    if kind == "str":
        return values if name in _FREE or "NA" not in values else _each(name, values, _word, wrong)
    if kind == "bool":
        return values if {*values} <= {"", "True", "False"} else _each(name, values, _truth, wrong)

    # One test of the joined text is faster than a test of each value.
    together = "".join(values)
    if kind == "int":
        digits = not together or (together.isascii() and together.isdecimal())
        plain = digits and max(map(len, values), default=0) <= _SHORT
        return values if plain else _each(name, values, _whole, wrong)

    try:
        list(map(float, filter(None, values)))
    except ValueError:
        return _each(name, values, _number, wrong)
    return values if _is_plain(together) else _each(name, values, _number, wrong)


def _each(
    name: str, values: Sequence[str], spell: Callable[[str], str], wrong: dict[int, str]
) -> Sequence[str]:
    """Return each value as `spell` returns it; invalid ones are treated as in `_column`."""
    spelled = []

    for place, value in enumerate(values):
        try:
            spelled.append(spell(value.strip()))
        except (ValueError, OverflowError, KeyError):
            kind = {"int": "whole number", "float": "number", "bool": "truth value"}[_KIND[name]]
            wrong.setdefault(place, f"{name} is {value[:40]!r}, which is not a {kind}")
            spelled.append("")
    return spelled


# Each of the following functions returns a value in the spelling of mssbench, and raises an error
# for an invalid one.


def _word(text: str) -> str:
    return "" if text == "NA" else text


def _truth(text: str) -> str:
    return "" if text in _NOTHING else _TRUTH[text.lower()]


def _whole(text: str) -> str:
    if text in _NOTHING or text.lower() == "nan":
        return ""
    if not _is_plain(text):
        raise ValueError

    number = int(text) if text.isdecimal() else float(text)
    if number != int(number) or not is_storable(int(number)):
        raise ValueError
    return text if text.isdecimal() else str(int(number))


def _number(text: str) -> str:
    if text in _NOTHING:
        return ""
    if not _is_plain(text):
        raise ValueError
    float(text)
    return text
