"""What rows are held against, measured beside them: the unit of work, and the machine's ceilings.

A ceiling is what was reached once: the best of a few calls, and the best so far. No datasheet is
asked.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import torch

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.clock import Clock, CudaClock, HostClock, synchronizer
from mssbench.records import Cell
from mssbench.sampling import Policy, Spent, sample

_LOOK = 0.02  # seconds at least for each: other work comes and goes
_REPEATS = 5
# Large enough that neither a cache nor a launch decides, small enough for a tenth of a second.
_SIZE = {"cpu": 512, "cuda": 8192}  # of the product
_BYTES = {"cpu": 2**26, "cuda": 2**31}  # of the copy

Ceilings = dict[str, float]

_ANCHOR_LIFE = 30.0  # seconds after which the unit of work is measured again
_best: dict[str, Ceilings] = {}
_latest = [("cpu", "float32")]


def best(device: str, precision: str, spent: Spent) -> Ceilings:
    """The highest seen so far in this process; measured if none was."""
    _latest[0] = device, precision
    found = _best.get(device, {})
    if precision not in found:
        start = time.perf_counter()
        measure(device, precision)
        spent.anchors += time.perf_counter() - start
    return _best[device]


def latest() -> tuple[str, str]:
    """Device and precision of the cells that this process has measured of late."""
    return _latest[0]


def measure(device: str, precision: str) -> Ceilings:
    """Each ceiling by its name, measured now, with the device before it.

    `bytes_per_second` of a copy, read and written; `calls_per_second` of an operation on one
    number; and, under the precision's name, flop/s of one large product.
    """
    clock = _clock(device)
    dtype = getattr(torch, arrays.STORAGE[precision])
    n = _SIZE[device]
    with torch.inference_mode(), product_rule(precision):
        x = torch.randn(n, n, device=device).to(dtype)
        out = torch.empty_like(x)
        product = _fastest(clock, lambda: torch.mm(x, x, out=out))
        source = torch.zeros(_BYTES[device], dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy = _fastest(clock, lambda: target.copy_(source))
        one = torch.ones(1, device=device)
        call = _fastest(clock, lambda: one.add_(1), calls=100)
    found = {
        precision: 2.0 * n**3 / product,
        "bytes_per_second": 2.0 * source.nbytes / copy,
        "calls_per_second": 1 / call,
    }
    known = _best.setdefault(device, {})
    for name, value in found.items():
        known[name] = max(value, known.get(name, 0.0))
    return {f"{device} {name}": value for name, value in found.items()}


_anchors: dict[tuple[Any, ...], tuple[float, float]] = {}  # when, seconds


def anchor_seconds(cell: Cell, clock: str, policy: Policy, spent: Spent) -> float:
    """Seconds of one batched product of the cell's shape: the unit of the column `gemms`.

    torch's, whatever the cell's library, so that libraries compare. Shared by the cells of one
    shape that are measured within half a minute.
    """
    key = (cell.device, cell.precision, cell.size, cell.batch, clock)
    start = time.perf_counter()
    when, seconds = _anchors.get(key, (-inf, 0.0))
    if start - when < _ANCHOR_LIFE:
        return seconds
    dtype = getattr(torch, arrays.STORAGE[cell.precision])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(cell.batch, cell.size, cell.size, generator=generator).to(cell.device, dtype)
    out = torch.empty_like(x)

    def product(_: Any) -> Array:
        return torch.bmm(x, x, out=out)

    with torch.inference_mode():
        product(None)
        synchronizer(cell.device)()
        first = time.perf_counter() - start
        timer = HostClock(synchronizer(cell.device)) if clock == "wall" else CudaClock(torch.cuda)
        timing = sample(timer, _no_input, product, policy, first_call=first)
    seconds = float(timing.statistics()["seconds_median"])
    _anchors[key] = start, seconds
    spent.anchors += time.perf_counter() - start
    return seconds


def _no_input() -> None:
    """A product of the anchor's own consumes nothing."""


@contextmanager
def product_rule(precision: str) -> Iterator[None]:
    """TF32 for the cells that ask for it, and for no others."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _fastest(clock: Clock, call: Callable[[], object], calls: int = 1) -> float:
    clock.block(lambda _: call(), [None])
    found: list[float] = []
    while len(found) < _REPEATS or sum(found) < _LOOK:
        found.append(clock.block(lambda _: call(), [None] * calls))
    return min(found) / calls


def _clock(device: str) -> Clock:
    return CudaClock(torch.cuda) if device == "cuda" else HostClock()
