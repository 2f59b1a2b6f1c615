"""Judge every row from the samples of `ab`, and decide the outcome of the comparison.

An arm is one side of the comparison: base, new, or null, which is base once more. A contest is a
cell of base and the matching cell of new. A pair is one process of each arm.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from math import exp, inf, isfinite
from statistics import fmean
from typing import Any, NamedTuple

from mssbench.ab import statistics
from mssbench.ab.duel import ArmSamples, Contest
from mssbench.ab.effects import BASE, NEW, NULL, PairSamples, evidence_of, timed
from mssbench.ab.statistics import Evidence
from mssbench.compare.judge import CALM, Terms, judge
from mssbench.compare.judgement import Judged, Judgement, RowPair, SelfComparison, count_verdicts
from mssbench.compare.rows import ERRORS, failed, worst_of
from mssbench.compare.verdict import QUIET, Verdict, outcome
from mssbench.records.cell import Cell
from mssbench.records.facts import releases, versions_agree
from mssbench.records.measurement import UNTRIED, Status
from mssbench.records.noise import Noise
from mssbench.records.timing import quantile
from mssbench.results.labels import label
from mssbench.suite.thresholds import COMPARED, TIMES, Rule, chosen

# Share of unstable rows above which no verdict of the run is trusted.
_MOST_UNSTABLE = 0.2
INTERRUPTED = "stopped before the end"


@dataclass
class Notes:
    """The samples of one contest, pair after pair, from both stages: screen and confirmation."""

    contest: Contest
    rules: tuple[Rule, ...] = ()  # limits set by users, for all rows
    screen: list[PairSamples] = field(default_factory=list)
    confirm: list[PairSamples] = field(default_factory=list)

    @property
    def every(self) -> list[PairSamples]:
        """The samples of the pairs of both stages."""
        return [*self.screen, *self.confirm]

    @property
    def failed(self) -> bool:
        """Whether a pair lacks samples of one side; then no further pair is measured."""
        return not all(timed(pair, NEW) for pair in self.every)

    @property
    def device(self) -> str:
        """The device on which the cell is measured."""
        return self._cell.device

    @property
    def _cell(self) -> Cell:
        return self.contest.cells.get(NEW) or self.contest.cells[BASE]

    def evidence(self, arm: str) -> Evidence | None:
        """Return the evidence on the time of an arm compared with base; None if a pair has none."""
        return evidence_of(self.screen, self.confirm, arm, self.device, self._limit())

    def _limit(self) -> float | None:
        """Return the factor by which a user allows the time to grow; None if none has set one."""
        rule = chosen(self.rules, COMPARED, self.method)
        if rule is None:
            return None

        # The screen does not flag smaller effects.
        return max(rule.factor, exp(statistics.SCREEN))

    @property
    def method(self) -> str:
        """The label of the row's method."""
        return label(vars(self._cell))

    def answers(self, rule: Rule) -> bool:
        """Whether a limit applies to this row: it covers the method, and its column has numbers."""
        row = self.row(BASE)
        if row is None or not rule.covers(self.method):
            return False

        column = "seconds_q1" if rule.column in TIMES else rule.column
        return row.get(column) is not None

    @property
    def base_failed(self) -> str:
        """Why base failed in a later pair after success in the first; empty if it did not."""
        rows = [pair[BASE].row for pair in self.every if BASE in pair]
        if not rows:
            return ""

        first = Status(rows[0]["status"])
        for row in rows[1:]:
            now = Status(row["status"])
            spoilt = first is Status.OK and now is not Status.OK
            if spoilt or (failed(now) and not failed(first)):
                return str(row["reason"]) or "it failed"
        return ""

    @property
    def attempted(self) -> bool:
        """Whether the cell was tried on at least one side, with or without success."""
        rows = (pair[arm].row for pair in self.every for arm in pair)
        return any(Status(row["status"]) not in UNTRIED for row in rows)

    @property
    def failed_alike(self) -> bool:
        """Whether the cell was tried on both sides and failed on both."""
        rows = (self.row(BASE), self.row(NEW))
        return all(row is not None and failed(Status(row["status"])) for row in rows)

    def untimed_rules(self) -> tuple[Rule, ...]:
        """Return the rules that do not limit times."""
        return tuple(rule for rule in self.rules if rule.column not in TIMES)

    def row(self, arm: str) -> dict[str, Any] | None:
        """Return the row of an arm, pooled over all pairs; None if the arm has no cell.

        The row has the worst status, the largest errors, the flags of all pairs, and the quantiles
        of their times.
        """
        processes = [pair[arm] for pair in self.every if arm in pair]
        if not processes:
            return None
        row = dict(processes[0].row)

        # The output of every process is verified, and the worst one counts.
        worst = worst_of([samples.row for samples in processes])
        row |= {"status": worst["status"], "reason": worst["reason"]}
        row |= {name: _largest(name, processes) for name in ERRORS}
        flags = [(samples.row.get("flags") or "").split() for samples in processes]
        row["flags"] = " ".join(dict.fromkeys(chain.from_iterable(flags)))

        seconds = sorted(s for samples in processes for s in samples.seconds)
        if seconds:
            row |= {"seconds_median": quantile(seconds, 0.5), "seconds_q1": quantile(seconds, 0.25)}
        return row | {"method": label(row)}


def _largest(column: str, processes: Sequence[ArmSamples]) -> Any:
    """Return the largest number of a column over the processes; None if the first has none."""
    numbers = [samples.row.get(column) for samples in processes]
    known = [number for number in numbers if number is not None]
    return None if numbers[0] is None or not known else max(known)


def conclude(
    notes: Mapping[str, Notes], facts: Mapping[str, Mapping[str, Any]], ended: str = ""
) -> Judged:
    """Judge every contest, and return the result of the comparison.

    notes: the samples of each contest, by its key. facts: of the machine, by arm. ended: why the
    comparison ended early, INTERRUPTED if the user stopped it; else empty. The rows of an
    incomplete comparison are judged, but not by time.
    """
    notes = {key: note for key, note in notes.items() if note.screen}
    evidence, nulls = (_evidence(notes, arm) for arm in (NEW, NULL))
    machines, null = _Machines.of(facts), statistics.null(nulls)
    doubts = (ended,) if ended else tuple(_doubts(null, nulls, evidence))

    terms = Terms(
        same_machine=machines.rounding,
        counts=machines.counts,
        other_input=Verdict.INCOMPARABLE,
        doubt=doubts[0] if doubts else "",
        beyond=_believable(null) if nulls and not ended else inf,
    )
    by_time = statistics.verdicts(evidence)
    rows = {
        key: judge(
            RowPair(note.row(BASE), note.row(NEW)),
            replace(terms, rules=note.untimed_rules(), base_failed=note.base_failed),
            PairedTimes(evidence.get(key), by_time.get(key)),
        )
        for key, note in notes.items()
    }

    judgements = tuple(rows.values())
    came_to = outcome(
        count_verdicts(judgements),
        len(evidence),
        doubtful=bool(doubts) or any(note.base_failed for note in notes.values()),
        attempted=any(note.attempted for note in notes.values()),
        failed_alike=any(note.failed_alike for note in notes.values()),
        incomplete=bool(ended),
        interrupted=ended == INTERRUPTED,
    )

    # Rows without a confirmed difference may still be slightly slower.
    unconfirmed = {
        key: row_evidence
        for key, row_evidence in evidence.items()
        if rows[key].verdict in (*QUIET, Verdict.UNCLEAR)
    }
    worth_a_look = [] if doubts else statistics.worth_a_look(unconfirmed)
    return Judged(
        judgements,
        came_to,
        tuple(_remarks(judgements, machines)),
        doubts=doubts,
        null=null,
        facts=facts,
        worth_a_look=tuple(rows[key] for key in worth_a_look),
    )


def _evidence(notes: Mapping[str, Notes], arm: str) -> dict[str, Evidence]:
    """Return the evidence on the times of an arm, by key, if all pairs of a contest have times."""
    every = {key: note.evidence(arm) for key, note in notes.items()}
    return statistics.together({key: e for key, e in every.items() if e is not None})


class _Machines(NamedTuple):
    """Whether the packages of the two sides agree, so that counts and rounding can be compared."""

    counts: bool  # equal releases of the array libraries: a call consists of the same operations
    rounding: bool  # also equal BLAS, Python and other packages: sums are rounded in the same way
    releases: tuple[dict[str, str], dict[str, str]]  # of the array libraries of base and of new

    @staticmethod
    def of(facts: Mapping[str, Mapping[str, Any]]) -> "_Machines":
        base, new = (facts.get(name, {}) for name in (BASE, NEW))
        counts = versions_agree(base, new)
        alike = all(_packages(base, k) == _packages(new, k) for k in ("versions", "blas", "python"))
        return _Machines(counts, counts and alike, (releases(base), releases(new)))


def _packages(facts: Mapping[str, Any], name: str) -> Any:
    """Return the fact `name`; if it is the versions of packages, without that of mssbench."""
    versions = facts.get(name)
    if not isinstance(versions, dict):
        return versions
    return {package: version for package, version in versions.items() if package != "mssbench"}


def _doubts(
    null: SelfComparison, nulls: Mapping[str, Evidence], timed: Mapping[str, Evidence]
) -> Iterator[str]:
    """Yield the reasons why no time of the run can be trusted."""
    if doubt := statistics.doubt_of(null):
        yield doubt
    if timed and not nulls:
        yield "base was compared with itself in no row"

    unstable = sum(e.noise is Noise.UNSTABLE for e in timed.values())
    if unstable > _MOST_UNSTABLE * len(timed):
        yield f"{unstable} of {len(timed)} rows are unstable: the machine has too much other load"


def _believable(null: SelfComparison) -> float:
    """Return the effect above which a difference is reported in spite of a doubt.

    The comparison of base with itself exceeds `floor` once in twenty times. If the rule confirmed a
    difference of base from itself, `floor` may be too low and is doubled.
    """
    return null.floor * (2 if null.confirmed else 1)


def _remarks(judgements: tuple[Judgement, ...], machines: _Machines) -> Iterator[str]:
    """Yield remarks on counts that were not compared, and on code that is the same."""
    both = [(base, new) for base, new in (j.pair for j in judgements) if base and new]
    if not both:
        return

    base_releases, new_releases = machines.releases
    if not machines.counts:
        differ = ", ".join(
            f"{name} {release} -> {new_releases[name]}"
            for name, release in base_releases.items()
            if release != new_releases[name]
        )
        yield f"counts were not compared: {differ or 'releases of the libraries are not known'}"

    same_method = all(base["method"] == new["method"] for base, new in both)
    hashes = [(base.get("code_hash"), new.get("code_hash")) for base, new in both]
    same_code = all(before and before == now for before, now in hashes)
    if machines.rounding and same_method and same_code:
        yield "every method has the same file on both sides, and the libraries are the same"


@dataclass(frozen=True)
class PairedTimes:
    """Judges the times of one row from pairs of processes.

    evidence: the effects of the row's pairs; None if a pair has no time. verdict: the verdict on
    the row, which was decided from all rows together; None if a pair has no time.
    """

    evidence: Evidence | None
    verdict: Verdict | None

    def __call__(self, pair: RowPair) -> Judgement:
        """Return the judgement on the times of the row, with the interval of their ratio."""
        # Both sides were ok in the first pair, and one of them failed in a later pair.
        if self.evidence is None or self.verdict is None:
            return Judgement(pair, Verdict.BROKEN, "a pair of processes has no time")

        evidence = self.evidence
        low, high = evidence.interval()
        return Judgement(
            pair,
            self.verdict,
            _reason(evidence, self.verdict),
            advice=CALM if self.verdict is Verdict.UNCLEAR else "",
            ratio=exp(fmean(evidence.effects)),
            # The interval of a single pair is infinite, as its scatter is unknown.
            low=exp(low) if isfinite(low) else None,
            high=exp(high) if isfinite(high) else None,
            detectable=statistics.detectable(evidence),
            pairs=tuple(exp(effect) for effect in (*evidence.screen, *evidence.confirm)),
        )


def _reason(evidence: Evidence, verdict: Verdict) -> str:
    """Return why a row has this verdict: `flagged in 3 pairs, confirmed in 9 fresh ones`."""
    first, fresh = f"{len(evidence.screen)} pairs", f"{len(evidence.confirm)} fresh ones"
    pairs = f"{first} and {fresh}" if evidence.confirm else first

    if evidence.limit is None:
        within = "3 %"
    else:
        within = f"the {100 * (evidence.limit - 1):.0f} % allowed"
    exceeded = f"{100 * (exp(evidence.delta) - 1):.0f} %"

    return {
        Verdict.SLOWER: f"flagged in {first}, confirmed in {fresh}",
        Verdict.FASTER: f"flagged in {first}, confirmed in {fresh}",
        Verdict.SAME: f"the whole interval is within {within}, in {pairs}",
        Verdict.UNFLAGGED: f"not flagged in {pairs}",
        Verdict.UNCLEAR: f"flagged, and not confirmed to exceed {exceeded}, in {pairs}",
    }[verdict]
