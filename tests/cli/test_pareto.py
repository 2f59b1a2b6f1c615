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
    assert "Not listed: 1 is beaten; --all lists them." in out


def test_all_lists_what_is_beaten_and_by_which_method(run, capsys):
    out = " ".join(called(capsys, "pareto", run, "--all")[1].split())
    assert "svd + loewner" in out
    assert "beaten by eigh" in out
    assert "Not listed" not in out


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
