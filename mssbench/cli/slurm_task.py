"""What a task on a node of a cluster does: one shard of a run, as `mssbench run --shard` would.

`mssbench.run.slurm` submits the tasks. A task is told the folder of the shards and the number of
its own; all else is in the files of that folder.
"""

import os
import socket
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mssbench.cli.measuring import measure
from mssbench.console.terminal import make_console
from mssbench.errors import MssbenchError, RunError
from mssbench.registries import load_file
from mssbench.results.folder import InUse
from mssbench.run.slurm.shards_folder import End, ShardsFolder
from mssbench.suite import select
from mssbench.suite.shards import Shard
from mssbench.suite.suite import Suite

# How long a task waits for an earlier task of its shard, which a node that was lost to Slurm may
# still be running. It ends at the latest when its limit of time does.
_PATIENCE_SECONDS = 600.0
_PAUSE_SECONDS = 2.0


def measure_shard(folder: str, number: int, retry: tuple[str, ...]) -> None:
    """Measure the cells of a shard that have no result, and write how that has ended.

    folder: with the shards. retry: statuses of cells that are measured again.
    """
    shards = ShardsFolder(Path(folder))
    over, error = False, ""
    try:
        over = _measured(shards, number, retry)
    except MssbenchError as refusal:
        error = str(refusal)
        raise
    except Exception:
        error = traceback.format_exc(limit=-1).strip().splitlines()[-1]
        raise
    finally:
        shards.write_end(number, End(error, over, _node()))


def _measured(shards: ShardsFolder, number: int, retry: tuple[str, ...]) -> bool:
    """Measure a shard. Whether the limit of time (--minutes) has ended it."""
    asked = shards.asked()
    if asked is None:
        raise RunError(f"{shards.path} has no description of the run: do the nodes share it?")
    part = _suite(shards, asked).sharded(Shard(number, asked["shards"]))

    log = make_console(stderr=True)
    log.print(f"shard {number} of {asked['shards']} on {_node()}", markup=False, highlight=False)
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            summary = measure(
                part,
                shards.shard(number, asked["shards"]),
                fresh=False,
                retry=retry,
                also=[Path(file) for file in asked["also"]],
                python=asked["python"],
                minutes=asked["minutes"],
                log=log,
            )
        except InUse:
            if time.monotonic() > end:
                raise
            time.sleep(_PAUSE_SECONDS)
        else:
            return summary.over


def _suite(shards: ShardsFolder, asked: Mapping[str, Any]) -> Suite:
    """Return the suite of all shards. Raises RunError if it has other cells here."""
    for file in asked["also"]:
        load_file(Path(file))
    suite = select.of_run(shards.path, [asked["only"]], asked["digest"])
    if suite is None:
        raise RunError(
            f"the suite in {shards.suite} has other cells on {_node()} than where the run was "
            "started: another mssbench, or a missing file of methods or matrices."
        )
    return suite


def _node() -> str:
    """Return the name of this node, as Slurm calls it."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()
