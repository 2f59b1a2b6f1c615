"""Read and write samples.parquet, the single times of a run: one row for each sample.

A sample's row of the table is found by its key: cell_id, phase, clock and cache.
"""

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
_GAP = "\x1f"  # separator of joined keys: ASCII's unit separator, which occurs in no key
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in KEY] + [("index", pa.int32()), ("seconds", pa.float64())]
)


def settle(folder: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write the samples of journal entries to samples.parquet.

    entries: one for each finished cell, see RunFolder. The samples replace older ones of the same
    cells, also if a cell has no samples any more because it crashed this time.
    """
    _write(folder / SAMPLES, _settled(folder, entries))


def read(folder: Path) -> dict[tuple[str, str, str, str], list[float]]:
    """Return the samples, in seconds per call, of every row by (cell_id, phase, clock, cache).

    The samples in the journal are included. Raises TableError if the file is damaged.
    """
    samples: dict[tuple[str, str, str, str], list[float]] = {}
    table = _settled(folder, read_journal(folder / JOURNAL))
    columns = [table[name].to_pylist() for name in (*KEY, "seconds")]
    for *key, seconds in zip(*columns, strict=True):
        samples.setdefault((key[0], key[1], key[2], key[3]), []).append(seconds)
    return samples


def check(folder: Path) -> None:
    """Raise TableError if samples.parquet in a folder is damaged or of another program."""
    _stored(folder / SAMPLES)


def join(folder: Path, runs: Sequence[Path], tables: Sequence[Rows], whole: Rows) -> list[str]:
    """Write the samples that belong to the rows of a merged table, taken from several runs.

    folder: of the merged run. runs, tables: the folders of the runs, and their rows. whole: the
    merged rows. Return a sentence on each damaged file that was left out.
    """
    due = dict(_measured(whole))

    parts, remarks = [_SCHEMA.empty_table()], []
    for run, rows in zip(runs, tables, strict=True):
        keys = [key for key, run_id in _measured(rows) if due.get(key) == run_id]
        try:
            parts.append(_only(_settled(run, read_journal(run / JOURNAL)), keys))
        except TableError as error:
            remarks.append(f"left out: {error}")
        for key in keys:
            del due[key]  # so that a copy of the run does not add the samples again

    _write(folder / SAMPLES, pa.concat_tables(parts))
    return remarks


def _measured(rows: Rows) -> Iterator[tuple[str, str]]:
    """Yield the key of each row, joined to one text, with the row's run_id."""
    keys = zip(*(rows.column(name) for name in KEY), strict=True)
    yield from zip(map(_GAP.join, keys), rows.column("run_id"), strict=True)


def _only(table: pa.Table, keys: Sequence[str]) -> pa.Table:
    """Return the samples of rows with one of these joined keys."""
    joined = pc.binary_join_element_wise(*(table[name] for name in KEY), _GAP)
    return table.filter(pc.is_in(joined, pa.array(keys, pa.string())))


def _settled(folder: Path, entries: Iterable[dict[str, Any]]) -> pa.Table:
    """Return the samples on disk; samples of the cells in `entries` are replaced by new ones."""
    latest = {e["rows"][0]["cell_id"]: e for e in entries if e["rows"]}
    new = _table(latest.values())
    if not (folder / SAMPLES).exists():
        return new
    return pa.concat_tables([_without(_stored(folder / SAMPLES), latest), new])


def _stored(file: Path) -> pa.Table:
    """Return the samples on disk. Raises TableError if the file is damaged."""
    try:
        data = contents(file)
        if data is None:
            return _SCHEMA.empty_table()
        if why := pointer(data):
            raise refuse(file, why)

        stored = pq.read_table(pa.BufferReader(data))
        if missing := [name for name in _SCHEMA.names if name not in stored.column_names]:
            raise refuse(file, f"it has no column {missing[0]}")
        table = stored.select(_SCHEMA.names).cast(_SCHEMA)
    except (pa.ArrowException, OSError) as error:  # most errors of Arrow are OSErrors
        raise refuse(file, str(error).partition("\n")[0].rstrip(".")) from None

    if any(table[name].null_count for name in _SCHEMA.names):
        raise refuse(file, "a value is missing")
    return table


def _table(entries: Iterable[dict[str, Any]]) -> pa.Table:
    """Return the samples of journal entries as a table."""
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}

    for entry in entries:
        for row, seconds in zip(entry["rows"], entry["samples"], strict=True):
            for name in KEY:
                columns[name] += [row[name]] * len(seconds)
            columns["index"] += range(len(seconds))
            columns["seconds"] += seconds
    return pa.table(columns, schema=_SCHEMA)


def _without(table: pa.Table, cells: Collection[str]) -> pa.Table:
    """Return the samples without those of the given cell_ids."""
    known = pa.array(sorted(cells), pa.string())
    return table.filter(pc.invert(pc.is_in(table["cell_id"], known)))


def _write(path: Path, table: pa.Table) -> None:
    with replacing(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")
