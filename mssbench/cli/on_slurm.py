"""`mssbench run --engine slurm`: measure a suite on a cluster, and print the joined tables."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from mssbench.cli.slurm_task import do_shard
from mssbench.console.progress import RunProgress
from mssbench.console.summary import closing_of_shards
from mssbench.engines.slurm import options as slurm_options
from mssbench.engines.slurm.options import Options
from mssbench.errors import ExitCode, RunError, SuiteError
from mssbench.records import units
from mssbench.records.summary import Summary
from mssbench.run.slurm.driver import Campaign, drive
from mssbench.run.slurm.shards_folder import ShardsFolder
from mssbench.run.slurm.work import Measuring
from mssbench.suite.suite import Suite

_SHARED = (
    "Tasks that get the same node wait for each other, since they would disturb each other's "
    "times, and the waiting counts in their limit of time. --slurm exclusive gives each a node of "
    "its own."
)


@dataclass(frozen=True)
class Cluster:
    """What the command line says of the cluster.

    options: of sbatch. models: names of GPUs as Slurm calls them, each for a run of its own.
    shards: how many parts the cells are dealt to; None if mssbench may choose.
    """

    options: Options
    models: tuple[str, ...] = ()
    shards: int | None = None

    @property
    def device(self) -> str:
        """The device that `auto` means on the nodes."""
        on_gpus = self.models or slurm_options.asks_for_gpus(self.options)
        return "cuda" if on_gpus else "cpu"

    def kinds(self, out: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
        """Yield the name of each kind of node, the folder of its run, and its options of sbatch."""
        if not self.models:
            yield "", out, dict(self.options)
        named = out if out.name else out.resolve()
        for model in self.models:
            folder = named.with_name(f"{named.name}-{model}")
            yield model, folder, {**self.options, "gres": f"gpu:{model}:1"}


def cluster(slurm: Sequence[str], models: Sequence[str], shards: int | None) -> Cluster:
    """Return what the command line says of the cluster.

    slurm: the texts of --slurm. models: the words of --gpus. Raises RunError for an option that
    sbatch does not have or that mssbench decides, and SuiteError for GPUs that are named twice.
    """
    options = slurm_options.parse(slurm)
    if len(set(models)) < len(models):
        raise SuiteError("--gpus names a model twice: name each of them once.")
    if models and slurm_options.asks_for_gpus(options):
        raise SuiteError(
            "--gpus and --slurm both ask for GPUs: leave out --gpus to choose one kind by "
            "--slurm gres=gpu:MODEL:COUNT."
        )
    return Cluster(options, tuple(models), shards)


def measure(
    chosen: Suite,
    out: Path,
    where: Cluster,
    *,
    fresh: bool,
    retry: Sequence[str],
    also: Sequence[Path],
    python: str | None,
    minutes: float | None,
    log: Console,
) -> list[Summary]:
    """Measure the cells of a suite on a cluster, and return a summary for each run.

    The arguments are those of `cli.measuring.measure`, but for `where`, and for `minutes`, which
    is the limit of each task. Raises RunError as `run.slurm.driver.drive` does.
    """
    rest: Mapping[str, Any] = {
        "also": [str(path.resolve()) for path in also],
        "python": python,
        "minutes": minutes,
    }
    start = time.monotonic()
    with RunProgress(log) as progress:
        works, campaigns = [], []
        for model, folder, options in where.kinds(out):
            shards = ShardsFolder.beside(folder)
            work = Measuring(
                chosen,
                folder,
                shards,
                count=count_of_shards(where.shards, len(chosen.cells), shards),
                rest=rest,
                watch=progress,
            )
            works.append(work)
            campaigns.append(Campaign(work, shards, options, do_shard, retry=retry, label=model))

        def begin() -> None:
            """Print how many cells will be measured, before the first task is submitted."""
            todo = 0
            for work in works:
                left = sum(work.missing(i + 1, retry) for i in range(work.shards))
                cells = units.count(len(chosen.cells), "cell")
                shards = units.count(work.shards, "shard")
                log.print(Text(f"{work.name}: {left} of {cells} to measure, in {shards} on Slurm"))
                todo += left
            if _may_share_a_node(chosen, works, where.options):
                log.print(Text(_SHARED, "yellow"), soft_wrap=True)
            progress.begin(todo * chosen.policy.passes)

        stopped = drive(
            campaigns,
            fresh=fresh,
            begin=begin,
            remark=lambda sentence: log.print(Text(sentence, "yellow"), soft_wrap=True),
            say=progress.say,
        )

    return [
        _closed(work, campaign, stopped, time.monotonic() - start, log)
        for work, campaign in zip(works, campaigns, strict=True)
    ]


def _may_share_a_node(chosen: Suite, works: Sequence[Measuring], options: Options) -> bool:
    """Whether several tasks that measure on the CPU may be given the same node."""
    on_cpu = any(cell.device == "cpu" for cell in chosen.cells)
    return on_cpu and "exclusive" not in options and any(work.shards > 1 for work in works)


def count_of_shards(asked: int | None, cells: int, shards: ShardsFolder) -> int | None:
    """Return into how many shards the cells are dealt; None if the work may choose.

    A run that is continued keeps its number, unless the user asks for another one.
    Raises SuiteError if there are more shards than cells.
    """
    if asked is not None and asked > cells:
        raise SuiteError(
            f"--shards {asked}: there are only {cells} cells, so that this is the largest number "
            "of shards."
        )
    before = shards.asked() if asked is None and shards.path.is_dir() else None
    return int(before["shards"]) if before is not None else asked


def _closed(
    work: Measuring, campaign: Campaign, stopped: bool, seconds: float, log: Console
) -> Summary:
    """Return the summary of a run, and print its closing line and what went wrong.

    Raises RunError if no cell has a row, because no task could do its work.
    """
    summary = work.summary()
    # Cells that failed for another reason than the limit of time count as broken.
    over = campaign.over and not campaign.failure
    summary.interrupted, summary.over, summary.seconds = stopped, over, seconds
    if not summary.statuses and not stopped:
        raise RunError(f"nothing was measured: {campaign.failure}")
    log.print(closing_of_shards(summary, work.shards))
    if summary.left and campaign.failure and not stopped:
        cells = units.count(summary.left, "cell")
        log.print(Text(f"{cells} without a result: {campaign.failure}", "yellow"), soft_wrap=True)
    return summary


def exit_code(summaries: Sequence[Summary]) -> ExitCode:
    """Return the exit code of runs on a cluster: that of the first one which is not fine.

    Cells without a result count as broken, unless the user or a limit of time has ended the run.
    """
    codes = [
        ExitCode.BROKEN
        if summary.left and not (summary.interrupted or summary.over)
        else summary.exit_code
        for summary in summaries
    ]
    return next((code for code in codes if code != ExitCode.PASS), ExitCode.PASS)
