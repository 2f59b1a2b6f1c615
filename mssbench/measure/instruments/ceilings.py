"""What rows are held against, measured beside them: the unit of work, and the machine's ceilings.

A ceiling is what was reached once: the best of a few calls, and the best so far. No datasheet is
asked. What cannot be measured, for want of memory, is not known; no cell fails for that.
"""

import time
from collections.abc import Callable, Mapping
from functools import lru_cache

import psutil
import torch

from mssbench import arrays
from mssbench.measure.instruments.clocks import Clock, CudaClock, HostClock
from mssbench.measure.instruments.sampling import Spent
from mssbench.measure.libraries import product_rule

_LOOK = 0.02  # seconds at least for each: other work comes and goes
_REPEATS = 5
# Large enough that neither a cache nor a launch decides, small enough for a tenth of a second.
_SIZE = {"cpu": 512, "cuda": 8192}  # of the product
_BYTES = {"cpu": 2**26, "cuda": 2**31}  # of the copy
_SHARE = 8  # of the memory that is free, one array may take this part


class Ceilings:
    """The highest that this process has seen of each device, by the names that `measure` gives."""

    def __init__(self) -> None:
        self._best: dict[str, dict[str, float]] = {}

    def best(self, device: str, precision: str, spent: Spent) -> Mapping[str, float]:
        """The highest seen so far; measured now if nothing was. Empty where that failed."""
        if precision not in self._best.get(device, {}):
            start = time.perf_counter()
            self.measure(device, precision)
            spent.ceilings += time.perf_counter() - start
        return self._best.get(device, {})

    def measure(self, device: str, precision: str = "float32") -> dict[str, float]:
        """Each ceiling by its name, measured now. Empty where there is no memory for that.

        `bytes_per_second` of a copy, read and written; `calls_per_second` of an operation on one
        number; and, under the precision's name, flop/s of one large product.
        """
        try:
            measured = _measured(device, precision)
        except Exception:  # out of memory by one of its many names, or a device that is gone
            return {}
        finally:
            if device == "cuda":
                torch.cuda.empty_cache()  # what this took is for the methods to have

        known = self._best.setdefault(device, {})
        for name, value in measured.items():
            known[name] = max(value, known.get(name, 0.0))
        return measured


def _measured(device: str, precision: str) -> dict[str, float]:
    clock = _clock(device)
    dtype = getattr(torch, arrays.STORAGE[precision])
    room = _free(device) // _SHARE
    n, size = _SIZE[device], min(_BYTES[device], room)
    while n * n * dtype.itemsize > room:
        n //= 2
    with torch.inference_mode(), product_rule(precision):
        x = torch.randn(n, n, device=device).to(dtype)
        out = torch.empty_like(x)
        product = fastest(clock, lambda: torch.mm(x, x, out=out))
        source = torch.zeros(size, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy = fastest(clock, lambda: target.copy_(source))
        one = torch.ones(1, device=device)
        call = fastest(clock, lambda: one.add_(1), calls=100)
    return {
        precision: 2.0 * n**3 / product,
        "bytes_per_second": 2.0 * size / copy,
        "calls_per_second": 1 / call,
    }


def _free(device: str) -> int:
    """Bytes that may be had; what torch keeps in reserve is free as well."""
    if device != "cuda":
        return int(psutil.virtual_memory().available)
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


@lru_cache(maxsize=1)
def flush() -> Callable[[], object]:
    """Writes twice the device's L2 cache. Allocated once: that can take a second."""
    return torch.empty(2 * l2_bytes(), dtype=torch.uint8, device="cuda").zero_


@lru_cache(maxsize=1)
def l2_bytes() -> int:
    """Of the device's cache."""
    return int(torch.cuda.get_device_properties().L2_cache_size)


def fastest(clock: Clock, call: Callable[[], object], calls: int = 1) -> float:
    """Seconds of the fastest of a few calls."""
    clock.block(lambda _: call(), [None])
    found: list[float] = []
    while len(found) < _REPEATS or sum(found) < _LOOK:
        found.append(clock.block(lambda _: call(), [None] * calls))
    return min(found) / calls


def _clock(device: str) -> Clock:
    return CudaClock(torch.cuda, waits=False) if device == "cuda" else HostClock()
