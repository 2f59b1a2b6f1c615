"""Find the cells that an earlier run in the same folder has left to measure.

A cell is one combination of methods, problem, size and so on; a pass measures every cell of a suite
once. A pass of a cell is valid if its rows can still be used: they are complete, and the code of
the method is the same.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from operator import attrgetter
from pathlib import Path
from typing import Any

from mssbench import problems
from mssbench.errors import NotInstalled, RegistryError, RunError
from mssbench.machine import facts as machine_facts
from mssbench.machine.possible import absent
from mssbench.measure import code_hash
from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.measurement import ABSENT, MEASURED, Row, Status
from mssbench.results import parts
from mssbench.results.facts_file import read_facts
from mssbench.results.folder import RunFolder
from mssbench.results.rows import SUITE, peek
from mssbench.suite import suite as suites
from mssbench.suite.suite import Suite

_ENOUGH = 10**9  # number of passes of a cell that cannot be measured, so that no pass is missing
# Statuses of cells that lacked something on the machine, which may have been installed since.
_MISSING = ABSENT - {Status.UNSUPPORTED}
_of_code = attrgetter("forward", "backward", "problem")  # the fields that code_hash depends on
# The columns of measured rows that `passes_behind` depends on.
_JUDGED_BY = ("phase", "clock", "cache", "status", "code_hash", "passes")


def plan(suite: Suite, path: Path, retry: Sequence[str] = ()) -> list[Cell]:
    """Return the cells of the suite that would be measured into the folder `path`. Writes nothing.

    They are the cells without enough valid passes there. retry: statuses; cells that ended with one
    of them are measured again.
    """
    done = done_cells(by_cell(peek(path)), suite, retry, runs_as_now(read_facts(path)))
    return [c for c in suite.cells if c.cell_id not in done]


def by_cell(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows grouped by cell_id."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["cell_id"], []).append(row)
    return groups


def done_cells(
    rows: dict[str, list[Row]], suite: Suite, retry: Sequence[str], as_now: Set[str]
) -> set[str]:
    """Return the cell_ids of the cells that need no further measurement.

    rows: the rows of the folder, by cell_id. retry: statuses; cells that ended with one of them are
    measured again. as_now: the runs that had the packages of now, see `runs_as_now`.
    """
    due = suite.policy.passes
    # A suite has many cells of few methods and problems, so the hash of each is computed once. Most
    # of these cells also have equal rows, except for their times, and are judged once as well.
    hashes: dict[tuple[str, str, str], str] = {}
    judged: dict[tuple[Any, ...], int] = {}

    def remembered(cell: Cell) -> str:
        key = _of_code(cell)
        if key not in hashes:
            hashes[key] = known_code_hash(cell)
        return hashes[key]

    def behind(cell: Cell) -> int:
        cell_rows = rows.get(cell.cell_id, [])
        # Rows of an older table may lack some of the columns.
        values = (tuple(map(row.get, _JUDGED_BY)) for row in cell_rows)
        key = (*_of_code(cell), cell.device, *values)
        if key in judged:
            return judged[key]

        number = passes_behind(cell, rows, retry, as_now, hash_of=remembered)
        # What a cell lacked depends on more than the key, for example on its size.
        if all(row["status"] in MEASURED for row in cell_rows):
            judged[key] = number
        return number

    return {c.cell_id for c in suite.cells if behind(c) >= due}


def runs_as_now(facts: Mapping[str, Any]) -> set[str]:
    """Return the run_ids of the runs in which the same packages were installed as now.

    A run that was killed has not recorded its packages, and is left out.
    """
    now = machine_facts.installed()
    return {run_id for run_id, run in facts["runs"].items() if run.get("installed") == now}


def passes_behind(
    cell: Cell,
    rows: Mapping[str, Sequence[Row]],
    retry: Sequence[str],
    as_now: Set[str],
    hash_of: Callable[[Cell], str] | None = None,
) -> int:
    """Return the number of valid passes of a cell; `_ENOUGH` if it cannot be measured.

    Passes are invalid if the rows are incomplete, the code has changed, a status is in `retry`, or
    what the cell lacked may be there now. rows: of the folder, by cell_id. as_now: see
    `runs_as_now`. hash_of: returns the code hash of a cell; by default `known_code_hash`.
    """
    cell_rows = rows.get(cell.cell_id, [])
    if not complete(cell, cell_rows):
        return 0

    code = (hash_of or known_code_hash)(cell)
    if any(r["code_hash"] != code for r in cell_rows):
        return 0
    if any(r["status"] in retry for r in cell_rows):
        return 0
    if _now_possible(cell, cell_rows, as_now) or _source_is_back(cell, cell_rows):
        return 0

    counts = [int(r["passes"] or 1) for r in cell_rows if r["status"] in MEASURED]
    return min(counts, default=_ENOUGH)


def complete(cell: Cell, rows: Sequence[Row]) -> bool:
    """Whether a cell has a row, other than an interrupted one, for every phase and clock."""
    due = {(phase, *each) for phase in phases(cell) for each in clocks(cell)}
    have = {(r["phase"], r["clock"], r["cache"]) for r in rows if r["status"] != Status.INTERRUPTED}
    return due <= have


def _now_possible(cell: Cell, rows: Sequence[Row], as_now: Set[str]) -> bool:
    """Whether a package or device that a cell lacked may have been installed since.

    False if nothing was missing. False also for what only a call of the method can find missing,
    such as a compiler or the data of a problem: it cannot be looked up here, and such cells would
    be tried again in every run.
    """
    missing = [r for r in rows if r["status"] in _MISSING]
    if all(r["run_id"] in as_now for r in missing):
        return False
    missing_now = absent(cell)
    return missing_now is None or missing_now[0] is Status.UNSUPPORTED


def _source_is_back(cell: Cell, rows: Sequence[Row]) -> bool:
    """Whether the file of a cell's matrices was missing or had changed, and is right again now.

    The name of a problem from a file contains a digest of the file, by which this is known.
    """
    reasons = {r["reason"] for r in rows if r["status"] == Status.UNSUPPORTED}
    if not reasons:
        return False

    try:
        if not any(problems.lacked_its_source(cell.problem, reason) for reason in reasons):
            return False
        return problems.check_size(cell.problem, cell.size) is None
    except (NotInstalled, RegistryError):  # the problem of a plug-in or a file that is not here
        return False


def known_code_hash(cell: Cell) -> str:
    """Return the code hash of a cell; empty if its method or problem is not installed."""
    try:
        return code_hash.code_hash(cell)
    except NotInstalled:
        return ""


def refuse_other_suite(folder: RunFolder, suite: Suite) -> None:
    """Raise RunError if a folder contains another suite, or other settings of [measure]."""
    before = folder.suite()
    if before is None:
        return
    if before.get("name") != suite.name:
        raise RunError(
            f"{folder.path} holds a run of suite {before.get('name')!r}, not {suite.name!r}. "
            "Choose another --out, or --fresh to replace it."
        )

    measured = before.get("measure", {})
    if not isinstance(measured, dict):
        raise RunError(
            f"{folder.path / SUITE} is damaged: its [measure] is not a table. Repair it, or use "
            "--fresh to measure everything again."
        )

    then = suites.MEASURE | measured
    now = suites.MEASURE | suite.document.get("measure", {})
    compared = {*then, *now} - {*suites.LIMITS}
    if changed := sorted(k for k in compared if then.get(k) != now.get(k)):
        raise RunError(
            f"{folder.path} was measured with another [measure] ({', '.join(changed)}). "
            "Choose another --out, or --fresh to measure all of it again."
        )


def refuse_other_part(folder: RunFolder, suite: Suite) -> None:
    """Raise RunError if a folder contains another shard of the suite, or a run without shards."""
    if folder.suite() is not None:
        parts.refuse_other(folder.path, parts.part_of(folder.facts()), suite.part())
