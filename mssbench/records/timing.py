"""`Timing`, the samples of one row (times of blocks of calls), and their statistics."""

from collections.abc import Sequence
from enum import StrEnum
from math import sqrt
from typing import Any, NamedTuple


class StopReason(StrEnum):
    """Why sampling ended."""

    PRECISION = "precision"  # the interval of the median is narrow enough
    TIME = "max_seconds"  # the time limit was reached
    SAMPLES = "max_samples"  # the largest number of samples was reached


class Timing(NamedTuple):
    """All samples of one row, in seconds per call, and how they were taken.

    A sample is the time of a block of `calls` calls, divided by their number.
    """

    samples: tuple[float, ...]
    calls: int  # calls per sample
    first_call: float  # seconds of the first call, including what it loads or compiles
    stop: StopReason = StopReason.PRECISION

    def statistics(self) -> dict[str, Any]:
        """Return the time columns of a row. No sample is discarded as an outlier."""
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
    """Return the `q` quantile of sorted values, interpolated between the nearest two."""
    position = q * (len(ordered) - 1)
    i = int(position)
    j = min(i + 1, len(ordered) - 1)
    return ordered[i] + (ordered[j] - ordered[i]) * (position - i)


def median_interval(count: int) -> tuple[int, int]:
    """Return the indices, in sorted samples, that enclose the median with 95 % confidence.

    count: N, the number of samples. The number of samples below the median has the binomial
    distribution B(N, 1/2). Its 2.5 % quantile is taken from the normal distribution with a
    correction for continuity, (N - 1) / 2 - 0.98 √N, and rounded outwards, so that the confidence
    is at least 95 %. For fewer than 6 samples no such pair exists, and the interval is the whole
    range.
    """
    low = max(int((count - 1) / 2 - 0.98 * sqrt(count)), 0)
    return low, count - 1 - low
