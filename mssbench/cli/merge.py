"""`mssbench merge`: join several runs, or the shards of one, into one table.

It does not import torch, except to name the cells that shards of `mssbench run` lack.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.console.training_progress import name_of
from mssbench.errors import ExitCode, RunError
from mssbench.records import units
from mssbench.records.measurement import Row
from mssbench.results import merge, trainings
from mssbench.results.facts_file import read_facts
from mssbench.results.parts import part_of
from mssbench.run.finish import finish

_NAMED = 5  # cells of a shard that are named; the others are counted

EXAMPLES = (
    "mssbench merge results/quick-shard-*-of-4 --out results/quick",
    "mssbench merge results/quick",
)


def command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="Folders of the runs to join, of mssbench run or of mssbench train, or of one run "
            "to complete.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the merged run, new or empty; needed for several runs.",
            show_default="the folder of a single RUN",
        ),
    ] = None,
    mixed: Annotated[
        bool,
        typer.Option(
            "--mixed",
            help="Allow that the runs come from different machines or versions of the libraries, "
            "as trainings always may.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Join runs into one table, or complete the files of one RUN that was killed.

    The runs may be shards of one run, see --shard of `mssbench run` and `mssbench train`. Exit
    code: 0 fine, 2 misuse, 4 cells of shards have no result.
    """
    if _are_trainings(runs):
        summary = _join_trainings(runs, out)
        said = [joined(summary), *lines(summary["missing"], "training")]
    else:
        summary = merge.merge(runs, out, mixed=mixed, complete=completed)
        summary["missing"] = [shard | {"cells": names} for shard, names in _named(summary)]
        said = [merged(summary), *lines(summary["missing"], "cell")]

    if as_json:
        output_json("merge", summary)
    else:
        output([*map(_remark, summary["remarks"]), *said])
    if summary["missing"]:
        raise typer.Exit(ExitCode.BROKEN)


def _are_trainings(runs: Sequence[Path]) -> bool:
    """Whether the runs are trainings. Raises RunError if only some of them are."""
    kinds = {run: trainings.holds(run) for run in runs}
    if len({*kinds.values()}) > 1:
        trained = next(run for run, holds in kinds.items() if holds)
        other = next(run for run, holds in kinds.items() if not holds)
        raise RunError(
            f"{trained} holds trainings of `mssbench train`, and {other} does not: they cannot be "
            "joined. Merge trainings and other runs into folders of their own."
        )
    return all(kinds.values())


def _join_trainings(runs: Sequence[Path], out: Path | None) -> dict[str, Any]:
    """Join runs of trainings into the folder `out`, and return what `merge.merge` returns.

    Raises RunError without `out`.
    """
    from mssbench.run.training_merge import join

    if out is None:
        raise RunError(
            "to join trainings, name the folder of the result: --out FOLDER. A single run of "
            "trainings is completed by `mssbench train`."
        )
    found = join(runs, out)
    return {
        "path": str(out),
        "counts": {"rows": found.trainings, "cells": found.trainings, "runs": len(runs)},
        "remarks": found.remarks,
        "missing": [
            {
                "shard": shard,
                "cell_ids": [cell.cell_id for cell in cells],
                "cells": [name_of(cell) for cell in cells],
            }
            for shard, cells in found.missing.items()
        ],
    }


def completed(rows: Sequence[Row], samples: merge.Samples) -> list[Row]:
    """Return the rows of joined shards with the columns that depend on all rows of a run."""
    return finish(rows, samples, ()).rows


def _named(summary: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """Yield each shard that lacks results, with the names of these cells, as far as they are known.

    The cells of a shard that was not joined at all are those that its suite deals to it here.
    """
    if not summary["missing"]:
        return
    from mssbench.suite import select, shards  # which takes long: only if a shard lacks a result

    folder = Path(summary["path"])
    facts = read_facts(folder)
    part = part_of(facts)
    conditions = (str(run.get("only", "")) for run in facts["runs"].values())
    suite = select.of_run(folder, conditions, part.digest if part is not None else "")

    for shard in summary["missing"]:
        cells = suite.cells if suite is not None else ()
        ids = set(shard["cell_ids"])
        if suite is not None and not ids:
            cells = suite.sharded(shards.parse(shard["shard"])).cells
            ids = {cell.cell_id for cell in cells}
        yield shard | {"cell_ids": sorted(ids)}, [str(c) for c in cells if c.cell_id in ids]


def lines(missing: Sequence[Mapping[str, Any]], noun: str) -> Iterator[Text]:
    """Yield a line for each shard that lacks results, with the first of its cells, and a remedy.

    noun: what a cell is called.
    """
    for shard in missing:
        count = len(shard["cell_ids"])
        cells = f"{units.count(count, noun)} without a result"
        lack = cells if count else "its cells cannot be named here"
        what = f"shard {shard['shard']}" if shard["shard"] else "the run"
        yield Text(f"{what} is not complete: {lack}", "yellow")
        yield from (Text(f"    {name}") for name in shard["cells"][:_NAMED])
        if (more := len(shard["cells"]) - _NAMED) > 0:
            yield Text(f"    and {more} more")

    if missing and noun == "training":
        yield Text(
            "Train what is missing with `mssbench train`, the same suite and this folder as "
            "--out. Or train the shards again, each into its folder, and merge all of them into a "
            "new folder.",
            "yellow",
        )
    elif missing:
        yield Text(
            "Run these shards again, each into its folder and with the options of the others, and "
            "merge all shards into a new folder.",
            "yellow",
        )


def merged(summary: dict[str, Any]) -> Text:
    """Return one line with the size and place of a merged run."""
    counts = summary["counts"]
    return Text(f"{counts['rows']} rows of {counts['cells']} cells in {summary['path']}")


def joined(summary: Mapping[str, Any]) -> Text:
    """Return one line with the size and place of a joined run of trainings."""
    count = summary["counts"]["cells"]
    missing = sum(len(shard["cell_ids"]) for shard in summary["missing"])
    return Text(f"{count - missing} of {units.count(count, 'training')} in {summary['path']}")


def _remark(sentence: str) -> Text:
    """Return a remark on a damaged file as text that is never folded, so that its path is whole."""
    return Text(sentence, "yellow", no_wrap=True, overflow="ignore")
