"""Comparisons of trainings: SciPy and statsmodels are the judges of the statistics."""

import numpy as np
import pandas as pd
import pytest
from rich.console import Console
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


@pytest.mark.parametrize("seeds", [0, 4])
def test_a_method_with_too_few_seeds_does_not_keep_others_from_ranks(accuracies, seeds) -> None:
    frame, curves = table(accuracies)
    few = (frame["forward"] == "newton_schulz") & (frame["seed"] >= seeds)
    frame.loc[few, "seed"] += SEEDS  # no seed of the reference
    (group,) = trainings.groups(frame, curves)
    assert (group.seeds, group.ranked) == (SEEDS, True)
    (line,) = group.few
    assert (line.method, line.shared) == ("newton_schulz + autodiff", seeds)
    assert line is group.lines[-1], "it has no rank"
    found = {x.method: x.difference for x in group.lines}
    assert [name for name, d in found.items() if d is not None] == ["covariance"]
    alone, _ = table({name: accuracies[name] for name in ("exact", "cov")})
    (other,) = trainings.groups(alone, curves)
    assert found["covariance"] == next(x.difference for x in other.lines if x.difference)

    words = [str(part) for part in tables([group]) if isinstance(part, Text)]
    assert words[0] == (
        "Not ranked, since that takes 5 seeds in common with eigh + loewner: newton_schulz + "
        f"autodiff, {seeds}."
    )


def test_without_the_exact_root_each_method_needs_its_own_seeds(accuracies) -> None:
    mixed = {"ns5": accuracies["ns5"], "cov": accuracies["cov"][:4]}
    (group,) = trainings.groups(*table(mixed))
    assert (group.ranked, [line.method for line in group.few]) == (True, ["covariance"])
    words = [str(part) for part in tables([group]) if isinstance(part, Text)]
    assert words[0] == "Not ranked, since that takes 5 seeds: covariance, 4."
    failed, _ = table(accuracies)
    failed.loc[(failed["forward"] == "eigh") & (failed["seed"] == 0), "status"] = "crashed"
    (group,) = trainings.groups(failed, table(accuracies)[1])
    words = [str(part) for part in tables([group]) if isinstance(part, Text)]
    assert words[0] == (
        "No differences: the exact root, eigh + loewner, was not trained without failure."
    )


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
    titles = [line for line in printed(tables(found)).splitlines() if " · " in line]
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


def test_more_channels_have_other_weights_and_are_no_other_start(accuracies) -> None:
    frame, _ = table(accuracies)
    wider = frame.assign(channels=64, initial="wide" + frame["initial"])
    assert trainings.equal_starts(pd.concat([frame, wider]))
    wider.loc[3, "initial"] = "other"
    assert not trainings.equal_starts(pd.concat([frame, wider]))


def test_an_interval_that_excludes_0_beside_no_difference_is_explained() -> None:
    random = np.random.default_rng(1)
    base = random.normal(0.7, 0.02, SEEDS)
    steps = np.array([0.01, 0.02, 0.005, 0.03, 0.0, 0.015])
    accuracies = {"exact": list(base), "ns5": list(base + steps), "cov": list(base - steps)}
    (group,) = trainings.groups(*table(accuracies))
    d = next(x.difference for x in group.lines if x.method == "covariance")
    assert d is not None
    assert d.high < 0
    text = " ".join(printed(tables([group])).split())
    assert "A 95 % t interval is for one method by itself; p, adjusted by Holm, and the" in text
    assert "need not be resolved although its interval excludes 0" in text


@pytest.mark.parametrize("width", [80, 100, 120])
def test_names_of_methods_have_room_on_every_terminal(accuracies, width) -> None:
    text = printed(tables(trainings.groups(*table(accuracies))), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("newton_schulz + autodiff ") == (4 if width == 80 else 3)
    heads = [line.split() for line in text.splitlines() if line.strip().startswith("method")]
    assert ("step" in heads[0], "accuracy" in heads[0]) == (width > 80, True)
    if width == 80:
        assert heads[1] == ["method", "step", "in", "root"]


def printed(parts, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def test_other_starts_are_found(accuracies) -> None:
    frame, _ = table(accuracies)
    assert trainings.equal_starts(frame)
    assert trainings.equal_starts(pd.concat([frame, frame])), "an index need not be unique"
    for missing in ("", np.nan, None):  # of a training that crashed, or was not supported
        started = frame.assign(initial=frame["initial"].astype(object))
        started.loc[3, ["initial", "data"]] = missing
        assert trainings.equal_starts(started)
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
