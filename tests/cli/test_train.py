"""`mssbench train`: its tables, its errors and its exit codes."""

import json

import pytest
from typer.testing import CliRunner

from mssbench.cli.main import app
from mssbench.cli.train import _code
from mssbench.errors import MssbenchError
from mssbench.records.measurement import Status

RUNNER = CliRunner()

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


def test_it_prints_each_method_and_refuses_to_rank_few_seeds(suite) -> None:
    result = RUNNER.invoke(app, ["train", suite(), "--at-once", "2"])
    assert result.exit_code == 0, result.output
    assert "smallcov · learning rate 0.1 · batch 32 · 1 epoch · 1 seed" in result.stdout
    assert "eigh + loewner" in result.stdout
    assert "Methods are not ranked: that takes 5 seeds, and there is 1." in result.stdout
    assert "epoch 1 of 1" in result.stderr

    again = RUNNER.invoke(app, ["train", suite()])
    assert again.stdout == result.stdout
    assert "epoch" not in again.stderr, "what is there is not trained again"

    data = json.loads(RUNNER.invoke(app, ["train", suite(), "--json"]).stdout)
    assert data["command"] == "train"
    assert [row["status"] for row in data["rows"]] == ["ok", "ok"]
    assert {row["forward"] for row in data["rows"]} == {"covariance", "eigh"}


@pytest.mark.slow
def test_with_five_seeds_differences_have_intervals(suite) -> None:
    result = RUNNER.invoke(app, ["train", suite("[0, 1, 2, 3, 4]"), "--at-once", "2"])
    assert result.exit_code == 0, result.output
    assert "minus eigh + loewner" in result.stdout
    assert "p is adjusted by Holm" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "train_smok"], "Did you mean 'train_smoke'"),
        (["train", "none.toml"], "there is no suite file 'none.toml'"),
        (["train", "train_smoke", "--at-once", "0"], "at-once"),
    ],
)
def test_misuse_exits_with_2(suite, arguments, words) -> None:
    result = RUNNER.invoke(app, arguments)
    text = result.output + (str(result.exception) if result.exception else "")
    assert words in text
    assert result.exit_code in (1, 2)  # 1 is a raised error, which `main` turns into 2
    if isinstance(result.exception, MssbenchError):
        assert result.exception.exit_code == 2


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
