"""Render the decision table of a run: methods by accuracy and time, and which one to use.

The table shows one board: the methods measured at one size, batch, precision, device and function.
A line of the board is one method; a kind is a group of problems, such as easy or singular matrices.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from mssbench.analysis import advice, decision
from mssbench.analysis.decision import DIGIT, Board, ErrorBounds, Line
from mssbench.analysis.kinds import DOUBTFUL
from mssbench.analysis.trust import Trust, trust
from mssbench.records import units
from mssbench.records.facts import machine

if TYPE_CHECKING:
    import pandas as pd

# Width of the bars of time in characters. A shorter bar shows no useful difference, and a longer
# one takes space from the names.
_WIDEST_BAR, _SHORTEST_BAR = 20, 6
_NARROWEST_NAME = 12  # width of the names of methods below which they are hard to read
_ANY = 1000  # more columns than any table needs
# Terminal width in columns from which on the papers' names are shown beside the short names.
_WIDE_ENOUGH_FOR_PAPERS = 100
# Largest number of groups "right on ... only"; more groups are merged into one.
_MOST_SETS = 3
_EXACT = 1e-3  # errors with at least three correct digits are green
_NO_BOUNDS = ErrorBounds()


class Decision:
    """A rich renderable of the decision table, which adapts to the width and to ASCII terminals.

    frame, facts: the rows of a run, and its environment.json. commands: commands that the reader
    may want next. bounds: the largest errors that count as right, in addition to the limit of the
    suite. again: the command-line option that measures the rows again.
    """

    def __init__(
        self,
        frame: "pd.DataFrame",
        facts: Mapping[str, Any],
        commands: Sequence[str],
        bounds: ErrorBounds = _NO_BOUNDS,
        again: str = "--fresh",
    ) -> None:
        self._again = again
        self._boards = decision.boards(frame, bounds, decision.max_error(frame, facts))
        self._board = decision.main_board(self._boards)
        self._trust = trust(frame, facts)
        self._heading = _heading(frame, facts, self._trust)
        self._commands = commands

    @property
    def possible(self) -> bool:
        """Whether the run has at least two methods to choose from, at some size and batch."""
        return self._board is not None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Table]:
        yield from self._parts(console, options)

    def _parts(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Table]:
        """Yield warning, heading, table, legend, advice and further commands."""
        width, ascii_only = options.max_width, options.ascii_only
        # Replaced before texts are folded, as a replacement may be longer than its character.
        told = units.ascii_only if ascii_only else str
        board, reliability = self._board, self._trust
        assert board is not None, "ask `possible` first"
        best = decision.choose(board, reliability.drift) if reliability.comparable else None

        if not reliability.comparable:
            yield from _wrapped(
                told(advice.warning(reliability, self._again)), width, "bold yellow"
            )
        yield from _wrapped(told(self._heading), width, "dim")
        yield Text(f"\n{told(_title(board))}", style="bold")
        yield _BoardRows(board, best, reliability, ascii_only).table(console, options)
        yield from _wrapped(told(_legend(board, reliability)), width, "dim")
        yield Text()

        for sentence in advice.sentences(board, best, reliability):
            yield from _sentence(sentence._replace(text=told(sentence.text)), width)
        if reliability.comparable:
            for line in advice.elsewhere(self._boards, board, reliability.drift):
                yield from _wrapped(told(line), width, "dim")
        yield from _next([told(command) for command in self._commands])


class _BoardRows:
    """Renders the table of one board: a row for each method, grouped by where they are right."""

    def __init__(self, board: Board, best: Line | None, believed: Trust, ascii_only: bool) -> None:
        self._ascii_only = ascii_only
        self._board, self._best, self._believed = board, best, believed
        self._base = best or board.lines[0]
        self._slowest = max(line.seconds for line in board.lines)

    def table(self, console: Console, options: ConsoleOptions) -> Table:
        """Return the table of the methods, grouped by the kinds of matrix they are right on.

        What does not fit the width is left out or folded: first the bars, then the gaps between
        columns and the names, then the ratios, which follow from the times.
        """
        width = options.max_width
        tables = (
            self._table(width),
            self._table(width, narrow=True),
            self._table(width, narrow=True, ratios=False),
        )
        for table, folded in tables:
            whole = Measurement.get(console, options.update(max_width=_ANY), table).maximum
            if whole - folded <= width:
                break
        return table

    def _table(self, width: int, *, narrow: bool = False, ratios: bool = True) -> tuple[Table, int]:
        """Return the table of the methods, and by how much folded names make it narrower.

        narrow: whether names are folded more, and columns stand close. ratios: whether it has them.
        """
        labels = {id(line): _label(line, width) for line in self._board.lines}
        groups = list(_groups(self._board))
        names = max(map(len, [*labels.values(), *(title for title, _, _ in groups)]))
        # The bar gets what the dot, the times and the ratios (29 columns) and the kinds (10 columns
        # each) leave of the width.
        bar = min(_WIDEST_BAR, width - names - 29 - 10 * len(self._board.kinds))

        table = Table(
            box=None, padding=(0, 1), pad_edge=False, header_style="dim", collapse_padding=narrow
        )
        least = _NARROWEST_NAME if narrow else max(width - 40, _NARROWEST_NAME)
        table.add_column("\n")
        table.add_column("\nmethod", min_width=min(names, least), overflow="fold")
        table.add_column("\ntime", justify="right", no_wrap=True)
        if bar >= _SHORTEST_BAR:
            table.add_column("\n", width=bar)
        if ratios:
            table.add_column("\nvs best", justify="right", no_wrap=True)
        for kind in self._board.kinds.values():
            heading = self._spelled(Text(f"{kind.name}\n{kind.heading}"))
            table.add_column(heading, justify="right", no_wrap=True, min_width=8)

        for title, style, lines in groups:
            table.add_row("", Text(title, style=f"italic {style}"))
            for line in lines:
                cells = self._cells(line, labels[id(line)], bar, ratios=ratios)
                table.add_row(*map(self._spelled, cells))
        return table, names - min(names, least)

    def _spelled(self, text: Text) -> Text:
        return _ascii(text) if self._ascii_only else text

    def _cells(self, line: Line, label: str, bar: int, *, ratios: bool) -> list[Text]:
        """Return the table cells of one method.

        bar: width of the longest bar, in characters. ratios: whether there is a ratio.
        """
        chosen = line is self._best
        right = bool(self._board.right(line))
        style = "bold green" if chosen else "" if right else "dim"
        time = ("~" if line.unsure else "") + units.seconds(line.seconds)

        cells = [Text("●" if chosen else " ", style), Text(label, style), Text(time, style)]
        if bar >= _SHORTEST_BAR:
            length = max(1, round(bar * line.seconds / self._slowest))
            cells.append(Text("█" * length, "green" if chosen else "cyan" if right else "dim"))
        if ratios:
            cells.append(Text(self._ratio(line), style))
        for name, kind in self._board.kinds.items():
            cells.append(_mark(line, name, doubtful=kind.doubt > DOUBTFUL))
        return cells

    def _ratio(self, line: Line) -> str:
        """Return a method's time / the best method's: `1.7x`, `=` for a tie.

        `?` if the times of the run cannot be compared, `-` if the two methods have no problem in
        common.
        """
        if not self._believed.comparable:
            return "?"
        if line is self._base:
            return "1.0x"
        ratio = decision.ratio(line, self._base)
        if isnan(ratio):
            return "-"
        if decision.tied(line, self._base, self._believed.drift):
            return "="
        return f"{ratio:.1f}x"


def _mark(line: Line, kind: str, *, doubtful: bool) -> Text:
    """Return the error of a method on one kind of matrix, with a cross if it is not right.

    doubtful: whether the reference is too inaccurate to tell; then the text is `?`.
    """
    mark = line.marks.get(kind)
    if mark is None:
        return Text("-")
    if mark.word:
        return Text(f"✗ {mark.word}", "red")
    if mark.error is None:
        return Text("-")

    if doubtful:
        return Text("?", "dim")
    if not mark.right:
        return Text(f"✗ {advice.wrong(mark.error)}", "red")
    return Text(units.error(mark.error), "green" if mark.error < _EXACT else "")


def _groups(board: Board) -> Iterator[tuple[str, str, list[Line]]]:
    """Yield title, colour and methods of each group of the table.

    The methods that are right on the same kinds of matrix are a group. The group that is right on
    the most kinds comes first. If there are more than `_MOST_SETS` groups of methods that are right
    on some kinds only, they are shown as one group.

    Then come the methods that are not ranked by kinds: those that were not measured on every kind,
    that take the root of a changed matrix, that compute in another precision, or that take no torch
    tensors. If no reference is exact enough to decide, the methods are not grouped by kinds at all.
    """
    comparable = [line for line in board.lines if line.competes and not board.unknown(line)]
    if board.kinds and not board.deciding:
        yield "not ranked, as no reference is exact enough", "yellow", comparable
        comparable = []
    everywhere = [line for line in comparable if board.right_everywhere(line)]
    if everywhere:
        title = "right where it was measured" if board.unreached else "right everywhere"
        yield title, "green", everywhere

    some: dict[tuple[str, ...], list[Line]] = {}
    for line in comparable:
        if board.right(line) and line not in everywhere:
            some.setdefault(board.right(line), []).append(line)
    if len(some) > _MOST_SETS:
        yield (
            "right on some matrices only",
            "yellow",
            [line for line in comparable if board.right(line) in some and line not in everywhere],
        )
    else:
        for right, lines in sorted(some.items(), key=lambda item: -len(item[0])):
            yield f"right on {advice.spoken(right)} only", "yellow", lines

    if nowhere := [line for line in comparable if not board.right(line)]:
        title = "no right digit" if board.limit == DIGIT else "right on no kind"
        yield title, "red", nowhere
    if unknown := [line for line in board.lines if line.competes and board.unknown(line)]:
        yield "not measured on every kind", "dim", unknown
    if changed := [line for line in board.lines if line.is_regularized]:
        yield "root of a changed matrix (ridge or rtol)", "blue", changed

    rest = [line for line in board.lines if not line.competes and not line.is_regularized]
    for precision in sorted({line.computed_in for line in rest} - {""}):
        other = [line for line in rest if line.computed_in == precision]
        yield f"computed in {precision}, not {board.place['precision']}", "blue", other
    others = [line for line in rest if line.is_foreign and not line.computed_in]
    if others:
        yield "takes no torch tensors", "blue", others


def _ascii(text: Text) -> Text:
    """Return the same text for a terminal without Unicode."""
    return Text(
        units.ascii_only(text.plain), text.style, no_wrap=text.no_wrap, overflow=text.overflow
    )


def _label(line: Line, width: int) -> str:
    """Return the name of a method, with the name that papers use if there is room for it."""
    with_paper = line.paper and width >= _WIDE_ENOUGH_FOR_PAPERS
    return f"{line.name} ({line.paper})" if with_paper else line.name


def _heading(frame: "pd.DataFrame", facts: Mapping[str, Any], reliability: Trust) -> str:
    """Return suite, machine, load and time: `quick · Intel Xeon, 2 cores · load 1.0 · took 39 s`.

    If several runs made the table, load and time are those of the latest one.
    """
    timed = frame[frame["seconds_median"].notna()]
    runs = sorted(reliability.runs, key=lambda run: str(run.get("started", "")))
    run = runs[-1] if runs else {}
    # The warning above the heading names the machines if they are several.
    known = [] if reliability.mixed else [e for e in timed["environment"].unique() if e]

    where = " and ".join(machine(facts["environments"].get(e), e) for e in known)
    load = f"load {run['load_start'][0]:.1f}" if run.get("load_start") else ""
    run_time = f"took {units.duration(run['seconds'])}" if run.get("seconds") else ""
    if run_time and len(runs) > 1:
        run_time += f", the latest of {len(runs)} runs"

    plain = where.replace("(R)", "").replace("(TM)", "").replace(" Processor", "")
    return " · ".join(filter(None, [run.get("suite", ""), plain, load, run_time]))


def _title(board: Board) -> str:
    """Return the title of the table: `With gradient · sqrt · n = 64 · batch 16 · float32`."""
    phase = "With gradient" if board.phase == "step" else "Forward alone"
    place = board.place
    device = "" if place["device"] == "cpu" else f" · {place['device']}, wall clock"
    return (
        f"{phase} · {place['function']} · n = {place['size']} · batch {place['batch']} · "
        f"{place['precision']}{device}"
    )


def _legend(board: Board, reliability: Trust) -> str:
    """Return the line below the table that explains its errors, and marks such as ✗ and ~."""
    quantity = "gradient" if board.phase == "step" else "root"
    words = [f"errors are the {quantity}'s, the worst of each kind", f"✗ {_wrong(board)}"]
    words.append("= a tie" if reliability.comparable else "? times cannot be compared")
    if any(line.unsure for line in board.lines):
        words.append("~ varies by more than 30 %")
    if any(kind.doubt > DOUBTFUL for kind in board.kinds.values()):
        words.append("? no reference is exact enough to say")
    return " · ".join(words)


def _wrong(board: Board) -> str:
    """Return the meaning of a cross beside an error: `above 0.1: no right digit`."""
    if board.limit == DIGIT:
        return f"above {DIGIT:g}: no right digit"
    return f"above {board.limit:g}"


def _sentence(sentence: advice.Sentence, width: int) -> Iterator[Text]:
    if sentence.code:  # never folded, so that it can be copied
        yield Text(f"    {sentence.text}", style=sentence.style, no_wrap=True, overflow="ignore")
    else:
        yield from _wrapped(sentence.text, width, sentence.style)


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    """Yield a text folded to this width; all lines of a sentence but the first are indented."""
    for line in text.split("\n"):
        for part in textwrap.wrap(line, width, subsequent_indent="  ") or [""]:
            yield Text(part, style=style, no_wrap=True, overflow="ignore")


def _next(commands: Sequence[str]) -> Iterator[Text]:
    """Yield the commands that the reader may want next, one on each line."""
    for number, command in enumerate(commands):
        head = "Next:  " if number == 0 else "       "
        yield Text(head + command, no_wrap=True, overflow="ignore")
