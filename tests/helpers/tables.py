"""Result tables made by hand, and the command line run as a user runs it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd

from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.timing import Timing
from mssbench.results import table
from mssbench.results.folder import RunFolder

CELL = {
    "library": "torch",
    "forward": "eigh",
    "backward": "none",
    "function": "sqrt",
    "problem": "wishart(ratio=2)",
    "size": 16,
    "batch": 64,
    "iterations": None,
    "backward_iterations": None,
    "options": "",
    "precision": "float32",
    "device": "cpu",
    "seed": 0,
}
IDENTITY = {"code_hash": "c0de", "environment": "e" * 12, "run_id": "r" * 12}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def row(
    seconds=None,
    *,
    status="ok",
    reason="",
    phase="forward",
    clock="wall",
    cache="hot",
    spread=0.0,
    identity=IDENTITY,
    root=None,
    gradient=None,
    **given,
):
    """One row; seconds may lie `spread` to both sides of the median."""
    values = {k: v for k, v in given.items() if k not in CELL}
    cell = Cell(**CELL | {k: v for k, v in given.items() if k in CELL})
    timing = None
    if seconds is not None:
        timing = Timing((seconds * (1 - spread), seconds, seconds * (1 + spread)), 1, seconds)
    errors = {"root_error": root, "gradient_error": gradient}
    made = Measurement(cell, phase, clock, cache, Status(status), reason, errors | values, timing)
    return made.row(**identity)


def write(path: Path, *rows) -> Path:
    """A run's folder with these rows."""
    with RunFolder(path) as folder:
        folder.finish(rows)
    return path


def frame(*rows) -> pd.DataFrame:
    """Rows as `load` gives them."""
    return table.typed(pd.DataFrame(rows))


def mssbench(*arguments, columns=None, **environment):
    """Run the command line in a process of its own; its code, stdout and stderr."""
    settings = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    settings |= {k: str(v) for k, v in environment.items()}
    if columns is not None:
        settings["COLUMNS"] = str(columns)
    return subprocess.run(
        [sys.executable, "-m", "mssbench", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=settings,
        timeout=120,
    )


def called(capsys, *arguments) -> tuple[int, str, str]:
    """The same in this process, which is faster: exit code, stdout, stderr."""
    code = exit_code(*arguments)
    out, err = capsys.readouterr()
    return code, out, err


def exit_code(*arguments: object) -> int:
    """The exit code of the command line in this process, for where there is no capsys."""
    from mssbench.cli import main

    before, sys.argv = sys.argv, ["mssbench", *map(str, arguments)]
    try:
        main.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0
