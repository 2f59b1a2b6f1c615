"""The times of methods over runs of the same cells, sorted by date."""

import altair as alt

from mssbench.report.figures.axes import TIME, position
from mssbench.report.figures.figure import CONDITIONS, HOLLOW, Figure, panel_chart
from mssbench.report.figures.style import Style

_LABEL = 130  # longest name of a run below a panel, in pixels: a date, a time and a commit
_HEIGHT = 84  # of the longest name, which is written at an angle


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each method, with one symbol and interval for each run."""
    timed = alt.Chart().transform_filter("datum.seconds_median > 0")
    labels = alt.Axis(title=None, labelAngle=-40, labelLimit=_LABEL)
    in_time = alt.EncodingSortField("started", op="min", order="ascending")
    x = alt.X("moment:N", sort=in_time, axis=labels)
    y = position("y", TIME)

    # With several seeds a method has several symbols for a run. Its line joins the medians.
    lines = (
        timed.transform_aggregate(
            middle="median(seconds_median)",
            started="min(started)",
            groupby=["label", style.by, "moment"],
        )
        .mark_line(strokeWidth=1.2, opacity=0.7)
        .encode(x, position("y", TIME, "middle"), style.line(), detail="label:N")
    )
    intervals = timed.mark_rule(strokeWidth=1, opacity=0.6).encode(
        x, position("y", TIME, "seconds_low"), alt.Y2("seconds_high:Q"), style.line()
    )
    points = style.points(timed, 28, x=x, y=y)
    return panel_chart(lines, intervals, *points)


HISTORY = Figure(
    name="history",
    title="Time over runs",
    reading="Each line is a method, and each symbol a run with its date and commit. Bars are 95 % "
    "intervals.",
    notes=(HOLLOW,),
    required="rows of the same cells with times in two runs or more",
    panel=(
        "problem",
        "size",
        "batch",
        *CONDITIONS,
    ),
    chart=_chart,
    x=None,
    y=TIME,
    needs=("seconds_median",),
    varies="run",
    below=_HEIGHT,
)
