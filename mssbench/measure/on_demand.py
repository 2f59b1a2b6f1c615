"""A cell kept ready in this process, to be sampled whenever another asks: one arm of `ab`."""

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
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status
from mssbench.records.timing import Timing


class Sample(NamedTuple):
    """Seconds per call of one sample: of the wall or the device, and of this process's cores."""

    seconds: float
    cpu: float
    flags: tuple[str, ...]  # what disturbed it, of noise.MEANING


class Verified(NamedTuple):
    """What the outputs of a cell are worth, its first one and a timed one."""

    status: str
    reason: str
    values: dict[str, Any]  # error columns, the worse of both


class Held:
    """Takes samples of a cell's forward, or of its step where it has a backward.

    what: its calls. bench, opened: what verifies a timed output, and the phase as it was opened;
    None where nobody asked for that.
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
        self._cell, self._what, self._rotation, self._clock = cell, what, rotation, clock
        self._bench, self._opened = bench, opened
        self._device = cell.device
        self._synchronize, self._watchman = synchronizer(cell.device), watchman
        self._seconds: list[float] = []  # of every sample
        self._last: list[Any] = [None, None]  # input and output of the latest timed call
        with watchman.watched(cell.device) as watch:  # once: to read a GPU is as slow as a sample
            watch.look_at_work()
        self._flags = watch.flags

    def prepare(self) -> CallInput:
        """What the next call consumes: an input that the one before had not."""
        x = self._rotation.next()
        return CallInput(x, self._what.prepare(x))

    def call(self, prepared: CallInput) -> None:
        """One call, done when this returns."""
        self._last[:] = prepared.input, self._what.call(prepared.what)
        self._synchronize()

    def sample(self, count: int) -> Sample:
        """One sample of so many calls."""
        last = self._last

        def call(prepared: CallInput) -> None:
            last[:] = prepared.input, self._what.call(prepared.what)

        every = [self.prepare() for _ in range(count)]
        with self._watchman.watched(self._device) as watch:
            busy = time.process_time()
            seconds = self._clock.block(call, every)
            busy = time.process_time() - busy
        flags = tuple({**dict.fromkeys(self._flags), **dict.fromkeys(watch.flags)})
        self._seconds.append(seconds / count)
        return Sample(seconds / count, busy / count, flags)

    def forget(self) -> None:
        """Forget the seconds so far, which were taken to warm up."""
        self._seconds.clear()

    def verify(self, seconds: Sequence[float] = ()) -> Verified | None:
        """What the latest timed output is worth, and whether its time can be; None if not asked.

        An answer kept from the first call is wrong here, as the inputs rotate; and a few more calls
        tell whether the method remembers answers by content. Raises Violation for an output of the
        wrong kind, and for a method that wrote into one of its inputs.

        seconds: of its calls, where somebody else has timed them; by default those of `sample`.
        """
        if self._bench is None or self._opened is None:
            return None
        refuse_written(self._cell, self._rotation)
        timing = Timing(tuple(seconds or self._seconds), 1, self._opened.first.seconds)
        x, output = self._last
        return Verified(*self._bench.judged_again(self._opened, x, output, timing, self._flags))


def phase(cell: Cell) -> str:
    """What is sampled of a cell: what a caller of it pays."""
    return "forward" if cell.backward == "none" else "step"


def clock(cell: Cell) -> str:
    """By which clock."""
    return "gpu" if cell.device == "cuda" else "wall"


@contextmanager
def held(
    cell: Cell, session: Session, announce: Callable[[], None] = lambda: None, *, verify: bool
) -> Iterator[tuple[Measurement, float, Held | None]]:
    """The row of a cell, verified if asked; seconds of a warm call; and what takes samples of it.

    announce: called when the method is about to run. Whatever the method does becomes the row; the
    cell is held where that is no failure.
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

            what = opened.calls if opened else calls(ready.pair, cell.library, phase(cell))
            timer = _timer(cell, what, ready.rotation)
            taker = Held(cell, what, ready.rotation, timer, session.watchman, bench, opened)
            seconds = _warm(taker, session.settings)
            taker.forget()
            refuse_written(cell, ready.rotation)
            values |= {"code_hash": code_hash(cell)}
        except Exception as error:
            session.forget_inputs()
            yield _row(cell, *classify(error)), 0.0, None
            return

        collects = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            yield _row(cell, status, reason, values), seconds, taker
        finally:
            if collects:  # else the caller has disabled it, and it stays so
                gc.enable()


def _row(cell: Cell, status: Status, reason: str, values: dict[str, Any] | None = None) -> Any:
    return Measurement(cell, phase(cell), clock(cell), "hot", status, reason, values)


def _timer(cell: Cell, what: Calls, rotation: Rotation) -> Clock:
    if cell.device != "cuda":
        return HostClock()
    waits = waits_for_device(torch.cuda, what.call, what.prepare(rotation.first))
    return CudaClock(torch.cuda, waits=waits)


def _warm(found: Held, settings: Settings) -> float:
    """Warm up until steady; seconds of the fastest call."""
    start, seconds = time.perf_counter(), list[float]()
    while not warm(seconds, time.perf_counter() - start, settings.policy):
        seconds.append(found.sample(1).seconds)
    return min(seconds)
