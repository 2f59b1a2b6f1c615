"""How one phase is timed on any clock: warm up until stable, sample until it is precise.

The policy knows nothing of devices, so clocks whose time we make can test it. Seconds are per call.
No sample is ever discarded for its value.
"""

import gc
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

from mssbench.measure.instruments.clocks import Call, Clock
from mssbench.records.policy import Policy
from mssbench.records.timing import Timing, quantile

Prepare = Callable[[], Any]  # builds, outside the timed window, what one call consumes
_STEADY = 0.02  # warm-up ends when two medians in a row differ by less
_GROUP = 5  # calls of such a median
_PATIENCE = 5  # times warmup_seconds: what never gets steady is measured as it is


@dataclass
class Spent:
    """Where a cell's wall time went, in seconds; the rest is the harness's own."""

    problem: float = 0.0
    reference: float = 0.0
    ceilings: float = 0.0  # and the unit of work, which other cells share
    warmup: float = 0.0
    samples: float = 0.0
    total: float = 0.0

    @property
    def own(self) -> float:
        """Everything that is neither input, truth, warm-up nor sample."""
        return self.total - self.problem - self.reference - self.warmup - self.samples


class Inspector(Protocol):
    """Chooses what the calls of a sample consume, and looks at what came of them."""

    def prepare_sample(self, count: int) -> list[Any]:
        """What so many calls consume."""
        ...

    def settle(self, seconds: float) -> float:
        """The seconds of the sample that has just been taken, without what is not the calls'."""
        ...


def sample(
    clock: Clock,
    prepare: Prepare,
    call: Call,
    policy: Policy,
    *,
    first_call: float,
    most_calls: int = 10_000,
    spent: Spent | None = None,
    inspector: Inspector | None = None,
    now: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Warm up, choose the calls of a sample, then sample until the policy has enough.

    prepare: builds what one call consumes, outside the timed window; most_calls bounds how many
    such things exist at once. first_call: seconds of a call made before, with all that it loaded.
    inspector: prepares the samples instead, and is told of each.
    """
    spent = spent or Spent()
    with _no_collection():
        return _sampled(clock, prepare, call, policy, first_call, most_calls, spent, inspector, now)


def _sampled(
    clock: Clock,
    prepare: Prepare,
    call: Call,
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
        elapsed = max(elapsed + warmed[-1], now() - start)  # building warms up as well
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
    """What a call consumes that brings its own input."""


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection meanwhile. The worker has frozen what it started with."""
    collects = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if collects:  # else the caller has disabled it, and it stays so
            gc.enable()


def warm(seconds: Sequence[float], elapsed: float, policy: Policy) -> bool:
    """Whether these calls, one after another, were enough to be ready for timing."""
    if not seconds:
        return False
    # a clock that shows no progress must not hang the run
    if len(seconds) >= policy.max_samples or elapsed >= _PATIENCE * policy.warmup_seconds:
        return True
    if elapsed < policy.warmup_seconds or len(seconds) < 2 * _GROUP:
        return False
    last = quantile(sorted(seconds[-_GROUP:]), 0.5)
    before = quantile(sorted(seconds[-2 * _GROUP : -_GROUP]), 0.5)
    return abs(last - before) <= _STEADY * before
