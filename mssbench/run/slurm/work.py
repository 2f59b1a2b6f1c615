"""What the driver must know of the work of a run: `Work`, and `Measuring`, for suites of cells."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any, Protocol

from mssbench.engines.events import Event
from mssbench.errors import RunError
from mssbench.records.cell import Cell
from mssbench.records.measurement import Row, Status, uniform, worst_status
from mssbench.records.summary import Summary
from mssbench.results import merge
from mssbench.results.facts_file import read_facts
from mssbench.results.folder import RunFolder
from mssbench.results.rows import JOURNAL, TABLE, peek
from mssbench.run import exchange
from mssbench.run.finish import finish
from mssbench.run.resume import by_cell, plan, refuse_other_suite
from mssbench.run.slurm.journals import Journals, Shard
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.suite import suite as suites
from mssbench.suite.forecast import START_SECONDS, estimate
from mssbench.suite.suite import Suite

# Seconds of estimated work of a shard: long compared with the start of a task, and short enough
# that little is lost with a node, and that a free node finds another shard.
_SHARD_SECONDS = 600.0
MOST_SHARDS = 1000  # Slurm's own limit of an array, unless the cluster has another one
# An estimate may be wrong by this factor before the limit of time of a task ends it.
_SAFETY = 3.0
# Minutes of a task beside its measurements: to load the libraries, and to wait for a device.
_SPARE_MINUTES = 10


class Work(Protocol):
    """The work of a run, which is dealt to shards. Their numbers begin at 1."""

    shards: int

    def asked(self) -> dict[str, Any]:
        """Return what a task needs to know. The same work gives the same data."""

    def suite_text(self) -> str:
        """Return the text of the suite, as the tasks read it."""

    def refuse_to_replace(self, *, fresh: bool) -> None:
        """Raise RunError if the joined result must not replace what is in its folder.

        fresh: whether it may replace other results of the same kind.
        """

    def missing(self, number: int, retry: Sequence[str] = ()) -> int:
        """Return how many cells of a shard have no result. retry: statuses that count as none."""

    def minutes(self, numbers: Iterable[int]) -> int:
        """Return a limit of time in which a task can do any of these shards."""

    def follow(self, retry: Sequence[str]) -> None:
        """Begin to follow the shards, from what they have now."""

    def news(self) -> None:
        """Tell what the tasks have done since the last call."""

    def join(self, reasons: Mapping[int, str]) -> bool:
        """Join the shards. Whether any of them has results. reasons: why cells have none."""


class Measuring:
    """The work of measuring the cells of a suite.

    out: the folder of the joined run. folder: that of the shards. count: number of shards; None for
    as many as there are portions of about ten minutes. rest: other data for the tasks, such as the
    user's files. watch: called with an event for each cell that is measured.
    """

    def __init__(
        self,
        suite: Suite,
        out: Path,
        folder: ShardsFolder,
        *,
        count: int | None,
        rest: Mapping[str, Any],
        watch: Callable[[Event], None],
    ) -> None:
        self.suite, self.out, self._folder = suite, out, folder
        self.shards = count if count is not None else _portions(suite)
        self._rest, self._watch = rest, watch
        self._journals = Journals([], 1)

    @property
    def name(self) -> str:
        """What lines of progress call the run: the name of its folder."""
        return self.out.name

    @cached_property
    def _parts(self) -> list[Suite]:
        return self.suite.in_shards(self.shards)

    def _run(self, number: int) -> Path:
        """Return the folder of a shard."""
        return self._folder.shard(number, self.shards)

    def asked(self) -> dict[str, Any]:
        """Return what a task needs to know."""
        return {
            "kind": "run",
            "shards": self.shards,
            "digest": self.suite.digest,
            "only": self.suite.narrowed,
            **self._rest,
        }

    def suite_text(self) -> str:
        """Return the text of the suite, with the changes of the command line."""
        return suites.dump(self.suite.document)

    def refuse_to_replace(self, *, fresh: bool) -> None:
        """Raise RunError if the folder of the run has other rows than those of these shards.

        fresh: whether it may have rows of other runs, which are replaced.
        """
        with RunFolder(self.out, fresh=fresh) as folder:
            refuse_other_suite(folder, self.suite)
            shards = [self._run(number) for number in range(1, self.shards + 1)]
            known = {run_id for shard in shards for run_id in read_facts(shard)["runs"]}
            if others := sorted(folder.facts()["runs"].keys() - known):
                raise RunError(
                    f"{self.out} has rows of the run {others[0]}, which none of the shards in "
                    f"{self._folder.path} has. Choose another --out, or --fresh to measure all of "
                    f"it again. `mssbench merge {self._folder.path}/*-of-{self.shards} --out "
                    "FOLDER` joins what the shards have."
                )

    def todo(self, number: int, retry: Sequence[str] = ()) -> list[Cell]:
        """Return the cells of a shard without a result. retry: statuses that count as none."""
        return plan(self._parts[number - 1], self._run(number), retry)

    def missing(self, number: int, retry: Sequence[str] = ()) -> int:
        """Return how many cells of a shard have no result."""
        return len(self.todo(number, retry))

    def minutes(self, numbers: Iterable[int]) -> int:
        """Return a limit of time in which a task can measure any of these shards."""
        limit: float | None = self._rest["minutes"]
        if limit is None:
            seconds = max(_seconds(self._parts[number - 1].cells, self.suite) for number in numbers)
            limit = (_SAFETY * seconds + self.suite.measure["timeout_seconds"]) / 60
        return ceil(limit) + _SPARE_MINUTES

    def follow(self, retry: Sequence[str]) -> None:
        """Begin to follow the journals of the shards."""
        numbers = range(1, self.shards + 1)
        shards = [Shard(self._run(number), self.todo(number, retry)) for number in numbers]
        self._journals = Journals(shards, self.suite.policy.passes)

    def news(self) -> None:
        """Tell the watcher of each cell that was measured since the last call."""
        for event in self._journals.news():
            self._watch(event)

    def join(self, reasons: Mapping[int, str]) -> bool:
        """Join the shards into the folder of the run, in place of what is there.

        Returns whether any shard has rows. Cells without a result get rows with the status
        `interrupted`. reasons: why, by shard.
        """
        runs = [self._run(number) for number in range(1, self.shards + 1)]
        present = [run for run in runs if _has_rows(run)]
        exchange.repair(self.out)
        if not present:
            return False
        new = self._folder.path / "joined"
        exchange.delete_run(new)
        merge.merge(present, new, mixed=True, complete=lambda rows, s: finish(rows, s, ()).rows)
        _add_interrupted(new, self._parts, reasons)
        exchange.put_in_place(new, self.out)
        return True

    def summary(self) -> Summary:
        """Return a summary of the joined run, without times. Every cell counts as of this run."""
        rows = by_cell(peek(self.out))
        found = Summary(self.out, len(self.suite.cells))
        statuses = [worst_status(rows[c.cell_id]) for c in self.suite.cells if c.cell_id in rows]
        found.statuses.update(statuses)
        unmeasured = found.cells - len(statuses)
        found.left = found.statuses[Status.INTERRUPTED] + unmeasured
        return found


def _portions(suite: Suite) -> int:
    """Return the number of shards with about ten minutes of estimated work each."""
    wanted = ceil(_seconds(suite.cells, suite) / _SHARD_SECONDS)
    return max(1, min(wanted, len(suite.cells), MOST_SHARDS))


def _seconds(cells: Sequence[Cell], suite: Suite) -> float:
    """Estimate the seconds that cells take where they can be measured."""
    return START_SECONDS + sum(estimate(cell, suite.policy).seconds for cell in cells)


def _has_rows(run: Path) -> bool:
    return any((run / name).exists() for name in (TABLE, JOURNAL))


def _add_interrupted(run: Path, parts: Sequence[Suite], reasons: Mapping[int, str]) -> None:
    """Add rows for the cells that have none, and put all rows in the order of the suite."""
    with RunFolder(run) as folder:
        rows = by_cell(folder.rows())
        lacking = [
            (number, cell)
            for number, part in enumerate(parts, start=1)
            for cell in part.cells
            if cell.cell_id not in rows
        ]
        if not lacking:
            return
        for number, cell in lacking:
            reason = reasons.get(number) or "the task of this cell ended before it"
            rows[cell.cell_id] = [m.row() for m in uniform(cell, Status.INTERRUPTED, reason)]
        order = [cell.cell_id for cell in parts[0].of_all_shards]
        ordered: list[Row] = [row for cell_id in order for row in rows.pop(cell_id)]
        folder.finish([*ordered, *(row for others in rows.values() for row in others)])
