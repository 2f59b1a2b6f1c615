"""The harness held against what is known: durations, other timers, slow methods and wrong ones.

Nothing is compared with a time of another minute. What is compared is measured in turn, in small
blocks, so that what else runs here disturbs both sides; and a time beyond its limit is taken again,
twice, before it counts.
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

_TRIES = 3  # of what is beyond its limit
_ROUNDS = 6  # of the races, before the other checks and again after them
_PAIRS = (("eigh", "loewner"), ("newton_schulz", "autodiff"))  # whose parts are added up
_ORACLE = Policy(min_seconds=0, min_samples=40, max_seconds=0.6, warmup_seconds=0.01, interval=1)


class Measured(NamedTuple):
    """A time over what it should be, less one."""

    name: str
    error: float
    limit: float
    sentence: str
    lenient: bool = False  # see checks.off

    def check(self, floor: float) -> Check:
        """Once it is known how noisy the machine was."""
        return off(self.name, self.error, self.limit, floor, self.sentence, lenient=self.lenient)


def examine(device: str, announce: Callable[[str], None] = lambda _: None) -> Report:
    """Every check on this device, in about a minute. announce: told what is done next.

    Raises RunError where there is no such device, or where this system is not Linux.
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
    timed = [each.check(floor) for each in measured]
    checks = (floor_check(floor), *timed, *races.checks(), *caught)
    return Report(device, checks, floor, time.perf_counter() - start)


@contextmanager
def _calm() -> Iterator[None]:
    """One thread, and nothing that imports left behind is garbage, inside the block.

    Threads that wait for one whose core is taken make a call a hundred times as long: with other
    work on the cores nothing else would be seen.
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
    """The first error within the limit; else the smallest of three."""
    tries: list[float] = []
    while len(tries) < _TRIES:
        tries.append(error())
        if abs(tries[-1]) <= limit:
            return tries[-1]
    return min(tries, key=abs)


def oracles(device: str) -> Iterator[Measured]:
    """Durations that are known: this core kept busy, a sleep, and a spinning kernel."""
    host = HostClock(synchronizer(device))
    known: tuple[tuple[str, float, Callable[[], object]], ...] = (
        ("busy wait of 50 us", 0.02, partial(_busy, 50e-6)),
        ("busy wait of 2 ms", 0.01, partial(_busy, 2e-3)),
        ("sleep of 5 ms", 0.01, partial(time.sleep, 5e-3)),
    )
    for name, limit, act in known:
        error = settled(partial(oracle_error, host, act), limit)
        yield Measured(name, error, limit, "against what the kernel's clock says each call took")
    if device == "cuda":
        act = partial(spin, torch.cuda, 5e-3)
        for clock in (CudaClock(torch.cuda), GraphClock(torch.cuda, lambda _: act(), None)):
            error = settled(partial(_gpu_oracle_error, clock, act), 0.02)
            said = "the device's clock against the host's, of a kernel that does nothing"
            yield Measured(f"spin of 5 ms, {clock.name}", error, 0.02, said)


def oracle_error(clock: Clock, act: Callable[[], object]) -> float:
    """By how much a clock, asked as for any cell, is off; relative, median of its samples.

    The truth is CLOCK_MONOTONIC_RAW around each call, which nothing of ours reads: a call that was
    interrupted is longer in truth too, so this holds on a noisy machine.
    """
    truth: list[float] = []

    def call(_: object) -> None:
        start = time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
        act()
        truth.append(time.clock_gettime(time.CLOCK_MONOTONIC_RAW) - start)

    timing = sample(clock, nothing, call, _ORACLE, first_call=inf)
    calls = timing.calls
    last = truth[-calls * len(timing.samples) :]  # what came before has warmed up
    known = [fmean(last[i : i + calls]) for i in range(0, len(last), calls)]
    return median(x / y for x, y in zip(timing.samples, known, strict=True)) - 1


def _busy(seconds: float) -> None:
    wrong_methods.wait(time.perf_counter() + seconds)


def _gpu_oracle_error(clock: Clock, act: Callable[[], object]) -> float:
    """In turn, as the device's clock rises and falls."""
    host = HostClock(torch.cuda.synchronize)
    found = []
    for _ in range(_ORACLE.min_samples):
        ours, truth = (each.block(lambda _: act(), [None]) for each in (clock, host))
        found.append(ours / truth)
    return median(found) - 1


def others(device: str) -> Iterator[Measured]:
    """Every other timer that is installed."""
    jobs = timers.jobs(device)
    for rival in timers.here(device):
        found: list[float] = []

        def error(rival: timers.Rival = rival, found: list[float] = found) -> float:
            found[:] = sorted(timers.ratios(rival, jobs))
            return median(found) - 1

        off_by, seconds = settled(error, 0.03), [job.seconds for job in jobs]
        said = f"ours over theirs, median of {len(found)} calls of {1e3 * min(seconds):.2f} to "
        said += f"{1e3 * max(seconds):.0f} ms; single ones {found[0]:.3f} to {found[-1]:.3f}"
        yield Measured(rival.name, off_by, 0.03, said)


def parts(device: str) -> Iterator[Measured]:
    """Recorded forward plus backward over step, which differ by what memory was left warm."""
    for pair in _PAIRS:
        error = settled(partial(timers.parts, *pair, device), 0.1)
        said = "recorded forward and backward, each timed alone, over the step that is both"
        yield Measured(f"parts of {' + '.join(pair)}", error, 0.1, said, lenient=True)
