"""How far a time can be trusted: a class per row, from its samples and from what disturbed them."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from mssbench.records.timing import quantile

# Flags that say that something else used the machine, or that the machine changed its speed.
DISTURBED = frozenset({"clock_low", "loaded", "queue_gap", "shared_gpu", "throttled"})
ABOVE_CEILING = "above_ceiling"  # faster than can be, on a machine that was busy
UNVERIFIED = "unverified"  # of an input whose reference is not known well enough to judge a method
# of a library that computed in a wider precision than the row's, so that neither its time nor its
# error is that of the precision
OTHER_PRECISION = "other_precision"
LEFT_CHANGES = "left_changes"  # of a method that changed what others would have met
MEANING = {
    "clock_low": "the GPU's clock was below 0.9 of its highest under load",
    "loaded": "more was running than the machine has cores",
    "queue_gap": "the device may have waited for the host in more than one of twenty samples; so "
    "in all where a call has more than about 1000 launches, which is what a driver queues",
    "shared_gpu": "another process computed on the GPU",
    "throttled": "power or temperature slowed the GPU",
    "unwatched": "no NVML to ask whether the GPU slowed: pip install nvidia-ml-py",
    "remeasured": "taken again, because of what disturbed an attempt before",
    "clock_order": "a device took longer than its caller waited, or a replay than the calls",
    LEFT_CHANGES: "the method changed settings of its process, which the reason names: they were "
    "put back before the next cell, or that one got another process",
    ABOVE_CEILING: "faster than the machine's ceilings allow, but other work ran: cannot win",
    UNVERIFIED: "the error of the reference itself exceeds the limit of errors: no method is "
    "ranked on these matrices",
    OTHER_PRECISION: "the library computed in another precision than the row's, see the column "
    "computed_in: cannot win",
}


class Noise(StrEnum):
    """Which difference from another row would mean something."""

    QUIET = "quiet"  # 3 %
    NOISY = "noisy"  # 10 %
    UNSTABLE = "unstable"  # none, in a table; `ab` looks at pairs of processes


DELTA = {Noise.QUIET: 0.03, Noise.NOISY: 0.10}
# Where rows are only shown side by side even an unstable one may be told from another, if by much.
SHOWN_DELTA = DELTA | {Noise.UNSTABLE: 0.30}
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


SPOILT = 0.50  # of the same: half of it went to something else, and no two times compare
DRIFTED = 0.10  # of a ceiling between the start and the end of a run: its times compare badly
