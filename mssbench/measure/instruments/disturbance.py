"""What disturbed a measurement: read, never set. Other work on the cores, and a GPU that slowed.

A GPU is asked while work is queued; an idle one shows the clock of an idle one.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

from mssbench.measure.instruments.clocks import spin

_LOOK_SECONDS = 5e-3  # that a GPU is kept busy while it is read
_LOW = 0.9  # of the highest clock seen in this process under load
# NVML's clocksEventReasons: slowdowns by power and by temperature, in software and in hardware.
_THROTTLED = {
    "power_cap": 0x4,
    "hardware": 0x8,
    "thermal": 0x20 | 0x40,
    "power_brake": 0x80,
}


class Reading(NamedTuple):
    """A GPU under load: its clock in MHz, and whatever slows it. None where NVML does not say."""

    clock: int | None
    slowed: tuple[str, ...] | None
    processes: int | None  # that compute, with our own


class Watch:
    """Flags of the block, once it has ended. `look` reads the GPU, while work is queued."""

    def __init__(self, device: str, watchman: "Watchman") -> None:
        self.flags: list[str] = []
        self._device = device
        self._watchman = watchman
        self._readings: list[Reading] = []

    def look_at_work(self) -> None:
        """Read a GPU while it does work of ours; a CPU has nothing to be read."""
        if self._device == "cuda":
            cuda = importlib.import_module("torch").cuda
            spin(cuda, _LOOK_SECONDS)
            self.look()
            cuda.synchronize()

    def look(self) -> None:
        """Read the GPU now."""
        self._readings.append(read_gpu() or Reading(None, None, None))

    def end(self) -> None:
        """Decide."""
        if self._device == "cpu" and os.getloadavg()[0] > (os.cpu_count() or 1) + 0.5:
            self.flags.append("loaded")
        for clock, slowed, processes in self._readings:
            highest = self._watchman.highest(clock)
            found = {
                "clock_low": clock is not None and clock < _LOW * highest,
                "throttled": bool(slowed),
                "shared_gpu": (processes or 0) > self._watchman.arms,
                "unwatched": clock is None and slowed is None and processes is None,
            }
            self.flags += [k for k, v in found.items() if v and k not in self.flags]


class Watchman:
    """Watches blocks of code, and remembers the highest clock that the GPU had under load.

    arms: how many processes of this comparison are on the GPU: this one, and other arms of `ab`.
    """

    def __init__(self, arms: int = 1) -> None:
        self.arms = arms
        self._highest = 0

    def highest(self, clock: int | None) -> int:
        """Note a clock in MHz, and return the highest that was ever noted."""
        self._highest = max(self._highest, clock or 0)
        return self._highest

    @contextmanager
    def watched(self, device: str) -> Iterator[Watch]:
        """Watch the block."""
        watch = Watch(device, self)
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
    bits = _asked(nvml, "nvmlDeviceGetCurrentClocksEventReasons", handle)
    processes = _asked(nvml, "nvmlDeviceGetComputeRunningProcesses", handle)
    return Reading(
        _asked(nvml, "nvmlDeviceGetClockInfo", handle, nvml.NVML_CLOCK_SM),
        None if bits is None else tuple(k for k, mask in _THROTTLED.items() if bits & mask),
        None if processes is None else len(processes),
    )


def _asked(nvml: Any, question: str, *about: Any) -> Any:
    """NVML's answer, a courtesy: any driver, container or older binding may refuse any of them."""
    try:
        return getattr(nvml, question)(*about)
    except Exception:  # pynvml has an error class for each code
        return None


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
