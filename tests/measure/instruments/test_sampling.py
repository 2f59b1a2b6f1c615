"""The timing policy on clocks whose time we make."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from mssbench.measure.instruments.sampling import Spent, sample
from mssbench.records.policy import Policy
from mssbench.records.timing import StopReason, Timing, median_interval, quantile


@dataclass
class FakeClock:
    """Every call takes what `seconds` says, and counts."""

    seconds: Callable[[int], float]
    name: str = "wall"
    calls: int = 0
    blocks: list[int] = field(default_factory=list)

    def block(self, call: Callable[[Any], object], prepared: Sequence[Any]) -> float:
        total = 0.0
        for p in prepared:
            call(p)
            total += self.seconds(self.calls)
            self.calls += 1
        self.blocks.append(len(prepared))
        return total


def run(clock: FakeClock, policy: Policy, **more: Any) -> Timing:
    return sample(clock, lambda: None, lambda _: None, policy, first_call=0.5, **more)


POLICY = Policy(min_seconds=0.1, min_samples=10, max_seconds=1.0, warmup_seconds=0.05)


def test_sampling_stops_at_the_later_of_both_minima() -> None:
    by_samples = run(FakeClock(lambda _: 0.03), POLICY)
    assert len(by_samples.samples) == 10  # 0.1 s are over long before
    by_seconds = run(FakeClock(lambda _: 0.002), POLICY)
    assert len(by_seconds.samples) == 50  # ten samples are 0.02 s: go on until 0.1 s


def test_what_the_clock_resolves_is_of_a_sample_and_not_of_each_of_its_calls() -> None:
    """Half a microsecond of a 5 us call would be ten percent."""
    wide = [4.5e-6 + i * 1e-6 / 59 for i in range(60)]
    assert POLICY.stop(wide, 0.2, 0.2, calls=1) is StopReason.PRECISION
    assert POLICY.stop(wide, 0.2, 0.2, calls=200) is None


def test_a_slow_call_gets_few_samples_but_never_less_than_three() -> None:
    assert len(run(FakeClock(lambda _: 0.4), POLICY).samples) == 3
    assert len(run(FakeClock(lambda _: 60.0), POLICY).samples) == 3
    assert len(run(FakeClock(lambda _: 60.0), Policy(min_samples=1, max_seconds=0)).samples) == 1


def test_a_short_call_is_repeated_inside_a_sample() -> None:
    clock = FakeClock(lambda _: 10e-6)
    timing = run(clock, POLICY)
    assert timing.calls in (100, 101)  # 100 x 10 us is 1 ms, up to rounding
    assert timing.statistics()["seconds_median"] == pytest.approx(10e-6)
    assert clock.blocks == sorted(clock.blocks)  # the warm-up first, a call at a time
    assert set(clock.blocks) == {1, timing.calls}


def test_the_number_of_prepared_calls_is_bounded() -> None:
    assert run(FakeClock(lambda _: 1e-6), POLICY, most_calls=7).calls == 7


def test_warm_up_is_not_counted() -> None:
    clock = FakeClock(lambda i: 1.0 if i == 0 else 0.01)  # the first timed call is slow
    timing = run(clock, POLICY)
    assert max(timing.samples) == pytest.approx(0.01)


def test_warm_up_lasts_as_long_as_it_is_told() -> None:
    clock = FakeClock(lambda _: 1e-3)
    sample(clock, lambda: None, lambda _: None, POLICY, first_call=1e-3)
    assert clock.calls * 1e-3 - 0.1 == pytest.approx(0.05, abs=2e-3)  # no longer: it is steady


def test_warm_up_goes_on_until_two_medians_agree() -> None:
    settling = FakeClock(lambda i: 2e-3 * 0.98**i if i < 100 else 2e-3 * 0.98**100)
    timing = run(settling, POLICY)
    assert sum(n == 1 for n in settling.blocks) > 50  # 0.05 s were over long before that
    assert max(timing.samples) < 1.1 * min(timing.samples)
    never = FakeClock(lambda i: 1e-3 * (1 + i % 13))
    run(never, POLICY)
    assert never.calls < 2000  # what never gets steady is measured as it is


def test_sampling_goes_on_until_the_median_is_precise() -> None:
    rng = random.Random(1)
    noisy = run(
        FakeClock(lambda _: 2e-3 * rng.lognormvariate(0, 0.1)), replace(POLICY, max_seconds=9)
    )
    s = noisy.statistics()
    assert noisy.stop == s["stop"] == StopReason.PRECISION
    assert s["seconds_high"] - s["seconds_low"] <= 2 * 0.02 * s["seconds_median"] * 1.001
    assert len(noisy.samples) > 100  # the minima alone would have taken 50
    wild = run(FakeClock(lambda _: 2e-3 * rng.lognormvariate(0, 1.0)), POLICY)
    assert wild.stop is StopReason.TIME
    assert run(FakeClock(lambda _: 0.0), POLICY, now=lambda: 0.0).stop is StopReason.SAMPLES
    assert run(FakeClock(lambda _: 60.0), POLICY).stop is StopReason.TIME


def test_an_interval_below_the_clock_s_resolution_is_precise_enough() -> None:
    rng = random.Random(1)
    one_by_one = replace(POLICY, interval=1e-9, block_seconds=0, min_seconds=0)
    clock = FakeClock(lambda _: 1e-6 * rng.lognormvariate(0, 0.1))
    assert run(clock, one_by_one, now=lambda: 0.0).stop is StopReason.PRECISION
    slow = FakeClock(lambda _: 1e-4 * rng.lognormvariate(0, 0.1))
    assert run(slow, one_by_one, now=lambda: 0.0).stop is not StopReason.PRECISION


def test_passes_together_are_the_policy() -> None:
    whole = Policy(min_seconds=1.0, min_samples=15, max_seconds=8.0, max_samples=1000, passes=2)
    part = whole.part()
    assert (part.min_seconds, part.min_samples, part.max_seconds) == (0.5, 8, 4.0)
    assert part.interval == pytest.approx(whole.interval * 2**0.5)  # of half the samples
    assert Policy(passes=1).part() == Policy(passes=1)


def test_no_sample_is_discarded_for_its_value() -> None:
    slow_ones = {30, 31, 32}
    timing = run(FakeClock(lambda i: 5.0 if i in slow_ones else 2e-3), POLICY)
    assert sum(s > 1 for s in timing.samples) > 0


@pytest.mark.slow
def test_a_clock_without_progress_does_not_hang() -> None:
    timing = run(FakeClock(lambda _: 0.0), POLICY, now=lambda: 0.0)
    assert len(timing.samples) == POLICY.max_samples


def test_what_a_call_consumes_is_built_outside_the_window() -> None:
    order: list[str] = []

    class Ordered(FakeClock):
        def block(self, call: Callable[[Any], object], prepared: Sequence[Any]) -> float:
            order.append("start")
            seconds = super().block(call, prepared)
            order.append("stop")
            return seconds

    sample(
        Ordered(lambda _: 0.05),
        lambda: order.append("build"),
        lambda _: order.append("call"),
        POLICY,
        first_call=0.1,
    )
    inside = False
    for event in order:
        inside = event == "start" or (inside and event != "stop")
        assert not (inside and event == "build")
    assert order.count("build") == order.count("call")


def test_time_spent_is_told_apart() -> None:
    now = iter(range(100))
    spent = Spent()
    run(FakeClock(lambda _: 0.4), POLICY, spent=spent, now=lambda: next(now) / 100)
    assert spent.warmup == pytest.approx(0.04)  # the clock of the wall was asked five times
    assert spent.samples == pytest.approx(0.04)
    spent.ceilings, spent.total = 0.01, 1.0
    assert spent.own == pytest.approx(0.92)  # the machine's ceilings are the harness's own affair


class Wall:
    """A wall clock that moves as calls and what prepares them say, with a clock that follows it."""

    name = "wall"

    def __init__(self, prepare: float, call: float) -> None:
        self.time, self.seconds, self.spent = 0.0, call, prepare
        self.blocks: list[int] = []

    def prepare(self) -> None:
        self.time += self.spent

    def block(self, call: Callable[[Any], object], prepared: Sequence[Any]) -> float:
        self.blocks.append(len(prepared))
        self.time += self.seconds * len(prepared)
        return self.seconds * len(prepared)

    def sample(self, policy: Policy) -> Timing:
        first = self.seconds
        return sample(
            self, self.prepare, lambda _: None, policy, first_call=first, now=lambda: self.time
        )


def test_a_slow_preparation_does_not_outlast_max_seconds() -> None:
    wall = Wall(prepare=0.3, call=1e-4)  # a backward in no time, behind a slow forward
    timing = wall.sample(POLICY)
    assert len(timing.samples) >= 3
    assert timing.calls == 1  # ten calls a sample would prepare for three seconds
    assert wall.time < POLICY.max_seconds + 3 * 0.3 + 0.3


def test_a_quick_preparation_leaves_the_calls_as_they_are() -> None:
    assert Wall(prepare=1e-5, call=1e-4).sample(POLICY).calls == 10


def test_warming_up_counts_what_prepares_a_call() -> None:
    wall = Wall(prepare=0.02, call=1e-4)
    wall.sample(POLICY)
    assert wall.blocks[:4].count(1) <= 4  # 0.05 s of warm-up are three preparations
    assert wall.time < 1.5


def test_statistics_of_samples() -> None:
    s = Timing((5.0, 1.0, 2.0, 3.0, 4.0), 7, 9.0).statistics()
    assert s["seconds_min"] == 1.0
    assert (s["seconds_q1"], s["seconds_median"], s["seconds_q3"]) == (2.0, 3.0, 4.0)
    assert (s["samples"], s["calls"], s["first_call_seconds"]) == (5, 7, 9.0)


def test_the_interval_of_the_median_holds_it_in_95_of_100_runs() -> None:
    rng = __import__("numpy").random.default_rng(1)
    for count in (6, 20, 101):
        low, high = median_interval(count)
        draws = rng.standard_normal((4000, count))
        draws.sort(axis=1)
        held = ((draws[:, low] <= 0) & (draws[:, high] >= 0)).mean()
        assert held >= 0.94
        assert low >= 0
        assert high < count


def test_the_interval_of_few_samples_is_their_range() -> None:
    assert median_interval(1) == (0, 0)
    assert median_interval(3) == (0, 2)


def test_quantile_is_linear_between_neighbours() -> None:
    assert quantile([1.0, 2.0], 0.5) == 1.5
    assert quantile([7.0], 0.25) == 7.0
