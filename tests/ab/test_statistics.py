"""The rule of `ab` on effects that we make: how often it is wrong, and what it finds."""

import random
from dataclasses import replace
from math import exp, log

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from mssbench.ab.statistics import (
    CONFIRM_PAIRS,
    SCREEN_PAIRS,
    Evidence,
    detectable,
    doubt_of,
    null,
    together,
    usual_scatter,
    verdicts,
    worth_a_look,
)
from mssbench.compare.verdict import Verdict
from mssbench.records.noise import Noise

WINDOW = 2e-3


def evidence(screen, confirm=(), **more):
    return Evidence(tuple(screen), tuple(confirm), WINDOW, **more)


SLOWER = evidence([0.05] * 3, [0.05, 0.051, 0.049, 0.05, 0.05])


def one(e):
    return verdicts({"row": e})["row"]


def test_what_the_screen_passes_is_unflagged_or_proven_the_same():
    assert one(evidence([0.01, -0.02, 0.025])) is Verdict.UNFLAGGED
    assert one(evidence([0.001, -0.001, 0.002])) is Verdict.SAME
    assert one(evidence([0.1, -0.1, 0.02])) is Verdict.UNFLAGGED


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
    assert one(replace(SLOWER, disturbed=True)) is Verdict.UNCLEAR  # 10 % would matter there
    assert one(replace(SLOWER, limit=1.06)) is Verdict.SAME  # as somebody said


def test_what_somebody_allows_is_about_growth_and_is_what_the_test_is_against():
    half = evidence([-0.4] * 3, [-0.4, -0.41, -0.39, -0.4, -0.4])
    assert one(replace(half, limit=2.0)) is Verdict.FASTER
    assert one(evidence([0.15] * 3, limit=1.2)) is Verdict.SAME
    assert worth_a_look({"row": evidence([0.15, 0.16, 0.14], limit=1.2)}) == []
    rng, red = random.Random(7), 0
    for _ in range(400):
        pairs = [log(1.099) + rng.gauss(0, 0.03) for _ in range(SCREEN_PAIRS + CONFIRM_PAIRS)]
        row = evidence(pairs[:SCREEN_PAIRS], pairs[SCREEN_PAIRS:], limit=1.1, usual=0.03)
        red += one(row) is Verdict.SLOWER
    assert red <= 0.08 * 400  # 5 %, just below the limit
    assert detectable(replace(row, limit=1.5)) > 0.5


def test_what_must_be_exceeded_follows_the_scatter_of_pairs():
    assert SLOWER.noise is Noise.QUIET
    assert SLOWER.delta == pytest.approx(log(1.03))
    rough = replace(SLOWER, usual=0.05)
    assert rough.noise is Noise.NOISY
    # 4 usual pairs to 6 that agree: sqrt(4 / 10) of 5 %, times 1.2
    assert rough.delta == pytest.approx(1.2 * 0.05 * 0.4**0.5, rel=1e-3)
    rough = replace(rough, usual=0.07)
    assert one(rough) is Verdict.UNCLEAR  # 5 % might be chance
    assert one(replace(rough, limit=1.03)) is Verdict.SLOWER  # but somebody said that 3 % matters
    wild = replace(SLOWER, usual=0.2)
    assert wild.noise is Noise.UNSTABLE
    assert one(wild) is Verdict.UNCLEAR
    twice = evidence([0.7] * 3, [0.7, 0.75, 0.65, 0.7, 0.8], usual=0.2)
    assert one(twice) is Verdict.SLOWER  # that is told from any scatter
    # screen and fresh pairs each lie about a mean of their own: a flag is no scatter
    assert evidence([0.3] * 3, [0.0] * 5).scatter == 0.0


def test_the_usual_scatter_is_that_of_the_rows_of_a_run():
    rng = random.Random(6)
    rows = {i: evidence([rng.gauss(0.3 * i, 0.02) for _ in range(3)]) for i in range(4000)}
    assert usual_scatter(rows) == pytest.approx(0.02, rel=0.05)
    assert {e.usual for e in together(rows).values()} == {usual_scatter(rows)}
    assert usual_scatter({}) is None
    alone = together({1: evidence([0.01])})[1]
    assert (alone.scatter, detectable(alone)) == (None, None)  # nothing is known, and none said
    few = together({1: evidence([0.0, 0.001, 0.0]), 2: evidence([0.0]), 3: evidence([0.1, -0.1])})
    assert few[2].scatter > 0.001  # of a single pair nothing else is known


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
    rows = {
        i: replace(e, confirm=tuple(pairs(i, CONFIRM_PAIRS))) if e.flagged else e
        for i, e in rows.items()
    }
    return verdicts(together(rows))


def test_identical_code_is_hardly_ever_called_slower():
    rng = random.Random(1)
    for process in (0.005, 0.012, 0.03, 0.06):
        wrong = sum(
            Verdict.SLOWER in compared(rng, 0.0, process=process).values() for _ in range(300)
        )
        assert wrong <= 3, process  # 1 %


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("slowdown", "scatter", "share"),
    [(0.05, 0.02, 0.85), (0.05, 0.025, 0.75), (0.10, 0.03, 0.98), (0.20, 0.05, 0.99)],
)
def test_a_slowdown_is_found(slowdown, scatter, share):
    rng = random.Random(2)
    found = sum(
        compared(rng, slowdown, process=scatter, sample=0.0)[15] is Verdict.SLOWER
        for _ in range(400)
    )
    assert found >= share * 400


def test_naive_rules_cry_wolf_where_this_one_does_not():
    """One pair and a threshold of 3 %, on the same numbers."""
    rng = random.Random(3)
    effects = [[rng.gauss(0, 0.012) + rng.gauss(0, 0.008) for _ in range(16)] for _ in range(200)]
    naive = sum(any(x > log(1.03) for x in run) for run in effects)
    assert naive > 20


def test_the_detectable_slowdown_is_found_four_times_of_five():
    rng = random.Random(4)
    for scatter in (0.005, 0.01, 0.03):
        e = evidence([-scatter, 0.0, scatter], usual=scatter)
        least = detectable(e)
        assert least > 0.03
        found = sum(
            compared(rng, least, process=scatter, sample=0.0)[15] is Verdict.SLOWER
            for _ in range(300)
        )
        assert 0.65 < found / 300 < 0.95, scatter
    assert detectable(replace(e, usual=0.2)) > 0.2
    assert detectable(evidence([0.0] * 3)) == pytest.approx(0.03)


def test_base_that_differs_from_itself_makes_every_verdict_doubtful():
    calm = {i: evidence([0.001, -0.002, 0.003]) for i in range(8)}
    assert doubt_of(null(calm)) == ""
    assert null(calm).floor == pytest.approx(0.003)
    assert "1 of its rows" in doubt_of(null(calm | {8: SLOWER}))
    biased = {i: evidence([0.02, 0.02, 0.02]) for i in range(8)}
    assert "differs from itself by 2.0 % in the median" in doubt_of(null(biased))
    rough = {i: evidence([0.0, 0.02, 0.045]) for i in range(8)}
    assert doubt_of(null(rough)) == ""  # as far as such pairs scatter
    far = {i: evidence([0.02, 0.04, 0.065]) for i in range(8)}
    assert "differs from itself by 4.0 % in the median" in doubt_of(null(far))
    wild = {i: evidence([-0.02, 0.04, 0.1]) for i in range(8)}
    assert "differs from itself by 4.0 % in the median" in doubt_of(null(wild))  # whatever scatters
    flagged = calm | {8: evidence([0.05] * 3, [0.0, 0.01, -0.01, 0.0, 0.0])}
    assert doubt_of(null(flagged)) == ""  # a flag alone is what the screen is there for
    assert doubt_of(null({})) == ""


def test_the_interval_holds_the_effect_in_90_of_100():
    rng = random.Random(5)
    inside = 0
    for _ in range(1000):
        low, high = evidence([rng.gauss(0.02, 0.01) for _ in range(5)]).interval()
        inside += low < 0.02 < high
    assert 860 < inside < 940
    assert exp(evidence([0.0, 0.0]).interval()[1]) == 1.0


CHANCES = st.lists(st.floats(1e-4, 0.3), min_size=1, max_size=12)
LIMIT = 1.1  # with a limit of its own a row's scatter decides nothing but the t test


def of_chance(p):
    """Evidence whose t test of nine fresh pairs, against a growth beyond LIMIT, has this p."""
    shape = np.arange(CONFIRM_PAIRS) - (CONFIRM_PAIRS - 1) / 2
    shape /= shape.std(ddof=1)
    excess = 0.4  # of the mean and the median alike, as the shape is symmetric
    scatter = excess * np.sqrt(CONFIRM_PAIRS) / stats.t.isf(p, CONFIRM_PAIRS - 1)
    pairs = [float(x) for x in log(LIMIT) + excess + scatter * shape]
    expected = stats.ttest_1samp(np.array(pairs) - log(LIMIT), 0.0, alternative="greater").pvalue
    assert expected == pytest.approx(p, rel=1e-6)
    return evidence([0.5] * 3, pairs, limit=LIMIT)


def by_holm(chances, alpha):
    """Holm (1979) by adjusted p values: the largest of (m - j + 1) p_j up to one's own place."""
    order = np.argsort(chances)
    adjusted = np.maximum.accumulate((len(chances) - np.arange(len(chances))) * chances[order])
    return {int(i) for i, p in zip(order, adjusted, strict=True) if p <= alpha}


@given(CHANCES)
@example([0.016, 0.024, 0.049])  # all three by Holm; by Bonferroni the first alone
@example([0.016, 0.026, 0.027])  # the second stops it, and the third is not asked any more
@example([0.049])
@example([0.051])
def test_rows_are_slower_together_by_holms_rule(chances):
    rows = {i: of_chance(p) for i, p in enumerate(chances)}
    told = {i for i, v in verdicts(rows).items() if v is Verdict.SLOWER}
    assert told == by_holm(np.array(chances), 0.05)


@given(CHANCES)
@example([0.03, 0.06, 0.099])  # all three by Benjamini and Hochberg; the first alone by Bonferroni
@example([0.04, 0.06, 0.3])  # the second admits the first, which alone would be too likely
@example([0.099])
@example([0.101])
def test_rows_are_worth_a_look_by_benjamini_and_hochbergs_rule(chances):
    rows = {i: of_chance(p) for i, p in enumerate(chances)}
    adjusted = stats.false_discovery_control(chances, method="bh")
    assert worth_a_look(rows) == [
        int(i) for i in np.argsort(chances, kind="stable") if adjusted[i] <= 0.1
    ]


NINE = np.arange(CONFIRM_PAIRS) - (CONFIRM_PAIRS - 1) / 2
NINE = NINE / NINE.std(ddof=1)  # scatter 1, mean and median 0


def nine(middle, scatter, **more):
    """A row whose fresh pairs have this median, mean and scatter, and whose screen has none."""
    sign = 1 if middle > 0 else -1
    pairs = [float(x) for x in middle + scatter * NINE]
    return evidence([sign * 0.5] * 3, pairs, **more)


def own_scatter(scatter):
    """Of three pairs that agree and nine that do not: 8 of 10 degrees of freedom are theirs."""
    return scatter * np.sqrt(8 / 10)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_effect_must_exceed_its_scatter_by_a_fifth(sign):
    told = Verdict.SLOWER if sign > 0 else Verdict.FASTER
    least = 1.2 * own_scatter(0.1)
    assert one(nine(sign * 1.01 * least, 0.1)) is told
    assert one(nine(sign * 0.99 * least, 0.1)) is Verdict.UNCLEAR


def test_four_usual_pairs_outweigh_what_three_of_a_row_say():
    e = evidence([0.0, 0.03, -0.03], usual=0.06)
    assert e.scatter == pytest.approx(np.sqrt((2 * 0.03**2 + 4 * 0.06**2) / (2 + 4)))


@pytest.mark.parametrize(("device", "least"), [("cpu", 10e-6), ("cuda", 2e-6)])
def test_a_sample_must_change_by_what_its_clock_resolves(device, least):
    e = nine(log(1.1), 0.001, device=device)
    assert one(replace(e, window=1.01 * least / 0.1)) is Verdict.SLOWER
    assert one(replace(e, window=0.99 * least / 0.1)) is Verdict.UNCLEAR


def test_what_the_screen_flags_is_more_than_three_percent_in_the_median():
    assert evidence([log(1.0301)] * 3).flagged
    assert evidence([-log(1.0301)] * 3).flagged
    assert not evidence([log(1.0299)] * 3).flagged
    assert not evidence([0.0, log(1.0299), 9.0]).flagged


def test_the_interval_is_students_of_nine_tenths():
    e = nine(0.2, 0.1)
    expected = stats.t.interval(0.9, 8, loc=0.2, scale=0.1 / 3)
    assert e.interval() == pytest.approx(expected)


def test_a_row_is_the_same_where_its_whole_interval_is_within_three_percent():
    half = stats.t.ppf(0.95, 8) * 0.001 / 3
    for middle in (log(1.03) - half, -log(1.03) + half):
        inside = evidence([0.5] * 3, [float(x) for x in 0.999 * middle + 0.001 * NINE])
        outside = evidence([0.5] * 3, [float(x) for x in 1.001 * middle + 0.001 * NINE])
        assert (inside.proven_same(), outside.proven_same()) == (True, False)
    assert not evidence([-0.5] * 3, [-0.5] * 9).proven_same()
    assert evidence(
        [0.0] * 3, [float(x) for x in log(1.15) + 0.001 * NINE], limit=1.2
    ).proven_same()
    below = [float(x) for x in -log(1.15) + 0.001 * NINE]
    assert not evidence([0.0] * 3, below, limit=1.2).proven_same()  # what is allowed is growth


def test_fresh_pairs_alone_are_the_effect_and_both_stages_the_scatter():
    e = evidence([0.5, 0.5, 0.5], [0.1, 0.2, 0.3])
    assert e.effects == (0.1, 0.2, 0.3)
    assert e.scatter == pytest.approx(np.sqrt(2 * 0.1**2 / 4))


def test_one_far_pair_moves_the_mean_and_no_median():
    """The median has to matter as well: one pair of nine proves nothing."""
    calm = [0.02] * 4 + [0.021] * 4
    e = evidence([0.05] * 3, [*calm, 0.5], usual=0.0)
    assert one(e) is Verdict.UNCLEAR


def test_noise_is_named_by_what_it_hides():
    for scatter, word in (
        (0.024, "quiet"),
        (0.025, "noisy"),
        (0.079, "noisy"),
        (0.080, "unstable"),
    ):
        e = evidence([0.0], usual=scatter)
        assert (str(e.noise), e.scatter) == (word, pytest.approx(scatter))
    assert str(evidence([0.0], usual=0.0, disturbed=True).noise) == "noisy"
    assert str(evidence([0.0], usual=0.09, disturbed=True).noise) == "unstable"
    assert evidence([0.0], usual=0.0, disturbed=True).delta == pytest.approx(log(1.1))


def test_nineteen_of_twenty_single_effects_are_below_the_floor():
    rows = {i: evidence([0.001 * i] * 3) for i in range(100)}
    assert null(rows).floor == pytest.approx(0.095)
    assert null({}).floor == 0.0


def test_the_bias_of_base_against_itself_may_be_what_scatter_makes_of_it():
    def doubtful(bias, apart):
        rows = {i: evidence([bias - apart, bias, bias + apart]) for i in range(8)}
        return bool(doubt_of(null(rows)))

    assert doubtful(0.0149, 0.0)
    assert not doubtful(0.0147, 0.0)  # half of ln 1.03
    usual = 0.018 / (1 - 2 / (9 * 2)) ** 1.5  # of χ² with 2 degrees of freedom, by its median
    assert usual_scatter({1: evidence([-0.018, 0.0, 0.018])}) == pytest.approx(usual)
    assert doubtful(0.91 * usual, 0.018)
    assert not doubtful(0.89 * usual, 0.018)
    assert doubtful(0.0297, 0.2)  # more than 3 % is one, whatever scatters


def test_what_would_be_found_is_what_the_t_test_of_nine_finds_four_times_of_five():
    """By the usual approximation of the power; of a limit nothing else asks for more."""
    e = evidence([0.0, 0.05, -0.05], limit=1.5)
    quantiles = stats.t.ppf(0.95, 8) + stats.t.ppf(0.8, 8)
    assert detectable(e) == pytest.approx(1.5 * np.exp(quantiles * 0.05 / 3) - 1)


def test_what_somebody_lets_grow_makes_nothing_faster():
    """Of twenty rows a p of 0.004 is not enough by Holm's rule, with a limit or without one."""
    faster = nine(-0.5, 3 * 0.5 / 3.5)
    others = {i: nine(0.05, 1.0) for i in range(19)}
    for limit in (None, 2.0):
        rows = {"row": replace(faster, limit=limit)}
        assert verdicts(rows)["row"] is Verdict.FASTER
        assert verdicts(rows | others)["row"] is Verdict.UNCLEAR
