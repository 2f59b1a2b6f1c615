"""The table of all rows: search, sort, more rows, and the file to download."""

import csv
import io
from collections.abc import Callable
from itertools import pairwise
from math import inf, isinf
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import QUICK, STANDARD, altered
from helpers.report_pages import Tab, write_page

from mssbench import results
from mssbench.report.drawn import drawn

# One page of each kind is tested by default, in test_page_safety, _numbers and _filters.
# Kinds of which other files test a case in every run of CI.
pytestmark = pytest.mark.exhaustive

NUMERIC = {"size", "batch", "seconds_median", "root_error", "condition", "gemms", "times_limit"}


def type_search(tab: Tab, words: str) -> None:
    """Type into the search, and wait until the table has followed."""
    tab.page.fill("#search", words)
    tab.page.wait_for_timeout(200)
    tab.settle()


def test_search_finds_rows_that_have_all_words(quick: Path, opened: Callable[..., Any]) -> None:
    with opened(quick) as tab:
        tab.choose_all()
        tab.show_all_rows()
        rows = tab.rows()
        for words in ("EIGH", "eigh loewner", "inaccurate newton", "wishart(ratio=2) k=5", "[.*"):
            type_search(tab, words)
            tab.show_all_rows()
            searched = ("label", "problem", "ended", "reason", "flags")
            wanted = [
                row
                for row in rows
                if all(
                    any(word in row.get(name, "").lower() for name in searched)
                    for word in words.lower().split()
                )
            ]
            assert tab.rows() == wanted, words
            noun = "row" if len(wanted) == 1 else "rows"
            assert tab.page.locator("#found").inner_text() == f"{len(wanted)} {noun}"
        type_search(tab, "")
        assert tab.rows() == rows


def test_a_search_acts_on_the_download_and_stays_while_filters_change(
    quick: Path, opened: Callable[..., Any]
) -> None:
    with opened(quick) as tab:
        type_search(tab, "hybrid")
        tab.choose(phase="forward")
        tab.show_all_rows()
        rows = tab.rows()
        assert rows
        assert all("hybrid" in row["label"] for row in rows)
        assert len(list(csv.DictReader(io.StringIO(tab.downloaded())))) == len(rows)


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "column", ["label", "size", "seconds_median", "root_error", "condition", "noise", "reason"]
)
def test_a_click_on_a_heading_sorts_and_missing_values_stand_last(
    quick: Path, opened: Callable[..., Any], column: str
) -> None:
    with opened(quick) as tab:
        tab.choose_all()
        button = tab.page.locator(f"#head th[data-column={column}] button")
        for direction in ("ascending", "descending", "ascending"):
            button.click()
            sorted_by = tab.page.locator("#head th[aria-sort]")
            assert sorted_by.count() == 1
            assert sorted_by.get_attribute("data-column") == column
            assert sorted_by.get_attribute("aria-sort") == direction
            tab.show_all_rows()
            values = [row[column] for row in tab.rows()]
            known = [x for x in values if x]
            assert values == known + [""] * (len(values) - len(known))
            if column in NUMERIC:
                order: list[Any] = [float(x.replace("Infinity", "inf")) for x in known]
                assert order == sorted(order, reverse=direction == "descending")
            else:
                places = tab.page.evaluate(
                    "all => all.map((x, i) => i && new Intl.Collator('en').compare(all[i - 1], x))",
                    known,
                )
                assert all(x <= 0 if direction == "ascending" else x >= 0 for x in places)
        assert len(values) > 90


def test_more_rows_are_added_below(both: Path, opened: Callable[..., Any]) -> None:
    with opened(both) as tab:
        seen = [len(tab.rows())]
        first = tab.rows()
        while tab.page.locator("#more").is_visible():
            tab.page.click("#more")
            seen.append(len(tab.rows()))
        assert seen == [100, 200, 300, 310]
        assert tab.rows()[:100] == first
        tab.choose(size="16")
        assert len(tab.rows()) == 100
        tab.choose(problem="logspec(condition=1e6)")
        assert tab.page.locator("#more").is_hidden()


def _awkward(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts that spoil a CSV file or that a spreadsheet would compute, and numbers of any kind."""
    texts = [
        "=1+1",
        "+cmd|' /C calc'!A0",
        "-2",
        "@SUM(A1)",
        '"quoted", twice',
        "a,b;c\td",
        "'x",
        "κ · ‖",
    ]
    reasons = [texts[i % len(texts)] for i in range(len(frame))]
    frame = frame.assign(reason=reasons)
    timed = frame.index[frame["seconds_median"].notna()]
    frame.loc[timed[0], "gradient_error"] = inf
    frame.loc[timed[1], "root_error"] = 5e-324
    frame.loc[timed[2], "condition"] = 1e300
    frame.loc[timed[3], "gemms"] = 0.1 + 0.2
    return frame


def test_the_download_has_all_digits_of_all_rows(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    run = altered(QUICK, tmp_path / "run", _awkward)
    table = drawn([results.open(run)])
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        tab.choose_all()
        text = tab.downloaded()
        names = tab.data()["csv"]
    assert text.endswith("\r\n")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == names
    assert len(rows) == len(table)
    for name in names:
        for row, value in zip(rows, table[name].tolist(), strict=True):
            if pd.isna(value):
                assert row[name] == ""
            elif isinstance(value, str):
                # What would be computed is text in a spreadsheet; all else is as it was.
                disarmed = "'" + value if value[:1] in tuple("=+-@") else value
                assert row[name] == disarmed
            else:
                assert float(row[name]) == float(value), name
    assert any(isinf(float(row["gradient_error"] or 0)) for row in rows)
    frame = pd.read_csv(io.StringIO(text))
    assert frame["seconds_median"].dropna().tolist() == table["seconds_median"].dropna().tolist()


def test_the_download_of_a_view_has_the_rows_of_the_view(
    both: Path, opened: Callable[..., Any]
) -> None:
    table = drawn([results.open(QUICK), results.open(STANDARD)])
    with opened(both) as tab:
        tab.choose(size="64", phase="forward", batch="16")
        tab.page.locator("#head th[data-column=seconds_median] button").click()
        rows = list(csv.DictReader(io.StringIO(tab.downloaded())))
    part = table[(table["run"] == "cpu-2core-standard") & (table["size"] == 64)]
    part = part[(part["phase"] == "forward") & (part["batch"] == 16)]
    part = part[(part["precision"] == "float32")]
    assert len(rows) == len(part)
    times = [float(row["seconds_median"]) for row in rows if row["seconds_median"]]
    assert times == sorted(part["seconds_median"].dropna())
    assert all(a <= b for a, b in pairwise(times))
