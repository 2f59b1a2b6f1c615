"""The verdict that the stored times of two rows allow. It rests on intervals, not on medians."""

from dataclasses import dataclass

from mssbench import units
from mssbench.compare.judgement import Judgement, RowPair
from mssbench.compare.verdict import Verdict
from mssbench.records.measurement import AnyRow, Status
from mssbench.records.noise import DRIFTED, SHOWN_DELTA, Noise

_AB = "`mssbench ab` measures both in turn"
_NEEDED = ("seconds_median", "seconds_low", "seconds_high")
_FEWEST_PASSES = 2  # of a run: with a single pass nothing shows how far another one would be off


@dataclass(frozen=True)
class StoredTimes:
    """Gives the verdict on the times of two measured rows, as they were stored.

    drift: how much the machine changed during either run.
    """

    drift: float

    def __call__(self, pair: RowPair) -> Judgement:
        """The verdict on the times of a pair. Both rows must have been measured."""
        base, new = pair
        assert base is not None
        assert new is not None

        ok = base["status"] == new["status"] == Status.OK
        ends = [row[name] for row in (base, new) for name in _NEEDED]
        if not ok or not all(ends):
            return Judgement(pair, Verdict.UNFLAGGED, f"{base['status']} in both")

        ratio = new["seconds_median"] / base["seconds_median"]
        low = new["seconds_low"] / base["seconds_high"]
        high = new["seconds_high"] / base["seconds_low"]
        delta = max(SHOWN_DELTA.get(row["noise"], SHOWN_DELTA[Noise.QUIET]) for row in (base, new))
        detectable = _detectable(base, new, delta)

        def told(verdict: Verdict, reason: str, advice: str = "") -> Judgement:
            return Judgement(pair, verdict, reason, advice, ratio, low, high, detectable)

        # Too small to matter: it is the same if the whole interval is, too.
        if 1 / (1 + delta) <= ratio <= 1 + delta:
            limit = f"{100 * delta:.0f} %"
            if 1 / (1 + delta) <= low and high <= 1 + delta:
                return told(Verdict.SAME, f"within {limit}, all of it")
            found = f"a slowdown of {100 * detectable:.0f} % would have been found"
            return told(Verdict.UNFLAGGED, f"within {limit}, its interval is not; {found}")

        word = f"{units.ratio(max(ratio, 1 / ratio))} {'slower' if ratio > 1 else 'faster'}"
        if (unclear := self._unclear(base, new, overlap=low <= 1 <= high)) is not None:
            why, advice = unclear
            return told(Verdict.UNCLEAR, f"{word}, but {why}", advice)

        verdict = Verdict.SLOWER if ratio > 1 else Verdict.FASTER
        return told(verdict, f"{word}, and the intervals lie apart")

    def _unclear(self, base: AnyRow, new: AnyRow, *, overlap: bool) -> tuple[str, str] | None:
        """Why a difference is not confirmed, and what to do; None where it is confirmed."""
        if overlap:
            return "the intervals overlap", _AB
        if Noise.UNSTABLE in (base["noise"], new["noise"]):
            return "unstable", "stop what else is running, and measure again"
        if min(base["passes"] or 1, new["passes"] or 1) < _FEWEST_PASSES:
            return "measured in one pass, so that its repeatability is unknown", _AB
        if self.drift > DRIFTED:
            return f"the machine itself changed by {100 * self.drift:.0f} % during a run", _AB
        return None


def _detectable(base: AnyRow, new: AnyRow, delta: float) -> float:
    """The smallest slowdown that would be found between two such rows, 0.05 is 5 %."""
    upper = base["seconds_high"] / base["seconds_median"]
    lower = new["seconds_median"] / new["seconds_low"]
    return float(max(1 + delta, upper * lower) - 1)
