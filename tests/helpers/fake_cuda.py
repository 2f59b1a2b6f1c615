"""A CUDA device whose time is ours to make."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple


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
