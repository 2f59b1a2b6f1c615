"""Tables of trained networks: accuracy of each method, and its difference from the exact root."""

from collections.abc import Iterator, Sequence
from math import isfinite

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench.analysis.trainings import LEAST_SEEDS, LEVEL, Group, Line
from mssbench.records import units

# The heads of the columns; the last but one is shown with the reference, and with enough seeds.
HEADS = (
    "method",
    "accuracy",
    "spread",
    "epoch 1",
    "loss",
    "skipped",
    "step",
    "in root",
    "minus …",
    "status",
)

_USUAL = ("float32", "skip", "cpu")  # precision, policy and device that a title need not name


def tables(groups: Sequence[Group]) -> Iterator[RenderableType]:
    """Yield a table for each group, and sentences below it."""
    for group in groups:
        yield _table(group)
        yield from _sentences(group)


def _table(group: Group) -> Table:
    seeds, epochs = units.count(group.seeds, "seed"), units.count(group.epochs, "epoch")
    title = [
        group.task,
        f"n {group.channels}, M {group.places}",
        f"learning rate {group.learning_rate:g}",
        f"batch {group.batch}",
        epochs,
    ]
    title += [word for word in (group.precision, group.policy, group.device) if word not in _USUAL]
    table = Table(
        box=None, title=" · ".join([*title, seeds]), title_justify="left", title_style="bold"
    )
    method, *numbers, difference, status = HEADS
    table.add_column(method, overflow="fold")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    if group.ranked:
        table.add_column(difference.replace("…", group.reference), justify="right")
    table.add_column(status, no_wrap=True)
    for line in group.lines:
        table.add_row(*_cells(group, line), style="" if line.ok else "dim")
    return table


def _cells(group: Group, line: Line) -> Iterator[RenderableType]:
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
    if group.ranked:
        yield _difference(line)
    yield ", ".join(line.statuses) or "ok"


def _digits(x: float) -> str:
    return f"{x:.3f}" if isfinite(x) else "-"


def _difference(line: Line) -> str:
    """Return a difference with its interval: `+0.007 [-0.001, 0.014], p 0.08`."""
    if line.difference is None:
        return ""
    d = line.difference
    return f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p {d.p:.2g}"


def _sentences(group: Group) -> Iterator[Text]:
    """Yield what may be concluded from a table."""
    if not group.ranked:
        yield Text(
            f"Methods are not ranked: that takes {LEAST_SEEDS} seeds, and there "
            f"{'is' if group.seeds == 1 else 'are'} {group.seeds}.",
            style="dim",
        )
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
