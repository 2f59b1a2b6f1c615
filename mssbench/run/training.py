"""Train the networks of a suite into a folder, each in a process of its own, or resume that.

    suite.toml          the suite
    environment.json    the facts of the machine
    cells/ID.json       the result of a training that has ended
    cells/ID.pt         the state of one that has not, after its last complete epoch
    trainings.csv       a row for each training
    curves.csv          a row for each epoch
    robustness.csv      a row for each change under which a trained network was evaluated

The tables are written anew from the results in `cells` at the end, so that a run that was
killed loses nothing but the epochs that were not complete.
"""

import csv
import io
import json
import os
import re
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import tomli_w

from mssbench.errors import InputError, NotInstalled, RunError, SuiteError, unknown
from mssbench.records import training_tables
from mssbench.records.facts import identify
from mssbench.records.measurement import Status
from mssbench.records.schema import Column
from mssbench.records.training import TrainingCell
from mssbench.results import locks
from mssbench.results.files import contents, replace
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SUITE, TABLE
from mssbench.run.signals import Takedown
from mssbench.suite.training import TrainingSuite

CELLS = "cells"
_PAUSE = 0.2  # seconds between two looks at whether the user has asked to stop
_TEMPORARY = re.compile(r"\..+\.\d+")  # what `replace` leaves behind if it is killed
_RESULT = re.compile(r"[0-9a-f]{16}\.(json|pt)|" + _TEMPORARY.pattern)
_LAST_WORDS = 300  # characters of a crashed process's stderr that become its reason
_MOST_BYTES = 4096  # of stderr that are read for them
Watcher = Callable[[TrainingCell, Mapping[str, Any]], None]


def run(
    suite: TrainingSuite,
    path: Path,
    *,
    at_once: int = 1,
    threads: int = 1,
    facts: Mapping[str, Any],
    fresh: bool = False,
    watch: Watcher = lambda *_: None,
) -> list[dict[str, Any]]:
    """Train the networks of a suite that are missing in a folder, and return all rows.

    Trainings that crashed, were unsupported or lacked a package are tried again.

    at_once: how many are trained at the same time. With more than one, the rows have no times,
    since trainings slow each other down. threads: of each. facts: those of this machine.
    fresh: whether all are trained again. watch: is told each epoch and each end of a training.
    Ctrl-C and SIGTERM end the run early; the same call resumes it.

    Raises SuiteError for a task, a method or a parameter that does not exist, and for a batch that
    is larger than the data.
    Raises RunError if another run writes to the folder, or if it holds another suite, a run of
    `mssbench run` or other files.
    """
    _check_suite(suite)
    _make_folder(path)
    with _locked(path), Takedown() as takedown:
        _refuse_foreign(path)
        _refuse_other_suite(path, suite, fresh=fresh)
        (path / CELLS).mkdir(exist_ok=True)
        if fresh:
            for file in (path / CELLS).iterdir():
                file.unlink()
        replace(path / SUITE, tomli_w.dumps(dict(suite.document)).encode())
        environment = identify(facts)
        known = {"environments": {environment: dict(facts)}, "runs": {}}
        replace(path / ENVIRONMENT, json.dumps(known, indent=1).encode())

        results = {cell.cell_id: _result(path, cell) for cell in suite.cells}
        todo = [cell for cell in suite.cells if not _is_trained(results[cell.cell_id])]
        measured = {"probes": suite.probes, "robustness": suite.robustness}
        workers = _Workers(path, {"threads": threads, **measured}, watch)
        for cell, result in workers.trained(todo, at_once, takedown.asked):
            result["timed"] = at_once == 1
            results[cell.cell_id] = result
            if result["status"] != Status.INTERRUPTED:
                text = json.dumps(result).encode()
                replace(path / CELLS / f"{cell.cell_id}.json", text)
                _checkpoint(path, cell).unlink(missing_ok=True)

        tables = training_tables.tables(suite.cells, results, environment)
        for name, (columns, rows) in tables.items():
            replace(path / name, _csv(columns, rows).encode())
    return list(tables["trainings.csv"].rows)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises RunError if another run holds it."""
    fd, free = locks.hold_folder(path)
    try:
        if not free:
            raise RunError(
                f"{path} is in use by another run. Wait for it, or choose another --out."
            )
        yield
    finally:
        locks.release(fd)


def _check_suite(suite: TrainingSuite) -> None:
    """Raise SuiteError if a name in a suite does not exist, or a batch exceeds the data of a task.

    A task whose package is missing is left to its trainings, whose status says so.
    """
    from mssbench.training.checks import check_batch, check_names  # imports torch
    from mssbench.training.one import method_of
    from mssbench.training.tasks.registry import names, task

    for cell in suite.cells:
        if cell.task not in names():
            raise SuiteError(f"suite {suite.name!r}: {unknown('task', cell.task, names())}")
        with suppress(NotInstalled):
            check_batch(task(cell.task), cell.batch)
        try:
            check_names(method_of(cell))
        except InputError as error:
            raise SuiteError(f"suite {suite.name!r}, method {cell.method!r}: {error}") from None


def _make_folder(path: Path) -> None:
    """Make a folder, unless it is there. Raises RunError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} cannot be made a folder: {error.strerror or error}. Choose another --out."
        ) from None


def _refuse_foreign(path: Path) -> None:
    """Raise RunError unless a folder is empty or holds a run of trainings.

    That has both suite.toml and the folder of results, in which it has no other files.
    """
    if any((path / name).exists() for name in (TABLE, JOURNAL)):
        raise RunError(f"{path} holds a run of `mssbench run`. Choose another --out.")

    cells = path / CELLS
    others = [
        p.name
        for p in path.iterdir()
        if p.name not in (CELLS, locks.IN_FOLDER) and not _TEMPORARY.fullmatch(p.name)
    ]
    if cells.is_dir() and (path / SUITE).exists():
        others = []
    inside = cells.iterdir() if cells.is_dir() else [cells] if cells.exists() else []
    others += [f"{CELLS}/{p.name}" for p in inside if not _RESULT.fullmatch(p.name)]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise RunError(
            f"{path} contains other files ({min(others)!r}{more}) and no run of trainings. "
            "Nothing was written: choose another --out."
        )


def _refuse_other_suite(path: Path, suite: TrainingSuite, *, fresh: bool) -> None:
    """Raise RunError if a folder holds the results of another suite; its claims may be others."""
    held = contents(path / SUITE)
    if held is None or fresh:
        return
    if _without_claims(held) != _without_claims(tomli_w.dumps(dict(suite.document)).encode()):
        raise RunError(
            f"{path} holds the results of another suite, or of another version of "
            f"{suite.name!r}. Choose another --out, or --fresh to train everything again."
        )


def _without_claims(suite: bytes) -> bytes:
    """Return the text of a suite without its claims, which do not change what is trained."""
    try:
        document = tomllib.loads(suite.decode())
    except ValueError:  # it is no TOML, so that it has no claims either
        return suite
    return tomli_w.dumps({k: v for k, v in document.items() if k != "claim"}).encode()


def _result(path: Path, cell: TrainingCell) -> dict[str, Any] | None:
    """Return the stored result of a training; None if it has not ended or cannot be read."""
    try:
        data = contents(path / CELLS / f"{cell.cell_id}.json")
        return None if data is None else dict(json.loads(data))
    except (OSError, ValueError):
        return None


def _is_trained(result: Mapping[str, Any] | None) -> bool:
    """Whether a network was trained to the end. A package may be installed by the next run."""
    return result is not None and result.get("status") in (Status.OK, Status.NONFINITE)


def _checkpoint(path: Path, cell: TrainingCell) -> Path:
    return path / CELLS / f"{cell.cell_id}.pt"


class _Workers:
    """Runs trainings in processes. path: the folder. asked: what each process is told besides."""

    def __init__(self, path: Path, asked: Mapping[str, Any], watch: Watcher) -> None:
        self._path, self._asked, self._watch = path, asked, watch
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def trained(
        self, cells: Sequence[TrainingCell], at_once: int, asked: Callable[[], bool]
    ) -> Iterator[tuple[TrainingCell, dict[str, Any]]]:
        """Yield each cell with its result, in the order in which the trainings end.

        asked: whether the run is to stop; then the rest are `interrupted`.
        """
        with ThreadPoolExecutor(max_workers=at_once) as pool:
            futures: dict[Future[dict[str, Any]], TrainingCell] = {
                pool.submit(self._train, cell): cell for cell in cells
            }
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, timeout=_PAUSE, return_when=FIRST_COMPLETED)
                for future in done:
                    yield futures[future], future.result()
                if asked():
                    self._stop()

    def _train(self, cell: TrainingCell) -> dict[str, Any]:
        """Train the network of a cell in a process, and return its result."""
        if self._stopped:
            return {"status": str(Status.INTERRUPTED), "reason": "the run was stopped before it"}

        begun = time.monotonic()
        with TemporaryFile() as stderr:
            last, code = self._messages(cell, stderr)
            size = stderr.seek(0, os.SEEK_END)
            stderr.seek(max(0, size - _MOST_BYTES))
            errors = stderr.read().decode(errors="replace")

        if "status" not in last:
            last = self._without_a_result(code, errors)
        result = last | {"took": time.monotonic() - begun}
        self._watch(cell, result)
        return result

    def _messages(self, cell: TrainingCell, stderr: IO[bytes]) -> tuple[dict[str, Any], int]:
        """Run the process of a cell, and return its last message and its exit code.

        stderr: a file, and not a pipe, since a process that fills a pipe waits for its reader.
        """
        with self._process(cell, stderr) as process:
            last: dict[str, Any] = {}
            assert process.stdout is not None
            for line in process.stdout:
                last = _message(line) or last
                if "epoch" in last:
                    self._watch(cell, last["epoch"])
        return last, process.returncode

    def _without_a_result(self, code: int, errors: str) -> dict[str, Any]:
        """Return the result of a process that ended without one."""
        if self._stopped:
            return {"status": str(Status.INTERRUPTED), "reason": "the run was stopped during it"}
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        words = " ".join(errors.split())[-_LAST_WORDS:]
        return {"status": str(Status.CRASHED), "reason": f"its process ended by {how}. {words}"}

    @contextmanager
    def _process(self, cell: TrainingCell, stderr: IO[bytes]) -> Iterator["subprocess.Popen[str]"]:
        """Start the process that trains a cell. At the end of the block it has ended."""
        command = [sys.executable, "-m", "mssbench.training.one"]
        asked = {
            "cell": asdict(cell),
            "checkpoint": str(_checkpoint(self._path, cell).resolve()),
            **self._asked,
        }
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=stderr, text=True, start_new_session=True
        ) as process:
            with self._lock:
                self._running.add(process)
            try:
                assert process.stdin is not None
                with process.stdin:
                    process.stdin.write(json.dumps(asked))
                yield process
                process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)
                if process.poll() is None:
                    process.kill()

    def _stop(self) -> None:
        """Ask all processes to end. They leave the state after their last complete epoch."""
        self._stopped = True
        with self._lock:
            for process in self._running:
                process.terminate()


def _message(line: str) -> dict[str, Any] | None:
    """Return the message of a line of a process; None for a line that is something else."""
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def _csv(columns: Sequence[Column], rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV with a header; a number that is missing or not finite is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_written(row.get(column.name)) for column in columns])
    return text.getvalue()


def _written(value: Any) -> Any:
    """Return a value as it stands in a table."""
    missing = value is None or (isinstance(value, float) and not abs(value) < float("inf"))
    return "" if missing else value
