"""`ab`: whether new is slower than base, from pairs of processes that are sampled in turn.

Three pairs screen every row; what stands out is confirmed in five fresh ones, started in the other
order. A third process runs base again for some rows: what the rule finds there, it would find
everywhere. See paired.py for the rule.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, log
from statistics import fmean, median
from typing import Any

from mssbench import gates, paired
from mssbench.compare import Change, Pair, alone, other_input, versions_agree
from mssbench.engines.duel import Arm, Contest, Duel, Stopped, Taken
from mssbench.engines.process import Setup
from mssbench.judgement import Outcome, Verdict, outcome
from mssbench.labels import label
from mssbench.noise import Noise, noise
from mssbench.paired import Evidence, Null
from mssbench.records import Cell, quantile

BASE, NEW, NULL = "base", "new", "null"
_BUSY, _IDLE = 0.97, 0.5  # of the wall, the processor time of a call: below it something else ran
_ALIKE = 0.05  # of two such shares: other work meets both sides, a wait of one is its own
_CALM = "stop what else is running, and compare again"
_MOST_UNSTABLE = 0.2  # of the rows, before no verdict of the run means anything


@dataclass(frozen=True)
class Plan:
    """What is compared, how the sides are started, and how often."""

    contests: tuple[Contest, ...]  # of base and new
    base: Setup
    new: Setup
    device: str
    seed: str = "0"
    screen_pairs: int = paired.SCREEN_PAIRS
    confirm_pairs: int = paired.CONFIRM_PAIRS
    rounds: int = paired.ROUNDS


@dataclass(frozen=True)
class Progress:
    """Where it is: `screen` or `confirm`, the pair, and the contests done in it."""

    stage: str
    pair: int
    pairs: int
    done: int
    of: int


@dataclass(frozen=True)
class Result:
    """What became of every row, what the null arm says, and what both come to."""

    changes: tuple[Change, ...]
    null: Null
    null_rows: int
    doubts: tuple[str, ...]
    outcome: Outcome
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of each arm's process

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return Counter(str(c.verdict) for c in self.changes)


@dataclass
class _Notes:
    """What was taken of one contest, pair after pair."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the first pair, by arm
    screen: list[Mapping[str, Taken]] = field(default_factory=list)
    confirm: list[Mapping[str, Taken]] = field(default_factory=list)


def run(
    plan: Plan, watch: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Result:  # fmt: skip
    """Compare. Raises RunError where an arm cannot be started, and Stopped when told to stop."""
    notes = {c.key: _Notes() for c in plan.contests}
    chosen = _null_contests(plan)
    facts: dict[str, Mapping[str, Any]] = {}
    for number in range(1, plan.screen_pairs + 1):
        contests = [_with_null(c) if c.key in chosen else c for c in plan.contests]
        for key, taken in _pair(plan, contests, "screen", number, watch, stopped, facts):
            notes[key].screen.append(taken)
    again = _flagged(notes, plan.device)
    for number in range(1, plan.confirm_pairs + 1) if again else ():
        contests = [_with_null(c) if c.key in chosen else c
                    for c in plan.contests if c.key in again]  # fmt: skip
        for key, taken in _pair(plan, contests, "confirm", number, watch, stopped, facts):
            notes[key].confirm.append(taken)
    return conclude(plan, notes, facts)


def _pair(
    plan: Plan, contests: Sequence[Contest], stage: str, number: int,
    watch: Callable[[Progress], None], stopped: Callable[[], bool],
    facts: dict[str, Mapping[str, Any]],
) -> Iterator[tuple[str, Mapping[str, Taken]]]:  # fmt: skip
    """One pair of processes, with a third of base's where a contest asks for it."""
    arms = [Arm(BASE, plan.base), Arm(NEW, plan.new)]
    if any(NULL in c.cells for c in contests):
        arms.append(Arm(NULL, plan.base))
    if (number % 2 == 0) is (stage == "screen"):
        arms.reverse()  # who starts first has no place of its own
    pairs = plan.screen_pairs if stage == "screen" else plan.confirm_pairs
    seed = f"{plan.seed} {stage} {number}"
    with Duel(arms, plan.device, plan.rounds, seed, stopped) as duel:
        facts.update(duel.facts)
        first = stage == "screen" and number == 1
        for done, found in enumerate(duel.sweep(contests, verify=first), 1):
            watch(Progress(stage, number, pairs, done, len(contests)))
            yield found


def _null_contests(plan: Plan) -> set[str]:
    """A tenth of the contests, and eight at least: others in each run."""
    keys = [c.key for c in plan.contests if BASE in c.cells]
    count = max(paired.FEWEST_NULL, round(paired.NULL_SHARE * len(keys)))
    rng = random.Random(plan.seed)  # noqa: S311  (no secret)
    return set(rng.sample(keys, min(count, len(keys))))


def _with_null(contest: Contest) -> Contest:
    return contest._replace(cells={**contest.cells, NULL: contest.cells[BASE]})


def _flagged(notes: Mapping[str, _Notes], device: str) -> set[str]:
    """The contests that a screen sends on, that of base against itself among them."""
    found = set()
    for key, note in notes.items():
        for arm in (NEW, NULL):
            evidence = evidence_of(note.screen, (), arm, device)
            if evidence is not None and evidence.flagged:
                found.add(key)
    return found


def evidence_of(
    screen: Sequence[Mapping[str, Taken]], confirm: Sequence[Mapping[str, Taken]], arm: str,
    device: str,
) -> Evidence | None:  # fmt: skip
    """What the pairs say of an arm against base; None where a pair of the screen has no samples."""
    usable = [[p for p in pairs if _timed(p, arm)] for pairs in (screen, confirm)]
    if not usable[0] or len(usable[0]) < len(screen):
        return None
    effects = [tuple(effect(p[BASE], p[arm], device) for p in pairs) for pairs in usable]
    every = [*usable[0], *usable[1]]
    window = median(quantile(sorted(p[BASE].seconds), 0.25) * p[BASE].calls for p in every)
    classes = [noise(p[name].seconds, 0.0, ()) for p in every for name in (BASE, arm)]
    middle = sorted(classes, key=list(Noise).index)[len(classes) // 2]
    return Evidence(effects[0], effects[1], window, middle, device)


def _timed(pair: Mapping[str, Taken], arm: str) -> bool:
    return all(name in pair and pair[name].seconds for name in (BASE, arm))


def effect(base: Taken, new: Taken, device: str) -> float:
    """Ln of the ratio of the lower quartiles: of wall time, or where a core was taken, of its own.

    Time of the processor knows nothing of other work, but neither of a method that waits: where
    only one side's calls leave the core, the wall is what counts.
    """
    if device == "cpu":
        shares = [median(c / s for c, s in zip(t.cpu, t.seconds, strict=True)) for t in (base, new)]
        if _IDLE < min(shares) < _BUSY and max(shares) - min(shares) < _ALIKE:
            return log(quantile(sorted(new.cpu), 0.25) / quantile(sorted(base.cpu), 0.25))
    return log(quantile(sorted(new.seconds), 0.25) / quantile(sorted(base.seconds), 0.25))


def conclude(
    plan: Plan, notes: Mapping[str, _Notes], facts: Mapping[str, Mapping[str, Any]]
) -> Result:
    """Every contest with its verdict: what both sides gave first, then their times."""
    known = {k: evidence_of(n.screen, n.confirm, NEW, plan.device) for k, n in notes.items()}
    timed = {k: e for k, e in known.items() if e is not None}
    nulls = {
        k: e
        for k, n in notes.items()
        if (e := evidence_of(n.screen, n.confirm, NULL, plan.device)) is not None
    }
    verdicts, usual = paired.verdicts(timed), paired.usual_scatter(timed)
    counts = versions_agree(*(facts.get(name, {}) for name in (BASE, NEW)))
    changes = []
    for contest in plan.contests:
        key, note = contest.key, notes[contest.key]
        pair = Pair(*(_row(note, arm, contest) for arm in (BASE, NEW)))
        change = _by_rows(pair, counts=counts)
        if change is None and (evidence := timed.get(key)) is not None:
            change = _by_time(pair, evidence, verdicts[key], usual)
        # ok in both at first, and later one of them did not answer
        changes.append(change or Change(pair, Verdict.BROKEN, "a pair of processes gave no time"))
    found = paired.null(nulls)
    doubts = list(_doubts(found, nulls, timed))
    if doubts:  # then what was found in new would be found in base as well
        told = (Verdict.SLOWER, Verdict.FASTER)
        why = "and base differs from itself, or too much else is running"
        changes = [
            replace(c, verdict=Verdict.UNCLEAR, reason=f"{c.reason}, {why}", advice=_CALM)
            if c.verdict in told else c for c in changes
        ]  # fmt: skip
    counted = Counter(str(c.verdict) for c in changes)
    came = outcome(counted, len(timed), doubtful=bool(doubts))
    return Result(tuple(changes), found, len(nulls), tuple(doubts), came, facts)


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


def _row(note: _Notes, arm: str, contest: Contest) -> dict[str, Any] | None:
    """What an arm gave first, with its times; None for an arm that does not take part."""
    if arm not in contest.cells:
        return None
    taken = [p[arm] for p in (*note.screen, *note.confirm) if arm in p]
    row = dict(taken[0].row)
    failed = next((t.row for t in taken if t.row["status"] in ("crashed", "timeout", "oom")), None)
    if failed is not None:  # in a later pair
        row |= {"status": failed["status"], "reason": failed["reason"]}
    seconds = sorted(s for t in taken for s in t.seconds)
    if seconds:
        row |= {"seconds_median": quantile(seconds, 0.5), "seconds_q1": quantile(seconds, 0.25)}
    return row | {"method": label(row)}


def _by_rows(pair: Pair, *, counts: bool) -> Change | None:
    """The change that status, errors and counts decide, or None: then times have to."""
    if (change := alone(pair)) is not None:
        return replace(change, advice="")
    assert pair.base is not None
    assert pair.new is not None
    if other_input(pair):
        return Change(pair, Verdict.INCOMPARABLE, "base and new were given other inputs")
    if found := gates.by_status(pair.base, pair.new):
        return Change(pair, *found)
    # other methods make other work of it, and nobody calls that worse
    same = pair.base["method"] == pair.new["method"]
    strict = counts and same  # otherwise rounding differs as it does between machines
    worse = list(gates.breaches(pair.base, pair.new, pair.new["method"], (), same_machine=strict,
                                counts=strict))  # fmt: skip
    if worse:
        return Change(pair, Verdict.WORSE, "; ".join(b.sentence for b in worse))
    return None


def _by_time(pair: Pair, e: Evidence, verdict: Verdict, usual: float) -> Change:
    least = paired.detectable(e, usual)
    low, high = (exp(x) for x in e.interval())
    ratio = exp(fmean(e.effects))
    pairs = f"{len(e.screen)} pairs" + (f" and {len(e.confirm)} fresh ones" if e.confirm else "")
    reason = {
        Verdict.SLOWER: f"flagged and confirmed in {pairs}",
        Verdict.FASTER: f"flagged and confirmed in {pairs}",
        Verdict.SAME: f"the whole interval is within {e.noise} noise, in {pairs}",
        Verdict.UNFLAGGED: f"nothing stood out in {pairs}",
        Verdict.UNCLEAR: f"flagged, and {'unstable' if e.delta is None else 'not confirmed'}, "
        f"in {pairs}",
    }[verdict]
    advice = _CALM if verdict is Verdict.UNCLEAR else ""
    return Change(pair, verdict, reason, advice, ratio, low, high, least)


def contests(base: Sequence[Cell], new: Sequence[Cell]) -> tuple[Contest, ...]:
    """The cells of both sides, those with one cell_id together."""
    found: dict[str, dict[str, Cell]] = {}
    for name, cells in ((BASE, base), (NEW, new)):
        for cell in cells:
            found.setdefault(cell.cell_id, {})[name] = cell
    return tuple(Contest(key, cells) for key, cells in found.items())


__all__ = ["Plan", "Progress", "Result", "Stopped", "contests", "run"]
