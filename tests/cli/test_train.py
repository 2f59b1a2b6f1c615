"""`mssbench train`: its tables, its errors and its exit codes."""

import json
from dataclasses import asdict

import pytest
from helpers.tables import called
from typer.testing import CliRunner

from mssbench.cli.main import app
from mssbench.cli.train import _code
from mssbench.records.measurement import Status
from mssbench.run import training as runner
from mssbench.run import training_workers
from mssbench.training.loop import Epoch

RUNNER = CliRunner()
ENDED = Epoch(1, loss=1.0, accuracy=0.5, steps=9, seconds=1.0)

SUITE = """
name = "tiny"
[training]
task = "smallcov"
seed = {seeds}
epochs = 1
[[method]]
forward = "covariance"
[[method]]
forward = "eigh"
backward = "loewner"
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(seeds: str = "0") -> str:
        (tmp_path / "tiny.toml").write_text(SUITE.format(seeds=seeds))
        return "tiny.toml"

    return write


@pytest.mark.slow
def test_it_prints_each_method_and_refuses_to_rank_few_seeds(suite) -> None:
    result = RUNNER.invoke(app, ["train", suite(), "--at-once", "2"])
    assert result.exit_code == 0, result.output
    assert (
        "smallcov · n 32, M 196 · learning rate 0.1 · batch 32 · 1 epoch · 1 seed" in result.stdout
    )
    assert "eigh + loewner" in result.stdout
    assert "Methods are not ranked: that takes 5 seeds, and there is 1." in result.stdout
    assert "1 of 2  smallcov seed 0" in result.stderr

    again = RUNNER.invoke(app, ["train", suite()])
    assert again.stdout == result.stdout
    assert "epoch" not in again.stderr, "what is there is not trained again"

    data = json.loads(RUNNER.invoke(app, ["train", suite(), "--json"]).stdout)
    assert data["command"] == "train"
    assert [row["status"] for row in data["rows"]] == ["ok", "ok"]
    assert {row["forward"] for row in data["rows"]} == {"covariance", "eigh"}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_with_five_seeds_differences_have_intervals(suite) -> None:
    result = RUNNER.invoke(app, ["train", suite("[0, 1, 2, 3, 4]"), "--at-once", "2"])
    assert result.exit_code == 0, result.output
    assert "minus eigh + loewner" in result.stdout
    assert "p, adjusted by Holm" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "train_smok"], "Did you mean 'train_smoke'"),
        (["train", "none.toml"], "there is no suite file 'none.toml'"),
        (["train", "train_smoke", "--at-once", "0"], "at-once"),
    ],
)
@pytest.mark.usefixtures("suite")
def test_misuse_exits_with_2(capsys, arguments, words) -> None:
    code, _, err = called(capsys, *arguments)
    assert code == 2
    assert words in " ".join(err.split())


def test_a_name_that_does_not_exist_exits_with_2(suite, tmp_path, capsys) -> None:
    file = tmp_path / suite()
    file.write_text(file.read_text().replace('"eigh"', '"eihg"'))
    code, _, err = called(capsys, "train", "tiny.toml")
    assert code == 2
    assert "Unknown forward 'eihg'. Did you mean 'eigh'?" in " ".join(err.split())
    assert not (tmp_path / "results").exists()


def test_capture_is_passed_on(suite, monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(runner, "run", lambda *_, capture, **__: asked.append(capture) or [])
    for options in ([], ["--capture"]):
        RUNNER.invoke(app, ["train", suite(), "--json", *options])
    assert asked == [False, True]


def test_other_starts_are_named(suite, monkeypatch, capsys) -> None:
    def trained(_self, cells, *_):
        for number, cell in enumerate(cells):
            yield (
                cell,
                {
                    "status": "ok",
                    "epochs": [asdict(ENDED)],
                    "initial": f"w{number}",
                    "killed": False,
                },
            )

    monkeypatch.setattr(training_workers.Workers, "trained", trained)
    code, out, _ = called(capsys, "train", suite())
    assert code == 0
    assert "did not all start from the same weights and data, so that their differences mean" in (
        " ".join(out.split())
    )


def test_a_training_that_did_not_begin_is_no_other_start(suite, monkeypatch, capsys) -> None:
    def trained(_self, cells, *_):
        ended = {"status": "ok", "epochs": [asdict(ENDED)], "initial": "w", "data": "d"}
        failed = {"status": "unsupported", "reason": "no GPU"}
        for cell, result in zip(cells, (ended, failed), strict=True):
            yield cell, result | {"killed": False}

    monkeypatch.setattr(training_workers.Workers, "trained", trained)
    code, out, _ = called(capsys, "train", suite())
    assert code == 0
    assert "unsupported" in out
    assert "did not all start" not in " ".join(out.split())


def _stopped(after: int):
    """A stand-in for the trainings of a run that is stopped after so many of them."""

    def trained(_self, cells, *_):
        for number, cell in enumerate(cells):
            status = Status.OK if number < after else Status.INTERRUPTED
            epochs = [asdict(ENDED)] * (number < after)
            yield cell, {"status": str(status), "epochs": epochs, "killed": False}

    return trained


@pytest.mark.parametrize(
    ("after", "sentence"),
    [
        (0, "Stopped: 2 of 2 trainings are missing. The same command resumes them."),
        (1, "Stopped: 1 of 2 trainings is missing. The same command resumes it."),
    ],
)
def test_a_stopped_run_says_what_is_missing_and_shows_what_ended(
    suite, monkeypatch, capsys, after, sentence
) -> None:
    monkeypatch.setattr(training_workers.Workers, "trained", _stopped(after))
    code, out, _ = called(capsys, "train", suite())
    assert code == 130
    assert sentence in " ".join(out.split())
    assert "0 seeds" not in out
    assert ("learning rate" in out, "covariance" in out) == (after > 0, after > 0)
    assert "eigh + loewner" not in out, "it was not trained"


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([Status.OK, Status.OK], 0),
        ([Status.OK, Status.NONFINITE], 0),
        ([Status.OK, Status.CRASHED], 4),
        ([Status.UNSUPPORTED, Status.NOT_INSTALLED], 6),
        ([Status.CRASHED, Status.INTERRUPTED], 130),
    ],
)
def test_the_exit_code_says_how_the_trainings_ended(statuses, code) -> None:
    assert _code([str(status) for status in statuses]) == code
