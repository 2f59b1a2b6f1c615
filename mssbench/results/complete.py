"""Open a run for reading, and refuse a table whose last line is cut off.

A run that is killed may leave half a line at the end of its table, and the whole row in its
journal. That is no damage: readers take the row from the journal. Without a journal the row is
lost, for example because the file was copied incompletely. `mssbench run` then measures it again,
but a reader must not pass over it.
"""

import csv
import os
from pathlib import Path

from mssbench import results
from mssbench.records.schema import KEY
from mssbench.results.damage import refuse
from mssbench.results.rows import JOURNAL, TABLE
from mssbench.results.run import Run

_LONGEST_LINE = 2**20  # bytes at the end of a table that are read: more than any row has


def open_complete(path: Path) -> Run:
    """Return the run in a folder, like `results.open`, whose table has no line that is cut off.

    path: the folder, or the table.csv in it. Raises TableError if the last line is cut off.
    """
    refuse_cut_off(path)
    return results.open(path)


def refuse_cut_off(path: Path) -> None:
    """Raise TableError if the last line of a table is cut off. path: as in `open_complete`."""
    if why := cut_off(path):
        raise refuse(_table(path), why)


def cut_off(path: Path) -> str:
    """Return what is missing in the last line of a run's table, for a message; empty if nothing is.

    path: as in `open_complete`. It is empty also if there is no table of mssbench, or if a journal
    has the row.
    """
    file = _table(path)
    if not file.is_file() or file.with_name(JOURNAL).exists():
        return ""
    try:
        first, last = _first_and_unfinished_line(file)
        names, words = (next(csv.reader([line]), []) for line in (first, last))
    except (OSError, csv.Error):  # the reader of the table reports it
        return ""

    if not last or not {*KEY} <= {*names}:
        return ""
    # An empty last field counts as lost, because the reader of the table leaves such a row out.
    fields = len(words) - (words[-1:] == [""])
    return "" if fields == len(names) else f"the last line has {fields} of {len(names)} fields"


def _table(path: Path) -> Path:
    return path / TABLE if path.is_dir() else path


def _first_and_unfinished_line(file: Path) -> tuple[str, str]:
    """Return the first line of a file, and what follows its last line break, if anything does."""
    with file.open("rb") as stream:
        first = stream.readline()
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(len(first), size - _LONGEST_LINE))
        last = stream.read().rpartition(b"\n")[2]
    return first.decode(errors="replace"), last.decode(errors="replace")
