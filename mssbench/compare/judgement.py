"""The records that every comparison is made of, whether by `compare`, `check` or `ab`.

A `RowPair` is judged into a `Judgement`. All judgements of a comparison, with what they come to,
are one `Judged`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mssbench.compare.verdict import Outcome, Verdict
from mssbench.records.measurement import AnyRow
from mssbench.records.schema import KEY


class RowPair(NamedTuple):
    """The two rows of one key; None on a side without one. A row has its label as `method`."""

    base: AnyRow | None
    new: AnyRow | None

    @property
    def row(self) -> AnyRow:
        """New's row, or base's where new has none, for what both have in common."""
        row = self.new or self.base
        assert row is not None
        return row


@dataclass(frozen=True, slots=True)  # there may be a hundred thousand
class Judgement:
    """The verdict on a pair of rows, and its grounds. A ratio is new / base of median times."""

    pair: RowPair
    verdict: Verdict
    reason: str
    advice: str = ""  # what to do next, where something helps
    ratio: float | None = None
    low: float | None = None  # ends of the interval of the ratio
    high: float | None = None
    detectable: float | None = None  # the smallest slowdown that would be found, 0.05 is 5 %
    pairs: tuple[float, ...] = ()  # the ratio of each pair of processes, first those of the screen
    compared: tuple[str, ...] = ()  # the columns that were compared; `status` is one of them
    breached: tuple[str, ...] = ()  # those of them in which new is worse than allowed
    also: tuple[Verdict, ...] = ()  # beside the verdict: a row may be worse and slower

    @property
    def words(self) -> str:
        """Everything that it is, for a reader: `worse, slower`."""
        return ", ".join((self.verdict, *self.also))

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """The median times of base and of new."""
        base, new = ((row or {}).get("seconds_median") for row in self.pair)
        return base, new


def judgement_data(judgement: Judgement) -> dict[str, Any]:
    """A judgement for JSON: the key of its rows, the verdict and its grounds.

    The condition number is that of the row's matrices; null where they are singular or unmeasured.
    """
    base, new = judgement.seconds
    key = {name: judgement.pair.row[name] for name in KEY}

    return key | {
        "condition": judgement.pair.row["condition"],
        "verdict": str(judgement.verdict),
        "base_seconds": base,
        "new_seconds": new,
        "reason": judgement.reason,
        "advice": judgement.advice,
        "ratio": judgement.ratio,
        "low": judgement.low,
        "high": judgement.high,
        "detectable": judgement.detectable,
        "pairs": judgement.pairs,
        "also": [str(verdict) for verdict in judgement.also],
    }


class Tally(NamedTuple):
    """How many rows were compared in one column, and in how many new was worse than allowed."""

    gate: str
    rows: int
    breached: int


class Mean(NamedTuple):
    """The geometric mean of the ratios of some rows."""

    at: tuple[tuple[str, Any], ...]  # the columns that these rows share, with their values
    ratio: float
    rows: int


@dataclass(frozen=True)
class SelfComparison:
    """What the rule for times finds between base and base, where nothing has changed."""

    rows: int = 0  # in how many rows base was compared with itself
    confirmed: tuple[str, ...] = ()  # keys of the rows called slower or faster than themselves
    bias: float = 0.0  # median over the rows of |median effect|
    floor: float = 0.0  # 95 % of single effects are smaller
    scatter: float = 0.0  # the usual scatter of the pairs of one row


@dataclass(frozen=True)
class Judged:
    """What a whole comparison comes to, with the judgement on every row."""

    judgements: tuple[Judgement, ...]
    outcome: Outcome
    remarks: tuple[str, ...] = ()  # what was not compared, and what else a reader should know
    # of tables
    means: tuple[Mean, ...] = ()
    tallies: tuple[Tally, ...] = ()
    advice: tuple[Judgement, ...] = ()  # by stored times, where these do not decide
    # of pairs of processes
    doubts: tuple[str, ...] = ()  # why no time may be trusted
    null: SelfComparison = SelfComparison()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # of each arm's process
    worth_a_look: tuple[Judgement, ...] = ()  # not confirmed, but unlikely by chance alone

    @property
    def verdicts(self) -> Counter[str]:
        """How many rows have each verdict."""
        return count_verdicts(self.judgements)


def count_verdicts(judgements: tuple[Judgement, ...]) -> Counter[str]:
    """How many rows have each verdict; one that is both worse and slower counts in both."""
    return Counter(str(verdict) for each in judgements for verdict in (each.verdict, *each.also))
