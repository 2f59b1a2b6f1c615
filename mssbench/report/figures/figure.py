"""`Figure`: an Altair chart without data, drawn once for each panel of rows.

A panel holds the rows of one combination of values of some columns, for example of one problem,
size and batch. The chart reads rows called `rows`, and it reads the ends and ticks of its axes from
parameters, so that all panels of a figure have the same axes and can be compared by eye. `mssbench
plot` puts the panels of a figure into one file. The report draws them in a grid of its page.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from math import ceil, floor, inf, isfinite, log10
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import altair as alt

if TYPE_CHECKING:
    import pandas as pd

ROWS = "rows"  # name of the data that a panel draws
WIDTH, HEIGHT = 250, 180  # of a panel, in pixels: four beside each other fill a wide screen
STRIP = 9  # distance of a symbol above the frame from the frame, in pixels
RIGHT = 22  # distance of a symbol right of the frame: clear of the last label of the axis

# The colours of Okabe and Ito (2008), which colour-blind readers can tell apart, without yellow,
# which is too pale on white, and with a wine red and a violet that differ from the others for these
# readers too. All are visible on white and on the dark ground that the report may have.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#993344",
    "#4B4BE0",
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
    empty: the ends of the axis if there is no value that it can show.
    """

    column: str
    title: str
    labels: str = "format(datum.value, '~g')"
    log: bool = True
    ticks: str = "round"
    also: tuple[str, ...] = ()
    empty: tuple[float, float] = (1.0, 10.0)


# A time is written with its unit: 20 µs, 3 ms, 2 s.
_TIME_LABELS = (
    "datum.value >= 1 ? format(datum.value, '~g') + ' s' "
    ": datum.value >= 1e-3 ? format(datum.value * 1e3, '~g') + ' ms' "
    ": format(datum.value * 1e6, '~g') + ' µs'"
)
TIME = Axis("seconds_median", "time per call", _TIME_LABELS, also=("seconds_low", "seconds_high"))
# Powers of ten as in the tables, 1e-5 and 1e6, but 1, 2, 5, 10, ... up to 100 in full.
_POWER_LABELS = (
    "datum.value >= 1 && datum.value <= 100 ? format(datum.value, '~g') "
    ": replace(format(datum.value, '.0e'), '+', '')"
)
# If every error is 0, the axis ends at 1, and the symbols are drawn at its lower end.
ERROR = Axis("error", "relative error", _POWER_LABELS, empty=(1e-17, 1.0))
CONDITION = Axis("condition", "condition number κ", _POWER_LABELS)
SIZE = Axis("size", "size n of the matrices", ticks="values")
BATCH = Axis("batch", "matrices in the batch", ticks="values")
ITERATIONS = Axis("iterations", "iterations", log=False, ticks="values")
LIMIT = Axis("times_limit", "time ÷ shortest possible time", "format(datum.value, '~g') + 'x'")


class Look(NamedTuple):
    """The colours and the font of the parts that are not data. A page gives CSS variables.

    ground: the colour behind the figure, with which hollow symbols are filled.
    """

    ink: str = "#1b1b1b"
    faint: str = "#dcdcdc"
    ground: str = "white"
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
            "title": {
                "color": self.ink,
                "fontWeight": "normal",
                "fontSize": 11,
                "subtitleColor": self.ink,
                "subtitleFontSize": 11,
                "subtitlePadding": 5,
            },
        }


class Style(NamedTuple):
    """How all figures of a page or file look.

    names: for each column that colours and symbols stand for, its values in a fixed order, so that
    a value looks the same in every figure. legend: whether a chart explains its own colours.
    by: the column that colours and symbols stand for, in figures that do not name another one.
    below: entries of a legend below each other; with more, the legend has several columns.
    """

    names: Mapping[str, Sequence[str]]
    look: Look = Look()
    legend: bool = True
    by: str = "family"
    below: int = 16

    def points(
        self, rows: alt.Chart, size: int, column: str = "", **encoding: Any
    ) -> list[alt.Chart]:
        """Return layers with a symbol for each row: filled if the row is ok, else hollow.

        rows: what is drawn, without marks. size: of a symbol, in square pixels. column: the column
        whose values have colours and shapes; by default that of the style. encoding: of the places.
        """
        column = column or self.by
        legend = self._legend(column)
        shapes = alt.Scale(
            domain=list(self.names[column]),
            range=[shape for _, shape in self.symbols(column)],
        )
        encoding |= {
            "color": alt.Color(f"{column}:N", scale=self._colours(column), legend=legend),
            "shape": alt.Shape(f"{column}:N", scale=shapes, legend=legend),
            "tooltip": tooltip(),
        }
        filled: dict[str, Any] = {"filled": True, "size": 1.2 * size}
        hollow: dict[str, Any] = {
            "filled": False,
            "fill": self.look.ground,
            "strokeWidth": 1.2,
            "size": size,
        }
        return [
            rows.transform_filter(test).mark_point(opacity=1, **mark).encode(**encoding)
            for test, mark in (("datum.ended != 'ok'", hollow), ("datum.ended == 'ok'", filled))
        ]

    def line(self, column: str = "") -> alt.Color:
        """Return the colours of lines, which are those of the symbols on them."""
        column = column or self.by
        return alt.Color(f"{column}:N", scale=self._colours(column), legend=self._legend(column))

    def area(self) -> alt.Fill:
        """Return the colours of areas, without a legend: the areas are to hold names."""
        return alt.Fill(f"{self.by}:N", scale=self._colours(self.by), legend=None)

    def _colours(self, column: str) -> alt.Scale:
        colours = [colour for colour, _ in self.symbols(column)]
        return alt.Scale(domain=list(self.names[column]), range=colours)

    def symbols(self, column: str) -> list[tuple[str, str]]:
        """Return a colour and a shape for each value. The pairs differ for up to 64 values."""
        return [
            (COLOURS[i % len(COLOURS)], SHAPES[(i + i // len(COLOURS)) % len(SHAPES)])
            for i in range(len(self.names[column]))
        ]

    def _legend(self, column: str) -> alt.Legend | None:
        """Return the legend of a column, without a limit on its entries; None if not wanted."""
        if not self.legend:
            return None
        names = self.names[column]
        return alt.Legend(
            title=LEGENDS[column],
            symbolLimit=0,
            labelLimit=_LONGEST_LABEL,
            symbolOpacity=1,
            columns=ceil(len(names) / self.below),
        )


_LONGEST_LABEL = 300  # of a legend, in pixels: the longest names of pairs fit
# The columns that colours and symbols stand for, with the titles of their legends.
LEGENDS = {
    "family": "forward",
    "method": "method",
    "series": "method",
    "bound": "limited by",
}


def style_of(table: "pd.DataFrame", look: Look, *, legend: bool, by: str = "family") -> Style:
    """Return the style of figures of a table: every value that occurs has a colour and symbol.

    by: the column that colours and symbols stand for, in figures that do not name another one.
    """
    names = {name: tuple(sorted(filter(None, table[name].unique()))) for name in LEGENDS}
    return Style(names, look, legend, by)


class Note(NamedTuple):
    """A sentence on how to read a figure, for figures in which rows are drawn in this way.

    text: what holds for any rows, or empty. of: returns the sentence for a figure of some rows, or
    an empty text if none of them is drawn in this way.
    """

    text: str
    of: "Callable[[pd.DataFrame], str]"


def note(text: str, applies: "Callable[[pd.DataFrame], Any]") -> Note:
    """Return a note that is the same for all rows. applies: whether it holds for some of them."""
    return Note(text, lambda rows: text if applies(rows) else "")


def _hollow(rows: "pd.DataFrame") -> str:
    """Return what hollow symbols are, with the statuses that occur."""
    statuses = sorted({*rows["ended"].unique()} - {"ok"})
    return f"Hollow symbols are results that are not ok: {', '.join(statuses)}." if statuses else ""


def without_error(rows: "pd.DataFrame") -> "pd.Series":
    """Return whether each row has no finite error, so that it is drawn above the frame."""
    return ~(rows["error"].abs() < inf)  # NaN is not smaller


HOLLOW = Note("Hollow symbols are results that are not ok.", _hollow)
ABOVE = note(
    "Symbols above the frame have no finite error.", lambda rows: without_error(rows).any()
)
ZERO = note(
    "Errors of 0 are drawn at the lower end of the axis.", lambda rows: (rows["error"] == 0).any()
)


class Figure(NamedTuple):
    """One kind of figure.

    name: the word by which users choose it. title: its heading.
    reading: one or two sentences on what it shows and how to read it.
    notes: further sentences, each for figures in which it applies.
    required: the rows without which there is nothing to draw, in words.
    panel: the columns of which each combination of values has a panel of its own.
    chart: returns the chart of one panel, which draws the data called ROWS.
    x, y: the axes with parameters; None for an axis of names.
    needs: columns in which a row must have a value to be drawn.
    varies: a column that must have two values in a panel; a panel with fewer is not drawn.
    within: rows are drawn only if `varies` has two values among those with the same value here.
    some: a column that must have a value, not an empty text, in some row of a panel.
    legend: the column that colours and symbols stand for; by default that of the style.
    keep: returns whether each row is drawn, in addition to `needs`.
    across, step: of a map, the columns whose combinations of values stand beside each other, and
    the width of each in pixels.
    below: further space that the labels below a panel need, in pixels.
    times: whether the figure shows times, which a disturbance of the machine makes wrong.
    """

    name: str
    title: str
    reading: str
    required: str
    panel: tuple[str, ...]
    chart: Callable[[Style], alt.LayerChart]
    x: Axis | None
    y: Axis | None
    needs: tuple[str, ...] = ()
    varies: str = ""
    within: str = ""
    some: str = ""
    legend: str = ""
    notes: tuple[Note, ...] = ()
    keep: "Callable[[pd.DataFrame], pd.Series] | None" = None
    across: tuple[str, ...] = ()
    step: int = 0
    below: int = 0
    times: bool = True

    @property
    def about(self) -> str:
        """All that is to be said on how to read the figure, whatever rows it shows."""
        return " ".join(filter(None, [self.reading, *(note.text for note in self.notes)]))

    def explained(self, rows: "pd.DataFrame") -> str:
        """Return how to read a figure of these rows."""
        return " ".join(filter(None, [self.reading, *(note.of(rows) for note in self.notes)]))

    def rows(self, table: "pd.DataFrame") -> "pd.DataFrame":
        """Return the rows of a table that the figure can draw."""
        rows = table.dropna(subset=list(self.needs)) if self.needs else table
        return rows if self.keep is None else rows[self.keep(rows)]

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
            varies = not self.varies or len(drawn[self.varies].unique()) > 1
            if len(drawn) and varies and (not self.some or (drawn[self.some] != "").any()):
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
        return (*axis.empty, [*axis.empty])

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
    return _round_ends(low, high)


def _round_ends(low: float, high: float) -> tuple[float, float, list[float]]:
    """Return ends around two values, and the ticks between them.

    The ends are one, two or five times a power of ten, so that little of the axis is empty. The
    ticks are powers of ten, or also two and five times these if the range is short.
    """
    low = min(max(low / _MARGIN, _LEAST), _MOST / 10)
    high = min(max(high * _MARGIN, _LEAST * 10), _MOST)
    first, last = floor(log10(low)) - 1, ceil(log10(high)) + 1
    round_numbers = [float(f"{m}e{k}") for k in range(first, last + 1) for m in (1, 2, 5)]
    start = max(x for x in round_numbers if x <= low)
    end = min(x for x in round_numbers if x >= high)

    inside = [x for x in round_numbers if start <= x <= end]
    if high / low < _SHORT:
        return start, end, inside
    decades = [k for k in range(first, last + 1) if start <= float(f"1e{k}") <= end]
    every = ceil(len(decades) / _MOST_DECADES)
    return start, end, [float(f"1e{k}") for k in decades if k % every == 0]


_LEAST, _MOST = 1e-300, 1e300  # ends of any axis: beyond them, numbers round to 0 or to infinity
_MARGIN = 1.1  # between a value and the end of its axis, so that its symbol lies within the frame
_MOST_DECADES = 5  # labels of an axis over several decades; more of them would touch each other
_SHORT = 60.0  # below this ratio of its ends, an axis of powers of ten would have one or two labels


def position(letter: str, axis: Axis, field: str = "") -> alt.X | alt.Y:
    """Return the encoding of an axis whose ends and ticks are the parameters of a chart.

    letter: "x" or "y". field: what is drawn, if it is not the column of the axis.
    """
    channel = alt.X if letter == "x" else alt.Y
    kind: Literal["log", "linear"] = "log" if axis.log else "linear"
    domain = alt.ExprRef(f"[{letter}_low, {letter}_high]")
    scale = alt.Scale(type=kind, domain=domain, nice=False)
    lines = alt.Axis(
        title=axis.title,
        values=alt.ExprRef(f"{letter}_ticks"),
        labelExpr=axis.labels,
        labelOverlap=True,
        labelFlush=False,  # a label stands below its tick also at the ends of the axis
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
    return alt.value(-STRIP)


def right_of_frame() -> Any:
    """Return a place just right of the frame, for matrices whose condition number is infinite."""
    return alt.value(WIDTH + RIGHT)


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
