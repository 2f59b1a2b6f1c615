"""Heat maps: where methods fail, and which method is fastest on which matrices."""

import json

import altair as alt

from mssbench.records.measurement import Status
from mssbench.records.noise import ABOVE_CEILING, OTHER_PRECISION, UNVERIFIED
from mssbench.report.figures.figure import Figure, Style, panel_chart

# How each status of a row is drawn, from harmless to worst: the colours of Okabe and Ito, by which
# readers with any colour vision can tell them apart. The report has the same order.
LOOKS: dict[str, tuple[str, str]] = {
    Status.UNSUPPORTED: ("absent", "#c8c8c8"),
    Status.NOT_INSTALLED: ("absent", "#c8c8c8"),
    Status.UNAVAILABLE: ("absent", "#c8c8c8"),
    Status.INTERRUPTED: ("absent", "#c8c8c8"),
    Status.OK: ("ok", "#009E73"),
    UNVERIFIED: ("unranked", "#8A8A8A"),
    OTHER_PRECISION: ("unranked", "#8A8A8A"),
    ABOVE_CEILING: ("unranked", "#8A8A8A"),
    Status.INACCURATE: ("inaccurate", "#E69F00"),
    Status.DIVERGED: ("diverged", "#D55E00"),
    Status.NONFINITE: ("nonfinite", "#8C2D04"),
    Status.IMPLAUSIBLE: ("failed", "#CC79A7"),
    Status.OOM: ("failed", "#56B4E9"),
    Status.TIMEOUT: ("failed", "#56B4E9"),
    Status.CRASHED: ("failed", "#0072B2"),
}
_ROW, _COLUMN = 17, 74  # height and width of a cell, in pixels, for a text of 10 pixels
_WIDE_COLUMN = 190  # width of a cell that holds the name of a method
_LABELS = 320  # longest name beside a map, in pixels


def _by_condition() -> alt.EncodingSortField:
    """Return the order of problems: by their condition number."""
    return alt.EncodingSortField("hardness", op="min", order="ascending")


def _failures(style: Style) -> alt.LayerChart:
    """Return a map of methods and problems: how many rows are ok, and the worst status."""
    order = [str(status) for status in LOOKS]
    rank = f"indexof({json.dumps(order)}, datum.ended)"
    measured = alt.FieldOneOfPredicate("ended", [s for s in order if LOOKS[s][0] != "absent"])
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
            text="datum.right + '/' + datum.of",
            share="datum.right / datum.of",
        )
    )
    most_right = alt.EncodingSortField("share", op="mean", order="descending")
    x = alt.X("matrices:N", sort=_by_condition(), axis=alt.Axis(title=None, labelAngle=-30))
    y = alt.Y("method:N", sort=most_right, axis=alt.Axis(title=None, labelLimit=_LABELS))

    colours = alt.Scale(domain=order, range=[colour for _, colour in LOOKS.values()])
    present = alt.Legend(title="worst status", values=_COMMON) if style.legend else None
    fill = alt.Color("status:N", scale=colours, legend=present)
    boxes = cells.mark_rect(opacity=0.5).encode(x, y, fill, tooltip=["method:N", "status:N"])
    words = cells.mark_text(color=style.look.ink, fontSize=10).encode(x, y, text="text:N")
    return panel_chart(boxes, words, width=alt.Step(_COLUMN), height=alt.Step(_ROW))


# Statuses in the legend. Those that cannot run are left out of the map.
_COMMON = [
    str(status)
    for status in (
        Status.OK,
        Status.INACCURATE,
        Status.DIVERGED,
        Status.NONFINITE,
        Status.TIMEOUT,
        Status.CRASHED,
    )
]


def _winners(style: Style) -> alt.LayerChart:
    """Return a map of problems and places with the fastest method that is ok in each cell."""
    best = (
        alt.Chart()
        .transform_calculate(tied="datum.fastest == 'tied' ? 1 : 0")
        .transform_joinaggregate(ties="sum(tied)", groupby=["matrices", "size", "batch"])
        .transform_filter("datum.fastest == 'best'")
        .transform_calculate(
            place="'n = ' + datum.size + ', batch ' + datum.batch",
            text="datum.method + (datum.ties > 0 ? ' (tied with ' + datum.ties + ')' : '')",
            order="datum.size * 1e6 + datum.batch",  # by size, then by batch
        )
    )
    by_size = alt.EncodingSortField("order", op="min", order="ascending")
    x = alt.X("place:N", sort=by_size, axis=alt.Axis(title=None, labelAngle=0, orient="top"))
    y = alt.Y("matrices:N", sort=_by_condition(), axis=alt.Axis(title=None, labelLimit=_LABELS))

    # The cells name their methods, so that a legend would say nothing more.
    colour = style._replace(legend=False).colour()
    boxes = best.mark_rect(opacity=0.45).encode(x, y, colour, tooltip=["label:N"])
    words = best.mark_text(color=style.look.ink, fontSize=10, limit=_WIDE_COLUMN).encode(
        x, y, text="text:N"
    )
    return panel_chart(boxes, words, width=alt.Step(_WIDE_COLUMN), height=alt.Step(2 * _ROW))


ABOUT_FAILURES = (
    "Each cell has the number of measured rows that are ok, over all sizes and batches that are "
    "shown, and the colour of the worst status. Problems are sorted by their condition number, and "
    "methods by how much of the map they are right on."
)
ABOUT_WINNERS = (
    "Each cell has the fastest method among those that are ok there, and counts the methods that "
    "are tied with it: their times differ by no more than the noise."
)
_PLACE = ("function", "precision", "device", "phase", "clock", "cache", "run")

FAILURES = Figure(
    name="failures",
    title="Where methods fail",
    about=ABOUT_FAILURES,
    panel=_PLACE,
    chart=_failures,
    x=None,
    y=None,
)
WINNERS = Figure(
    name="winners",
    title="Which method is fastest",
    about=ABOUT_WINNERS,
    panel=_PLACE,
    chart=_winners,
    x=None,
    y=None,
    needs=("seconds_median",),
)
