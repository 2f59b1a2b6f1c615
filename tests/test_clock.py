"""The timing policy on clocks whose time we make; CUDA's protocol on a fake device."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from mssbench.clock import CudaClock, HostClock, Policy, Spent, sample
from mssbench.records import Timing, median_interval, quantile


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


def test_a_slow_call_gets_few_samples_but_never_less_than_three() -> None:
    assert len(run(FakeClock(lambda _: 0.4), POLICY).samples) == 3
    assert len(run(FakeClock(lambda _: 60.0), POLICY).samples) == 3
    assert len(run(FakeClock(lambda _: 60.0), Policy(min_samples=1, max_seconds=0)).samples) == 1


def test_a_short_call_is_repeated_inside_a_sample() -> None:
    clock = FakeClock(lambda _: 10e-6)
    timing = run(clock, POLICY)
    assert timing.calls in (100, 101)  # 100 x 10 us is 1 ms, up to rounding
    assert timing.statistics()["seconds_median"] == pytest.approx(10e-6)
    assert clock.blocks[0] == 1  # the warm-up, a call at a time
    assert set(clock.blocks[1:]) == {timing.calls}


def test_the_number_of_prepared_calls_is_bounded() -> None:
    assert run(FakeClock(lambda _: 1e-6), POLICY, most_calls=7).calls == 7


def test_warm_up_is_not_counted() -> None:
    clock = FakeClock(lambda i: 1.0 if i == 0 else 0.01)  # the first timed call is slow
    timing = run(clock, POLICY)
    assert max(timing.samples) == pytest.approx(0.01)


def test_warm_up_lasts_as_long_as_it_is_told() -> None:
    clock = FakeClock(lambda _: 1e-3)
    sample(clock, lambda: None, lambda _: None, POLICY, first_call=1e-3)
    warm = clock.blocks.index(2) if 2 in clock.blocks else len(clock.blocks)
    assert warm * 1e-3 + 1e-3 >= 0.05


def test_no_sample_is_discarded_for_its_value() -> None:
    slow_ones = {30, 31, 32}
    timing = run(FakeClock(lambda i: 5.0 if i in slow_ones else 2e-3), POLICY)
    assert sum(s > 1 for s in timing.samples) > 0


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
    assert spent.samples == pytest.approx(0.05)
    spent.total = 1.0
    assert spent.own == pytest.approx(0.91)


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


def test_the_host_clock_measures_a_known_duration() -> None:
    seconds = HostClock().block(lambda _: time.sleep(0.02), [None] * 3)
    assert 0.06 <= seconds < 0.12


def test_the_host_clock_drains_the_device_before_and_after() -> None:
    events: list[str] = []
    HostClock(lambda: events.append("sync")).block(lambda _: events.append("call"), [1, 2])
    assert events == ["sync", "call", "call", "sync"]


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


class FakeCuda:
    """A device with a queue: work runs in order, the host only enqueues."""

    def __init__(self) -> None:
        self.host = 0.0  # what the host has spent queueing
        self.device = 0.0  # when the device is done with what is queued
        self.spins: list[int] = []

    def run(self, seconds: float) -> None:
        """Queue device work; the device starts it when it is free and the host has queued it."""
        self.host += 1e-5
        self.device = max(self.device, self.host) + seconds

    def _sleep(self, cycles: int) -> None:
        self.spins.append(cycles)
        self.run(cycles / 2e9)

    def synchronize(self) -> None:
        self.host = self.device = max(self.host, self.device)

    def Event(self, enable_timing: bool) -> "FakeEvent":
        assert enable_timing
        return FakeEvent(self)


class FakeEvent:
    def __init__(self, cuda: FakeCuda) -> None:
        self.cuda, self.at = cuda, 0.0

    def record(self) -> None:
        self.at = max(self.cuda.device, self.cuda.host)

    def synchronize(self) -> None:
        self.cuda.synchronize()

    def query(self) -> bool:
        return self.at <= self.cuda.host

    def elapsed_time(self, end: "FakeEvent") -> float:
        return (end.at - self.at) * 1e3


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    monkeypatch.setattr(time, "perf_counter_ns", lambda: round(fake.host * 1e9))
    return fake


def test_events_measure_the_device_and_not_the_launches(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    short = 1e-6  # ten times shorter than its launch
    seconds = clock.block(lambda _: cuda.run(short), [None] * 4)
    assert seconds == pytest.approx(4 * short, rel=1e-6)
    naive = FakeCuda()
    start, end = naive.Event(True), naive.Event(True)
    start.record()
    for _ in range(4):
        naive.run(short)
    end.record()
    assert start.elapsed_time(end) * 1e-3 > 5 * 4 * short  # without the lead: the launches


def test_the_lead_grows_with_what_the_host_has_to_queue(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    many = [None] * 100  # a millisecond of launches
    for _ in range(3):  # its lead is too short at first
        clock.block(lambda _: cuda.run(1e-6), many)
    learned = clock.block(lambda _: cuda.run(1e-6), many)
    assert learned == pytest.approx(100e-6, rel=1e-6)
    assert cuda.spins[-1] / 2e9 == pytest.approx(2 * 100 * 1e-5, rel=0.05)


def test_the_lead_learned_from_one_call_serves_a_block_of_many(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    clock.block(lambda _: cuda.run(1e-6), [None])
    first = clock.block(lambda _: cuda.run(1e-6), [None] * 100)
    assert first == pytest.approx(100e-6, rel=1e-6)  # and no launch in between


def test_a_call_that_waits_for_the_device_does_not_make_the_lead_grow(cuda: FakeCuda) -> None:
    def waits(_: object) -> None:
        cuda.run(1e-3)
        cuda.synchronize()

    clock = CudaClock(cuda)
    for _ in range(20):
        seconds = clock.block(waits, [None])
    assert seconds == pytest.approx(1e-3, rel=0.05)
    assert max(cuda.spins[2:]) / 2e9 < 3e-3
    assert cuda.spins[-1] / 2e9 == pytest.approx(50e-6, rel=0.01)


def test_the_lead_is_bounded(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    for _ in range(2):
        clock.block(lambda _: cuda.run(1e-6), [None] * 100_000)
    assert cuda.spins[-1] / 2e9 <= 50e-3 * 1.001
