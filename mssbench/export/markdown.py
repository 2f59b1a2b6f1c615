"""Export to Markdown: the tables of `show`, with the best in bold, ratios and errors."""

import re
from collections.abc import Iterator, Sequence

from mssbench.analysis import conclusions
from mssbench.analysis.blocks import Block, blocks
from mssbench.analysis.entry import Entry
from mssbench.export import Exported
from mssbench.records import units
from mssbench.results.labels import spoken
from mssbench.results.table import typed
from mssbench.results.views import Rows


def text(what: Exported) -> str:
    """Return a heading and a table for each block, then conclusions, failures and machines.

    A block is one table of `show`, of rows that may be compared.
    """
    import pandas as pd

    rows = what.rows
    frame = rows.frame if isinstance(rows, Rows) else typed(pd.DataFrame(rows))
    lines = [f"# {escaped(what.name)}", ""]
    measured = frame[frame["seconds_median"].notna()]
    if len(measured):
        for block in blocks(measured[measured["phase"] != "backward"]):
            lines += [f"## {escaped(block.title)}", "", *_table(block), ""]
            lines += [line for words in block.omissions() for line in (escaped(words), "")]
        lines += [
            f"- {escaped(sentence)}" for sentence in conclusions.conclusions(measured, what.facts)
        ]

    for failure in conclusions.failures(frame):
        why = f": {failure.reasons[0][0]}" if failure.reasons else ""
        lines.append(f"- {failure.status}: {units.count(failure.cells, 'cell')}{escaped(why)}")
    lines += [f"- {escaped(sentence)}" for sentence in conclusions.machines(frame, what.facts)]
    return "\n".join(lines) + "\n"


def _table(block: Block) -> Iterator[str]:
    """Yield the lines of a block's table in Markdown."""
    heads = [" ".join(map(spoken, block.column_names, column)) for column in block.columns]
    yield row_of([*block.row_names, *heads])
    yield row_of([RULE] * len(block.row_names) + [RULE_OF_NUMBERS] * len(heads))
    for key, entries in block.entries.items():
        cells = [_cell(block, entries.get(column)) for column in block.columns]
        yield row_of([*(str(x) for x in key), *cells])


def _cell(block: Block, entry: Entry | None) -> str:
    """Return the Markdown of one table cell: value, ratio to the best, error, and failures."""
    if entry is None or entry.value is None:
        return entry.words if entry else ""
    number = block.written(entry)
    parts = [f"**{escaped(number)}**" if entry.best else escaped(number)]
    parts += [f"({units.ratio(entry.ratio)})"] if entry.ratio is not None else []
    parts += [units.error(entry.error)] if entry.error is not None else []
    return Markup(" ".join([*parts, escaped(entry.words)]).strip())


class Markup(str):
    """A text that is already Markdown and is not to be escaped."""

    __slots__ = ()


def row_of(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table. Texts of cells are escaped, unless they are Markup."""
    kept = [cell if isinstance(cell, Markup) else escaped(cell) for cell in cells]
    return f"| {' | '.join(kept)} |"


RULE, RULE_OF_NUMBERS = Markup("---"), Markup("---:")  # the rule below the head of a column
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})
# GitHub turns bare addresses into links, so these parts of an address are escaped.
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)


def escaped(text: str) -> str:
    """Return a text escaped so that Markdown shows it literally, without links or mentions."""
    flat = units.harmless(" ".join(text.split())).translate(_ENTITIES)
    flat = _LINK.sub(lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", flat)
    for mark in "\\|`[]*_~$":
        flat = flat.replace(mark, f"\\{mark}")
    return re.sub(r"(?<!&)#", r"\\#", flat)  # `#1` links an issue; `&#64;` is kept as an entity
