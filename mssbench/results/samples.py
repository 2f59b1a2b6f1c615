"""Raw samples: one Parquet row per timed value, keyed by cell, phase, clock and cache."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mssbench.records.measurement import Row
from mssbench.results.files import replacing
from mssbench.results.rows import JOURNAL, SAMPLES, peek, read_journal

KEY = ("cell_id", "phase", "clock", "cache")
_GAP = "\x1f"  # in no name
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in KEY] + [("index", pa.int32()), ("seconds", pa.float64())]
)


def settle(folder: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Add the samples of these journal entries to a run's; a cell's newer ones replace its old.

    A cell that has none any more, because it crashed this time, loses its old ones.
    """
    _write(folder / SAMPLES, _settled(folder, entries))


def read(folder: Path) -> dict[tuple[str, str, str, str], list[float]]:
    """Seconds behind every row measured so far, in order, by cell_id, phase, clock and cache."""
    found: dict[tuple[str, str, str, str], list[float]] = {}
    table = _settled(folder, read_journal(folder / JOURNAL))
    columns = [table[name].to_pylist() for name in (*KEY, "seconds")]
    for *key, seconds in zip(*columns, strict=True):
        found.setdefault((key[0], key[1], key[2], key[3]), []).append(seconds)
    return found


def join(folder: Path, runs: Sequence[Path], rows: Iterable[Row]) -> None:
    """The samples of several runs as one: those behind the rows of the merged table, no others."""
    due = {_key(row): row["run_id"] for row in rows}
    whole = _SCHEMA.empty_table()
    for run in runs:
        theirs = [key for row in peek(run) if due.get(key := _key(row)) == row["run_id"]]
        whole = pa.concat_tables([whole, _only(_settled(run, read_journal(run / JOURNAL)), theirs)])
        for key in theirs:
            del due[key]  # a copy of the run has them again
    _write(folder / SAMPLES, whole)


def _key(row: Row) -> str:
    return _GAP.join(str(row[name]) for name in KEY)


def _only(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    own = pc.binary_join_element_wise(*(table[name] for name in KEY), _GAP)
    return table.filter(pc.is_in(own, pa.array(keys, pa.string())))


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
