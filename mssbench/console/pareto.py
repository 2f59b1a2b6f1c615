"""Render Pareto fronts: the methods that no other method beats in time and error.

A front is found at one place (phase, function, precision, device, size and batch) and for one kind
of matrix, such as hard or singular ones. There is a table for each place, with a section for each
kind.
"""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import NamedTuple

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mssbench.analysis.kinds import DOUBTFUL, ProblemKind
from mssbench.analysis.pareto import Contender, Front, Standing
from mssbench.records import units
from mssbench.results.labels import spoken

_LEGEND = (
    "A method is listed if no other one is as accurate and certainly faster. Errors are relative, "
    "the worst on each kind of matrix, and count as equal within a factor of 2. Times are "
    "geometric means over the problems of the kind, with the range of their 95 % intervals."
)
_STYLES = {Standing.FRONT: "bold", Standing.UNDECIDED: "", Standing.BEATEN: "dim"}
_NO_REFERENCE = "no reference is exact enough to say"
_NO_METHOD = "no method is right on all of them"


def tables(fronts: Sequence[Front], *, everything: bool) -> Iterator[RenderableType]:
    """Yield a table for each place (phase, function, precision, ...), and a sentence on all tables.

    everything: whether methods that are beaten, or not compared, are listed too.
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
    """Return the title of the table with a front: the values that all of its rows have in common.

    They are phase, function, precision, device, size and batch, as in `step, sqrt, float32, ...`. A
    step is the root and the gradient together.
    """
    names = ("phase", "function", "precision", "device", "size", "batch")
    return ", ".join(spoken(name, front.place[name]) for name in names)


def _table(title: str, fronts: Sequence[Front], everything: bool) -> Table:
    """Return the table of one place, with a section for the front of each kind of matrix."""
    table = Table(title=Text(title), title_justify="left", box=None, pad_edge=False)
    table.add_column("matrices", no_wrap=True)
    table.add_column("method", overflow="fold")
    for heading in ("time", "range"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("root", justify="right", no_wrap=True)
    has_gradient = any(not isnan(c.gradient_error) for front in fronts for c in front.contenders)
    if has_gradient:
        table.add_column("gradient", justify="right", no_wrap=True)
    table.add_column("", overflow="fold")

    for front in fronts:
        for number, line in enumerate(_lines(front, everything)):
            kind = _kind(front.kind) if number == 0 else ""
            errors = (line.root, line.gradient) if has_gradient else (line.root,)
            cells = (kind, line.method, line.time, line.range, *errors, line.remark)
            table.add_row(*map(Text, cells), style=line.style)
        table.add_section()
    return table


class _Line(NamedTuple):
    """The texts of one line of a table."""

    style: str
    method: str
    time: str = ""
    range: str = ""
    root: str = ""
    gradient: str = ""
    remark: str = ""


def _lines(front: Front, everything: bool) -> Iterator[_Line]:
    """Yield a line for each method of a front that is listed, or one that says that there is none.

    everything: whether methods that are beaten, or not compared, are listed too.
    """
    listed = [c for c in front.contenders if everything or c.standing is not Standing.BEATEN]
    for contender in listed:
        yield _Line(
            _STYLES[contender.standing],
            contender.method,
            units.seconds(contender.seconds),
            f"{units.seconds(contender.low)} to {units.seconds(contender.high)}",
            units.error(contender.root_error),
            "" if isnan(contender.gradient_error) else units.error(contender.gradient_error),
            _remark(contender),
        )
    if not front.contenders:
        yield _Line("dim", _NO_REFERENCE if front.kind.doubt > DOUBTFUL else _NO_METHOD)
    if everything:
        for method, why in front.not_compared.items():
            yield _Line("dim", method, remark=f"not compared: {why}")


def _remark(contender: Contender) -> str:
    """Return what is to be said on a method that is not certainly on the front."""
    if contender.standing is Standing.UNDECIDED:
        return f"may be beaten by {contender.by}"
    return f"beaten by {contender.by}" if contender.standing is Standing.BEATEN else ""


def _kind(kind: ProblemKind) -> str:
    """Return a kind of matrix with its largest condition number: `hard κ 1e6`."""
    return f"{kind.name} {kind.heading}".rstrip()


def _omitted(fronts: Sequence[Front]) -> Iterator[Text]:
    """Yield a sentence on the methods that the table leaves out, if there are any."""
    beaten = sum(c.standing is Standing.BEATEN for front in fronts for c in front.contenders)
    others = sum(len(front.not_compared) for front in fronts)
    parts = [f"{beaten} beaten"] * bool(beaten) + [f"{others} not compared"] * bool(others)
    if parts:
        yield Text(
            f"Not listed: {' and '.join(parts)}, counted for each kind of matrix; --all lists "
            "them and says why.",
            style="dim",
        )
