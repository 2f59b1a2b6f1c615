"""Detect what disturbed a measurement: other work on the cores, or a GPU that slowed down.

Settings of the machine are only read, never changed. A GPU is read while work is queued, because an
idle one has a lower clock.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from mssbench.measure.instruments.clocks import spin

_LOOK_SECONDS = 5e-3  # for which a GPU is kept busy while it is read
# Share of the highest clock seen in this process below which a clock is low. A slower clock shows
# in the times, while small variations are normal.
_LOW = 0.9
# Bits of NVML's clocksEventReasons: slowdowns by power or temperature, in software or hardware.
_THROTTLED = {
    "power_cap": 0x4,
    "hardware": 0x8,
    "thermal": 0x20 | 0x40,
    "power_brake": 0x80,
}


class Reading(NamedTuple):
    """The state of a GPU under load. A field is None where NVML does not return it."""

    clock: int | None  # MHz
    slowed: tuple[str, ...] | None  # reasons for a reduced clock, keys of _THROTTLED
    processes: int | None  # number of processes that compute on it, including this one


class FlagCollector:
    """Collects the flags of a block of code: what disturbed it, complete once it has ended."""

    def __init__(self, device: str, watchman: "Watchman") -> None:
        self.flags: list[str] = []
        self._device = device
        self._watchman = watchman
        self._readings: list[Reading] = []

    def look_at_work(self) -> None:
        """Read a GPU while it works for this process; on a CPU, do nothing."""
        if self._device == "cuda":
            cuda = importlib.import_module("torch").cuda
            spin(cuda, _LOOK_SECONDS)
            self.look()
            cuda.synchronize()

    def look(self) -> None:
        """Read the GPU now."""
        self._readings.append(read_gpu() or Reading(None, None, None))

    def end(self) -> None:
        """Set the flags."""
        if self._device == "cpu" and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5:
            self.flags.append("loaded")

        for clock, slowed, processes in self._readings:
            highest = self._watchman.highest(clock)
            conditions = {
                "clock_low": clock is not None and clock < _LOW * highest,
                "throttled": bool(slowed),
                "shared_gpu": (processes or 0) > self._watchman.arms,
                "unwatched": clock is None and slowed is None and processes is None,
            }

            self.flags += [
                flag for flag, applies in conditions.items() if applies and flag not in self.flags
            ]


class Watchman:
    """Watches blocks of code, and remembers the highest clock that the GPU had under load.

    arms: number of processes of this comparison that use the GPU: this one, and those of the other
        sides (arms) of an A/B comparison.
    """

    def __init__(self, arms: int = 1) -> None:
        self.arms = arms
        self._highest = 0

    def highest(self, clock: int | None) -> int:
        """Record a clock in MHz, and return the highest so far."""
        self._highest = max(self._highest, clock or 0)
        return self._highest

    @contextmanager
    def watched(self, device: str) -> Iterator[FlagCollector]:
        """Watch the block. The flags of the collector are set when it ends."""
        watch = FlagCollector(device, self)
        try:
            yield watch
        finally:
            watch.end()


def read_gpu() -> Reading | None:
    """Return the state of the GPU that this process uses; None where NVML is not available."""
    library_and_handle = _nvml()
    if library_and_handle is None:
        return None

    nvml, handle = library_and_handle

    bits = _asked(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    processes = _asked(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)

    return Reading(
        _asked(nvml, "nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
        None if bits is None else tuple(name for name, mask in _THROTTLED.items() if bits & mask),
        None if processes is None else len(processes),
    )


def _asked(nvml: Any, question: str, *about: Any) -> Any:
    """Return the answer of an NVML function, or None where it fails.

    Any driver, container or older binding may lack any of the functions.
    """
    try:
        return getattr(nvml, question)(*about)
    except Exception:  # pynvml has an error class for each code
        return None


@lru_cache(maxsize=1)
def _nvml() -> tuple[Any, Any] | None:
    """Return NVML and the handle of torch's current device; None where NVML is not available.

    The device is found by its UUID, since NVML and torch number devices differently.
    """
    try:
        nvml = importlib.import_module("pynvml")
        torch = importlib.import_module("torch")
        nvml.nvmlInit()

        uuid = torch.cuda.get_device_properties(torch.cuda.current_device()).uuid
        return nvml, nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # not installed, no driver, or no GPU
        return None
