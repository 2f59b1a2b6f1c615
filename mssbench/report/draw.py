"""Write a figure of a run to a file: PNG, SVG, PDF or HTML. No browser is needed."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mssbench import units
from mssbench.errors import RunError, TableError, unknown
from mssbench.records.cell import GPU, WALL
from mssbench.report.figures import FIGURES
from mssbench.report.figures.figure import DRAWN, Figure, Look, style_of
from mssbench.results.labels import spoken
from mssbench.results.views import Rows

if TYPE_CHECKING:
    import pandas as pd

_OF_MAPS = ("matrices", "hardness", "fastest")  # further columns, which the two maps read
FORMATS = ("png", "svg", "pdf", "html")
_SCALE = (
    2  # pixels of a PNG per pixel of the figure, so that it is sharp on paper and dense screens
)
_COLUMNS = 3  # panels beside each other: they fit the width of a page
# Panels of one file. With more, none can be read, and a PNG exceeds what viewers open.
MOST_PANELS = 36
# Frames of panels are aligned, whatever stands beside them: labels, and symbols above the frame.
_ALIGNED = {"bounds": "flush", "spacing": {"row": 82, "column": 78}}
_WHITE = {"background": "white"}
# What a figure shows unless the user chooses rows: a training step in single precision, as the
# caller waits for it. Each value counts only if some row has it.
_USUAL = {"phase": "step", "precision": "float32", "clock": WALL, "function": "sqrt"}


def figures_named(names: Sequence[str]) -> list[Figure]:
    """Return figures by their names, or all for the name `all`, each once.

    Raises TableError, which suggests the nearest name, for an unknown one.
    """
    if list(names) == ["all"]:
        return list(FIGURES.values())
    for name in names:
        if name not in FIGURES:
            raise TableError(f"--figure: {unknown('figure', name, [*FIGURES, 'all'])}")
    return [FIGURES[name] for name in dict.fromkeys(names)]


def usual_rows(figure: Figure, table: "pd.DataFrame") -> "tuple[pd.DataFrame, list[str]]":
    """Return the rows that a figure shows by default, and the values that chose them, as words.

    Of several batches, those figures show the largest that have a panel for each batch.
    """
    words = []
    for name, value in _USUAL.items():
        if (chosen := table[name] == value).any() and not chosen.all():
            table = table[chosen]
            words.append(spoken(name, value))

    largest = table["batch"].max()
    if (
        "batch" in figure.panel
        and len(table["batch"].unique()) > 1
        and _has_all_sizes(table, largest)
    ):
        table = table[table["batch"] == largest]
        words.append(spoken("batch", largest))
    return table, words


def _has_all_sizes(table: "pd.DataFrame", batch: int) -> bool:
    """Whether the rows of one batch have every size, so that no size is lost with the others."""
    of_batch = table.loc[table["batch"] == batch, "size"]
    return set(of_batch) == set(table["size"])


def specification(figure: Figure, table: "pd.DataFrame") -> dict[str, Any]:
    """Return a figure of a table with all its panels, as a Vega-Lite specification with its data.

    table: the rows, see drawn.py. Raises TableError if there is no panel to draw, or if there are
    more than can be read.
    """
    import pandas as pd

    panels = figure.panels(table)
    if not panels:
        raise TableError(_nothing(figure))
    if len(panels) > MOST_PANELS:
        raise TableError(
            f"the figure {figure.name!r} would have {len(panels)} panels, and more than "
            f"{MOST_PANELS} cannot be read. Choose fewer rows with --where, for example "
            f"{_narrower(figure, table)}."
        )

    look = Look()
    drawn = [rows for _, rows in panels]
    # The file has no more in its legend than its panels draw.
    chart = figure.chart(style_of(pd.concat(drawn), look, legend=True))
    plain = json.loads(chart.to_json(validate=False))
    settings = figure.settings(drawn)
    parameters = [
        {"name": p["name"], "value": settings.get(p["name"], p["value"])}
        for p in plain.pop("params", [])
    ]
    for name in ("$schema", "config", "data"):
        plain.pop(name, None)

    varying = [k for k in figure.panel if len({str(key[k]) for key, _ in panels}) > 1]
    concat = [
        plain | {"title": _title(key, rows, varying), "data": {"name": f"rows{i}"}}
        for i, (key, rows) in enumerate(panels)
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": figure.title,
            "subtitle": _shared(panels[0][0], varying),
            "anchor": "start",
        },
        "params": parameters,
        "concat": concat,
        "columns": 1 if figure.y is None else _COLUMNS,
        **({} if figure.y is None else _ALIGNED),
        "datasets": {f"rows{i}": records(rows) for i, (_, rows) in enumerate(panels)},
        "config": look.config | _WHITE,
    }


def _title(key: dict[str, Any], rows: "pd.DataFrame", varying: Sequence[str]) -> str:
    """Return what distinguishes a panel from the others: `κ 42 · wishart, n = 64`."""
    words = [
        str(rows["matrices"].iloc[0]) if name == "problem" else spoken(name, key[name])
        for name in varying
    ]
    return ", ".join(words)


def _shared(key: dict[str, Any], varying: Sequence[str]) -> str:
    """Return what all panels of a figure have in common, as a line below its title."""
    words = {name: x for name, x in key.items() if name not in varying and x}
    if words.get("clock") != GPU:
        words.pop("cache", None)  # the cache is flushed for the clock of a GPU alone
    return ", ".join(spoken(name, x) for name, x in words.items())


def _nothing(figure: Figure) -> str:
    """Return why a figure has no panel."""
    needed = f" with {' and '.join(figure.needs)}" if figure.needs else ""
    varied = f" that differ in {figure.varies} alone" if figure.varies else ""
    return f"there is nothing to draw in the figure {figure.name!r}: it needs rows{needed}{varied}."


def _narrower(figure: Figure, table: "pd.DataFrame") -> str:
    """Return an example of a condition on the column that has the most values among the panels."""
    name = max(figure.panel, key=lambda column: table[column].nunique())
    value = table[name].iloc[0]
    return f"{name} == {value!r}" if isinstance(value, str) else f"{name} == {value}"


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

    if kind == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=_SCALE))
    writers: dict[str, Callable[[], bytes]] = {
        "svg": lambda: str(vl_convert.vegalite_to_svg(spec)).encode(),
        "pdf": lambda: bytes(vl_convert.vegalite_to_pdf(spec)),
        "html": lambda: figure_page(spec).encode(),
    }
    return writers[kind]()
