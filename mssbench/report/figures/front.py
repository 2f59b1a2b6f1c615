"""Time against error, one panel for each place and problem: the Pareto front."""

import altair as alt

from mssbench.report.figures.axes import ERROR, TIME, position
from mssbench.report.figures.figure import (
    ABOVE,
    CONDITIONS,
    HOLLOW,
    ZERO,
    Figure,
    above_frame,
    panel_chart,
)
from mssbench.report.figures.style import Style

_ON_FRONT = "datum.standing == 'front'"
_RING = 150  # area of the ring around a symbol of the front, in square pixels: clear of the symbol


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one symbol for each method, and the line of the front."""
    timed = alt.Chart().transform_filter("datum.seconds_median > 0")
    # An error of zero has no place on a logarithmic axis: it is drawn at the lower end.
    finite = timed.transform_filter("isValid(datum.error)").transform_calculate(
        drawn_error="max(datum.error, y_low)"
    )
    x, y = position("x", TIME), position("y", ERROR, "drawn_error")

    # A method can be on the front by the error of its root, although the error that is drawn, that
    # of its gradient, is larger than that of a faster method. The line does not rise to it.
    by_time: list[alt.SortField | dict[str, str]] = [alt.SortField("seconds_median")]
    front = (
        finite.transform_filter(_ON_FRONT)
        .transform_window(least_error="min(drawn_error)", frame=[None, 0], sort=by_time)
        .mark_line(interpolate="step-after", color=style.look.ink, strokeWidth=1, opacity=0.6)
        .encode(x, position("y", ERROR, "least_error"), order="seconds_median:Q")
    )
    rings = (
        finite.transform_filter(_ON_FRONT)
        .mark_point(shape="circle", filled=False, size=_RING, strokeWidth=1, opacity=1)
        .encode(x, y, stroke=alt.value(style.look.ink))
    )
    intervals = finite.mark_rule(strokeWidth=1, opacity=0.6).encode(
        position("x", TIME, "seconds_low"), alt.X2("seconds_high:Q"), y, style.line()
    )
    points = style.points(finite, 40, x=x, y=y)
    # Without a finite error a method has a time, but no place in the frame.
    no_error = timed.transform_filter("!isValid(datum.error)")
    without = style.points(no_error, 40, x=x, y=above_frame())
    return panel_chart(front, intervals, rings, *points, *without)


FRONT = Figure(
    name="front",
    title="Time against error",
    reading="Methods to the lower left are fast and accurate. Bars are 95 % intervals. Rings mark "
    "the Pareto front: no other method there is as accurate and faster. Errors within a factor of "
    "2 count as equal. A method whose time overlaps with that of a faster one has no ring.",
    notes=(HOLLOW, ABOVE, ZERO),
    required="rows with a time",
    panel=(
        "problem",
        "size",
        "batch",
        *CONDITIONS,
        "run",
        "seed",
    ),
    chart=_chart,
    x=TIME,
    y=ERROR,
    needs=("seconds_median",),
)
