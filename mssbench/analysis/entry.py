"""One cell of a block: a number with its error, and what speaks against it."""

from dataclasses import dataclass

from mssbench.records.measurement import UNTRIED
from mssbench.records.noise import SHOWN_DELTA, Noise


@dataclass(frozen=True)
class Entry:
    """One cell of a block."""

    value: float | None  # median over what is hidden; of errors and memory the worst
    error: float | None  # worst over what is hidden
    statuses: tuple[tuple[str, int], ...]  # of the rows behind it, without ok
    rows: int
    low: float | None = None  # 95 % interval of the median
    high: float | None = None
    points: tuple[int, int] = (1, 1)  # hidden problems and seeds: those here, those of its rivals
    delta: float = 0.0  # below which a difference in time means nothing, by the noise of its rows
    method: str = ""  # whose number it is, where its row stands for several
    ratio: float | None = None  # to the best of its rivals
    best: bool = False
    problems: int = 1  # of those points, how many problems

    @property
    def tried(self) -> bool:
        """Whether a row behind it was measured, or failed in the attempt."""
        return sum(n for status, n in self.statuses if status in UNTRIED) < self.rows

    @property
    def unstable(self) -> bool:
        """Whether a row behind it has samples so far apart that only much would be a difference."""
        return self.delta >= SHOWN_DELTA[Noise.UNSTABLE]

    @property
    def ok(self) -> bool:
        """Whether it may win: every row behind it is ok, and none of its rivals' is missing."""
        return not self.statuses and self.points[0] == self.points[1]

    def ties(self, other: "Entry") -> bool:
        """Whether two times are not told apart: close for their noise, or overlapping."""
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
        """What went wrong, as words: `inaccurate`, or `inaccurate 2/3` if not everywhere."""
        parts = [s if n == self.rows else f"{s} {n}/{self.rows}" for s, n in self.statuses]
        if self.points[0] < self.points[1]:
            parts.append(f"partial {self.points[0]}/{self.points[1]}")
        return ", ".join(parts)
