"""Filters act on every part of the page, and the page shows what a fresh page would show."""

import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
import pytest
from helpers.altered_runs import QUICK, STANDARD, altered, dated, faster
from helpers.report_pages import Tab, write_page

from mssbench import results
from mssbench.report.drawn import drawn

FIGURES = ("front", "limit", "size", "batch", "condition", "iterations")


def left_by(table: pd.DataFrame, filters: dict[str, str]) -> pd.DataFrame:
    """The rows of a table that filters leave."""
    for name, value in filters.items():
        if value:
            table = table[table[name].astype(str) == value]
    return table


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """The rows of the page `both`."""
    return drawn([results.open(QUICK), results.open(STANDARD)])


def test_the_first_view_is_a_training_step_in_single_precision(
    both: Path, opened: Callable[..., Any]
) -> None:
    with opened(both) as tab:
        assert tab.filters() == {
            "run": "cpu-2core-standard",
            "phase": "step",
            "function": "sqrt",
            "precision": "float32",
            "size": "",
            "batch": "256",
            "problem": "",
            "kind": "",
        }


@pytest.mark.slow
def test_the_largest_batch_is_no_filter_where_it_leaves_out_a_size(
    quick: Path, opened: Callable[..., Any]
) -> None:
    """In quick, matrices of size 256 are in a batch of 4, and those of size 64 in one of 64."""
    with opened(quick) as tab:
        assert tab.filters()["batch"] == ""
        assert {row["size"] for row in tab.rows()} == {"64", "256"}


@pytest.mark.exhaustive
def test_no_first_view_is_empty(tmp_path: Path, opened: Callable[..., Any]) -> None:
    """Steps are in double precision here, and forwards in single: both are usual alone."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        step = frame["phase"] == "step"
        return frame.assign(precision=frame["precision"].mask(step, "float64"))

    page = write_page([altered(QUICK, tmp_path / "run", change)], tmp_path / "page.html")
    with opened(page) as tab:
        assert tab.rows()
        assert (tab.filters()["phase"], tab.filters()["precision"]) == ("step", "float64")


CHANGES = {
    "run": "cpu-2core-quick",
    "phase": "forward",
    "precision": "float64",
    "size": "16",
    "batch": "16",
    "kind": "easy",
    "problem": "logspec(condition=1e6)",
}


@pytest.mark.slow
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CHANGES)
def test_each_filter_changes_marks_maps_table_and_counts(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame, name: str
) -> None:
    with opened(both) as tab:
        before = tab.snapshot()
        tab.choose(**{name: CHANGES[name]})
        after = tab.snapshot()
        parts = ("front", "failures", "winners", "table", "count")
        assert [part for part in parts if after[part] == before[part]] == []
        rows = left_by(table, tab.filters())
        assert after["count"] == f"{len(rows)} of {len(table)} rows"
        assert after["found"] == f"{len(rows)} rows"
        tab.page.click("#reset")
        assert tab.snapshot() == before


@pytest.mark.exhaustive
def test_figures_draw_the_rows_that_the_filters_leave(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame
) -> None:
    """The number of symbols of each panel, counted in pandas."""
    with opened(both) as tab:
        tab.choose(size="64", batch="")
        tab.snapshot()
        rows = left_by(table, tab.filters())
        timed = rows[rows["seconds_median"] > 0]
        wanted = timed.groupby(["hardness", "batch"]).size().tolist()
        counted = tab.page.locator("#front .plot").evaluate_all(
            """all => all.map((plot) => new Set([...plot.querySelectorAll('.mark-symbol path')].map(
                 (path) => path.getAttribute('transform'))).size)"""
        )
        assert counted == wanted
        labels = tab.page.locator("#front .plot svg").evaluate_all(
            "all => all.map((svg) => svg.getAttribute('aria-label'))"
        )
        for label, number in zip(labels, wanted, strict=True):
            assert f"{number} row" in label


@pytest.mark.slow
def test_a_filter_that_changes_neither_axes_nor_headings_changes_the_marks(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    """Two devices with equal times and errors, of which the second lacks a method."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        other = frame[frame["forward"] != "svd"].assign(device="tpu")
        return pd.concat([frame, other], ignore_index=True)

    page = write_page([altered(QUICK, tmp_path / "run", change)], tmp_path / "page.html")
    marks = "all => all.map((svg) => svg.querySelectorAll('.mark-symbol path').length)"
    with opened(page) as tab:
        tab.choose(device="cpu")
        before = tab.snapshot()
        counts = tab.page.locator("#front .plot svg").evaluate_all(marks)
        tab.choose(device="tpu")
        assert tab.snapshot()["front"] != before["front"]
        fewer = tab.page.locator("#front .plot svg").evaluate_all(marks)
        assert len(fewer) == len(counts)
        assert sum(fewer) < sum(counts)
        tab.choose(device="cpu")
        assert tab.snapshot() == before


def _walk(tab: Tab, steps: int, seed: int) -> None:
    """Choose values of filters at random, one after the other, without waiting in between."""
    chance = random.Random(seed)
    names = list(tab.filters())
    for step in range(steps):
        name = chance.choice(names)
        value = chance.choice(tab.options(name))
        tab.page.select_option(f"#filter-{name}", value)
        if step % 3 == 2:  # some panels are drawn on the way, and must not be left behind
            tab.page.evaluate("report.drawAll()")
    tab.settle()


@pytest.mark.slow
@pytest.mark.sampled(slow=4)
@pytest.mark.parametrize("seed", range(6))
def test_after_any_sequence_of_filters_the_page_is_as_a_fresh_one(
    both: Path, opened: Callable[..., Any], seed: int
) -> None:
    with opened(both) as tab:
        _walk(tab, 8, seed)
        if not tab.page.evaluate("report.chosen().length"):
            tab.choose(problem="", kind="")
        address = "#" + tab.page.url.partition("#")[2]
        seen = tab.snapshot()
        with opened(both, address) as fresh:
            assert fresh.filters() == tab.filters()
            assert fresh.snapshot() == seen


@pytest.mark.exhaustive
def test_more_panels_are_shown_on_demand_and_forgotten_by_the_next_filter(
    both: Path, opened: Callable[..., Any]
) -> None:
    panels = "#front .panel"
    with opened(both) as tab:
        tab.choose(batch="", size="", precision="", phase="")
        assert tab.page.locator(panels).count() == 24
        tab.page.locator("#front > button").click()
        tab.settle()
        assert tab.page.locator(panels).count() == 48
        tab.choose(precision="float32")
        assert tab.page.locator(panels).count() == 24


@pytest.mark.exhaustive
def test_an_address_with_unknown_values_shows_the_first_view(
    both: Path, opened: Callable[..., Any]
) -> None:
    with opened(both) as tab:
        first = tab.filters()
    with opened(both, f"#phase=never&size=17&nothing=1&run={quote('<b>')}") as tab:
        assert tab.filters() == first


@pytest.mark.slow
def test_a_new_address_in_the_same_tab_sets_the_filters(
    both: Path, opened: Callable[..., Any]
) -> None:
    with opened(both) as tab:
        tab.page.evaluate("location.hash = '#phase=forward&batch='")
        tab.page.wait_for_selector("#count:not(:has-text('310 of'))")
        tab.settle()
        assert tab.filters()["phase"] == "forward"
        assert {row["phase"] for row in tab.rows()} == {"forward"}
        # An anchor is no address of filters.
        tab.page.evaluate("location.hash = '#failures'")
        tab.page.wait_for_timeout(100)
        assert tab.filters()["phase"] == "forward"


@pytest.mark.exhaustive
def test_the_page_works_where_the_browser_refuses_to_change_the_address(
    both: Path, opened: Callable[..., Any]
) -> None:
    """Browsers do so after a hundred changes in half a minute, and throw an error."""
    with opened(both) as tab:
        tab.page.evaluate(
            "() => { history.replaceState = () => { throw new DOMException('too often'); }; }"
        )
        tab.choose(phase="forward")
        assert {row["phase"] for row in tab.rows()} == {"forward"}


@pytest.mark.exhaustive
def test_the_history_has_the_rows_of_all_runs(tmp_path: Path, opened: Callable[..., Any]) -> None:
    runs = [
        altered(
            QUICK, tmp_path / f"run{i}", partial(faster, factor=1 + i), dated(f"2026-0{i + 1}-01")
        )
        for i in range(3)
    ]
    with opened(write_page(runs, tmp_path / "page.html")) as tab:
        assert tab.filters()["run"] == "run2"
        tab.snapshot()
        marks = tab.page.locator("#history .plot").first.locator(".mark-symbol path")
        methods = len({row["label"] for row in tab.rows() if row["seconds_median"]})
        assert marks.count() >= 3
        assert marks.count() % 3 == 0
        assert marks.count() <= 3 * methods


# Findings: a sentence with a button that shows the rows that prove it.


def _proof(tab: Tab, button: Any) -> tuple[str, dict[str, Any], list[dict[str, str]]]:
    sentence = button.get_attribute("aria-label").removeprefix("Show the evidence: ")
    wanted = json.loads(button.get_attribute("data-filters"))
    tab.page.evaluate("document.activeElement.blur()")
    button.evaluate("button => button.click()")
    # In the end the heading of the part that proves the sentence has the focus.
    tab.page.wait_for_selector(f"#{button.get_attribute('data-show')}-title:focus")
    tab.show_all_rows()
    return sentence, wanted, tab.rows()


@pytest.mark.slow
@pytest.mark.sampled(1)
@pytest.mark.parametrize("part", range(3))
def test_the_button_of_a_finding_shows_the_rows_that_prove_it(
    both: Path, opened: Callable[..., Any], part: int
) -> None:
    with opened(both) as tab:
        tab.choose(kind="hard", problem="logspec(condition=10)")  # what must not stay
        buttons = tab.page.locator("button[data-filters]").all()[part::3]
        assert len(buttons) > 5
        for button in buttons:
            sentence, wanted, rows = _proof(tab, button)
            filters = tab.filters()
            assert rows, sentence
            for name, value in wanted.items():
                if name in filters and value in tab.options(name):
                    assert filters[name] == value, (sentence, name)
            assert filters["kind"] == ""
            if "problem" not in wanted:
                assert filters["problem"] == ""

            if "is ok on all" in sentence or "are ok on all" in sentence:
                _check_right(sentence, rows)
            if " ok: " in sentence and "only" in sentence.partition(" ok")[0]:
                name = sentence.partition("only ")[2].partition(" is ok")[0]
                ok = {row["label"] for row in rows if row["ended"] == "ok"}
                assert name in ok or f"torch/{name}" in ok


def _check_right(sentence: str, rows: list[dict[str, str]]) -> None:
    """As many methods as the sentence counts are ok in all rows that were tried."""
    judged = [row for row in rows if row["ended"] not in ("unsupported", "other_precision")]
    doubted = {
        (row["problem"], row["size"], row["batch"])
        for row in judged
        if row["ended"] == "unverified"
    }
    judged = [r for r in judged if (r["problem"], r["size"], r["batch"]) not in doubted]
    inputs = {(row["problem"], row["size"], row["batch"]) for row in judged}
    right = {
        label
        for label in {row["label"] for row in judged}
        if {
            (r["problem"], r["size"], r["batch"])
            for r in judged
            if r["label"] == label and r["ended"] == "ok"
        }
        == inputs
    }
    one, several = "the only batch of matrices", f"all {len(inputs)} batches of matrices"
    measured = one if len(inputs) == 1 else several
    assert measured in sentence
    methods = len({row["label"] for row in judged})
    if "none of" in sentence:
        assert not right
    elif "only " in sentence.partition(" ok on")[0]:
        assert len(right) == 1
    elif "both methods" in sentence:
        assert len(right) == methods == 2
    else:
        assert f"{len(right)} are ok" in sentence or len(right) == methods


@pytest.mark.slow
def test_a_finding_on_failures_shows_the_failed_cells_wherever_they_are(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    """They are forwards in a small batch, and the first view is a step in the largest."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        broken = (frame["phase"] == "forward") & (frame["size"] == 16) & (frame["batch"] == 16)
        broken &= frame["forward"] == "eigh"
        return frame.assign(
            status=frame["status"].mask(broken, "timeout"),
            reason=frame["reason"].mask(broken, "it took too long"),
        )

    page = write_page([altered(STANDARD, tmp_path / "run", change)], tmp_path / "page.html")
    with opened(page) as tab:
        button = tab.page.locator("button[data-search=timeout]")
        sentence, _, rows = _proof(tab, button)
        assert "ended as timeout" in sentence
        assert rows
        assert {row["ended"] for row in rows} == {"timeout"}
        assert tab.page.locator("#search").input_value() == "timeout"
        # The next finding does not keep the search, and Reset removes it.
        tab.page.click("#reset")
        assert tab.page.locator("#search").input_value() == ""
