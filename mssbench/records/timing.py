"""Samples of a time, and the statistics that a row has of them."""

from collections.abc import Sequence
from enum import StrEnum
from math import sqrt
from typing import Any, NamedTuple


class Stop(StrEnum):
    """Why sampling ended."""

    PRECISION = "precision"  # the interval of the median is as narrow as asked
    TIME = "max_seconds"
    SAMPLES = "max_samples"


class Timing(NamedTuple):
    """Seconds per call: raw samples, and how they were taken."""

    samples: tuple[float, ...]
    calls: int  # invocations inside one sample
    first_call: float  # the very first call, with everything it loads or compiles
    stop: Stop = Stop.PRECISION

    def statistics(self) -> dict[str, Any]:
        """The time columns. Nothing is discarded: the samples are kept beside them."""
        x = sorted(self.samples)
        low, high = median_interval(len(x))
        return {
            "seconds_min": x[0],
            "seconds_q1": quantile(x, 0.25),
            "seconds_median": quantile(x, 0.5),
            "seconds_q3": quantile(x, 0.75),
            "seconds_low": x[low],
            "seconds_high": x[high],
            "samples": len(x),
            "calls": self.calls,
            "stop": str(self.stop),
            "passes": 1,
            "first_call_seconds": self.first_call,
        }


def quantile(ordered: Sequence[float], q: float) -> float:
    """Linear between the two nearest order statistics."""
    position = q * (len(ordered) - 1)
    i = int(position)
    j = min(i + 1, len(ordered) - 1)
    return ordered[i] + (ordered[j] - ordered[i]) * (position - i)


def median_interval(count: int) -> tuple[int, int]:
    """Indices of the order statistics that hold the median with at least 95 % confidence.

    The number of samples below the median has the binomial law B(N, 1/2). Its quantile of 2.5 % is
    taken from the normal law with a correction for continuity, (N - 1) / 2 - 0.98 √N, and rounded
    outwards. With fewer than 6 samples no such pair exists and the interval is the whole range.
    """
    low = max(int((count - 1) / 2 - 0.98 * sqrt(count)), 0)
    return low, count - 1 - low
