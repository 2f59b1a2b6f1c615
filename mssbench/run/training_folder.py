"""The folder of a run of trainings: what may be in it, and the result of each training.

suite.toml          the suite
environment.json    the facts of the machines, and which shard of its suite the run has
cells/ID.json       the result of a training that has ended
cells/ID.pt         the state of one that has not, after its last complete epoch
captured/           covariances that networks have pooled, if they were asked for
trainings.csv       a row for each training
curves.csv          a row for each epoch
robustness.csv      a row for each change under which a trained network was evaluated
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mssbench.errors import RunError
from mssbench.records import training_tables
from mssbench.records.measurement import Status
from mssbench.records.schema import Column
from mssbench.records.training import CURVES, TrainingCell
from mssbench.results import locks, parts
from mssbench.results import trainings as files
from mssbench.results.facts_file import facts_or_fault
from mssbench.results.files import contents, replace
from mssbench.results.folder import InUse
from mssbench.results.parts import PART, Part
from mssbench.results.rows import ENVIRONMENT, JOURNAL, SUITE, TABLE
from mssbench.suite.training import TrainingSuite

CELLS, CAPTURED = files.CELLS, "captured"
TABLES = (files.TRAININGS, files.CURVES, files.ROBUSTNESS)
_TEMPORARY = re.compile(r"\..+\.\d+")  # what `replace` leaves behind if it is killed
_RESULT = re.compile(r"[0-9a-f]{16}\.(json|pt)|" + _TEMPORARY.pattern)
_CAPTURED_FILE = re.compile(r"[0-9a-f]{16}-\d+\.npz")
# What the results of a folder must have in common. Other seeds, methods and claims may be added.
_SWITCHES = ("probes", "robustness")
# The values that the result of a training has of each epoch, besides `first_skipped` and `probes`,
# with their kinds.
_KINDS = {"int": int, "float": int | float, "str": str}
OF_EPOCH = {
    column.name: _KINDS[column.kind]
    for column in CURVES
    if column.name == "epoch" or column.group in ("outcome", "time")
}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a folder. Raises InUse if another run holds it."""
    fd, free = locks.hold_folder(path)
    try:
        if not free:
            raise InUse(f"{path} is in use by another run. Wait for it, or choose another --out.")
        yield
    finally:
        locks.release(fd)


def make_folder(path: Path) -> None:
    """Make a folder, unless it is there. Raises RunError if that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"{path} cannot be made a folder: {error.strerror or error}. Choose another --out."
        ) from None


def refuse_foreign(path: Path, *, fresh: bool) -> None:
    """Raise RunError unless a folder is empty or holds a run of trainings.

    That has both suite.toml and the folder of results, in which it has no other files. fresh:
    whether everything in it is trained again; then the folder of results may be missing, as in a
    copy of the tables alone.
    """
    if any((path / name).exists() for name in (TABLE, JOURNAL)):
        raise RunError(f"{path} holds a run of `mssbench run`. Choose another --out.")

    cells = path / CELLS
    if not cells.exists() and (path / SUITE).exists() and (path / TABLES[0]).exists():
        if fresh:
            return
        raise RunError(
            f"{path} holds the tables of a run without its results in {CELLS}/, so that it cannot "
            "be resumed. Look at it with `mssbench report`, use --fresh to train everything again, "
            "or choose another --out."
        )
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


def refuse_other_suite(path: Path, suite: TrainingSuite, *, fresh: bool) -> None:
    """Raise RunError if a folder holds the results of another suite.

    A suite may have other methods, seeds and claims than before: trainings are known by everything
    that they depend on. It may not measure more of each training than before, or less.
    """
    held = contents(path / SUITE)
    if held is None or fresh:
        return
    try:
        before = tomllib.loads(held.decode())
        training = dict(before.get("training", {}))
    except (ValueError, TypeError):  # of the parser, or because [training] is no table
        raise RunError(
            f"{path / SUITE} is damaged. Choose another --out, or --fresh to train everything "
            "again."
        ) from None

    name = before.get("name", suite.name)
    if name != suite.name:
        raise RunError(
            f"{path} holds the results of suite {name!r}, not {suite.name!r}. Choose another "
            "--out, or --fresh to replace them."
        )
    for switch in _SWITCHES:
        if training.get(switch, False) != getattr(suite, switch):
            raise RunError(
                f"{path} was trained with another value of {switch}. Choose another --out, or "
                "--fresh to train everything again."
            )


def refuse_other_part(path: Path, suite: TrainingSuite, *, fresh: bool) -> None:
    """Raise RunError if a folder has results of another shard of the suite, or of all trainings.

    Folders of all trainings are also those that `mssbench merge` writes.
    """
    cells = path / CELLS
    if fresh or not cells.is_dir() or not any(cells.iterdir()):
        return
    facts, _ = facts_or_fault(path)
    parts.refuse_other(path, parts.part_of(facts), suite.part())


def clear(path: Path) -> None:
    """Remove the results, states, tables, covariances and machines of earlier trainings."""
    old = [path / name for name in (*TABLES, ENVIRONMENT)]
    for folder, pattern in ((path / CELLS, _RESULT), (path / CAPTURED, _CAPTURED_FILE)):
        if folder.is_dir():
            old += [file for file in folder.iterdir() if pattern.fullmatch(file.name)]
    for file in old:
        file.unlink(missing_ok=True)


def write_facts(
    path: Path, machines: Mapping[str, Mapping[str, Any]], part: Part | None = None
) -> None:
    """Add machines to the facts of a run, and say which shard of its suite it has.

    machines: their facts by the hash of the environment. Those that are known already stay, unless
    the file is damaged. part: None if the run is not one of a shard alone.
    """
    before, _ = facts_or_fault(path)
    facts: dict[str, Any] = {"environments": {**before["environments"], **machines}, "runs": {}}
    if part is not None:
        facts[PART] = part.as_data()
    if facts != before:
        replace(path / ENVIRONMENT, json.dumps(facts, indent=1).encode())


def result(path: Path, cell: TrainingCell) -> dict[str, Any] | None:
    """Return the stored result of a training; None if it has not ended, or is damaged."""
    try:
        data = contents(result_file(path, cell))
        found = None if data is None else json.loads(data)
    except (OSError, ValueError):
        return None
    return found if _is_whole(found, cell) else None


def _is_whole(found: Any, cell: TrainingCell) -> bool:
    """Whether a stored result has what the tables need."""
    if not isinstance(found, dict) or not isinstance(found.get("status"), str):
        return False
    if not is_trained(found):
        return True
    epochs, changed = found.get("epochs"), found.get("robustness")
    if not isinstance(epochs, list) or not isinstance(changed, list):
        return False
    if not all(isinstance(epoch, dict) and _is_whole_epoch(epoch) for epoch in epochs):
        return False
    numbers = [epoch["epoch"] for epoch in epochs]
    return numbers == list(range(1, cell.epochs + 1)) and isinstance(found.get("initial"), str)


def _is_whole_epoch(epoch: Mapping[str, Any]) -> bool:
    """Whether the record of an epoch has all values, each of its kind."""
    return (
        all(isinstance(epoch.get(name), kind) for name, kind in OF_EPOCH.items())
        and isinstance(epoch.get("first_skipped", ""), int | None)
        and isinstance(epoch.get("probes"), dict)
    )


def is_trained(found: Mapping[str, Any] | None) -> bool:
    """Whether a network was trained to the end. A package may be installed by the next run."""
    return found is not None and found.get("status") in files.TRAINED


def captured(path: Path) -> dict[str, list[Path]]:
    """Return the files of covariances that networks have pooled, by cell_id."""
    found: dict[str, list[Path]] = {}
    if (path / CAPTURED).is_dir():
        for file in sorted((path / CAPTURED).iterdir()):
            if _CAPTURED_FILE.fullmatch(file.name):
                found.setdefault(file.name.partition("-")[0], []).append(file)
    return found


def result_file(path: Path, cell: TrainingCell) -> Path:
    """Return the file with the result of a training."""
    return path / CELLS / f"{cell.cell_id}.json"


def checkpoint(path: Path, cell: TrainingCell) -> Path:
    """Return the file with the state of a training."""
    return path / CELLS / f"{cell.cell_id}.pt"


def keep(path: Path, cell: TrainingCell, result: Mapping[str, Any]) -> None:
    """Store the result of a training whose process has ended; of one that was stopped, the state.

    The state of a process that was killed is whole, and the next run goes on from it.
    """
    if result["status"] == Status.INTERRUPTED:
        return
    replace(result_file(path, cell), json.dumps(result).encode())
    if not result["killed"]:
        checkpoint(path, cell).unlink(missing_ok=True)


def write_tables(
    path: Path,
    cells: Iterable[TrainingCell],
    results: Mapping[str, Mapping[str, Any] | None],
) -> list[dict[str, Any]]:
    """Write the tables of a run anew, and return the rows of its trainings.

    cells: all trainings, in the order of the rows. results: as for `training_tables.tables`.
    """
    tables = training_tables.tables(cells, results)
    for name, (columns, rows) in tables.items():
        replace(path / name, _csv(columns, rows).encode())
    return tables[TABLES[0]].rows


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
