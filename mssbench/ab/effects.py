"""Compute the effect of each pair of processes, log(time of new / time of base), from samples."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median

from mssbench.ab.duel import ArmSamples
from mssbench.ab.statistics import Evidence
from mssbench.records.noise import DISTURBED
from mssbench.records.timing import quantile

BASE, NEW, NULL = "base", "new", "null"
# Limits of processor time / wall time of a call. Below _BUSY other processes ran on the core; below
# _IDLE the call itself waits, for example for a device.
_BUSY, _IDLE = 0.97, 0.5
# Other load affects both sides alike, so that their ratios differ by less than this. A larger
# difference means that the calls of one side wait.
_ALIKE = 0.05
PairSamples = Mapping[str, ArmSamples]  # the samples of each arm in one pair of processes


def evidence_of(
    screen: Sequence[PairSamples],
    confirm: Sequence[PairSamples],
    arm: str,
    device: str,
    limit: float | None = None,
) -> Evidence | None:
    """Return the evidence on the time of an arm (one side) in one row, compared with base.

    None if a pair lacks samples. screen, confirm: the samples of the pairs of both stages. limit:
    the factor by which the time of this row may grow, if a user has set one.
    """
    pairs = [[p for p in stage if arm in p] for stage in (screen, confirm)]
    every = [*pairs[0], *pairs[1]]
    if not pairs[0] or not all(timed(p, arm) for p in every):
        return None

    effects = [tuple(effect(p[BASE], p[arm], device) for p in stage) for stage in pairs]
    window = median(quantile(sorted(p[BASE].seconds), 0.25) * p[BASE].calls for p in every)

    # Only disturbances of base count, as those of new alone may have been caused by new itself.
    disturbed = median(bool(p[BASE].flags & DISTURBED) for p in every) > 0
    return Evidence(effects[0], effects[1], window, device, limit, disturbed)


def timed(pair: PairSamples, arm: str) -> bool:
    """Whether a pair has samples of base and of this arm."""
    return all(name in pair and pair[name].seconds for name in (BASE, arm))


def effect(base: ArmSamples, new: ArmSamples, device: str) -> float:
    """Return log(q1 of new / q1 of base), q1 being the lower quartile of the seconds per call.

    Wall time is used unless other processes shared the core; then processor time is used, which
    excludes theirs. But processor time also excludes waiting, so wall time is used if the calls of
    only one side wait.
    """
    shares = [_share(samples) for samples in (base, new)]
    core_was_shared = _IDLE < min(shares) < _BUSY and max(shares) - min(shares) < _ALIKE
    if device == "cpu" and core_was_shared:
        return log(quantile(sorted(new.cpu), 0.25) / quantile(sorted(base.cpu), 0.25))
    return log(quantile(sorted(new.seconds), 0.25) / quantile(sorted(base.seconds), 0.25))


def _share(samples: ArmSamples) -> float:
    """Return the median over the samples of processor time / wall time."""
    return median(c / s for c, s in zip(samples.cpu, samples.seconds, strict=True))
