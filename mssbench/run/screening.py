"""Measurements for `recommend --measure`: all candidates roughly, then the best ones precisely.

A candidate is a method that may be the answer to the question, what to compute at which size and
batch. A finalist is one that may still be the fastest after the rough measurement.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Protocol

from mssbench import results
from mssbench.analysis import decision
from mssbench.analysis.decision import Board, Line
from mssbench.analysis.recommend import Question
from mssbench.analysis.table import with_names
from mssbench.analysis.trust import Trust, trust
from mssbench.errors import RunError
from mssbench.machine.possible import absent
from mssbench.records import units
from mssbench.records.cell import Cell
from mssbench.records.measurement import Row, Status
from mssbench.results import table
from mssbench.results.labels import METHOD
from mssbench.results.run import Run
from mssbench.run import anew, exchange
from mssbench.suite import select
from mssbench.suite.suite import Suite


class Measure(Protocol):
    """A function that measures a suite into a folder."""

    def __call__(self, chosen: Suite, path: Path, *, minutes: float | None, fresh: bool) -> object:
        """Measure a suite into the folder `path`. minutes: time limit, or None.

        fresh: whether rows that the folder has already are measured again.
        """
        ...


MethodKey = tuple[object, ...]  # the values of the columns METHOD

_SUITE = "recommend"
# Number of matrix entries in a batch of the rough measurement, and the smallest batch. One call
# then takes milliseconds, and there are at least two matrices, so that two cores have work. Errors
# do not depend on the batch, and times grow with it for all methods alike.
_SCREENED_ENTRIES, _FEWEST = 2**16, 2
# A method that is slower than the fastest right one by more than this factor, in the rough
# measurement at a smaller batch, is assumed not to be the fastest at the batch of the question.
_CAN_WIN = 2.0
_MOST_FINALISTS = 5  # as many as the time of the second measurement suffices for
_MOST_NAMED = 4  # methods that a sentence names; the rest are counted
# Shares of the suite's time: the first measurement may use at most half, and the second gets at
# least 0.6. Half of the time suffices to compare five methods; with less, cells are left out.
_ROUGH, _SECOND = 0.5, 0.6
_PROBLEMS = ("wishart(ratio=2)", "logspec(condition=1e6)", "wishart(ratio=0.766)")


def measured(
    question: Question, measure: Measure, say: Callable[[str], None], *, fresh: bool
) -> Run:
    """Measure the methods that may answer a question, and return the run of the best of them.

    All these methods, the candidates, are measured roughly at a small batch. Those that may still
    be the fastest, the finalists, are then measured precisely at the batch of the question, in the
    run that is returned. Both together take about the time limit of the suite; the second
    measurement gets what the first has left.

    question: what a user asks `mssbench recommend`, for example which method to use for the root at
    a size and batch. measure: runs a suite into a folder. say: prints the next step, and the
    candidates for which there was no time. fresh: whether rows of an earlier run are measured
    again; the earlier rows are kept if the new ones give no better answer, see
    `anew.measured_anew`. Raises RunError if fewer than two candidates can be measured here.
    """
    begun = time.monotonic()

    few = min(question.batch, max(_FEWEST, _SCREENED_ENTRIES // question.size**2))
    candidates = _candidates(question, few, effort="smoke")
    say(
        f"1 of 2: {units.count(len({_method(c) for c in candidates.cells}), 'candidate')}, "
        f"one rough measurement each, batch {few}"
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
        names = _names(screened)

    final = _candidates(question, question.batch, effort=None)
    wanted = {_key(line.row) for line in kept}
    listed = [names[_key(line.row)] for line in kept]
    # The exact method is measured too, so that the answer can be compared with it.
    exact = [cell for cell in final.cells if _is_exact(cell)]
    if exact and not {_method(cell) for cell in exact} & wanted:
        wanted |= {_method(exact[0])}
        listed.append(f"{names[_method(exact[0])]} for comparison")
    for sentence in _left_out(screened, wanted, names, believed):
        say(sentence)
    say(
        f"2 of 2: {units.count(len(wanted), 'method')} at batch {question.batch}: "
        f"{', '.join(listed)}"
    )

    final = final.only(
        [cell for cell in final.cells if _method(cell) in wanted], "those that can win"
    )
    path = _folder(question)
    used = (time.monotonic() - begun) / 60
    left = final.minutes and max(final.minutes - used, _SECOND * final.minutes)

    def measure_into(folder: Path) -> None:
        measure(final, folder, minutes=left, fresh=fresh)

    exchange.repair(path)
    if fresh and path.exists():
        return anew.measured_anew(question, path, measure_into, say)
    measure_into(path)
    return results.open(path)


def finalists(board: Board, *, believed: bool = True) -> list[Line]:
    """Return the methods of a rough measurement that may be the fastest right one, fastest first.

    A method is right if its errors are within the limits on every kind of matrix, such as hard or
    singular ones. If no method is, those that are right on the most kinds are returned, so that the
    answer shows it.

    board: the rough measurement, one line per method. believed: whether its times can be compared.
    If they cannot, as on a busy machine, no method is left out because it is slow.
    """
    competing = [line for line in board.lines if line.competes]
    right = decision.right_lines(board)
    if not right:
        return sorted(competing, key=lambda line: -len(board.right(line)))[:_MOST_FINALISTS]
    most = _CAN_WIN * right[0].seconds if believed else float("inf")
    near = [line for line in right if line.seconds <= most]
    if len(near) > 1:
        return near[:_MOST_FINALISTS]

    # A single finalist needs another method that the answer compares it with.
    others = [line for line in competing if line not in near]
    others = sorted(others, key=lambda line: -len(board.right(line)))
    return [*near, *(right[1:2] or others[:1])]


def _candidates(question: Question, batch: int, effort: str | None) -> Suite:
    """Return the suite of all candidates at a batch, on problems like the matrices in the question.

    batch: the number of matrices in a call. effort: how long to sample, a word such as `smoke`;
    None: the suite's own. Raises RunError if no candidate can be measured here.
    """
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
    """Return problems whose matrices have the question's rank or condition number.

    If the question names neither, the problems are easy, hard and singular ones.
    """
    if question.singular and question.rank is not None:
        return [f"wishart(ratio={question.rank / question.size:.6g})"]
    if question.condition is not None:
        return [f"logspec(condition={question.condition:g})"]
    return _PROBLEMS


def _folder(question: Question) -> Path:
    """Return the results folder of a question, named after its function, size, batch and so on."""
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


def is_left_behind(folder: Path) -> bool:
    """Whether a results folder is one that `measured` has left behind because it was killed."""
    return folder.name.startswith(f"{_SUITE}-") and anew.is_left_behind(folder)


def _names(run: Run) -> dict[MethodKey, str]:
    """Return the name of each method of a run, by the values of the columns METHOD."""
    methods = with_names(run.frame)[[*METHOD, "method"]].drop_duplicates()
    return {_key(row): row["method"] for row in table.records(methods)}


def _left_out(
    run: Run, kept: Set[MethodKey], names: Mapping[MethodKey, str], believed: Trust
) -> Iterator[str]:
    """Yield sentences on the candidates that are left out as there was no time to measure them.

    run: the rough measurement. kept: the methods that are measured precisely. names: the name of
    each method. believed: whether the times of the run can be compared, with the reason if not.
    """
    cells = table.records(run.frame[[*METHOD, "status"]])
    late = dict.fromkeys(_key(row) for row in cells if row["status"] == Status.INTERRUPTED)
    begun = {_key(row) for row in cells if row["status"] != Status.INTERRUPTED}
    out = [method for method in late if method not in kept]

    if unmeasured := [names[method] for method in out if method not in begun]:
        yield _no_time(unmeasured, "", believed)
    if partly := [names[method] for method in out if method in begun]:
        yield _no_time(partly, " on every kind of matrix", believed)


def _no_time(late: Sequence[str], where: str, believed: Trust) -> str:
    """Return a sentence on the candidates for which there was no time, and why.

    late: their names. where: on which matrices, such as ` on every kind of matrix`; empty for any.
    believed: whether the times of the run can be compared, with the reason if not.
    """
    more = f" and {len(late) - _MOST_NAMED} more" if len(late) > _MOST_NAMED else ""
    why = "" if believed.comparable else f" (the machine {believed.why_not})"
    left_out = "It is left out, though it" if len(late) == 1 else "They are left out, though they"
    return (
        f"There was no time to measure {units.count(len(late), 'candidate')}{where}{why}: "
        f"{', '.join(late[:_MOST_NAMED])}{more}. {left_out} might win."
    )


def _is_exact(cell: Cell) -> bool:
    """Whether a cell has the exact method, eigh, with which every answer is compared."""
    return cell.forward == "eigh" and cell.backward in ("none", "loewner")


def _method(cell: Cell) -> MethodKey:
    return tuple(getattr(cell, name) for name in METHOD)


def _key(row: Row) -> MethodKey:
    return tuple(row[name] for name in METHOD)


def _why(run: Run) -> str:
    reasons = [reason for reason in run.frame["reason"].unique() if reason]
    return "; ".join(reasons[:3]) or "no row has a time"
