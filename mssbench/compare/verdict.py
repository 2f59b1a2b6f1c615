"""The verdict on one row, the outcome of a whole comparison, and the exit code of that outcome.

The two sides of a comparison are `base`, the run to compare with, and `new`, which is judged. A row
without a detected difference is `unflagged`; it is `same` only if a relevant difference can be
excluded. A comparison in which nothing was measured does not pass.
"""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from mssbench.errors import ExitCode


class Verdict(StrEnum):
    """The verdict of a comparison on one row, which base and new may both have."""

    SAME = "same"  # the whole confidence interval lies within the relevant difference
    UNFLAGGED = "unflagged"  # a difference was neither detected nor excluded
    FASTER = "faster"
    SLOWER = "slower"
    WORSE = "worse"  # a larger error, more work or more memory
    BROKEN = "broken"  # ok or absent in base, failed in new
    FIXED = "fixed"  # failed in base, and ok in new
    GONE = "gone"  # only base has the row
    ADDED = "added"  # only new has measured the row
    UNCLEAR = "unclear"  # a difference was flagged, but neither confirmed nor excluded
    INCOMPARABLE = "incomparable"  # base and new were given different inputs


class Outcome(StrEnum):
    """The outcome of a whole comparison, from which the exit code follows."""

    PASS = "pass"  # noqa: S105  (a word, not a secret)
    REGRESSION = "regression"
    UNCLEAR = "unclear"
    BROKEN = "broken"
    INCOMPARABLE = "incomparable"
    NOTHING_MEASURED = "nothing_measured"
    INTERRUPTED = "interrupted"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process. Code 2, misuse, belongs to errors and to no outcome."""
        return _EXIT_CODES[self]

    def code(self, *, unclear_passes: bool) -> ExitCode:
        """Return the exit code. unclear_passes: whether an unclear outcome has that of a pass."""
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
# Verdicts that require no action.
QUIET = (Verdict.SAME, Verdict.UNFLAGGED)
BY_TIME = (Verdict.SLOWER, Verdict.FASTER)
# Verdicts whose number is in the last line, even if it is zero, so that scripts can rely on it.
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
    """Return the outcome of a comparison: the most serious one that applies.

    verdicts: the number of rows with each verdict. `compare` only describes differences and passes
    an empty mapping, so that its outcome is "pass" or "nothing measured".
    measured: the number of rows in which a number was compared.
    attempted: whether a cell was tried on either side, even if no number was compared.
    failed_alike: whether a cell failed on both sides, which no verdict on a row says.
    doubtful: whether the times of the machine or of the comparison are unreliable. A single unclear
    row does not make the comparison doubtful.
    incomplete: whether the comparison ended early because of an error. It cannot pass then, because
    the rows that are missing may have caused the error.
    interrupted: whether the user stopped the comparison.
    """

    def any_is(*words: Verdict) -> bool:
        return any(verdicts.get(word) for word in words)

    if interrupted:
        return Outcome.INTERRUPTED

    # Reasons that prevent a comparison come before its findings.
    if any_is(Verdict.INCOMPARABLE):
        return Outcome.INCOMPARABLE
    if not measured:
        if not attempted:
            return Outcome.NOTHING_MEASURED
        if failed_alike:  # cells were tried, and none gave a number
            return Outcome.BROKEN

    if any_is(Verdict.BROKEN, Verdict.GONE):
        return Outcome.BROKEN
    if any_is(Verdict.SLOWER, Verdict.WORSE):
        return Outcome.REGRESSION

    if incomplete:
        return Outcome.BROKEN
    return Outcome.UNCLEAR if doubtful else Outcome.PASS


def last_line(came_to: Outcome, verdicts: Mapping[str, int], rows: int) -> str:
    """Return the line for scripts: `mssbench: verdict=regression slower=2 worse=0 ... rows=96`.

    came_to: the outcome. verdicts: the number of rows with each verdict. rows: the number of rows;
    the verdicts add up to more if rows are both slower and worse.
    """
    counts = Counter(verdicts)
    listed = " ".join(f"{verdict}={counts[verdict]}" for verdict in _COUNTED)
    return f"mssbench: verdict={came_to} {listed} rows={rows}"
