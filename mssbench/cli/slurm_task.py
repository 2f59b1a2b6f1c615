"""What a task on a node of a cluster does: one shard of a run, as `--shard` would.

`mssbench.run.slurm` submits the tasks. A task is told the folder of the shards and the number of
its own; all else is in the files of that folder.
"""

import os
import socket
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mssbench.cli.measuring import measure
from mssbench.console.terminal import make_console
from mssbench.console.training_progress import TrainingProgress
from mssbench.errors import MssbenchError, RunError
from mssbench.machine.facts import describe
from mssbench.registries import load_file
from mssbench.results.folder import InUse
from mssbench.run import training
from mssbench.run.slurm.shards_folder import End, ShardsFolder
from mssbench.suite import select
from mssbench.suite.shards import Shard
from mssbench.suite.suite import Suite
from mssbench.suite.training import load as load_trainings

# How long a task waits for an earlier task of its shard, which a node that was lost to Slurm may
# still be running. It ends at the latest when its limit of time does.
_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 2.0


def do_shard(folder: str, number: int, retry: tuple[str, ...]) -> None:
    """Measure or train what a shard lacks, and write how that has ended.

    folder: with the shards. retry: statuses of cells that are measured again.
    """
    shards = ShardsFolder(Path(folder))
    over, error = False, ""
    try:
        over = _done(shards, number, retry)
    except MssbenchError as refusal:
        error = str(refusal)
        raise
    except Exception:
        error = traceback.format_exc(limit=-1).strip().splitlines()[-1]
        raise
    finally:
        shards.write_end(number, End(error, over, _node()))


def _done(shards: ShardsFolder, number: int, retry: tuple[str, ...]) -> bool:
    """Do a shard. Whether the limit of time (--minutes) has ended it."""
    asked = shards.asked()
    if asked is None:
        raise RunError(f"{shards.path} has no description of the run: do the nodes share it?")
    log = make_console(stderr=True)
    log.print(f"shard {number} of {asked['shards']} on {_node()}", markup=False, highlight=False)

    shard = Shard(number, asked["shards"])
    if asked["kind"] == "train":
        return _waiting(lambda: _trained(shards, shard, asked, log))
    part = _suite(shards, asked).sharded(shard)
    return _waiting(lambda: _measured(shards, part, asked, retry, log))


def _waiting(work: Callable[[], bool]) -> bool:
    """Do the work of a shard as soon as no other task does it, and return what it returns."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            return work()
        except InUse:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_SECONDS)


def _measured(
    shards: ShardsFolder, part: Suite, asked: Mapping[str, Any], retry: Sequence[str], log: Console
) -> bool:
    """Measure the cells of a shard. Whether the limit of time has ended it."""
    assert part.shard is not None
    summary = measure(
        part,
        shards.shard(*part.shard),
        fresh=False,
        retry=retry,
        also=[Path(file) for file in asked["also"]],
        python=asked["python"],
        minutes=asked["minutes"],
        log=log,
    )
    return summary.over


def _trained(shards: ShardsFolder, shard: Shard, asked: Mapping[str, Any], log: Console) -> bool:
    """Train the networks of a shard. Trainings have no limit of time: always False."""
    suite = load_trainings(str(shards.suite))
    if suite.digest != asked["digest"]:
        raise _other_cells(shards)
    with TrainingProgress(log) as progress:
        training.run(
            suite.sharded(shard),
            shards.shard(*shard),
            at_once=asked["at_once"],
            threads=asked["threads"],
            facts=describe(),
            capture=asked["capture"],
            begin=progress.begin,
            watch=progress,
        )
    return False


def _suite(shards: ShardsFolder, asked: Mapping[str, Any]) -> Suite:
    """Return the suite of all shards. Raises RunError if it has other cells here."""
    for file in asked["also"]:
        load_file(Path(file))
    suite = select.of_run(shards.path, [asked["only"]], asked["digest"])
    if suite is None:
        raise _other_cells(shards)
    return suite


def _other_cells(shards: ShardsFolder) -> RunError:
    return RunError(
        f"the suite in {shards.suite} has other cells on {_node()} than where the run was "
        "started: another mssbench, or a missing file of methods or matrices."
    )


def _node() -> str:
    """Return the name of this node, as Slurm calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()
