"""What `ab` took of every row -> the verdict of each, and what all of them come to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import exp, inf, isfinite, log
from statistics import fmean
from typing import Any, NamedTuple

from mssbench.ab import statistics
from mssbench.ab.duel import Contest
from mssbench.ab.effects import BASE, NEW, NULL, Taking, evidence_of, timed
from mssbench.ab.statistics import Evidence, Null
from mssbench.compare import rows as rows_
from mssbench.compare.rows import Change, Pair, alone, other_input
from mssbench.compare.verdict import BY_TIME, QUIET, Outcome, Verdict, outcome
from mssbench.records.cell import Cell
from mssbench.records.facts import releases, versions_agree
from mssbench.records.measurement import Status
from mssbench.records.noise import Noise
from mssbench.records.timing import quantile
from mssbench.results.labels import label
from mssbench.suite.thresholds import COMPARED, TIMES, Rule, chosen

_CALM = "stop what else is running, and compare again"
_MOST_UNSTABLE = 0.2  # of the rows, before no verdict of the run means anything
INTERRUPTED = "stopped before the end"


@dataclass
class Notes:
    """What was taken of one contest, pair after pair."""

    contest: Contest
    rules: tuple[Rule, ...] = ()  # limits that people set, of all rows
    screen: list[Taking] = field(default_factory=list)
    confirm: list[Taking] = field(default_factory=list)

    @property
    def every(self) -> list[Taking]:
        """Of both stages."""
        return [*self.screen, *self.confirm]

    @property
    def failed(self) -> bool:
        """Whether a pair had no samples of both sides: one more would have none either."""
        return not all(timed(p, NEW) for p in self.every)

    @property
    def device(self) -> str:
        """On which it is measured."""
        return self._cell.device

    @property
    def _cell(self) -> Cell:
        return self.contest.cells.get(NEW) or self.contest.cells[BASE]

    def evidence(self, arm: str) -> Evidence | None:
        """What the pairs say of an arm against base."""
        return evidence_of(self.screen, self.confirm, arm, self.device, self._limit())

    def _limit(self) -> float | None:
        """By what factor its time may grow, where somebody said so."""
        method = label(vars(self._cell))
        rule = chosen(self.rules, COMPARED, method)
        return max(rule.factor, exp(statistics.SCREEN)) if rule else None  # less is not looked at

    def answers(self, rule: Rule) -> bool:
        """Whether the rule limits something here: its method was measured, and has the number."""
        row, method = self.row(BASE), label(vars(self._cell))
        if row is None or not rule.covers(method):
            return False
        return row.get("seconds_q1" if rule.column in TIMES else rule.column) is not None

    @property
    def faltered(self) -> str:
        """Why base gave no answer in a later pair, after it had given one."""
        first, *later = [rows_.failed(Status(p[BASE].row["status"])) for p in self.every
                         if BASE in p] or [True]  # fmt: skip
        if first or not any(later):
            return ""
        return str((self.row(BASE) or {})["reason"]) or "it failed"

    def gates(self) -> tuple[Rule, ...]:
        """The rules that are not about time."""
        return tuple(r for r in self.rules if r.column not in TIMES)

    def row(self, arm: str) -> dict[str, Any] | None:
        """What an arm gave first, with its times; None for an arm that does not take part."""
        taken = [p[arm] for p in self.every if arm in p]
        if not taken:
            return None
        row = dict(taken[0].row)
        failed = next((t.row for t in taken if rows_.failed(Status(t.row["status"]))), None)
        if failed is not None:  # in a later pair
            row |= {"status": failed["status"], "reason": failed["reason"]}
        seconds = sorted(s for t in taken for s in t.seconds)
        if seconds:
            row |= {"seconds_median": quantile(seconds, 0.5), "seconds_q1": quantile(seconds, 0.25)}
        return row | {"method": label(row)}


@dataclass(frozen=True)
class Result:
    """What became of every row, what the null arm says, and what both come to."""

    changes: tuple[Change, ...]
    null: Null
    null_rows: int
    doubts: tuple[str, ...]  # why no time may be trusted
    outcome: Outcome
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of each arm's process
    remarks: tuple[str, ...] = ()  # what was not compared, and what else a reader should know
    look: tuple[Change, ...] = ()  # nothing was confirmed, but chance alone is unlikely

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return Counter(str(c.verdict) for c in self.changes)


def conclude(
    notes: Mapping[str, Notes], facts: Mapping[str, Mapping[str, Any]], ended: str = ""
) -> Result:
    """Every contest with its verdict: what both sides gave first, then their times.

    ended: why, where it did before it was complete; INTERRUPTED if somebody wanted that. Then only
    what was taken is judged, none of it by time, and it is no pass: what was left out may be what
    ended it.
    """
    notes = {k: n for k, n in notes.items() if n.screen}
    evidence, nulls = (
        statistics.together({k: e for k, n in notes.items() if (e := n.evidence(arm)) is not None})
        for arm in (NEW, NULL)
    )
    machines, verdicts = _Machines.of(facts), statistics.verdicts(evidence)
    rows = {}
    for key, note in notes.items():
        pair = Pair(note.row(BASE), note.row(NEW))
        times = _by_time(pair, evidence[key], verdicts[key]) if key in evidence else None
        rows[key] = _judged(pair, times, note, machines)
    null = statistics.null(nulls)
    doubts = (ended,) if ended else tuple(_doubts(null, nulls, evidence))
    if doubts:  # then what was found in new might be found in base as well, unless it is far more
        beyond = null.floor * (2 if null.confirmed else 1) if nulls and not ended else inf
        rows = {k: _doubted(c, doubts[0], beyond) for k, c in rows.items()}
    changes = tuple(rows.values())
    counted = Counter(str(c.verdict) for c in changes)
    faltered = any(note.faltered for note in notes.values())
    came = outcome(counted, len(evidence), doubtful=bool(doubts) or faltered)
    if ended and came in (Outcome.PASS, Outcome.UNCLEAR):
        came = Outcome.BROKEN
    silent = {k: e for k, e in evidence.items() if rows[k].verdict in (*QUIET, Verdict.UNCLEAR)}
    look = () if doubts else tuple(rows[k] for k in statistics.worth_a_look(silent))
    return Result(
        changes, null, len(nulls), doubts,
        Outcome.INTERRUPTED if ended == INTERRUPTED else came,
        facts, tuple(_remarks(changes, machines)), look,
    )  # fmt: skip


class _Machines(NamedTuple):
    """What the two sides have in common."""

    counts: bool  # the releases of the array libraries: a call is made of the same parts
    rounding: bool  # whatever else decides how a sum is rounded: BLAS, Python, other packages
    releases: tuple[dict[str, str], dict[str, str]]

    @staticmethod
    def of(facts: Mapping[str, Mapping[str, Any]]) -> "_Machines":
        base, new = (facts.get(name, {}) for name in (BASE, NEW))
        counts = versions_agree(base, new)
        alike = all(_packages(base, k) == _packages(new, k) for k in ("versions", "blas", "python"))
        return _Machines(counts, counts and alike, (releases(base), releases(new)))


def _packages(facts: Mapping[str, Any], name: str) -> Any:
    """Versions of everything but mssbench, which is what may differ."""
    found = facts.get(name)
    return {k: v for k, v in found.items() if k != "mssbench"} if isinstance(found, dict) else found


def _doubts(
    null: Null, nulls: Mapping[str, Evidence], timed: Mapping[str, Evidence]
) -> Iterator[str]:
    """Why no time of the run may be trusted."""
    if null.doubtful:
        yield null.doubtful
    if timed and not nulls:
        yield "base was held against itself in no row"
    unstable = sum(e.noise is Noise.UNSTABLE for e in timed.values())
    if unstable > _MOST_UNSTABLE * len(timed):
        yield f"{unstable} of {len(timed)} rows are unstable: too much else is running"


def _doubted(change: Change, why: str, beyond: float) -> Change:
    """A change that a doubt voids: it does, unless the whole interval lies beyond.

    beyond: what base against itself exceeds once in twenty, as the logarithm of a ratio.
    """
    if change.verdict is Verdict.SAME:
        return replace(change, verdict=Verdict.UNFLAGGED, reason=f"{change.reason}, but {why}")
    if change.verdict not in BY_TIME:
        return change
    ends = [abs(log(x)) for x in (change.low, change.high) if x is not None]
    if len(ends) == 2 and min(ends) > beyond:
        return change
    reason = f"{change.reason}, but {why}"
    return replace(change, verdict=Verdict.UNCLEAR, reason=reason, advice=_CALM)


def _remarks(changes: tuple[Change, ...], machines: _Machines) -> Iterator[str]:
    both = [c.pair for c in changes if c.pair.base is not None and c.pair.new is not None]
    if not both:
        return
    base, new = machines.releases
    if not machines.counts:
        differ = ", ".join(f"{k} {base[k]} -> {new[k]}" for k in base if base[k] != new[k])
        yield f"counts were not compared: {differ or 'releases of the libraries are not known'}"
    hashes = [tuple((side or {}).get("code_hash") for side in pair) for pair in both]
    same_method = all(pair[0]["method"] == pair[1]["method"] for pair in both)  # type: ignore[index]
    if machines.rounding and same_method and all(a and a == b for a, b in hashes):
        yield "the file of every method is the same on both sides, and so are the libraries"


def _judged(pair: Pair, times: Change | None, note: Notes, machines: _Machines) -> Change:
    """By status, errors and counts; where these are silent by time."""
    if (change := alone(pair)) is not None:
        return replace(change, advice="")
    assert pair.base is not None
    assert pair.new is not None
    if other_input(pair):
        return Change(pair, Verdict.INCOMPARABLE, "base and new were given other inputs")
    if note.faltered:
        return Change(pair, Verdict.UNCLEAR, f"base failed in a later pair: {note.faltered}", _CALM)
    if found := rows_.by_status(pair.base, pair.new):
        return Change(pair, *found)
    # other methods make other work of it, and nobody calls that worse
    same = pair.base["method"] == pair.new["method"]
    worse = list(rows_.breaches(
        pair.base, pair.new, pair.new["method"], note.gates(),
        same_machine=same and machines.rounding, counts=same and machines.counts,
    ))  # fmt: skip
    # ok in both at first, and later one of them did not answer
    times = times or Change(pair, Verdict.BROKEN, "a pair of processes gave no time")
    if worse:
        return replace(times, verdict=Verdict.WORSE, reason="; ".join(b.sentence for b in worse),
                       advice="")  # fmt: skip
    return times


def _by_time(pair: Pair, e: Evidence, verdict: Verdict) -> Change:
    # of a single pair nobody knows how far the next would be off
    low, high = (exp(x) if isfinite(x) else None for x in e.interval())
    ratio = exp(fmean(e.effects))
    pairs = f"{len(e.screen)} pairs" + (f" and {len(e.confirm)} fresh ones" if e.confirm else "")
    within = "3 %" if e.limit is None else f"the {100 * (e.limit - 1):.0f} % allowed"
    reason = {
        Verdict.SLOWER: f"flagged and confirmed in {pairs}",
        Verdict.FASTER: f"flagged and confirmed in {pairs}",
        Verdict.SAME: f"the whole interval is within {within}, in {pairs}",
        Verdict.UNFLAGGED: f"nothing stood out in {pairs}",
        Verdict.UNCLEAR: f"flagged, and not confirmed to exceed "
        f"{100 * (exp(e.delta) - 1):.0f} %, in {pairs}",
    }[verdict]
    advice = _CALM if verdict is Verdict.UNCLEAR else ""
    least = statistics.detectable(e)
    each = tuple(exp(x) for x in (*e.screen, *e.confirm))
    return Change(pair, verdict, reason, advice, ratio, low, high, least, each)
