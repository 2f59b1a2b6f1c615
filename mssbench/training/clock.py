"""Measure the time of training steps, and the part of it in the root."""

from collections.abc import Callable
from time import perf_counter, process_time
from typing import Any

import torch

from mssbench.training.network import Network


def clock_of(network: Network) -> Callable[[], float]:
    """Return what reads the time: processor time, or elapsed time once the GPU has finished."""
    if network.device.type != "cuda":
        return process_time

    def finished() -> float:
        torch.cuda.synchronize(network.device)
        return perf_counter()

    return finished


class RootTimer:
    """Measures the time of the forwards of a network's pooling. clock: see `clock_of`."""

    def __init__(self, network: Network, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds, self._begun = 0.0, 0.0
        self._hooks = [
            network.pooling.register_forward_pre_hook(self._before),
            network.pooling.register_forward_hook(self._after),
        ]

    def _before(self, *_: Any) -> None:
        self._begun = self._clock()

    def _after(self, *_: Any) -> None:
        self._seconds += self._clock() - self._begun

    def stop(self) -> float:
        """Return the seconds so far, and measure no more."""
        for hook in self._hooks:
            hook.remove()
        return self._seconds
