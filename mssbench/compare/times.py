"""One row of two runs: the verdict that their times allow, from intervals and never from points."""

from dataclasses import replace

from mssbench import units
from mssbench.compare.rows import Change, Pair
from mssbench.compare.verdict import Verdict
from mssbench.records.measurement import Status
from mssbench.records.noise import DRIFTED, SHOWN_DELTA, Noise


def by_time(pair: Pair, drift: float) -> Change:
    """The change of two measured rows, by their times. drift: of the machine, during either run."""
    base, new = pair
    assert base is not None
    assert new is not None
    ok = base["status"] == new["status"] == Status.OK
    if not ok or not base["seconds_median"] or not new["seconds_median"]:
        return Change(pair, Verdict.UNFLAGGED, f"{base['status']} in both")
    ratio = new["seconds_median"] / base["seconds_median"]
    low, high = new["seconds_low"] / base["seconds_high"], new["seconds_high"] / base["seconds_low"]
    unstable = Noise.UNSTABLE in (base["noise"], new["noise"])
    delta = max(SHOWN_DELTA.get(row["noise"], SHOWN_DELTA[Noise.QUIET]) for row in (base, new))
    needed = (base["seconds_high"] / base["seconds_median"]) * (
        new["seconds_median"] / new["seconds_low"]
    )
    detectable = max(1 + delta, needed) - 1
    change = Change(pair, Verdict.UNFLAGGED, "", "", ratio, low, high, detectable)
    word = f"{units.ratio(max(ratio, 1 / ratio))} {'slower' if ratio > 1 else 'faster'}"
    limit = f"{100 * delta:.0f} %"
    if 1 / (1 + delta) <= ratio <= 1 + delta:
        if 1 / (1 + delta) <= low and high <= 1 + delta:
            return replace(change, verdict=Verdict.SAME, reason=f"within {limit}, all of it")
        told = f"a slowdown of {100 * detectable:.0f} % would have been told"
        return replace(change, reason=f"within {limit}, its interval is not; {told}")
    if low <= 1 <= high:
        return replace(change, verdict=Verdict.UNCLEAR, reason=f"{word}, but the intervals overlap",
                       advice=_AB)  # fmt: skip
    if unstable:
        return replace(change, verdict=Verdict.UNCLEAR, reason=f"{word}, but unstable",
                       advice="stop what else is running, and measure again")  # fmt: skip
    if min(base["passes"] or 1, new["passes"] or 1) < 2:
        why = f"{word}, but measured in one pass, which nothing was held against"
        return replace(change, verdict=Verdict.UNCLEAR, reason=why, advice=_AB)
    if drift > DRIFTED:
        why = f"{word}, but the machine itself changed by {100 * drift:.0f} % during a run"
        return replace(change, verdict=Verdict.UNCLEAR, reason=why, advice=_AB)
    verdict = Verdict.SLOWER if ratio > 1 else Verdict.FASTER
    return replace(change, verdict=verdict, reason=f"{word}, and the intervals lie apart")


_AB = "`mssbench ab` measures both in turn"
