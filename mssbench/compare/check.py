"""`check`: a run against a stored one. What has no noise decides; time is advice unless asked for.

On shared machines the usual rules on stored times were seen to cry wolf in 20 to 80 of 100
identical runs, those that forgive a doubling aside; such a gate is switched off. `ab` is for time.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NamedTuple

from mssbench.compare import rows as gates
from mssbench.compare.rows import Change, Pair, alone, other_input
from mssbench.compare.tables import Side, matched, refuse
from mssbench.compare.times import by_time
from mssbench.compare.verdict import BY_TIME, Outcome, Verdict, outcome
from mssbench.errors import GateError
from mssbench.records.measurement import MEASURED, Row
from mssbench.suite.thresholds import TIMES, Rule


class Tally(NamedTuple):
    """A gate: of how many rows it compared something, and in how many that was too large."""

    gate: str
    rows: int
    breached: int


@dataclass(frozen=True)
class Judged:
    """What a check comes to."""

    changes: tuple[Change, ...]  # by the gates alone
    tallies: tuple[Tally, ...]
    advice: tuple[Change, ...]  # slower and faster rows, where times can be compared
    remarks: tuple[str, ...]  # what was not compared, and why
    outcome: Outcome

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows of each."""
        return Counter(str(c.verdict) for c in self.changes)


def check(
    base: Side, new: Side, rules: Sequence[Rule] = (), across: Collection[str] = ()
) -> Judged:
    """Hold a run against a baseline.

    rules: limits that people set; of those that cover a column of a row the last one counts.
    Raises NotComparable where the tables have no row in common, or were measured with other inputs
    or other releases of the libraries and `across` does not say that this is meant.
    """
    pairs = matched(base, new)
    refuse(pairs, base, new, across, what=("problem", "versions"))
    same_machine = base.environments().keys() == new.environments().keys()
    if any(r.column in TIMES for r in rules):
        refuse(pairs, base, new, across, what=("machine",))
    _refuse_idle(pairs, rules)
    terms = _Terms(tuple(rules), same_machine, counts="versions" not in across)
    tally = _Tally()
    changes = tuple(_judge(pair, terms, tally) for pair in pairs)
    verdicts = Counter(str(c.verdict) for c in changes)
    drift = max(base.drift(), new.drift())
    advice = [by_time(p, drift) for p in pairs if _measured(p)] if same_machine else []
    remarks = [] if same_machine else ["no advice on times: measured in another environment"]
    if not terms.counts:
        remarks.append("counts were not compared: --across versions")
    return Judged(
        changes, tally.tallies, tuple(c for c in advice if c.verdict in BY_TIME), tuple(remarks),
        outcome(verdicts, tally.measured),
    )  # fmt: skip


class _Terms(NamedTuple):
    """On what terms two rows are compared."""

    rules: tuple[Rule, ...]
    same_machine: bool
    counts: bool


def _refuse_idle(pairs: Sequence[Pair], rules: Sequence[Rule]) -> None:
    """Raise GateError for a rule that no row answers to: it would pass for ever."""
    rows = [p.base for p in pairs if p.base is not None and p.base["status"] in MEASURED]
    for rule in rules:
        if not rule.optional and not any(
            r[rule.column] is not None and rule.covers(r["method"]) for r in rows
        ):
            raise GateError(
                f"{rule.text!r} limits nothing: no measured row of the baseline has both a method "
                f"that matches {rule.methods!r} and a number in {rule.column}."
            )


class _Tally:
    """Counts what the gates looked at."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._breached: Counter[str] = Counter()
        self.measured = 0  # rows of which a number was compared

    def add(self, looked: Collection[str], breached: Collection[str]) -> None:
        self._rows.update(looked)
        self._breached.update(breached)
        self.measured += any(name != "status" for name in looked)

    @property
    def tallies(self) -> tuple[Tally, ...]:
        names = ["status", *gates.ERRORS, *gates.COUNTS]
        names += sorted(self._rows.keys() - {*names})
        return tuple(Tally(name, self._rows[name], self._breached[name]) for name in names)


def _measured(pair: Pair) -> bool:
    return all(row is not None and row["status"] in MEASURED for row in pair)


def _judge(pair: Pair, terms: _Terms, tally: _Tally) -> Change:
    if (change := alone(pair)) is not None:
        if change.verdict in (Verdict.GONE, Verdict.BROKEN):
            tally.add(["status"], ["status"])
        return change
    base, new = pair
    assert base is not None
    assert new is not None
    if found := gates.by_status(base, new):
        tally.add(["status"], ["status"] if found[0] in (Verdict.BROKEN, Verdict.WORSE) else [])
        return Change(pair, *found)
    if other_input(pair):  # and told to compare it: of another input no error is the other's
        tally.add(["status"], [])
        return Change(pair, Verdict.UNFLAGGED, "another input: only its status was compared")
    method, (rules, same_machine, counts) = new["method"], terms
    looked = gates.looked_at(base, method, rules, counts=counts)
    broken = list(
        gates.breaches(base, new, method, rules, same_machine=same_machine, counts=counts)
    )
    tally.add(["status", *looked], [b.column for b in broken])
    if not broken:
        return Change(pair, Verdict.UNFLAGGED, "")
    slow = all(b.column in TIMES for b in broken)
    verdict = Verdict.SLOWER if slow else Verdict.WORSE
    return Change(pair, verdict, "; ".join(b.sentence for b in broken), ratio=_ratio(base, new))


def _ratio(base: Row, new: Row) -> float | None:
    seconds: tuple[Any, Any] = base["seconds_median"], new["seconds_median"]
    if None in seconds:
        return None
    found = float(seconds[1] / seconds[0])
    return found if isfinite(found) else None
