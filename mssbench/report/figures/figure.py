"""`Figure`: an Altair chart without data, drawn once for each panel of rows.

A panel holds the rows of one combination of values of some columns, for example of one problem,
size and batch. The chart reads rows called `rows`, and it reads the ends and ticks of its axes from
parameters, so that all panels of a figure have the same axes and can be compared by eye. `mssbench
plot` puts the panels of a figure into one file. The report draws them in a grid of its page.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import altair as alt

if TYPE_CHECKING:
    import pandas as pd

ROWS = "rows"  # name of the data that a panel draws
WIDTH, HEIGHT = 250, 180  # of a panel, in pixels: four beside each other fill a wide screen
_STRIP = 9  # distance of a symbol outside the frame from the frame, in pixels

# The colours of Okabe and Ito (2008), which colour-blind readers can tell apart, without yellow,
# which is too pale on white, and with grey in its place.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#8C6BB1",
    "#8A8A8A",
)
# Symbols of Vega; each is named with its colour, so that no method depends on its colour alone.
SHAPES = (
    "circle",
    "square",
    "triangle-up",
    "diamond",
    "cross",
    "triangle-down",
    "triangle-right",
    "triangle-left",
)


# Columns that figures read of each row.
DRAWN = (
    "label",
    "method",
    "family",
    "series",
    "problem",
    "size",
    "batch",
    "iterations",
    "ended",
    "run",
    "seconds_median",
    "seconds_low",
    "seconds_high",
    "error",
    "condition",
    "limit_seconds",
    "times_limit",
    "bound",
    "standing",
    "started",
    "moment",
)


class Axis(NamedTuple):
    """A quantitative axis whose ends and ticks are parameters of the chart.

    column: the column that is drawn along it. title: with the unit.
    labels: a Vega expression for the text of a tick. log: whether the axis is logarithmic.
    ticks: "round" for round numbers, or "values" for the values that occur.
    also: further columns whose values the axis must include, such as the ends of an interval.
    """

    column: str
    title: str
    labels: str = "format(datum.value, '~g')"
    log: bool = True
    ticks: str = "round"
    also: tuple[str, ...] = ()


# A time is written with its unit: 20 µs, 3 ms, 2 s.
_TIME_LABELS = (
    "datum.value >= 1 ? format(datum.value, '~g') + ' s' "
    ": datum.value >= 1e-3 ? format(datum.value * 1e3, '~g') + ' ms' "
    ": format(datum.value * 1e6, '~g') + ' µs'"
)
TIME = Axis("seconds_median", "time per call", _TIME_LABELS, also=("seconds_low", "seconds_high"))
_POWER_LABELS = "replace(format(datum.value, '.0e'), '+', '')"  # 1e-5, 1e6
ERROR = Axis("error", "relative error", _POWER_LABELS)
CONDITION = Axis("condition", "condition number κ", _POWER_LABELS)
SIZE = Axis("size", "size n of the matrices", ticks="values")
BATCH = Axis("batch", "matrices in the batch", ticks="values")
ITERATIONS = Axis("iterations", "iterations", log=False, ticks="values")
LIMIT = Axis("times_limit", "time ÷ shortest possible time", "format(datum.value, '~g') + 'x'")


class Look(NamedTuple):
    """The colours and the font of the parts that are not data. A page gives CSS variables."""

    ink: str = "#1b1b1b"
    faint: str = "#dcdcdc"
    font: str = "sans-serif"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of a chart in Vega-Lite."""
        words = {"labelColor": self.ink, "titleColor": self.ink, "titleFontWeight": "normal"}
        lines = {"gridColor": self.faint, "domainColor": self.faint, "tickColor": self.faint}
        return {
            "font": self.font,
            "background": None,
            "aria": False,
            "view": {"stroke": self.faint},
            "axis": {**words, **lines},
            "legend": words,
            "header": {"labelColor": self.ink, "titleColor": self.ink},
            "title": {"color": self.ink, "fontWeight": "normal", "fontSize": 12},
        }


class Style(NamedTuple):
    """How all figures of a page or file look.

    names: for each column that colours and symbols stand for, its values in a fixed order, so that
    a value looks the same in every figure. legend: whether a chart explains its own colours.
    """

    names: Mapping[str, Sequence[str]]
    look: Look = Look()
    legend: bool = True

    def colour(self, column: str = "family") -> alt.Color:
        """Return the colours of a column's values as an encoding of a chart."""
        colours = [colour for colour, _ in self.symbols(column)]
        scale = alt.Scale(domain=list(self.names[column]), range=colours)
        return alt.Color(f"{column}:N", scale=scale, legend=self._legend(column))

    def shape(self, column: str = "family") -> alt.Shape:
        """Return the symbols of a column's values as an encoding of a chart."""
        shapes = [shape for _, shape in self.symbols(column)]
        scale = alt.Scale(domain=list(self.names[column]), range=shapes)
        return alt.Shape(f"{column}:N", scale=scale, legend=self._legend(column))

    def symbols(self, column: str) -> list[tuple[str, str]]:
        """Return a colour and a shape for each value. The pairs differ for up to 64 values."""
        return [
            (COLOURS[i % len(COLOURS)], SHAPES[(i + i // len(COLOURS)) % len(SHAPES)])
            for i in range(len(self.names[column]))
        ]

    def _legend(self, column: str) -> alt.Legend | None:
        """Return the legend of a column, without a limit on its entries; None if not wanted."""
        title = LEGENDS[column]
        if not self.legend:
            return None
        return alt.Legend(title=title, symbolLimit=0, labelLimit=300, symbolOpacity=1)


# The columns that colours and symbols stand for, with the titles of their legends.
LEGENDS = {"family": "forward", "series": "method", "bound": "limited by"}


def style_of(table: "pd.DataFrame", look: Look, *, legend: bool) -> Style:
    """Return the style of figures of a table: every value that occurs has a colour and symbol."""
    names = {name: tuple(sorted(filter(None, table[name].unique()))) for name in LEGENDS}
    return Style(names, look, legend)


class Figure(NamedTuple):
    """One kind of figure.

    name: the word by which users choose it. title: its heading.
    about: one or two sentences on what it shows and how to read it.
    panel: the columns of which each combination of values has a panel of its own.
    chart: returns the chart of one panel, which draws the data called ROWS.
    x, y: the axes with parameters; None for an axis of names.
    needs: columns in which a row must have a value to be drawn.
    varies: a column that must have two values in a panel; a panel with fewer is not drawn.
    within: rows are drawn only if `varies` has two values among those with the same value here.
    legend: the column that colours and symbols stand for.
    """

    name: str
    title: str
    about: str
    panel: tuple[str, ...]
    chart: Callable[[Style], alt.LayerChart]
    x: Axis | None
    y: Axis | None
    needs: tuple[str, ...] = ()
    varies: str = ""
    within: str = ""
    legend: str = "family"

    def rows(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Return the rows of a table that the figure can draw."""
        return table.dropna(subset=list(self.needs)) if self.needs else table

    def panels(self, table: "pd.DataFrame") -> "list[tuple[dict[str, Any], pd.DataFrame]]":
        """Return the rows of each panel with the values of the columns of `panel`.

        Panels are sorted by these values, and problems by their condition number.
        """
        order = ["hardness" if name == "problem" else name for name in self.panel]
        rows = self.rows(table).sort_values([*order], kind="stable")

        found = []
        for key, part in rows.groupby(list(self.panel), sort=False, dropna=False):
            drawn = part
            if self.within:
                drawn = part[part.groupby(self.within)[self.varies].transform("nunique") > 1]
            if len(drawn) and (not self.varies or len(drawn[self.varies].unique()) > 1):
                found.append((dict(zip(self.panel, key, strict=True)), drawn))
        return found

    def settings(self, panels: "Sequence[pd.DataFrame]") -> dict[str, Any]:
        """Return the parameters of the chart by name, so that all these panels have equal axes."""
        settings: dict[str, Any] = {}
        for letter, axis in (("x", self.x), ("y", self.y)):
            if axis is not None:
                values = [
                    value
                    for rows in panels
                    for column in (axis.column, *axis.also)
                    for value in rows[column].dropna().tolist()
                ]
                low, high, ticks = ends(axis, values)
                settings |= {f"{letter}_low": low, f"{letter}_high": high, f"{letter}_ticks": ticks}
        return settings


def ends(axis: Axis, values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Return the lower end, the upper end and the ticks of an axis on which values are drawn.

    The page has the same function in JavaScript, page/axes.js, since a filter changes the values.
    """
    drawn = sorted({v for v in values if isfinite(v) and (v > 0 or not axis.log)})
    if not drawn:
        return (1.0, 10.0, [1.0, 10.0])

    low, high = drawn[0], drawn[-1]
    if axis.ticks == "values":
        margin = (high / low) ** 0.05 if axis.log else 0.05 * (high - low)
        if high == low:
            margin = 1.5 if axis.log else 1.0
        return (
            (low / margin, high * margin, drawn)
            if axis.log
            else (low - margin, high + margin, drawn)
        )

    ticks = _round_numbers(low, high)
    return ticks[0], ticks[-1], ticks


def _round_numbers(low: float, high: float) -> list[float]:
    """Return round numbers from the largest one up to `low` to the smallest one from `high` on.

    They are powers of ten, or also two and five times these if the range is short.
    """
    steps = (1, 2, 5) if high / low < _SHORT else (1,)
    first, last = floor(log10(low)), ceil(log10(high))
    every = 1 if steps != (1,) else max(1, ceil((last - first) / _MOST_DECADES))

    candidates = [float(f"{m}e{k}") for k in range(first, last + every + 1, every) for m in steps]
    start = max((x for x in candidates if x <= low), default=candidates[0])
    end = min(x for x in candidates if x >= high and x > start)
    return [x for x in candidates if start <= x <= end]


_MOST_DECADES = 5  # labels of an axis over several decades; more of them would touch each other
_SHORT = 30.0  # below this ratio of its ends, an axis of powers of ten would have one or two labels


def position(letter: str, axis: Axis, field: str = "") -> alt.X | alt.Y:
    """Return the encoding of an axis whose ends and ticks are the parameters of a chart.

    letter: "x" or "y". field: what is drawn, if it is not the column of the axis.
    """
    channel = alt.X if letter == "x" else alt.Y
    kind: Literal["log", "linear"] = "log" if axis.log else "linear"
    scale = alt.Scale(
        type=kind,
        domainMin=alt.ExprRef(f"{letter}_low"),
        domainMax=alt.ExprRef(f"{letter}_high"),
        nice=False,
        zero=False,
    )
    lines = alt.Axis(
        title=axis.title,
        values=alt.ExprRef(f"{letter}_ticks"),
        labelExpr=axis.labels,
        labelOverlap=True,
    )
    return channel(f"{field or axis.column}:Q", scale=scale, axis=lines)


def parameters() -> list[alt.Parameter]:
    """Return the parameters that `position` refers to, with values that are replaced."""
    return [
        alt.param(name=f"{letter}_{end}", value=value)
        for letter in "xy"
        for end, value in (("low", 1.0), ("high", 10.0), ("ticks", [1.0, 10.0]))
    ]


def panel_chart(*layers: alt.Chart, width: Any = WIDTH, height: Any = HEIGHT) -> alt.LayerChart:
    """Return the chart of a panel from its layers, without data.

    width, height: in pixels, or a step for each value of an axis of names.
    """
    chart = alt.LayerChart(layer=list(layers), data=alt.NamedData(ROWS), width=width, height=height)
    return chart.add_params(*parameters())


def compiled(chart: alt.LayerChart | alt.Chart, style: Style) -> dict[str, Any]:
    """Return a chart without data as a Vega specification, which is what is drawn in the end.

    Compiling here saves the time of compiling in the page at each drawing.
    """
    import vl_convert

    specification = json.loads(chart.to_json(validate=False)) | {"config": style.look.config}
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(specification)
    return vega


def above_frame() -> Any:
    """Return a place just above the frame, for rows that have no finite number to draw."""
    return alt.value(-_STRIP)


def right_of_frame() -> Any:
    """Return a place just right of the frame, for matrices whose condition number is infinite."""
    return alt.value(WIDTH + _STRIP)


def opacity() -> Any:
    """Return the opacity of a row: rows that are not ok are pale."""
    return alt.condition("datum.ended == 'ok'", alt.value(0.95), alt.value(0.3))


def tooltip() -> list[alt.Tooltip]:
    """Return what a symbol tells about its row."""
    texts = {
        "label": "method",
        "problem": "problem",
        "size": "n",
        "batch": "batch",
        "ended": "status",
        "time_text": "time",
        "error_text": "error",
        "run": "run",
    }
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in texts.items()]
