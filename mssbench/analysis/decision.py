"""Which method to use: a table of rows becomes one ranked board for each size, batch and phase.

A board has one line for each method, with its time over all problems and its worst error on each
kind of matrix. The recommended line is the fastest of those that are right on every kind. Where two
times are not told apart, the more accurate method is recommended.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, log
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import kinds
from mssbench.analysis.kinds import DOUBTFUL, Kind
from mssbench.analysis.naming import paper_name, short_names
from mssbench.methods.regularization import OPTIONS
from mssbench.records.cell import parse_options
from mssbench.records.measurement import MEASURED, Row, Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED, Noise
from mssbench.results.labels import METHOD, with_outcomes

if TYPE_CHECKING:
    import pandas as pd

# A board's rows agree in these, and in phase and clock.
PLACE = ("function", "precision", "device", "size", "batch")
WALL = "wall"  # the clock of the caller, whom every device keeps waiting
# Two times are a tie within this: cells are measured minutes apart, and what a minute changes on a
# shared machine is seldom less. Beside a time that is unsure it is the second number.
_TIE, _TIE_IF_UNSURE = 0.10, 0.30
# One of two methods is faster only if it is so on every problem, by more than this.
_EVERYWHERE = 0.03
# Of tied methods a more accurate one is preferred if its error is smaller by this factor: errors
# are estimates, and less than an order of magnitude changes with the matrices.
_MORE_ACCURATE = 10.0


class Bounds(NamedTuple):
    """The largest errors that count as right, beside what every row has to fulfil to be ok."""

    root: float = float("inf")
    gradient: float = float("inf")


_NO_BOUNDS = Bounds()
DIGIT = 0.1  # a larger relative error leaves no digit right


class Mark(NamedTuple):
    """How a method did on one kind of matrix."""

    right: bool  # whether every row of the kind is ok
    error: float | None  # the worst that is a number
    word: str  # why there is none: `nan`, `crashed`, `timeout`, ...; empty if there is one


@dataclass
class Line:
    """One method on a board."""

    row: Row  # the key columns of one of its rows; a missing number is None
    times: "pd.Series"  # seconds by (problem, seed)
    marks: dict[str, Mark]  # by the name of the kind
    unsure: bool  # whether most of its times are unstable
    name: str = ""
    paper: str = ""
    computed_in: str = ""  # the precision, where it is not that of the board

    @property
    def seconds(self) -> float:
        """The geometric mean over the problems, so that ratios of it are means of ratios."""
        return _geometric_mean(self.times)

    @property
    def is_foreign(self) -> bool:
        """Whether the caller of a torch program cannot use it."""
        return bool(self.row["library"] != "torch")

    @property
    def is_regularized(self) -> bool:
        """Whether it takes the root of a changed matrix, with a ridge or with null directions."""
        return any(name in OPTIONS for name in parse_options(self.row["options"]))

    @property
    def competes(self) -> bool:
        """Whether it may be recommended: it answers the question for the caller of torch."""
        return not self.is_foreign and not self.is_regularized and not self.computed_in


@dataclass
class Board:
    """The methods that compete at one place of a table, fastest first."""

    place: dict[str, Any]  # the values of PLACE
    phase: str
    clock: str
    kinds: dict[str, Kind]
    lines: list[Line]
    absent: dict[str, int] = field(default_factory=dict)  # why methods were not timed -> methods
    unreached: int = 0  # cells that a run which was stopped has not come to
    bounds: Bounds = _NO_BOUNDS
    max_error: float = DIGIT  # of the run, see `boards`

    @property
    def deciding(self) -> list[str]:
        """The kinds that methods are ranked by.

        Their right answer is known well enough, and half of the methods or more were measured on
        them: a run that was stopped may have reached a kind with one method only.
        """
        return [
            name
            for name, kind in self.kinds.items()
            if kind.doubt <= DOUBTFUL
            and 2 * sum(name in line.marks for line in self.lines) >= len(self.lines)
        ]

    @property
    def limit(self) -> float:
        """The largest error, of the gradient or of a root alone, that counts as right."""
        bound = self.bounds.gradient if self.phase == "step" else self.bounds.root
        return min(bound, self.max_error)

    def unknown(self, line: Line) -> bool:
        """Whether a line was not measured on one of the kinds that decide."""
        return any(kind not in line.marks for kind in self.deciding)

    def right(self, line: Line) -> tuple[str, ...]:
        """The kinds on which a line is right, of those that decide."""
        return tuple(k for k in self.deciding if k in line.marks and line.marks[k].right)

    def right_everywhere(self, line: Line) -> bool:
        """Whether a line may be recommended: right on all kinds that decide, and on one at least.

        On the other kinds it must give numbers. Nobody knows how good they are, but a NaN or a
        crash is wrong whatever the right answer is.
        """
        gives_numbers = not any(mark.word for mark in line.marks.values())
        return bool(self.deciding) and gives_numbers and self.right(line) == tuple(self.deciding)

    def worst(self, line: Line) -> float:
        """The largest error of a line over the kinds that decide; infinite where one is wrong."""
        if not self.right_everywhere(line):
            return float("inf")
        return max(line.marks[kind].error or 0.0 for kind in self.deciding)


def boards(
    frame: "pd.DataFrame", bounds: Bounds = _NO_BOUNDS, max_error: float = DIGIT
) -> list[Board]:
    """Every board of a table, in the order of its rows. Boards without a time are left out.

    bounds: of the errors that count as right. max_error: the limit by which the run called a row
    inaccurate. A GPU has two boards for each place: of the caller's
    clock, and of its own with an emptied cache. Its other clocks explain these two.
    """
    clock = (frame["clock"] == WALL) | ((frame["clock"] == "gpu") & (frame["cache"] == "cold"))
    rows = with_outcomes(frame[clock & (frame["phase"] != "backward")])
    # Its errors are what they are; that it does not compete is said by its line.
    rows["usable"] |= rows["ended"] == OTHER_PRECISION
    rows["usable"] &= ~(rows["root_error"] > bounds.root)  # what is not known exceeds nothing
    rows["usable"] &= ~(rows["gradient_error"] > bounds.gradient)
    found = []
    for key, part in rows.groupby([*PLACE, "phase", "clock"], sort=False, dropna=False):
        *place, phase, name = key
        board = _board(dict(zip(PLACE, place, strict=True)), str(phase), str(name), part)
        board.bounds, board.max_error = bounds, max_error
        if board.lines:
            found.append(board)
    return found


def main_board(found: Sequence[Board]) -> Board | None:
    """The board that is shown first: a training step if any, with most methods, of largest size.

    None where no board has two methods: there is nothing to decide between.
    """
    several = [board for board in found if board.clock == WALL and len(board.lines) > 1]
    steps = [board for board in several if board.phase == "step"] or several
    return max(steps, key=lambda b: (len(b.lines), b.place["size"], b.place["batch"]), default=None)


def _board(place: dict[str, Any], phase: str, clock: str, rows: "pd.DataFrame") -> Board:
    sorted_kinds = kinds.kinds(rows)
    lines, absent = [], dict[str, int]()
    for _, of_method in rows.groupby(list(METHOD), sort=False, dropna=False):
        timed = of_method[of_method["seconds_median"].notna()]
        if timed.empty:
            reason = str(of_method["reason"].iloc[0]) or str(of_method["status"].iloc[0])
            absent[reason] = absent.get(reason, 0) + 1
        else:
            lines.append(_line(of_method, timed, sorted_kinds))

    lines.sort(key=lambda line: line.seconds)
    for line, name in zip(lines, short_names([line.row for line in lines]), strict=True):
        line.name, line.paper = name, paper_name(line.row)
    late = rows[rows["ended"] == Status.INTERRUPTED]
    return Board(place, phase, clock, sorted_kinds, lines, absent, late["cell_id"].nunique())


def _line(rows: "pd.DataFrame", timed: "pd.DataFrame", sorted_kinds: Mapping[str, Kind]) -> Line:
    """The line of a method. rows: its rows at one place; timed: those of them that have a time."""
    kind_of = kinds.by_problem(sorted_kinds)
    known = rows.assign(kind=rows["problem"].map(kind_of)).dropna(subset=["kind"])
    marks = {
        str(name): _mark(part, sorted_kinds[str(name)])
        for name, part in known.groupby("kind", sort=False)
        if not (part["ended"] == Status.INTERRUPTED).any()  # of such a cell nothing is known
    }
    first = rows.iloc[0]
    row = {name: _plain(first[name]) for name in (*METHOD, "function")}
    times = timed.set_index(["problem", "seed"])["seconds_median"]
    unsure = bool((timed["noise"] == Noise.UNSTABLE).mean() > 0.5)
    return Line(row, times, marks, unsure, computed_in=str(timed["computed_in"].max()))


def _mark(rows: "pd.DataFrame", kind: Kind) -> Mark:
    """How a method did on one kind of matrix. rows: its own, of all problems of the kind."""
    import pandas as pd

    counted = rows[rows["problem"].isin(kind.problems)]
    errors, wrong = counted["error"].dropna(), counted[~counted["usable"]]
    # A NaN or a crash is wrong also where the reference is in doubt.
    gave_numbers = (*MEASURED, UNVERIFIED, ABOVE_CEILING, OTHER_PRECISION)
    failed = rows[(rows["ended"] == Status.NONFINITE) | ~rows["ended"].isin(gave_numbers)]
    seemed_right = (Status.OK, UNVERIFIED, OTHER_PRECISION)
    broken = pd.concat([failed, wrong[~wrong["ended"].isin(seemed_right)]])
    word = _word(str(broken["ended"].iloc[0])) if len(broken) else ""
    return Mark(
        right=wrong.empty and failed.empty,
        error=float(errors.max()) if len(errors) and word in ("", "inaccurate") else None,
        word="" if word == "inaccurate" and len(errors) else word,
    )


def _word(status: str) -> str:
    """What stands in place of an error. One that diverged has an error too, but of no digit."""
    return {"nonfinite": "nan", "diverged": "inaccurate"}.get(status, status)


def _plain(value: Any) -> Any:
    """A value of a frame as Python has it: None for a missing number, int for a whole one."""
    import pandas as pd

    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def ratio(one: Line, other: Line) -> float:
    """How many times as long `one` takes, over the problems that both were measured on.

    The cells of a problem are measured within seconds of each other, so that most of what changes
    on the machine in minutes cancels.
    """
    return _geometric_mean((one.times / other.times).dropna())


def tie_limit(drift: float, *, unsure: bool) -> float:
    """The relative difference in time below which two methods tie."""
    return max(_TIE_IF_UNSURE if unsure else _TIE, drift)


def tied(one: Line, other: Line, drift: float) -> bool:
    """Whether two times are not told apart.

    drift: how far this machine's speed changed during the run, relative. They are told apart where
    one is faster on every problem, and by more than drift and the usual variation in the mean.
    """
    each = (one.times / other.times).dropna()
    if each.empty:
        return True
    same_sign = bool((each > 1 + _EVERYWHERE).all() or (each < 1 / (1 + _EVERYWHERE)).all())
    limit = tie_limit(drift, unsure=one.unsure or other.unsure)
    middle = _geometric_mean(each)
    return not same_sign or max(middle, 1 / middle) < 1 + limit


def choose(board: Board, drift: float) -> Line | None:
    """The line to recommend; None where no method is right on every kind of matrix.

    None as well while cells are missing: what is right on the kinds that were reached may be wrong
    on the others.
    """
    candidates = right_lines(board)
    if not candidates or board.unreached:
        return None
    fastest = candidates[0]
    close = [line for line in candidates if line is fastest or tied(line, fastest, drift)]
    accurate = min(close, key=board.worst)
    much_better = board.worst(accurate) * _MORE_ACCURATE < board.worst(fastest)
    return accurate if much_better else fastest


def right_lines(board: Board) -> list[Line]:
    """The lines that may be recommended, fastest first."""
    return [line for line in board.lines if line.competes and board.right_everywhere(line)]


def easy_alternative(board: Board, best: Line, drift: float) -> Line | None:
    """A clearly faster line that is right on well conditioned matrices, if that kind was measured.

    It is at least as accurate there as three right digits, so that nobody is sent from an exact
    method to one of one digit.
    """
    for line in board.lines:
        mark = line.marks.get(kinds.EASY)
        exact = mark is not None and mark.right and (mark.error or 0.0) < 1e-3
        if line.competes and exact and ratio(line, best) < 1 and not tied(line, best, drift):
            return line
    return None


def front(board: Board) -> Iterator[Line]:
    """The lines that are right everywhere and have at most half the error of every faster one."""
    least = float("inf")
    for line in right_lines(board):
        if board.worst(line) < least / 2:
            least = board.worst(line)
            yield line


def _geometric_mean(values: "pd.Series") -> float:
    return exp(sum(log(v) for v in values) / len(values))
