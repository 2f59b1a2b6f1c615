"""Trainings on a cluster, without a cluster and without training: the results are planted."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.fake_slurm import FakeSlurm
from helpers.planted_trainings import result
from helpers.tables import called

from mssbench.records.training import TrainingCell
from mssbench.results import files
from mssbench.run import training, training_workers
from mssbench.run.slurm import driver
from mssbench.run.training_folder import TABLES

SUITE = """
name = "tiny"
[training]
task = "tex12"
seed = [0, 1, 2]
epochs = 4
[[method]]
forward = "mean"
[[method]]
forward = "eigh"
backward = "loewner"
"""


@pytest.fixture(autouse=True)
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Trainings that take no time. Those of a forward in the result end with its status."""
    wished: dict[str, str] = {}

    def trained(
        self: Any, cells: Sequence[TrainingCell], *_: Any
    ) -> Iterator[tuple[TrainingCell, dict[str, Any]]]:
        for cell in cells:
            status = wished.get(cell.forward)
            broken = {"status": status, "reason": "planted"}
            yield cell, (broken if status else result(cell)) | {"killed": False}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training_workers.Workers, "trained", trained)
    monkeypatch.setattr(training, "_check_suite", lambda _: None)
    monkeypatch.setattr(files.os, "fsync", lambda _: None)
    for name in ("_LEAST_POLL", "_MOST_POLL"):
        monkeypatch.setattr(driver, name, 0.0)
    monkeypatch.setattr(driver, "_END_SECONDS", 1.0)
    monkeypatch.setattr(driver, "_LATE_SECONDS", 0.0)
    Path("tiny.toml").write_text(SUITE)
    return wished


def trained(capsys: Any, *more: object) -> tuple[int, str]:
    code, said, err = called(capsys, "train", "tiny.toml", "--engine", "slurm", *more)
    return code, " ".join((said + err).split())


def test_the_tables_are_those_of_one_run(fake_slurm: FakeSlurm, capsys: Any) -> None:
    code, said = trained(capsys)
    assert code == 0
    assert fake_slurm.shards == [[1, 2, 3]], "a shard for each seed"
    assert "6 networks to train" in said
    assert called(capsys, "train", "tiny.toml", "--out", "here")[0] == 0
    for name in TABLES:
        assert Path("results/tiny", name).read_bytes() == Path("here", name).read_bytes()

    code, said = trained(capsys)
    assert code == 0
    assert "nothing left to train; 6 are there already" in said
    assert fake_slurm.shards == [[1, 2, 3]]


def test_what_has_no_result_is_trained_by_the_next_start(
    fake_slurm: FakeSlurm, capsys: Any
) -> None:
    fake_slurm.kill = {2}
    code, said = trained(capsys)
    assert code == 4
    assert "trainings without a result: the tasks ended without a result" in said
    assert "Stopped: 2 of 6 trainings are missing" in said
    assert (pd.read_csv("results/tiny/trainings.csv")["status"] == "interrupted").sum() == 2

    fake_slurm.kill = set()
    Path("results/tiny/note.txt").write_text("mine")
    assert trained(capsys)[0] == 0
    assert fake_slurm.shards == [[1, 2, 3], [2], [2]]
    assert set(pd.read_csv("results/tiny/trainings.csv")["status"]) <= {"ok", "nonfinite"}
    assert Path("results/tiny/note.txt").read_text() == "mine"


def test_a_crashed_training_is_tried_again_once_by_each_start(
    fake_slurm: FakeSlurm, capsys: Any, planted: dict[str, str]
) -> None:
    planted["eigh"] = "crashed"
    code, said = trained(capsys)
    assert code == 4
    assert "without a result" not in said
    assert fake_slurm.shards == [[1, 2, 3]]
    planted.clear()
    code, said = trained(capsys)
    assert code == 0
    assert "crashed" not in said, "the result of the start before is no news"
    assert "3 of 3 tex12 seed" in said
    assert fake_slurm.shards == [[1, 2, 3], [1, 2, 3]]


def test_a_run_of_its_own_is_not_replaced(fake_slurm: FakeSlurm, capsys: Any) -> None:
    assert called(capsys, "train", "tiny.toml")[0] == 0
    code, said = trained(capsys)
    assert code == 2
    assert "has trainings that none of the shards in" in said
    assert fake_slurm.shards == []
    assert trained(capsys, "--fresh")[0] == 0


def test_the_rows_are_told_as_json_as_those_of_one_run(fake_slurm: FakeSlurm, capsys: Any) -> None:
    words = ("train", "tiny.toml", "--json")
    code, there, _ = called(capsys, *words, "--engine", "slurm")
    assert code == 0
    _, here, _ = called(capsys, *words, "--out", "here")
    assert json.loads(there) == json.loads(here)


def test_another_suite_is_refused(fake_slurm: FakeSlurm, capsys: Any) -> None:
    assert trained(capsys)[0] == 0
    Path("tiny.toml").write_text(SUITE.replace("epochs = 4", "epochs = 5"))
    code, said = trained(capsys)
    assert code == 2
    assert "another suite, or other options" in said
    assert fake_slurm.shards == [[1, 2, 3]]


def test_tasks_that_cannot_train_say_why(fake_slurm: FakeSlurm, capsys: Any) -> None:
    def change() -> None:
        if fake_slurm.submitted:
            changed = SUITE.replace("epochs = 4", "epochs = 5")
            Path("results/tiny-shards/suite.toml").write_text(changed)

    fake_slurm.do = change
    code, said = trained(capsys)
    assert code == 2
    assert "nothing was trained: the suite in" in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--engine", "local", "--slurm", "partition=x"), "--slurm is for a cluster"),
        (("--engine", "local", "--shards", "2"), "--shards is for a cluster"),
        (("--shard", "1/2"), "leave out --shard"),
        (("--shards", "7"), "only 6 cells"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    fake_slurm: FakeSlurm, capsys: Any, more: Any, said: str
) -> None:
    code, found = trained(capsys, *more)
    assert code == 2
    assert said in found
    assert not Path("results").exists()
