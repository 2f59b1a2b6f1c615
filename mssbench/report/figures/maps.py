"""Heat maps: where methods fail, and which method is fastest on which matrices."""

import json
from typing import Any

import altair as alt

from mssbench.records.measurement import Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED
from mssbench.report.figures.figure import CONDITIONS, Figure, panel_chart
from mssbench.report.figures.style import Style

# The colours of cells on a light and on a dark ground, after Okabe and Ito. Every cell also names
# its status, so that no reader depends on them. On white they become darker from `ok` to
# `nonfinite`, so that they differ in print as well.
COLOURS = {
    "absent": ("#ececec", "#2a2a2a"),
    "unranked": ("#ececec", "#2a2a2a"),
    "ok": ("#bfe5d6", "#11503c"),
    "inaccurate": ("#f7dfa5", "#5f4700"),
    "diverged": ("#f0ab80", "#6e3209"),
    "nonfinite": ("#d98078", "#6b1f1a"),
    "failed": ("#a9cbe8", "#153e5e"),
}
# What each status of a row looks like, from harmless to worst: its name in `COLOURS`.
LOOKS: dict[str, str] = {
    Status.UNSUPPORTED: "absent",
    Status.NOT_INSTALLED: "absent",
    Status.UNAVAILABLE: "absent",
    Status.INTERRUPTED: "absent",
    Status.OK: "ok",
    UNVERIFIED: "unranked",
    OTHER_PRECISION: "unranked",
    ABOVE_CEILING: "unranked",
    Status.INACCURATE: "inaccurate",
    Status.DIVERGED: "diverged",
    Status.NONFINITE: "nonfinite",
    Status.IMPLAUSIBLE: "failed",
    Status.OOM: "failed",
    Status.TIMEOUT: "failed",
    Status.CRASHED: "failed",
}
# The statuses of rows that were measured, or whose measurement failed.
_MEASURED = [status for status, look in LOOKS.items() if look != "absent"]
_FONT = 10  # size of the texts in cells, in pixels
_ROW, _COLUMN = 18, 86  # height and width of a cell, in pixels, for a text such as 0/6 inaccurate
_WIDE_COLUMN, _HIGH_ROW = 132, 44  # for a cell with the name of a method, its time, and ties
_LABELS = 340  # longest name beside a map, in pixels
_GAP = 1.5  # between two cells, in pixels


def _by_condition() -> alt.EncodingSortField:
    """Return the order of problems: by their condition number."""
    return alt.EncodingSortField("hardness", op="min", order="ascending")


def _beside(**properties: Any) -> alt.Axis:
    """Return the axis of names beside a map, or above or below it."""
    return alt.Axis(title=None, labelLimit=_LABELS, ticks=False, labelPadding=6, **properties)


def _failures(style: Style) -> alt.LayerChart:
    """Return a map of methods and problems: how many rows are ok, and the worst status."""
    order = [str(status) for status in LOOKS]
    rank = f"indexof({json.dumps(order)}, datum.ended)"
    measured = alt.FieldOneOfPredicate("ended", list(map(str, _MEASURED)))
    cells = (
        alt.Chart()
        .transform_filter(measured)
        .transform_calculate(rank=rank, right="datum.ended == 'ok' ? 1 : 0")
        .transform_aggregate(
            worst="max(rank)",
            right="sum(right)",
            of="count()",
            hardness="min(hardness)",
            groupby=["method", "matrices"],
        )
        .transform_calculate(
            status=f"{json.dumps(order)}[datum.worst]",
            share="datum.right / datum.of",
        )
        .transform_calculate(
            text="datum.right + '/' + datum.of + (datum.share < 1 ? ' ' + datum.status : '')"
        )
    )
    most_right = alt.EncodingSortField("share", op="mean", order="descending")
    x = alt.X("matrices:N", sort=_by_condition(), axis=_beside(labelAngle=-30))
    y = alt.Y("method:N", sort=most_right, axis=_beside())

    colours = alt.Scale(domain=order, range=[COLOURS[look][0] for look in LOOKS.values()])
    fill = alt.Fill("status:N", scale=colours, legend=None)  # the cells name their statuses
    boxes = cells.mark_rect(stroke=style.look.ground, strokeWidth=_GAP).encode(
        x, y, fill, tooltip=["method:N", "matrices:N", "text:N"]
    )
    words = cells.mark_text(color=style.look.ink, fontSize=_FONT).encode(x, y, text="text:N")
    return _map(boxes, words, width=_COLUMN, height=_ROW)


# The time of a cell with its unit, to three digits.
_TIME = (
    "datum.seconds >= 1 ? format(datum.seconds, '.3r') + ' s' "
    ": datum.seconds >= 1e-3 ? format(datum.seconds * 1e3, '.3r') + ' ms' "
    ": format(datum.seconds * 1e6, '.3r') + ' us'"
)
_CELL: list[str | alt.FieldName] = [
    "matrices",
    "size",
    "batch",
]  # the columns that name a cell of the map of winners


def _winners(style: Style) -> alt.LayerChart:
    """Return a map of problems and places with the fastest method that is ok in each cell."""
    # With several seeds, a method has several rows in a cell, which all have the same rank.
    rows = (
        alt.Chart()
        .transform_calculate(ok="datum.ended == 'ok' ? 1 : 0")
        .transform_aggregate(
            seconds="median(seconds_median)",
            oks="sum(ok)",
            hardness="min(hardness)",
            groupby=[*_CELL, *{"method", "label", style.by}, "fastest"],
        )
        .transform_calculate(
            is_best="datum.fastest == 'best' ? 1 : 0",
            is_tied="datum.fastest == 'tied' ? 1 : 0",
            place="'n = ' + datum.size + ', batch ' + datum.batch",
            order="datum.size * 1e6 + datum.batch",  # by size, then by batch
        )
        .transform_joinaggregate(
            ties="sum(is_tied)", bests="sum(is_best)", oks_of_cell="sum(oks)", groupby=_CELL
        )
    )
    best = (
        rows.transform_filter("datum.is_best")
        .transform_calculate(time=_TIME)
        .transform_calculate(
            text="replace(datum.method, ' + ', '\\n+ ') + '\\n' + datum.time"
            " + (datum.ties > 0 ? ', tied with ' + datum.ties : '')"
        )
    )
    # Where a single method was measured, none is called the fastest.
    none = (
        rows.transform_filter("!datum.bests")
        .transform_aggregate(
            oks="max(oks_of_cell)",
            hardness="min(hardness)",
            order="min(order)",
            groupby=["matrices", "place"],
        )
        .transform_calculate(text="datum.oks ? 'not compared' : 'none is ok'")
    )
    by_size = alt.EncodingSortField("order", op="min", order="ascending")
    x = alt.X("place:N", sort=by_size, axis=_beside(labelAngle=0, orient="top"))
    y = alt.Y("matrices:N", sort=_by_condition(), axis=_beside())

    gap: dict[str, Any] = {"stroke": style.look.ground, "strokeWidth": _GAP}
    boxes = best.mark_rect(fillOpacity=0.4, **gap).encode(x, y, style.area(), tooltip=["label:N"])
    empty = none.mark_rect(fill=style.look.faint, fillOpacity=0.4, **gap).encode(x, y)
    words: dict[str, Any] = {"color": style.look.ink, "fontSize": _FONT, "limit": _WIDE_COLUMN - 4}
    # A text of several lines begins at its position: half of two more lines must stand above it.
    lines = best.mark_text(
        lineBreak="\n", lineHeight=_FONT + 2, baseline="middle", dy=-_FONT - 2, **words
    ).encode(x, y, text="text:N")
    reasons = none.mark_text(**words).encode(x, y, text="text:N")
    return _map(boxes, empty, lines, reasons, width=_WIDE_COLUMN, height=_HIGH_ROW)


def _map(*layers: alt.Chart, width: int, height: int) -> alt.LayerChart:
    """Return a map without a frame. width, height: of a cell, in pixels."""
    chart = panel_chart(*layers, width=alt.Step(width), height=alt.Step(height))
    chart.view = alt.ViewBackground(stroke=None)
    return chart


ABOUT_FAILURES = (
    "Each cell has the number of measured rows that are ok, over all sizes and batches that are "
    "shown, and the worst status of the others. Problems are sorted by their condition number, and "
    "methods by how much of the map they are right on."
)
ABOUT_WINNERS = (
    "Each cell has the fastest method among those that are ok there, and counts the methods that "
    "are tied with it: their times differ by no more than the noise."
)
_PLACE = (*CONDITIONS, "run")

FAILURES = Figure(
    name="failures",
    title="Where methods fail",
    reading=ABOUT_FAILURES,
    required="rows that were measured",
    panel=_PLACE,
    chart=_failures,
    x=None,
    y=None,
    # A method that computes in another precision than the row asks for does not compete. A panel
    # of rows that nothing was measured of would be empty.
    keep=lambda rows: (rows["computed_in"] == "") & rows["ended"].isin(_MEASURED),
    times=False,
    across=("problem",),
    step=_COLUMN,
)
WINNERS = Figure(
    name="winners",
    title="Which method is fastest",
    reading=ABOUT_WINNERS,
    required="two methods that are ok in the same place, with times that can be compared",
    panel=_PLACE,
    chart=_winners,
    x=None,
    y=None,
    needs=("seconds_median",),
    some="fastest",
    across=("size", "batch"),
    step=_WIDE_COLUMN,
)
