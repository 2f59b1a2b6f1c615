"""Limits that people set: `gradient_error:3x`, `seconds:50%`, `torch/newton*:operators:10%`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

from mssbench.errors import GateError, unknown

# Columns of which a larger number is worse. `seconds` is the lower quartile: other work on a
# machine makes times longer and never shorter, so the quartile is the steadier of the two.
SECONDS = {
    "seconds": "seconds_q1",
    "seconds_min": "seconds_min",
    "seconds_q1": "seconds_q1",
    "seconds_median": "seconds_median",
    "first_call_seconds": "first_call_seconds",
}
TIMES = frozenset(SECONDS.values())
COMPARED = SECONDS["seconds"]  # the one of them that `ab` compares
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
# Of a suite that does not say it: a root or gradient without one right digit is `inaccurate`.
MAX_ERROR = 0.1
_LIMIT = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(%|x)")


@dataclass(frozen=True)
class Rule:
    """By what factor a column may grow, for the methods whose label matches."""

    column: str  # of the table
    factor: float  # 1.5: by half
    methods: str  # a glob over labels as `show` has them: torch/newton_schulz k=5 *
    text: str  # as it was written
    optional: bool = False  # whether it may have no row, as one of a suite has in a part of it

    def covers(self, method: str) -> bool:
        """Whether it is meant for a method, given by its label."""
        return fnmatchcase(method, self.methods)


def parse(text: str) -> Rule:
    """`[METHODS:]COLUMN:LIMIT` with a LIMIT of `50%` (more) or `3x` (as much).

    Raises GateError that says what is wrong with it.
    """
    *glob, column, limit = text.strip().split(":") if text.count(":") else (text, "")
    methods = ":".join(glob) or "*"
    column = column.strip()
    if column not in LIMITED:
        raise GateError(f"{text!r}: {unknown('column', column, LIMITED)}")
    found = _LIMIT.fullmatch(limit.strip())
    if found is None:
        raise GateError(f"{text!r}: {limit!r} is no limit. Write {column}:50% or {column}:3x.")
    number = float(found[1])
    factor = 1 + number / 100 if found[2] == "%" else number
    if not (isfinite(factor) and factor >= 1):
        raise GateError(f"{text!r}: a limit below 1x would fail what has not changed.")
    return Rule(SECONDS.get(column, column), factor, methods, text.strip())


def of_suite(document: Mapping[str, Any]) -> list[Rule]:
    """The rules of a suite's [check] table. Raises GateError for one that cannot be read."""
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
    """The rules of a baseline's suite. Raises GateError that names its file."""
    try:
        return of_suite(document)
    except GateError as error:
        raise GateError(f"{file}: {error}") from None


def disagreements(
    limits: Sequence[Rule], base: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[str]:
    """Sentences on what the suite of a run allows and that of its baseline does not.

    limits: the rules of the baseline, which count. base, new: the documents of both suites.
    """
    counts = "The baseline's counts until this run is saved as one."
    try:
        own = of_suite(new)
    except GateError as error:
        yield f"the run's own limits cannot be read ({error}). {counts}"
        return

    theirs = {(rule.methods, rule.column): rule for rule in limits}
    ours = {(rule.methods, rule.column): rule for rule in own}
    for key, rule in ours.items():
        known = theirs.get(key)
        if known is None:
            yield f"the run's own limit {rule.text!r} is not one of the baseline. {counts}"
        elif rule.factor > known.factor:
            yield f"the run's own limit {rule.text!r} is looser than {known.text!r}. {counts}"
    for key, rule in theirs.items():
        if key not in ours:
            yield f"the run's suite has no limit {rule.text!r} any more. {counts}"

    allowed, allows = max_error(base), max_error(new)
    if allows > allowed:
        yield f"the run's own max_error {allows:g} is looser than {allowed:g}. {counts}"


def max_error(document: Mapping[str, Any]) -> float:
    """The largest error that a suite calls ok."""
    measure = document.get("measure", {})
    found = measure.get("max_error") if isinstance(measure, Mapping) else None
    return float(found) if isinstance(found, int | float) else MAX_ERROR


def of_words(texts: Iterable[str], flag: str = "--fail-on") -> list[Rule]:
    """The rules of a command line. Raises GateError for one that cannot be read."""
    try:
        return [parse(text) for text in texts]
    except GateError as error:
        raise GateError(f"{flag} {error}") from None


def chosen(rules: Iterable[Rule], column: str, method: str) -> Rule | None:
    """The rule for a column of a method: the last one that covers it, as later ones override."""
    covering = [r for r in rules if r.column == column and r.covers(method)]
    return covering[-1] if covering else None
