"""Recommend a method for one size and batch from measured rows, or list methods to measure.

Only rows of exactly the requested size, batch, precision, device and function are an answer.
Interpolation between neighbouring sizes is not accurate enough: on held-out sizes it named a method
within 10 % of the best one in only 58 to 77 % of the cases. So neighbours only give candidates to
measure. Errors depend on the condition number of a matrix, so the measured one decides which
problems count, see `relevant`. A board (see analysis/decision.py) ranks the methods measured at one
size and batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from mssbench.analysis import decision, kinds
from mssbench.analysis.decision import Board, ErrorBounds, Line
from mssbench.analysis.trust import trust
from mssbench.methods.auto import shipped_runs
from mssbench.records.cell import WALL
from mssbench.results.run import Run

if TYPE_CHECKING:
    import pandas as pd

# The errors at a condition are bounded by those of the next harder problem that was measured, if
# its condition is at most this many times larger. Beyond that its errors say little.
_MOST_HARDER = 30.0
# A problem counts as hard enough from this fraction of the requested condition on, as the condition
# of random matrices varies by about 10 %.
_AS_HARD = 0.9
# A method may be best at the requested size if its error at a neighbouring size is at most this
# many times the bound, and its time at most this many times that of the fastest right method.
_ERROR_LENIENCE, _TIME_LENIENCE = 3.0, 1.5


class Question(NamedTuple):
    """What a user asks `mssbench recommend`: what to compute, and how accurately."""

    size: int
    batch: int
    precision: str = "float32"
    device: str = "cpu"
    function: str = "sqrt"
    gradient: bool = False
    bounds: ErrorBounds = ErrorBounds()
    condition: float | None = None  # of the matrices; None if unknown
    rank: int | None = None  # of the matrices; None if full or unknown

    @property
    def singular(self) -> bool:
        """Whether the matrices have a rank below their size."""
        return self.rank is not None and self.rank < self.size

    @property
    def phase(self) -> str:
        """The phase whose rows answer the question."""
        return "step" if self.gradient else "forward"


@dataclass(frozen=True)
class Proof:
    """The rows of one run that answer a question, and the board that ranks their methods.

    A board has one line for each method, see analysis/decision.py.
    """

    run: Run
    rows: "pd.DataFrame"
    board: Board


def best(proof: Proof) -> Line | None:
    """Return the line of the method that the rows recommend.

    None if no method is right, which means within the error limits on every kind of matrix, if the
    run did not reach all cells, or if the times cannot be compared.
    """
    reliability = trust(proof.rows, proof.run.facts)
    return decision.choose(proof.board, reliability.drift) if reliability.comparable else None


def is_shipped(run: Run) -> bool:
    """Whether a run was shipped with the package.

    A user's own run of the same name is told from a shipped one by its date.
    """
    days = {str(noted.get("started", ""))[:10] for noted in run.facts["runs"].values()}
    return any((run.name, day) in shipped_runs() for day in days)


class Candidate(NamedTuple):
    """A method that may be best at the requested size, as it did well at a neighbouring one."""

    line: Line
    size: int
    batch: int
    doubt: str = ""  # why the times of its run cannot be compared, see `trust`; else empty


def proof(runs: Sequence[Run], question: Question, *, also_left_over: bool = True) -> Proof | None:
    """Return the rows of the run that answers a question best; None if no run does.

    also_left_over: whether, if no run answers it otherwise, the rows of cells count too that the
        suite of a run no longer has, such as those of a size that was once given by `--set`.

    A run answers a question if it compares at least two methods on suitable problems, see `covers`.
    Of several runs the best is chosen by, in this order: its times can be compared, see `trust`; at
    least half of its times are stable; it is the user's own and did not come with
    mssbench; it has most kinds of matrix; most methods; the latest start.
    """
    found = _proof([(run, run.current) for run in runs], question)
    if found is None and also_left_over:
        found = _proof([(run, run.frame) for run in runs if run.left_over], question)
    return found


def _proof(tables: "Sequence[tuple[Run, pd.DataFrame]]", question: Question) -> Proof | None:
    """Return the result of `proof`. tables: each run, with those of its rows that count."""
    ranked: list[tuple[tuple[bool, bool, bool, int, int, str], Proof]] = []
    for run, frame in tables:
        rows = relevant(_matching(frame, question, exactly=True), question)
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
            ranked.append((rank, Proof(run, rows, board)))
    return max(ranked, key=lambda item: item[0])[1] if ranked else None


def covers(board: Board, question: Question) -> bool:
    """Whether a board was measured on enough kinds of matrix to answer a question.

    If nothing is known about the matrices, both easy and hard ones must have been measured: on easy
    ones nearly every method is right.
    """
    if question.rank is not None or question.condition is not None:
        return bool(board.deciding)
    return {kinds.EASY, kinds.HARD} <= {*board.deciding}


def shortlist(runs: Sequence[Run], question: Question) -> list[Candidate]:
    """Return the methods that did well at the nearest smaller and the nearest larger size.

    Methods of the smaller size come first; methods of one size are sorted by time.
    """
    boards: list[Board] = []
    doubts: dict[int, str] = {}  # by id() of a board, which cannot be hashed
    for run in runs:
        rows = relevant(_matching(run.current, question, exactly=False), question)
        if rows is None:
            continue
        why_not = trust(rows, run.facts).why_not
        for board in decision.boards(rows):
            if covers(board, question):
                boards.append(board)
                doubts[id(board)] = why_not

    candidates: dict[str, Candidate] = {}
    for board in _neighbours(boards, question, doubts):
        place = board.place["size"], board.place["batch"], doubts[id(board)]
        for line in _may_win(board, question):
            candidates.setdefault(f"{line.row}", Candidate(line, *place))
    return list(candidates.values())


def relevant(rows: "pd.DataFrame", question: Question) -> "pd.DataFrame | None":
    """Return the rows of problems like the requested matrices; None if there are none.

    If the question has a rank below the size, only singular problems are taken. If it has a
    condition number, the problem with the next larger measured one and all easier problems are
    taken. Without both every problem is taken, except files of the user's.
    """
    import pandas as pd

    rows = rows[~rows["problem"].map(kinds.is_own_file)]  # a user's file may be of any kind
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
    """Return the problems at one size and batch that are like the requested matrices."""
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
    """Return the rows of the question's function, precision, device and phase, on the wall clock.

    exactly: whether size and batch must be those of the question as well.
    """
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
    """Return the boards of the nearest sizes below and above, each at the nearest batch.

    Of several boards of one size and batch, one with comparable times is taken. doubts: why the
    times of a board cannot be compared, by its id(); empty if they can.
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
    nearest = [min(side, key=distance) for side in (below, above) if side]
    return nearest[:1] if len(nearest) == 2 and nearest[0] is nearest[1] else nearest


def _may_win(board: Board, question: Question) -> list[Line]:
    """Return the methods of a neighbouring size that may win at the requested size as well."""
    bound = question.bounds.gradient if question.gradient else question.bounds.root
    right = [
        line for line in decision.right_lines(board) if board.worst(line) <= _ERROR_LENIENCE * bound
    ]
    return [line for line in right if line.seconds <= _TIME_LENIENCE * right[0].seconds]
