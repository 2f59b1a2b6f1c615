"""Raw samples: one Parquet row per timed value, keyed by cell, phase, clock and cache."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mssbench.files import replacing
from mssbench.records import Status
from mssbench.rows import JOURNAL, SAMPLES, peek, read_journal

KEY = ("cell_id", "phase", "clock", "cache")
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in KEY] + [("index", pa.int32()), ("seconds", pa.float64())]
)


def settle(folder: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Add the samples of these journal entries to a run's; a cell's newer ones replace its old.

    A cell that has none any more, because it crashed this time, loses its old ones.
    """
    _write(folder / SAMPLES, _settled(folder, entries))


def join(folder: Path, runs: Sequence[Path]) -> None:
    """The samples of several runs as one; of a cell measured twice the first run's stand.

    They stand beside the rows of the first run that got as far as the cell, even if it found
    nothing to time there.
    """
    whole, seen = _SCHEMA.empty_table(), set[str]()
    for run in runs:
        own = _settled(run, read_journal(run / JOURNAL))
        whole = pa.concat_tables([whole, _without(own, seen)])
        seen |= {r["cell_id"] for r in peek(run) if r["status"] != Status.INTERRUPTED}
    _write(folder / SAMPLES, whole)


def _settled(folder: Path, entries: Iterable[dict[str, Any]]) -> pa.Table:
    latest = {e["rows"][0]["cell_id"]: e for e in entries if e["rows"]}
    new = _table(latest.values())
    if not (folder / SAMPLES).is_file():
        return new
    old = pq.read_table(folder / SAMPLES, schema=_SCHEMA)
    return pa.concat_tables([_without(old, latest), new])


def _table(entries: Iterable[dict[str, Any]]) -> pa.Table:
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for entry in entries:
        for row, seconds in zip(entry["rows"], entry["samples"], strict=True):
            for name in KEY:
                columns[name] += [row[name]] * len(seconds)
            columns["index"] += range(len(seconds))
            columns["seconds"] += seconds
    return pa.table(columns, schema=_SCHEMA)


def _without(table: pa.Table, cells: Collection[str]) -> pa.Table:
    known = pa.array(sorted(cells), pa.string())
    return table.filter(pc.invert(pc.is_in(table["cell_id"], known)))


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
