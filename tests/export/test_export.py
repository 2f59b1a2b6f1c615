"""Other tools' formats are what these tools take, and the way back loses nothing."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from itertools import groupby

import pytest
from helpers.tables import called, row, write

import mssbench
from mssbench import export
from mssbench.cli import export as command
from mssbench.export import FORMATS
from mssbench.export.pytest_benchmark import stats
from mssbench.results import samples as samples_
from mssbench.results.folder import RunFolder

ROWS = (
    row(1e-3, spread=0.1, root=1e-6, products=3.0),
    row(2e-3, spread=0.1, root=1e-7, forward="svd"),
    row(2e-3, phase="backward", backward="loewner", gradient=0.5, root=1e-7),
    row(
        3e-3,
        phase="step",
        backward="loewner",
        gradient=0.5,
        status="inaccurate",
        reason="gradient error 0.5 exceeds 0.1",
    ),
    row(status="crashed", reason="<it> \x00 died | of `it`", size=32),
    row(status="not_installed", reason="pip install cupy", library="cupy"),
)


@pytest.fixture
def run(tmp_path):
    with RunFolder(tmp_path / "a run") as folder:
        for _, group in groupby(ROWS, key=lambda r: r["cell_id"]):
            cell = list(group)
            middles = [r["seconds_median"] for r in cell]
            folder.append(cell, [[m * 0.9, m, m * 1.1] if m else [] for m in middles])
        folder.finish(ROWS)
    return tmp_path / "a run"


def text(run, to):
    return command.exported(run, to, None)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("to", FORMATS)
def test_every_format_is_written_to_stdout_or_to_a_file(run, tmp_path, capsys, to):
    code, out, _ = called(capsys, "export", run, "--to", to)
    assert (code, out) == (0, text(run, to))
    file = tmp_path / "out"
    code, said, _ = called(capsys, "export", run, "--to", to, "--out", file)
    assert (code, file.read_text()) == (0, out)
    assert str(file) in said


def test_csv_has_every_column_and_row(run):
    found = list(csv.DictReader(io.StringIO(text(run, "csv"))))
    assert len(found) == len(ROWS)
    assert float(found[0]["seconds_median"]) == 1e-3


def test_json_is_strict_and_has_the_facts(run):
    found = json.loads(text(run, "json"), parse_constant=pytest.fail)
    assert len(found["rows"]) == len(ROWS)
    assert found["rows"][4]["seconds_median"] is None
    assert {"environments", "runs", "schema"} <= found.keys()


def test_junit_tells_failed_broken_and_absent(run):
    root = ET.fromstring(text(run, "junit"))
    (suite,) = root
    counts = {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": "6", "failures": "1", "errors": "1", "skipped": "1"}
    (error,) = suite.iter("error")
    assert error.get("message") == "crashed: <it>  died | of `it`"
    names = [(c.get("classname"), c.get("name")) for c in suite]
    assert len({*names}) == len(names)
    assert float(suite[0].get("time")) == pytest.approx(1e-3)


def test_markdown_has_a_table_and_nothing_that_breaks_out_of_it(run):
    found = text(run, "markdown")
    assert "| method | n = 16 |" in found
    assert "**1.00 ms** (1.00x) 1e-06" in found
    assert "died \\| of \\`it\\`" in found
    assert "&lt;it&gt;" in found
    tables = [line for line in found.splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in tables} == {3}


def test_github_action_benchmark_takes_a_list_of_named_values(run):
    found = json.loads(text(run, "github-action-benchmark"))
    assert all({"name", "unit", "value"} <= e.keys() for e in found)
    assert all(isinstance(e["value"], float) for e in found)
    assert len({e["name"] for e in found}) == len(found)
    assert found[0]["value"] == pytest.approx(1000)
    assert found[1] == {"name": found[0]["name"] + " · root_error", "unit": "1", "value": 1e-6}


def test_bencher_takes_measures_by_name(run):
    found = json.loads(text(run, "bencher"))
    first = next(iter(found.values()))
    assert first["latency"]["value"] == pytest.approx(1e6)
    assert first["latency"]["lower_value"] < 1e6 < first["latency"]["upper_value"]
    assert first["products"] == {"value": 3.0}
    assert len(found) == 4


def test_pytest_benchmark_json_comes_back_as_the_same_table(run, tmp_path, capsys):
    file = tmp_path / "bench.json"
    called(capsys, "export", run, "--to", "pytest-benchmark", "--out", file)
    code, out, _ = called(capsys, "import", file, "--out", tmp_path / "back")
    assert (code, "4 rows" in out) == (0, True)
    before, after = mssbench.load(run), mssbench.load(tmp_path / "back")
    timed = before[before["seconds_median"].notna()].sort_values("cell_id", kind="stable")
    assert after.equals(timed.reset_index(drop=True))
    kept = {k: v for k, v in samples_.read(run).items() if v}
    assert samples_.read(tmp_path / "back") == kept
    assert len(kept) == 4
    code, out, _ = called(capsys, "compare", run, tmp_path / "back")
    assert code == 0


def test_infinite_errors_are_left_out_or_come_back_as_they_were(tmp_path, capsys):
    run = write(tmp_path / "r", row(1e-3, root=float("inf"), status="diverged", reason="far"))

    def strict(to):
        return json.loads(text(run, to), parse_constant=pytest.fail)

    (measures,) = strict("bencher").values()
    assert "root_error" not in measures
    assert "latency" in measures
    assert len(strict("github-action-benchmark")) == 1
    strict("pytest-benchmark")
    called(capsys, "export", run, "--to", "pytest-benchmark", "--out", tmp_path / "b.json")
    code, _, err = called(capsys, "import", tmp_path / "b.json", "--out", tmp_path / "back")
    assert code == 0, err
    assert mssbench.load(tmp_path / "back")["root_error"].tolist() == [float("inf")]


def test_of_a_run_without_samples_nothing_is_taken_for_samples(tmp_path, capsys):
    """As a baseline is stored. What pytest-benchmark must have of it is said to be estimated."""
    run = write(tmp_path / "r", row(1e-3, spread=0.1, root=1e-6, samples=40))
    (found,) = json.loads(text(run, "pytest-benchmark"))["benchmarks"]
    assert found["stats"]["data"] == []
    assert (found["stats"]["rounds"], found["stats"]["median"]) == (40, 1e-3)
    assert all(isinstance(v, float | int | str | list) for v in found["stats"].values())
    assert "max" in found["extra_info"]["mssbench_estimated"]
    called(capsys, "export", run, "--to", "pytest-benchmark", "--out", tmp_path / "b.json")
    called(capsys, "import", tmp_path / "b.json", "--out", tmp_path / "back")
    assert not any(samples_.read(tmp_path / "back").values())


def test_its_numbers_are_those_of_pytest_benchmark_itself():
    from pytest_benchmark.stats import Stats

    samples = [1.0, 2.0, 4.0, 4.5, 5.0, 9.0, 30.0]
    theirs = Stats()
    for s in samples:
        theirs.update(s)
    ours = stats(samples, 1)
    for name in ("min", "max", "mean", "stddev", "median", "rounds", "total", "ops"):
        assert ours[name] == pytest.approx(getattr(theirs, name)), name


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "is not a pytest-benchmark JSON: line 1, column 2 is not valid JSON. Write one"),
        ('{"benchmarks": 3}', "is not a pytest-benchmark"),
        ('{"benchmarks": []}', "has no cell of mssbench"),
        ("[]", "is not a pytest-benchmark JSON: a value in it has the wrong type. Write one"),
        ("{}", "is not a pytest-benchmark JSON: it has no 'benchmarks'. Write one"),
        (
            '{"benchmarks": [{"extra_info": {"mssbench": {"size": 3}}}]}',
            "is not a pytest-benchmark",
        ),
    ],
)
def test_what_is_no_benchmark_of_ours_is_refused(tmp_path, capsys, content, why):
    file = tmp_path / "x.json"
    file.write_text(content)
    code, _, err = called(capsys, "import", file, "--out", tmp_path / "out")
    assert (code, why in err) == (2, True)
    assert "Error" not in err
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named_without_a_number(tmp_path, capsys):
    file = tmp_path / "nope.json"
    code, _, err = called(capsys, "import", file, "--out", tmp_path / "out")
    assert (code, err) == (2, f"mssbench: {file} cannot be read: No such file or directory.\n")


def test_an_import_overwrites_nothing(run, tmp_path, capsys):
    write(tmp_path / "taken", row(1.0))
    file = tmp_path / "bench.json"
    called(capsys, "export", run, "--to", "pytest-benchmark", "--out", file)
    code, _, err = called(capsys, "import", file, "--out", tmp_path / "taken")
    assert (code, "not an empty folder" in err) == (2, True)


def test_an_unknown_format_names_the_nearest(run, capsys):
    code, _, err = called(capsys, "export", run, "--to", "junitxml")
    assert (code, "Did you mean 'junit'?" in err) == (2, True)


def test_of_rows_that_even_share_their_cell_no_two_have_one_name():
    """A dashboard would draw them as one line."""
    same = row(1e-3) | {"method": "torch/eigh"}
    other = row(3e-3, forward="svd") | {"method": "torch/svd"}
    first, second, third, fourth = export.names([same, same, other, same])
    plain = "torch/eigh · sqrt n=16 b=64 wishart(ratio=2) float32 cpu forward wall"
    assert first == f"{plain} · {same['cell_id']} hot"
    assert (second, fourth) == (f"{first}'", f"{first}''")
    assert third == plain.replace("eigh", "svd")  # nothing is added where nothing need be


@pytest.mark.parametrize("to", ["csv", "json"])
def test_a_large_export_comes_in_pieces_which_are_the_same_text(run, monkeypatch, to):
    whole = text(run, to)
    monkeypatch.setattr(export, "_PIECE", 100)
    what = export.Exported("a run", ROWS, {}, {})
    parts = list(export.pieces(what, to))
    assert len(parts) > 2
    assert all(len(part) > 100 for part in parts[:-1])
    monkeypatch.setattr(export, "_PIECE", 10**6)
    assert [*export.pieces(what, to)] == ["".join(parts)]
    assert text(run, to) == whole
