"""Damaged tables of trainings are refused with the file, what is wrong and a remedy."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.planted_trainings import EXACT, MEAN, METHODS, cells, plant, result
from helpers.root import ROOT
from helpers.tables import called

from mssbench.analysis.training_reading import exists_at_zero, load
from mssbench.errors import TableError
from mssbench.records.cell import format_options
from mssbench.training.transforms import TRANSFORMS, TransformPooling

COMMITTED = ROOT / "results" / "cpu-2core-train_quick"
NAMES = ("trainings.csv", "curves.csv", "robustness.csv")
CLAIM = {
    "claim": "Mean pooling is worse.",
    "source": "this test",
    "left": "forward == 'mean'",
    "relation": "<",
    "right": "forward == 'eigh'",
}


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = {c: result(c) for c in cells(learning_rates=[0.1])}
    return plant(tmp_path_factory.mktemp("planted") / "run", results, claims=[CLAIM])


@pytest.fixture
def run(planted: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(planted, tmp_path / "run"))


def refused(folder: Path, words: str) -> None:
    with pytest.raises(TableError) as found:
        load(folder)
    assert words in str(found.value)
    assert "Restore the file; if its folder has the folder cells" in str(found.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_column_is_named(run: Path, name: str) -> None:
    pd.read_csv(run / name).drop(columns="accuracy").to_csv(run / name, index=False)
    refused(run, f"{name} is no table of trainings: it lacks accuracy.")


@pytest.mark.parametrize("name", NAMES)
def test_a_text_in_place_of_a_number_is_named(run: Path, name: str) -> None:
    pd.read_csv(run / name).assign(accuracy="much").to_csv(run / name, index=False)
    refused(run, f"{name}: a value of accuracy is no number.")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "its last line is cut"),
        (lambda data: data[: len(data) // 2], "its last line is cut"),
        (lambda _: b"", "is empty"),
        (lambda _: b"\n", "it lacks"),
        (lambda data: data + b"tex12,mean\n", "has 2 fields, and the first line"),
        (lambda data: data.replace(b"tex12", b"tex\xff", 1), "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_table_with_a_broken_line_is_refused(
    run: Path, name: str, change: Callable[[bytes], bytes], words: str
) -> None:
    (run / name).write_bytes(change((run / name).read_bytes()))
    with pytest.raises(TableError) as found:
        load(run)
    assert str(found.value).startswith(str(run / name))
    assert words in str(found.value) or (words == "it lacks" and "cannot" in str(found.value))


def test_a_table_that_is_missing_is_named(run: Path) -> None:
    (run / "curves.csv").unlink()
    refused(run, "curves.csv is missing.")


def test_whole_lines_that_are_missing_are_counted(tmp_path: Path) -> None:
    run = Path(shutil.copytree(COMMITTED, tmp_path / "run"))
    assert len(load(run).trainings) == 40
    whole = (run / "trainings.csv").read_text()
    (run / "trainings.csv").write_text("".join(whole.splitlines(keepends=True)[:-7]))
    refused(run, "trainings.csv lacks 7 of the 40 trainings of its run.")
    (run / "trainings.csv").write_text(whole + whole.splitlines(keepends=True)[-1])
    refused(run, "trainings.csv has 1 training more than once.")

    (run / "trainings.csv").write_text(whole)
    lines = (run / "curves.csv").read_text().splitlines(keepends=True)
    (run / "curves.csv").write_text("".join(lines[:-9]))
    refused(run, "curves.csv lacks epochs of 2 of 40 trainings that have ended.")

    (run / "curves.csv").write_text("".join(lines))
    lines = (run / "robustness.csv").read_text().splitlines(keepends=True)
    (run / "robustness.csv").write_text("".join(lines[:-24]))
    refused(run, "robustness.csv lacks rows of 2 of 40 trainings that have ended.")
    for text in ("".join(lines[:1]), None):
        (run / "robustness.csv").unlink(missing_ok=True)
        if text is not None:
            (run / "robustness.csv").write_text(text)
        refused(run, "robustness.csv has no rows, although robustness = true in suite.toml.")


LOGARITHM = ("logarithm", "", "")


def test_a_network_whose_eigenvalues_cannot_be_zeroed_has_fewer_rows(tmp_path: Path) -> None:
    """A logarithm does not exist then: its networks are evaluated on changed images alone."""
    results = {c: result(c) for c in cells([EXACT, LOGARITHM], learning_rates=[0.1])}
    of_logarithm = [c for c in results if c.forward == "logarithm"]
    for c in of_logarithm:
        kept = [row for row in results[c]["robustness"] if row["change"] != "truncation"]
        results[c]["robustness"] = kept
    assert len(load(plant(tmp_path / "run", results)).robustness) == 5 * 9 + 5 * 6
    results[of_logarithm[0]]["robustness"].pop()
    refused(plant(tmp_path / "cut", results), "lacks rows of 1 of 10 trainings that have ended.")
    results[of_logarithm[0]] = result(of_logarithm[1])
    exact = next(c for c in results if c.forward == "eigh")
    results[exact]["robustness"].pop()
    refused(plant(tmp_path / "exact", results), "lacks rows of 1 of 10 trainings that have ended.")


@pytest.mark.parametrize("floor", [0.0, 0.001])
def test_which_networks_pool_zero_eigenvalues_is_what_the_layers_say(floor: float) -> None:
    options = format_options({"floor": floor} if floor else {})
    for name in TRANSFORMS:
        pools = TransformPooling(4, name, None, floor).exists_at_zero
        assert exists_at_zero(name, options, "") == pools
        assert exists_at_zero("covariance", "", f"forward={name} {options}".strip()) == pools
    assert exists_at_zero("eigh", options, "")


def test_trainings_that_have_not_ended_may_lack_epochs(tmp_path: Path) -> None:
    results: dict[Any, Any] = {c: result(c) for c in cells([EXACT, MEAN], learning_rates=[0.1])}
    first, second = list(results)[:2]
    results[first] = None
    results[second] = results[second] | {"status": "interrupted", "epochs": []}
    assert len(load(plant(tmp_path / "run", results)).trainings) == 10


def test_texts_that_look_like_numbers_stay_texts(run: Path) -> None:
    table = pd.read_csv(run / "trainings.csv", dtype=str)
    table.assign(initial="1e5", data="0012").to_csv(run / "trainings.csv", index=False)
    found = load(run).trainings
    assert set(found["initial"]) == {"1e5"}
    assert set(found["data"]) == {"0012"}
    assert len(found["method"].unique()) == len(METHODS)


@pytest.mark.parametrize("command", [["claims"], ["plot", "--figure", "curves"], ["report"]])
def test_commands_exit_with_2(
    run: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.chdir(run.parent)
    pd.read_csv(run / "curves.csv").drop(columns="epoch").to_csv(run / "curves.csv", index=False)
    code, _, err = called(capsys, *command, run)
    assert code == 2
    assert "curves.csv is no table of trainings: it lacks epoch." in " ".join(err.split())
    assert [p.name for p in run.parent.iterdir()] == ["run"]
