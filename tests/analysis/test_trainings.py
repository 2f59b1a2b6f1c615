"""Comparisons of trainings: SciPy and statsmodels are the judges of the statistics."""

import numpy as np
import pandas as pd
import pytest
from rich.table import Table
from rich.text import Text
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mssbench.analysis import trainings
from mssbench.console.trainings import tables
from mssbench.records.training import TRAININGS

SEEDS = 6
PAIRS = {
    "exact": ("eigh", "loewner"),
    "ns5": ("newton_schulz", "autodiff"),
    "cov": ("covariance", ""),
}


def table(accuracies: dict[str, list[float]], **others) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Trainings of some methods with these accuracies by seed, and their first epochs."""
    rows = []
    for name, values in accuracies.items():
        forward, backward = PAIRS[name]
        for seed, accuracy in enumerate(values):
            row = {column.name: "" for column in TRAININGS if column.kind == "str"} | {
                "task": "digits", "forward": forward, "backward": backward, "precision": "float32",
                "seed": seed, "learning_rate": 0.1, "epochs": 8, "batch": 32, "status": "ok",
                "loss": 0.5, "accuracy": accuracy, "steps": 100, "skipped": 0, "seconds": 2.0,
                "nonfinite_steps": 0,
                "root_seconds": 0.5, "cell_id": f"{name}{seed}", "initial": f"w{seed}", "data": "d",
                "places": 16, "channels": 32, "policy": "skip", "device": "cpu",
            }  # fmt: skip
            rows.append(row | others.get(name, {}))
    frame = pd.DataFrame(rows)
    curves = frame.assign(epoch=1, accuracy=frame["accuracy"] / 2)
    return frame, curves


@pytest.fixture
def accuracies() -> dict[str, list[float]]:
    random = np.random.default_rng(0)
    base = random.normal(0.7, 0.02, SEEDS)
    return {
        "exact": list(base),
        "ns5": list(base + random.normal(0.02, 0.005, SEEDS)),
        "cov": list(base + random.normal(0.0, 0.02, SEEDS)),
    }


def test_differences_are_paired_by_seed_and_adjusted_for_their_number(accuracies) -> None:
    (group,) = trainings.groups(*table(accuracies))
    assert group.ranked
    assert group.reference == "eigh + loewner"
    by_name = {line.method: line for line in group.lines}

    p_values, found = [], []
    for name in ("ns5", "cov"):
        label = " + ".join(filter(None, PAIRS[name]))
        test = stats.ttest_rel(accuracies[name], accuracies["exact"])
        interval = test.confidence_interval(0.95)
        difference = by_name[label].difference
        assert difference is not None
        found.append(difference)
        p_values.append(test.pvalue)

        expected = np.mean(accuracies[name]) - np.mean(accuracies["exact"])
        assert difference.mean == pytest.approx(expected)
        assert (difference.low, difference.high) == pytest.approx((interval.low, interval.high))
        assert difference.wins == sum(np.array(accuracies[name]) > accuracies["exact"])

    adjusted = multipletests(p_values, method="holm")[1]
    assert [difference.p for difference in found] == pytest.approx(list(adjusted))
    assert found[0].p < found[1].p
    assert by_name["eigh + loewner"].difference is None


def test_fewer_than_five_seeds_are_not_ranked(accuracies) -> None:
    few = {name: values[:4] for name, values in accuracies.items()}
    (group,) = trainings.groups(*table(few))
    assert not group.ranked
    assert all(line.difference is None for line in group.lines)
    order = [line.method for line in group.lines]
    assert order == [" + ".join(filter(None, PAIRS[name])) for name in few], "that of the suite"
    (ranked,) = trainings.groups(*table(accuracies))
    means = [line.mean for line in ranked.lines]
    assert means == sorted(means, reverse=True)
    assert [line.method for line in ranked.lines] != order

    # One method with fewer seeds is enough: its spread is not known.
    mixed = accuracies | {"ns5": accuracies["ns5"][:4]}
    (group,) = trainings.groups(*table(mixed))
    assert not group.ranked


@pytest.mark.parametrize(("shift", "ranked"), [(1, True), (2, False), (SEEDS, False)])
def test_only_seeds_that_all_methods_share_count(accuracies, shift, ranked) -> None:
    frame, curves = table(accuracies)
    frame.loc[frame["forward"] == "newton_schulz", "seed"] += shift
    (group,) = trainings.groups(frame, curves)
    assert group.seeds == SEEDS - shift
    assert group.ranked == ranked
    assert all(line.difference is None for line in group.lines) != ranked


def test_a_group_without_a_sound_method_has_no_seeds(accuracies) -> None:
    crashed = {"status": "crashed"}
    (group,) = trainings.groups(*table(accuracies, exact=crashed, ns5=crashed, cov=crashed))
    assert group.seeds == 0
    assert not group.ranked


def test_a_method_that_skipped_half_of_its_steps_is_not_compared(accuracies) -> None:
    (group,) = trainings.groups(*table(accuracies, ns5={"status": "nonfinite", "skipped": 60}))
    line = next(x for x in group.lines if x.method == "newton_schulz + autodiff")
    assert line.statuses == ("nonfinite",)
    assert line.difference is None
    assert line is group.lines[-1], "it stands last, although it is the most accurate"
    assert line.skipped == pytest.approx(0.6)


def test_tasks_and_learning_rates_are_apart(accuracies) -> None:
    one, curves = table(accuracies)
    other = one.assign(learning_rate=0.2, cell_id=one["cell_id"] + "b")
    both = pd.concat([one, other])
    found = trainings.groups(both, curves)
    assert [group.learning_rate for group in found] == [0.1, 0.2]


@pytest.mark.parametrize(("name", "value"), [("batch", 64), ("precision", "float64")])
def test_batches_and_precisions_are_apart_and_have_their_own_reference(
    accuracies, name, value
) -> None:
    one, curves = table(accuracies)
    other = one.assign(**{name: value, "cell_id": one["cell_id"] + "b"})
    found = trainings.groups(pd.concat([one, other]), curves)
    assert [getattr(group, name) for group in found] == [one[name][0], value]
    for group in found:
        assert group.seeds == SEEDS
        assert group.reference == "eigh + loewner"
        assert {line.method for line in group.lines} == {
            "eigh + loewner", "newton_schulz + autodiff", "covariance",
        }  # fmt: skip
    titles = [
        str(table.title) for table in tables(found) if isinstance(table, Table) and table.title
    ]
    assert f"batch {found[1].batch} · " in titles[1]
    assert ("float64" in titles[0], "float64" in titles[1]) == (False, value == "float64")


@pytest.mark.parametrize("other", [{"options": "rtol=1e-4"}, {"then": "forward=svd"}])
def test_the_reference_has_no_options_and_no_other_method_at_the_end(accuracies, other) -> None:
    (group,) = trainings.groups(*table(accuracies, exact=other))
    assert group.reference == ""
    assert all(line.difference is None for line in group.lines)


def test_equal_accuracies_have_no_difference(accuracies) -> None:
    same = accuracies | {"ns5": accuracies["exact"]}
    (group,) = trainings.groups(*table(same))
    line = next(x for x in group.lines if x.method == "newton_schulz + autodiff")
    assert line.difference is not None
    assert (line.difference.mean, line.difference.p) == (0.0, 1.0)


def test_other_starts_are_found(accuracies) -> None:
    frame, _ = table(accuracies)
    assert trainings.equal_starts(frame)
    assert trainings.equal_starts(pd.concat([frame, frame])), "an index need not be unique"
    frame.loc[3, "initial"] = "other"
    assert not trainings.equal_starts(frame)
    frame.index = pd.Index([0] * len(frame))
    assert not trainings.equal_starts(frame)


def test_differences_are_spoken_of_only_if_something_was_compared(accuracies) -> None:
    def sentences(accuracies) -> list[str]:
        found = trainings.groups(*table(accuracies))
        return [str(text) for text in tables(found) if isinstance(text, Text)]

    assert sentences({"exact": accuracies["exact"]}) == []
    same = sentences({"exact": accuracies["exact"], "ns5": accuracies["exact"]})
    assert same[0] == "No difference from eigh + loewner is resolved by these seeds."
    assert len(same) == 2
