"""Keep a cell ready in this process, and take a sample of it whenever asked.

A cell is one combination of methods, problem, size and so on. A sample is the time of a block of
calls. In an A/B comparison (`mssbench ab`) there is such a process for each side, or arm.
"""

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch

from mssbench.measure.admission import classify, refuse_written
from mssbench.measure.bench import Bench
from mssbench.measure.code_hash import code_hash
from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments.clocks import (
    Clock,
    CudaClock,
    HostClock,
    synchronizer,
    waits_for_device,
)
from mssbench.measure.instruments.disturbance import Watchman
from mssbench.measure.instruments.sampling import Spent, warm
from mssbench.measure.new_content import CallInput
from mssbench.measure.phases import Calls, Phase, calls
from mssbench.measure.prepared import prepared
from mssbench.measure.session import Session, Settings
from mssbench.records.cell import GPU, HOT, WALL, Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.timing import Timing


class Sample(NamedTuple):
    """The times of one sample, a block of calls, each divided by the number of calls.

    seconds: elapsed time.
    cpu: processor time of this process.
    """

    seconds: float
    cpu: float
    flags: tuple[str, ...]  # what disturbed the sample, keys of noise.MEANING


class Verified(NamedTuple):
    """The status of a cell, its reason, errors and flags, from the first output and a timed one."""

    status: str
    reason: str
    values: dict[str, Any]  # error columns, the worse of the two outputs, and the column flags


class OnDemand:
    """Takes samples of a cell's forward, or of forward and backward together if it has both.

    what: the calls to be timed.
    bench: verifies a timed output; None where verification was not requested.
    opened: the phase as returned by `Bench.opened`; None where `bench` is None.
    """

    def __init__(
        self,
        cell: Cell,
        what: Calls,
        rotation: Rotation,
        clock: Clock,
        watchman: Watchman,
        bench: Bench | None = None,
        opened: Phase | None = None,
    ) -> None:
        self._cell, self._calls, self._rotation, self._clock = cell, what, rotation, clock
        self._bench, self._opened = bench, opened
        self._device = cell.device
        self._synchronize, self._watchman = synchronizer(cell.device), watchman
        self._seconds: list[float] = []  # of every sample
        self._last: list[Any] = [None, None]  # input and output of the latest timed call

        # The GPU is read only once, since reading it takes as long as a sample.
        with watchman.watched(cell.device) as watch:
            watch.look_at_work()
        self._flags = watch.flags

    def prepare(self) -> CallInput:
        """Prepare the next call, with another input than the one before."""
        x = self._rotation.next()
        return CallInput(x, self._calls.prepare(x))

    def call(self, prepared: CallInput) -> None:
        """Make one call, and wait until it is complete."""
        self._last[:] = prepared.input, self._calls.call(prepared.what)
        self._synchronize()

    def sample(self, count: int) -> Sample:
        """Take one sample of `count` calls."""
        last = self._last

        def call(prepared: CallInput) -> None:
            last[:] = prepared.input, self._calls.call(prepared.what)

        call_inputs = [self.prepare() for _ in range(count)]
        with self._watchman.watched(self._device) as watch:
            cpu_seconds = time.process_time()
            seconds = self._clock.block(call, call_inputs)
            cpu_seconds = time.process_time() - cpu_seconds
        flags = tuple({**dict.fromkeys(self._flags), **dict.fromkeys(watch.flags)})
        self._seconds.append(seconds / count)
        return Sample(seconds / count, cpu_seconds / count, flags)

    def forget(self) -> None:
        """Discard the seconds recorded so far, which were taken to warm up."""
        self._seconds.clear()

    def verify(self, seconds: Sequence[float] = ()) -> Verified | None:
        """Return the status of the latest timed output and its time, or None without a `bench`.

        The inputs rotate, so that an answer kept from the first call is wrong here. A few more
        calls show whether the method remembers answers by content.

        seconds: the samples, if the caller has timed the calls; by default those of `sample`.
        Raises Violation for an output of the wrong kind, and if the method wrote into one of its
        inputs.
        """
        if self._bench is None or self._opened is None:
            return None
        refuse_written(self._cell, self._rotation)
        timing = Timing(tuple(seconds or self._seconds), 1, self._opened.first.seconds)
        x, output = self._last
        return Verified(*self._bench.judged_again(self._opened, x, output, timing, self._flags))


def phase(cell: Cell) -> str:
    """Return the name of the phase that is sampled: `step`, or `forward` without a backward."""
    return "forward" if cell.backward == "none" else "step"


def clock(cell: Cell) -> str:
    """Return the name of the clock by which samples of a cell are timed: `gpu` or `wall`."""
    return GPU if cell.device == "cuda" else WALL


@contextmanager
def held(
    cell: Cell, session: Session, announce: Callable[[], None] = lambda: None, *, verify: bool
) -> Iterator[tuple[Measurement, float, OnDemand | None]]:
    """Prepare and warm up a cell. Yield its row, the seconds of a warm call, and a sampler.

    The sampler is None if the cell could not be prepared; the row then gives the reason.

    announce: called when the method is about to run.
    verify: whether outputs are compared with the reference.
    """
    with ExitStack() as stack:
        try:
            ready = stack.enter_context(prepared(cell, session, verify=verify))
            announce()
            status, reason, values = Status.OK, "", dict[str, Any]()
            bench, opened = None, None
            if verify:
                bench = Bench(ready, session, Spent())
                opened = bench.opened(phase(cell))
                status, reason, values = bench.judged(opened)

            phase_calls = opened.calls if opened else calls(ready.pair, cell.library, phase(cell))
            timer = _timer(cell, phase_calls, ready.rotation)

            sampler = OnDemand(
                cell, phase_calls, ready.rotation, timer, session.watchman, bench, opened
            )
            seconds = _warm(sampler, session.settings)
            sampler.forget()
            refuse_written(cell, ready.rotation)
            values |= {"code_hash": code_hash(cell)}
        except Exception as error:
            session.forget_inputs()
            yield _row(cell, *classify(error)), 0.0, None
            return

        # A garbage collection within a sample would be timed.
        collects = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            yield _row(cell, status, reason, values), seconds, sampler
        finally:
            if collects:  # otherwise the caller has disabled collection
                gc.enable()


def _row(cell: Cell, status: Status, reason: str, values: dict[str, Any] | None = None) -> Any:
    return Measurement(cell, phase(cell), clock(cell), HOT, status, reason, values)


def _timer(cell: Cell, phase_calls: Calls, rotation: Rotation) -> Clock:
    if cell.device != "cuda":
        return HostClock()
    waits = waits_for_device(torch.cuda, phase_calls.call, phase_calls.prepare(rotation.first))
    return CudaClock(torch.cuda, waits=waits)


def _warm(sampler: OnDemand, settings: Settings) -> float:
    """Make calls until their times are steady, and return the seconds of the fastest."""
    start, seconds = time.perf_counter(), list[float]()
    while not warm(seconds, time.perf_counter() - start, settings.policy):
        seconds.append(sampler.sample(1).seconds)
    return min(seconds)
