"""`mssbench recommend`: which method to use at one size and batch, from rows that prove it."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from rich.console import RenderableType
from rich.text import Text

from mssbench import results, units
from mssbench.analysis import decision, recommend
from mssbench.analysis.decision import Bounds, Line
from mssbench.analysis.naming import call_text
from mssbench.analysis.recommend import Candidate, Proof, Question
from mssbench.analysis.trust import trust
from mssbench.cli.options import Json
from mssbench.cli.output import output, output_json
from mssbench.cli.run import measure as measure_suite
from mssbench.cli.saving import saved
from mssbench.console.decision import Decision
from mssbench.console.terminal import make_console
from mssbench.errors import ExitCode, RunError, SuiteError
from mssbench.machine import devices
from mssbench.machine.facts import is_this_machine
from mssbench.methods.auto import Place, choice, users_table
from mssbench.methods.method import Function
from mssbench.results.run import Run
from mssbench.run.screening import measured
from mssbench.suite.expand import check_axis
from mssbench.suite.suite import Suite

_RESULTS = Path("results")
_MOST_CANDIDATES = 8  # that are listed

EXAMPLES = (
    "mssbench recommend --size 256 --batch 64 --gradient --measure",
    "mssbench recommend --size 64 --batch 16 --condition 1e5 --max-error 1e-4",
)


def command(
    size: Annotated[int | None, typer.Option(help="n of your n x n matrices.")] = None,
    batch: Annotated[int | None, typer.Option(help="Matrices in a batch.")] = None,
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Runs to look at; else all of this machine."),
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
        bool, typer.Option("--measure", help="Measure what is not known, in a minute or two.")
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
        size, batch, precision, device, function, gradient, max_error, max_gradient_error,
        condition, rank,
    )  # fmt: skip
    opened = _opened(runs)
    found = recommend.proof(opened, question)
    doubted = found is not None and not trust(found.rows, found.run.facts).comparable
    if measure and (found is None or found.board.unreached or doubted):
        log = make_console(stderr=True)
        run = measured(question, _measure, log.print, fresh=doubted)
        found = recommend.proof([run], question)

    nearby = [] if found else recommend.shortlist(opened, question)
    if as_json:
        output_json("recommend", data(question, found, nearby))
    elif python and found:
        output([Text(_best_call(found), no_wrap=True, overflow="ignore")])
    else:
        parts = answer(found) if found else unanswered(question, nearby, len(opened), bool(runs))
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
        chosen, path, fresh=fresh, retry=[], also=[], python=None, minutes=minutes,
        log=make_console(stderr=True),
    )  # fmt: skip
    if summary.interrupted:
        raise typer.Exit(summary.exit_code)


def asked(
    size: int, batch: int, precision: str, device: str | None, function: str, gradient: bool,
    max_error: float | None, max_gradient_error: float | None,
    condition: float | None, rank: int | None,
) -> Question:  # fmt: skip
    """The question, checked. Raises SuiteError naming the option and the nearest right word."""
    chosen = device or devices.default_device()
    for name, value in (("size", size), ("batch", batch), ("precision", precision),
                        ("device", chosen), ("function", function)):  # fmt: skip
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
    return Question(
        size, batch, precision, chosen, function, gradient, bounds, condition, rank
    )  # fmt: skip


def of_this_machine() -> Iterator[Run]:
    """Yield the runs under results/ that were measured on this machine."""
    for table in sorted(_RESULTS.glob("*/table.csv")):
        run = results.open(table.parent)
        try:
            known = run.facts["environments"].values()
        except RunError:  # damaged: another run may answer
            continue
        if any(is_this_machine(facts) for facts in known):
            yield run


def answer(found: Proof) -> Iterator[RenderableType]:
    """Yield the table of the place that was asked for, and where its rows are."""
    folder = found.run.path
    yield Decision(found.rows, found.run.facts, [f"all rows  mssbench show {folder}"],
                   found.board.bounds, again="--measure")  # fmt: skip
    rows = units.count(len(found.rows), "row")
    yield Text(f"This rests on {rows} of {folder}.", style="dim")


def unanswered(
    question: Question, nearby: Sequence[Candidate], runs: int, named: bool
) -> Iterator[RenderableType]:
    """Yield what is not known, what did well nearby, and the command that measures it."""
    yield Text(f"Not measured: {_spoken(question)}.", style="bold")
    of = "" if named else f" of this machine, under {_RESULTS}/,"
    yield Text(f"Looked at {units.count(runs, 'run')}{of} without such rows.", "dim")
    if nearby:
        yield Text(
            "\nAt the nearest sizes that were measured these are right on every kind, and fast:"
        )
        for line, size, batch in nearby[:_MOST_CANDIDATES]:
            yield Text(
                f"  {line.name}  ({units.seconds(line.seconds)} at n = {size}, batch {batch})"
            )
        yield Text("Which is best at another size has to be measured there.")
    yield from _elsewhere(question)
    yield Text("\nTo measure all that can win, in a minute or two:")
    yield Text(f"    {_command(question)} --measure", style="bold", no_wrap=True, overflow="ignore")


def _elsewhere(question: Question) -> Iterator[RenderableType]:
    """Yield what the saved or the shipped table of `forward="auto"` has near this place."""
    place = Place(question.device, cast("Function", question.function), question.gradient,
                  question.precision, question.size, question.batch)  # fmt: skip
    found = choice(place)
    if found.measured:
        yield Text(f"\nElsewhere {found.forward} + {found.backward} was {found.why}.")


def _spoken(question: Question) -> str:
    gradient = " with gradient" if question.gradient else ""
    words = [f"{question.function}{gradient}", f"n = {question.size}", f"batch {question.batch}",
             question.precision, question.device]  # fmt: skip
    if question.condition is not None:
        words.append(f"condition {question.condition:g}")
    if question.rank is not None:
        words.append(f"rank {question.rank}")
    return ", ".join(words)


def _command(question: Question) -> str:
    """The command line that asks this question."""
    words = ["mssbench", "recommend", "--size", f"{question.size}", "--batch", f"{question.batch}"]
    usual = Question(question.size, question.batch, device=devices.default_device())
    for name in ("precision", "device", "function"):
        if getattr(question, name) != getattr(usual, name):
            words += [f"--{name}", getattr(question, name)]
    if question.gradient:
        words.append("--gradient")
    bounds = {"--max-error": question.bounds.root, "--max-gradient-error": question.bounds.gradient}
    for option, bound in bounds.items():
        if bound != float("inf"):
            words += [option, f"{bound:g}"]
    if question.condition is not None:
        words += ["--condition", f"{question.condition:g}"]
    if question.rank is not None:
        words += ["--rank", f"{question.rank}"]
    return shlex.join(words)


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
        "recommended": best.name if best else None,
        "methods": [_method(found, line) for line in found.board.lines] if found else [],
        "nearby": [
            {"method": line.name, "call": call_text(line.row), "seconds": line.seconds,
             "size": size, "batch": batch}
            for line, size, batch in nearby
        ],
        "to_measure": f"{_command(question)} --measure",
    }  # fmt: skip


def _method(found: Proof, line: Line) -> dict[str, Any]:
    own = found.rows[
        (found.rows["forward"] == line.row["forward"])
        & (found.rows["backward"] == line.row["backward"])
        & (found.rows["options"] == line.row["options"])
        & (found.rows["library"] == line.row["library"])
    ]
    for name in ("iterations", "backward_iterations"):
        value = line.row[name]
        own = own[own[name].isna() if value is None else own[name] == value]
    return {
        "method": line.name,
        "call": call_text(line.row),
        "seconds": line.seconds,
        "unsure": line.unsure,
        "right": list(found.board.right(line)),
        "right_everywhere": found.board.right_everywhere(line),
        "errors": {kind: mark.error for kind, mark in line.marks.items()},
        "cells": sorted(own["cell_id"].unique()),
    }
