"""What an earlier run has left to be measured."""

from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from mssbench import problems
from mssbench.errors import NotInstalled, RegistryError, RunError
from mssbench.machine import facts as machine_facts
from mssbench.machine.possible import absent
from mssbench.measure import code_hash
from mssbench.records.cell import Cell, clocks, phases
from mssbench.records.measurement import ABSENT, MEASURED, Row, Status
from mssbench.results.facts_file import read_facts
from mssbench.results.folder import RunFolder
from mssbench.results.rows import SUITE, peek
from mssbench.suite import suite as suites
from mssbench.suite.suite import Suite

_ENOUGH = 10**9  # passes: of a cell that has nothing to be measured
_MISSING = ABSENT - {Status.UNSUPPORTED}  # what may have been installed since


def plan(suite: Suite, path: Path, retry: Sequence[str] = ()) -> list[Cell]:
    """The cells of the suite that `path` has no valid rows for. Reads only."""
    done = done_cells(by_cell(peek(path)), suite, retry, runs_as_now(read_facts(path)))
    return [c for c in suite.cells if c.cell_id not in done]


def by_cell(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by cell_id."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["cell_id"], []).append(row)
    return found


def done_cells(
    rows: dict[str, list[Row]], suite: Suite, retry: Sequence[str], as_now: Set[str]
) -> set[str]:
    """Cells whose rows are whole, made by today's code, and not asked for again."""
    due = suite.policy.passes
    # Few methods and problems make many cells, and nothing is registered while this runs.
    hashes: dict[tuple[str, str, str], str] = {}

    def remembered(cell: Cell) -> str:
        key = cell.forward, cell.backward, cell.problem
        if key not in hashes:
            hashes[key] = known_code_hash(cell)
        return hashes[key]

    return {
        c.cell_id
        for c in suite.cells
        if passes_behind(c, rows, retry, as_now, hash_of=remembered) >= due
    }


def runs_as_now(facts: Mapping[str, Any]) -> set[str]:
    """The runs in which the same was installed as is now. A run that was killed does not say."""
    now = machine_facts.installed()
    return {run_id for run_id, run in facts["runs"].items() if run.get("installed") == now}


def passes_behind(
    cell: Cell,
    rows: Mapping[str, Sequence[Row]],
    retry: Sequence[str],
    as_now: Set[str],
    hash_of: Callable[[Cell], str] | None = None,
) -> int:
    """Return how many valid passes a cell has. One that could not be measured needs no more.

    hash_of: gives the code hash of a cell; without it, `known_code_hash`.
    """
    found = rows.get(cell.cell_id, [])
    if not complete(cell, found):
        return 0
    hashed = (hash_of or known_code_hash)(cell)
    if any(r["code_hash"] != hashed for r in found) or any(r["status"] in retry for r in found):
        return 0
    if _now_possible(cell, found, as_now) or _source_is_back(cell, found):
        return 0
    counts = [int(r["passes"] or 1) for r in found if r["status"] in MEASURED]
    return min(counts, default=_ENOUGH)


def complete(cell: Cell, rows: Sequence[Row]) -> bool:
    """Whether every phase of a cell has a row on every clock."""
    due = {(phase, *each) for phase in phases(cell) for each in clocks(cell)}
    have = {(r["phase"], r["clock"], r["cache"]) for r in rows if r["status"] != Status.INTERRUPTED}
    return due <= have


def _now_possible(cell: Cell, rows: Sequence[Row], as_now: Set[str]) -> bool:
    """Whether what was missing on this machine may have been installed since.

    False where nothing was missing. What a call itself found to be missing, such as a compiler or
    the data of a problem, cannot be looked up here, and would be tried again in every run.
    """
    missing = [r for r in rows if r["status"] in _MISSING]
    if all(r["run_id"] in as_now for r in missing):
        return False
    found = absent(cell)
    return found is None or found[0] is Status.UNSUPPORTED


def _source_is_back(cell: Cell, rows: Sequence[Row]) -> bool:
    """Whether the file of a cell's matrices was not the one that its digest names, and now is."""
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
    """Return the hash of the code behind a cell; empty where something of it is not installed."""
    try:
        return code_hash.code_hash(cell)
    except NotInstalled:
        return ""


def refuse_other_suite(folder: RunFolder, suite: Suite) -> None:
    """Raise RunError where a folder holds another suite, or was measured in another way."""
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
            f"{folder.path / SUITE} is damaged: its [measure] is not a table. Mend it, or "
            "--fresh to measure all of it again."
        )
    then = suites.MEASURE | measured
    now = suites.MEASURE | suite.document.get("measure", {})
    # how long to wait for a cell or for a run is no part of how times are taken
    compared = {*then, *now} - {"timeout_seconds", "minutes"}
    if changed := sorted(k for k in compared if then.get(k) != now.get(k)):
        raise RunError(
            f"{folder.path} was measured with another [measure] ({', '.join(changed)}). "
            "Choose another --out, or --fresh to measure all of it again."
        )
