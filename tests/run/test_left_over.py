"""Rows that an earlier run left in a folder stand for nothing that the suite no longer has."""

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.runs import load, stand_in, table, write_suite
from helpers.tables import called

from mssbench import results
from mssbench.cli import run as run_command
from mssbench.records.summary import Summary
from mssbench.results.facts_file import LEFT_OVER
from mssbench.results.rows import ENVIRONMENT
from mssbench.run import recorder
from mssbench.run.run import run

TWO = "forward = ['numpy/eigh', 'numpy/svd']"
ONE = "forward = ['numpy/eigh']"


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of this test alone."""
    monkeypatch.setenv("MSSBENCH_LOCKS", str(tmp_path / "locks"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def measure(tmp_path: Path) -> Any:
    """A function that runs a suite of some methods into a folder of this test."""
    python = stand_in(tmp_path)

    def measured(methods: str, folder: str, *overrides: str, only: str = "") -> Summary:
        suite = load(write_suite(tmp_path, methods), *overrides)
        if only:
            suite = suite.only([c for c in suite.cells if c.forward == only], only)
        return run(suite, Path(folder), python=python)

    return measured


def forwards(folder: str) -> set[str]:
    return {row["forward"] for row in table(Path(folder))}


def test_check_counts_a_method_that_the_suite_lost_as_gone(measure, capsys):
    measure(TWO, "ci")
    measure(TWO, "base")
    assert called(capsys, "check", "ci", "--baseline", "base")[0] == 0

    summary = measure(ONE, "ci")
    assert summary.left_over == 1
    assert forwards("ci") == {"eigh", "svd"}, "the rows stay"

    code, out, _ = called(capsys, "check", "ci", "--baseline", "base")
    assert code == 4
    assert "gone" in out
    assert "not compared" in " ".join(out.split())


def test_show_leaves_them_out_and_shows_them_when_asked(measure, capsys):
    measure(TWO, "ci")
    assert "no longer" not in called(capsys, "show", "ci")[1]
    code, _, err = called(capsys, "show", "ci", "--left-over")
    assert code == 2
    assert "has all cells" in err

    measure(ONE, "ci")
    said = " ".join(called(capsys, "show", "ci")[1].split())
    assert "numpy/svd" not in said
    assert "Not shown: rows of 1 cell that the suite no longer has" in said

    said = called(capsys, "show", "ci", "--left-over")[1]
    assert "numpy/svd" in said
    assert "numpy/eigh" not in said


def test_show_and_run_give_no_left_over_row_as_json(measure, capsys):
    measure(TWO, "ci")
    measure(ONE, "ci")
    found = json.loads(called(capsys, "show", "ci", "--json")[1])
    assert found["left_over_cells"] == 1
    assert {e["method"] for b in found["blocks"] for e in b["entries"]} == {"numpy/eigh"}
    assert {row["forward"] for row in run_command.data(Path("ci"))} == {"eigh"}


def test_export_leaves_them_out_and_says_so(measure, capsys):
    measure(TWO, "ci")
    assert called(capsys, "export", "ci", "--to", "csv")[2] == ""
    measure(ONE, "ci")
    _, out, err = called(capsys, "export", "ci", "--to", "csv")
    assert "svd" not in out
    assert "left out: rows of 1 cell" in " ".join(err.split())


def test_compare_and_json_say_so_too(measure, capsys):
    measure(TWO, "ci")
    measure(TWO, "base")
    measure(ONE, "ci")
    _, out, _ = called(capsys, "compare", "base", "ci", "--json")
    found = json.loads(out)
    assert {r["verdict"] for r in found["rows"] if r["forward"] == "svd"} == {"gone"}
    assert any("of new" in remark for remark in found["remarks"])


def test_a_size_that_was_overridden_once_is_left_over_as_well(measure, capsys):
    measure(TWO, "ci")
    measure(TWO, "base")
    measure(TWO, "ci", "size=5")
    assert called(capsys, "check", "ci", "--baseline", "base")[0] == 5  # nothing in common
    measure(TWO, "ci")
    assert called(capsys, "check", "ci", "--baseline", "base")[0] == 0


def test_a_method_that_comes_back_counts_again_and_is_not_measured_again(measure, capsys):
    measure(TWO, "ci")
    measure(TWO, "base")
    before = [row["seconds_median"] for row in table(Path("ci"))]
    measure(ONE, "ci")
    assert measure(TWO, "ci").left_over == 0
    assert [row["seconds_median"] for row in table(Path("ci"))] == before
    assert called(capsys, "check", "ci", "--baseline", "base")[0] == 0


def test_cells_that_a_condition_leaves_out_are_still_of_the_suite(measure, capsys):
    measure(TWO, "ci")
    measure(TWO, "base")
    assert measure(TWO, "ci", only="eigh").left_over == 0
    assert called(capsys, "check", "ci", "--baseline", "base")[0] == 0


def test_a_baseline_takes_no_row_that_its_suite_does_not_have(measure, capsys):
    measure(TWO, "ci")
    measure(ONE, "ci")
    assert called(capsys, "baseline", "save", "ci", "--name", "kept")[0] == 0
    assert forwards("results/baselines/kept") == {"eigh"}


def test_a_stored_baseline_with_left_over_rows_does_not_ask_for_them(measure, capsys):
    measure(TWO, "base")
    measure(ONE, "base")
    measure(ONE, "ci")
    code, out, _ = called(capsys, "check", "ci", "--baseline", "base")
    assert code == 0
    assert "of base is not compared" in " ".join(out.split())


@pytest.mark.parametrize("other", [ONE, TWO])
def test_merged_runs_agree_on_what_is_left_over(measure, capsys, other):
    measure(TWO, "first")
    measure(ONE, "first")
    measure(other, "second")
    assert called(capsys, "merge", "first", "second", "--out", "both")[0] == 0
    left_over = results.open(Path("both")).left_over
    assert bool(left_over) == (other == ONE), "a run whose suite has the cell makes it current"


def test_merge_takes_the_row_of_a_suite_that_has_the_cell(measure, capsys):
    measure(TWO, "first")
    measure(ONE, "first")
    measure(TWO, "second")
    runs = {row["run_id"] for row in table(Path("second"))}
    assert called(capsys, "merge", "first", "second", "--out", "both")[0] == 0
    assert {row["run_id"] for row in table(Path("both")) if row["forward"] == "svd"} == runs
    assert {row["run_id"] for row in table(Path("both")) if row["forward"] == "eigh"} != runs


def test_nothing_is_concluded_from_rows_that_are_left_over(measure, monkeypatch):
    """A forward looks slower than a step that another code took long ago, for example."""
    seen = []
    completed = recorder.finish

    def finish(rows, *others):
        seen.append({row["forward"] for row in rows})
        return completed(rows, *others)

    measure(TWO, "ci")
    monkeypatch.setattr(recorder, "finish", finish)
    measure(ONE, "ci")
    assert seen == [{"eigh"}]
    assert forwards("ci") == {"eigh", "svd"}


def test_a_killed_run_has_said_already_which_rows_its_suite_has(measure, capsys, monkeypatch):
    measure(TWO, "base")
    measure(TWO, "ci")
    measure(ONE, "ci")
    assert len(results.open(Path("ci")).left_over) == 1

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(recorder.Recorder, "close", killed)
        with pytest.raises(Killed):
            measure(TWO, "ci", "precision=float32")

    found = results.open(Path("ci"))
    assert "float32" in str(found.suite)
    old = found.frame[found.frame["precision"] == "float64"]
    assert found.left_over == set(old["cell_id"])


@pytest.mark.parametrize("wrong", ["eigh", [1], {}])
def test_a_damaged_list_is_refused(measure, capsys, wrong):
    measure(ONE, "ci")
    file = Path("ci") / ENVIRONMENT
    facts = json.loads(file.read_text("utf-8"))
    assert facts[LEFT_OVER] == []
    file.write_text(json.dumps(facts | {LEFT_OVER: wrong}), "utf-8")
    code, _, err = called(capsys, "check", "ci", "--baseline", "ci")
    assert code == 2
    assert LEFT_OVER in err
