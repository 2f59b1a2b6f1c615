"""Decide which method to use: rank the methods on one board for each size, batch and phase.

A board has one line for each method, with its mean time over all problems and its worst error on
each kind of matrix. The recommended line is the fastest of those that are right on every kind. If
two times cannot be distinguished, a much more accurate method is preferred.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, isnan, log, nan
from typing import TYPE_CHECKING, Any, NamedTuple

from mssbench.analysis import kinds
from mssbench.analysis.kinds import DOUBTFUL, ProblemKind
from mssbench.analysis.naming import paper_name, short_names
from mssbench.methods.regularization import OPTIONS
from mssbench.records.cell import COLD, GPU, WALL, parse_options
from mssbench.records.measurement import MEASURED, Row, Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED, Noise
from mssbench.results.labels import METHOD, with_outcomes

if TYPE_CHECKING:
    import pandas as pd

# Key columns that have one value in all rows of a board, as have phase and clock.
PLACE = ("function", "precision", "device", "size", "batch")
# Relative difference within which two times are a tie. Cells are measured minutes apart, and the
# speed of a shared machine seldom changes by less in that time. The second number applies if one of
# the times is unsure.
_TIE, _TIE_IF_UNSURE = 0.10, 0.30
# A method is clearly faster than another only if it is so by more than this on every problem.
_EVERYWHERE = 0.03
# Of tied methods a more accurate one is preferred if its error is smaller by this factor: errors
# are estimates, and differ by up to an order of magnitude between matrices.
_MORE_ACCURATE = 10.0


class ErrorBounds(NamedTuple):
    """The largest relative errors that count as right, in addition to the limit of the run."""

    root: float = float("inf")
    gradient: float = float("inf")


_NO_BOUNDS = ErrorBounds()
DIGIT = 0.1  # with a larger relative error not even the first digit is right


class Mark(NamedTuple):
    """The accuracy of a method on one kind of matrix, such as hard or singular ones."""

    right: bool  # whether every row of the kind is ok
    error: float | None  # the largest error; None if no error is known
    word: str  # why no error is known: `nan`, `crashed`, `timeout`, ...; else empty


def is_regularized(row: Mapping[str, Any]) -> bool:
    """Whether the method of a row takes the root of a regularized matrix (ridge or rtol)."""
    return any(name in OPTIONS for name in parse_options(row["options"]))


@dataclass
class Line:
    """One method on a board: its times, and its accuracy on each kind of matrix."""

    row: Row  # the key columns of one of its rows; a missing number is None
    times: "pd.Series"  # seconds, indexed by (problem, seed)
    marks: dict[str, Mark]  # by name of the kind of matrix
    unsure: bool  # whether most of its times are unstable
    name: str = ""
    paper: str = ""
    computed_in: str = ""  # the precision of the arithmetic, if it is not that of the board

    @property
    def seconds(self) -> float:
        """The geometric mean of the times over the problems, in seconds."""
        return _geometric_mean(self.times)

    @property
    def is_foreign(self) -> bool:
        """Whether the method takes no torch tensors."""
        return bool(self.row["library"] != "torch")

    @property
    def is_regularized(self) -> bool:
        """Whether the method takes the root of a regularized matrix, see the function."""
        return is_regularized(self.row)

    @property
    def competes(self) -> bool:
        """Whether the method may be recommended to a torch user who wants the root of A itself.

        It takes torch tensors, changes the matrix by no regularization, and computes in the
        board's precision.
        """
        return not self.is_foreign and not self.is_regularized and not self.computed_in


@dataclass
class Board:
    """The methods measured at one size, batch, precision, device and function, fastest first."""

    place: dict[str, Any]  # the values of PLACE
    phase: str
    clock: str
    kinds: dict[str, ProblemKind]
    lines: list[Line]
    absent: dict[str, int] = field(default_factory=dict)  # reason -> number of methods not timed
    unreached: int = 0  # cells that an interrupted run did not reach
    bounds: ErrorBounds = _NO_BOUNDS
    max_error: float = DIGIT  # error limit of the run, see `boards`

    @property
    def deciding(self) -> list[str]:
        """The names of the kinds of matrix that methods are ranked by.

        The reference of these kinds is accurate enough, and at least half of the methods were
        measured on them: an interrupted run may have measured only one method on some kind.
        """
        return [
            name
            for name, kind in self.kinds.items()
            if kind.doubt <= DOUBTFUL
            and 2 * sum(name in line.marks for line in self.lines) >= len(self.lines)
        ]

    @property
    def limit(self) -> float:
        """The largest error that counts as right: of the gradient in a step, else of the root."""
        bound = self.bounds.gradient if self.phase == "step" else self.bounds.root
        return min(bound, self.max_error)

    def unknown(self, line: Line) -> bool:
        """Whether a method was not measured on some kind of matrix that methods are ranked by."""
        return any(kind not in line.marks for kind in self.deciding)

    def right(self, line: Line) -> tuple[str, ...]:
        """Return the deciding kinds of matrix on which a method is right, see `Mark`."""
        return tuple(k for k in self.deciding if k in line.marks and line.marks[k].right)

    def right_everywhere(self, line: Line) -> bool:
        """Whether a method is right on all deciding kinds, of which there must be at least one.

        On the other kinds, whose reference is in doubt, the method must return finite numbers: a
        NaN or a crash is wrong in any case.
        """
        gives_numbers = not any(mark.word for mark in line.marks.values())
        return bool(self.deciding) and gives_numbers and self.right(line) == tuple(self.deciding)

    def worst(self, line: Line) -> float:
        """Return a method's largest error over the deciding kinds; infinite if wrong on any."""
        if not self.right_everywhere(line):
            return float("inf")
        return max(line.marks[kind].error or 0.0 for kind in self.deciding)


def boards(
    frame: "pd.DataFrame", bounds: ErrorBounds = _NO_BOUNDS, max_error: float = DIGIT
) -> list[Board]:
    """Return the boards of a run's rows that have a time, in the order of the rows.

    bounds: the largest errors that count as right. max_error: the error above which the run called
    a row inaccurate. A GPU has two boards for each place: for the wall clock, and for the GPU's
    own clock with a cold cache. Its other clocks are for explaining these two.
    """
    clock = (frame["clock"] == WALL) | ((frame["clock"] == GPU) & (frame["cache"] == COLD))
    rows = with_outcomes(frame[clock & (frame["phase"] != "backward")])

    # The errors of a row computed in another precision are valid; its line does not compete.
    rows["usable"] |= rows["ended"] == OTHER_PRECISION
    rows["usable"] &= ~(rows["root_error"] > bounds.root)  # an unknown error (NaN) passes
    rows["usable"] &= ~(rows["gradient_error"] > bounds.gradient)

    boards_with_times = []
    for key, part in rows.groupby([*PLACE, "phase", "clock"], sort=False, dropna=False):
        *place, phase, name = key
        board = _board(dict(zip(PLACE, place, strict=True)), str(phase), str(name), part)
        board.bounds, board.max_error = bounds, max_error
        if board.lines:
            boards_with_times.append(board)
    return boards_with_times


def max_error(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> float:
    """Return the error above which a row was called inaccurate; the smallest if runs differ."""
    runs = [facts.get("runs", {}).get(run_id, {}) for run_id in frame["run_id"].unique()]
    limits = [run.get("document", {}).get("measure", {}).get("max_error", DIGIT) for run in runs]
    return float(min(limits, default=DIGIT))


def main_board(found: Sequence[Board]) -> Board | None:
    """Return the board to show first; None if no board has two methods.

    Boards of a training step (root and gradient) are preferred, then those with the most methods,
    then those of the largest size and batch.
    """
    several = [board for board in found if board.clock == WALL and len(board.lines) > 1]
    steps = [board for board in several if board.phase == "step"] or several
    return max(steps, key=lambda b: (len(b.lines), b.place["size"], b.place["batch"]), default=None)


def _board(place: dict[str, Any], phase: str, clock: str, rows: "pd.DataFrame") -> Board:
    """Return the board of these rows, which all have the same place, phase and clock."""
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

    interrupted = rows[rows["ended"] == Status.INTERRUPTED]
    return Board(place, phase, clock, sorted_kinds, lines, absent, interrupted["cell_id"].nunique())


def _line(
    rows: "pd.DataFrame", timed: "pd.DataFrame", sorted_kinds: Mapping[str, ProblemKind]
) -> Line:
    """Return the line of a method. rows: its rows at one place; timed: those with a time."""
    kind_of = kinds.by_problem(sorted_kinds)
    known = rows.assign(kind=rows["problem"].map(kind_of)).dropna(subset=["kind"])
    marks = {
        str(name): _mark(part, sorted_kinds[str(name)])
        for name, part in known.groupby("kind", sort=False)
        if not (part["ended"] == Status.INTERRUPTED).any()  # an interrupted cell has no error
    }

    first = rows.iloc[0]
    row = {name: _plain(first[name]) for name in (*METHOD, "function")}
    times = timed.set_index(["problem", "seed"])["seconds_median"]
    unsure = bool((timed["noise"] == Noise.UNSTABLE).mean() > 0.5)
    return Line(row, times, marks, unsure, computed_in=str(timed["computed_in"].max()))


def _mark(rows: "pd.DataFrame", kind: ProblemKind) -> Mark:
    """Return the accuracy of a method on one kind. rows: the method's rows of all its problems."""
    # Masks and no frames of the rows that they choose: making these would take most of the time.
    ended, counted = rows["ended"], rows["problem"].isin(kind.problems)
    errors, wrong = rows["error"][counted].dropna(), counted & ~rows["usable"]

    # A NaN or a crash is wrong even if the reference is in doubt.
    gave_numbers = (*MEASURED, UNVERIFIED, ABOVE_CEILING, OTHER_PRECISION)
    failed = (ended == Status.NONFINITE) | ~ended.isin(gave_numbers)
    seemed_right = (Status.OK, UNVERIFIED, OTHER_PRECISION)
    broken = [*ended[failed], *ended[wrong & ~ended.isin(seemed_right)]]

    word = _word(str(broken[0])) if broken else ""
    return Mark(
        right=not wrong.any() and not failed.any(),
        error=float(errors.max()) if len(errors) and word in ("", "inaccurate") else None,
        word="" if word == "inaccurate" and len(errors) else word,
    )


def _word(status: str) -> str:
    """Return the word shown for a status in place of an error: `nan`, `crashed`, ...

    A diverged row counts as inaccurate, since it has an error.
    """
    return {"nonfinite": "nan", "diverged": "inaccurate"}.get(status, status)


def _plain(value: Any) -> Any:
    """Return a value of a frame as a plain Python value, None if it is missing."""
    import pandas as pd

    if pd.isna(value):
        return None
    return value.item() if hasattr(value, "item") else value


def ratio(one: Line, other: Line) -> float:
    """Return the geometric mean of time of `one` / time of `other` over their common problems.

    NaN if they have none. The cells of a problem are measured within seconds of each other, so that
    slow changes of the machine mostly cancel.
    """
    ratios = _ratios(one, other)
    return nan if ratios.empty else _geometric_mean(ratios)


def _ratios(one: Line, other: Line) -> "pd.Series":
    """Return time of `one` / time of `other` for each problem and seed that both have."""
    return (one.times / other.times).dropna()


def tie_limit(drift: float, *, unsure: bool) -> float:
    """Return the relative difference in time below which two methods tie; 0.1 is 10 %.

    drift: relative change of the machine's speed during the run. unsure: whether a time is unsure.
    """
    return max(_TIE_IF_UNSURE if unsure else _TIE, drift)


def tied(one: Line, other: Line, drift: float) -> bool:
    """Whether two methods are equally fast: their `ratio` is within `tie_limit`.

    Methods without a common problem count as tied, because nothing is known about their ratio.
    drift: relative change of the machine's speed during the run.
    """
    mean = ratio(one, other)
    limit = tie_limit(drift, unsure=one.unsure or other.unsure)
    return isnan(mean) or max(mean, 1 / mean) < 1 + limit


def is_faster(one: Line, other: Line, drift: float) -> bool:
    """Whether one method is clearly faster: on every common problem, and not tied with the other.

    If each of two methods is faster on some problem, none is clearly faster, even if their mean
    times differ by more than a tie: which one to take then depends on the matrices. drift: as in
    `tied`.
    """
    on_every_problem = bool((_ratios(one, other) < 1 / (1 + _EVERYWHERE)).all())
    return on_every_problem and not tied(one, other, drift)


def choose(board: Board, drift: float) -> Line | None:
    """Return the line of the method to recommend; None if none is right on every kind of matrix.

    None also if the run has not reached all cells of the board: a method that is right on the kinds
    reached so far may be wrong on the others. drift: relative change of the machine's speed.
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
    """Return the lines of the methods that may be recommended, fastest first."""
    return [line for line in board.lines if line.competes and board.right_everywhere(line)]


def easy_alternative(board: Board, best: Line, drift: float) -> Line | None:
    """Return a method clearly faster than `best` and right on well-conditioned matrices, or None.

    The method's error there is below 1e-3, so that no method with a single correct digit is offered
    in place of an exact one.
    """
    for line in board.lines:
        mark = line.marks.get(kinds.EASY)
        exact = mark is not None and mark.right and (mark.error or 0.0) < 1e-3
        if line.competes and exact and is_faster(line, best, drift):
            return line
    return None


def front(board: Board) -> Iterator[Line]:
    """Yield the methods right on every kind with less than half the error of all faster ones."""
    least = float("inf")
    for line in right_lines(board):
        if board.worst(line) < least / 2:
            least = board.worst(line)
            yield line


def _geometric_mean(values: "pd.Series") -> float:
    """Return the geometric mean of positive values."""
    return exp(sum(log(v) for v in values) / len(values))
