"""Render Pareto fronts: one table with the methods that nothing beats, for each kind of matrix."""

from collections.abc import Iterator, Sequence
from math import isnan

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench import units
from mssbench.analysis.kinds import ProblemKind
from mssbench.analysis.pareto import Contender, Front, Standing
from mssbench.results.labels import spoken

_LEGEND = (
    "A method is listed if no other one is as accurate and certainly faster. Errors are relative, "
    "the worst on each kind of matrix, and count as equal within a factor of 2. Times are "
    "geometric means over the problems of the kind, with the range of their 95 % intervals."
)
_STYLES = {Standing.FRONT: "bold", Standing.UNDECIDED: "", Standing.BEATEN: "dim"}


def tables(fronts: Sequence[Front], *, everything: bool) -> Iterator[RenderableType]:
    """Yield a table for each place, and a sentence that explains them.

    everything: whether methods that are beaten, or not right, are listed too.
    """
    places: dict[str, list[Front]] = {}
    for front in fronts:
        places.setdefault(_title(front), []).append(front)

    for title, of_place in places.items():
        yield _table(title, of_place, everything)
        if not everything:
            yield from _omitted(of_place)
    yield Text(_LEGEND, style="dim")


def _title(front: Front) -> str:
    """Return the values that all rows of a front have in common: `step, sqrt, float32, ...`."""
    names = ("phase", "function", "precision", "device", "size", "batch")
    return ", ".join(spoken(name, front.place[name]) for name in names)


def _table(title: str, fronts: Sequence[Front], everything: bool) -> Table:
    """Return the table of one place, with a section for each kind of matrix."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("matrices", no_wrap=True)
    table.add_column("method", overflow="fold")
    for heading in ("time", "range"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("root", justify="right", no_wrap=True)
    if any(not isnan(c.gradient_error) for front in fronts for c in front.contenders):
        table.add_column("gradient", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")

    for front in fronts:
        for number, cells in enumerate(_rows(front, everything)):
            kind = _kind(front.kind) if number == 0 else ""
            style, *texts = cells
            shown = [*texts[:4], *texts[4 : 4 + len(table.columns) - 6], texts[-1]]
            table.add_row(kind, *shown, style=style)
        table.add_section()
    return table


def _rows(front: Front, everything: bool) -> Iterator[tuple[str, ...]]:
    """Yield style, method, time, range, errors and a remark for each method that is listed."""
    listed = [c for c in front.contenders if everything or c.standing is not Standing.BEATEN]
    for contender in listed:
        yield (
            _STYLES[contender.standing],
            contender.method,
            units.seconds(contender.seconds),
            f"{units.seconds(contender.low)} to {units.seconds(contender.high)}",
            units.error(contender.root_error),
            "" if isnan(contender.gradient_error) else units.error(contender.gradient_error),
            _remark(contender),
        )
    if not front.contenders:
        yield ("dim", "no method is right", "", "", "", "", "")
    if everything:
        for method, why in front.not_right.items():
            yield ("dim", method, "", "", "", "", why)


def _remark(contender: Contender) -> str:
    """Return what is to be said on a method that is not certainly on the front."""
    if contender.standing is Standing.UNDECIDED:
        return f"may be beaten by {contender.by}"
    return f"beaten by {contender.by}" if contender.standing is Standing.BEATEN else ""


def _kind(kind: ProblemKind) -> str:
    """Return a kind of matrix with its largest condition number: `hard κ 1e6`."""
    return f"{kind.name} {kind.heading}".rstrip()


def _omitted(fronts: Sequence[Front]) -> Iterator[Text]:
    """Yield a sentence with the numbers of methods that the table leaves out, if there are any."""
    beaten = sum(c.standing is Standing.BEATEN for front in fronts for c in front.contenders)
    wrong = sum(len(front.not_right) for front in fronts)
    parts = [
        f"{number} {'is' if number == 1 else 'are'} {words}"
        for number, words in ((beaten, "beaten"), (wrong, "not right on their matrices"))
        if number
    ]
    if parts:
        yield Text(f"Not listed: {' and '.join(parts)}; --all lists them.", style="dim")
