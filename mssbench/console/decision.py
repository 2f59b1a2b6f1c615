"""The first table of a run: which method to use, why, how sure that is, and what to do next."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

from mssbench import units
from mssbench.analysis import advice, decision
from mssbench.analysis.decision import DIGIT, Board, Bounds, Line
from mssbench.analysis.kinds import DOUBTFUL
from mssbench.analysis.trust import Trust, trust
from mssbench.records.facts import machine

if TYPE_CHECKING:
    import pandas as pd

_WIDEST_BAR, _SHORTEST_BAR = 20, 6  # characters
_WIDE_ENOUGH_FOR_PAPERS = 100  # columns: the papers' names stand beside ours from here on
_MOST_SETS = 3  # of kinds that have a group of their own; else "some matrices" stands for all
_EXACT = 1e-3  # errors below it are green
_NO_BOUNDS = Bounds()


class Decision:
    """What rich prints: as wide as there is room, in ASCII where there is nothing else.

    frame, facts: of a run. commands: what the reader may want next. bounds: of errors that count as
    right, beside the suite's own limit. again: the option that measures the rows once more.
    """

    def __init__(
        self,
        frame: "pd.DataFrame",
        facts: Mapping[str, Any],
        commands: Sequence[str],
        bounds: Bounds = _NO_BOUNDS,
        again: str = "--fresh",
    ) -> None:
        self._again = again
        self._boards = decision.boards(frame, bounds, _max_error(frame, facts))
        self._board = decision.main_board(self._boards)
        self._trust = trust(frame, facts)
        self._heading = _heading(frame, facts, self._trust)
        self._commands = commands

    @property
    def possible(self) -> bool:
        """Whether two methods were measured that could be decided between."""
        return self._board is not None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text | Table]:
        for part in self._parts(options.max_width, options.ascii_only):
            if options.ascii_only and isinstance(part, Text):
                yield _ascii(part)
            else:
                yield part

    def _parts(self, width: int, ascii_only: bool) -> Iterator[Text | Table]:
        board, believed = self._board, self._trust
        assert board is not None, "ask `possible` first"
        best = decision.choose(board, believed.drift) if believed.comparable else None

        if not believed.comparable:
            yield from _wrapped(advice.warning(believed, self._again), width, "bold yellow")
        yield from _wrapped(self._heading, width, "dim")
        yield Text(f"\n{_title(board)}", style="bold")
        yield _Rows(board, best, believed, ascii_only).table(width)
        yield from _wrapped(_legend(board, believed), width, "dim")
        yield Text()

        for sentence in advice.sentences(board, best, believed):
            yield from _sentence(sentence, width)
        if believed.comparable:
            for line in advice.elsewhere(self._boards, board, believed.drift):
                yield from _wrapped(line, width, "dim")
        yield from _next(self._commands)


class _Rows:
    """The table of one board."""

    def __init__(self, board: Board, best: Line | None, believed: Trust, ascii_only: bool) -> None:
        self._ascii_only = ascii_only
        self._board, self._best, self._believed = board, best, believed
        self._base = best or board.lines[0]
        self._slowest = max(line.seconds for line in board.lines)

    def table(self, width: int) -> Table:
        """The lines in groups, by the kinds on which they are right."""
        labels = {id(line): _label(line, width) for line in self._board.lines}
        groups = list(_groups(self._board))
        names = max(map(len, [*labels.values(), *(title for title, _, _ in groups)]))
        bar = min(_WIDEST_BAR, width - names - 29 - 10 * len(self._board.kinds))

        table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
        table.add_column("\n")
        table.add_column("\nmethod", min_width=min(names, width - 40), overflow="fold")
        table.add_column("\ntime", justify="right", no_wrap=True)
        if bar >= _SHORTEST_BAR:
            table.add_column("\n", width=bar)
        table.add_column("\nvs best", justify="right", no_wrap=True)
        for kind in self._board.kinds.values():
            heading = self._spelled(Text(f"{kind.name}\n{kind.heading}"))
            table.add_column(heading, justify="right", no_wrap=True, min_width=8)

        for title, style, lines in groups:
            table.add_row("", Text(title, style=f"italic {style}"))
            for line in lines:
                cells = self._cells(line, labels[id(line)], bar)
                table.add_row(*map(self._spelled, cells))
        return table

    def _spelled(self, text: Text) -> Text:
        return _ascii(text) if self._ascii_only else text

    def _cells(self, line: Line, label: str, bar: int) -> list[Text]:
        chosen = line is self._best
        right = bool(self._board.right(line))
        style = "bold green" if chosen else "" if right else "dim"
        time = ("~" if line.unsure else "") + units.seconds(line.seconds)
        cells = [Text("●" if chosen else " ", style), Text(label, style), Text(time, style)]
        if bar >= _SHORTEST_BAR:
            length = max(1, round(bar * line.seconds / self._slowest))
            cells.append(Text("█" * length, "green" if chosen else "cyan" if right else "dim"))
        cells.append(Text(self._ratio(line), style))
        for name, kind in self._board.kinds.items():
            cells.append(_mark(line, name, doubtful=kind.doubt > DOUBTFUL))
        return cells

    def _ratio(self, line: Line) -> str:
        if not self._believed.comparable:
            return "?"
        if line is self._base:
            return "1.0x"
        if decision.tied(line, self._base, self._believed.drift):
            return "="
        return f"{decision.ratio(line, self._base):.1f}x"


def _mark(line: Line, kind: str, *, doubtful: bool) -> Text:
    """The error on one kind of matrix; a cross and a word where no digit is right."""
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
        return Text(f"✗ {mark.error:.1g}", "red")
    return Text(units.error(mark.error), "green" if mark.error < _EXACT else "")


def _groups(board: Board) -> Iterator[tuple[str, str, list[Line]]]:
    """Title, colour and lines of each group: those right on most kinds first."""
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
    """The same text for a terminal without Unicode."""
    return Text(
        units.ascii_only(text.plain), text.style, no_wrap=text.no_wrap, overflow=text.overflow
    )


def _label(line: Line, width: int) -> str:
    beside = line.paper and width >= _WIDE_ENOUGH_FOR_PAPERS
    return f"{line.name} ({line.paper})" if beside else line.name


def _heading(frame: "pd.DataFrame", facts: Mapping[str, Any], believed: Trust) -> str:
    """`quick · Intel Xeon, 2 cores; torch 2.13.0 · load 1.0 · took 39 s`.

    Of a table that several runs made, the latest one speaks for load and time.
    """
    timed = frame[frame["seconds_median"].notna()]
    runs = sorted(believed.runs, key=lambda run: str(run.get("started", "")))
    run = runs[-1] if runs else {}
    known = [e for e in timed["environment"].unique() if e]
    where = machine(facts["environments"].get(known[-1]), known[-1]) if known else ""
    load = f"load {run['load_start'][0]:.1f}" if run.get("load_start") else ""
    took = f"took {units.duration(run['seconds'])}" if run.get("seconds") else ""
    if took and len(runs) > 1:
        took += f", the latest of {len(runs)} runs"
    plain = where.replace("(R)", "").replace("(TM)", "").replace(" Processor", "")
    return " · ".join(filter(None, [run.get("suite", ""), plain, load, took]))


def _max_error(frame: "pd.DataFrame", facts: Mapping[str, Any]) -> float:
    """The error from which on the run called a row inaccurate."""
    runs = [facts.get("runs", {}).get(run_id, {}) for run_id in frame["run_id"].unique()]
    given = [run.get("document", {}).get("measure", {}).get("max_error", DIGIT) for run in runs]
    return float(min(given, default=DIGIT))


def _title(board: Board) -> str:
    phase = "With gradient" if board.phase == "step" else "Forward alone"
    place = board.place
    device = "" if place["device"] == "cpu" else f" · {place['device']}, wall clock"
    return (
        f"{phase} · {place['function']} · n = {place['size']} · batch {place['batch']} · "
        f"{place['precision']}{device}"
    )


def _legend(board: Board, believed: Trust) -> str:
    what = "gradient" if board.phase == "step" else "root"
    words = [f"errors are the {what}'s, the worst of each kind", f"✗ {_wrong(board)}"]
    words.append("= a tie" if believed.comparable else "? times do not compare")
    if any(line.unsure for line in board.lines):
        words.append("~ varies by more than 30 %")
    if any(kind.doubt > DOUBTFUL for kind in board.kinds.values()):
        words.append("? no reference is exact enough to say")
    return " · ".join(words)


def _wrong(board: Board) -> str:
    """What a cross beside an error stands for."""
    if board.limit == DIGIT:
        return f"above {DIGIT:g}: no right digit"
    return f"above {board.limit:g}"


def _sentence(sentence: advice.Sentence, width: int) -> Iterator[Text]:
    if sentence.code:  # a line that will be copied is never broken
        yield Text(f"    {sentence.text}", style=sentence.style, no_wrap=True, overflow="ignore")
    else:
        yield from _wrapped(sentence.text, width, sentence.style)


def _wrapped(text: str, width: int, style: str) -> Iterator[Text]:
    """A sentence on lines of this width; all but the first are indented by two."""
    for line in text.split("\n"):
        for part in textwrap.wrap(line, width, subsequent_indent="  ") or [""]:
            yield Text(part, style=style, no_wrap=True, overflow="ignore")


def _next(commands: Sequence[str]) -> Iterator[Text]:
    for number, command in enumerate(commands):
        head = "Next:  " if number == 0 else "       "
        yield Text(head + command, no_wrap=True, overflow="ignore")
