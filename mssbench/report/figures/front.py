"""Time against error, one panel for each place and problem: the Pareto front."""

import altair as alt

from mssbench.report.figures.figure import (
    ERROR,
    TIME,
    Figure,
    Style,
    above_frame,
    opacity,
    panel_chart,
    position,
    tooltip,
)


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one symbol for each method, and the line of the front."""
    timed = alt.Chart().transform_filter("datum.seconds_median > 0")
    # An error of zero has no place on a logarithmic axis: it is drawn at the lower end.
    finite = timed.transform_filter("isValid(datum.error)").transform_calculate(
        drawn_error="max(datum.error, y_low)"
    )
    x, y = position("x", TIME), position("y", ERROR, "drawn_error")

    front = (
        finite.transform_filter("datum.standing == 'front'")
        .mark_line(interpolate="step-after", color=style.look.ink, strokeWidth=1, opacity=0.6)
        .encode(x, y, order="seconds_median:Q")
    )
    intervals = finite.mark_rule(strokeWidth=1, opacity=0.5).encode(
        position("x", TIME, "seconds_low"), alt.X2("seconds_high:Q"), y, style.colour()
    )
    points = finite.mark_point(filled=True, size=45).encode(
        x, y, style.colour(), style.shape(), opacity=opacity(), tooltip=tooltip()
    )
    # Without a finite error a method has a time, but no place in the frame.
    without = (
        timed.transform_filter("!isValid(datum.error)")
        .mark_point(filled=False, size=45)
        .encode(x, style.colour(), style.shape(), y=above_frame(), tooltip=tooltip())
    )
    return panel_chart(front, intervals, points, without)


FRONT = Figure(
    name="front",
    title="Time against error",
    about="Methods to the lower left are fast and accurate. The line joins those that no other "
    "method beats in both. Pale symbols are results that are not ok, and hollow symbols above the "
    "frame are results without a finite error.",
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
        "run",
    ),
    chart=_chart,
    x=TIME,
    y=ERROR,
    needs=("seconds_median",),
)
