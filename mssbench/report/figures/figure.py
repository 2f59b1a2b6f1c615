"""`Figure`: an Altair chart without data, drawn once for each panel of rows.

A panel holds the rows of one combination of values of some columns, for example of one problem,
size and batch. The chart reads rows called `rows`, and it reads the ends and ticks of its axes from
parameters, so that all panels of a figure have the same axes and can be compared by eye. `mssbench
plot` puts the panels of a figure into one file. The report draws them in a grid of its page.
"""

import json
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt

from mssbench.records.cell import WALL
from mssbench.report.figures.axes import Axis, ends, parameters
from mssbench.report.figures.style import Style

if TYPE_CHECKING:
    import pandas as pd

ROWS = "rows"  # name of the data that a panel draws
WIDTH, HEIGHT = 250, 180  # of a panel, in pixels: four beside each other fill a wide screen
STRIP = 9  # distance of a symbol above the frame from the frame, in pixels
RIGHT = 22  # distance of a symbol right of the frame: clear of the last label of the axis
# Pixels around the frame of a panel: for two lines of text below and beside it, and for symbols
# above it and to its right, of which the centres are RIGHT of the frame. In page.css the least
# width of a column of panels is that of a panel.
PADDING = {"left": 62, "top": 18, "right": RIGHT + 8, "bottom": 38}

# Key columns whose values are equal in all rows of a panel of any figure. The column `run` is added
# to them in every figure but the history, which compares runs.
CONDITIONS = ("function", "precision", "device", "phase", "clock", "cache")

# What plots and the report show first: a training step in single precision, as the caller waits
# for it. Each value counts only if some row has it.
USUAL = {"phase": "step", "precision": "float32", "clock": WALL, "function": "sqrt"}

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
