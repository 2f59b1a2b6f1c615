"""`Journals`, which reads what the tasks of a run have measured since it was asked last."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from mssbench.engines.events import Finished
from mssbench.records.cell import Cell
from mssbench.records.measurement import Row, Status
from mssbench.results.rows import JOURNAL, TABLE, entry_in, read_rows


class Shard(NamedTuple):
    """A shard that is measured: the folder of its run, and the cells that it lacked at first."""

    folder: Path
    cells: Sequence[Cell]


class Journals:
    """Follows the journals of shards, to which a task appends a line for each finished cell.

    A task that ends moves its journal into its table, which is then read for the lines that were
    missed. Only the end of a file that has grown is read.

    passes: how often each cell is measured.
    """

    def __init__(self, shards: Sequence[Shard], passes: int) -> None:
        self._followed = [_Followed(shard, passes) for shard in shards]

    def news(self) -> Iterator[Finished]:
        """Yield an event for each measurement of a cell since the last call."""
        for followed in self._followed:
            yield from followed.news()


class _Followed:
    """The journal of one shard."""

    def __init__(self, shard: Shard, passes: int) -> None:
        self._folder, self._passes = shard.folder, passes
        self._cells = {cell.cell_id: cell for cell in shard.cells}
        self._told: Counter[str] = Counter()  # number of measurements told, by cell_id
        self._journal = shard.folder / JOURNAL
        self._read = self._size()  # of the journal, in bytes; what was there before is not new
        self._table = self._written()  # when the table was last seen

    def news(self) -> Iterator[Finished]:
        size = self._size()
        if size > self._read:
            yield from self._lines()
        elif size < self._read:  # the task has ended, or another one has begun
            self._read = 0
        if not size and (written := self._written()) != self._table:
            self._table = written
            yield from self._missed()

    def _lines(self) -> Iterator[Finished]:
        """Yield the events of the complete lines that were appended to the journal."""
        try:
            with self._journal.open("rb") as file:
                file.seek(self._read)
                lines = file.read().splitlines(keepends=True)
        except OSError:  # the task has ended at this moment
            return
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._read += len(line)
            if (entry := entry_in(line)) is not None:
                rows = entry["rows"]
                yield from self._measured(rows[0]["cell_id"], rows, once=True)

    def _missed(self) -> Iterator[Finished]:
        """Yield the events of cells that the table has, and of which no line was read."""
        groups: dict[str, list[Row]] = {}
        for row in read_rows(self._folder / TABLE, left=[]):
            groups.setdefault(row["cell_id"], []).append(row)
        for cell_id, rows in groups.items():
            if all(row["status"] != Status.INTERRUPTED for row in rows):
                yield from self._measured(cell_id, rows, once=False)

    def _measured(self, cell_id: str, rows: list[Row], *, once: bool) -> Iterator[Finished]:
        """Yield an event for one measurement of a cell, or for all that are missing."""
        cell = self._cells.get(cell_id)
        missing = self._passes - self._told[cell_id]
        for _ in range(min(1, missing) if once else missing):
            self._told[cell_id] += 1
            if cell is not None:
                yield Finished(cell, rows, [], {})

    def _size(self) -> int:
        try:
            return self._journal.stat().st_size
        except OSError:
            return 0

    def _written(self) -> int:
        """Return when the table was last replaced, in nanoseconds; 0 if there is none."""
        try:
            return (self._folder / TABLE).stat().st_mtime_ns
        except OSError:
            return 0
