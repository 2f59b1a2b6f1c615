"""The figures of trainings, as Altair charts without data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt

from mssbench.report.figures.axes import Axis, ends
from mssbench.report.figures.figure import HEIGHT, PADDING, ROWS, WIDTH, compiled
from mssbench.report.figures.style import Style
from mssbench.report.trainings.quantities import (
    AMONG_EPOCHS,
    CHANGED,
    DIFFERENCE,
    PROBED,
    TRUNCATED,
    Quantity,
)

if TYPE_CHECKING:
    import pandas as pd

_LINE = 36  # height of a method in the figure of differences, in pixels: its name and its interval
_ABOVE = 11  # distance of a name above the interval, in pixels
_INTERVALS = 330  # width of the frame of the intervals, in pixels
# Losses and probes are numbers around 1, of which 0.5 is read more easily than 5e-1.
_LABELS = (
    "datum.value >= 1e-3 && datum.value <= 1000 ? format(datum.value, '~g') "
    ": replace(format(datum.value, '.0e'), '+', '')"
)
ON_PAGE = "y"  # prefix of the parameters on the page, where each panel is a view of its own


class TrainingFigure(NamedTuple):
    """One kind of figure of trainings.

    name: the word by which users choose it. title: its heading. reading: what it shows and how to
    read it. required: without what there is nothing to draw, in words. quantities: what its panels
    show, each in a chart of its own. columns: panels beside each other in a file.
    """

    name: str
    title: str
    reading: str
    required: str
    quantities: tuple[Quantity, ...]
    columns: int

    def rows(self, points: "pd.DataFrame") -> "pd.DataFrame":
        """Return the rows that this figure draws, of those of all figures."""
        return points[points["figure"] == self.name]


def chart(quantity: Quantity, style: Style, prefix: str) -> alt.LayerChart:
    """Return the chart of a panel, which draws the data called ROWS.

    prefix: with which the names of its parameters begin, see `ends_of`.
    """
    return _intervals(style) if quantity is DIFFERENCE else _lines(quantity, style, prefix)


def vega(quantity: Quantity, style: Style) -> dict[str, Any]:
    """Return the chart of a panel as a Vega specification without data, for the page.

    It is the same for all quantities of one form.
    """
    spec = compiled(chart(quantity, style, ON_PAGE), style)
    if quantity is DIFFERENCE:  # its height follows from the number of methods
        return spec
    return spec | {"autosize": "none", "padding": PADDING}


def axis(quantity: Quantity) -> Axis | None:
    """Return the vertical axis of a panel if its ends are parameters: one of powers of ten."""
    if not quantity.log:
        return None
    return Axis("middle", quantity.y, _LABELS, also=("low", "high"))


def settings(panels: Sequence[tuple[Quantity, "pd.DataFrame"]]) -> dict[str, Any]:
    """Return the parameters of the charts by name, so that the panels of a quantity have one axis.

    panels: the quantity and the rows of each. The page has the same in trainings.js.
    """
    found: dict[str, Any] = {}
    for quantity in dict.fromkeys(quantity for quantity, _ in panels):
        if (log := axis(quantity)) is None:
            continue
        values = [
            value
            for of, rows in panels
            if of is quantity
            for column in (log.column, *log.also)
            for value in rows[column].dropna().tolist()
        ]
        found |= dict(zip(ends_of(quantity.name), ends(log, values), strict=True))
    return found


def ends_of(name: str) -> tuple[str, str, str]:
    """Return the names of the parameters of an axis: its lower and upper end, and its ticks."""
    return (f"{name}_low", f"{name}_high", f"{name}_ticks")


def _lines(quantity: Quantity, style: Style, prefix: str) -> alt.LayerChart:
    """Return a panel with a line for each method, and a band from the least to the largest value.

    The line of a method whose trainings failed is dashed, and its symbols are hollow.
    """
    x_axis = alt.Axis(title=quantity.x, format="d", tickMinStep=1, tickCount=6, grid=False)
    x = alt.X("x:Q", scale=alt.Scale(zero=False, padding=8), axis=x_axis)
    y_scale, y_axis = _vertical(quantity, prefix)
    y = alt.Y("middle:Q", scale=y_scale, axis=y_axis)

    rows, colour = alt.Chart(), style.line()
    band = (
        rows.transform_filter("isValid(datum.low)")
        .mark_area(opacity=0.15)
        .encode(x, alt.Y("low:Q", scale=y_scale, axis=y_axis), alt.Y2("high:Q"), colour)
    )
    lines = [
        rows.transform_filter(test)
        .mark_line(strokeWidth=1.6, strokeDash=dash)
        .encode(x, y, colour, detail="method:N")
        for test, dash in (("datum.ended == 'ok'", [1, 0]), ("datum.ended != 'ok'", [4, 3]))
    ]
    points = style.points(rows, 30, x=x, y=y, tooltip=_tooltip(quantity))
    panel = _panel([band, *lines, *points])
    if axis(quantity) is None:
        return panel
    values = (1.0, 10.0, [1.0, 10.0])  # they are replaced
    pairs = zip(ends_of(prefix), values, strict=True)
    return panel.add_params(*(alt.param(name=name, value=value) for name, value in pairs))


def _vertical(quantity: Quantity, prefix: str) -> tuple[alt.Scale, alt.Axis]:
    """Return the scale and the axis on which the values of a quantity stand."""
    if (log := axis(quantity)) is None:
        plain = alt.Axis(title=quantity.y, tickCount=5, labelOverlap=True)
        return alt.Scale(zero=False, nice=True), plain
    low, high, ticks = ends_of(prefix)
    lines = alt.Axis(
        title=log.title, values=alt.ExprRef(ticks), labelExpr=log.labels, labelOverlap=True
    )
    return alt.Scale(type="log", domain=alt.ExprRef(f"[{low}, {high}]"), nice=False), lines


def _intervals(style: Style) -> alt.LayerChart:
    """Return a panel with a symbol and an interval for each method, and a line at 0.

    The names stand inside the frame, so that it is as wide as a narrow screen.
    """
    none = alt.Axis(title=None, labels=False, ticks=False, grid=False, domain=False)
    y = alt.Y("method:N", sort=None, axis=none, scale=alt.Scale(paddingOuter=0.2))
    x_axis = alt.Axis(title=DIFFERENCE.x, format="+.3~f", tickCount=5, labelOverlap=True)
    x = alt.X("middle:Q", axis=x_axis)
    style = style._replace(legend=False)

    rows = alt.Chart()
    zero = (
        rows.transform_aggregate(methods="count()")
        .mark_rule(color=style.look.ink, strokeDash=[4, 3])
        .encode(alt.XDatum(0, axis=x_axis))
    )
    mark: dict[str, Any] = {
        "align": "left",
        "dy": -_ABOVE,
        "fontSize": 10.5,
        "limit": _INTERVALS - 8,
    }
    # The lines of the grid end before the letters.
    behind: dict[str, Any] = {
        "stroke": style.look.ground,
        "strokeWidth": 4,
        "color": style.look.ground,
    }
    names = [
        rows.mark_text(**mark, **colours).encode(y, x=alt.value(4), text="method:N")
        for colours in (behind, {"color": style.look.ink})
    ]
    intervals = rows.mark_rule(strokeWidth=2.5).encode(
        alt.X("low:Q", axis=x_axis), alt.X2("high:Q"), y, style.line()
    )
    points = style.points(rows, 60, x=x, y=y, tooltip=_tooltip(DIFFERENCE))
    return _panel([zero, *names, intervals, *points], _INTERVALS, alt.Step(_LINE))


def _panel(layers: list[alt.Chart], width: int = WIDTH, height: Any = HEIGHT) -> alt.LayerChart:
    return alt.LayerChart(layer=layers, data=alt.NamedData(ROWS), width=width, height=height)


def _tooltip(quantity: Quantity) -> list[alt.Tooltip]:
    """Return what a symbol tells. A probe and a robustness are never told without the loss."""
    texts = {"method": "method", "ended": "status"}
    across = [] if quantity is DIFFERENCE else [alt.Tooltip("x:Q", title=quantity.x)]
    rest = {"value": quantity.y, "beside": "with", "seeds": "seeds"}
    if quantity is DIFFERENCE:
        rest["value"] = quantity.x
    return [
        *(alt.Tooltip(f"{field}:N", title=title) for field, title in texts.items()),
        *across,
        *(alt.Tooltip(f"{field}:N", title=title) for field, title in rest.items()),
    ]


CURVES = TrainingFigure(
    "curves",
    "Accuracy and loss by epoch",
    "A line is the mean over the seeds, and the band around it reaches from the least to the "
    "largest value. Accuracies are those on the test data, losses those of the training steps. "
    "Hollow symbols and dashed lines are methods of which a training failed. Losses of 0 and "
    "values that are not finite are not drawn.",
    "an epoch that has ended",
    AMONG_EPOCHS,
    2,
)
DIFFERENCES = TrainingFigure(
    "differences",
    "Differences from the exact root",
    "A symbol is the mean over the seeds of the accuracy of a method minus that of the exact root, "
    "eigh + loewner, with the same seed. The bar is its 95 % interval, for this method by "
    "itself. A bar that crosses the dashed line at 0 means that these seeds do not tell which of "
    "the two is better. p is adjusted for all methods together, so that a bar beside the line does "
    "not tell it either if p is 0.05 or more.",
    "five seeds of a method and of the exact root, eigh + loewner",
    (DIFFERENCE,),
    1,
)
PROBES = TrainingFigure(
    "probes",
    "Probes of loss and gradient",
    "A line is the median over the seeds, and the band reaches from the least to the largest "
    "value; for β, from its lower to its upper quartile over the step sizes. The loss stands "
    "first, because a loss that is still large can look smooth: a probe means nothing without it. "
    "Hollow symbols and dashed lines are methods of which a training failed. The axes but that of "
    "τ are in powers of ten, so that 0 is not drawn.",
    "trainings of a suite with probes = true",
    PROBED,
    3,
)
ROBUSTNESS = TrainingFigure(
    "robustness",
    "Robustness to changed data and to lost eigenvalues",
    "A line is the mean over the seeds of the share of the changed test samples that is classified "
    "wrongly, and the band reaches from the least to the largest value. Severity 0 is the "
    "unchanged test data. The last panel of each group shows the accuracy when the smallest "
    "eigenvalues of each covariance are set to zero, of those that are not zero already. The "
    "networks were not trained for any of this. Hollow symbols and dashed lines are methods of "
    "which a training failed.",
    "trainings of a suite with robustness = true",
    (CHANGED, TRUNCATED),
    3,
)
FIGURES = {figure.name: figure for figure in (CURVES, DIFFERENCES, PROBES, ROBUSTNESS)}
