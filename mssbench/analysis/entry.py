"""One entry of a block: a number with its error, and the statuses of the rows behind it."""

from dataclasses import dataclass

from mssbench.analysis.decision import tie_limit
from mssbench.records.measurement import UNTRIED
from mssbench.records.noise import SHOWN_DELTA, Noise


@dataclass(frozen=True)
class Entry:
    """One entry of a block, pooled from the rows of several problems and seeds (its points)."""

    value: float | None  # median over the points; for errors and memory the worst value
    error: float | None  # worst error over the points
    statuses: tuple[tuple[str, int], ...]  # status -> rows behind this entry, without ok
    rows: int  # number of rows behind this entry
    low: float | None = None  # 95 % interval of the median
    high: float | None = None
    points: tuple[int, int] = (1, 1)  # number of its points, and of those of all its rivals
    delta: float = 0.0  # relative difference in time that is within the noise of its rows
    method: str = ""  # the method that the number belongs to, if the row stands for several
    ratio: float | None = None  # value / value of the best rival
    best: bool = False
    problems: int = 1  # number of different problems among its points

    @property
    def tried(self) -> bool:
        """Whether at least one row of the entry was measured, or failed while being measured."""
        return sum(n for status, n in self.statuses if status in UNTRIED) < self.rows

    @property
    def unstable(self) -> bool:
        """Whether a row of the entry has unstable times."""
        return self.delta >= SHOWN_DELTA[Noise.UNSTABLE]

    @property
    def ok(self) -> bool:
        """Whether the entry may be best: every row is ok, and no point of its rivals is missing."""
        return not self.statuses and self.points[0] == self.points[1]

    def ties(self, other: "Entry") -> bool:
        """Whether the times of two entries tie: not told apart, and nearly equal.

        Times whose ratio a reader sees are no tie, however wide their intervals are. The limit of
        the ratio is that of the decision table.
        """
        if self.value is None or other.value is None or not self.is_not_told_apart(other):
            return False
        small, large = sorted((self.value, other.value))
        limit = tie_limit(drift=0.0, unsure=self.unstable or other.unstable)
        return large <= small * (1 + limit)

    def is_not_told_apart(self, other: "Entry") -> bool:
        """Whether it is open which of two times is the shorter: within noise or of one interval.

        The intervals of two unstable times may overlap although one time is several times the
        other.
        """
        if self.value is None or other.value is None:
            return False
        small, large = sorted((self.value, other.value))
        if large <= small * (1 + max(self.delta, other.delta)):
            return True
        if self.low is None or self.high is None or other.low is None or other.high is None:
            return False
        return self.low <= other.high and other.low <= self.high

    @property
    def words(self) -> str:
        """The entry's failures: `inaccurate`, or `inaccurate 2/3` if only 2 of 3 rows failed.

        `partial 1/2` is added if the entry has only 1 of the 2 points of its rivals.
        """
        parts = [s if n == self.rows else f"{s} {n}/{self.rows}" for s, n in self.statuses]
        if self.points[0] < self.points[1]:
            parts.append(f"partial {self.points[0]}/{self.points[1]}")
        return ", ".join(parts)
