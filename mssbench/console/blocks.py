"""Render blocks, the tables of `show`, as rich renderables that fit the terminal's width.

An entry is one number of a block, with its error and the failures of the rows behind it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mssbench.analysis import blocks as analysis
from mssbench.analysis import kinds
from mssbench.analysis.blocks import Block
from mssbench.analysis.entry import Entry
from mssbench.analysis.kinds import Spectrum
from mssbench.analysis.left_out import GroupKey
from mssbench.console.statuses import STYLE
from mssbench.records import units
from mssbench.records.schema import BY_NAME
from mssbench.results import labels as labels_
from mssbench.results.labels import METHOD

if TYPE_CHECKING:
    import pandas as pd


def result(frame: "pd.DataFrame", blocks: Sequence[Block]) -> Iterator[RenderableType]:
    """Yield the tables of a run, then sentences below them.

    The sentences name the problems that are left out, the tables without any number, and the key
    columns that vary among the rows behind one number, such as the problem. blocks: the blocks of
    the rows of frame, at least one.
    """
    rows, columns, value = blocks[0].row_names, blocks[0].column_names, blocks[0].value
    shown = [b for b in blocks if b.measured] or blocks
    hidden: dict[str, int] = {}
    spectrum = kinds.spectrum(frame)
    for block in shown:
        yield BlockTable(block)
        for name, n in block.hidden.items():
            hidden[name] = max(n, hidden.get(name, 0))

    for sentence in dict.fromkeys(s for block in shown for s in block.omissions()):
        yield Text(sentence, style="dim")
    if empty := [b for b in blocks if not b.measured and b not in shown]:
        yield Text(f"nothing was measured for {_apart(empty, shown)}", style="dim")

    inputs = {name: n for name, n in hidden.items() if name not in METHOD}
    if methods := {name: n for name, n in hidden.items() if name not in inputs}:
        rows_apart = "" if "method" in rows else "; --rows method takes them apart"
        yield Text(f"the best over {_counted(methods)}{rows_apart}", "dim")
    if inputs:
        middle = "medians" if BY_NAME[value].pooled == "median" else "worst values"
        errors = " and worst errors" if shown[0].error else ""
        apart = ",".join((*columns, next(iter(inputs))))
        over = _counted(inputs, spectrum)
        yield Text(f"{middle}{errors} over {over}; --columns {apart} takes them apart", "dim")


def _counted(names: Mapping[str, int], spectrum: Spectrum | None = None) -> str:
    """Return key columns with their numbers of values: `problem (3, κ 42 to singular), seed (2)`.

    spectrum: the condition numbers of all problems together.
    """
    known = {"problem": f", {spectrum}"} if spectrum is not None else {}
    return ", ".join(f"{name} ({n}{known.get(name, '')})" for name, n in names.items())


def _apart(empty: Sequence[Block], shown: Sequence[Block]) -> str:
    """Return what sets blocks without any number apart: the key values that only they have, `cuda`.

    If they have none, return their titles. shown: the blocks with numbers.
    """
    names = [name for name in analysis.SPLIT if name in empty[0].common]
    seen = {(name, b.common[name]) for b in shown for name in names}
    new = dict.fromkeys((n, b.common[n]) for n in names for b in empty)
    words = [labels_.spoken(*pair) for pair in new if pair not in seen]
    return ", ".join(words) or "; ".join(b.title for b in empty)


class _Widths(NamedTuple):
    """The title of one column of a block, and the widths of its parts in characters.

    A note is the error beside a value with the words on failures.
    """

    title: str
    value: int
    ratio: int  # 0 if there is none
    note: int  # the longest note; 0 if no row has any
    phrase: int  # the longest phrase of a note, such as "inaccurate 2/3"
    least: int  # the longest word or number of a note, which is not to be cut


class BlockTable:
    """One block as a table: the best value in bold, the ratio to it in brackets.

    Names that are too long are folded, numbers never are: columns that do not fit the width are
    moved to a second table below.
    """

    def __init__(self, block: Block) -> None:
        self._block = block
        self._ascii_only = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield as many tables as are needed to fit the width."""
        block, width = self._block, options.max_width
        self._ascii_only = options.ascii_only
        columns = [(column, self._widths(column)) for column in block.columns]
        labels = [
            max(len(name), *(len(self._labels(row)[i]) for row in block.entries))
            for i, name in enumerate(block.row_names)
        ]

        # Labels get at least a quarter of the width together, but never so much that no column of
        # numbers fits; 6 characters are the narrowest label, and 24 are enough for most names.
        room = width - 1 - max(_wide(w) for _, w in columns)
        fair = max(min(room // len(labels) - 3, width // (4 * len(labels))), 6)
        least = [min(n, max(fair, min(24, room // len(labels) - 3))) for n in labels]

        while columns:
            room = width - _spent(least)
            take = 0
            while take < len(columns) and (room := room - _wide(columns[take][1])) >= 0:
                take += 1
            part, columns = columns[: max(take, 1)], columns[max(take, 1) :]
            yield Text(block.title, "bold")
            yield self._table(part, _shared(labels, least, [w for _, w in part], width))

    def _widths(self, column: GroupKey) -> _Widths:
        """Return the widths, in characters, that one column of the block needs."""
        entries = [e for row in self._block.entries.values() if (e := row.get(column))]
        spectrum = self._block.spectrum(self._block.column_names, column)
        title = "\n".join(
            _beside(labels_.spoken(name, x), spectrum if name == "problem" else "", "\n")
            for name, x in zip(self._block.column_names, column, strict=True)
        )
        title = self._spelled(title)
        ratio = max((len(_ratio(e)) for e in entries), default=0)
        value = max((len(self._block.written(e)) for e in entries), default=1)
        notes = [_note(self._block, e).plain for e in entries]
        if not any(notes):
            return _Widths(title, value, ratio, 0, 0, 0)

        notes.append(self._heading().replace(" ", "_"))  # one word, as the heading is not folded
        phrases = [phrase.lstrip("0123456789e+-. ") for n in notes for phrase in n.split(", ")]
        longest = [max(map(len, many)) for many in (notes, phrases, " ".join(notes).split())]
        return _Widths(title, value, ratio, *longest)

    def _labels(self, row: GroupKey) -> list[str]:
        """Return the labels of a row as this terminal can show them."""
        return [self._spelled(label) for label in _labels(self._block, row)]

    def _spelled(self, text: str) -> str:
        """Return a text as this terminal can show it; it is needed before widths are computed."""
        return units.ascii_only(text) if self._ascii_only else text

    def _heading(self) -> str:
        """Return the heading of the column of errors."""
        names = {"root_error": "root error", "gradient_error": "grad error"}
        return names.get(self._block.error or "", "")

    def _table(self, part: Sequence[tuple[GroupKey, _Widths]], widths: list[int]) -> Table:
        """Return a table of some columns of the block.

        part: these columns. widths: the widths of all columns of the table, labels first.
        """
        block = self._block
        table = Table(box=box.SIMPLE_HEAD)
        spare = iter(widths)
        for name in block.row_names:
            table.add_column(Text(name), overflow="fold", width=next(spare))
        for _, w in part:
            table.add_column(Text(w.title), justify="right", overflow="fold", width=next(spare))
            if w.note:
                table.add_column(Text(self._heading()), overflow="fold", width=next(spare))

        for row, entries in block.entries.items():
            cells = [Text(label) for label in self._labels(row)]
            for column, w in part:
                entry = entries.get(column)
                cells.append(_value(block, entry, w))
                if w.note:
                    cells.append(_note(block, entry) if entry else Text())
            table.add_row(*cells)
        return table


def _spent(labels: Sequence[int]) -> int:
    """Return the total width of the columns of row labels, with blanks and gaps."""
    return 1 + sum(n + 3 for n in labels)


def _number_width(w: _Widths) -> int:
    """Return the width that value and ratio need; a title longer than 26 characters is folded."""
    title = max(map(len, w.title.split("\n")))
    return max(w.value + (w.ratio + 1 if w.ratio else 0), min(title, 26))


def _wide(w: _Widths) -> int:
    """Return the least width of a column with its note, blanks and gaps included."""
    return _number_width(w) + 3 + (w.least + 3 if w.note else 0)


def _shared(
    labels: Sequence[int], least: Sequence[int], part: Sequence[_Widths], width: int
) -> list[int]:
    """Return the width of every column of a table, the row labels first.

    Each column gets the width that it needs. The rest of the terminal's width is spent, in this
    order, on unfolded phrases of notes, unfolded row labels and unfolded notes. labels, least: the
    full and the least width of each row label. part: the other columns. width: of the terminal.
    """
    spare = width - _spent(least) - sum(map(_wide, part))
    names, notes = list(least), [w.least for w in part]

    def grow(widths: list[int], wanted: Sequence[int]) -> None:
        nonlocal spare
        for i, want in enumerate(wanted):
            more = max(min(want - widths[i], spare), 0)
            widths[i] += more
            spare -= more

    grow(notes, [w.phrase for w in part])
    grow(names, labels)
    grow(notes, [w.note for w in part])
    for w, note in zip(part, notes, strict=True):
        names += [_number_width(w), note] if w.note else [_number_width(w)]
    return names


def _labels(block: Block, row: GroupKey) -> list[str]:
    """Return the labels of a row; a problem has its condition number beside it."""
    spectrum = block.spectrum(block.row_names, row)
    return [
        _beside(_label(x), spectrum if name == "problem" else "", " · ")
        for name, x in zip(block.row_names, row, strict=True)
    ]


def _beside(name: str, spectrum: str, between: str) -> str:
    return f"{name}{between}{spectrum}" if spectrum else name


def _label(x: Any) -> str:
    return "-" if x is None else str(x)


def _ratio(entry: Entry) -> str:
    return f"({units.ratio(entry.ratio)})" if entry.ratio is not None else ""


def _value(block: Block, entry: Entry | None, w: _Widths) -> Text:
    """Return the value of an entry, with the ratio to the best one in brackets."""
    if entry is None:
        return Text("")
    ratio = f" {_ratio(entry):>{w.ratio}}" if w.ratio else ""
    if entry.value is None:
        return Text(f"-{ratio}", style="dim")
    style = "bold green" if entry.best else "" if entry.ok else "dim"
    return Text(f"{block.written(entry)}{ratio}", style=style)


def _note(block: Block, entry: Entry) -> Text:
    """Return the error beside a value, and the failures of its rows in words."""
    number = units.error(entry.error) if block.error and entry.error is not None else ""
    if entry.ok:
        return Text(number or ("-" if block.error else ""))
    first = entry.words.split()[0].rstrip(",")
    return Text(f"{number} {entry.words}".strip(), style=STYLE.get(first, ""))
