"""Save, find and list baselines: runs that other runs are compared with.

results/baselines/NAME/          the newest: table.csv, environment.json, suite.toml
results/baselines/NAME@DATE/     earlier baselines of that name
"""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mssbench import results
from mssbench.errors import RunError, nearest
from mssbench.records import units
from mssbench.records.facts import machine
from mssbench.records.measurement import MEASURED, Status
from mssbench.results import trainings
from mssbench.results.folder import RunFolder
from mssbench.results.merge import join_sidecars
from mssbench.results.parts import sentence
from mssbench.results.rows import TABLE, folder_of
from mssbench.results.run import Run
from mssbench.results.views import Rows

FOLDER = Path("results/baselines")


def save(run: Path, name: str | None, keep: int) -> dict[str, Any]:
    """Save a run as the newest baseline of a name, by default that of its suite.

    keep: number of earlier baselines of that name to keep. Raises RunError for an invalid name, and
    for a run that was stopped or has no measured row: every run would pass a comparison with it.
    """
    run = folder_of(run)
    source = results.open(run)
    frame = source.current  # without rows of cells that the suite no longer has

    name = name or str(source.suite.get("name", ""))
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise RunError(f"--name: {name!r} is not a word of letters, digits, _, - and .")

    if not frame["status"].isin(MEASURED).any():
        raise RunError(f"{run} has no measured row: nothing could be compared with it.")
    if stopped := int((frame["status"] == Status.INTERRUPTED).sum()):
        raise RunError(
            f"{run} was stopped before {units.count(stopped, 'row')}: run it to its end first."
        )

    if part := sentence(source.facts, str(run)):
        raise RunError(f"{part} Save the joined run, so that no row is left out of comparisons.")

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
    """Rename the newest baseline of a name to NAME@DATE, to make room for a new one."""
    if (target / TABLE).is_file():
        when = datetime.fromtimestamp((target / TABLE).stat().st_mtime, UTC)
        aside = target.with_name(f"{target.name}@{when:%Y-%m-%dT%H%M%S}")
        if aside.exists():  # two baselines were saved within one second
            shutil.rmtree(aside)
        target.rename(aside)


def _older(name: str) -> list[Path]:
    """Return the folders of the earlier baselines of a name, latest first."""
    return sorted(FOLDER.glob(f"{name}@*"), reverse=True)


def find(name: str) -> Path:
    """Return the folder of a baseline, given its name, or of any run, given its path.

    Raises RunError if there is neither, and TableError for a folder of trainings.
    """
    for path in (FOLDER / name, Path(name)):
        if (path / TABLE).is_file() or path.is_file():
            return path

    trainings.refuse_to_read(Path(name))
    names = [p.parent.name for p in sorted(FOLDER.glob(f"*/{TABLE}"))]
    near = nearest(name, names)
    hint = f" Did you mean {near!r}?" if near else ""
    existing = f"Baselines: {', '.join(names)}." if names else f"{FOLDER} has no baselines."
    raise RunError(
        f"there is no baseline {name!r}, and no run with that path.{hint} {existing} "
        "Save a run as a baseline with `mssbench baseline save RUN`."
    )


def known() -> list[dict[str, Any]]:
    """Return a record for every baseline: name, number of cells, date, commit and machine."""
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
    """Return the sort key of a baseline's folder: by name; of one name the newest first."""
    word, _, when = name.partition("@")
    return word, bool(when), [-ord(c) for c in when]
