"""`results.open`: one run for all of its readers, each part read when it is first used."""

import subprocess
import sys

import pytest
from helpers.tables import row, write

from mssbench import results
from mssbench.errors import RunError, TableError
from mssbench.results import table
from mssbench.results.rows import ENVIRONMENT, SUITE, TABLE, folder_of


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "small", row(1e-3, root=1e-6), row(2e-3, root=1e-6, size=32))


@pytest.mark.parametrize("named", ["", TABLE])
def test_a_run_is_opened_by_its_folder_or_its_table(folder, named):
    (folder / ENVIRONMENT).write_text('{"environments": {"e": {"cpu": "i9"}}}')
    (folder / SUITE).write_text('name = "small"')
    run = results.open(folder / named)
    assert (run.folder, run.name) == (folder, "small")
    assert run.frame.equals(table.load(folder))
    assert run.facts == {"environments": {"e": {"cpu": "i9"}}, "runs": {}}
    assert run.suite == {"name": "small"}


def test_nothing_is_read_before_it_is_used(tmp_path):
    run = results.open(tmp_path / "nope")
    assert run.suite == {}
    assert run.facts == {"environments": {}, "runs": {}}
    with pytest.raises(TableError, match="there is no run in"):
        assert len(run.frame)


def test_each_part_is_read_once(folder, monkeypatch):
    calls = []
    load = table.load
    monkeypatch.setattr(table, "load", lambda path: calls.append(path) or load(path))
    run = results.open(folder)
    assert not calls
    assert run.frame is run.frame
    assert calls == [folder]


def test_a_damaged_part_leaves_the_others(folder):
    (folder / ENVIRONMENT).write_text("{")
    (folder / SUITE).write_text("= 3")
    run = results.open(folder)
    assert (len(run.frame), run.suite) == (2, {})
    with pytest.raises(RunError, match="is damaged"):
        assert run.facts


def test_a_folder_that_is_not_there_is_its_own_folder(tmp_path):
    assert folder_of(tmp_path / "nope") == tmp_path / "nope"


def test_the_package_results_loads_no_pandas():
    code = "import sys, mssbench.results.rows; assert 'pandas' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
