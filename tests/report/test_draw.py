"""Figures as files: which rows, how many panels, what the titles say, and the formats."""

import json
import re
from math import inf, nan

import pytest
from helpers.scene import scene
from helpers.tables import frame, row, write

from mssbench import results
from mssbench.cli.plot import FIGURES as OFFERED
from mssbench.cli.plot import drawings
from mssbench.errors import RunError, TableError
from mssbench.report import draw
from mssbench.report.cautions import cautions, mixed_environments
from mssbench.report.drawn import Measured, chosen, drawn, measured, table_of, unique_names
from mssbench.report.figures import FIGURES
from mssbench.report.figures.figure import WIDTH
from mssbench.report.page import page

NO_FACTS = {"environments": {}, "runs": {}}
FRONT = FIGURES["front"]
PROBLEMS = {"wishart(ratio=2)": 40.0, "logspec(condition=1e6)": 1e6, "logspec(condition=10)": 10.0}


def rows_of(sizes=(16,), batches=(64,), problems=PROBLEMS, forwards=("eigh", "svd"), **more):
    return [
        row(
            1e-3, forward=f, size=n, batch=b, problem=p, condition=PROBLEMS.get(p, 3.0), root=1e-6,
            spread=0.02, **more,
        )
        for f in forwards
        for n in sizes
        for b in batches
        for p in problems
    ]  # fmt: skip


def table(*rows):
    return table_of([Measured("run", frame(*rows), NO_FACTS)])


# Which rows


def test_every_figure_is_offered_and_described():
    assert tuple(FIGURES) == OFFERED


def test_by_default_a_figure_has_steps_in_float32_by_the_wall_clock():
    rows = [
        *rows_of(phase="step", gradient=1e-6),
        *rows_of(phase="step", gradient=1e-6, precision="float64"),
        *rows_of(phase="forward"),
        *rows_of(phase="step", gradient=1e-6, clock="gpu", device="cuda"),
    ]
    kept, words = draw.usual_rows(FRONT, table(*rows))
    assert len(kept) == 6
    assert set(kept["phase"]) == {"step"}
    assert set(kept["precision"]) == {"float32"}
    assert words == ["step", "float32", "wall clock"]


def test_a_value_that_no_row_has_leaves_nothing_out():
    kept, words = draw.usual_rows(FRONT, table(*rows_of(phase="forward", precision="float64")))
    assert len(kept) == 6
    assert words == []


def test_of_several_batches_the_largest_with_every_size_is_drawn():
    rows = [*rows_of(sizes=(16, 64), batches=(4, 64)), *rows_of(sizes=(16,), batches=(256,))]
    kept, words = draw.usual_rows(FRONT, table(*rows))
    assert set(kept["batch"]) == {64}
    assert words == ["batch 64"]


def test_over_the_condition_the_batch_with_the_most_problems_is_drawn():
    few = list(PROBLEMS)[:2]
    rows = [*rows_of(batches=(4,)), *rows_of(batches=(64,), problems=few)]
    kept, _ = draw.usual_rows(FIGURES["condition"], table(*rows))
    assert set(kept["batch"]) == {4}
    kept, _ = draw.usual_rows(FRONT, table(*rows))
    assert set(kept["batch"]) == {64}


def test_sizes_of_their_own_batch_are_all_drawn():
    rows = [*rows_of(sizes=(16,), batches=(64,)), *rows_of(sizes=(64,), batches=(4,))]
    kept, words = draw.usual_rows(FRONT, table(*rows))
    assert len(kept) == len(rows)
    assert words == []


def test_a_condition_keeps_the_runs_that_have_such_rows():
    runs = [
        Measured(name, draw_labels(frame(*rows_of(sizes=sizes))), NO_FACTS)
        for name, sizes in (("one", (16,)), ("two", (16, 64)))
    ]
    assert [run.name for run in chosen(runs, "size == 64", "--where")] == ["two"]
    assert [len(run.rows) for run in chosen(runs, "size == 16", "--where")] == [6, 6]
    with pytest.raises(TableError, match="--where 'size == 5' leaves none of the 18 rows"):
        chosen(runs, "size == 5", "--where")


def draw_labels(rows):
    from mssbench.results.labels import with_labels

    return with_labels(rows)


def test_ranks_are_those_among_the_chosen_rows():
    times = {"eigh": 1e-3, "svd": 2e-3, "pade": 3e-3}
    rows = [row(t, forward=f, root=1e-6, condition=40.0) for f, t in times.items()]
    runs = [Measured("run", draw_labels(frame(*rows)), NO_FACTS)]
    few = table_of(chosen(runs, "forward != 'eigh'", "--where"))
    assert few.set_index("forward")["fastest"].to_dict() == {"svd": "best", "pade": ""}
    assert few.set_index("forward")["standing"].to_dict() == {"svd": "front", "pade": "beaten"}


# Panels


def test_too_many_panels_are_refused_with_a_condition_that_helps():
    problems = [f"logspec(condition={k})" for k in range(2, 15)]
    whole = table(*rows_of(sizes=(8, 16, 32), problems=problems))
    with pytest.raises(TableError, match="would have 39 panels, and more than 36") as error:
        draw.specification(FRONT, whole)
    condition = re.search(r'with --where, for example "(.*)"\.$', str(error.value))[1]
    (run,) = chosen([Measured("run", whole, NO_FACTS)], condition, "--where")
    assert draw.specification(FRONT, run.rows)["concat"]


@pytest.mark.parametrize("name", FIGURES)
def test_without_rows_a_figure_says_what_it_needs(name):
    whole = table(*rows_of(problems=["wishart(ratio=2)"], forwards=("eigh",)))
    empty = whole[whole["size"] == 0]
    with pytest.raises(TableError, match=f"nothing to draw in the figure '{name}': it needs "):
        draw.specification(FIGURES[name], empty)


@pytest.mark.parametrize(
    ("sizes", "problems", "columns"),
    [(1, 1, 1), (2, 1, 2), (2, 2, 2), (2, 3, 2), (3, 2, 3), (4, 3, 4), (5, 1, 3), (4, 1, 2)],
)
def test_each_row_of_panels_has_one_problem_where_they_fit(sizes, problems, columns):
    keys = [{"problem": str(p), "size": n} for p in range(problems) for n in range(sizes)]
    varying = [name for name, count in (("problem", problems), ("size", sizes)) if count > 1]
    assert draw._columns(keys, varying) == columns


def test_panels_of_unequal_rows_stand_three_beside_each_other():
    keys = [{"problem": p, "size": n} for p, n in (("a", 1), ("a", 2), ("b", 1), ("b", 3))]
    assert draw._columns([*keys, {"problem": "c", "size": 1}], ["problem", "size"]) == 3


def test_only_outer_panels_have_titles_of_axes():
    spec = draw.specification(FRONT, table(*rows_of(sizes=(16, 64))))
    titles = [
        tuple(panel["layer"][0]["encoding"][letter]["axis"]["title"] for letter in "xy")
        for panel in spec["concat"]
    ]
    time, error = "time per call", "relative error of the root"
    assert titles == [
        (None, error),
        (None, None),
        (None, error),
        (None, None),
        (time, error),
        (time, None),
    ]


@pytest.mark.parametrize("figure", ["front", "condition"])
@pytest.mark.parametrize(
    ("phases", "title"),
    [
        (["step"], "relative error of the gradient"),
        (["step", "backward"], "relative error of the gradient"),
        (["forward"], "relative error of the root"),
        (["forward", "step"], "relative error"),
    ],
)
def test_the_axis_of_errors_says_whose_they_are(figure, phases, title):
    whole = table(*(r for phase in phases for r in rows_of(phase=phase, gradient=1e-5)))
    spec = draw.specification(FIGURES[figure], whole)
    titles = {
        layer["encoding"]["y"].get("axis", {}).get("title")
        for panel in spec["concat"]
        for layer in panel["layer"]
    }
    assert titles - {None} == {title}


def test_the_front_says_when_errors_and_times_count_as_equal():
    text = " ".join(draw.specification(FRONT, table(*rows_of()))["title"]["subtitle"])
    assert "Errors within a factor of 2 count as equal." in text
    assert "A method whose time overlaps with that of a faster one has no ring." in text


def test_panels_of_different_columns_do_not_overlap_however_long_their_titles():
    long = [f"clusters(m=4, gap={g}, condition=100)|scale(factor=1e-30)" for g in (0, 1e-6, 1e-3)]
    spec = draw.specification(FRONT, table(*rows_of(problems=long)))
    lines = [line for panel in scene(spec).panels for line in panel.title]
    assert len(lines) > 3
    assert max(map(len, lines)) * draw._CHARACTER <= WIDTH
    assert "".join(spec["concat"][0]["title"]).replace(" ", "").endswith("scale(factor=1e-30)")
    # There is room for the lines of a title above each frame.
    assert spec["spacing"]["row"] >= draw._TITLE_LINE * max(len(p["title"]) for p in spec["concat"])


def test_the_subtitle_has_what_all_panels_share_and_the_titles_the_rest():
    spec = draw.specification(FRONT, table(*rows_of(sizes=(16, 64), phase="step", gradient=1e-6)))
    shared = spec["title"]["subtitle"][0]
    assert shared == "step · sqrt · float32 · batch 64 · cpu · wall clock · run"
    assert spec["concat"][0]["title"][-1] == "n = 16"
    assert "κ 10" in spec["concat"][0]["title"][0]


def test_remarks_stand_below_the_title_in_lines_that_fit():
    remark = "Warning: the machine was busy when the run began: load 9.0 on 2 cores."
    spec = draw.specification(FRONT, table(*rows_of()), [remark])
    lines = spec["title"]["subtitle"]
    assert " ".join(lines[1:]).startswith(remark)
    of = scene(spec)
    assert max(map(len, of.titles)) * draw._CHARACTER <= of.width + 60


def test_the_data_are_json_without_nan():
    rows = [row(1e-3, root=nan, status="nonfinite"), row(2e-3, root=inf, forward="svd")]
    (data,) = draw.specification(FRONT, table(*rows))["datasets"].values()
    assert json.dumps(data, allow_nan=False)
    assert [record["error"] for record in data] == [None, None]
    assert data[0]["time_text"] == "1.00 ms (1.00 ms to 1.00 ms)"


def test_a_figure_is_on_white_also_where_the_viewer_is_dark():
    spec = draw.specification(FRONT, table(*rows_of(problems=["wishart(ratio=2)"])))
    svg = draw.rendered(spec, "svg").decode()
    width, height = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    assert f'<rect width="{width}" height="{height}" fill="white"/>' in svg


# Names


def test_an_unknown_figure_is_answered_by_the_nearest():
    with pytest.raises(
        TableError, match=r"--figure: Unknown figure 'winer'. Did you mean 'winners'"
    ):
        draw.figures_named(["winer"])
    with pytest.raises(TableError, match="Unknown figure 'all'"):
        draw.figure_named("all")
    with pytest.raises(TableError, match="--figure is empty"):
        draw.figures_named([])
    assert draw.figures_named(["all"]) == list(FIGURES.values())
    assert [f.name for f in draw.figures_named(["limit", "front", "limit"])] == ["limit", "front"]


def test_runs_of_one_name_get_different_ones(tmp_path):
    folders = [tmp_path / p / "quick" for p in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        write(folder, *rows_of(problems=["wishart(ratio=2)"]))
    runs = [results.open(folder) for folder in folders]
    assert unique_names(runs) == ["a/quick", "b/quick"]
    assert set(drawn(runs)["run"]) == {"a/quick", "b/quick"}


def test_a_run_that_is_named_twice_is_refused(tmp_path):
    """A glob may find it twice, and each of its rows would count twice."""
    (folder := tmp_path / "quick").mkdir()
    write(folder, *rows_of(problems=["wishart(ratio=2)"]))
    (link := tmp_path / "link").symlink_to(folder)
    runs = [results.open(path) for path in (folder, link)]
    refused = re.escape(f"{link} is named twice: name each run once.")
    for make in (unique_names, measured, page):
        with pytest.raises(RunError, match=refused):
            make(runs)
    with pytest.raises(RunError, match=refused):
        list(drawings([folder, link], ["front"], None, tmp_path / "front.svg"))
    assert not (tmp_path / "front.svg").exists()


# Cautions


def measured_on(name, environment, facts, load=0.1):
    rows = rows_of(identity={"code_hash": "c", "environment": environment, "run_id": name})
    known = {"cores": {"granted": 2}, **facts}
    runs = {name: {"load_start": [load] * 3}}
    return Measured(name, frame(*rows), {"environments": {environment: known}, "runs": runs})


def test_a_busy_machine_is_a_caution_with_the_name_of_its_run():
    calm, busy = (measured_on(n, "e", {"cpu": "Alpha"}, load) for n, load in (("a", 0), ("b", 9)))
    assert list(cautions([calm])) == []
    (caution,) = cautions([calm, busy])
    assert caution.text.startswith("b: The machine was busy")
    assert "--fresh" in caution.text
    assert caution.short == (
        "Warning: b: the machine was busy when the run began: load 9.0 on 2 cores. "
        "Its times cannot be compared."
    )
    (alone,) = cautions([busy])
    assert alone.short.startswith("Warning: the machine was busy")


def test_runs_of_several_environments_are_a_caution_that_names_them():
    one, other = (measured_on(n, n, {"cpu": cpu}) for n, cpu in (("a", "Alpha"), ("b", "Beta")))
    again = measured_on("c", "c", {"cpu": "Alpha"})
    assert [e.runs for e in mixed_environments([one, other, again])] == [["a", "c"], ["b"]]
    (caution,) = cautions([one, other, again])
    assert "several environments: their times cannot be compared" in caution.text
    assert "a, c: Alpha" in caution.text
    assert "b: Beta" in caution.text
    assert list(cautions([one, again])) == []


def on_gpus(*models, device="cuda"):
    """Rows of two methods, each on a GPU of its own machine; the second may be on the CPU."""
    rows = rows_of(device="cuda")
    for r in rows:
        r["environment"] = str(int(r["forward"] == "svd"))
        r["device"] = device if r["forward"] == "svd" else "cuda"
    machines = {
        str(i): {"gpus": [{"name": model}] * bool(model), "driver": 580}
        for i, model in enumerate(models)
    }
    return Measured("run", frame(*rows), {"environments": machines, "runs": {}})


def test_one_run_with_rows_of_two_gpus_names_them_and_calls_no_method_fastest():
    mixed = on_gpus("NVIDIA H100", "NVIDIA H200")
    (caution,) = cautions([mixed])
    assert "run: NVIDIA H100 (driver 580)" in caution.text
    assert "run: NVIDIA H200 (driver 580)" in caution.text
    table = table_of([mixed])
    assert set(table["fastest"]) == {""}
    assert (table["standing"] == "front").groupby(table["machine"]).any().all()


def test_a_cpu_and_a_gpu_of_one_run_are_no_mixture():
    both = on_gpus("NVIDIA H200", "", device="cpu")
    assert mixed_environments([both]) == []
    assert list(cautions([both])) == []


# Formats


@pytest.fixture(scope="module")
def spec():
    return draw.specification(FRONT, table(*rows_of(problems=["wishart(ratio=2)"])))


def test_png_svg_and_pdf_are_what_they_say(spec):
    assert draw.rendered(spec, "png").startswith(b"\x89PNG\r\n")
    svg = draw.rendered(spec, "svg").decode()
    assert svg.startswith("<svg")
    assert "time per call" in svg
    assert set(re.findall(r"https?://[^\"]*", svg)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert draw.rendered(spec, "pdf").startswith(b"%PDF-")


def test_html_runs_only_its_own_scripts_and_fetches_nothing(spec):
    page = draw.rendered(spec, "html").decode()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    tags = re.sub(r"(<script[^>]*>).*?</script>", r"\1", page, flags=re.S)
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", tags)


def test_names_cannot_end_the_script_of_a_page():
    name = "</script><b>&\u2028"
    rows = rows_of(problems=["wishart(ratio=2)"], forwards=(name, "svd"))
    spec = draw.specification(FRONT, table(*rows))
    page = draw.rendered(spec, "html").decode()
    assert "</script><b>" not in page
    assert "\u2028" not in page
    assert "\\u003c/script>\\u003cb>&\\u2028" in page


@pytest.mark.parametrize("name", ["figure", "figure.jpg", "figure.png.txt", ".png"])
def test_another_ending_is_refused_with_those_that_are_known(tmp_path, name):
    with pytest.raises(RunError, match=r"must end in one of \.png, \.svg, \.pdf, \.html"):
        draw.format_of(tmp_path / name)


def test_the_ending_may_be_in_capitals(tmp_path):
    assert draw.format_of(tmp_path / "figure.PDF") == "pdf"


def test_rows_that_a_suite_no_longer_has_are_not_drawn(tmp_path):
    folder = write(tmp_path / "run", *rows_of())
    run = results.open(folder)
    gone = run.frame["cell_id"].iloc[0]
    facts = (
        json.loads((folder / "environment.json").read_text())
        if (folder / "environment.json").exists()
        else {"environments": {}, "runs": {}}
    )
    facts["left_over_cells"] = [gone]
    (folder / "environment.json").write_text(json.dumps(facts))
    (left,) = measured([results.open(folder)])
    assert gone not in set(left.rows["cell_id"])
    assert len(left.rows) == len(run.frame) - 1
