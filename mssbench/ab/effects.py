"""From the samples of pairs of processes to the effect of each pair: the evidence of `ab`."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median

from mssbench.ab.duel import ArmSamples
from mssbench.ab.statistics import Evidence
from mssbench.records.noise import DISTURBED
from mssbench.records.timing import quantile

BASE, NEW, NULL = "base", "new", "null"
# The share of processor time in the wall time of a call. Below _BUSY other work ran on the core;
# below _IDLE the call itself waits, as for a device.
_BUSY, _IDLE = 0.97, 0.5
# Other work meets both sides, so that their shares differ by less; a larger difference means that
# one side waits by itself.
_ALIKE = 0.05
PairSamples = Mapping[str, ArmSamples]  # the samples of each arm in one pair of processes


def evidence_of(
    screen: Sequence[PairSamples],
    confirm: Sequence[PairSamples],
    arm: str,
    device: str,
    limit: float | None = None,
) -> Evidence | None:
    """What the pairs say about an arm, compared with base; None where a pair lacks samples.

    limit: the factor by which a person lets the time of this row grow, see Evidence.
    """
    pairs = [[p for p in taken if arm in p] for taken in (screen, confirm)]
    every = [*pairs[0], *pairs[1]]
    if not pairs[0] or not all(timed(p, arm) for p in every):
        return None
    effects = [tuple(effect(p[BASE], p[arm], device) for p in taken) for taken in pairs]
    window = median(quantile(sorted(p[BASE].seconds), 0.25) * p[BASE].calls for p in every)

    # Only disturbances of base count, as new may have caused those that it alone met.
    disturbed = median(bool(p[BASE].flags & DISTURBED) for p in every) > 0
    return Evidence(effects[0], effects[1], window, device, limit, disturbed)


def timed(pair: PairSamples, arm: str) -> bool:
    """Whether a pair has samples of base and of this arm."""
    return all(name in pair and pair[name].seconds for name in (BASE, arm))


def effect(base: ArmSamples, new: ArmSamples, device: str) -> float:
    """The logarithm of the ratio of the lower quartiles of two sides.

    Wall time counts, or processor time where other work shared the core. Processor time does not
    contain other work, nor the time for which a method waits. If the calls of only one side
    leave the core, wall time counts.
    """
    shares = [_share(t) for t in (base, new)]
    taken = _IDLE < min(shares) < _BUSY and max(shares) - min(shares) < _ALIKE
    if device == "cpu" and taken:
        return log(quantile(sorted(new.cpu), 0.25) / quantile(sorted(base.cpu), 0.25))
    return log(quantile(sorted(new.seconds), 0.25) / quantile(sorted(base.seconds), 0.25))


def _share(taken: ArmSamples) -> float:
    """The share of processor time in wall time, of the median sample."""
    return median(c / s for c, s in zip(taken.cpu, taken.seconds, strict=True))
