"""Tables of trained networks: accuracy of each method, and its difference from the exact root."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import Any

from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from mssbench.analysis.best_rates import CAUTION
from mssbench.analysis.learning_rates import Grid, RateLine
from mssbench.analysis.trainings import LEAST_SEEDS, LEVEL, Difference, FirstOrder, Group, Line
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
_INTERVALS = (
    "Differences are paired by seed. A 95 % t interval is for one method by itself; p, adjusted by "
    "Holm, and the sentences are for all methods together, so that a difference need not be "
    "resolved although its interval excludes 0."
)
_USUAL = ("float32", "skip", "cpu")  # precision, policy and device that a title need not name


def tables(groups: Sequence[Group]) -> Iterator[RenderableType]:
    """Yield a table for each group, and sentences below it."""
    for group in groups:
        yield _Methods(group)
        yield from _more(group)
        yield from _sentences(group)


def rates(grids: Sequence[Grid]) -> Iterator[RenderableType]:
    """Yield a table of method and learning rate for each grid, and sentences below it."""
    for grid in grids:
        yield _rates(grid)
        if not grid.ranked:
            yield _unranked(grid.seeds)
        yield from _too_few(grid.few, grid.reference)
        for line in grid.lines:
            if line.unknown and line.best is not None:
                yield Text(
                    f"{units.count(line.unknown, 'training')} of {line.method} "
                    f"{'is' if line.unknown == 1 else 'are'} {' or '.join(line.statuses)}, so that "
                    "another rate may be its best one.",
                    style="yellow",
                )
        yield Text(CAUTION, style="dim")
        if any(line.difference is not None for line in grid.lines):
            yield Text(
                f"Differences are taken at the best rate of each method. {_INTERVALS}", style="dim"
            )


def _rates(grid: Grid) -> Table:
    title = _title({**grid.title, "seeds": grid.seeds})
    method, best, difference = RATE_HEADS
    table = Table(box=None, title=title, title_justify="left", title_style="bold")
    table.add_column(method, overflow="fold")
    for rate in grid.rates:
        table.add_column(f"{rate:g}", justify="right", no_wrap=True)
    table.add_column(best)
    compared = any(line.difference is not None for line in grid.lines)
    if compared:
        table.add_column(difference.replace("…", grid.reference), justify="right")

    for line in grid.lines:
        means = line.rates.means
        edge = " at the edge" if line.best is not None and line.best.at_edge else ""
        table.add_row(
            Text(line.method),
            *(_digits(means.get(rate, nan)) for rate in grid.rates),
            "-" if line.best is None else f"{line.best.rate:g}{edge}",
            *([_difference(line.difference)] if compared else []),
        )
    return table


class _Methods:
    """The table of a group, in which names of methods have room on every terminal.

    Columns that do not fit then stand in a second table below, those that matter less first.
    """

    def __init__(self, group: Group) -> None:
        self._group = group

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(HEADS)
        title = _title(vars(self._group))
        table = self._table(shown, title)
        for head in _LESS:
            if console.measure(table, options=options.update(width=_ANY)).minimum <= (
                options.max_width
            ):
                break
            shown.remove(head)
            table = self._table(shown, title)
        yield table
        if rest := [head for head in HEADS if head not in shown]:
            yield self._table([HEADS[0], *rest], None)

    def _table(self, shown: Sequence[str], title: str | None) -> Table:
        table = Table(box=None, title=title, title_justify="left", title_style="bold")
        for head in shown:
            if head == HEADS[0]:
                table.add_column(head, overflow="fold", min_width=_NAME)
            else:
                justify: JustifyMethod = "left" if head == HEADS[-1] else "right"
                table.add_column(head, justify=justify, no_wrap=True)
        for line in self._group.lines:
            cells = dict(zip(HEADS, _cells(line), strict=True))
            table.add_row(*(cells[head] for head in shown), style="" if line.ok else "dim")
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


def _unranked(seeds: int) -> Text:
    return Text(
        f"Methods are not ranked: that takes {LEAST_SEEDS} seeds, and there "
        f"{'is' if seeds == 1 else 'are'} {seeds}.",
        style="dim",
    )


def _too_few(lines: "Sequence[Line] | Sequence[RateLine]", reference: str) -> Iterator[Text]:
    """Yield a sentence on the methods that have too few seeds, if there are some."""
    if lines:
        of = f" in common with {reference}" if reference else ""
        named = "; ".join(f"{line.method}, {line.shared}" for line in lines)
        yield Text(f"Not ranked, since that takes {LEAST_SEEDS} seeds{of}: {named}.", style="dim")


def _sentences(group: Group) -> Iterator[Text]:
    """Yield what may be concluded from a table."""
    if not group.ranked:
        yield _unranked(group.seeds)
        return
    yield from _too_few(group.few, group.reference)
    if not group.reference:
        yield Text("No differences: the exact root, eigh + loewner, was not trained.", style="dim")
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
    yield Text(_INTERVALS, style="dim")
