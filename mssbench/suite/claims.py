"""Reads and checks the [[claim]] tables of a suite. Refuses claims that no row could decide."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any

from mssbench.errors import RegistryError, SuiteError, TableError, unknown
from mssbench.records.cell import Cell
from mssbench.records.measurement import Row, Status, uniform
from mssbench.records.schema import KEY, SCHEMA
from mssbench.results.conditions import compared, rows_that_hold, select
from mssbench.results.labels import LABELS, METHOD, PHASES, labels
from mssbench.suite.ranges import as_list

if TYPE_CHECKING:
    import pandas as pd

VALUES = tuple(c.name for c in SCHEMA if c.kind == "float")
ERRORS = tuple(c.name for c in SCHEMA if c.group == "error")
POINT = tuple(name for name in KEY if name not in (*METHOD, "seed"))
RELATIONS = ("<", "<=", ">", ">=")
OVER = ("every", "median")
# Failures after which a figure is still one. A result that is not finite, or none, has no figure.
ACCEPTED = (str(Status.DIVERGED),)
_NAMES = ("library", "forward", "backward", "backend", "pair")  # those of the suite's methods
_CLOSED = {
    "device": ("cpu", "cuda"),
    "phase": PHASES,
    "clock": ("wall", "gpu", "graph"),
    "cache": ("cold", "hot"),
}
# The columns that a row has before it is measured, and whether each holds text.
_PLANNED = {c.name: c.kind == "str" for c in SCHEMA if c.name in KEY} | dict.fromkeys(LABELS, True)
Axis = Callable[[str, Any], list[Any]]  # (name, value) -> the values as cells have them


@dataclass(frozen=True)
class Claim:
    """A checked [[claim]]. Its fields are the keys of the table."""

    claim: str  # a sentence
    source: str
    value: str  # the column that is compared
    left: str = ""  # condition over the key columns
    relation: str = ""
    right: str | float = ""  # condition, or a number
    factor: float = 1.0  # left * factor < right; left > right * factor
    over: str = "every"  # every point, or the median of their ratios
    at_error: float | None = None  # of the root in a forward, else of the gradient
    accept: Sequence[str] = ()  # statuses whose figures count although the result is wrong
    apart: Sequence[str] = ()  # columns of the point in which the sides differ on purpose
    where: str = ""  # condition, instead of left
    published: Mapping[str, Any] = field(default_factory=dict)  # column -> values, figure -> values
    within: float | None = None  # relative distance from the published figure

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The published figures: values of columns, and the figure there."""
        lists = [as_list(v) for v in self.published.values()]
        return [dict(zip(self.published, each, strict=True)) for each in zip(*lists, strict=True)]

    @property
    def conditions(self) -> dict[str, str]:
        """Its conditions over key columns, by key."""
        given = {key: getattr(self, key) for key in ("where", "left", "right")}
        return {key: text for key, text in given.items() if isinstance(text, str) and text}

    @property
    def left_wins(self) -> bool:
        """Whether the left side is the one that should be smaller."""
        return not self.relation.startswith(">")

    @property
    def shared(self) -> list[str]:
        """The columns in which both sides agree where they meet."""
        return [name for name in POINT if name not in self.apart]

    def rows(self, key: str, frame: "pd.DataFrame") -> "pd.DataFrame":
        """The rows that the condition under `key` selects. Raises TableError naming the key."""
        return select(frame, getattr(self, key), key)


_KEYS = tuple(f.name for f in fields(Claim))


def read(tables: Any) -> list[Claim]:
    """The [[claim]] tables of a suite, checked. Raises SuiteError naming table and key."""
    if not isinstance(tables, list):
        raise SuiteError("'claim' is a list of tables: write [[claim]].")
    found = []
    for number, table in enumerate(tables, 1):
        with numbered(number):
            found.append(_read(table))
    return found


def check(tables: Any, cells: Iterable[Cell], axis: Axis) -> None:
    """Raise SuiteError for a claim with a word that no row of a suite could have.

    cells: of the suite. Which values it has of an axis does not matter: an override may take them
    away.
    """
    keys = [m.key for cell in cells for m in uniform(cell, Status.INTERRUPTED, "")]
    planned = [key | labels(key) for key in keys]
    for number, claim in enumerate(read(tables), 1):
        with numbered(number):
            _check_rows(claim, planned, axis)


@contextmanager
def numbered(number: int) -> Iterator[None]:
    """Name the table that an error comes from."""
    try:
        yield
    except (SuiteError, TableError, RegistryError) as error:
        raise SuiteError(f"[[claim]] {number}: {error}") from None


def _check_rows(claim: Claim, planned: Sequence[Row], axis: Axis) -> None:
    chosen: dict[str, list[Mapping[str, Any]]] = {}
    for key, text in claim.conditions.items():
        chosen[key] = rows_that_hold(planned, text, _PLANNED, key)
        for column, value in compared(text):
            _check_value(column, value, planned, axis)
    for column, values in claim.published.items():
        for value in as_list(values) if column != "figure" else ():
            _check_value(column, value, planned, axis)

    if "right" in chosen and all(chosen.values()):
        left, right = (
            {tuple(row[name] for name in claim.shared) for row in chosen[key]}
            for key in ("left", "right")
        )
        if not left & right:
            raise SuiteError(
                "left and right share no point. Name the columns in which they differ: "
                "apart = [...]."
            )


def _check_value(column: str, value: Any, planned: Sequence[Row], axis: Axis) -> None:
    """Refuse a misspelt word, which would silently leave the claim unmeasured."""
    if column in _NAMES or column in _CLOSED:
        known = _CLOSED.get(column) or sorted({row[column] for row in planned})
        _check_words(column, [value], known)
    elif column in (*POINT, "seed") and (spelled := axis(column, value)) != [value]:
        raise SuiteError(f"{column} {value!r} is {spelled[0]!r} in a table.")


def _read(table: Any) -> Claim:
    if not isinstance(table, dict):
        raise SuiteError("it is not a table: write [[claim]].")
    for key in table:
        if key not in _KEYS:
            raise SuiteError(unknown("key", key, _KEYS))
    figures = "where" in table
    needed = ("published", "within") if figures else ("left", "relation", "right")
    for key in ("claim", "source", "value", *needed):
        if key not in table:
            raise SuiteError(
                f"no {key!r}. A claim has claim, source, value, and either left, relation, right "
                "or where, published, within."
            )
    alien = ("left", "relation", "right", "factor", "at_error", "apart") if figures else ("within",)
    for key in alien:
        if key in table:
            raise SuiteError(f"{key!r} does not go with {'where' if figures else 'left'!r}.")
    for key in ("claim", "source", "value", "left", "relation", "where", "over"):
        if key in table and (not isinstance(table[key], str) or not table[key].strip()):
            raise SuiteError(f"{key} = {table[key]!r} is not a text.")
    _check_words("value", [table["value"]], VALUES)
    _check_words("relation", [table.get("relation", "<")], RELATIONS)
    _check_words("over", [table.get("over", "every")], OVER)
    _check_words("column", as_list(table.get("apart", [])), POINT, "apart: ")
    _check_words("status", as_list(table.get("accept", [])), ACCEPTED, "accept: ")
    if not isinstance(table.get("right", 1.0), str):
        _check_number("right", table.get("right", 1.0), "a condition or a number above 0")
    elif not table["right"].strip():
        raise SuiteError(f"right = {table['right']!r} is not a text.")
    for key in ("factor", "at_error", "within"):
        _check_number(key, table.get(key, 1.0))
    if "at_error" in table and table["value"] in ERRORS:
        raise SuiteError(
            f"at_error is for a time or a size; {table['value']!r} is itself an error."
        )
    _check_published(table.get("published", {"figure": 1.0}))
    lists = {key: as_list(table.get(key, [])) for key in ("accept", "apart")}
    return Claim(**{**table, **lists})


def _check_words(what: str, words: Sequence[Any], known: Sequence[str], where: str = "") -> None:
    for word in words:
        if word not in known:
            raise SuiteError(where + unknown(what, word, known))


def _check_number(key: str, value: Any, kind: str = "a number above 0") -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < inf:
        raise SuiteError(f"{key} = {value!r} is not {kind}.")


def _check_published(published: Any) -> None:
    if not isinstance(published, dict) or "figure" not in published:
        raise SuiteError("published is a table with 'figure': {size = [16, 32], figure = [1, 2]}.")
    _check_words("column", list(published), ("figure", *POINT), "published: ")
    for figure in as_list(published["figure"]):
        _check_number("published figure", figure)
    lengths = {name: len(as_list(values)) for name, values in published.items()}
    for name, length in lengths.items():
        if length != lengths["figure"] or not length:
            raise SuiteError(f"published: {lengths['figure']} of figure, but {length} of {name}.")
