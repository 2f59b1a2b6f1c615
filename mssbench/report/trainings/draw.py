"""Put a figure of trainings into one file, as a Vega-Lite specification with its data."""

import json
from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from mssbench.errors import TableError, unknown
from mssbench.report.draw import MOST_PANELS
from mssbench.report.figures.figure import WIDTH
from mssbench.report.figures.style import Look, Style
from mssbench.report.trainings import figures
from mssbench.report.trainings.figures import FIGURES, TrainingFigure
from mssbench.report.trainings.points import NUMBERS, WORDS, points
from mssbench.report.trainings.quantities import QUANTITIES
from mssbench.report.trainings.reading import Shown, TrainingRun, about, shown
from mssbench.report.trainings.sentences import cautions

if TYPE_CHECKING:
    import pandas as pd

_CHARACTER = 5.6  # average width of a character of a title, in pixels
_ENTRIES = 16  # entries of the legend below each other


def figures_named(names: Sequence[str]) -> list[TrainingFigure]:
    """Return figures by their names, or all for the name `all`, each once.

    Raises TableError for an unknown name, or if there is none.
    """
    if list(names) == ["all"]:
        return list(FIGURES.values())
    if not names:
        raise TableError(f"--figure is empty: name one of {', '.join(FIGURES)}, or all.")
    for name in names:
        if name not in FIGURES:
            raise TableError(f"--figure: {unknown('figure', name, [*FIGURES, 'all'])}")
    return [FIGURES[name] for name in dict.fromkeys(names)]


def specifications(
    runs: Mapping[str, TrainingRun], wanted: Sequence[TrainingFigure]
) -> list[tuple[TrainingFigure, dict[str, Any] | TableError]]:
    """Return each figure as a Vega-Lite specification with its data, or why it cannot be drawn.

    runs: by name.
    """
    of_runs = shown(runs)
    every = points(of_runs)
    remarks = [f"Warning: {sentence}" for sentence in cautions(of_runs, times=False)]
    found: list[tuple[TrainingFigure, dict[str, Any] | TableError]] = []
    for figure in wanted:
        try:
            found.append((figure, _specification(figure, of_runs, every, remarks)))
        except TableError as error:
            found.append((figure, error))
    return found


def _specification(
    figure: TrainingFigure, of_runs: Shown, every: "pd.DataFrame", remarks: Sequence[str]
) -> dict[str, Any]:
    rows = figure.rows(every)
    panels = [
        (int(place), str(quantity), part)
        for (place, quantity), part in rows.groupby(["place", "quantity"], sort=False)
    ]
    if not panels:
        raise TableError(
            f"there is nothing to draw in the figure {figure.name!r}: it needs {figure.required}."
        )
    if len(panels) > MOST_PANELS:
        raise TableError(
            f"the figure {figure.name!r} would have {len(panels)} panels, and more than "
            f"{MOST_PANELS} cannot be read. Choose fewer trainings with --where, for example "
            f'"{_narrower(of_runs)}".'
        )

    look = Look()
    style = Style(
        # A method has the same colour in every figure of these runs.
        {"method": tuple(sorted(every["method"].unique()))},
        look,
        legend=True,
        by="method",
        below=_ENTRIES,
    )
    of_panels = [(QUANTITIES[part["chart"].iloc[0]], part) for _, _, part in panels]
    values = figures.settings(of_panels)
    several = len(of_runs.places) > 1
    concat, parameters = [], {}
    for i, ((place, title, _), (quantity, _)) in enumerate(zip(panels, of_panels, strict=True)):
        chart = json.loads(figures.chart(quantity, style, quantity.name).to_json(validate=False))
        for parameter in chart.pop("params", []):
            parameters[parameter["name"]] = values[parameter["name"]]
        for name in ("$schema", "config", "data"):
            chart.pop(name, None)
        words = [title, *([of_runs.places[place].title] if several else [])]
        lines = [line for word in words for line in wrap(word, int(WIDTH / _CHARACTER))]
        concat.append(chart | {"title": lines, "data": {"name": f"rows{i}"}})

    columns = min(figure.columns, len(panels))
    width = int(max(columns, 2) * (WIDTH + 60) / _CHARACTER)
    alike = "" if several else about(of_runs.places[0].group)
    sentences = [*remarks, *([alike] if alike else []), figure.reading]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": figure.title,
            "subtitle": [line for sentence in sentences for line in wrap(sentence, width)],
            "anchor": "start",
            "offset": 14,
            "fontSize": 14,
        },
        "params": [{"name": name, "value": value} for name, value in parameters.items()],
        "concat": concat,
        "columns": columns,
        "datasets": {f"rows{i}": _records(rows) for i, (_, rows) in enumerate(of_panels)},
        "config": look.config | {"background": look.ground},
    }


def _records(rows: "pd.DataFrame") -> list[dict[str, Any]]:
    """Return the rows of a panel for JSON, in which a missing number is None."""
    plain = rows[[*NUMBERS, *WORDS]].astype(object)
    records: list[dict[str, Any]] = plain.where(plain.notna(), None).to_dict("records")
    return records


def _narrower(of_runs: Shown) -> str:
    """Return an example of a condition that chooses fewer trainings."""
    group = of_runs.places[0].group
    return f"task == {group.task!r} and learning_rate == {group.learning_rate:g}"
