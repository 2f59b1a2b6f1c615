"""Choose the clock that can time a phase of a cell, and the number of calls in a sample.

A cell is one combination of methods, problem, size and so on; its phases are `forward`, `backward`
and `step`. A sample is the time of a block of calls.
"""

import torch

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
from mssbench.records import units
from mssbench.records.cell import COLD, GPU, HOT, WALL, Cell

# Bytes that recorded forwards may take while they wait for their backward: more calls in a sample
# are more precise, but take memory from the methods.
_MOST_PREPARED_BYTES = 2**28
# Seconds of the shortest cold call. It is timed by itself, and events resolve half a microsecond.
_SHORTEST_COLD = 20e-6


class Timers:
    """Makes the clocks for the phases of one cell.

    rotation: the inputs of the cell.
    """

    def __init__(self, cell: Cell, rotation: Rotation) -> None:
        self._cell, self._rotation = cell, rotation
        self._waiting: dict[str, bool] = {}  # by phase, whether a call waits for the device

    def timer(self, phase: Phase, clock: str, cache: str) -> Clock:
        """Return a clock for a phase. Raises Unsupported if this clock cannot time the phase.

        cache: hot or cold. The clock `gpu` cannot time a hot cache if input and output are larger
        than the cache of the device, since every call is then a cold one.
        """
        if clock == WALL:
            return HostClock(synchronizer(self._cell.device))

        a, g, *_ = self._rotation.first
        waits, size = self.waits(phase.name, phase.calls), a.nbytes + g.nbytes
        if clock == GPU and cache == HOT:
            if size > l2_bytes():
                raise Unsupported(
                    f"input and output take {units.size(size)}, more than the device's cache of "
                    f"{units.size(l2_bytes())}: every call has a cold cache"
                )
            return CudaClock(torch.cuda, waits=waits)

        if clock == GPU:
            if self._device_seconds(phase, waits) < _SHORTEST_COLD:
                raise Unsupported(
                    "a single call is too short to be timed, and with a cold cache only single "
                    "calls can be timed"
                )
            return CudaClock(torch.cuda, flush(), waits)

        if self._cell.library != "torch":
            raise Unsupported(
                f"{self._cell.library} does its work on another stream than the captured one"
            )
        if phase.name == "backward":
            raise Unsupported("a recorded graph is used up by its backward: it cannot be replayed")
        if waits:  # not tried, because a failed capture damages the process
            raise Unsupported(
                "the call waits for the device, so it cannot be captured as a CUDA graph"
            )

        x = self._rotation.first
        return GraphClock(torch.cuda, phase.calls.call, phase.calls.prepare(x))

    def waits(self, name: str, calls: Calls) -> bool:
        """Whether a call of a phase itself waits for the device. It is tried out once per cell.

        name: of the phase.
        calls: its calls.
        """
        if name not in self._waiting:
            call_input = calls.prepare(self._rotation.first)
            self._waiting[name] = waits_for_device(torch.cuda, calls.call, call_input)
        return self._waiting[name]

    def _device_seconds(self, phase: Phase, waits: bool) -> float:
        """Return about how long a warm call keeps the device busy."""
        clock, x = CudaClock(torch.cuda, waits=waits), self._rotation.first
        blocks = [[phase.calls.prepare(x)] for _ in range(5)]
        return min(clock.block(phase.calls.call, block) for block in blocks)


def most_calls(phase: Phase, clock: str, cache: str) -> int:
    """Return the largest number of calls in a sample.

    A cold call is timed by itself, and each backward consumes a recorded forward. On the clocks of
    a GPU, the whole sample is queued before the device begins; the replay of a graph is a single
    launch.
    """
    if cache == COLD:
        return 1

    most = 10_000
    if phase.name == "backward":
        most = min(1000, _MOST_PREPARED_BYTES // max(phase.work["saved_bytes"] or 1, 1))

    if clock != WALL:
        launches = (phase.work["operators"] or 1) if clock == GPU else 1
        most = min(most, MOST_QUEUED // launches)

    return max(1, most)
