"""`mssbench show` and `mssbench merge`: the read wing. Needs no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.text import Text

from mssbench import conclude, pivot, samples, table
from mssbench import console as shapes
from mssbench.errors import RunError, TableError
from mssbench.expression import select, why_empty
from mssbench.folder import RunFolder
from mssbench.labels import with_labels
from mssbench.rows import SUITE, read_facts


def show(
    path: Path, rows: Sequence[str], columns: Sequence[str], value: str, where: str | None
) -> Iterator[RenderableType]:
    """The tables of a run, as asked for; then what they come to."""
    frame = _chosen(path, where)
    yield from shapes.result(frame, rows, columns, value)
    yield from shapes.epilogue(frame, _facts(path))


def show_data(
    path: Path, rows: Sequence[str], columns: Sequence[str], value: str, where: str | None
) -> dict[str, Any]:
    """The same blocks, conclusions and failures as data."""
    frame = _chosen(path, where)
    return {
        "blocks": [_block(block) for block in pivot.blocks(frame, rows, columns, value)],
        "conclusions": conclude.conclusions(frame),
        "failures": conclude.as_data(conclude.failures(frame)),
        "environments": _facts(path)["environments"],
    }


def _facts(path: Path) -> dict[str, Any]:
    return read_facts(path.parent if path.is_file() else path)


def _block(block: pivot.Block) -> dict[str, Any]:
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


def merge(runs: Sequence[Path], out: Path | None, *, mixed: bool) -> dict[str, Any]:
    """Join runs into `out`; of a single one, settle its journal in place.

    Raises TableError where their environments differ, RunError where `out` is missing or taken.
    """
    if out is None and len(runs) > 1:
        raise RunError("several runs need a folder to be joined in: --out FOLDER.")
    if out is not None and out.exists() and (out.is_file() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty folder. Nothing was written: choose another --out.")
    runs = [run.parent if run.is_file() else run for run in runs]
    if out is None:  # locked before it is read: a run that is still writing would lose rows
        with RunFolder(runs[0]) as folder:
            whole = table.merge([table.load(runs[0])], mixed=mixed)
            folder.finish(table.records(whole))
    else:
        whole = table.merge([table.load(run) for run in runs], mixed=mixed)
        with RunFolder(out) as folder:
            rows = table.records(whole)
            join_sidecars(folder, runs)
            samples.join(folder.path, runs, rows)
            folder.finish(rows)
    return {
        "rows": len(whole),
        "cells": int(whole["cell_id"].nunique()),
        "runs": len(runs),
        "path": str(out or runs[0]),
    }


def join_sidecars(folder: RunFolder, runs: Sequence[Path]) -> None:
    """Write the facts of all runs, and the suite of the first that has one."""
    facts = folder.facts()
    for run in runs:
        theirs = read_facts(run)
        for group in facts:
            facts[group] |= theirs[group]
        if (run / SUITE).is_file() and folder.suite() is None:
            folder.write_suite((run / SUITE).read_text())
    folder.write_facts(facts)


def merged(summary: dict[str, Any]) -> Text:
    """One line about a merge."""
    return Text(f"{summary['rows']} rows of {summary['cells']} cells in {summary['path']}")
