"""How noisy the times of a row are: from the scatter of its samples and from disturbances."""

from collections.abc import Collection, Sequence
from enum import StrEnum

from mssbench.records.timing import quantile

# Flags of rows during which other work used the machine, or the machine changed its speed.
DISTURBED = frozenset({"clock_low", "loaded", "queue_gap", "shared_gpu", "throttled"})
ABOVE_CEILING = "above_ceiling"  # faster than the machine's ceilings allow, on a busy machine
UNVERIFIED = "unverified"  # the error of the reference is too large to judge a method by it
# The library computed in a wider precision than the row's, so that neither time nor error is that
# of the row's precision.
OTHER_PRECISION = "other_precision"
STEP_ORDER = "step_order"  # see MEANING
LEFT_CHANGES = "left_changes"  # the method changed settings that later cells would have inherited
# What each flag means, as a clause for messages.
MEANING = {
    "clock_low": "the GPU's clock was below 0.9 of its highest under load",
    "loaded": "more was running than the machine has cores",
    "queue_gap": "the device may have waited for the host in more than one of twenty samples; a "
    "call with more than about 1000 launches, the length of a driver's queue, always has this flag",
    "shared_gpu": "another process computed on the GPU",
    "throttled": "power or temperature slowed the GPU",
    "unwatched": "NVML is missing, so it is unknown whether the GPU slowed: "
    "pip install nvidia-ml-py",
    "remeasured": "measured again, because the first attempt was disturbed",
    "clock_order": "the device time exceeds the wall time, or a graph replay the device time",
    STEP_ORDER: "the forward alone seems to take longer than a step that contains it: other work "
    "disturbed it",
    LEFT_CHANGES: "the method changed settings of its process, which the reason names: they were "
    "restored before the next cell, or that one got a new process",
    ABOVE_CEILING: "faster than the machine's ceilings allow, but other work ran: cannot win",
    UNVERIFIED: "the error of the reference itself exceeds the limit of errors: no method is "
    "ranked on these matrices",
    OTHER_PRECISION: "the library computed in a precision other than the row's, see the column "
    "computed_in: cannot win",
}


class Noise(StrEnum):
    """Class of a row: how large a relative difference in time must be to be more than noise."""

    QUIET = "quiet"  # 3 %
    NOISY = "noisy"  # 10 %
    UNSTABLE = "unstable"  # no difference counts; `ab` can still compare pairs of processes


DELTA = {Noise.QUIET: 0.03, Noise.NOISY: 0.10}  # the smallest relative difference that counts
# Where rows are only shown side by side, a large difference from an unstable row counts too.
SHOWN_DELTA = DELTA | {Noise.UNSTABLE: 0.30}
# Largest interquartile range over the median of each class. For quiet rows it is twice DELTA, the
# full width of an interval that reaches DELTA to both sides.
_WIDEST = {Noise.QUIET: 0.06, Noise.NOISY: 0.30}


def noise(samples: Sequence[float], spread: float, flags: Collection[str]) -> Noise:
    """Return the noise class of a row.

    samples: seconds per call. spread: relative difference between the medians of the row in the
    passes, in each of which all cells are measured once. flags: the flags of the row.
    """
    ordered = sorted(samples)
    middle = quantile(ordered, 0.5)
    width = (quantile(ordered, 0.75) - quantile(ordered, 0.25)) / middle if middle > 0 else 0.0

    for kind in (Noise.QUIET, Noise.NOISY):
        if width <= _WIDEST[kind] and spread <= DELTA[kind]:
            return Noise.NOISY if DISTURBED & set(flags) else kind
    return Noise.UNSTABLE


# Relative change of the ceilings during a run, see run.finish.drift. Beyond SPOILT half of the
# machine's speed came or went, and no two times are compared; beyond DRIFTED, the difference that
# counts for a noisy row, users are told that times compare badly.
SPOILT = 0.50
DRIFTED = 0.10
