"""When a measurement is long enough."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from mssbench.records.timing import Stop, median_interval, quantile

_RESOLUTION = 0.5e-6  # seconds of a sample: below it, it is the clock's and not the call's


@dataclass(frozen=True)
class Policy:
    """When a measurement is enough: at least both minima, then precise or out of time."""

    min_seconds: float = 0.2  # of timed calls
    min_samples: int = 20
    max_seconds: float = 2.0  # of the wall, with what prepares a call; then `few` samples do
    max_samples: int = 1000
    interval: float = 0.02  # half of the 95 % interval of the median, relative to it
    warmup_seconds: float = 0.05
    block_seconds: float = 1e-3  # a sample shorter than this is mostly the clock's own error
    passes: int = 2  # over all cells, in random order: what a minute changes shows between them

    few = 3  # samples even of the slowest call: a median and some idea of its spread

    def part(self) -> "Policy":
        """What one pass measures, so that all of them together are this policy."""
        return replace(
            self,
            min_seconds=self.min_seconds / self.passes,
            min_samples=ceil(self.min_samples / self.passes),
            max_seconds=self.max_seconds / self.passes,
            max_samples=ceil(self.max_samples / self.passes),
            interval=self.interval * self.passes**0.5,
        )

    def within(self, share: float) -> "Policy":
        """The same in a part of its time, between 0 and 1, for a run that would not end in time.

        The numbers of samples stay: what cannot take so many in that time stops at `few` of them.
        """
        return replace(
            self,
            min_seconds=self.min_seconds * share,
            max_seconds=self.max_seconds * share,
            warmup_seconds=self.warmup_seconds * share,
        )

    def stop(
        self, ordered: Sequence[float], timed: float, wall: float, calls: int = 1
    ) -> Stop | None:
        """Why these samples may do, if they may.

        ordered: sorted seconds per call; timed: seconds of all of them; wall: since the first;
        calls: of one sample.
        """
        count = len(ordered)
        if count >= self.max_samples:
            return Stop.SAMPLES
        if max(timed, wall) >= self.max_seconds:
            return Stop.TIME if count >= min(self.few, self.min_samples) else None
        if count < self.min_samples or timed < self.min_seconds:
            return None
        low, high = median_interval(count)
        close = (ordered[high] - ordered[low]) / 2
        limit = max(self.interval * quantile(ordered, 0.5), _RESOLUTION / calls)
        return Stop.PRECISION if close <= limit else None

    def calls(self, call: float, prepare: float, most: int) -> int:
        """Calls of a sample: so many that it is no blink, so few that enough samples fit.

        call, prepare: seconds of one call, and of building what it consumes.
        """
        wanted = ceil(self.block_seconds / call) if call > 0 else most
        room = self.max_seconds / max(self.min_samples, 1)
        fit = int(room / (call + prepare)) if call + prepare > 0 else most
        return max(1, min(wanted, fit, most))
