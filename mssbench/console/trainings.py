"""Tables of trained networks: accuracy of each method, and its difference from the exact root."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mssbench.analysis.learning_rates import Grid, RateLine
from mssbench.analysis.training_sentences import (
    INTERVALS,
    NO_REFERENCE,
    of_grid,
    of_grids,
    too_few,
    unranked,
)
from mssbench.analysis.trainings import LEVEL, Difference, FirstOrder, Group, Line
from mssbench.records import units

# The heads of the table of a group, and of a second one below it: its first number is shown if mean
# pooling was trained, the other with enough seeds.
HEADS = (
    "method",
    "accuracy",
    "spread",
    "epoch 1",
    "loss",
    "skipped",
    "step",
    "in root",
    "status",
)
# Columns that give way on a narrow terminal, the first one first.
_LESS = ("in root", "step", "epoch 1", "loss", "spread", "skipped")
_NAME = 24  # least width of a method in characters, with which `newton_schulz + autodiff` is whole
_ANY = 1000  # a width that restricts no table, to measure the least width of one
MORE_HEADS = ("method", "epochs to first order", "minus …")

# The heads of the table of learning rates, which has a column for each rate after the first.
RATE_HEADS = ("method", "best rate", "minus …")
_USUAL = ("float32", "skip", "cpu")  # precision, policy and device that a title need not name


def tables(groups: Sequence[Group]) -> Iterator[RenderableType]:
    """Yield a table for each group, and sentences below it."""
    for group in groups:
        yield _methods(group)
        yield from _more(group)
        yield from _sentences(group)


def rates(grids: Sequence[Grid]) -> Iterator[RenderableType]:
    """Yield a table of method and learning rate for each grid, and sentences below them."""
    for grid in grids:
        yield _rates(grid)
        for sentence in of_grid(grid):
            yield Text(sentence, style="yellow")
    for sentence in of_grids(grids):
        yield Text(sentence, style="dim")


def _rates(grid: Grid) -> "_Fitted":
    """Return the table of a grid."""
    method, best, difference = RATE_HEADS
    minus = difference.replace("…", grid.reference)
    heads = [method, *(f"{rate:g}" for rate in grid.rates), best]
    if any(line.difference is not None for line in grid.lines):
        heads.append(minus)
    rows = [({method: Text(line.method), **_at_rates(line, grid.rates)}, "") for line in grid.lines]
    for (cells, _), line in zip(rows, grid.lines, strict=True):
        cells[minus] = _difference(line.difference)
    title = _title({**grid.title, "seeds": grid.seeds})
    return _Fitted(title, heads, rows, less=(minus, best), left=(best,))


def _at_rates(line: RateLine, of_grid: Sequence[float]) -> dict[str, RenderableType]:
    """Return the cells of a method: its mean accuracy at each rate, and its best rate."""
    means, best = line.rates.means, "-"
    if line.best is not None:
        best = f"{line.best.rate:g}{' at the edge' if line.best.at_edge else ''}"
    cells: dict[str, RenderableType] = {f"{r:g}": _digits(means.get(r, nan)) for r in of_grid}
    return cells | {RATE_HEADS[1]: best}


def _methods(group: Group) -> "_Fitted":
    """Return the table of a group."""
    rows = [
        (dict(zip(HEADS, _cells(line), strict=True)), "" if line.ok else "dim")
        for line in group.lines
    ]
    return _Fitted(_title(vars(group)), HEADS, rows, less=_LESS, left=(HEADS[-1],))


class _Fitted:
    """A table in which names of methods have room on every terminal.

    Columns that do not fit then stand in further tables below.

    heads: of all columns, of which the first one has the names. rows: the cells of each row by
    head, and its style. less: the columns that give way, the first one first. left: those that are
    aligned left.
    """

    def __init__(
        self,
        title: str,
        heads: Sequence[str],
        rows: Sequence[tuple[Mapping[str, RenderableType], str]],
        *,
        less: Sequence[str],
        left: Sequence[str],
    ) -> None:
        self._title, self._heads, self._rows = title, heads, rows
        self._less, self._left = less, left

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        names, *left = self._heads
        title: str | None = self._title
        anything = options.update(width=_ANY)
        while left:
            shown = list(left)
            table = self._table([names, *shown], title)
            for head in self._less:
                if console.measure(table, options=anything).minimum <= options.max_width:
                    break
                if head in shown and len(shown) > 1:
                    shown.remove(head)
                    table = self._table([names, *shown], title)
            yield table
            left, title = [head for head in left if head not in shown], None

    def _table(self, shown: Sequence[str], title: str | None) -> Table:
        rows = self._rows
        table = Table(box=None, title=title, title_justify="left", title_style="bold")
        for head in shown:
            if head == self._heads[0]:
                table.add_column(head, overflow="fold", min_width=_NAME)
            else:
                justify: JustifyMethod = "left" if head in self._left else "right"
                width = max(cell_len(str(text)) for text in (head, *(c[head] for c, _ in rows)))
                # A column that is alone beside the names is wrapped, so that no digit is cut off.
                several = len(shown) > 2
                table.add_column(
                    head, justify=justify, no_wrap=several, min_width=width if several else None
                )
        for cells, style in rows:
            table.add_row(*(cells[head] for head in shown), style=style)
        return table


def _title(of: Mapping[str, Any]) -> str:
    """Return the title of a table: what its methods have in common, and the number of seeds.

    of: the columns that are equal for all methods, and `seeds`.
    """
    rate = [f"learning rate {of['learning_rate']:g}"] if "learning_rate" in of else []
    words = [
        of["task"],
        f"n {of['channels']}, M {of['places']}",
        *rate,
        f"batch {of['batch']}",
        units.count(of["epochs"], "epoch"),
    ]
    words += [of[name] for name in ("precision", "policy", "device") if of[name] not in _USUAL]
    return " · ".join([*words, units.count(of["seeds"], "seed")])


def _more(group: Group) -> Iterator[Table]:
    """Yield the second table of a group, unless it would be empty."""
    lines = [x for x in group.lines if x.first_order is not None or x.difference is not None]
    if not lines:
        return
    method, first_order, difference = MORE_HEADS
    columns = {
        first_order: [_epochs(line.first_order) for line in lines],
        difference.replace("…", group.reference): [_difference(line.difference) for line in lines],
    }
    shown = {head: cells for head, cells in columns.items() if any(cells)}

    table = Table(box=None)
    table.add_column(method, overflow="fold", min_width=_NAME)
    for head in shown:
        table.add_column(head, justify="right", no_wrap=head != first_order)
    for line, *cells in zip(lines, *shown.values(), strict=True):
        table.add_row(Text(line.method), *cells)
    yield table


def _cells(line: Line) -> Iterator[RenderableType]:
    """Yield the cells of one method."""
    trained = bool(line.accuracies)
    yield Text(line.method)
    yield f"{line.mean:.3f}" if trained else "-"
    yield _digits(line.spread) if trained else "-"
    yield _digits(line.first)
    yield _digits(line.loss)
    yield f"{100 * line.skipped:.0f} %" if isfinite(line.skipped) else "-"
    yield units.seconds(line.milliseconds / 1e3)
    yield f"{100 * line.root_share:.0f} %" if isfinite(line.root_share) else "-"
    yield ", ".join(line.statuses) or "ok"


def _digits(x: float) -> str:
    return f"{x:.3f}" if isfinite(x) else "-"


def _epochs(first_order: FirstOrder | None) -> str:
    """Return the mean number of epochs, and in how many seeds there is none: `3.2, 1 not reached`.

    It is empty without a seed in which mean pooling was trained.
    """
    if first_order is None:
        return ""
    missed = f"{first_order.missed} not reached" if first_order.missed else ""
    known = f"{first_order.mean:.1f}" if isfinite(first_order.mean) else ""
    return ", ".join(filter(None, [known, missed]))


def _difference(d: Difference | None) -> str:
    """Return a difference with its interval: `+0.007 [-0.001, 0.014], p 0.08`."""
    if d is None:
        return ""
    return f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p {d.p:.2g}"


def _sentences(group: Group) -> Iterator[Text]:
    """Yield what may be concluded from a table."""
    if not group.ranked:
        yield Text(unranked(group.seeds), style="dim")
        return
    for sentence in too_few(group.few, group.reference):
        yield Text(sentence, style="dim")
    if not group.reference:
        yield Text(NO_REFERENCE, style="dim")
        return

    compared = [line for line in group.lines if line.difference is not None]
    if not compared:
        return
    for line in compared:
        d = line.difference
        assert d is not None
        if d.p < LEVEL:
            word, wins = ("better", d.wins) if d.mean > 0 else ("worse", d.seeds - d.wins)
            yield Text(
                f"{line.method} is {word} than {group.reference}, in {wins} of {d.seeds} seeds."
            )
    if all(line.difference is not None and line.difference.p >= LEVEL for line in compared):
        yield Text(f"No difference from {group.reference} is resolved by these seeds.")
    yield Text(INTERVALS, style="dim")
