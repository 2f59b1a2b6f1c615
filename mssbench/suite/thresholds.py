"""Limits of `check` and `ab`: `gradient_error:3x`, `seconds:50%`, `torch/newton*:operators:10%`.

A limit says how much larger in new than in base (for `check`: in the baseline) a column of the
table may be.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from mssbench.errors import GateError, nearest, unknown

# Times, by the names that a limit may use. `seconds` is the lower quartile: other work on a machine
# makes times longer and never shorter, so the lower quartile varies less than the median.
SECONDS = {
    "seconds": "seconds_q1",
    "seconds_min": "seconds_min",
    "seconds_q1": "seconds_q1",
    "seconds_median": "seconds_median",
    "first_call_seconds": "first_call_seconds",
}
TIMES = frozenset(SECONDS.values())
COMPARED = SECONDS["seconds"]  # the time that `ab` compares
# The columns that can be limited. In all of them a larger number is worse.
LIMITED = (
    *SECONDS,
    "gemms",
    "products",
    "operators",
    "launches",
    "flops",
    "peak_bytes",
    "saved_bytes",
    "root_error",
    "root_mae",
    "residual",
    "gradient_error",
    "asymmetry",
    "nonfinite",
)
# Default of `max_error`: a root or gradient without one correct digit is `inaccurate`.
MAX_ERROR = 0.1
_MOST_METHODS = 8  # methods that a message names; they fit on a line or two
_LIMIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|x)")


@dataclass(frozen=True)
class Rule:
    """A limit: the factor by which a column may grow, for methods whose label matches."""

    column: str  # of the table
    factor: float  # 1.5 allows an increase by half
    methods: str  # glob pattern over the labels of `show`, such as torch/newton_schulz k=5 *
    text: str  # as the user wrote it
    optional: bool = False  # whether no row need match: true for the limits of a suite

    def covers(self, method: str) -> bool:
        """Whether the rule applies to a method, given by its label."""
        return fnmatchcase(method, self.methods)


def parse(text: str) -> Rule:
    """Return the rule that a text `[METHODS:]COLUMN:LIMIT` describes.

    LIMIT is `50%` for an increase by half, or `3x` for three times the value. Raises GateError for
    an unknown column, or a limit that cannot be parsed or is below 1x.
    """
    *glob, column, limit = text.strip().split(":") if text.count(":") else (text, "")
    methods = ":".join(glob) or "*"
    column = column.strip()
    if column not in LIMITED:
        raise GateError(f"{text!r}: {unknown('column', column, LIMITED)}")

    match = _LIMIT.fullmatch(limit.strip())
    if match is None:
        raise GateError(f"{text!r}: {limit!r} is no limit. Write {column}:50% or {column}:3x.")
    number = float(match[1])
    factor = 1 + number / 100 if match[2] == "%" else number
    if not (isfinite(factor) and factor >= 1):
        raise GateError(f"{text!r}: with a limit below 1x a row that has not changed would fail.")

    return Rule(SECONDS.get(column, column), factor, methods, text.strip())


def why_idle(rule: Rule, methods: Iterable[str]) -> str:
    """Return why a rule applies to no row of these methods, and which pattern may be meant.

    methods: the labels of the measured methods.
    """
    labels = sorted(set(methods))
    if any(map(rule.covers, labels)):
        return f"no row of a method that matches {rule.methods!r} has a number in {rule.column}."

    names = [*dict.fromkeys(label.split()[0] for label in labels), *labels]
    near = nearest(rule.methods.strip("*? "), names)
    hint = f" Did you mean '{near}*'?" if near else ""
    more = f" and {len(labels) - _MOST_METHODS} more" if len(labels) > _MOST_METHODS else ""
    return (
        f"no measured method matches {rule.methods!r}.{hint} "
        f"Measured: {', '.join(labels[:_MOST_METHODS])}{more}."
    )


def of_suite(document: Mapping[str, Any]) -> list[Rule]:
    """Return the rules in the [check] table of a suite; they need not apply to any row.

    Raises GateError for a rule or table that is invalid.
    """
    table = document.get("check", {})
    if not isinstance(table, Mapping):
        raise GateError("[check] is not a table.")
    for key in table:
        if key != "fail_on":
            raise GateError(f"[check]: {unknown('key', key, ['fail_on'])}")

    texts = table.get("fail_on", [])
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, Sequence) or not all(isinstance(t, str) for t in texts):
        raise GateError('[check] fail_on: write a list of texts, ["gradient_error:3x"].')

    try:
        return [replace(parse(text), optional=True) for text in texts]
    except GateError as error:
        raise GateError(f"[check] fail_on: {error}") from None


def of_baseline(document: Mapping[str, Any], file: str) -> list[Rule]:
    """Return the rules in the [check] table of a baseline's suite.

    Raises GateError, which begins with the name of the suite's file, for an invalid rule.
    """
    try:
        return of_suite(document)
    except GateError as error:
        raise GateError(f"{file}: {error}") from None


def disagreements(
    limits: Sequence[Rule], base: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a sentence for each limit that the suite of a run has loosened, added or removed.

    Only the limits of the baseline are applied: a limit that the run has added has no effect, and
    one that it has loosened or removed is applied as the baseline has it. The sentence says so.
    `max_error`, the largest error of a row that is still `ok`, is such a limit too.

    limits: the rules of the baseline. base, new: the suites of the baseline and of the run, as read
    from TOML.
    """
    counts = "Only the baseline's limits count, until this run is saved as a baseline."
    try:
        rules = of_suite(new)
    except GateError as error:
        yield f"the run's own limits cannot be read ({error}). {counts}"
        return

    base_rules = {(rule.methods, rule.column): rule for rule in limits}
    new_rules = {(rule.methods, rule.column): rule for rule in rules}
    for key, rule in new_rules.items():
        base_rule = base_rules.get(key)
        if base_rule is None:
            yield f"the run's own limit {rule.text!r} is not one of the baseline. {counts}"
        elif rule.factor > base_rule.factor:
            yield f"the run's own limit {rule.text!r} is looser than {base_rule.text!r}. {counts}"
    for key, rule in base_rules.items():
        if key not in new_rules:
            yield f"the run's suite has no limit {rule.text!r} any more. {counts}"

    base_error, new_error = max_error(base), max_error(new)
    if new_error > base_error:
        yield f"the run's own max_error {new_error:g} is looser than {base_error:g}. {counts}"


def max_error(document: Mapping[str, Any]) -> float:
    """Return the largest error with which a row is still `ok`, by a suite as read from TOML."""
    measure = document.get("measure", {})
    value = measure.get("max_error") if isinstance(measure, Mapping) else None
    return float(value) if isinstance(value, int | float) else MAX_ERROR


def of_words(texts: Iterable[str], flag: str = "--fail-on") -> list[Rule]:
    """Return the rules of a command-line option, by default --fail-on.

    Raises GateError for an invalid rule.
    """
    try:
        return [parse(text) for text in texts]
    except GateError as error:
        raise GateError(f"{flag} {error}") from None


def chosen(rules: Iterable[Rule], column: str, method: str) -> Rule | None:
    """Return the rule for a column of a method's row: the last one that applies, or None."""
    covering = [r for r in rules if r.column == column and r.covers(method)]
    return covering[-1] if covering else None
