"""`RunFolder`, which writes the files of a run. No row is lost or duplicated if the run is killed.

    table.csv          rows, appended cell by cell, and sorted in the order of the suite at the end
    samples.parquet    raw seconds, written at the end from the journal
    environment.json   facts of the machines, by the hash in the column `environment`
    suite.toml         the suite as it was run, with its overrides
    errors.log         tracebacks of methods that crashed
    journal.jsonl      only during a run: one line per finished cell, with rows and samples

A run that is killed leaves its journal. The next run, or `mssbench merge`, moves its contents into
the other files. This module imports neither torch nor pandas, so that a run starts quickly.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mssbench.errors import RunError
from mssbench.records.measurement import Row
from mssbench.results import as_written, trainings
from mssbench.results.damage import Damaged
from mssbench.results.facts_file import read_facts
from mssbench.results.files import Lines, replace
from mssbench.results.locks import IN_FOLDER, held, hold_folder, holder, release
from mssbench.results.rows import (
    ENVIRONMENT,
    JOURNAL,
    SAMPLES,
    SUITE,
    TABLE,
    as_csv,
    header,
    read_journal,
    read_rows,
    read_suite,
)
from mssbench.results.views import Rows

LOG = "errors.log"  # tracebacks of methods that crashed; no program reads it
# Bytes of the log after which nothing is added. A method that fails in every cell of a large run
# repeats the same traceback.
_MOST_LOGGED = 2**22
# The files of a run. If all of them are deleted, the rows are deleted first.
_OURS = (TABLE, JOURNAL, SAMPLES, ENVIRONMENT, SUITE, LOG)
_NO_FILES = ("a folder", "a pipe", "no regular file")  # results of `_other_kind`


class InUse(RunError):  # noqa: N818  (an answer, not a failure)
    """Another run writes to the folder."""


class RunFolder:
    """The only writer of a run's folder: a context manager that holds the lock of the folder.

    Opening the folder writes nothing, so that a run that fails before its first row leaves it
    unchanged. fresh: whether existing files are ignored, and deleted before the first write;
    otherwise every file is read once at the start, so that damage is reported before anything is
    measured. mend: whether damaged files are accepted, because they are about to be replaced.

    Raises RunError if another run writes to the folder, if it contains trainings or something other
    than a run, or if it cannot be written; RunError or TableError if one of its files is damaged.
    """

    def __init__(self, path: Path, *, fresh: bool = False, mend: bool = False) -> None:
        self.path = path
        with self._writing():
            _refuse_foreign(path, read=fresh)
            self._made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)

        self._hidden = fresh  # whether the existing files are ignored
        self._begun = False  # whether anything has been written
        self._journal: Lines | None = None
        self._table: Lines | None = None
        self._read: list[Row] | None = None  # the rows on disk, until the first write

        if not mend:
            try:
                self._refuse_other_kinds()
                if not fresh:
                    self._check()
            except BaseException:
                self.__exit__()
                raise

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self._close_files()
        if self._made:
            with suppress(OSError):  # usual case: the folder is not empty
                self.path.rmdir()
        release(self._lock)

    @property
    def spares_old(self) -> bool:
        """Whether the folder has an old run that the first write will delete."""
        return self._hidden and any((self.path / name).exists() for name in _OURS)

    def _refuse_other_kinds(self) -> None:
        """Raise RunError if a folder, pipe or link is where the run has to write a file.

        A link in the place of a file that is only replaced as a whole is accepted: what it leads to
        is read, and the link is replaced. The table is also appended to, which is not done through
        a link. Other files that cannot be read are refused by the functions that read them.
        """
        wrong = {TABLE: ("a symbolic link", *_NO_FILES), SUITE: _NO_FILES}
        if self._hidden:  # all files are deleted first, which works for all but a folder
            wrong = dict.fromkeys(_OURS, ("a folder",))

        for name, kinds in wrong.items():
            if (kind := _other_kind(self.path / name)) in kinds:
                raise RunError(
                    f"{self.path / name} is {kind}, and a run writes a file there. Nothing was "
                    "written: put a file in its place, or remove it, or choose another --out."
                )

    def _check(self) -> None:
        """Read every file, so that damage is reported before anything is measured."""
        self._read = as_written.read(self.path)
        read_facts(self.path)
        if (self.path / SAMPLES).exists():
            from mssbench.results import samples  # imports pyarrow: only if it is needed

            samples.check(self.path)

    def rows(self) -> list[Row]:
        """Return every row measured so far, also by earlier runs, with its values as texts.

        Empty in a `fresh` folder until the first write.
        """
        if self._hidden:
            return []
        return as_written.read(self.path) if self._read is None else list(self._read)

    def samples(self) -> dict[tuple[str, str, str, str], list[float]]:
        """Return the samples, in seconds per call, of every row so far.

        They are found by (cell_id, phase, clock, cache).
        """
        from mssbench.results.samples import read  # imports pyarrow: only if it is needed

        return {} if self._hidden else read(self.path)

    def append(self, rows: Sequence[Row], samples: Sequence[Sequence[float]]) -> None:
        """Write the rows and samples of one finished cell: to the journal, then to the table.

        The entry of the journal is on disk when this returns.
        """
        self._begin()
        entry = {"rows": list(rows), "samples": [list(s) for s in samples]}

        with self._writing():
            if self._journal is None:
                self._journal = Lines(self.path / JOURNAL)
            if self._table is None:
                self._table = _open_table(self.path / TABLE)
            self._journal.add(json.dumps(entry).encode() + b"\n", durable=True)
            self._table.add(as_csv(rows))

    def finish(self, rows: Iterable[Row] | Rows) -> None:
        """Write the samples of the journal, replace the table by `rows`, delete the journal.

        The steps are in this order so that a run that is killed between two of them still has every
        row in the journal.
        """
        if not isinstance(rows, Rows):
            rows = list(rows)  # an iterator may read the files that are replaced below
        self._begin()
        self._close_files()
        journal = self.path / JOURNAL

        with self._writing():
            if journal.exists() and journal.stat().st_size:
                from mssbench.results.samples import settle  # imports pyarrow: only if needed

                settle(self.path, read_journal(journal))
            lines = as_csv(rows) if isinstance(rows, Rows) else as_written.to_csv(rows)
            replace(self.path / TABLE, header() + lines)
            journal.unlink(missing_ok=True)

    def add_to_log(self, text: str) -> str:
        """Append a traceback to errors.log, unless that file is full.

        Returns a sentence that says why the log cannot be written; empty if it can. No error is
        raised, because a run need not end if its log cannot be written.
        """
        self._begin()
        path = self.path / LOG

        # A link is not followed, because a folder of results may come from anybody. Opening does
        # not wait for the reader of a pipe.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            fd = os.open(path, flags | os.O_CLOEXEC, 0o666)
            with os.fdopen(fd, "ab") as log:
                status = os.fstat(fd)
                if not stat.S_ISREG(status.st_mode):
                    raise OSError(errno.EINVAL, "it is not a regular file")
                if status.st_size <= _MOST_LOGGED:
                    log.write(text.encode(errors="replace"))
        except OSError as error:
            why = _other_kind(path)
            why = f"it is {why}" if why else error.strerror or str(error)
            return (
                f"{path} cannot be written: {why}. The crashed cells have their rows, but their "
                "tracebacks are not kept. Remove that file, or free disk space, to get them in the "
                "next run."
            )

        return ""

    def write_suite(self, text: str) -> None:
        """Write suite.toml: the suite as it was run."""
        self._begin()
        with self._writing():
            replace(self.path / SUITE, text.encode())

    def facts(self) -> dict[str, Any]:
        """Return the facts of machines and runs in this folder, see `read_facts`."""
        return {"environments": {}, "runs": {}} if self._hidden else read_facts(self.path)

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Write environment.json: the facts that `environment` and `run_id` of rows refer to."""
        self._begin()
        text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
        with self._writing():
            replace(self.path / ENVIRONMENT, text.encode())

    def suite(self) -> dict[str, Any] | None:
        """Return the suite with which this folder was measured; None if there is none."""
        return None if self._hidden else read_suite(self.path)

    def _begin(self) -> None:
        """Prepare the first write: delete temporary files and, if `fresh`, the earlier run."""
        self._read = None
        if self._begun:
            return
        self._begun = True

        with self._writing():
            if self._hidden:
                for name in _OURS:
                    (self.path / name).unlink(missing_ok=True)
            for path in filter(_is_temporary, list(self.path.iterdir())):
                path.unlink()
        self._hidden = False

    def _close_files(self) -> None:
        for lines in (self._journal, self._table):
            if lines is not None:
                lines.close()
        self._journal = self._table = None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Convert any OSError in this context to a RunError, which names a remedy."""
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror or error}. Earlier results are "
                "intact: free disk space, or choose another --out, and run again."
            ) from error


def is_going_on(path: Path) -> bool:
    """Whether a run may be writing to a folder, judged from its files. Takes no lock.

    A journal exists from the first row of a run to its end; the journal of a killed run stays, and
    looks the same. Before its first row a run holds the lock, which not every kernel reports, and a
    new run has a folder without a table.
    """
    if (path / JOURNAL).exists() or held(path) or held(path / IN_FOLDER):
        return True
    if not path.is_dir() or (path / TABLE).exists():
        return False
    return all(file.name in (*_OURS, IN_FOLDER) or _is_temporary(file) for file in path.iterdir())


def _refuse_foreign(path: Path, *, read: bool) -> None:
    """Raise RunError unless a run may be written to the path.

    It must be missing, empty, or the folder of a run. read: whether to check here that the table is
    one of mssbench, because it is not read elsewhere.
    """
    if path.is_symlink() and not path.exists():
        raise RunError(
            f"{path} is a symbolic link to {path.readlink()}, which is not there. "
            "Make that folder, or choose another --out."
        )
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file. A run needs a folder: choose another --out.")

    if not path.is_dir():
        return

    trainings.refuse_to_write(path)
    others = [p.name for p in path.iterdir() if p.name != IN_FOLDER and not _is_temporary(p)]
    if others and not _is_run(path):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise RunError(
            f"{path} contains other files ({min(others)!r}{more}) and no run. "
            "Nothing was written: choose another --out."
        )

    try:
        if read:
            read_rows(path / TABLE, left=[])
    except Damaged:  # it is a table of mssbench, and will be replaced
        pass
    except RunError:
        if not _has_facts(path):  # only a run of mssbench has facts, even if its table is damaged
            raise


def _is_run(path: Path) -> bool:
    """Whether a folder contains a run. A suite.toml alone may be a suite that a user wrote."""
    return (path / TABLE).exists() or (path / JOURNAL).exists() or _has_facts(path)


def _has_facts(path: Path) -> bool:
    try:
        return bool(read_facts(path)["environments"])
    except RunError:  # an environment.json of another program
        return False


def _other_kind(path: Path) -> str:
    """Return what a path is, if it exists and is no regular file; otherwise the empty text."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    if stat.S_ISREG(mode):
        return ""

    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _is_temporary(path: Path) -> bool:
    """Whether a file is one that `replace` leaves behind if it is killed."""
    return any(re.fullmatch(rf"\.{re.escape(name)}\.\d+", path.name) for name in _OURS)


def _lock(path: Path) -> int:
    """Lock the folder itself, so that no lock file is left behind. Return its descriptor.

    Raises InUse if another run holds the lock.
    """
    fd, is_locked = hold_folder(path)
    if not is_locked:
        who = holder(fd)
        os.close(fd)
        raise InUse(
            f"{path} is being written by another run, {who}. Wait for it, or choose another --out."
        )

    return fd


def _open_table(path: Path) -> Lines:
    """Open a table to append rows to it.

    A table with other columns, or with an incomplete last line, is rewritten first.
    """
    if path.exists() and not _is_ours(path):
        replace(path, header() + as_csv(read_rows(path)))
    lines = Lines(path)
    if not lines.size:
        lines.add(header())
    return lines


def _is_ours(path: Path) -> bool:
    """Whether lines can be appended: the table has the present columns and ends a line."""
    with path.open("rb") as file:
        if file.readline() != header():
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
