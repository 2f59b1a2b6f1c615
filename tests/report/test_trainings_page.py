"""The section on trainings in a browser: figures, filters, narrow screens, print, hostile texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.altered_runs import QUICK
from helpers.planted_trainings import EXACT, MEAN, METHODS, NEWTON_SCHULZ, cells, plant, result
from report.test_trainings import hostile_run

from mssbench import results
from mssbench.report.page import page
from mssbench.report.trainings.reading import read

pytestmark = pytest.mark.slow  # each opens a page in a browser
DRAWN = "() => report.drawAll()"
PANELS = 2 * (2 + 1 + 9 + 3)  # of two learning rates: curves, differences, probes, robustness


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page on one run of trainings."""
    folder = tmp_path_factory.mktemp("alone")
    return written([plant(folder / "run")], folder / "page.html")


def written(folders: list[Path], file: Path, measured: "tuple[Path, ...]" = ()) -> Path:
    runs = [results.open(path) for path in measured]
    file.write_text(page(runs, "", [read(folder) for folder in folders]), encoding="utf-8")
    return file


def test_every_panel_is_drawn_and_described(alone: Path, opened: Callable[..., Any]) -> None:
    with opened(alone) as tab:
        tab.page.evaluate(DRAWN)
        charts = tab.page.locator(".panel svg")
        assert charts.count() == PANELS
        labels = charts.evaluate_all("all => all.map((svg) => svg.getAttribute('aria-label'))")
        assert all("of which the tables have the numbers" in label for label in labels)
        assert len(set(labels)) == PANELS
        # A symbol for each method and epoch, of which those that failed are hollow.
        first = tab.page.locator("#training-curves .panel").first
        marks = first.locator("svg .mark-symbol path")
        assert marks.count() == 4 * len(METHODS)
        unknown = tab.page.locator("svg text:text-matches('NaN|undefined|null')")
        assert unknown.count() == 0
        zero = tab.page.locator("#training-differences .panel").first.locator(
            ".mark-rule.role-mark line"
        )
        assert zero.count() == 1 + 2  # the line at 0, and the intervals of two methods


def test_a_filter_hides_the_other_groups(alone: Path, opened: Callable[..., Any]) -> None:
    with opened(alone) as tab:
        rows = tab.page.locator("#training-rows tbody tr:visible")
        assert rows.count() == 40
        tab.page.select_option("#training-filter-learningRate", "0.05")
        assert rows.count() == 20
        titles = tab.page.locator(".place:visible").all_inner_texts()
        assert set(titles) == {"tex12, learning rate 0.05"}
        assert tab.page.locator("#training-filters output").inner_text() == "20 of 40 trainings"
        assert tab.page.locator("#training-rates .rates:visible").count() == 1
        tab.page.select_option("#training-filter-learningRate", "")
        assert rows.count() == 40


def test_a_filter_of_the_task_chooses_among_the_tables_of_learning_rates(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    runs = {c: result(c) for c in cells([EXACT, MEAN], tasks=["tex12", "digits"])}
    with opened(written([plant(tmp_path / "run", runs)], tmp_path / "page.html")) as tab:
        titles = tab.page.locator("#training-rates h3:visible")
        assert titles.all_inner_texts() == ["tex12", "digits"]
        tab.page.select_option("#training-filter-task", "digits")
        assert titles.all_inner_texts() == ["digits"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.exhaustive
def test_a_narrow_screen_scrolls_in_one_direction(
    alone: Path, opened: Callable[..., Any], scheme: str
) -> None:
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    with opened(alone, **options) as tab:
        tab.page.evaluate(DRAWN)
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 390
        for svg in tab.page.locator("#training-differences svg").all():
            box = svg.bounding_box()
            assert box["x"] + box["width"] <= 390


@pytest.mark.exhaustive
def test_the_keyboard_reaches_filters_and_tables(alone: Path, opened: Callable[..., Any]) -> None:
    with opened(alone) as tab:
        reached = set()
        for _ in range(30):
            tab.page.keyboard.press("Tab")
            reached.add(
                tab.page.evaluate(
                    "document.activeElement.id || document.activeElement.getAttribute('aria-label')"
                )
            )
        assert "training-filter-learningRate" in reached
        assert "All trainings" in reached


@pytest.mark.exhaustive
def test_a_print_has_every_panel(alone: Path, opened: Callable[..., Any]) -> None:
    with opened(alone) as tab:
        tab.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        tab.page.evaluate("report.complete()")
        assert tab.page.locator(".panel svg").count() == PANELS
        assert len(tab.page.pdf()) > 10_000


@pytest.mark.exhaustive
def test_without_scripts_the_tables_are_there(alone: Path, opened: Callable[..., Any]) -> None:
    with opened(alone, java_script_enabled=False) as tab:
        assert tab.page.locator("#training-rows tbody tr:visible").count() == 40
        assert "need JavaScript" in tab.page.locator("noscript").inner_text()


def test_beside_a_run_both_have_their_filters(tmp_path: Path, opened: Callable[..., Any]) -> None:
    runs = {c: result(c) for c in cells([EXACT, MEAN, NEWTON_SCHULZ])}
    file = written([plant(tmp_path / "run", runs)], tmp_path / "page.html", (QUICK,))
    with opened(file) as tab:
        drawn = tab.snapshot()
        assert "<svg" in drawn["front"]
        assert tab.page.locator(".training-figure .panel svg").count() == PANELS
        tab.page.click("#contents >> text=Trainings")
        assert tab.page.locator("#trainings-title").is_visible()
        # The filters of the other runs do not stay above the trainings.
        tab.page.locator("#training-failures").scroll_into_view_if_needed()
        box = tab.page.locator("#filters").bounding_box()
        assert box["y"] + box["height"] <= 0


def test_hostile_texts_run_nothing(tmp_path: Path, opened: Callable[..., Any]) -> None:
    file = written([hostile_run(tmp_path)], tmp_path / "page.html")
    with opened(file) as tab:
        tab.page.evaluate(DRAWN)
        assert tab.page.evaluate("typeof pwned") == "undefined"
        for element in ("img", "b", "object", "iframe", "link", "svg[onload]"):
            assert tab.page.locator(element).count() == 0, element
        assert tab.page.locator("script").count() == 3
        assert (
            "</script><script>pwned=2</script>"
            in tab.page.locator("#training-failures").inner_text()
        )
