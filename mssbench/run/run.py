"""Measure a suite into a folder of results, or resume such a run.

Rows are written as soon as their cell is finished, so that they remain if the run fails.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from errno import EDQUOT, ENOSPC
from pathlib import Path

from mssbench.engines import early, local
from mssbench.engines.events import Event, Finished
from mssbench.engines.slots import Slot
from mssbench.engines.start import Setup, refuse_missing
from mssbench.errors import RunError
from mssbench.machine import linux
from mssbench.records.cell import Cell
from mssbench.records.measurement import worst_status
from mssbench.records.summary import Summary
from mssbench.results.folder import RunFolder
from mssbench.run import passes
from mssbench.run.pace import Pace, Stopwatch
from mssbench.run.recorder import Recorder
from mssbench.run.resume import (
    by_cell,
    done_cells,
    passes_behind,
    refuse_other_part,
    refuse_other_suite,
    runs_as_now,
)
from mssbench.run.signals import Takedown
from mssbench.suite.suite import Suite

Watcher = Callable[[Event], None]


def run(
    suite: Suite,
    path: Path,
    *,
    fresh: bool = False,
    retry: Sequence[str] = (),
    also: Sequence[Path] = (),
    python: str | None = None,
    seconds: float | None = None,
    gpus: Sequence[Slot] | None = None,
    watch: Watcher = lambda _: None,
    begin: Callable[[Sequence[Cell]], None] = lambda _: None,
) -> Summary:
    """Measure the cells of a suite that are missing in the folder `path`. Return a summary.

    fresh: whether all cells are measured again. retry: statuses; cells that ended with one of them
    are measured again. also: the user's files of methods and problems. python: the interpreter of
    the workers, the processes that measure; by default this one. seconds: time limit, after which
    the run ends like an interrupted one; cells get fewer samples so that the run ends in time.
    Waiting for a device that another run uses does not count. gpus: the slots of the GPUs to
    measure on; None: those of `gpu_slots`. begin: called with the cells to measure, before the
    first is measured. watch: called with each event of the workers.

    Cells are measured in the order of the suite, shuffled within each problem. Ctrl-C and SIGTERM
    end the run early: the rows so far are saved, and the other cells become `interrupted`.

    Raises RunError if another run writes to the folder, if it contains something else, another
    suite or another shard, if it was measured on another machine, if no worker can be started, or
    if this system is not Linux.
    """
    linux.require()
    summary, start = Summary(path, len(suite.cells)), time.monotonic()
    clock = Stopwatch(time.monotonic)

    def over() -> bool:
        return seconds is not None and clock() > seconds

    with _opened(path, fresh=fresh) as folder, Takedown() as takedown:
        refuse_other_suite(folder, suite)
        refuse_other_part(folder, suite)

        rows = by_cell(folder.rows())
        as_now = runs_as_now(folder.facts())
        done = done_cells(rows, suite, retry, as_now)
        todo = [c for c in suite.cells if c.cell_id not in done]
        have = {c.cell_id: passes_behind(c, rows, retry, as_now) for c in todo}

        summary.kept = len(suite.cells) - len(todo)
        summary.left = len(todo)
        summary.standing.update(worst_status(rows[cell_id]) for cell_id in done)

        record = Recorder(folder, suite, rows, have)
        setup = _setup(suite, also, python)
        if todo:
            refuse_missing(setup.python)
            record.refuse_other_environment(
                local.first_device(todo), early.facts(), lambda: early.facts_of_worker(setup)
            )
        begin(todo)
        pace = Pace(seconds, 0.0, clock)

        try:
            queue = list(_queue(todo, have, suite.policy.passes, record.run_id))
            running = local.run(
                queue,
                setup,
                lambda: takedown.asked() or over(),
                skip=record.is_over,
                share=pace.share,
                gpus=gpus,
            )
            with closing(running) as events:
                for event in events:
                    clock.heed(event)
                    record(event, summary)
                    if isinstance(event, Finished):
                        pace.learn(event)
                    watch(event)

            summary.interrupted = takedown.asked()
            summary.over = over() and not summary.interrupted
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            summary.seconds = time.monotonic() - start
            record.close(todo, summary)
    return summary


def _opened(path: Path, *, fresh: bool) -> RunFolder:
    """Return the folder of a run. Unless the disk is full, the remedy for an error is another one.

    Raises RunError where RunFolder does.
    """
    try:
        return RunFolder(path, fresh=fresh)
    except RunError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno in (ENOSPC, EDQUOT):
            raise
        raise RunError(
            f"{path} cannot be written: {cause.strerror or cause}. Nothing was measured: choose "
            "another --out, in a folder that you may write to."
        ) from cause


def _setup(suite: Suite, also: Sequence[Path], python: str | None) -> Setup:
    settings = {
        "policy": dataclasses.asdict(suite.policy.part()),
        "max_error": suite.measure["max_error"],
    }
    setup = Setup(settings, tuple(str(p.resolve()) for p in also), suite.measure["timeout_seconds"])
    return setup if python is None else dataclasses.replace(setup, python=python)


def _queue(todo: Sequence[Cell], have: Mapping[str, int], count: int, seed: str) -> Iterator[Cell]:
    """Yield the cells to measure, pass after pass; a pass measures each cell at most once.

    have: number of passes of each cell that the folder has already, by cell_id. count: number of
    passes that each cell shall have. seed: of the random order.
    """
    for number in range(1, count + 1):
        yield from (c for c in passes.shuffled(todo, seed, number) if have[c.cell_id] < number)
