"""`mssbench recommend`: recommend a method for one size and batch, from measured rows."""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from mssbench import results
from mssbench.analysis import recommend
from mssbench.analysis.decision import ErrorBounds, Line
from mssbench.analysis.naming import call_text
from mssbench.analysis.recommend import Candidate, Proof, Question
from mssbench.analysis.trust import trust
from mssbench.cli.measuring import measure as measure_suite
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
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
from mssbench.run.screening import is_left_behind, measured
from mssbench.suite.expand import check_axis
from mssbench.suite.suite import Suite

EXAMPLES = (
    "mssbench recommend --size 256 --batch 64 --gradient --measure",
    "mssbench recommend --size 64 --batch 16 --condition 1e5 --max-error 1e-4",
)


def command(
    size: Annotated[int | None, typer.Option(help="Size n of your n x n matrices.")] = None,
    batch: Annotated[
        int | None, typer.Option(help="Number of your matrices in a batch, for one call.")
    ] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RUN",
            help="Folders of the runs to find the answer in.",
            show_default="those of this machine under results/",
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of your matrices: float64, float32, tf32, bfloat16 or float16."
        ),
    ] = "float32",
    device: Annotated[
        str | None,
        typer.Option(
            help="Where your matrices are: cpu, cuda, or auto, which is cuda if torch can use a "
            "GPU, else cpu.",
            show_default="auto",
        ),
    ] = None,
    function: Annotated[
        str,
        typer.Option(
            help="What you compute: sqrt, A^(1/2); isqrt, A^(-1/2); isqrt_b, A^(-1/2) b for a "
            "vector b; log, the logarithm; sqrt_x, the root of the covariance of features; or "
            "whiten, a matrix W with W A W^T = I."
        ),
    ] = "sqrt",
    gradient: Annotated[
        bool,
        typer.Option("--gradient", help="You need the gradient too, as in a training step."),
    ] = False,
    max_error: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest relative error of the root that you accept.",
            show_default="the limit of the suite",
        ),
    ] = None,
    max_gradient_error: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Largest relative error of the gradient that you accept; needs --gradient.",
            show_default="the limit of the suite",
        ),
    ] = None,
    condition: Annotated[
        float | None,
        typer.Option(
            min=1.0,
            help="Condition number of your matrices. Methods are then judged by the problems with "
            "smaller condition numbers and by the next harder one that was measured.",
            show_default="unknown: every kind of matrix counts",
        ),
    ] = None,
    rank: Annotated[
        int | None,
        typer.Option(
            min=1, help="Rank of your matrices, if they are singular.", show_default="--size"
        ),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="If the runs have no answer, measure the methods that may be fastest, in about a "
            "minute.",
        ),
    ] = False,
    python: Annotated[
        bool, typer.Option("--python", help="Print only the recommended call, as Python code.")
    ] = False,
    save: Annotated[
        bool,
        typer.Option(
            "--save",
            help="For each place that the runs measured (device, function, precision, size, batch, "
            "with gradient or not), save which pair of methods to use, one for the root and one "
            "for the gradient, to a file in your own data folder. The pair is eigh + loewner, "
            "unless another pair that comes with mssbench is clearly faster and about as accurate. "
            "Places where eigh + loewner was not compared with another pair are left out. "
            "sqrtm(a, forward='auto') then chooses by this file.",
        ),
    ] = False,
    save_as: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Do what --save does, but write to this file, e.g. one that several users share. "
            "sqrtm chooses by it where the environment variable MSSBENCH_AUTO names it.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which method to use for a size, batch and error, with the rows that prove it.

    Only rows of exactly this size and batch count as an answer. Without such rows the command names
    methods that did well at neighbouring sizes, and exits with code 6. With --measure it measures
    the methods that may be fastest instead.
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
    evidence = recommend.proof(opened, question)
    # Rows whose times cannot be compared are no answer, so --measure takes them anew.
    doubted = evidence is not None and not trust(evidence.rows, evidence.run.facts).comparable
    unknown = evidence is None or evidence.board.unreached or recommend.is_shipped(evidence.run)
    evidence_before, latest = evidence, None
    if measure and (unknown or doubted):
        log = make_console(stderr=True)
        latest = measured(question, _measure, log.print, fresh=doubted)
        evidence = recommend.proof([latest], question)

    nearby = [] if evidence or latest else recommend.shortlist(opened, question)
    if as_json:
        output_json("recommend", data(question, evidence, nearby))
    elif python and evidence:
        output([Text(_best_call(evidence, question), no_wrap=True, overflow="ignore")])
    else:
        if evidence:
            parts = answer(evidence)
            if (
                latest
                and not recommend.best(evidence)
                and evidence_before
                and (best := recommend.best(evidence_before))
            ):
                parts = chain(parts, [known_before(evidence_before, best)])
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
    raise typer.Exit(
        ExitCode.PASS if evidence and recommend.best(evidence) else ExitCode.NOTHING_MEASURED
    )


def _opened(paths: Sequence[Path] | None) -> list[Run]:
    """Return the runs in these folders, or those of this machine if no folder is named."""
    return [results.open(path) for path in paths] if paths else list(of_this_machine())


def _measure(chosen: Suite, path: Path, *, minutes: float | None, fresh: bool) -> None:
    """Measure the cells of a suite into the folder `path`, with progress on stderr.

    Exits the process if the user interrupts. minutes: the limit of time. fresh: measure all again.
    """
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
    """Check the options that say what a method is wanted for, and return them as a Question.

    Raises SuiteError if an option has an invalid value or contradicts another one. The message
    names the option and, for a misspelt word, the nearest valid one.
    """
    chosen = devices.default_device() if device in (None, "auto") else device
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
    bounds = ErrorBounds(
        unbounded if max_error is None else max_error,
        unbounded if max_gradient_error is None else max_gradient_error,
    )
    return Question(size, batch, precision, chosen, function, gradient, bounds, condition, rank)


def of_this_machine() -> Iterator[Run]:
    """Yield the runs under results/ that were measured on this machine, or on one like it.

    Runs that are shipped with the package are included if processor, cores and torch agree. Folders
    that a killed `recommend --measure` has left behind are not.
    """
    for table in sorted(RESULTS.glob("*/table.csv")):
        if is_left_behind(table.parent):
            continue
        run = results.open(table.parent)
        try:
            known = run.facts["environments"].values()
        except RunError:  # damaged: another run may answer
            continue
        if any(is_this_machine(facts) for facts in known):
            yield run


def _best_call(proof: Proof, question: Question) -> str:
    """Return the recommended call; or two comments, why there is none and which command is next."""
    best = recommend.best(proof)
    if best:
        return call_text(best.row)

    reliability = trust(proof.rows, proof.run.facts)
    again = proof.board.unreached or not reliability.comparable or recommend.is_shipped(proof.run)
    command = f"{command_of(question)} --measure" if again else f"mssbench show {proof.run.path}"
    return f"# no method can be recommended from these rows\n# {command}"


def data(question: Question, proof: Proof | None, nearby: Sequence[Candidate]) -> dict[str, Any]:
    """Return the answer to a question for JSON: measured methods, or methods at nearby sizes.

    question: what the user wants to compute. proof: the rows of this size and batch, with the board
    that ranks their methods; None if there are none. nearby: methods that did well at neighbouring
    sizes.
    """
    asked_for = question._asdict() | {
        name: None if bound == float("inf") else bound
        for name, bound in zip(("max_error", "max_gradient_error"), question.bounds, strict=True)
    }

    del asked_for["bounds"]
    best = recommend.best(proof) if proof else None
    return {
        "question": asked_for,
        "measured": proof is not None,
        "run": str(proof.run.path) if proof else None,
        "shipped": recommend.is_shipped(proof.run) if proof else None,
        "recommended": best.name if best else None,
        "methods": [_method(proof, line) for line in proof.board.lines] if proof else [],
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


def _method(proof: Proof, line: Line) -> dict[str, Any]:
    """Return one measured method for JSON, with the ids of the cells that its numbers come from.

    proof: the rows of one run that answer the question, with the board that ranks their methods.
    line: the method's line on this board. A cell is one combination of method, problem, size and so
    on.
    """
    proving = proof.rows[
        (proof.rows["forward"] == line.row["forward"])
        & (proof.rows["backward"] == line.row["backward"])
        & (proof.rows["options"] == line.row["options"])
        & (proof.rows["library"] == line.row["library"])
    ]

    for name in ("iterations", "backward_iterations"):
        value = line.row[name]
        proving = proving[proving[name].isna() if value is None else proving[name] == value]
    return {
        "method": line.name,
        "call": call_text(line.row),
        "seconds": line.seconds,
        "unsure": line.unsure,
        "right": list(proof.board.right(line)),
        "right_everywhere": proof.board.right_everywhere(line),
        "errors": {kind: mark.error for kind, mark in line.marks.items()},
        "cells": sorted(proving["cell_id"].unique()),
    }
