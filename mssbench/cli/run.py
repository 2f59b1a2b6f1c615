"""`mssbench run`: measure the cells of a suite, or estimate the time and memory that they need.

A cell is one combination of method, problem, size, batch and so on.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import results
from mssbench.analysis.kinds import is_own_file
from mssbench.cli.measuring import Settings, measure, title
from mssbench.cli.options import (
    Also,
    Device,
    Engine,
    EngineOption,
    Json,
    KeyOption,
    KindOfMatrices,
    Matrices,
    OnlyCells,
    Set,
    ShardsOption,
    SlurmOptions,
    SuiteArgument,
    refuse_options_of_a_cluster,
    statuses,
    without,
    words,
)
from mssbench.cli.output import output, output_json
from mssbench.console import epilogue, lists
from mssbench.console.decision import Decision
from mssbench.console.summary import remaining
from mssbench.console.terminal import make_console
from mssbench.engines.gpus import choose
from mssbench.errors import SuiteError, unknown
from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.records.summary import BROKEN
from mssbench.results import parts, table
from mssbench.results.run import Run
from mssbench.suite import select
from mssbench.suite.forecast import ASSUMED, forecast_data, seconds_here
from mssbench.suite.shards import folder_name
from mssbench.suite.suite import Suite

if TYPE_CHECKING:
    from mssbench.cli.on_slurm import Cluster

# Failures that are listed with their reasons above the first table. Inaccurate rows are not among
# them: the table itself marks their errors.
_WORTH_A_LINE = (*BROKEN, Status.IMPLAUSIBLE, Status.INTERRUPTED)

EXAMPLES = (
    "mssbench run quick --matrices cov.npy",
    'mssbench run standard --only "size >= 32" --minutes 8',
)


def command(
    suite: SuiteArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder to write the run to. A run that is there already is continued.",
            show_default="results/SUITE, or results/SUITE-shard-I-of-N",
        ),
    ] = None,
    set_: Set = [],  # noqa: B006
    only: OnlyCells = None,
    matrices: Matrices = None,
    key: KeyOption = None,
    kind: KindOfMatrices = None,
    effort: Annotated[
        str | None,
        typer.Option(
            help="How long to sample each cell, one combination of method, problem, size and so "
            "on: smoke (shortest), quick, standard or rigorous.",
            show_default="the suite's own",
        ),
    ] = None,
    device: Device = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="GPU,..",
            help="Measure the cells of GPUs only on these: numbers as nvidia-smi has them, UUIDs, "
            "or a part of a model's name, e.g. 0,2 or H200. If CUDA_VISIBLE_DEVICES is set, the "
            "numbers count within it. Each GPU measures one cell at a time.",
            show_default="all visible GPUs of the first one's model",
        ),
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Measure everything again, in place of the rows in the run."),
    ] = False,
    retry: Annotated[
        str,
        typer.Option(
            metavar="STATUS,..",
            autocompletion=statuses,
            help="Besides the cells without results, measure again those that ended with one of "
            "these statuses, e.g. timeout,crashed.",
        ),
    ] = "",
    minutes: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            help="Stop after this time. If it is short, cells get fewer samples. All cells are "
            "measured once, in the order of the suite, before any is measured again.",
            show_default="the limit of the suite",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Measure only part I of N parts of the cells, such as 2/4, into a folder of its "
            "own. Every machine deals the cells in the same way, and `mssbench merge` joins the "
            "folders of all parts.",
            show_default="all cells",
        ),
    ] = None,
    engine: EngineOption = Engine.LOCAL,
    slurm: SlurmOptions = [],  # noqa: B006
    shards: ShardsOption = None,
    gpus: Annotated[
        str,
        typer.Option(
            metavar="MODEL,..",
            help="With --engine slurm: measure on each of these models of GPUs, as the cluster "
            "calls them in gres=gpu:MODEL:1, each in a run of its own, OUT-MODEL.",
            show_default="what --slurm asks for",
        ),
    ] = "",
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Measure nothing: count the cells and estimate time and memory."
        ),
    ] = False,
    also: Also = [],  # noqa: B006
    python: Annotated[
        str | None,
        typer.Option(
            help="Python interpreter that measures, in processes of its own; it needs mssbench.",
            show_default="the one that runs this command",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure a suite, or the part of it without results, and print which method to use.

    Running again resumes. Exit code: 0 fine, also where a time limit ended the run before its last
    cell; 2 misuse, 4 a cell crashed, timed out or ran out of memory, 6 nothing could be measured,
    130 interrupted (what was measured is saved).
    """
    user_matrices = select.own_matrices(matrices, key, kind)
    on_slurm = _cluster(engine, slurm, gpus, shards, shard)
    if on_slurm is not None and devices is not None:
        raise SuiteError(
            "--devices names GPUs of this machine: leave it out, or choose by --gpus which models "
            "the cluster gives."
        )
    chosen = select.choose(
        suite,
        set_,
        only,
        effort,
        device,
        also,
        own=user_matrices,
        elsewhere=dry_run or on_slurm is not None,
        shard=shard,
        auto=on_slurm.device if on_slurm is not None else None,
    )
    log = make_console(stderr=True)
    for line in select.read_from_outside(chosen):
        log.print(Text(line), soft_wrap=True)
    if dry_run:
        if as_json:
            output_json("run --dry-run", forecast_data(chosen))
        else:
            output(forecast(chosen))
        return

    path = out or Path("results") / folder_name(chosen.name, chosen.shard)
    settings = Settings(
        fresh=fresh,
        retry=retried(retry),
        also=also,
        python=python,
        minutes=minutes if minutes is not None else chosen.minutes,
        log=log,
    )
    if on_slurm is not None:
        from mssbench.cli import on_slurm as slurm_runs  # for few users, who wait longer anyway

        summaries = slurm_runs.measure(chosen, path, on_slurm, **settings)
        code = slurm_runs.exit_code(summaries)
    else:
        slots = None if devices is None else choose(devices, chosen.cells)
        summaries = [measure(chosen, path, **settings, gpus=slots)]
        code = summaries[0].exit_code

    # A run on a cluster that was stopped before its first cell has left no table.
    written = [summary.path for summary in summaries if on_slurm is None or summary.statuses]
    if as_json:
        output_json(
            "run",
            {
                "complete": all(summary.complete for summary in summaries),
                "cells_left": sum(summary.left for summary in summaries),
                "rows": [row for run in written for row in data(run)],
            },
        )
    for summary in summaries:
        if not as_json and summary.path in written:
            output(tables(summary.path))
        if not summary.complete:
            resuming = _resuming_command()
            longer = _with_minutes(resuming, _enough_minutes(chosen, minutes))
            log.print(remaining(summary, resuming, longer), soft_wrap=True)
    raise typer.Exit(code)


def _cluster(
    engine: Engine, slurm: Sequence[str], gpus: str, shards: int | None, shard: str | None
) -> "Cluster | None":
    """Return what the command line says of a cluster; None if this machine measures.

    Raises SuiteError for an option that belongs to the other engine, and RunError as
    `on_slurm.cluster` does.
    """
    given = {"--slurm": slurm, "--gpus": gpus, "--shards": shards}
    refuse_options_of_a_cluster(engine, given, shard)
    if engine is Engine.LOCAL:
        return None
    from mssbench.cli.on_slurm import cluster

    return cluster(slurm, words(gpus), shards)


def _resuming_command() -> str:
    """Return the command line that resumes this run: the one of this process without --fresh."""
    return shlex.join(["mssbench", *(word for word in sys.argv[1:] if word != "--fresh")])


def _with_minutes(command: str, minutes: float) -> str:
    """Return a command line with another limit of time."""
    kept = without(shlex.split(command), "--minutes")
    return shlex.join([*kept, "--minutes", f"{minutes:g}"])


def _enough_minutes(chosen: Suite, minutes: float | None) -> float:
    """Return a limit in which a suite can be measured: its forecast, or twice the present limit.

    minutes: the limit that the user has set; None for that of the suite.
    """
    limit = minutes if minutes is not None else chosen.minutes
    return max(ceil(seconds_here(chosen.cells, chosen.policy) / 60), 2 * (limit or 0))


def forecast(chosen: Suite) -> list[RenderableType]:
    """Return tables of the cells of a suite by method, with estimated time and memory."""
    data = forecast_data(chosen)
    methods = lists.listing(
        f"{title(chosen)}, not run",
        [
            {
                "method": m["method"],
                "cells": m["cells"],
                "time": f"~{units.duration(m['seconds'])}" if m["here"] else "-",
                "memory": f"~{units.size(m['bytes'])}",
            }
            for m in data["methods"]
        ],
    )

    time_text = (
        f"about {units.duration(data['seconds'])} in all"
        if data["seconds"]
        else "none of which can be measured here"
    )
    if chosen.minutes is not None and data["seconds"] > 60 * chosen.minutes:
        time_text += f" (the suite's limit is {units.duration(60 * chosen.minutes)}: fewer samples)"

    total = (
        f"{units.count(data['cells'], 'cell')}, {time_text}, "
        f"up to {units.size(data['bytes'])} on {', '.join(data['devices'])}; "
        "estimated from operation counts, nothing was run"
    )

    absent = [Text(_absence(group), "yellow") for group in data["absent"]]
    return [methods, *_kernels(data["kernels"]), *absent, Text(total, style="dim")]


def _absence(data: Mapping[str, Any]) -> str:
    """Say how many cells cannot be measured here, why, and how long they would take elsewhere.

    Example: `96 cells will be rows unavailable: no CUDA device. Where they can be measured they
    take about 2 min.`
    """
    rows = f"{units.count(data['cells'], 'cell')} will be rows {data['status']}: {data['reason']}."
    if data["status"] == Status.UNSUPPORTED:
        return rows
    return f"{rows} Where they can be measured they take about {units.duration(data['seconds'])}."


def _kernels(rows: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    """Yield the planned launches of the fused kernels, then the reason for each refused kernel."""
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
    """Return the statuses in the text of --retry. Raises SuiteError for an unknown status."""
    chosen = words(text)
    known = [str(s) for s in Status]
    for word in chosen:
        if word not in known:
            raise SuiteError(f"--retry: {unknown('status', word, known)}")
    return chosen


def tables(path: Path) -> Iterator[RenderableType]:
    """Yield the failures and the decision table of a finished run; `show` prints all rows."""
    run = results.open(path)
    view = Decision(run.current, run.facts, _next_commands(run))
    if view.possible:
        yield from epilogue.failures(run.current, _WORTH_A_LINE)
        yield view
        if part := parts.sentence(run.facts):
            yield Text(part, "yellow")
    else:
        yield from epilogue.epilogue(run.current, run.facts)


def _next_commands(run: Run) -> list[str]:
    """Return commands that a reader of the run's table may want next, each after a label."""
    working = Path.cwd()
    shown = run.path.relative_to(working) if run.path.is_relative_to(working) else run.path
    every_row = f"every row   mssbench show {shown}"

    measured = run.current
    if measured["problem"].map(is_own_file).all():
        again = f"{_resuming_command()} --set precision=float64"
        narrower = (measured["precision"] != "float64").any()
        return [f"float64     {again}", every_row] if narrower else [every_row]

    return [
        "your size   mssbench recommend --size N --batch B --gradient --measure",
        "your data   mssbench run quick --matrices cov.npy",
        every_row,
    ]


def data(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a run for JSON, without those of cells that its suite no longer has."""
    return table.records(results.open(path).current)
