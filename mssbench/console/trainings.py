"""Tables of trained networks: accuracy of each method, and its difference from the exact root."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite, nan
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench.analysis.learning_rates import Grid
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
MORE_HEADS = ("method", "epochs to first order", "minus …")

# The heads of the table of learning rates, which has a column for each rate after the first.
RATE_HEADS = ("method", "best rate", "minus …")
_USUAL = ("float32", "skip", "cpu")  # precision, policy and device that a title need not name


def tables(groups: Sequence[Group]) -> Iterator[RenderableType]:
    """Yield a table for each group, and sentences below it."""
    for group in groups:
        yield _table(group)
        yield from _more(group)
        yield from _sentences(group)


def rates(grids: Sequence[Grid]) -> Iterator[RenderableType]:
    """Yield a table of method and learning rate for each grid, and sentences below it."""
    for grid in grids:
        yield _rates(grid)
        if not grid.ranked:
            yield _unranked(grid.seeds)
        yield Text(
            "The best rate of a method is the one with its highest mean accuracy on the test data, "
            "which favours methods with more rates.",
            style="dim",
        )
        if any(line.difference is not None for line in grid.lines):
            yield Text(
                "Differences are taken at the best rate of each method, paired by seed, with 95 % "
                "t intervals; p is adjusted by Holm.",
                style="dim",
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
        means = line.means
        edge = " at the edge" if line.best is not None and line.at_edge else ""
        table.add_row(
            Text(line.method),
            *(_digits(means.get(rate, nan)) for rate in grid.rates),
            "-" if line.best is None else f"{line.best:g}{edge}",
            *([_difference(line.difference)] if compared else []),
        )
    return table


def _table(group: Group) -> Table:
    table = Table(box=None, title=_title(vars(group)), title_justify="left", title_style="bold")
    method, *numbers, status = HEADS
    table.add_column(method, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(status, no_wrap=True)
    for line in group.lines:
        table.add_row(*_cells(line), style="" if line.ok else "dim")
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
    table.add_column(method, overflow="fold")
    for head in shown:
        table.add_column(head, justify="right")
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


def _sentences(group: Group) -> Iterator[Text]:
    """Yield what may be concluded from a table."""
    if not group.ranked:
        yield _unranked(group.seeds)
        return
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
            word = "better" if d.mean > 0 else "worse"
            yield Text(
                f"{line.method} is {word} than {group.reference}, in {d.wins} of {d.seeds} seeds."
                if d.mean > 0
                else f"{line.method} is {word} than {group.reference}, in "
                f"{d.seeds - d.wins} of {d.seeds} seeds."
            )
    if all(line.difference is not None and line.difference.p >= LEVEL for line in compared):
        yield Text(f"No difference from {group.reference} is resolved by these seeds.")
    yield Text(
        "Differences are paired by seed, with 95 % t intervals; p is adjusted by Holm.", style="dim"
    )
