"""How far each method is from the shortest time in which the machine could do its work."""

import altair as alt

from mssbench.report.figures.figure import (
    LIMIT,
    Figure,
    Style,
    panel_chart,
    position,
    tooltip,
)

_LINE = 15  # height of a method's line, in pixels: the height of its label


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each method, with a symbol for each problem."""
    nearest = alt.EncodingSortField("times_limit", op="min", order="ascending")
    points = (
        alt.Chart()
        .transform_filter("datum.times_limit > 0")
        .mark_point(filled=True, size=40, opacity=0.8)
        .encode(
            position("x", LIMIT),
            alt.Y("method:N", sort=nearest, axis=alt.Axis(title=None, labelLimit=240, grid=True)),
            style.colour("bound"),
            style.shape("bound"),
            tooltip=tooltip(),
        )
    )
    return panel_chart(points, height=alt.Step(_LINE))


LIMITS = Figure(
    name="limit",
    title="Distance to the limit of the machine",
    about="The time of each method divided by the shortest time in which this machine could do the "
    "method's own work. At 1x nothing can be gained but by less work; at 10x the machine waits for "
    "nine tenths of the time. Each symbol is one problem.",
    panel=(
        "size",
        "batch",
        "function",
        "precision",
        "device",
        "phase",
        "clock",
        "cache",
        "run",
    ),
    chart=_chart,
    x=LIMIT,
    y=None,
    needs=("times_limit",),
    legend="bound",
)
