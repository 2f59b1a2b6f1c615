"""What the report and `mssbench plot` share is written once, and looks the same in both."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.altered_runs import QUICK

from mssbench import results
from mssbench.report import draw, page
from mssbench.report.drawn import drawn
from mssbench.report.figures import FIGURES
from mssbench.report.figures.figure import USUAL
from mssbench.report.figures.maps import COLOURS, LOOKS
from mssbench.report.figures.style import MOST_METHODS
from mssbench.report.html import asset, figure_page


@pytest.fixture(scope="module")
def data(quick: Path) -> dict[str, Any]:
    """What the scripts of the page read."""
    text = quick.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def values_of(part: Any, name: str) -> Iterator[Any]:
    """The values of a key anywhere in a specification."""
    if isinstance(part, dict):
        for key, value in part.items():
            if key == name:
                yield value
            yield from values_of(value, name)
    elif isinstance(part, list):
        for value in part:
            yield from values_of(value, name)


def test_page_and_plot_give_a_method_the_same_colour_and_shape(data: dict[str, Any]) -> None:
    run = results.open(QUICK)
    table = drawn([run])
    assert 2 < table["method"].nunique() <= MOST_METHODS
    front = next(figure for figure in data["figures"] if figure["name"] == "front")
    assert front["legend_column"] == "method"

    timed = FIGURES["front"].rows(table)
    plotted = draw.specification(FIGURES["front"], timed[timed["size"] == timed["size"].min()])
    (scale,) = {
        json.dumps(colour["scale"])
        for colour in values_of(plotted["concat"], "color")
        if isinstance(colour, dict) and "scale" in colour
    }
    names = [entry["name"] for entry in data["legends"]["method"]]
    colours = [entry["colour"] for entry in data["legends"]["method"]]
    domain, palette = json.loads(scale)["domain"], json.loads(scale)["range"]
    assert domain == [name for name in names if name in domain], "both are sorted by name"
    assert palette == colours[: len(palette)], "both take the colours in the same order"


def test_the_page_names_the_error_as_plot_does(data: dict[str, Any]) -> None:
    assert data["error_titles"]["step"] == "relative error of the gradient"
    assert data["error_titles"]["forward"] == "relative error of the root"
    for figure in data["figures"]:
        titles = [axis.get("title") for axis in figure["spec"]["axes"]]
        assert "relative error" not in titles
        assert figure["names_error"] == ({"signal": "error_title"} in titles), figure["name"]


def test_what_is_shown_first_and_the_colours_of_statuses_stand_in_python_alone(
    data: dict[str, Any], quick: Path
) -> None:
    assert data["usual"] == USUAL
    assert "float32" not in asset("filters.js")
    assert set(LOOKS.values()) == set(COLOURS)
    text = quick.read_text(encoding="utf-8")
    for look, (light, dark) in COLOURS.items():
        assert f".{look} {{ background: light-dark({light}, {dark}) }}" in text
        assert light not in asset("page.css") or look in ("absent", "unranked")


def test_a_page_with_one_figure_fits_a_phone() -> None:
    text = figure_page({"title": {"text": "Time"}})
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in text


def test_page_and_plot_show_the_same_rows_first(quick: Path) -> None:
    table = drawn([results.open(QUICK)])
    rows, _ = draw.usual_rows(FIGURES["front"], table)
    for name, value in USUAL.items():
        assert set(rows[name]) == {value}
    assert page.USUAL is draw.USUAL


@pytest.mark.slow
def test_each_panel_names_the_error_of_its_phase(quick: Path, opened: Callable[..., Any]) -> None:
    with opened(quick) as tab:
        for phase, quantity in (("step", "gradient"), ("forward", "root")):
            tab.choose(phase=phase)
            tab.snapshot()
            texts = tab.page.locator("#front svg text").all_text_contents()
            assert f"relative error of the {quantity}" in texts


@pytest.mark.slow
def test_names_of_methods_do_not_break_inside_words_on_a_phone(
    quick: Path, opened: Callable[..., Any]
) -> None:
    with opened(quick, viewport={"width": 390, "height": 844}) as tab:
        tab.snapshot()
        broken = tab.page.locator("#failures-map tbody th").evaluate_all(
            r"""all => all.flatMap((cell) => {
                 const text = cell.firstChild;
                 return [...text.data.matchAll(/\S+/g)].filter((word) => {
                   const range = document.createRange();
                   range.setStart(text, word.index);
                   range.setEnd(text, word.index + word[0].length);
                   return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;
                 }).map(String);
               })"""
        )
        assert broken == []
