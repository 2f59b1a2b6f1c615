"""What other commands say of a folder of trainings: none writes into it or takes it for a run."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.altered_runs import QUICK
from helpers.planted_trainings import EXACT, MEAN, cells, plant, result
from helpers.tables import called

from mssbench.errors import RunError
from mssbench.results.folder import RunFolder

CLAIM = {
    "claim": "Mean pooling is worse.",
    "source": "this test",
    "left": "forward == 'mean'",
    "relation": "<",
    "right": "forward == 'eigh'",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    planted = {c: result(c) for c in cells([EXACT, MEAN], learning_rates=[0.1])}
    return plant(tmp_path / "trained", planted, claims=[CLAIM])


@pytest.fixture
def killed(run: Path) -> Path:
    """The folder of a run that was killed before its tables were written."""
    (run / "cells").mkdir()
    (run / "cells" / f"{'a' * 16}.json").write_text(json.dumps({"status": "ok"}))
    for name in ("trainings.csv", "curves.csv", "robustness.csv"):
        (run / name).unlink()
    return run


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


HOLDS = "holds trainings of `mssbench train`. Choose another --out."


@pytest.mark.parametrize("options", [[], ["--fresh"]])
@pytest.mark.parametrize("which", ["run", "killed"])
def test_a_run_is_never_written_into_trainings(
    capsys: Any, request: pytest.FixtureRequest, which: str, options: list[str]
) -> None:
    folder = request.getfixturevalue(which)
    before = contents(folder)
    code, _, err = called(capsys, "run", "smoke", "--device", "cpu", "--out", folder, *options)
    assert (code, " ".join(err.split())) == (2, f"mssbench: {folder} {HOLDS}")
    assert contents(folder) == before


def test_a_suite_that_cannot_be_parsed_may_be_one_of_trainings(killed: Path) -> None:
    (killed / "suite.toml").write_text("name = ")
    with pytest.raises(RunError, match=r"holds trainings of `mssbench train`"):
        RunFolder(killed, fresh=True)


def test_other_commands_that_write_a_run_refuse_trainings(run: Path, capsys: Any) -> None:
    before = contents(run)
    code, _, err = called(capsys, "merge", QUICK, "--out", run)
    assert (code, HOLDS in " ".join(err.split())) == (2, True)
    assert contents(run) == before

    baseline = Path("results/baselines/mine")
    shutil.copytree(run, baseline)
    code, _, err = called(capsys, "baseline", "save", QUICK, "--name", "mine")
    assert (code, HOLDS in " ".join(err.split())) == (2, True)
    assert contents(baseline) == before


@pytest.mark.parametrize("end", ["", "/trainings.csv"])
@pytest.mark.parametrize(
    "words",
    [
        ["show", "RUN"],
        ["pareto", "RUN"],
        ["export", "RUN", "--to", "csv"],
        ["compare", "RUN", QUICK],
        ["compare", QUICK, "RUN"],
        ["baseline", "save", "RUN"],
        ["check", "RUN", "--baseline", QUICK],
        ["check", QUICK, "--baseline", "RUN"],
    ],
)
def test_commands_on_other_runs_name_those_on_trainings(
    run: Path, capsys: Any, words: list[Any], end: str
) -> None:
    before = contents(run)
    code, _, err = called(capsys, *(f"{run}{end}" if word == "RUN" else word for word in words))
    assert code == 2
    assert " ".join(err.split()) == (
        f"mssbench: {run} holds trainings: see them with `mssbench report {run}`, `mssbench plot "
        f"{run}` or `mssbench claims {run}`."
    )
    assert contents(run) == before


def test_claims_take_the_table_as_well_as_its_folder(run: Path, capsys: Any) -> None:
    code, out, _ = called(capsys, "claims", run / "trainings.csv")
    assert code == 0
    assert "Mean pooling is worse." in out
    assert called(capsys, "claims", run)[1] == out


def test_claims_of_a_run_without_tables_say_that_it_has_not_ended(
    killed: Path, capsys: Any
) -> None:
    code, _, err = called(capsys, "claims", killed)
    assert code == 2
    assert "has trainings, but no trainings.csv yet." in " ".join(err.split())
