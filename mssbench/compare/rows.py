"""What changed between two rows in what has no noise: their status, errors and counts.

An error may double, and anything below one rounding of the row's precision counts as zero. Nothing
else is allowed where both rows were measured on one machine, as the same code rounds in the same
way there. Another machine sums products in another order, so that an error may there be as large as
that of a backward stable method, 4 u κ^p.
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
# With these statuses the size of an error is no property of the method any more.
_WITHOUT_ERROR = (Status.DIVERGED, Status.NONFINITE)
_DOUBLE = 2.0  # the factor by which an error may grow: only its magnitude can be reproduced
# A fingerprint moves by less than this through rounding, and by more with another input.
_SAME_INPUT = 1e-6


@dataclass(frozen=True)
class Breach:
    """A number of new that is larger than base's number allows."""

    column: str
    base: float
    new: float | None  # None: it is not measured any more
    allowed: float
    rule: str = ""  # the rule that set the limit, where a person did

    @property
    def sentence(self) -> str:
        """For example `gradient_error 3e-06 -> 9e-06, allowed 6e-06`."""
        write = _writer(self.column)
        now = "not measured" if self.new is None else write(self.new)
        by = f" by {self.rule}" if self.rule else ""
        return f"{self.column} {write(self.base)} -> {now}, allowed {write(self.allowed)}{by}"


def _writer(column: str) -> Callable[[Any], str]:
    """The function that writes a number of a column."""
    if BY_NAME[column].written == "error":
        return lambda x: f"{x:.2e}"
    return BY_NAME[column].text


def other_input(pair: RowPair) -> bool:
    """Whether both rows have a fingerprint of their input, and the fingerprints differ."""
    before, now = ((row or {}).get("fingerprint") for row in pair)
    if before is None or now is None:
        return False
    return bool(abs(before - now) > _SAME_INPUT)


def failed(status: Status) -> bool:
    """Whether a cell was tried and gave no number: neither measured, nor absent, nor stopped."""
    return status not in MEASURED and status not in ABSENT and status is not Status.INTERRUPTED


def worst_of(rows: Sequence[AnyRow]) -> AnyRow:
    """Of the rows of one cell in several processes the first with the worst status.

    A failure is worse than any number, and nothing that was tried is as good as nothing.
    """

    def badness(row: AnyRow) -> int:
        status = Status(row["status"])
        if failed(status):
            return len(_RANK) + 1
        return _RANK.index(status) if status in _RANK else len(_RANK)

    return max(rows, key=badness)


def by_status(base: AnyRow, new: AnyRow) -> tuple[Verdict, str] | None:
    """The verdict that the two statuses decide alone, with the reason.

    None where both rows have the same status with numbers, which decide then.
    """
    was, now = Status(base["status"]), Status(new["status"])
    if was is now:
        return None if now in MEASURED else (Verdict.UNFLAGGED, f"{now} in both")

    change = f"{was} -> {now}" + (f": {new['reason']}" if new["reason"] else "")
    if was is Status.OK:
        return Verdict.BROKEN, change
    if now is Status.OK:
        return (Verdict.ADDED if was in ABSENT else Verdict.FIXED), change

    # Neither of them is ok from here on.
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
    """The columns in which base has a number, and which have a limit by themselves or by a rule."""
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
    """Every number of new that is too large. Both rows must have been measured.

    method: the label that rules are matched with. A rule replaces the limit of its column, and
    gives one to a column that has none.
    columns: those that are compared, where they are known already, see `columns_to_compare`.
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
            # Another library may start other kernels for the same call.
            if same_machine or name != "launches":
                yield Breach(name, before, None, limit, by)
        elif not now <= limit:  # nan is a breach as well
            yield Breach(name, before, now, limit, by)


def _error_limit(name: str, base: AnyRow, new: AnyRow, *, same_machine: bool) -> float:
    """The largest error that new may have in a column."""
    doubled = float(_DOUBLE * base[name])
    if same_machine:
        return max(doubled, ROUNDOFF[new["precision"]])

    # Of base, as new must not set its own limit; they are of one input, by the fingerprint.
    condition = _condition(base)
    if condition is None:
        condition = _condition(new) or 1.0  # the least that there is, where no table knows it
    return max(doubled, stable_error(name, new["function"], new["precision"], condition))


def _condition(row: AnyRow) -> float | None:
    """The condition number of the row's matrix; None in tables older than the column.

    A row without one in a later table has a singular matrix.
    """
    known = row["condition"]
    if known is not None:
        return float(known)
    return inf if (row["schema"] or 0) >= CONDITION_SINCE else None
