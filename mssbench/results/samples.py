"""Raw samples: one Parquet row per timed value, keyed by cell, phase, clock and cache."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from mssbench.errors import TableError
from mssbench.results.damage import pointer, refuse
from mssbench.results.files import contents, replacing
from mssbench.results.rows import JOURNAL, SAMPLES, read_journal
from mssbench.results.views import Rows

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


def check(folder: Path) -> None:
    """Read the file and forget it. Raises TableError where it is damaged, or none of ours."""
    _stored(folder / SAMPLES)


def join(folder: Path, runs: Sequence[Path], tables: Sequence[Rows], whole: Rows) -> list[str]:
    """The samples of several runs as one: those behind the rows of the merged table, no others.

    tables: the rows of each run. Returns a sentence on each file that is damaged and was left out.
    """
    due = dict(_measured(whole))
    parts, remarks = [_SCHEMA.empty_table()], []
    for run, rows in zip(runs, tables, strict=True):
        theirs = [key for key, run_id in _measured(rows) if due.get(key) == run_id]
        try:
            parts.append(_only(_settled(run, read_journal(run / JOURNAL)), theirs))
        except TableError as error:
            remarks.append(f"left out: {error}")
        for key in theirs:
            del due[key]  # a copy of the run has them again
    _write(folder / SAMPLES, pa.concat_tables(parts))
    return remarks


def _measured(rows: Rows) -> Iterator[tuple[str, str]]:
    """Yield the key of the samples of each row, as one text, and the run that measured it."""
    keys = zip(*(rows.column(name) for name in KEY), strict=True)
    yield from zip(map(_GAP.join, keys), rows.column("run_id"), strict=True)


def _only(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    own = pc.binary_join_element_wise(*(table[name] for name in KEY), _GAP)
    return table.filter(pc.is_in(own, pa.array(keys, pa.string())))


def _settled(folder: Path, entries: Iterable[dict[str, Any]]) -> pa.Table:
    latest = {e["rows"][0]["cell_id"]: e for e in entries if e["rows"]}
    new = _table(latest.values())
    if not (folder / SAMPLES).exists():
        return new
    return pa.concat_tables([_without(_stored(folder / SAMPLES), latest), new])


def _stored(file: Path) -> pa.Table:
    """The samples on disk. Raises TableError where the file is damaged, or none of ours."""
    try:
        data = contents(file)
        if data is None:
            return _SCHEMA.empty_table()
        if why := pointer(data):
            raise refuse(file, why)
        found = pq.read_table(pa.BufferReader(data))
        if missing := [name for name in _SCHEMA.names if name not in found.column_names]:
            raise refuse(file, f"it has no column {missing[0]}")
        table = found.select(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowException, OSError) as error:  # most of what Arrow raises is an OSError
        raise refuse(file, str(error).partition("\n")[0].rstrip(".")) from None
    if any(table[name].null_count for name in _SCHEMA.names):
        raise refuse(file, "a value is missing")
    return table


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
