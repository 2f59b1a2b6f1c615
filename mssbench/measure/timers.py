"""Which clock can time a phase of a cell, and how many calls a sample on it may have."""

import torch

from mssbench import units
from mssbench.errors import Unsupported
from mssbench.measure.inputs import Rotation
from mssbench.measure.instruments.ceilings import flush, l2_bytes
from mssbench.measure.instruments.clocks import (
    MOST_QUEUED,
    Clock,
    CudaClock,
    GraphClock,
    HostClock,
    synchronizer,
    waits_for_device,
)
from mssbench.measure.phases import Calls, Phase
from mssbench.records.cell import Cell

_MOST_PREPARED_BYTES = 2**28  # recorded forwards that may wait for their backward at once
_SHORTEST_COLD = 20e-6  # seconds: events resolve half a microsecond, and a cold call stands alone


class Timers:
    """Makes the clocks for the phases of one cell. rotation: the inputs of the cell."""

    def __init__(self, cell: Cell, rotation: Rotation) -> None:
        self._cell, self._rotation = cell, rotation
        self._waiting: dict[str, bool] = {}  # by phase, whether a call waits for the device

    def timer(self, phase: Phase, clock: str, cache: str) -> Clock:
        """The clock, ready to time blocks. Raises Unsupported where it cannot."""
        if clock == "wall":
            return HostClock(synchronizer(self._cell.device))
        a, g, *_ = self._rotation.first
        waits, size = self.waits(phase.name, phase.calls), a.nbytes + g.nbytes
        if clock == "gpu" and cache == "hot":
            if size > l2_bytes():
                raise Unsupported(
                    f"in and out it has {units.size(size)}, more than the device's cache of "
                    f"{units.size(l2_bytes())}: every call is a cold one"
                )
            return CudaClock(torch.cuda, waits=waits)
        if clock == "gpu":
            if self._device_seconds(phase, waits) < _SHORTEST_COLD:
                raise Unsupported("too short to be timed alone, as a cold call must be")
            return CudaClock(torch.cuda, flush(), waits)
        if self._cell.library != "torch":
            raise Unsupported(f"{self._cell.library} would not work on the stream that is captured")
        if phase.name == "backward":
            raise Unsupported("a recorded graph is used up by its backward: it cannot be replayed")
        if waits:  # and a capture that fails harms the process
            raise Unsupported("it waits for the device, which cannot be captured as a CUDA graph")
        x = self._rotation.first
        return GraphClock(torch.cuda, phase.calls.call, phase.calls.prepare(x))

    def waits(self, name: str, calls: Calls) -> bool:
        """Whether a call of a phase waits for the device itself. It is tried once.

        name: of the phase. calls: its calls.
        """
        if name not in self._waiting:
            what = calls.prepare(self._rotation.first)
            self._waiting[name] = waits_for_device(torch.cuda, calls.call, what)
        return self._waiting[name]

    def _device_seconds(self, phase: Phase, waits: bool) -> float:
        """About how long a warm call keeps the device busy."""
        clock, x = CudaClock(torch.cuda, waits=waits), self._rotation.first
        blocks = [[phase.calls.prepare(x)] for _ in range(5)]
        return min(clock.block(phase.calls.call, block) for block in blocks)


def most_calls(phase: Phase, clock: str, cache: str) -> int:
    """How many calls a sample may have.

    A cold call stands alone, a backward consumes a recorded forward each, and on a GPU's own clocks
    all of a sample is queued before the device begins. A replay is one launch, whatever it holds.
    """
    if cache == "cold":
        return 1
    most = 10_000
    if phase.name == "backward":
        most = min(1000, _MOST_PREPARED_BYTES // max(phase.work["saved_bytes"] or 1, 1))
    if clock != "wall":
        each = (phase.work["operators"] or 1) if clock == "gpu" else 1
        most = min(most, MOST_QUEUED // each)
    return max(1, most)
