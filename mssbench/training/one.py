"""Train one network in a process of its own: `python -m mssbench.training.one`.

The process reads a cell as JSON from stdin, and writes one JSON line for each epoch to stdout. The
last line says how the training ended.
"""

import json
import os
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from mssbench.errors import InputError, MssbenchError, NotInstalled, Unsupported
from mssbench.records.cell import parse_options
from mssbench.records.measurement import Status
from mssbench.records.training import MEAN, MOST_NONFINITE, TrainingCell
from mssbench.training.captured import write_covariances
from mssbench.training.curve import Epoch
from mssbench.training.loop import Settings, train
from mssbench.training.network import Method, Network
from mssbench.training.tasks.registry import task

_STARTED_BY = os.getppid()


def method_of(cell: TrainingCell) -> Method:
    """Return what pools in the network of a cell."""
    following = parse_options(cell.then)
    then = None
    if following:
        forward, backward = following.pop("forward"), following.pop("backward", None)
        then = Method(forward, backward, following, cell.precision)
    precision = None if cell.forward == MEAN else cell.precision
    return Method(cell.forward, cell.backward or None, parse_options(cell.options), precision, then)


def main() -> None:
    """Train the network of the cell on stdin."""
    asked = json.load(sys.stdin)
    torch.set_num_threads(int(asked["threads"]))
    cell = TrainingCell(**asked["cell"])
    settings = Settings(**{f.name: getattr(cell, f.name) for f in fields(Settings)})
    folder = asked.get("captured")

    def write(epoch: int, network: Network) -> None:
        if folder is not None:
            file = Path(folder) / f"{cell.cell_id}-{epoch}.npz"
            write_covariances(network, task(cell.task), file)

    try:
        curve = train(
            task(cell.task),
            method_of(cell),
            settings,
            Path(asked["checkpoint"]),
            _tell,
            timed=bool(asked["timed"]),
            probes=bool(asked["probes"]),
            robustness=bool(asked["robustness"]),
            at_epoch=write,
        )
    except (InputError, Unsupported, NotInstalled) as error:
        missing = isinstance(error, NotInstalled)
        status = Status.NOT_INSTALLED if missing else Status.UNSUPPORTED
        _write({"status": str(status), "reason": str(error)})
        return
    except MssbenchError as error:
        _write({"status": str(Status.CRASHED), "reason": str(error)})
        return

    share = curve.nonfinite_share
    status, reason = Status.OK, ""
    if share >= MOST_NONFINITE:
        status = Status.NONFINITE
        reason = f"{100 * share:.0f} % of the steps failed ({curve.causes()})"
    _write(
        {
            "status": str(status),
            "reason": reason,
            "initial": curve.initial,
            "data": curve.task,
            "epochs": [asdict(epoch) for epoch in curve.epochs],
            "robustness": curve.robustness,
        }
    )


def _tell(epoch: Epoch) -> None:
    """Write an epoch. The process ends if nobody waits for it any more: its state is saved."""
    if os.getppid() != _STARTED_BY:
        sys.exit("the run that started this training has ended")
    _write({"epoch": asdict(epoch)})


def _write(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)  # NaN is written as Python reads it


if __name__ == "__main__":
    main()
