"""`Recorder`, which writes the results of an engine's events to the folder of a run."""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mssbench.engines.events import CeilingsMeasured, Event, Finished, Ready
from mssbench.errors import RunError
from mssbench.machine.facts import installed
from mssbench.records.cell import Cell
from mssbench.records.facts import canonical, difference, identify
from mssbench.records.measurement import MEASURED, Row, Status, uniform, worst_status
from mssbench.records.summary import MEASURING, Summary
from mssbench.results.facts_file import LEFT_OVER
from mssbench.results.folder import RunFolder
from mssbench.results.parts import PART
from mssbench.results.rows import typed
from mssbench.run import passes
from mssbench.run.finish import finish
from mssbench.run.resume import complete, known_code_hash, passes_behind, runs_as_now
from mssbench.suite import suite as suites
from mssbench.suite.suite import Suite


class Recorder:
    """Writes the rows of finished cells, the facts of the machine, and at the end the final table.

    folder: the open folder of the run. suite: the suite that is measured. rows: the rows that the
    folder had at the start, by cell_id. have: how often each cell that is to be measured has been
    measured already (its valid passes), by cell_id; 0 for most.
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
        self._facts.pop(PART, None)
        if (part := suite.part()) is not None:
            self._facts[PART] = part.as_data()
        self._environment: dict[str, str] = {}  # of the latest worker, by device; empty at first
        self._has_replaced = False  # whether a row of this run is in the folder
        self._load = os.getloadavg()
        self._started = datetime.now(UTC).isoformat(timespec="seconds")

    def _recall(self) -> None:
        """Read the rows and samples of earlier passes, to pool them with new ones."""
        stored = self._folder.samples()
        for cell_id, number in self._have.items():
            if number:
                rows = self._rows[cell_id] = [typed(row) for row in self._rows[cell_id]]
                self._samples[cell_id] = [
                    stored.get((cell_id, r["phase"], r["clock"], r["cache"]), []) for r in rows
                ]

    def is_over(self, cell: Cell) -> bool:
        """Whether the cell failed in an earlier pass, so that another pass is useless."""
        rows = self._rows.get(cell.cell_id, [])
        return cell.cell_id in self._samples and not any(r["status"] in MEASURED for r in rows)

    def __call__(self, event: Event, summary: Summary) -> None:
        """Record one event of the workers. The rows of a finished cell are on disk on return."""
        if isinstance(event, Ready):
            self._meet(event)
        elif isinstance(event, CeilingsMeasured) and event.found:
            self._ceilings.append(event.found)
        elif isinstance(event, Finished):
            self._keep(event, summary)

    def _meet(self, ready: Ready) -> None:
        """Record the facts of a new worker's machine.

        A machine that the table knows keeps the hash it has there. Raises RunError if earlier rows
        of this device were measured on another machine, or with other versions, or if the GPUs of
        this run differ.
        """
        before = self._measured_in(ready.device)
        environments = self._facts["environments"]
        names = {canonical(e, environments.get(e)): e for e in sorted(before)}
        known_name = names.get(canonical(ready.environment, ready.facts))

        if before and known_name is None:
            raise self._other_environment(environments.get(min(before)), ready.facts)

        name = known_name or ready.environment
        other = self._environment.setdefault(ready.device, name)
        if other != name:
            raise RunError(
                "the workers of this run have different environments "
                f"({difference(environments[other], ready.facts)}): their times would not compare. "
                "What was measured is saved. Choose equal GPUs by --devices, and another --out."
            )
        if name not in environments:
            first = not environments
            environments[name] = ready.facts
            self._folder.write_facts(self._facts)
            if first:
                self._write_suite()

    def refuse_other_environment(
        self, device: str, now: Mapping[str, Any], confirm: Callable[[], Mapping[str, Any] | None]
    ) -> None:
        """Raise RunError, before a worker starts, if its machine will be refused in any case.

        device: of the worker. now: those of its facts that are known already. confirm: returns
        them as a worker sees them, or None; it takes longer, and is called only before a refusal.
        """
        known = [self._facts["environments"].get(e) for e in sorted(self._measured_in(device))]
        if not known or not all(facts and _differs(facts, now) for facts in known):
            return
        seen = confirm()
        if seen and all(facts and _differs(facts, seen) for facts in known):
            raise self._other_environment(known[0], {**(known[0] or {}), **seen})

    def _measured_in(self, device: str) -> set[str]:
        """Return the environments of the rows of a device that will not be measured again."""
        return {
            row["environment"]
            for cell_id, rows in self._rows.items()
            for row in rows
            if self._have.get(cell_id, 1) and row["status"] in MEASURED and row["device"] == device
        } - {""}

    def _other_environment(
        self, before: Mapping[str, Any] | None, now: Mapping[str, Any]
    ) -> RunError:
        return RunError(
            f"{self._folder.path} was measured in another environment "
            f"({difference(before, now)}): its times would not compare. "
            "Choose another --out, or --fresh to measure all of it again."
        )

    def _keep(self, event: Finished, summary: Summary) -> None:
        """Write the rows of a finished cell, pooled with those of earlier passes."""
        cell = event.cell
        rows, samples = event.rows, event.samples
        if event.status is not None:
            rows = [
                m.row(code_hash=known_code_hash(cell))
                for m in uniform(cell, event.status, event.reason)
            ]
            samples = [[] for _ in rows]

        environment = self._environment.get(cell.device)
        environment = environment or next(iter(self._environment.values()), "")
        identity = {"environment": environment, "run_id": self.run_id}
        rows = [row | identity for row in rows]
        if before := self._samples.get(cell.cell_id):
            rows, samples = passes.pooled(self._rows[cell.cell_id], before, rows, samples)

        if not self._has_replaced:
            self._announce()
        self._folder.append(rows, samples)
        self._rows[cell.cell_id], self._samples[cell.cell_id] = rows, samples
        if event.log:
            why = self._folder.add_to_log(f"{cell}\n{event.log}\n")
            summary.unlogged = summary.unlogged or why
        summary.spent.update({k: event.spent.get(k, 0.0) for k in MEASURING})

    def _announce(self) -> None:
        """Write the suite of this run, and which rows of the folder it does not have.

        This is done before the first row is written: if the run is then killed, its rows are not
        taken for those of the suite that was measured before.
        """
        self._has_replaced = True
        self._facts[LEFT_OVER] = self._left_over()
        self._folder.write_facts(self._facts)
        self._write_suite()

    def _left_over(self) -> list[str]:
        """Return the ids of the cells that have rows in the folder, but are not in the suite."""
        return sorted(self._rows.keys() - self._suite.all_cell_ids)

    def close(self, todo: Sequence[Cell], summary: Summary) -> None:
        """Write the final files: rows of every cell of the suite, in its order, and the facts.

        todo: the cells that the run had to measure. summary: receives counts, drift and noise. A
        run that failed before it had a worker leaves the folder unchanged, and so does one that was
        stopped before it replaced anything.
        """
        if todo and not self._environment:
            if not (summary.interrupted or summary.over) or self._folder.spares_old:
                return
            if PART in self._facts:  # else the folder would seem to hold a run of all cells
                self._folder.write_facts(self._facts)
            self._write_suite()

        self._count(todo, summary)
        self._mark_interrupted(todo, summary)
        current, others = self._rows_in_order()
        settled = finish(current, self._samples_by_place(), self._ceilings)
        summary.drift = settled.drift
        summary.noise.update(settled.noise)

        left_over = self._left_over()
        summary.left_over = len(left_over)
        if summary.statuses.total() or left_over != self._facts.get(LEFT_OVER, []):
            self._facts[LEFT_OVER] = left_over
            self._write_run(summary)
        self._write_suite()  # also if nothing was measured: its claims may have changed
        self._folder.finish([*settled.rows, *others])

    def _count(self, todo: Sequence[Cell], summary: Summary) -> None:
        """Count, in the summary, measured cells by status, and cells without all their passes."""
        due = self._suite.policy.passes
        as_now = runs_as_now(self._facts) | {self.run_id}
        behind = [passes_behind(cell, self._rows, (), as_now) for cell in todo]
        summary.left = sum(passes == 0 for passes in behind)
        summary.thin = sum(0 < passes < due for passes in behind)
        summary.over &= any(passes < due for passes in behind)

        measured = [self._rows[c.cell_id] for c in todo if c.cell_id in self._samples]
        summary.statuses.update(map(worst_status, measured))

    def _mark_interrupted(self, todo: Sequence[Cell], summary: Summary) -> None:
        """Add rows with the status `interrupted` for the cells that were not reached."""
        missing = [cell for cell in todo if not complete(cell, self._rows.get(cell.cell_id, []))]
        if missing and not summary.interrupted:
            summary.statuses[Status.INTERRUPTED] += len(missing)

        reason = f"the {'time was over' if summary.over else 'run was stopped'} before this cell"
        for cell in missing:
            self._rows[cell.cell_id] = [m.row() for m in uniform(cell, Status.INTERRUPTED, reason)]

    def _rows_in_order(self) -> tuple[list[Row], list[Row]]:
        """Return the rows of the suite's cells, in its order, and those of all other cells.

        The others may be of another code or another day, so that nothing is concluded from them.
        """
        order = {cell.cell_id: i for i, cell in enumerate(self._suite.cells)}
        ids = sorted(self._rows, key=lambda cell_id: order.get(cell_id, len(order)))
        of_suite = self._suite.all_cell_ids

        current: list[Row] = []
        others: list[Row] = []
        for cell_id in ids:
            rows = current if cell_id in of_suite else others
            rows += self._rows[cell_id]
        return current, others

    def _samples_by_place(self) -> dict[passes.RowKey, Sequence[float]]:
        """Return the raw seconds of each row that this run has measured, with earlier passes."""
        return {
            passes.place(row): samples
            for cell_id, of_cell in self._samples.items()
            for row, samples in zip(self._rows[cell_id], of_cell, strict=True)
        }

    def _write_run(self, summary: Summary) -> None:
        """Write environment.json; with the facts of this run, if it measured anything."""
        if not summary.statuses.total():
            self._folder.write_facts(self._facts)
            return

        spent = {name: round(seconds, 3) for name, seconds in summary.spent.items()}
        self._facts["runs"][self.run_id] = {
            "started": self._started,
            "suite": self._suite.name,
            "document": dict(self._suite.document),
            "only": self._suite.narrowed,
            "shard": str(self._suite.shard or ""),
            "cells": sum(summary.statuses.values()),
            "seconds": round(summary.seconds, 3),
            "spent_seconds": spent | {"own": round(summary.own, 3)},
            "ceilings": self._ceilings,
            "drift": summary.drift,
            "installed": installed(),
            "load_start": self._load,
            "load_end": os.getloadavg(),
        }

        self._folder.write_facts(self._facts)

    def _write_suite(self) -> None:
        self._folder.write_suite(suites.dump(self._suite.document))


def _differs(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether facts that are known now already show that an environment is another one."""
    return identify({**before, **now}) != identify(before)
