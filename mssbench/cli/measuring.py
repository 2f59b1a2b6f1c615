"""Measure the cells of a suite on this machine, with progress on stderr.

`run` and `recommend` do this, and a task on a node of a cluster.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from rich.console import Console
from rich.text import Text

from mssbench.analysis.trust import busy_now
from mssbench.console.progress import RunProgress
from mssbench.console.summary import closing, left_over
from mssbench.engines.gpus import described, left_out
from mssbench.engines.slots import Slot, gpu_slots
from mssbench.records import units
from mssbench.records.cell import Cell
from mssbench.records.summary import Summary
from mssbench.run.run import run as run_suite
from mssbench.suite.forecast import seconds_here
from mssbench.suite.suite import Suite


class Settings(TypedDict):
    """What `measure` is told of a run beside its suite and its folder."""

    fresh: bool
    retry: Sequence[str]
    also: Sequence[Path]
    python: str | None
    minutes: float | None
    log: Console


def measure(
    chosen: Suite,
    path: Path,
    *,
    fresh: bool,
    retry: Sequence[str],
    also: Sequence[Path],
    python: str | None,
    minutes: float | None,
    log: Console,
    gpus: Sequence[Slot] | None = None,
) -> Summary:
    """Measure the cells of a suite that the run in folder `path` lacks, and return a summary.

    Progress is printed on `log`, and at the end what the time was used for. fresh: measure all
    cells. retry: statuses with which cells are measured again. also: the user's files of methods
    and problems. python: the interpreter of the workers; None: this one. minutes: the limit of
    time; None: no limit. gpus: the slots of those to measure on; None: see `gpu_slots`.
    """

    def begin(todo: Sequence[Cell]) -> None:
        """Print how many cells will be measured, and in what time, before the first of them."""
        if todo:
            used = gpu_slots() if gpus is None else gpus
            seconds = seconds_here(todo, chosen.policy, max(1, len(used)))
            time = (
                f"about {units.duration(seconds)}"
                if seconds
                else "none of which can be measured here"
            )
            if minutes is not None and seconds > 60 * minutes:
                time = f"in at most {units.duration(60 * minutes)}, with fewer samples"
            cells = units.count(len(chosen.cells), "cell")
            where = described(used, todo)
            log.print(f"[bold]{title(chosen)}[/]: {len(todo)} of {cells} to measure{where}, {time}")
            for sentence in left_out(todo) if gpus is None else ():
                log.print(Text(sentence, "yellow"), soft_wrap=True)

            if why := busy_now():
                log.print(
                    f"This machine is busy: {why}. Times will not be comparable.", style="yellow"
                )
        progress.begin(len(todo) * chosen.policy.passes)

    with RunProgress(log) as progress:
        summary = run_suite(
            chosen,
            path,
            fresh=fresh,
            retry=retry,
            also=also,
            python=python,
            seconds=None if minutes is None else 60 * minutes,
            gpus=gpus,
            watch=progress,
            begin=begin,
        )

    log.print(closing(summary))
    if summary.left_over:
        log.print(Text(left_over(summary), "yellow"), soft_wrap=True)
    if summary.unlogged:
        log.print(Text(summary.unlogged, "yellow"), soft_wrap=True)
    return summary


def title(chosen: Suite) -> str:
    """Return the name of a suite, with the shard of it that is measured."""
    if chosen.shard is None:
        return chosen.name
    return f"{chosen.name}, shard {chosen.shard.number} of {chosen.shard.of}"
