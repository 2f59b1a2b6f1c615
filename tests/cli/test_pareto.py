"""`mssbench pareto`, as a user calls it."""

import json

import pytest
from helpers.tables import called, row, write

ROWS = [
    row(t, phase="step", forward=f, backward="loewner", root=e, gradient=e, condition=40.0)
    for f, t, e in (("eigh", 2e-3, 1e-6), ("svd", 3e-3, 1e-6), ("pade", 1e-3, 1e-2))
]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, *ROWS)
    return folder


def test_the_front_is_printed_and_the_rest_counted(run, capsys):
    code, out, _ = called(capsys, "pareto", run)
    assert code == 0
    assert "easy κ 40" in out
    assert "pade" in out
    assert "eigh" in out
    assert "svd" not in out
    words = " ".join(out.split())
    assert "Not listed: 1 beaten, counted for each kind of matrix; --all lists them" in words


def test_all_lists_what_is_beaten_and_by_which_method(run, capsys):
    out = " ".join(called(capsys, "pareto", run, "--all")[1].split())
    assert "svd + loewner" in out
    assert "beaten by eigh" in out
    assert "Not listed" not in out


def test_what_is_not_compared_is_counted_and_listed_with_the_reason(tmp_path, capsys):
    folder = tmp_path / "run"
    wrong = row(1e-4, phase="step", forward="taylor", status="inaccurate", condition=40.0, root=0.5)
    write(folder, *ROWS, wrong)
    out = " ".join(called(capsys, "pareto", folder)[1].split())
    assert "Not listed: 1 beaten and 1 not compared, counted" in out
    assert "taylor" not in out
    assert "taylor not compared: inaccurate" in " ".join(
        called(capsys, "pareto", folder, "--all")[1].split()
    )


@pytest.mark.parametrize(
    ("doubt", "status", "flags", "words"),
    [
        (1e-9, "inaccurate", "", "no method is right on all of them"),
        (0.5, "ok", "unverified", "no reference is exact enough to say"),
    ],
)
def test_where_no_method_is_on_the_front_that_is_said(
    tmp_path, capsys, doubt, status, flags, words
):
    known = {"phase": "step", "condition": 1e6, "root": 0.4, "gradient": 0.4}
    made = row(1e-3, status=status, flags=flags, reference_error=doubt, **known)
    assert words in called(capsys, "pareto", write(tmp_path / "run", made))[1]


def test_a_name_with_brackets_is_printed_as_it_is(tmp_path, capsys):
    """Square brackets are commands of the library that prints tables."""
    known = {"phase": "step", "condition": 40.0, "root": 1e-6, "gradient": 1e-6}
    made = [row(1e-3, forward=name, **known) for name in ("mine[red]", "mine[/red]")]
    code, out, err = called(capsys, "pareto", write(tmp_path / "run", *made), "--all")
    assert (code, err) == (0, "")
    assert "mine[red]" in out
    assert "mine[/red]" in out


def test_json_has_every_method_with_its_standing(run, capsys):
    found = json.loads(called(capsys, "pareto", run, "--json")[1])
    standings = {r["method"].partition(" ")[0]: (r["standing"], r["by"]) for r in found["rows"]}
    assert standings["pade"] == standings["eigh"] == ("front", None)
    assert standings["svd"][0] == "beaten"
    assert found["comparable"] is True


def test_a_condition_narrows_it_and_a_wrong_one_is_named(run, capsys):
    out = called(capsys, "pareto", run, "--where", "forward == 'svd'")[1]
    assert "svd" in out
    assert "eigh" not in out
    code, _, err = called(capsys, "pareto", run, "--where", "forward == 'sdv'")
    assert code == 2
    assert "svd" in err


def test_a_run_without_times_has_no_front(tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    write(folder, row(None, status="not_installed", reason="pip install it"))
    code, _, err = called(capsys, "pareto", folder)
    assert code == 2
    assert "there is no front" in err


def test_rows_of_another_clock_have_no_front_and_the_message_names_the_clock(tmp_path, capsys):
    folder = write(tmp_path / "run", row(1e-3, clock="gpu", device="cuda", condition=40.0))
    code, _, err = called(capsys, "pareto", folder)
    assert code == 2
    assert "no times of a forward or a step on the wall clock" in err
