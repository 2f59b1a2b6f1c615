"""Test the harness with known durations, other timers, and methods made slow or wrong.

Times that are compared are measured alternately in short blocks, so that other load on the machine
affects both sides. A time beyond its limit is measured up to two times again before it counts.
"""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from math import inf
from statistics import fmean, median
from typing import NamedTuple

import torch

from mssbench.errors import NotInstalled, RunError, Unavailable
from mssbench.machine import devices, linux
from mssbench.measure.instruments.clocks import (
    Clock,
    CudaClock,
    GraphClock,
    HostClock,
    spin,
    synchronizer,
)
from mssbench.measure.instruments.sampling import nothing, sample
from mssbench.records.policy import Policy
from mssbench.selftest import timers, wrong_methods
from mssbench.selftest.checks import Check, CheckOutcome, Report, floor_check, off
from mssbench.selftest.twins import Races

_TRIES = 3  # measurements of a time that is beyond its limit, of which the best counts
_ROUNDS = 6  # rounds of the races before the other checks, and again after them
_PAIRS = (("eigh", "loewner"), ("newton_schulz", "autodiff"))  # compared: step, sum of its parts
# Sampling of a known duration: enough samples for a stable median, in less than a second.
_ORACLE = Policy(min_seconds=0, min_samples=40, max_seconds=0.6, warmup_seconds=0.01, interval=1)


class Measured(NamedTuple):
    """The relative error of a measured time, measured / expected - 1, and its limit."""

    name: str
    error: float
    limit: float
    sentence: str
    lenient: bool = False  # see checks.off

    def check(self, floor: float) -> Check:
        """Return the check of the error. floor: the machine's noise floor, known at the end."""
        return off(self.name, self.error, self.limit, floor, self.sentence, lenient=self.lenient)


def examine(device: str, announce: Callable[[str], None] = lambda _: None) -> Report:
    """Run every check on a device, in about a minute, and return the report.

    device: cpu or cuda. announce: called with the name of each stage. Raises RunError if there is
    no such device, or if this system is not Linux.
    """
    linux.require()
    try:
        devices.check_library("torch", device)
    except (NotInstalled, Unavailable) as error:
        raise RunError(f"--device {device}: {error}.") from None

    start = time.perf_counter()
    with wrong_methods.registered(device), _calm():
        announce("identical and slower methods, in turn")
        races = Races(device)
        races.run(_ROUNDS)

        announce("known durations")
        measured = list(oracles(device))
        announce("other timers on the same calls")
        measured += others(device)
        announce("parts of a step against the whole")
        measured += parts(device)
        announce("wrong methods")
        caught = list(wrong_methods.caught(device))

        announce("identical and slower methods again")
        races.run(_ROUNDS)
        for _ in range(_TRIES - 1):
            if all(check.outcome is CheckOutcome.PASSED for check in races.checks()):
                break
            races.run(_ROUNDS)

    floor = races.floor
    timed = [time_.check(floor) for time_ in measured]
    checks = (floor_check(floor), *timed, *races.checks(), *caught)
    return Report(device, checks, floor, time.perf_counter() - start)


@contextmanager
def _calm() -> Iterator[None]:
    """Use one thread, and exclude existing objects from garbage collection, during the block.

    With several threads, a call waits for the thread whose core is used by another process. This
    may make it a hundred times slower, which would hide everything else.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()

    try:
        yield
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)


def settled(error: Callable[[], float], limit: float) -> float:
    """Measure an error up to three times, and return the first one within the limit.

    If none is, return the smallest in absolute value. error: a function that measures it.
    """
    tries: list[float] = []
    while len(tries) < _TRIES:
        tries.append(error())
        if abs(tries[-1]) <= limit:
            return tries[-1]
    return min(tries, key=abs)


def oracles(device: str) -> Iterator[Measured]:
    """Yield how wrong known durations are measured: a busy core, a sleep, a spinning GPU kernel."""
    host = HostClock(synchronizer(device))
    # The limits are relative. The overhead of a clock matters more for the shortest duration.
    known: tuple[tuple[str, float, Callable[[], object]], ...] = (
        ("busy wait of 50 us", 0.02, partial(_busy, 50e-6)),
        ("busy wait of 2 ms", 0.01, partial(_busy, 2e-3)),
        ("sleep of 5 ms", 0.01, partial(time.sleep, 5e-3)),
    )
    for name, limit, act in known:
        error = settled(partial(oracle_error, host, act), limit)
        yield Measured(name, error, limit, "compared with the operating system's raw clock")

    if device == "cuda":
        act = partial(spin, torch.cuda, 5e-3)
        for clock in (CudaClock(torch.cuda), GraphClock(torch.cuda, lambda _: act(), None)):
            error = settled(partial(_gpu_oracle_error, clock, act), 0.02)
            sentence = "the device's clock compared with the host's, for a kernel that only waits"
            yield Measured(f"spin of 5 ms, {clock.name}", error, 0.02, sentence)


def oracle_error(clock: Clock, act: Callable[[], object]) -> float:
    """Return the relative error of a clock that times a function as it times any method.

    The true time is that of CLOCK_MONOTONIC_RAW around each call, which the harness does not use.
    An interrupted call is longer by that clock as well, so the check is valid on a noisy machine.
    act: the function. The error is the median over the samples.
    """
    truth: list[float] = []

    def call(_: object) -> None:
        start = time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
        act()
        truth.append(time.clock_gettime(time.CLOCK_MONOTONIC_RAW) - start)

    timing = sample(clock, nothing, call, _ORACLE, first_call=inf)
    calls = timing.calls
    last = truth[-calls * len(timing.samples) :]  # without the warm-up calls
    known = [fmean(last[i : i + calls]) for i in range(0, len(last), calls)]
    return median(x / y for x, y in zip(timing.samples, known, strict=True)) - 1


def _busy(seconds: float) -> None:
    """Keep this core busy for some seconds."""
    wrong_methods.wait(time.perf_counter() + seconds)


def _gpu_oracle_error(clock: Clock, act: Callable[[], object]) -> float:
    """Return the relative error of a GPU clock compared with the host's clock.

    The two clocks measure alternately, as the frequency of the device changes.
    """
    host = HostClock(torch.cuda.synchronize)
    ratios = []
    for _ in range(_ORACLE.min_samples):
        ours, truth = (timer.block(lambda _: act(), [None]) for timer in (clock, host))
        ratios.append(ours / truth)
    return median(ratios) - 1


def others(device: str) -> Iterator[Measured]:
    """Yield the error of our timer compared with every other timer that is installed."""
    jobs = timers.jobs(device)
    # A limit of 3 %, as timers differ in the handling of overhead and of outliers.
    for rival in timers.here(device):
        ratios: list[float] = []

        def error(rival: timers.Rival = rival, ratios: list[float] = ratios) -> float:
            ratios[:] = sorted(timers.ratios(rival, jobs))
            return median(ratios) - 1

        off_by, seconds = settled(error, 0.03), [job.seconds for job in jobs]
        sentence = (
            f"our time / theirs, median of {len(ratios)} calls of {1e3 * min(seconds):.2f} to "
        )
        sentence += f"{1e3 * max(seconds):.0f} ms; single ones {ratios[0]:.3f} to {ratios[-1]:.3f}"
        yield Measured(rival.name, off_by, 0.03, sentence)


def parts(device: str) -> Iterator[Measured]:
    """Yield how much the times of recorded forward and backward together differ from a step's.

    A step is both in one. The times differ a little, because the parts find other data in the
    caches; hence the limit of 10 %.
    """
    for pair in _PAIRS:
        error = settled(partial(timers.parts, *pair, device), 0.1)
        sentence = "recorded forward + backward, each timed alone, / the whole step"
        yield Measured(f"parts of {' + '.join(pair)}", error, 0.1, sentence, lenient=True)
