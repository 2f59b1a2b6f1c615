"""Sentences below the decision table: the recommended method, alternatives, and their certainty.

The table shows a board: the methods measured at one size and batch, see analysis/decision.py.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mssbench.analysis import decision, kinds
from mssbench.analysis.decision import Board, Line
from mssbench.analysis.kinds import DOUBTFUL
from mssbench.analysis.naming import call_text
from mssbench.analysis.trust import Trust
from mssbench.records import units
from mssbench.records.cell import OF_FEATURES, WALL

# Other sizes, batches and phases that get a line, so that the output fits on one screen;
# `mssbench show` has all of them.
_MOST_PLACES = 8
_WORDS = {
    kinds.EASY: "easy",
    kinds.HARD: "hard",
    kinds.SINGULAR: "singular",
    kinds.REPEATED: "repeated",
}


class Sentence(NamedTuple):
    """A sentence or a line of code, with the style in which it is printed."""

    text: str
    style: str = ""
    code: bool = False


def warning(believed: Trust, again: str) -> str:
    """Return why no method is called fastest, and what to do about it.

    believed: the state of the machine, with the reason why times cannot be compared. again: the
    command-line option that measures the rows again.
    """
    if believed.mixed:
        return (
            f"The machine {believed.why_not}. Its times cannot be compared, and no method is "
            "called fastest; errors are not affected.\nMeasure all rows on one machine, or each "
            "machine in a run of its own.\n"
        )
    return (
        f"The machine {believed.why_not}. Its times cannot be compared, and no method is called "
        "fastest; errors are not affected.\n`top` shows the running processes. When they have "
        f"ended, measure again with {again}.\n"
    )


def wrong(error: float) -> str:
    """Return an error that is not right, which is mostly about 1 or larger: 0.8, 1, 3e+02."""
    return f"{error:.1g}"


def sentences(board: Board, best: Line | None, believed: Trust) -> Iterator[Sentence]:
    """Yield the sentences on a board, most important first.

    best: the line of the recommended method, if any. believed: whether times can be compared.
    """
    if board.unreached and not believed.comparable:
        # The warning above the table has the remedy; a second remedy would contradict it.
        yield Sentence(f"This run is not complete either: {_unreached(board)}.", "bold yellow")
    elif board.unreached:
        yield from _no_recommendation(board)
    elif believed.comparable:
        yield from _recommendation(board, best, believed.drift)
    elif right := [line.name for line in decision.right_lines(board)]:
        yield Sentence(
            f"Right everywhere: {', '.join(right)}. Which is faster is not known.", "bold"
        )

    yield Sentence(_how_sure(board, believed))
    for kind in board.kinds.values():
        if kind.doubt > DOUBTFUL:
            yield Sentence(
                f"{kind.name}: the reference itself may be off by {100 * kind.doubt:.0f} %, so "
                "methods are not ranked by these matrices.",
                "dim",
            )
        for problem, spectrum in zip(kind.left_out, kind.spectra, strict=True):
            yield Sentence(
                f"{problem} ({spectrum}): left out, as the reference itself is in doubt there.",
                "dim",
            )
    for reason, methods in board.absent.items():
        yield Sentence(f"Not timed: {units.count(methods, 'method')}, {reason}.", "dim")


def _recommendation(board: Board, best: Line | None, drift: float) -> Iterator[Sentence]:
    """Yield sentences on the recommended method, its Python call, and alternatives to it."""
    if best is None:
        yield from _no_recommendation(board)
        return

    yield Sentence(f"Use {best.name}: {_why(board, best, drift)}.", "bold green")
    if call := call_text(best.row):
        yield Sentence(call, "bold", code=True)

    if kinds.EASY in board.deciding and len(board.deciding) > 1:
        if other := decision.easy_alternative(board, best, drift):
            error = other.marks[kinds.EASY].error
            faster = decision.ratio(best, other)
            yield Sentence(
                f"If all your matrices are well conditioned, {other.name} is {faster:.1f} times "
                f"as fast (error {units.error(error)}):"
            )
            yield Sentence(call_text(other.row), code=True)
        else:
            yield Sentence(
                "If all your matrices are well conditioned: the same. Nothing that is accurate on "
                "them is clearly faster."
            )

    for line in board.lines:
        errors = [line.marks[kind].error for kind in board.deciding if kind in line.marks]
        no_digit = all(error is not None and error > decision.DIGIT for error in errors)
        if line.paper == "iSQRT-COV" and no_digit and errors and board.phase == "step":
            yield Sentence(
                f"{line.paper} ({line.name}) {_pace(line, best, drift)} and its gradient has no "
                "right digit. Networks have been trained with it nevertheless."
            )


def _no_recommendation(board: Board) -> Iterator[Sentence]:
    """Yield why no method is recommended, and what to do about it."""
    if board.unreached:
        yield Sentence(
            f"This run is not complete: {_unreached(board)}, so no method is recommended. The same "
            "command resumes it.",
            "bold yellow",
        )
        return

    if not board.kinds:
        yield Sentence(
            "This table was written before condition numbers were recorded: it does not say on "
            "which kinds of matrix a method is right. Measure again: --fresh",
            "bold yellow",
        )
        return

    if not board.deciding:
        doubtful = "No reference is exact enough to say which method is right"
        precision = board.place["precision"]
        remedy = (
            "."
            if precision == "float64"
            else (f" in {precision}. Measure in float64: --set precision=float64")
        )
        yield Sentence(f"{doubtful}{remedy}", "bold yellow")
        return

    yield Sentence(
        "No method is right on every kind of matrix. Choose by the column of matrices like yours, "
        "or measure in float64: --set precision=float64",
        "bold yellow",
    )


def _unreached(board: Board) -> str:
    """Return a clause on what a stopped run left out: `2 cells of this table were not reached`.

    The rows of such cells have the status `interrupted`. Call this only if there are some
    (`board.unreached`); no method of the board is recommended then.
    """
    was = "was" if board.unreached == 1 else "were"
    return f"{units.count(board.unreached, 'cell')} of this table {was} not reached"


def _why(board: Board, best: Line, drift: float) -> str:
    """Return why the method `best` is recommended: `the only method that is right ...`."""
    right = decision.right_lines(board)
    if len(board.deciding) == 1:
        everywhere = f"on these {_WORDS[board.deciding[0]]} matrices"
    else:
        everywhere = "on every kind of matrix"

    if len(right) == 1:
        return f"the only method that is right {everywhere}"
    others = [line for line in right if line is not best]
    close = [line for line in others if decision.tied(line, best, drift)]
    if close:
        errors = board.worst(best), board.worst(close[0])
        finer = " and more accurate" if 2 * errors[0] < errors[1] else ""
        return f"right {everywhere}, as fast as {close[0].name}{finer}"
    second = others[0]
    faster = f"the fastest by {decision.ratio(second, best):.1f}x"
    if not decision.is_faster(best, second, drift):
        faster += f" on average, though {second.name} is as fast on some matrices"
    return f"of {len(right)} that are right {everywhere}, {faster}"


def _pace(line: Line, best: Line, drift: float) -> str:
    """Return how a method's time compares with the best one's: `takes 2.0x as long here,`."""
    if decision.tied(line, best, drift):
        return "is no faster here,"
    times = decision.ratio(line, best)
    return (
        f"takes {times:.1f}x as long here," if times > 1 else f"takes {times:.2f}x the time here,"
    )


def _how_sure(board: Board, reliability: Trust) -> str:
    """Return the sentence on how sure the ranking is: tie limit, unsteady times, machine drift."""
    unsure = sum(line.unsure for line in board.lines)
    if reliability.comparable:
        usual, wider = (decision.tie_limit(reliability.drift, unsure=x) for x in (False, True))
        beside = f" ({1 + wider:.2g}x beside a ~)" if unsure and wider > usual else ""
        limit = f"below {1 + usual:.2g}x{beside} is a tie"
    else:
        limit = "no two times can be compared"

    facts = [f"{unsure} of {units.count(len(board.lines), 'time')} vary by more than 30 %"]
    if reliability.measured_drift is not None:
        facts.append(f"the machine's speed drifted by {100 * reliability.drift:.0f} %")
    return f"How sure: {limit}; {', '.join(facts)}."


def elsewhere(boards: Sequence[Board], shown: Board, drift: float) -> Iterator[str]:
    """Yield a line for each size, batch or phase but the one shown: right methods, fastest first.

    drift: relative change of the machine's speed during the run.
    """
    others = [board for board in boards if board is not shown]
    for board in others[:_MOST_PLACES]:
        phase = "With gradient" if board.phase == "step" else "Forward alone"
        clock = "" if board.clock == WALL else ", on the GPU's own clock"
        yield f"{phase}, {_place(board, shown)}{clock}: {_ends(board, drift)}"
    if len(others) > _MOST_PLACES:
        yield f"... and {len(others) - _MOST_PLACES} more places: mssbench show"


def _place(board: Board, shown: Board) -> str:
    """Return size, batch, and the other key values that differ from the board that is shown."""
    named = [f"n = {board.place['size']}", f"batch {board.place['batch']}"]
    named += [
        "from features (sqrt_x)" if board.place[k] == OF_FEATURES else str(board.place[k])
        for k in ("function", "precision", "device")
        if board.place[k] != shown.place[k]
    ]
    return ", ".join(named)


def _ends(board: Board, drift: float) -> str:
    """Return the methods of a board that are right everywhere, with times and errors, in words.

    They are the first three of `decision.front`, from fast to accurate. Then comes a method that is
    clearly faster than these and right on some kinds of matrix, if there is one. If no method is
    right everywhere, or cells were not reached, the text says so instead.
    """
    if board.unreached:
        return f"{units.count(board.unreached, 'cell')} not reached"
    lines = list(decision.front(board))[:3]
    if not lines:
        return "nothing is right on every kind of matrix"

    parts = [
        f"{line.name} {units.seconds(line.seconds)} ({units.error(board.worst(line))})"
        for line in lines
    ]

    rest = [line for line in board.lines if line.competes and line not in lines]
    faster = [
        line for line in rest if board.right(line) and decision.is_faster(line, lines[0], drift)
    ]
    if faster:
        on = spoken(board.right(faster[0]))
        parts.append(f"{faster[0].name} {units.seconds(faster[0].seconds)}, right on {on} only")
    return ", ".join(parts)


def spoken(names: Sequence[str]) -> str:
    """Return kinds of matrix as words: `easy and hard matrices`."""
    words = [_WORDS.get(name, name) for name in names]
    head = ", ".join(words[:-1])
    return f"{head} and {words[-1]} matrices" if head else f"{words[-1]} matrices"
