"""Compare two rows by the columns without noise: status, errors and counts of operations.

An error may double, and errors below one unit roundoff u of the row's precision count as zero. On
the same machine no other change is allowed, as the same code rounds in the same way there. Another
machine may sum in another order, so that an error may there be as large as that of a backward
stable method: 4 u κ^p, where κ is the matrix's condition number (see `stable_error` for p).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from mssbench.compare.judgement import RowPair
from mssbench.compare.verdict import Verdict
from mssbench.records.measurement import ABSENT, MEASURED, AnyRow, Status
from mssbench.records.roundoff import ROUNDOFF, stable_error
from mssbench.records.schema import BY_NAME, CONDITION_SINCE
from mssbench.suite.thresholds import Rule, chosen

ERRORS = ("root_error", "residual", "gradient_error")
COUNTS = ("nonfinite", "products", "operators", "launches", "saved_bytes")
# Statuses of measured rows, from the best to the worst.
_RANK = (Status.OK, Status.INACCURATE, Status.IMPLAUSIBLE, Status.DIVERGED, Status.NONFINITE)
# With these statuses the size of an error is arbitrary, so errors are not compared.
_WITHOUT_ERROR = (Status.DIVERGED, Status.NONFINITE)
_DOUBLE = 2.0  # factor by which an error may grow: only its order of magnitude is reproducible
# Rounding changes a fingerprint by less than this, and a different input changes it by more.
_SAME_INPUT = 1e-6


@dataclass(frozen=True)
class Breach:
    """A number in the row of new that is larger than the row of base and the limit allow."""

    column: str
    base: float
    new: float | None  # None if it was not measured
    allowed: float
    rule: str = ""  # the user's rule that set the limit, if any

    @property
    def sentence(self) -> str:
        """The breach in words: `gradient_error 3e-06 -> 9e-06, allowed 6e-06`."""
        write = _writer(self.column)
        now = "not measured" if self.new is None else write(self.new)
        by = f" by {self.rule}" if self.rule else ""
        return f"{self.column} {write(self.base)} -> {now}, allowed {write(self.allowed)}{by}"


def _writer(column: str) -> Callable[[Any], str]:
    """Return the function that formats a number of a column."""
    if BY_NAME[column].written == "error":
        return lambda x: f"{x:.2e}"
    return BY_NAME[column].text


def other_input(pair: RowPair) -> bool:
    """Whether the two rows were measured on different matrices, by the fingerprints of these.

    False if a row has no fingerprint.
    """
    before, now = ((row or {}).get("fingerprint") for row in pair)
    if before is None or now is None:
        return False
    return bool(abs(before - now) > _SAME_INPUT)


def failed(status: Status) -> bool:
    """Whether a cell was tried and gave no number; absent and interrupted cells did not fail."""
    return status not in MEASURED and status not in ABSENT and status is not Status.INTERRUPTED


def worst_of(rows: Sequence[AnyRow]) -> AnyRow:
    """Return the row with the worst status, the first of several; a failure is the worst.

    rows: of one cell, as several processes have measured it.
    """

    def badness(row: AnyRow) -> int:
        status = Status(row["status"])
        if failed(status):
            return len(_RANK) + 1
        return _RANK.index(status) if status in _RANK else len(_RANK)

    return max(rows, key=badness)


def by_status(base: AnyRow, new: AnyRow) -> tuple[Verdict, str] | None:
    """Return the verdict that follows from the two statuses alone, with the reason.

    None if both rows have the same status, and it is one of rows with numbers: then these decide.
    """
    was, now = Status(base["status"]), Status(new["status"])
    if was is now:
        return None if now in MEASURED else (Verdict.UNFLAGGED, f"{now} in both")

    change = f"{was} -> {now}" + (f": {new['reason']}" if new["reason"] else "")
    if was is Status.OK:
        return Verdict.BROKEN, change
    if now is Status.OK:
        return (Verdict.ADDED if was in ABSENT else Verdict.FIXED), change

    # From here on neither status is ok.
    if now in MEASURED and was in MEASURED:
        down = _RANK.index(now) > _RANK.index(was)
        return (Verdict.WORSE if down else Verdict.UNFLAGGED), change
    if now in MEASURED:
        return Verdict.ADDED, change

    broke = was in MEASURED or (was in ABSENT and failed(now))
    return (Verdict.BROKEN if broke else Verdict.UNFLAGGED), change


def columns_to_compare(
    base: AnyRow, method: str, rules: Sequence[Rule], *, counts: bool = True
) -> list[str]:
    """Return the columns to compare: those in which new is limited and base has a number.

    Limits are set by default or by a rule. method: the label of the row's method. counts: whether
    counts of operations are compared.
    """
    limited: tuple[str, ...] = (*ERRORS, *COUNTS) if counts else ERRORS
    if base["status"] in _WITHOUT_ERROR:
        limited = tuple(name for name in limited if name not in (*ERRORS, "nonfinite"))

    by_rule = {rule.column for rule in rules if rule.covers(method)} - {*limited}
    return [name for name in (*limited, *sorted(by_rule)) if base[name] is not None]


def breaches(
    base: AnyRow,
    new: AnyRow,
    method: str,
    rules: Sequence[Rule],
    *,
    same_machine: bool,
    columns: Sequence[str] | None = None,
) -> Iterator[Breach]:
    """Yield every number of new that is larger than allowed. Both rows must have been measured.

    method: the label of the row's method, which decides which rules apply. A rule replaces the
    default limit of its column. columns: the columns to compare, by default those of
    `columns_to_compare`.
    """
    if columns is None:
        columns = columns_to_compare(base, method, rules)
    for name in columns:
        before, now = base[name], new[name]

        rule = chosen(rules, name, method)
        if rule is not None:
            limit = before * rule.factor
        elif name in ERRORS:
            limit = _error_limit(name, base, new, same_machine=same_machine)
        else:
            limit = before
        by = rule.text if rule else ""

        if now is None:
            # On another machine a library may launch different kernels for the same call.
            if same_machine or name != "launches":
                yield Breach(name, before, None, limit, by)
        elif not now <= limit:  # nan is a breach as well
            yield Breach(name, before, now, limit, by)


def _error_limit(name: str, base: AnyRow, new: AnyRow, *, same_machine: bool) -> float:
    """Return the largest value that new may have in the error column `name`."""
    doubled = float(_DOUBLE * base[name])
    if same_machine:
        return max(doubled, ROUNDOFF[new["precision"]])

    # The condition of base is used, so that new cannot set its own limit. By the fingerprint both
    # rows have the same input.
    condition = _condition(base)
    if condition is None:
        condition = _condition(new) or 1.0  # 1 is the smallest condition, if none is known
    return max(doubled, stable_error(name, new["function"], new["precision"], condition))


def _condition(row: AnyRow) -> float | None:
    """Return the condition number of the row's matrix; None in tables older than the column.

    In later tables a row without a number has a singular matrix, and the result is infinite.
    """
    known = row["condition"]
    if known is not None:
        return float(known)
    return inf if (row["schema"] or 0) >= CONDITION_SINCE else None
