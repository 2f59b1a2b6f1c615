"""A run's folder on disk: one writer, rows flushed as they are made, none lost, none twice.

    table.csv          tidy rows, appended cell by cell, put in suite order at the end
    samples.parquet    raw seconds, written at the end from the journal
    environment.json   facts of the machines that measured, by the hash the rows carry
    suite.toml         the suite as it was run, overrides applied
    errors.log         tracebacks of the methods that crashed
    journal.jsonl      while a run is going on: a finished cell a line, the truth until the end

A killed run leaves its journal; the next run, or `mssbench merge`, settles it into the other files.
This module needs neither torch nor pandas, so a run starts at once.
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
    peek,
    read_journal,
    read_rows,
    read_suite,
)
from mssbench.results.views import Rows

LOG = "errors.log"  # tracebacks of methods that crashed, for people alone
_MOST_LOGGED = 2**22  # bytes: what fails in every cell of a large run says no more after that
_OURS = (TABLE, JOURNAL, SAMPLES, ENVIRONMENT, SUITE, LOG)  # rows go first where all must go
_NO_FILES = ("a folder", "a pipe", "no regular file")


class RunFolder:
    """The one writer of a run's folder. Use as a context manager: it holds the folder's lock.

    Opening writes nothing, so a run that fails before its first row leaves the folder as it was;
    with `fresh` the old files are not seen, and go when the first new one is written. Without it
    every file is read once at the start, so that damage is told before anything is measured.
    mend: whether damaged files are no reason to refuse, as they are about to be replaced.
    Raises RunError if another run writes to the folder, if it holds something that is no run, or
    if it cannot be written; RunError or TableError if one of its files is damaged.
    """

    def __init__(self, path: Path, *, fresh: bool = False, mend: bool = False) -> None:
        self.path = path
        with self._writing():
            _refuse_foreign(path, read=fresh)
            self._made = not path.exists()
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
        self._hidden = fresh
        self._begun = False
        self._journal: Lines | None = None
        self._table: Lines | None = None
        self._read: list[Row] | None = None  # the rows that are on disk, until one is written
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
            with suppress(OSError):  # it is not empty, as it should be
                self.path.rmdir()
        release(self._lock)

    @property
    def spares_old(self) -> bool:
        """Whether an old run still stands here that the first write will replace."""
        return self._hidden and any((self.path / name).exists() for name in _OURS)

    def _refuse_other_kinds(self) -> None:
        """Raise RunError for what no write could replace or go on with, before there is one.

        A link in the place of a file that is replaced as a whole is read, and then replaced. Only
        the table is also appended to, which is not done through a link. Other files that cannot be
        read are refused by their readers.
        """
        wrong = {TABLE: ("a symbolic link", *_NO_FILES), SUITE: _NO_FILES}
        if self._hidden:  # all of them are deleted first, which a folder cannot be
            wrong = dict.fromkeys(_OURS, ("a folder",))
        for name, kinds in wrong.items():
            if (kind := _other_kind(self.path / name)) in kinds:
                raise RunError(
                    f"{self.path / name} is {kind}, and a run writes a file there. Nothing was "
                    "written: put a file in its place, or remove it, or choose another --out."
                )

    def _check(self) -> None:
        """Read every file, so that what is damaged is refused before there is anything to lose."""
        self._read = peek(self.path)
        read_facts(self.path)
        if (self.path / SAMPLES).exists():
            from mssbench.results import samples  # pyarrow: only where there are some

            samples.check(self.path)

    def rows(self) -> list[Row]:
        """Every row measured so far, as text."""
        if self._hidden:
            return []
        return peek(self.path) if self._read is None else list(self._read)

    def samples(self) -> dict[tuple[str, str, str, str], list[float]]:
        """Seconds behind every row measured so far, by cell_id, phase, clock and cache."""
        from mssbench.results.samples import (
            read,  # pyarrow: only where there is something to go on with
        )

        return {} if self._hidden else read(self.path)

    def append(self, rows: Sequence[Row], samples: Sequence[Sequence[float]]) -> None:
        """One finished cell, on disk when this returns: first the journal, then the table."""
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
        """Replace the table by these rows, in this order, settle the samples, drop the journal.

        The order matters: if it is killed between any two steps, the journal still has every row.
        """
        if not isinstance(rows, Rows):
            rows = list(rows)  # they may come from the very files replaced below
        self._begin()
        self._close_files()
        journal = self.path / JOURNAL
        with self._writing():
            if journal.exists() and journal.stat().st_size:
                from mssbench.results.samples import (
                    settle,  # pyarrow: only when there is something to do
                )

                settle(self.path, read_journal(journal))
            replace(self.path / TABLE, header() + as_csv(rows))
            journal.unlink(missing_ok=True)

    def add_to_log(self, text: str) -> str:
        """Keep what an error said, as far as the log is not full.

        Returns why that could not be done, as a sentence; empty where it was. The log is for people
        alone, so that no run ends for its sake.
        """
        self._begin()
        path = self.path / LOG
        # not through a link: a folder of results may come from anybody; nor is a pipe waited for
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
                f"{path} cannot be written: {why}. What crashed has its row, but its traceback is "
                "not kept. Remove that file, or make room, to have it from the next run."
            )
        return ""

    def write_suite(self, text: str) -> None:
        """Keep the suite as it was run."""
        self._begin()
        with self._writing():
            replace(self.path / SUITE, text.encode())

    def facts(self) -> dict[str, Any]:
        """{"environments": facts by hash, "runs": by run_id} of all that was measured here."""
        return {"environments": {}, "runs": {}} if self._hidden else read_facts(self.path)

    def write_facts(self, facts: Mapping[str, Any]) -> None:
        """Keep what the rows' `environment` and `run_id` refer to."""
        self._begin()
        text = json.dumps(facts, indent=2, sort_keys=True) + "\n"
        with self._writing():
            replace(self.path / ENVIRONMENT, text.encode())

    def suite(self) -> dict[str, Any] | None:
        """The suite this folder was measured with, if it was."""
        return None if self._hidden else read_suite(self.path)

    def _begin(self) -> None:
        """Before the first write, delete what it replaces and what a killed writer left behind."""
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
        try:
            yield
        except OSError as error:
            raise RunError(
                f"{self.path} cannot be written: {error.strerror or error}. "
                "What was there before is safe: make room, or choose another --out, and run again."
            ) from error


def is_going_on(path: Path) -> bool:
    """Whether a run may be writing to a folder, as far as its files tell. Takes no lock.

    A journal is there from the first row of a run to its end; that of a run that was killed stays,
    and looks like that of one that goes on. Before its first row a run holds the lock, which not
    every kernel tells, and a new one has a folder without a table.
    """
    if (path / JOURNAL).exists() or held(path) or held(path / IN_FOLDER):
        return True
    if not path.is_dir() or (path / TABLE).exists():
        return False
    return all(each.name in (*_OURS, IN_FOLDER) or _is_temporary(each) for each in path.iterdir())


def _refuse_foreign(path: Path, *, read: bool) -> None:
    """Raise RunError for a folder of something else. read: whether nobody else reads its table."""
    if path.is_symlink() and not path.exists():
        raise RunError(
            f"{path} is a symbolic link to {path.readlink()}, which is not there. "
            "Make that folder, or choose another --out."
        )
    if path.exists() and not path.is_dir():
        raise RunError(f"{path} is a file. A run needs a folder: choose another --out.")
    if not path.is_dir():
        return
    others = [p.name for p in path.iterdir() if p.name != IN_FOLDER and not _is_temporary(p)]
    if others and not _is_run(path):
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise RunError(
            f"{path} holds something else ({min(others)!r}{more}) and no run. "
            "Nothing was written: choose another --out."
        )
    try:
        if read:
            read_rows(path / TABLE, left=[])
    except Damaged:  # it is ours, and will be replaced
        pass
    except RunError:
        if not _has_facts(path):  # which only a run of ours has, whatever its table has become
            raise


def _is_run(path: Path) -> bool:
    """Whether something measured here. A suite.toml alone is more likely its author's."""
    return (path / TABLE).exists() or (path / JOURNAL).exists() or _has_facts(path)


def _has_facts(path: Path) -> bool:
    try:
        return bool(read_facts(path)["environments"])
    except RunError:  # somebody else's environment.json
        return False


def _other_kind(path: Path) -> str:
    """What stands in the place of a file; empty where that is a file, or nothing."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return ""
    if stat.S_ISREG(mode):
        return ""
    kinds = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe"}
    return kinds.get(stat.S_IFMT(mode), "no regular file")


def _is_temporary(path: Path) -> bool:
    """What `replace` leaves behind when it is killed."""
    return any(re.fullmatch(rf"\.{re.escape(name)}\.\d+", path.name) for name in _OURS)


def _lock(path: Path) -> int:
    """Hold the folder itself against other runs: no file is left behind."""
    fd, ours = hold_folder(path)
    if not ours:
        who = holder(fd)
        os.close(fd)
        raise RunError(
            f"{path} is being written by another run, {who}. Wait for it, or choose another --out."
        )
    return fd


def _open_table(path: Path) -> Lines:
    """For appending under today's columns, after a last line that has its end."""
    if path.exists() and not _is_ours(path):
        replace(path, header() + as_csv(read_rows(path)))
    lines = Lines(path)
    if not lines.size:
        lines.add(header())
    return lines


def _is_ours(path: Path) -> bool:
    """Whether a table has today's header and whole lines, so that lines can be added."""
    with path.open("rb") as file:
        if file.readline() != header():
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
