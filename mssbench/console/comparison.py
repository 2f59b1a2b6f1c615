"""Render a comparison of two runs with rich.

A judgement is the verdict on one row of base and new with its reason; a gate is a column with a
limit on how much it may grow.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench.compare.judgement import Judged, Judgement, Mean, Tally
from mssbench.compare.verdict import QUIET, Verdict
from mssbench.errors import TableError, unknown
from mssbench.records import units
from mssbench.records.cell import GPU
from mssbench.records.measurement import AnyRow
from mssbench.records.schema import KEY
from mssbench.results.labels import METHOD, spoken

DISPLAYS = ("simple", "intervals", "explain")
# The style of each verdict, most urgent first: the tables are sorted in this order.
STYLE = {
    Verdict.BROKEN: "bold red",
    Verdict.GONE: "red",
    Verdict.WORSE: "red",
    Verdict.SLOWER: "red",
    Verdict.INCOMPARABLE: "yellow",
    Verdict.UNCLEAR: "yellow",
    Verdict.FIXED: "green",
    Verdict.FASTER: "green",
    Verdict.ADDED: "cyan",
    Verdict.SAME: "green",
    Verdict.UNFLAGGED: "dim",
}
_ORDER = tuple(STYLE)
# Verdicts whose reason is always printed, as it matters more than the times.
_REASONED = (Verdict.BROKEN, Verdict.WORSE, Verdict.FIXED)
_UNFLAGGED = "unflagged: no difference was detected, and none is excluded"
_MOST = 40  # rows of a table, about a screen; --json has all
_MOST_COLUMNS = 3  # varying key columns with a column each; more of them share one column
_NARROWEST = 16  # width in characters below which the names of methods are hard to read


def check_display(name: str) -> None:
    """Raise TableError for a display that does not exist."""
    if name not in DISPLAYS:
        raise TableError(f"--display: {unknown('display', name, DISPLAYS)}")


def comparison(judged: Judged, display: str) -> Iterator[RenderableType]:
    """Yield the output of `compare`: judgements, most urgent first, mean ratios, and a count.

    display: a word of DISPLAYS; with `simple` only judgements that may require action are shown.
    """
    shown = _loud(judged) if display == "simple" else judged.judgements
    yield from judgements(shown, display)

    yield from map(_mean, judged.means)
    for remark in judged.remarks:
        yield Text(remark, "dim")
    yield from _counts(judged)


def checked(judged: Judged, display: str) -> Iterator[RenderableType]:
    """Yield the output of `check`: a line for each gate, the rows that failed, advice on times."""
    yield _tallies(judged.tallies)
    yield from judgements(_loud(judged), "explain")

    for remark in judged.remarks:
        yield Text(remark, "dim")
    if judged.advice:
        yield Text("\nadvice only, no failure: these times differ from those of the baseline")
        yield from judgements(judged.advice, display)
    yield from _counts(judged)


def _loud(judged: Judged) -> list[Judgement]:
    """Return the judgements that may require action."""
    return [judgement for judgement in judged.judgements if judgement.verdict not in QUIET]


def judgements(every: Iterable[Judgement], display: str) -> Iterator[RenderableType]:
    """Yield the judgements of the most urgent rows, and the number of the other rows.

    Each has one line, or with reason and advice several. display: a word of DISPLAYS.
    """
    ordered = sorted(every, key=lambda judgement: _ORDER.index(judgement.verdict))
    if not ordered:
        return

    shown = ordered[:_MOST]
    names, common = _varying(shown)
    if common:
        yield Text(f"everywhere: {' · '.join(spoken(k, v) for k, v in common.items())}", "dim")

    explained = [j for j in shown if display == "explain" or j.verdict in _REASONED]
    if explained:
        yield _entries(explained, names)
    if len(explained) < len(shown):
        yield _lines([j for j in shown if j not in explained], names, display)

    if len(ordered) > _MOST:
        yield Text(f"and {units.count(len(ordered) - _MOST, 'more row')} (--json has all)", "dim")


def _varying(every: Sequence[Judgement]) -> tuple[list[str], dict[str, Any]]:
    """Return the key columns in which the rows differ, and the others with their common values.

    The columns of the method are left out, and a common seed and cache as well.
    """
    rest = [name for name in KEY if name not in METHOD]
    values = {name: {judgement.pair.row[name] for judgement in every} for name in rest}

    names = [name for name in rest if len(values[name]) > 1]
    common = {name: next(iter(values[name])) for name in rest if name not in names}
    return names, {k: v for k, v in common.items() if k not in ("seed", "cache")}


def _lines(every: Sequence[Judgement], names: Sequence[str], display: str) -> Table:
    """Return a table with one line for each row."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", overflow="fold", min_width=_NARROWEST)

    # Many key columns would leave no room for the method, so they share one column.
    together = len(names) > (0 if display == "intervals" else _MOST_COLUMNS)
    if together:
        table.add_column("where", overflow="fold", min_width=_NARROWEST)
    for name in () if together else names:
        number = name in ("size", "batch", "seed")
        table.add_column({"size": "n"}.get(name, name), justify="right" if number else "left")

    for name in ("base", "new", "ratio"):
        table.add_column(name, justify="right", no_wrap=True)
    if display == "intervals":
        table.add_column("interval", justify="right", no_wrap=True)
        table.add_column("detectable", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)

    for judgement in every:
        row = judgement.pair.row
        if together:
            where = [_where(row, names)]
        else:
            where = [str(row[name]) for name in names]
        base, new = map(units.seconds, judgement.seconds)
        cells = [row["method"], *where, base, new, _ratio(judgement.ratio)]

        if display == "intervals":
            least = judgement.detectable
            cells += [_interval(judgement), "-" if least is None else f"+{100 * least:.0f} %"]
        table.add_row(*map(Text, cells), Text(judgement.words, STYLE[judgement.verdict]))
    return table


def _entries(every: Sequence[Judgement], names: Sequence[str]) -> Table:
    """Return a table with the verdict of each row, its reason, and what to do next."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")

    for judgement in every:
        row = judgement.pair.row
        where = _where(row, names)
        text = Text.assemble((row["method"], "bold"), f"  {where}" if where else "")

        if judgement.ratio is not None:
            base, new = map(units.seconds, judgement.seconds)
            times = f"{base} -> {new}, {_ratio(judgement.ratio)} {_interval(judgement)}"
            text.append(f"\n{times}".rstrip())

        if judgement.reason:
            text.append(f"\n{judgement.reason}")
        if judgement.advice:
            text.append(f"\nnext: {judgement.advice}")
        table.add_row(Text(judgement.words, STYLE[judgement.verdict]), text)
    return table


def _where(row: AnyRow, names: Sequence[str]) -> str:
    """Return these key columns of a row as text; the cache only for a time of the GPU's clock."""
    told = [name for name in names if name != "cache" or row["clock"] == GPU]
    return " · ".join(spoken(name, row[name]) for name in told)


def _ratio(x: float | None) -> str:
    return "-" if x is None else units.ratio(x)


def _interval(judgement: Judgement) -> str:
    if judgement.low is None or judgement.high is None:
        return ""
    return f"[{units.ratio(judgement.low)}, {units.ratio(judgement.high)}]"


def _mean(mean: Mean) -> Text:
    """Return a mean as text: `geometric mean of 48 rows, step, wall clock: 1.02x`."""
    (_, phase), (_, clock), (_, cache), *by = mean.at
    where = [phase, f"{clock} clock", *([f"{cache} cache"] if clock == GPU else [])]
    where += [spoken(name, value) for name, value in by]

    rows = units.count(mean.rows, "row")
    return Text(f"geometric mean of {rows}, {', '.join(where)}: {units.ratio(mean.ratio)}")


def _tallies(tallies: Sequence[Tally]) -> Table:
    """Return a table with a line for each gate: rows compared, and rows beyond the limit."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("gate")
    table.add_column("rows compared", justify="right")
    table.add_column("breached", justify="right")

    for gate, rows, breached in tallies:
        style = "bold red" if breached else "dim" if not rows else ""
        table.add_row(gate, str(rows) if rows else "-", Text(str(breached) if rows else "-", style))
    return table


def _counts(judged: Judged) -> Iterator[Text]:
    """Yield the number of rows with each verdict, after the meaning of a word that needs one."""
    if judged.verdicts.get(Verdict.UNFLAGGED):
        yield Text(_UNFLAGGED, "dim")
    yield verdicts(judged.verdicts)


def verdicts(counts: Mapping[str, int]) -> Text:
    """Return the number of rows with each verdict, coloured: `3 slower, 90 unflagged`."""
    text = Text()
    for verdict in _ORDER:
        if n := counts.get(verdict):
            text.append(", " if text else "")
            text.append(f"{n} {verdict}", STYLE[verdict])
    return text
