"""The tables of `show` as GitHub's Markdown: best in bold, ratio and error beside each number."""

import re
from collections.abc import Iterator, Sequence

from mssbench import units
from mssbench.analysis import conclusions
from mssbench.analysis.blocks import Block, blocks
from mssbench.analysis.entry import Entry
from mssbench.export import Exported
from mssbench.results.labels import spoken
from mssbench.results.table import typed
from mssbench.results.views import Rows


def text(what: Exported) -> str:
    """A heading and a table for each block of measured rows; conclusions and failures below."""
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
    heads = [" ".join(map(spoken, block.column_names, column)) for column in block.columns]
    yield row_of([*block.row_names, *heads])
    yield row_of([RULE] * len(block.row_names) + [RULE_OF_NUMBERS] * len(heads))
    for key, entries in block.entries.items():
        cells = [_cell(block, entries.get(column)) for column in block.columns]
        yield row_of([*(str(x) for x in key), *cells])


def _cell(block: Block, entry: Entry | None) -> str:
    if entry is None or entry.value is None:
        return entry.words if entry else ""
    number = block.written(entry)
    parts = [f"**{escaped(number)}**" if entry.best else escaped(number)]
    parts += [f"({units.ratio(entry.ratio)})"] if entry.ratio is not None else []
    parts += [units.error(entry.error)] if entry.error is not None else []
    return Markup(" ".join([*parts, escaped(entry.words)]).strip())


class Markup(str):
    """A text of our own that Markdown is meant to read; any other is shown as it is."""

    __slots__ = ()


def row_of(cells: Sequence[str]) -> str:
    """One line of a table, in which no text can end a cell or begin a link."""
    kept = [cell if isinstance(cell, Markup) else escaped(cell) for cell in cells]
    return f"| {' | '.join(kept)} |"


RULE, RULE_OF_NUMBERS = Markup("---"), Markup("---:")  # below the head of a column
_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"})
# GitHub makes a link of an address without any mark around it.
_LINK = re.compile(r"://|\bwww\.", re.IGNORECASE)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is: no mark, link, mention, formula or piece of HTML."""
    flat = units.harmless(" ".join(text.split())).translate(_ENTITIES)
    flat = _LINK.sub(lambda match: match[0][:-1] + f"&#{ord(match[0][-1])};", flat)
    for mark in "\\|`[]*_~$":
        flat = flat.replace(mark, f"\\{mark}")
    return re.sub(r"(?<!&)#", r"\\#", flat)  # a number of an issue; but not what &#64; begins with
