"""Join several runs into one, and complete or repair the files of a single run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError, TableError
from mssbench.records.facts import Facts, canonical, difference
from mssbench.records.measurement import ABSENT, Row, Status
from mssbench.records.schema import KEY
from mssbench.results import table, trainings
from mssbench.results.facts_file import LEFT_OVER, facts_or_fault
from mssbench.results.folder import RunFolder
from mssbench.results.parsing import Left
from mssbench.results.parts import PART, Part, joined, part_of
from mssbench.results.rows import ENVIRONMENT, SAMPLES, TABLE, folder_of, suite_text
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd


Samples = Mapping[tuple[str, ...], Sequence[float]]  # seconds by key, see samples.KEY
# Returns the rows of a whole run with the columns that depend on all rows, from rows and samples.
Complete = Callable[[Sequence[Any], Samples], list[Row]]


def merge(
    runs: Sequence[Path], out: Path | None, *, mixed: bool, complete: Complete | None = None
) -> dict[str, Any]:
    """Join runs into the folder `out`. Without `out`, complete the files of a single run in place.

    mixed: whether runs of different environments (machines, or versions of libraries) may be
    joined. complete: computes the columns that depend on all rows, for shards, each of which knows
    its own rows only; if None, these columns stay as they are. Returns the path, the counts,
    sentences on what was damaged, and the shards that are missing or lack results. Raises
    TableError if environments differ or a run is one of trainings, and RunError if `out` is not
    empty, or is missing for several runs, or if shards do not belong together.
    """
    for run in runs:
        trainings.refuse_to_read(run)
    if out is None and len(runs) > 1:
        raise RunError("to join several runs, name the folder of the result: --out FOLDER.")
    if out is not None:
        refuse_used(out)

    runs = [folder_of(run) for run in runs]
    remarks: list[str] = []
    part = None
    if out is None:  # locked before it is read, or a run that is still writing would lose rows
        with RunFolder(runs[0], mend=True) as folder:
            whole = merge_frames(_frames(runs, remarks), mixed=mixed, machines=_machines(runs))
            remarks += _set_aside(runs[0], damaged_table=bool(remarks))
            folder.finish(Rows(whole))
    else:
        part = joined({run: part_of(facts_or_fault(run)[0]) for run in runs})
        frames = _frames(runs, remarks)
        left_over = [set[str](facts_or_fault(run)[0].get(LEFT_OVER, ())) for run in runs]
        whole = merge_frames(frames, mixed=mixed, left_over=left_over, machines=_machines(runs))
        dropped = _left_over_in_all(frames, left_over)
        if part is not None:
            whole = _in_order(whole, part)
            part = replace(part, without=_without_result(part, whole))
        with RunFolder(out) as folder:
            from mssbench.results import samples  # imports pyarrow: only if it is needed

            rows = Rows(whole)
            remarks += join_sidecars(folder, runs, dropped, part)
            remarks += samples.join(folder.path, runs, [Rows(frame) for frame in frames], rows)
            folder.finish(rows)
            if part is not None and complete is not None:
                _complete(folder, dropped, complete)

    return {
        "path": str(out or runs[0]),
        "counts": {
            "rows": len(whole),
            "cells": int(whole["cell_id"].nunique()),
            "runs": len(runs),
        },
        "remarks": remarks,
        "missing": [
            {"shard": shard, "cell_ids": ids}
            for shard, ids in (part.lacking if part is not None else {}).items()
        ],
    }


def refuse_used(out: Path) -> None:
    """Raise RunError unless a joined run can be written to `out`, which is new or empty."""
    trainings.refuse_to_write(out)
    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise RunError(f"{out} is not an empty folder. Nothing was written: choose another --out.")


def _in_order(whole: "pd.DataFrame", part: Part) -> "pd.DataFrame":
    """Return the rows of joined shards in the order of a run that has measured all of them."""
    place = whole["cell_id"].map(part.places)
    return whole.loc[place.sort_values(kind="stable", na_position="last").index].reset_index(
        drop=True
    )


def _complete(folder: RunFolder, left_over: Sequence[str], complete: Complete) -> None:
    """Compute the columns that depend on all rows anew, for the table of joined shards.

    left_over: the cell_ids that no suite of the runs has, from which nothing is concluded. The rows
    are read from the disk as texts, because they take much less memory than those of a frame.
    """
    old = set(left_over)
    current: list[Row] = []
    others: list[Row] = []
    for row in folder.rows():
        (others if row["cell_id"] in old else current).append(row)
    samples: Samples = {(*key,): seconds for key, seconds in folder.samples().items()}
    folder.finish([*complete(current, samples), *others])


def _without_result(part: Part, whole: "pd.DataFrame") -> frozenset[str]:
    """Return the ids of the cells of joined shards that have no result.

    A cell that was not reached before its run ended has rows, but no result.
    """
    reached = whole[whole["status"] != Status.INTERRUPTED]
    return frozenset(part.places.keys() - {*reached["cell_id"].unique()})


def _frames(runs: Sequence[Path], remarks: list[str]) -> "list[pd.DataFrame]":
    """Return the tables of the runs, in which the same machine has the same hash everywhere.

    The hash is the first that a table has for the machine. remarks: receives a sentence on each row
    that was left out because it cannot be read.
    """
    frames, names = [], dict[str, str]()
    for run in runs:
        left: list[Left] = []
        frame, known = table.load(run, left=left), facts_or_fault(run)[0]["environments"]
        remarks += [f"left out of {run / TABLE}: line {row.line}: {row.why}" for row in left]

        # Older tables have other hashes for the same machine, see `canonical`.
        present = {e: canonical(e, known.get(e)) for e in frame["environment"].unique() if e}
        new = {e: names.setdefault(name, e) for e, name in present.items()}
        frames.append(frame.assign(environment=frame["environment"].replace(new)))
    return frames


def _machines(runs: Sequence[Path]) -> dict[str, Facts]:
    """Return the facts of all machines that the runs know, by the hash of the environment."""
    return {k: facts for run in runs for k, facts in facts_or_fault(run)[0]["environments"].items()}


def _set_aside(run: Path, *, damaged_table: bool) -> list[str]:
    """Rename the damaged files of a run that is repaired in place, so that nothing is lost.

    damaged_table: whether rows of the table are left out. Return a sentence on each file.
    """
    from mssbench.results import samples  # imports pyarrow: only if it is needed

    damaged = [TABLE] if damaged_table else []
    if facts_or_fault(run)[1]:
        damaged.append(ENVIRONMENT)
    try:
        samples.check(run)
    except TableError:
        damaged.append(SAMPLES)

    for name in damaged:
        (run / name).replace(run / f"{name}.damaged")
    return [f"{run / name} was damaged: it is kept as {name}.damaged" for name in damaged]


def _left_over_in_all(frames: "Sequence[pd.DataFrame]", left_over: Sequence[set[str]]) -> list[str]:
    """Return the cell_ids of the joined table that no suite has any more.

    They are the cells that every run which has them lists as left over from another suite.

    left_over: the cells that each run lists so.
    """
    current: set[str] = set()
    for frame, of_run in zip(frames, left_over, strict=True):
        current |= set(frame["cell_id"].unique()) - of_run
    return sorted(set[str]().union(*left_over) - current)


def join_sidecars(
    folder: RunFolder, runs: Sequence[Path], left_over: Sequence[str] = (), part: Part | None = None
) -> list[str]:
    """Write the other files of a joined run: the facts of all runs, and the first suite found.

    left_over: the cell_ids of the joined table that no suite of the runs has. part: which shards
    were joined, if the runs are shards. Return a sentence on each damaged file of facts that was
    left out.
    """
    facts = folder.facts()

    remarks = []
    for run in runs:
        facts_of_run, why = facts_or_fault(run)
        remarks += [f"left out: {why}"] if why else []
        for group in ("environments", "runs"):
            facts[group] |= facts_of_run[group]
        if (suite := suite_text(run)) is not None and folder.suite() is None:
            folder.write_suite(suite)

    if left_over:
        facts[LEFT_OVER] = list(left_over)
    if part is not None and not part.is_whole:
        facts[PART] = part.as_data()
    folder.write_facts(facts)
    return remarks


# Preference among the rows of one key: 0 for measured or failed, 1 for absent, 2 for not reached.
_SAYS_LESS = {str(s): 1 for s in ABSENT} | {str(Status.INTERRUPTED): 2}
_LEFT_OVER = 3  # added to the rank of a row that is left over from an earlier suite of its run


def merge_frames(
    frames: "Sequence[pd.DataFrame]",
    *,
    mixed: bool = False,
    left_over: Sequence[set[str]] | None = None,
    machines: Mapping[str, Facts] | None = None,
) -> "pd.DataFrame":
    """Return one table of several runs, with one row per key: the row of the first run that has it.

    But a measured or failed row is preferred to a row whose method was missing, and that to a row
    that was not reached. A row whose cell is left over in its run from an earlier suite is taken
    only if no other run has the row.

    left_over: the ids of those cells, for each run. machines: the facts of the environments, from
    which a message says how two of them differ.
    Raises TableError if the runs were measured in different environments,
    unless `mixed`: in a table of two machines, differences of methods cannot be told from
    differences of machines.
    """
    import pandas as pd

    whole = pd.concat(frames, ignore_index=True)
    environments = sorted(e for e in whole["environment"].unique() if e)
    if len(environments) > 1 and not mixed:
        known = machines or {}
        apart = difference(*(known.get(e) for e in environments[:2]))
        raise TableError(
            f"these runs were measured in {len(environments)} environments ({apart}): their times "
            "cannot be compared. --mixed joins them anyway."
        )

    rank = whole["status"].map(_SAYS_LESS).fillna(0)
    if left_over and any(left_over):
        pairs = zip(frames, left_over, strict=True)
        old = pd.concat([frame["cell_id"].isin(of_run) for frame, of_run in pairs])
        rank += _LEFT_OVER * old.to_numpy()
    ordered = whole.loc[rank.sort_values(kind="stable").index]
    return ordered.drop_duplicates(list(KEY), keep="first").sort_index(ignore_index=True)
