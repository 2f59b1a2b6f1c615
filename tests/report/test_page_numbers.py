"""Numbers on the page are those of the table, and of the analyses that the terminal shows."""

import re
from collections.abc import Callable
from functools import partial
from math import isfinite, log
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import QUICK, STANDARD, TIMES, altered, dated, faster
from helpers.report_pages import Tab, write_page

from mssbench import results
from mssbench.analysis import pareto
from mssbench.analysis.blocks import SPLIT, blocks
from mssbench.compare.describe import compare, geometric_means
from mssbench.compare.tables import StoredRun
from mssbench.records import units
from mssbench.report import history
from mssbench.report.drawn import drawn
from mssbench.report.figures import PANELS
from mssbench.report.figures.axes import ends
from mssbench.report.figures.figure import WIDTH

UNTRIED = ("unsupported", "not_installed", "unavailable", "interrupted")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return drawn([results.open(QUICK), results.open(STANDARD)])


def chosen(tab: Tab, table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the filters of a page leave."""
    for name, value in tab.filters().items():
        if value:
            table = table[table[name].astype(str) == value]
    return table


def test_the_table_writes_the_numbers_of_the_rows(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame
) -> None:
    writers = {
        "time per call": ("seconds_median", units.seconds),
        "from": ("seconds_low", units.seconds),
        "to": ("seconds_high", units.seconds),
        "root error": ("root_error", units.error),
        "gradient error": ("gradient_error", units.error),
        "condition κ": ("condition", units.number),
        "time in products": ("gemms", units.number),
        "extra memory": ("peak_bytes", units.size),
    }
    with opened(both) as tab:
        tab.show_all_rows()
        rows, heads = chosen(tab, table), tab.heads("#table")
        stored, lines = tab.rows(), tab.cells("#table")
        assert len(rows) == len(stored) == len(lines) > 300
        for row, full, line in zip(rows.to_dict("records"), stored, lines, strict=True):
            for head, (name, write) in writers.items():
                value = None if pd.isna(row[name]) else float(row[name])
                assert line[heads.index(head)] == write(value), (head, value)
                # The tooltip has all digits.
                assert full[name] == "" if value is None else float(full[name]) == value
            ratio = row["times_limit"]
            wanted = "-" if pd.isna(ratio) else units.ratio(ratio)
            assert line[heads.index("time ÷ limit")] == wanted
            assert full["label"] == row["label"]
            assert full["ended"] == row["ended"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("batch", ["256", "16"])
def test_the_map_of_failures_counts_as_pandas_does(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame, batch: str
) -> None:
    with opened(both) as tab:
        tab.choose(batch=batch)
        rows = chosen(tab, table)
        tried = rows[~rows["ended"].isin(UNTRIED)]
        problems = sorted(
            tried["problem"].unique(),
            key=lambda p: int(tried.loc[tried["problem"] == p, "hardness"].iloc[0]),
        )
        heads = tab.heads("#failures-map")[1:]
        matrices = dict(zip(tried["problem"], tried["matrices"], strict=True))
        assert heads == [matrices[problem] for problem in problems]

        lines = tab.cells("#failures-map", "[cell.textContent, cell.title, cell.className]")
        assert {line[0][1] for line in lines} == set(tried["label"])
        shares = []
        for (_, label, _), *cells in lines:
            of_method = tried[tried["label"] == label]
            share = 0.0
            for problem, (text, title, look) in zip(problems, cells, strict=True):
                here = of_method[of_method["problem"] == problem]
                ok = int((here["ended"] == "ok").sum())
                if not len(here):
                    assert (text, title) == ("", "not measured")
                    continue
                share += ok / len(here)
                assert text.split(" ")[0] == f"{ok}/{len(here)}"
                counts = here["ended"].value_counts().to_dict()
                assert dict(re.findall(r"(\w+): (\d+) of", title)) == {
                    status: str(n) for status, n in counts.items()
                }
                # The colour is never the only sign.
                assert (look == "ok") == (ok == len(here)) == (" " not in text)
            shares.append(share)
        assert shares == pytest.approx(sorted(shares, reverse=True))
        missing = tab.page.locator("#failures-map details").text_content()
        for label in set(rows["label"]) - set(tried["label"]):
            method = rows.loc[rows["label"] == label, "method"].iloc[0]
            assert f"{method} (unsupported)" in missing


def test_a_row_of_another_precision_was_tried(both: Path, opened: Callable[..., Any]) -> None:
    """NumPy's eigh computes in double precision: it is in the map, and it is not called ok."""
    with opened(both) as tab:
        lines = tab.cells("#failures-map", "[cell.textContent, cell.className]")
        (line,) = (line for line in lines if line[0][0].startswith("numpy/eigh"))
        assert ["0/3 other_precision", "unranked"] in line


@pytest.mark.sampled(1)
@pytest.mark.parametrize("filters", [{}, {"batch": "16"}, {"phase": "forward"}])
def test_the_winners_are_those_of_the_tables_in_the_terminal(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame, filters: dict[str, str]
) -> None:
    frame = results.open(STANDARD).current
    with opened(both) as tab:
        tab.choose(**filters)
        rows = chosen(tab, table)
        heads = tab.heads("#winners-map")[1:]
        lines = tab.cells("#winners-map", "[cell.textContent, cell.title]")
        shown = {}
        for (_, problem), *cells in lines:
            for head, cell in zip(heads, cells, strict=True):
                shown[int(head.removeprefix("n = ")), problem] = cell

        at = {name: rows[name].iloc[0] for name in SPLIT}
        (block,) = (b for b in blocks(frame, ("method",), ("size", "problem")) if b.common == at)
        best: dict[Any, list[Any]] = {}
        for (label,), entries in block.entries.items():
            for place, entry in entries.items():
                if entry.best:
                    best.setdefault(place, []).append((entry.value, label))

        found = 0
        for place, (text, title) in shown.items():
            if place not in best:
                assert text in ("-", "none is ok", "not ranked")
                continue
            found += 1
            (value, label), *ties = sorted(best[place])
            assert title.split(";")[0] == label
            assert units.seconds(value) in text
            assert (f"(tied with {len(ties)})" in text) == bool(ties)
        assert found == len(best) > 5


def path_points(path: str) -> list[tuple[float, float]]:
    """The corners of a path of horizontal and vertical lines, as Vega draws a front."""
    points: list[tuple[float, float]] = []
    for letter, x, y in re.findall(r"([ML])([-\d.e]+),([-\d.e]+)", path):
        points.append((float(x), float(y)))
        assert letter in "ML"
    return points


def test_fronts_are_those_of_the_analysis_and_marks_stand_where_the_numbers_say(
    both: Path, opened: Callable[..., Any], table: pd.DataFrame
) -> None:
    front = next(figure for figure in PANELS if figure.name == "front")
    assert front.x is not None
    with opened(both) as tab:
        tab.snapshot()
        rows = chosen(tab, table)
        timed = rows[rows["seconds_median"] > 0]
        columns = [
            timed[name].dropna() for name in ("seconds_median", "seconds_low", "seconds_high")
        ]
        low, high, _ = ends(front.x, [x for column in columns for x in column])

        def place(seconds: float) -> float:
            return WIDTH * log(seconds / low) / log(high / low)

        panels = tab.page.locator("#front .plot").evaluate_all(
            """all => all.map((plot) => ({
                 line: plot.querySelector('.mark-line path')?.getAttribute('d') ?? '',
                 symbols: [...plot.querySelectorAll('.mark-symbol path')].map(
                   (path) => path.getAttribute('transform')),
               }))"""
        )
        groups = list(timed.groupby(["hardness", "size"]))
        assert len(panels) == len(groups)
        for panel, (_, part) in zip(panels, groups, strict=True):
            # A row may have two marks at its place, such as a symbol and a ring around it.
            drawn_at = sorted(
                float(t.partition("(")[2].partition(",")[0]) for t in {*panel["symbols"]}
            )
            assert drawn_at == pytest.approx(sorted(map(place, part["seconds_median"])), abs=1e-6)

            able = part[part["ended"] == "ok"]
            contenders = [
                pareto.Contender(
                    str(i),
                    r.seconds_median,
                    r.seconds_low,
                    r.seconds_high,
                    r.root_error,
                    r.gradient_error,
                )
                for i, r in enumerate(able.itertuples())
            ]
            on_front = sorted(c.seconds for c in pareto.placed(contenders) if c.standing == "front")
            corners = [x for x, _ in path_points(panel["line"])]
            assert len(on_front) == (len({round(x, 3) for x in corners}))
            assert sorted({round(x, 3) for x in corners}) == pytest.approx(
                [place(x) for x in on_front], abs=2e-3
            )


@pytest.mark.slow
def test_a_front_of_one_kind_is_that_of_mssbench_pareto(table: pd.DataFrame) -> None:
    """Where a kind of matrix has a single problem, the standings are those of the command."""
    frame = results.open(STANDARD).current
    compared = 0
    for front in pareto.fronts(frame):
        if len(front.problems) > 1 or front.place["phase"] != "step":
            continue
        rows = table[
            (table["run"] == "cpu-2core-standard") & (table["problem"] == front.problems[0])
        ]
        for name, value in front.place.items():
            rows = rows[rows[name] == value]
        if len(rows["clock"].unique()) != 1:
            continue
        standing = dict(zip(rows["seconds_median"], rows["standing"], strict=True))
        right = {c.seconds for c in front.contenders}
        usable = set(rows.loc[rows["standing"] != "", "seconds_median"])
        assert len(right) == len(usable)
        for contender in front.contenders:
            nearest = min(standing, key=lambda x: abs(x - contender.seconds))
            assert standing[nearest] == str(contender.standing)
            compared += 1
    assert compared > 20


# Two runs: what has become of each row.


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """quick, and a run in which methods are faster, slower, broken, fixed, gone and added."""
    folder = tmp_path_factory.mktemp("changed")

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        ok = frame.index[frame["status"] == "ok"]
        noise = frame.assign(noise="quiet")
        for name in TIMES:
            noise.loc[ok[:6], name] /= 4
            noise.loc[ok[6:10], name] *= 3
        noise.loc[ok[10:12], "status"] = "nonfinite"
        gone = noise.drop(ok[12:14])
        return gone.assign(forward=gone["forward"].mask(gone.index == ok[14], "newcomer"))

    base = altered(
        QUICK, folder / "base", lambda frame: frame.assign(noise="quiet"), dated("2026-01-01")
    )
    return base, altered(QUICK, folder / "new", change, dated("2026-02-01"))


@pytest.mark.slow
def test_a_comparison_has_the_verdicts_of_compare(
    changed: tuple[Path, Path], tmp_path: Path, opened: Callable[..., Any]
) -> None:
    sides = [StoredRun((run := results.open(path)).current, run.facts) for path in changed]
    judged = compare(*sides)
    verdicts = pd.Series([judgement.words for judgement in judged.judgements]).value_counts()
    assert {"faster", "slower", "gone", "added"} <= set(verdicts.index)

    with opened(write_page(changed, tmp_path / "page.html")) as tab:
        tab.choose_all()
        text = tab.page.locator("#compared p").last.text_content()
        total, _, rest = text.partition(" rows: ")
        assert int(total) == len(judged.judgements)
        for verdict, n in verdicts.items():
            assert re.search(rf"\b{n} {verdict}\b", rest), (verdict, rest)
        means = [*geometric_means(judged.judgements, ("phase", "clock", "cache"))]
        assert len({units.ratio(mean.ratio) for mean in means}) > 1
        assert len({*(dict(mean.at)["phase"] for mean in means)}) == len(means) > 1
        said = "; ".join(
            f"{dict(mean.at)['phase']}: {units.ratio(mean.ratio)} ({units.count(mean.rows, 'row')})"
            for mean in means
        )
        assert rest.endswith(f"over the rows that are ok in both: {said}.")

        heads = tab.heads("#compared")
        lines = [dict(zip(heads, line, strict=True)) for line in tab.cells("#compared")]
        told = [j for j in judged.judgements if j.words not in ("same", "unflagged")]
        assert len(lines) == len(told)
        wanted = sorted(
            (j.words, units.ratio(j.ratio) if j.ratio is not None else "-", j.reason or "-")
            for j in told
        )
        assert sorted((x["verdict"], x["time, new ÷ base"], x["reason"]) for x in lines) == wanted
        # What is broken stands before what is slower, and rows of one run alone stand last.
        order = [x["verdict"] for x in lines]
        assert order[0] in ("broken", "worse")
        assert set(order[-4:]) <= {"gone", "added"}

        # A filter acts on the comparison too, but the filter of the run does not.
        tab.choose(run="base")
        assert len(tab.cells("#compared")) == len(lines)
        tab.choose(phase="forward")
        phases = {line[heads.index("phase")] for line in tab.cells("#compared")}
        assert phases == {"forward"}
        text = tab.page.locator("#compared p").last.text_content()
        (mean,) = (mean for mean in means if dict(mean.at)["phase"] == "forward")
        assert text.endswith(
            f"over {mean.rows} rows that are ok in both: {units.ratio(mean.ratio)}."
        )


# Runs of several days: steps in the times of a cell.


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four runs; one method is three times as fast from the third on, the rest is unchanged."""
    folder = tmp_path_factory.mktemp("four")

    def change(frame: pd.DataFrame, number: int) -> pd.DataFrame:
        frame = frame.assign(noise="quiet")
        for name in ("seconds_low", "seconds_q1", "seconds_min"):
            frame[name] = 0.99 * frame["seconds_median"]
        for name in ("seconds_high", "seconds_q3"):
            frame[name] = 1.01 * frame["seconds_median"]
        svd = frame["forward"] == "svd"
        if number < 2:
            return frame
        return pd.concat([frame[~svd], faster(frame[svd], 3.0)]).sort_index()

    return [
        altered(QUICK, folder / f"run{i}", partial(change, number=i), dated(f"2026-0{i + 1}-01"))
        for i in range(4)
    ]


@pytest.mark.slow
def test_steps_are_those_of_the_history(
    four: list[Path], tmp_path: Path, opened: Callable[..., Any]
) -> None:
    table = drawn([results.open(run) for run in four])
    steps = history.steps(table)
    svd = table[(table["forward"] == "svd") & (table["ended"] == "ok") & (table["run"] == "run0")]
    assert len(steps) == len(svd) > 2

    with opened(write_page(four, tmp_path / "page.html")) as tab:
        tab.choose_all()
        heads = tab.heads("#steps")
        lines = [dict(zip(heads, line, strict=True)) for line in tab.cells("#steps")]
        assert len(lines) == len(steps)
        assert {line["time, after ÷ before"] for line in lines} == {units.ratio(1 / 3)}
        assert {line["in products"] for line in lines} == {units.ratio(1 / 3)}
        assert {line["method"].split()[0] for line in lines} == {"svd"}
        assert {line["from"][:10] for line in lines} == {"2026-02-01"}
        assert {line["to"][:10] for line in lines} == {"2026-03-01"}
        tab.choose(phase="backward")
        assert {line[heads.index("phase")] for line in tab.cells("#steps")} <= {"backward"}
        assert tab.page.locator("#history .plot").count() > 0


@pytest.mark.parametrize("days", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_zero_or_infinite_time_makes_no_page_fail(
    tmp_path: Path, opened: Callable[..., Any], days: int
) -> None:
    """Infinite errors and condition numbers occur, and a clock may be too coarse for a call."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        times = dict.fromkeys(TIMES, 0.0)
        timed = frame.index[frame["seconds_median"].notna()]
        frame.loc[timed[0], list(times)] = 0.0
        frame.loc[timed[1], "gradient_error"] = float("inf")
        frame.loc[timed[2], "root_error"] = 0.0
        frame.loc[timed[3], ["limit_seconds", "gemms"]] = 0.0
        frame.loc[timed[4], "condition"] = float("inf")
        return frame

    runs = [
        altered(QUICK, tmp_path / f"run{day}", change, dated(f"2026-01-0{day + 1}"))
        for day in range(days)
    ]
    with opened(write_page(runs, tmp_path / "page.html")) as tab:
        tab.choose_all()
        tab.snapshot()
        tab.show_all_rows()
        rows = tab.rows()
        assert "0" in {row["seconds_median"] for row in rows}
        assert "Infinity" in {row["gradient_error"] for row in rows}
        for svg in tab.page.locator(".plot svg").all():
            assert "NaN" not in (svg.get_attribute("viewBox") or "")
        marks = tab.page.locator(".plot path").evaluate_all("all => all.map((p) => p.outerHTML)")
        assert not [mark for mark in marks if "NaN" in mark or "Infinity" in mark]
        assert all(isfinite(float(row["seconds_median"] or 0)) for row in rows)
