"""Several passes over a suite become one row; a run that broke off between them goes on there."""

from collections import Counter

import pytest
from helpers.runs import load, sample_counts, stand_in, table, wish, write_suite

from mssbench.engines.events import CeilingsMeasured, Finished, Started
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.noise import Noise, noise
from mssbench.records.timing import Timing
from mssbench.results.rows import typed
from mssbench.run.passes import pooled, shuffled
from mssbench.run.run import run

CELL = Cell(
    "numpy", "eigh", "none", "sqrt", "wishart(ratio=4)", 4, 2, None, None, "", "float64", "cpu", 0
)


def measured(*seconds, status=Status.OK, reason="", error=1e-7, flags="", **values):
    timing = Timing(seconds, len(seconds), 9.0 + error)
    values = {"root_error": error, "gemms": 2.0, "flags": flags, "limit_seconds": 1.0} | values
    return Measurement(CELL, "forward", "wall", "hot", status, reason, values, timing).row()


def pool(*rows_and_samples):
    rows, samples = [rows_and_samples[0][0]], [rows_and_samples[0][1]]
    for row, seconds in rows_and_samples[1:]:
        rows, samples = pooled(rows, samples, [row], [seconds])
    return rows[0], samples[0]


def test_samples_are_pooled_and_the_interval_reaches_from_pass_to_pass():
    quick, slow = [2.0] * 20, [2.2] * 20
    row, samples = pool((measured(*quick), quick), (measured(*slow), slow))
    assert samples == quick + slow
    assert (row["samples"], row["passes"]) == (40, 2)
    assert row["spread"] == pytest.approx(0.1)
    assert (row["seconds_low"], row["seconds_high"]) == (2.0, 2.2)
    assert row["seconds_median"] == pytest.approx(2.1)
    assert row["limit_fraction"] == pytest.approx(1.0 / 2.1)
    third, _ = pool((row, samples), (measured(*quick), quick))
    assert (third["passes"], third["samples"]) == (3, 60)
    assert third["spread"] == pytest.approx(0.1)  # it does not shrink again
    middle, _ = pool((row, samples), (measured(*[2.1] * 20), [2.1] * 20))
    assert (middle["seconds_low"], middle["seconds_high"]) == (2.0, 2.2)  # nor does the interval


def test_the_worst_error_and_the_first_failure_count():
    bad = measured(1.0, status=Status.INACCURATE, reason="root error 0.3", error=0.3)
    good = measured(1.0)
    for one, other in ((bad, good), (good, bad)):
        row, _ = pool((one, [1.0]), (other, [1.0]))
        assert (row["status"], row["root_error"]) == ("inaccurate", 0.3)
        assert row["reason"] == "root error 0.3"
    unknown, _ = pool((measured(1.0), [1.0]), (measured(1.0, root_error=None), [1.0]))
    assert unknown["root_error"] is None


def test_a_pass_that_was_not_measured_stands_alone():
    crashed = Measurement(CELL, "forward", "wall", "hot", Status.CRASHED, "it died").row()
    row, samples = pool((measured(1.0), [1.0]), (crashed, []))
    assert (row["status"], samples) == ("crashed", [])
    row, samples = pool((crashed, []), (measured(1.0), [1.0]))
    assert (row["status"], row["passes"], samples) == ("ok", 1, [1.0])


def test_flags_add_up_and_the_noise_is_of_all_passes():
    calm, shaken = measured(1.0), measured(1.3, flags="loaded")
    row, _ = pool((calm, [1.0] * 9), (shaken, [1.3] * 9))
    assert row["flags"] == "loaded"
    assert row["noise"] == Noise.UNSTABLE  # 30 % between the passes


def test_noise_has_three_classes():
    assert noise([1.0, 1.01, 0.99, 1.0], 0.0, ()) is Noise.QUIET
    assert noise([1.0, 1.01, 0.99, 1.0], 0.0, ["loaded"]) is Noise.NOISY
    assert noise([1.0, 1.01, 0.99, 1.0], 0.0, ["queue_gap"]) is Noise.NOISY
    assert noise([1.0, 1.01, 0.99, 1.0], 0.0, ["remeasured"]) is Noise.QUIET
    assert noise([1.0, 1.01, 0.99, 1.0], 0.05, ()) is Noise.NOISY
    assert noise([1.0, 1.2, 0.9, 1.1], 0.0, ()) is Noise.NOISY
    assert noise([1.0, 2.0, 0.5, 1.0], 0.0, ()) is Noise.UNSTABLE
    assert noise([1.0, 1.01, 0.99, 1.0], 0.2, ()) is Noise.UNSTABLE


def test_a_group_stays_together_and_its_order_changes_from_pass_to_pass(tmp_path):
    methods = [f'forward = "numpy/{m}"\nbackward = ["none", "loewner"]' for m in ("eigh", "svd")]
    cells = load(write_suite(tmp_path, *methods, "forward = 'numpy/taylor'", seeds=4)).cells
    orders = [list(shuffled(cells, "a seed", number)) for number in (1, 2)]
    for order in orders:
        assert Counter(order) == Counter(cells)
        assert [c.seed for c in order] == [c.seed for c in cells]
    assert orders[0] != orders[1]
    assert orders[0] == list(shuffled(cells, "a seed", 1))
    assert orders[0] != list(shuffled(cells, "another", 1))


@pytest.fixture
def suite(tmp_path):
    return load(write_suite(tmp_path, "forward = ['numpy/eigh', 'numpy/svd']", passes=2, seeds=2))


@pytest.fixture
def python(tmp_path):
    return stand_in(tmp_path)


def test_a_run_measures_every_cell_in_each_pass(tmp_path, suite, python):
    events = []
    out = run(suite, tmp_path / "out", python=python, watch=events.append)
    asked = [e.cell for e in events if isinstance(e, Started)]
    assert Counter(asked) == dict.fromkeys(suite.cells, 2)
    assert set(asked[:4]) == set(suite.cells)  # the second pass begins when the first is done
    rows = table(tmp_path / "out")
    assert {(r["passes"], r["samples"]) for r in rows} == {("2", "6")}
    assert set(sample_counts(tmp_path / "out").values()) == {6}
    assert out.statuses == {"ok": 4}
    assert out.noise.total() == 4


def test_the_ceilings_are_measured_at_both_ends_and_in_the_middle(
    tmp_path, suite, python, monkeypatch
):
    wish(monkeypatch, ceiling=2e9)
    events = []
    out = run(suite, tmp_path / "out", python=python, watch=events.append)
    kinds = [type(e) for e in events if isinstance(e, Finished | CeilingsMeasured)]
    assert kinds[:2] == [Finished, CeilingsMeasured]
    assert kinds[-1] is CeilingsMeasured
    assert Counter(kinds)[CeilingsMeasured] == 3
    assert [e.found for e in events if isinstance(e, CeilingsMeasured)] == [
        {"cpu float32": 2e9}
    ] * 3
    assert out.drift == 0.0


def test_they_are_measured_at_the_end_though_the_last_cells_were_skipped(
    tmp_path, suite, python, monkeypatch
):
    """Nothing is measured twice that is not there, but the end of the run is its end."""
    wish(monkeypatch, do=dict.fromkeys(("eigh", "svd"), "unsupported"), seconds=0.05)
    events = []
    run(suite, tmp_path / "out", python=python, watch=events.append)
    assert sum(isinstance(e, Started) for e in events) < 2 * len(suite.cells)
    assert isinstance(
        [e for e in events if isinstance(e, Finished | CeilingsMeasured)][-1], CeilingsMeasured
    )


@pytest.mark.slow
def test_a_worker_that_dies_at_its_ceilings_costs_no_cell(tmp_path, suite, python, monkeypatch):
    """They need gigabytes of a GPU that the methods may not."""
    wish(monkeypatch, ceiling="die")
    out = run(suite, tmp_path / "out", python=python)
    assert out.statuses == {"ok": 4}
    assert out.drift is None


@pytest.mark.slow
def test_what_crashed_in_one_pass_is_not_asked_again(tmp_path, suite, python, monkeypatch):
    wish(monkeypatch, do={"svd": "exit"}, seconds=0.05)
    monkeypatch.setattr("mssbench.engines.local.GRACE_SECONDS", 0.0)
    events = []
    out = run(suite, tmp_path / "out", python=python, watch=events.append)
    asked = Counter(e.cell.forward for e in events if isinstance(e, Started))
    assert asked == {"eigh": 4, "svd": 2}
    assert out.statuses == {"ok": 2, "crashed": 2}


@pytest.mark.slow
def test_a_run_that_stopped_between_passes_goes_on_there(tmp_path, suite, python):
    class Stop(Exception):
        pass

    seen = []

    def stop_after_five(event):
        seen.extend([event] if isinstance(event, Finished) else [])
        if len(seen) == 5:
            raise Stop

    path = tmp_path / "out"
    with pytest.raises(Stop):
        run(suite, path, python=python, watch=stop_after_five)
    before = {r["cell_id"]: typed(r) for r in table(path)}
    assert Counter(r["passes"] for r in before.values()) == {1: 3, 2: 1}
    asked = []
    run(suite, path, python=python, watch=asked.append)
    asked = [e.cell for e in asked if isinstance(e, Started)]
    assert {c.cell_id for c in asked} == {k for k, r in before.items() if r["passes"] == 1}
    after = {r["cell_id"]: typed(r) for r in table(path)}
    assert {r["passes"] for r in after.values()} == {2}
    assert set(sample_counts(path).values()) == {6}
    for key, row in after.items():
        assert row["seconds_min"] <= before[key]["seconds_min"]  # nothing was lost
        assert row["seconds_low"] <= before[key]["seconds_median"] <= row["seconds_high"]


def test_a_finished_run_has_nothing_left_to_measure(tmp_path, suite, python):
    path = tmp_path / "out"
    run(suite, path, python=python)
    before = (path / "table.csv").read_bytes()
    again = []
    run(suite, path, python=python, watch=again.append)
    assert not again
    assert (path / "table.csv").read_bytes() == before


def at_width(width):
    """Samples of median 1 whose interquartile range is `width`."""
    return [1 - width, 1 - width / 2, 1.0, 1 + width / 2, 1 + width]


@pytest.mark.parametrize(
    ("width", "spread", "expected"),
    [
        (0.059, 0.0, "quiet"),
        (0.061, 0.0, "noisy"),
        (0.299, 0.0, "noisy"),
        (0.301, 0.0, "unstable"),
        (0.0, 0.0299, "quiet"),
        (0.0, 0.0301, "noisy"),
        (0.0, 0.099, "noisy"),
        (0.0, 0.101, "unstable"),
        (0.059, 0.0301, "noisy"),
        (0.061, 0.101, "unstable"),
    ],
)
def test_the_class_of_noise_changes_at_its_limits(width, spread, expected):
    samples = at_width(width)
    assert noise(samples, spread, ()) == expected
    disturbed = "noisy" if expected == "quiet" else expected  # never calmer by it
    for flag in ("clock_low", "loaded", "queue_gap", "shared_gpu", "throttled"):
        assert noise(samples, spread, [flag]) == disturbed, flag
    for flag in ("unwatched", "remeasured", "clock_order", "above_ceiling"):
        assert noise(samples, spread, [flag]) == expected, flag


def test_what_is_pooled_is_the_worst_of_errors_and_memory_and_the_mean_of_work():
    first = measured(
        1.0,
        error=1e-7,
        peak_bytes=100.0,
        saved_bytes=None,
        gemms=2.0,
        flags="loaded",
        nonfinite=0,
        residual=3e-7,
    )
    second = measured(
        1.0,
        1.0,
        error=2e-7,
        peak_bytes=50.0,
        saved_bytes=8.0,
        gemms=4.0,
        flags="",
        nonfinite=2,
        residual=1e-7,
    )
    row, samples = pool((first, [1.0]), (second, [1.0, 1.0]))
    assert (row["root_error"], row["residual"], row["nonfinite"]) == (2e-7, 3e-7, 2)
    assert (row["peak_bytes"], row["saved_bytes"]) == (100.0, None)
    assert (row["gemms"], row["flags"], row["calls"]) == (3.0, "loaded", 2)
    assert row["first_call_seconds"] == first["first_call_seconds"]  # of a process that was new
    third, _ = pool((row, samples), (measured(1.0, gemms=9.0), [1.0]))
    assert third["gemms"] == pytest.approx((2 + 4 + 9) / 3)  # each pass counts once
    assert third["first_call_seconds"] == first["first_call_seconds"]


def test_the_spread_of_three_passes_is_the_largest_and_the_interval_holds_all_medians():
    rows = [(measured(*[x] * 9), [x] * 9) for x in (1.0, 1.3, 1.1)]
    row, _ = pool(*rows)
    assert row["spread"] == pytest.approx(0.3)
    assert (row["seconds_low"], row["seconds_high"]) == (1.0, 1.3)
    assert row["noise"] == Noise.UNSTABLE
