"""`mssbench run`: choose a suite, forecast it, measure it."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.text import Text

from mssbench import console as shapes
from mssbench import environment, methods, units
from mssbench import suite as suites
from mssbench.cost import estimate
from mssbench.errors import (
    NotInstalled,
    RunError,
    SuiteError,
    TableError,
    Unavailable,
    unknown,
)
from mssbench.kernels.forecast import kernels
from mssbench.limits import DRIFTED
from mssbench.noise import Noise
from mssbench.progress import RunProgress
from mssbench.ranges import as_list
from mssbench.records import CELL_KEY, Cell, Status
from mssbench.rows import read_facts
from mssbench.run import Summary
from mssbench.run import run as run_suite
from mssbench.suite import Suite

# Starting a worker (imports, and the first use of each library) takes about this long.
_START_SECONDS = 5.0
_ASSUMED = "sm_90"  # the GPU of a forecast: H100, H200


def choose(
    name: str,
    overrides: Sequence[str],
    only: str | None,
    effort: str | None,
    device: str | None,
    also: Sequence[Path],
    *,
    elsewhere: bool = False,
) -> Suite:
    """The suite as asked for. Raises SuiteError, or RunError for a device that is not there.

    elsewhere: it need not be there.
    """
    for file in also:
        methods.load_file(file)
    chosen = suites.load(
        suites.find(name),
        auto=environment.default_device(),
        device=device,
        overrides=overrides,
        effort=effort,
    )
    if only is not None:
        chosen = _narrow(chosen, only)
    if not elsewhere:
        _refuse_missing_device(chosen)
    return chosen


def _narrow(chosen: Suite, only: str) -> Suite:
    import pandas as pd  # half the time of a dry run, and only this needs it

    from mssbench.expression import select, why_empty
    from mssbench.labels import with_labels

    frame = pd.DataFrame([{k: getattr(c, k) for k in CELL_KEY} for c in chosen.cells])
    steps = ["iterations", "backward_iterations"]
    frame = with_labels(frame.astype(dict.fromkeys(steps, "Int64")))
    try:
        kept = select(frame, only).index
    except TableError as error:
        raise SuiteError(f"--only {error}") from None
    if not len(kept):
        hint = why_empty(frame, only)
        raise SuiteError(f"--only {only!r} leaves none of the {len(frame)} cells.{hint}")
    return chosen.only((chosen.cells[i] for i in kept), only)


def _refuse_missing_device(chosen: Suite) -> None:
    """CUDA that the suite or the user names must be there for one library; `auto` asks for less."""
    document = chosen.document
    named = [document["axes"].get("device"), *(m.get("device") for m in document["method"])]
    libraries = dict.fromkeys(c.library for c in chosen.cells if c.device == "cuda")
    if not any("cuda" in as_list(each) for each in named) or not libraries:
        return
    reasons = []
    for library in libraries:
        try:
            environment.check_library(library, "cuda")
        except (NotInstalled, Unavailable) as error:
            reasons.append(str(error))
        else:
            return
    said = "; ".join(dict.fromkeys(reasons))  # of two libraries often the same
    raise RunError(f"device cuda is not there: {said}. Use --device cpu, or leave it to `auto`.")


def forecast(chosen: Suite) -> list[RenderableType]:
    """The cells of a suite by method, with estimated time and memory."""
    data = forecast_data(chosen)
    table = shapes.listing(
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
        yield shapes.listing(
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


def forecast_data(chosen: Suite) -> dict[str, Any]:
    """The same as data."""
    seconds: defaultdict[str, float] = defaultdict(float)
    cells: Counter[str] = Counter()
    most: dict[str, float] = {}
    for cell in chosen.cells:
        pair = cell.backend if cell.backward == "none" else f"{cell.backend} + {cell.backward}"
        cost = estimate(cell, chosen.policy)
        cells[pair] += 1
        seconds[pair] += cost.seconds
        most[pair] = max(most.get(pair, 0.0), cost.bytes)
    return {
        "suite": chosen.name,
        "cells": len(chosen.cells),
        "seconds": round(_START_SECONDS + sum(seconds.values()), 1),
        "bytes": max(most.values()),
        "devices": sorted({c.device for c in chosen.cells}),
        "methods": [
            {"method": p, "cells": n, "seconds": round(seconds[p], 1), "bytes": most[p]}
            for p, n in sorted(cells.items())
        ],
        "kernels": kernels((c for c in chosen.cells if c.device == "cuda"), _ASSUMED),
    }


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


def closing(summary: Summary) -> Text:
    """Cells by status, where the time went, how steady the machine was, and the folder.

    `102 cells: 78 ok, 24 not_installed · 41 s (samples 60 %, ...) · drift 2 %, 90 rows quiet, 6
    noisy · results/quick`.
    """
    text = Text()
    if summary.interrupted:
        text.append(
            "interrupted, what was measured is saved; the same command goes on. ", "magenta"
        )
    if summary.over:
        text.append("the time was over; the same command goes on. ", "magenta")
    if not summary.statuses.total():
        cells = units.count(summary.cells, "cell")
        return text + Text(f"nothing left to measure: {cells} in {summary.path}")
    text.append(f"{units.count(summary.statuses.total(), 'cell')}: ")
    text += shapes.status_words(summary.statuses)
    parts = [
        f"{what} {100 * spent / summary.seconds:.0f} %"
        for what, spent in [*summary.spent.most_common(), ("own", summary.own)]
        if spent / summary.seconds >= 0.005
    ]
    text.append(f" · {units.duration(summary.seconds)}")
    text.append(f" ({', '.join(parts)})" if parts else "")
    if steady := _steadiness(summary):
        text.append(f" · {steady}")
    text.append(f" · {summary.path}")
    return text


def _steadiness(summary: Summary) -> str:
    """`drift 2 %, 90 rows quiet, 6 noisy`: how much of a difference means something in this run."""
    parts = []
    if summary.drift is not None:
        much = " (the machine changed: compare times of this run with care)"
        parts.append(f"drift {100 * summary.drift:.0f} %{much if summary.drift > DRIFTED else ''}")
    counts = [(summary.noise[each], each) for each in Noise if summary.noise[each]]
    for i, (n, each) in enumerate(counts):
        parts.append(f"{n} {each}" if i else f"{units.count(n, 'row')} {each}")
    return ", ".join(parts)


def tables(path: Path) -> Iterator[RenderableType]:
    """What a finished run shows: forward and step, conclusions, failures.

    On a GPU what a caller waits and what a cold device takes; `show` has the other clocks.
    """
    from mssbench import table

    frame = table.load(path)
    rest = (frame["clock"] == "graph") | ((frame["clock"] == "gpu") & (frame["cache"] == "hot"))
    frame = frame[~rest]
    measured = frame[frame["seconds_median"].notna()]
    if len(measured):
        shown = measured[measured["phase"] != "backward"]
        yield from shapes.result(shown, ("method",), ("size",), "seconds_median")
    yield from shapes.epilogue(frame, read_facts(path))


def data(path: Path) -> list[dict[str, Any]]:
    """The same as rows for JSON."""
    from mssbench import table

    return table.records(table.load(path))
