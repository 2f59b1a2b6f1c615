"""A cell kept ready in this process, to be sampled whenever another asks: one arm of `ab`."""

import gc
import time
from collections.abc import Callable, Iterator
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
from mssbench.measure.phases import Calls, calls
from mssbench.measure.prepared import prepared
from mssbench.measure.session import Session, Settings
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status


class Sample(NamedTuple):
    """Seconds per call of one sample: of the wall or the device, and of this process's cores."""

    seconds: float
    cpu: float
    flags: tuple[str, ...]  # what disturbed it, of noise.MEANING


class Held:
    """Takes samples of a cell's forward, or of its step where it has a backward."""

    def __init__(
        self, what: Calls, rotation: Rotation, clock: Clock, device: str, watchman: Watchman
    ) -> None:
        self._what, self._rotation, self._clock, self._device = what, rotation, clock, device
        self._synchronize, self._watchman = synchronizer(device), watchman
        with watchman.watched(device) as watch:  # once: to read a GPU takes as long as a sample
            watch.look_at_work()
        self._flags = watch.flags

    def prepare(self) -> Any:
        """What the next call consumes: an input that the one before had not."""
        return self._what.prepare(self._rotation.next())

    def call(self, prepared: Any) -> None:
        """One call, done when this returns."""
        self._what.call(prepared)
        self._synchronize()

    def sample(self, count: int) -> Sample:
        """One sample of so many calls."""
        prepared = [self.prepare() for _ in range(count)]
        with self._watchman.watched(self._device) as watch:
            busy = time.process_time()
            seconds = self._clock.block(self._what.call, prepared)
            busy = time.process_time() - busy
        flags = tuple({**dict.fromkeys(self._flags), **dict.fromkeys(watch.flags)})
        return Sample(seconds / count, busy / count, flags)


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
            if verify:
                status, reason, values = Bench(ready, session, Spent()).verified(phase(cell))

            what = calls(ready.pair, cell.library, phase(cell))
            timer = _timer(cell, what, ready.rotation)
            taker = Held(what, ready.rotation, timer, cell.device, session.watchman)
            seconds = _warm(taker, session.settings)
            refuse_written(cell, ready.rotation)
            values |= {"code_hash": code_hash(cell)}
        except Exception as error:
            session.forget_inputs()
            yield _row(cell, *classify(error)), 0.0, None
            return

        gc.collect()
        gc.disable()
        try:
            yield _row(cell, status, reason, values), seconds, taker
        finally:
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
