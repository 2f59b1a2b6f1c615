"""The times of methods over runs of the same cells, sorted by date."""

import altair as alt

from mssbench.report.figures.figure import (
    TIME,
    Figure,
    Style,
    opacity,
    panel_chart,
    position,
    tooltip,
)


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each method, with one symbol and interval for each run."""
    timed = alt.Chart().transform_filter("datum.seconds_median > 0")
    in_time = alt.EncodingSortField("started", op="min", order="ascending")
    x = alt.X("moment:N", sort=in_time, axis=alt.Axis(title=None, labelAngle=-40, labelLimit=120))
    y = position("y", TIME)

    lines = timed.mark_line(strokeWidth=1.2, opacity=0.7).encode(
        x, y, style.colour(), detail="label:N"
    )
    intervals = timed.mark_rule(strokeWidth=1, opacity=0.6).encode(
        x, position("y", TIME, "seconds_low"), alt.Y2("seconds_high:Q"), style.colour()
    )
    points = timed.mark_point(filled=True, size=30).encode(
        x, y, style.colour(), style.shape(), opacity=opacity(), tooltip=tooltip()
    )
    return panel_chart(lines, intervals, points)


HISTORY = Figure(
    name="history",
    title="Time over runs",
    about="Each line is a method, and each symbol a run with its date and commit. The bars are "
    "95 % intervals.",
    panel=(
        "problem",
        "size",
        "batch",
        "function",
        "precision",
        "device",
        "phase",
        "clock",
        "cache",
    ),
    chart=_chart,
    x=None,
    y=TIME,
    needs=("seconds_median",),
    varies="run",
)
