"""From the samples of pairs of processes to what they say of one row: `ab`'s evidence."""

from collections.abc import Mapping, Sequence
from math import log
from statistics import median

from mssbench.ab.duel import Taken
from mssbench.ab.statistics import Evidence
from mssbench.records.noise import DISTURBED
from mssbench.records.timing import quantile

BASE, NEW, NULL = "base", "new", "null"
_BUSY, _IDLE = 0.97, 0.5  # of the wall, the processor time of a call: below it something else ran
_ALIKE = 0.05  # of two such shares: other work meets both sides, a wait of one is its own
Taking = Mapping[str, Taken]  # what each arm gave in one pair of processes


def evidence_of(
    screen: Sequence[Taking], confirm: Sequence[Taking], arm: str, device: str,
    limit: float | None = None,
) -> Evidence | None:  # fmt: skip
    """What the pairs say of an arm against base; None where one of them has no samples.

    limit: the factor that somebody allows this row, see Evidence.
    """
    pairs = [[p for p in taken if arm in p] for taken in (screen, confirm)]
    every = [*pairs[0], *pairs[1]]
    if not pairs[0] or not all(timed(p, arm) for p in every):
        return None
    effects = [tuple(effect(p[BASE], p[arm], device) for p in taken) for taken in pairs]
    window = median(quantile(sorted(p[BASE].seconds), 0.25) * p[BASE].calls for p in every)
    # base's: what new alone meets may be its own doing
    disturbed = median(bool(p[BASE].flags & DISTURBED) for p in every) > 0
    return Evidence(effects[0], effects[1], window, device, limit, disturbed)


def timed(pair: Taking, arm: str) -> bool:
    """Whether a pair has samples of base and of this arm."""
    return all(name in pair and pair[name].seconds for name in (BASE, arm))


def effect(base: Taken, new: Taken, device: str) -> float:
    """Ln of the ratio of the lower quartiles: of wall time, or where a core was taken, of its own.

    Time of the processor knows nothing of other work, but neither of a method that waits: where
    only one side's calls leave the core, the wall is what counts.
    """
    shares = [_share(t) for t in (base, new)]
    taken = _IDLE < min(shares) < _BUSY and max(shares) - min(shares) < _ALIKE
    if device == "cpu" and taken:
        return log(quantile(sorted(new.cpu), 0.25) / quantile(sorted(base.cpu), 0.25))
    return log(quantile(sorted(new.seconds), 0.25) / quantile(sorted(base.seconds), 0.25))


def _share(taken: Taken) -> float:
    """Of the wall, the processor time of a sample in the middle."""
    return median(c / s for c, s in zip(taken.cpu, taken.seconds, strict=True))
