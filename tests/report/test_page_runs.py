"""Pages on runs of every kind: few and many, of one machine and of several, whole and broken."""

import json
from collections.abc import Callable
from math import inf
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import CLAIMS, QUICK, altered, dated, faster
from helpers.report_pages import write_page

from mssbench import results
from mssbench.errors import TableError
from mssbench.report.drawn import drawn, unique_names
from mssbench.report.figures.figure import WIDTH
from mssbench.report.findings import warnings
from mssbench.report.page import page

# One page of each kind is tested by default, in test_page_safety, _numbers and _filters.
# Kinds of which other files test a case in every run of CI.
pytestmark = pytest.mark.exhaustive


def other_machine(facts: dict[str, Any]) -> None:
    """Change the facts so that the rows are of another processor."""
    for machine in facts["environments"].values():
        machine["cpu"] = "Another Processor"


def test_one_run_has_neither_comparison_nor_history(
    quick: Path, opened: Callable[..., Any]
) -> None:
    with opened(quick) as tab:
        page = tab.page
        assert page.locator("#comparison, #changes").evaluate_all(
            "all => all.every((e) => e.hidden)"
        )
        assert page.locator("#history").count() == 0
        assert "run" not in tab.filters()
        assert page.locator("#findings h3").count() == 0
        assert "several environments" not in page.locator("header").inner_text()


def test_three_runs_without_a_step_say_so(tmp_path: Path, opened: Callable[..., Any]) -> None:
    runs = [altered(QUICK, tmp_path / f"r{i}", facts=dated(f"2026-0{i + 1}-01")) for i in range(3)]
    with opened(write_page(runs, tmp_path / "page.html")) as tab:
        assert "No step was detected" in tab.page.locator("#changes").inner_text()
        assert tab.page.locator("#compared h3").all_inner_texts() == [
            "r1 compared with r0",
            "r2 compared with r0",
        ]
        assert tab.page.locator("#history .plot").count() > 0


def test_runs_of_two_machines_are_never_mixed_silently(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    def twice_as_fast(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.assign(noise="quiet")
        for name, factor in (("seconds_low", 0.99), ("seconds_high", 1.01)):
            frame[name] = factor * frame["seconds_median"]
        return faster(frame, 2.0)

    def steady(frame: pd.DataFrame) -> pd.DataFrame:
        return faster(twice_as_fast(frame), 0.5)

    def elsewhere(day: str) -> Callable[[dict[str, Any]], None]:
        def change(facts: dict[str, Any]) -> None:
            dated(day)(facts)
            other_machine(facts)

        return change

    runs = [
        altered(QUICK, tmp_path / "here1", steady, dated("2026-01-01")),
        altered(QUICK, tmp_path / "here2", steady, dated("2026-01-02")),
        altered(QUICK, tmp_path / "there1", twice_as_fast, elsewhere("2026-01-03")),
        altered(QUICK, tmp_path / "there2", twice_as_fast, elsewhere("2026-01-04")),
    ]
    with opened(write_page(runs, tmp_path / "page.html")) as tab:
        warned = tab.page.locator(".warning").inner_text()
        assert "several environments, so that their times cannot be compared" in warned
        assert "here1, here2 on AMD EPYC" in warned
        assert "there1, there2 on Another Processor" in warned
        assert "cpu: AMD EPYC then, Another Processor now" in warned
        remarks = tab.page.locator("#compared .about").all_inner_texts()
        assert sum("come from different machines" in text for text in remarks) == 2
        # A step between two machines is called one.
        tab.choose_all()
        heads = tab.heads("#steps")
        lines = tab.cells("#steps")
        assert lines
        assert {line[heads.index("environment")] for line in lines} == {"another one"}


def test_one_run_of_two_machines_calls_no_method_fastest(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    """It may be merged from two folders."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        moved = frame["backward"] == "autodiff"
        return frame.assign(environment=frame["environment"].mask(moved, "f" * 12))

    def facts(known: dict[str, Any]) -> None:
        (machine,) = known["environments"].values()
        known["environments"]["f" * 12] = json.loads(json.dumps(machine)) | {"cpu": "Another"}

    run = altered(QUICK, tmp_path / "run", change, facts)
    table = drawn([results.open(run)])
    assert set(table["fastest"]) == {""}
    # Methods of each machine compete among themselves.
    assert table[table["standing"] == "front"]["machine"].nunique() == 2
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        assert "several environments" in tab.page.locator(".warning").inner_text()
        cells = {text for line in tab.cells("#winners-map") for text in line[1:]}
        assert "not compared" in cells
        assert cells <= {"not compared", "", "none is ok", "not ranked"}
        remark = tab.page.locator("#winners-map .about").inner_text()
        assert remark.startswith("run: its rows were measured in several environments.")


def test_a_disturbed_run_says_above_the_map_and_in_it_that_no_times_are_compared(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    def busy(facts: dict[str, Any]) -> None:
        for run in facts["runs"].values():
            run["load_start"] = [99.0, 99.0, 99.0]

    runs = [
        altered(QUICK, tmp_path / name, facts=f)
        for name, f in (("calm", dated("2026-01-01")), ("busy", busy))
    ]
    with opened(write_page(runs, tmp_path / "page.html")) as tab:
        for name, times in (("calm", 0), ("busy", 1)):
            tab.choose(run=name)
            remarks = tab.page.locator("#winners-map > .about").all_inner_texts()
            said = [text for text in remarks if "busy: the machine was busy when" in text]
            assert len(said) == times
            cells = [text for line in tab.cells("#winners-map") for text in line[1:]]
            assert ("not compared" in cells) == bool(times)
            assert (any(" ms" in text or " us" in text for text in cells)) == (not times)
            tab.snapshot()
            assert (tab.page.locator("#front .mark-line path").count() > 0) == (not times)


def test_an_empty_table_is_refused_in_words(tmp_path: Path) -> None:
    run = altered(QUICK, tmp_path / "run", lambda frame: frame.head(0))
    with pytest.raises(TableError, match="the runs have no row"):
        page([results.open(run)])


def test_an_empty_run_beside_another_is_named(tmp_path: Path, opened: Callable[..., Any]) -> None:
    empty = altered(QUICK, tmp_path / "empty", lambda frame: frame.head(0))
    with opened(write_page([QUICK, empty], tmp_path / "page.html")) as tab:
        assert "no row" in tab.page.locator("#compared").inner_text()
        assert (
            "Nothing follows from the rows of this run"
            in tab.page.locator("#findings").inner_text()
        )
        assert tab.rows()


def test_a_run_of_failures_alone(tmp_path: Path, opened: Callable[..., Any]) -> None:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        numbers = frame.select_dtypes("number").columns.difference(
            ["size", "batch", "iterations", "backward_iterations", "seed", "schema"]
        )
        frame = frame.assign(status="crashed", reason="it fell over")
        frame[list(numbers)] = float("nan")
        return frame.assign(flags="", noise="", computed_in="")

    run = altered(QUICK, tmp_path / "run", change)
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        tab.choose_all()
        tab.snapshot()
        cells = {text for line in tab.cells("#failures-map") for text in line[1:] if text}
        assert cells
        assert all(text.startswith("0/") and text.endswith("crashed") for text in cells)
        assert "no row that this part could show" in tab.page.locator("#winners").inner_text()
        assert tab.page.locator(".plot").count() == 0
        sentence = tab.page.locator("#findings li").all_text_contents()
        assert any("ended as crashed, most often: it fell over" in text for text in sentence)
        assert len(tab.rows()) == len(results.open(run).frame)


def test_rows_left_over_by_an_earlier_run_are_left_out_and_counted(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    cells = results.open(QUICK).frame["cell_id"].unique()[:3].tolist()
    run = altered(QUICK, tmp_path / "run", facts=lambda facts: facts.update(left_over_cells=cells))
    frame = results.open(QUICK).frame
    left = int(frame["cell_id"].isin(cells).sum())
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        assert (
            f"{left} rows of cells that the suite no longer has"
            in tab.page.locator(".warning").inner_text()
        )
        tab.choose_all()
        assert (
            tab.page.locator("#count").inner_text()
            == f"{len(frame) - left} of {len(frame) - left} rows"
        )


def test_numbers_that_are_not_finite_and_singular_matrices_have_their_place(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        first = frame["problem"] == frame["problem"].iloc[0]
        nonfinite = first & (frame["forward"] == "svd")
        return frame.assign(
            condition=frame["condition"].mask(first, inf),
            status=frame["status"].mask(nonfinite, "nonfinite"),
            root_error=frame["root_error"].mask(nonfinite, inf),
            gradient_error=frame["gradient_error"].mask(nonfinite, inf),
        )

    run = altered(QUICK, tmp_path / "run", change)
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        tab.choose_all()
        tab.snapshot()
        # Rows without a finite error stand above the frame, those of singular matrices right of it.
        places = """all => all.map((path) => path.getAttribute('transform'))
          .map((text) => text.match(/translate\\(([-\\d.]+),([-\\d.]+)\\)/).slice(1).map(Number))"""
        front, condition = (
            tab.page.locator(f"#{name} .plot .mark-symbol path").evaluate_all(places)
            for name in ("front", "condition")
        )
        assert any(y < 0 for _, y in front)
        assert any(x > WIDTH for x, _ in condition)
        # No mark is cut off: all of it is within its picture.
        outside = tab.page.locator(".plot svg").evaluate_all(
            """all => all.flatMap((svg) => {
              const frame = svg.getBoundingClientRect();
              return [...svg.querySelectorAll('.role-mark path, .role-mark line')]
                .map((mark) => [mark.getBoundingClientRect(), mark.outerHTML])
                .filter(([box]) => box.width && (box.left < frame.left || box.right > frame.right
                  || box.top < frame.top || box.bottom > frame.bottom))
                .map(([, html]) => html);
            })"""
        )
        assert outside == []
        hidden = tab.page.locator("#front .panel").evaluate_all(
            "all => all.filter((box) => box.scrollWidth > box.clientWidth).length"
        )
        assert hidden == 0
        lines = tab.cells("#table")
        error = tab.heads("#table").index("gradient error")
        ended = tab.heads("#table").index("status")
        assert {line[error] for line in lines if line[ended] == "nonfinite"} == {"-"}
        assert {row["condition"] for row in tab.rows()} >= {"Infinity"}


def _on_a_gpu(frame: pd.DataFrame) -> pd.DataFrame:
    """The same rows on a made-up GPU, whose times three clocks have measured."""
    parts = []
    for clock, cache, factor in (
        ("wall", "hot", 1),
        ("gpu", "hot", 2),
        ("gpu", "cold", 1.5),
        ("graph", "hot", 3),
    ):
        parts.append(
            faster(frame, factor).assign(
                device="cuda", clock=clock, cache=cache, bound="launch", launches=12.0
            )
        )
    return pd.concat([*parts, frame], ignore_index=True)


def test_clocks_of_a_gpu_are_kept_apart(tmp_path: Path, opened: Callable[..., Any]) -> None:
    run = altered(QUICK, tmp_path / "run", _on_a_gpu)
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        filters = tab.filters()
        assert (filters["clock"], filters["cache"]) == ("wall", "")
        assert set(tab.options("clock")) == {"", "wall", "gpu", "graph"}
        assert set(tab.options("device")) == {"", "cpu", "cuda"}
        tab.choose_all()
        tab.snapshot()
        captions = tab.page.locator("#winners caption").all_inner_texts()
        assert len(captions) == len(set(captions)) > 5
        assert any(
            "cuda" in text and "gpu clock" in text and "cold cache" in text for text in captions
        )
        tab.choose(device="cuda", clock="gpu", cache="cold", phase="step")
        assert {(row["device"], row["clock"]) for row in tab.rows()} == {("cuda", "gpu")}


def test_large_maps_are_cut_and_shown_whole_on_demand(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        copies = [
            frame.assign(
                size=frame["size"] + i,
                cell_id=frame["cell_id"] + f"-{i}",
                forward=frame["forward"] + f"_{i % 8}",
                problem=frame["problem"].map(lambda p, i=i: f"made{i:02}({p})"),
            )
            for i in range(10)
        ]
        return pd.concat(copies, ignore_index=True)

    run = altered(QUICK, tmp_path / "run", change)
    with opened(write_page([run], tmp_path / "page.html")) as tab:
        tab.choose_all()
        section = tab.page.locator("#failures")
        heads = len(tab.heads("#failures-map"))
        lines = len(tab.cells("#failures-map"))
        assert heads == 1 + 30
        assert lines * (heads - 1) <= 1500
        assert "Not shown: " in section.inner_text()
        assert "columns" in section.inner_text()
        section.get_by_role("button", name="Show the whole map").click()
        assert len(tab.heads("#failures-map")) > 40
        assert len(tab.cells("#failures-map")) > lines
        assert "Not shown" not in section.inner_text()
        winners = tab.page.locator("#winners")
        assert "Not shown: " in winners.inner_text()
        winners.get_by_role("button", name="Show the whole map").click()
        assert "Not shown" not in winners.inner_text()
        tab.choose(phase="step")  # a change of the filters begins anew
        assert len(tab.heads("#failures-map")) == 1 + 30


def test_claims_are_those_of_the_last_run_that_has_some(
    tmp_path: Path, opened: Callable[..., Any]
) -> None:
    with opened(write_page([CLAIMS, QUICK], tmp_path / "page.html")) as tab:
        text = tab.page.locator("#claims").inner_text()
        assert "judged by the rows of cpu-2core-paper_svd_2021" in text


def test_runs_of_one_name_are_told_apart() -> None:
    runs = [results.open(Path("/runs") / place) for place in ("a/run", "b/run", "c/b/run", "d")]
    assert unique_names(runs) == ["a/run", "/runs/b/run", "/runs/c/b/run", "d"]


def test_one_environment_gives_no_warning() -> None:
    runs = [results.open(QUICK), results.open(QUICK)]
    assert not [text for text in warnings(runs, ["a", "b"]) if "environments" in text]
