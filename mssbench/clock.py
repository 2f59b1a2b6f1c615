"""How one phase is timed: warm up, choose the calls of a sample, sample until it is enough.

A clock measures a block of calls; the policy around it is the same for every clock, so a fake
one can test it. Seconds are per call. No sample is ever discarded for its value.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf
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
    device work and not the host's launches. The spin lasts twice as long as queueing is going to
    take, which every block learns for the next. A call that waits for the device itself (a checked
    solve) contains that wait whatever the lead is: after a few late blocks the lead stays short.
    The spin is finite, so it cannot deadlock.
    """

    name = "gpu"
    _SHORTEST, _LONGEST = 50e-6, 50e-3  # seconds of spin
    _PATIENCE = 3  # late blocks in a row, with a lead that grew each time, before a call waits

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda  # torch.cuda
        self._cycles_per_second = _spin_rate(cuda)
        self._per_call = 0.0  # seconds to queue one
        self._late = 0

    def block(self, call: Call, prepared: Sequence[Any]) -> float:
        """Device seconds of the block."""
        start, end = self._cuda.Event(enable_timing=True), self._cuda.Event(enable_timing=True)
        lead = self._lead(len(prepared))
        self._cuda.synchronize()
        self._cuda._sleep(int(lead * self._cycles_per_second))
        start.record()
        queued = time.perf_counter_ns()
        for p in prepared:
            call(p)
        queued = time.perf_counter_ns() - queued
        late = start.query()  # the device had reached the block before all of it was queued
        end.record()
        end.synchronize()
        self._late = self._late + 1 if late else 0
        # a wait for the device is a wait for the spin too, which is not the call's
        self._per_call = (queued * 1e-9 - (lead if late else 0.0)) / len(prepared)
        return float(start.elapsed_time(end)) * 1e-3

    def _lead(self, calls: int) -> float:
        if self._late >= self._PATIENCE:
            return self._SHORTEST
        return min(max(2 * self._per_call * calls, self._SHORTEST), self._LONGEST)


@lru_cache
def _spin_rate(cuda: Any) -> float:
    """Cycles per second of the kernel that spins."""
    cuda._sleep(1000)  # loads the kernel
    cycles = 10_000_000
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    start.record()
    cuda._sleep(cycles)
    end.record()
    end.synchronize()
    return cycles / (float(start.elapsed_time(end)) * 1e-3)


@dataclass(frozen=True)
class Policy:
    """When a measurement is enough."""

    min_seconds: float = 0.2  # of timed calls
    min_samples: int = 20
    max_seconds: float = 2.0  # of the wall, with what prepares a call; then `few` samples do
    max_samples: int = 1000
    warmup_seconds: float = 0.05
    block_seconds: float = 1e-3  # a sample shorter than this is mostly the clock's own error

    few = 3  # samples even of the slowest call: a median and some idea of its spread

    def enough(self, count: int, timed: float, wall: float) -> bool:
        """Whether `count` samples of `timed` seconds, made in `wall` seconds, may stop."""
        if count >= self.max_samples:
            return True
        if max(timed, wall) >= self.max_seconds:
            return count >= min(self.few, self.min_samples)
        return count >= self.min_samples and timed >= self.min_seconds

    def calls(self, call: float, prepare: float, most: int) -> int:
        """Calls of a sample: so many that it is no blink, so few that enough samples fit.

        call, prepare: seconds of one call, and of building what it consumes.
        """
        wanted = ceil(self.block_seconds / call) if call > 0 else most
        room = self.max_seconds / max(self.min_samples, 1)
        fit = int(room / (call + prepare)) if call + prepare > 0 else most
        return max(1, min(wanted, fit, most))


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
    fastest, preparing, warm, count = first_call, inf, first_call, 1
    while warm < policy.warmup_seconds or count < 2:
        begun = now()
        prepared = [prepare()]
        preparing = min(preparing, now() - begun)
        seconds = clock.block(call, prepared)
        del prepared
        fastest, count = min(fastest, seconds), count + 1
        warm = max(warm + seconds, first_call + now() - start)  # building warms up as well
        if count >= policy.max_samples:
            break  # a clock that shows no progress must not hang the run
    calls = policy.calls(fastest, preparing, most_calls)
    middle = now()
    spent.warmup += middle - start
    samples: list[float] = []
    timed = 0.0
    while not policy.enough(len(samples), timed, now() - middle):
        seconds = clock.block(call, [prepare() for _ in range(calls)])
        samples.append(seconds / calls)
        timed += seconds
    spent.samples += now() - middle
    return Timing(tuple(samples), calls, first_call)
