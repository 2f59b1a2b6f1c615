"""Recognize the folder of a run of `mssbench train`, which has other files than other runs.

trainings.csv, curves.csv, robustness.csv    the tables, which it has once `train` has ended
cells/                                       the results so far, until then and later
suite.toml                                   the suite, with a table [training]
"""

import shlex
from pathlib import Path

from mssbench.errors import RunError, TableError
from mssbench.records.measurement import Status
from mssbench.results.rows import SUITE, TABLE, read_suite

TRAININGS, CURVES, ROBUSTNESS = "trainings.csv", "curves.csv", "robustness.csv"
CELLS = "cells"
TRAINED = (str(Status.OK), str(Status.NONFINITE))  # of trainings that have all of their epochs


def folder_of(path: Path) -> Path:
    """Return the folder of a run of trainings, given the folder itself or its trainings.csv."""
    return path.parent if path.name == TRAININGS else path


def holds(path: Path) -> bool:
    """Whether a folder holds trainings, with or without tables. path: as for `folder_of`.

    A suite that cannot be parsed may be one of trainings, so that the folder counts as one.
    """
    folder = folder_of(path)
    if (folder / TRAININGS).is_file():
        return True
    if not (folder / CELLS).is_dir() or not (folder / SUITE).exists():
        return False
    suite = read_suite(folder)
    return suite is None or "training" in suite


def is_run(path: Path) -> bool:
    """Whether a path is that of a run of trainings that has its tables.

    path: as for `folder_of`. Raises RunError for a folder of trainings that has no tables yet.
    """
    folder = folder_of(path)
    if (folder / TRAININGS).is_file():
        return True
    if holds(folder) or ((folder / CELLS).is_dir() and not (folder / TABLE).exists()):
        raise RunError(
            f"{folder} has trainings, but no {TRAININGS} yet. The tables are written when "
            "`mssbench train` ends: wait for it, or resume it with the same command."
        )
    return False


def refuse_to_write(folder: Path) -> None:
    """Raise RunError for a folder that holds trainings, which another run must not replace."""
    if holds(folder):
        raise RunError(f"{folder} holds trainings of `mssbench train`. Choose another --out.")


def refuse_to_read(path: Path) -> None:
    """Raise TableError for a folder of trainings, for commands that read other runs."""
    if holds(path):
        folder = folder_of(path)
        word = shlex.quote(str(folder))
        raise TableError(
            f"{folder} holds trainings: see them with `mssbench report {word}`, `mssbench plot "
            f"{word}` or `mssbench claims {word}`."
        )
