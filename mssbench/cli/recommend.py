"""`mssbench recommend`: which method to use at one size and batch, from rows that prove it."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mssbench import results
from mssbench.analysis import decision, recommend
from mssbench.analysis.decision import Bounds, Line
from mssbench.analysis.naming import call_text
from mssbench.analysis.recommend import Candidate, Proof, Question
from mssbench.analysis.trust import trust
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.cli.run import measure as measure_suite
from mssbench.cli.saving import saved
from mssbench.console.recommendation import (
    RESULTS,
    answer,
    command_of,
    known_before,
    too_little,
    unanswered,
)
from mssbench.console.terminal import make_console
from mssbench.errors import ExitCode, RunError, SuiteError
from mssbench.machine import devices
from mssbench.machine.facts import is_this_machine
from mssbench.methods.auto import users_table
from mssbench.results.run import Run
from mssbench.run.screening import measured
from mssbench.suite.expand import check_axis
from mssbench.suite.suite import Suite

EXAMPLES = (
    "mssbench recommend --size 256 --batch 64 --gradient --measure",
    "mssbench recommend --size 64 --batch 16 --condition 1e5 --max-error 1e-4",
)


def command(
    size: Annotated[int | None, typer.Option(help="n of your n x n matrices.")] = None,
    batch: Annotated[int | None, typer.Option(help="Matrices in a batch.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN", help="Runs to look at; else all under results/ of a machine like this."
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="float64, float32, tf32, bfloat16 or float16.")] = (
        "float32"
    ),
    device: Annotated[str | None, typer.Option(help="cpu or cuda; else cuda where it is.")] = None,
    function: Annotated[str, typer.Option(help="sqrt or isqrt.")] = "sqrt",
    gradient: Annotated[
        bool, typer.Option("--gradient", help="A training step: the root and its gradient.")
    ] = False,
    max_error: Annotated[
        float | None, typer.Option(min=0.0, help="Largest relative error of the root.")
    ] = None,
    max_gradient_error: Annotated[
        float | None, typer.Option(min=0.0, help="Largest relative error of the gradient.")
    ] = None,
    condition: Annotated[
        float | None, typer.Option(min=1.0, help="Condition number of your matrices.")
    ] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="Their rank, where it is below their size.")
    ] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure what is not known, in about a minute.")
    ] = False,
    python: Annotated[
        bool, typer.Option("--python", help="Print the call alone, to be pasted.")
    ] = False,
    save: Annotated[
        bool,
        typer.Option(
            "--save", help="Save what the runs say of every size for sqrtm(a, forward='auto')."
        ),
    ] = False,
    save_as: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The same into this file, such as a shared one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which method to use for a size, batch and error, with the rows that prove it.

    Only rows of exactly this size and batch are an answer. Without such rows the command names the
    methods that did well nearby, and ends with code 6; --measure measures those that can win.
    """
    if save or save_as:
        if size is not None or batch is not None:
            raise SuiteError("--save takes every size of the runs: leave --size and --batch out.")
        output(saved(_opened(runs), save_as or users_table()))
        return
    if size is None or batch is None:
        raise SuiteError(
            "--size and --batch say what to recommend a method for, as in "
            "`mssbench recommend --size 256 --batch 64`."
        )
    question = asked(
        size,
        batch,
        precision,
        device,
        function,
        gradient,
        max_error,
        max_gradient_error,
        condition,
        rank,
    )
    opened = _opened(runs)
    found = recommend.proof(opened, question)
    doubted = found is not None and not trust(found.rows, found.run.facts).comparable
    unknown = found is None or found.board.unreached or recommend.is_shipped(found.run)
    before, latest = found, None
    if measure and (unknown or doubted):
        log = make_console(stderr=True)
        latest = measured(question, _measure, log.print, fresh=doubted)
        found = recommend.proof([latest], question)

    nearby = [] if found or latest else recommend.shortlist(opened, question)
    if as_json:
        output_json("recommend", data(question, found, nearby))
    elif python and found:
        output([Text(_best_call(found), no_wrap=True, overflow="ignore")])
    else:
        if found:
            parts = answer(found)
            if latest and not _best(found) and before and (best := _best(before)):
                parts = chain(parts, [known_before(before, best)])
        elif latest:
            parts = too_little(question, latest)
        else:
            parts = unanswered(question, nearby, opened, bool(runs))
        if python:
            log = make_console(stderr=True)
            for part in parts:
                log.print(part)
        else:
            output(parts)
    raise typer.Exit(ExitCode.PASS if found and _best(found) else ExitCode.NOTHING_MEASURED)


def _opened(paths: Sequence[Path] | None) -> list[Run]:
    return [results.open(path) for path in paths] if paths else list(of_this_machine())


def _measure(chosen: Suite, path: Path, *, minutes: float | None, fresh: bool) -> None:
    """Run a suite with progress on stderr; an interrupted one ends the command."""
    summary = measure_suite(
        chosen,
        path,
        fresh=fresh,
        retry=[],
        also=[],
        python=None,
        minutes=minutes,
        log=make_console(stderr=True),
    )
    if summary.interrupted:
        raise typer.Exit(summary.exit_code)


def asked(
    size: int,
    batch: int,
    precision: str,
    device: str | None,
    function: str,
    gradient: bool,
    max_error: float | None,
    max_gradient_error: float | None,
    condition: float | None,
    rank: int | None,
) -> Question:
    """The question, checked. Raises SuiteError naming the option and the nearest right word."""
    chosen = device or devices.default_device()
    for name, value in (
        ("size", size),
        ("batch", batch),
        ("precision", precision),
        ("device", chosen),
        ("function", function),
    ):
        try:
            check_axis(name, value)
        except SuiteError as error:
            raise SuiteError(f"--{name}: {error}") from None
    if rank is not None and rank > size:
        raise SuiteError(f"--rank {rank} exceeds --size {size}.")
    if rank is not None and rank < size and condition is not None:
        raise SuiteError("--rank below --size means singular matrices, which have no --condition.")
    if max_gradient_error is not None and not gradient:
        raise SuiteError("--max-gradient-error needs --gradient.")
    unbounded = float("inf")
    bounds = Bounds(
        unbounded if max_error is None else max_error,
        unbounded if max_gradient_error is None else max_gradient_error,
    )
    return Question(size, batch, precision, chosen, function, gradient, bounds, condition, rank)


def of_this_machine() -> Iterator[Run]:
    """Yield the runs under results/ that were measured on this machine, or on one like it.

    Those that come with the package are among them where processor, cores and torch agree.
    """
    for table in sorted(RESULTS.glob("*/table.csv")):
        run = results.open(table.parent)
        try:
            known = run.facts["environments"].values()
        except RunError:  # damaged: another run may answer
            continue
        if any(is_this_machine(facts) for facts in known):
            yield run


def _best(found: Proof) -> Line | None:
    believed = trust(found.rows, found.run.facts)
    return decision.choose(found.board, believed.drift) if believed.comparable else None


def _best_call(found: Proof) -> str:
    best = _best(found)
    return call_text(best.row) if best else "# no method can be recommended from these rows"


def data(question: Question, found: Proof | None, nearby: Sequence[Candidate]) -> dict[str, Any]:
    """Return the answer for JSON: methods with the rows that prove them, or what is nearby."""
    asked_for = question._asdict() | {
        name: None if bound == float("inf") else bound
        for name, bound in zip(("max_error", "max_gradient_error"), question.bounds, strict=True)
    }
    del asked_for["bounds"]
    best = _best(found) if found else None
    return {
        "question": asked_for,
        "measured": found is not None,
        "run": str(found.run.path) if found else None,
        "shipped": recommend.is_shipped(found.run) if found else None,
        "recommended": best.name if best else None,
        "methods": [_method(found, line) for line in found.board.lines] if found else [],
        "nearby": [
            {
                "method": line.name,
                "call": call_text(line.row),
                "seconds": line.seconds,
                "size": size,
                "batch": batch,
                "doubt": doubt,
            }
            for line, size, batch, doubt in nearby
        ],
        "to_measure": f"{command_of(question)} --measure",
    }


def _method(found: Proof, line: Line) -> dict[str, Any]:
    proving = found.rows[
        (found.rows["forward"] == line.row["forward"])
        & (found.rows["backward"] == line.row["backward"])
        & (found.rows["options"] == line.row["options"])
        & (found.rows["library"] == line.row["library"])
    ]
    for name in ("iterations", "backward_iterations"):
        value = line.row[name]
        proving = proving[proving[name].isna() if value is None else proving[name] == value]
    return {
        "method": line.name,
        "call": call_text(line.row),
        "seconds": line.seconds,
        "unsure": line.unsure,
        "right": list(found.board.right(line)),
        "right_everywhere": found.board.right_everywhere(line),
        "errors": {kind: mark.error for kind, mark in line.marks.items()},
        "cells": sorted(proving["cell_id"].unique()),
    }
