"""`Policy`, the stopping rule of sampling: minimum and maximum time, samples and precision."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from mssbench.records.timing import StopReason, median_interval, quantile

# Seconds per sample below which differences come from the resolution of the clock, not the call.
_RESOLUTION = 0.5e-6


@dataclass(frozen=True)
class Policy:
    """When to stop sampling: how many samples a row gets, each the time of a block of calls.

    Sampling ends when both minima are reached and the median is precise enough, or at a maximum.
    """

    min_seconds: float = 0.2  # total of the timed calls
    min_samples: int = 20
    max_seconds: float = 2.0  # wall time, including the preparation of calls; see also `few`
    max_samples: int = 1000
    interval: float = 0.02  # half width of the 95 % interval of the median, relative to the median
    warmup_seconds: float = 0.05
    block_seconds: float = 1e-3  # shortest sample: the overhead of the clock is then negligible
    passes: int = 2  # over all cells, in random order: shows how times change within minutes

    # Samples that even the slowest call gets beyond `max_seconds`: enough for a median and a rough
    # idea of its spread.
    few = 3

    def part(self) -> "Policy":
        """Return the policy of one of the passes over all cells, which together meet this policy.

        The interval of the median shrinks with the square root of the number of samples, so that in
        one pass it may be wider by the factor √passes.
        """
        return replace(
            self,
            min_seconds=self.min_seconds / self.passes,
            min_samples=ceil(self.min_samples / self.passes),
            max_seconds=self.max_seconds / self.passes,
            max_samples=ceil(self.max_samples / self.passes),
            interval=self.interval * self.passes**0.5,
        )

    def within(self, share: float) -> "Policy":
        """Return the policy with its times multiplied by `share`, for a run with a time limit.

        share: between 0 and 1. The numbers of samples stay; a cell that runs out of time stops with
        `few` of them.
        """
        return replace(
            self,
            min_seconds=self.min_seconds * share,
            max_seconds=self.max_seconds * share,
            warmup_seconds=self.warmup_seconds * share,
        )

    def stop(
        self, ordered: Sequence[float], timed: float, wall: float, calls: int = 1
    ) -> StopReason | None:
        """Return why sampling may end now, or None if more samples are needed.

        ordered: sorted samples, in seconds per call. timed: total seconds of the samples. wall:
        seconds since the first sample began. calls: number of calls per sample.
        """
        count = len(ordered)
        if count >= self.max_samples:
            return StopReason.SAMPLES
        if max(timed, wall) >= self.max_seconds:
            return StopReason.TIME if count >= min(self.few, self.min_samples) else None
        if count < self.min_samples or timed < self.min_seconds:
            return None

        low, high = median_interval(count)
        close = (ordered[high] - ordered[low]) / 2
        limit = max(self.interval * quantile(ordered, 0.5), _RESOLUTION / calls)
        return StopReason.PRECISION if close <= limit else None

    def calls(self, call: float, prepare: float, most: int) -> int:
        """Return the number of calls per sample.

        It is large enough for a sample to last `block_seconds`, but small enough for `min_samples`
        samples within `max_seconds`, and at most `most`. call, prepare: seconds of one call, and of
        preparing its input.
        """
        wanted = ceil(self.block_seconds / call) if call > 0 else most
        room = self.max_seconds / max(self.min_samples, 1)
        fit = int(room / (call + prepare)) if call + prepare > 0 else most
        return max(1, min(wanted, fit, most))
