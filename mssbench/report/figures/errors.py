"""Errors over the condition number of the matrices, and over the number of iterations."""

import altair as alt

from mssbench.report.figures.axes import CONDITION, ERROR, ITERATIONS, position
from mssbench.report.figures.figure import (
    ABOVE,
    CONDITIONS,
    HOLLOW,
    ZERO,
    Figure,
    above_frame,
    note,
    panel_chart,
    right_of_frame,
)
from mssbench.report.figures.style import Style

_REST = (*CONDITIONS, "run")
_FINITE = "isValid(datum.error)"
_REGULAR = "datum.condition > 0"  # a singular matrix has no finite condition number
_BEYOND = note(
    "Symbols right of the frame are for exactly singular matrices, whose condition number is "
    "infinite.",
    lambda rows: (~(rows["condition"] > 0)).any(),
)


def _over_condition(style: Style) -> alt.LayerChart:
    """Return a panel: one symbol for each method and problem."""
    rows = alt.Chart().transform_calculate(drawn_error="max(datum.error, y_low)")
    x, y = position("x", CONDITION), position("y", ERROR, "drawn_error")
    right, above = right_of_frame(), above_frame()

    layers = []
    for is_regular, across in ((_REGULAR, x), (f"!({_REGULAR})", right)):
        for is_finite, upwards in ((_FINITE, y), (f"!({_FINITE})", above)):
            here = rows.transform_filter(f"({is_regular}) && ({is_finite})")
            layers += style.points(here, 36, x=across, y=upwards)
    return panel_chart(*layers)


def _over_iterations(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each iterative method with several numbers of iterations."""
    x = position("x", ITERATIONS)
    drawn = (
        alt.Chart()
        .transform_filter(_FINITE)
        .transform_calculate(drawn_error="max(datum.error, y_low)")
    )
    y = position("y", ERROR, "drawn_error")

    # With several seeds a method has several symbols at a value. Its line joins the medians.
    lines = (
        drawn.transform_aggregate(middle="median(drawn_error)", groupby=["series", "iterations"])
        .mark_line(strokeWidth=1.2, opacity=0.7)
        .encode(x, position("y", ERROR, "middle"), style.line("series"), detail="series:N")
    )
    points = style.points(drawn, 36, "series", x=x, y=y)
    no_error = alt.Chart().transform_filter(f"!({_FINITE})")
    without = style.points(no_error, 36, "series", x=x, y=above_frame())
    return panel_chart(lines, *points, *without)


OVER_CONDITION = Figure(
    name="condition",
    title="Error over the condition number",
    reading="Each symbol is a method on one problem.",
    notes=(_BEYOND, HOLLOW, ABOVE, ZERO),
    required="measured rows of two problems or more",
    panel=("size", "batch", *_REST),
    chart=_over_condition,
    x=CONDITION,
    y=ERROR,
    needs=("seconds_median",),
    varies="problem",
    times=False,
)
OVER_ITERATIONS = Figure(
    name="iterations",
    title="Error over the number of iterations",
    reading="Each line is an iterative method that was measured with several numbers of "
    "iterations.",
    notes=(HOLLOW, ABOVE, ZERO),
    required="measured rows of a method with two numbers of iterations or more",
    panel=("problem", "size", "batch", *_REST),
    chart=_over_iterations,
    x=ITERATIONS,
    y=ERROR,
    needs=("iterations", "seconds_median"),
    varies="iterations",
    within="series",
    legend="series",
    times=False,
)
