"""How figures look: colours, symbols, legends, and the parts that are not data."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt

if TYPE_CHECKING:
    import pandas as pd

# The colours of Okabe and Ito (2008), which colour-blind readers can tell apart, without yellow,
# which is too pale on white, and with a red and a violet that differ from the others for these
# readers too. On the dark ground that the report may have, each has a contrast of 3 or more (WCAG
# 2.2), and on white too, except that orange and sky blue have 2.2: dark outlines would look like
# rings of the Pareto front.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#C03048",
    "#5555E8",
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
        whose values have colours and shapes; by default that of the style. encoding: of the places,
        and of the tooltip if it is not that of a row.
        """
        column = column or self.by
        legend = self._legend(column)
        shapes = alt.Scale(
            domain=list(self.names[column]),
            range=[shape for _, shape in self.symbols(column)],
        )
        encoding = {"tooltip": tooltip()} | encoding
        encoding |= {
            "color": alt.Color(f"{column}:N", scale=self._colours(column), legend=legend),
            "shape": alt.Shape(f"{column}:N", scale=shapes, legend=legend),
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


# Methods that have colours and symbols of their own. A legend of more is hard to search, so that
# with more methods the forwards have them.
MOST_METHODS = 24


def style_of(table: "pd.DataFrame", look: Look, *, legend: bool) -> Style:
    """Return the style of figures of a table: every value that occurs has a colour and symbol.

    They stand for the methods, sorted by name, or for the forwards if there are many methods.
    """
    names = {name: tuple(sorted(filter(None, table[name].unique()))) for name in LEGENDS}
    by = "method" if len(names["method"]) <= MOST_METHODS else "family"
    return Style(names, look, legend, by)


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
