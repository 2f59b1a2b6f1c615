"""`mssbench run`: choose a suite, forecast it, measure it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.text import Text

from mssbench import results, units
from mssbench.cli.options import (
    Also,
    Device,
    Json,
    Key,
    KindOfMatrices,
    Matrices,
    OnlyCells,
    Set,
    Suite,
    words,
)
from mssbench.cli.output import output
from mssbench.console import blocks as console_blocks
from mssbench.console import epilogue, lists
from mssbench.console.progress import RunProgress
from mssbench.console.summary import closing
from mssbench.console.terminal import make_console
from mssbench.errors import SuiteError, unknown
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.records.summary import Summary
from mssbench.results import table
from mssbench.run.run import run as run_suite
from mssbench.suite import select
from mssbench.suite.forecast import ASSUMED, START_SECONDS, estimate, forecast_data
from mssbench.suite.suite import Suite as ChosenSuite


def command(
    suite: Suite,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run. [default: results/SUITE]")
    ] = None,
    set_: Set = [],  # noqa: B006
    only: OnlyCells = None,
    matrices: Matrices = None,
    key: Key = None,
    kind: KindOfMatrices = None,
    effort: Annotated[
        str | None, typer.Option(help="How long to sample: smoke, quick, standard or rigorous.")
    ] = None,
    device: Device = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Measure everything again.")] = False,
    retry: Annotated[
        str,
        typer.Option(
            metavar="STATUS,..",
            help="Measure again the cells with these statuses, e.g. timeout,crashed.",
        ),
    ] = "",
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Stop after this time. The first values of each axis are measured first.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the cells, estimate time and memory, and stop.")
    ] = False,
    also: Also = [],  # noqa: B006
    python: Annotated[
        str | None, typer.Option(help="Interpreter for the workers; it needs mssbench.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure what is missing of SUITE, then show the table.

    Running again resumes. Exit code: 0 fine, 2 misuse, 4 a cell crashed, overstayed or ran out of
    memory, 6 nothing could be measured, 130 interrupted (what was measured is saved).
    """
    own = select.own_matrices(matrices, key, kind)
    chosen = select.choose(suite, set_, only, effort, device, also, own=own, elsewhere=dry_run)
    log = make_console(stderr=True)
    for line in select.read_from_outside(chosen):
        log.print(Text(line), soft_wrap=True)
    if dry_run:
        output(forecast_data(chosen) if as_json else forecast(chosen))
        return

    path = out or Path("results") / chosen.name
    again = retried(retry)
    summary = measure(
        chosen,
        path,
        fresh=fresh,
        retry=again,
        also=also,
        python=python,
        minutes=minutes,
        log=log,
    )

    output(data(path) if as_json else tables(path))
    raise typer.Exit(summary.exit_code)


def forecast(chosen: ChosenSuite) -> list[RenderableType]:
    """The cells of a suite by method, with estimated time and memory."""
    data = forecast_data(chosen)
    methods = lists.listing(
        f"{chosen.name}, not run",
        [
            {
                "method": m["method"],
                "cells": m["cells"],
                "time": f"~{units.duration(m['seconds'])}",
                "memory": f"~{units.size(m['bytes'])}",
            }
            for m in data["methods"]
        ],
    )
    total = (
        f"{units.count(data['cells'], 'cell')}, about {units.duration(data['seconds'])} in all, "
        f"up to {units.size(data['bytes'])} on {', '.join(data['devices'])}; "
        "estimated from operation counts, nothing was run"
    )
    return [methods, *_kernels(data["kernels"]), Text(total, style="dim")]


def _kernels(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """What the fused kernels take of a GPU, as their planner has it; what it refuses, and why."""
    refused = [row for row in rows if not row["blocks"]]
    if rows := [row for row in rows if row["blocks"]]:
        yield lists.listing(
            f"kernels on {ASSUMED}",
            [
                {
                    "kernel": row["kernel"],
                    "for": row["method"],
                    "n": ", ".join(map(str, row["n"])),
                    "blocks": row["blocks"],
                    "threads": row["threads"],
                    "memory of a block": units.size(row["shared_bytes"]),
                }
                for row in rows
            ],
        )
    for row in refused:
        yield Text(f"{row['method']}: no kernel: {row['kernel'].removeprefix('none: ')}", "yellow")


def retried(text: str) -> list[str]:
    """The statuses of --retry. Raises SuiteError for a word that is none."""
    chosen = words(text)
    known = [str(s) for s in Status]
    for word in chosen:
        if word not in known:
            raise SuiteError(f"--retry: {unknown('status', word, known)}")
    return chosen


def measure(
    chosen: ChosenSuite,
    path: Path,
    *,
    fresh: bool,
    retry: Sequence[str],
    also: Sequence[Path],
    python: str | None,
    minutes: float | None,
    log: Console,
) -> Summary:
    """Run what is missing, with progress on `log`; it says where the time went when done."""

    def begin(todo: Sequence[Cell]) -> None:
        """Say what will be done, once it is known that it can be."""
        if todo:
            seconds = sum((estimate(c, chosen.policy).seconds for c in todo), START_SECONDS)
            log.print(
                f"[bold]{chosen.name}[/]: {len(todo)} of {units.count(len(chosen.cells), 'cell')} "
                f"to measure, about {units.duration(seconds)}"
            )
        progress.begin(len(todo) * chosen.policy.passes)

    with RunProgress(log) as progress:
        summary = run_suite(
            chosen,
            path,
            fresh=fresh,
            retry=retry,
            also=also,
            python=python,
            seconds=None if minutes is None else 60 * minutes,
            watch=progress,
            begin=begin,
        )
    log.print(closing(summary))
    return summary


def tables(path: Path) -> Iterator[RenderableType]:
    """Yield the tables of a finished run: forward and step, conclusions, failures.

    On a GPU they have the wall clock and the cold `gpu` clock; `show` has the other clocks.
    """
    run = results.open(path)
    frame = run.frame
    rest = (frame["clock"] == "graph") | ((frame["clock"] == "gpu") & (frame["cache"] == "hot"))
    frame = frame[~rest]

    measured = frame[frame["seconds_median"].notna()]
    if len(measured):
        shown = measured[measured["phase"] != "backward"]
        yield from console_blocks.result(shown, ("method",), ("size",), "seconds_median")
    yield from epilogue.epilogue(frame, run.facts)


def data(path: Path) -> list[dict[str, Any]]:
    """Return the rows for JSON."""
    return table.records(results.open(path).frame)
