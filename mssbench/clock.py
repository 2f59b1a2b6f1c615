"""How one phase is timed: warm up, choose the calls of a sample, sample until it is enough.

A clock measures a block of calls; the policy around it is the same for every clock, so a fake
one can test it. Seconds are per call. No sample is ever discarded for its value.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

from mssbench.records import Timing

Prepare = Callable[[], Any]  # builds, outside the timed window, what one call consumes
Call = Callable[[Any], object]  # the call that is timed


class Clock(Protocol):
    """Times a block of calls. `name` is the value of the column `clock`."""

    name: str

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Seconds from before the first to after the last of `call(p) for p in prepared`."""
        ...


class HostClock:
    """The host's monotonic clock, with the device drained before and after the block."""

    name = "wall"

    def __init__(self, synchronize: Callable[[], None] = lambda: None) -> None:
        self._synchronize = synchronize

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """What a caller waits: host and device together."""
        self._synchronize()
        start = time.perf_counter_ns()
        for p in prepared:
            call(p)
        self._synchronize()
        return (time.perf_counter_ns() - start) * 1e-9


class CudaClock:
    """A pair of CUDA events on the current stream, with the host running ahead.

    A spinning kernel holds the stream while the host queues the block, so the events bracket
    device work and not the host's launches. The spin lasts twice as long as the block before took
    to queue, which the warm-up learns. A call that waits for the device itself (a checked solve)
    still contains that wait; the spin is finite, so it cannot deadlock.
    """

    name = "gpu"
    _SHORTEST, _LONGEST = 50e-6, 50e-3  # seconds of spin

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda  # torch.cuda
        self._lead = self._SHORTEST
        cuda._sleep(1000)  # loads the kernel
        cycles = 10_000_000
        start, end = self._events()
        start.record()
        cuda._sleep(cycles)
        end.record()
        end.synchronize()
        self._cycles_per_second = cycles / (start.elapsed_time(end) * 1e-3)

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Device seconds of the block."""
        start, end = self._events()
        self._cuda.synchronize()
        self._cuda._sleep(int(self._lead * self._cycles_per_second))
        start.record()
        queued = time.perf_counter_ns()
        for p in prepared:
            call(p)
        queued = time.perf_counter_ns() - queued
        end.record()
        end.synchronize()
        self._lead = min(max(2e-9 * queued, self._SHORTEST), self._LONGEST)
        return float(start.elapsed_time(end)) * 1e-3

    def _events(self) -> tuple[Any, Any]:
        event = self._cuda.Event
        return event(enable_timing=True), event(enable_timing=True)


@dataclass(frozen=True)
class Policy:
    """When a measurement is enough. Seconds are of timed calls, not of the wall."""

    min_seconds: float = 0.2
    min_samples: int = 20
    max_seconds: float = 2.0  # past this, `few` samples are enough
    max_samples: int = 1000
    warmup_seconds: float = 0.05
    block_seconds: float = 1e-3  # a sample shorter than this is mostly the clock's own error

    few = 3  # samples even of the slowest call: a median and some idea of its spread

    def enough(self, count: int, total: float) -> bool:
        """Whether `count` samples that took `total` seconds may stop."""
        if count >= self.max_samples:
            return True
        if total >= self.max_seconds:
            return count >= min(self.few, self.min_samples)
        return count >= self.min_samples and total >= self.min_seconds


@dataclass
class Spent:
    """Where a cell's wall time went, in seconds; the rest is the harness's own."""

    problem: float = 0.0
    reference: float = 0.0
    warmup: float = 0.0
    samples: float = 0.0
    total: float = 0.0

    @property
    def own(self) -> float:
        """Everything that is neither input, truth, warm-up nor sample."""
        return self.total - self.problem - self.reference - self.warmup - self.samples


def sample(
    clock: Clock,
    prepare: Prepare,
    call: Call,
    policy: Policy,
    *,
    first_call: float,
    most_calls: int = 10_000,
    spent: Spent | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Warm up, choose the calls of a sample, then sample until the policy has enough.

    prepare: builds what one call consumes, outside the timed window; most_calls bounds how many
    such things exist at once. first_call: seconds of a call made before, which counts as warm-up.
    """
    spent = spent or Spent()
    start = now()
    fastest, warm, count = first_call, first_call, 1
    while warm < policy.warmup_seconds or count < 2:
        seconds = clock.block(call, [prepare()])
        fastest, warm, count = min(fastest, seconds), warm + seconds, count + 1
        if count >= policy.max_samples:
            break  # a clock that shows no progress must not hang the run
    calls = ceil(policy.block_seconds / fastest) if fastest > 0 else most_calls
    calls = max(1, min(calls, most_calls))
    middle = now()
    spent.warmup += middle - start
    samples: list[float] = []
    total = 0.0
    while not policy.enough(len(samples), total):
        seconds = clock.block(call, [prepare() for _ in range(calls)])
        samples.append(seconds / calls)
        total += seconds
    spent.samples += now() - middle
    return Timing(tuple(samples), calls, first_call)
