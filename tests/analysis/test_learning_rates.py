"""Methods over a grid of learning rates, and epochs to first order."""

import numpy as np
import pytest
from helpers.trainings import frames, rows
from rich.console import Console
from scipy import stats
from statsmodels.stats.multitest import multipletests

from mssbench.analysis import trainings
from mssbench.analysis.best_rates import BestRate
from mssbench.analysis.learning_rates import grids
from mssbench.console.trainings import rates, tables

EXACT = np.array([0.70, 0.72, 0.69, 0.71, 0.73, 0.70])
BETTER = np.array([0.722, 0.738, 0.711, 0.731, 0.748, 0.721])
MEAN = np.array([0.69, 0.73, 0.66, 0.70, 0.71, 0.72])


def planted(seeds: int = 6) -> list:
    """Three methods at three rates: the best of each is another one."""
    found = []
    for name, values, best in (("mean", MEAN, 0.05), ("exact", EXACT, 0.1), ("ns5", BETTER, 0.2)):
        for rate in (0.05, 0.1, 0.2):
            drop = 0.0 if rate == best else 0.05
            found += rows(name, list(values[:seeds] - drop), learning_rate=rate)
    return found


def printed(parts, width: int = 100) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        for part in parts:
            console.print(part)
    return captured.get()


def test_each_method_is_compared_at_its_best_rate() -> None:
    (grid,) = grids(frames(planted())[0])
    assert (grid.rates, grid.seeds, grid.reference) == ([0.05, 0.1, 0.2], 6, "eigh + loewner")
    assert [(line.method.split()[0], line.best) for line in grid.lines] == [
        ("newton_schulz", BestRate(0.2, at_edge=True)), ("eigh", BestRate(0.1, at_edge=False)),
        ("mean", BestRate(0.05, at_edge=True)),
    ]  # fmt: skip
    assert grid.lines[0].rates.means[0.1] == pytest.approx(BETTER.mean() - 0.05)

    tests = [stats.ttest_rel(values, EXACT) for values in (BETTER, MEAN)]
    adjusted = multipletests([test.pvalue for test in tests], method="holm")[1]
    assert grid.lines[1].difference is None
    for line, test, p in zip((grid.lines[0], grid.lines[2]), tests, adjusted, strict=True):
        interval = test.confidence_interval(0.95)
        assert line.difference is not None
        assert (line.difference.low, line.difference.high, line.difference.p) == pytest.approx(
            (interval.low, interval.high, p)
        )


def test_a_method_with_a_single_rate_is_no_part_of_the_grid() -> None:
    """At its best rate it would be compared with methods that had a choice."""
    single = rows("svd", list(EXACT + 0.1), learning_rate=0.1)
    (grid,) = grids(frames([*planted(), *single])[0])
    (alone,) = grids(frames(planted())[0])
    assert [line.method for line in grid.lines] == [line.method for line in alone.lines]
    assert [line.difference for line in grid.lines] == [line.difference for line in alone.lines]


def test_fewer_than_five_seeds_are_in_the_order_of_the_suite_and_not_compared() -> None:
    (grid,) = grids(frames(planted(4))[0])
    assert [line.method.split()[0] for line in grid.lines] == ["mean", "eigh", "newton_schulz"]
    assert all(line.difference is None for line in grid.lines)
    text = printed(rates([grid]))
    assert "Methods are not ranked: that takes 5 seeds, and there are 4." in text
    assert "minus" not in text


@pytest.mark.parametrize(
    ("change", "rate"),
    [({"status": "nonfinite", "skipped": 60}, "any"), ({"status": "crashed"}, "one seed")],
)
def test_a_rate_at_which_a_training_failed_is_never_the_best(change, rate) -> None:
    found = planted()
    bad = [r for r in found if r["forward"] == "newton_schulz" and r["learning_rate"] == 0.2]
    for row in bad if rate == "any" else bad[:1]:
        row.update(change)
    (grid,) = grids(frames(found)[0])
    line = next(line for line in grid.lines if line.method.startswith("newton"))
    assert 0.2 not in line.rates.means
    assert line.best == BestRate(0.05, at_edge=True)
    unknown = "1 training of newton_schulz + autodiff iterations=5 norm=trace is crashed, so that"
    assert (unknown in " ".join(printed(rates([grid])).split())) == (rate == "one seed")


def test_a_rate_without_all_seeds_is_never_the_best() -> None:
    few = rows("exact", [0.99] * 5, learning_rate=0.4)
    (grid,) = grids(frames([*planted(), *few])[0])
    line = next(line for line in grid.lines if line.method.startswith("eigh"))
    assert (line.best, grid.seeds) == (BestRate(0.1, at_edge=False), 6)


def test_a_method_without_a_sound_rate_stands_last() -> None:
    bad = {"status": "nonfinite", "skipped": 60}
    svd = [
        row
        for rate in (0.1, 0.2)
        for row in rows("svd", [0.99] * 6, learning_rate=rate, outcome=bad)
    ]
    (grid,) = grids(frames([*svd, *planted()])[0])
    assert (grid.lines[-1].method, grid.lines[-1].best) == ("svd + autodiff", None)
    assert grid.seeds == 6, "it does not take the seeds of the others"


def test_interrupted_trainings_leave_the_best_rate_open() -> None:
    stopped = {"status": "interrupted", "accuracy": np.nan}
    found = planted()
    for row in found:
        if row["forward"] == "mean" or (row["forward"], row["learning_rate"]) == ("eigh", 0.2):
            row.update(stopped)
    (grid,) = grids(frames(found)[0])
    assert [line.method.split()[0] for line in grid.lines] == ["newton_schulz", "eigh"]
    assert grid.lines[1].difference is None
    assert grid.lines[0].difference is not None
    assert (grid.lines[1].best, grid.lines[1].unknown) == (BestRate(0.1, at_edge=False), 6)
    text = " ".join(printed(rates([grid])).split())
    assert "6 trainings of eigh + loewner are interrupted, so that another rate may be its" in text
    for row in found:
        row.update(stopped)
    assert grids(frames(found)[0]) == []


def test_a_method_with_too_few_seeds_at_its_best_rate_does_not_keep_others_from_ranks() -> None:
    found = [r for r in planted() if r["forward"] != "mean" or r["seed"] < 4]
    (grid,) = grids(frames(found)[0])
    assert [line.method.split()[0] for line in grid.lines] == ["newton_schulz", "eigh", "mean"]
    assert [line.difference is None for line in grid.lines] == [False, True, True]
    text = " ".join(printed(rates([grid])).split())
    assert "Not ranked, since that takes 5 seeds in common with eigh + loewner: mean, 4." in text


def test_one_rate_is_no_grid_and_tasks_are_apart() -> None:
    assert grids(frames(rows("exact", [0.7, 0.8]))[0]) == []
    both = [*planted(), *(dict(row, task="digits") for row in planted())]
    assert [grid.title["task"] for grid in grids(frames(both)[0])] == ["tex12", "digits"]


def test_the_tables_fit_into_100_columns() -> None:
    text = printed(rates(grids(frames(planted())[0])))
    assert max(map(len, text.splitlines())) <= 100
    head, *lines = text.splitlines()
    assert head.strip() == "tex12 · n 64, M 49 · batch 32 · 4 epochs · 6 seeds"
    assert lines[0].split()[:6] == ["method", "0.05", "0.1", "0.2", "best", "rate"]
    assert "0.2 at the edge" in text
    assert "0.1 at" not in text
    assert "which favours methods with more rates" in " ".join(text.split())


@pytest.mark.parametrize(("width", "parts"), [(60, 3), (80, 2), (120, 1), (200, 1)])
def test_names_and_numbers_are_whole_on_every_terminal(width, parts) -> None:
    found = planted() + rows("exact", list(EXACT - 0.05), learning_rate=0.4)
    lines = printed(rates(grids(frames(found)[0])), width).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert text.count("newton_schulz + autodiff") == parts
    assert "eigh + loewner" in text
    assert "0.2 at the edge" in text
    compared = [line.difference for line in grids(frames(found)[0])[0].lines if line.difference]
    words = text.split()
    for d in compared:
        interval = f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}], p {d.p:.2g}"
        assert set(interval.split()) <= set(words), "no number is cut off"
        assert interval in text or width < 70
    heads = [line for line in lines if line.split()[:1] == ["method"]]
    assert len(heads) == parts
    assert "minus eigh + loewner" in heads[-1] or width < 70


def test_a_terminal_that_is_too_narrow_for_any_table_has_all_of_them() -> None:
    text = printed(rates(grids(frames(planted())[0])), 20)
    assert text.count("method") >= 3


def test_epochs_to_first_order_are_shown_if_mean_pooling_was_trained() -> None:
    mean = rows("mean", [0.7] * 6, outcome={"epochs_to_first_order": 4})
    ns5 = rows("ns5", list(BETTER), outcome={"epochs_to_first_order": 2})
    ns5[0]["epochs_to_first_order"] = np.nan
    exact = rows("exact", list(EXACT), outcome={"epochs_to_first_order": np.nan})
    every, curves, _ = frames([*mean, *ns5, *exact])
    (group,) = trainings.groups(every, curves)
    found = {line.method.split()[0]: line.first_order for line in group.lines}
    assert found["mean"] == (4.0, 0)
    assert found["newton_schulz"] == (2.0, 1)
    assert found["eigh"] is not None
    assert found["eigh"].missed == 6

    text = printed(tables([group]))
    assert max(map(len, text.splitlines())) <= 100
    assert "epochs to first order" in text
    assert "2.0, 1 not reached" in text
    assert "6 not reached" in text

    (group,) = trainings.groups(*frames([*ns5, *exact])[:2])
    assert all(line.first_order is None for line in group.lines)
    assert "first order" not in printed(tables([group]))

    for row in mean:
        row["learning_rate"] = 0.2
    groups = trainings.groups(*frames([*mean, *ns5])[:2])
    assert [line.first_order is None for group in groups for line in group.lines] == [False, True]


def test_a_seed_without_mean_pooling_is_not_counted_as_missed() -> None:
    mean = rows("mean", [0.7] * 3, outcome={"epochs_to_first_order": 4})
    ns5 = rows("ns5", list(BETTER), outcome={"epochs_to_first_order": np.nan})
    (group,) = trainings.groups(*frames([*mean, *ns5])[:2])
    assert {line.first_order.missed for line in group.lines if line.first_order} == {0, 3}
