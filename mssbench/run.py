"""Suite + engine -> results/<run>/. Resumes what is missing; whatever happens, rows remain."""

import dataclasses
import os
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssbench import environment, limits, methods, passes, provenance
from mssbench import suite as suites
from mssbench.engines import local
from mssbench.engines.local import Ceilings, Finished, Ready
from mssbench.engines.process import Setup
from mssbench.errors import NotInstalled, RunError, Unavailable
from mssbench.folder import RunFolder
from mssbench.records import ABSENT, MEASURED, Cell, Status, clocks, phases, uniform
from mssbench.rows import Row, peek, read_facts, typed
from mssbench.signals import Takedown
from mssbench.suite import Suite


@dataclass
class Summary:
    """What a run came to."""

    path: Path
    cells: int
    kept: int = 0  # cells that an earlier run had measured
    standing: Counter[str] = field(default_factory=Counter)  # statuses of those
    statuses: Counter[str] = field(default_factory=Counter)  # of the cells of this run
    spent: Counter[str] = field(default_factory=Counter)  # seconds, by what in MEASURING
    seconds: float = 0.0
    drift: float | None = None  # of the machine's ceilings, largest change since the first
    noise: Counter[str] = field(default_factory=Counter)  # classes of the rows
    interrupted: bool = False
    over: bool = False  # its time, before all was measured

    @property
    def own(self) -> float:
        """Seconds that went into nothing that a measurement is made of."""
        return max(0.0, self.seconds - self.spent.total())  # several GPUs spend at once

    @property
    def exit_code(self) -> int:
        """0 fine, 4 a cell broke that should have run, 6 nothing measured, 130 interrupted.

        Of all cells: a failure stays one when a later run keeps its row.
        """
        if self.interrupted:
            return 130
        found = self.statuses + self.standing
        if not any(found[s] for s in MEASURED):
            return 6
        return 4 if any(found[s] for s in BROKEN) else 0


MEASURING = ("problem", "reference", "warmup", "samples")  # what a cell's wall time is for
_ENOUGH = 10**9  # passes: of a cell that has nothing to be measured
BROKEN = (Status.CRASHED, Status.TIMEOUT, Status.OOM)
Watch = Callable[[local.Event], None]


def plan(suite: Suite, path: Path, retry: Sequence[str] = ()) -> list[Cell]:
    """The cells of the suite that `path` has no valid rows for. Reads only."""
    done = _done(_by_cell(peek(path)), suite, retry, _as_now(read_facts(path)))
    return [c for c in suite.cells if c.cell_id not in done]


def run(
    suite: Suite,
    path: Path,
    *,
    fresh: bool = False,
    retry: Sequence[str] = (),
    also: Sequence[Path] = (),
    python: str | None = None,
    seconds: float | None = None,
    watch: Watch = lambda _: None,
    begin: Callable[[Sequence[Cell]], None] = lambda _: None,
) -> Summary:
    """Measure what is missing of a suite into the folder `path`.

    retry: statuses whose rows are measured again. begin(todo) and watch(event) report. seconds:
    after which it ends like an interrupted one, with what the suite names first measured by then.
    Ctrl-C and SIGTERM end the run early: what was measured is saved and the rest is `interrupted`.
    Raises RunError if the folder is taken, holds something else or another suite, or was measured
    on another machine; or if no worker starts.
    """
    summary, start = Summary(path, len(suite.cells)), time.monotonic()

    def over() -> bool:
        return seconds is not None and time.monotonic() - start > seconds

    with RunFolder(path, fresh=fresh) as folder, Takedown() as takedown:
        _refuse_other_suite(folder, suite)
        rows = _by_cell(folder.rows())
        as_now = _as_now(folder.facts())
        done = _done(rows, suite, retry, as_now)
        todo = [c for c in suite.cells if c.cell_id not in done]
        have = {c.cell_id: _passes(c, rows, retry, as_now) for c in todo}
        summary.kept = len(suite.cells) - len(todo)
        summary.standing.update(worst_status(rows[cell_id]) for cell_id in done)
        begin(todo)
        record = _Recorder(folder, suite, rows, have)
        setup = _setup(suite, also, python)
        try:
            queue = list(_queue(todo, have, suite.policy.passes, record.run_id))
            running = local.run(
                queue, setup, lambda: takedown.asked() or over(), skip=record.is_over
            )
            with closing(running) as events:
                for event in events:
                    record(event, summary)
                    watch(event)
            summary.interrupted = takedown.asked()
            summary.over = over() and not summary.interrupted
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            summary.seconds = time.monotonic() - start
            record.close(todo, summary)
    return summary


def _setup(suite: Suite, also: Sequence[Path], python: str | None) -> Setup:
    settings = {
        "policy": dataclasses.asdict(suite.policy.part()),
        "max_error": suite.measure["max_error"],
    }
    setup = Setup(settings, tuple(str(p.resolve()) for p in also), suite.measure["timeout_seconds"])
    return setup if python is None else dataclasses.replace(setup, python=python)


def _queue(todo: Sequence[Cell], have: Mapping[str, int], count: int, seed: str) -> Iterator[Cell]:
    """What is to be measured, pass after pass."""
    for number in range(1, count + 1):
        yield from (c for c in passes.shuffled(todo, seed, number) if have[c.cell_id] < number)


class _Recorder:
    """Turns events into rows on disk.

    have: the passes that the cells to be measured have behind them, 0 for most.
    """

    def __init__(
        self, folder: RunFolder, suite: Suite, rows: dict[str, list[Row]], have: dict[str, int]
    ) -> None:
        self._folder, self._suite, self._rows, self._have = folder, suite, rows, have
        self._samples: dict[str, passes.Samples] = {}
        if any(have.values()):
            self._recall()
        self._ceilings: list[dict[str, float]] = []  # in the order of time
        self.run_id = uuid.uuid4().hex[:12]
        self._facts = folder.facts()
        self._environment: dict[str, str] = {}  # of the latest worker, by device; empty: none yet
        self._load = os.getloadavg()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def _recall(self) -> None:
        """The rows and samples of earlier passes, as numbers, to be pooled with those to come."""
        found = self._folder.samples()
        for cell_id, number in self._have.items():
            if number:
                rows = self._rows[cell_id] = [typed(row) for row in self._rows[cell_id]]
                self._samples[cell_id] = [
                    found.get((cell_id, r["phase"], r["clock"], r["cache"]), []) for r in rows
                ]

    def is_over(self, cell: Cell) -> bool:
        """Whether an earlier pass has shown that another is of no use."""
        rows = self._rows.get(cell.cell_id, [])
        return cell.cell_id in self._samples and not any(r["status"] in MEASURED for r in rows)

    def __call__(self, event: local.Event, summary: Summary) -> None:
        if isinstance(event, Ready):
            self._meet(event)
        elif isinstance(event, Ceilings) and event.found:
            self._ceilings.append(event.found)
        elif isinstance(event, Finished):
            self._keep(event, summary)

    def _meet(self, ready: Ready) -> None:
        """Refuse to add the times of one machine to those of another."""
        before = {
            row["environment"]
            for cell_id, rows in self._rows.items()
            for row in rows
            if self._have.get(cell_id, 1)
            and row["status"] in MEASURED
            and row["device"] == ready.device
        } - {""}
        if before and ready.environment not in before:
            known = self._facts["environments"].get(min(before))
            raise RunError(
                f"{self._folder.path} was measured in another environment "
                f"({environment.difference(known, ready.facts)}): its times would not compare. "
                "Choose another --out, or --fresh to measure all of it again."
            )
        self._environment[ready.device] = ready.environment
        if ready.environment not in self._facts["environments"]:
            first = not self._facts["environments"]
            self._facts["environments"][ready.environment] = ready.facts
            self._folder.write_facts(self._facts)
            if first:
                self._folder.write_suite(suites.dump(self._suite.document))

    def _keep(self, event: Finished, summary: Summary) -> None:
        cell = event.cell
        rows, samples = event.rows, event.samples
        if event.status is not None:
            rows = [
                m.row(code_hash=_code_hash(cell)) for m in uniform(cell, event.status, event.reason)
            ]
            samples = [[] for _ in rows]
        found = self._environment.get(cell.device) or next(iter(self._environment.values()), "")
        identity = {"environment": found, "run_id": self.run_id}
        rows = [row | identity for row in rows]
        if before := self._samples.get(cell.cell_id):
            rows, samples = passes.pooled(self._rows[cell.cell_id], before, rows, samples)
        self._folder.append(rows, samples)
        self._rows[cell.cell_id], self._samples[cell.cell_id] = rows, samples
        summary.spent.update({k: event.spent.get(k, 0.0) for k in MEASURING})

    def close(self, todo: Sequence[Cell], summary: Summary) -> None:
        """Every requested cell gets rows; the table is put in order.

        A run that failed before it had a worker leaves the folder as it was, and so does one that
        was stopped before it replaced anything.
        """
        if todo and not self._environment:
            if not (summary.interrupted or summary.over) or self._folder.spares_old:
                return
            self._folder.write_suite(suites.dump(self._suite.document))
        due = self._suite.policy.passes
        as_now = _as_now(self._facts) | {self.run_id}
        summary.over &= any(_passes(c, self._rows, (), as_now) < due for c in todo)
        missing = [c for c in todo if not _complete(c, self._rows.get(c.cell_id, []))]
        measured = [self._rows[c.cell_id] for c in todo if c.cell_id in self._samples]
        summary.statuses.update(map(worst_status, measured))
        summary.drift = limits.drift(self._ceilings)
        if missing and not summary.interrupted:
            summary.statuses[Status.INTERRUPTED] += len(missing)
        for cell in missing:
            reason = (
                f"the {'time was over' if summary.over else 'run was stopped'} before this cell"
            )
            self._rows[cell.cell_id] = [m.row() for m in uniform(cell, Status.INTERRUPTED, reason)]
        if summary.statuses.total():
            self._facts["runs"][self.run_id] = {
                "started": self._started,
                "suite": self._suite.name,
                "document": dict(self._suite.document),
                "only": self._suite.narrowed,
                "cells": sum(summary.statuses.values()),
                "seconds": round(summary.seconds, 3),
                "spent_seconds": {k: round(v, 3) for k, v in summary.spent.items()}
                | {"own": round(summary.own, 3)},
                "ceilings": self._ceilings,
                "drift": summary.drift,
                "installed": environment.installed(),
                "load_start": self._load,
                "load_end": os.getloadavg(),
            }
            self._folder.write_facts(self._facts)
        self._folder.write_suite(suites.dump(self._suite.document))  # its claims may be new
        order = {c.cell_id: i for i, c in enumerate(self._suite.cells)}
        last = len(order)
        cells = sorted(self._rows, key=lambda cell_id: order.get(cell_id, last))
        rows = [row for cell_id in cells for row in self._rows[cell_id]]
        known = {
            passes.place(row): samples
            for cell_id, each in self._samples.items()
            for row, samples in zip(self._rows[cell_id], each, strict=True)
        }
        numbers = [typed(row) for row in rows]
        steadied = passes.steadied(numbers, known)
        summary.noise.update(
            (row | new)["noise"]
            for row, new in zip(numbers, steadied, strict=True)
            if row["noise"] and passes.place(row) in known
        )
        fractions = limits.problem_fractions(numbers)
        self._folder.finish(
            row | new | {"problem_fraction": x}
            for row, new, x in zip(rows, steadied, fractions, strict=True)
        )


def worst_status(rows: Sequence[Row]) -> str:
    """One word for a cell with several rows: the first that is not ok."""
    return next((r["status"] for r in rows if r["status"] != Status.OK), str(Status.OK))


def _by_cell(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows by cell_id."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["cell_id"], []).append(row)
    return found


def _done(
    rows: dict[str, list[Row]], suite: Suite, retry: Sequence[str], as_now: Set[str]
) -> set[str]:
    """Cells whose rows are whole, made by today's code, and not asked for again."""
    due = suite.policy.passes
    return {c.cell_id for c in suite.cells if _passes(c, rows, retry, as_now) >= due}


def _as_now(facts: Mapping[str, Any]) -> set[str]:
    """The runs in which the same was installed as is now. A run that was killed does not say."""
    now = environment.installed()
    return {run_id for run_id, run in facts["runs"].items() if run.get("installed") == now}


def _passes(
    cell: Cell, rows: Mapping[str, Sequence[Row]], retry: Sequence[str], as_now: Set[str]
) -> int:
    """How many passes of a cell stand. What could not be measured once needs no second try."""
    found = rows.get(cell.cell_id, [])
    whole = _complete(cell, found) and all(r["code_hash"] == _code_hash(cell) for r in found)
    if not whole or any(r["status"] in retry for r in found):
        return 0
    if _now_possible(cell, found, as_now):
        return 0
    counts = [int(r["passes"] or 1) for r in found if r["status"] in MEASURED]
    return min(counts, default=_ENOUGH)


def _complete(cell: Cell, rows: Sequence[Row]) -> bool:
    due = {(phase, *each) for phase in phases(cell) for each in clocks(cell)}
    have = {(r["phase"], r["clock"], r["cache"]) for r in rows if r["status"] != Status.INTERRUPTED}
    return due <= have


def _now_possible(cell: Cell, rows: Sequence[Row], as_now: Set[str]) -> bool:
    """Whether what was missing on this machine may have been installed since.

    Not where nothing was. What a call itself found to be missing, as a compiler or the data of a
    problem, cannot be looked up here, and would be tried again in every run.
    """
    absent = [r for r in rows if r["status"] in ABSENT - {Status.UNSUPPORTED}]
    if all(r["run_id"] in as_now for r in absent):
        return False
    try:
        methods.lookup("forward", cell.forward)
        if cell.backward != "none":
            methods.lookup("backward", cell.backward)
        environment.check_library(cell.library, cell.device)
    except (NotInstalled, Unavailable):
        return False
    return True


def _code_hash(cell: Cell) -> str:
    try:
        forward = methods.lookup("forward", cell.forward)
        if cell.backward == "none":
            return provenance.code_hash(forward)
        return provenance.code_hash(forward, methods.lookup("backward", cell.backward))
    except NotInstalled:
        return ""


def _refuse_other_suite(folder: RunFolder, suite: Suite) -> None:
    before = folder.suite()
    if before is None:
        return
    if before.get("name") != suite.name:
        raise RunError(
            f"{folder.path} holds a run of suite {before.get('name')!r}, not {suite.name!r}. "
            "Choose another --out, or --fresh to replace it."
        )
    then = suites.MEASURE | before.get("measure", {})
    now = suites.MEASURE | suite.document.get("measure", {})
    # how long to wait for a cell is no part of how its times are taken
    compared = {*then, *now} - {"timeout_seconds"}
    if changed := sorted(k for k in compared if then.get(k) != now.get(k)):
        raise RunError(
            f"{folder.path} was measured with another [measure] ({', '.join(changed)}). "
            "Choose another --out, or --fresh to measure all of it again."
        )
