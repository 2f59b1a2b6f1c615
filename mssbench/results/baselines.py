"""Runs that others are compared with, under `results/baselines`.

results/baselines/NAME/          the newest: table.csv, environment.json, suite.toml
results/baselines/NAME@DATE/     those before it, as many as are to be kept
"""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssbench import units
from mssbench.errors import RunError, nearest
from mssbench.records.facts import machine
from mssbench.records.measurement import MEASURED, Status
from mssbench.results.folder import RunFolder
from mssbench.results.merge import join_sidecars
from mssbench.results.rows import TABLE, folder_of
from mssbench.results.run import Run
from mssbench.results.views import Rows

FOLDER = Path("results/baselines")


def save(run: Path, name: str | None, keep: int) -> dict[str, Any]:
    """Make a run the newest baseline of a name, by default that of its suite.

    Raises RunError for a name that is no word, and for a run in which nothing was measured or that
    was stopped: any run that is compared with such a baseline would pass.
    """
    run = folder_of(run)
    source = Run(run)
    frame = source.current  # a baseline holds no row of a cell that its suite does not have

    name = name or str(source.suite.get("name", ""))
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise RunError(f"--name: {name!r} is not a word of letters, digits, _, - and .")
    if not frame["status"].isin(MEASURED).any():
        raise RunError(f"{run} has no measured row: nothing could be compared with it.")
    if stopped := int((frame["status"] == Status.INTERRUPTED).sum()):
        raise RunError(
            f"{run} was stopped before {units.count(stopped, 'row')}: run it to its end first."
        )
    target = FOLDER / name
    if target.resolve() == run.resolve():
        raise RunError(f"{run} is that baseline already.")
    _set_aside(target)
    with RunFolder(target) as folder:
        join_sidecars(folder, [run])
        folder.finish(Rows(frame))
    dropped = _older(name)[keep:]
    for path in dropped:
        shutil.rmtree(path)
    return {
        "name": name,
        "path": str(target),
        "counts": {"rows": len(frame)},
        "run": str(run),
        "dropped": [p.name for p in dropped],
    }


def _set_aside(target: Path) -> None:
    """Give the newest of a name a date instead of its place."""
    if (target / TABLE).is_file():
        when = datetime.fromtimestamp((target / TABLE).stat().st_mtime, UTC)
        aside = target.with_name(f"{target.name}@{when:%Y-%m-%dT%H%M%S}")
        if aside.exists():  # saved twice within a second
            shutil.rmtree(aside)
        target.rename(aside)


def _older(name: str) -> list[Path]:
    """Those before the newest, latest first."""
    return sorted(FOLDER.glob(f"{name}@*"), reverse=True)


def find(name: str) -> Path:
    """The folder of a baseline by name, or of any run by path. Raises RunError."""
    for path in (FOLDER / name, Path(name)):
        if (path / TABLE).is_file() or path.is_file():
            return path
    names = [p.parent.name for p in sorted(FOLDER.glob(f"*/{TABLE}"))]
    near = nearest(name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    there = f"There are: {', '.join(names)}." if names else f"There is none in {FOLDER}."
    raise RunError(
        f"there is no baseline {name!r}, nor a run of that path.{hint} {there} "
        "`mssbench baseline save RUN` makes a run one."
    )


def known() -> list[dict[str, Any]]:
    """Every baseline: when it was measured, of what, and on which machine."""
    records = []
    for path in sorted(FOLDER.glob(f"*/{TABLE}"), key=lambda p: _place(p.parent.name)):
        folder = path.parent
        run = Run(folder)
        frame, facts = run.frame, run.facts
        runs = [facts["runs"].get(r, {}) for r in frame["run_id"].unique() if r]
        machines = [facts["environments"].get(e) for e in frame["environment"].unique() if e]
        records.append(
            {
                "name": folder.name,
                "cells": int(frame["cell_id"].nunique()),
                "measured": max((r.get("started", "") for r in runs), default=""),
                "commit": ", ".join(sorted({m.get("commit") or "" for m in machines if m})),
                "machine": "; ".join(machine(m, "") for m in machines),
            }
        )
    return records


def _place(name: str) -> tuple[str, bool, list[int]]:
    """Names in order, of each the newest first and then the older ones, latest first."""
    word, _, when = name.partition("@")
    return word, bool(when), [-ord(c) for c in when]
