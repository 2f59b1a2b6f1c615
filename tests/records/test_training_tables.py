"""The tables of trainings, from planted results."""

from dataclasses import replace
from math import isnan, nan

import pytest

from mssbench.records.training import COUNTS, CURVES, ROBUSTNESS, TRAININGS, TrainingCell
from mssbench.records.training_tables import tables

CELL = TrainingCell(
    "digits", "eigh", "loewner", "", "float32", "", 0, 0.1, 3, 32, 16, 32, "skip", "cpu"
)
MEAN = replace(CELL, forward="mean", backward="")


def epoch(number: int, accuracy: float, **others) -> dict:
    """An epoch of ten steps, as the process of a training reports it."""
    counts = {column.name: 0 for column in COUNTS}
    return counts | {
        "epoch": number, "accuracy": accuracy, "loss": 1 / number, "steps": 10, "failed": 0,
        "seconds": 2.0, "root_seconds": 0.5, "exception": "", "first_skipped": None, "probes": {},
    } | others  # fmt: skip


def result(*epochs: dict, status: str = "ok", **others) -> dict:
    return {
        "status": status,
        "reason": "",
        "initial": "w",
        "data": "d",
        "epochs": list(epochs),
    } | others


def made(results: dict[TrainingCell, dict | None]) -> dict[str, list[dict]]:
    by_id = {cell.cell_id: found for cell, found in results.items()}
    return {name: table.rows for name, table in tables(results, by_id).items()}


def test_counts_are_summed_and_probes_have_their_median() -> None:
    epochs = (
        epoch(1, 0.5, skipped=2, exceptions=1, exception="first", probes={"truth": 0.9}),
        epoch(2, 0.6, skipped=1, failed=4, exception="second", probes={"truth": nan}),
        epoch(3, 0.7, failed=3, probes={"truth": 1.0}),
    )
    (row,) = made({CELL: result(*epochs)})["trainings.csv"]
    assert (row["steps"], row["skipped"], row["exceptions"]) == (30, 3, 1)
    assert (row["failed"], row["accuracy"]) == (3, 0.7), "those of the last epoch"
    assert row["exception"] == "first"
    assert row["truth"] == pytest.approx(0.95)
    assert row["seconds"] == 6.0


@pytest.mark.parametrize(
    ("firsts", "number"), [((3, 1, None), 3), ((None, 4, 2), 14), ((None, None, None), None)]
)
def test_the_first_skipped_step_is_counted_from_the_beginning(firsts, number) -> None:
    epochs = [epoch(i, 0.5, first_skipped=first) for i, first in enumerate(firsts, 1)]
    (row,) = made({CELL: result(*epochs)})["trainings.csv"]
    assert row["first_skipped"] == number


@pytest.mark.parametrize(
    ("accuracies", "reached"), [((0.2, 0.6, 0.5), 2), ((0.7, 0.1, 0.1), 1), ((0.5, 0.5, 0.5), None)]
)
def test_epochs_until_the_accuracy_of_mean_pooling(accuracies, reached) -> None:
    epochs = [epoch(i, accuracy) for i, accuracy in enumerate(accuracies, 1)]
    control = [epoch(i, accuracy) for i, accuracy in enumerate((0.9, 0.3, 0.6), 1)]
    other_seed = replace(MEAN, seed=1)
    rows = made({CELL: result(*epochs), MEAN: result(*control), other_seed: result(epoch(1, 0.1))})[
        "trainings.csv"
    ]
    assert rows[0]["epochs_to_first_order"] == reached, "the end of the curve is what counts"


@pytest.mark.parametrize("control", [None, result(epoch(1, 0.1), status="nonfinite")])
def test_without_a_sound_control_there_is_no_such_number(control) -> None:
    rows = made({CELL: result(epoch(1, 0.5)), MEAN: control})["trainings.csv"]
    assert rows[0]["epochs_to_first_order"] is None


def test_a_row_has_the_machine_and_the_threads_of_its_training() -> None:
    found = made({CELL: result(epoch(1, 0.5), environment="e", threads=2), MEAN: None})
    rows = found["trainings.csv"]
    assert [(row["environment"], row["threads"]) for row in rows] == [("e", 2), ("", None)]
    assert found["curves.csv"][0]["environment"] == "e"


def test_the_error_of_the_truth_is_the_largest_of_all_epochs() -> None:
    epochs = [epoch(i, 0.5, probes={"truth": t}) for i, t in enumerate((1.01, 0.97, nan), 1)]
    (row,) = made({CELL: result(*epochs)})["trainings.csv"]
    assert row["truth_error"] == pytest.approx(0.03)
    (row,) = made({CELL: result(epoch(1, 0.5))})["trainings.csv"]
    assert isnan(row["truth_error"])


def test_a_training_that_was_not_reached_is_interrupted() -> None:
    found = made({CELL: None})
    assert found["trainings.csv"][0]["status"] == "interrupted"
    assert found["curves.csv"] == found["robustness.csv"] == []


def test_rows_have_no_columns_that_the_tables_lack() -> None:
    change = {"change": "blur", "severity": 1.0, "accuracy": 0.5, "failed": 0}
    found = made({CELL: result(epoch(1, 0.5, probes={"truth": 1.0}), robustness=[change])})
    for name, columns in (
        ("trainings.csv", TRAININGS),
        ("curves.csv", CURVES),
        ("robustness.csv", ROBUSTNESS),
    ):
        names = {column.name for column in columns} | {"first_skipped", "epoch"}
        assert found[name]
        assert set(found[name][0]) <= names
