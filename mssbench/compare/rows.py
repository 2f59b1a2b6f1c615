"""One row of two runs: what became of its status, its errors and its counts.

These have no noise. An error may double, and what is below one rounding of the row's precision
counts as zero. Where both rows were measured on one machine nothing else is allowed, as the same
code rounds in the same way there. On another machine products are summed in another order, and an
error may be that of a backward stable method, 4 u κ^p.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, NamedTuple

from mssbench import units
from mssbench.compare.verdict import Verdict
from mssbench.records.measurement import ABSENT, MEASURED, Row, Status
from mssbench.records.roundoff import ROUNDOFF, stable_error
from mssbench.records.schema import KEY, SCHEMA
from mssbench.suite.thresholds import Rule, chosen

ERRORS = ("root_error", "residual", "gradient_error")
COUNTS = ("nonfinite", "products", "operators", "launches", "saved_bytes")
# From bad to worse.
_RANK = (Status.OK, Status.INACCURATE, Status.IMPLAUSIBLE, Status.DIVERGED, Status.NONFINITE)
_ASTRAY = (Status.DIVERGED, Status.NONFINITE)  # how far is no property of the method any more
_CONDITION_SINCE = 4  # version of the schema
_DOUBLE = 2.0  # what an error may grow by: its last digit was an estimate
_UNIT = {c.name: c.unit for c in SCHEMA}


@dataclass(frozen=True)
class Breach:
    """A number of new that is larger than base's allows."""

    column: str
    base: float
    new: float | None  # None: not measured any more
    allowed: float
    rule: str = ""  # the rule that set the limit, where a person did

    @property
    def sentence(self) -> str:
        """`gradient_error 3e-06 -> 9e-06, allowed 6e-06`."""
        write = _writer(self.column)
        now = "not measured" if self.new is None else write(self.new)
        by = f" by {self.rule}" if self.rule else ""
        return f"{self.column} {write(self.base)} -> {now}, allowed {write(self.allowed)}{by}"


def _writer(column: str) -> Any:
    if _UNIT[column] == "s":
        return units.seconds
    if column in ("root_error", "residual", "gradient_error", "asymmetry", "root_mae"):
        return lambda x: f"{x:.2e}"
    return units.size if _UNIT[column] == "B" else units.number


def by_status(base: Row, new: Row) -> tuple[Verdict, str] | None:
    """The verdict that two statuses decide alone, and why; None where numbers have to."""
    was, now = Status(base["status"]), Status(new["status"])
    change = f"{was} -> {now}" + (f": {new['reason']}" if new["reason"] else "")
    if was is now:
        return None if now in MEASURED else (Verdict.UNFLAGGED, f"{now} in both")
    if was is Status.OK:
        return Verdict.BROKEN, change
    if now is Status.OK:
        return (Verdict.ADDED if was in ABSENT else Verdict.FIXED), change
    if now in MEASURED and was in MEASURED:
        down = _RANK.index(now) > _RANK.index(was)
        return (Verdict.WORSE if down else Verdict.UNFLAGGED), change
    if now in MEASURED:
        return Verdict.ADDED, change
    broke = was in MEASURED or (was in ABSENT and failed(now))
    return (Verdict.BROKEN if broke else Verdict.UNFLAGGED), change


def failed(status: Status) -> bool:
    """Whether a cell was tried and gave no number: neither measured, nor absent, nor stopped."""
    return status not in MEASURED and status not in ABSENT and status is not Status.INTERRUPTED


def looked_at(base: Row, method: str, rules: Sequence[Rule], *, counts: bool = True) -> list[str]:
    """The columns of which base has a number to hold new's against, and a gate or a rule asks."""
    own: tuple[str, ...] = (*ERRORS, *COUNTS) if counts else ERRORS
    if base["status"] in _ASTRAY:
        own = tuple(name for name in own if name not in (*ERRORS, "nonfinite"))
    asked = {r.column for r in rules if r.covers(method)} - {*own}
    return [name for name in (*own, *sorted(asked)) if base[name] is not None]


def breaches(
    base: Row, new: Row, method: str, rules: Sequence[Rule], *, same_machine: bool,
    counts: bool = True,
) -> Iterator[Breach]:  # fmt: skip
    """Every number of new that is too large. Both rows must have been measured.

    method: the label that rules are matched with; a rule takes the place of its column's own limit,
    and gives one to a column that has none. counts: whether counts can be compared at all.
    """
    for name in looked_at(base, method, rules, counts=counts):
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
            if same_machine or name != "launches":  # another library has other kernels
                yield Breach(name, before, None, limit, by)
        elif not now <= limit:
            yield Breach(name, before, now, limit, by)


def _error_limit(name: str, base: Row, new: Row, *, same_machine: bool) -> float:
    doubled = float(_DOUBLE * base[name])
    if same_machine:
        return max(doubled, ROUNDOFF[new["precision"]])
    condition = max(_condition(base), _condition(new))
    return max(doubled, stable_error(name, new["function"], new["precision"], condition))


def _condition(row: Row) -> float:
    """Of its matrix: none means that it is singular, or in older tables that nobody said."""
    known = row["condition"]
    if known is not None:
        return float(known)
    return inf if (row["schema"] or 0) >= _CONDITION_SINCE else 1.0


class Pair(NamedTuple):
    """The rows of one key; None on the side that has none. Each has its `method` as a label."""

    base: Row | None
    new: Row | None

    @property
    def row(self) -> Row:
        """One that is there, for what both have in common."""
        found = self.new or self.base
        assert found is not None
        return found


@dataclass(frozen=True)
class Change:
    """A pair with its verdict, and what that rests on. Seconds are medians; ratios new / base."""

    pair: Pair
    verdict: Verdict
    reason: str
    advice: str = ""  # what to do next, where something helps
    ratio: float | None = None
    low: float | None = None  # ends of the interval of the ratio
    high: float | None = None
    detectable: float | None = None  # the smallest slowdown that would be told, 0.05 is 5 %
    pairs: tuple[float, ...] = ()  # the ratio of each pair of processes, first those of the screen

    @property
    def seconds(self) -> tuple[float | None, float | None]:
        """Of base and of new."""
        base, new = ((row or {}).get("seconds_median") for row in self.pair)
        return base, new


def change_data(c: Change) -> dict[str, Any]:
    """One row: its key, the verdict, and what that rests on."""
    rest = {k: v for k, v in asdict(c).items() if k not in ("pair", "verdict")}
    base, new = c.seconds
    return (
        {k: c.pair.row[k] for k in KEY}
        | {"verdict": str(c.verdict), "base_seconds": base, "new_seconds": new}
        | rest
    )


_SAME_INPUT = 1e-6  # of a fingerprint: rounding moves it by less, another input by more


def other_input(pair: Pair) -> bool:
    """Whether both have a fingerprint of their input, and not the same."""
    marks = [(row or {}).get("fingerprint") for row in pair]
    return None not in marks and abs(marks[0] - marks[1]) > _SAME_INPUT  # type: ignore[operator]


def alone(pair: Pair) -> Change | None:
    """The change of a row that only one side has."""
    if pair.new is None:
        return Change(pair, Verdict.GONE, "not in new", "measure it, or save a new baseline")
    if pair.base is None:
        status = Status(pair.row["status"])
        if failed(status):
            return Change(pair, Verdict.BROKEN, f"not in base, {status}: {pair.row['reason']}")
        return Change(pair, Verdict.ADDED, "not in base")
    return None
