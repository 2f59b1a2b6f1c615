"""Verdicts on claims about trainings. SciPy is the judge of the statistics."""

import numpy as np
import pytest
from helpers.trainings import changed, frames, rows
from rich.console import Console
from scipy import stats

from mssbench.analysis.best_rates import CAUTION, BestRate
from mssbench.analysis.training_claims import TrainingVerdict, judge
from mssbench.console.training_claims import summary, verdicts
from mssbench.errors import SuiteError

CLAIM = {
    "claim": "Newton-Schulz trains better than the exact root.",
    "source": "this test",
    "left": "forward == 'newton_schulz'",
    "relation": ">",
    "right": "forward == 'eigh'",
}
EXACT = [0.70, 0.72, 0.69, 0.71, 0.73, 0.70]
# Differences of .02 with little noise; the accuracies themselves vary as much.
BETTER = [0.722, 0.738, 0.711, 0.731, 0.748, 0.721]


def verdict(trainings, robustness=None, **changes) -> TrainingVerdict:
    (found,) = judge([CLAIM | changes], *frames(trainings, None, robustness))
    return found


def two(left, right, **key) -> list:
    return [*rows("ns5", left, **key), *rows("exact", right, **key)]


@pytest.mark.parametrize(
    ("left", "relation", "margin", "expected"),
    [
        (BETTER, ">", 0.0, "holds"),
        (BETTER, ">=", 0.01, "holds"),
        (BETTER, ">", 0.03, "does not hold here"),
        (BETTER, ">", 0.02, "not resolved"),
        (BETTER, "<", 0.0, "does not hold here"),
        (BETTER, "<", 0.03, "holds"),
        (BETTER, "<=", 0.02, "not resolved"),
        (EXACT[::-1], ">", 0.0, "not resolved"),
        # Without any spread the interval is a point, which >= includes and > does not.
        (EXACT, ">", 0.0, "does not hold here"),
        (EXACT, ">=", 0.0, "holds"),
        (EXACT, "<", 0.0, "does not hold here"),
        (EXACT, "<=", 0.0, "holds"),
    ],
)
def test_the_whole_interval_decides(left, relation, margin, expected) -> None:
    found = verdict(two(left, EXACT), relation=relation, margin=margin)
    assert found.verdict == expected


def test_the_interval_is_that_of_the_paired_t_test() -> None:
    found = verdict(two(BETTER, EXACT), margin=0.019)
    expected = stats.ttest_rel(BETTER, EXACT).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(np.mean(BETTER) - np.mean(EXACT))
    assert (found.seeds, found.wins) == (6, 4)
    assert found.found == (
        "accuracy: the mean difference is +0.0202 [+0.0184, +0.0220]; it is > 0.019 in 4 of 6 "
        "seeds."
    )


def test_trainings_are_paired_by_seed_and_not_by_their_order() -> None:
    paired = verdict(two(BETTER, EXACT))
    backwards = list(reversed(two(BETTER, EXACT)))
    assert verdict(backwards).low == pytest.approx(paired.low)

    shuffled = [*rows("ns5", BETTER, seeds=[3, 0, 5, 1, 2, 4]), *rows("exact", EXACT)]
    other = verdict(shuffled)
    assert other.mean == pytest.approx(paired.mean)
    assert other.high - other.low > 3 * (paired.high - paired.low)


def test_a_side_may_be_a_number() -> None:
    found = verdict(rows("ns5", BETTER), right=0.7, relation=">")
    expected = stats.ttest_1samp(BETTER, 0.7).confidence_interval(0.95)
    ends = (expected.low - 0.7, expected.high - 0.7)
    assert (found.low, found.high) == pytest.approx(ends)
    assert "the mean difference from 0.7 is +0.029" in found.found
    assert found.verdict == "holds"


@pytest.mark.parametrize(("seeds", "expected"), [(4, "not resolved"), (5, "holds")])
def test_a_verdict_takes_five_seeds(seeds, expected) -> None:
    found = verdict(two(BETTER[:seeds], EXACT[:seeds]))
    assert found.verdict == expected
    if seeds == 4:
        assert found.found == "A verdict takes 5 seeds that both sides have, and there are 4."
        assert (found.mean, found.seeds) == (None, 4)


def test_only_seeds_that_both_sides_have_count() -> None:
    shifted = [*rows("ns5", BETTER, seeds=range(2, 8)), *rows("exact", EXACT)]
    assert "there are 4" in verdict(shifted).found


def test_two_methods_on_a_side_are_a_mistake() -> None:
    three = [*two(BETTER, EXACT), *rows("svd", EXACT)]
    with pytest.raises(
        SuiteError,
        match=r"\[\[claim\]\] 1: right selects 2 methods: eigh \+ loewner; svd \+ autodiff",
    ):
        verdict(three, right="forward != 'newton_schulz'")

    precisions = [*two(BETTER, EXACT), *rows("exact", EXACT, precision="float64")]
    with pytest.raises(SuiteError, match=r"eigh \+ loewner float32; eigh \+ loewner float64"):
        verdict(precisions)
    of_one = verdict(precisions, right="forward == 'eigh' and precision == 'float64'")
    assert of_one.verdict == "holds", "the two sides may differ in precision"
    between = verdict(
        precisions,
        left="forward == 'eigh' and precision == 'float32'",
        right="forward == 'eigh' and precision == 'float64'",
        relation="<=",
    )
    assert between.verdict == "holds"
    with pytest.raises(SuiteError, match="left and right select the same method"):
        verdict(two(BETTER, EXACT), right="forward == 'newton_schulz'")


def test_a_side_without_trainings_is_not_resolved() -> None:
    found = verdict(rows("ns5", BETTER))
    assert found.verdict == "not resolved"
    assert found.found.startswith("No training is selected by right. Unknown forward 'eigh'")


def test_trainings_that_are_not_sound_decide_nothing_unless_accepted() -> None:
    bad = {
        "status": "nonfinite",
        "nonfinite_steps": 54,
        "reason": "54 % of the steps were skipped, since",
    }
    trainings = [*rows("ns5", BETTER), *rows("svd", EXACT, outcome=bad)]
    found = verdict(trainings, right="forward == 'svd'")
    assert found.verdict == "not resolved"
    assert found.found == "svd + autodiff is nonfinite: 54 % of the steps failed."

    accepted = verdict(trainings, right="forward == 'svd'", accept=["nonfinite"])
    assert accepted.verdict == "holds"

    one = [*rows("ns5", BETTER), *rows("svd", EXACT)]
    one[-1] |= {"status": "crashed", "reason": "its process ended by signal 9"}
    found = verdict(one, right="forward == 'svd'", accept=["nonfinite"])
    assert found.found == (
        "svd + autodiff is crashed in 1 of 6 trainings: its process ended by signal 9."
    )


def test_a_value_that_was_not_measured_is_not_resolved() -> None:
    found = verdict(two(BETTER, EXACT), value="mce")
    assert found.verdict == "not resolved"
    assert found.found == (
        "The value mce is missing in 6 of the 6 trainings of newton_schulz + autodiff iterations=5 "
        "norm=trace."
    )


def test_a_derived_value_is_compared() -> None:
    trainings = two(BETTER, EXACT)
    truncated = [
        part
        for row in trainings
        for part in changed(
            row,
            "truncation",
            {50.0: row["accuracy"] - (0.1 if row["backward"] == "loewner" else 0.3)},
        )
    ]
    found = verdict(trainings, truncated, value="lost_50")
    assert (found.mean, found.verdict) == (pytest.approx(0.2), "holds")


def reaching(left: list[float], **mean) -> list:
    """Trainings of 4 epochs that reach mean pooling after some epochs, and mean pooling."""
    ns5 = rows("ns5", BETTER)
    for row, epochs in zip(ns5, left, strict=True):
        row["epochs_to_first_order"] = epochs
    return [*ns5, *rows("mean", EXACT, outcome={"epochs_to_first_order": 4} | mean)]


def test_a_seed_that_does_not_reach_mean_pooling_counts_as_one_epoch_more() -> None:
    epochs = [2.0, np.nan, 3.0, 2.0, 2.0, np.nan]
    found = verdict(
        reaching(epochs), value="epochs_to_first_order", relation="<", right="forward == 'mean'"
    )
    assert found.mean == pytest.approx(np.mean([2, 5, 3, 2, 2, 5]) - 4)
    assert (
        "newton_schulz + autodiff iterations=5 norm=trace did not reach the accuracy of mean "
        "pooling in 2 of 6 trainings, which count as 5 epochs."
    ) in found.found
    assert found.verdict == "not resolved"

    reached = verdict(
        reaching([2.0] * 6), value="epochs_to_first_order", relation="<", right="forward == 'mean'"
    )
    assert "did not reach" not in reached.found

    # Without mean pooling nothing says what was not reached.
    for mean in ({"status": "nonfinite"}, {"status": "crashed"}):
        open_one = verdict(
            reaching(epochs, **mean), value="epochs_to_first_order", relation="<", right=3
        )
        assert "is missing in 2 of the 6 trainings" in open_one.found


def test_a_probe_is_never_without_the_losses_of_both_sides() -> None:
    trainings = two(BETTER, EXACT)
    for number, row in enumerate(trainings):
        row |= {"band": 0.1 + number / 100, "probe_loss": 0.5 + number}
    found = verdict(trainings, value="band")
    assert found.found.endswith(
        "Median loss at the probe of newton_schulz + autodiff iterations=5 norm=trace: 3.00. "
        "Median loss at the probe of eigh + loewner: 9.00."
    )
    assert "Median loss" not in verdict(trainings, value="probe_loss").found
    assert "Median loss" not in verdict(trainings).found


def test_the_mean_over_shared_learning_rates_is_taken_first() -> None:
    low, high = np.array(BETTER) - 0.05, np.array(BETTER)
    trainings = [
        *two(high, EXACT),
        *two(low, EXACT, learning_rate=0.2),
        *rows("ns5", [0.1] * 6, learning_rate=0.4, outcome={"status": "nonfinite"}),
    ]
    found = verdict(trainings)
    expected = stats.ttest_rel((low + high) / 2, EXACT).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.seeds == 6, "two rates of a seed are not two seeds"

    narrowed = verdict(trainings, where="learning_rate == 0.1")
    assert narrowed.mean == pytest.approx(np.mean(high) - np.mean(EXACT))


def test_two_sides_without_a_shared_learning_rate_are_not_resolved() -> None:
    trainings = [*rows("ns5", BETTER), *rows("exact", EXACT, learning_rate=0.2)]
    assert "share no learning rate" in verdict(trainings).found
    assert verdict(trainings, rates="best").verdict == "holds"


def test_each_side_is_taken_at_its_best_rate() -> None:
    worse = [x - 0.1 for x in EXACT]
    trainings = [
        *two(worse, worse, learning_rate=0.05),
        *two(BETTER, worse, learning_rate=0.1),
        *two(worse, EXACT, learning_rate=0.2),
    ]
    found = verdict(trainings, rates="best")
    assert found.mean == pytest.approx(np.mean(BETTER) - np.mean(EXACT))
    assert found.left_rate == BestRate(0.1, at_edge=False)
    assert found.right_rate == BestRate(0.2, at_edge=True)
    assert "Best rate of eigh + loewner: 0.2, at the edge of the grid." in found.found
    assert "norm=trace: 0.1." in found.found
    assert found.found.endswith(CAUTION)
    assert CAUTION not in verdict(trainings).found


def test_a_rate_at_which_networks_do_not_train_is_not_the_best_one() -> None:
    bad = {"status": "nonfinite", "skipped": 60}
    trainings = [
        *two(BETTER, EXACT),
        *rows("ns5", [0.99] * 6, learning_rate=0.2, outcome=bad),
        *rows("ns5", [0.5] * 6, learning_rate=0.05),
    ]
    found = verdict(trainings, rates="best")
    assert found.left_rate == BestRate(0.1, at_edge=False), (
        "the rate of .2 was tried, so that .1 is not the edge"
    )

    stopped = {"status": "interrupted", "accuracy": np.nan, "reason": "the run was stopped"}
    trainings += rows("exact", [0.5], learning_rate=0.2, outcome=stopped)
    found = verdict(trainings, rates="best")
    assert found.verdict == "not resolved"
    assert "is interrupted in 1 of 7 trainings: the run was stopped." in found.found


@pytest.mark.parametrize("seeds", [5, 6])
def test_the_best_rate_has_all_seeds_and_all_of_them_are_sound(seeds) -> None:
    better = rows("ns5", [0.99] * seeds, learning_rate=0.2)
    if seeds == 6:
        better[0]["status"] = "nonfinite"
    trainings = [*two(BETTER, EXACT), *better]
    assert verdict(trainings, rates="best").left_rate == BestRate(0.1, at_edge=True)
    if seeds == 6:
        accepted = verdict(trainings, rates="best", accept=["nonfinite"])
        assert accepted.left_rate == BestRate(0.2, at_edge=True)


def test_the_best_rate_is_that_of_one_task() -> None:
    trainings = [*two(BETTER, EXACT), *two(BETTER, EXACT, task="digits")]
    assert verdict(trainings).seeds == 6
    with pytest.raises(SuiteError, match="select one task by where"):
        verdict(trainings, rates="best")
    assert verdict(trainings, rates="best", where="task == 'digits'").verdict == "holds"


def test_a_claim_that_cannot_be_measured_says_why() -> None:
    claim = {
        "claim": "It wins on ImageNet.",
        "source": "a paper",
        "cannot": "There is no ImageNet.",
    }
    (found,) = judge([claim], *frames(two(BETTER, EXACT)))
    assert (found.verdict, found.found) == ("cannot be measured here", "There is no ImageNet.")


def test_missing_texts_of_a_table_are_empty() -> None:
    tables = frames(two(BETTER, EXACT))
    trainings = tables[0].assign(options=tables[0]["options"].replace("", None), then=np.nan)
    (found,) = judge([CLAIM | {"right": "options == '' and then == ''"}], trainings, *tables[1:])
    assert found.verdict == "holds"


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_of_verdicts_fits_its_terminal(width) -> None:
    claims = [CLAIM, CLAIM | {"relation": "<"}, CLAIM | {"rates": "best", "margin": 0.02}]
    claims.append({"claim": "It wins on ImageNet.", "source": "a paper", "cannot": "No ImageNet."})
    found = judge(claims, *frames(two(BETTER, EXACT)))
    console = Console(width=width)
    with console.capture() as captured:
        for part in verdicts(found):
            console.print(part)
    text = captured.get()
    assert max(map(len, text.splitlines())) <= width
    for words in ("holds", "does not hold here", "not resolved", "cannot be measured here"):
        assert any(line.strip().startswith(words) for line in text.splitlines())
    assert "not adjusted for their number" in " ".join(text.split())
    assert str(summary(found, "out")) == "1 of 4 claims hold; see mssbench claims out"
