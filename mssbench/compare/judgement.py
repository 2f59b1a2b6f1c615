"""Records of a comparison, shared by `compare`, `check` and `ab`.

A `Judgement` is the verdict on a `RowPair`. `Judged` is the result of a whole comparison, with all
judgements and the outcome.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mssbench.compare.verdict import Outcome, Verdict
from mssbench.records.measurement import AnyRow
from mssbench.records.schema import KEY


class RowPair(NamedTuple):
    """The rows of base and new with the same key; None for a side that has no such row.

    The column `method` of a row is the label of its method.
    """

    base: AnyRow | None
    new: AnyRow | None

    @property
    def row(self) -> AnyRow:
        """The row of new, or of base if new has none, to read what both have in common."""
        row = self.new or self.base
        assert row is not None
        return row


@dataclass(frozen=True, slots=True)  # slots save memory, as there may be 100 000 judgements
class Judgement:
    """The verdict on a pair of rows, with the reason and the numbers behind it."""

    pair: RowPair
    verdict: Verdict
    reason: str
    advice: str = ""  # what to do next, if anything helps
    ratio: float | None = None  # median time of new / base
    low: float | None = None  # ends of the confidence interval of the ratio
    high: float | None = None
    detectable: float | None = None  # the smallest slowdown that would be detected; 0.05 is 5 %
    pairs: tuple[float, ...] = ()  # the ratio of each pair of processes, those of the screen first
    compared: tuple[str, ...] = ()  # the columns that were compared, including `status`
    breached: tuple[str, ...] = ()  # the compared columns in which new is worse than allowed
    also: tuple[Verdict, ...] = ()  # a further verdict: a row may be both worse and slower

    @property
    def words(self) -> str:
        """All verdicts on the row: `worse, slower`."""
        return ", ".join((self.verdict, *self.also))

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """The median times of base and of new in seconds; None if a side has none."""
        base, new = ((row or {}).get("seconds_median") for row in self.pair)
        return base, new


def judgement_data(judgement: Judgement) -> dict[str, Any]:
    """Return a judgement for JSON: the key of its rows, the verdict, the reason and the numbers.

    `condition` is the condition number of the row's matrices; null if they are singular or it was
    not measured.
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
    """How many rows were compared in one column (the gate), and in how many new was beyond it."""

    gate: str
    rows: int
    breached: int


class Mean(NamedTuple):
    """The geometric mean of the ratios new / base of the times of some rows."""

    at: tuple[tuple[str, Any], ...]  # the columns in which these rows agree, with their values
    ratio: float
    rows: int


@dataclass(frozen=True)
class SelfComparison:
    """What `ab` found when it compared base with itself, which shows the noise of the comparison.

    An effect is the logarithm of a ratio of times; a pair is one process of each side.
    """

    rows: int = 0  # number of rows in which base was compared with itself
    confirmed: tuple[str, ...] = ()  # keys of rows that were called slower or faster: false alarms
    bias: float = 0.0  # median over the rows of |median effect|
    floor: float = 0.0  # 95 % quantile of the absolute effects of single pairs
    scatter: float = 0.0  # median over the rows of the standard deviation of a row's pairs


@dataclass(frozen=True)
class Judged:
    """The result of a whole comparison: the judgement on every row, and the outcome."""

    judgements: tuple[Judgement, ...]
    outcome: Outcome
    remarks: tuple[str, ...] = ()  # sentences on rows that were not compared and the like
    # Only for comparisons of stored tables:
    means: tuple[Mean, ...] = ()
    tallies: tuple[Tally, ...] = ()
    advice: tuple[Judgement, ...] = ()  # judgements on stored times, if these do not decide
    # Only for `ab`, which compares pairs of processes:
    doubts: tuple[str, ...] = ()  # why no time can be trusted
    null: SelfComparison = SelfComparison()
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by arm, of its process
    worth_a_look: tuple[Judgement, ...] = ()  # slowdowns not confirmed, but unlikely by chance

    @property
    def verdicts(self) -> Counter[str]:
        """The number of rows with each verdict."""
        return count_verdicts(self.judgements)


def count_verdicts(judgements: tuple[Judgement, ...]) -> Counter[str]:
    """Return the number of rows with each verdict; a row with two verdicts counts in both."""
    return Counter(
        str(verdict) for judgement in judgements for verdict in (judgement.verdict, *judgement.also)
    )
