"""Times over the size and the batch, with the shortest time that the machine allows."""

from collections.abc import Callable

import altair as alt

from mssbench.report.figures.axes import BATCH, SIZE, TIME, Axis, position
from mssbench.report.figures.figure import CONDITIONS, HOLLOW, Figure, note, panel_chart
from mssbench.report.figures.style import Style

_TIME = TIME._replace(also=("limit_seconds",))  # no intervals are drawn, but the limit is


def _chart_over(axis: Axis) -> Callable[[Style], alt.LayerChart]:
    """Return a function that returns a panel of times over one axis."""

    def chart(style: Style) -> alt.LayerChart:
        """Return a panel: one line for each method, and a dashed line for the limit."""
        timed = alt.Chart().transform_filter("datum.seconds_median > 0")
        x, y = position("x", axis), position("y", _TIME)

        # With several seeds a method has several symbols at a value. Its line joins the medians.
        lines = (
            timed.transform_aggregate(
                middle="median(seconds_median)", groupby=["label", style.by, axis.column]
            )
            .mark_line(strokeWidth=1.2, opacity=0.7)
            .encode(x, position("y", _TIME, "middle"), style.line(), detail="label:N")
        )
        points = style.points(timed, 28, x=x, y=y)
        limit = (
            timed.transform_filter("datum.limit_seconds > 0")
            .transform_aggregate(limit="min(limit_seconds)", groupby=[axis.column])
            .mark_line(strokeDash=[4, 3], color=style.look.ink, strokeWidth=1)
            .encode(x, position("y", _TIME, "limit"))
        )
        return panel_chart(limit, lines, *points)

    return chart


_LIMIT = note(
    "The dashed line is the shortest time in which this machine can do the work of any of these "
    "methods.",
    lambda rows: (rows["limit_seconds"] > 0).any(),
)
_REST = (*CONDITIONS, "run")

OVER_SIZE = Figure(
    name="size",
    title="Time over the size of the matrices",
    reading="Each line is a method.",
    notes=(_LIMIT, HOLLOW),
    required="rows with times at two sizes or more that differ in nothing else",
    panel=("problem", "batch", *_REST),
    chart=_chart_over(SIZE),
    x=SIZE,
    y=_TIME,
    needs=("seconds_median",),
    varies="size",
)
OVER_BATCH = Figure(
    name="batch",
    title="Time over the number of matrices in the batch",
    reading="Each line is a method.",
    notes=(_LIMIT, HOLLOW),
    required="rows with times at two batches or more that differ in nothing else",
    panel=("problem", "size", *_REST),
    chart=_chart_over(BATCH),
    x=BATCH,
    y=_TIME,
    needs=("seconds_median",),
    varies="batch",
)
