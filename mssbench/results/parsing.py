"""Parse the text of a table, also if a spreadsheet, pandas or R has saved it.

Such programs write whole numbers as `12.0` or `1e+05`, missing values as NA, truth values as TRUE,
line ends as CRLF, a byte-order mark at the beginning, quotes around every field, a column of row
numbers, and columns in another order. All of that is converted back to our own spelling; anything
else is damage.
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
_MARK = b"\xef\xbb\xbf"  # byte-order mark, which Excel puts before a text in UTF-8
_NOTHING = frozenset({"", "NA", "N/A", "#N/A", "NULL", "<NA>"})
_TRUTH = {
    "true": "True",
    "1": "True",
    "1.0": "True",
    "false": "False",
    "0": "False",
    "0.0": "False",
}
_FREE = ("reason", "problem")  # columns in which NA is a text, and no missing value
_MOST_LEFT = 100  # unreadable rows, each of which is reported by its line
_SHORT = 18  # digits: so many are below 2**63 whatever they are
NEEDED = (*KEY, "cell_id", "status")


class Left(NamedTuple):
    """A row that was left out, and why."""

    line: int
    why: str


def is_storable(number: int) -> bool:
    """Whether a column of whole numbers can hold it."""
    return -(2**63) <= number < 2**63


def _is_plain(number: str) -> bool:
    """Whether it has none of what Python takes in a number and Arrow does not.

    That is 1_0, the digits of other scripts, and line breaks around it.
    """
    return number.isascii() and number.isprintable() and "_" not in number


def without_mark(data: bytes) -> bytes:
    """The data without a byte-order mark at its beginning."""
    return data.removeprefix(_MARK)


def check_names(file: Path, names: Sequence[str], needed: Sequence[str] = NEEDED) -> None:
    """Raise RunError if a table lacks a needed column, or has one of our columns twice."""
    if missing := [name for name in needed if name not in names]:
        few = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else ".")
        said = f"{file} is not a result table: it has no column {few}"
        raise RunError(said + _hint(names) + " Nothing was written: choose another --out.")
    twice = next((name for name in names if name in _KIND and names.count(name) > 1), None)
    if twice is not None:
        raise RunError(
            f"{file} is damaged: it has the column {twice} twice, and they may not say the same. "
            "Remove one of them."
        )


def _hint(names: Sequence[str]) -> str:
    """A hint for a table that was saved with another separator than commas; empty for any other."""
    for mark, word in ((";", "semicolons"), ("\t", "tabs")):
        if any(name.count(mark) > 2 for name in names):
            return f" Its columns are separated by {word}: save it with commas."
    return ""


def rows_of(file: Path, data: bytes, *, left: list[Left] | None = None) -> list[Row]:
    """The rows of a table as texts, in our own spelling. An incomplete last line is left out.

    left: collects the rows that cannot be read, and the others are returned; None: the first such
    row raises TableError. Raises RunError for a file that is no result table.
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
    """The fields of a table, and the text that they were read from."""

    file: Path
    text: str
    names: list[str]
    lines: list[list[str]]

    def leave_out(self, wrong: Mapping[int, str], left: list[Left] | None) -> None:
        """Append the unreadable rows to `left`, in the order of their lines.

        wrong: what is wrong with each of them, by its place among the rows of the file, from 0.
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


def _is_torn(words: Sequence[str], names: Sequence[str]) -> bool:
    """Whether the last line, which has no line end, lacks fields or the last value.

    If not, only the line end is missing, as some editors save a file.
    """
    return len(words) != len(names) or not words[-1]


def _decoded(file: Path, data: bytes, *, strict: bool) -> str:
    try:
        return data.decode(errors="strict" if strict else "replace")
    except UnicodeDecodeError as error:
        if error.start > (end := data.rfind(b"\n")) >= 0:  # a killed writer left half a character
            return data[: end + 1].decode()
        line = data.count(b"\n", 0, error.start) + 1
        raise refuse(file, f"line {line} is not UTF-8 ({error.reason})") from None


def _spelled(table: _Table, left: list[Left] | None) -> list[Row]:
    """The rows in our own spelling. They are treated by columns, most of which need no change."""
    count, lines = len(table.names), table.lines
    numbers: Sequence[int] = range(len(lines))  # of the rows that have all fields
    wrong = {}
    if {*map(len, lines)} - {count}:
        short = [i for i, words in enumerate(lines) if len(words) != count]
        wrong = {i: f"it has {len(lines[i])} of {count} fields" for i in short}
        numbers = [i for i in numbers if i not in wrong]
        lines = [lines[i] for i in numbers]

    found = dict(zip(table.names, zip(*lines, strict=True), strict=False))
    unread: dict[int, str] = {}  # the first fault of a row, by its place among `lines`
    columns = {
        name: _column(name, found.get(name, ()), unread) for name in COLUMNS if name in table.names
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
    """The values of one column in our own spelling.

    wrong: receives, by its place, what is wrong with each invalid value. It is returned as empty.
    """
    kind = _KIND[name]
    if kind == "str":
        return values if name in _FREE or "NA" not in values else _each(name, values, _word, wrong)
    if kind == "bool":
        return values if {*values} <= {"", "True", "False"} else _each(name, values, _truth, wrong)
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
    spelled = []
    for place, value in enumerate(values):
        try:
            spelled.append(spell(value.strip()))
        except (ValueError, OverflowError, KeyError):
            kind = {"int": "whole number", "float": "number", "bool": "truth value"}[_KIND[name]]
            wrong.setdefault(place, f"{name} is {value[:40]!r}, which is not a {kind}")
            spelled.append("")
    return spelled


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
