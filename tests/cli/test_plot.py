"""`mssbench plot`, as a user calls it."""

import json

import pytest
from helpers.root import ROOT
from helpers.tables import called, row, write

from mssbench.report import packages

PROBLEMS = {"wishart(ratio=2)": 40.0, "logspec(condition=1e6)": 1e6}


def rows_of(run_id="r", environment="e" * 12, **more):
    return [
        row(
            seconds,
            forward=forward,
            backward="loewner",
            phase="step",
            problem=problem,
            condition=condition,
            root=1e-6,
            gradient=1e-5,
            spread=0.02,
            identity={"code_hash": "c", "environment": environment, "run_id": run_id},
            **more,
        )
        for forward, seconds in (("eigh", 1e-3), ("svd", 2e-3))
        for problem, condition in PROBLEMS.items()
    ]


def stored(folder, *rows, run_id="r", environment="e" * 12, cpu="Alpha", load=0.1, left_over=()):
    write(folder, *rows)
    document = {
        "environments": {environment: {"cpu": cpu, "cores": {"granted": 2}}},
        "runs": {run_id: {"started": "2026-11-29T12:00:00", "load_start": [load] * 3}},
        "left_over_cells": list(left_over),
    }
    (folder / "environment.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder in which the command runs, beside the runs."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(tmp_path):
    return stored(tmp_path / "quick", *rows_of())


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def plot(capsys, *arguments):
    code, out, err = called(capsys, "plot", *arguments)
    return code, " ".join(out.split()), " ".join(err.split())


def drawn(file):
    """The specification in a figure's page."""
    page = file.read_text()
    return json.loads(page.partition('id="data">')[2].partition("</script>")[0])


def test_a_figure_is_written_beside_the_caller_and_named_after_the_run(run, here, capsys):
    code, out, err = plot(capsys, run)
    assert (code, err) == (0, "")
    assert "in quick-front.png" in out
    assert (here / "quick-front.png").read_bytes().startswith(b"\x89PNG")
    assert files(here) == ["quick-front.png"]


def test_several_figures_are_named_after_themselves(run, here, capsys):
    assert plot(capsys, run, "--figure", "winners, failures")[0] == 0
    assert files(here) == ["quick-failures.png", "quick-winners.png"]


def test_all_leaves_out_what_has_nothing_to_draw_and_says_why(run, here, capsys):
    code, out, _ = plot(capsys, run, "--figure", "all")
    assert code == 0
    assert files(here) == [f"quick-{n}.png" for n in ("condition", "failures", "front", "winners")]
    assert "Left out: there is nothing to draw in the figure 'size'" in out


@pytest.mark.parametrize("suffix", ["svg", "pdf", "HTML"])
def test_the_end_of_the_name_is_the_format(run, here, capsys, suffix):
    assert plot(capsys, run, "-o", f"f.{suffix}")[0] == 0
    start = {"svg": b"<svg", "pdf": b"%PDF", "HTML": b"<!doctype html>"}[suffix]
    assert (here / f"f.{suffix}").read_bytes().startswith(start)


def test_the_usual_rows_are_named_and_a_condition_chooses_others(tmp_path, here, capsys):
    rows = [*rows_of(), *rows_of(precision="float64")]
    run = stored(tmp_path / "quick", *rows)
    out = plot(capsys, run, "-o", "f.html")[1]
    assert "f.html (float32)" in out
    assert "--where chooses others" in out
    assert len(drawn(here / "f.html")["datasets"]) == 2

    out = plot(capsys, run, "-o", "f.html", "--where", "precision == 'float64'")[1]
    assert "(" not in out
    spec = drawn(here / "f.html")
    assert "float64" in spec["title"]["subtitle"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--figure", "winer"], "Unknown figure 'winer'. Did you mean 'winners'?"),
        (["--figure", ","], "--figure is empty"),
        (["-o", "f.jpg"], "must end in one of .png, .svg, .pdf, .html"),
        (["-o", "f"], "must end in one of"),
        (["-o", "no/f.png"], "no/f.png cannot be written: the folder no does not exist."),
        (["--figure", "front,limit", "-o", "f.png"], "can hold one figure, and 2 are asked for"),
        (["--figure", "all", "-o", "f.png"], "can hold one figure"),
        (["--figure", "limit"], "nothing to draw in the figure 'limit': it needs rows"),
        (["--figure", "front,limit"], "nothing to draw in the figure 'limit'"),
        (["--where", "siez == 16"], "--where 'siez == 16': Unknown column 'siez'"),
        (["--where", "size = 16"], "write == to compare"),
        (["--where", "size == 3"], "leaves none of the 4 rows. Present values of size: 16"),
        (["--figure", "all", "--where", "size == 3"], "leaves none of the 4 rows"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, here, capsys, arguments, message):
    code, _, err = plot(capsys, run, *arguments)
    assert code == 2
    assert message in err
    assert files(here) == []


def test_a_folder_without_a_run_is_answered_by_the_nearest(run, here, capsys):
    code, _, err = plot(capsys, run.with_name("quick2"))
    assert code == 2
    assert "there is no run in" in err
    assert "quick" in err


def test_a_table_that_is_cut_off_is_refused(run, here, capsys):
    table = run / "table.csv"
    table.write_bytes(table.read_bytes()[:-20])
    code, _, err = plot(capsys, run)
    assert code == 2
    assert "table.csv" in err
    assert files(here) == []


def test_a_run_without_rows_has_nothing_to_draw(tmp_path, here, capsys):
    code, _, err = plot(capsys, write(tmp_path / "empty"))
    assert code == 2
    assert "no row" in err


def test_too_many_panels_are_refused_with_a_condition(tmp_path, here, capsys):
    rows = [r for n in range(8, 28) for r in rows_of(size=n)]
    code, _, err = plot(capsys, stored(tmp_path / "quick", *rows), "--where", "size > 0")
    assert code == 2
    assert "would have 40 panels, and more than 36 cannot be read" in err
    assert 'for example "problem == ' in err
    assert files(here) == []


def test_an_existing_file_survives_a_failure(run, here, capsys, monkeypatch):
    def fails(*_):
        raise OSError(28, "No space left on device")

    (here / "f.png").write_text("before")
    monkeypatch.setattr("mssbench.cli.export.os.fsync", fails)
    code, _, err = plot(capsys, run, "-o", "f.png")
    assert code == 2
    assert "f.png cannot be written: No space left on device" in err
    assert (here / "f.png").read_text() == "before"
    assert files(here) == ["f.png"]


def test_a_folder_that_does_not_exist_is_named(run, here, capsys):
    code, _, err = plot(capsys, run, "-o", "nodir/x.png")
    assert code == 2
    assert "nodir/x.png cannot be written: the folder nodir does not exist." in " ".join(
        err.split()
    )


def test_the_help_says_how_many_runs_and_which_rows(capsys):
    _, out, _ = called(capsys, "plot", "--help")
    text = " ".join(out.replace("│", " ").split())
    assert "Most figures need one; history needs at least two." in text
    assert "limit (the time divided by the shortest possible time)" in text
    assert "sqrt, steps in float32 by the wall clock" in text


@pytest.mark.parametrize(
    ("missing", "named"),
    [
        (["altair", "jinja2", "vl_convert"], "altair, jinja2 and vl-convert"),
        (["altair", "vl_convert"], "altair and vl-convert"),
        (["jinja2"], "jinja2"),
    ],
)
def test_missing_packages_are_named_with_the_remedy(run, here, capsys, monkeypatch, missing, named):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in missing else "x")
    code, _, err = plot(capsys, run)
    assert code == 2
    in_a_clone = "pip install -c .ci/constraints.txt '.[report]' in a clone of mssbench"
    assert f"figures need {named}: {in_a_clone}" in err


def test_the_pages_on_figures_lead_with_what_can_be_installed():
    for name in ("figures.md", "report.md"):
        text = (ROOT / "docs" / name).read_text()
        assert 0 < text.index("constraints.txt '.[report]'") < text.index("'mssbench[report]'")
    assert "| `report` |" in (ROOT / "docs" / "developing.md").read_text()


def test_a_disturbed_run_has_a_warning_here_and_in_the_figure(tmp_path, here, capsys):
    run = stored(tmp_path / "quick", *rows_of(), load=9.0)
    code, out, _ = plot(capsys, run, "-o", "f.html")
    assert code == 0
    assert "The machine was busy when the run began: load 9.0 on 2 cores" in out
    subtitle = " ".join(drawn(here / "f.html")["title"]["subtitle"])
    assert "Warning: the machine was busy when the run began: load 9.0 on 2 cores." in subtitle

    plot(capsys, run, "-o", "f.html", "--figure", "condition")  # errors are not affected
    assert "Warning" not in " ".join(drawn(here / "f.html")["title"]["subtitle"])
    code, _, err = plot(capsys, run, "--figure", "winners")
    assert code == 2
    assert "times that can be compared" in err


def test_several_runs_are_panels_beside_each_other(tmp_path, here, capsys):
    runs = [stored(tmp_path / n, *rows_of(n), run_id=n) for n in ("one", "two")]
    code, out, _ = plot(capsys, *runs, "-o", "f.html")
    assert code == 0
    assert "environments" not in out
    assert [panel["title"][-1] for panel in drawn(here / "f.html")["concat"]] == ["one", "two"] * 2


def test_runs_of_several_machines_say_so(tmp_path, here, capsys):
    runs = [
        stored(tmp_path / n, *rows_of(n, environment=n), run_id=n, environment=n, cpu=cpu)
        for n, cpu in (("one", "Alpha"), ("two", "Beta"))
    ]
    code, out, _ = plot(capsys, *runs, "-o", "f.html")
    assert code == 0
    assert "several environments: their times cannot be compared" in out
    assert "one: Alpha, 2 cores" in out
    subtitle = " ".join(drawn(here / "f.html")["title"]["subtitle"])
    assert "Warning: these rows are of several environments" in subtitle


def test_rows_that_the_suite_no_longer_has_are_counted(tmp_path, here, capsys):
    rows = rows_of()
    run = stored(tmp_path / "quick", *rows, left_over=[rows[0]["cell_id"]])
    out = plot(capsys, run, "-o", "f.html")[1]
    assert "Not drawn: rows of 1 cell" in out
    assert sum(map(len, drawn(here / "f.html")["datasets"].values())) == 3


def test_the_help_names_every_figure(capsys):
    from mssbench.cli.plot import FIGURES

    text = plot(capsys, "--help")[1]
    for name in FIGURES:
        assert name in text
