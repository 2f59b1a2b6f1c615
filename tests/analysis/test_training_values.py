"""Values of trainings that are computed from their epochs and from changed data."""

import math

import pytest
from helpers.trainings import changed, frames, rows

from mssbench.analysis.training_values import with_values
from mssbench.records.training_values import DERIVED


def test_skipped_steps_and_the_first_epochs() -> None:
    trainings = rows("ns5", [0.9, 0.8], outcome={"skipped": 54})
    curves = {trainings[0]["cell_id"]: [0.1, 0.3, 0.7, 0.9], trainings[1]["cell_id"]: [0.2]}
    found = with_values(*frames(trainings, curves))
    assert found["skipped_share"].tolist() == [0.54, 0.54]
    assert found["first_accuracy"].tolist() == [0.1, 0.2]
    assert found["early_accuracy"][0] == pytest.approx(0.2), "epochs 1 and 2 of 4"
    assert math.isnan(found["early_accuracy"][1]), "its second epoch is missing"


@pytest.mark.parametrize(("epochs", "early"), [(1, 0.1), (2, 0.1), (3, 0.1), (4, 0.2)])
def test_the_first_half_of_the_epochs_is_rounded_down_but_never_empty(epochs, early) -> None:
    trainings = rows("ns5", [0.9], epochs=epochs)
    curves = {trainings[0]["cell_id"]: [0.1, 0.3, 0.5, 0.7][:epochs]}
    found = with_values(*frames(trainings, curves))
    assert found["early_accuracy"][0] == pytest.approx(early)


def test_truncated_and_lost_accuracies() -> None:
    trainings = rows("ns5", [0.9, 0.8])
    truncated = changed(trainings[0], "truncation", {10.0: 0.85, 90.0: 0.4})
    found = with_values(*frames(trainings, None, truncated))
    assert found["truncated_10"][0] == 0.85
    assert found["lost_90"][0] == pytest.approx(0.5)
    assert math.isnan(found["truncated_50"][0])
    assert math.isnan(found["lost_10"][1])


def test_the_corruption_error_by_hand() -> None:
    (mean,), (ns5,) = rows("mean", [0.7]), rows("ns5", [0.8])
    other = rows("mean", [0.7], learning_rate=0.2)[0]
    errors = [
        *changed(mean, "blur", {1.0: 0.6, 3.0: 0.5}), *changed(mean, "gamma", {1.0: 0.9, 3.0: 0.9}),
        *changed(ns5, "blur", {1.0: 0.7, 3.0: 0.65}), *changed(ns5, "gamma", {1.0: 0.8, 3.0: 0.9}),
        *changed(other, "blur", {1.0: 0.1}), *changed(ns5, "truncation", {10.0: 0.0}),
    ]  # fmt: skip
    found = with_values(*frames([mean, ns5, other], None, errors))["mce"]
    # Sums of errors: blur .3 + .35 over .4 + .5, gamma .2 + .1 over .1 + .1.
    assert found[1] == pytest.approx(100 * (0.65 / 0.9 + 0.3 / 0.2) / 2)
    assert found[0] == pytest.approx(100), "mean pooling is relative to itself"
    assert found[2] == pytest.approx(100), "and so is that of another learning rate"


@pytest.mark.parametrize("lost", ["the control", "a severity", "a kind", "a sound control"])
def test_the_corruption_error_is_missing_if_something_is(lost) -> None:
    (mean,), (ns5,) = rows("mean", [0.7]), rows("ns5", [0.8])
    full = {1.0: 0.6, 3.0: 0.5}
    errors = [*changed(ns5, "blur", full), *changed(ns5, "gamma", full)]
    if lost != "the control":
        errors += changed(mean, "blur", {1.0: 0.6} if lost == "a severity" else full)
        errors += [] if lost == "a kind" else changed(mean, "gamma", full)
    mean["status"] = "nonfinite" if lost == "a sound control" else "ok"
    assert math.isnan(with_values(*frames([mean, ns5], None, errors))["mce"][1])


def test_a_run_without_epochs_or_changed_data_has_no_derived_values() -> None:
    found = with_values(*frames(rows("ns5", [0.9])))
    missing = {column.name for column in DERIVED} - {"skipped_share", "nonfinite_share"}
    assert found[list(missing)].isna().all(axis=None)
