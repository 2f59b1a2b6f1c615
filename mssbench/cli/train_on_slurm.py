"""`mssbench train --engine slurm`: train the networks of a suite on a cluster."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mssbench.cli.on_slurm import count_of_shards
from mssbench.cli.slurm_task import do_shard
from mssbench.console.training_progress import TrainingProgress
from mssbench.engines.slurm import options as slurm_options
from mssbench.errors import RunError
from mssbench.results import trainings
from mssbench.run.slurm.driver import Campaign, drive
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.run.slurm.training_work import TRIED_AGAIN, Training
from mssbench.suite.training import TrainingSuite


def train(
    chosen: TrainingSuite,
    out: Path,
    slurm: Sequence[str],
    shards: int | None,
    *,
    at_once: int,
    threads: int,
    fresh: bool,
    capture: bool,
    log: Console,
) -> tuple[list[dict[str, Any]], bool]:
    """Train the networks of a suite on a cluster.

    Returns the rows of all trainings, and whether the user has stopped the run.

    slurm: the texts of --slurm. shards: into how many parts the networks are dealt; None if
    mssbench may choose. The other arguments are those of `run.training.run`.
    Raises RunError as `run.slurm.driver.drive` does, or if no network has a result.
    """
    options = slurm_options.parse(slurm)
    folder = ShardsFolder.beside(out)
    with TrainingProgress(log) as progress:
        work = Training(
            chosen,
            out,
            folder,
            count=count_of_shards(shards, len(chosen.cells), folder),
            at_once=at_once,
            rest={"threads": threads, "capture": capture},
            watch=progress,
        )
        campaign = Campaign(work, folder, options, do_shard, retry=TRIED_AGAIN)

        def begin() -> None:
            """Print how many networks will be trained, before the first task is submitted."""
            todo = sum(work.missing(i + 1, TRIED_AGAIN) for i in range(work.shards))
            progress.begin(todo, len(chosen.cells) - todo)

        stopped = drive(
            [campaign],
            fresh=fresh,
            begin=begin,
            remark=lambda sentence: log.print(Text(sentence, "yellow"), soft_wrap=True),
            say=progress.say,
        )

    if not (out / trainings.TRAININGS).exists() and not stopped:
        raise RunError(f"nothing was trained: {campaign.failure}")
    if campaign.failure and not stopped:
        log.print(Text(f"trainings without a result: {campaign.failure}", "yellow"), soft_wrap=True)
    return work.rows(), stopped
