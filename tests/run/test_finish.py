"""What is said of the rows of a run once all of them are known: a pure function."""

import copy

import pytest
from helpers.tables import row

from mssbench.run import passes
from mssbench.run.finish import drift, finish


def limited(seconds: float, limit: float, **more):
    return row(seconds, **more) | {"limit_seconds": limit}


def test_nothing_that_is_given_is_changed_and_every_row_comes_back_in_order():
    rows = [row(2.0, forward="svd", root=1e-6), row(1.0, root=1e-6), row(status="crashed", seed=1)]
    before = copy.deepcopy(rows)
    settled = finish(rows, {}, [])
    assert rows == before
    assert [r["forward"] for r in settled.rows] == ["svd", "eigh", "eigh"]
    assert settled.drift is None


def test_a_row_is_compared_with_the_least_work_that_reaches_its_error():
    rows = [
        limited(4.0, 2.0, root=1e-6),
        limited(8.0, 1.0, root=1.9e-6, forward="svd"),  # as accurate, within a factor of two
        limited(8.0, 0.1, root=1e-2, forward="taylor", iterations=1),  # cheaper, and less accurate
    ]
    fractions = [r["problem_fraction"] for r in finish(rows, {}, []).rows]
    assert fractions == pytest.approx([1.0 / 4, 1.0 / 8, 0.1 / 8])


def test_texts_of_a_table_count_as_the_numbers_that_they_are():
    rows = [limited(4.0, 2.0, root=1e-6)]
    texts = [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]
    assert (
        finish(texts, {}, []).rows[0]["problem_fraction"]
        == finish(rows, {}, []).rows[0]["problem_fraction"]
    )


def test_a_row_that_has_its_fraction_already_gets_its_interval_all_the_same():
    """A resumed run settles rows of its table, whose fraction seldom changes."""
    several = {"passes": 2, "spread": 0.3}
    rows = [limited(4.0, 2.0, root=1e-6, seed=i) | several for i in range(4)]
    (once, *others) = finish(rows, {}, []).rows
    assert once["seconds_low"] < 3.9
    narrow = once | {"seconds_low": 3.99, "problem_fraction": str(once["problem_fraction"])}
    (again, *_) = finish([narrow, *others], {}, []).rows
    assert again["seconds_low"] == once["seconds_low"]


def test_the_noise_of_rows_that_were_measured_is_counted():
    kinds = ("quiet", "noisy", "quiet")
    quiet, noisy, old = (row(1.0, seed=i, noise=n) for i, n in enumerate(kinds))
    measured = {passes.place(r): [1.0, 1.0] for r in (quiet, noisy)}
    assert finish([quiet, noisy, old], measured, []).noise == {"quiet": 1, "noisy": 1}


@pytest.mark.parametrize(
    ("ceilings", "expected"),
    [
        ([], None),
        ([{"cpu float32": 10.0}], None),
        ([{"cpu float32": 10.0}, {"cpu float32": 9.0}], 1 / 9),  # as 9 to 10: up or down is one
        ([{"cpu float32": 30.0}, {"cpu float32": 1.0}], 29.0),
        ([{"cpu float32": 10.0}, {"cpu float32": 12.0}, {"cpu float32": 10.0}], 0.2),
        ([{"gpu-1 float32": 10.0}, {"gpu-2 float32": 5.0}], None),  # another device is no drift
        # one of three that was disturbed says nothing of the machine, but two do
        (
            [
                {"cpu a": 1.0, "cpu b": 1.0, "cpu c": 1.0},
                {"cpu a": 9.0, "cpu b": 1.2, "cpu c": 1.1},
            ],
            0.2,
        ),
        (
            [
                {"cpu a": 1.0, "cpu b": 1.0, "cpu c": 1.0},
                {"cpu a": 9.0, "cpu b": 8.0, "cpu c": 1.1},
            ],
            7.0,
        ),
        (
            [
                {"gpu-1 a": 1.0, "gpu-1 b": 1.0, "gpu-2 a": 1.0},
                {"gpu-1 a": 1.1, "gpu-1 b": 1.1, "gpu-2 a": 3.0},
            ],
            2.0,
        ),
    ],
)
def test_drift_is_the_largest_change_of_a_device_since_it_was_first_measured(ceilings, expected):
    assert drift(ceilings) == (None if expected is None else pytest.approx(expected))
    assert finish([], {}, ceilings).drift == drift(ceilings)


@pytest.mark.parametrize("flags", ["unverified", "loaded above_ceiling"])
def test_a_row_that_cannot_win_sets_no_limit_for_others(flags):
    rows = [
        limited(4.0, 2.0, root=1e-6, flags=""),
        limited(8.0, 0.1, root=1e-6, forward="svd", flags=flags),
    ]
    assert finish(rows, {}, []).rows[0]["problem_fraction"] == pytest.approx(2.0 / 4)


def test_a_forward_that_seems_to_take_longer_than_its_step_is_unstable():
    """Both were sampled steadily, so that only their contradiction shows that one was disturbed."""
    step = {"phase": "step", "backward": "loewner", "gradient": 1e-6, "noise": "quiet"}
    step |= {"root": 1e-6, "options": "backward_iterations=8 norm=trace"}
    alone = {"root": 1e-6, "noise": "quiet", "options": "norm=trace"}
    cases = [(2.0, 1.0, True), (1.4, 1.0, False), (0.5, 1.0, False)]
    for seconds, whole, contradicted in cases:
        forward, _ = finish([row(seconds, **alone), row(whole, **step)], {}, []).rows
        assert (forward["noise"] == "unstable") is contradicted, seconds
        assert ("step_order" in forward["flags"]) is contradicted
        again, _ = finish([forward, row(whole, **step)], {}, []).rows
        assert again["flags"] == forward["flags"], "a flag is there once"

    for other in ({"forward": "svd"}, {"size": 32}, {"options": "norm=frobenius"}, {"seed": 3}):
        forward, _ = finish([row(9.0, **alone), row(1.0, **(step | other))], {}, []).rows
        assert forward["noise"] == "quiet", other
