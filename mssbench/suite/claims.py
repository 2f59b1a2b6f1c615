"""Read and check the [[claim]] tables of a suite.

A claim is a published statement about methods, for example that one is faster than another, which
the rows of a run support or contradict (`mssbench claims`). A claim that no row of the suite could
decide is refused.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from math import inf
from typing import TYPE_CHECKING, Any

from mssbench.errors import RegistryError, SuiteError, TableError, unknown
from mssbench.records.cell import CACHES, CLOCKS, Cell
from mssbench.records.measurement import Row, Status, uniform
from mssbench.records.schema import KEY, SCHEMA
from mssbench.results.conditions import compared, rows_that_hold, select
from mssbench.results.labels import LABELS, METHOD, PHASES, labels
from mssbench.suite.ranges import as_list

if TYPE_CHECKING:
    import pandas as pd

VALUES = tuple(c.name for c in SCHEMA if c.kind == "float")  # columns that a claim may compare
ERRORS = tuple(c.name for c in SCHEMA if c.group == "error")
# Key columns that describe where methods are compared, and not the methods themselves.
POINT = tuple(name for name in KEY if name not in (*METHOD, "seed"))
RELATIONS = ("<", "<=", ">", ">=")
OVER = ("every", "median")
# Failed statuses that `accept` may name: their rows have finite figures.
ACCEPTED = (str(Status.DIVERGED),)
# Columns whose known values are those of the methods of the suite.
_NAMES = ("library", "forward", "backward", "backend", "pair")
# Columns with a fixed list of values.
_CLOSED = {
    "device": ("cpu", "cuda"),
    "phase": PHASES,
    "clock": CLOCKS,
    "cache": CACHES,
}
# The columns that are known before a cell is measured, and whether each contains text.
_PLANNED = {c.name: c.kind == "str" for c in SCHEMA if c.name in KEY} | dict.fromkeys(LABELS, True)
# Checks an axis: (name, value) -> the values in the form in which cells have them.
Axis = Callable[[str, Any], list[Any]]


@dataclass(frozen=True)
class Claim:
    """A checked [[claim]] table. Its fields are the keys of the table."""

    claim: str  # the statement, as a sentence
    source: str  # the publication
    value: str  # the column that is compared
    left: str = ""  # condition over the key columns that selects the left side
    relation: str = ""  # one of < <= > >=
    right: str | float = ""  # condition that selects the right side, or a number
    factor: float = 1.0  # left * factor < right, or left > right * factor
    over: str = "every"  # `every` point must satisfy it, or the `median` of the ratios
    at_error: float | None = None  # largest error: of the root in a forward, else of the gradient
    accept: Sequence[str] = ()  # statuses whose figures count although the result is wrong
    apart: Sequence[str] = ()  # columns of POINT in which the two sides differ on purpose
    where: str = ""  # condition, in place of left, for a claim with published figures
    published: Mapping[str, Any] = field(default_factory=dict)  # values by column, and the figures
    within: float | None = None  # largest relative difference from a published figure

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The published figures: a dictionary each, with `figure` and the columns it stands for."""
        lists = [as_list(v) for v in self.published.values()]
        points = zip(*lists, strict=True)
        return [dict(zip(self.published, point, strict=True)) for point in points]

    @property
    def conditions(self) -> dict[str, str]:
        """The conditions that select the claim's rows, by their key.

        The keys are `where` for published figures, else `left` and, unless it is a number, `right`.
        """
        given = {key: getattr(self, key) for key in ("where", "left", "right")}
        return {key: text for key, text in given.items() if isinstance(text, str) and text}

    @property
    def left_wins(self) -> bool:
        """Whether the left side should be smaller."""
        return not self.relation.startswith(">")

    @property
    def shared(self) -> list[str]:
        """The columns in which a row of the left side and one of the right side must be equal."""
        return [name for name in POINT if name not in self.apart]

    def rows(self, key: str, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Return the rows that a condition of the claim selects.

        key: the name of the condition: where, left or right. Raises TableError, which names the
        key, if the condition is wrong.
        """
        return select(frame, getattr(self, key), key)


_KEYS = tuple(f.name for f in fields(Claim))


def read(tables: Any) -> list[Claim]:
    """Return the checked [[claim]] tables of a suite as claims.

    Raises SuiteError for the first mistake, with the number of its table and its key.
    """
    if not isinstance(tables, list):
        raise SuiteError("'claim' is a list of tables: write [[claim]].")

    claims = []
    for number, table in enumerate(tables, 1):
        with numbered(number):
            claims.append(_read(table))
    return claims


def check(tables: Any, cells: Iterable[Cell], axis: Axis) -> None:
    """Raise SuiteError for a claim with a value that no row of the suite could have.

    tables: the [[claim]] tables. cells: all cells of the suite. axis: a function that checks a
    value of an axis; the value need not occur in the cells, because `--set` may have removed it.
    """
    keys = [m.key for cell in cells for m in uniform(cell, Status.INTERRUPTED, "")]
    planned = [key | labels(key) for key in keys]
    for number, claim in enumerate(read(tables), 1):
        with numbered(number):
            _check_rows(claim, planned, axis)


@contextmanager
def numbered(number: int) -> Iterator[None]:
    """Put the number of the [[claim]] table before the message of any error in this context.

    Errors about suites, tables and names become SuiteErrors.
    """
    try:
        yield
    except (SuiteError, TableError, RegistryError) as error:
        raise SuiteError(f"[[claim]] {number}: {error}") from None


def _check_rows(claim: Claim, planned: Sequence[Row], axis: Axis) -> None:
    """Raise SuiteError for a wrong value in a claim, or if its two sides can nowhere be compared.

    planned: the keys of all rows that the suite may have. axis: as in `check`.
    """
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
    """Raise SuiteError for a misspelt value, with which the claim would never be decided."""
    if column in _NAMES or column in _CLOSED:
        known = _CLOSED.get(column) or sorted({row[column] for row in planned})
        _check_words(column, [value], known)
    elif column in (*POINT, "seed") and (spelled := axis(column, value)) != [value]:
        raise SuiteError(f"{column} {value!r} is {spelled[0]!r} in a table.")


def _read(table: Any) -> Claim:
    """Return the claim in one [[claim]] table. Raises SuiteError for a wrong key or value."""
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

    excluded = (
        ("left", "relation", "right", "factor", "at_error", "apart") if figures else ("within",)
    )
    for key in excluded:
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
            f"at_error limits the error of rows whose time or size is compared; {table['value']!r} "
            "is itself an error."
        )

    _check_published(table.get("published", {"figure": 1.0}))
    lists = {key: as_list(table.get(key, [])) for key in ("accept", "apart")}
    return Claim(**{**table, **lists})


def _check_words(kind: str, words: Sequence[Any], known: Sequence[str], where: str = "") -> None:
    for word in words:
        if word not in known:
            raise SuiteError(where + unknown(kind, word, known))


def _check_number(key: str, value: Any, kind: str = "a number above 0") -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 < value < inf:
        raise SuiteError(f"{key} = {value!r} is not {kind}.")


def _check_published(published: Any) -> None:
    """Raise SuiteError unless `published` has figures, and equally many values of each column."""
    if not isinstance(published, dict) or "figure" not in published:
        raise SuiteError("published is a table with 'figure': {size = [16, 32], figure = [1, 2]}.")
    _check_words("column", list(published), ("figure", *POINT), "published: ")
    for figure in as_list(published["figure"]):
        _check_number("published figure", figure)

    lengths = {name: len(as_list(values)) for name, values in published.items()}
    for name, length in lengths.items():
        if length != lengths["figure"] or not length:
            raise SuiteError(f"published: {lengths['figure']} of figure, but {length} of {name}.")
