"""Which method to use at one size and batch: an answer from measured rows, or what to measure.

Only rows of exactly the size, batch, precision, device and function that were asked for count as
measured. On held-out sizes, times and errors that were interpolated between neighbours named the
best method within 10 % in 58 to 77 % of the cases; so neighbours give a list of what to measure and
never an answer. Errors depend on the condition of a matrix: which problems count is decided by the
condition that was measured, see `relevant`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mssbench.analysis import decision, kinds
from mssbench.analysis.decision import WALL, Board, Bounds, Line
from mssbench.analysis.trust import trust
from mssbench.methods.auto import shipped_runs
from mssbench.results.run import Run

if TYPE_CHECKING:
    import pandas as pd

# A spectrum is bounded by the next harder one that was measured, if that is not much harder: at 30
# times the condition errors differ so much that the answer would be about other matrices.
_MOST_HARDER = 30.0
_AS_HARD = 0.9  # of the condition asked for: conditions of random matrices vary by that much
# From neighbours: which methods are worth measuring. An error may be this much above the bound, and
# a time this much above that of the fastest right method, and still win at the place asked for.
_ERROR_LENIENCE, _TIME_LENIENCE = 3.0, 1.5


class Question(NamedTuple):
    """What somebody wants to compute, and how well."""

    size: int
    batch: int
    precision: str = "float32"
    device: str = "cpu"
    function: str = "sqrt"
    gradient: bool = False
    bounds: Bounds = Bounds()
    condition: float | None = None  # of the matrices; None: of every kind that was measured
    rank: int | None = None  # of the matrices, below their size; None: full, or not known

    @property
    def singular(self) -> bool:
        """Whether the matrices have a rank below their size."""
        return self.rank is not None and self.rank < self.size

    @property
    def phase(self) -> str:
        """The phase whose rows answer it."""
        return "step" if self.gradient else "forward"


@dataclass(frozen=True)
class Proof:
    """Rows that answer a question, all of one run, so that their times compare."""

    run: Run
    rows: "pd.DataFrame"
    board: Board


def is_shipped(run: Run) -> bool:
    """Whether a run came with the package: whoever reads it has not measured it.

    A run of the same name that was measured again is the reader's own.
    """
    days = {str(noted.get("started", ""))[:10] for noted in run.facts["runs"].values()}
    return any((run.name, day) in shipped_runs() for day in days)


class Candidate(NamedTuple):
    """A method that did well at a neighbouring place."""

    line: Line
    size: int
    batch: int
    doubt: str = ""  # why the times of its run do not compare, see `trust`; empty if they do


def proof(runs: Sequence[Run], question: Question) -> Proof | None:
    """The run that answers a question best; None if none does.

    A run answers where it compares two methods or more on problems like those asked for, see
    `covers`. Of several the best one has times that compare, then most times that are not unstable,
    then it is the reader's own, then it has most kinds of matrix, then most methods, and then it is
    the latest.
    """
    found: list[tuple[tuple[bool, bool, bool, int, int, str], Proof]] = []
    for run in runs:
        rows = relevant(_matching(run.frame, question, exactly=True), question)
        if rows is None:
            continue
        board = decision.main_board(decision.boards(rows, question.bounds))
        if board is not None and covers(board, question):
            started = max((r.get("started", "") for r in run.facts["runs"].values()), default="")
            steady = 2 * sum(line.unsure for line in board.lines) <= len(board.lines)
            rank = (
                trust(rows, run.facts).comparable,
                steady,
                not is_shipped(run),
                len(board.deciding),
                len(board.lines),
                started,
            )
            found.append((rank, Proof(run, rows, board)))
    return max(found, key=lambda item: item[0])[1] if found else None


def covers(board: Board, question: Question) -> bool:
    """Whether a board was measured on enough kinds of matrix to answer a question.

    Where nothing is known of the matrices, easy and hard ones must both be there: on easy ones
    alone nearly every method is right.
    """
    if question.rank is not None or question.condition is not None:
        return bool(board.deciding)
    return {kinds.EASY, kinds.HARD} <= {*board.deciding}


def shortlist(runs: Sequence[Run], question: Question) -> list[Candidate]:
    """What did well at the nearest smaller size that was measured, and then at the nearest larger.

    Those of one size are listed from the fastest on.
    """
    boards: list[Board] = []
    doubts: dict[int, str] = {}  # by the identity of a board
    for run in runs:
        rows = relevant(_matching(run.frame, question, exactly=False), question)
        if rows is None:
            continue
        why_not = trust(rows, run.facts).why_not
        for board in decision.boards(rows):
            if covers(board, question):
                boards.append(board)
                doubts[id(board)] = why_not

    found: dict[str, Candidate] = {}
    for board in _neighbours(boards, question, doubts):
        place = board.place["size"], board.place["batch"], doubts[id(board)]
        for line in _may_win(board, question):
            found.setdefault(f"{line.row}", Candidate(line, *place))
    return list(found.values())


def relevant(rows: "pd.DataFrame", question: Question) -> "pd.DataFrame | None":
    """The rows of problems that speak for the matrices asked for; None where there are none.

    Matrices of a rank below their size are singular, and only such problems count. A condition is
    covered by the next harder problem that was measured, and by all easier ones. Without either
    word every problem counts, as nothing is known of the matrices.
    """
    import pandas as pd

    rows = rows[~rows["problem"].map(kinds.is_own_file)]  # they say nothing of other matrices
    if rows.empty:
        return None
    if question.rank is None and question.condition is None:
        return rows
    parts = []
    for _, place in rows.groupby(["size", "batch"], sort=False):
        wanted = _wanted(place, question)
        if wanted:
            parts.append(place[place["problem"].isin(wanted)])
    return pd.concat(parts) if parts else None


def _wanted(place: "pd.DataFrame", question: Question) -> list[str]:
    """The problems at one size and batch that speak for the matrices asked for."""
    known = kinds.conditions(place)
    kind_of = {p: kinds.kind_of(p, c, question.precision) for p, c in known.items()}
    singular = [p for p, kind in kind_of.items() if kind == kinds.SINGULAR]
    if question.singular:
        return singular
    if question.condition is None:
        return list(known)
    if kinds.kind_of("", question.condition, question.precision) == kinds.SINGULAR:
        return singular

    plain = {p: known[p] for p, kind in kind_of.items() if kind in (kinds.EASY, kinds.HARD)}
    harder = [c for c in plain.values() if c >= _AS_HARD * question.condition]
    if not harder or min(harder) > _MOST_HARDER * question.condition:
        return []
    return [p for p, c in plain.items() if c <= min(harder)]


def _matching(frame: "pd.DataFrame", question: Question, *, exactly: bool) -> "pd.DataFrame":
    """The rows of the question's function, precision, device and phase, on the caller's clock."""
    same = (
        (frame["function"] == question.function)
        & (frame["precision"] == question.precision)
        & (frame["device"] == question.device)
        & (frame["phase"] == question.phase)
        & (frame["clock"] == WALL)
    )
    if exactly:
        same &= (frame["size"] == question.size) & (frame["batch"] == question.batch)
    return frame[same]


def _neighbours(
    boards: Sequence[Board], question: Question, doubts: Mapping[int, str]
) -> list[Board]:
    """The boards of the nearest size at or below and at or above, each at the nearest batch.

    Of several at the same place one whose times compare is taken.
    """

    def distance(board: Board) -> tuple[float, float, bool]:
        size, batch = board.place["size"], board.place["batch"]
        return (
            max(size, question.size) / min(size, question.size),
            max(batch, question.batch) / min(batch, question.batch),
            bool(doubts[id(board)]),
        )

    several = [board for board in boards if len(board.lines) > 1]
    below = [board for board in several if board.place["size"] <= question.size]
    above = [board for board in several if board.place["size"] >= question.size]
    found = [min(side, key=distance) for side in (below, above) if side]
    return found[:1] if len(found) == 2 and found[0] is found[1] else found


def _may_win(board: Board, question: Question) -> list[Line]:
    """The lines of a neighbour that may be right and fastest at the place asked for."""
    bound = question.bounds.gradient if question.gradient else question.bounds.root
    right = [
        line for line in decision.right_lines(board) if board.worst(line) <= _ERROR_LENIENCE * bound
    ]
    return [line for line in right if line.seconds <= _TIME_LENIENCE * right[0].seconds]
