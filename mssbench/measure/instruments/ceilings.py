"""Measure the ceilings of the machine: product throughput, bandwidth and launch rate.

A ceiling is the highest rate that was reached: in the best of a few calls, and so far in this
process. Datasheets are not used. A ceiling that cannot be measured, for lack of memory, is unknown;
no cell fails for that.
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

# Least seconds and number of repetitions of each measurement: other work disturbs some of them, and
# the best one counts.
_LOOK = 0.02
_REPEATS = 5
# Size of the matrices of the product, and bytes of the copy: large enough that neither caches nor
# launches matter, small enough to be measured in a tenth of a second.
_SIZE = {"cpu": 512, "cuda": 8192}
_BYTES = {"cpu": 2**26, "cuda": 2**31}
_SHARE = 8  # one array takes at most 1/8 of the free memory


class Ceilings:
    """The highest rates (ceilings) of each device that were measured so far in this process.

    They are flop/s of products, bytes per second of a copy, and calls per second of an operation on
    one number, see `measure`.
    """

    def __init__(self) -> None:
        self._best: dict[str, dict[str, float]] = {}

    def best(self, device: str, precision: str, spent: Spent) -> Mapping[str, float]:
        """Return the best ceilings so far, measured now if necessary; empty where that failed.

        spent: collects the seconds of measuring.
        """
        if precision not in self._best.get(device, {}):
            start = time.perf_counter()
            self.measure(device, precision)
            spent.ceilings += time.perf_counter() - start
        return self._best.get(device, {})

    def measure(self, device: str, precision: str = "float32") -> dict[str, float]:
        """Measure the ceilings of a device, and return them by name; empty if memory is too small.

        `bytes_per_second` of a copy, read and written; `calls_per_second` of an operation on one
        number; and, under the name of the precision, flop/s of one large product.
        """
        try:
            measured = _measured(device, precision)
        except Exception:  # out of memory, which has many error classes, or a lost device
            return {}
        finally:
            if device == "cuda":
                torch.cuda.empty_cache()  # returns the memory, which the methods need

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
    """Return the free memory in bytes, including what torch keeps in reserve."""
    if device != "cuda":
        return int(psutil.virtual_memory().available)
    torch.cuda.empty_cache()
    return int(torch.cuda.mem_get_info()[0])


@lru_cache(maxsize=1)
def flush() -> Callable[[], object]:
    """Return a function that flushes the device's L2 cache, by writing twice its size.

    The buffer is allocated once, because that can take a second.
    """
    return torch.empty(2 * l2_bytes(), dtype=torch.uint8, device="cuda").zero_


@lru_cache(maxsize=1)
def l2_bytes() -> int:
    """Return the size of the device's L2 cache in bytes."""
    return int(torch.cuda.get_device_properties().L2_cache_size)


def fastest(clock: Clock, call: Callable[[], object], calls: int = 1) -> float:
    """Return the seconds per call of the fastest of a few blocks.

    calls: number of calls in a block.
    """
    clock.block(lambda _: call(), [None])
    seconds: list[float] = []
    while len(seconds) < _REPEATS or sum(seconds) < _LOOK:
        seconds.append(clock.block(lambda _: call(), [None] * calls))
    return min(seconds) / calls


def _clock(device: str) -> Clock:
    return CudaClock(torch.cuda, waits=False) if device == "cuda" else HostClock()
