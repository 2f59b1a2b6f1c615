"""The clocks: the host's on known durations, CUDA's protocol on a fake device."""

import gc
import time
import weakref

import pytest
from helpers.fake_cuda import FakeCuda

from mssbench.errors import Unsupported
from mssbench.measure.instruments.clocks import CudaClock, GraphClock, HostClock, waits_for_device


def test_the_host_clock_measures_a_known_duration() -> None:
    start = time.perf_counter()
    seconds = HostClock().block(lambda _: time.sleep(0.02), [None] * 3)
    assert 0.06 <= seconds <= time.perf_counter() - start


def test_the_host_clock_drains_the_device_before_and_after() -> None:
    events: list[str] = []
    HostClock(lambda: events.append("sync")).block(lambda _: events.append("call"), [1, 2])
    assert events == ["sync", "call", "call", "sync"]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    now = "mssbench.measure.instruments.clocks.perf_counter_ns"
    monkeypatch.setattr(now, lambda: round(fake.host * 1e9))
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
    assert max(cuda.spins[6:]) / 2e9 < 10e-3  # after those that tell how fast it spins
    assert cuda.spins[-1] / 2e9 == pytest.approx(50e-6, rel=0.01)


def test_the_lead_is_bounded(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    for _ in range(2):
        clock.block(lambda _: cuda.run(1e-6), [None] * 100_000)
    assert cuda.spins[-1] / 2e9 <= 50e-3 * 1.001


def test_what_cools_the_cache_is_queued_before_the_window(cuda: FakeCuda) -> None:
    cold = CudaClock(cuda, lambda: cuda.run(5e-3))
    for _ in range(3):
        seconds = cold.block(lambda _: cuda.run(1e-4), [None])
    assert seconds == pytest.approx(1e-4, rel=1e-6)


def test_a_late_window_is_flagged(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda)
    clock.block(lambda _: cuda.run(1e-6), [None] * 100)
    assert clock.gaps(1) == 1.0  # the first lead was too short for a hundred launches
    for _ in range(3):
        clock.block(lambda _: cuda.run(1e-6), [None] * 100)
    assert clock.gaps(3) == 0.0
    assert clock.gaps(4) == 0.25  # and it is not forgotten


def test_the_lead_grows_after_a_late_window_and_a_hiccup_does_not_pin_it(cuda: FakeCuda) -> None:
    clock = CudaClock(cuda, waits=False)
    for hiccup in (1e-3, 10e-3, 100e-3, 1e-3):

        def call(_: object, hiccup: float = hiccup) -> None:
            cuda.host += hiccup  # the host was elsewhere
            cuda.run(1e-6)

        clock.block(call, [None])
    assert clock.gaps(4) == 0.75
    assert cuda.spins[-1] / 2e9 > 1e-3  # as long as the longest queueing, and more


def test_a_call_that_is_known_to_wait_gets_no_lead_and_no_flag(cuda: FakeCuda) -> None:
    def waits(_: object) -> None:
        cuda.run(1e-3)
        cuda.synchronize()

    clock = CudaClock(cuda, waits=True)
    for _ in range(3):
        clock.block(waits, [None])
    assert [cycles / 2e9 for cycles in cuda.spins[-3:]] == pytest.approx([50e-6] * 3, rel=0.01)
    assert clock.gaps(3) == 0.0


def test_a_graph_is_replayed_without_the_launches_in_between(cuda: FakeCuda) -> None:
    calls = []

    def chain(x: object) -> str:
        calls.append(x)
        for _ in range(20):
            cuda.run(1e-6)
        return f"output {len(calls)}"

    clock = GraphClock(cuda, chain, "input")
    assert clock.output == f"output {len(calls)}"
    before = len(calls)
    assert clock.block(chain, [None]) == pytest.approx(20e-6, rel=1e-6)  # no launch at all
    clock.block(chain, [None] * 50)  # learns how long fifty take to be launched
    assert clock.block(chain, [None] * 50) == pytest.approx(50 * 20e-6, rel=1e-6)
    assert CudaClock(cuda).block(chain, ["input"]) >= 20e-6
    assert len(calls) == before + 1  # a replay calls nothing
    assert set(calls) == {"input"}


def test_what_cannot_be_captured_says_why(cuda: FakeCuda) -> None:
    def waits(_: object) -> None:
        cuda.run(1e-3)
        cuda.synchronize()

    with pytest.raises(Unsupported, match=r"^cannot be captured .* graph: RuntimeError: op[^\n]*$"):
        GraphClock(cuda, waits, None)
    assert cuda.now == "default"  # what comes next is queued where it always was


def test_a_graph_keeps_what_its_replays_read(cuda: FakeCuda) -> None:
    class Matrix:
        pass

    prepared = Matrix()
    alive = weakref.ref(prepared)
    clock = GraphClock(cuda, lambda _: cuda.run(1e-6), prepared)
    del prepared
    gc.collect()
    assert alive() is not None
    assert clock.name == "graph"


def test_a_call_that_waits_is_told_from_one_that_queues(cuda: FakeCuda) -> None:
    def waits(_: object) -> None:
        cuda.run(1e-4)
        cuda.synchronize()

    assert waits_for_device(cuda, waits, None)
    assert not waits_for_device(cuda, lambda _: cuda.run(1e-4), None)
