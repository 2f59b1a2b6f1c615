"""Measure the unit of the column `gemms`: one batched product of a cell's shape."""

import time
from math import inf
from typing import Any

import torch

from mssbench import arrays
from mssbench.arrays import Array
from mssbench.measure.instruments.ceilings import fastest, flush
from mssbench.measure.instruments.clocks import (
    MOST_QUEUED,
    Clock,
    CudaClock,
    GraphClock,
    HostClock,
    synchronizer,
)
from mssbench.measure.instruments.sampling import Spent, nothing, sample
from mssbench.records.cell import COLD, GPU, GRAPH, WALL, Cell
from mssbench.records.policy import Policy

_LIFE = 30.0  # seconds after which it is measured again, as machines change within minutes
# Seconds of its samples: enough for hundreds of products, and a small part of any run.
_MOST_SECONDS = 0.1


class ProductTimes:
    """Measures the seconds of one batched product of a shape, the unit of the column `gemms`.

    The product is computed by torch, whatever the library of a cell, so that libraries can be
    compared. It is timed by the clock and with the state of the cache that the row has. Cells of
    one shape that are measured within half a minute share one measurement.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[float, float]] = {}  # time of measuring, seconds

    def seconds(
        self, cell: Cell, clock: str, cache: str, policy: Policy, spent: Spent
    ) -> float | None:
        """Return the seconds of a product of the cell's shape; None where it cannot be measured.

        spent: collects the seconds of measuring.
        """
        key = (cell.device, cell.precision, cell.size, cell.batch, clock, cache)
        start = time.perf_counter()

        when, seconds = self._known.get(key, (-inf, 0.0))
        if start - when < _LIFE:
            return seconds

        try:
            brief = policy.within(_MOST_SECONDS / max(_MOST_SECONDS, policy.max_seconds))
            seconds = _product_seconds(cell, clock, cache, brief)
        except Exception:
            return None
        finally:
            spent.ceilings += time.perf_counter() - start

        self._known[key] = start, seconds
        return seconds


def _product_seconds(cell: Cell, clock: str, cache: str, policy: Policy) -> float:
    dtype = getattr(torch, arrays.STORAGE[cell.precision])
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(cell.batch, cell.size, cell.size, generator=generator).to(cell.device, dtype)
    out = torch.empty_like(x)

    def product(_: Any) -> Array:
        return torch.bmm(x, x, out=out)

    with torch.inference_mode():
        product(None)
        synchronizer(cell.device)()
        first = fastest(HostClock(synchronizer(cell.device)), lambda: product(None))

        timer: Clock = HostClock(synchronizer(cell.device))
        if clock == GPU:
            timer = CudaClock(torch.cuda, flush() if cache == COLD else None, waits=False)
        elif clock == GRAPH:
            timer = GraphClock(torch.cuda, product, None)
        most = 1 if cache == COLD else 10_000 if clock == WALL else MOST_QUEUED
        timing = sample(timer, nothing, product, policy, first_call=first, most_calls=most)
    return float(timing.statistics()["seconds_median"])
