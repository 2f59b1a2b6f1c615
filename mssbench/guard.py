"""What disturbed a measurement: read, never set. Other work on the cores, and a GPU that slowed.

A GPU is asked while work is queued; an idle one shows the clock of an idle one.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

_LOW = 0.9  # of the highest clock seen in this process under load
# NVML's clocksEventReasons: slowdowns by power and by temperature, in software and in hardware.
_THROTTLED = {
    "power_cap": 0x4,
    "hardware": 0x8,
    "thermal": 0x20 | 0x40,
    "power_brake": 0x80,
}


class Reading(NamedTuple):
    """A GPU under load: its clock in MHz, and whatever slows it."""

    clock: int
    slowed: tuple[str, ...]
    processes: int  # that compute, with our own


class Watch:
    """Flags of the block, once it has ended. `look` reads the GPU, while work is queued."""

    def __init__(self, device: str, cores: int) -> None:
        self.flags: list[str] = []
        self._device, self._cores = device, cores
        self._readings: list[Reading] = []

    def look(self) -> None:
        """Read the GPU now."""
        if self._device == "cuda" and (found := read_gpu()) is not None:
            self._readings.append(found)

    def end(self) -> None:
        """Decide."""
        if os.getloadavg()[0] > self._cores + 0.5:
            self.flags.append("loaded")
        for reading in self._readings:
            highest = _Highest.clock = max(_Highest.clock, reading.clock)
            slow = reading.clock < _LOW * highest
            shared = reading.processes > 1
            found = {"clock_low": slow, "throttled": reading.slowed, "shared_gpu": shared}
            self.flags += [k for k, v in found.items() if v and k not in self.flags]


class _Highest:
    clock = 0


@contextmanager
def watched(device: str) -> Iterator[Watch]:
    """Watch the block."""
    watch = Watch(device, len(os.sched_getaffinity(0)))
    try:
        yield watch
    finally:
        watch.end()


def read_gpu() -> Reading | None:
    """The GPU this process uses; None where NVML is not there to be asked."""
    found = _nvml()
    if found is None:
        return None
    nvml, handle = found
    try:
        clock = nvml.nvmlDeviceGetClockInfo(handle, nvml.NVML_CLOCK_SM)
        bits = nvml.nvmlDeviceGetCurrentClocksEventReasons(handle)
        processes = len(nvml.nvmlDeviceGetComputeRunningProcesses(handle))
    except Exception:  # NVML is a courtesy: a driver that refuses one of these refuses a reading
        return None
    slowed = tuple(name for name, mask in _THROTTLED.items() if bits & mask)
    return Reading(clock, slowed, processes)


@lru_cache(maxsize=1)
def _nvml() -> tuple[Any, Any] | None:
    """NVML and the handle of torch's present device, found by its UUID: indices differ."""
    try:
        nvml = importlib.import_module("pynvml")
        torch = importlib.import_module("torch")
        nvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # not installed, no driver, no GPU: nothing is known of it
        return None
