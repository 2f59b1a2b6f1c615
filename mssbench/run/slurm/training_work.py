"""`Training`, what the driver must know of a suite whose networks are trained on a cluster."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from math import ceil
from pathlib import Path
from typing import Any

import tomli_w

from mssbench.errors import RunError
from mssbench.records import training_tables
from mssbench.records.measurement import Status
from mssbench.records.training import TrainingCell
from mssbench.results import trainings
from mssbench.run import exchange, training_merge
from mssbench.run import training_folder as folders
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.run.slurm.work import MOST_SHARDS
from mssbench.suite.training import TrainingSuite

# Statuses of trainings that a new start of `mssbench train` tries again.
TRIED_AGAIN = tuple(str(status) for status in Status if status not in (Status.OK, Status.NONFINITE))
# Minutes that a training may take, since its length is not known before: those of the shipped
# suites take less than one on a processor core.
_MINUTES_EACH = 30
Watcher = Callable[[TrainingCell, Mapping[str, Any]], None]


class Training:
    """The work of training the networks of a suite.

    out: the folder of the joined trainings. folder: that of the shards. count: number of shards;
    None for one for each task, seed and learning rate, so that methods are compared on one machine.
    at_once: how many networks a task trains at a time. rest:
    other data for the tasks. watch: called with each training that has ended.
    """

    def __init__(
        self,
        suite: TrainingSuite,
        out: Path,
        folder: ShardsFolder,
        *,
        count: int | None,
        at_once: int,
        rest: Mapping[str, Any],
        watch: Watcher,
    ) -> None:
        self.suite, self.out, self._folder = suite, out, folder
        groups = {(cell.task, cell.seed, cell.learning_rate) for cell in suite.cells}
        self.shards = count if count is not None else min(len(groups), MOST_SHARDS)
        self._at_once, self._rest, self._watch = at_once, rest, watch
        self._awaited: dict[Path, int] = {}  # files of results, and when each was written

    @cached_property
    def _parts(self) -> list[TrainingSuite]:
        return self.suite.in_shards(self.shards)

    def _run(self, number: int) -> Path:
        """Return the folder of a shard."""
        return self._folder.shard(number, self.shards)

    @property
    def name(self) -> str:
        """What lines of progress call the run: the name of its folder."""
        return self.out.name

    def asked(self) -> dict[str, Any]:
        """Return what a task needs to know."""
        return {
            "kind": "train",
            "shards": self.shards,
            "digest": self.suite.digest,
            "at_once": self._at_once,
            **self._rest,
        }

    def suite_text(self) -> str:
        """Return the text of the suite."""
        return tomli_w.dumps(dict(self.suite.document))

    def refuse_to_replace(self, *, fresh: bool) -> None:
        """Raise RunError if the folder of the run has other trainings than those of the shards."""
        if not self.out.is_dir():
            return
        folders.refuse_foreign(self.out, fresh=fresh)
        folders.refuse_other_suite(self.out, self.suite, fresh=fresh)
        if fresh:
            return
        for part, number in zip(self._parts, range(1, self.shards + 1), strict=True):
            for cell in part.cells:
                here = folders.is_trained(folders.result(self.out, cell))
                if here and not folders.is_trained(folders.result(self._run(number), cell)):
                    raise RunError(
                        f"{self.out} has trainings that none of the shards in {self._folder.path} "
                        "has. Choose another --out, or --fresh to train all of them again."
                    )

    def todo(self, number: int, retry: Sequence[str] = ()) -> list[TrainingCell]:
        """Return the trainings of a shard without a result. retry: statuses that count as none."""
        results = {c: folders.result(self._run(number), c) for c in self._parts[number - 1].cells}
        return [c for c, found in results.items() if found is None or found["status"] in retry]

    def missing(self, number: int, retry: Sequence[str] = ()) -> int:
        """Return how many trainings of a shard have no result."""
        return len(self.todo(number, retry))

    def minutes(self, numbers: Iterable[int]) -> int:
        """Return a limit of time in which a task can do any of these shards."""
        most = max(len(self._parts[number - 1].cells) for number in numbers)
        return _MINUTES_EACH * (1 + ceil(most / self._at_once))

    def follow(self, retry: Sequence[str]) -> None:
        """Begin to wait for missing results, and for new results of what is retried."""
        numbers = range(1, self.shards + 1)
        files = [
            folders.result_file(self._run(number), cell)
            for number in numbers
            for cell in self.todo(number, retry)
        ]
        self._awaited = {file: _written(file) for file in files}

    def news(self) -> None:
        """Tell the watcher of each training that has ended since the last call."""
        for number, part in enumerate(self._parts, start=1):
            for cell in part.cells:
                file = folders.result_file(self._run(number), cell)
                if file not in self._awaited or _written(file) == self._awaited[file]:
                    continue
                found = folders.result(self._run(number), cell)
                if found is not None:
                    del self._awaited[file]
                    self._watch(cell, found)

    def join(self, reasons: Mapping[int, str]) -> bool:  # noqa: ARG002  (tables have no place for it)
        """Join the shards into the folder of the run, in place of what is there.

        Returns whether any shard has results. Trainings without one get rows with the status
        `interrupted`.
        """
        runs = [self._run(number) for number in range(1, self.shards + 1)]
        present = [run for run in runs if (run / folders.CELLS).is_dir()]
        exchange.repair(self.out)
        if not present:
            return False
        new = self._folder.path / "joined"
        exchange.delete_run(new)
        training_merge.join(present, new)
        exchange.put_in_place(new, self.out)
        return True

    def rows(self) -> list[dict[str, Any]]:
        """Return the rows of the joined trainings, as `run.training.run` returns them."""
        results = {cell.cell_id: folders.result(self.out, cell) for cell in self.suite.cells}
        rows: list[dict[str, Any]] = training_tables.tables(self.suite.cells, results)[
            trainings.TRAININGS
        ].rows
        return rows


def _written(file: Path) -> int:
    """Return when a file was last replaced, in nanoseconds; 0 if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
