"""Write a figure of a run to a file: PNG, SVG, PDF or HTML. No browser is needed."""

import json
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mssbench.errors import RunError, TableError, unknown
from mssbench.records import units
from mssbench.records.cell import GPU
from mssbench.report.figures import FIGURES
from mssbench.report.figures.axes import CONDITION, ERROR, error_title
from mssbench.report.figures.figure import (
    DRAWN,
    HEIGHT,
    RIGHT,
    STRIP,
    USUAL,
    WIDTH,
    Figure,
    without_error,
)
from mssbench.report.figures.style import Look, Style, style_of
from mssbench.results.labels import spoken
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

_OF_MAPS = ("matrices", "hardness", "fastest")  # further columns, which the two maps read
FORMATS = ("png", "svg", "pdf", "html")
# Pixels of a PNG per pixel of the figure, so that it is sharp on paper and on dense screens.
_SCALE = 2
_COLUMNS = 3  # panels beside each other: they fit the width of a page
_MOST_COLUMNS = 4  # of panels, if each row is to have all panels of one problem
# Panels of one file. With more, none can be read, and a PNG exceeds what viewers open.
MOST_PANELS = 36
_TITLE_LINE = 14  # height of a line in the title of a panel, in pixels
_CHARACTER = 5.6  # average width of a character of such a title and of a subtitle, in pixels
_BESIDE, _BELOW = 62, 26  # space for the labels and titles of the axes, in pixels
_LEGEND = 120  # least width of a legend or of names beside a map, for estimates
_ENTRIES = 16  # entries of a legend beside each row of panels
_NARROWEST = 60  # characters of a line below the title, however narrow the figure is
# The order in which a subtitle names the values that all panels of a figure share.
_ORDER = ("phase", "function", "precision", "problem", "size", "batch", "device", "clock", "cache")


def figures_named(names: Sequence[str]) -> list[Figure]:
    """Return figures by their names, or all for the name `all`, each once.

    Raises TableError, which suggests the nearest name, for an unknown one, or if there is none.
    """
    if list(names) == ["all"]:
        return list(FIGURES.values())
    if not names:
        raise TableError(f"--figure is empty: name one of {', '.join(FIGURES)}, or all.")
    for name in names:
        if name not in FIGURES:
            raise TableError(f"--figure: {unknown('figure', name, [*FIGURES, 'all'])}")
    return [FIGURES[name] for name in dict.fromkeys(names)]


def figure_named(name: str) -> Figure:
    """Return a figure by its name. Raises TableError, which suggests the nearest, for another."""
    if name not in FIGURES:
        raise TableError(unknown("figure", name, FIGURES))
    return FIGURES[name]


def usual_rows(figure: Figure, table: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """Return the rows that a figure shows by default, and the values that chose them, as words.

    Of several batches, figures that have a panel for each batch show one.
    """
    words = []
    for name, value in USUAL.items():
        if (chosen := table[name] == value).any() and not chosen.all():
            table = table[chosen]
            words.append(spoken(name, value))

    if "batch" in figure.panel and (batch := _usual_batch(figure, table)) is not None:
        table = table[table["batch"] == batch]
        words.append(spoken("batch", batch))
    return table, words


def _usual_batch(figure: Figure, table: "pd.DataFrame") -> int | None:
    """Return the batch that a figure shows by default; None if it shows all.

    That is the batch with the most values of what varies in a panel, such as problems, and of
    several the largest one. Only batches are chosen that were measured at every size, so that no
    size is lost with the others.
    """
    sizes = set(table["size"])
    complete = [
        (part[figure.varies].nunique() if figure.varies else 0, int(batch))
        for batch, part in figure.rows(table).groupby("batch")
        if set(part["size"]) == sizes
    ]
    if table["batch"].nunique() < 2 or not complete:
        return None
    return max(complete)[1]


def specification(
    figure: Figure,
    table: "pd.DataFrame",
    remarks: Sequence[str] = (),
    option: str = "--where",
) -> dict[str, Any]:
    """Return a figure of a table with all its panels, as a Vega-Lite specification with its data.

    table: the rows, see drawn.py. remarks: sentences for the lines below the title, such as a
    warning. option: the name of the user's condition on the rows, for a message. Raises TableError
    if there is no panel to draw, or if there are more than can be read.
    """
    import pandas as pd

    panels = figure.panels(table)
    if not panels:
        raise TableError(_nothing(figure))
    if len(panels) > MOST_PANELS:
        raise TableError(
            f"the figure {figure.name!r} would have {len(panels)} panels, and more than "
            f"{MOST_PANELS} cannot be read. Choose fewer rows with {option}, for example "
            f'"{_narrower(figure, figure.rows(table))}".'
        )

    keys, drawn = [key for key, _ in panels], [rows for _, rows in panels]
    together = pd.concat(drawn)
    varying = [k for k in figure.panel if len({str(key[k]) for key in keys}) > 1]
    titles = [_title(key, rows, varying) for key, rows in panels]
    columns = 1 if figure.y is None else _columns(keys, varying)

    look = Look()
    style = style_of(together, look, legend=True)
    style = style._replace(
        # A legend has no more than what the panels draw. If there is one limit, a note names it.
        legend=figure.legend != "bound" or len(together["bound"].unique()) > 1,
        below=_ENTRIES * ceil(len(panels) / columns),
    )
    chart, parameters = _panel(figure, together, drawn, style)

    above = any(_has_strip(figure, rows) for rows in drawn)
    concat = [
        _placed(chart, i, columns, len(panels)) | {"title": titles[i], "data": {"name": f"rows{i}"}}
        for i in range(len(panels))
    ]
    layout = {} if figure.y is None else _aligned(figure, titles, above=above)
    subtitle = [
        _shared(keys[0], drawn[0], varying),
        *_lines([*remarks, figure.explained(together)], _width(figure, together, columns)),
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": figure.title,
            "subtitle": subtitle,
            "anchor": "start",
            "offset": 14,
            "fontSize": 14,
        },
        "params": parameters,
        "concat": concat,
        "columns": columns,
        **layout,
        "datasets": {f"rows{i}": records(rows) for i, rows in enumerate(drawn)},
        "config": look.config | {"background": look.ground},
    }


def _panel(
    figure: Figure, together: "pd.DataFrame", drawn: "Sequence[pd.DataFrame]", style: Style
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the chart of a panel in Vega-Lite without data, and the parameters of all panels.

    together: the rows of all panels. drawn: those of each panel.
    """
    plain = json.loads(figure.chart(style).to_json(validate=False))
    settings = figure.settings(drawn)
    parameters = [
        {"name": p["name"], "value": settings.get(p["name"], p["value"])}
        for p in plain.pop("params", [])
    ]
    for name in ("$schema", "config", "data"):
        plain.pop(name, None)
    if figure.y is ERROR:
        for layer in plain["layer"]:
            if axis := layer["encoding"].get("y", {}).get("axis"):
                axis["title"] = error_title(together["phase"].unique())
        plain["layer"] += _labels_outside(figure, together, style.look)
    return plain, parameters


def _labels_outside(figure: Figure, rows: "pd.DataFrame", look: Look) -> Iterator[dict[str, Any]]:
    """Yield layers with the labels of the places outside the frame, if they have symbols."""
    places = []
    if without_error(rows).any():
        places.append(("nan", -6, -STRIP, "right"))
    if figure.x is CONDITION and not (rows["condition"] > 0).all():
        places.append(("∞", WIDTH + RIGHT, HEIGHT + 12, "center"))
    for text, x, y, align in places:
        mark = {"type": "text", "text": text, "align": align, "fontSize": 10, "color": look.ink}
        yield {
            "data": {"values": [{}]},
            "mark": mark,
            "encoding": {"x": {"value": x}, "y": {"value": y}},
        }


def _has_strip(figure: Figure, rows: "pd.DataFrame") -> bool:
    """Whether a panel has symbols above its frame."""
    return figure.y is ERROR and bool(without_error(rows).any())


def _columns(keys: "Sequence[dict[str, Any]]", varying: Sequence[str]) -> int:
    """Return how many panels stand beside each other.

    If the panels differ in several columns, each row has the panels of one value of the first of
    them (or of the first two, and so on), provided that all these rows are equal and fit the page.
    """
    if len(keys) <= _COLUMNS:
        return len(keys)

    for count in range(1, len(varying)):
        rows: dict[str, list[str]] = {}
        for key in keys:
            first, rest = (
                str([key[k] for k in varying[:count]]),
                str([key[k] for k in varying[count:]]),
            )
            rows.setdefault(first, []).append(rest)
        length = len(next(iter(rows.values())))
        if len({str(row) for row in rows.values()}) == 1 and 1 < length <= _MOST_COLUMNS:
            return length
    return 2 if len(keys) == _MOST_COLUMNS else _COLUMNS


def _placed(chart: dict[str, Any], number: int, columns: int, panels: int) -> dict[str, Any]:
    """Return the chart of a panel at its place: only the outer panels have titles of axes."""
    hidden = {
        "y": number % columns > 0,
        "x": number + columns < panels,
    }
    copy: dict[str, Any] = json.loads(json.dumps(chart))
    for layer in copy["layer"]:
        for letter, hide in hidden.items():
            axis = layer["encoding"].get(letter, {}).get("axis")
            if hide and axis:
                axis["title"] = None
    return copy


def _aligned(figure: Figure, titles: Sequence[Sequence[str]], *, above: bool) -> dict[str, Any]:
    """Return a layout in which the frames of panels are aligned, whatever stands beside them.

    above: whether there are symbols above the frames.
    """
    row = _BELOW + figure.below + _TITLE_LINE * (1 + max(map(len, titles)))
    row += 2 * STRIP if above else 0
    return {"bounds": "flush", "spacing": {"row": row, "column": _BESIDE}}


def _title(key: dict[str, Any], rows: "pd.DataFrame", varying: Sequence[str]) -> list[str]:
    """Return the lines that distinguish a panel from the others: `κ 42 · wishart`, `n = 64`."""
    most = int(WIDTH / _CHARACTER)
    words = ", ".join(_word(name, key[name], rows) for name in varying if name != "problem")
    matrices = wrap(_word("problem", "", rows), most) if "problem" in varying else []
    return [*matrices, *wrap(words, most)]


def _word(name: str, value: Any, rows: "pd.DataFrame") -> str:
    """Return a value of a column of `Figure.panel`. rows: those of one panel."""
    return str(rows["matrices"].iloc[0]) if name == "problem" else spoken(name, value)


def _shared(key: dict[str, Any], rows: "pd.DataFrame", varying: Sequence[str]) -> str:
    """Return what all panels have in common, as a line below the title: `step · sqrt · float32`."""
    words = {name: x for name, x in key.items() if name not in varying and x}
    if words.get("clock") != GPU:
        words.pop("cache", None)  # the cache is flushed for the clock of a GPU alone
    order = [*(n for n in _ORDER if n in words), *(n for n in words if n not in _ORDER)]
    return " · ".join(_word(name, words[name], rows) for name in order)


def _width(figure: Figure, rows: "pd.DataFrame", columns: int) -> int:
    """Return about how wide a figure is, in pixels. columns: its panels beside each other."""
    if figure.across:
        return _LEGEND + figure.step * len(rows.drop_duplicates(list(figure.across)))
    return _LEGEND + columns * (WIDTH + _BESIDE)


def _lines(sentences: Sequence[str], width: int) -> Iterator[str]:
    """Yield sentences as lines that are no wider than the figure, whose width is in pixels."""
    most = max(_NARROWEST, int(width / _CHARACTER))
    for sentence in sentences:
        yield from wrap(sentence, most)


def _nothing(figure: Figure) -> str:
    """Return why a figure has no panel."""
    return f"there is nothing to draw in the figure {figure.name!r}: it needs {figure.required}."


def _narrower(figure: Figure, table: "pd.DataFrame") -> str:
    """Return an example of a condition that leaves a figure few enough panels.

    It has the usual value of each column that varies, or else its first value.
    """
    rows, words = table, []
    for name in (*USUAL, *(n for n in figure.panel if n not in USUAL and n != "run")):
        if len(rows.drop_duplicates(list(figure.panel))) <= MOST_PANELS:
            break
        if len(values := rows[name].unique()) > 1:
            value = USUAL[name] if USUAL.get(name) in values else values[0]
            rows = rows[rows[name] == value]
            words.append(f"{name} == {value!r}" if isinstance(value, str) else f"{name} == {value}")
    return " and ".join(words)


def records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return what a figure draws of each row: numbers, names, and texts for its tooltip."""
    columns = (*DRAWN, *_OF_MAPS)
    plain = Rows(rows[list(columns)])
    return [
        {
            **{name: _finite(row[name]) for name in columns},
            "time_text": _with_interval(row),
            "error_text": units.error(row["error"]),
        }
        for row in plain
    ]


def _finite(value: Any) -> Any:
    """Return a value for JSON: None for a number that is infinite or NaN."""
    if isinstance(value, float) and not abs(value) < float("inf"):
        return None
    return value


def _with_interval(row: Any) -> str:
    """Return a time with its interval: `3.93 ms (3.90 ms to 3.97 ms)`."""
    time = units.seconds(row["seconds_median"])
    if row["seconds_low"] is None:
        return time
    low, high = units.seconds(row["seconds_low"]), units.seconds(row["seconds_high"])
    return f"{time} ({low} to {high})"


def format_of(file: Path) -> str:
    """Return the format that the end of a file's name means. Raises RunError for another one."""
    suffix = file.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        ends = ", ".join(f".{name}" for name in FORMATS)
        raise RunError(f"{file}: the name of a figure's file must end in one of {ends}.")
    return suffix


def rendered(spec: dict[str, Any], kind: str) -> bytes:
    """Return a figure as the content of a file. kind: one of FORMATS."""
    import vl_convert

    from mssbench.report.html import figure_page

    writers: dict[str, Callable[[], bytes]] = {
        "png": lambda: bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE)),
        "svg": lambda: str(vl_convert.vegalite_to_svg(spec)).encode(),
        "pdf": lambda: bytes(vl_convert.vegalite_to_pdf(spec)),
        "html": lambda: figure_page(spec).encode(),
    }
    return writers[kind]()
