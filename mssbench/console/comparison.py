"""Two tables side by side as rich renderables: changes, gates, verdicts. Prints nothing itself."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench import units
from mssbench.compare.check import Judged, Tally
from mssbench.compare.describe import Comparison
from mssbench.compare.rows import Change
from mssbench.compare.verdict import QUIET, Verdict
from mssbench.errors import TableError, unknown
from mssbench.records.schema import KEY
from mssbench.results.labels import METHOD, spoken

DISPLAYS = ("simple", "intervals", "explain")
STYLE = {
    Verdict.SLOWER: "red", Verdict.WORSE: "red", Verdict.BROKEN: "bold red", Verdict.GONE: "red",
    Verdict.FASTER: "green", Verdict.FIXED: "green", Verdict.SAME: "green",
    Verdict.UNCLEAR: "yellow", Verdict.INCOMPARABLE: "yellow", Verdict.ADDED: "cyan",
    Verdict.UNFLAGGED: "dim",
}  # fmt: skip
# In this order, what a reader must know first.
_ORDER = (
    Verdict.BROKEN, Verdict.GONE, Verdict.WORSE, Verdict.SLOWER, Verdict.INCOMPARABLE,
    Verdict.UNCLEAR, Verdict.FIXED, Verdict.FASTER, Verdict.ADDED, Verdict.SAME, Verdict.UNFLAGGED,
)  # fmt: skip
_REASONED = (Verdict.BROKEN, Verdict.WORSE, Verdict.FIXED)  # of which times are not the news
_MOST = 40  # rows of a table that people read; --json has all
_MOST_COLUMNS, _NARROWEST = 3, 16  # of what varies; characters of a column that folds
_CLOCK = ("phase", "clock", "cache")


def check_display(name: str) -> None:
    """Raise TableError for a display that there is none of."""
    if name not in DISPLAYS:
        raise TableError(f"--display: {unknown('display', name, DISPLAYS)}")


def comparison(found: Comparison, display: str, by: Sequence[str] = ()) -> Iterator[RenderableType]:
    """What changed, most urgent first; then the geometric means; then how many of each verdict."""
    loud = [c for c in found.changes if c.verdict not in QUIET]
    yield from changes(loud if display == "simple" else found.changes, display)
    yield from _means(found.means([*_CLOCK, *by]), by)
    yield verdicts(found.verdicts)


def judged(found: Judged, display: str) -> Iterator[RenderableType]:
    """The gates, what breached them, and what times would say."""
    yield _tallies(found.tallies)
    loud = [c for c in found.changes if c.verdict not in QUIET]
    yield from changes(loud, "explain")
    for remark in found.remarks:
        yield Text(remark, "dim")
    if found.advice:
        yield Text("\nadvice, which fails nothing: against a stored table these times differ")
        yield from changes(found.advice, display)
    yield verdicts(found.verdicts)


def changes(found: Iterable[Change], display: str) -> Iterator[RenderableType]:
    """A line for each, or an entry; at most so many."""
    ordered = sorted(found, key=lambda c: _ORDER.index(c.verdict))
    if not ordered:
        return
    shown = ordered[:_MOST]
    names, common = _varying(ordered)
    if common:
        yield Text(f"everywhere: {' · '.join(spoken(k, v) for k, v in common.items())}", "dim")
    explained = [c for c in shown if display == "explain" or c.verdict in _REASONED]
    if explained:
        yield _entries(explained, names)
    if len(explained) < len(shown):
        yield _lines([c for c in shown if c not in explained], names, display)
    if len(ordered) > _MOST:
        yield Text(f"and {units.count(len(ordered) - _MOST, 'more row')} (--json has all)", "dim")


def _varying(found: Sequence[Change]) -> tuple[list[str], dict[str, Any]]:
    """The columns, beside the method, in which rows differ; and the values of the others."""
    rest = [name for name in KEY if name not in METHOD]
    values = {name: {c.pair.row[name] for c in found} for name in rest}
    names = [name for name in rest if len(values[name]) > 1]
    common = {name: next(iter(values[name])) for name in rest if name not in names}
    return names, {k: v for k, v in common.items() if k not in ("seed", "cache")}


def _lines(found: Sequence[Change], names: Sequence[str], display: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("method", overflow="fold", min_width=_NARROWEST)
    # of their own they would leave no room for the method
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
    for c in found:
        base, new = c.seconds
        row = c.pair.row
        where = [" · ".join(spoken(name, row[name]) for name in names)] if together else [
            str(row[name]) for name in names]  # fmt: skip
        cells = [Text(row["method"]), *map(Text, where)]
        cells += [Text(units.seconds(base)), Text(units.seconds(new)), Text(_ratio(c.ratio))]
        if display == "intervals":
            least = "-" if c.detectable is None else f"+{100 * c.detectable:.0f} %"
            cells += [Text(_interval(c)), Text(least)]
        table.add_row(*cells, Text(c.verdict, STYLE[c.verdict]))
    return table


def _entries(found: Sequence[Change], names: Sequence[str]) -> Table:
    """A verdict beside each row, its reason below it, and what to do next."""
    table = Table(box=None, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for c in found:
        where = " · ".join(spoken(name, c.pair.row[name]) for name in names)
        text = Text.assemble((c.pair.row["method"], "bold"), f"  {where}" if where else "")
        if c.ratio is not None:
            base, new = map(units.seconds, c.seconds)
            text.append(f"\n{base} -> {new}, {_ratio(c.ratio)} {_interval(c)}".rstrip())
        for words in filter(None, (c.reason, f"next: {c.advice}" if c.advice else "")):
            text.append(f"\n{words}")
        table.add_row(Text(c.verdict, STYLE[c.verdict]), text)
    return table


def _ratio(x: float | None) -> str:
    return "-" if x is None else units.ratio(x)


def _interval(c: Change) -> str:
    if c.low is None or c.high is None:
        return ""
    return f"[{units.ratio(c.low)}, {units.ratio(c.high)}]"


def _means(
    found: Mapping[tuple[Any, ...], tuple[float, int]], by: Sequence[str]
) -> Iterator[RenderableType]:
    """`geometric mean, step, wall clock: 1.02x of 48 rows`."""
    for key, (mean, count) in found.items():
        phase, clock, cache = key[:3]
        where = [phase, f"{clock} clock", *([f"{cache} cache"] if clock == "gpu" else [])]
        where += [spoken(name, value) for name, value in zip(by, key[3:], strict=True)]
        rows = units.count(count, "row")
        yield Text(f"geometric mean of {rows}, {', '.join(where)}: {units.ratio(mean)}")


def _tallies(found: Sequence[Tally]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("gate")
    table.add_column("rows compared", justify="right")
    table.add_column("breached", justify="right")
    for gate, rows, breached in found:
        style = "bold red" if breached else "dim" if not rows else ""
        table.add_row(gate, str(rows) if rows else "-", Text(str(breached) if rows else "-", style))
    return table


def verdicts(counts: Mapping[str, int]) -> Text:
    """`3 slower, 90 unflagged`, each in its colour."""
    text = Text()
    for verdict in _ORDER:
        if n := counts.get(verdict):
            text.append(", " if text else "")
            text.append(f"{n} {verdict}", STYLE[verdict])
    return text
