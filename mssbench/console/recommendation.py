"""Render the output of `recommend`: an answer with its rows, or how to measure missing ones."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

from rich.console import RenderableType
from rich.text import Text

from mssbench.analysis import recommend
from mssbench.analysis.decision import Line
from mssbench.analysis.naming import call_text
from mssbench.analysis.recommend import Candidate, Proof, Question
from mssbench.console import epilogue
from mssbench.console.decision import Decision
from mssbench.machine import devices
from mssbench.methods.auto import Conditions, choice
from mssbench.methods.method import Function
from mssbench.records import units
from mssbench.records.measurement import Status
from mssbench.results.run import Run

RESULTS = Path("results")
_MOST_CANDIDATES = 8  # methods of neighbouring sizes that are listed, to keep the answer short


def answer(proof: Proof) -> Iterator[RenderableType]:
    """Yield the decision table of the requested size and batch, and the source of its rows."""
    folder = proof.run.path
    yield Decision(
        proof.rows,
        proof.run.facts,
        [f"all rows  mssbench show {folder}"],
        proof.board.bounds,
        again="--measure",
    )

    rows = units.count(len(proof.rows), "row")
    if proof.rows["cell_id"].isin(proof.run.left_over).any():
        yield Text(
            f"Some of these rows belong to cells that the suite of {folder} no longer has: an "
            "earlier run measured them. --measure measures them again.",
            style="yellow",
        )
    if recommend.is_shipped(proof.run):
        yield Text(
            f"This rests on {rows} of {folder}, a run that came with mssbench: it was measured on "
            "a machine with the same processor, number of cores and version of torch. --measure "
            "measures on this machine.",
            style="dim",
        )
    else:
        yield Text(f"This rests on {rows} of {folder}.", style="dim")


def known_before(proof: Proof, best: Line) -> Text:
    """Return the recommendation of earlier rows, for use if the latest rows give none.

    proof: the earlier rows. best: the method that they recommend.
    """
    shipped = ", which came with mssbench," if recommend.is_shipped(proof.run) else ""
    return Text(
        f"Until then the rows of {proof.run.path}{shipped} recommend {best.name}:\n"
        f"    {call_text(best.row)}",
        style="bold",
    )


def too_little(question: Question, run: Run) -> Iterator[RenderableType]:
    """Yield what `--measure` has measured, if it is not enough for an answer, and how to go on.

    run: the run with the rows just measured.
    """
    cells = run.current.drop_duplicates("cell_id")
    left = int((cells["status"] == Status.INTERRUPTED).sum())
    yield Text(f"Not answered: {_spoken(question)}.", style="bold")
    yield Text(
        f"Measured now: {len(cells) - left} of {units.count(len(cells), 'cell')}, in {run.path}. "
        "An answer needs two methods on every kind of matrix in question."
    )

    yield from epilogue.failures(run.current)
    yield Text("\nTo go on:" if left else "\nTo see all rows:")
    command = f"{command_of(question)} --measure" if left else f"mssbench show {run.path}"
    yield _command_line(command)


def _command_line(command: str) -> Text:
    """Return a command as a line that is never folded, so that it can be copied."""
    return Text(f"    {command}", style="bold", no_wrap=True, overflow="ignore")


def unanswered(
    question: Question, nearby: Sequence[Candidate], runs: Sequence[Run], named: bool
) -> Iterator[RenderableType]:
    """Yield that the answer is unknown, methods that did well nearby, and the command to measure.

    runs: the runs that were searched. named: whether the user named them.
    """
    yield Text(f"Not measured: {_spoken(question)}.", style="bold")
    where = "" if named else f" of this machine, under {RESULTS}/,"
    shipped = sum(map(recommend.is_shipped, runs))
    if shipped and not named:
        where = f" under {RESULTS}/, {shipped} of which came with mssbench,"
    if runs:
        yield Text(f"Looked at {units.count(len(runs), 'run')}{where} without such rows.", "dim")
    else:
        yield Text(f"There is no run of this machine under {RESULTS}/.", "dim")

    if nearby:
        doubts = list(dict.fromkeys(near.doubt for near in nearby if near.doubt))
        fast = "" if doubts else ", and fast"
        yield Text(
            f"\nAt the nearest sizes that were measured these are right on every kind{fast}:"
        )
        for line, size, batch, doubt in nearby[:_MOST_CANDIDATES]:
            time = f"{'~' if doubt else ''}{units.seconds(line.seconds)}"
            yield Text(f"  {line.name}  ({time} at n = {size}, batch {batch})")
        for doubt in doubts:
            yield Text(f"Times with ~ cannot be compared: the machine {doubt}.", "yellow")
        yield Text("The best method at another size has to be measured there.")
    yield from _elsewhere(question)

    yield Text("\nTo measure all methods that may be fastest, in about a minute:")
    yield _command_line(f"{command_of(question)} --measure")


def _elsewhere(question: Question) -> Iterator[RenderableType]:
    """Yield which pair was best at the nearest place that the table of `forward="auto"` has.

    The table is the one that the user has saved, or else the one shipped with mssbench.
    """
    place = Conditions(
        question.device,
        cast("Function", question.function),
        question.gradient,
        question.precision,
        question.size,
        question.batch,
    )

    nearest = choice(place)
    if nearest.measured:
        yield Text(f"\nElsewhere {nearest.forward} + {nearest.backward} was {nearest.why}.")


def _spoken(question: Question) -> str:
    """Return a question as words: `sqrt with gradient, n = 64, batch 16, float32, cpu`."""
    gradient = " with gradient" if question.gradient else ""
    words = [
        f"{question.function}{gradient}",
        f"n = {question.size}",
        f"batch {question.batch}",
        question.precision,
        question.device,
    ]
    if question.condition is not None:
        words.append(f"condition {question.condition:g}")
    if question.rank is not None:
        words.append(f"rank {question.rank}")
    return ", ".join(words)


def command_of(question: Question) -> str:
    """Return the command line, `mssbench recommend ...`, that asks this question."""
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
