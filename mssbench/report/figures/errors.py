"""Errors over the condition number of the matrices, and over the number of iterations."""

import altair as alt

from mssbench.report.figures.figure import (
    CONDITION,
    ERROR,
    ITERATIONS,
    Figure,
    Style,
    above_frame,
    opacity,
    panel_chart,
    position,
    right_of_frame,
    tooltip,
)

_REST = ("function", "precision", "device", "phase", "clock", "cache", "run")


def _over_condition(style: Style) -> alt.LayerChart:
    """Return a panel: one symbol for each method and problem."""
    finite = (
        alt.Chart()
        .transform_filter("isValid(datum.error)")
        .transform_calculate(drawn_error="max(datum.error, y_low)")
    )
    y = position("y", ERROR, "drawn_error")

    symbols = {"opacity": opacity(), "tooltip": tooltip()}
    regular = (
        finite.transform_filter("datum.condition > 0")
        .mark_point(filled=True, size=40)
        .encode(position("x", CONDITION), y, style.colour(), style.shape(), **symbols)
    )
    singular = (
        finite.transform_filter("!isValid(datum.condition)")
        .mark_point(filled=True, size=40)
        .encode(y, style.colour(), style.shape(), x=right_of_frame(), **symbols)
    )
    return panel_chart(regular, singular)


def _over_iterations(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each iterative method with several numbers of iterations."""
    x = position("x", ITERATIONS)
    drawn = (
        alt.Chart()
        .transform_filter("isValid(datum.error)")
        .transform_calculate(drawn_error="max(datum.error, y_low)")
    )
    y = position("y", ERROR, "drawn_error")

    lines = drawn.mark_line(strokeWidth=1.2, opacity=0.7).encode(
        x, y, style.colour("series"), detail="series:N"
    )
    points = drawn.mark_point(filled=True, size=40).encode(
        x, y, style.colour("series"), style.shape("series"), opacity=opacity(), tooltip=tooltip()
    )
    without = (
        alt.Chart()
        .transform_filter("!isValid(datum.error)")
        .mark_point(filled=False, size=40)
        .encode(
            x, style.colour("series"), style.shape("series"), y=above_frame(), tooltip=tooltip()
        )
    )
    return panel_chart(lines, points, without)


OVER_CONDITION = Figure(
    name="condition",
    title="Error over the condition number",
    about="Each symbol is a method on one problem. Symbols right of the frame are for exactly "
    "singular matrices, whose condition number is infinite. Pale symbols are results that are "
    "not ok.",
    panel=("size", "batch", *_REST),
    chart=_over_condition,
    x=CONDITION,
    y=ERROR,
    needs=("error",),
    varies="problem",
)
OVER_ITERATIONS = Figure(
    name="iterations",
    title="Error over the number of iterations",
    about="Each line is an iterative method that was measured with several numbers of iterations. "
    "Hollow symbols above the frame are results without a finite error.",
    panel=("problem", "size", "batch", *_REST),
    chart=_over_iterations,
    x=ITERATIONS,
    y=ERROR,
    needs=("iterations", "seconds_median"),
    varies="iterations",
    within="series",
    legend="series",
)
