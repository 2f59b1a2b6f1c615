"""Suite + engine -> results/<run>/. Resumes what is missing; whatever happens, rows remain."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

from mssbench.engines import local
from mssbench.engines.events import Event, Finished
from mssbench.engines.start import Setup
from mssbench.machine import linux
from mssbench.records.cell import Cell
from mssbench.records.measurement import worst_status
from mssbench.records.summary import Summary
from mssbench.results.folder import RunFolder
from mssbench.run import passes
from mssbench.run.pace import Clock, Pace
from mssbench.run.recorder import Recorder
from mssbench.run.resume import (
    by_cell,
    done_cells,
    passes_behind,
    refuse_other_suite,
    runs_as_now,
)
from mssbench.run.signals import Takedown
from mssbench.suite.suite import Suite

Watch = Callable[[Event], None]


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

    retry: statuses whose rows are measured again. begin(todo) and watch(event) report progress.
    seconds: after this time it ends like an interrupted run. Before it comes to that, cells take
    fewer samples. Waiting for a device that another run has does not count.
    Cells are measured in suite order.
    Ctrl-C and SIGTERM end the run early: what was measured is saved and the rest is `interrupted`.
    Raises RunError if the folder is taken, holds something else or another suite, or was measured
    on another machine; if no worker starts; or if this system is not Linux.
    """
    linux.require()
    summary, start = Summary(path, len(suite.cells)), time.monotonic()
    clock = Clock(time.monotonic)

    def over() -> bool:
        return seconds is not None and clock() > seconds

    with RunFolder(path, fresh=fresh) as folder, Takedown() as takedown:
        refuse_other_suite(folder, suite)
        rows = by_cell(folder.rows())
        as_now = runs_as_now(folder.facts())
        done = done_cells(rows, suite, retry, as_now)
        todo = [c for c in suite.cells if c.cell_id not in done]
        have = {c.cell_id: passes_behind(c, rows, retry, as_now) for c in todo}
        summary.kept = len(suite.cells) - len(todo)
        summary.left = len(todo)
        summary.standing.update(worst_status(rows[cell_id]) for cell_id in done)
        begin(todo)
        record = Recorder(folder, suite, rows, have)
        setup = _setup(suite, also, python)
        pace = Pace(seconds, 0.0, clock)
        try:
            queue = list(_queue(todo, have, suite.policy.passes, record.run_id))
            running = local.run(
                queue,
                setup,
                lambda: takedown.asked() or over(),
                skip=record.is_over,
                share=pace.share,
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
