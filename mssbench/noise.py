"""How far a time can be trusted: a class per row, from its samples and from what disturbed them."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from mssbench.records import quantile

# Flags that say that something else used the machine, or that the machine changed its speed.
DISTURBED = frozenset({"clock_low", "loaded", "shared_gpu", "throttled"})


class Noise(StrEnum):
    """Which difference from another row would mean something."""

    QUIET = "quiet"  # 3 %
    NOISY = "noisy"  # 10 %
    UNSTABLE = "unstable"  # none


DELTA = {Noise.QUIET: 0.03, Noise.NOISY: 0.10}
# Of the interquartile range over the median: twice the difference that it hides in one sample.
_WIDEST = {Noise.QUIET: 0.06, Noise.NOISY: 0.30}


def noise(samples: Sequence[float], spread: float, flags: Collection[str]) -> Noise:
    """The class of a row.

    samples: seconds; spread: how far apart the medians of its passes lie, relative; flags: those
    of the row.
    """
    ordered = sorted(samples)
    middle = quantile(ordered, 0.5)
    width = (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / middle if middle > 0 else 0.0
    for each in (Noise.QUIET, Noise.NOISY):
        if width <= _WIDEST[each] and spread <= DELTA[each]:
            return Noise.NOISY if DISTURBED & set(flags) else each
    return Noise.UNSTABLE
