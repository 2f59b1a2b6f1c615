"""The rule of `ab` on effects that we make: how often it is wrong, and what it finds."""

import random
from dataclasses import replace
from math import exp, log

import pytest

from mssbench.judgement import Verdict
from mssbench.noise import Noise
from mssbench.paired import (
    CONFIRM_PAIRS,
    SCREEN_PAIRS,
    Evidence,
    detectable,
    null,
    usual_scatter,
    verdicts,
)

WINDOW = 2e-3


def evidence(screen, confirm=(), **more):
    return Evidence(tuple(screen), tuple(confirm), WINDOW, **more)


SLOWER = evidence([0.05] * 3, [0.05, 0.051, 0.049, 0.05, 0.05])


def one(e):
    return verdicts({"row": e})["row"]


def test_what_the_screen_passes_is_unflagged_or_proven_the_same():
    assert one(evidence([0.01, -0.02, 0.025])) is Verdict.UNFLAGGED
    assert one(evidence([0.001, -0.001, 0.002])) is Verdict.SAME
    assert one(evidence([0.001, -0.001, 0.002], noise=Noise.UNSTABLE)) is Verdict.UNFLAGGED


def test_a_flag_is_no_verdict_until_fresh_pairs_confirm_it():
    assert one(evidence([0.05] * 3)) is Verdict.UNCLEAR
    assert one(SLOWER) is Verdict.SLOWER
    assert one(evidence([0.05] * 3, [0.06, -0.05, 0.04, -0.03, 0.01])) is Verdict.UNCLEAR
    assert one(evidence([0.05] * 3, [0.001, -0.001, 0.0, 0.002, 0.001])) is Verdict.SAME
    mirrored = evidence([-x for x in SLOWER.screen], [-x for x in SLOWER.confirm])
    assert one(mirrored) is Verdict.FASTER


def test_a_significant_effect_that_is_too_small_to_matter_is_none():
    small = [0.0301, 0.0302, 0.0300, 0.0301, 0.0303]  # in all pairs, and 3 % is ln 1.03 = 0.0296
    assert one(evidence([0.05] * 3, small)) is Verdict.SLOWER
    assert one(evidence([0.05] * 3, [x - 0.001 for x in small])) is Verdict.SAME  # within 3 %
    assert one(replace(SLOWER, noise=Noise.NOISY)) is Verdict.SAME  # 10 % would matter there
    assert one(replace(SLOWER, noise=Noise.UNSTABLE)) is Verdict.UNCLEAR


def test_the_floor_is_of_the_sample_and_not_of_a_call():
    assert one(replace(SLOWER, window=100e-6)) is Verdict.UNCLEAR  # 5 us more: a clock's doubt
    assert one(replace(SLOWER, window=300e-6)) is Verdict.SLOWER
    assert one(replace(SLOWER, window=100e-6, device="cuda")) is Verdict.SLOWER


def test_the_more_rows_are_flagged_the_more_each_has_to_show():
    weak = evidence([0.06] * 3, [0.04, 0.07, 0.02, 0.09, 0.03])  # p = 0.008
    assert one(weak) is Verdict.SLOWER
    noise = {f"n{i}": evidence([0.05] * 3, [0.05, -0.04, 0.03, -0.05, 0.02]) for i in range(9)}
    assert verdicts({"row": weak, **noise})["row"] is Verdict.UNCLEAR
    calm = {f"n{i}": evidence([0.0] * 3) for i in range(99)}  # what was not flagged does not count
    assert verdicts({"row": weak, **calm})["row"] is Verdict.SLOWER


def compared(rng, slowdown, cells=16, process=0.012, sample=0.008):
    """A run of the rule on cells whose pairs differ by chance; the last cell is slower."""
    shift = dict.fromkeys(range(cells), 0.0)
    shift[cells - 1] = log(1 + slowdown)

    def pairs(i, count):
        return [shift[i] + rng.gauss(0, process) + rng.gauss(0, sample) for _ in range(count)]

    rows = {i: evidence(pairs(i, SCREEN_PAIRS)) for i in shift}
    rows = {i: replace(e, confirm=tuple(pairs(i, CONFIRM_PAIRS))) if e.flagged else e
            for i, e in rows.items()}  # fmt: skip
    return verdicts(rows)


def test_identical_code_is_hardly_ever_called_slower():
    rng = random.Random(1)
    wrong = sum(Verdict.SLOWER in compared(rng, 0.0).values() for _ in range(300))
    assert wrong <= 3  # 1 %


@pytest.mark.parametrize(("slowdown", "share"), [(0.05, 0.75), (0.10, 0.99), (0.20, 1.0)])
def test_a_slowdown_is_found(slowdown, share):
    rng = random.Random(2)
    found = sum(compared(rng, slowdown)[15] is Verdict.SLOWER for _ in range(200))
    assert found >= share * 200


def test_naive_rules_cry_wolf_where_this_one_does_not():
    """One pair and a threshold of 3 %, on the same numbers."""
    rng = random.Random(3)
    effects = [[rng.gauss(0, 0.012) + rng.gauss(0, 0.008) for _ in range(16)] for _ in range(200)]
    naive = sum(any(x > log(1.03) for x in run) for run in effects)
    assert naive > 20


def test_the_detectable_slowdown_is_found_four_times_of_five():
    rng = random.Random(4)
    e = evidence([0.0] * 3)
    for scatter in (0.005, 0.01, 0.03, 0.06):
        least = detectable(e, usual=scatter)
        assert least > 0.03
        found = sum(
            compared(rng, least, cells=2, process=scatter, sample=0.0)[1] is Verdict.SLOWER
            for _ in range(300)
        )
        assert 0.65 < found / 300 < 0.95, scatter
    assert detectable(replace(e, noise=Noise.UNSTABLE), 0.03) is None
    assert detectable(evidence([0.0] * 3), 0.0) == pytest.approx(0.03)
    assert usual_scatter({1: evidence([0.0, 0.02]), 2: evidence([0.0, 0.0])}) > 0


def test_base_that_differs_from_itself_makes_every_verdict_doubtful():
    calm = {i: evidence([0.001, -0.002, 0.003]) for i in range(8)}
    assert null(calm).doubtful == ""
    assert null(calm).floor == pytest.approx(0.003)
    assert "1 of its own rows" in null(calm | {8: SLOWER}).doubtful
    biased = {i: evidence([0.02, 0.02, 0.02]) for i in range(8)}
    assert "differs from itself by 2.0 % in the median" in null(biased).doubtful
    flagged = calm | {8: evidence([0.05] * 3, [0.0, 0.01, -0.01, 0.0, 0.0])}
    assert null(flagged).doubtful == ""  # a flag alone is what the screen is there for
    assert null({}).doubtful == ""


def test_the_interval_holds_the_effect_in_90_of_100():
    rng = random.Random(5)
    inside = 0
    for _ in range(1000):
        low, high = evidence([rng.gauss(0.02, 0.01) for _ in range(5)]).interval()
        inside += low < 0.02 < high
    assert 860 < inside < 940
    assert exp(evidence([0.0, 0.0]).interval()[1]) == 1.0
