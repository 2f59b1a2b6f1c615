"""`mssbench show` and `mssbench merge`: the read wing. Needs no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import blocks, conclusions
from mssbench.console import blocks as shapes
from mssbench.console import epilogue
from mssbench.errors import TableError
from mssbench.results import table
from mssbench.results.conditions import select, why_empty
from mssbench.results.labels import with_labels
from mssbench.results.rows import read_facts


def show(
    path: Path, rows: Sequence[str], columns: Sequence[str], value: str, where: str | None
) -> Iterator[RenderableType]:
    """The tables of a run, as asked for; then what they come to."""
    frame = _chosen(path, where)
    yield from shapes.result(frame, rows, columns, value)
    yield from epilogue.epilogue(frame, _facts(path))


def show_data(
    path: Path, rows: Sequence[str], columns: Sequence[str], value: str, where: str | None
) -> dict[str, Any]:
    """The same blocks, conclusions and failures as data."""
    frame = _chosen(path, where)
    return {
        "blocks": [_block(block) for block in blocks.blocks(frame, rows, columns, value)],
        "conclusions": conclusions.conclusions(frame),
        "failures": conclusions.as_data(conclusions.failures(frame)),
        "environments": _facts(path)["environments"],
    }


def _facts(path: Path) -> dict[str, Any]:
    return read_facts(path.parent if path.is_file() else path)


def _block(block: blocks.Block) -> dict[str, Any]:
    entries = [
        dict(zip(block.row_names, row, strict=True))
        | dict(zip(block.column_names, column, strict=True))
        | {
            block.value: entry.value,
            **({block.error: entry.error} if block.error else {}),
            "ratio": entry.ratio,
            "best": entry.best,
            "rows": entry.rows,
            **({"method": entry.method} if entry.method else {}),
            "failures": dict(entry.statuses),
            "partial": entry.points[0] < entry.points[1],
        }
        for row, by_column in block.entries.items()
        for column, entry in by_column.items()
    ]
    common = {k: table.plain(v) for k, v in block.common.items()}
    plain = [{k: table.plain(v) for k, v in entry.items()} for entry in entries]
    return common | {"hidden": block.hidden, "entries": plain}


def _chosen(path: Path, where: str | None) -> pd.DataFrame:
    frame = table.load(path)
    if where is None:
        if frame.empty:
            raise TableError(f"{path} has no row yet.")
        return with_labels(frame)
    labelled = with_labels(frame)
    try:
        chosen = select(labelled, where)
    except TableError as error:
        raise TableError(f"--where {error}") from None
    if chosen.empty:
        hint = why_empty(labelled, where)
        raise TableError(f"--where {where!r} leaves none of the {len(frame)} rows.{hint}")
    return chosen


def merged(summary: dict[str, Any]) -> Text:
    """One line about a merge."""
    return Text(f"{summary['rows']} rows of {summary['cells']} cells in {summary['path']}")
