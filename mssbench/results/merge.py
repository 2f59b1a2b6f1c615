"""Several runs joined into one."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError, TableError
from mssbench.records.facts import canonical
from mssbench.records.measurement import ABSENT, Status
from mssbench.records.schema import KEY
from mssbench.results import table
from mssbench.results.facts_file import LEFT_OVER, read_facts
from mssbench.results.folder import RunFolder
from mssbench.results.parsing import Left
from mssbench.results.rows import ENVIRONMENT, SAMPLES, TABLE, folder_of, suite_text
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd


def merge(runs: Sequence[Path], out: Path | None, *, mixed: bool) -> dict[str, Any]:
    """Join runs into `out`; of a single one, settle its journal in place.

    Raises TableError where their environments differ, RunError where `out` is missing or taken.
    """
    if out is None and len(runs) > 1:
        raise RunError("several runs need a folder to be joined in: --out FOLDER.")
    if out is not None and out.exists() and (out.is_file() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty folder. Nothing was written: choose another --out.")
    runs = [folder_of(run) for run in runs]
    remarks: list[str] = []
    if out is None:  # locked before it is read: a run that is still writing would lose rows
        with RunFolder(runs[0], mend=True) as folder:
            whole = merge_frames(_frames(runs, remarks), mixed=mixed)
            remarks += _set_aside(runs[0], damaged_table=bool(remarks))
            folder.finish(Rows(whole))
    else:
        frames = _frames(runs, remarks)
        whole = merge_frames(frames, mixed=mixed)
        with RunFolder(out) as folder:
            from mssbench.results import samples  # pyarrow: only where something is joined

            rows = Rows(whole)
            remarks += join_sidecars(folder, runs, _left_over(runs, frames))
            remarks += samples.join(folder.path, runs, [Rows(frame) for frame in frames], rows)
            folder.finish(rows)
    return {
        "path": str(out or runs[0]),
        "counts": {
            "rows": len(whole),
            "cells": int(whole["cell_id"].nunique()),
            "runs": len(runs),
        },
        "remarks": remarks,
    }


def _frames(runs: Sequence[Path], remarks: list[str]) -> "list[pd.DataFrame]":
    """The tables of the runs, in which one machine has one name: the one it was met under first.

    remarks: takes a sentence on each row that was left out because it cannot be read.
    """
    frames, names = [], dict[str, str]()
    for run in runs:
        left: list[Left] = []
        frame, known = table.load(run, left=left), _facts(run)[0]["environments"]
        remarks += [f"left out of {run / TABLE}: line {row.line}: {row.why}" for row in left]
        here = {e: canonical(e, known.get(e)) for e in frame["environment"].unique() if e}
        today = {e: names.setdefault(name, e) for e, name in here.items()}
        frames.append(frame.assign(environment=frame["environment"].replace(today)))
    return frames


def _facts(run: Path) -> tuple[dict[str, Any], str]:
    """The facts of a run, none where they are damaged, and what is wrong with them then."""
    try:
        return read_facts(run), ""
    except RunError as error:
        return {"environments": {}, "runs": {}}, str(error)


def _set_aside(run: Path, *, damaged_table: bool) -> list[str]:
    """Rename the damaged files of a run that is mended in place, so that nothing is lost.

    damaged_table: whether rows of the table are left out. Returns a sentence on each file.
    """
    from mssbench.results import samples  # pyarrow: only where something is joined

    damaged = [TABLE] if damaged_table else []
    if _facts(run)[1]:
        damaged.append(ENVIRONMENT)
    try:
        samples.check(run)
    except TableError:
        damaged.append(SAMPLES)

    for name in damaged:
        (run / name).replace(run / f"{name}.damaged")
    return [f"{run / name} was damaged: it is kept as {name}.damaged" for name in damaged]


def _left_over(runs: Sequence[Path], frames: "Sequence[pd.DataFrame]") -> list[str]:
    """The cell_ids that every run which has them lists as left over from an earlier suite."""
    left: set[str] = set()
    current: set[str] = set()
    for run, frame in zip(runs, frames, strict=True):
        theirs = set(_facts(run)[0].get(LEFT_OVER, ()))
        left |= theirs
        current |= set(frame["cell_id"].unique()) - theirs
    return sorted(left - current)


def join_sidecars(
    folder: RunFolder, runs: Sequence[Path], left_over: Sequence[str] = ()
) -> list[str]:
    """Write the facts of all runs, and the suite of the first that has one.

    left_over: the cell_ids in the joined table that no suite of the runs has.
    Returns a sentence on each file of facts that is damaged and was left out.
    """
    facts = folder.facts()
    remarks = []
    for run in runs:
        theirs, why = _facts(run)
        remarks += [f"left out: {why}"] if why else []
        for group in ("environments", "runs"):
            facts[group] |= theirs[group]
        if (suite := suite_text(run)) is not None and folder.suite() is None:
            folder.write_suite(suite)
    if left_over:
        facts[LEFT_OVER] = list(left_over)
    folder.write_facts(facts)
    return remarks


# What says more about a cell comes first: measured or failed, then absent, then not reached.
_SAYS_LESS = {str(s): 1 for s in ABSENT} | {str(Status.INTERRUPTED): 2}


def merge_frames(frames: "Sequence[pd.DataFrame]", *, mixed: bool = False) -> "pd.DataFrame":
    """One table of several runs; of a row measured twice the first stands.

    A row that was measured stands before one whose method was missing, and that before one whose
    run was stopped. Raises TableError if they were measured in different environments, unless
    `mixed`: times of two machines in one table compare machines, not methods.
    """
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    environments = sorted(e for e in whole["environment"].unique() if e)
    if len(environments) > 1 and not mixed:
        raise TableError(
            f"these runs were measured in {len(environments)} environments "
            f"({', '.join(environments)}): their times do not compare. --mixed joins them anyway."
        )
    rank = whole["status"].map(_SAYS_LESS).fillna(0)
    ordered = whole.loc[rank.sort_values(kind="stable").index]
    return ordered.drop_duplicates(list(KEY), keep="first").sort_index(ignore_index=True)
