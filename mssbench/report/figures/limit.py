"""How far each method is from the shortest time in which the machine could do its work."""

from typing import TYPE_CHECKING

import altair as alt

from mssbench.report.figures.axes import LIMIT, position
from mssbench.report.figures.figure import CONDITIONS, HOLLOW, Figure, Note, panel_chart
from mssbench.report.figures.style import Style

if TYPE_CHECKING:
    import pandas as pd

_LINE = 15  # height of a method's line, in pixels: the height of its label
_LABELS = 300  # longest name beside the lines, in pixels


def _chart(style: Style) -> alt.LayerChart:
    """Return a panel: one line for each method, with a symbol for each problem."""
    nearest = alt.EncodingSortField("middle", op="min", order="ascending")
    names = alt.Axis(title=None, labelLimit=_LABELS, grid=True, ticks=False, labelPadding=6)
    rows = (
        alt.Chart()
        .transform_filter("datum.times_limit > 0")
        .transform_joinaggregate(middle="median(times_limit)", groupby=["method"])
    )
    y = alt.Y("method:N", sort=nearest, axis=names)
    points = style.points(rows, 36, "bound", x=position("x", LIMIT), y=y)
    return panel_chart(*points, height=alt.Step(_LINE))


def _one_limit(rows: "pd.DataFrame") -> str:
    """Return what limits all methods, if it is the same for all; a legend shows several limits."""
    (first, *others) = sorted(rows["bound"].unique())
    return "" if others or not first else f"All of them are limited by {first}."


LIMITS = Figure(
    name="limit",
    title="Distance to the limit of the machine",
    reading="The time of each method divided by the shortest time in which this machine could do "
    "the method's own work, one symbol for each problem. A method at 1x could become faster only "
    "by doing less work; at 10x the machine waits for nine tenths of the time.",
    notes=(
        Note("", _one_limit),
        HOLLOW,
    ),
    required="rows with a time and the shortest time that the machine allows",
    panel=(
        "size",
        "batch",
        *CONDITIONS,
        "run",
    ),
    chart=_chart,
    x=LIMIT,
    y=None,
    needs=("times_limit",),
    legend="bound",
)
