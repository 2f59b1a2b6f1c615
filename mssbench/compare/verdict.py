"""Verdicts: of a row, of a whole comparison, and the exit code that says it to a shell.

A closed set of words. Silence is not `same`, and what was not measured is not a pass.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum


class Verdict(StrEnum):
    """What became of a row between base and new."""

    SAME = "same"  # proven: the interval of the difference lies within what would matter
    UNFLAGGED = "unflagged"  # nothing speaks against it, and nothing proves it
    FASTER = "faster"
    SLOWER = "slower"
    WORSE = "worse"  # a larger error, more work or more memory
    BROKEN = "broken"  # ok or absent in base, and failed in new
    FIXED = "fixed"  # the other way round
    GONE = "gone"  # in base alone
    ADDED = "added"  # measured in new alone
    UNCLEAR = "unclear"  # flagged, then neither confirmed nor excluded
    INCOMPARABLE = "incomparable"  # other inputs, other code or another machine


class Outcome(StrEnum):
    """What a comparison comes to."""

    PASS = "pass"  # noqa: S105  (a word, not a secret)
    REGRESSION = "regression"
    UNCLEAR = "unclear"
    BROKEN = "broken"
    INCOMPARABLE = "incomparable"
    NOTHING_MEASURED = "nothing_measured"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> int:
        """A word for the shell. 2, misuse, is an error and never an outcome."""
        return _EXIT_CODES[self]


_EXIT_CODES = {
    Outcome.PASS: 0,
    Outcome.REGRESSION: 1,
    Outcome.UNCLEAR: 3,
    Outcome.BROKEN: 4,
    Outcome.INCOMPARABLE: 5,
    Outcome.NOTHING_MEASURED: 6,
    Outcome.INTERRUPTED: 130,
}
# What nobody needs to act on.
QUIET = (Verdict.SAME, Verdict.UNFLAGGED)
BY_TIME = (Verdict.SLOWER, Verdict.FASTER)
_COUNTED = (Verdict.SLOWER, Verdict.WORSE, Verdict.BROKEN, Verdict.GONE, Verdict.UNCLEAR)


def outcome(verdicts: Mapping[str, int], measured: int, *, doubtful: bool = False) -> Outcome:
    """What these verdicts come to; of several reasons the one that makes the others doubtful.

    measured: rows of which a number was compared. doubtful: whether the machine or the comparison
    itself was seen to be off; a row that is unclear is not.
    """

    def any_is(*words: Verdict) -> bool:
        return any(verdicts.get(word) for word in words)

    if any_is(Verdict.INCOMPARABLE):
        return Outcome.INCOMPARABLE
    if not measured:
        return Outcome.NOTHING_MEASURED
    if any_is(Verdict.BROKEN, Verdict.GONE):
        return Outcome.BROKEN
    if any_is(Verdict.SLOWER, Verdict.WORSE):
        return Outcome.REGRESSION
    return Outcome.UNCLEAR if doubtful else Outcome.PASS


def last_line(found: Outcome, verdicts: Mapping[str, int]) -> str:
    """`mssbench: verdict=regression slower=2 worse=0 ... rows=96`, for machines to read."""
    counts = Counter(verdicts)
    told = " ".join(f"{v}={counts[v]}" for v in _COUNTED)
    return f"mssbench: verdict={found} {told} rows={counts.total()}"
