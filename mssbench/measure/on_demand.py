"""A cell kept ready in this process, to be sampled whenever another asks: one arm of `ab`."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch

from mssbench.measure.admission import classify, methods_of, pair_of, refuse, refuse_written
from mssbench.measure.bench import Bench, Settings
from mssbench.measure.code_hash import code_hash
from mssbench.measure.inputs import Rotation, forget_inputs, inputs, rotation_of
from mssbench.measure.instruments.clocks import (
    Clock,
    CudaClock,
    HostClock,
    synchronizer,
    waits_for_device,
)
from mssbench.measure.instruments.disturbance import watched
from mssbench.measure.instruments.sampling import Spent, warm
from mssbench.measure.libraries import library, product_rule
from mssbench.measure.phases import Calls, calls
from mssbench.measure.verification import Truth, truth_of
from mssbench.records.cell import Cell
from mssbench.records.measurement import Measurement, Status


class Sample(NamedTuple):
    """Seconds per call of one sample: of the wall or the device, and of this process's cores."""

    seconds: float
    cpu: float
    flags: tuple[str, ...]  # what disturbed it, of noise.MEANING


class Held:
    """Takes samples of a cell's forward, or of its step where it has a backward."""

    def __init__(self, what: Calls, rotation: Rotation, clock: Clock, device: str) -> None:
        self._what, self._rotation, self._clock, self._device = what, rotation, clock, device
        self._synchronize = synchronizer(device)
        with watched(device) as watch:  # once: to read a GPU takes as long as a sample
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
        with watched(self._device) as watch:
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
    cell: Cell, settings: Settings, announce: Callable[[], None] = lambda: None, *, verify: bool
) -> Iterator[tuple[Measurement, float, Held | None]]:
    """The row of a cell, verified if asked; seconds of a warm call; and what takes samples of it.

    announce: called when the method is about to run. Whatever it does becomes the row; it is held
    where that has no failure.
    """
    try:
        forward, backward = methods_of(cell)
        refuse(cell, forward, backward)
        pair = pair_of(cell)
        rotation = rotation_of(cell, *inputs(cell))
    except Exception as error:
        yield _row(cell, *classify(error)), 0.0, None
        return
    with library(cell.library), product_rule(cell.precision):
        try:
            values: dict[str, Any] = {}
            status, reason = Status.OK, ""
            truth = _truth(cell) if verify else None
            announce()
            if truth is not None:
                bench = Bench(cell, pair, rotation, truth, settings, Spent())
                status, reason, values = bench.verified(phase(cell))
            what = calls(pair, cell.library, phase(cell))
            timer = _timer(cell, what, rotation)
            found = Held(what, rotation, timer, cell.device)
            seconds = _warm(found, settings)
            refuse_written(cell, rotation)
        except Exception as error:
            forget_inputs()  # nobody knows what became of them
            yield _row(cell, *classify(error)), 0.0, None
            return
        gc.collect()
        gc.disable()
        try:
            hashed = code_hash(forward, *([backward] if backward else []))
            yield _row(cell, status, reason, values | {"code_hash": hashed}), seconds, found
        finally:
            gc.enable()


def _truth(cell: Cell) -> Truth:
    return truth_of(cell.function, cell.problem, cell.size, cell.batch, cell.seed, cell.precision)


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
