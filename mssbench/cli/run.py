"""`mssbench run`: choose a suite, forecast it, measure it."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from mssbench import units
from mssbench.console import blocks as shapes
from mssbench.console import epilogue, lists
from mssbench.console.progress import RunProgress
from mssbench.console.summary import closing
from mssbench.errors import SuiteError, unknown
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.records.summary import Summary
from mssbench.results.rows import read_facts
from mssbench.run.run import run as run_suite
from mssbench.suite.forecast import _ASSUMED, _START_SECONDS, estimate, forecast_data
from mssbench.suite.suite import Suite


def forecast(chosen: Suite) -> list[RenderableType]:
    """The cells of a suite by method, with estimated time and memory."""
    data = forecast_data(chosen)
    table = lists.listing(
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
    return [table, *_kernels(data["kernels"]), Text(total, style="dim")]


def _kernels(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """What the fused kernels take of a GPU, as their planner has it; what it refuses, and why."""
    refused = [row for row in rows if not row["blocks"]]
    if rows := [row for row in rows if row["blocks"]]:
        yield lists.listing(
            f"kernels on {_ASSUMED}",
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
    words = [w.strip() for w in text.split(",") if w.strip()]
    known = [str(s) for s in Status]
    for word in words:
        if word not in known:
            raise SuiteError(f"--retry: {unknown('status', word, known)}")
    return words


def measure(
    chosen: Suite,
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
            seconds = sum((estimate(c, chosen.policy).seconds for c in todo), _START_SECONDS)
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
    """What a finished run shows: forward and step, conclusions, failures.

    On a GPU what a caller waits and what a cold device takes; `show` has the other clocks.
    """
    from mssbench.results import table as table_

    frame = table_.load(path)
    rest = (frame["clock"] == "graph") | ((frame["clock"] == "gpu") & (frame["cache"] == "hot"))
    frame = frame[~rest]
    measured = frame[frame["seconds_median"].notna()]
    if len(measured):
        shown = measured[measured["phase"] != "backward"]
        yield from shapes.result(shown, ("method",), ("size",), "seconds_median")
    yield from epilogue.epilogue(frame, read_facts(path))


def data(path: Path) -> list[dict[str, Any]]:
    """The same as rows for JSON."""
    from mssbench.results import table as table_

    return table_.records(table_.load(path))
