"""Measures what `recommend` does not know: all candidates roughly, then those that can win well."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mssbench import results, units
from mssbench.analysis import decision
from mssbench.analysis.decision import Board, Line
from mssbench.analysis.recommend import Question
from mssbench.analysis.table import with_names
from mssbench.analysis.trust import Trust, trust
from mssbench.errors import RunError
from mssbench.machine.possible import absent
from mssbench.records.cell import Cell
from mssbench.records.measurement import Status
from mssbench.results.labels import METHOD
from mssbench.results.run import Run
from mssbench.suite import select
from mssbench.suite.suite import Suite


class Measure(Protocol):
    """What runs a suite into a folder."""

    def __call__(self, chosen: Suite, path: Path, *, minutes: float | None, fresh: bool) -> object:
        """Run it. minutes: after which it ends; None: when all is measured."""
        ...


_SUITE = "recommend"
# A screened batch is so small that one call takes milliseconds, and has so many matrices that two
# cores have work. Errors do not depend on the batch, and times grow with it for all methods alike.
_SCREENED_ENTRIES, _FEWEST = 2**16, 2
# A method that takes this many times as long as the fastest right one in a rough measurement at a
# smaller batch will not be the fastest at the one asked for.
_CAN_WIN = 2.0
_MOST_FINALISTS = 5
_MOST_NAMED = 4  # methods in a sentence; more are counted
# Minutes: of the rough look at most, and of the second look at least, of the time that the suite
# gives both of them together. Half of it compares five methods; with less, cells are left out.
_ROUGH, _SECOND = 0.5, 0.6
_PROBLEMS = ("wishart(ratio=2)", "logspec(condition=1e6)", "wishart(ratio=0.766)")


def measured(
    question: Question, measure: Measure, say: Callable[[str], None], *, fresh: bool
) -> Run:
    """Measure the candidates for a question, and return the run with those that can win.

    Both looks together take about the minute that the suite allows: the second has what the first
    leaves of it. say: prints what comes next, and which candidates there was no time for.
    fresh: whether rows of an earlier time are measured again.
    Raises RunError where no two candidates can be measured here.
    """
    begun = time.monotonic()
    few = min(question.batch, max(_FEWEST, _SCREENED_ENTRIES // question.size**2))
    candidates = _candidates(question, few, effort="smoke")
    say(
        f"1 of 2: {units.count(len({_method(c) for c in candidates.cells}), 'candidate')}, "
        f"one rough look at each, batch {few}"
    )
    with tempfile.TemporaryDirectory() as folder:
        rough = Path(folder) / "screened"
        whole = candidates.minutes
        measure(candidates, rough, minutes=whole and _ROUGH * whole, fresh=False)
        screened = results.open(rough)
        board = decision.main_board(decision.boards(screened.frame, question.bounds))
        if board is None:
            raise RunError(f"no two candidates can be measured here: {_why(screened)}")
        believed = trust(screened.frame, screened.facts)
        kept = finalists(board, believed=believed.comparable)
        if late := _not_reached(screened):
            say(_no_time(late, believed))

    final = _candidates(question, question.batch, effort=None)
    wanted = {tuple(line.row[name] for name in METHOD) for line in kept}
    names = [line.name for line in kept]
    exact = [cell for cell in final.cells if _is_exact(cell)]
    if exact and not {_method(cell) for cell in exact} & wanted:
        wanted |= {_method(exact[0])}
        names.append(f"{exact[0].forward} + {exact[0].backward} for comparison")
    say(
        f"2 of 2: {units.count(len(wanted), 'method')} at batch {question.batch}: "
        f"{', '.join(names)}"
    )
    final = final.only(
        [cell for cell in final.cells if _method(cell) in wanted], "those that can win"
    )
    folder_of_answer = _folder(question)
    spent = (time.monotonic() - begun) / 60
    left = final.minutes and max(final.minutes - spent, _SECOND * final.minutes)
    measure(final, folder_of_answer, minutes=left, fresh=fresh)
    return results.open(folder_of_answer)


def finalists(board: Board, *, believed: bool = True) -> list[Line]:
    """The lines of a rough board that can be the fastest right ones, fastest first.

    believed: whether the times compare; on a busy machine none of those that are right is too slow.
    Where none is right everywhere, those that are right on most kinds, so that the answer shows it.
    """
    competing = [line for line in board.lines if line.competes]
    right = decision.right_lines(board)
    if not right:
        return sorted(competing, key=lambda line: -len(board.right(line)))[:_MOST_FINALISTS]
    most = _CAN_WIN * right[0].seconds if believed else float("inf")
    near = [line for line in right if line.seconds <= most]
    if len(near) > 1:
        return near[:_MOST_FINALISTS]
    # The answer shows what the only right method is compared with.
    others = sorted((x for x in competing if x not in near), key=lambda x: -len(board.right(x)))
    return [*near, *(right[1:2] or others[:1])]


def _candidates(question: Question, batch: int, effort: str | None) -> Suite:
    """The suite of all candidates at a batch, on the kinds of matrix that are asked about."""
    overrides = [
        f"size={question.size}",
        f"batch={batch}",
        f"precision={question.precision}",
        f"function={question.function}",
        f"problem={','.join(_problems(question))}",
    ]
    wanted = "backward != 'none'" if question.gradient else "backward == 'none'"
    suite = select.choose(_SUITE, overrides, wanted, effort, question.device, [])
    reasons = {cell: absent(cell) for cell in suite.cells}
    possible = [cell for cell, reason in reasons.items() if reason is None]
    if not possible:
        words = dict.fromkeys(reason[1] for reason in reasons.values() if reason)
        raise RunError(f"no candidate can be measured here: {'; '.join(list(words)[:3])}")
    return suite.only(possible, "those that can be measured here")


def _problems(question: Question) -> Sequence[str]:
    if question.singular and question.rank is not None:
        return [f"wishart(ratio={question.rank / question.size:.6g})"]
    if question.condition is not None:
        return [f"logspec(condition={question.condition:g})"]
    return _PROBLEMS


def _folder(question: Question) -> Path:
    words = [
        _SUITE,
        question.function,
        question.phase,
        f"n{question.size}",
        f"b{question.batch}",
        question.precision,
        question.device,
    ]
    if question.condition is not None:
        words.append(f"k{question.condition:g}")
    if question.rank is not None:
        words.append(f"r{question.rank}")
    return Path("results") / "-".join(words)


def _not_reached(run: Run) -> list[str]:
    """The methods that were not measured on every kind in time, by the names of tables."""
    cells = with_names(run.frame)
    return list(cells.loc[cells["status"] == Status.INTERRUPTED, "method"].unique())


def _no_time(late: Sequence[str], believed: Trust) -> str:
    """A sentence on the candidates that the rough look did not reach, and why it is so slow."""
    more = f" and {len(late) - _MOST_NAMED} more" if len(late) > _MOST_NAMED else ""
    why = "" if believed.comparable else f" (the machine {believed.why_not})"
    left_out = "It is left out, though it" if len(late) == 1 else "They are left out, though they"
    return (
        f"There was no time for a rough look at {units.count(len(late), 'candidate')}{why}: "
        f"{', '.join(late[:_MOST_NAMED])}{more}. {left_out} might win."
    )


def _is_exact(cell: Cell) -> bool:
    """Whether a cell is of the exact method that every answer is compared with."""
    return cell.forward == "eigh" and cell.backward in ("none", "loewner")


def _method(cell: Cell) -> tuple[object, ...]:
    return tuple(getattr(cell, name) for name in METHOD)


def _why(run: Run) -> str:
    reasons = [reason for reason in run.frame["reason"].unique() if reason]
    return "; ".join(reasons[:3]) or "no row has a time"
