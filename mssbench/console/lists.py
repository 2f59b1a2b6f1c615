"""Render lists of records with rich."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_LONGEST_WORD = 40  # characters; a longer word would be cut in the middle on a narrow terminal


def listing(title: str, records: Iterable[Mapping[str, Any]]) -> Group:
    """Return a title, and below it a table with one row for each record and a column for each key.

    All records must have the same keys.
    """
    table = Table(box=box.SIMPLE_HEAD)
    records = list(records)
    for i, (name, value) in enumerate(records[0].items() if records else ()):
        number = isinstance(value, int)
        table.add_column(
            Text(name),
            overflow="fold",
            no_wrap=i == 0 or number,
            justify="right" if number else "left",
        )

    for record in records:
        table.add_row(*(Text(_words(v)) for v in record.values()))
    return Group(Text(title, "bold"), table)


def entries(title: str, records: Iterable[Mapping[str, Any]]) -> Group:
    """Return a title, and below it the records in two columns, for records with long values.

    The first value of a record, its name, is in the left column. In the right one each of its other
    values begins a line, after its key; the values of `summary` and `description` have no key in
    front, and empty values are left out.
    """
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")

    for record in records:
        (_, name), *rest = record.items()
        text = Text()
        for key, value in rest:
            if not (words := _words(value)):
                continue
            text.append("\n" if text else "")
            if key not in ("summary", "description"):
                text.append(f"{key}: ", style="dim")
            text.append(words, style="dim" if key == "cite" else "")

        text.append("\n")
        table.add_row(Text(str(name)), text)
    return Group(Text(title, "bold"), table)


def remarks(title: str, records: Iterable[Mapping[str, str]]) -> Group:
    """Return a title, and below it the records as a numbered list.

    The first value of a record is a sentence in bold. Its other values follow below, each after its
    key. This is how `mssbench doctor` lists its findings.
    """
    parts: list[RenderableType] = [Text(title, "bold")]
    for number, record in enumerate(records, 1):
        (_, first), *rest = record.items()
        table = Table(box=None, show_header=False)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(overflow="fold")
        table.add_row(Text(str(number)), Text(first, "bold"))

        inner = Table(box=None, show_header=False, pad_edge=False)
        inner.add_column(no_wrap=True, style="dim")
        inner.add_column(overflow="fold")
        for name, words in rest:
            inner.add_row(Text(name), Text(words))
        table.add_row("", inner)
        parts += ["", table]
    return Group(*parts)


def _words(value: Any) -> str:
    """Return a value as text; a list is separated by commas, None is empty.

    A long list of choices, `(brick|camera|...)`, gets blanks, at which the terminal folds it.
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    words = "" if value is None else str(value)
    long = any(len(word) > _LONGEST_WORD for word in words.split())
    return words.replace("|", " | ") if long else words
