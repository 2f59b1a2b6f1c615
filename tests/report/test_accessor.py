"""`frame.mssbench`: what a DataFrame of results says in a notebook."""

import json
import pickle
import re
import subprocess
import sys
from html.parser import HTMLParser

import pandas as pd
import pytest
from helpers.tables import row, write

import mssbench
from mssbench.analysis import pareto
from mssbench.errors import RunError, TableError
from mssbench.report import carried, draw, packages
from mssbench.report.drawn import table_of
from mssbench.report.figures import FIGURES

HERE = {"code_hash": "c", "environment": "e" * 12}


def method(name, seconds, error, problem="wishart(ratio=2)", condition=40.0, run_id="r", **more):
    given = {"phase": "step", "spread": 0.02, "root": error, "gradient": error}
    return row(
        seconds,
        forward=name,
        backward="loewner",
        problem=problem,
        condition=condition,
        identity={**HERE, "run_id": run_id},
        **given | more,
    )


def rows_of(run_id="r", **more):
    """Two methods that are right on two problems, and one that is wrong on the second."""
    hard = {"problem": "logspec(condition=1e6)", "condition": 1e6}
    return [
        method("eigh", 2e-3, 1e-6, run_id=run_id, **more),
        method("eigh", 2e-3, 1e-3, run_id=run_id, **hard, **more),
        method("svd", 4e-3, 1e-6, run_id=run_id, **more),
        method("svd", 4e-3, 1e-3, run_id=run_id, **hard, **more),
        method("pade", 1e-3, 1e-2, run_id=run_id, **more),
        method("pade", 1e-3, 0.9, run_id=run_id, **hard, status="inaccurate", **more),
    ]


def stored(folder, *rows, run_id="r", left_over=(), **facts):
    """A run on disk with these rows, and with facts of its run and machine."""
    write(folder, *rows)
    machine = {"cpu": "Alpha 9", "cores": {"granted": 2}, "commit": "c0ffee"}
    of_run = {"started": "2026-11-29T12:00:00", "load_start": [0.1, 0.1, 0.1], **facts}
    document = {
        "environments": {"e" * 12: machine},
        "runs": {run_id: of_run},
        "left_over_cells": list(left_over),
    }
    (folder / "environment.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def frame(tmp_path):
    return mssbench.load(stored(tmp_path / "quick", *rows_of()))


@pytest.fixture
def busy(tmp_path):
    return mssbench.load(stored(tmp_path / "busy", *rows_of(), load_start=[9.0, 9.0, 9.0]))


# What a frame carries


def facts_of(frame):
    """What is known about the one run of a frame."""
    (run,) = carried.runs_of(frame)
    return run.name, run.facts["runs"]["r"]["started"], len(run.rows)


@pytest.fixture
def forgotten(monkeypatch):
    """Another process, which has loaded no run."""
    monkeypatch.setattr(carried, "_known", {})


def test_a_frame_knows_its_run_and_remains_light(frame):
    assert facts_of(frame) == ("quick", "2026-11-29T12:00:00", 6)
    assert list(frame.attrs) == ["mssbench"]
    assert isinstance(frame.attrs["mssbench"], str)
    assert len(frame.attrs["mssbench"]) < 2000


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize(
    "change",
    {
        "filter": lambda f: f[f["forward"] != "pade"],
        "query": lambda f: f.query("forward != 'pade'"),
        "sort": lambda f: f[f["forward"] != "pade"].sort_values("seconds_median"),
        "copy": lambda f: f[f["forward"] != "pade"].copy(),
        "assign": lambda f: f[f["forward"] != "pade"].assign(ms=1.0),
        "pickle": lambda f: pickle.loads(pickle.dumps(f[f["forward"] != "pade"])),
        "concat of parts": lambda f: pd.concat([f[:2], f[2:4]]),
    }.items(),
    ids=lambda item: item[0],
)
def test_the_facts_survive(frame, change):
    assert facts_of(change[1](frame)) == ("quick", "2026-11-29T12:00:00", 4)


@pytest.mark.usefixtures("forgotten")
def test_the_facts_survive_in_a_parquet_file(frame, tmp_path):
    frame.to_parquet(tmp_path / "frame.parquet")
    back = pd.read_parquet(tmp_path / "frame.parquet")
    assert facts_of(back) == ("quick", "2026-11-29T12:00:00", 6)
    assert back.mssbench.best()["method"].tolist() == ["eigh + loewner"]


def test_comparisons_of_frames_work(frame, busy):
    assert (frame["forward"] == frame.copy()["forward"]).all()
    assert (frame == busy).shape == frame.shape
    assert frame.equals(frame.copy())


def test_frames_of_several_runs_may_be_joined(tmp_path):
    runs = [
        mssbench.load(
            stored(tmp_path / name, *rows_of(run_id=name), run_id=name, started=f"2026-0{i}-01T00")
        )
        for i, name in ((2, "old"), (1, "older"))
    ]
    both = pd.concat(runs, ignore_index=True)
    assert [(run.name, len(run.rows)) for run in carried.runs_of(both)] == [
        ("old", 6),
        ("older", 6),
    ]
    assert both.mssbench.best()["run"].tolist() == ["old", "older"]
    data = both.mssbench.plot("history").to_dict()["datasets"]["rows0"]
    assert {r["moment"] for r in data} == {"2026-01-01 c0ffee", "2026-02-01 c0ffee"}


@pytest.mark.usefixtures("forgotten")
def test_runs_whose_facts_are_lost_are_told_apart_by_their_ids(tmp_path):
    runs = [mssbench.load(stored(tmp_path / n, *rows_of(run_id=n), run_id=n)) for n in ("a", "b")]
    for run in runs:
        run.attrs.clear()
    carried._known.clear()
    assert [run.name for run in carried.runs_of(runs[0])] == ["unknown run"]
    assert [run.name for run in carried.runs_of(pd.concat(runs))] == ["a", "b"]
    assert "unknown machine" in repr(runs[0].mssbench)


@pytest.mark.parametrize("text", ["{", "[]", '{"name": "x"}', 3, None])
@pytest.mark.usefixtures("forgotten")
def test_attributes_of_others_do_no_harm(frame, text):
    carried._known.clear()
    frame.attrs["mssbench"] = text
    assert [run.name for run in carried.runs_of(frame)] == ["unknown run"]


def test_a_damaged_file_of_facts_does_not_keep_rows_from_being_read(tmp_path):
    folder = stored(tmp_path / "quick", *rows_of())
    (folder / "environment.json").write_text("{")
    assert len(mssbench.load(folder)) == 6


def test_rows_that_the_suite_no_longer_has_are_left_out(tmp_path):
    rows = rows_of()
    gone = [rows[0]["cell_id"], rows[1]["cell_id"]]
    frame = mssbench.load(stored(tmp_path / "quick", *rows, left_over=gone))
    assert len(frame) == 6
    assert frame.mssbench.best()["method"].tolist() == ["svd + loewner"]


def test_rows_that_changed_in_place_count(frame):
    assert frame.mssbench.best()["method"].tolist() == ["eigh + loewner"]
    frame.loc[frame["forward"] == "eigh", "status"] = "inaccurate"
    assert frame.mssbench.best()["method"].tolist() == ["svd + loewner"]


# What it says


def test_the_best_method_is_the_fastest_that_is_right_everywhere(frame):
    (best,) = frame.mssbench.best().to_dict("records")
    assert best["method"] == "eigh + loewner"
    assert best["seconds"] == pytest.approx(2e-3)
    assert best["error"] == 1e-3
    assert (best["next"], best["ratio"]) == ("svd + loewner", pytest.approx(2.0))
    assert best["call"] == 'y = mssbench.sqrtm(a, forward="eigh", backward="loewner")'
    assert (best["size"], best["batch"], best["phase"], best["why"]) == (16, 64, "step", "")


def test_each_place_has_a_row(tmp_path):
    rows = [*rows_of(), *rows_of(size=64), *rows_of(precision="float64")]
    found = mssbench.load(stored(tmp_path / "quick", *rows)).mssbench.best()
    assert found[["size", "precision"]].to_numpy().tolist() == [
        [16, "float32"],
        [64, "float32"],
        [16, "float64"],
    ]


def test_no_method_is_best_if_times_cannot_be_compared(busy):
    (best,) = busy.mssbench.best().to_dict("records")
    assert best["method"] is None
    assert best["why"].startswith("The machine was busy when the run began: load 9.0 on 2 cores.")


def test_no_method_is_best_if_none_is_right(tmp_path):
    rows = [r for r in rows_of() if r["forward"] == "pade"]
    (best,) = mssbench.load(stored(tmp_path / "quick", *rows)).mssbench.best().to_dict("records")
    assert best["method"] is None
    assert "No method is right on every kind of matrix" in best["why"]
    assert 'set={"precision": "float64"}' in best["why"]


def test_pareto_has_what_the_command_has(frame):
    everything = frame.mssbench.pareto(all=True)
    expected = list(pareto.as_data(pareto.fronts(frame.drop(columns="method"))))
    assert everything["method"].tolist() == [record["method"] for record in expected]
    assert everything["standing"].tolist() == [str(record["standing"]) for record in expected]
    few = frame.mssbench.pareto()
    assert few["method"].tolist() == ["pade + loewner", "eigh + loewner", "eigh + loewner"]
    assert few["kind"].tolist() == ["easy", "easy", "hard"]
    assert few["seconds"].tolist() == pytest.approx([1e-3, 2e-3, 2e-3])
    assert "run" not in few


def test_pareto_warns_if_times_cannot_be_compared(busy):
    with pytest.warns(UserWarning, match="The machine was busy"):
        busy.mssbench.pareto()


def test_a_part_of_the_rows_is_about_that_part(frame):
    easy = frame[frame["problem"] == "wishart(ratio=2)"]
    assert easy.mssbench.best()["method"].tolist() == ["pade + loewner"]


def test_rows_without_a_time_are_refused(tmp_path):
    only = row(None, status="not_installed", reason="pip install it")
    frame = mssbench.load(write(tmp_path / "run", only))
    for call in (frame.mssbench.best, frame.mssbench.pareto):
        with pytest.raises(TableError, match="no row has the time"):
            call()
    with pytest.raises(TableError, match="no row"):
        frame[:0].mssbench.best()


def test_a_frame_without_its_columns_says_which_are_missing(frame):
    with pytest.raises(AttributeError, match=r"missing: library, .* and \d+ more. Select rows"):
        _ = frame[["method", "size"]].mssbench
    assert not hasattr(pd.DataFrame(), "mssbench")


# What a notebook shows


class Cells(HTMLParser):
    """The cells of the tables of a page, row by row, and all of its text."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.inside, self.text, self.tags = [], False, "", set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.inside = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.inside = False

    def handle_data(self, data):
        self.text += data
        if self.inside:
            self.rows[-1][-1] += data


def test_a_notebook_shows_the_decision_with_units(frame):
    page = Cells(frame.mssbench._repr_html_())
    assert page.rows == [
        ["method", "time", "time ÷ best", "easy κ 40", "hard κ 1e6"],
        ["eigh + loewner", "2.00 ms", "1.0x", "1e-06", "1e-03"],
        ["svd + loewner", "4.00 ms", "2.0x", "1e-06", "1e-03"],
        ["pade + loewner", "1.00 ms", "0.5x", "1e-02", "✗ 0.9"],
    ]
    assert "quick · 2026-11-29 · Alpha 9, 2 cores" in page.text
    assert "step · sqrt · float32 · n = 16 · batch 64 · cpu" in page.text
    assert "Use eigh + loewner: of 2 that are right on every kind of matrix" in page.text
    assert 'y = mssbench.sqrtm(a, forward="eigh", backward="loewner")' in page.text


def test_a_notebook_shows_no_ranks_of_times_that_cannot_be_compared(busy):
    page = Cells(busy.mssbench._repr_html_())
    assert [cells[2] for cells in page.rows[1:]] == ["?", "?", "?"]
    assert "The machine was busy" in page.text
    assert "measure again with fresh=True" in page.text
    assert "--fresh" not in page.text
    assert "Use " not in page.text


def test_names_are_escaped(tmp_path):
    rows = [
        *rows_of(),
        method("<script>alert(1)</script>", 3e-3, 1e-6),
        method("<script>alert(1)</script>", 3e-3, 1e-4, problem="logspec(condition=1e6)",
               condition=1e6),
    ]  # fmt: skip
    page = mssbench.load(stored(tmp_path / "<b>quick", *rows)).mssbench._repr_html_()
    assert "script" not in Cells(page).tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "b" not in Cells(page).tags


def test_other_places_are_listed_below(tmp_path):
    rows = [*rows_of(), *rows_of(size=8)]
    page = mssbench.load(stored(tmp_path / "quick", *rows)).mssbench._repr_html_()
    assert re.search(r"<details>.*n = 8, batch 64: eigh \+ loewner", page)


def test_one_method_alone_is_nothing_to_choose_from(tmp_path):
    frame = mssbench.load(stored(tmp_path / "quick", *rows_of()[:2]))
    assert "there is nothing to choose" in frame.mssbench._repr_html_()
    assert "there is nothing to choose" in repr(frame.mssbench)


def test_a_terminal_shows_the_advice_as_text(frame):
    text = repr(frame.mssbench)
    assert "Use eigh + loewner" in text
    assert '\n    y = mssbench.sqrtm(a, forward="eigh", backward="loewner")' in text


# Figures


def test_a_figure_is_a_chart_with_its_data_and_tooltips(frame):
    import altair as alt

    chart = frame.mssbench.plot()
    assert isinstance(chart, alt.ConcatChart)
    shown = chart.to_dict()
    (run,) = carried.runs_of(frame)
    plain = [run._replace(rows=run.rows.drop(columns="method").reset_index(drop=True))]
    expected = draw.specification(FIGURES["front"], table_of(plain))
    for name in expected.keys() - {"$schema", "config"}:  # Altair adds to these two
        assert shown[name] == json.loads(json.dumps(expected[name])), name
    tooltips = [
        [tip["title"] for tip in layer["encoding"]["tooltip"]]
        for layer in shown["concat"][0]["layer"]
        if "tooltip" in layer["encoding"]
    ]
    assert all(titles[0] == "method" and "time" in titles for titles in tooltips)
    assert tooltips
    assert "text/html" in chart._repr_mimebundle_()


def test_a_figure_of_chosen_rows(frame):
    data = frame.mssbench.plot(where="forward != 'svd' and condition < 100").to_dict()["datasets"]
    assert [r["method"] for r in data["rows0"]] == ["eigh + loewner", "pade + loewner"]
    assert list(data) == ["rows0"]


def test_a_figure_warns_in_its_subtitle_if_times_cannot_be_compared(busy):
    lines = busy.mssbench.plot().to_dict()["title"]["subtitle"]
    assert "Warning: the machine was busy" in " ".join(lines)
    lines = busy.mssbench.plot("failures").to_dict()["title"]["subtitle"]
    assert "Warning" not in " ".join(lines)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"figure": "frnt"}, "Unknown figure 'frnt'. Did you mean 'front'?"),
        (
            {"where": "siez == 16"},
            "where 'siez == 16': Unknown column 'siez'. Did you mean 'size'?",
        ),
        ({"where": "size == 3"}, "leaves none of the 6 rows"),
        ({"figure": "history"}, "it needs rows of the same cells with times in two runs or more"),
    ],
)
def test_what_is_wrong_is_said(frame, given, message):
    with pytest.raises(TableError, match=re.escape(message)):
        frame.mssbench.plot(**given)


def test_without_the_packages_for_figures_only_plot_fails(frame, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "altair" else name)
    with pytest.raises(RunError, match=r"need altair: pip install .* '\.\[report\]'"):
        frame.mssbench.plot()
    assert len(frame.mssbench.best()) == 1
    assert frame.mssbench._repr_html_()


# How light it is


def test_reading_a_frame_needs_neither_torch_nor_altair(tmp_path):
    folder = stored(tmp_path / "quick", *rows_of())
    code = (
        "import sys, mssbench\n"
        "assert 'pandas' not in sys.modules\n"
        f"frame = mssbench.load({str(folder)!r})\n"
        "frame.mssbench.best(); frame.mssbench.pareto(); frame.mssbench._repr_html_()\n"
        "print(sorted({'torch', 'altair', 'jinja2', 'vl_convert'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_stored_frame_has_the_attribute_after_an_import(tmp_path, frame):
    frame.to_pickle(tmp_path / "frame.pkl")
    code = (
        "import pandas, mssbench.report.accessor\n"
        f"print(pandas.read_pickle({str(tmp_path / 'frame.pkl')!r}).mssbench.best()['method'][0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("eigh + loewner\n", "")
