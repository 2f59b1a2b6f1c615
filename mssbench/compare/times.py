"""Judge the stored times of two rows, by their confidence intervals and not only by medians."""

from dataclasses import dataclass

from mssbench.compare.judgement import Judgement, RowPair
from mssbench.compare.verdict import Verdict
from mssbench.records import units
from mssbench.records.measurement import AnyRow, Status
from mssbench.records.noise import DRIFTED, SHOWN_DELTA, Noise

_AB = "use `mssbench ab`, which measures both alternately"
_NEEDED = ("seconds_median", "seconds_low", "seconds_high")
_FEWEST_PASSES = 2  # with a single pass the variation between passes is unknown


@dataclass(frozen=True)
class StoredTimes:
    """Judges the stored times of two measured rows.

    drift: how much the speed of the machine changed during a run, relative; the larger of the two.
    """

    drift: float

    def __call__(self, pair: RowPair) -> Judgement:
        """Return the judgement on the times of a pair. Both rows must have been measured."""
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

        def judged(verdict: Verdict, reason: str, advice: str = "") -> Judgement:
            return Judgement(pair, verdict, reason, advice, ratio, low, high, detectable)

        # The ratio is within the noise. It is the same only if its whole interval is as well.
        if 1 / (1 + delta) <= ratio <= 1 + delta:
            limit = f"{100 * delta:.0f} %"
            if 1 / (1 + delta) <= low and high <= 1 + delta:
                return judged(Verdict.SAME, f"the whole interval is within {limit}")
            sensitivity = f"a slowdown of {100 * detectable:.0f} % would have been detected"
            return judged(
                Verdict.UNFLAGGED, f"within {limit}, but its interval is not; {sensitivity}"
            )

        word = f"{units.ratio(max(ratio, 1 / ratio))} {'slower' if ratio > 1 else 'faster'}"
        if (unclear := self._unclear(base, new, overlap=low <= 1 <= high)) is not None:
            why, advice = unclear
            return judged(Verdict.UNCLEAR, f"{word}, but {why}", advice)

        verdict = Verdict.SLOWER if ratio > 1 else Verdict.FASTER
        return judged(verdict, f"{word}, and the intervals do not overlap")

    def _unclear(self, base: AnyRow, new: AnyRow, *, overlap: bool) -> tuple[str, str] | None:
        """Return why a difference is not confirmed, and what to do; None if it is confirmed."""
        if overlap:
            return "the intervals overlap", _AB
        if Noise.UNSTABLE in (base["noise"], new["noise"]):
            return "a time is unstable", "stop other processes, and measure again"
        if min(base["passes"] or 1, new["passes"] or 1) < _FEWEST_PASSES:
            return "measured in one pass, so that its repeatability is unknown", _AB
        if self.drift > DRIFTED:
            return f"the machine itself changed by {100 * self.drift:.0f} % during a run", _AB
        return None


def _detectable(base: AnyRow, new: AnyRow, delta: float) -> float:
    """Return the smallest slowdown that would be detected between two such rows; 0.05 is 5 %.

    delta: the relative difference that noise explains.
    """
    upper = base["seconds_high"] / base["seconds_median"]
    lower = new["seconds_median"] / new["seconds_low"]
    return float(max(1 + delta, upper * lower) - 1)
