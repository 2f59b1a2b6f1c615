"""What the report says and draws of trainings, from planted results."""

import json
import math
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
from helpers.altered_runs import QUICK
from helpers.planted_trainings import (
    BROKEN,
    EPOCHS,
    EXACT,
    MEAN,
    MESSAGE,
    METHODS,
    NEWTON_SCHULZ,
    STEPS,
    cell,
    cells,
    plant,
    result,
)
from report.test_page_safety import HOSTILE

from mssbench import results
from mssbench.cli.claims import judged
from mssbench.errors import RunError, SuiteError
from mssbench.records.training import TrainingCell
from mssbench.report.page import page
from mssbench.report.trainings import sentences, tables
from mssbench.report.trainings.every import every_training
from mssbench.report.trainings.points import points
from mssbench.report.trainings.quantities import PROBED, QUANTITIES
from mssbench.report.trainings.rates import RateTable, learning_rates
from mssbench.report.trainings.reading import Shown, read, shown
from mssbench.results import trainings

NS = "newton_schulz + autodiff iterations=5 norm=trace"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seeds, two learning rates, and four methods of which one trains nothing."""
    return plant(tmp_path_factory.mktemp("planted") / "trainings")


@pytest.fixture(autouse=True)
def no_charts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The charts take seconds to compile, and have their tests in test_trainings_page.py."""
    monkeypatch.setattr("mssbench.report.trainings.figures.vega", lambda *_: {})


def of(*folders: Path) -> Shown:
    return shown({folder.name: read(folder) for folder in folders})


def said(of_runs: Shown) -> list[str]:
    return [sentence for place in sentences.summary(of_runs) for sentence in place.sentences]


def altered(**values: Any) -> Callable[[TrainingCell], dict[str, Any]]:
    """A function that returns planted results with other values in each epoch."""

    def change(of_cell: TrainingCell) -> dict[str, Any]:
        found = result(of_cell)
        for epoch in found["epochs"]:
            epoch |= values
        return found

    return change


# The numbers of the figures.


def test_a_curve_is_the_mean_over_the_seeds_between_the_extremes(run: Path) -> None:
    planted = [result(cell(NEWTON_SCHULZ, seed))["epochs"][1] for seed in range(5)]
    drawn = points(of(run))
    for name in ("accuracy", "loss"):
        values = [epoch[name] for epoch in planted]
        (row,) = drawn[
            (drawn["chart"] == name)
            & (drawn["method"] == NS)
            & (drawn["place"] == 1)
            & (drawn["x"] == 2)
        ].to_dict("records")
        assert row["middle"] == pytest.approx(fmean(values))
        assert (row["low"], row["high"]) == pytest.approx((min(values), max(values)))
        assert (row["seeds"], row["ended"]) == (5, "ok")


def test_a_method_that_failed_is_marked_in_every_figure(run: Path) -> None:
    drawn = points(of(run))
    failed = drawn[drawn["method"] == "svd + autodiff"]
    assert set(failed["ended"]) == {"nonfinite"}
    assert set(failed["figure"]) == {"curves", "probes", "robustness"}
    assert set(drawn.loc[drawn["ended"] == "nonfinite", "method"]) == {"svd + autodiff"}


def test_differences_are_those_of_the_analysis(run: Path) -> None:
    of_runs = of(run)
    drawn = points(of_runs)
    rows = drawn[drawn["figure"] == "differences"]
    assert len(rows) == 4  # of two methods at two learning rates
    for row in rows.to_dict("records"):
        lines = of_runs.places[row["place"]].group.lines
        (d,) = [line.difference for line in lines if line.method == row["method"]]
        assert d is not None
        assert (row["middle"], row["low"], row["high"]) == (d.mean, d.low, d.high)
        assert f"{d.mean:+.3f} ({d.low:+.3f} to {d.high:+.3f})" in row["value"]
        assert row["beside"] == f"better in {d.wins} of 5 seeds"


def test_a_probe_is_never_without_the_loss(run: Path) -> None:
    drawn = points(of(run))
    probed = drawn[drawn["figure"] == "probes"]
    assert probed["beside"].str.startswith("loss ").all()
    for _, rows in probed.groupby("place"):
        assert rows["chart"].iloc[0] == "probe_loss"
        assert set(rows["chart"]) == {quantity.name for quantity in PROBED}
    for table in tables.probes(of(run)):
        assert [head.title for head in table.heads[1:3]] == [
            "training loss (no unit)",
            "Loss at the probe (no unit)",
        ]
        assert all(row[1] != "-" for row in table.rows)


def test_a_probe_that_is_known_in_some_epochs_alone_says_so(tmp_path: Path) -> None:
    planted = {c: result(c) for c in cells([EXACT, MEAN], learning_rates=[0.1])}
    planted[cell(EXACT)]["epochs"][0]["probes"]["truth"] = float("nan")
    for epoch in planted[cell(MEAN)]["epochs"]:
        del epoch["probes"]["amplification"]
    (table,) = tables.probes(of(plant(tmp_path / "r", planted)))
    titles = [head.title for head in table.heads]
    of_methods = {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows}
    exact, mean = of_methods["eigh + loewner"], of_methods["mean"]
    assert exact["Truth τ of the gradient (no unit)"].endswith(", known in 19 of 20 epochs")
    assert mean["Amplification (no unit)"].endswith(", known in 16 of 20 epochs")
    assert "known in" not in exact["Band of the loss (no unit)"]


def test_beta_stands_between_its_quartiles(run: Path) -> None:
    drawn = points(of(run))
    beta = drawn[drawn["chart"] == "beta"]
    assert set(zip(beta["low"], beta["middle"], beta["high"], strict=True)) == {(0.02, 0.03, 0.05)}


def test_a_robustness_begins_with_the_unchanged_data(run: Path) -> None:
    drawn = points(of(run))
    rows = drawn[(drawn["figure"] == "robustness") & (drawn["method"] == NS)]
    finals = [result(cell(NEWTON_SCHULZ, seed))["epochs"][-1]["accuracy"] for seed in range(5)]
    blurred = rows[(rows["quantity"] == "blur") & (rows["place"] == 1)]
    assert [*blurred["x"]] == [0, 1, 3, 5]
    assert [*blurred["middle"]] == pytest.approx(
        [1 - fmean(finals) + loss for loss in (0, 0.1, 0.3, 0.5)]
    )
    zeroed = rows[(rows["chart"] == "truncated") & (rows["place"] == 1)]
    assert [*zeroed["x"]] == [0, 10, 50, 90]
    assert zeroed["middle"].iloc[0] == pytest.approx(fmean(finals))
    assert rows["beside"].str.startswith("loss ").all()


@pytest.mark.parametrize("loss", [0.0, float("nan"), float("inf"), -1.0])
def test_what_an_axis_cannot_show_is_not_drawn(tmp_path: Path, loss: float) -> None:
    planted = altered(loss=loss)
    drawn = points(of(plant(tmp_path / "r", {c: planted(c) for c in cells([EXACT])})))
    assert "loss" not in set(drawn["chart"])
    assert len(drawn[drawn["chart"] == "accuracy"]) == 2 * EPOCHS


def test_no_symbol_has_a_number_that_is_not_finite(tmp_path: Path) -> None:
    planted = altered(loss=float("inf"), accuracy=float("nan"))
    page_ = text_of(plant(tmp_path / "r", {c: planted(c) for c in cells([EXACT, MEAN])}))
    assert "Infinity" not in json.dumps(data_of(page_))


# The sentences.


def test_a_difference_that_is_resolved_is_a_sentence_and_others_are_named(run: Path) -> None:
    found = said(of(run))
    assert found[0].startswith(f"{NS} is better than eigh + loewner, in 5 of 5 seeds")
    assert "+0.0" in found[0]
    assert found[1] == (
        "Not resolved by these 5 seeds is the difference of mean from eigh + loewner."
    )
    assert found[2] == (
        "svd + autodiff is nonfinite, because up to 100 % of the steps of a training failed. "
        "It is not compared."
    )


@pytest.mark.parametrize(("seeds", "words"), [(1, "there is 1"), (4, "there are 4")])
def test_nothing_is_ranked_below_five_seeds(tmp_path: Path, seeds: int, words: str) -> None:
    run = plant(tmp_path / "few", {c: result(c) for c in cells(seeds=seeds)})
    of_runs = of(run)
    assert said(of_runs)[0] == f"Methods are not ranked: that takes 5 seeds, and {words}."
    assert "differences" not in set(points(of_runs)["figure"])
    text = text_of(run)
    assert "No differences: they take five seeds" in text
    assert "is better than" not in text
    assert "is worse than" not in text
    assert "minus the exact root" not in text


def test_without_the_exact_root_there_is_no_difference(tmp_path: Path) -> None:
    of_runs = of(plant(tmp_path / "r", {c: result(c) for c in cells([MEAN, NEWTON_SCHULZ])}))
    assert set(said(of_runs)) == {
        "No differences: the exact root, eigh + loewner, was not trained without failure."
    }


def test_a_method_with_too_few_seeds_is_named_and_the_others_are_ranked(tmp_path: Path) -> None:
    planted = {c: result(c) for c in cells([EXACT, MEAN, NEWTON_SCHULZ], learning_rates=[0.1])}
    del planted[cell(MEAN, 4)]
    found = said(of(plant(tmp_path / "r", planted)))
    assert found[0].startswith(f"{NS} is better than eigh + loewner, in 5 of 5 seeds")
    assert found[1] == (
        "A method is ranked with 5 seeds or more in common with eigh + loewner: mean has 4."
    )
    for key in [c for c in planted if c.forward == "newton_schulz"]:
        del planted[key]
    assert said(of(plant(tmp_path / "one", planted))) == found[1:]


def test_if_every_method_failed_nothing_is_compared(tmp_path: Path) -> None:
    of_runs = of(plant(tmp_path / "r", {c: result(c) for c in cells([BROKEN])}))
    assert "No method trained without failure" in said(of_runs)[0]


def test_unequal_starts_are_the_first_caution(tmp_path: Path) -> None:
    planted = {c: result(c) for c in cells([EXACT, MEAN])}
    next(iter(planted.values()))["initial"] = "other"
    (caution,) = sentences.cautions(of(plant(tmp_path / "r", planted)))
    assert "did not all start from the same weights" in caution


def test_a_run_without_times_says_why(tmp_path: Path) -> None:
    planted = {c: result(c) for c in cells([EXACT, MEAN])}
    for found in planted.values():
        for epoch in found["epochs"]:
            epoch |= {"seconds": math.nan, "root_seconds": math.nan}
    (caution,) = sentences.cautions(of(plant(tmp_path / "r", planted)))
    assert "several networks were trained at the same time" in caution
    assert list(sentences.cautions(of(tmp_path / "r"), times=False)) == []


def test_an_interrupted_run_says_what_is_missing(tmp_path: Path) -> None:
    planted: dict[TrainingCell, Any] = {c: result(c) for c in cells()}
    stopped, untouched = cell(EXACT, 4), cell(MEAN, 4)
    planted[stopped] = result(stopped) | {"status": "interrupted", "reason": "stopped"}
    planted[untouched] = None
    run = plant(tmp_path / "r", planted)
    of_runs = of(run)
    (caution,) = sentences.cautions(of_runs)
    assert caution.startswith("The run was stopped: 2 of 40 trainings are missing")

    # What has not ended is in no figure, and every training is in the table.
    drawn = points(of_runs)
    at = drawn[(drawn["place"] == 1) & (drawn["figure"] == "curves")]
    assert set(at.loc[at["method"].isin(["mean", "eigh + loewner"]), "seeds"]) == {4}
    _, lines = every_training(of_runs)
    assert len(lines) == 40
    assert sum("interrupted" in line.texts for line in lines) == 2
    assert caution in text_of(run)


def test_a_run_of_which_nothing_has_ended_has_a_page(tmp_path: Path) -> None:
    text = text_of(plant(tmp_path / "r", dict.fromkeys(cells())))
    for words in (
        "No training has ended, so that there is nothing to compare.",
        "No epoch of a training has ended.",
        "40 of 40 trainings are missing",
    ):
        assert words in text


def test_parts_without_numbers_are_left_out_with_a_sentence(tmp_path: Path) -> None:
    planted = {c: result(c, probes=False, robustness=False) for c in cells([EXACT, MEAN])}
    text = text_of(plant(tmp_path / "r", planted))
    assert "These networks were not probed." in text
    assert "These networks were not evaluated on changed data." in text
    assert "No step was skipped, and every training that ended has ended well." in text
    assert [figure["name"] for figure in data_of(text)["figures"]] == ["curves", "differences"]


# The tables.


def test_failures_are_counted_by_cause(run: Path) -> None:
    for table in tables.failures(of(run)):
        (row,) = table.rows
        of_row = dict(zip([head.title for head in table.heads], row, strict=True))
        steps = 5 * EPOCHS * STEPS
        assert of_row == {
            "method": "svd + autodiff",
            "steps": str(steps),
            "skipped steps": f"{steps} (100 %)",
            "loss not finite (steps)": "0",
            "root not finite (steps)": "0",
            "gradient not finite (steps)": str(steps - 5),
            "exceptions (steps)": "5",
            "without a result (test samples)": "0",
            "first skipped (step)": "1",
            "first exception": MESSAGE,
            "status": "nonfinite",
            "reason": f"{EPOCHS * STEPS} of {EPOCHS * STEPS} steps were skipped",
        }


def test_a_step_that_failed_in_a_sound_training_is_counted_too(tmp_path: Path) -> None:
    planted = altered(nonfinite_root=1, skipped=1)
    run = plant(tmp_path / "r", {c: planted(c) for c in cells([EXACT], learning_rates=[0.1])})
    (table,) = tables.failures(of(run))
    (row,) = table.rows
    assert row[0] == "eigh + loewner"
    assert row[4] == str(5 * EPOCHS)
    assert "ok" in row


# Headings whose numbers are counts of what they name, or have their unit in each cell.
COUNTS = {"seeds", "seed", "steps", "epochs", "p", "seeds in which it is better"}
IN_CELLS = {"skipped steps", "time per step", "in the root", "time", "time in the root"}


def test_every_number_has_a_unit(run: Path) -> None:
    of_runs = of(run)
    every: list[tables.Table | RateTable] = [
        *tables.differences(of_runs),
        *learning_rates(of_runs),
        *tables.probes(of_runs),
        *tables.robustness(of_runs),
        *tables.failures(of_runs),
    ]
    heads, lines = every_training(of_runs)
    pairs = [(table.heads, table.rows) for table in every]
    for of_table, rows in [*pairs, (heads, [line.texts for line in lines])]:
        for number, head in enumerate(of_table):
            if not head.number or head.title in COUNTS or head.title.startswith("epochs to"):
                continue
            if head.title not in IN_CELLS:
                assert head.title.endswith(")"), head.title
                continue
            texts = {row[number] for row in rows} - {"-"}
            assert all(text.endswith(("%", " ms", " s", "%)")) for text in texts), texts
    for quantity in QUANTITIES.values():
        titles = (quantity.x, quantity.y)
        assert all(t.endswith(")") or t in ("epoch", "no unit", "method") for t in titles)


# The learning rates.


def test_each_method_stands_at_every_learning_rate_and_at_its_best(run: Path) -> None:
    (table,) = learning_rates(of(run))
    (grid,) = read(run).grids
    assert (table.run, table.task, table.precision) == ("trainings", "tex12", "float32")
    titles = [head.title for head in table.heads]
    assert titles[:5] == [
        "method",
        "accuracy at 0.05 (share)",
        "accuracy at 0.1 (share)",
        "best learning rate (no unit)",
        "at the edge of the grid",
    ]
    of_rows = {row[0]: dict(zip(titles, row, strict=True)) for row in table.rows}
    assert [*of_rows] == [line.method for line in grid.lines]
    for line in grid.lines:
        row = of_rows[line.method]
        for rate in (0.05, 0.1):
            means = line.rates.means
            shown_mean = f"{means[rate]:.3f}" if rate in means else "-"
            assert row[f"accuracy at {rate:g} (share)"] == shown_mean
        d = line.difference
        if d is not None:
            assert row["minus the exact root (share)"] == f"{d.mean:+.3f}"
            assert row["95 % interval (share)"] == f"{d.low:+.3f} to {d.high:+.3f}"
            assert row["p"] == f"{d.p:.2g}"
    assert of_rows["svd + autodiff"]["best learning rate (no unit)"] == "-"
    assert of_rows["svd + autodiff"]["at the edge of the grid"] == "-"
    assert of_rows[NS]["at the edge of the grid"] == "yes"
    assert of_rows["eigh + loewner"]["minus the exact root (share)"] == "reference"
    assert table.sentences == []

    found = Elements()
    found.feed(text_of(run))
    for words in (*titles, *(text for row in table.rows for text in row)):
        assert words in found.texts, words
    about = " ".join("".join(found.texts).split())
    assert about.count("A best rate is chosen by the mean accuracy of the same seeds") == 1
    assert about.count("Differences are taken at the best rate of each method") == 1


def test_a_best_learning_rate_that_is_not_known_for_sure_is_named(tmp_path: Path) -> None:
    planted: dict[TrainingCell, Any] = {c: result(c) for c in cells([EXACT, MEAN])}
    planted[cell(MEAN, 2)] = {"status": "crashed", "reason": "killed"}
    (table,) = learning_rates(of(plant(tmp_path / "r", planted)))
    words = "1 training of mean is crashed, so that another rate may be its best one."
    assert table.sentences == [words]
    assert words in text_of(tmp_path / "r")


def test_a_best_learning_rate_inside_the_grid_is_not_at_its_edge(tmp_path: Path) -> None:
    planted = {c: result(c) for c in cells([EXACT], learning_rates=[0.05, 0.1, 0.2])}
    for of_cell, found in planted.items():
        found["epochs"][-1]["accuracy"] = 0.9 if of_cell.learning_rate == 0.1 else 0.8
    (table,) = learning_rates(of(plant(tmp_path / "r", planted)))
    assert table.rows[0][1:6] == ["0.800", "0.900", "0.800", "0.1", "no"]


def test_learning_rates_are_not_ranked_below_five_seeds(tmp_path: Path) -> None:
    run = plant(tmp_path / "few", {c: result(c) for c in cells(seeds=4)})
    (table,) = learning_rates(of(run))
    assert table.sentences[0] == "Methods are not ranked: that takes 5 seeds, and there are 4."
    assert "p" not in [head.title for head in table.heads]


def test_a_single_learning_rate_has_no_table(tmp_path: Path) -> None:
    run = plant(tmp_path / "r", {c: result(c) for c in cells([EXACT], learning_rates=[0.1])})
    assert list(learning_rates(of(run))) == []
    assert "No task was trained at two learning rates or more." in text_of(run)


def test_grids_are_named_by_their_run_and_their_task(run: Path, tmp_path: Path) -> None:
    both = {c: result(c) for c in cells([EXACT, MEAN], tasks=["tex12", "digits"])}
    titles = [table.title for table in learning_rates(of(run, plant(tmp_path / "other", both)))]
    assert titles == ["trainings, tex12", "other, tex12", "other, digits"]


# The claims of the suite.

CLAIMS = [
    {
        "claim": "Five steps train better.</script>",
        "source": "A, 2018",
        "value": "accuracy",
        "left": "forward == 'newton_schulz'",
        "right": "forward == 'eigh'",
        "relation": ">",
    },
    {"claim": "It is better on ImageNet.", "source": "A, 2018", "cannot": "ImageNet is too large."},
]


def test_claims_stand_with_their_verdicts(tmp_path: Path) -> None:
    run = plant(tmp_path / "claims", claims=CLAIMS)
    text = text_of(run)
    verdicts = judged(run)
    assert [str(v.verdict) for v in verdicts] == ["holds", "cannot be measured here"]
    found = Elements()
    found.feed(text)
    for verdict in verdicts:
        for words in (verdict.claim, verdict.source, str(verdict.verdict), verdict.found):
            assert words in found.texts


def test_without_claims_the_part_says_so(run: Path) -> None:
    assert "The suites of these trainings make no claims." in text_of(run)


def test_a_malformed_claim_is_refused_with_its_file(tmp_path: Path) -> None:
    run = plant(tmp_path / "claims", claims=[CLAIMS[0] | {"relation": "?"}])
    with pytest.raises(SuiteError, match=r"suite\.toml: .*relation"):
        text_of(run)


# Several runs, and runs of both kinds.


def test_groups_of_several_runs_are_named_by_their_runs(run: Path, tmp_path: Path) -> None:
    other = plant(tmp_path / "other", {c: result(c) for c in cells([EXACT, MEAN])})
    of_runs = of(run, other)
    titles = [place.title for place in of_runs.places]
    assert titles[0] == "trainings, tex12, learning rate 0.05"
    assert titles[-1] == "other, tex12, learning rate 0.1"
    drawn = points(of_runs)
    assert set(drawn.loc[drawn["place"] >= 2, "method"]) == {"mean", "eigh + loewner"}


@pytest.mark.slow  # it compiles the figures of a run of another kind
def test_beside_other_runs_the_trainings_are_a_section_in_the_contents(run: Path) -> None:
    text = text_of(run, measured=[QUICK])
    assert '<a href="#trainings">Trainings</a>' in text
    assert '<section id="trainings"' in text
    assert text.index('id="environment"') < text.index('<section id="trainings"')
    assert text.count("<h1>") == 1
    alone = data_of(text_of(run))
    assert data_of(text)["columns"] == alone["columns"]


@pytest.mark.slow  # it compiles the figures of a run of another kind
def test_a_page_of_other_runs_has_no_trainings() -> None:
    text = page([results.open(QUICK)])
    assert 'id="trainings"' not in text
    assert 'id="contents"' not in text
    assert data_of(text) is None


# Hostile texts.


class Elements(HTMLParser):
    """The elements and the texts of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.handlers: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def hostile_run(folder: Path) -> Path:
    """A run whose tables have hostile texts wherever a text may stand."""
    planted = plant(
        folder / "<img src=x onerror=pwned=6>",
        {c: result(c) for c in cells()},
        name=HOSTILE[1],
        machine={"cpu": HOSTILE[1], "commit": HOSTILE[0], "versions": {"torch": HOSTILE[2]}},
    )
    for file in ("trainings.csv", "curves.csv", "robustness.csv"):
        frame = pd.read_csv(planted / file, dtype=str, keep_default_na=False)
        # One name for each method, so that the methods stay the same in all tables.
        names = dict(zip(sorted({m[0] for m in METHODS}), HOSTILE, strict=False))
        names["eigh"] = "eigh"  # so that there is something to compare with
        frame["forward"] = frame["forward"].map(names)
        frame["task"] = HOSTILE[1]
        frame["options"] = frame["options"].where(frame["options"] == "", HOSTILE[4])
        if "reason" in frame:
            frame["reason"] = [HOSTILE[i % len(HOSTILE)] for i in range(len(frame))]
            frame["exception"] = HOSTILE[1]
        if "change" in frame:
            frame["change"] = frame["change"].replace("blur", HOSTILE[0])
        frame.to_csv(planted / file, index=False)
    return planted


def test_hostile_texts_stay_texts(tmp_path: Path) -> None:
    text = text_of(hostile_run(tmp_path))
    found = Elements()
    found.feed(text)
    assert found.elements.count("script") == 3
    assert not {"img", "svg", "iframe", "b", "object"} & set(found.elements)
    assert found.handlers == []
    shown_texts = "".join(found.texts)
    for words in (HOSTILE[0], HOSTILE[1], HOSTILE[4]):
        assert words in shown_texts
    assert data_of(text)["places"][0]["task"] == HOSTILE[1]


# Files.


def test_a_run_is_found_by_its_folder_and_by_its_table(run: Path) -> None:
    assert trainings.is_run(run)
    assert trainings.is_run(run / "trainings.csv")
    assert not trainings.is_run(QUICK)
    assert read(run / "trainings.csv").folder == run


def test_a_run_without_tables_yet_is_explained(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    with pytest.raises(RunError, match=r"no trainings.csv yet.*resume it with the same command"):
        trainings.is_run(tmp_path)


def test_a_run_without_a_table_of_robustness_is_read(run: Path, tmp_path: Path) -> None:
    for file in run.iterdir():
        if file.name != "robustness.csv":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    assert read(tmp_path).robustness.empty


def test_a_condition_leaves_the_rows_of_its_trainings(run: Path) -> None:
    kept = read(run).where("learning_rate == 0.1 and seed < 3", "--where")
    assert len(kept.trainings) == 3 * len(METHODS)
    assert len(kept.curves) == 3 * len(METHODS) * EPOCHS
    assert set(kept.robustness["seed"]) == {0, 1, 2}


def text_of(*folders: Path, measured: "list[Path] | None" = None) -> str:
    """The report on some runs."""
    return page([results.open(path) for path in measured or []], "", [read(f) for f in folders])


def data_of(text: str) -> Any:
    """What the scripts of a page read of trainings."""
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])["trainings"]
