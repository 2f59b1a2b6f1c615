"""Time one phase on any clock: warm up until times are steady, then sample until precise.

A sample is the time of a block of calls, in seconds per call. The sampling does not depend on
devices, so that tests can use artificial clocks. No sample is ever discarded for its value.
"""

import gc
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from mssbench.measure.instruments.clocks import Clock, TimedCall
from mssbench.records.policy import Policy
from mssbench.records.timing import Timing, quantile

Prepare = Callable[[], Any]  # builds, outside the timed window, what one call consumes
# Warm-up ends when the medians of two successive groups of calls differ by less than this ratio.
_STEADY = 0.02
_GROUP = 5  # calls in a group: enough that one slow call does not change its median
_PATIENCE = 5  # warm-up ends in any case after this multiple of warmup_seconds


@dataclass
class Spent:
    """Where the wall time of a cell went, in seconds. The rest is overhead of the harness.

    The ceilings are a part of that overhead, but are also listed here.
    """

    problem: float = 0.0
    reference: float = 0.0
    ceilings: float = 0.0  # includes the unit of work, which other cells share
    warmup: float = 0.0
    samples: float = 0.0
    total: float = 0.0

    @property
    def own(self) -> float:
        """Seconds for everything other than problem, reference, warm-up and samples."""
        return self.total - self.problem - self.reference - self.warmup - self.samples


class Inspector(Protocol):
    """Prepares the calls of a sample, and checks their results."""

    def prepare_sample(self, count: int) -> list[Any]:
        """Return the inputs of `count` calls."""
        ...

    def settle(self, seconds: float) -> float:
        """Return the seconds of the sample just taken, less the overhead of the inspector."""
        ...


def sample(
    clock: Clock,
    prepare: Prepare,
    call: TimedCall,
    policy: Policy,
    *,
    first_call: float,
    most_calls: int = 10_000,
    spent: Spent | None = None,
    inspector: Inspector | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Warm up, choose the number of calls in a sample, then sample until the policy lets it stop.

    prepare: builds what one call consumes, outside the timed window.
    first_call: seconds of a call made before, including everything that it loaded.
    most_calls: most calls in a sample, and thus most prepared inputs that exist at once.
    spent: collects the seconds of warm-up and samples.
    inspector: prepares the samples instead of `prepare`, and checks each of them.
    now: returns the time in seconds.
    """
    spent = spent or Spent()
    with _no_collection():
        return _sampled(clock, prepare, call, policy, first_call, most_calls, spent, inspector, now)


def _sampled(
    clock: Clock,
    prepare: Prepare,
    call: TimedCall,
    policy: Policy,
    first_call: float,
    most_calls: int,
    spent: Spent,
    inspector: Inspector | None,
    now: Callable[[], float],
) -> Timing:
    start = now()
    warmed: list[float] = []

    preparing, elapsed = inf, 0.0
    while not warm(warmed, elapsed, policy):
        begun = now()
        prepared = [prepare()]
        preparing = min(preparing, now() - begun)
        warmed.append(clock.block(call, prepared))
        del prepared
        elapsed = max(elapsed + warmed[-1], now() - start)  # preparing warms up as well

    calls = policy.calls(min(first_call, *warmed), preparing, most_calls)
    middle = now()
    spent.warmup += middle - start

    samples: list[float] = []
    ordered: list[float] = []
    timed, stop = 0.0, None
    while stop is None:
        if inspector is None:
            seconds = clock.block(call, [prepare() for _ in range(calls)])
        else:
            seconds = inspector.settle(clock.block(call, inspector.prepare_sample(calls)))

        samples.append(seconds / calls)
        insort(ordered, seconds / calls)
        timed += seconds
        stop = policy.stop(ordered, timed, now() - middle, calls)

    spent.samples += now() - middle
    return Timing(tuple(samples), calls, first_call, stop)


def nothing() -> None:
    """Return None, as the input of a call that needs no input."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collect garbage once, then disable its collection in the block.

    This takes little time, as the worker has frozen (`gc.freeze`) what it imported at its start.
    """
    collects = gc.isenabled()
    gc.collect()
    gc.disable()

    try:
        yield
    finally:
        if collects:  # otherwise the caller has disabled collection
            gc.enable()


def warm(seconds: Sequence[float], elapsed: float, policy: Policy) -> bool:
    """Whether the warm-up may end after these successive calls.

    It ends when the time of a call is steady. It also ends after `policy.max_samples` calls, or
    after `_PATIENCE` times the warm-up time of the policy, whether the times are steady or not.

    seconds: of each call.
    elapsed: seconds since the first call began.
    """
    if not seconds:
        return False
    # A clock that shows no progress must not hang the run.
    if len(seconds) >= policy.max_samples or elapsed >= _PATIENCE * policy.warmup_seconds:
        return True
    if elapsed < policy.warmup_seconds or len(seconds) < 2 * _GROUP:
        return False
    last = quantile(sorted(seconds[-_GROUP:]), 0.5)
    before = quantile(sorted(seconds[-2 * _GROUP : -_GROUP]), 0.5)
    return abs(last - before) <= _STEADY * before
