"""The verdict on one row, the outcome of a whole comparison, and the exit code of that outcome.

Both are closed sets of words. A row against which nothing was found is `unflagged`, and `same` only
where a difference was excluded; a comparison in which nothing was measured does not pass.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from mssbench.errors import ExitCode


class Verdict(StrEnum):
    """What a comparison says about one row of base and new."""

    SAME = "same"  # the whole interval of the difference lies within what would matter
    UNFLAGGED = "unflagged"  # no difference was found, and none was excluded
    FASTER = "faster"
    SLOWER = "slower"
    WORSE = "worse"  # a larger error, more work or more memory
    BROKEN = "broken"  # ok or absent in base, and failed in new
    FIXED = "fixed"  # failed in base, and ok in new
    GONE = "gone"  # only base has the row
    ADDED = "added"  # only new has measured the row
    UNCLEAR = "unclear"  # a difference was flagged, then neither confirmed nor excluded
    INCOMPARABLE = "incomparable"  # base and new were given different inputs


class Outcome(StrEnum):
    """What a whole comparison comes to."""

    PASS = "pass"  # noqa: S105  (a word, not a secret)
    REGRESSION = "regression"
    UNCLEAR = "unclear"
    BROKEN = "broken"
    INCOMPARABLE = "incomparable"
    NOTHING_MEASURED = "nothing_measured"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process. Code 2, misuse, is an error and never an outcome."""
        return _EXIT_CODES[self]

    def code(self, *, unclear_passes: bool) -> ExitCode:
        """The exit code where the caller may accept an unclear outcome as a pass."""
        if unclear_passes and self is Outcome.UNCLEAR:
            return ExitCode.PASS

        return self.exit_code


_EXIT_CODES = {
    Outcome.PASS: ExitCode.PASS,
    Outcome.REGRESSION: ExitCode.FAILED,
    Outcome.UNCLEAR: ExitCode.UNCLEAR,
    Outcome.BROKEN: ExitCode.BROKEN,
    Outcome.INCOMPARABLE: ExitCode.INCOMPARABLE,
    Outcome.NOTHING_MEASURED: ExitCode.NOTHING_MEASURED,
    Outcome.INTERRUPTED: ExitCode.INTERRUPTED,
}
# Verdicts that ask for no action.
QUIET = (Verdict.SAME, Verdict.UNFLAGGED)
BY_TIME = (Verdict.SLOWER, Verdict.FASTER)
# Verdicts that the last line counts, also where there are none: scripts read it.
_COUNTED = (Verdict.SLOWER, Verdict.WORSE, Verdict.BROKEN, Verdict.GONE, Verdict.UNCLEAR)


def outcome(
    verdicts: Mapping[str, int],
    measured: int,
    *,
    attempted: bool = False,
    failed_alike: bool = False,
    doubtful: bool = False,
    incomplete: bool = False,
    interrupted: bool = False,
) -> Outcome:
    """What the verdicts of all rows come to: the first reason that applies, most serious first.

    verdicts: how many rows have each verdict. `compare` only describes and gives an empty mapping,
    so that its outcome is "pass" or "nothing measured".
    measured: number of rows of which some number was compared.
    attempted: whether a cell was tried on either side, although no number was compared.
    failed_alike: whether a cell failed on both sides. No verdict on a row says so.
    doubtful: whether the machine or the comparison itself was seen to be off. A row that is
    unclear does not make the comparison doubtful.
    incomplete: whether the comparison ended early by an error. It cannot pass then, because the
    rows that were left out may be what ended it.
    interrupted: whether somebody stopped the comparison.
    """

    def any_is(*words: Verdict) -> bool:
        return any(verdicts.get(word) for word in words)

    if interrupted:
        return Outcome.INTERRUPTED

    # What prevents a comparison comes before what it found.
    if any_is(Verdict.INCOMPARABLE):
        return Outcome.INCOMPARABLE
    if not measured:
        if not attempted:
            return Outcome.NOTHING_MEASURED
        if failed_alike:  # what was tried and gave no number is broken, also where it is all
            return Outcome.BROKEN

    if any_is(Verdict.BROKEN, Verdict.GONE):
        return Outcome.BROKEN
    if any_is(Verdict.SLOWER, Verdict.WORSE):
        return Outcome.REGRESSION

    if incomplete:
        return Outcome.BROKEN
    return Outcome.UNCLEAR if doubtful else Outcome.PASS


def last_line(came_to: Outcome, verdicts: Mapping[str, int], rows: int) -> str:
    """The line that scripts read: `mssbench: verdict=regression slower=2 worse=0 ... rows=96`.

    rows: their number. Verdicts are more where a row has two, as it is slower and worse.
    """
    counts = Counter(verdicts)
    listed = " ".join(f"{verdict}={counts[verdict]}" for verdict in _COUNTED)
    return f"mssbench: verdict={came_to} {listed} rows={rows}"
