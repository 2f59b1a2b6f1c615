"""The clocks: the host's on known durations, CUDA's protocol on a fake device."""

import gc
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

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


class FakeCuda:
    """A device with a queue: work runs in order, the host only enqueues."""

    def __init__(self) -> None:
        self.host = 0.0  # what the host has spent queueing
        self.device = 0.0  # when the device is done with what is queued
        self.spins: list[int] = []
        self.captured: list[float] | None = None  # device seconds of what is being captured
        self.spoilt = False  # something happened in a capture that must not
        self.now = "default"  # the current stream

    def run(self, seconds: float) -> None:
        """Queue device work; the device starts it when it is free and the host has queued it."""
        if self.captured is not None:
            self.captured.append(seconds)
            return
        self.host += 1e-5
        self.device = max(self.device, self.host) + seconds

    def _sleep(self, cycles: int) -> None:
        self.spins.append(cycles)
        self.run(cycles / 2e9)

    def synchronize(self) -> None:
        if self.captured is not None:
            self.spoilt = True
            raise RuntimeError("operation not permitted when stream is capturing\nmore words")
        self.host = self.device = max(self.host, self.device)

    def CUDAGraph(self, keep_graph: bool = False) -> "FakeGraph":
        return FakeGraph(self, kept=keep_graph)

    @contextmanager
    def graph(self, graph: "FakeGraph") -> Iterator[None]:
        """As torch's: where ending the capture raises, the stream is never put back."""
        before, self.now, self.captured = self.now, "capture", graph.work
        try:
            yield
        finally:
            self.captured = None
            if self.spoilt:
                self.spoilt = False
                raise RuntimeError("capture failed due to a previous error during capture")
            self.now = before

    def Stream(self) -> "FakeStream":
        return FakeStream("side")

    def current_stream(self) -> "FakeStream":
        return FakeStream(self.now)

    @contextmanager
    def stream(self, stream: "FakeStream") -> Iterator[None]:
        before, self.now = self.now, stream.name
        try:
            yield
        finally:
            self.now = before

    def Event(self, enable_timing: bool) -> "FakeEvent":
        assert enable_timing
        return FakeEvent(self)


class FakeStream(NamedTuple):
    name: str

    def wait_stream(self, _: object) -> None:
        pass


class FakeGraph:
    """Work that one launch starts."""

    def __init__(self, cuda: FakeCuda, *, kept: bool) -> None:
        self.cuda, self.work, self.kept = cuda, list[float](), kept

    def raw_cuda_graph(self) -> int:
        assert self.kept, "torch destroys a graph that nobody asked it to keep"
        return len(self.work)

    def replay(self) -> None:
        self.cuda.run(sum(self.work))


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
