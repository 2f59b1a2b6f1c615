"""The tables of `show` as GitHub's Markdown: best in bold, ratio and error beside each number."""

from collections.abc import Iterator

from mssbench import units
from mssbench.analysis import conclusions
from mssbench.analysis.blocks import Block, blocks
from mssbench.analysis.entry import Entry
from mssbench.export import Exported
from mssbench.results.labels import spoken
from mssbench.results.table import typed


def text(what: Exported) -> str:
    """A heading and a table for each block of measured rows; conclusions and failures below."""
    import pandas as pd

    frame = typed(pd.DataFrame(what.rows))
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
    yield row_of(["---"] * len(block.row_names) + ["---:"] * len(heads))
    for key, entries in block.entries.items():
        cells = [_cell(block, entries.get(column)) for column in block.columns]
        yield row_of([*(str(x) for x in key), *cells])


def _cell(block: Block, entry: Entry | None) -> str:
    if entry is None or entry.value is None:
        return entry.words if entry else ""
    number = block.written(entry)
    parts = [f"**{number}**" if entry.best else number]
    parts += [f"({units.ratio(entry.ratio)})"] if entry.ratio is not None else []
    parts += [units.error(entry.error)] if entry.error is not None else []
    return " ".join([*parts, entry.words]).strip()


def row_of(cells: list[str]) -> str:
    """One line of a table, in which no text can end a cell or begin a link."""
    kept = [c if c.startswith(("**", "---")) else escaped(c) for c in cells]
    return f"| {' | '.join(kept)} |"


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    flat = " ".join(text.split())
    for mark in "\\|`[]*_#~":
        flat = flat.replace(mark, f"\\{mark}")
    return flat.replace("<", "&lt;").replace(">", "&gt;")
